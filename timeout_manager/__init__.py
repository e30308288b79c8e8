"""Share a budget of seconds among the named phases of a job, and end what hangs.

>>> manager = TimeoutManager(60)
>>> with manager.timed_operation("convert"):
...     pass
>>> manager.remaining_timeout <= 60
True

Here is the one lazy door of the house: counting and enforcing are each loaded by the first manager that does it, and
commands, reports and the decorators for tests by the first call that needs them. Many scripts are over in milliseconds,
and only count; with all rooms, what those need of the standard library is loaded, and an import takes twenty times as
long. The file is long by what its methods promise; what they do is elsewhere.
"""

from __future__ import annotations

from .counting.ledger import Phase
from .originals import clock as real, uninterrupted
from .seconds import INFINITY, LONGEST_WAIT, amount, mechanism as mechanism_of, scale, scaled, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from typing import Any, NoReturn, TypeVar, overload

    from .counting.counted import CountedLedger
    from .errors import PhaseInterrupt as PhaseInterrupt, PhaseTimeout as PhaseTimeout

    T = TypeVar("T")
else:

    def overload(func):
        return func


__version__ = "1.1.0"
__all__ = [
    "Phase",
    "PhaseInterrupt",
    "PhaseTimeout",
    "TimeoutManager",
    "create_timeout_manager",
    "with_timeout_management",
]
__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

_counted: Any = None  # the module of ledgers that only count, once it is needed: to ask again takes as long as all else
_enforced: Any = None  # the same of those that are enforced
BY_NAME: Any = None  # stands for a function that is given by name, in a call whose names belong to that function


