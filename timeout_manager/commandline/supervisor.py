"""A process of its own that runs one command, hands the signals on that it gets, and ends the command in time.

The command meets what coreutils' ``timeout`` would give it: streams, open files, environment, group, terminal. Where
the system has that (Linux), what loses its parent becomes a child of this process, so that nothing is missed; whoever
takes that over has to collect it when it ends. A command in the background of a terminal is stopped when it reads
there, and so is its group, in which this process is: it does not listen to that.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from errno import ENOEXEC
from shutil import which
from subprocess import TimeoutExpired

from ..errors import listed
from ..interpreter.stderr import tell
from ..originals import clock
from ..processes import deadline
from ..processes.child import Child
from ..processes.children import Ear, adopt, collect
from ..processes.table import HAS_GROUPS, KILL, STOP, contents, name_of_signal
from ..processes.tree import BOUND
from ..seconds import INFINITY, LONGEST_WAIT
from .own_group import OwnTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any

HEARD = "SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGALRM"  # and the first signal; they are handed on, but for
ALARM = getattr(signal, "SIGALRM", -1)  # which says that time is over
TERMINAL = {getattr(signal, name, 0) for name in ("SIGTTIN", "SIGTTOU")}  # what it sends to who is in the background
LOOK = 0.1  # seconds until a signal is handed on where nothing tells of it, and between two looks at what is left


class Supervisor:
    """Runs a command, in the name of a `program`."""

    def __init__(self, program: str, words: list[str], foreground: bool, verbose: bool) -> None:
        self.program, self.words, self.foreground, self.verbose = program, words, foreground, verbose
        self.is_late = False  # time was over before the command had ended
        self.asked: list[int] = []  # signals that have come for the command
        self.tree = OwnTree()

    def run(self, seconds: float | None, number: int, kill_after: float | None) -> int:
        """Return its exit status, or less than 0 if it has died of a signal."""
        if not self.foreground and hasattr(os, "setpgid") and os.getpid() != os.getsid(0):
            os.setpgid(0, 0)  # what the terminal sends, it sends to both
        self.tree.adopts = not self.foreground and adopt()
        self.ear = Ear() if HAS_GROUPS else None
        heard = {number, *(getattr(signal, name, number) for name in HEARD)}
        heard = (heard if self.foreground else heard | TERMINAL) - {0, KILL, STOP}
        for each in heard:
            if signal.getsignal(each) != signal.SIG_IGN:
                signal.signal(each, self._signalled)
        variables = {**deadline.variables(seconds), **self.tree.variables()}
        self.process = self._start(deadline.environ_with(as_inherited(), variables))
        self.tree.take(self.process)
        if hasattr(signal, "SIGTTOU"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {*heard, signal.SIGCHLD})
            for each in TERMINAL:  # not before: the command would ignore them, too
                signal.signal(each, signal.SIG_IGN)
        try:
            return self._wait(seconds, number, kill_after)
        except BaseException:
            self._kill()
            raise

    def _start(self, environ: Any) -> Child:
        try:
            return Child(self.words, env=environ, close_fds=False)  # ours are closed anyway, others are meant for it
        except OSError as error:
            if error.errno != ENOEXEC:
                raise
        path = which(self.words[0]) or self.words[0]
        return Child(["/bin/sh", path, *self.words[1:]], env=environ, close_fds=False)  # as execvp does

    def _wait(self, seconds: float | None, number: int, kill_after: float | None) -> int:
        """Wait for the command; once it has got a signal, and is to be killed in the end, for all of it."""
        due = INFINITY if seconds is None else clock.monotonic() + seconds
        kill_at = INFINITY
        while self._is_left(kill_at < INFINITY):
            first = self.asked.pop(0) if self.asked else None
            now = clock.monotonic()
            if first == ALARM:
                first, due = None, now
            if now >= kill_at:
                self._kill()
                break
            if first is None and now >= due and not self.is_late:
                self.is_late, first = True, number
            if first is not None:
                self._send(first)
                if kill_after is not None:
                    kill_at = min(kill_at, now + kill_after)
            else:
                self._rest(min(INFINITY if self.is_late else due, kill_at) - now)
        status = self.process.returncode
        return -KILL if status is None else status  # None: not even that has ended it, at least not yet

    def _rest(self, seconds: float) -> None:
        """Wait for so many seconds at most. What is left after the end of the command does not ring everywhere."""
        if self.ear is not None:
            self.ear.wait(min(seconds, LONGEST_WAIT if self.process.returncode is None else LOOK))
        else:
            with suppress(TimeoutExpired):
                self.process.wait(max(min(seconds, LOOK), 0.0))

    def _is_left(self, ending: bool) -> bool:
        """Tell whether the command is there; if it is to be ended, also whether there is something else of it."""
        if self.tree.adopts:
            others = collect([self.process])
            return self.process.returncode is None or ending and others
        if self.process.poll() is None:
            return True
        return ending and not self.foreground and bool(self.tree.look(()))

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if number not in TERMINAL:  # the command has got it as well, and reads there before we ignore that
            self.asked.append(number)

    def _send(self, number: int) -> None:
        told: Sequence[object] = self.words
        if self.foreground:
            self.process.send_signal(number)
        else:
            reached = [each for each in self.tree.send(self._roots(), number) if not each.is_refused]
            told = [f"{each.pid} {each.command}" for each in reached]
        self._tell(f"sending signal {name_of_signal(number)} to", told, self.verbose)

    def _kill(self) -> None:
        told: Sequence[object] = self.words
        if self.foreground:
            self.process.kill()
        else:
            self.tree.end(self._roots())
            told = [each for each in self.tree.killed if each.signal == "KILL"]
            if self.tree.is_blind() and collect([self.process]):  # what lives on is in our group, if anywhere
                os.killpg(0, signal.SIGKILL)
        self._tell("sending signal KILL to", told, self.verbose)
        self._tell("what could not be ended:", self.tree.survivors, True)
        with suppress(TimeoutExpired):
            self.process.wait(0.0 if self.tree.survivors else BOUND)

    def _roots(self) -> list[Child]:
        return [self.process] if self.process.returncode is None else []

    def _tell(self, what: str, told: Sequence[object], wanted: bool) -> None:
        if told and wanted:
            say(f"{self.program}: {what} {'; '.join(listed(told))}")


def as_inherited() -> Any:
    """Return the environment that this process was started with; None if it is that of ``os.environ``.

    Python sets LC_CTYPE for itself, if no locale is set (PEP 538).
    """
    if not os.supports_bytes_environ:
        return None
    try:
        words = [word.partition(b"=") for word in contents("/proc/self/environ").split(b"\0")]
    except OSError:
        return None
    given = {name: value for name, _, value in words if name == b"LC_CTYPE"}
    return {**{name: value for name, value in os.environb.items() if name != b"LC_CTYPE"}, **given}


def say(line: str) -> None:
    """Write a line to stderr.

    Not by ``sys.stderr``, which would keep what a full disk does not take, and end with another status for that.
    """
    tell(f"{line}\n")
