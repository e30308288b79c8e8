"""What wakes the parent of workers: the end of a child, Ctrl-C, and what workers say."""

from __future__ import annotations

import select

from ..originals import signals, system
from ..processes.orphans import adopt, collect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .hired import Hired

REST = 0.002  # seconds between two times at which workers are heard


class Bell:
    """Hears signals from now on, until it is let go, and takes in children whose parents have ended, if that can be."""

    def __init__(self) -> None:
        self.interrupts = 0  # by Ctrl-C
        self.adopts = adopt()
        self._is_told = False  # of something by a worker, the last time
        self._ear, wake = system.pipe()
        for each in self._ear, wake:
            system.set_blocking(each, False)
        signals.signal(signals.SIGCHLD, lambda *_: None)
        signals.signal(signals.SIGINT, self._interrupted)
        signals.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def _interrupted(self, *args: object) -> None:
        self.interrupts += 1

    def wait(self, workers: Iterable[Hired], seconds: float) -> set[int]:
        """Wait until something comes, or for so long; collect children that have ended, and return who says something.

        Those are known by their ears.
        """
        if self._is_told:  # let what they say come together: to wake a process costs more than to tell it something
            _ready([self._ear], min(seconds, REST))
        came = _ready([self._ear, *(worker.ear for worker in workers)], seconds)
        self._is_told = bool(came - {self._ear})
        if self._ear in came:
            self._drain()
            collect(worker.popen for worker in workers)
        return came

    def _drain(self) -> None:
        try:
            while system.read(self._ear, 4096):
                pass
        except BlockingIOError:
            pass

    def let_go(self) -> None:
        signals.set_wakeup_fd(-1)
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)


def _ready(descriptors: Iterable[int], seconds: float) -> set[int]:
    """Return from which of these something can be read; wait for that for so long."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(seconds * 1000 + 1)}
