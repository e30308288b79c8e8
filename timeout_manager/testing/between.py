"""Ends the process where what runs between the parts of a run takes too long: a job of the watchdog.

It is code of suites, or what ends with a test that nobody holds any more: it has as long as a test. To raise anything
there would end the run without a summary, or be lost.
"""

from __future__ import annotations

from ..enforcing.kill_after import kill
from ..interpreter.debugger import present
from ..seconds import INFINITY, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .limits import Limits

WHERE = "what runs between tests"


class Between:
    """Looks when the last part was left, and kills so many seconds after the limit for that."""

    def __init__(self, limits: Limits, kill_after: float) -> None:
        self.limits = limits
        self.kill_after = kill_after

    def __call__(self, now: float) -> float:
        """End the process, if it is time; return when to call this again."""
        limits = self.limits
        seconds, source = limits.between()
        if seconds is None:
            return INFINITY
        most = seconds + self.kill_after
        due = now + most if limits.running or present() else limits.left_at + most
        if now >= due:
            after = f", after {limits.last}" if limits.last else ""
            why = f"Time ran out in {WHERE}{after}; the limit is {text(seconds)} ({source})."
            kill(f"{why}\nIt is still running {text(self.kill_after)} after that.", "")
        return due
