"""Interrupt an asyncio task by cancelling it.

What is wanted: what ``asyncio.timeout`` does, with everything that a phase is. The task whose time is over is cancelled
where it awaits, so that everything on its way out runs, and the cancellation leaves the block as PhaseTimeout.

What does not work: an alarm alone. It comes while the loop waits for events, in code that is nobody's, and ends all
tasks at once. A timer of the loop alone does not work either: a coroutine that does not await keeps it from firing.

What works: one timer for each loop, set to whichever of its phases is due first (`Pulse`), which cancels the task
(`cancellation`). Behind the loop stands what interrupts its thread (`alarm`, `watchdog`): if the timer is overdue, the
loop is blocked, and if it is the phase's own task that blocks it, the error is raised there. Otherwise what blocks the
loop is noted for the diagnosis.

What remains: that alarm stays armed for up to LINGER after the last phase of a loop, or to the end of the task, since
to arm it anew for each phase takes longer than ``asyncio.timeout``. Where nothing can interrupt the thread of the loop,
a coroutine that blocks it is not interrupted.
"""

from __future__ import annotations

import sys

from ..interrupting.cancellation import cancel, count, uncancel, uncount
from ..interrupting.delivery import find, mark, seize
from ..originals import clock, thread, uninterrupted
from ..seconds import INFINITY
from ..interpreter import fork, safepoints
from ..interpreter.frames import awaiting, suspended_in, up
from ..interpreter.turns import callers
from ..interrupting.whereabouts import bind, find_borders, give_up, next_look, outlives_task, standing_in_task
from ..interrupting.enforcer import FIRST, LAST, Watch

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from ..diagnosis.snapshot import Scene
    from ..interrupting.enforcer import Strike

NAME = "asyncio"
GRACE = 0.1  # seconds after which a timer of the loop that has not fired means that the loop is blocked
SWALLOWS = 2  # cancellations that the block may swallow before something else is raised as well
LINGER = 0.1  # seconds for which the thread of a loop stays watched after its last phase

pulses: dict[Any, Pulse] = {}  #: by the loop


class Pulse:
    """The timer of an event loop, for all of its tasks that have phases."""

    def __init__(self, loop: Any, behind: Watch | None) -> None:
        self.loop = loop
        self.behind = behind  # what watches the thread
        self.watches: dict[Any, Watch] = {}  # by the task
        self.at = INFINITY
        self.timer: Any = None  # fires then
        self.sending = -INFINITY  # until then no other task is sent anywhere: they share the thread
        self.resting: Any = None  # the timer that lets the thread go, if there is no phase by then

    def is_busy(self) -> bool:
        """Tell whether there are phases or sessions."""
        return any(watch.phases or watch.sessions > watch.held for watch in self.watches.values())

    def set(self, at: float, due: float) -> None:
        """Fire at this instant at the latest; have the thread look if the loop is blocked when a limit is due."""
        if at < self.at:
            if self.timer is not None:
                self.timer.cancel()
            self.at = at
            self.timer = self.loop.call_later(max(at - clock.monotonic(), 0.0), _tick, self)
        behind = self.behind
        if behind is not None and due + GRACE < behind.at:
            behind.enforcer.arm(behind, due + GRACE)

    def seize(self, stack: dict[FrameType, None], frame: FrameType, landed: int, now: float) -> BaseException | None:
        """Return what is to be raised where the loop is blocked, if that is in a task whose phase is over."""
        error = scene = None
        if not self.loop.is_running() or self.behind is None:
            if self.loop.is_closed() or not self.is_busy():  # it was stopped in the moment after its last phase
                _leave(self)
            return None
        current = sys.modules["asyncio"].current_task(self.loop)
        for task, watch in self.watches.copy().items():
            blocked = watch.at + GRACE <= now
            if task is current and (blocked or watch.strike is not None and watch.strike.tries):
                error = seize(watch, _whole(stack, task), frame, landed, now)
            elif blocked:
                due = find(watch, standing_in_task(watch), frame, now, scene)
                scene = due and _fresh(due[0], now) or scene
                watch.at = now
            placing = watch.strike is not None and watch.strike.tries
            self.behind.at = min(self.behind.at, watch.at if placing else max(watch.at, now) + GRACE)
        return error


