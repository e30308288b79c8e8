"""Where unittest calls the code under test in a test, and how it comes to call it as a `Part`.

A test gets attributes that stand in for the methods through which `TestCase.run` calls it (``_callSetUp`` and so on),
while it is called; that way nothing is changed for other tests, and subclasses that override these methods keep what
they do. Frameworks with a ``run`` of their own call ``setUp``, the test and ``tearDown`` themselves, so there these
have stand-ins, too; what they call besides, a reactor or cleanups, has the limit of the whole call.
"""

from __future__ import annotations

import unittest
from contextlib import contextmanager, nullcontext
from functools import partial, wraps

from ..errors import PhaseTimeout
from ..originals import thread
from ..seconds import INFINITY
from .entry import Entry, name_of
from .handed_on import SWALLOWED, HandedOn
from .left_tasks import cancel_left, tasks_of
from .limits import Limit, Limits
from .part import CALL, PATIENCE, Group
from .replacing import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..counting.ledger import Phase

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
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
_LIMITED_BY = "_limited_by"  # attribute of a test that is called, and of its copies: whose stand-ins they have
_NOTHING: Any = object()
_CLOSE_LOOP = frozenset({"_tearDownAsyncioRunner", "_tearDownAsyncioLoop"})
_METHODS = ("setUp", "setUp", BODY), ("", "test", BODY), ("tearDown", "tearDown", END)  # "": that of the test
_TIMES = "getTimeout"  # of trial: it ends by itself what waits in its reactor, which would not survive an interrupt
_LATER = 0x20 | 0x80 | 0x200  # flags of code: generators, coroutines, asynchronous generators
_MIXIN = __name__[: -len("case")] + "mixin"
_PLAIN = frozenset({"unittest.case", "unittest.async_case", _MIXIN})  # where `run` has our parts only


