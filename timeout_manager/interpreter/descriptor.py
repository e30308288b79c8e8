"""A file of ours that code under test may close: then its number may be that of another file."""

from __future__ import annotations

from ..originals import system


class Descriptor:
    """Looked at before each use, and opened anew at its place if it is lost."""

    def __init__(self, place: str, flags: int, number: int) -> None:
        self._place, self._flags = place, flags | getattr(system, "O_CLOEXEC", 0) | getattr(system, "O_BINARY", 0)
        self._number = number
        self._identity = self._found()

    def number(self) -> int:
        """Return it; OSError if it is lost, and there is none any more, or another file, at its place."""
        if not self.is_intact():
            self._number = self._open()
            if not self.is_intact():
                system.close(self._number)
                raise OSError("it was closed, and there is another one in its place")
        return self._number

    def is_intact(self) -> bool:
        return self._found() == self._identity

    def close(self) -> None:
        if self.is_intact():  # otherwise it is somebody else's
            system.close(self._number)

    def _open(self) -> int:
        return system.open(self._place, self._flags)

    def _found(self) -> tuple[int, int] | None:
        try:
            status = system.fstat(self._number)
        except OSError:
            return None
        return status.st_dev, status.st_ino
