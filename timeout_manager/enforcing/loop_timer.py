"""The timer of an event loop, for all of its tasks that have phases, and what watches the thread behind it.

While the loop runs, the timer has the tasks looked at that are due. If it is overdue the loop is blocked, and what
watches its thread fires instead.
"""

from __future__ import annotations

from ..interpreter import fork, safepoints
from ..interpreter.frames import awaiting, callers, suspended_in
from ..interrupting.cancellation import count, uncount
from ..interrupting.delivery import find, seize
from ..interrupting.enforcer import Enforcer, Loop, ThreadEnforcer
from ..interrupting.whereabouts import give_up, outlives_task, whereabouts_of_task
from ..originals import clock, loaded, thread, uninterrupted
from ..seconds import INFINITY
from .by_signal import BySignal
from .by_thread import ByThread
from .by_timer import ByTimer

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..diagnosis.snapshot import Scene
    from ..interrupting.position import Position

GRACE = 0.1  # seconds after which a timer of the loop that has not fired means that the loop is blocked
LINGER = 0.1  # seconds for which the thread of a loop stays watched after its last phase

timers: dict[Any, LoopTimer] = {}  #: by the loop


class TaskEnforcer(Enforcer):
    """What the timer has to know of those that interrupt tasks."""

    OF_TASKS = True

    __slots__ = ("timer", "is_held")

    def __init__(self, task: Any, timer: LoopTimer) -> None:
        super().__init__(task, timer.behind)
        self.timer = timer
        self.is_held = False  # it has a session for the moment after its last phase

    def visit(self, now: float, like: Scene | None) -> Scene | None:
        """Interrupt the task if it is time; what is running may be known already, and is returned."""
        raise NotImplementedError

    def around(self, position: Position) -> Position:
        """Add what the task, which runs, awaits and waits in: greenlets that run parts of it, and up to 3.9 all that is
        between the loop and a coroutine that handles an error.
        """
        return position.with_more([*callers(), *suspended_in(self.key.get_coro())])


class LoopTimer(Loop):
    """Fires when the first of its tasks is due."""

    def __init__(self, loop: Any, behind: ThreadEnforcer | None) -> None:
        self.loop = loop
        self.behind = behind  # what watches the thread
        self.enforcers: dict[Any, TaskEnforcer] = {}  # by the task
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
            behind.loops += (self,)
        return self

    def add(self, enforcer: TaskEnforcer) -> None:
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

    def linger(self, enforcer: TaskEnforcer) -> None:
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
        safepoints.withdraw(thread.get_ident())
        timers.pop(self.loop, None)
        behind = self.behind
        if behind is not None:
            behind.loops = tuple(each for each in behind.loops if each is not self)
            behind.sessions -= 1
            if not behind.sessions and not behind.phases and behind.key == thread.get_ident():
                behind.stop()


def _forked() -> None:
    """Begin anew in a child process: no loop of its parent runs there."""
    for timer in timers.values():
        for enforcer in timer.enforcers.values():
            enforcer.forget()
        timer.enforcers.clear()
    timers.clear()


fork.in_child("loop_timer", _forked)
