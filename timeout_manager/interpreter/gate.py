"""A trace function that leads a thread to its landings (`safepoints`), before there was ``sys.monitoring``.

A thread has one: where another copy of the package has set its own, that one serves both.
"""

from __future__ import annotations

import sys
from functools import lru_cache

from ..originals import python, thread, uninterrupted
from .frames import is_of_package
from .timer import c_types

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any


class Gate:
    """The interpreter asks for its truth at every event.

    An error that is raised at the event of a line is forgotten by the event of the instruction that follows. So frames
    are traced by instructions, without lines, before anything is raised in them, and it is their own thread that sets
    this: another one could do so between the two events. The first event after a call that has blocked is not that of a
    line, and the `try` around the call is not left yet.
    """

    def __init__(self) -> None:
        self.visits: list[Any] = []  # for which it is there
        self.set: set[FrameType] = set()
        self.frames: dict[FrameType, tuple[bool, bool]] = {}  # what is traced, and how it was before
        self.tracer: Any = None  # what has traced before

    def open(self, state: int, stack: list[FrameType], own: bool) -> None:
        """Trace the thread that has this state and stands there, the calling one if it is its own."""
        if own:
            self.tracer = python.gettrace()
            self.trace(stack[0])
        else:
            self.tracer = next((frame.f_trace for frame in stack if frame.f_trace), None)
        ctypes, c_code = c_types(), interpreter()
        set_trace = c_code._PyEval_SetTrace
        set_trace.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object
        set_trace(state, ctypes.cast(c_code.PyObject_IsTrue, ctypes.c_void_p), self)

    def leave(self, visit: Any, ident: int) -> None:
        """Take a visit back, and with the last one all that was set; called in the thread, or in a forked child."""
        self.visits.remove(visit)
        if self.visits:  # of other copies
            return
        self.set.clear()
        for frame, (opcodes, lines) in self.frames.copy().items():  # a signal handler may be noted meanwhile
            frame.f_trace_opcodes, frame.f_trace_lines = opcodes, lines
        if ident == get_ident():
            python.settrace(self.tracer)

    def note(self, frame: FrameType) -> None:
        self.frames.setdefault(frame, (frame.f_trace_opcodes, frame.f_trace_lines))

    @uninterrupted
    def __bool__(self) -> bool:
        __tracebackhide__ = True
        frame = python._getframe(1)
        if is_of_package(frame):  # a look while this is set: it would take 20 ms
            return False
        is_instruction = frame in self.set
        self.trace(frame)
        for visit in self.visits.copy():
            if is_instruction or visit.goes_on(frame):
                visit.at(frame, frame.f_lasti)
        return False

    def trace(self, frame: FrameType | None) -> None:
        while frame is not None and frame not in self.set:
            self.set.add(frame)
            self.note(frame)
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            frame = frame.f_back


def gate_of(ident: int, name: str) -> Gate:
    """Return what traces a thread for another copy of the package, whose modules of this name know; else a new one."""
    copies = [vars(module) for each, module in sys.modules.copy().items() if each.endswith(name)]
    gates = [getattr(copy.get("_visits", {}).get(ident), "gate", None) for copy in copies]
    return next((gate for gate in gates if gate is not None), Gate())  # not by its truth


@lru_cache(None)
def interpreter() -> Any:
    """Return the functions of the interpreter in C, through a handle of our own: what is set there is nobody else's."""
    handle = getattr(sys, "dllhandle", None)  # Windows
    return c_types().PyDLL(None) if handle is None else c_types().PyDLL("python", handle=handle)
