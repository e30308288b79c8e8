"""The real stderr, for what is to be said whatever a test has put in the place of ``sys.stderr``."""

from __future__ import annotations

import sys

from ..originals import made_anew, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STDERR = 2
PATIENCE = 1.0  # seconds for somebody to read what is written

try:
    _select: Any = made_anew("select", "poll")
except ImportError:
    _select = None
poll = getattr(_select, "poll", None)  #: the original, None where there is none
POLLIN, POLLOUT = 1, 4
_AT_ONCE = getattr(_select, "PIPE_BUF", None)  # bytes


def tell(text: str) -> None:
    """Write to the real stderr, whatever stands in its place, from any thread; what nobody reads in time is lost.

    If it was not open when this process began, another file may have its number by now.
    """
    if sys.__stderr__ is None:
        return
    left = text.encode(errors="replace")
    try:
        while left and _takes_more():
            left = left[system.write(STDERR, left[:_AT_ONCE]) :]
    except OSError:  # nobody reads it
        pass


def _takes_more() -> bool:
    """Wait until as much can be written as a pipe takes at once; always, where that cannot be asked."""
    if poll is None:
        return True
    waiting = poll()
    waiting.register(STDERR, POLLOUT)
    return bool(waiting.poll(PATIENCE * 1000))
