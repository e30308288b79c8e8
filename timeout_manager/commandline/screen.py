"""What a command line is answered with: a page, a table, the options, or what is wrong. And the streams for that."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__unittest = True

USAGE = 2  # exit status where the command line is wrong


def show(text: str) -> NoReturn:
    """Print a text, however few letters stdout has, and whether or not it is read to its end (``| head``), and exit."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end="", flush=True)
    except BrokenPipeError:  # what is left must not be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def refuse(message: str) -> NoReturn:
    """Say what is wrong, and exit."""
    print(message, file=sys.stderr)
    sys.exit(USAGE)


def open_missing() -> None:
    """Have the streams that this process was started without lead nowhere: unittest needs them."""
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):  # each gets the number that is free, its own
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, closefd=False))
