"""The child processes of tests that timed out, which may live on."""

from __future__ import annotations

from itertools import chain

from ..diagnosis.snapshot import Scene
from ..originals import clock
from ..processes.family import alive, descendants, described
from ..processes.table import TICK, uptime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..processes.table import Process
    from .entry import Entry


class Hung:
    """What tests that were late have started."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, float], Process] = {}  # by number and start

    def note(self, entry: Entry) -> None:
        """Keep what was started since this has begun: what its time ran out over, and what is there now."""
        began = uptime() - (clock.monotonic() - entry.began) - TICK
        seen = [error.scene.family for error in entry.timeouts if isinstance(error.scene, Scene)]
        for _, process in chain(descendants(), *seen):
            if process.started >= began:
                self._found[process.pid, process.started] = process

    def alive(self) -> list[str]:
        """Describe those that live on."""
        return [described(process) for process in filter(None, map(alive, self._found.values()))]
