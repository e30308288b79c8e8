"""The live line: the last row of a terminal says what is running, and is gone before anything else is written there.

It is on the row below what has been written, unless that has ended its own. So it is to be known in which column that
has come to its end: whatever is written to the terminal goes through here.
"""

from __future__ import annotations

import os
import re
import sys
from codecs import getincrementaldecoder
from functools import cached_property

from ..counting.report import columns
from ..originals import clock, system
from ..seconds import INFINITY, plain
from .hired import IDLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .hired import Hired

CLEAR, UP, RIGHT = "\r\x1b[K", "\x1b[A", "\x1b[{}C"
TAB = 8  # columns between two stops of a tabulator
_SEQUENCE = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]")  # of control, which take no room


class Line:
    """The live line of the terminal that stderr is; writing to ``sys.stderr`` and ``sys.stdout`` takes it away."""

    def __init__(self) -> None:
        self._streams = sys.stdout, sys.stderr
        self._column = 0  # where the next thing that is written begins; it may be beyond the end of the row
        self._is_used = False  # there is something in that row
        self._back = ""  # what takes it away; nothing while it is not there
        sys.stderr = _Over(self, sys.stderr)
        if sys.stdout is not None and sys.stdout.isatty():
            sys.stdout = _Over(self, sys.stdout)

    def show(self, text: str) -> None:
        """Show this in the place of what was there."""
        width, _ = system.get_terminal_size(self._streams[1].fileno())
        if not width:  # nobody has said
            return
        column = self._column % width
        below = "\n" if self._is_used else ""
        back = CLEAR + UP * self._is_used + (RIGHT.format(column) if column else "")
        self._write(f"{self._back}{below}{_first_columns(text, width - 1)}")
        self._back = back

    def clear(self) -> None:
        if self._back:
            self._write(self._back)
            self._back = ""

    def wrote(self, text: str) -> None:
        """Take that this has been written in its place."""
        _, newline, last = _SEQUENCE.sub("", text).rpartition("\n")
        column = 0 if newline else self._column
        for character in last:
            column = max(column + _width(character, column), 0)
        self._column, self._is_used = column, bool(last.strip("\r")) or self._is_used and not newline

    def close(self) -> None:
        self.clear()
        sys.stdout, sys.stderr = self._streams

    def _write(self, text: str) -> None:
        stdout, stderr = self._streams
        if stdout is not None:
            stdout.flush()
        stderr.write(text)
        stderr.flush()


class _Over:
    """A stream to the terminal that takes the live line away before it writes."""

    def __init__(self, line: Line, stream: Any, decode: Callable[[Any], str] = str) -> None:
        self._line, self._stream, self._decode = line, stream, decode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @cached_property
    def buffer(self) -> _Over:
        decode = getincrementaldecoder(self._stream.encoding)("replace").decode  # it may end amid a character
        return _Over(self._line, self._stream.buffer, decode)

    def write(self, data: Any) -> Any:
        self._line.clear()
        self._line.wrote(self._decode(data))
        return self._stream.write(data)


def _width(character: str, column: int) -> int:
    """Return how many columns to the right a character takes a terminal that is in this one."""
    if character == "\t":
        return TAB - column % TAB
    if character in "\r\b":
        return -column if character == "\r" else -1
    return columns(character) if character >= " " else 0


def _first_columns(text: str, most: int) -> str:
    """Return as much of a text as there is room for."""
    column = 0
    for place, character in enumerate(text):
        column += _width(character, column)
        if column > most:
            return text[:place]
    return text


def told_of(count: str, workers: Iterable[Hired]) -> str:
    """Return what the line says: the count, what is running, and for how long that which began first."""
    running = [worker for worker in workers if worker.at != IDLE]
    if not running:
        return count
    first = min(running, key=lambda worker: worker.began)
    kind, name, _ = first.at
    limit = f" of {first.seconds:g} s" if first.due < INFINITY and first.seconds else ""
    what = f"{'import ' * (kind == 'import')}{plain(name)} {clock.monotonic() - first.began:.1f} s{limit}"
    return f"{count}  {len(running)} running: {what}"


def line() -> Line | None:
    """Return a live line; None where stderr is no terminal, or one that cannot go back."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Line() if is_terminal else None
