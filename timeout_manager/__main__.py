"""The command line: ``python -m timeout_manager COMMAND ...``, or ``timeout-manager COMMAND ...`` once installed."""

from __future__ import annotations

import os
import sys

from . import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__unittest = True

SCRIPT = "timeout-manager"
PROGRAM = SCRIPT if os.path.basename(sys.argv[0]) == SCRIPT else f"python -m {__package__}"
HELP = f"""usage: {PROGRAM} COMMAND [OPTIONS] ...

commands:
  unittest   run a unittest suite, unchanged, with a hard limit for every test
  run        run a command with a time limit, as `timeout` does, and end all that it has started
  suggest    suggest limits for tests and phases, from the reports of earlier runs
  merge      put the reports of shards together
  help       print a page of the manual: `{PROGRAM} help` lists them

  {PROGRAM} unittest --timeout 60 --kill-after 10     run the tests from here on; what hangs ends, and is named
  {PROGRAM} run --kill-after 5 10m make check         end make and all of its children after ten minutes
  {PROGRAM} suggest monday.json tuesday.json          of `unittest --report` or `run --report`
  {PROGRAM} COMMAND --help                            all options
  {PROGRAM} --version

exit status: that of the tests or the command; 124 if time was over for all of it; 2 if the command line is wrong
environment: TIMEOUT_MANAGER_SCALE multiplies all limits, 0 switches them off; `{PROGRAM} help environment` has the rest
"""
COMMANDS = "unittest", "run", "suggest", "merge", "help"


def main(arguments: list[str]) -> NoReturn:
    """Run the command; the exit status is its own, or 2 if it makes no sense."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        sys.exit(0)
    if arguments[0] == "--version":
        print(f"timeout_manager {__version__}")
        sys.exit(0)
    if arguments[0] == "unittest":
        from .commandline import unittest_command

        unittest_command.main(f"{PROGRAM} unittest", arguments[1:])
    if arguments[0] == "run":
        from .commandline import run_command

        run_command.main(f"{PROGRAM} run", arguments[1:])
    if arguments[0] == "suggest":
        from .commandline import suggest_command

        suggest_command.main(f"{PROGRAM} suggest", arguments[1:])
    if arguments[0] == "merge":
        from .commandline import merge_command

        merge_command.main(f"{PROGRAM} merge", arguments[1:])
    if arguments[0] == "help":
        from .commandline import help_command

        help_command.main(f"{PROGRAM} help", arguments[1:])
    from .commandline.nearest import hint

    what = f"there is no command {arguments[0]!r}{hint(arguments[0], COMMANDS)}"
    print(f"{PROGRAM}: {what}\n\n{HELP}", end="", file=sys.stderr)
    sys.exit(2)


def script() -> NoReturn:
    """Be the command `timeout-manager`."""
    main(sys.argv[1:])


if __name__ == "__main__":
    if sys.argv[1:2] != ["unittest"] and not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]  # the folder in which it is run: only tests are to be found there
    main(sys.argv[1:])
