"""A child process whose end is not looked for again and again, and whose output is not lost when it is cut short."""

from __future__ import annotations

import os
import select
import subprocess

from ..originals import clock, uninterrupted
from ..seconds import LONGEST_WAIT

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STREAMS = "stdin", "stdout", "stderr"
PIECE = 32768  # bytes that are read at once
DRAIN = 0.5  # seconds for each of two looks at what is left in the pipes when all who could write are gone


class Child(subprocess.Popen):  # type: ignore[type-arg]
    """A process that is waited for by a descriptor, where the system has such."""

    pid = 0  # not started yet
    descriptor = -1  # for it, while it is waited for
    is_cut = False  # its output may end within a character
    is_kept = False  # nobody is to wait for it: until then its group keeps its number

    def _wait(self, timeout: float | None) -> int:
        if self.is_kept:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        try:
            if timeout is not None and self.returncode is None and self._hold():
                poll = select.poll()
                poll.register(self.descriptor, select.POLLIN)
                first = min(max(timeout, 0.0), LONGEST_WAIT)
                timeout = None if poll.poll(first * 1000) else timeout - first
        finally:
            self._let_go()
        return super()._wait(timeout=timeout)  # type: ignore[misc,no-any-return]

    @uninterrupted
    def _hold(self) -> bool:
        try:
            self.descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, an old kernel, too many open files
            pass
        return self.descriptor >= 0

    @uninterrupted
    def _let_go(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _communicate(self, input: Any, endtime: Any, orig_timeout: Any) -> Any:
        """Go on with the input, too, when it is called again after a timeout: many versions forget the rest of it."""
        if not input and self.stdin is not None and not self.stdin.closed:
            input = getattr(self, "_input", None)
        output, errors = super()._communicate(input, endtime, orig_timeout)  # type: ignore[misc]
        return self._text_of(self.stdout, output), self._text_of(self.stderr, errors)

    def _text_of(self, pipe: Any, said: Any) -> Any:
        """Return as text what was read of a pipe that is for text, but not by its own means."""
        if not isinstance(said, bytes) or not hasattr(pipe, "encoding"):
            return said
        return self._translate_newlines(said, pipe.encoding, pipe.errors)

    def _translate_newlines(self, data: bytes, encoding: str, errors: str) -> str:
        text = data.decode(encoding, "replace" if self.is_cut else errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _readerthread(self, pipe: Any, buffer: list[Any]) -> None:
        """Note piece by piece what comes: on Windows a thread reads, and waits for whoever holds the pipe open."""
        raw = getattr(pipe, "buffer", pipe)
        buffer[:] = [b""]
        for piece in iter(lambda: getattr(raw, "read1", raw.read)(PIECE), b""):
            buffer[0] += piece
        pipe.close()

    def _remaining_time(self, endtime: float | None) -> float | None:  # until 3.14; it goes to a selector
        return None if endtime is None else min(endtime - clock.monotonic(), LONGEST_WAIT)

    def has_pipes(self) -> bool:
        return any(vars(self).get(name) for name in STREAMS)  # its start may have been interrupted

    def read_on(self, seconds: float) -> None:
        """Keep what comes from the pipes in so many seconds, if they do not end before."""
        self.is_kept = True
        try:
            self.communicate(timeout=seconds)
        except (subprocess.TimeoutExpired, ValueError):  # ValueError: they are closed
            pass
        except (AttributeError, KeyError):  # it was interrupted when it was about to read
            self._communication_started = False
        finally:
            self.is_kept = False

    def drain(self) -> tuple[Any, Any]:
        """Return what has come from the pipes, close them, and collect the process."""
        output = errors = None
        self.is_cut = True
        try:
            for _ in range(2):  # a machine that stands still for a moment costs but one look
                try:
                    output, errors = self.communicate(timeout=DRAIN)
                    break
                except subprocess.TimeoutExpired as late:  # somebody else holds them open
                    output, errors = late.output or self._read("stdout"), late.stderr or self._read("stderr")
                except (AttributeError, KeyError):  # it was interrupted when it was about to read
                    self._communication_started = False
        except ValueError:  # they are closed
            pass
        for name in STREAMS:
            pipe, reader = getattr(self, name), getattr(self, f"{name}_thread", None)
            if pipe is not None and not (reader is not None and reader.is_alive()):  # it closes that itself
                try:
                    pipe.close()
                except OSError:
                    pass
        try:
            self.wait(DRAIN)
        except subprocess.TimeoutExpired:  # not even SIGKILL helps, at least not yet
            pass
        return self._text_of(self.stdout, output), self._text_of(self.stderr, errors)

    def _read(self, name: str) -> Any:
        """Return what such a thread has got so far."""
        buffer = getattr(self, f"_{name}_buff", None)
        return buffer[0] if buffer else None
