"""What an enforcer is, which one suits the calling code, and what entering and leaving a phase mean to it.

An enforcer is a module that can interrupt: `by_timer` and `by_signal` the main thread, `by_thread` any thread from
another one, `by_asyncio` a task. Each has the same names in the same order: ``NAME``, what it is called; ``missing``,
why it cannot watch the calling code; ``start`` and ``stop`` a watch over it; ``arm`` it for an instant; ``poke`` it to
look at once; of a thread, ``arrived``, called where it was sent to. When it fires, the watched thread looks.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from warnings import warn

from . import by_asyncio, by_signal, by_thread, by_timer, kill_after
from ..errors import LET_PASS, PhaseTimeout
from ..originals import clock, python
from ..counting.ledger import EARLY, Phase, caller
from ..seconds import INFINITY
from ..interpreter.frames import up
from ..interpreter.turns import unreachable
from ..interrupting.whereabouts import standing
from ..counting.verdict import is_debugged, overrun, timeout_in
from ..interrupting.enforcer import Watch

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from ..accounting import TimeoutManager


def enter(phase: Phase, manager: TimeoutManager, at: float) -> None:
    """See to it that the phase ends at this instant; raise PhaseTimeout at once if it is to be interrupted by then."""
    if manager._enforce and at <= phase._started:
        at = _refuse(phase, at)
        if at == INFINITY:  # nothing binds it but for a lost one
            return
    try:
        while phase._watch is None:
            watch = begin(manager, at)
            if watch is None:
                break
            if not watch.phases:
                _put_off(watch, at)  # in a session it is still set for a phase that has ended
            _register(phase, watch)
        if manager._kill_after is not None:
            kill_after.guard(phase, at + manager._kill_after)
    except BaseException:
        leave(phase, phase._watch, None)
        _retract(phase)
        raise


def _register(phase: Phase, watch: Watch) -> None:
    """Have a watch that has begun watch the phase, unless a phase in a signal handler has ended it meanwhile."""
    watch.phases.append(phase)
    if watch.at == INFINITY:
        watch.phases.remove(phase)
        return
    phase._watch = watch
    if phase._manager._kill_children is not None:
        from . import kill_children

        kill_children.guard(phase)
        with suppress(RuntimeError):  # no thread can be started
            by_thread.employ((kill_children, phase), partial(kill_children.look, phase))


def leave(phase: Phase, watch: Watch | None, struck: PhaseTimeout | None) -> None:
    """See to it that nothing happens to the phase any more; ``struck`` is what was raised in it."""
    if phase._manager._kill_after is not None:
        kill_after.release(phase)
    if watch is not None:
        _unregister(phase, watch, struck)
    if phase._manager._kill_children is not None:
        from . import kill_children

        by_thread.dismiss((kill_children, phase))
        kill_children.end(phase, phase._manager._kill_children, struck)


def _unregister(phase: Phase, watch: Watch, struck: PhaseTimeout | None) -> None:
    phases = watch.phases
    if phases[-1] is phase:
        phases.pop()
    else:
        phases.remove(phase)
    if watch.strike is not None and (not phases or watch.strike.over is phase):
        watch.strike = None
    if watch.covered:
        watch.enforcer.settle(watch)
    if not phases and not watch.sessions:
        watch.enforcer.stop(watch)
    elif not phases and struck is not None:
        _put_off(watch, INFINITY)
    elif phases and (phase.parent is None or phase._until < phase.parent._until):
        innermost = {each._manager: each for each in phases}
        now = clock.monotonic()
        _put_off(watch, min([now + each._left(now) for each in innermost.values()]))


def _put_off(watch: Watch, at: float) -> None:
    """Fire at this instant and not before, lest a block is disturbed that is in time."""
    if watch.at + EARLY < at and not watch.stale and not watch.pulses:
        watch.enforcer.arm(watch, at)


def _refuse(phase: Phase, at: float) -> float:
    """Leave the phase again, since nothing is left of its time; return when it is over if that was for a lost one."""
    over = overrun(phase, phase._started)
    if isinstance(over, Phase) and over is not phase and over._watch is not None:
        standing(over._watch, [*up(python._getframe())])
        phase.parent = around = phase._around()
        own = INFINITY if phase.limit is None else phase._started + phase.limit
        phase._until = own if around is None else min(own, around._until)
        at = phase._started + phase._left(phase._started)
        over = overrun(phase, phase._started)
    if phase.parent is not None and phase.parent._struck is LET_PASS or over is not None and is_debugged(phase):
        phase._struck = LET_PASS
    elif over is not None:
        error = timeout_in(phase, over, phase._started)
        error.interrupted = True
        try:
            phase.__exit__(None, None, None)
        except PhaseTimeout:
            phase.outcome = "timeout"
            raise error from None
    return at


def _retract(phase: Phase) -> None:
    """Undo entering: this thread cannot be watched as was asked for."""
    manager, key = phase._manager, phase._key
    stack = manager._open if manager._open.get(key) is phase else manager._aside
    if phase.parent is None:
        del stack[key]
    else:
        stack[key] = phase.parent
    manager._phases.remove(phase)
    phase.outcome = "new"


def begin(manager: TimeoutManager, at: float) -> Watch | None:
    """Watch the calling thread from now on; warn and return None where nothing can.

    RuntimeError, saying what is missing and what would work, where the mechanism was asked for by name.
    """
    if not manager._enforce:
        return None
    for enforcer in CANDIDATES[manager._enforce]:
        watch: Watch | None = enforcer.start(at)
        if watch is not None:
            if not manager._takes_long:
                manager._watch = watch
            if enforcer is not by_asyncio and unreachable():
                warn(f"{unreachable()}: until it runs on, time is only counted", RuntimeWarning, 4)
            return watch
    missing = [enforcer.missing() for enforcer in CANDIDATES[manager._enforce] if enforcer is not by_asyncio]
    if manager._enforce is not True:
        works = choice(True)
        advice = f'enforce="{works}" works' if works != "none" else "time can only be counted"
        raise RuntimeError(f"enforce={manager._enforce!r} cannot work here: {missing[0]}; here {advice}")
    warn(f"nothing can interrupt this thread, so time is only counted: {'; '.join(missing)}", RuntimeWarning, 4)
    return None


def choice(wish: bool | str) -> str:
    """Name what would interrupt the calling code."""
    name = next((enforcer.NAME for enforcer in CANDIDATES[wish] if not enforcer.missing()), "none")
    return "none" if name != by_asyncio.NAME and unreachable() else name


def refresh(manager: TimeoutManager) -> None:
    """Look again at once, in all threads: the limits have changed."""
    here = caller()
    for key, top in [*manager._open.copy().items(), *manager._aside.copy().items()]:
        if key == here:
            _catch_up(top)
        elif manager._enforce is True and hasattr(key, "get_loop"):  # a task of asyncio
            by_asyncio.call(key, _catch_up, top, key)
    tasks = [watch for pulse in by_asyncio.pulses.copy().values() for watch in pulse.watches.copy().values()]
    for watch in (by_timer.watch, by_signal.watch, *by_thread.watches.copy().values(), *tasks):
        phases = watch.phases.copy()
        if not any(phase._manager is manager for phase in phases):
            continue
        if watch.key == here and watch.pulse is None:  # without a signal, which could meet what is next
            now = clock.monotonic()
            watch.enforcer.arm(watch, min(now + phase._left(now) for phase in phases))
        else:
            watch.stale = True
            watch.enforcer.poke(watch)
    if manager._kill_after is not None:
        kill_after.refresh(manager)


def _catch_up(top: Phase, task: Any = None) -> None:
    """Watch the calling thread or this task, if it is in phases that had no limit when they were entered."""
    found = []
    phase: Phase | None = top
    while phase is not None:
        if phase.outcome == "running" and phase._watch is None:
            found.append(phase)
        phase = phase.parent
    if not found or top.remaining() is None or any(frame.f_code in _STEPS for frame in up(python._getframe())):
        return
    now = clock.monotonic()
    watch = begin(top._manager, now) if task is None else by_asyncio.watch_over(task, now)
    if watch is not None:
        for phase in found[::-1]:
            _register(phase, watch)
        watch.phases[:] = sorted(watch.phases, key=lambda each: each._started)


def open_session(manager: TimeoutManager) -> Watch | None:
    """Watch the calling thread, if there is a budget, until the session is closed."""
    rest = manager._left()
    watch = None if rest is None else begin(manager, clock.monotonic() + rest)
    if watch is not None:
        watch.sessions += 1
    return watch


def close_session(watch: Watch) -> None:
    """Disarm, and put everything back, unless phases are open that need it."""
    watch.sessions -= 1
    if watch.covered:
        watch.enforcer.settle(watch)
    if not watch.sessions and not watch.phases:
        watch.enforcer.stop(watch)


_STEPS = Phase.__enter__.__code__, Phase.__exit__.__code__  # where a signal handler may have called `reset`
NOBODY = Watch(0, by_signal)  #: what a manager has before its first phase
CANDIDATES: dict[bool | str, tuple[ModuleType, ...]] = {
    True: (by_asyncio, by_timer, by_signal, by_thread),  # the best first
    False: (),
    "timer": (by_timer,),
    "signal": (by_signal,),
    "thread": (by_thread,),
}
