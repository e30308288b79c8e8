"""The limit of a test that its framework ends by a timer of its own: trial's reactor would not survive an interrupt."""

from __future__ import annotations

from ..errors import PhaseTimeout
from .part import CALL

SWALLOWED = "Its framework ended the wait; the test swallowed that."


class HandedOn(float):
    """Seconds; the framework writes them into its error when they are over, and that is how it is known."""

    is_over = False

    def __format__(self, how: str) -> str:
        self.is_over = True
        return format(float(self), how)

    def __str__(self) -> str:
        return format(self)

    def stands_in(self, error: BaseException | None) -> bool:
        """Tell whether this is the error that the framework has made of it."""
        return self.is_over and type(error).__name__ == "TimeoutError" and f" {self} " in str(error)

    def timeout(self, text: str) -> PhaseTimeout:
        """Return what the framework's end of the wait is for us."""
        error = PhaseTimeout(text)
        error.phase, error.timeout, error.elapsed = CALL, float(self), float(self)
        error.diagnosis = text
        return error
