"""A file that is whole after every write, whatever kills the process."""

from __future__ import annotations

import os

from ..interpreter.stderr import tell
from ..originals import system


class WholeFile:
    """A text file that is whole after every write: what is added takes the place of the foot, which follows it anew."""

    def __init__(self, path: str, head: str, foot: str) -> None:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        self._path = path
        self._place = os.path.abspath(path)
        self._descriptor = self._open(system.O_CREAT | system.O_TRUNC)
        self._identity = self._known()
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
        if self._descriptor < 0 or system.getpid() != self._process:  # a child process that a test has forked
            return
        try:
            if self._known() != self._identity:  # a test has closed it, and its number may be that of another file now
                self._descriptor = self._open()
                if self._known() != self._identity:
                    system.close(self._descriptor)
                    raise OSError("it was closed, and there is another one in its place")
            system.lseek(self._descriptor, at, 0)
            while data:
                data = data[system.write(self._descriptor, data) :]
            system.ftruncate(self._descriptor, self._size)
        except OSError as error:  # the results of the run are worth more than the file
            tell(f"{self._path} cannot be written any more: {error}\n")
            self.close()

    def _open(self, flags: int = 0) -> int:
        more = getattr(system, "O_CLOEXEC", 0) | getattr(system, "O_BINARY", 0)
        return system.open(self._place, system.O_WRONLY | flags | more, 0o666)

    def _known(self) -> tuple[int, int] | None:
        """Return what tells the file that is open from all others; None if none is."""
        try:
            status = system.fstat(self._descriptor)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def close(self) -> None:
        if self._known() == self._identity:
            system.close(self._descriptor)
        self._descriptor = -1


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
