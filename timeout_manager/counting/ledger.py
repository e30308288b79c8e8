"""A phase: a named block of work that is over at its own limit, at one around it, or at the deadline of the budget.

While at least one phase of a manager is open, its budget runs down; between phases it stands still. Nested phases and
parallel threads are charged once, for the time that at least one of them is open. Nothing here interrupts anything:
that is the work of an enforcer, which is told of every phase that opens and closes.

There is no lock. ``_open`` of the manager maps each thread (its ident), task or greenlet to its innermost open phase;
every step on it is one operation of a dict, and the budget runs exactly while it is not empty. The order of the steps
does the rest: entering looks whether the budget stands still before it adds itself, leaving writes what is used before
it removes itself. Two threads that meet in between disagree by the moment between two statements, and no more.
"""

from __future__ import annotations

from sys import _getframe, modules, version_info

from ..originals import thread
from ..seconds import INFINITY, path, text

_no_interrupt = frozenset({"__enter__", "__exit__", "__aenter__", "__aexit__"})  # see interrupt

_FOR_OTHERS = frozenset({"__enter__", "__aenter__", "enter_context", "enter_async_context"})  # what enters for others
_GENERATES = 0x20 | 0x200  # flags of code: generators, asynchronous generators
EARLY = 0.001  #: seconds before a limit at which what was set for a phase before may come
COUNTS_CANCELLATIONS = version_info >= (3, 11)  #: a task knows by how many it was cancelled

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, TypeVar
    from weakref import ref

    from ..accounting import TimeoutManager
    from ..errors import PhaseTimeout
    from ..interrupting.enforcer import Watch

    F = TypeVar("F", bound=Callable[..., Any])


_plain = 0  # how many modules were loaded when none was that has tasks or greenlets: to look for each takes longer


def caller() -> object:
    """Return whose phases these are: the running task of asyncio or trio, the greenlet, or the ident of the thread.

    The greenlet that every thread begins with is the thread. One that runs a part of a task is that task.
    """
    global _plain
    asyncio: Any = modules.get("asyncio")
    try:
        loop = asyncio._get_running_loop()
        task = None if loop is None else asyncio.current_task(loop)
    except AttributeError:  # it is not imported, or not yet
        task = None
    if task is not None:
        return task
    if "greenlet" in modules or "trio" in modules:
        from ..interpreter.turns import greenlet, trio_task

        return trio_task() or greenlet() or get_ident()
    if asyncio is None:
        _plain = len(modules)
    return get_ident()


class Budget:
    """An amount of seconds: what is ``used`` of it while it stands still, since when (``origin``) while it runs."""

    __slots__ = ("amount", "used", "origin", "inherited")

    def __init__(self, amount: float, now: float, inherited: bool = False) -> None:
        self.amount = amount
        self.inherited = inherited  # from a parent process
        self.used = 0.0
        self.origin = now


