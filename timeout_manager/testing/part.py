"""What unittest calls of the code under test, each a phase, and what becomes of one that is not over in time.

A *part* is what unittest calls of the code under test: ``setUp``, ``test``, ``tearDown``, ``cleanup``, ``setUpClass``
and so on, and the ``import`` of a module. Each is a phase. Parts that share a limit share a manager (`Group`): setUp
and the test; tearDown and the cleanups, so that a test that timed out still cleans up. Every fixture and cleanup of a
class or module has a limit by itself. All of them end when the total of the run is spent.

Where a class of tests has a ``run`` or a ``__call__`` of its own, the whole `CALL` is a part, too: it has a limit for
what goes on outside of the others, and stands aside in them.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from unittest.util import strclass

from ..counting.verdict import end_in, is_debugged, overrun, timeout_in
from ..errors import PhaseInterrupt, PhaseTimeout, timeout_of
from ..interpreter import fork
from ..interrupting.phase import EnforcedPhase
from ..originals import thread
from ..seconds import INFINITY, plain, text
from .limits import Limit, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..interrupting.enforcer import Struck

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True  # unittest leaves our frames out of its tracebacks

SECOND_CHANCE = 0.1  # of the limit, for each cleanup that comes after the one that has used it up
PATIENCE = 1.0  # seconds that the call around a part has at least after that: to tell of it, and to come back
CALL = "call"  # the part around all others of a test

_running: list[Part] = []  # in all threads


def _running_in(*threads: int) -> list[Part]:
    """Return the parts that are running in these threads."""
    return [part for part in _running[:] if part.thread in threads and part.outcome == "running"]


def is_limited(owner: type) -> bool:
    """Tell whether a fixture of this class is being called within a limit in this thread."""
    return any(part.part_of == strclass(owner) for part in _running_in(thread.get_ident()))


def at_work(limits: Limits) -> bool:
    """Tell whether a part of these limits is running: in this thread, or in theirs, which has started this one."""
    return any(part.limits is limits for part in _running_in(thread.get_ident(), limits.thread))


class Part(EnforcedPhase):
    """A phase whose block does not decide what became of it: if time is over, it ends in PhaseTimeout.

    An error, a skip or a success that comes too late is the cause at best. Only KeyboardInterrupt passes.
    """

    __slots__ = ("limits", "part_of", "subject", "thread", "error")

    def __init__(self, group: Group, name: str, subject: object) -> None:
        super().__init__(group.ledger, name, None)
        self.limits = group.limits
        self.part_of = group.name  # the test, class or module that it is a part of
        self.subject = subject  # what it calls: a cleanup, a subtest
        self.thread = thread.get_ident()  # in which it is called
        self.error: PhaseTimeout | None = None

    def path(self) -> tuple[str, ...]:
        return self.part_of, *super().path()

    def place(self) -> str:
        """Return its name, and what it calls where that needs to be said."""
        about = self.subject and getattr(self.subject, "__qualname__", self.subject)
        return f"{self.name} ({plain(about)})" if about else self.name

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
        self.parts: list[Part] = []
        seconds, self.source = limits.within(limit)
        self.by_total = self.source != limit.source
        self.ledger = limits.ledger(seconds)
        limits.arm(seconds is not None)

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns; raise PhaseTimeout if it is not over in time, whatever it does."""
        if self.parts and self.ledger.left() == 0.0:  # by the one before; if that has no error, a debugger was there
            self.ledger.reset(self._chance() if self.parts[-1].error else None)
        part = Part(self, name, _cleanup(function, args) if name == "cleanup" else None)
        self.parts.append(part)
        limits, listener = self.limits, self.limits.listener
        try:
            limits.running.append(part)
            if name != CALL:
                _running.append(part)
            listener.entered(self)  # it has a part more
            with part:
                return function(*args, **kwargs)
        finally:
            if part in _running:  # neither a `CALL` nor in a child that it has forked
                _running.remove(part)
            if part in limits.running:
                limits.running.remove(part)
            limits.rest(self.name)
            listener.left(self)

    @contextmanager
    def aside(self, longest: float = INFINITY) -> Iterator[None]:
        """Have the time of these parts stand still, while others take their own, for so many seconds at most."""
        left = self.ledger.remaining()
        if left is None:
            yield
            return
        self.ledger.reset(longest)
        try:
            yield
        finally:
            self.ledger.reset(max(left, self._spare()))
            self.limits.listener.goes_on(self)

    def longest(self) -> float:
        """Return how long another thread waits for a part: a call that blocks in this one is not interrupted."""
        left = self.ledger.remaining()
        return INFINITY if left is None else left + self._spare() + (self.limits.kill_children or 0.0)

    def _chance(self) -> float:
        return (self.ledger.initial or 0.0) * SECOND_CHANCE

    def _spare(self) -> float:
        return max(self._chance(), PATIENCE * self.limits.factor)

    def __str__(self) -> str:
        return f"{text(self.ledger.initial)} ({self.source})"

    def forget(self) -> None:
        """Let go of what has been told: errors with their frames, and cycles that only the collector would find."""
        for part in self.parts:
            part.error = part.subject = None
        self.ledger.phases.clear()
        self.limits.listener.left(self)  # another thread may be in it still

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


fork.in_child("part", _running.clear)  # the limits of what is running are those of the parent
