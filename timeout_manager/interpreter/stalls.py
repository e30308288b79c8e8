"""When C code held the GIL for long: no Python code ran, in any thread.

Nothing tells that from within. But the watchdog is to run at an instant. If it runs late, then the GIL was held, or the
machine was busy, or the process stopped. Who waits for the GIL wakes every 5 ms to ask for it, goes to sleep again, and
the kernel counts that (Linux): a thread that has slept many times since it was to run, and still could not, waited for
the GIL. Python code would have let it go. Elsewhere nothing is known of it.
"""

from __future__ import annotations

from collections import deque

from ..originals import clock

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

LATE = 0.2  # seconds
SLEEPS = 10  # between the instant when it was to run and the one when it did

_OF_THREAD = getattr(resource, "RUSAGE_THREAD", None)
_stalls: deque[tuple[float, float]] = deque(maxlen=10)  # the last ones: from when until when


class Clerk:
    """Writes down when the thread that makes it, and was started at this instant, could not run."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.sleeps = 0
        self.note(due)

    def wait_until(self, due: float) -> None:
        """The thread goes to sleep until this instant."""
        self.due = due
        self.sleeps = _count_sleeps()

    def note(self, rung: float) -> None:
        """The thread runs again; it was waked at this instant, if that was earlier."""
        now = clock.monotonic()
        due = rung if rung < self.due else self.due
        if now - due > LATE and _count_sleeps() - self.sleeps > SLEEPS:
            _stalls.append((due, now))


def held(since: float, until: float) -> bool:
    """Tell whether C code is known to have held the GIL for most of this time."""
    return any(2 * (min(until, end) - max(since, begin)) > until - since for begin, end in _stalls.copy())


def _count_sleeps() -> int:
    return 0 if _OF_THREAD is None else resource.getrusage(_OF_THREAD).ru_nvcsw
