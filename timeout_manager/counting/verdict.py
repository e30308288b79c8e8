"""What becomes of a phase whose time is over, and of the error of its block."""

from __future__ import annotations

from ..errors import LetPass, PhaseInterrupt, PhaseTimeout, beneath, is_for_others, is_timeout, members, timeout_of
from ..interpreter.debugger import present, say
from ..originals import uninterrupted
from ..seconds import path as line, plain, text
from .ledger import Budget

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .ledger import Ledger, Limit, Phase


@uninterrupted
def judge(
    phase: Phase, error: BaseException | None, now: float, struck: PhaseTimeout | LetPass | None = None
) -> None:
    """Raise PhaseTimeout, or let the block's own error pass.

    ``struck`` is the error that an enforcer has raised in the block. Then what leaves it comes of that; otherwise it
    has come late, and only what says by its type that time was over is replaced.
    """
    if struck is not None:
        phase.outcome = "timeout"
        return end_in(phase, struck, error, is_for_others) if isinstance(struck, PhaseTimeout) else None
    owner = overrun(phase, now)
    if owner is None:  # what seemed to bind it has closed meanwhile
        phase.outcome = "done" if error is None else "failed"
        return
    phase.outcome = "timeout"
    if is_debugged(phase) or _is_on_its_way(error):
        return
    if isinstance(error, PhaseTimeout) and error.owner is owner:
        _explain(error)
    elif error is None or is_timeout(error):
        end_in(phase, timeout_in(phase, owner, now, error), error, is_for_others)
    elif isinstance(error, Exception) and hasattr(error, "add_note"):
        try:
            if not any(note.startswith("Timeout exceeded after ") for note in getattr(error, "__notes__", ())):
                error.add_note(str(timeout_in(phase, owner, now)))
        except Exception:  # its notes are not what they should be
            pass


def end_in(
    phase: Phase, timeout: PhaseTimeout, error: BaseException | None, passes: Callable[[BaseException], bool]
) -> None:
    """Raise the timeout of a phase, from what has left its block instead; let what is not of the block pass."""
    if phase.takes_back(error):
        raise _explain(timeout) from error
    replaced = phase.replaced(error) if isinstance(error, (PhaseTimeout, PhaseInterrupt)) else None
    if replaced is not None:
        raise replaced
    passing = _is_on_its_way(error)
    if error is None or isinstance(error, PhaseInterrupt) and (error.first is timeout or not passing):
        raise _explain(timeout) from None
    if isinstance(error, PhaseTimeout) and error.owner is timeout.owner:
        _explain(error)
    elif not passing and not _passes(error, timeout, passes):
        raise _explain(_above(timeout, error)) from error


def _passes(error: BaseException, timeout: PhaseTimeout, passes: Callable[[BaseException], bool]) -> bool:
    """Tell whether an error is not of the block, or one in a group is not."""
    inside = (each for each in members(error) if _interrupt(each) is not timeout)
    return passes(error) or any(_passes(each, timeout, passes) for each in inside)


def _interrupt(error: BaseException | None) -> PhaseTimeout | None:
    """Return the timeout that this is, or that it has come for: as a second interrupt, or a cancellation."""
    if isinstance(error, PhaseInterrupt):
        return error.first
    return error if isinstance(error, PhaseTimeout) else timeout_of(error)


def _is_on_its_way(error: BaseException | None) -> bool:
    """Tell whether this is the interrupt of a phase further out."""
    timeout = _interrupt(error)
    return timeout is not None and timeout.outermost is not None and timeout.outermost.outcome == "running"


def _above(timeout: PhaseTimeout, error: BaseException) -> PhaseTimeout:
    """Return the timeout, or another one like it where it is beneath its cause: nobody is to follow a ring."""
    if not any(each is timeout for each in beneath(error)):
        return timeout
    again = timeout.again()
    vars(again).pop("__notes__", None)  # they are seen already
    return again


def check(ledger: Ledger, name: str) -> None:
    """Raise PhaseTimeout, naming the operation so, if time is over for the calling code."""
    phase, now = ledger.top(), ledger.clock()
    owner = ledger.budget if phase is None else overrun(phase, now)
    if owner is not None:
        raise timeout(ledger, owner, now, name, () if phase is None else phase.path())


def overrun(phase: Phase, now: float) -> Limit | None:
    """Return the outermost limit of an open phase that has passed; it owns the error."""
    return next((limit for limit in phase.binding() if phase.ledger.left_of(limit, now) <= 0.0), None)


def timeout_in(phase: Phase, owner: Limit, now: float, cause: BaseException | None = None) -> PhaseTimeout:
    """Return the error for a limit that has passed in a phase."""
    return timeout(phase.ledger, owner, now, phase.name, phase.path(), cause)


def timeout(
    ledger: Ledger, owner: Limit, now: float, name: str, path: tuple[str, ...], cause: BaseException | None = None
) -> PhaseTimeout:
    """Return the error for a limit that has passed."""
    limited: str | None = None
    limit: float | None
    if isinstance(owner, Budget):
        what, limit, used = "inherited" if owner.inherited else "budget", owner.amount, ledger.used()
    else:
        limited, limit, used = owner.name, owner.limit, now - owner.started
        what = f"limit of phase {plain(limited)}"
    where = f"; in {line(path)}" if len(path) > 1 else ""
    why = f"({what} {text(limit)}, used {text(used)}{where})"
    error = PhaseTimeout(f"Timeout exceeded after {plain(name)} phase! {why}")
    error.phase, error.phase_path, error.owner = name, path, owner
    error.limited_by, error.limited_phase = what if limited is None else "limit", limited
    error.timeout, error.elapsed = limit, used
    for attribute in ("cmd", "output", "stderr", "killed", "survivors"):
        if hasattr(cause, attribute):
            setattr(error, attribute, getattr(cause, attribute))
    return error


def is_debugged(phase: Phase, seen: str = "") -> bool:
    """Tell whether a debugger is there, or was ``seen`` when it counted, where nothing is raised; say so."""
    name = seen or present()
    if name:
        say(f"Time is over for phase {line(phase.path())}.", name)
    return bool(name)


def _explain(error: PhaseTimeout) -> PhaseTimeout:
    """Note on the error, where there are notes, what was running; a traceback shows them."""
    if hasattr(error, "add_note") and not hasattr(error, "__notes__"):
        told = error.diagnosis
        if told:
            error.add_note(told)
    return error
