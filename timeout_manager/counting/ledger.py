"""A ledger: a budget of seconds, and the phases that spend it.

A phase is a named block of work. It is over at its own limit, at one around it, or at the deadline of the budget. While
at least one phase of a ledger is open, its budget runs down; between phases it stands still. Nested phases and parallel
threads are charged once, for the time that at least one of them is open. Nothing here interrupts anything: where limits
are enforced, ledger and phases are of classes of their own, which add that (`enforcing`). And nothing here knows what
is built upon it; what a phase needs of that (cleanups, verdicts, decorated functions) it gets from `CountedLedger`.
Ledger and phase know each other, and every import loads both: so they are one file.

There is no lock. ``open`` maps each thread (its ident), task or greenlet to its innermost open phase; every step on it
is one operation of a dict, and the budget runs exactly while it is not empty. The order of the steps does the rest:
entering reads what is used before it reads the clock, and looks whether the budget stands still before it adds itself;
leaving writes what is used before it removes itself. Two threads that meet in between disagree by the moment between
two statements, and no more.
"""

from __future__ import annotations

from sys import modules

from ..originals import thread, uninterrupted
from ..seconds import INFINITY, path, text

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, NoReturn, TypeVar, Union

    F = TypeVar("F", bound=Callable[..., Any])
    Limit = Union["Budget", "Phase"]  # what binds a phase: the budget, or a phase with a limit of its own


_turns: Any = None  # the module, once it is needed


def caller() -> object:
    """Return whose phases these are: the running task of asyncio or trio, the greenlet, or the ident of the thread.

    The greenlet that every thread begins with is the thread. One that runs a part of a task is that task.
    """
    asyncio: Any = modules.get("asyncio")
    if asyncio is not None:
        try:
            loop = asyncio._get_running_loop()
            task = None if loop is None else asyncio.current_task(loop)
        except AttributeError:  # it is being imported
            task = None
        if task is not None:
            return task
    if "greenlet" in modules or "trio" in modules:
        global _turns
        if _turns is None:
            from ..interpreter import turns as _turns  # once: a test may take all imports away

        return _turns.trio_task() or _turns.greenlet() or get_ident()
    return get_ident()


class Budget:
    """An amount of seconds: what is ``used`` of it while it stands still, since when (``origin``) while it runs."""

    __slots__ = ("amount", "used", "origin", "inherited")

    def __init__(self, amount: float | None, now: float, inherited: bool = False) -> None:
        self.amount = INFINITY if amount is None else amount
        self.inherited = inherited  # from a parent process
        self.used = 0.0
        self.origin = now


