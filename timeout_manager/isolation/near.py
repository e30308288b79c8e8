"""The result of a worker: what it comes to know is told to the parent (`far`), and not printed in the end."""

from __future__ import annotations

from ..testing.entry import described
from ..testing.result import LimitedResult
from .worker import LostImport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .channel import Channel
    from .worker import Worker

__unittest = True  # unittest leaves our frames out of its tracebacks

LISTS = (
    *("errors", "failures", "skipped", "expectedFailures", "unexpectedSuccesses", "timeouts", "crashes"),
    *("interruptions", "not_set_up", "collectedDurations"),
)
NUMBERS = "testsRun", "hinted"


class Result(LimitedResult):
    """Tells what is new in it before and after each test."""

    worker: Worker
    getDescription: Callable[[Any], str]
    _previousTestClass: Any

    def adopt(self, *args: Any) -> None:
        super().adopt(*args)
        self._counts = [0] * len(LISTS)
        self._numbers = dict.fromkeys(NUMBERS, 0)

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.worker.channel.say("started")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.worker.tell_so_far()
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

    def is_well(self) -> bool:
        """Tell what the class says that is not ours: it may be one of the suite's own."""
        return bool(super(LimitedResult, self).wasSuccessful())

    def news(self) -> tuple[list[int], list[tuple[Any, ...]]]:
        """Return how long the lists are, and what is new in them."""
        counts = [len(getattr(self, name, ())) for name in LISTS]
        grown = zip(LISTS, self._counts, counts) if counts != self._counts else ()
        return counts, [
            self._event(name, each)
            for name, known, count in grown
            for each in list(getattr(self, name, ()))[known:count]
        ]

    def tell_news(self, channel: Channel) -> None:
        """Tell what is new here."""
        self._counts, events = self.news()
        for event in events:
            channel.say("add", *event)
        for name, known in self._numbers.items():
            number = getattr(self, name)
            if number > known:
                channel.say("counted", name, number - known)
                self._numbers[name] = number

    def _event(self, name: str, told: Any) -> tuple[Any, ...]:
        if name == "not_set_up":
            return "fail", told, self.not_set_up[told]
        if name == "collectedDurations":
            return "took", *told
        test, text, *_ = told if isinstance(told, tuple) else (told, "")
        return "tell", name, described(test, self.getDescription), text


def _guarded(name: str) -> Callable[..., None]:
    def told(self: Any, *args: Any) -> None:
        self.worker.end_if_back(self.worker.is_at(self.current))
        getattr(super(Result, self), name)(*args)

    return told


for _name in "addSuccess", "addError", "addFailure", "addSkip", "addExpectedFailure", "addUnexpectedSuccess":
    setattr(Result, _name, _guarded(_name))
