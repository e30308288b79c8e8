"""What a result keeps of what is running, and tells of: calls of tests and fixtures, and how they ended."""

from __future__ import annotations

import unittest
from unittest.suite import _ErrorHolder as Named  # type: ignore[attr-defined]  # in the place of a test

from ..errors import PhaseTimeout
from ..interpreter.stderr import tell
from ..originals import clock, python, thread
from .case import LimitedTest
from .entry import Entry, name_of
from .hung import Hung
from .loader import ImportTimeout
from .part import group_of
from .telling import of_error, of_late, of_reported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .limits import Limits

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

RANK = "running", "passed", "expected failure", "skipped", "unexpected success", "failed", "error"


class Recorder(unittest.TestResult):
    """Calls tests and fixtures within their limits, and keeps an `Entry` for each."""

    limits: Limits
    interruptions: list[tuple[Any, str]]  #: what Ctrl-C has ended, and what is to be said of that
    ran: set[str]  #: names of tests
    hung: Hung
    hinted: bool  # a limit of its own would have helped
    current: Entry | None  # what is running
    before: Entry | None  # the fixture that was called last
    tell_at_once = staticmethod(tell)

    def begin_records(self, limits: Limits) -> None:
        self.limits, self.listener = limits, limits.listener
        self.interruptions, self.ran, self.hung = [], set(), Hung()
        self.hinted = False
        self.current = self.before = None
        self.thread = thread.get_ident()
        self._outer: list[Entry | None] = []

    def addTimeout(self, test: Any, message: str) -> None:
        """Called when a test, a fixture or an import was not over in time."""
        raise NotImplementedError

    def call_test(self, entry: LimitedTest, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a test within its limits, and tell of that, whatever it does with this result meanwhile."""
        test = entry.test
        own: Entry = test.entry if isinstance(test, ImportTimeout) else entry
        own.is_called = True
        self._begin(own, test)
        try:
            if own is entry:
                return entry.call(function, *args, **kwargs)
            return function(*args, **kwargs)  # what it stands for has had its time
        except PhaseTimeout as error:
            if not own.owns(error):
                raise
            return self
        finally:
            self._end(own, test)

    def call_fixture(self, owner: Any, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a fixture or a cleanup within the limit."""
        group = group_of(owner, self.limits)
        entry = self.before = Entry("fixture", f"{name} ({group.name})")
        entry.groups.append(group)
        self._begin(entry, None)
        try:
            return group.call(name, function, *args, **kwargs)
        except BaseException as error:
            if not (entry.late or isinstance(error, KeyboardInterrupt)):
                entry.outcome = "skipped" if isinstance(error, unittest.SkipTest) else "error"
                entry.texts.append(self._text(error))
            raise
        finally:
            self._end(entry, Named(entry.name))

    # -- of both

    def _begin(self, entry: Entry, test: Any) -> None:
        self._outer.append(self.current)
        self.current = entry
        entry.test = test
        self.listener.running(entry)

    def _end(self, entry: Entry, test: Any) -> None:
        entry.elapsed = entry.elapsed or clock.monotonic() - entry.began
        error = python.exc_info()[1]
        self._tell_late(entry, test)
        if entry.outcome == "timeout":
            pass
        elif isinstance(error, KeyboardInterrupt):
            entry.outcome = "interrupted"
            entry.texts.append(self._text(error))
            self.interruptions.append((test, entry.texts[-1]))
        elif entry.outcome == "running":
            entry.outcome = "passed"
        self.current = outer = self._outer.pop()
        self.ran.add(name_of(test))
        self.listener.ended(entry)
        if outer is not None:
            self.listener.running(outer)
        for group in entry.groups:
            group.forget()

    def _tell_late(self, entry: Entry, test: Any) -> None:
        """Tell of the parts that were late, if that is not done yet."""
        late = entry.late
        if not late and not entry.reported:
            return
        late = [(group, part) for group, part in late if part not in entry.told]
        if not late and not (entry.reported and entry.outcome != "timeout"):
            return
        entry.told += [part for _, part in late]
        entry.outcome = "timeout"
        entry.elapsed = max([entry.elapsed, *(error.elapsed or 0.0 for error in entry.reported)])
        lines = [*of_reported(entry.reported), *(line for each in late for line in of_late(*each, self._text))]
        told = "\n".join(lines).rstrip() + "\n"
        self.hinted |= entry.kind != "import" and not all(group.by_total for group, _ in late)
        entry.texts.insert(0, told)
        self.hung.note(entry)
        starts = entry.is_called and not entry.started
        if starts:  # it was late before it came to that
            self.startTest(test)
        self.addTimeout(test, told)
        if starts:
            super().stopTest(test)

    def _is_ours(self, error: BaseException | None) -> bool:
        return any(entry is not None and entry.owns(error) for entry in (self.current, self.before))

    def _is_reported(self, test: Any, error: BaseException | None) -> bool:
        """Take a timeout of which a framework tells, or a suite that runs its tests in other processes or threads."""
        if isinstance(self.current, LimitedTest):
            by_framework = self.current.timeout_by_framework(error)
            if by_framework is not None:
                self.current.reported.append(by_framework)
                return True
        path = error.phase_path if isinstance(error, PhaseTimeout) else ()
        name = name_of(test)
        if not path or name not in (path[0], f"{path[-1]} ({path[0]})"):
            return False
        assert isinstance(error, PhaseTimeout)
        entry = self.current
        if entry is not None:
            entry.reported.append(error)
            return True
        self._begin(Entry("test" if name == path[0] else "fixture", name), test)
        assert self.current is not None
        self.current.reported.append(error)
        self._end(self.current, test)
        return True

    def _note(self, test: Any, outcome: str, what: Any) -> None:
        """Write into the entry what unittest says of a test; the worst counts."""
        entry = self.current
        lone = entry is None and isinstance(test, unittest.TestCase)
        if lone:
            entry = Entry("test", name_of(test))
        if entry is None:
            return  # a fixture, which has been told already
        if RANK.index(outcome) > RANK.index(entry.outcome):
            entry.outcome = outcome
        entry.texts.append(what if isinstance(what, str) else self._text(what[1]))
        if lone:
            self.listener.ended(entry)

    def _text(self, error: BaseException) -> str:
        return self._exc_info_to_string((type(error), error, error.__traceback__), Named(""))

    def _exc_info_to_string(self, err: Any, test: Any) -> str:
        try:
            return super()._exc_info_to_string(err, test)  # type: ignore[misc,no-any-return]
        except Exception as broken:
            return of_error(err, broken)
