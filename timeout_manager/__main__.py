"""The command line: ``python -m timeout_manager COMMAND ...``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__unittest = True

PROGRAM = f"python -m {__package__}"
HELP = f"""usage: {PROGRAM} COMMAND [OPTIONS] ...

commands:
  unittest   run a unittest suite, unchanged, with a hard limit for every test
  run        run a command with a time limit, as `timeout` does, and end all that it has started
  suggest    suggest limits for tests and phases, from the reports of earlier runs

  {PROGRAM} unittest --timeout 10                     discover the tests from here on and run them
  {PROGRAM} unittest --timeout 10 discover -s tests   whatever `python -m unittest` takes
  {PROGRAM} run --kill-after 5 10m make check
  {PROGRAM} suggest monday.json tuesday.json          of `unittest --report` or `run --report`
  {PROGRAM} COMMAND --help                            all options
"""


def main(arguments: list[str]) -> NoReturn:
    """Run the command; the exit status is its own, or 2 if it makes no sense."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
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
    print(f"{PROGRAM}: there is no command {arguments[0]!r}\n\n{HELP}", end="", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    if sys.argv[1:2] != ["unittest"] and not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]  # the folder in which it is run: only tests are to be found there
    main(sys.argv[1:])
