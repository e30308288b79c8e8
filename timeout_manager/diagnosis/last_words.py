"""What a process says of itself shortly before its parent ends it."""

from __future__ import annotations

import sys

from ..interpreter import watchdog
from ..interpreter.stderr import tell
from ..originals import clock, system
from ..processes.deadline import less_margin
from ..seconds import INFINITY, text
from .snapshot import Scene

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..counting.ledger import Ledger


def report_before(seconds: float, ledger: Ledger) -> None:
    """Tell on stderr what this process does if it still runs shortly before the parent, which has ``seconds``, ends it.

    That is half of the margin later than what is interrupted here.
    """
    margin = seconds - less_margin(seconds)
    at = clock.monotonic() + seconds - margin / 2

    def look(now: float) -> float:
        if now < at:
            return at
        who = f"Process {system.getpid()} ({' '.join(sys.argv)})"
        what = f"{who} still runs; its parent, which had {text(seconds)} left for it, ends it soon."
        tell(f"\n{what}\n\n{Scene(None, phases=ledger.open.copy().values())}\n\n")
        return INFINITY

    try:
        watchdog.add_job("parent", look)
    except RuntimeError:  # no thread can be started
        pass
