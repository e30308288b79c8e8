"""Files without a name, in memory or on disk: what workers are told, and what they write, which is shown later.

Workers write to pipes, and it is the parent that fills a file with what comes: a test can empty a file (a shell does so
that opens /dev/stderr), and can find itself refused to write more to one.
"""

from __future__ import annotations

import os
from json import dumps

from ..interpreter.stderr import tell
from ..originals import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOST, MUCH = 1 << 20, 1 << 15  # bytes that there can be in a pipe; whoever writes so many is not to wait for long


def in_memory() -> int:
    """Return the descriptor of a new file without a name."""
    return int(system.memfd_create(__name__))


def on_disk() -> int:
    """Return the same on disk; what `tempfile` imports may be found among the files of the user."""
    variables = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    flags = system.O_RDWR | system.O_CREAT | system.O_EXCL | system.O_CLOEXEC
    for folder in filter(None, (*variables, "/tmp", "/var/tmp", os.curdir)):
        path = f"{folder}/{__name__}.{system.urandom(8).hex()}"
        try:
            number = system.open(path, flags, 0o600)
        except OSError as error:
            refused = error
            continue
        system.unlink(path)
        return int(number)
    raise refused


def first_of(*ways: Callable[[], int]) -> int:
    """Return what the first of these ways gives that can be gone."""
    try:
        return ways[0]()
    except (AttributeError, OSError):  # memory: not Linux, or refused; disk: there is no place for files
        return ways[1]()


class Book:
    """What the workers are told, in a file that all of them can read: an order is a place in it."""

    def __init__(self) -> None:
        self._descriptor = first_of(in_memory, on_disk)
        self.reader = system.open(f"/proc/self/fd/{self._descriptor}", system.O_RDONLY | system.O_CLOEXEC)
        self._size = 0

    def write(self, order: Any) -> tuple[int, int]:
        data = dumps(order).encode()
        begin = self._size
        while data:
            written = system.pwrite(self._descriptor, data, self._size)
            data, self._size = data[written:], self._size + written
        return begin, self._size - begin


class Spool:
    """What the workers of a job have written to a stream, one after the other, to be shown later."""

    has_told = False  # that something cannot be kept
    _descriptors: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._file = first_of(on_disk, in_memory)
        self._descriptors = (self._file,)
        self.ear, self.mouth = system.pipe()
        self._descriptors = self._file, self.ear, self.mouth  # all stay open: no end of file tells
        system.set_blocking(self.ear, False)

    def drain(self) -> bool:
        """Keep what has come up to now, and no more, as somebody may write for ever; tell whether it was much."""
        try:
            data = system.read(self.ear, MOST)
        except BlockingIOError:
            return False
        is_much = len(data) >= MUCH
        try:
            while data:
                data = data[system.write(self._file, data) :]
        except OSError as error:  # the disk is full
            if not Spool.has_told:
                Spool.has_told = True
                tell(f"\nWhat the tests write cannot be kept until it is shown: {error}\n")
        return is_much

    def size(self) -> int:
        """Return how much has been written up to now."""
        self.drain()
        return int(system.fstat(self._file).st_size)

    def read(self, begin: int, end: int) -> bytes:
        return bytes(system.pread(self._file, max(end - begin, 0), begin))

    def __del__(self) -> None:
        for each in self._descriptors:
            system.close(each)


def spools() -> list[Spool]:
    """Return one for stdout and stderr if they are one terminal or file, where there is an order; else one for each."""
    try:
        are_one = os.path.samestat(system.fstat(1), system.fstat(2))
    except OSError:
        are_one = False
    return [Spool()] if are_one else [Spool(), Spool()]
