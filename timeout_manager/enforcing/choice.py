"""Which enforcer suits the calling code: that of a task, the two of the main thread, or that of any thread."""

from __future__ import annotations

from contextlib import suppress
from warnings import warn

from ..interpreter import watchdog
from ..interpreter.turns import unreachable
from ..interrupting.enforcer import Enforcer
from . import by_thread, by_timer
from .by_asyncio import ByAsyncio
from .by_signal import BySignal
from .by_thread import ByThread
from .by_timer import ByTimer

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALL: tuple[type[Enforcer], ...] = (ByAsyncio, ByTimer, BySignal, ByThread)  # the best first
UNDISTURBED = "undisturbed"  #: the wish for what code under test is least likely to get into the way of
CANDIDATES: dict[bool | str | None, tuple[type[Enforcer], ...]] = {
    True: ALL,
    UNDISTURBED: (ByTimer, ByThread, BySignal),
    False: (),
    **{kind.NAME: (kind,) for kind in ALL if not kind.OF_TASKS},
}
NOBODY = Enforcer(None)  #: what a ledger has before its first phase; 0 is a thread where there is but one


def start(wish: bool | str | None, at: float) -> Enforcer | None:
    """Return what interrupts the calling thread or task, by this instant; warn and return None where nothing can.

    RuntimeError, saying what is missing and what would work, where the mechanism was asked for by name.
    """
    if not wish:
        return None
    for kind in CANDIDATES[wish]:
        enforcer = kind.start(at)
        if enforcer is not None:
            if kind.OF_TASKS and enforcer.thread is enforcer:
                why = "nothing can interrupt this thread"
                warn(f"{why}: a task ends where it awaits; while it blocks, time is only counted", RuntimeWarning, 5)
            elif not kind.OF_TASKS and unreachable():
                warn(f"{unreachable()}: until it runs on, time is only counted", RuntimeWarning, 5)
            return enforcer
    missing = [kind.missing() for kind in CANDIDATES[wish] if not kind.OF_TASKS]
    if wish not in (True, UNDISTURBED):
        works = name_of(True)
        advice = f'enforce="{works}" works' if works != "none" else "time can only be counted"
        raise RuntimeError(f"enforce={wish!r} cannot work here: {missing[0]}; here {advice}")
    why = "; ".join(dict.fromkeys(missing))
    warn(f"nothing can interrupt this thread, so time is only counted: {why}", RuntimeWarning, 5)
    return None


def start_over(task: Any, at: float) -> Enforcer:
    """Return what interrupts a task of the running loop, by this instant."""
    return ByAsyncio.over(task, at)


def name_of(wish: bool | str | None) -> str:
    """Name what would interrupt the calling code."""
    kind = next((kind for kind in CANDIDATES[wish] if not kind.missing()), None)
    return "none" if kind is None or not kind.OF_TASKS and unreachable() else kind.NAME


def may_stay(mechanism: str) -> bool:
    """Tell whether it can stay armed between phases: an alarm would meet the handlers of others."""
    return mechanism in (ByTimer.NAME, ByThread.NAME)


def stand_behind(mechanism: str, key: object) -> None:
    """Have the watchdog stand behind what stays armed, where that can be lost; it is the job of this key."""
    if mechanism == ByTimer.NAME:
        with suppress(RuntimeError):  # no thread can be started
            watchdog.add_job(key, by_timer.attend)


def renew() -> None:
    """Repair, in the calling thread, what others may have done to what stays armed."""
    watchdog.revive()
    by_timer.renew()
    by_thread.renew()


def started() -> list[Enforcer]:
    """Return all that there are at present, in all threads."""
    return [enforcer for kind in ALL for enforcer in kind.started()]
