"""A cleanup: a phase outside the budget, with a limit of its own."""

from __future__ import annotations

from ..originals import uninterrupted
from .ledger import Phase

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from .ledger import Budget, Ledger


class Cleanup(Phase):
    """A phase outside the budget: while it is open, the phases of its thread or task around it stand aside."""

    __slots__ = ()

    is_cleanup = True

    def _nest(self, key: object, budget: Budget, origin: float) -> None:
        ledger = self.ledger
        step_aside(ledger, key)
        self.parent = ledger.aside.get(key)
        ledger.aside[key] = self

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        key = getattr(self, "key", 0)
        try:
            super().__exit__(kind, error, traceback)
        finally:
            if self.outcome not in ("new", "running"):
                step_back(self.ledger, key)


def step_aside(ledger: Ledger, key: object) -> None:
    """Take the phases of a thread or task off the budget: a cleanup begins."""
    top = ledger.open.get(key)
    if top is not None:
        ledger.budget.used = ledger.used()
        ledger.aside[key] = top
        del ledger.open[key]


def step_back(ledger: Ledger, key: object) -> None:
    """Put them back when the outermost cleanup has ended."""
    top = ledger.aside.get(key)
    if top is not None and not top.in_cleanup():
        if not ledger.open:
            ledger.budget.origin = ledger.clock() - ledger.budget.used
        ledger.open[key] = top
        del ledger.aside[key]
        ledger.changed()
