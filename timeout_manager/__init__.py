"""Count the time left over the named phases of a long job, and end what hangs.

>>> manager = TimeoutManager(60)
>>> with manager.timed_operation("convert"):
...     pass
>>> manager.remaining_timeout <= 60
True

Here is the one lazy door of the house: what counting seldom needs, enforcing, commands, reports and the decorators for
tests are each loaded by the first call that needs them. Many scripts are over in milliseconds, and only count; with all
rooms, what those need of the standard library is loaded, and an import takes twenty times as long.
"""

from __future__ import annotations

from .counting.ledger import Ledger, Phase
from .originals import clock as real
from .originals import uninterrupted
from .seconds import INFINITY, LONGEST_WAIT, amount, scale, scaled, text
from .seconds import mechanism as mechanism_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from typing import Any, NoReturn, TypeVar, overload

    from .counting.ledger import F
    from .errors import PhaseInterrupt as PhaseInterrupt
    from .errors import PhaseTimeout as PhaseTimeout

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

BY_NAME: Any = None  # stands for a function that is given by name, in a call whose names belong to that function


def __getattr__(name: str) -> object:
    if name in ("PhaseInterrupt", "PhaseTimeout"):
        from . import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Ledger(Ledger):
    """One that only counts, and has loaded what it needs for that by the time it does."""

    def cleanup(self, name: str, limit: float | None) -> Phase:
        from .counting.cleanup import Cleanup

        return Cleanup(self, name, limit)

    def judge(self, phase: Phase, error: BaseException | None, now: float) -> None:
        try:
            from .counting.verdict import judge
        except ImportError:  # the interpreter ends, and collects a generator
            return
        judge(phase, error, now)

    def decorate(self, phase: Phase, func: F) -> F:
        from .counting.calls import decorate

        return decorate(phase, func)


