"""The result of a unittest run under limits: it counts timeouts for themselves."""

from __future__ import annotations

import sys
import unittest
from functools import partial

from ..originals import python
from ..seconds import text
from .entry import Entry, name_of
from .recorder import Recorder
from .telling import of_left_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .limits import Limits

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

SETS_UP = "setUpClass", "setUpModule"
HINT = (
    "A test that needs longer: `timeout = SECONDS` in its class or module, or `test_name.timeout = SECONDS` below it."
)


class LimitedResult(Recorder):
    """Mixed into the class of a result: puts limits on what is tested, and counts timeouts for themselves."""

    stream: Any  # of a TextTestResult
    separator1: str

    def adopt(self, limits: Limits, before_summary: Callable[[], None]) -> None:
        """Begin; it is a result of another class up to then."""
        self.begin_records(limits)
        self.before_summary = before_summary
        self.timeouts: list[tuple[Any, str]] = []  #: tests, and what is to be said of them
        self.crashes: list[tuple[Any, str]] = []  #: of what ended the process, where there is another one to tell
        self.not_run: dict[str, str] = {}  #: names of tests, in their order, and why
        self.not_set_up: dict[str, str] = {}  # names of classes and modules that could not be set up, and why not
        self.interrupted = False  #: by Ctrl-C

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        entry = self.current
        if entry is None or entry.test is not test:  # it runs elsewhere, and we are told
            entry = Entry("test", name_of(test))
            self._begin(entry, test)
        entry.started = True

    def stopTest(self, test: Any) -> None:
        entry = self.current
        if entry is not None:  # 3.12.1 stops skipped tests that it has not started
            if entry.is_called:
                self._tell_late(entry, test)  # while it can be told what it has printed
            else:
                error = python.exc_info()[1]
                self._end(entry, test, error if isinstance(error, KeyboardInterrupt) else None)
        super().stopTest(test)
        if self.limits.spent():
            self.stop()

    def addError(self, test: Any, err: Any) -> None:
        ours = self._is_ours(err[1]) or self._is_reported(test, err[1])
        name = name_of(test)
        owner = set_up_by(name)
        if owner:  # only the first error counts: its cleanups may fail, too
            self.not_set_up.setdefault(owner, f"{name} {'timed out' if ours else 'failed'}")
        if not ours:
            super().addError(test, err)
            self._note(test, "error", err)

    def addFailure(self, test: Any, err: Any) -> None:
        if not self._is_ours(err[1]):
            super().addFailure(test, err)
            self._note(test, "failed", err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is None or not self._is_ours(err[1]):
            super().addSubTest(test, subtest, err)
            if err is not None:
                self._note(test, "failed" if issubclass(err[0], test.failureException) else "error", err)
        elif self.current is not None and self.current.part is not None:
            self.current.part.subject = f"subTest {subtest._subDescription()}"

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skipped", str(reason))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "expected failure", err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "unexpected success", "")

    def addTimeout(self, test: Any, message: str) -> None:
        """Called when a test, a fixture or an import was not over in time."""
        if self.failfast:
            self.stop()
        if self.buffer:
            for name, stream in (("Stdout", sys.stdout), ("Stderr", sys.stderr)):
                written = getattr(stream, "getvalue", str)()
                message += f"\n{name}:\n{written}" if written else ""
        self._mirrorOutput = True
        self.timeouts.append((test, message))
        self._write_outcome(test, "TIMEOUT")

    def _write_outcome(self, test: Any, outcome: str) -> None:
        if getattr(self, "showAll", False):
            if hasattr(self, "_write_status"):
                self._write_status(test, outcome)
            else:
                has_line = self.current is not None and self.current.started  # that of a fixture has none
                self.stream.writeln(outcome if has_line else f"{test} ... {outcome}")
        elif getattr(self, "dots", False):
            self.stream.write(outcome[0])
            self.stream.flush()

    def has_ended_badly(self) -> bool:
        """Tell whether there is something that only we count."""
        return bool(self.timeouts or self.crashes or self.not_run or self.interrupted)

    def wasSuccessful(self) -> bool:
        return super().wasSuccessful() and not self.has_ended_badly()

    def printErrors(self) -> None:
        super().printErrors()
        if hasattr(self, "printErrorList"):
            kind: Any = unittest.TextTestResult  # that of a framework may want to know more of each (Django)
            show = partial(kind.printErrorList, self) if isinstance(self, kind) else self.printErrorList
            show("INTERRUPTED", self.interruptions)
            show("TIMEOUT", self.timeouts)
            show("CRASH", self.crashes)
            if self.hinted:
                self.stream.writeln(HINT)
            left = self.hung.alive()
            if left:
                self.stream.writeln("\n  ".join(["Child processes that were there at a timeout live on:", *left]))
            if self.not_run:
                self.stream.writeln(self.separator1)
                self.stream.writeln("\n".join(of_left_out(self.not_run)))
        self.before_summary()

    def leave_out(self, tests: Iterable[tuple[str, str, str]]) -> None:
        """Note which of these tests did not run that were to run: their names, and their classes and modules."""
        limits, rest = self.limits, ""
        if limits.spent():
            rest = f"the total of {text(limits.end - limits.began)} ({limits.total.source}) is spent"
        elif self.interrupted:
            rest = "of Ctrl-C"
        for name, kind, module in tests:
            why = self.not_set_up.get(module) or self.not_set_up.get(kind) or rest
            if why and name not in self.ran:
                self.not_run[name] = why


def set_up_by(fixture: str) -> str:
    """Return the class or module that a fixture of this name sets up; nothing if it does something else."""
    name, _, owner = fixture.rstrip(")").partition(" (")
    return owner if name in SETS_UP else ""
