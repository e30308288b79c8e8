"""Have a thread call a function of ours at the next instruction where an exception is well received.

Wanted: the function runs in that very thread, between two of its instructions, and may raise; the caller may be a
signal handler in that thread, which has found it at a bad place, or another thread.

What does not work: ``PyThreadState_SetAsyncExc``. It raises wherever the thread happens to look, in the holes that
`bytecode` describes, too, and it raises late: when the thread gets it, the block may be left, or a newborn thread is
hit in its stead (up to 3.11).

What works: the monitoring of instructions, from 3.12 by ``sys.monitoring``, local to the code objects on the stack, and
as a tool of its own, so that no debugger or coverage notices. Before 3.12 by a trace function of the thread, set
through the interpreter's own ``_PyEval_SetTrace``, which takes any thread. The interpreter is given C code that asks
our object for its truth: an error raised there does not end the tracing, so whoever traced before can be put back.

A thread has one trace function: where another copy of the package has set its own, that calls for us, too.

What remains: a thread that is in C code arrives when that returns. PyPy has neither. Before 3.12, who was tracing
another thread is known by what hangs on its frames only.
"""

from __future__ import annotations

import sys
from functools import lru_cache

from ..originals import python, system, thread, uninterrupted
from . import debugger, fork
from .bytecode import landings
from .frames import is_of_package, up
from .timer import c_types

RLock, get_ident = thread.RLock, thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType
    from typing import Any

    Arrive = Callable[[FrameType, int], None]

try:
    from _thread import daemon_threads_allowed  # type: ignore[attr-defined]
except ImportError:  # before 3.12
    pass

_monitoring: Any = getattr(sys, "monitoring", None)
TOOL = __name__.replace("safepoints", "landing")  # the name by which copies of other versions know ours, too
_OWN_NAME = f".{__name__.split('.', __name__.count('.') - 1)[-1]}"  # in every copy
_tool = -1  # ours, while there is a visit
_visits: dict[int, _Visit] = {}  # by the ident of the thread
_lock = RLock()  # held while visits come and go


def guarded(frame: FrameType) -> bool:
    """Tell whether a frame is code of ours, or of another copy, that must not be interrupted."""
    names: Any = frame.f_globals.get("_no_interrupt")
    return names is not None and frame.f_code.co_name in names


class _Visit:
    """What is to be called in a thread, and how to take it back."""

    __slots__ = ("arrive", "pid", "codes", "met", "gate", "stood", "undo")

    def __init__(self, arrive: Arrive) -> None:
        self.arrive = arrive
        self.pid = system.getpid()  # a child that has just been forked has inherited this
        self.codes: set[CodeType] = set()  # what is monitored,
        self.met: set[CodeType] = set()  # and of that, where the thread has been seen
        self.gate: Any = None  # or what traces the thread,
        self.stood: dict[FrameType, tuple[int, int]] = {}  # and where that was set from outside: instruction and line
        self.undo: Callable[[], None] = lambda: None

    def goes_on(self, frame: FrameType) -> bool:
        """Tell whether a frame has only gone on in the line where it stood, as one does in which a call returns."""
        at, line = self.stood.get(frame, (sys.maxsize, 0))
        return frame.f_lasti > at and frame.f_lineno == line

    def at(self, frame: FrameType, at: int) -> None:
        __tracebackhide__ = True
        is_here = at in landings(frame.f_code) and self.pid == system.getpid()
        if is_here and not any(guarded(each) for each in up(frame)):
            self.arrive(frame, at)


def thread_state() -> int:
    """Return what ``arrange`` must know of the calling thread; 0 if no other thread can send it anywhere."""
    if _monitoring is not None:  # up to 3.13 the frames of other threads are rubbish in a subinterpreter
        return int(sys.version_info >= (3, 14) or daemon_threads_allowed())
    if sys.implementation.name != "cpython":
        return 0
    try:
        current = _interpreter().PyThreadState_Get
    except Exception:  # there is no ctypes, or an auditor forbids it
        return 0
    current.restype = c_types().c_void_p
    return int(current() or 0)


@uninterrupted
def arrange(ident: int, state: int, frames: Iterable[FrameType], arrive: Arrive) -> bool:
    """Have the thread call ``arrive`` wherever it lands in these frames, with the frame and the instruction.

    It goes on until it is withdrawn. Return False if that cannot be.
    """
    with _lock:
        return _monitor(ident, frames, arrive) if _monitoring is not None else _trace(ident, state, frames, arrive)


@uninterrupted
def withdraw(ident: int) -> None:
    """Take back what was arranged for a thread; called in that thread."""
    if ident in _visits:
        with _lock:
            _visits.pop(ident).undo()


def _forked() -> None:
    global _lock
    _lock = RLock()
    for ident in list(_visits):
        withdraw(ident)


fork.in_child("safepoints", _forked)


# -- from 3.12 ---------------------------------------------------------------------------------------------------------


