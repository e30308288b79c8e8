"""Says what has been running for so long, again and again: a job of the watchdog."""

from __future__ import annotations

from ..diagnosis.lines import line_of
from ..interpreter.frames import frames_of
from ..seconds import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .entry import Entry
    from .result import LimitedResult


class Slow:
    """Looks at what a result is told of; `seconds` is the time after which it is said each time."""

    def __init__(self, result: LimitedResult, seconds: float) -> None:
        self.result = result
        self.seconds = seconds
        self._entry: Entry | None = None  # of which it has been said
        self._told = 0  # so often

    def __call__(self, now: float) -> float:
        """Say it, if it is time; return when to call this again."""
        entry = self.result.current
        part = entry and entry.part
        if entry is None or part is None:
            return now + self.seconds / 10
        if entry is not self._entry:
            self._entry, self._told = entry, 0
        due = entry.began + self.seconds * (self._told + 1)
        if now < due:
            return due
        self._told += 1
        line = f"\nSLOW: {entry.name} is still running after {text(now - entry.began)}, in {part.name}"
        self.result.tell_at_once(f"{line}\n  {line_of(frames_of(self.result.thread))}\n")
        return due + self.seconds
