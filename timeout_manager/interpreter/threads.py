"""What is known of a thread by its ident: what `threading` and Linux tell of it, and how long it has had a processor.

On a busy machine what computes has little of a processor, like what waits for something else: that one does not wait
for a processor tells them apart. Linux says how long a thread has waited, in ``schedstat``.
"""

from __future__ import annotations

from ..originals import clock, files, loaded, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .frames import Line

    Use = tuple[float, float]  # seconds that a thread has computed, and that it has waited for a processor
    Sample = tuple[float, Line, Use]  # when and where a thread was seen, and what it had used

UNKNOWN = float("nan")  # seconds


def thread_of(ident: object) -> Any:
    """Return the object of a thread; None where `threading` does not know it, or is not loaded."""
    return getattr(loaded("threading"), "_active", {}).get(ident)


def task_file(ident: int, name: str) -> bytes:
    """Return the file of this name in which Linux shows a thread; OSError if it does not.

    After a fork that of the main thread may still have the number that it had in the parent.
    """
    known = thread_of(ident)
    is_main = known is not None and known is getattr(loaded("threading"), "_main_thread", None)
    number = system.getpid() if is_main else getattr(known, "native_id", "")
    with files.open(f"/proc/self/task/{number}/{name}", "rb") as file:
        return bytes(file.read())


def use_of(ident: Any) -> Use:
    """Return both for a living thread; UNKNOWN where nothing tells of the first, and 0.0 for the second."""
    if not ident or ident.__class__ is not int:  # the C library crashes if there is no such thread
        return UNKNOWN, 0.0
    ran, waited = _scheduled(ident)
    try:
        return clock.clock_gettime(clock.pthread_getcpuclockid(ident)), waited
    except (AttributeError, OSError):
        return ran or UNKNOWN, waited


def blocks(ident: int, signum: int) -> bool:
    """Tell whether a thread blocks a signal, or may do so: where nothing tells of that."""
    try:
        _, _, mask = task_file(ident, "status").partition(b"\nSigBlk:")
        return bool(int(mask.split()[0], 16) >> (signum - 1) & 1)
    except (IndexError, OSError, ValueError):
        return True


def _scheduled(ident: int) -> Use:
    """Return what the scheduler of Linux has counted, to a tick; zeros where nothing is known."""
    try:
        ran, waited = map(int, task_file(ident, "schedstat").split()[:2])
        return ran / 1e9, waited / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0
