"""Whether an exception raised at a place would do harm, so that the thread is sent on to a better one first."""

from __future__ import annotations

from itertools import islice, takewhile

from ..interpreter.bytecode import closes, misplaced, opens
from ..interpreter.frames import module_of, runs
from ..originals import python
from .whereabouts import ENTERS, EXITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from .position import Position
    from .whereabouts import Place

PATIENCE = 100  # bad places that are passed over, if a better one may come
BRIEF = 5  # of them, in a function that is called directly before or behind a `try`
NEAR = 8  # frames in which the interpreter may stand at a bad place: a signal handler of others has callers
_TO_END = (*ENTERS, *EXITS, "__del__")  # a lock would stay locked; an error in the last is lost, and printed
_STARTS = {  # functions that start a process
    **dict.fromkeys(("__init__", "_get_handles", "_execute_child", "_posix_spawn", "_close_pipe_fds"), "subprocess"),
    **dict.fromkeys(("_launch", "spawnv_passfds"), "multiprocessing"),
}


def does_harm(position: Position, block: Place | None, tries: float) -> bool:
    """Tell whether it would miss a handler, or leave somebody's work half done, in this block.

    Patience ends where no better place comes. Then only who was sent here is sent on: out of contextlib, and out of the
    start of a process.
    """
    frame, is_sent, is_patient = position.frame, position.sent_to >= 0, tries < PATIENCE
    if not (is_patient or is_sent):
        return False
    module = module_of(frame).partition(".")[0]
    if module == "contextlib" or module == _STARTS.get(frame.f_code.co_name):
        return True  # ExitStack, between two of its callbacks; a process that is started, and known to nobody yet
    near = list(islice(position.stack, NEAR))
    called = list(takewhile(lambda each: block is None or each is not block[0], near))  # in the block
    is_brief = bool(called) and tries < BRIEF  # otherwise what has been called is no way to take a lock
    beside = near[is_sent : 1 + is_brief]  # the frame, unless it was sent here, and its caller in the block
    if is_patient and (any(runs(each, _TO_END) for each in called) or any(map(_is_beside, beside))):
        return True
    return not is_sent and _misses(near)


def _is_beside(frame: FrameType) -> bool:
    """Tell whether this does what a `try` relies on: what is called directly before its begin, or behind its end."""
    return opens(frame.f_code, frame.f_lasti) or closes(frame.f_code, frame.f_lasti)


def _misses(near: list[FrameType]) -> bool:
    """Tell whether a frame stands where a handler is missed, or traces: an error in it would end the tracing."""
    tracers = [python.gettrace(), python.getprofile(), *(each.f_trace for each in near)]
    codes = [getattr(getattr(each, "__func__", each), "__code__", None) for each in tracers if each is not None]
    return any(misplaced(each) or each.f_code in codes for each in near)
