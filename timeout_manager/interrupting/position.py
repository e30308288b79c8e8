"""Where the watched code stands when an enforcer fires."""

from __future__ import annotations

from ..interpreter.frames import up
from ..originals import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any


class Position:
    """A frame, with what is around it (the innermost first), where the code was sent to (-1: it was not), and when."""

    __slots__ = ("frame", "stack", "sent_to", "now")

    def __init__(self, frame: FrameType | None, sent_to: int = -1, stack: Iterable[FrameType] | None = None) -> None:
        self.now = clock.monotonic()
        self.frame: Any = frame  # None: it is a task that awaits
        self.stack = dict.fromkeys(up(frame) if stack is None else stack)
        self.sent_to = sent_to