def missing() -> str:
    """Return why the calling code cannot be watched; nothing if it can."""
    return "no asyncio task is running here" if _current() is None else ""


def start(at: float) -> Watch | None:
    """Watch the running task, and fire at this instant at the latest; return None if there is none."""
    task = _current()
    return None if task is None else watch_over(task, at)


def watch_over(task: Any, at: float) -> Watch:
    """Watch a task of the running loop, and fire at this instant at the latest."""
    loop = task.get_loop()
    pulse = pulses.get(loop)
    if pulse is None:
        pulse = pulses[loop] = Pulse(loop, _behind(at + GRACE))
        if pulse.behind is not None:
            pulse.behind.sessions += 1
            pulse.behind.pulses += (pulse,)
    watch = pulse.watches.get(task)
    if watch is None:
        watch = Watch(task, sys.modules[__name__], pulse.behind)
        watch.pulse = pulse
        pulse.watches[task] = watch
        task.add_done_callback(_ended)
        count(task)
    if at < watch.at:
        arm(watch, at)
    return watch


def stop(watch: Watch) -> None:
    """The task has no phase any more. It is likely to have one soon: keep everything for a moment, as in a session."""
    pulse = watch.pulse
    if not watch.key or pulse is None:
        return
    if not watch.held:
        watch.held = True
        watch.sessions += 1
    if pulse.loop.is_closed():  # the task never ended
        _rest(pulse)
    elif pulse.resting is None:
        pulse.resting = pulse.loop.call_later(LINGER, _rest, pulse)


def arm(watch: Watch, at: float) -> None:
    """Fire at this instant."""
    watch.at = at
    if watch.pulse is not None:
        watch.pulse.set(watch.next(clock.monotonic()), at)


def poke(watch: Watch) -> None:
    """Have the loop look at once; called in any thread."""
    if watch.pulse is not None:
        call(watch.key, _tick, watch.pulse)


def call(task: Any, function: Callable[..., None], *args: object) -> None:
    """Have the loop of a task call a function; called in any thread."""
    try:
        task.get_loop().call_soon_threadsafe(function, *args)
    except RuntimeError:  # it is closed
        pass


@uninterrupted
def _tick(pulse: Pulse) -> None:
    """Look at the tasks that are due; called by the loop."""
    now = clock.monotonic()
    scene = None
    if pulse.timer is not None:
        pulse.timer.cancel()
        pulse.timer = None
    pulse.at = INFINITY
    try:
        for watch in list(pulse.watches.values()):
            if watch.stale or watch.at <= now:
                scene = _look(watch, now, scene) or scene
            elif watch.is_sample(now):
                watch.see(awaiting(watch.key.get_coro()), now)
    finally:
        watches = pulse.watches.values()
        soonest = min([watch.next(now) for watch in watches], default=INFINITY)
        if soonest < INFINITY:
            pulse.set(soonest, min(watch.at for watch in watches))


def _look(watch: Watch, now: float, like: Scene | None) -> Scene | None:
    """Cancel the task if it is time, and return what is running if that was looked at; set when to look again."""
    watch.stale = False
    phases = standing_in_task(watch)
    watch.at = next_look([phase for phase in watch.phases if phase not in phases], now)
    due = find(watch, phases, None, now, like)
    if due is None:
        return None
    strike, struck = due
    if strike.hits >= SWALLOWS and watch.pulse is not None:
        if now < watch.pulse.sending:
            watch.at = watch.pulse.sending
            return None
        watch.pulse.sending = now + FIRST
    if strike.hits < SWALLOWS or not _send(watch):
        strike.next(now)
    watch.at = strike.again if strike.again > now else now + LAST
    mark(struck, strike)
    bind(find_borders(watch.phases, struck, suspended_in(watch.key.get_coro())))
    if struck[0] in watch.cancelled:
        uncancel(watch.key)
    else:
        watch.cancelled.append(struck[0])
    cancel(watch.key, strike)
    return _fresh(strike, now)


