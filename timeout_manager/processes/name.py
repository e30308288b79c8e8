"""The name of a command, for the phase in which it is run."""

from __future__ import annotations

import os
from itertools import dropwhile

from .table import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def name_of(args: Any, shell: bool = False) -> str:
    """Return a name for a command: that of its program, without the directory and without variables before it."""
    is_line = isinstance(args, (str, bytes)) or hasattr(args, "__fspath__")
    words = [os.fsdecode(word) for word in ([args] if is_line else args)]
    if shell or is_line and os.name == "nt":
        words = _after_variables(_words(words[0] if words else ""))
    if words and os.path.basename(words[0]) == "env":
        rest = _after_variables(words[1:])
        words = rest if rest and not rest[0].startswith("-") else words
    program = words[0].rstrip("/") if words else ""
    return shown(os.path.basename(program)) if program.strip() else "command"


def _words(line: str) -> list[str]:
    """Return the words of a line as a shell takes them, without what is no word."""
    import shlex

    words = shlex.shlex(line, posix=os.name == "posix", punctuation_chars=True)
    words.whitespace_split, words.commenters = True, ""
    try:
        return [word for word in words if word.strip(words.punctuation_chars + "{!}")]
    except ValueError:  # a quotation without an end, or what seems to be one
        return line.split()


def _after_variables(words: list[str]) -> list[str]:
    """Return the words after those that set a variable."""
    return list(dropwhile(lambda word: "=" in word and word.partition("=")[0].isidentifier(), words))
