"""A process that runs tests for another one, and tells it what a result was told.

It is started as its parent was, with a role in a variable. It loads the whole suite, as any run would, then it runs
what it is ordered to, and writes the progress of it. What is added up in the end is added up by the parent, and so are
the limits that nothing here can keep.
"""

from __future__ import annotations

import os
import sys
import unittest
from contextlib import suppress
from json import loads
from math import inf
from unittest.util import strclass

from ..interpreter.fork import in_child
from ..originals import clock, signals, system
from .case import Entry
from .channel import RETURNED, Channel
from .lost import Loader, LostImport
from .reports import data_of
from .result import LimitedResult
from .runner import TextTestRunner
from .units import Suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .limits import Group, Limits

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

VARIABLE = "TIMEOUT_MANAGER_WORKER"
HASHES = "PYTHONHASHSEED"
NEAR = 0.02  # seconds: instants that differ by less are one
LISTS = (
    *("errors", "failures", "skipped", "expectedFailures", "unexpectedSuccesses", "timeouts", "crashes"),
    "interruptions",
)


class Worker:
    """What this process is to do, and how it tells what comes of it; there is one if the environment says so."""

    def __init__(self) -> None:
        role = loads(os.environ.pop(VARIABLE))
        if role["hashes"]:  # those of our own: what tests start has random ones
            os.environ.pop(HASHES, None)
        self.channel = Channel(role)
        self.orders: dict[str, Any] = self.channel.look_up(*role["begin"])
        self.has_files = bool(self.orders["has files"])
        if self.orders["is live"] and sys.stdout is not None:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        self.began: float = self.orders["began"]
        self.result: Result | None = None
        self.suite: Suite | None = None
        self._due: float | None = None
        self._open: list[Group] = []  # the parts that are running
        self._entry: Entry | None = None  # what is
        self.channel.say("hello", _tell_of_the_end(self.channel), flush=True)

    def bind(self, limits: Limits) -> None:
        """Have the limits of a run be those of the parent."""
        limits.began, limits.watcher = self.began, self
        limits.end = inf if self.orders["end"] is None else self.orders["end"]

    # -- what code under test does: called by the groups of parts

    def entered(self, group: Group) -> None:
        if self.channel.is_foreign():  # it runs tests itself, for whoever has forked it
            return
        self._open.append(group)
        self._tell_due(group)

    def left(self, group: Group) -> None:
        if self.channel.is_foreign():
            self.end_if_back(group in self._open)
            return
        self._open.remove(group)
        if self._open:
            self._tell_due(self._open[-1])

    def _tell_due(self, group: Group) -> None:
        """Tell until when this part has to be over."""
        left = group.manager.remaining_timeout
        due = None if left is None else clock.monotonic() + left
        if due is None or self._due is None or abs(due - self._due) > NEAR:
            if due is not self._due:
                name = "" if due is None else group.parts[-1].name
                self.channel.say("due", due, name, str(group), group.manager.initial_timeout)
            self._due = due
        self.channel.flush()

    # -- stands in for the report files

    def running(self, entry: Entry) -> None:
        if self.channel.is_foreign():
            return
        self.tell_news()
        self._entry = entry
        name = None if self.suite is None or entry.kind != "test" else self.suite.begin(entry.test)
        self.channel.say("at", entry.kind, entry.name, name, entry.began, flush=entry.kind != "test")

    def ended(self, entry: Entry) -> None:
        self.end_if_back(entry is self._entry)
        if self.channel.is_foreign():
            return
        self.tell_news()
        self._due = None
        self.channel.say("ended", data_of(entry, self.began))
        self.tell_written()
        self.channel.flush()

    def idle(self) -> None:
        """Nothing of the tests is running."""
        self._due = None
        self.channel.say("idle", flush=True)

    def close(self, not_run: Any = ()) -> None:
        pass

    # -- what a result was told

    def tell_news(self) -> None:
        """Tell what the result has come to know."""
        if self.result is not None:
            self.result.tell_news(self.channel)

    def end_if_back(self, is_back: bool = True) -> None:
        """End a process that a test has forked, if it is back where it was forked."""
        if is_back and self.channel.is_foreign():
            system._exit(RETURNED)

    def is_at(self, entry: Entry | None) -> bool:
        return entry is not None and entry is self._entry

    def tell_written(self) -> None:
        """Tell how much has been written, where that is shown later."""
        if self.has_files:
            for stream in sys.stdout, sys.stderr:
                with suppress(Exception):  # tests may have put anything there
                    stream.flush()
            with suppress(OSError):
                self.channel.say("written", system.fstat(1).st_size, system.fstat(2).st_size)


def _tell_of_the_end(channel: Channel) -> int:
    """Have the interpreter say where it was when it dies; return the signal that asks it, 0 if there is none."""
    import faulthandler

    from ..interpreter.timer import NoTimer, free_signals

    was_enabled, number = faulthandler.is_enabled(), 0
    words = channel.words.descriptor()
    faulthandler.enable(words, all_threads=True)
    try:
        number = free_signals()[-2]
        faulthandler.register(number, words, all_threads=True)
    except (AttributeError, IndexError, ImportError, NoTimer):
        pass

    def forget() -> None:
        if number:
            faulthandler.unregister(number)
        faulthandler.disable()
        if was_enabled:
            faulthandler.enable(2)

    in_child("last words", forget)
    return number


