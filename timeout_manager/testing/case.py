"""Where unittest calls the code under test in a test, and how it comes to call it as a `Part`.

A test gets attributes that stand in for the methods through which `TestCase.run` calls it (``_callSetUp`` and so on),
from ``startTest`` to ``stopTest``; that way nothing is changed for other tests, and subclasses that override these
methods keep what they do.
"""

from __future__ import annotations

import sys
import unittest
from contextlib import contextmanager
from functools import partial

from ..errors import LET_PASS
from .limits import Group, Limits
from ..originals import clock


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any
    from unittest import TestCase

    from .limits import Part
    from ..counting.ledger import Phase

__unittest = True

BODY, END = 0, 1  # the groups of parts of a test: setUp and the test itself; tearDown and the cleanups
_CALLS = (
    ("_callSetUp", "setUp", BODY),
    ("_callTestMethod", "test", BODY),
    ("_callTearDown", "tearDown", END),
    ("_callCleanup", "cleanup", END),
    ("_tearDownAsyncioRunner", "cleanup", END),  # of IsolatedAsyncioTestCase: cancels what is left in its loop
    ("_tearDownAsyncioLoop", "cleanup", END),  # the same up to 3.10
)
_CLOSE_LOOP = frozenset({"_tearDownAsyncioRunner", "_tearDownAsyncioLoop"})
_NOTHING: frozenset[Any] = frozenset()


class Entry:
    """What a report tells of a test, a fixture or an import."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.began = clock.monotonic()
        self.elapsed = 0.0
        self.outcome = "running"
        self.groups: dict[int, Group] = {}
        self.texts: list[str] = []  # what went wrong, or why it was skipped

    @property
    def parts(self) -> list[Part]:
        return [part for group in list(self.groups.values()) for part in group.parts]  # asked for by the watchdog, too

    @property
    def late(self) -> list[tuple[Group, Part]]:
        """The parts that were not over in time."""
        return [(group, part) for group in self.groups.values() for part in group.parts if part.error is not None]

    def owns(self, error: BaseException | None) -> bool:
        """Tell whether an error is an interrupt of a part of this."""
        return any(group.owns(error) for group in self.groups.values())


class LimitedTest(Entry):
    """A test whose parts have limits from `attach` to `detach`."""

    def __init__(self, test: unittest.TestCase, limits: Limits) -> None:
        super().__init__("test", test.id())
        self.test = test
        self.limits = limits
        self.limit = limits.timeout
        self.calls: Sequence[tuple[str, str, int]] = ()  # what stands in for methods of the test
        self.has_loop = False

    def attach(self) -> None:
        test, kind = self.test, type(self.test)
        own = vars(test)
        try:
            self.limit = self.limits.of_test(test)
        except (TypeError, ValueError) as error:
            self.calls = _CALLS[:1]
            own["_callSetUp"] = partial(_fail, error)
            return
        calls = self.limits.calls.get(kind)
        if calls is None:
            calls = self.limits.calls[kind] = [call for call in _CALLS if _calls_code_under_test(kind, *call[:2])]
        self.calls = calls
        for attribute, name, which in calls:
            own[attribute] = partial(self.call, which, name, getattr(test, attribute))
        own["subTest"] = partial(_sub_test, test, lambda: self.parts)
        self.has_loop = not _CLOSE_LOOP.isdisjoint(own)

    def detach(self, close: bool = True) -> None:
        """Leave the test as it was; close its event loop, if it has one, while that still has a limit."""
        own = vars(self.test)
        for attribute, _, _ in self.calls:
            stand_in = own.pop(attribute, None)
            if close and attribute in _CLOSE_LOOP and stand_in is not None:
                own[attribute] = lambda: None  # it is called again after stopTest
                stand_in()
        own.pop("subTest", None)

    def call(self, which: int, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        group = self.groups.get(which)
        if group is None:
            group = self.groups[which] = Group(self.limits, self.name, self.limit)
        before = _tasks(self.test) if self.has_loop else _NOTHING
        try:
            return group.call(name, function, *args, **kwargs)
        except BaseException as error:
            late = bool(self.late)
            if late:
                not_as_expected(self.test)
            if self.has_loop and (late or isinstance(error, KeyboardInterrupt)):
                _cancel(self.test, before)
            raise


@contextmanager
def ending_sub_tests(test: object, phases: Callable[[], Iterable[Phase]]) -> Iterator[None]:
    """Have these phases end a test amid its sub-tests, if it is one that has them."""
    if not isinstance(test, unittest.TestCase):
        yield
        return
    vars(test)["subTest"] = partial(_sub_test, test, phases)
    try:
        yield
    finally:
        vars(test).pop("subTest", None)


@contextmanager
def _sub_test(test: TestCase, phases: Callable[[], Iterable[Phase]], *args: Any, **kwargs: Any) -> Iterator[None]:
    """Be ``subTest``, which swallows what is raised in it; the test itself is not to go on when time is over."""
    with type(test).subTest(test, *args, **kwargs):
        yield
    for phase in phases():
        struck = getattr(phase, "_struck", None)
        if phase.outcome == "running" and struck is not None and struck is not LET_PASS:
            raise struck


def not_as_expected(test: object = None) -> None:
    """Have it count that a test is late, also where it is expected to fail."""
    outcome = getattr(test, "_outcome", None)
    if outcome is not None:
        outcome.expecting_failure = False


def _fail(error: BaseException) -> None:
    raise error


def _calls_code_under_test(kind: type, attribute: str, name: str) -> bool:
    """Tell whether tests of this class have the method, and it calls more than unittest's own setUp, which is empty."""
    base: Any = unittest.TestCase
    if name not in ("setUp", "tearDown"):
        return hasattr(kind, attribute)
    return getattr(kind, name) is not getattr(base, name) or getattr(kind, attribute) is not getattr(base, attribute)


def _tasks(test: Any) -> set[Any]:
    """Return the tasks in the loop of an IsolatedAsyncioTestCase."""
    loop = getattr(test, "_asyncioTestLoop", None)  # up to 3.10
    try:
        if loop is None:
            runner = getattr(test, "_asyncioRunner", None)
            loop = runner and runner.get_loop()
        return sys.modules["asyncio"].all_tasks(loop) if loop else set()
    except RuntimeError:  # the loop is closed
        return set()


def _cancel(test: Any, before: Iterable[Any]) -> None:
    """Cancel what a part that was interrupted has left in the loop: it would go on hanging in the next part."""
    for task in _tasks(test).difference(before):
        task.cancel()
    caller = getattr(test, "_asyncioCallsTask", None)  # up to 3.10 it awaits what is under test
    if caller is not None and caller.get_coro().cr_frame is not None:
        waiting = caller.get_coro().cr_frame.f_locals.get("fut")
        if waiting is not None and not waiting.done():
            waiting.cancel()
            caller.cancel()