class LimitedTest(Entry):
    """A test whose parts have limits while it is called; the whole call is a part where its class has its own way."""

    def __init__(self, test: Any, limits: Limits) -> None:
        super().__init__("test", name_of(test))
        self.test = test
        self.limits = limits
        self.limit = limits.timeout
        self.whole: Group | None = None  # the call around the other parts
        self.open: dict[int, Group] = {}  # the groups to which parts are added
        self.before: dict[str, Any] = {}  # what was in the place of what stands in for methods of the test
        self.handed_on = HandedOn()  # the limit, for a framework that has a timer of its own
        self.ways: set[str] = set()  # in which its class calls it
        self.has_loop = False
        self.is_over = False

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what runs the test, within its limits."""
        if not hasattr(self.test, "__dict__"):
            return self._call_whole(function, *args, **kwargs)
        self._attach()
        try:
            if self.ways:
                return self._call_whole(function, *args, **kwargs)
            return function(*args, **kwargs)
        finally:
            self.is_over = True
            self._detach(self.test)
            if self.handed_on.is_over and not self.reported:
                self.reported.append(self.handed_on.timeout(SWALLOWED))

    def _call_whole(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        limit = self.limit
        if limit.seconds and self.handed_on:  # for setUp and the test, and for what comes after
            limit = Limit(limit.seconds + max(limit.seconds, PATIENCE), limit.source)
        self.whole = Group(self.limits, self.name, limit)
        self.groups.append(self.whole)
        return self.whole.call(CALL, function, *args, **kwargs)

    def _attach(self) -> None:
        test, kind = self.test, type(self.test)
        self._stand_in(_LIMITED_BY, self)
        try:
            self.limit = self.limits.of_test(test)
        except (TypeError, ValueError) as error:
            for name in "_callSetUp", "setUp":
                self._stand_in(name, partial(_fail, error))
        if kind not in self.limits.kinds:
            self.limits.kinds[kind] = ways(kind), [each for each in _CALLS if _calls_code_under_test(kind, *each[:2])]
        self.ways, calls = self.limits.kinds[kind]
        seconds = self.limits.scaled(self.limit)
        if seconds and _has(kind, _TIMES):
            own, self.handed_on = getattr(test, _TIMES), HandedOn(seconds)
            self._stand_in(_TIMES, lambda: min(self.handed_on, own() * self.limits.factor))  # ours if they are equal
        if "run" in self.ways:
            for attribute, name, which in _METHODS:
                self._stand_in_for_own(attribute or getattr(test, "_testMethodName", ""), name, which)
        for attribute, name, which in calls:
            if attribute not in self.before:
                self._stand_in(attribute, partial(self.call_part, which, name, getattr(test, attribute)))
        if _has(kind, "subTest"):
            self._stand_in("subTest", partial(_sub_test, test, lambda: self.parts))
        self.has_loop = not _CLOSE_LOOP.isdisjoint(self.before)

    def _stand_in(self, attribute: str, function: Any) -> None:
        own = vars(self.test)
        self.before[attribute] = own.get(attribute, _NOTHING)
        own[attribute] = function

    def _stand_in_for_own(self, attribute: str, name: str, which: int) -> None:
        """Stand in for a method under its own name, unless its body runs later than the call."""
        method = getattr(self.test, attribute, None)
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        if method is None or code is None or code.co_flags & _LATER or attribute in self.before:
            return

        @wraps(method)
        def part(*args: Any, **kwargs: Any) -> Any:
            if any(each.outcome == "running" and each.name != CALL for each in self.parts):
                return method(*args, **kwargs)  # one that unittest calls, or another method of the test
            return self.call_part(which, name, method, *args, **kwargs)

        self._stand_in(attribute, part)

    def _detach(self, test: Any) -> None:
        """Leave the test, or a copy of it, as it was."""
        own = vars(test)
        for attribute, before in self.before.items():
            own.pop(attribute, None)
            if before is not _NOTHING:
                own[attribute] = before

    def __deepcopy__(self, memo: object) -> LimitedTest:
        return self

    def call_part(self, which: int, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        group = self.open.get(which)
        if group is None or name != "cleanup" and any(part.name == name for part in group.parts):  # one more attempt
            if group is not None:
                self.open.clear()
            group = self.open[which] = Group(self.limits, self.name, self.limit)
            self.groups.append(group)
        before = tasks_of(self.test) if self.has_loop else set()
        try:
            if self.whole is None:
                return group.call(name, function, *args, **kwargs)
            with self.whole.aside(INFINITY if self.thread == thread.get_ident() else group.longest()):
                return group.call(name, function, *args, **kwargs)
        except BaseException as error:
            late = bool(self.late)
            if late:
                not_as_expected(self.test)
            if self.has_loop and (late or isinstance(error, KeyboardInterrupt)):
                cancel_left(self.test, before)
            raise


def as_made(test: Any) -> None:
    """Take from a copy of a test what stood in for methods of that one when it was copied: it would call these."""
    entry = getattr(test, "__dict__", {}).get(_LIMITED_BY)
    if entry is not None and entry.test is not test:
        entry._detach(test)


def ways(kind: type) -> set[str]:
    """Return in which of the ways to call a test its class, or one that it inherits from, has something to say."""
    names = "run", "__call__", "doCleanups"
    return {
        name
        for name in names
        for base in kind.__mro__
        if name in vars(base) and getattr(vars(base)[name], "__module__", "") not in _PLAIN
    }


@contextmanager
def ending(test: object, phases: Callable[[], Iterable[Phase]]) -> Iterator[None]:
    """Have these phases end a test: amid its sub-tests, if it has them, and also where it is expected to fail."""
    sub_test = partial(_sub_test, test, phases)
    try:
        with replaced(test, "subTest", sub_test) if isinstance(test, unittest.TestCase) else nullcontext():
            yield
    finally:
        if any(phase.outcome == "timeout" for phase in phases()):
            not_as_expected(test)


@contextmanager
def _sub_test(test: Any, phases: Callable[[], Iterable[Phase]], *args: Any, **kwargs: Any) -> Iterator[None]:
    """Be ``subTest``, which swallows what is raised in it; the test itself is not to go on when time is over."""
    with type(test).subTest(test, *args, **kwargs):
        yield
    for phase in phases():
        struck = getattr(phase, "struck", None)
        if phase.outcome == "running" and isinstance(struck, PhaseTimeout):
            raise struck


def not_as_expected(test: object) -> None:
    """Have it count that a test is late, also where it is expected to fail."""
    outcome = getattr(test, "_outcome", None)
    if outcome is not None:
        outcome.expecting_failure = False


def _fail(error: BaseException) -> None:
    raise error


def _has(kind: type, attribute: str) -> bool:
    """Tell whether a class has this; the class of a class may answer to any name."""
    return any(attribute in vars(each) for each in kind.__mro__)


def _calls_code_under_test(kind: type, attribute: str, name: str) -> bool:
    """Tell whether tests of this class have the method, and it calls more than unittest's own setUp, which is empty."""
    base: Any = unittest.TestCase
    is_there = _has(kind, attribute)
    if name not in ("setUp", "tearDown") or not is_there:
        return is_there
    return getattr(kind, name) is not getattr(base, name) or getattr(kind, attribute) is not getattr(base, attribute)
