"""Files without a name, in memory or on disk: what workers are told, and what they write, which is shown later."""

from __future__ import annotations

import os
from json import dumps

from ..originals import system

try:
    import fcntl
except ImportError:  # not Unix: there are no workers there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


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
    """What a worker has written to a stream, to be shown later."""

    descriptor = -1

    def __init__(self) -> None:
        self.descriptor = first_of(on_disk, in_memory)
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_APPEND)

    def size(self) -> int:
        return int(system.fstat(self.descriptor).st_size)

    def read(self, begin: int, end: int) -> bytes:
        return bytes(system.pread(self.descriptor, max(end - begin, 0), begin))

    def __del__(self) -> None:
        if self.descriptor >= 0:
            system.close(self.descriptor)


def spools() -> list[Spool]:
    """Return one for stdout and stderr if they are one terminal or file, where there is an order; else one for each."""
    try:
        are_one = os.path.samestat(system.fstat(1), system.fstat(2))
    except OSError:
        are_one = False
    return [Spool()] if are_one else [Spool(), Spool()]