def __getattr__(name: str) -> object:
    if name in ("PhaseInterrupt", "PhaseTimeout"):
        from . import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TimeoutManager:
    """A budget of seconds that the named phases of a job share, and the ledger of how they spend it.

    ``initial_timeout`` is the budget in seconds. None or infinity means no limit; 0 or less means that it is spent
    already. A bool or a string is a TypeError, and NaN a ValueError. The environment variable TIMEOUT_MANAGER_SCALE is
    read here: it multiplies every limit given to this manager, and 0 or less switches all of them off.

    ``enforce=False`` only counts: a phase that took too long raises PhaseTimeout when it ends. ``enforce=True``
    interrupts a phase when its time is over, by the best mechanism for the code that enters it: in an asyncio task the
    event loop, in the main thread a timer of the kernel (Linux) or else SIGALRM, in other threads a watchdog thread.
    "timer", "signal" and "thread" ask for one by name; where that cannot work, entering a phase is a RuntimeError.
    TIMEOUT_MANAGER_ENFORCE (off, auto, timer, signal, thread) overrides it.

    ``kill_after``, seconds, ends the whole process if a block is still running this long after its deadline: all stacks
    are printed on stderr, and the exit status is 124. Not scaled; it works without ``enforce``, too. None = never.

    ``kill_children``, seconds, also ends the process that an interrupted phase was waiting for (in ``subprocess``,
    ``multiprocessing`` or ``asyncio``, or on Linux by reading from a pipe of it) and all its descendants: SIGTERM when
    the phase ends, or at the limit if nothing can interrupt its thread, and SIGKILL so many seconds later. None leaves
    them alone. ``run`` does not need it. ValueError without ``enforce``, since then no phase is interrupted.

    ``clock`` returns seconds and never goes back. It is for tests: limits on another clock than ``time.monotonic`` are
    only counted.

    All methods can be called from any thread. Each thread, task and greenlet has its own stack of open phases. They
    share the budget, which runs while at least one phase of the manager is open anywhere.
    """

    def __init__(
        self,
        initial_timeout: float | None = None,
        *,
        enforce: bool | str = False,
        kill_after: float | None = None,
        kill_children: float | None = None,
        clock: Callable[[], float] = real.monotonic,
    ) -> None:
        self._scale = scale()
        mechanism = mechanism_of(enforce)
        kills = amount(kill_after, "kill_after"), amount(kill_children, "kill_children")
        if kill_children is not None and not (enforce or mechanism):
            raise ValueError(
                f"kill_children={kill_children!r} ends what an interrupted phase was waiting for, and without enforce"
                " no phase is interrupted; enforce=True works, or run(), which always ends all that it has started"
            )
        seconds = scaled(initial_timeout, "initial_timeout", self._scale)
        escalates = kills[0] is not None and mechanism is not None
        if (mechanism or escalates) and clock is real.monotonic:
            global _enforced
            if _enforced is None:
                from .enforcing import ledger as _enforced
            self._ledger: CountedLedger = _enforced.EnforcedLedger(seconds, mechanism or False, *kills)
        else:
            global _counted
            if _counted is None:
                from .counting import counted as _counted
            self._ledger = _counted.CountedLedger(seconds, clock)
        self._kind = self._ledger.kind  # to look for it takes a twentieth of a phase

    def __reduce__(self) -> NoReturn:
        self._ledger.__reduce__()

    def __repr__(self) -> str:
        ledger = self._ledger
        return f"<TimeoutManager {text(ledger.used())} used of {text(ledger.initial)}, {len(ledger.phases)} phases>"

    @property
    def initial_timeout(self) -> float | None:
        """The budget it was made with, in seconds, after scaling; None = no limit. ``reset()`` goes back to it."""
        return self._ledger.initial

    @property
    def remaining_timeout(self) -> float | None:
        """The seconds that the calling code has left, never below 0.0; None = no limit.

        With open phases in the calling thread or task, it is the least that is left of their limits and of the budget;
        inside a cleanup, of the limit of the cleanup. It runs down inside a phase, and stands still between phases. It
        fits every ``timeout=`` of the standard library, and for that is never more than 24 days.
        """
        left = self._ledger.remaining()
        return left if left is None or left < LONGEST_WAIT else LONGEST_WAIT

    @property
    def expired(self) -> bool:
        """Whether the budget is spent. For the limit of a phase there is ``Phase.expired()``."""
        return self._ledger.left() == 0.0

    @property
    @uninterrupted
    def enforcement(self) -> str:
        """What would interrupt the calling code: "timer", "signal", "thread", "asyncio"; "none" = it only counts."""
        return self._ledger.mechanism()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All phases so far, open ones too, in the order of entry."""
        return tuple(self._ledger.phases)

    @uninterrupted
    def __enter__(self) -> TimeoutManager:
        """Open a session: the mechanism stays armed between the phases of this thread or task. Sessions nest."""
        self._ledger.open_session()
        return self

    @uninterrupted
    def __exit__(self, kind: type[BaseException] | None = None, *error: object) -> None:
        """Close the session: disarm, and put everything back. A RuntimeWarning if no phase was in it."""
        if self._ledger.close_session() and kind is None:
            from warnings import warn

            why = "the session has limited nothing, since there was no phase in it: only phases have limits"
            warn(f"{why}; write `with manager.timed_operation(...):`", RuntimeWarning, 2)

    @staticmethod
    def give_back() -> None:
        """Give back what is kept between phases: timers that are not set, the handler of a signal, and the watchdog.

        The next phase makes them anew. RuntimeError while a phase or session needs the timers.
        """
        from .enforcing import by_timer, kill_after
        from .interpreter import watchdog

        by_timer.give_back()
        kill_after.give_back()
        watchdog.end()

    def timed_operation(self, phase_name: str = "operation", limit: float | None = None) -> Phase:
        """Return a phase to enter by ``with`` or ``async with``, or to decorate a function with.

        Its time is over at its own ``limit`` (seconds; None = none, 0 or less = spent already), at the limit of a phase
        around it, or when the budget is spent. With ``enforce``, PhaseTimeout is raised inside the block at that
        instant, and on entering if nothing is left; without, when the block ends. An error of the block passes, unless
        the block was interrupted, or the error is late and a timeout by its type (``subprocess.TimeoutExpired``, ...):
        then it is the cause of the PhaseTimeout.

        RuntimeError on entering a phase twice, on leaving it in another thread, and on entering where the mechanism
        that was asked for by name cannot work. ValueError (NaN) or TypeError (bool, text) here for a bad limit.
        """
        kind, ledger = self._kind, self._ledger
        return kind(ledger, phase_name, limit if limit is None else scaled(limit, "limit", self._scale))

    def cleanup_operation(self, phase_name: str = "cleanup", *, limit: float) -> Phase:
        """Return a phase outside the budget, with a limit of its own, for teardown after a timeout.

        ``limit``, seconds, is required, since a cleanup can hang, too; 0 or less = spent already, infinity = no limit,
        None is a TypeError. Only this limit ends the cleanup, by PhaseTimeout. Its time is not charged to the budget,
        even inside an open phase. While it is open, all other interrupts of this manager wait in this thread or task.
        """
        if limit is None:
            raise TypeError("limit must be a number of seconds, not None: a cleanup may not hang either")
        return self._ledger.cleanup(phase_name, scaled(limit, "limit", self._scale))

    def check_timeout(self, phase_name: str = "operation") -> None:
        """Raise PhaseTimeout, with ``phase_name`` in it, if ``remaining_timeout`` is 0; otherwise do nothing."""
        if self._ledger.remaining() == 0.0:
            from .counting.verdict import check

            check(self._ledger, phase_name)

    def reset(self, timeout: float | None = None) -> None:
        """Start the budget anew with ``timeout`` seconds (0 or less = spent already), or ``initial_timeout`` if None.

        It takes effect at once, even inside an open phase; in other threads only for phases that had a limit before.
        The ledger is kept. An interrupt that was raised already cannot be taken back.
        """
        self._ledger.reset(self._ledger.initial if timeout is None else scaled(timeout, "timeout", self._scale))

    def execute_with_timeout(
        self, operation: Callable[..., T] = BY_NAME, /, phase_name: str = "operation", **kwargs: Any
    ) -> T:
        """Return ``operation(**kwargs)``, run as a phase; see ``call_with_timeout``."""
        from .counting.functions import call

        if operation is BY_NAME:
            operation = kwargs.pop("operation", BY_NAME)
        result: T = call(self.timed_operation(phase_name), operation, (), kwargs)
        return result

    def call_with_timeout(
        self, func: Callable[..., T] = BY_NAME, /, *args: Any, phase_name: str = "operation", **kwargs: Any
    ) -> T:
        """Return ``func(*args, **kwargs)``, run as a phase.

        For an ``async def`` this returns a coroutine, and the awaiting is the phase. TypeError for a generator
        function, whose body would run after the phase.
        """
        from .counting.functions import call

        if func is BY_NAME:
            func = kwargs.pop("func", BY_NAME)
        result: T = call(self.timed_operation(phase_name), func, args, kwargs)
        return result

    def run(
        self, args: Any, phase_name: str | None = None, *, grace: float = 5.0, **options: Any
    ) -> CompletedProcess[Any]:
        """Run a command as a phase, with all options of ``subprocess.run``.

        The phase is named after the command unless you name it. ``timeout``, seconds, is its own limit; None = none.
        When its time is over, the command and everything that it has started get SIGTERM, and ``grace`` seconds later
        (0: at once) SIGKILL; also on Ctrl-C and on every other error. It works without ``enforce``, and in any thread.

        The command finds its deadline in its environment (see ``from_environ``). It has a session of its own, so that
        Ctrl-C and Ctrl-Z of the terminal do not reach it, unless you pass ``start_new_session=False``, ``preexec_fn``
        or ``process_group``.

        PhaseTimeout when time is over: it has ``cmd``, ``output`` and ``stderr`` as far as they came, and ``killed``.
        ``subprocess.CalledProcessError`` with ``check=True``. OSError if the command cannot be started.
        """
        from .processes.command import run

        return run(self, args, phase_name, grace=grace, **options)

    async def run_async(
        self, args: Any, phase_name: str | None = None, *, grace: float = 5.0, **options: Any
    ) -> CompletedProcess[Any]:
        """Run a command as ``run`` does, in a coroutine: the event loop goes on.

        If the task is cancelled, the command and everything that it has started end before the cancellation goes on; a
        second cancellation cuts the grace short. A thread waits for the command. It needs asyncio.
        """
        from .processes.awaiting import run

        return await run(self, args, phase_name, grace=grace, **options)

    def child_environ(self) -> dict[str, str]:
        """Return the environment of this process with the deadline in it, for a child that calls ``from_environ``.

        A manager without a limit passes on what this process has inherited.
        """
        from os import environ

        from .processes.deadline import variables

        return {**environ, **variables(self._ledger.remaining())}

    @classmethod
    def from_environ(cls, default: float | None = None, **options: Any) -> TimeoutManager:
        """Return a manager with the time that the parent process has left, or ``default`` seconds if that is less.

        None as ``default`` is no limit of its own; if there is nothing from a parent either, there is no limit. Of the
        parent's time a margin is taken off: 5 %, at most 5 s. A PhaseTimeout for it is ``limited_by`` "inherited". If
        the process is still running shortly before the parent's deadline, a thread prints on stderr what it is doing.
        ``options`` are those of TimeoutManager. ValueError if TIMEOUT_MANAGER_DEADLINE makes no sense.
        """
        from .processes.deadline import inherited, less_margin

        amount(default, "default")  # an error names it as it is called here
        manager = cls(default, **options)
        seconds = inherited()
        left = less_margin(seconds)
        if 0.0 < left < INFINITY:
            from .diagnosis.last_words import report_before

            report_before(seconds, manager._ledger)
        own = manager.initial_timeout
        if left < (INFINITY if own is None else own):
            manager._ledger.inherit(left)
        return manager

    def report(self) -> str:
        """Return the ledger as a table: a line for each phase, with a bar for its share of the budget."""
        from .counting.report import table

        return table(self._ledger)

    def as_dict(self) -> dict[str, Any]:
        """Return the ledger as plain data, for JSON; all times in seconds, ``started`` since the manager was made."""
        from .counting.report import data

        return data(self._ledger)

    def as_html(self) -> str:
        """Return the ledger as one page of HTML: a timeline, the time used against the limits, and each timeout."""
        from .counting.report import html

        return html(self._ledger)

    def as_trace_events(self) -> list[dict[str, Any]]:
        """Return the ledger in the Trace Event Format, for chrome://tracing and Perfetto."""
        from .counting.report import trace_events

        return trace_events(self._ledger)


