"""What a result keeps of what is running, and tells of: calls of tests and fixtures, and how they ended."""

from __future__ import annotations

import unittest
from unittest.suite import _ErrorHolder  # type: ignore[attr-defined]

from ..errors import PhaseTimeout
from ..interpreter.stderr import tell
from ..originals import clock, thread
from .case import LimitedTest
from .entry import Entry, name_of
from .hung import Hung
from .loader import ImportTimeout
from .part import group_of
from .telling import of_error, of_parts, of_reported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .limits import Limits

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

Named = _ErrorHolder  # stands in the place of a test
RANK = "running", "passed", "expected failure", "skipped", "unexpected success", "failed", "error"


def own_method(result: Any, name: str) -> Any:
    """Return this method of a result of ours, also from one that hands on to ours; None if there is none."""
    method = getattr(result, name, None)  # what answers to any name may have given something else
    return method if isinstance(getattr(method, "__self__", None), Recorder) else None


class Recorder(unittest.TestResult):
    """Calls tests and fixtures within their limits, and keeps an `Entry` for each."""

    addTimeout: Callable[[Any, str], None]  #: called when a test, a fixture or an import was not over in time
    tell_at_once = staticmethod(tell)

    def begin_records(self, limits: Limits) -> None:
        self.limits, self.listener = limits, limits.listener
        self.interruptions: list[tuple[Any, str]] = []  #: what Ctrl-C has ended, and what is to be said of that
        self.ran: set[str] = set()  #: names of tests
        self.hung = Hung()
        self.hinted = False  # a limit of its own would have helped
        self.before: Entry | None = None  # the fixture that was called last
        self.thread = thread.get_ident()
        self._running: list[Entry] = []  # a suite may run tests in threads, and a test others

    def call_test(self, entry: LimitedTest, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a test within its limits, and tell of that, whatever it does with this result meanwhile."""
        test = entry.test
        own: Entry = test.entry if isinstance(test, ImportTimeout) else entry
        own.is_called = True
        self._begin(own, test)
        try:
            if own is entry:
                returned = entry.call(function, *args, **kwargs)
            else:
                returned = function(*args, **kwargs)  # what it stands for has had its time
        except BaseException as error:
            is_told = isinstance(error, PhaseTimeout) and own.owns(error)
            self._end(own, test, error, leaves=not is_told)
            if is_told:
                return self
            raise
        self._end(own, test)
        return returned

    def call_fixture(self, owner: Any, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a fixture or a cleanup within the limit."""
        group = group_of(owner, self.limits)
        entry = self.before = Entry("fixture", f"{name} ({group.name})")
        entry.groups.append(group)
        self._begin(entry, owner)
        try:
            returned = group.call(name, function, *args, **kwargs)
        except BaseException as error:
            if isinstance(error, unittest.SkipTest):
                entry.outcome = "skipped"
                entry.texts.append(self.text_of(error))
            self._end(entry, Named(entry.name), error, leaves=not isinstance(error, Exception))
            raise
        self._end(entry, Named(entry.name))
        return returned

    # -- of both

    @property
    def current(self) -> Entry | None:
        """What is running; if there is something in the calling thread, that."""
        running, here = self._running[:], thread.get_ident()
        running = [entry for entry in running if entry.thread == here] or running
        return running[-1] if running else None

    def around(self, entry: Entry) -> Entry | None:
        """Return what is running in the same thread, and has begun before."""
        here = [each for each in self._running if each.thread == entry.thread and each is not entry]
        return here[-1] if here else None

    def _begin(self, entry: Entry, test: Any) -> None:
        self._running.append(entry)
        entry.test = test
        self.listener.running(entry)

    def _end(self, entry: Entry, test: Any, error: BaseException | None = None, leaves: bool = False) -> None:
        """Tell that it has ended, by that error; `leaves`: which unittest hands on, and which ends the run."""
        entry.elapsed = entry.elapsed or clock.monotonic() - entry.began
        self._tell_late(entry, test)
        if entry.outcome == "timeout":
            pass
        elif isinstance(error, KeyboardInterrupt):
            leaves = False  # to a runner of ours
            entry.outcome = "interrupted"
            entry.texts.append(self.text_of(error))
            self.interruptions.append((test, entry.texts[-1]))
        elif entry.outcome == "running":
            entry.outcome = "passed" if error is None else "error"
            entry.texts += [] if error is None else [self.text_of(error)]
        self._running.remove(entry)
        self.ran.add(name_of(test))
        if leaves:
            self.listener.leaves(entry)
        else:
            self.listener.ended(entry)
            current = self.current
            if current is not None:
                self.listener.running(current)
        for group in entry.groups:
            group.forget()

    def _tell_late(self, entry: Entry, test: Any) -> None:
        """Tell of the parts that were late, if that is not done yet."""
        late = [(group, part) for group, part in entry.late if part not in entry.told]
        if not late and not (entry.reported and entry.outcome != "timeout"):
            return
        entry.told += [part for _, part in late]
        entry.outcome = "timeout"
        entry.elapsed = max([entry.elapsed, *(error.elapsed or 0.0 for error in entry.reported)])
        source = entry.limit.source if isinstance(entry, LimitedTest) else ""
        lines = [*of_reported(entry.reported, source), *of_parts(late, self.text_of)]
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
        entry = self.current
        if isinstance(entry, LimitedTest) and entry.handed_on.stands_in(error):
            entry.reported.append(entry.handed_on.timeout(str(error)))
            return True
        path = error.phase_path if isinstance(error, PhaseTimeout) else ()
        name = name_of(test)
        if not path or name not in (path[0], f"{path[-1]} ({path[0]})"):
            return False
        assert isinstance(error, PhaseTimeout)
        if entry is not None:
            entry.reported.append(error)
            return True
        entry = Entry("test" if name == path[0] else "fixture", name)
        self._begin(entry, test)
        entry.reported.append(error)
        self._end(entry, test)
        return True

    def _note(self, test: Any, outcome: str, what: Any) -> None:
        """Write into the entry what unittest says of a test; the worst counts."""
        entry = self.current
        lone = entry is None and isinstance(test, unittest.TestCase)
        if lone:
            entry = Entry("test", name_of(test))
            entry.test = test
        if entry is None:
            return  # a fixture, which has been told already
        if RANK.index(outcome) > RANK.index(entry.outcome):
            entry.outcome = outcome
        entry.texts.append(what if isinstance(what, str) else self.text_of(what[1]))
        if lone:
            self.listener.ended(entry)

    def text_of(self, error: BaseException) -> str:
        return self._exc_info_to_string((type(error), error, error.__traceback__), Named(""))

    def _exc_info_to_string(self, err: Any, test: Any) -> str:
        try:
            return super()._exc_info_to_string(err, test)  # type: ignore[misc,no-any-return]
        except Exception as broken:
            return of_error(err, broken)