class TimeoutManager:
    """Count the time left over the named phases of a long job.

    ``initial_timeout`` is the budget in seconds, shared by all phases: None (or infinity) means no limit, 0 or less
    that it is spent. NaN, a bool or a string is a ValueError or TypeError that names it. Every limit given to a manager
    is multiplied by the environment variable TIMEOUT_MANAGER_SCALE, which is read here (0 or less: no limits at all).

    ``enforce=True`` interrupts a phase that is still running when its time is over, by the best mechanism for the code
    that enters it: in an asyncio task the event loop, in the main thread a timer of the kernel with a signal that
    nobody uses (Linux) or else SIGALRM, elsewhere a watchdog thread. "timer", "signal" and "thread" ask for one by
    name, and entering a phase where it cannot work is a RuntimeError. False only counts.
    TIMEOUT_MANAGER_ENFORCE (off, auto, timer, signal, thread) overrides it.

    ``kill_after``, seconds or None, ends the whole process with exit status 124, after all stacks have been printed on
    stderr, if a block is still running that long after its deadline, also where limits are not enforced. It is not
    scaled. None: never.

    ``kill_children``, seconds or None, ends the process for which an interrupted phase was waiting, in ``subprocess``,
    ``multiprocessing`` or ``asyncio``, or by reading from a pipe of it (Linux), with all that came of it: SIGTERM when
    the phase is left, or when nothing can interrupt its thread, SIGKILL so many seconds later. None leaves it alone.
    ``run`` does not need this. ValueError without ``enforce``: then no phase is interrupted.

    ``clock`` returns seconds that never go back; it is there for tests, and limits on another clock than
    ``time.monotonic`` are only counted.

    All methods can be called from any thread. Each thread, task and greenlet has its own stack of open phases; the
    budget is shared, and runs while at least one phase of the manager is open anywhere.
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
            from .enforcing.ledger import EnforcedLedger

            self._ledger: Ledger = EnforcedLedger(seconds, clock, mechanism or False, *kills)
        else:
            self._ledger = _Ledger(seconds, clock)

    def _another(self, initial_timeout: float | None) -> TimeoutManager:
        """Return a fresh manager with the settings of this one, in less time than it takes to make one."""
        other = object.__new__(type(self))
        other._scale = self._scale
        other._ledger = self._ledger.another(scaled(initial_timeout, "initial_timeout", self._scale))
        return other

    def __reduce__(self) -> NoReturn:
        self._ledger.__reduce__()

    def __repr__(self) -> str:
        ledger = self._ledger
        return f"<TimeoutManager {text(ledger.used())} used of {text(ledger.initial)}, {len(ledger.phases)} phases>"

    @property
    def initial_timeout(self) -> float | None:
        """The budget that it was made with, in seconds after scaling; None = no limit. ``reset()`` goes back to it."""
        return self._ledger.initial

    @property
    def remaining_timeout(self) -> float | None:
        """The seconds left, never below 0.0; None = no limit. Fit for every ``timeout=`` of the standard library.

        For that it is never more than 24 days, which is as long as a system waits at a time. Live inside a phase,
        frozen between phases. In a thread or task with open phases it is what is left of the tightest: of their own
        limits and the budget (inside a cleanup: of the cleanup's limit).
        """
        left = self._ledger.remaining()
        return left if left is None or left < LONGEST_WAIT else LONGEST_WAIT

    @property
    def expired(self) -> bool:
        """Whether the budget is spent. A phase's own limit is the phase's affair: ``Phase.expired()``."""
        return self._ledger.left() == 0.0

    @property
    @uninterrupted
    def enforcement(self) -> str:
        """What would interrupt the calling code: "none", "timer", "signal", "thread" or "asyncio"."""
        return self._ledger.mechanism()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Every phase so far, open ones too, in the order of entry."""
        return tuple(self._ledger.phases)

    @uninterrupted
    def __enter__(self) -> TimeoutManager:
        """Open a session: what enforces the limits stays armed between the phases of this thread or task. They nest."""
        self._ledger.open_session()
        return self

    @uninterrupted
    def __exit__(self, kind: type[BaseException] | None = None, *error: object) -> None:
        """Close the session: disarm, and put everything back as it was. A RuntimeWarning if it has limited nothing."""
        if self._ledger.close_session() and kind is None:
            from warnings import warn

            why = "the session has limited nothing, since there was no phase in it: only phases have limits"
            warn(f"{why}; write `with manager.timed_operation(...):`", RuntimeWarning, 2)

    @staticmethod
    def give_back() -> None:
        """Give back what ``enforce`` keeps between phases: a timer that is not set, and the handler of its signal.

        The next phase makes them anew. RuntimeError while phases or sessions need them; only the main thread has them.
        """
        from .enforcing import by_timer

        by_timer.give_back()

    def timed_operation(self, phase_name: str = "operation", limit: float | None = None) -> Phase:
        """Return a phase to enter by ``with`` or ``async with``, or to decorate a function with.

        It is over when its own ``limit`` (seconds; None = none, 0 or less = spent), a limit around it or the budget
        is. A block that ends later raises PhaseTimeout on leaving; with ``enforce``, inside the block at that instant,
        and on entering if nothing is left. An error of the block passes, unless it is late and a timeout by its type
        (``subprocess.TimeoutExpired``, ...), or the block was interrupted: then it is the cause.

        RuntimeError on entering twice, on leaving in another thread, and on entering where the mechanism that was
        asked for by name cannot work. ValueError or TypeError, here, for a limit that is NaN, a bool or a string.
        """
        return self._ledger.phase(phase_name, limit if limit is None else scaled(limit, "limit", self._scale))

    def cleanup_operation(self, phase_name: str = "cleanup", *, limit: float) -> Phase:
        """Return a phase outside the budget, with a limit of its own, for teardown after a timeout.

        Its time is not charged, even inside an open phase, and only its own limit ends it, by PhaseTimeout: seconds,
        required, 0 or less = spent; TypeError for None. While it is open, all other interrupts of this manager wait in
        this thread or task. It is in the ledger like every other phase.
        """
        if limit is None:
            raise TypeError("limit must be a number of seconds, not None: a cleanup may not hang either")
        return self._ledger.cleanup(phase_name, scaled(limit, "limit", self._scale))

    def check_timeout(self, phase_name: str = "operation") -> None:
        """Raise PhaseTimeout, naming ``phase_name``, if nothing is left of ``remaining_timeout``."""
        if self._ledger.remaining() == 0.0:
            from .counting.verdict import check

            check(self._ledger, phase_name)

    @uninterrupted
    def reset(self, timeout: float | None = None) -> None:
        """Start the budget anew with ``timeout`` seconds (0 or less = spent), or with ``initial_timeout`` if None.

        It takes effect at once, also inside an open phase, where the new budget starts now; in other threads only in
        phases that had a limit before. The ledger is kept. An interrupt that was raised cannot be taken back.
        """
        self._ledger.reset(self._ledger.initial if timeout is None else scaled(timeout, "timeout", self._scale))

    def execute_with_timeout(
        self, operation: Callable[..., T] = BY_NAME, /, phase_name: str = "operation", **kwargs: Any
    ) -> T:
        """Return ``operation(**kwargs)``, run as a phase; see ``call_with_timeout``."""
        from .counting.calls import call

        if operation is BY_NAME:
            operation = kwargs.pop("operation", BY_NAME)
        result: T = call(self.timed_operation(phase_name), operation, (), kwargs)
        return result

    def call_with_timeout(
        self, func: Callable[..., T] = BY_NAME, /, *args: Any, phase_name: str = "operation", **kwargs: Any
    ) -> T:
        """Return ``func(*args, **kwargs)``, run as a phase.

        What is to be awaited gives a coroutine, and the awaiting is the phase. TypeError for generators, whose body
        would run after it.
        """
        from .counting.calls import call

        if func is BY_NAME:
            func = kwargs.pop("func", BY_NAME)
        result: T = call(self.timed_operation(phase_name), func, args, kwargs)
        return result

    def run(
        self, args: Any, phase_name: str | None = None, *, grace: float = 5.0, **options: Any
    ) -> CompletedProcess[Any]:
        """Run a command as a phase, named after it if not named; as ``subprocess.run``, with all of its options.

        It may take what remains (``timeout``, seconds, is a limit of its own; None = none). Then everything that it has
        started gets SIGTERM, and ``grace`` seconds later (0: at once) SIGKILL; so it does on Ctrl-C and on every other
        error. The command has the deadline in its environment (see ``from_environ``), and a session of its own unless
        ``preexec_fn`` or ``process_group`` is given, or ``start_new_session=False``: then the terminal's Ctrl-C and
        Ctrl-Z reach it, too. Any thread can call this, also where limits are only counted.

        PhaseTimeout when time is over: it has ``cmd``, ``output`` and ``stderr`` as far as they came, and ``killed``.
        ``subprocess.CalledProcessError`` with ``check=True``. OSError if the command cannot be started.
        """
        from .processes.command import run

        return run(self, args, phase_name, grace=grace, **options)

    async def run_async(
        self, args: Any, phase_name: str | None = None, *, grace: float = 5.0, **options: Any
    ) -> CompletedProcess[Any]:
        """Run a command as ``run`` does, in a coroutine: the event loop goes on.

        When the task is cancelled, the command ends with everything that it has started before the cancellation goes
        on; another cancellation ends the grace. A thread waits for the command. In asyncio only.
        """
        from .processes.awaiting import run

        return await run(self, args, phase_name, grace=grace, **options)

    def child_environ(self) -> dict[str, str]:
        """Return the environment of this process with the deadline in it, for a child to call ``from_environ``.

        A manager without a limit hands on what this process has inherited.
        """
        from os import environ

        from .processes.deadline import variables

        return {**environ, **variables(self._ledger.remaining())}

    @classmethod
    def from_environ(cls, default: float | None = None, **options: Any) -> TimeoutManager:
        """Return a manager with what the parent process has left, less a small margin, or ``default`` if that is less.

        Seconds; None is no limit of its own, and with nothing from a parent there is none at all. The margin is 5 %, at
        most 5 s. A PhaseTimeout by it is ``limited_by`` "inherited". The budget begins now: the time until the first
        phase does not count. If the process still runs shortly before the parent ends it, a thread tells on stderr
        what it does. ``options`` are those of TimeoutManager. ValueError names TIMEOUT_MANAGER_DEADLINE if that makes
        no sense.
        """
        from .processes.deadline import inherited, less_margin

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
        """Return the ledger as one page of HTML: a timeline, the time used against the limits, and what was late."""
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
    """Call the function with a fresh TimeoutManager as its argument ``timeout_manager``.

    Its budget is, in this order: that of a ``timeout_manager`` which the caller passes (it is used as it is);
    ``timeout_from_marker``, if not None; ``timeout``; the attribute ``timeout`` of a ``unittest.TestCase`` whose method
    it is; no limit. Seconds, as for TimeoutManager, which gets the other options too. Works on functions and methods,
    ``async def`` and generators; what it returns is of the same kind. TypeError if the function takes no
    ``timeout_manager``.
    """
    from .injection import inject

    def make(seconds: float | None) -> TimeoutManager:
        return TimeoutManager(seconds, **options)

    return (lambda func: inject(func, timeout, make)) if func is None else inject(func, timeout, make)
