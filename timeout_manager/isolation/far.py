"""The result of a run whose tests are run by others: it is told what theirs were told.

Errors come as text, and tests as what stands for them in the summary. What a worker has written of the progress is not
written again; what it could not write, as it has ended, is written here.
"""

from __future__ import annotations

import unittest

from ..testing.result import LimitedResult
from ..testing.runner import TextTestRunner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Result(LimitedResult):
    """Adds up what the results of workers were told."""

    verdicts: Sequence[bool] = ()  # of those of workers, which may be of a class of the suite

    def wasSuccessful(self) -> bool:
        if not self.verdicts or self.has_ended_badly():
            return super().wasSuccessful()
        return all(self.verdicts)

    def tell(self, name: str, shown: str, text: str) -> None:
        """Take what the list of this name has got: a test, and what is to be said of it."""
        getattr(self, name).append(shown if name == "unexpectedSuccesses" else (shown, text))

    def count(self, name: str, more: int) -> None:
        setattr(self, name, getattr(self, name) + more)

    def took(self, shown: str, seconds: float) -> None:
        if hasattr(self, "collectedDurations"):
            self.collectedDurations.append((shown, seconds))

    def fail(self, owner: str, why: str) -> None:
        """Take that a class or module could not be set up."""
        self.not_set_up[owner] = why

    def leave(self, name: str, why: str) -> None:
        """Take that a test did not run."""
        self.not_run[name] = why

    def write_end(self, shown: str, has_line: bool, outcome: str) -> None:
        """Write what a worker could not write any more."""
        if getattr(self, "showAll", False):
            self.stream.writeln(outcome if has_line else f"{shown} ... {outcome}")
        elif getattr(self, "dots", False):
            self.stream.write(outcome[0])
        self.stream.flush()

    def getDescription(self, test: str) -> str:
        return test


class Runner(TextTestRunner):
    """Has workers run the tests, and writes the summary."""

    limited = Result

    def run(self, parent: Any) -> Any:
        return self._run(parent.run)


class Loader(unittest.TestLoader):
    """Has others load the tests; it imports nothing of them, and returns what `load` does in the place of a suite."""

    def __init__(self, load: Callable[[], Any]) -> None:
        super().__init__()
        self._begin = load

    def _load(self, *args: Any, **kwargs: Any) -> Any:
        return self._begin()

    discover = loadTestsFromNames = loadTestsFromModule = _load
