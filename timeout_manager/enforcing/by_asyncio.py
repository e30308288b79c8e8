"""Interrupt an asyncio task by cancelling it.

What is wanted: what ``asyncio.timeout`` does, with everything that a phase is. The task whose time is over is cancelled
where it awaits, so that everything on its way out runs, and the cancellation leaves the block as PhaseTimeout.

What does not work: an alarm alone. It comes while the loop waits for events, in code that is nobody's, and ends all
tasks at once. A timer of the loop alone does not work either: a coroutine that does not await keeps it from firing.

What works: one timer for each loop, set to whichever of its phases is due first, which cancels the task
(`cancellation`). Behind the loop stands what interrupts its thread: if the timer is overdue, the loop is blocked, and
if it is the phase's own task that blocks it, the error is raised there. Otherwise what blocks the loop is noted for the
diagnosis.

What remains: the thread stays watched for up to LINGER after the last phase of a loop, or to the end of the task, since
to begin that anew for each phase takes longer than ``asyncio.timeout``. Where nothing can interrupt the thread of the
loop, a coroutine that blocks it is not interrupted.

A task's enforcer and the timer of its loop know each other: so both are in one file.
"""

from __future__ import annotations

from ..interpreter import fork, safepoints
from ..interpreter.frames import awaiting, callers, is_suspended, suspended_in
from ..interpreter.turns import asyncio_task, call_in_loop
from ..interrupting.cancellation import cancel, cancellation_beneath, count, is_alone, uncancel, uncount
from ..interrupting.delivery import find, mark, seize
from ..interrupting.enforcer import Enforcer
from ..interrupting.expiry import FIRST, LAST
from ..interrupting.position import Position
from ..interrupting.whereabouts import bind, find_borders, give_up, next_look, outlives_task, whereabouts_of_task
from ..originals import clock, loaded, thread, uninterrupted
from ..seconds import INFINITY
from .by_signal import BySignal
from .by_thread import ByThread
from .by_timer import ByTimer

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from ..diagnosis.snapshot import Scene
    from ..interrupting.enforcer import InterruptiblePhase as Phase, ThreadEnforcer

GRACE = 0.1  # seconds after which a timer of the loop that has not fired means that the loop is blocked
LINGER = 0.1  # seconds for which the thread of a loop stays watched after its last phase
SWALLOWS = 2  # cancellations that the block may swallow before something else is raised as well

timers: dict[Any, LoopTimer] = {}  #: by the loop


class ByAsyncio(Enforcer):
    """Interrupts a task: it is cancelled by the loop, where it awaits."""

    NAME = "asyncio"
    OF_TASKS = True

    __slots__ = ("timer", "is_held", "cancelled")

    def __init__(self, task: Any, timer: LoopTimer) -> None:
        super().__init__(task, timer.behind)
        self.timer = timer
        self.is_held = False  # it has a session for the moment after its last phase
        self.cancelled: list[Phase] = []  # whose limit has cancelled it

    @classmethod
    def missing(cls) -> str:
        return "no asyncio task is running here" if asyncio_task() is None else ""

    @classmethod
    def start(cls, at: float) -> ByAsyncio | None:
        task = asyncio_task()
        return None if task is None else cls.over(task, at)

    @classmethod
    def started(cls) -> list[ByAsyncio]:
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
        self = timer.enforcers.get(task)
        if self is None:
            self = cls(task, timer)
            timer.add(self)
        if at < self.at:
            self.arm(at)
        return self

    def around(self, position: Position) -> Position:
        """Add what the task, which runs, awaits and waits in: greenlets that run parts of it, and up to 3.9 all that is
        between the loop and a coroutine that handles an error. While the loop begins or ends a step of it, that is
        nothing: an error would be the loop's there, and the task would never wake again.
        """
        coroutine = self.key.get_coro()
        beyond = [*callers(), *(() if is_suspended(coroutine) else suspended_in(coroutine))]
        more = Position(position.frame, position.sent_to, [*position.stack, *beyond])
        more.now = position.now
        return more

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


