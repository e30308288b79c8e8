"""What becomes of a phase whose time is over, and of the error of its block."""

from __future__ import annotations

from sys import modules

from .debugger import present, say
from .errors import LET_PASS, PhaseInterrupt, PhaseTimeout, is_timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .phase import Phase

_no_interrupt = frozenset({"judge"})  # see interrupt


def judge(phase: Phase, error: BaseException | None, now: float, struck: PhaseTimeout | None) -> None:
    """Raise PhaseTimeout, or let the block's own error pass.

    ``struck`` is the error that an enforcer has raised in the block; what became of it there does not matter.
    """
    owner = phase._over(now) if struck is None else struck._owner
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
        raise _explain(struck or phase._timeout(owner, now))
    if isinstance(error, PhaseInterrupt) and struck is not None:
        raise _explain(struck) from None
    if is_timeout(error):
        raise _explain(struck or phase._timeout(owner, now, error)) from error
    if isinstance(error, Exception) and hasattr(error, "add_note"):
        if not any(note.startswith("Timeout exceeded after ") for note in getattr(error, "__notes__", ())):
            error.add_note(str(struck or phase._timeout(owner, now)))


def was_cancelled(phase: Phase, error: BaseException | None, struck: PhaseTimeout) -> bool:
    """Tell whether the error is a cancellation by the phase, which now takes it back."""
    from .cancellation import settle

    return settle(phase, error, struck)


def is_debugged(phase: Phase) -> bool:
    """Tell whether a debugger is there, where nothing is raised; say so."""
    name = present()
    if name:
        say(f"Time is over for phase {' > '.join(phase.path())}.", name)
    return bool(name)


def _explain(error: PhaseTimeout) -> PhaseTimeout:
    """Note on the error, where there are notes, what was running; a traceback shows them."""
    if error.diagnosis and hasattr(error, "add_note") and not hasattr(error, "__notes__"):
        error.add_note(error.diagnosis)
    return error
