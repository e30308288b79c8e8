"""A thread whose phases can be interrupted, and a limit of theirs that has passed."""

from __future__ import annotations

from .errors import PhaseInterrupt
from .seconds import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    from .errors import PhaseTimeout
    from .phase import Budget, Phase

MOMENT = 0.001  # seconds until the next look where this one came at a bad place
FIRST, LAST = 0.05, 1.0  # between interrupts that are swallowed: doubling from the first to the last
SUSPENDED = 0.1  # between looks at a phase that is over in a suspended generator


class Strike:
    """A limit that has passed, and the interrupts raised for it so far."""

    __slots__ = ("over", "error", "hits", "hit", "again", "tries", "place", "raised", "avoid", "depth")

    def __init__(self, over: Budget | Phase, error: PhaseTimeout) -> None:
        self.over = over
        self.error = error
        self.hits = 0
        self.hit = self.again = 0.0  # when it was raised last, and when it may be raised again
        self.tries = 0  # how many places have been passed over since it is due
        self.place: tuple[int, int] | None = None  # the last of them, if it was interrupted there
        self.raised: BaseException = error
        self.avoid: set[tuple[CodeType, int]] = set()  # handlers that have swallowed it
        self.depth = 0  # how many of them were around the place where it was raised last

    def next(self, now: float) -> None:
        """Count one more interrupt."""
        self.raised = PhaseInterrupt(str(self.error)) if self.hits else self.error
        self.hit = now
        self.again = now + min(LAST, FIRST * 2 ** min(self.hits, 9))
        self.hits += 1
        self.tries = 0


class Watch:
    """A thread whose phases can be interrupted: by which enforcer, which phases, and when it will look next."""

    __slots__ = (
        *("ident", "enforcer", "phases", "sessions", "at", "stale", "strike"),
        *("state", "signum", "blocked", "wait"),
    )

    def __init__(self, ident: int, enforcer: ModuleType) -> None:
        self.ident = ident
        self.enforcer = enforcer
        self.phases: list[Phase] = []  # in the order of entry; empty, and no session: the watch is stopped
        self.sessions = 0
        self.at = INFINITY
        self.stale = False  # the limits have changed: look at once
        self.strike: Strike | None = None
        self.state = 0  # what landing must know of the thread
        self.signum = 0  # by which the watchdog interrupts the main thread,
        self.blocked = False  # and whether that was blocked before
        self.wait = MOMENT  # of the watchdog, for a thread that does not arrive

    def forget(self) -> None:
        """Watch nothing any more: this is a child process, and the phases are those of its parent."""
        self.ident = 0
        for phase in self.phases:
            phase._watch = None
        self.phases.clear()
