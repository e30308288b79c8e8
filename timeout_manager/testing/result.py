"""The result of a unittest run under limits: counts timeouts for themselves, and says what hung, and where."""

from __future__ import annotations

import sys
import unittest
from itertools import chain

from ..diagnosis.lines import line_of
from ..diagnosis.snapshot import Scene
from ..errors import PhaseTimeout
from .limits import group_of
from ..originals import clock, python, thread
from ..processes.family import alive, descendants, described
from ..processes.table import TICK, uptime
from ..seconds import plain, text
from ..interpreter.frames import shown
from ..interpreter.stderr import tell
from .case import Entry, LimitedTest, name_of
from .loader import ImportTimeout

get_ident = thread.get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..interpreter.frames import Line
    from .limits import Group, Limits, Part
    from ..processes.table import Process
    from .reports import Reports

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

SHOWN = 100  # names of tests that did not run, for each reason
SETS_UP = "setUpClass", "setUpModule"
HINT = "A test that needs longer: write `timeout = SECONDS` on it, its class or its module; 0 is no limit."
RANK = "running", "passed", "expected failure", "skipped", "unexpected success", "failed", "error"


class LimitedResult(unittest.TestResult):
    """Mixed into the class of a result: puts limits on what is tested, and counts timeouts for themselves."""

    limits: Limits
    reports: Reports | None
    timeouts: list[tuple[Any, str]]  #: tests, and what is to be said of them
    crashes: list[tuple[Any, str]]  #: the same of what ended the process, where there is another one to tell
    interruptions: list[tuple[Any, str]]  #: the same of what Ctrl-C has ended
    not_run: dict[str, str]  #: names of tests, in their order, and why
    ran: set[str]  #: names of tests, too
    failed: dict[str, str]  # names of classes and modules that could not be set up, and why not
    interrupted: bool  #: by Ctrl-C
    hinted: bool  # a limit of its own would have helped
    hung: dict[tuple[int, float], Process]  # what tests that were late have started, by number and start
    stream: Any  # of a TextTestResult
    separator1: str
    current: Entry | None  # what is running
    before: Entry | None  # the fixture that was called last
    before_summary: Callable[[], None]

    def adopt(self, limits: Limits, reports: Reports | None, before_summary: Callable[[], None]) -> None:
        """Begin; it is a result of another class up to then."""
        self.limits, self.reports, self.before_summary = limits, reports, before_summary
        self.timeouts, self.crashes, self.interruptions = [], [], []
        self.not_run, self.ran, self.failed = {}, set(), {}
        self.hung = {}
        self._told = 0
        self._outer: list[Entry | None] = []
        self.thread = get_ident()
        self.interrupted = self.hinted = False
        self.current = self.before = None

    # -- of a test

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        if self.current is None or self.current.test is not test:  # it runs elsewhere, and we are told
            self._begin(Entry("test", name_of(test)), test)
        if self.current is not None:
            self.current.started = True

    def stopTest(self, test: Any) -> None:
        entry = self.current
        if entry is not None:  # 3.12.1 stops skipped tests that it has not started
            if entry.is_called:
                self._tell_late(entry, test)  # while it can be told what it has printed
            else:
                self._end(entry, test)
        super().stopTest(test)
        if self.limits.spent():
            self.stop()

    def addError(self, test: Any, err: Any) -> None:
        ours = self._is_ours(err[1]) or self._is_reported(test, err[1])
        name = name_of(test)
        fixture, _, owner = name.rstrip(")").partition(" (")
        if fixture in SETS_UP:
            self.failed[owner] = f"{name} {'timed out' if ours else 'failed'}"
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
                self.stream.writeln(outcome if self.current is not None else f"{test} ... {outcome}")
        elif getattr(self, "dots", False):
            self.stream.write(outcome[0])
            self.stream.flush()

    def wasSuccessful(self) -> bool:
        ended = self.timeouts or self.crashes or self.not_run or self.interrupted
        return super().wasSuccessful() and not ended

    def printErrors(self) -> None:
        super().printErrors()
        if hasattr(self, "printErrorList"):
            self.printErrorList("INTERRUPTED", self.interruptions)
            self.printErrorList("TIMEOUT", self.timeouts)
            self.printErrorList("CRASH", self.crashes)
            if self.hinted:
                self.stream.writeln(HINT)
            left = [described(process) for process in filter(None, map(alive, self.hung.values()))]
            if left:
                self.stream.writeln("\n  ".join(["Child processes of tests that timed out live on:", *left]))
            if self.not_run:
                self.stream.writeln(self.separator1)
                self.stream.writeln("\n".join(self._left_out()))
        self.before_summary()

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

    # -- of a class or module

    def call_fixture(self, owner: Any, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a fixture or a cleanup within the limit."""
        group = group_of(owner, self.limits)
        entry = self.before = Entry("fixture", f"{name} ({group.name})")
        entry.groups[0] = group
        self._begin(entry, None)
        try:
            return group.call(name, function, *args, **kwargs)
        except BaseException as error:
            if not (entry.late or isinstance(error, KeyboardInterrupt)):
                entry.outcome = "skipped" if isinstance(error, unittest.SkipTest) else "error"
                entry.texts.append(self._text(error))
            raise
        finally:
            self._end(entry, _Named(entry.name))

    # -- of either

    def _begin(self, entry: Entry, test: Any) -> None:
        self._outer.append(self.current)
        self.current = entry
        entry.test = test
        self._told = 0
        if self.reports is not None:
            self.reports.running(entry)

    def _end(self, entry: Entry, test: Any) -> None:
        entry.elapsed = entry.elapsed or clock.monotonic() - entry.began
        error = sys.exc_info()[1]
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
        if self.reports is not None:
            self.reports.ended(entry)
            if outer is not None:
                self.reports.running(outer)
        for group in entry.groups.values():
            group.forget()

    def _tell_late(self, entry: Entry, test: Any) -> None:
        """Tell of the parts that were late, if that is not done yet."""
        late = [(group, part) for group, part in entry.late if part not in entry.told]
        if not late and not (entry.reported and entry.outcome != "timeout"):
            return
        entry.told += [part for _, part in late]
        entry.outcome = "timeout"
        entry.elapsed = max([entry.elapsed, *(error.elapsed or 0.0 for error in entry.reported)])
        told = self._tell(late, entry.reported)
        self.hinted |= entry.kind != "import" and not all(group.by_total for group, _ in late)
        entry.texts.insert(0, told)
        self._note_children(entry, late)
        starts = entry.is_called and not entry.started
        if starts:  # it was late before it came to that
            self.startTest(test)
        self.addTimeout(test, told)
        if starts:
            super().stopTest(test)

    def _note_children(self, entry: Entry, late: list[tuple[Group, Part]]) -> None:
        """Keep what was started since this has begun: what its time ran out over, and what is there now."""
        began = uptime() - (clock.monotonic() - entry.began) - TICK
        scenes = [part.error.scene for _, part in late if part.error is not None]
        seen = [scene.family for scene in scenes if isinstance(scene, Scene)]
        for _, process in chain(descendants(), *seen):
            if process.started >= began:
                self.hung[process.pid, process.started] = process

    tell_at_once = staticmethod(tell)

    def tell_slow(self, slow: float, now: float) -> float:
        """Say what has been running for so long, again and again; return when to call this again."""
        entry, told = self.current, self._told
        part = entry and entry.part
        if entry is None or part is None:
            return now + slow / 10
        due = entry.began + slow * (told + 1)
        if now >= due:
            self._told = told + 1
            frame = python._current_frames().get(self.thread)
            place = "" if frame is None else f"\n  {line_of(frame)}"
            line = f"\nSLOW: {entry.name} is still running after {text(now - entry.began)}, in {part.name}"
            self.tell_at_once(f"{line}{place}\n")
            due += slow
        return due

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
        if lone and self.reports is not None:
            self.reports.ended(entry)

    def _text(self, error: BaseException) -> str:
        return self._exc_info_to_string((type(error), error, error.__traceback__), _Named(""))

    def _exc_info_to_string(self, err: Any, test: Any) -> str:
        try:
            return super()._exc_info_to_string(err, test)  # type: ignore[misc,no-any-return]
        except Exception as broken:  # a test has left a mock in the place of what it needs
            lines: list[Line] = []
            trace = err[2]
            while trace is not None:
                lines.insert(0, (trace.tb_frame.f_code, trace.tb_lineno))
                trace = trace.tb_next
            told = [*shown(lines), f"{err[0].__name__}: {err[1]}", f"(there is no more of this: {broken!r})"]
            return "\n".join(told) + "\n"

    def _tell(self, late: list[tuple[Group, Part]], reported: list[PhaseTimeout]) -> str:
        """Say of a timeout what hung, for how long, and where."""
        told = []
        for each in reported:
            limit = f"the limit is {text(each.timeout)}"
            told += [f"Time ran out in {each.phase} after {text(each.elapsed)}; {limit}.", "", each.diagnosis]
        for group, part in late:
            error = part.error
            assert error is not None
            about = part.subject and getattr(part.subject, "__qualname__", part.subject)
            place = f"{part.name} ({plain(about)})" if about else part.name
            if error.interrupted:
                told.append(f"Time ran out in {place} after {text(error.elapsed)}; the limit is {group}.")
            else:
                took = text(part.elapsed())
                told.append(f"{place} took {took}, and nothing interrupted it; the limit is {group}.")
            earlier = [each for each in group.parts[: group.parts.index(part)] if each.elapsed() > part.elapsed() / 10]
            told += [f"{each.name} had taken {text(each.elapsed())} of it." for each in earlier]
            scene = error.scene
            if isinstance(scene, Scene):
                told.append(f"  {scene.line()}")
                told += [scene.motion()] if scene.is_one_line() else ["", scene.stacks()]
                told.append("")
            if error.killed or error.survivors:
                told += [error.ended(), ""]
            cause = error.__cause__
            if cause is not None:
                told += ["It ended in this:", self._text(cause), ""]
        return "\n".join(told).rstrip() + "\n"

    def leave_out(self, tests: Iterable[tuple[str, str, str]]) -> None:
        """Note which of these tests did not run that were to run: their names, and their classes and modules."""
        limits, rest = self.limits, ""
        if limits.spent():
            rest = f"the total of {text(limits.end - limits.began)} ({limits.total.source}) is spent"
        elif self.interrupted:
            rest = "of Ctrl-C"
        for name, kind, module in tests:
            why = self.failed.get(module) or self.failed.get(kind) or rest
            if why and name not in self.ran:
                self.not_run[name] = why

    def _left_out(self) -> list[str]:
        lines = []
        for why in dict.fromkeys(self.not_run.values()):
            names = [name for name, each in self.not_run.items() if each == why]
            count = len(names)
            lines.append(f"{count} test{'s' * (count != 1)} did not run, because {why}:")
            lines += [f"  {name}" for name in names[:SHOWN]]
            lines += [f"  and {count - SHOWN} more"] * (count > SHOWN)
        return lines


class _Named:
    """What unittest puts in the place of a test where there is none."""

    failureException = None

    def __init__(self, name: str) -> None:
        self.name = name

    def id(self) -> str:
        return self.name

    __str__ = id

    def shortDescription(self) -> None:
        return None
