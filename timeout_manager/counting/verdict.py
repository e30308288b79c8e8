"""What becomes of a phase whose time is over, and of the error of its block."""

from __future__ import annotations

from sys import modules

from ..interpreter.debugger import present, say
from ..errors import LET_PASS, PhaseInterrupt, PhaseTimeout, is_timeout
from .ledger import Budget, left
from ..seconds import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..accounting import TimeoutManager
    from .ledger import Phase

_no_interrupt = frozenset({"judge"})  # see interrupt


def judge(phase: Phase, error: BaseException | None, now: float, struck: PhaseTimeout | None) -> None:
    """Raise PhaseTimeout, or let the block's own error pass.

    ``struck`` is the error that an enforcer has raised in the block; what became of it there does not matter.
    """
    owner = overrun(phase, now) if struck is None else struck._owner
    if owner is None:  # what seemed to bind it has closed meanwhile, or it was let pass
        phase.outcome = "timeout" if struck is LET_PASS else "done" if error is None else "failed"
        return
    phase.outcome = "timeout"
    if struck is not None and "asyncio" in modules and was_cancelled(phase, error, struck):
        raise _explain(struck) from error
    if struck is None and is_debugged(phase):
        return
    if isinstance(error, PhaseTimeout) and (error is struck or error._owner is owner):
        _explain(error)
        return
    if error is None:
        raise _explain(struck or timeout_in(phase, owner, now))
    if isinstance(error, PhaseInterrupt) and struck is not None:
        raise _explain(struck) from None
    if is_timeout(error):
        raise _explain(struck or timeout_in(phase, owner, now, error)) from error
    if isinstance(error, Exception) and hasattr(error, "add_note"):
        try:
            if not any(note.startswith("Timeout exceeded after ") for note in getattr(error, "__notes__", ())):
                error.add_note(str(struck or timeout_in(phase, owner, now)))
        except Exception:  # its notes are not what they should be
            pass


def check(manager: TimeoutManager, name: str) -> None:
    """Raise PhaseTimeout, naming the operation so, if time is over for the calling code."""
    phase, now = manager._top(), manager._clock()
    owner = manager._budget if phase is None else overrun(phase, now)
    if owner is not None:
        raise timeout(manager, owner, now, name, () if phase is None else phase.path())


def overrun(phase: Phase, now: float) -> Budget | Phase | None:
    """Return the outermost limit of an open phase that has passed; it owns the error."""
    return next((limit for limit in phase._limits() if left(limit, phase._manager, now) <= 0.0), None)


def timeout_in(phase: Phase, owner: Budget | Phase, now: float, cause: BaseException | None = None) -> PhaseTimeout:
    """Return the error for a limit that has passed in a phase."""
    return timeout(phase._manager, owner, now, phase.name, phase.path(), cause)


def timeout(
    manager: TimeoutManager,
    owner: Budget | Phase,
    now: float,
    name: str,
    path: tuple[str, ...],
    cause: BaseException | None = None,
) -> PhaseTimeout:
    """Return the error for a limit that has passed."""
    limited: str | None = None
    limit: float | None
    if isinstance(owner, Budget):
        what, limit, used = "inherited" if owner.inherited else "budget", owner.amount, manager._used()
    else:
        limited, limit, used = owner.name, owner.limit, now - owner._started
        what = f"limit of phase {limited}"
    where = f"; in {' > '.join(path)}" if len(path) > 1 else ""
    error = PhaseTimeout(f"Timeout exceeded after {name} phase! ({what} {text(limit)}, used {text(used)}{where})")
    error.phase, error.phase_path, error._owner = name, path, owner
    error.limited_by, error.limited_phase = what if limited is None else "limit", limited
    error.timeout, error.elapsed = limit, used
    for attribute in ("cmd", "output", "stderr", "killed"):
        if hasattr(cause, attribute):
            setattr(error, attribute, getattr(cause, attribute))
    return error


def was_cancelled(phase: Phase, error: BaseException | None, struck: PhaseTimeout) -> bool:
    """Tell whether the error is a cancellation by the phase, which now takes it back."""
    from ..interrupting.cancellation import settle

    return settle(phase, error, struck)


def is_debugged(phase: Phase, seen: str = "") -> bool:
    """Tell whether a debugger is there, or was ``seen`` when it counted, where nothing is raised; say so."""
    name = seen or present()
    if name:
        say(f"Time is over for phase {' > '.join(phase.path())}.", name)
    return bool(name)


def _explain(error: PhaseTimeout) -> PhaseTimeout:
    """Note on the error, where there are notes, what was running; a traceback shows them."""
    if error.diagnosis and hasattr(error, "add_note") and not hasattr(error, "__notes__"):
        error.add_note(error.diagnosis)
    return error
