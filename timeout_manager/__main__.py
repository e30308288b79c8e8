"""The command line: ``python -m timeout_manager COMMAND ...``, or ``timeout-manager COMMAND ...`` once installed."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from . import __version__
from .commandline.screen import hint, refuse, show
from .errors import STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SCRIPT = "timeout-manager"
PROGRAM = SCRIPT if os.path.basename(sys.argv[0]) == SCRIPT else f"python -m {__package__}"
HELP = f"""usage: {PROGRAM} COMMAND [OPTIONS] ...

commands:
  unittest   run a unittest suite, unchanged, with a time limit for every test
  run        run a command with a time limit, as `timeout` does, and end everything that it has started
  suggest    suggest limits for tests and phases, from the report files of earlier runs
  merge      merge the report files of shards, parts of a suite, into one
  help       print a page of the manual; `{PROGRAM} help` lists the pages

to copy:
  {PROGRAM} unittest --timeout 60 --kill-after 10    end and name the tests that hang
  {PROGRAM} run --kill-after 5 10m make check        end make and all its children after ten minutes

  {PROGRAM} COMMAND --help     all options of a command
  {PROGRAM} --version

Which method: the best one for the code is taken. `unittest --help` says when to ask for another.
Exit status of `unittest`: 0 if all tests passed, 1 if not, {STATUS} if --total was spent; of `run`: that of the
command, or {STATUS} if its time ran out. `COMMAND --help` has the others.
Environment: TIMEOUT_MANAGER_SCALE multiplies all limits, and 0 switches them off; the others are in
`{PROGRAM} help environment`.
"""
COMMANDS = "unittest", "run", "suggest", "merge", "help"
IS_SAFE = getattr(sys.flags, "safe_path", sys.flags.isolated)  # then no folder is put before the path


def main(arguments: list[str]) -> NoReturn:
    """Run the command; the exit status is its own, or 2 if there is none of that name."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        show(HELP)
    if name == "--version":
        show(f"timeout_manager {__version__}\n")
    if name in COMMANDS:
        command = import_module(f".commandline.{name}_command", __package__)
        command.main(f"{PROGRAM} {name}", arguments[1:])
    what = hint(name, (*COMMANDS, "--help", "--version")) or f"; `{PROGRAM}` lists them"
    refuse(f"{PROGRAM}: there is no command {name!r}{what}")


def script() -> NoReturn:
    """Be the command `timeout-manager`, which finds the tests that `python -m` finds."""
    if sys.argv[1:2] == ["unittest"] and not IS_SAFE:
        sys.path[0] = os.getcwd()  # in place of the folder of the script
    main(sys.argv[1:])


if __name__ == "__main__":
    if sys.argv[1:2] != ["unittest"] and not IS_SAFE:
        del sys.path[0]  # the folder in which it is run: only tests are to be found there
    main(sys.argv[1:])
