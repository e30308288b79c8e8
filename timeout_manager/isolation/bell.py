"""What wakes the parent of workers: the end of a child, Ctrl-C, and what workers say and write."""

from __future__ import annotations

from ..originals import signals
from ..processes.children import Ear, adopt, collect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .hired import Hired

REST = 0.002  # seconds between two times at which workers are heard


class Bell(Ear):
    """Hears signals until it is let go, and takes in children whose parents have ended, if that can be."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupts = 0  # by Ctrl-C
        self.adopts = adopt()
        self._is_told = False  # of something by a worker, the last time
        if signals.getsignal(signals.SIGINT) != signals.SIG_IGN:  # as it is for a job in the background
            signals.signal(signals.SIGINT, self._interrupted)

    def hear_again(self) -> bool:
        """Hear Ctrl-C again if unittest has taken that, for ``--catch``; tell whether it has."""
        if signals.getsignal(signals.SIGINT) in (self._interrupted, signals.SIG_IGN):
            return False
        signals.signal(signals.SIGINT, self._interrupted)
        return True

    def _interrupted(self, *args: object) -> None:
        self.interrupts += 1

    def hear(self, workers: Iterable[Hired], seconds: float) -> set[int]:
        """Wait until something comes, or for so long; collect children that have ended, and return who says something.

        Those are known by their ears. What workers write is kept, lest they wait for room to write more.
        """
        # let what they say come together: to wake a process costs more than to tell it something
        rang = self.wait(min(seconds, REST)) if self._is_told else set()
        spools = {spool.ear: spool for worker in workers for spool in worker.spools}
        came = self.wait(0.0 if rang else seconds, (*(worker.ear for worker in workers), *spools))
        is_much = [spools[ear].drain() for ear in came & spools.keys()]
        self._is_told = bool(came - {self.descriptor}) and not any(is_much)
        if rang or self.descriptor in came:
            collect(worker.popen for worker in workers)
        return came
