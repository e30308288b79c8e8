"""The command `run`: run a command with a time limit, with the habits of coreutils' ``timeout``."""

from __future__ import annotations

import json
import signal
import sys
from getopt import GetoptError, getopt

from .. import TimeoutManager
from ..counting.report import FORMAT
from ..errors import STATUS as TIMED_OUT, PhaseTimeout
from ..originals import clock
from ..processes import deadline
from ..processes.name import name_of
from ..processes.table import KILL
from ..seconds import duration, text
from .dying import die_of
from .screen import show, told
from .supervisor import Supervisor, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

FAILED, NOT_STARTED, NOT_FOUND = 125, 126, 127  # exit statuses, as there
SHORT = {"--kill-after": "-k", "--signal": "-s", "--verbose": "-v"}
OPTIONS = "kill-after=", "signal=", "preserve-status", "foreground", "verbose", "phase=", "report=", "html=", "help"


def usage(program: str) -> str:
    return f"""usage: {program} [OPTIONS] DURATION COMMAND [ARG...]

Run COMMAND. If it is still running after DURATION, end it and everything that it has started.

  -k, --kill-after DURATION  send KILL if anything of it is still running this long after the first signal;
                             without this option, KILL is never sent
  -s, --signal SIGNAL        the first signal, by name or number; TERM if not given
      --preserve-status      exit with the status of COMMAND even if its time ran out
      --foreground           leave COMMAND in the process group of this command, and end COMMAND alone
  -v, --verbose              say on stderr which signals are sent, and to which processes
      --report FILE          write what it was and how long it took, as JSON
      --html FILE            the same as a page for a browser
      --phase NAME           the name in these files; that of COMMAND if not given

to copy:
  {program} --kill-after 5 10m make check
  {program} -v -k 5 --report build.json 10m sh build.sh

DURATION is 90, 1.5, 90s, 2m, 1h or 1d; 0 is no limit.

Exit status: that of COMMAND; {TIMED_OUT} if its time ran out; 137 if it then had to be killed; {FAILED} if the options
make no sense; {NOT_STARTED} if COMMAND cannot be started; {NOT_FOUND} if it does not exist.
Environment: TIMEOUT_MANAGER_SCALE multiplies DURATION. {deadline.VARIABLE} is the deadline of a parent, which
counts if it is earlier; COMMAND gets its own there.
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Run the command; exit as it does, or with 124 to 127 or 137."""
    try:
        given, words = getopt(arguments, "k:s:v", OPTIONS)
        options = {SHORT.get(name, name): value for name, value in given}
        if "--help" in options:
            show(usage(program))
        if len(words) < 2:
            raise ValueError("DURATION and COMMAND are needed")
        limit = duration(words[0], "DURATION")
        kill_after = duration(options.get("-k", "0"), "--kill-after")
        number = _signal(options.get("-s", "TERM"))
        # on a clock of its own it only counts, whatever the environment asks for: an interrupt would end us alone
        manager = TimeoutManager.from_environ(limit or None, clock=lambda: clock.monotonic())
    except (GetoptError, ValueError) as error:
        say(f"{program}: {told(error, OPTIONS)}\n`{program} --help` lists the options")
        sys.exit(FAILED)
    runner = Supervisor(program, words[1:], "--foreground" in options, "-v" in options)
    phase = manager.timed_operation(options.get("--phase") or name_of(words[1:]))
    status = FAILED
    try:
        with phase:
            status = runner.run(phase.remaining(), number, kill_after or None)
            if runner.is_late and status != -KILL and "--preserve-status" not in options:
                status = TIMED_OUT
            elif runner.is_late and status < 0:
                status = 128 - status
    except PhaseTimeout as error:
        if runner.is_late and error.limited_by == "inherited":
            left = text(error.timeout)
            say(f"{program}: time is over by {deadline.VARIABLE} of the environment, which left {left} for this")
    except OSError as error:
        order = "; options come before DURATION" if words[1].startswith("-") else ""
        say(f"{program}: {words[1]} cannot be started: {error.strerror}{order}")
        status = NOT_FOUND if isinstance(error, FileNotFoundError) or not words[1] else NOT_STARTED
    _report(program, options, manager)
    if status < 0:
        die_of(-status)  # which has left a core if it was to
    sys.exit(status)


def _report(program: str, options: dict[str, str], manager: TimeoutManager) -> None:
    if "--report" in options:
        _write(program, options["--report"], json.dumps({"format": FORMAT, **manager.as_dict()}, indent=1))
    if "--html" in options:
        _write(program, options["--html"], manager.as_html())


def _signal(text: str) -> int:
    """Return the number of a signal that is given by name, with or without SIG, or by number; 0 only looks."""
    name = text.upper()
    named = getattr(signal.Signals, "SIG" * (not name.startswith("SIG")) + name, -1)
    number = int(text) if text.isdecimal() else int(named)
    if number not in (0, *getattr(signal, "valid_signals", lambda: signal.Signals)()):
        raise ValueError(f"--signal must be a signal like TERM or 15, not {text!r}")
    return number


def _write(program: str, path: str, report: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            file.write(report)
    except OSError as error:
        say(f"{program}: the report cannot be written: {error}")
