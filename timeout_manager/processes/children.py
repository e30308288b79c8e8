"""The children of this process: how it hears that one has ended, collects them, and takes in what loses its parent."""

from __future__ import annotations

import select
import sys
from contextlib import suppress

from ..originals import signals, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


class Ear:
    """Hears that a child has ended, and every signal that has a handler; there is one, made in the main thread."""

    def __init__(self) -> None:
        signals.signal(signals.SIGCHLD, lambda *_: None)  # where it is ignored, the system forgets how children end
        signals.pthread_sigmask(signals.SIG_UNBLOCK, {signals.SIGCHLD})  # whoever has started this may have blocked it
        self.descriptor, wake = system.pipe()
        for each in self.descriptor, wake:
            system.set_blocking(each, False)
        signals.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def wait(self, seconds: float, others: Iterable[int] = ()) -> set[int]:
        """Wait until a signal comes, or something to others, or for so long; return the descriptors that have it."""
        waiting = select.poll()
        for descriptor in (self.descriptor, *others):
            waiting.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in waiting.poll(max(seconds, 0.0) * 1000)}
        with suppress(BlockingIOError):
            while self.descriptor in ready and system.read(self.descriptor, 4096):
                pass
        return ready

    def let_go(self) -> None:
        signals.set_wakeup_fd(-1)
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)


def adopt() -> bool:
    """Have what loses its parent become a child of this process, unless it has children that are nobody's affair."""
    with suppress(AttributeError, ChildProcessError):
        system.waitpid(-1, system.WNOHANG)
        return False
    try:
        import ctypes

        long = ctypes.c_ulong
        return sys.platform == "linux" and not ctypes.CDLL(None).prctl(SUBREAPER, long(1), long(0), long(0), long(0))
    except (ImportError, OSError, AttributeError):
        return False


def collect(known: Iterable[Any] = ()) -> bool:
    """Collect the children of this process that have ended; tell whether there are others. Known ones are told how."""
    by_pid = {child.pid: child for child in known}
    while True:
        try:
            pid, status = system.waitpid(-1, system.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
        if pid in by_pid:
            by_pid[pid].returncode = system.waitstatus_to_exitcode(status)
