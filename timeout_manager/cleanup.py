"""A cleanup: a phase outside the budget, with a limit of its own."""

from __future__ import annotations

from sys import _getframe

from .phase import Phase, caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_no_interrupt = frozenset({"__enter__", "__exit__"})  # see interrupt


class Cleanup(Phase):
    """A phase outside the budget: while it is open, the phases of its thread or task around it stand aside."""

    __slots__ = ()

    _cleanup = True

    def __enter__(self) -> Phase:
        here = caller()
        if self.outcome == "new":
            self._manager._step_aside(here)
        try:
            super().__enter__()
        except BaseException:
            self._manager._step_back(here)
            raise
        self._stands_in(_getframe(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        key = self._key
        try:
            super().__exit__(kind, error, traceback)
        finally:
            if self.outcome not in ("new", "running"):
                self._manager._step_back(key)
