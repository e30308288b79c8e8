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

What remains: a thread that is in C code arrives when that returns. PyPy has neither. Before 3.12, who was tracing
another thread is known by what hangs on its frames only.
"""

from __future__ import annotations

import sys

from ..originals import python, system, thread, uninterrupted
from . import debugger, fork
from .bytecode import landings
from .frames import up
from .gate import gate_of, interpreter
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
_OWN_NAME = "." + ".".join(__name__.split(".")[-2:])  # in every copy
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
        self.gate: Any = None  # or what traces the thread, a `Gate`,
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
        current = interpreter().PyThreadState_Get
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
        gate = visit.gate = gate_of(ident, _OWN_NAME)
        visit.undo = lambda: gate.leave(visit, ident)
        _visits[ident] = visit
        gate.visits.append(visit)
        if len(gate.visits) == 1:
            gate.open(state, stack, own)
    for frame in stack:  # a loop that jumps back to the very instruction comes to no new line
        if not debugger.name(frame.f_trace):  # which knows no such event, and may take the tracing back
            visit.gate.note(frame)
            frame.f_trace_opcodes = True
            visit.stood[frame] = frame.f_lasti, frame.f_lineno
    return True
