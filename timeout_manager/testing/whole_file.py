"""A file that is whole after every write, whatever kills the process, and however full the disk is."""

from __future__ import annotations

import os
from contextlib import suppress

from ..interpreter.descriptor import Descriptor
from ..interpreter.stderr import tell
from ..originals import system


class WholeFile:
    """A text file that is whole after every write: what is added takes the place of the foot, which follows it anew.

    What was there before is left alone up to the start. OSError if it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        self._path = path
        more = getattr(system, "O_CLOEXEC", 0) | getattr(system, "O_BINARY", 0)
        number = system.open(path, system.O_WRONLY | system.O_CREAT | more, 0o666)
        self._descriptor = Descriptor(os.path.abspath(path), system.O_WRONLY, number)
        self._is_closed = False
        self._process = system.getpid()
        self._end = self._size = 0
        self._before = ""

    def start(self, head: str, foot: str) -> None:
        """Put this in the place of all that was there before."""
        self.add("", "")
        self.add(head, foot)

    def add(self, text: str, foot: str) -> None:
        text, self._before = self._before + text, ""
        data = _bytes(text + foot)
        self._write(self._end, data, self._end + len(data))
        self._end += len(_bytes(text))

    def begin(self, head: str) -> None:
        """Write the beginning anew; its length is what it was."""
        self._write(0, _bytes(head), self._size)

    def empty(self, head: str) -> None:
        """Begin it anew with what is added next."""
        self._end = 0
        self._before = head

    def _write(self, at: int, data: bytes, size: int) -> None:
        """Write this, and make the file as long as that; it is left as it was if there is no room."""
        if self._is_closed or system.getpid() != self._process:  # a child process that a test has forked
            return
        try:
            number = self._descriptor.number()
            _put(number, self._size, b" " * (size - self._size))  # what more it takes, before anything is overwritten
            _put(number, at, data + b" " * (self._size - size))  # it is whole also before it is cut
            self._size = size
            system.ftruncate(number, size)
        except OSError as error:  # the results of the run are worth more than the file
            tell(f"{self._path} cannot be written any more: {error}\n")
            with suppress(OSError):
                system.ftruncate(self._descriptor.number(), self._size)
            self.close()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._descriptor.close()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _put(number: int, at: int, data: bytes) -> None:
    system.lseek(number, at, 0)
    while data:
        data = data[system.write(number, data) :]
