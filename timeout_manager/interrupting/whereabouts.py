"""In which of its open phases a thread or task is, and which of them have lost their way out.

* A phase that was entered by a `with` counts only while the frame of that `with` is on the stack and in the block. A
  generator that is suspended in it is not; its phase is due when it is resumed. Nor is a block that the interpreter
  left without calling ``__exit__``; such a phase is closed.
* The block of a phase can wait in another greenlet, with its frames on no stack of a thread; it is due when its own one
  is resumed. One that has ended without calling ``__exit__`` has left the phase, which is closed.
* Where contextlib, or a class whose ``__enter__`` and ``__exit__`` hand on to those of the phase, lies in between, it
  is the `with` of their user that counts (``users`` and ``frame`` of the phase). While such an ``__enter__`` or
  ``__exit__`` runs, the phase is at its border: an error that is raised there may lead past its own ``__exit__``, so
  from then on the phase counts only while that very call is on the stack, and is closed after it, unless that was an
  ``__enter__`` that has returned.
* A phase that was entered by hand counts until it is left. If a method did so, an ``__enter__`` or ``__exit__`` of the
  same object (which may be in an exit stack) is a border, too.
"""

from __future__ import annotations

from ..counting.ledger import caller
from ..errors import LET_PASS, PhaseTimeout
from ..interpreter.bytecode import LOSES_EXITS, entry, has_called, inside, returns, suspended
from ..interpreter.frames import codes, first_argument, runs, suspended_in, up
from ..interpreter.turns import greenlet, is_alive
from ..seconds import INFINITY
from .enforcer import SUSPENDED
from .expiry import LAST

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from .enforcer import Enforcer, InterruptiblePhase as Phase

    Place = tuple[FrameType, int]  # a frame, and its instruction that has entered

BORDER = -2  # stands for all instructions of the ``__enter__`` or ``__exit__`` that a phase is bound to
ENTERS, EXITS = ("__enter__", "__aenter__"), ("__exit__", "__aexit__")
_GENERATOR, _ASYNC_GENERATOR, _COROUTINE = 0x20, 0x200, 0x80 | 0x100  # flags of code; the last of both kinds
GENERATES = _GENERATOR | _ASYNC_GENERATOR
_SUSPENDS = GENERATES | 0x80


def whereabouts(enforcer: Enforcer, stack: Iterable[FrameType]) -> tuple[list[Phase], list[Phase]]:
    """Return the phases in which the thread is now, and others: in suspended generators and in greenlets that wait, or
    between their block and their ``__exit__``. Those that were left without it are closed.
    """
    found, elsewhere = [], []
    here = greenlet()
    for phase in enforcer.phases.copy():
        at = place(phase, stack)
        if at is None:
            if _is_bound(phase) and phase.key == caller():  # an error has ended it; it would be in its own stack
                give_up(phase)
            else:
                elsewhere.append(phase)
        elif phase.greenlet != here and at[0] not in stack:
            if is_alive(phase.greenlet):
                elsewhere.append(phase)
            else:
                give_up(phase)
        elif is_by_hand(at) or at[0] in stack and inside(*at) or _border(at, _callees(stack)) is not None:
            found.append(phase)
        elif at[0] in stack and (not LOSES_EXITS or has_called(at[0])):
            elsewhere.append(phase)
        else:
            give_up(phase)
    return found, elsewhere


def next_look(elsewhere: list[Phase], now: float) -> float:
    """Return when to look at these phases again: when they are over, then later and later."""
    over = [-phase.left(now) for phase in elsewhere if phase.struck is not LET_PASS]
    return now + min([min(max(each, SUSPENDED), LAST) if each >= 0.0 else -each for each in over], default=INFINITY)


def whereabouts_of_task(enforcer: Enforcer) -> list[Phase]:
    """Return the phases in which a task is that does not run at present. Those that have lost their way are closed."""
    frames = suspended_in(enforcer.key.get_coro())
    for phase in [phase for phase in enforcer.phases if _is_bound(phase)]:
        if phase.frame not in frames:
            give_up(phase)
    return [phase for phase in enforcer.phases if awaits(phase, frames)]


def place(phase: Phase, stack: Iterable[FrameType]) -> Place | None:
    """Return the `with` in which a phase is open in this stack: where it was entered, or while that is suspended, where
    contextlib holds it open; None if it is open only in a suspended generator or coroutine.
    """
    for frame, lasti in _places(phase):
        if frame in stack or not (frame.f_code.co_flags & _SUSPENDS and suspended(frame)):
            return frame, lasti
    return None