def create_timeout_manager(timeout_from_marker: float | None = None, **options: Any) -> TimeoutManager:
    """Return ``TimeoutManager(timeout_from_marker, **options)``."""
    return TimeoutManager(timeout_from_marker, **options)


@overload
def with_timeout_management(func: Callable[..., T]) -> Callable[..., T]: ...
@overload
def with_timeout_management(
    *, timeout: float | None = None, **options: Any
) -> Callable[[Callable[..., T]], Callable[..., T]]: ...
def with_timeout_management(func: Any = None, *, timeout: float | None = None, **options: Any) -> Any:
    """Have each call of the function get a fresh TimeoutManager as its argument ``timeout_manager``.

    A ``timeout_manager`` that the caller passes is used as it is. Otherwise the budget, in seconds, is the argument
    ``timeout_from_marker`` if it is passed and not None; else ``timeout``; else the attribute ``timeout`` of the
    ``unittest.TestCase`` whose method it is; else there is no limit. ``options`` are those of TimeoutManager. It works
    on functions, methods, ``async def`` and generators. TypeError if the function takes no ``timeout_manager``.
    """
    from .injection import inject

    def make(seconds: float | None) -> TimeoutManager:
        return TimeoutManager(seconds, **options)

    return (lambda func: inject(func, timeout, make)) if func is None else inject(func, timeout, make)
