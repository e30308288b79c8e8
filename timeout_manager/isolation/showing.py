"""What has come of units is told to the result, and what tests have written is shown, in the order of the suite."""

from __future__ import annotations

import sys

from ..interpreter.stderr import tell
from ..originals import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..testing.plan import Unit
    from .far import Result
    from .nameless import Spool


class Showing:
    """Goes on with what has come, as far as that is possible."""

    def __init__(self, result: Result, units: Sequence[Unit]) -> None:
        self.result, self.units = result, units
        self.entries: list[dict[str, Any]] = []  # for the reports
        self._done = 0  # units of which all is told

    def is_at(self, unit: Unit) -> bool:
        """Tell whether this is the first unit of which not all is told."""
        return unit in self.units[self._done : self._done + 1]

    def go_on(self, all_begun: bool = False) -> None:
        """Tell of units up to the first that is not done; or of all that have begun."""
        for unit in self.units[self._done :]:
            events, unit.events = unit.events, []
            for event in events:
                self.tell(*event)
            if not all_begun and (self.result.shouldStop or not unit.done):
                return
            self._done += 1

    def tell(self, name: str, *told: Any) -> None:
        if name == "write":
            write(*told)
        elif name == "entry":
            self.entries.append(told[0])
            if told[0]["kind"] == "test":
                self.result.ran.add(told[0]["id"])
        else:
            getattr(self.result, name)(*told)


def write(spools: Sequence[Spool], begins: Sequence[int], ends: Sequence[int]) -> None:
    """Show a part of what a worker has written to its streams."""
    streams = (sys.stdout, sys.stderr)[-len(spools) :]
    for spool, stream, begin, end in zip(spools, streams, begins, ends):
        if stream is None:  # it was closed when this process was started
            continue
        try:
            stream.flush()
            stream.buffer.write(spool.read(begin, end))
            stream.buffer.flush()
        except OSError as error:
            tell(f"\nWhat the tests have written to {stream.name} cannot be shown: {error}\n")
            system.dup2(system.open("/dev/null", system.O_WRONLY), stream.fileno())