def awaits(phase: Phase, frames: Iterable[FrameType]) -> bool:
    """Tell whether a task that is suspended in these frames awaits in the block; a suspended generator does not."""
    for frame, lasti in _places(phase):
        flags = frame.f_code.co_flags
        if not flags & _SUSPENDS and frame in frames:  # of a greenlet
            return True
        if flags & _COROUTINE or flags & _ASYNC_GENERATOR and suspended(frame) != 1:
            return True
        if not flags & GENERATES or not suspended(frame):
            return is_by_hand((frame, lasti))
    return False


def outlives_task(phase: Phase) -> bool:
    """Tell whether another task can leave a phase: one in an asynchronous generator, or in an exit stack."""
    return any(at[0].f_code.co_flags & _ASYNC_GENERATOR or is_by_hand(at) for at in _places(phase)[:1])


def is_by_hand(at: Place) -> bool:
    """Tell whether it was no `with` that has entered: then that function may have returned."""
    return at[1] != BORDER and entry(at[0].f_code, at[1]) < 0


def _places(phase: Phase) -> tuple[Place, ...]:
    """Return where a phase is held open, the innermost first: the one that runs counts."""
    own = phase.frame
    if own is None:  # it has just been left, in another thread
        return ()
    if phase.lasti != BORDER:
        return (own, phase.lasti), *phase.users
    if returns(own) and runs(own, ENTERS):  # on into the block
        return phase.users
    return ((own, BORDER),)


def _is_bound(phase: Phase) -> bool:
    return any(lasti == BORDER for _, lasti in _places(phase))


def give_up(phase: Phase) -> None:
    """Close a phase that was left without its ``__exit__``."""
    abandon(phase, "failed" if phase.struck is None else "timeout")


def abandon(phase: Phase, outcome: str) -> None:
    """Close it where nobody will call its ``__exit__``; if somebody does, it ends there in what was raised in it."""
    struck = phase.struck
    try:
        phase.__exit__(None, None, None)
    except PhaseTimeout:
        pass
    phase.outcome = outcome
    phase.struck = struck.again() if isinstance(struck, PhaseTimeout) else struck  # no frames are kept


# -- the border --------------------------------------------------------------------------------------------------------


def find_borders(phases: list[Phase], struck: list[Phase], stack: Iterable[FrameType]) -> dict[Phase, FrameType]:
    """Return which of the phases are at their border, and the ``__enter__`` or ``__exit__`` that runs there.

    An object may be used in a `with` while another method of it has entered a phase by hand. If it is not that phase
    which is struck, only one that an ``__enter__`` has entered is taken for lost by what leads out of the other.
    """
    found = {}
    callees = _callees(stack)
    methods: dict[FrameType, FrameType | None] = {}
    for phase in phases:
        at = place(phase, stack)
        if at is None:
            continue
        if is_by_hand(at) and at[0] not in methods:
            is_own = phase in struck or _method(at[0], up(at[0]), ENTERS) is not None
            methods[at[0]] = _method(at[0], stack, ENTERS + EXITS) if is_own else None
        border = methods[at[0]] if is_by_hand(at) else _border(at, callees)
        if border is not None:
            found[phase] = border
    return found


def _method(frame: FrameType, stack: Iterable[FrameType], names: tuple[str, ...]) -> FrameType | None:
    """Return the outermost of these methods in a stack, of the object whose method this frame is."""
    own = first_argument(frame)
    known = codes(own, names)
    running = [each for each in stack if each.f_code.co_name in names or each.f_code in known]
    return next((each for each in running[::-1] if own is not None and first_argument(each) is own), None)


def _border(at: Place, callees: dict[FrameType, FrameType | None]) -> FrameType | None:
    frame, lasti = at
    if lasti == BORDER:
        return frame if frame in callees else None
    above = callees.get(frame)
    if above is None or entry(frame.f_code, frame.f_lasti) == entry(frame.f_code, lasti):
        return above
    return above if not inside(frame, lasti) and runs(above, EXITS) else None


def _callees(stack: Iterable[FrameType]) -> dict[FrameType, FrameType | None]:
    """Return what each frame of a stack has called: to look for one alone takes as long."""
    frames = list(stack)
    return dict(zip(frames, [None, *frames]))


def bind(at_border: dict[Phase, FrameType]) -> list[Phase]:
    """Bind phases that are interrupted to what runs at their border; return those that were not."""
    free = [phase for phase in at_border if phase.frame is not at_border[phase] or phase.lasti != BORDER]
    for phase in free:
        phase.users = _places(phase)
        phase.frame, phase.lasti = at_border[phase], BORDER
    return free