class Result(LimitedResult):
    """The result of the worker: what it comes to know is told, and what it would print in the end is not printed."""

    worker: Worker
    getDescription: Callable[[Any], str]
    _previousTestClass: Any

    def adopt(self, *args: Any) -> None:
        super().adopt(*args)
        self._known = dict.fromkeys((*LISTS, "testsRun", "collectedDurations", "hinted"), 0)
        self._known_failed: set[Any] = set()

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.worker.channel.say("started")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.worker.tell_news()
            self.worker.channel.flush()

    def tell_at_once(self, text: str) -> None:
        self.worker.channel.say("slow", text, flush=True)

    def call_test(self, entry: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        test = entry.test
        if not isinstance(test, LostImport):
            return super().call_test(entry, function, *args, **kwargs)
        test.entry.is_called = True
        self._begin(test.entry, test)
        self.startTest(test)
        told = {"timeout": self.timeouts, "crash": self.crashes}
        told[test.entry.outcome].append((test, test.entry.texts[0]))
        self._write_outcome(test, test.entry.outcome.upper())
        super().stopTest(test)
        self._end(test.entry, test)
        return self

    def printErrors(self) -> None:
        self.before_summary()

    def tell_news(self, channel: Channel) -> None:
        """Tell what is new here."""
        for name in LISTS:
            found, known = getattr(self, name), self._known[name]
            for each in found[known:]:
                test, text = each if isinstance(each, tuple) else (each, "")
                channel.say("told", name, self.getDescription(test), text)
            self._known[name] = len(found)
        for test, seconds in getattr(self, "collectedDurations", [])[self._known["collectedDurations"] :]:
            self._known["collectedDurations"] += 1
            channel.say("took", test, seconds)
        for number in "testsRun", "hinted":
            if getattr(self, number) > self._known[number]:
                channel.say("counted", number, getattr(self, number) - self._known[number])
                self._known[number] = getattr(self, number)
        for owner in self.failed.keys() - self._known_failed:
            self._known_failed.add(owner)
            channel.say("failed", owner, self.failed[owner])


def _guarded(name: str) -> Callable[..., None]:
    def told(self: Any, *args: Any) -> None:
        self.worker.end_if_back(self.worker.is_at(self.current))
        getattr(super(Result, self), name)(*args)

    return told


for _name in "addSuccess", "addError", "addFailure", "addSkip", "addExpectedFailure", "addUnexpectedSuccess":
    setattr(Result, _name, _guarded(_name))


class Orders:
    """Stands in for the suite: runs what the parent asks for, part by part."""

    def __init__(self, worker: Worker, suite: Any) -> None:
        self.worker = worker
        self.suite = Suite(suite)

    def __iter__(self) -> Any:
        return iter(self.suite)

    def __call__(self, result: Result) -> None:
        worker, channel = self.worker, self.worker.channel
        result.worker, worker.result, worker.suite = worker, result, self.suite
        while True:
            worker.end_if_back()
            worker.tell_news()
            worker.tell_written()
            channel.say("next", result.shouldStop, flush=True)
            order = channel.read()
            if not order:
                return
            suite, missing = self.suite.take(map(tuple, order))
            channel.say("missing", missing)
            result._previousTestClass = None  # fixtures run anew
            try:
                suite(result)
            except KeyboardInterrupt:
                channel.say("interrupted")


class Runner(TextTestRunner):
    """Runs what the worker is ordered to."""

    worker: Worker
    limited = Result

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.worker.orders["is live"]:
            stream: Any = self.stream
            stream.stream = _ToTerminal(stream.stream)

    def run(self, test: Any) -> Any:
        orders = Orders(self.worker, test)
        limits = self.limits
        assert limits is not None
        if self.worker.orders["is to list"]:
            listed = [(name, *_description(self, each)) for name, each in orders.suite.named()]
            self.worker.channel.say("tests", listed, any(map(limits.bind, orders)))
        return super().run(orders)

    def _write(self, summary: str) -> None:
        pass


class _ToTerminal:
    """A stream whose text the parent shows on a terminal: unittest asks whether there may be colours in it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("the terminal is that of another process")


def _description(runner: Any, test: Any) -> tuple[str, str, str]:
    """Return how a test is shown in progress, its module and its class."""
    doc = test.shortDescription() if runner.descriptions and hasattr(test, "shortDescription") else None
    shown = f"{test}\n{doc}" if doc else str(test)
    return shown, type(test).__module__, strclass(type(test))


def work(worker: Worker, argv: list[str], limits: Limits) -> None:
    """Load the tests and run what is ordered; SystemExit or another exception says that they cannot be loaded."""
    worker.bind(limits)
    Runner.worker = Loader.worker = Result.worker = worker
    Runner.limits, Runner.reports = limits, worker  # type: ignore[assignment]
    loader = Loader(limits, worker)  # type: ignore[arg-type]
    try:
        with limits:
            unittest.main(None, argv=argv, testRunner=Runner, testLoader=loader, exit=False)
    except BaseException as error:
        if worker.suite is None:
            code = error.code if isinstance(error, SystemExit) else 1
            worker.channel.say("unloaded", code if isinstance(code, int) else int(code is not None), flush=True)
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(128 + signals.SIGINT) from None
        raise
    worker.channel.say("over", flush=True)
