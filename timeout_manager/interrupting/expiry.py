"""A limit that has passed, and the interrupts raised for it so far."""

from __future__ import annotations

from ..errors import PhaseInterrupt, chain
from ..originals import python
from ..seconds import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

    from ..counting.ledger import Limit
    from ..diagnosis.snapshot import Scene
    from ..errors import PhaseTimeout

FIRST, LAST = 0.05, 1.0  # seconds between interrupts that are swallowed: doubling from the first to the last


class Expiry:
    """A limit that has passed: what is raised for it, and what became of that."""

    __slots__ = (
        *("over", "error", "hits", "hit", "again", "tries", "passed", "place"),
        *("raised", "sent", "avoid", "depth", "message"),
    )

    def __init__(self, over: Limit, error: PhaseTimeout) -> None:
        self.over = over
        self.error = error
        self.hits = 0
        self.hit = self.again = 0.0  # when it was raised last, and when it may be raised again
        self.tries = 0.0  # how many places have been passed over since it is due
        self.passed = 0  # how many of them where it would have done harm
        self.place: tuple[int, int] | None = None  # the last of them, if it was interrupted there
        self.raised: BaseException = error
        self.sent = False  # it was raised where the thread had been sent to
        self.avoid: set[tuple[CodeType, int]] = set()  # handlers that have swallowed it
        self.depth = 0  # how many of them were around the place where it was raised last
        self.message: Callable[[], object] = lambda: None  # what a task was cancelled with, while that is in flight

    def next(self, now: float) -> None:
        """Count one more interrupt."""
        self.raised = PhaseInterrupt.of(self.error) if self.hits else self.error
        self.hit = now
        self.again = now + min(LAST, FIRST * 2 ** min(self.hits, 9))
        self.hits += 1
        self.tries = 0

    def scene_since(self, now: float) -> Scene | None:
        """Return what was running when the limit had passed, if that was not before now: it may be of another look."""
        scene: Any = self.error.scene
        return scene if getattr(scene, "at", -INFINITY) >= now else None

    def is_handled(self) -> bool:
        """Tell whether the block is on its way out: an error of ours is being handled, or what came of it.

        Or a generator is being closed, as one is that an error leaves behind: there nothing else tells of that error.
        """
        handled = chain(python.exc_info()[1])
        ours = any(each is self.error or each is self.raised or isinstance(each, GeneratorExit) for each in handled)
        return ours or self.message() is not None
