"""What a command line is answered with: a page, a table, the options, or what is wrong with it and may be meant."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

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


def hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest of the known words; "" where none is near."""
    from difflib import get_close_matches  # is slow to load, and seldom needed

    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def told(error: Exception, options: Iterable[str]) -> str:
    """Return what is wrong, and the nearest of these long options (as `getopt` takes them) if one is not known."""
    word = getattr(error, "opt", "")
    return f"{error}{hint(f'--{word}', ['--' + name.rstrip('=') for name in options]) if word else ''}"
