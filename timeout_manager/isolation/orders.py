"""What a worker runs: it loads the suite, and runs the parts of it that the parent asks for."""

from __future__ import annotations

import unittest

from ..originals import signals
from ..testing.entry import described, names_of
from ..testing.loader import TestLoader
from ..testing.runner import TextTestRunner
from ..testing.units import Suite
from .near import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..testing.limits import Limits
    from .worker import Worker

__unittest = True  # unittest leaves our frames out of its tracebacks


class Orders:
    """Stands in for the suite: runs what the parent asks for, part by part."""

    def __init__(self, worker: Worker, suite: Any) -> None:
        self.worker = worker
        self.suite = Suite(suite)

    def __iter__(self) -> Any:
        return iter(self.suite)

    def __call__(self, result: Result) -> None:
        worker = self.worker
        worker.result, worker.suite = result, self.suite
        order: Any = self
        while order:
            try:
                order = self._next(result)
                if order and not result.interrupted:
                    self._run(order, result)
            except KeyboardInterrupt:
                result.interrupted = True  # what comes now was sent before
                worker.channel.say("interrupted")

    def _next(self, result: Result) -> Any:
        """Tell that nothing is left, and wait for an order; there is none any more if it is empty."""
        worker = self.worker
        worker.end_if_back()
        worker.tell_news()
        worker.tell_written()
        worker.channel.say("next", result.shouldStop, flush=True)
        return worker.channel.read()

    def _run(self, order: Any, result: Result) -> None:
        suite, missing = self.suite.take(map(tuple, order))
        lost = self.suite.lost() if missing else {}  # modules that could not be loaded this time
        why = {name: next((lost[each] for each in lost if name.startswith(f"{each}.")), "") for name, _ in missing}
        self.worker.channel.say("missing", list(why.items()))
        result._previousTestClass = None  # fixtures run anew
        result._mirrorOutput = result.shouldStop = False  # of what ran before: it may come later in the suite
        try:
            suite(result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # ends the process; it is told why
            self.worker.end_if_back()
            result.buffer = False  # there is nothing to show beside it: unittest has put the streams back
            self.worker.channel.say("raised", result.text_of(error), flush=True)
            raise SystemExit(error.code if isinstance(error, SystemExit) else 1) from None


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
            listed = [
                (name, described(each, self._shown), *names_of(each)[1:], orders.suite.owner(type(each))[1])
                for name, each in orders.suite.named()
            ]
            self.worker.channel.say("tests", listed, any(map(limits.may_bind, orders)))
        return super().run(orders)

    def _shown(self, test: Any) -> str:
        """Return how a test is shown in progress."""
        doc = test.shortDescription() if self.descriptions and hasattr(test, "shortDescription") else None
        return f"{test}\n{doc}" if doc else str(test)

    def _conclude(self, result: Any, summary: str) -> None:
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


def work(worker: Worker, argv: list[str], limits: Limits) -> None:
    """Load the tests and run what is ordered; SystemExit or another exception says that they cannot be loaded."""
    worker.bind(limits)
    Runner.worker = Result.worker = worker
    Runner.limits = limits
    try:
        with limits:
            loader = TestLoader(limits)
            ran: Any = unittest.main(None, argv=argv, testRunner=Runner, testLoader=loader, exit=False).result
        worker.tell_news()  # of the end of a result
        worker.tell_written()
        worker.channel.say("over", ran.is_well(), flush=True)
    except BaseException as error:
        if worker.suite is None:
            code = error.code if isinstance(error, SystemExit) else 1
            worker.channel.say("unloaded", code if isinstance(code, int) else int(code is not None), flush=True)
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(128 + signals.SIGINT) from None
        raise
