"""A thread or asyncio task whose phases can be interrupted, and a limit of theirs that has passed."""

from __future__ import annotations

import sys

from ..counting.ledger import Phase
from ..errors import PhaseInterrupt, chain
from ..seconds import INFINITY
from ..interpreter.frames import own, processor_time

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, ModuleType
    from typing import Any
    from weakref import ref

    from ..enforcing.by_asyncio import Pulse
    from ..errors import PhaseTimeout
    from ..counting.ledger import Limit
    from ..interpreter.frames import Line, Sample

MOMENT = 0.001  # seconds until the next look where this one came at a bad place
FIRST, LAST = 0.05, 1.0  # between interrupts that are swallowed: doubling from the first to the last
SUSPENDED = 0.1  # between looks at a phase that is over in a suspended generator
SHORTEST = 1.0  # seconds until a limit for which it is worth while to see where its phase stands before,
BRIEFEST = 0.2  # and until it is no more
SAMPLES = 10  # that are kept


class Strike:
    """A limit that has passed, and the interrupts raised for it so far."""

    __slots__ = (
        *("over", "error", "hits", "hit", "again", "tries", "place"),
        *("raised", "landed", "avoid", "depth", "message"),
    )

    def __init__(self, over: Limit, error: PhaseTimeout) -> None:
        self.over = over
        self.error = error
        self.hits = 0
        self.hit = self.again = 0.0  # when it was raised last, and when it may be raised again
        self.tries = 0  # how many places have been passed over since it is due
        self.place: tuple[int, int] | None = None  # the last of them, if it was interrupted there
        self.raised: BaseException = error
        self.landed = False  # where the thread had been sent to
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

    def is_handled(self) -> bool:
        """Tell whether the block is on its way out: an error of ours is being handled, or what came of it."""
        ours = any(each is self.error or each is self.raised for each in chain(sys.exc_info()[1]))
        return ours or self.message() is not None


class InterruptiblePhase(Phase):
    """What has to be known of a phase to interrupt it."""

    __slots__ = ("watch", "frame", "lasti", "users", "struck", "cancelling", "greenlet")

    watch: Watch | None  # what interrupts it
    frame: FrameType | None  # that entered it, or for which that was done, while it is open,
    lasti: int  # at this instruction
    users: tuple[tuple[FrameType, int], ...]  # of the ``@contextmanager`` in which that is: see `whereabouts`
    struck: PhaseTimeout | None  # what has been raised in it
    cancelling: int  # of the task: by how many it had been cancelled before,
    greenlet: ref[Any] | None  # and the greenlet that runs it, or that entered the phase


class Watch:
    """A thread or task whose phases can be interrupted: by which enforcer, which phases, and when it will look next."""

    __slots__ = (
        *("key", "enforcer", "thread", "phases", "sessions", "at", "looked", "stale", "strike", "excused"),
        *("planned", "sample", "seen"),
        *("state", "signum", "blocked", "wait", "pulses"),
        *("shared", "covered"),
        *("pulse", "held", "cancelled"),
    )

    def __init__(self, key: Any, enforcer: ModuleType, thread: Watch | None = None) -> None:
        self.key = key  # the ident of the thread, or the task; 0: it watches nothing any more
        self.enforcer = enforcer
        self.thread = thread or self  # what watches the thread in which this is looked at
        self.phases: list[InterruptiblePhase] = []  # in the order of entry; empty, and no session: the watch is stopped
        self.sessions = 0
        self.at = INFINITY
        self.looked = 0.0  # when it was looked at last, and nothing was due
        self.stale = False  # the limits have changed: look at once
        self.strike: Strike | None = None
        self.excused = ""  # the debugger that was there since the thread was sent to look
        self.planned = INFINITY  # the ``at`` for which it is planned
        self.sample = INFINITY  # when to see where the phases stand;
        self.seen: list[Sample] = []  # where they stood
        # of a thread
        self.state = 0  # what landing must know of it
        self.signum = 0  # by which the watchdog interrupts the main thread,
        self.blocked = False  # and whether that was blocked before
        self.wait = MOMENT  # of the watchdog, for a thread that does not arrive
        self.pulses: tuple[Pulse, ...] = ()  # of the event loops that may be blocked in it
        # of the main thread, by SIGALRM
        self.shared = False  # by what others can take away: look after it wherever a phase begins
        self.covered: list[tuple[int, Any]] = []  # handlers of blocks: how much was open, and what was there
        # of a task
        self.pulse: Pulse | None = None
        self.held = False  # it has a session for the moment after its last phase
        self.cancelled: list[InterruptiblePhase] = []  # whose limit has cancelled it

    def next(self, now: float) -> float:
        """Return when to come: to look, or before that to see where the phases stand, when half of the rest is over."""
        if self.at != self.planned:
            self.planned = self.at
            self.sample = _halfway(now, self.at, SHORTEST)
        return self.at if self.at < self.sample else self.sample

    def is_sample(self, now: float) -> bool:
        return self.sample <= now < self.at and not self.stale

    def see(self, lines: list[Line], now: float) -> None:
        """Note where the phases stand: nothing but that is due."""
        line = own(lines) or next(iter(lines), None)
        if line is not None and self.phases:
            self.seen = [*self.seen[1 - SAMPLES :], (now, line, processor_time(self.thread.key))]
        self.sample = _halfway(now, self.at, BRIEFEST) if self.phases else INFINITY

    def forget(self) -> None:
        """Watch nothing any more: this is a child process, and the phases are those of its parent; a task has ended."""
        self.key = 0
        for phase in self.phases:
            phase.watch = None
        self.phases.clear()


def _halfway(now: float, at: float, shortest: float) -> float:
    rest = at - now
    return now + rest / 2 if rest >= shortest else INFINITY
