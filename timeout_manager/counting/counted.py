"""A ledger that only counts, with all that it needs to tell that a time is over.

The first manager loads it: a phase may come to its end where nothing can be loaded any more, as where no file
descriptor is left.
"""

from __future__ import annotations

from .cleanup import Cleanup
from .ledger import Ledger, Phase
from .verdict import judge

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ledger import F


class CountedLedger(Ledger):
    """A ledger whose phases end in PhaseTimeout when they come back late."""

    kind = Phase

    def cleanup(self, name: str, limit: float | None) -> Cleanup:
        """Return a phase outside the budget to enter."""
        return Cleanup(self, name, limit)

    def judge(self, phase: Phase, error: BaseException | None, now: float) -> None:
        """End a phase whose time is over: raise PhaseTimeout, or let the error of its block pass."""
        judge(phase, error, now)

    def decorate(self, phase: Phase, func: F) -> F:
        from .functions import decorate  # which needs `inspect`; that takes its time to load

        return decorate(phase, func)
