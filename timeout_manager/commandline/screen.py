"""Texts for whoever has asked for them: a page, a table, the options. And the streams for that."""

from __future__ import annotations

import os
import sys

__unittest = True


def show(text: str) -> None:
    """Print a text, however few letters stdout has, and whether or not it is read to its end, as by ``| head``."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end="", flush=True)
    except BrokenPipeError:  # what is left must not be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_missing() -> None:
    """Have the streams that this process was started without lead nowhere: unittest needs them."""
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):  # each gets the number that is free, its own
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, closefd=False))
