"""Where unittest calls the code under test, and how it comes to call it as a `Part`.

A test gets attributes that stand in for the methods through which `TestCase.run` calls it (``_callSetUp`` and so on),
from ``startTest`` to ``stopTest``; that way nothing is changed for other tests, and subclasses that override these
methods keep what they do. Class and module fixtures are called by methods of `TestSuite`; while a runner of ours is at
work these are wrapped, and put a fixture of our own in the place of the user's until it is called.
"""

from __future__ import annotations

import sys
import unittest
import unittest.case
import unittest.suite
from contextlib import contextmanager
from functools import partial, wraps

from .errors import LET_PASS
from .limits import Group, Limits
from .seconds import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from .limits import Part

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
_MISSING: Any = object()
_NOTHING: frozenset[Any] = frozenset()


class Entry:
    """What a report tells of a test, a fixture or an import."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.began = monotonic()
        self.elapsed = 0.0
        self.outcome = "running"
        self.groups: dict[int, Group] = {}
        self.texts: list[str] = []  # what went wrong, or why it was skipped

    @property
    def parts(self) -> list[Part]:
        return [part for group in self.groups.values() for part in group.parts]

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
        own["subTest"] = self.sub_test
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
        except BaseException:
            if self.late:
                outcome = getattr(self.test, "_outcome", None)
                if outcome is not None:
                    outcome.expecting_failure = False  # that it is late is not what was expected
                if self.has_loop:
                    _cancel(self.test, before)
            raise

    @contextmanager
    def sub_test(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Be ``subTest``, which swallows what is raised in it; the test itself is not to go on when time is over."""
        with type(self.test).subTest(self.test, *args, **kwargs):
            yield
        struck = getattr(self.groups[BODY].parts[-1], "_struck", None)
        if struck is not None and struck is not LET_PASS:
            raise struck


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


# -- class and module fixtures -----------------------------------------------------------------------------------------


@contextmanager
def limited_fixtures() -> Iterator[None]:
    """Have the fixtures of classes and modules called by ``result.call_fixture(owner, name, function, *args)``.

    Results without that method are left alone: a test may run tests of its own.
    """
    suite: Any = unittest.suite.TestSuite
    originals = {name: getattr(suite, name) for name in _FIXTURES}
    for method, (name, owner_of) in _FIXTURES.items():
        setattr(suite, method, _wrap(originals[method], name, owner_of))
    try:
        yield
    finally:
        for method, original in originals.items():
            setattr(suite, method, original)


def _wrap(original: Callable[..., None], name: str, owner_of: Callable[..., Any]) -> Callable[..., None]:
    @wraps(original)
    def call(self: object, *args: Any) -> None:
        result = args[-1]
        owner = owner_of(*args) if hasattr(result, "call_fixture") else None
        if owner is None:
            return original(self, *args)
        if not _has(owner, name) and not _cleanups(owner):
            return original(self, *args)
        with limited_cleanups(owner, partial(result.call_fixture, owner, "cleanup")):
            with _in_place(owner, name, partial(result.call_fixture, owner, name)):
                original(self, *args)

    return call


def _next_class(test: object, result: Any) -> object:
    return None if test.__class__ is _previous_class(test, result) else test.__class__


def _previous_class(test: object, result: Any) -> Any:
    return getattr(result, "_previousTestClass", None)


def _left_class(test: object, result: Any) -> object:
    return None if test.__class__ is _previous_class(test, result) else _previous_class(test, result)


def _next_module(test: object, result: Any) -> object:
    name = test.__class__.__module__
    return None if name == getattr(_previous_class(test, result), "__module__", None) else sys.modules.get(name)


def _left_module(result: Any) -> object:
    return sys.modules.get(getattr(_previous_class(None, result), "__module__", ""))


_FIXTURES: dict[str, tuple[str, Callable[..., Any]]] = {  # methods of TestSuite: what each calls, and whose it is
    "_handleClassSetUp": ("setUpClass", _next_class),
    "_tearDownPreviousClass": ("tearDownClass", _left_class),
    "_handleModuleFixture": ("setUpModule", _next_module),
    "_handleModuleTearDown": ("tearDownModule", _left_module),
}


def _has(owner: Any, name: str) -> bool:
    """Tell whether a class or module has such a fixture of its own."""
    fixture, default = getattr(owner, name, None), getattr(unittest.TestCase, name, None)
    return fixture is not None and getattr(fixture, "__func__", fixture) is not getattr(default, "__func__", None)


@contextmanager
def _in_place(owner: Any, name: str, call: Callable[..., Any]) -> Iterator[None]:
    """Let the fixture be called by ``call`` once, and be back in its place when that happens."""
    if not _has(owner, name):
        yield
        return
    fixture = getattr(owner, name)
    before = vars(owner).get(name, _MISSING)

    def put_back() -> None:
        if vars(owner).get(name) is not once:
            pass
        elif before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    def once() -> Any:
        put_back()
        return call(fixture)

    try:
        setattr(owner, name, once)
    except TypeError:  # the class of a test that is a function
        yield
        return
    try:
        yield
    finally:
        put_back()


class Cleanups(list):  # type: ignore[type-arg]
    """A list of cleanups, which unittest pops one by one and calls: each will be called by ``call``."""

    def __init__(self, cleanups: Iterable[Any], call: Callable[..., Any]) -> None:
        super().__init__(cleanups)
        self.call = call

    def pop(self, *args: Any) -> Any:
        function, positional, keyword = super().pop(*args)
        return self.call, (function, *positional), keyword


@contextmanager
def limited_cleanups(owner: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Have the cleanups of a class, or of modules, called by ``call``."""
    before = _cleanups(owner)
    _set_cleanups(owner, Cleanups(before, call))
    before.clear()  # in 3.9 classes share it
    try:
        yield
    finally:
        _set_cleanups(owner, list(_cleanups(owner)))


def _cleanups(owner: Any) -> list[Any]:
    holder, name = (owner, "_class_cleanups") if isinstance(owner, type) else (unittest.case, "_module_cleanups")
    return getattr(holder, name, [])


def _set_cleanups(owner: Any, cleanups: list[Any]) -> None:
    holder: Any = owner if isinstance(owner, type) else unittest.case
    try:
        setattr(holder, "_class_cleanups" if holder is owner else "_module_cleanups", cleanups)
    except TypeError:  # the class of a test that is a function
        pass
