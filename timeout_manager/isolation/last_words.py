"""What a worker says when it dies, or is asked where it stands: C code of the interpreter writes it to a file."""

from __future__ import annotations

import faulthandler

from ..interpreter.fork import in_child
from ..interpreter.timer import free_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .channel import Channel


def have_it_told(channel: Channel) -> int:
    """Have the interpreter say where it was when it dies; return the signal that asks it, 0 if there is none."""
    was_enabled, number = faulthandler.is_enabled(), 0
    words = channel.words.number()
    faulthandler.enable(words, all_threads=True)
    try:
        number = [*free_signals()][-2]
        faulthandler.register(number, words, all_threads=True)
    except (AttributeError, IndexError, OSError):
        pass

    def forget() -> None:
        if number:
            faulthandler.unregister(number)
        faulthandler.disable()
        if was_enabled:
            faulthandler.enable(2)

    in_child("last words", forget)
    return number
