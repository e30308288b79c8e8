"""The result of a worker: what it comes to know is told to the parent (`far`), and not printed in the end."""

from __future__ import annotations

from ..testing.result import LimitedResult
from .lost import LostImport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .channel import Channel
    from .worker import Worker

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

LISTS = (
    *("errors", "failures", "skipped", "expectedFailures", "unexpectedSuccesses", "timeouts", "crashes"),
    "interruptions",
)


class Result(LimitedResult):
    """Tells what is new in it before and after each test."""

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
