"""Whose `with` a phase is open in, where contextlib, a class or a generator has entered it for others."""

from __future__ import annotations

from ..interpreter.bytecode import entry
from ..interpreter.frames import module_of
from .whereabouts import ENTERS, GENERATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from .enforcer import InterruptiblePhase as Phase

FOR_OTHERS = frozenset({*ENTERS, "enter_context", "enter_async_context"})  # functions that do so


def find_users(phase: Phase, frame: FrameType) -> None:
    """Note whose `with` it is where an exit stack, a class or a ``@contextmanager`` lies in between."""
    phase.frame = frame = _with_of(_user_of(frame))
    phase.lasti = frame.f_lasti
    while frame.f_code.co_flags & GENERATES and frame.f_back is not None:
        user = _user_of(frame.f_back)
        if user is frame.f_back:  # it is not contextlib that runs the generator
            break
        frame = _with_of(user)
        phase.users += ((frame, frame.f_lasti),)


def _user_of(frame: FrameType) -> FrameType:
    """Return the frame, or for one of contextlib who has called that."""
    while module_of(frame) == "contextlib" and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _with_of(frame: FrameType) -> FrameType:
    """Return the frame, or for an ``__enter__`` that hands it on the one that has the `with`; the last if none has."""
    last = frame
    while entry(frame.f_code, frame.f_lasti) < 0:
        if frame.f_code.co_name not in ENTERS or frame.f_back is None:
            return last
        last, frame = frame, _user_of(frame.f_back)
    return frame
