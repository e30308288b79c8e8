"""Interrupt an asyncio task by cancelling it.

What is wanted: what ``asyncio.timeout`` does, with everything that a phase is. The task whose time is over is cancelled
where it awaits, so that everything on its way out runs, and the cancellation leaves the block as PhaseTimeout.

What does not work: an alarm alone. It comes while the loop waits for events, in code that is nobody's, and ends all
tasks at once. A timer of the loop alone does not work either: a coroutine that does not await keeps it from firing.

What works: one timer for each loop, set to whichever of its phases is due first (`loop_timer`), which cancels the task
(`cancellation`). Behind the loop stands what interrupts its thread: if the timer is overdue, the loop is blocked, and
if it is the phase's own task that blocks it, the error is raised there. Otherwise what blocks the loop is noted for the
diagnosis.

What remains: the thread stays watched for up to LINGER after the last phase of a loop, or to the end of the task, since
to begin that anew for each phase takes longer than ``asyncio.timeout``. Where nothing can interrupt the thread of the
loop, a coroutine that blocks it is not interrupted.
"""

from __future__ import annotations

from ..interpreter import safepoints
from ..interpreter.frames import suspended_in
from ..interpreter.turns import asyncio_task, call_in_loop
from ..interrupting.cancellation import cancel, cancellation_beneath, is_alone, uncancel
from ..interrupting.delivery import find, mark, seize
from ..interrupting.expiry import FIRST, LAST
from ..interrupting.position import Position
from ..interrupting.whereabouts import bind, find_borders, next_look, whereabouts_of_task
from ..originals import clock, loaded, thread, uninterrupted
from .loop_timer import GRACE, LoopTimer, TaskEnforcer, timers

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from ..diagnosis.snapshot import Scene
    from ..interrupting.enforcer import InterruptiblePhase as Phase

SWALLOWS = 2  # cancellations that the block may swallow before something else is raised as well


class ByAsyncio(TaskEnforcer):
    """Interrupts a task: it is cancelled by the loop, where it awaits."""

    NAME = "asyncio"

    __slots__ = ("cancelled",)

    def __init__(self, task: Any, timer: LoopTimer) -> None:
        super().__init__(task, timer)
        self.cancelled: list[Phase] = []  # whose limit has cancelled it

    @classmethod
    def missing(cls) -> str:
        return "no asyncio task is running here" if asyncio_task() is None else ""

    @classmethod
    def start(cls, at: float) -> ByAsyncio | None:
        task = asyncio_task()
        return None if task is None else cls.over(task, at)

    @classmethod
    def started(cls) -> list[TaskEnforcer]:
        return [each for timer in timers.copy().values() for each in timer.enforcers.copy().values()]

    def arm(self, at: float) -> None:
        self.at = at
        self.timer.set(self.next(clock.monotonic()), at)

    def wake(self) -> None:
        call_in_loop(self.timer.loop, self.timer.tick)

    def send(self, position: Position) -> bool:
        return safepoints.arrange(get_ident(), 0, position.stack, _arrived)

    def stop(self) -> None:
        """The task is likely to have a phase again soon: keep everything for a moment, as in a session."""
        if self.key:
            self.timer.linger(self)

    def look(self, frame: FrameType, sent_to: int) -> BaseException | None:
        error = seize(self, self.around(Position(frame, sent_to)))
        self.arm(self.at)
        if error is not None:
            safepoints.withdraw(get_ident())
        return error

    @classmethod
    def over(cls, task: Any, at: float) -> ByAsyncio:
        """Return that of a task of the running loop, to fire at this instant at the latest."""
        loop = task.get_loop()
        timer = timers.get(loop) or LoopTimer.start(loop, at + GRACE)
        self: Any = timer.enforcers.get(task)
        if self is None:
            self = cls(task, timer)
            timer.add(self)
        if at < self.at:
            self.arm(at)
        return self  # type: ignore[no-any-return]

    def visit(self, now: float, like: Scene | None) -> Scene | None:
        """Cancel the task if it is time, and return what is running if that was looked at; set when to look again."""
        self.stale = False
        position = Position(None, stack=suspended_in(self.key.get_coro()))
        phases = whereabouts_of_task(self)
        self.at = next_look([phase for phase in self.phases if phase not in phases], now)
        due = find(self, phases, position, like)
        if due is None:
            return None
        expiry, struck = due
        if expiry.hits >= SWALLOWS:
            if now < self.timer.sending:
                self.at = self.timer.sending
                return None
            self.timer.sending = now + FIRST
        if expiry.hits < SWALLOWS or not self.send(position):
            expiry.next(now)
        self.at = expiry.again if expiry.again > now else now + LAST
        mark(struck, expiry)
        bind(find_borders(self.phases, struck, position.stack))
        if struck[0] in self.cancelled:
            uncancel(self.key)
        else:
            self.cancelled.append(struck[0])
        cancel(self.key, expiry)
        return expiry.scene_since(now)

    def replaced(self, phase: Phase, error: BaseException | None) -> BaseException | None:
        return cancellation_beneath(error, self.key, phase.cancelling, len(self.cancelled)) if self.key else None

    def takes_back(self, phase: Phase, error: BaseException | None) -> bool:
        if phase not in self.cancelled:
            return False
        self.cancelled.remove(phase)
        is_last = uncancel(self.key) <= phase.cancelling
        return is_last and is_alone(error) and isinstance(error, loaded("asyncio").CancelledError)


@uninterrupted
def _arrived(frame: FrameType, at: int) -> None:
    """Have the running task fire where it has landed, if it was sent there and its phase is still over."""
    sent = {each.key: each for each in ByAsyncio.started() if each.expiry and each.expiry.hits >= SWALLOWS}
    enforcer = sent.get(asyncio_task())
    if enforcer is not None:
        enforcer.fire(frame, at)
    elif not sent:
        safepoints.withdraw(get_ident())
