"""What interrupts a thread or an asyncio task when a limit of its phases has passed: the protocol."""

from __future__ import annotations

from itertools import islice

from ..counting.ledger import Phase
from ..diagnosis.lines import lines_at
from ..errors import message_of
from ..interpreter import safepoints
from ..interpreter.frames import WALKABLE, frames_of, own
from ..interpreter.threads import use_of
from ..originals import loaded, uninterrupted
from ..seconds import INFINITY

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType
    from typing import Any, Optional, Union
    from weakref import ref

    from ..errors import LetPass, PhaseTimeout
    from ..interpreter.frames import Line
    from ..interpreter.threads import Sample
    from .expiry import Expiry
    from .position import Position

    Struck = Union[PhaseTimeout, LetPass, None]  # what has been raised in a phase, or stands for that
    Seize = Callable[[Position], Optional[BaseException]]  # returns what a task that blocks its loop there is to raise

MOMENT = 0.001  # seconds until the next look where this one came at a bad place
SUSPENDED = 0.1  # between looks at a phase that is over in a suspended generator
SHORTEST = 1.0  # seconds until a limit for which it is worth while to see where its phase stands before,
BRIEFEST = 0.2  # and until it is no more
SAMPLES = 10  # that are kept


class InterruptiblePhase(Phase):
    """What has to be known of a phase to interrupt it."""

    __slots__ = ("enforcer", "frame", "lasti", "users", "struck", "cancelling", "greenlet")

    enforcer: Enforcer | None  # what interrupts it
    frame: FrameType | None  # that entered it, or for which that was done, while it is open,
    lasti: int  # at this instruction
    users: tuple[tuple[FrameType, int], ...]  # of the ``@contextmanager`` in which that is: see `users`
    struck: Struck  # what has been raised in it
    cancelling: int  # of the task: by how many it had been cancelled before,
    greenlet: ref[Any] | None  # and the greenlet that runs it, or that entered the phase


class Enforcer:
    """Interrupts one thread or task. It lives from ``start`` to ``stop``; when due, ``fire`` runs in the watched code.

    First the protocol, then what all of them have in common. Where one does something in a way of its own, it overrides
    a method or an attribute; whoever uses an enforcer does not ask which one it is.
    """

    NAME = ""  #: "timer", "signal", "thread" or "asyncio"
    OF_TASKS = False  #: it interrupts tasks, where they await, rather than what runs in a thread
    CAN_BE_LOST = False  #: others can take away what it uses: it is to be started anew wherever a phase begins

    __slots__ = (
        *("key", "thread", "phases", "sessions", "at", "looked", "stale", "expiry", "excused"),
        *("planned", "sample", "seen"),
    )

    loops: tuple[Seize, ...] = ()  # of event loops that may be blocked in its thread
    covered: Sequence[object] = ()  # what blocks have put in the place of what it uses, while it has taken over

    def __init__(self, key: Any = 0, thread: Enforcer | None = None) -> None:
        self.key = key  # the ident of the thread, or the task; 0: it watches nothing any more
        self.thread = thread or self  # what watches the thread in which this is looked at
        self.phases: list[InterruptiblePhase] = []  # in the order of entry; empty, and no session: it is stopped
        self.sessions = 0
        self.at = INFINITY  # when it will look next
        self.looked = 0.0  # when it was looked at last, and nothing was due
        self.stale = False  # the limits have changed: look at once
        self.expiry: Expiry | None = None
        self.excused = ""  # the debugger that was there since the thread was sent to look
        self.planned = INFINITY  # the ``at`` for which it is planned
        self.sample = INFINITY  # when to see where the phases stand;
        self.seen: list[Sample] = []  # where they stood

    @classmethod
    def missing(cls) -> str:
        """Return why the calling code cannot be interrupted; nothing if it can. It leaves no trace."""
        raise NotImplementedError

    @classmethod
    def start(cls, at: float) -> Enforcer | None:
        """Return that of the calling code, to fire at this instant at the latest; None if that cannot be."""
        raise NotImplementedError

    @classmethod
    def started(cls) -> Sequence[Enforcer]:
        """Return all that there are of this kind; called in any thread."""
        raise NotImplementedError

    def arm(self, at: float) -> None:
        """Fire at this instant."""
        raise NotImplementedError

    def wake(self) -> None:
        """Have the watched code look at once; called in any thread."""
        raise NotImplementedError

    def send(self, position: Position) -> bool:
        """Have the code that stands there come to a safe point, and fire there; return False if that cannot be."""
        raise NotImplementedError

    def stop(self) -> None:
        """Put everything back."""
        raise NotImplementedError

    @uninterrupted
    def fire(self, frame: FrameType, sent_to: int = -1) -> None:
        """Raise what is due; called in the watched code, which stands at this frame, and was sent there if not -1."""
        __tracebackhide__ = True  # for `pytest --pdb`, which asks each frame
        error = self.look(frame, sent_to)
        if error is not None:
            try:
                raise error
            finally:
                del error

    def look(self, frame: FrameType, sent_to: int) -> BaseException | None:
        """Return what is due, as `delivery` decides; set when to look again."""
        raise NotImplementedError

    # -- what some of them do in another way

    def call_off(self) -> None:
        """Take back what ``send`` has arranged; called in the watched thread."""
        safepoints.withdraw(self.key)

    def settle(self) -> None:
        """A phase or session has ended, and something is covered."""

    def ends_calls(self) -> bool:
        """Tell whether it interrupts a call that blocks."""
        return True

    def replaced(self, phase: InterruptiblePhase, error: BaseException | None) -> BaseException | None:
        """Return the cancellation by others that an interrupt of ours has replaced, if it has."""
        return None

    def takes_back(self, phase: InterruptiblePhase, error: BaseException | None) -> bool:
        """Tell whether the error that leaves a phase is a cancellation for it alone, which is taken back."""
        return isinstance(error, loaded("asyncio").CancelledError) and message_of(error) is not None

    # -- when to come

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
            self.seen = [*self.seen[1 - SAMPLES :], (now, line, use_of(self.thread.key))]
        self.sample = _halfway(now, self.at, BRIEFEST) if self.phases else INFINITY

    def forget(self) -> None:
        """Watch nothing any more: this is a child process, and the phases are those of its parent; a task has ended."""
        self.key = 0
        for phase in self.phases:
            phase.enforcer = None
        self.phases.clear()


class ThreadEnforcer(Enforcer):
    """What the enforcers of threads have in common: a thread can be sent to a safe point, and be seen, from another."""

    __slots__ = ("state", "blocked", "loops")

    def __init__(self, key: int = 0) -> None:
        super().__init__(key)
        self.state = 0  # what `safepoints` must know of the thread
        self.blocked = False  # whether the signal that interrupts it was blocked before
        self.loops = ()

    def send(self, position: Position) -> bool:
        return safepoints.arrange(self.key, self.state, position.stack, self.fire)

    def send_from_outside(self) -> None:
        """The same, called by another thread."""
        safepoints.arrange(self.key, self.state, self._frames(), self.fire)

    def see_thread(self, now: float) -> None:
        """Note where the thread stands; called by another one."""
        self.see(lines_at(self._frames()), now)

    def _frames(self) -> Iterator[FrameType]:
        return islice(frames_of(self.key), WALKABLE)


def _halfway(now: float, at: float, shortest: float) -> float:
    rest = at - now
    return now + rest / 2 if rest >= shortest else INFINITY
