"""The command line of what reads reports: options, the paths of the reports, and what is in them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from getopt import GetoptError, gnu_getopt
from reprlib import repr as brief

from ..counting.report import FORMAT
from .screen import refuse, show, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


@contextmanager
def telling(program: str, options: Sequence[str]) -> Iterator[None]:
    """Say what is wrong with the command line, or with what it names, and exit with `USAGE`."""
    try:
        yield
    except (GetoptError, OSError, ValueError) as error:
        refuse(f"{program}: error: {told(error, options)}")


def parsed(arguments: Sequence[str], options: Sequence[str], usage: str) -> tuple[dict[str, str], list[str]]:
    """Return the options and the paths, each once; print the usage and exit with 0 if that is asked for."""
    given, paths = gnu_getopt(arguments, "h", options)
    found = dict(given)
    if "--help" in found or "-h" in found:
        show(usage)
    if not paths:
        raise ValueError("REPORT.json is needed; see --help")
    return found, list(dict.fromkeys(paths))


def load(path: str) -> Any:
    """Return what is in a file of JSON; ValueError names the file, and what is wrong with it."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    version = found.get("format", FORMAT) if isinstance(found, dict) else FORMAT  # as_dict() tells of none
    if version != FORMAT:
        raise ValueError(f'{path}: "format" must be {FORMAT}, not {brief(version)}')
    return found