def _monitor(ident: int, frames: Iterable[FrameType], arrive: Arrive) -> bool:
    global _tool
    if _tool < 0:
        _tool = next((tool for tool in (4, 3, 5, 2, 1, 0) if _monitoring.get_tool(tool) is None), -1)
        if _tool < 0:
            return False
        _monitoring.use_tool_id(_tool, TOOL)
        _monitoring.register_callback(_tool, _monitoring.events.INSTRUCTION, _event)
    visit = _visits.get(ident)
    if visit is None:
        visit = _visits[ident] = _Visit(arrive)
        visit.undo = lambda: _unmonitor(visit.codes)
    _add(visit, frames)
    return True


def _add(visit: _Visit, frames: Iterable[FrameType]) -> None:
    for code in {frame.f_code for frame in frames} - visit.codes:
        visit.codes.add(code)
        _monitoring.set_local_events(_tool, code, _monitoring.events.INSTRUCTION)


def _unmonitor(codes: set[CodeType]) -> None:
    global _tool
    for code in codes.difference(*(visit.codes for visit in _visits.values())):
        _monitoring.set_local_events(_tool, code, 0)
    if not _visits:
        _monitoring.register_callback(_tool, _monitoring.events.INSTRUCTION, None)
        _monitoring.free_tool_id(_tool)
        _tool = -1


@uninterrupted
def _event(code: CodeType, at: int) -> None:
    __tracebackhide__ = True
    visit = _visits.get(get_ident())
    if visit is not None:
        frame = python._getframe(1)
        if code not in visit.met:  # only the thread itself knows from where it was called
            visit.met.add(code)
            with _lock:
                _add(visit, up(frame))
        visit.at(frame, at)


# -- before 3.12 -------------------------------------------------------------------------------------------------------


class _Gate:
    """A trace function, for a visit and those of other copies: the interpreter asks for its truth at every event.

    An error that is raised at the event of a line is forgotten by the event of the instruction that follows. So frames
    are traced by instructions, without lines, before anything is raised in them, and it is their own thread that sets
    this: another one could do so between the two events. The first event after a call that has blocked is not that of a
    line, and the `try` around the call is not left yet.
    """

    def __init__(self, tracer: Any) -> None:
        self.tracer = tracer  # what has traced before
        self.visits: list[_Visit] = []
        self.set: set[FrameType] = set()
        self.frames: dict[FrameType, tuple[bool, bool]] = {}  # what is traced, and how it was before

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


@lru_cache(None)
def _interpreter() -> Any:
    """Return the functions of the interpreter in C, through a handle of our own: what is set there is nobody else's."""
    handle = getattr(sys, "dllhandle", None)  # Windows
    return c_types().PyDLL(None) if handle is None else c_types().PyDLL("python", handle=handle)


def _trace(ident: int, state: int, frames: Iterable[FrameType], arrive: Arrive) -> bool:
    own = ident == get_ident()
    if own:
        state = thread_state()
    if not state:
        return False
    stack = list(frames)
    visit = _visits.get(ident)
    if visit is None:
        visit = _Visit(arrive)
        gate = _gate_of(ident)
        if gate is None:
            gate = _Gate(python.gettrace() if own else next((each.f_trace for each in stack if each.f_trace), None))
        visit.gate, visit.undo = gate, lambda: _untrace(ident, gate, visit)
        _visits[ident] = visit
        gate.visits.append(visit)
        if len(gate.visits) == 1:
            _set_gate(state, gate, stack[0] if own else None)
    gate = visit.gate
    for frame in stack:  # a loop that jumps back to the very instruction comes to no new line
        if not debugger.name(frame.f_trace):  # which knows no such event, and may take the tracing back
            gate.note(frame)
            frame.f_trace_opcodes = True
            visit.stood[frame] = frame.f_lasti, frame.f_lineno
    return True


def _gate_of(ident: int) -> Any:
    """Return what traces a thread for another copy of the package; None if there is none that does."""
    copies = [vars(module) for name, module in sys.modules.copy().items() if name.endswith(_OWN_NAME)]
    gates = [getattr(copy.get("_visits", {}).get(ident), "gate", None) for copy in copies]
    return next((gate for gate in gates if gate is not None), None)  # not by its truth


def _set_gate(state: int, gate: _Gate, frame: FrameType | None) -> None:
    """Have it trace a thread; its own, if this is the frame where that stands."""
    gate.trace(frame)
    ctypes, interpreter = c_types(), _interpreter()
    set_trace = interpreter._PyEval_SetTrace
    set_trace.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object
    set_trace(state, ctypes.cast(interpreter.PyObject_IsTrue, ctypes.c_void_p), gate)


def _untrace(ident: int, gate: _Gate, visit: _Visit) -> None:
    gate.visits.remove(visit)
    if gate.visits:  # of other copies
        return
    for frame, (opcodes, lines) in gate.frames.copy().items():  # a signal handler may be noted meanwhile
        frame.f_trace_opcodes, frame.f_trace_lines = opcodes, lines
    if ident == get_ident():
        python.settrace(gate.tracer)