class LoopTimer:
    """Has the tasks of a loop looked at that are due; if it is overdue itself, what watches the thread does that."""

    def __init__(self, loop: Any, behind: ThreadEnforcer | None) -> None:
        self.loop = loop
        self.behind = behind  # what watches the thread
        self.enforcers: dict[Any, ByAsyncio] = {}  # by the task
        self.at = INFINITY
        self.timer: Any = None  # fires then
        self.sending = -INFINITY  # until then no other task is sent anywhere: they share the thread
        self.resting: Any = None  # the timer that lets the thread go, if there is no phase by then

    @classmethod
    def start(cls, loop: Any, at: float) -> LoopTimer:
        """Return a new one for the running loop; what can interrupt its thread best fires at this instant."""
        behind = ByTimer.start(at) or BySignal.start(at) or ByThread.start(at)
        self = timers[loop] = cls(loop, behind)
        if behind is not None:
            behind.sessions += 1
            behind.loops += (self.seize,)
        return self

    def add(self, enforcer: ByAsyncio) -> None:
        self.enforcers[enforcer.key] = enforcer
        enforcer.key.add_done_callback(self._end)
        count(enforcer.key)

    def set(self, at: float, due: float) -> None:
        """Fire at this instant at the latest; have the thread look if the loop is blocked when a limit is due."""
        if at < self.at:
            if self.timer is not None:
                self.timer.cancel()
            self.at = at
            self.timer = self.loop.call_later(max(at - clock.monotonic(), 0.0), self.tick)
        behind = self.behind
        if behind is not None and due + GRACE < behind.at:
            behind.arm(due + GRACE)

    @uninterrupted
    def tick(self) -> None:
        """Look at the tasks that are due; called by the loop."""
        now = clock.monotonic()
        scene = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.at = INFINITY
        try:
            for each in list(self.enforcers.values()):
                if each.stale or each.at <= now:
                    scene = each.visit(now, scene) or scene
                elif each.is_sample(now):
                    each.see(awaiting(each.key.get_coro()), now)
        finally:
            enforcers = self.enforcers.values()
            soonest = min([each.next(now) for each in enforcers], default=INFINITY)
            if soonest < INFINITY:
                self.set(soonest, min(each.at for each in enforcers))

    def seize(self, position: Position) -> BaseException | None:
        """Return what is to be raised in the calling thread, which stands there, for a task that blocks the loop."""
        error = scene = None
        if not self.loop.is_running() or self.behind is None:
            if self.loop.is_closed() or not self._is_busy():  # it was stopped in the moment after its last phase
                self._leave()
            return None
        now = position.now
        current = loaded("asyncio").current_task(self.loop)
        for task, each in self.enforcers.copy().items():
            blocked = each.at + GRACE <= now
            if task is current and (blocked or each.expiry is not None and each.expiry.tries):
                error = seize(each, each.around(position))
                if is_suspended(task.get_coro()):
                    each.at = min(each.at, now)  # to be cancelled as soon as the loop goes on
            elif blocked:
                due = find(each, whereabouts_of_task(each), position, scene)
                scene = due and due[0].scene_since(now) or scene
                each.at = now
            placing = each.expiry is not None and each.expiry.tries
            self.behind.at = min(self.behind.at, each.at if placing else max(each.at, now) + GRACE)
        return error

    def _is_busy(self) -> bool:
        """Tell whether there are phases or sessions."""
        return any(each.phases or each.sessions > each.is_held for each in self.enforcers.values())

    # -- the end

    def linger(self, enforcer: ByAsyncio) -> None:
        """A task has no phase any more: let the thread go, if there is none in a moment."""
        if not enforcer.is_held:
            enforcer.is_held = True
            enforcer.sessions += 1
        if self.loop.is_closed():  # the task never ended
            self._rest()
        elif self.resting is None:
            self.resting = self.loop.call_later(LINGER, self._rest)

    @uninterrupted
    def _rest(self) -> None:
        self.resting = None
        for each in self.enforcers.values():
            if each.is_held:
                each.is_held = False
                each.sessions -= 1
        if not self._is_busy():
            self._leave()

    @uninterrupted
    def _end(self, task: Any) -> None:
        """The task is over."""
        enforcer = self.enforcers.get(task)
        if enforcer is not None:
            for phase in reversed(enforcer.phases):
                if not outlives_task(phase):
                    give_up(phase)
            self._forget(task)
            if not self.enforcers:
                self._leave()

    def _forget(self, task: Any) -> None:
        self.enforcers.pop(task).forget()
        task.remove_done_callback(self._end)
        uncount(task)

    def _leave(self) -> None:
        """Take the timers off, forget the tasks, and give back what watched the thread."""
        for task in list(self.enforcers):
            self._forget(task)
        for timer in self.timer, self.resting:
            if timer is not None:
                timer.cancel()
        self.timer = self.resting = None
        self.at = INFINITY
        safepoints.withdraw(get_ident())
        timers.pop(self.loop, None)
        behind = self.behind
        if behind is not None:
            behind.loops = tuple(each for each in behind.loops if each != self.seize)
            behind.sessions -= 1
            if not behind.sessions and not behind.phases and behind.key == get_ident():
                behind.stop()


@uninterrupted
def _arrived(frame: FrameType, at: int) -> None:
    """Have the running task fire where it has landed, if it was sent there and its phase is still over."""
    sent = {each.key: each for each in ByAsyncio.started() if each.expiry and each.expiry.hits >= SWALLOWS}
    enforcer = sent.get(asyncio_task())
    if enforcer is not None:
        enforcer.fire(frame, at)
    elif not sent:
        safepoints.withdraw(get_ident())


def _forked() -> None:
    """Begin anew in a child process: no loop of its parent runs there."""
    for timer in timers.values():
        for enforcer in timer.enforcers.values():
            enforcer.forget()
        timer.enforcers.clear()
    timers.clear()


fork.in_child("by_asyncio", _forked)
