"""Which enforcer suits the calling code.

An enforcer is a module that can interrupt: `by_timer` and `by_signal` the main thread, `by_thread` any thread from
another one, `by_asyncio` a task. Each has the same names in the same order: ``NAME``, what it is called; ``missing``,
why it cannot watch the calling code; ``start`` and ``stop`` a watch over it; ``arm`` it for an instant; ``poke`` it to
look at once; of a thread, ``arrived``, called where it was sent to. When it fires, the watched thread looks.
"""

from __future__ import annotations

from warnings import warn

from . import by_asyncio, by_signal, by_thread, by_timer
from ..interpreter.turns import unreachable
from ..interrupting.enforcer import Watch

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def start(wish: bool | str | None, at: float) -> Watch | None:
    """Watch the calling thread or task from now on; warn and return None where nothing can.

    RuntimeError, saying what is missing and what would work, where the mechanism was asked for by name.
    """
    if not wish:
        return None
    for enforcer in CANDIDATES[wish]:
        watch: Watch | None = enforcer.start(at)
        if watch is not None:
            if enforcer is by_asyncio and watch.thread is watch:
                why = "nothing can interrupt this thread"
                warn(f"{why}: a task ends where it awaits; while it blocks, time is only counted", RuntimeWarning, 5)
            elif enforcer is not by_asyncio and unreachable():
                warn(f"{unreachable()}: until it runs on, time is only counted", RuntimeWarning, 5)
            return watch
    missing = [enforcer.missing() for enforcer in CANDIDATES[wish] if enforcer is not by_asyncio]
    if wish is not True:
        works = name_of(True)
        advice = f'enforce="{works}" works' if works != "none" else "time can only be counted"
        raise RuntimeError(f"enforce={wish!r} cannot work here: {missing[0]}; here {advice}")
    warn(f"nothing can interrupt this thread, so time is only counted: {'; '.join(missing)}", RuntimeWarning, 5)
    return None


def name_of(wish: bool | str | None) -> str:
    """Name what would interrupt the calling code."""
    name = next((enforcer.NAME for enforcer in CANDIDATES[wish] if not enforcer.missing()), "none")
    return "none" if name != by_asyncio.NAME and unreachable() else name


def watches() -> list[Watch]:
    """Return all that are watched at present, in all threads."""
    tasks = [watch for pulse in by_asyncio.pulses.copy().values() for watch in pulse.watches.copy().values()]
    return [by_timer.watch, by_signal.watch, *by_thread.watches.copy().values(), *tasks]


NOBODY = Watch(0, by_signal)  #: what a ledger has before its first phase
CANDIDATES: dict[bool | str | None, tuple[ModuleType, ...]] = {
    True: (by_asyncio, by_timer, by_signal, by_thread),  # the best first
    False: (),
    "timer": (by_timer,),
    "signal": (by_signal,),
    "thread": (by_thread,),
}
