"""Wait for signals: the end of a child, and whatever else this process has set a handler for."""

from __future__ import annotations

import select
from contextlib import suppress

from ..originals import signals, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Ear:
    """Hears them from now on; there is one in a process, made in its main thread."""

    def __init__(self) -> None:
        signals.signal(signals.SIGCHLD, lambda *_: None)  # where it is ignored, the system forgets how children end
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