class Ledger:
    """A budget, and the phases that spend it, in the order of entry."""

    kind: type[Phase]  # of what is entered

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.begin(seconds)

    def begin(self, seconds: float | None) -> None:
        """Begin anew, with nothing spent; None is no limit."""
        self.initial = seconds
        self.made = now = self.clock()
        self.budget = Budget(seconds, now)
        self.phases: list[Phase] = []
        self.open: dict[object, Phase] = {}  # thread or task -> its innermost phase that is charged to the budget
        self.aside: dict[object, Phase] = {}  # the same where a cleanup is open
        self.sessions: dict[object, list[int]] = {}  # the same -> how many phases there were when each was opened

    def another(self, seconds: float | None) -> Ledger:
        """Return a fresh ledger with the settings of this one."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.begin(seconds)
        return other

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TimeoutManager cannot be pickled or copied: its budget runs in this process; a child has a manager of"
            " its own, with what is left, by TimeoutManager.from_environ() in an environment like child_environ()"
        )

    def inherit(self, seconds: float) -> None:
        """Take these seconds from the parent process."""
        self.initial = seconds
        self.budget = Budget(seconds, self.made, inherited=True)

    @uninterrupted
    def reset(self, seconds: float | None) -> None:
        """Put another budget, that begins now, in the place of the one there is."""
        self.budget = Budget(seconds, self.clock())
        self.changed()

    def changed(self) -> None:
        """Called when the limits of open phases have changed, in any thread."""

    def mechanism(self) -> str:
        """Name what would interrupt the calling code."""
        return "none"

    def open_session(self) -> None:
        """Begin a session of the calling thread or task. They nest."""
        self.sessions.setdefault(caller(), []).append(len(self.phases))

    def close_session(self) -> bool:
        """End it; tell whether there was no phase in it. RuntimeError if there is none to close here."""
        here = caller()
        sessions = self.sessions.get(here)
        if not sessions:
            raise RuntimeError("a session can only be closed in the thread or task that opened it, and once")
        before = sessions.pop()
        if not sessions:
            del self.sessions[here]
        return len(self.phases) == before and not self.open

    def used(self) -> float:
        """Return the seconds of the budget that have been used."""
        budget = self.budget
        return self.clock() - budget.origin if self.open else budget.used

    def left(self) -> float | None:
        """Return the seconds of the budget that are left, never below 0.0; None = no limit."""
        left = self.budget.amount - self.used()
        return None if left == INFINITY else max(left, 0.0)

    def left_of(self, limit: Limit, now: float) -> float:
        """Return the seconds until this one limit has passed; negative when it has."""
        if isinstance(limit, Budget):
            return limit.amount - (now - limit.origin if self.open else limit.used)
        assert limit.limit is not None
        return limit.started + limit.limit - now

    def remaining(self) -> float | None:
        """Return the seconds left for the calling thread or task, never below 0.0; None = no limit."""
        top = self.top()
        return self.left() if top is None else top.remaining()

    def top(self) -> Phase | None:
        """Return the innermost open phase of the calling thread or task."""
        here = caller()
        return self.open.get(here) or self.aside.get(here)


class Phase:
    """A named block of work: a context manager, an async context manager, a decorator.

    ``timed_operation`` and ``cleanup_operation`` of a manager return one. As a decorator it opens a fresh phase for
    each call. A phase can be entered once, and must be left in the thread that entered it; anything else is a
    RuntimeError and changes nothing.
    """

    __slots__ = ("name", "limit", "parent", "outcome", "ledger", "key", "started", "ended", "until", "rest")

    name: str
    """Its name, as given."""
    limit: float | None
    """The seconds that this phase may take by itself; None = no limit of its own."""
    parent: Phase | None
    """The phase of the same manager that was open around it in this thread or task."""
    outcome: str
    """What became of it: "new" before it is entered, then "running", then "done", "failed" or "timeout"."""

    is_cleanup = False
    ledger: Any  # where it is listed: a `Ledger`, or what enforces its limits
    key: Any  # the thread, task or greenlet that entered it; an int once it is left
    started: float
    ended: float
    until: float  # when its own limit and those around it are over; the budget's deadline may come earlier
    rest: float  # what was left at its end

    def __init__(self, ledger: Ledger, name: str, limit: float | None) -> None:
        self.ledger = ledger
        self.name = name if name.__class__ is str else str(name)  # it may be a path
        self.limit = limit
        self.parent = None
        self.outcome = "new"

    @uninterrupted
    def __enter__(self) -> Phase:
        if self.outcome != "new":
            raise RuntimeError(f"phase {self.name!r} was entered before; timed_operation() gives a fresh one each time")
        ledger = self.ledger
        if "asyncio" in modules or "greenlet" in modules or "trio" in modules:
            key = caller()
        else:
            key = get_ident()
        self.key = key
        budget = ledger.budget
        used = budget.used  # before `now`: what another thread uses from then on is not to count twice
        clock = ledger.clock
        self.started = now = clock()
        limit = self.limit
        self.until = INFINITY if limit is None else now + limit
        if ledger.open or ledger.aside or self.is_cleanup:
            self._nest(key, budget, now - used)
        else:
            budget.origin = now - used
            ledger.open[key] = self
        ledger.phases.append(self)
        self.outcome = "running"
        return self

    def _nest(self, key: object, budget: Budget, origin: float) -> None:
        """Enter beside or inside other phases, with what this budget would begin from."""
        ledger = self.ledger
        stack = ledger.aside if key in ledger.aside else ledger.open
        if not ledger.open and stack is ledger.open:
            budget.origin = origin
        self.parent = parent = stack.get(key)
        if parent is not None and parent.until < self.until:
            self.until = parent.until
        stack[key] = self

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ledger = self.ledger
        clock = ledger.clock
        now = clock()
        opened = ledger.open
        key: object = get_ident()
        innermost = opened.get(key)
        if innermost is not self:
            key = self._entered_by(key)
            innermost = opened.get(key)
        if innermost is self:
            budget = ledger.budget
            used = now - budget.origin
            rest = budget.amount - used
            if self.until - now < rest:
                rest = self.until - now
            parent = self.parent
            if parent is not None and parent.outcome != "running":
                parent = self.open_around()
            if parent is None:
                budget.used = used
                del opened[key]
            else:
                opened[key] = parent
        else:
            rest = self._leave_aside(key, now)
        self.ended = now
        self.rest = rest
        if rest > 0.0:
            self.outcome = "done" if error is None else "failed"
        else:
            self._late(error, now)

    def _entered_by(self, here: object) -> object:
        """Return the thread or task that it is charged to; RuntimeError if it is not open, or not to be left here."""
        if self.outcome != "running":
            raise RuntimeError(f"phase {self.name!r} cannot be left: it is {self.outcome}, not running")
        key: object = self.key
        if key.__class__ is not int:
            self.key = id(key)  # the ledger is not to keep a task
        elif key != here:
            raise RuntimeError(f"phase {self.name!r} was entered in another thread, and can only be left there")
        return key

    def _leave_aside(self, key: object, now: float) -> float:
        """Leave a phase that is in a cleanup, or not the innermost; return what was left of its time."""
        aside = self.ledger.aside
        if aside.get(key) is not self:  # those above it stay open
            return self.left(now)
        parent = self.open_around()
        if parent is None:
            del aside[key]
        else:
            aside[key] = parent
        rest: float = self.until - now
        return rest

    def _late(self, error: BaseException | None, now: float) -> None:
        """End a phase whose time is over."""
        self.ledger.judge(self, error, now)

    def told(self) -> str:
        """Return what was running when it was interrupted, if it was."""
        return ""

    def replaced(self, error: BaseException | None) -> BaseException | None:
        """Return what was on its way to others when an interrupt took its place, if there was such."""
        return None

    def takes_back(self, error: BaseException | None) -> bool:
        """Tell whether the error of its block is a cancellation by the phase, which takes that back."""
        return False

    @uninterrupted
    async def __aenter__(self) -> Phase:
        return self.__enter__()

    @uninterrupted
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, func: F) -> F:
        """Return ``func`` wrapped so that every call runs in a fresh phase of this name and limit.

        TypeError for a generator function: its body runs long after the call, so the phase belongs into it.
        """
        return self.ledger.decorate(self, func)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<Phase {path(self.path())} {self.outcome} after {text(self.elapsed())}>"

    def path(self) -> tuple[str, ...]:
        """Return the names of the phases of this manager from the outermost to this one."""
        return tuple(phase.name for phase in self.outwards())[::-1]

    def outwards(self) -> Iterator[Phase]:
        """Yield the phase, and those around it from the innermost on; some of them may have been left before it."""
        phase: Phase | None = self
        while phase is not None:
            yield phase
            phase = phase.parent

    def elapsed(self) -> float:
        """Return the seconds since it was entered, up to now or to its end; 0.0 before."""
        if self.outcome == "new":
            return 0.0
        return (self.ledger.clock() if self.outcome == "running" else self.ended) - self.started

    def remaining(self) -> float | None:
        """Return the seconds until the phase is over, never below 0.0; None = no limit.

        Its own limit, those of the phases around it and the budget all count. After its end this stays as it was then.
        """
        if self.outcome == "new":
            around = None if self.is_cleanup else self.ledger.remaining()
            return min([seconds for seconds in (self.limit, around) if seconds is not None], default=None)
        rest = self.left(self.ledger.clock()) if self.outcome == "running" else self.rest
        return None if rest == INFINITY else max(rest, 0.0)

    def expired(self) -> bool:
        """Tell whether its time is over: its own limit, one around it, or the budget has passed."""
        return self.remaining() == 0.0

    def open_around(self) -> Phase | None:
        """Return the innermost phase around it that is still open."""
        return next((phase for phase in self.outwards() if phase is not self and phase.outcome == "running"), None)

    def in_cleanup(self) -> bool:
        """Tell whether it is an open cleanup, or inside of one."""
        return any(phase.is_cleanup and phase.outcome == "running" for phase in self.outwards())

    def binding(self) -> list[Limit]:
        """Return what binds this open phase, the outermost first: the budget, then phases with a limit of their own."""
        found: list[Limit] = []
        for phase in self.outwards():
            if phase.limit is not None and phase.outcome == "running":
                found.append(phase)
            if phase.is_cleanup and phase.outcome == "running":
                return found[::-1]
        return [self.ledger.budget, *found[::-1]]

    def left(self, now: float) -> float:
        """Return the seconds until this open phase is over, as things stand now; negative when it is."""
        return min([self.ledger.left_of(limit, now) for limit in self.binding()], default=INFINITY)
