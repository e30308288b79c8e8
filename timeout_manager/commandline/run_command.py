"""The command `run`: run a command with a time limit, with the habits of coreutils' ``timeout``."""

from __future__ import annotations

import json
import os
import signal
import sys
from errno import ENOEXEC
from getopt import GetoptError, getopt
from shutil import which
from subprocess import TimeoutExpired

from ..processes import deadline
from ..accounting import TimeoutManager
from ..originals import clock
from ..processes.command import Child, name_of, with_variables
from ..processes.table import name_of_signal
from ..seconds import INFINITY, duration
from ..processes.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

TIMED_OUT, FAILED, NOT_STARTED, NOT_FOUND = 124, 125, 126, 127  # exit statuses, as there
HEARD = "SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGALRM"  # and the first signal; they are handed on, but for
ALARM = getattr(signal, "SIGALRM", None)  # which says that time is over
UNHEARD = {getattr(signal, name, 0) for name in ("SIGKILL", "SIGSTOP")}
LOOK = 0.1  # seconds until a signal is handed on
SHORT = {"--kill-after": "-k", "--signal": "-s", "--verbose": "-v"}
OPTIONS = "kill-after=", "signal=", "preserve-status", "foreground", "verbose", "phase=", "report=", "help"


def usage(program: str) -> str:
    return f"""usage: {program} [OPTIONS] DURATION COMMAND [ARG...]

Run COMMAND; if it is still running after DURATION, end it with everything that it has started.

  -k, --kill-after DURATION  send KILL if it is still running so long after the first signal
  -s, --signal SIGNAL        the first signal, by name or number (TERM)
      --preserve-status      exit with the status of COMMAND also when time is over
      --foreground           leave COMMAND in the group of this process, and end COMMAND alone
  -v, --verbose              say on stderr which signals are sent, and to what
      --phase NAME           the name of the phase in the report (default: that of COMMAND)
      --report FILE          write the ledger as JSON

DURATION: 90, 1.5, 90s, 2m, 1h, 1d; 0 is no limit. COMMAND finds its deadline in {deadline.VARIABLE}.

Exit status: that of COMMAND; {TIMED_OUT} if time was over, 137 if KILL was sent then; {FAILED} if the options make no
sense, {NOT_STARTED} if COMMAND cannot be started, {NOT_FOUND} if there is none.
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Run the command; exit as it does, or with 124 to 127 or 137."""
    try:
        given, words = getopt(arguments, "k:s:v", OPTIONS)
        options = {SHORT.get(name, name): value for name, value in given}
        if "--help" in options:
            print(usage(program), end="")
            sys.exit(0)
        if len(words) < 2:
            raise ValueError("DURATION and COMMAND are needed")
        limit = duration(words[0], "DURATION")
        kill_after = duration(options.get("-k", "0"), "--kill-after")
        number = _signal(options.get("-s", "TERM"))
        # on a clock of its own it only counts, whatever the environment asks for: an interrupt would end us alone
        manager = TimeoutManager.from_environ(limit or None, clock=lambda: clock.monotonic())
    except (GetoptError, ValueError) as error:
        print(f"{program}: {error}\n\n{usage(program)}", end="", file=sys.stderr)
        sys.exit(FAILED)
    command = Command(program, words[1:], "--foreground" in options, "-v" in options)
    phase = manager.timed_operation(options.get("--phase") or name_of(words[1:]))
    status = FAILED
    try:
        with phase:
            status = command.run(phase.remaining(), number, kill_after or None, "--preserve-status" in options)
    except TimeoutError:
        pass
    except OSError as error:
        print(f"{program}: {words[1]} cannot be started: {error.strerror}", file=sys.stderr)
        status = NOT_FOUND if isinstance(error, FileNotFoundError) or not words[1] else NOT_STARTED
    if "--report" in options:
        _write(program, options["--report"], manager)
    if status < 0:  # so that whoever started us sees the same end
        _die(-status)
    sys.exit(status)


