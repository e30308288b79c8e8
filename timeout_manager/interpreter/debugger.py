"""Whether there is a debugger, where nothing is to be interrupted."""

from __future__ import annotations

import sys
from itertools import chain, islice

from ..originals import python, thread
from .frames import WALKABLE, module_of, up
from .stderr import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OTHERS = ("pydevd", "_pydevd", "debugpy")  # debuggers that do not build on bdb, by the beginning of their modules

_monitoring: Any = getattr(sys, "monitoring", None)
_told = False


def present() -> str:
    """Name the debugger that traces the calling thread, or asks at a prompt in any thread; "" if there is none.

    A coverage tool or a profiler traces, too, and is not one. At a prompt after the fact nothing traces, but the
    debugger is on the stack.
    """
    if "bdb" in sys.modules:
        own = python._getframe(1)
        frames = python._current_frames()
        frames.pop(thread.get_ident(), None)
        others = [islice(up(frame), WALKABLE) for frame in frames.values()]
        if any(module_of(frame) in ("pdb", "bdb") for frame in chain(up(own), *others)):
            return "pdb"
    return name(python.gettrace()) or _monitor()


def say(what: str, name: str) -> None:
    """Tell on stderr, once in the life of the process, why a limit is let pass."""
    global _told
    if not _told:
        _told = True
        tell(f"{what} There is a debugger ({name}): nothing is interrupted.\n")


def name(tracer: Any) -> str:
    """Name the debugger to which a trace function belongs; "" if it is that of something else."""
    if tracer is None:
        return ""
    owner = getattr(tracer, "__self__", tracer)
    for kind in type(owner).__mro__:
        if (kind.__module__, kind.__name__) == ("bdb", "Bdb"):
            return type(owner).__name__.lower()
    module = getattr(tracer, "__module__", None) or type(tracer).__module__
    return module.partition(".")[0] if module.startswith(_OTHERS) else ""


def _monitor() -> str:
    name = _monitoring and _monitoring.get_tool(_monitoring.DEBUGGER_ID)
    return "" if not name or name.endswith(".landing") else name  # `landing` takes the last place that is free
