"""Whether the calling thread is in a debugger, where nothing is to be interrupted."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_OTHERS = ("pydevd", "_pydevd", "debugpy")  # debuggers that do not build on bdb, by the beginning of their modules

_told = False


def present(frame: FrameType | None = None) -> str:
    """Name the debugger that traces the calling thread or asks at a prompt in it; "" if there is none.

    A coverage tool or a profiler traces, too, and is not one. At a prompt after the fact nothing traces, but the
    debugger is on the stack, which begins at ``frame`` (default: the caller).
    """
    if "bdb" in sys.modules:
        name = _at_prompt(frame or sys._getframe(1))
        if name:
            return name
    return _name(sys.gettrace()) or _monitor()


def say(what: str, name: str) -> None:
    """Tell on stderr, once in the life of the process, why a limit is let pass."""
    global _told
    if not _told and sys.__stderr__ is not None:
        _told = True
        print(f"{what} There is a debugger ({name}): nothing is interrupted.", file=sys.__stderr__, flush=True)


def _name(tracer: Any) -> str:
    if tracer is None:
        return ""
    owner = getattr(tracer, "__self__", tracer)
    for kind in type(owner).__mro__:
        if (kind.__module__, kind.__name__) == ("bdb", "Bdb"):
            return type(owner).__name__.lower()
    module = getattr(tracer, "__module__", None) or type(tracer).__module__
    return module.partition(".")[0] if module.startswith(_OTHERS) else ""


def _monitor() -> str:
    monitoring = getattr(sys, "monitoring", None)
    name = monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID)
    return "" if not name or name.endswith(".landing") else name  # `landing` takes the last place that is free


def _at_prompt(frame: FrameType | None) -> str:
    while frame is not None and frame.f_globals.get("__name__") not in ("pdb", "bdb"):
        frame = frame.f_back
    return "pdb" if frame is not None else ""
