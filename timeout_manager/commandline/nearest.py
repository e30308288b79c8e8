"""What a mistyped word of a command line may have been meant to be."""

from __future__ import annotations

from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from getopt import GetoptError


def hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest of the known words; "" where none is near."""
    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def told(error: GetoptError | ValueError, options: Iterable[str]) -> str:
    """Return what is wrong, and the nearest of these long options (as `getopt` takes them) if one is not known."""
    word = getattr(error, "opt", "")
    return f"{error}{hint(f'--{word}', ['--' + name.rstrip('=') for name in options]) if word else ''}"
