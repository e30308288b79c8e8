"""What stands for the tests of a module whose import has ended a worker: the module is left out, and told of."""

from __future__ import annotations

from ..errors import PhaseTimeout
from ..testing.entry import Entry
from ..testing.loader import ImportTimeout

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True


class LostImport(ImportTimeout):
    """It ended so, after so many seconds."""

    def __init__(self, module: str, outcome: str, text: str, elapsed: float = 0.0) -> None:
        super().__init__(Entry("import", module), PhaseTimeout(module))
        self.entry.outcome, self.entry.texts, self.entry.elapsed = outcome, [text], elapsed
