"""How long each part of a unittest run may take, and what becomes of a part that is not over by then.

A *part* is what unittest calls of the code under test: ``setUp``, ``test``, ``tearDown``, ``cleanup``, ``setUpClass``
and so on, and the ``import`` of a module. Each is a phase. Parts that share a limit share a manager (`Group`): setUp
and the test; tearDown and the cleanups, so that a test that timed out still cleans up. Every fixture and cleanup of a
class or module has a limit by itself. All of them end when the total of the run is spent.

Where a class of tests has a ``run`` or a ``__call__`` of its own, the whole `CALL` is a part, too: it has a limit for
what goes on outside of the others, and stands aside in them.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from math import inf
from unittest.util import strclass

from ..enforcing import choice
from ..interpreter import fork, watchdog
from .. import TimeoutManager
from ..errors import PhaseInterrupt, PhaseTimeout, timeout_of
from ..originals import clock, thread
from ..interrupting.phase import EnforcedPhase
from ..seconds import MECHANISMS, amount, duration, scale, text
from ..counting.verdict import end_in, is_debugged, overrun, timeout_in

get_ident = thread.get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Optional
    from unittest import TestCase

    from ..interrupting.enforcer import Struck

    Seconds = Optional[float]

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True  # unittest leaves our frames out of its tracebacks

METHODS = "auto", *MECHANISMS
SECOND_CHANCE = 0.1  # of the limit, for each cleanup that comes after the one that has used it up
CLOSING = 0.02  # of the total, for each end that comes when it is spent,
LONGEST_CLOSING = 5.0  # but no more seconds than this
ATTRIBUTE = "timeout"
CALL = "call"  # the part around all others of a test
VARIABLE = "TIMEOUT_MANAGER_TIMEOUT"


class Limit:
    """Seconds, or None for no limit, where they come from, and whether they are scaled: a deadline of others is not."""

    __slots__ = ("seconds", "source", "scaled")

    def __init__(self, seconds: Any, source: str, scaled: bool = True) -> None:
        """ValueError or TypeError, naming the source, if that is not an amount; 0 is no limit."""
        if isinstance(seconds, (int, float)) and seconds < 0:
            raise ValueError(f"{source} must not be negative, but is {seconds!r}")
        self.seconds = amount(seconds, source) or None
        self.source = source
        self.scaled = scaled


def limit_from_environ() -> Limit:
    """Return the limit for each test that TIMEOUT_MANAGER_TIMEOUT gives; ValueError names it if it makes no sense."""
    return Limit(seconds_from_environ(VARIABLE), VARIABLE)


def seconds_from_environ(variable: str) -> float | None:
    """Return the seconds in a variable; None where it is empty, as where it is not set."""
    value = os.environ.get(variable)
    return duration(value, f"{variable} (from the environment)") if value else None


class Limits:
    """The limits of a run: of each test, and of all together.

    ``timeout``, ``total``, ``slow_after``, ``kill_after`` and ``kill_children`` are seconds; None and 0 mean no limit,
    or that it is not done. The total counts from here. ``method`` is "timer" (of the kernel), "signal" (SIGALRM),
    "thread" (a watchdog, and for the main thread a private signal) or "auto": the one that code under test is least
    likely to get into the way of.
    """

    def __init__(
        self,
        timeout: Limit | Seconds = None,
        total: Limit | Seconds = None,
        slow_after: Limit | Seconds = None,
        kill_after: Limit | Seconds = None,
        method: str = "auto",
        kill_children: Limit | Seconds = None,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
        self.timeout = _limit(timeout, "timeout")
        self.total = _limit(total, "total")
        self.slow_after = _limit(slow_after, "slow_after").seconds
        self.kill_after = _limit(kill_after, "kill_after").seconds
        self.kill_children = _limit(kill_children, "kill_children").seconds
        enforce = method if method != "auto" else choice.undisturbed()
        self.factor = max(scale(), 0.0)
        self.began = clock.monotonic()
        self.end = self.began + (self.total.seconds or inf) * ((self.factor or inf) if self.total.scaled else 1.0)
        self.calls: dict[type, Any] = {}  # what is a part of tests of each class,
        self.ways: dict[type, set[str]] = {}  # and in which ways it calls them itself
        self.thread = 0  # in which they are armed between the tests
        self._open = False  # whether anything stays armed
        self.watcher: Any = None  # is told when code under test is called, and when it has returned
        kills: dict[str, Any] = {"kill_after": self.kill_after, "kill_children": self.kill_children}
        self._session = TimeoutManager(1e8, enforce=enforce, **kills)
        self._elsewhere = TimeoutManager(1e8, enforce=True, **kills)  # a suite may run its tests in other threads

    def __enter__(self) -> Limits:
        """Stay armed between the tests."""
        self.thread = get_ident()
        mechanism = self._session.enforcement
        if choice.may_stay(mechanism):
            self._session._ledger.open_session()
            self._open = True
        if mechanism == "timer":
            try:
                watchdog.add_job(self, choice.attend)
            except RuntimeError:  # no thread can be started: then nothing stands behind the timer
                pass
        return self

    def __exit__(self, *error: object) -> None:
        watchdog.remove_job(self)
        if self._open:
            self._open = False
            self._session._ledger.close_session()

    @property
    def wish(self) -> bool | str:
        """What is to interrupt tests: a mechanism by name, True for the best, False for none."""
        return getattr(self._session._ledger, "enforce", False)

    def renew(self) -> None:
        """Repair what code under test may have done to the way in which it is interrupted."""
        if self._open:
            choice.renew()

    def spent(self) -> bool:
        """Tell whether the total is spent."""
        return clock.monotonic() >= self.end

    def left(self) -> float | None:
        """Return what is left of the total, before scaling, or the little that is for cleaning up when nothing is."""
        if self.end == inf or not self.factor:
            return None
        left = self.end - clock.monotonic()
        return (left if left > 0 else min((self.end - self.began) * CLOSING, LONGEST_CLOSING)) / self.factor

    def manager(self, seconds: float | None) -> TimeoutManager:
        session = self._session if get_ident() == self.thread else self._elsewhere
        return session._another(seconds)

    def of(self, *places: object) -> Limit:
        """Return the nearest limit: the attribute ``timeout`` of the first place that has one, else that of the run.

        An attribute that is neither a number nor None nor text is something else, and passed over.
        """
        for place in places:
            value = getattr(place, ATTRIBUTE, self)
            if value is None or isinstance(value, (int, float, str)) and not isinstance(value, bool):
                name = getattr(place, "__qualname__", None) or getattr(place, "__name__", place)
                return Limit(value, f"{ATTRIBUTE} of {name}")
        return self.timeout

    def bind(self, test: TestCase) -> bool:
        """Tell whether a limit binds this test, or may: of one that could not be loaded it is not known."""
        try:
            seconds = self.of_test(test).seconds or self.total.seconds
            return seconds is not None or type(test).__name__ == "_FailedTest"
        except (TypeError, ValueError):  # that makes the test fail
            return True

    def of_test(self, test: TestCase) -> Limit:
        kind = type(test)
        method = getattr(test, getattr(test, "_testMethodName", ""), None)
        return self.of(method, kind, sys.modules.get(kind.__module__))

    def running(self) -> bool:
        """Tell whether these limits are at work: in a part in this thread, or in theirs, which has started this one."""
        return any(part.limits is self for here in (get_ident(), self.thread) for part in _running_in(here))


_running: dict[int, Part] = {}  # by thread


def _running_in(here: int) -> Iterator[Part]:
    """Yield the parts that are running in a thread, the innermost first."""
    part = _running.get(here)
    while part is not None:
        if part.outcome == "running":
            yield part
        part = part.around


def is_limited(owner: type) -> bool:
    """Tell whether a fixture of this class is being called within a limit in this thread."""
    return any(part.whole == strclass(owner) for part in _running_in(get_ident()))


def _limit(value: Limit | Seconds, name: str) -> Limit:
    return value if isinstance(value, Limit) else Limit(value, name)


class Part(EnforcedPhase):
    """A phase whose block does not decide what became of it: if time is over, it ends in PhaseTimeout.

    An error, a skip or a success that comes too late is the cause at best. Only KeyboardInterrupt passes.
    """

    __slots__ = ("limits", "whole", "subject", "around", "error")

    def __init__(self, group: Group, name: str, subject: object) -> None:
        super().__init__(group.manager._ledger, name, None)
        self.limits = group.limits
        self.whole = group.name  # the test, class or module that it is a part of
        self.subject = subject  # what it calls: a cleanup, a subtest
        self.around: Part | None = None  # that was running in this thread when it began
        self.error: PhaseTimeout | None = None

    def path(self) -> tuple[str, ...]:
        return self.whole, *super().path()

    def _end(self, error: BaseException | None, now: float, struck: Struck) -> None:
        owner = overrun(self, now) if struck is None else None
        if owner is not None and not is_debugged(self):
            struck = timeout_in(self, owner, now)
        if not isinstance(struck, PhaseTimeout):
            return super()._end(error, now, struck)
        self.outcome = "timeout"
        self.error = struck
        end_in(self, struck, error, lambda each: isinstance(each, KeyboardInterrupt))


class Group:
    """Parts of a test, class or module that share one limit."""

    def __init__(self, limits: Limits, name: str, limit: Limit) -> None:
        self.name = name
        self.limits = limits
        self.limit = limit
        self.parts: list[Part] = []
        left = limits.left()
        self.by_total = left is not None and (limit.seconds is None or left < limit.seconds)
        if self.by_total:
            self.limit = Limit(left, f"what is left of {limits.total.source} {text(limits.end - limits.began)}")
        self.manager = limits.manager(self.limit.seconds)
        limits.renew()

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns; raise PhaseTimeout if it is not over in time, whatever it does."""
        manager = self.manager
        if manager.expired:  # by a part before this one; if that has no error, a debugger was there
            manager.reset((self.limit.seconds or inf) * SECOND_CHANCE if self.parts[-1].error else inf)
        part = Part(self, name, _cleanup(function, args) if name == "cleanup" else None)
        self.parts.append(part)
        watcher = self.limits.watcher
        if watcher is None:
            return self._call(part, function, *args, **kwargs)
        watcher.entered(self)  # it has a part more
        try:
            return self._call(part, function, *args, **kwargs)
        finally:
            watcher.left(self)

    def _call(self, part: Part, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if part.name == CALL:
            with part:
                return function(*args, **kwargs)
        here = get_ident()
        part.around = around = _running.get(here)
        _running[here] = part
        try:
            with part:
                return function(*args, **kwargs)
        finally:
            if around is None:
                _running.pop(here, None)
            else:
                _running[here] = around

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Have the time of these parts stand still, while others take their own."""
        manager = self.manager
        left = manager.remaining_timeout
        if left is None:
            yield
            return
        manager.reset(inf)
        try:
            yield
        finally:
            manager.reset(max(left / self.limits.factor, (self.limit.seconds or 0.0) * SECOND_CHANCE))

    def __str__(self) -> str:
        return f"{text(self.manager.initial_timeout)} ({self.limit.source})"

    def forget(self) -> None:
        """Let go of what has been told: errors with their frames, and cycles that only the collector would find."""
        for part in self.parts:
            part.error = part.subject = None
        self.manager._ledger.phases.clear()

    def owns(self, error: BaseException | None) -> bool:
        """Tell whether an error is an interrupt of one of these parts."""
        error = timeout_of(error) or error
        if isinstance(error, PhaseTimeout):
            return error.phase_path[:1] == (self.name,)
        return isinstance(error, PhaseInterrupt)


def _cleanup(function: Callable[..., Any], args: tuple[Any, ...]) -> object:
    """Return the function that was given to ``addCleanup``; that of a test comes with the method that calls it."""
    return args[0] if getattr(function, "__name__", "") == "_callCleanup" else function


def group_of(owner: Any, limits: Limits) -> Group:
    """Return the group for a fixture of a class or module."""
    if isinstance(owner, type):
        return Group(limits, strclass(owner), limits.of(owner, sys.modules.get(owner.__module__)))
    return Group(limits, owner.__name__, limits.of(owner))


fork.in_child("limits", _running.clear)  # the limits of what is running are those of the parent