class Command:
    """A command that gets the signals which its runner gets."""

    def __init__(self, program: str, words: list[str], foreground: bool, verbose: bool) -> None:
        self.program, self.words, self.foreground, self.verbose = program, words, foreground, verbose
        self.tree = Tree()
        self.asked: list[int] = []  # signals that have come for the command

    def run(self, seconds: float | None, number: int, kill_after: float | None, preserve: bool) -> int:
        """Return its exit status, or less than 0 if it has died of a signal."""
        if not self.foreground and hasattr(os, "setpgid") and os.getpid() != os.getsid(0):
            os.setpgid(0, 0)  # what the terminal sends, it sends to both
        if hasattr(signal, "SIGCHLD"):  # where it is ignored, the system forgets how children end
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        variables = {**deadline.variables(seconds), **self.tree.variables()}
        for each in {number, *(getattr(signal, name, number) for name in HEARD)} - {0, *UNHEARD}:
            if signal.getsignal(each) != signal.SIG_IGN:
                signal.signal(each, self._signalled)
        self.process = self._start(with_variables(None, variables))
        try:
            return self._wait(seconds, number, kill_after, preserve)
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

    def _wait(self, seconds: float | None, number: int, kill_after: float | None, preserve: bool) -> int:
        due = INFINITY if seconds is None else clock.monotonic() + seconds
        late = ending = False
        while True:
            try:
                status = self.process.wait(max(min(due - clock.monotonic(), LOOK), 0.0))
                break
            except TimeoutExpired:
                pass
            first = None
            if self.asked:
                first = self.asked.pop(0)
                if first == ALARM:
                    first, due = None, 0.0
            elif clock.monotonic() >= due and ending:
                self._kill()
                status = self.process.wait()
                break
            elif clock.monotonic() >= due:
                late, first = True, number
                due = INFINITY
            if first is not None:
                self._send(first)
                if kill_after is not None:
                    ending, due = True, clock.monotonic() + kill_after
        if late and kill_after is not None:
            self._kill()  # what it has left behind
        if late and not preserve and status != -signal.SIGKILL:
            return TIMED_OUT
        return 128 - status if late and status < 0 else status

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.asked.append(number)

    def _send(self, number: int) -> None:
        if self.foreground:
            self.process.send_signal(number)
            told = self.words
        else:
            told = [f"{each.pid} {each.command}" for each in self.tree.send(self._roots(), number)]
        self._say(number, told)

    def _kill(self) -> None:
        if self.foreground:
            self.process.kill()
            self._say(signal.SIGKILL, self.words)
        else:
            killed = self.tree.end(self._roots(), signal.SIGKILL, 0.0)
            self._say(signal.SIGKILL, [str(each) for each in killed if each.signal == "KILL"])

    def _roots(self) -> list[int]:
        return [self.process.pid] if self.process.returncode is None else []

    def _say(self, number: int, told: list[str]) -> None:
        if self.verbose and told:
            print(f"{self.program}: sending signal {name_of_signal(number)} to {'; '.join(told)}", file=sys.stderr)


def _signal(text: str) -> int:
    """Return the number of a signal that is given by name, with or without SIG, or by number; 0 only looks."""
    name = text.upper()
    named = getattr(signal.Signals, "SIG" * (not name.startswith("SIG")) + name, -1)
    number = int(text) if text.isdecimal() else int(named)
    if number not in (0, *signal.valid_signals()):
        raise ValueError(f"--signal must be a signal like TERM or 15, not {text!r}")
    return number


def _write(program: str, path: str, manager: TimeoutManager) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(manager.as_dict(), file, indent=1)
    except OSError as error:
        print(f"{program}: the report cannot be written: {error}", file=sys.stderr)


def _die(number: int) -> NoReturn:
    sys.stdout.flush()
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has left one if it was to
    except (ImportError, OSError, ValueError):
        pass
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)
