"""A worker, as its parent sees it: how it is started, heard, ordered, asked where it stands, and ended."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from contextlib import suppress
from json import dumps, loads

from ..diagnosis.lines import FOLDER, of_others
from ..originals import clock, signals, system
from ..processes.table import contents
from ..processes.tree import Tree
from ..seconds import INFINITY
from .channel import HASHES, PLACE, VARIABLE
from .nameless import Book, Spool, first_of, in_memory, on_disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..processes.table import Process
    from ..testing.plan import Unit
    from ..testing.units import Name

JOB = "TIMEOUT_MANAGER_JOB"
STACKS = 0.5  # seconds that a process has to say where it stands,
LOOK = 0.01  # and between two looks whether it has
LONGEST_WORDS = 1 << 20
LAST = 0.5  # seconds that what a worker leaves behind has to end: some tidy up when they see that it is gone
IDLE: tuple[str, str, int | None] = ("nothing", "", None)  # what a worker is at: kind, name, number of the test
FATAL = "Fatal Python error"  # begins what the interpreter says when it dies
_CALLER = f'  File "{os.path.join(FOLDER, "testing", "part.py")}"'  # of the code under test,
_BETWEEN = f'  File "{os.path.dirname(unittest.__file__)}{os.sep}', f'  File "{FOLDER}'  # with these between them


def own_command() -> list[bytes]:
    """Return the command by which this process was started, all options of the interpreter with it."""
    words = contents("/proc/self/cmdline").split(b"\0")[:-1]
    return [os.fsencode(sys.executable) if sys.executable else words[0], *words[1:]]


class Hired:
    """One worker. `began` is when it began with what it is `at`, which is to be over by `due`."""

    def __init__(
        self, job: int, command: list[bytes], book: Book, orders: dict[str, Any], marks: Tree, spools: list[Spool]
    ) -> None:
        self.job = job
        self.lost: dict[str, Any] = orders["lost"]
        self.is_lister = bool(orders["is to list"])
        self.spools = spools
        self._shown = [spool.size() for spool in spools]
        self.tree = Tree()
        self.unit: Unit | None = None
        self.state = "loading"  # then "ready" or "busy", in the end "dismissed" and "over"
        self.begin(IDLE, ("", 0), clock.monotonic())
        self.uncounted = 0  # tests that count as such that ran once they have ended
        self.part = self.limit = ""  # what of that is to be over, and by which limit,
        self.seconds: float | None = None  # which is so long
        self.signal = 0  # which asks it
        self._stopped = IDLE  # what it was at when it was interrupted
        self.taken = 0  # how many tests its unit had
        self.begun: list[int] = []  # the numbers of tests that have begun, and not ended
        self.last = ""  # what has ended
        self.raised = ""  # the error in which it ends, as text
        self.unloaded: int | None = None  # the status with which it ends, as the tests cannot be loaded
        self._seen, self._buffer = 0, bytearray()
        self._is_asked = False  # where it stands
        self._token = system.urandom(8).hex()
        self._words = first_of(in_memory, on_disk)
        self.ear, out = system.pipe()
        orders_end, self._mouth = system.pipe()
        self._ends = self.ear, out, orders_end, self._mouth, self._words  # all stay open: no end of file tells
        system.set_blocking(self.ear, False)
        try:
            self.popen = self._start(command, out, orders_end, book, orders, marks)
            self.tree.session = self.popen.pid
        except OSError:
            self.close()
            raise

    def begin(self, at: tuple[str, str, int | None], place: Name, began: float) -> None:
        """Take that this is what it is at, in this place: that of the test, or of whose fixture it is."""
        self.at, self.place, self.began, self.due = at, place, began, INFINITY
        self.has_line = False  # it has been shown in progress
        self.so_far: list[list[Any]] = []  # what its result would be told of it if it ended the process now,
        self.late = ""  # and what is to be said of the parts of it that were late

    def _start(
        self, command: list[bytes], out: int, orders_end: int, book: Book, orders: dict[str, Any], marks: Tree
    ) -> subprocess.Popen[bytes]:
        role = {
            **{"out": (out, self.ear), "orders": (orders_end, self._mouth), "words": (self._words, self._words)},
            **{"book": (book.reader, book.reader), "token": self._token, "begin": book.write(orders)},
            "hashes": HASHES not in os.environ,
        }
        variables = {HASHES: str(orders["hashes"])} if role["hashes"] else {}
        for spool in self.spools:
            system.set_blocking(spool.mouth, True)  # whatever a test has made of it
        marked = {name: f"{value} {self.tree.mark}" for name, value in marks.variables().items()}
        return subprocess.Popen(
            command,
            env={**os.environ, **variables, **marked, VARIABLE: dumps(role), JOB: str(self.job)},
            pass_fds=(out, orders_end, book.reader, self._words),
            stdin=subprocess.DEVNULL,
            stdout=self.spools[0].mouth if self.spools else None,
            stderr=self.spools[-1].mouth if self.spools else None,
            start_new_session=True,
        )

    def send(self, order: Any, book: Book) -> None:
        system.write(self._mouth, PLACE.pack(*book.write(order)))

    def read(self) -> list[list[Any]]:
        """Return what it has said since; the rest is noise."""
        is_whole = False
        try:
            while True:
                data = system.read(self.ear, 1 << 16)
                if not data:
                    break
                self._buffer += data
                is_whole = is_whole or b"\n" in data
        except BlockingIOError:
            pass
        if not is_whole:
            return []
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        said = []
        for line in lines:
            token, _, more = line.partition(b" ")
            number, _, message = more.partition(b" ")
            if token == self._token.encode() and number.isdigit() and int(number) > self._seen:
                try:
                    said += loads(message.decode())
                except ValueError:  # torn; it comes again
                    continue
                self._seen = int(number)
        return said

    def written(self) -> tuple[list[Spool], list[int], list[int]]:
        """Return where what it has written to its streams since begins and ends."""
        begins, self._shown = self._shown, [spool.size() for spool in self.spools]
        return self.spools, begins, self._shown

    def ask(self) -> None:
        """Have C code of it say where it stands."""
        if not self.signal or self.popen.returncode is not None:
            return
        self._is_asked = True
        system.ftruncate(self._words, 0)  # there may be noise of tests in it
        system.lseek(self._words, 0, os.SEEK_SET)
        until, size = clock.monotonic() + STACKS, -1
        system.kill(self.popen.pid, self.signal)
        while clock.monotonic() < until:
            clock.sleep(LOOK)
            before, size = size, system.fstat(self._words).st_size
            if size and size == before:
                break

    def words(self) -> str:
        """Return what it has said of where it stood, without what has called the code under test, and our threads."""
        text = bytes(system.pread(self._words, LONGEST_WORDS, 0)).decode(errors="replace").strip("\0\n ")
        _, fatal, last = text.rpartition(FATAL)
        text = fatal + last if fatal or self._is_asked else ""
        kept = []
        for lines in map(str.splitlines, of_others(text)):
            end = next((at for at, line in enumerate(lines) if line.startswith(_CALLER)), len(lines))
            while end < len(lines) and lines[end - 1].startswith(_BETWEEN):
                end -= 1
            kept.append("\n".join(lines[:end]))
        return "\n\n".join(kept)

    def interrupt(self) -> None:
        self._stopped = self.at
        with suppress(OSError):
            system.killpg(self.popen.pid, signals.SIGINT)

    def goes_on(self) -> bool:
        """Tell whether it has begun something else since it was interrupted: a test has swallowed that."""
        return self.at not in (IDLE, self._stopped)

    def end(self) -> list[Process]:
        """Kill it, and end all that has come of it; return what could not be ended."""
        if self.popen.returncode is None:
            system.kill(self.popen.pid, signals.SIGKILL)
        self.tree.end([self.popen], LAST)
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(LAST)  # it may be on its way out
        return self.tree.survivors

    def close(self) -> None:
        for each in self._ends:
            system.close(each)
