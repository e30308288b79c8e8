"""Load the tests of a suite in a worker: a module whose import has ended one before is left out, and told of."""

from __future__ import annotations

import unittest

from ..errors import PhaseTimeout
from ..testing.entry import Entry
from ..testing.loader import ImportTimeout, TestLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True


class LostImport(ImportTimeout):
    """Stands for the tests of a module whose import has ended a worker."""


class Loader(TestLoader):
    """Leaves out modules whose import has ended a worker."""

    worker: Any  # knows what has been lost

    def _limited(self, part: str, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        lost = self.worker.orders["lost"].get(name)
        if lost is None:
            try:
                return super()._limited(part, name, function, *args, **kwargs)
            finally:
                if not self._open:
                    self.worker.idle()
        error = PhaseTimeout(name)
        self._late.append(_lost_import(name, error, *lost))
        raise error

    def loadTestsFromName(self, name: str, module: Any = None) -> unittest.TestSuite:
        try:
            return super().loadTestsFromName(name, module)
        except SystemExit as error:  # it would end the run
            text = f"The import called sys.exit({'' if error.code is None else repr(error.code)})."
            return self.suiteClass([_lost_import(name, error, "crash", text + "\n", 0.0)])


def _lost_import(name: str, error: BaseException, outcome: str, text: str, elapsed: float) -> LostImport:
    entry = Entry("import", name)
    entry.outcome, entry.texts, entry.elapsed = outcome, [text], elapsed
    return LostImport(entry, error)
