"""A file that is whole after every write, whatever kills the process."""

from __future__ import annotations

import os
from contextlib import suppress

from ..interpreter.stderr import tell
from ..originals import files, system


class WholeFile:
    """A text file that is whole after every write: what is added takes the place of the foot, which follows it anew."""

    def __init__(self, path: str, head: str, foot: str) -> None:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        self._file = files.open(path, "wb", buffering=0)
        self._process = system.getpid()
        self._end = self._size = 0
        self._before = ""
        self.add(head, foot)

    def add(self, text: str, foot: str) -> None:
        text, self._before = self._before + text, ""
        data = _bytes(text + foot)
        before, self._size = self._size, self._end + len(data)
        self._write(self._end, data + b" " * (before - self._size))  # it is whole also before it is cut
        self._end += len(_bytes(text))

    def begin(self, head: str) -> None:
        """Write the beginning anew; its length is what it was."""
        self._write(0, _bytes(head))

    def empty(self, head: str) -> None:
        """Begin it anew with what is added next."""
        self._end = 0
        self._before = head

    def _write(self, at: int, data: bytes) -> None:
        if system.getpid() != self._process or self._file.closed:  # a child process that a test has forked
            return
        try:
            self._file.seek(at)
            self._file.write(data)
            self._file.truncate(self._size)
        except OSError as error:  # the results of the run are worth more than the file
            tell(f"{self._file.name} cannot be written any more: {error}\n")
            self.close()

    def close(self) -> None:
        with suppress(OSError):  # a test may have closed it
            self._file.close()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
