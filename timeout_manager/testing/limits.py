"""How long each part of a unittest run may take: the limits that are asked for, and what is armed to keep them."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

from ..enforcing import choice
from ..enforcing.ledger import EnforcedLedger
from ..interpreter import watchdog
from ..originals import clock, thread
from ..seconds import INFINITY, MECHANISMS, amount, duration, mechanism, scale, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any
    from unittest import TestCase

    from ..counting.ledger import Ledger

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True  # unittest leaves our frames out of its tracebacks

METHODS = "auto", *MECHANISMS
CLOSING = 0.02  # of the total, for each end that comes when it is spent,
LONGEST_CLOSING = 5.0  # but no more seconds than this
LEAST = 5.0  # seconds for what runs between tests: on a busy machine our own code may take one
ATTRIBUTE = "timeout"
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


NO_LIMIT = Limit(None, "")


def limit_from_environ() -> Limit:
    """Return the limit for each test that TIMEOUT_MANAGER_TIMEOUT gives; ValueError names it if it makes no sense."""
    return Limit(seconds_from_environ(VARIABLE), VARIABLE)


def seconds_from_environ(variable: str) -> float | None:
    """Return the seconds in a variable; None where it is empty, as where it is not set."""
    value = os.environ.get(variable)
    return duration(value, f"{variable} (from the environment)") if value else None


class Listener:
    """Is told of a run.

    ``running``: this has begun, or goes on after something inside of it; ``ended``: it is over. ``entered``: a group
    of parts calls code under test; ``left``: that has returned; ``goes_on``: the time of the group counts again.
    """

    def running(self, entry: Any) -> None: ...
    def ended(self, entry: Any) -> None: ...

    def called(self, entry: Any) -> AbstractContextManager[None]:
        """Stands around the call of a test by who tells our result of it later, if at all."""
        return nullcontext()

    def leaves(self, entry: Any) -> None:
        """It has ended in an error that unittest hands on: the process ends with it, unless a suite has other ways."""
        self.ended(entry)

    def close(self, not_run: Any) -> None: ...
    def entered(self, group: Any) -> None: ...
    def left(self, group: Any) -> None: ...
    def goes_on(self, group: Any) -> None: ...
    def idle(self) -> None: ...

    def stand_in(self, module: str, error: BaseException | None = None) -> Any:
        """Return what stands for the tests of a module that is not to be loaded, or that has ended the process so."""
        return None


class Limits:
    """The limits of a run: of each test, and of all together.

    What has no seconds (``kill_after``) is not done. The total counts from here. ``method`` is "timer" (of the
    kernel), "signal" (SIGALRM), "thread" (a watchdog, and for the main thread a private signal) or "auto": the one that
    code under test is least likely to get into the way of.
    """

    def __init__(
        self,
        timeout: Limit = NO_LIMIT,
        total: Limit = NO_LIMIT,
        slow_after: Limit = NO_LIMIT,
        kill_after: Limit = NO_LIMIT,
        method: str = "auto",
        kill_children: Limit = NO_LIMIT,
    ) -> None:
        self.timeout, self.total = timeout, total
        self.slow_after = slow_after.seconds
        self.kill_after, self.kill_children = kill_after.seconds, kill_children.seconds
        self.factor = max(scale(), 0.0)
        self.began = clock.monotonic()
        factor = (self.factor or INFINITY) if self.total.scaled else 1.0
        self.end = self.began + (self.total.seconds or INFINITY) * factor
        self.kinds: dict[type, Any] = {}  # in which ways each class calls its tests, and what is a part of them
        self.running: list[Any] = []  # parts, in all threads
        self.rest()
        self.thread = 0  # in which they are armed between the tests
        self._is_armed = False  # a limit has come
        self._is_open = False  # something stays armed
        self.listener = Listener()
        self._here = self._settings(True if method == "auto" else method, choice.UNDISTURBED)
        self._elsewhere = self._settings(True)  # a suite may run its tests in other threads
        self.wish = self._here.enforce  #: a mechanism by name, True for the best, False for none

    def _settings(self, enforce: bool | str, best: bool | str = True) -> EnforcedLedger:
        """Return a ledger for a session, with the settings of those that parts have."""
        wish = mechanism(enforce)  # the environment may have another one, or none
        wish = best if wish is True else wish
        kills = (None, None) if wish is None else (self.kill_after, self.kill_children)
        return EnforcedLedger(1e8 * self.factor or None, wish or False, *kills)

    def __enter__(self) -> Limits:
        self.thread = thread.get_ident()
        return self

    def __exit__(self, *error: object) -> None:
        watchdog.remove_job(self)
        if self._is_open:
            self._is_open = False
            self._here.close_session()

    def arm(self, is_limited: bool) -> None:
        """Stay armed from the first limit on; repair what code under test may have done to what is."""
        if self._is_open:
            choice.renew()
        elif is_limited and not self._is_armed and thread.get_ident() == self.thread:
            self._is_armed = True
            name = self._here.mechanism()
            if choice.may_stay(name):
                self._here.open_session()
                self._is_open = True
            choice.stand_behind(name, self)

    def spent(self) -> bool:
        """Tell whether the total is spent."""
        return clock.monotonic() >= self.end

    def left(self) -> float | None:
        """Return what is left of the total, or the little that is for cleaning up when nothing is."""
        if self.end == INFINITY or not self.factor:
            return None
        left = self.end - clock.monotonic()
        return left if left > 0 else min((self.end - self.began) * CLOSING, LONGEST_CLOSING)

    def scaled(self, limit: Limit) -> float | None:
        """Return the seconds of a limit after scaling, which may switch it off."""
        return (limit.seconds or 0.0) * self.factor or None

    def within(self, limit: Limit) -> tuple[float | None, str]:
        """Return the seconds of a limit after scaling, or of the total if less is left of that, and whose they are."""
        seconds, left = self.scaled(limit), self.left()
        if left is None or seconds is not None and seconds <= left:
            return seconds, limit.source
        return left, f"what is left of {self.total.source} {text(self.end - self.began)}"

    def rest(self, last: str = "") -> None:
        """Note that a part has been left, of this, or that the tests begin."""
        self.left_at, self.last = clock.monotonic(), last

    def between(self) -> tuple[float | None, str]:
        """Return how long what runs between tests may take, as long as a test or `LEAST`, and whose limit that is."""
        seconds, source = self.within(self.timeout)
        least = LEAST * self.factor
        return (seconds, source) if seconds is None or seconds >= least else (least, "the least for that")

    def ledger(self, seconds: float | None) -> Ledger:
        """Return a fresh one for the calling thread, with so many seconds."""
        return (self._here if thread.get_ident() == self.thread else self._elsewhere).another(seconds)

    def of(self, *places: object) -> Limit:
        """Return the nearest limit: the attribute ``timeout`` of the first place that has one, else that of the run.

        An attribute that is neither a number nor None nor text is something else, and passed over.
        """
        for place in places:
            try:
                value = getattr(place, ATTRIBUTE, self)
            except Exception:  # a module may answer to names in a way of its own
                continue
            if value is None or isinstance(value, (int, float, str)) and not isinstance(value, bool):
                name = getattr(place, "__qualname__", None) or getattr(place, "__name__", place)
                return Limit(value, f"{ATTRIBUTE} of {name}")
        return self.timeout

    def may_bind(self, test: TestCase) -> bool:
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
