"""A cleanup: a phase outside the budget, with a limit of its own."""

from __future__ import annotations

from ..originals import python
from .ledger import Phase, caller

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from ..accounting import TimeoutManager

_no_interrupt = frozenset({"__enter__", "__exit__"})  # see interrupt


class Cleanup(Phase):
    """A phase outside the budget: while it is open, the phases of its thread or task around it stand aside."""

    __slots__ = ()

    _cleanup = True

    def __enter__(self, frame: FrameType | None = None) -> Phase:
        here = caller()
        if self.outcome == "new":
            _step_aside(self._manager, here)
        try:
            return super().__enter__(frame or python._getframe(1))
        except BaseException:
            _step_back(self._manager, here)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        key = self._key
        try:
            super().__exit__(kind, error, traceback)
        finally:
            if self.outcome not in ("new", "running"):
                _step_back(self._manager, key)


def _step_aside(manager: TimeoutManager, key: object) -> None:
    """Take the phases of a thread or task off the budget: a cleanup begins."""
    top = manager._open.get(key)
    if top is not None:
        manager._budget.used = manager._used()
        manager._aside[key] = top
        del manager._open[key]


def _step_back(manager: TimeoutManager, key: object) -> None:
    """Put them back when the outermost cleanup has ended."""
    top = manager._aside.get(key)
    if top is not None and not top._in_cleanup():
        if not manager._open:
            manager._budget.origin = manager._clock() - manager._budget.used
        manager._open[key] = top
        del manager._aside[key]
        if manager._enforcer is not None:
            manager._enforcer.refresh(manager)
