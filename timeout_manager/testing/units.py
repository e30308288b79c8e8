"""The tests of a suite by their names, so that some of them can be run, by this process or another one.

A name is what the test calls itself and how many of that name were before it: in each process a set has its own order.
"""

from __future__ import annotations

import unittest
from collections import Counter, deque
from unittest.loader import _FailedTest  # type: ignore[attr-defined]
from unittest.util import strclass

from .entry import name_of
from .loader import ImportTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Name = tuple[str, int]
    Path = tuple[unittest.BaseTestSuite, ...]


class Suite:
    """A suite whose tests are run part by part, each in the suites that it was found in; they keep their own ways.

    What has run is let go, as unittest does.
    """

    def __init__(self, suite: Any) -> None:
        self.suite = suite
        self._names: dict[int, deque[Name]] = {}  # by the test itself, which may be there more than once
        self._places: dict[Name, tuple[Any, Path]] = {}
        self._kinds: dict[type, Name] = {}
        self._ordered: dict[str, list[Name]] = {}  # what was taken, and has not begun
        self._homonyms: Counter[str] = Counter()  # of classes
        seen: Counter[str] = Counter()
        for test, path in _places_of(suite, ()):
            self.owner(type(test))
            name = (name_of(test), seen[name_of(test)])
            seen[name[0]] += 1
            self._places[name] = test, path
            self._names.setdefault(id(test), deque()).append(name)

    def __iter__(self) -> Iterator[Any]:
        return (test for test, _ in self._places.values())

    def named(self) -> Iterator[tuple[Name, Any]]:
        return ((name, test) for name, (test, _) in self._places.items())

    def owner(self, kind: Any) -> Name:
        """Return the name of a class or module, which tests and fixtures have in common."""
        if not isinstance(kind, type):
            return str(kind.__name__), 0
        if kind not in self._kinds:
            name = strclass(kind)
            self._kinds[kind] = name, self._homonyms[name]
            self._homonyms[name] += 1
        return self._kinds[kind]

    def begin(self, test: Any, around: Name | None = None) -> Name | None:
        """Return the name of a test that is about to run, or of which this is a copy; None if it is none of these.

        ``around`` is that of the test which runs it, if one does.
        """
        name = self.look_up(test)
        called = name_of(test)
        ordered = self._ordered.get(called, [])
        if name is not None:
            names = self._names[id(test)]
            names.remove(name)
            if not names:
                del self._names[id(test)]  # once the test is gone, another one may be in its place
        elif around is not None and around[0] == called:
            return around
        else:
            name = next(iter(ordered), around)
        if name in ordered:
            ordered.remove(name)
        return name

    def look_up(self, test: Any) -> Name | None:
        """Return the name of a test that is called, and about which nothing is told yet; None if it is new."""
        names = self._names.get(id(test), ())
        ordered = self._ordered.get(name_of(test), ())
        return next((each for each in names if each in ordered), next(iter(names), None))

    def lost(self) -> dict[str, str]:
        """Return the modules that could not be loaded, and why."""
        lost = {}
        for test in self:
            if isinstance(test, ImportTimeout):
                lost[test.entry.name] = next(iter(test.entry.texts), str(test.error)).partition("\n")[0]
            elif isinstance(test, _FailedTest):
                lost[test._testMethodName] = str(test._exception).rstrip().rpartition("\n")[2]
        return lost

    def take(self, names: Iterable[Name]) -> tuple[Any, list[Name]]:
        """Return a suite of these tests, and which of them are not there."""
        missing: list[Name] = []
        emptied: set[int] = set()
        top: Any = self.suite if isinstance(self.suite, unittest.BaseTestSuite) else unittest.TestSuite()
        _empty(top, emptied)
        for name in names:
            test, path = self._places.pop(name, (None, ()))
            if test is None:
                missing.append(name)
                continue
            around: Any = top
            for suite in path[1:]:
                _empty(suite, emptied)
                if not around._tests or around._tests[-1] is not suite:
                    around._tests.append(suite)
                around = suite
            around._tests.append(test)
            self._ordered.setdefault(name[0], []).append(name)
        return _obedient(top), missing


def _obedient(suite: Any) -> Any:
    """Return the suite, in its order; a plain one of its tests where it has others of its own, whatever it is given."""
    if not isinstance(suite, unittest.BaseTestSuite):
        return suite
    given = suite._tests = [_obedient(each) for each in suite._tests]
    if type(suite).__iter__ is unittest.BaseTestSuite.__iter__:
        return suite
    found, places = [id(each) for each in suite], {id(each): deque[int]() for each in given}
    if sorted(found) != sorted(map(id, given)):
        return unittest.TestSuite(given)
    for place, each in enumerate(given):
        places[id(each)].append(place)
    turned = sorted(zip((places[each].popleft() for each in found), given), key=lambda pair: pair[0])
    suite._tests = [each for _, each in turned]  # what its own order makes of these is the one that was found
    return suite


def _empty(suite: Any, emptied: set[int]) -> None:
    if id(suite) not in emptied:
        emptied.add(id(suite))
        suite._tests = []


def tests_of(suite: Any) -> Iterator[Any]:
    """Yield the tests of a suite, which are there until it runs."""
    return (test for test, _ in _places_of(suite, ()))


def _places_of(suite: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    """Yield the tests of a suite, each with the suites around it."""
    if isinstance(suite, unittest.BaseTestSuite):
        for each in list(suite):
            yield from _places_of(each, (*path, suite))
        return
    try:
        inner = None if isinstance(suite, unittest.TestCase) else iter(suite)  # a test may be a sequence, too
    except TypeError:
        inner = None
    if inner is None:
        yield suite, path
        return
    for each in inner:
        yield from _places_of(each, path)