class Phase:
    """A named block of work: a context manager, an async context manager, a decorator.

    As a decorator it opens a fresh phase for each call. A phase can be entered once, and must be left in the thread
    that entered it; anything else is a RuntimeError and changes nothing.
    """

    __slots__ = (
        *("name", "limit", "parent", "outcome"),
        *("_manager", "_key", "_started", "_ended", "_until", "_rest"),
        *("_watch", "_frame", "_lasti", "_users", "_struck"),  # only where limits are enforced
        *("_cancelling", "_greenlet"),
    )

    name: str  #: as given
    limit: float | None  #: the most this phase may take by itself, in seconds; None = no limit of its own
    parent: Phase | None  #: the phase of the same manager that was open around it in this thread or task
    outcome: str  #: "new" before it is entered, then "running", then "done", "failed" or "timeout"

    _cleanup = False
    _manager: TimeoutManager
    _key: object  # the thread, task or greenlet that entered it
    _started: float
    _ended: float
    _until: float  # when its own limit and those around it are over; the budget's deadline may come earlier
    _rest: float  # what was left at its end
    _watch: Watch | None  # what interrupts it
    _frame: FrameType | None  # that entered it, or for which that was done, while it is open,
    _lasti: int  # at this instruction
    _users: tuple[tuple[FrameType, int], ...]  # of the ``@contextmanager`` in which that is: see `standing`
    _struck: PhaseTimeout | None  # what has been raised in it
    _cancelling: int  # of the task: by how many it had been cancelled before,
    _greenlet: ref[Any] | None  # and the greenlet that runs it, or that entered the phase

    def __init__(self, manager: TimeoutManager, name: str, limit: float | None) -> None:
        self._manager = manager
        self._key = 0
        self._watch = None
        self._users = ()
        self.name = name if name.__class__ is str else str(name)  # a path, say
        self.limit = limit
        self.parent = None
        self.outcome = "new"

    def __enter__(self, frame: FrameType | None = None) -> Phase:
        if self.outcome != "new":
            raise RuntimeError(f"phase {self.name!r} was entered before; timed_operation() gives a fresh one each time")
        manager = self._manager
        key: Any
        self._key = key = get_ident() if len(modules) == _plain else caller()
        self._started = now = manager._clock()
        limit = self.limit
        self._until = until = INFINITY if limit is None else now + limit
        opened = manager._open
        if opened or manager._aside or self._cleanup:
            until = self._nest(manager, key, now)
        else:
            budget = manager._budget
            budget.origin = origin = now - budget.used
            opened[key] = self
            if origin + budget.amount < until:
                until = origin + budget.amount
        manager._phases.append(self)
        self.outcome = "running"
        watch = manager._watch
        if watch is not None:
            if key.__class__ is not int:
                self._note_turn(key)
            self._frame = frame = frame or _getframe(1)
            self._lasti = frame.f_lasti
            code = frame.f_code
            if code.co_flags & _GENERATES or code.co_name in _FOR_OTHERS:
                from ..interrupting.whereabouts import find_users

                find_users(self, frame)
            self._struck = None
            if until < INFINITY:
                is_armed = now < until and watch.at <= until <= watch.at + EARLY and watch.key == key
                if is_armed and not (watch.phases and watch.shared):
                    self._watch = watch
                    watch.phases.append(self)
                else:
                    manager._enforcer.enter(self, manager, until)
        return self

    def _note_turn(self, key: Any) -> None:
        """Note what is to be known of the task or greenlet that enters it."""
        cancelling = getattr(key, "cancelling", None)
        self._cancelling = cancelling() if cancelling is not None else _cancelling(key)
        self._greenlet = None
        if "greenlet" in modules:
            from ..interpreter.turns import greenlet

            self._greenlet = greenlet()

    def _nest(self, manager: TimeoutManager, key: object, now: float) -> float:
        """Enter beside or inside other phases; return when it is over."""
        budget = manager._budget
        end = INFINITY
        if self._cleanup or key in manager._aside:
            stack = manager._aside
        else:
            stack = manager._open
            if not stack:
                budget.origin = now - budget.used
            end = budget.origin + budget.amount
        self.parent = parent = stack.get(key)
        if parent is not None and parent._until < self._until and not self._cleanup:
            self._until = parent._until
        stack[key] = self
        return min(self._until, end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        manager = self._manager
        now = manager._clock()
        key = self._key
        if key.__class__ is not int:
            self._key = id(key)  # the ledger is not to keep a task
        elif key != get_ident() or self.outcome != "running":
            lost = self._check_leaving()
            if lost is not None:
                return self._judge(error, now, lost)
        opened = manager._open
        if opened.get(key) is self:
            budget = manager._budget
            used = now - budget.origin
            rest = budget.amount - used
            if self._until - now < rest:
                rest = self._until - now
            parent = self.parent
            if parent is not None and parent.outcome != "running":
                parent = self._around()
            if parent is None:
                budget.used = used
                del opened[key]
            else:
                opened[key] = parent
        else:
            rest = self._leave_aside(manager, key, now)
        self._ended = now
        self._rest = rest
        struck = None
        if manager._watch is not None:
            struck = self._struck
            self._frame = self._struck = None
            self._users = ()
            watch = self._watch
            if watch is not None:
                phases = watch.phases
                is_quick = len(phases) == 1 or self.limit is None and self.parent is not None  # nothing to put off
                lasts = watch.sessions and not watch.covered and not manager._takes_long
                if is_quick and lasts and struck is None and phases[-1] is self:
                    phases.pop()
                else:
                    manager._enforcer.leave(self, watch, struck)
            elif manager._takes_long:
                manager._enforcer.leave(self, None, struck)
        if rest > 0.0 and struck is None:
            self.outcome = "done" if error is None else "failed"
        else:
            self._judge(error, now, struck)

    def _leave_aside(self, manager: TimeoutManager, key: object, now: float) -> float:
        """Leave a phase that is in a cleanup, or not the innermost; return what was left of its time."""
        aside = manager._aside
        if aside.get(key) is not self:  # those above it stay open
            return self._left(now)
        parent = self._around()
        if parent is None:
            del aside[key]
        else:
            aside[key] = parent
        return self._until - now

    def _around(self) -> Phase | None:
        """Return the innermost phase around it that is still open."""
        parent = self.parent
        while parent is not None and parent.outcome != "running":
            parent = parent.parent
        return parent

    def _check_leaving(self) -> PhaseTimeout | None:
        """Raise RuntimeError if it is not open, or in another thread. Leaving out of order is allowed.

        Return what was raised in one that seemed to have lost its way out, and was closed.
        """
        if self.outcome != "running":
            lost: PhaseTimeout | None = getattr(self, "_struck", None)
            if lost is None:
                raise RuntimeError(f"phase {self.name!r} cannot be left: it is {self.outcome}, not running")
            self._struck = None
            return lost
        if self._key != get_ident():
            raise RuntimeError(f"phase {self.name!r} was entered in another thread, and can only be left there")
        return None

    async def __aenter__(self) -> Phase:
        return self.__enter__(_getframe(1))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, func: F) -> F:
        """Return ``func`` wrapped so that every call runs in a fresh phase of this name and limit.

        TypeError for a generator function: its body runs long after the call, so the phase belongs into it.
        """
        from .calls import decorate

        return decorate(self, func)

    def __repr__(self) -> str:
        return f"<Phase {path(self.path())} {self.outcome} after {text(self.elapsed())}>"

    def path(self) -> tuple[str, ...]:
        """Return the names of the phases of this manager from the outermost to this one."""
        names = [self.name]
        parent = self.parent
        while parent is not None:
            names.append(parent.name)
            parent = parent.parent
        return tuple(reversed(names))

    def elapsed(self) -> float:
        """Return the seconds since it was entered, up to now or to its end; 0.0 before."""
        if self.outcome == "new":
            return 0.0
        return (self._manager._clock() if self.outcome == "running" else self._ended) - self._started

    def remaining(self) -> float | None:
        """Return the seconds until the phase is over, never below 0.0; None = no limit.

        Its own limit, those of the phases around it and the budget all count. After the end it stays as it was then.
        """
        if self.outcome == "new":
            around = None if self._cleanup else self._manager.remaining_timeout
            return min([seconds for seconds in (self.limit, around) if seconds is not None], default=None)
        rest = self._left(self._manager._clock()) if self.outcome == "running" else self._rest
        return None if rest == INFINITY else max(rest, 0.0)

    def expired(self) -> bool:
        """Tell whether it is over: by its own limit, one around it, or the budget."""
        return self.remaining() == 0.0

    def _in_cleanup(self) -> bool:
        phase: Phase | None = self
        while phase is not None and not (phase._cleanup and phase.outcome == "running"):
            phase = phase.parent
        return phase is not None

    def _limits(self) -> list[Budget | Phase]:
        """Return what binds this open phase, the outermost first: the budget, then phases with a limit of their own."""
        found: list[Budget | Phase] = []
        phase: Phase | None = self
        while phase is not None:
            if phase.limit is not None and phase.outcome == "running":
                found.append(phase)
            if phase._cleanup and phase.outcome == "running":
                return found[::-1]
            phase = phase.parent
        found.append(self._manager._budget)
        return found[::-1]

    def _left(self, now: float) -> float:
        """Return the seconds until this open phase is over, as things stand now; negative when it is."""
        return min([left(limit, self._manager, now) for limit in self._limits()], default=INFINITY)

    def _judge(self, error: BaseException | None, now: float, struck: PhaseTimeout | None) -> None:
        """End a phase whose time is over."""
        try:
            from .verdict import judge
        except ImportError:  # the interpreter ends, and collects a generator
            return
        judge(self, error, now, struck)


def _cancelling(task: object) -> int:
    from ..interrupting.cancellation import cancelling

    return cancelling(task)


def left(limit: Budget | Phase, manager: TimeoutManager, now: float) -> float:
    """Return the seconds until this one limit has passed; negative when it has."""
    if isinstance(limit, Budget):
        return limit.amount - (now - limit.origin if manager._open else limit.used)
    assert limit.limit is not None
    return limit._started + limit.limit - now