def _send(watch: Watch) -> bool:
    """Have the task look where it lands when it runs on; return False if that cannot be."""
    return safepoints.arrange(get_ident(), 0, suspended_in(watch.key.get_coro()), _arrived)


@uninterrupted
def _arrived(frame: FrameType, at: int) -> None:
    """Raise where the running task has landed, if it was sent there and its phase is still over."""
    error = None
    watches = [watch for pulse in pulses.copy().values() for watch in pulse.watches.values()]
    sent = {watch.key: watch for watch in watches if watch.strike is not None and watch.strike.hits >= SWALLOWS}
    watch = sent.get(_current())
    if watch is not None:
        error = seize(watch, _whole(dict.fromkeys(up(frame)), watch.key), frame, at, clock.monotonic())
        arm(watch, watch.at)
    if error is not None or not sent:
        safepoints.withdraw(get_ident())
    if error is not None:
        try:
            raise error
        finally:
            del error


def _whole(stack: dict[FrameType, None], task: Any) -> dict[FrameType, None]:
    """Add what the running task awaits and waits in: greenlets that run parts of it, and up to 3.9 all that is between
    the loop and a coroutine that handles an error.
    """
    return {**stack, **dict.fromkeys(callers()), **dict.fromkeys(suspended_in(task.get_coro()))}


def _fresh(strike: Strike, now: float) -> Scene | None:
    """Return what was running when a limit had passed if that was not before now: it may be of an earlier look."""
    scene: Scene = strike.error._scene
    return scene if getattr(scene, "at", -INFINITY) >= now else None


# -- the loop, and the thread behind it --------------------------------------------------------------------------------


def _current() -> Any:
    asyncio = sys.modules.get("asyncio")
    loop = getattr(asyncio, "_get_running_loop", lambda: None)()
    return None if loop is None or asyncio is None else asyncio.current_task(loop)


def _behind(at: float) -> Watch | None:
    """Watch the thread of the running loop by what can interrupt it best."""
    from . import by_signal, by_thread, by_timer

    return by_timer.start(at) or by_signal.start(at) or by_thread.start(at)


@uninterrupted
def _rest(pulse: Pulse) -> None:
    """Let the thread go if there is no phase."""
    pulse.resting = None
    for watch in pulse.watches.values():
        if watch.held:
            watch.held = False
            watch.sessions -= 1
    if not pulse.is_busy():
        _leave(pulse)


@uninterrupted
def _ended(task: Any) -> None:
    """The task is over."""
    pulse = pulses.get(task.get_loop())
    if pulse is not None and task in pulse.watches:
        for phase in reversed(pulse.watches[task].phases):
            if not outlives_task(phase):
                give_up(phase)
        _forget(pulse, task)
        if not pulse.watches:
            _leave(pulse)


def _forget(pulse: Pulse, task: Any) -> None:
    pulse.watches.pop(task).forget()
    task.remove_done_callback(_ended)
    uncount(task)


def _leave(pulse: Pulse) -> None:
    """Take the timers off, forget the tasks, and give back what watched the thread."""
    for task in list(pulse.watches):
        _forget(pulse, task)
    for timer in pulse.timer, pulse.resting:
        if timer is not None:
            timer.cancel()
    pulse.timer = pulse.resting = None
    pulse.at = INFINITY
    safepoints.withdraw(get_ident())
    pulses.pop(pulse.loop, None)
    behind = pulse.behind
    if behind is not None:
        behind.pulses = tuple(each for each in behind.pulses if each is not pulse)
        behind.sessions -= 1
        if not behind.sessions and not behind.phases and behind.key == get_ident():
            behind.enforcer.stop(behind)


def _forked() -> None:
    """Begin anew in a child process: no loop of its parent runs there."""
    for pulse in pulses.values():
        for watch in pulse.watches.values():
            watch.forget()
    pulses.clear()


fork.in_child("by_asyncio", _forked)
