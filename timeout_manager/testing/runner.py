"""The runner of a unittest run under limits."""

from __future__ import annotations

import unittest

from ..interpreter import watchdog
from . import loader  # its ImportTimeout would be taken for a test where its name is
from .between import Between
from .call import limited_tests
from .entry import names_of
from .limits import Limit, Limits, limit_from_environ
from .recorder import Named
from .result import LimitedResult
from .slow import Slow
from .suite import limited_fixtures
from .units import tests_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True


class TextTestRunner(unittest.TextTestRunner):
    """A runner that puts a limit on every test: ``unittest.main(testRunner=TextTestRunner)``.

    Set ``timeout``, seconds for each test, on a subclass; 0 = no limit, None = TIMEOUT_MANAGER_TIMEOUT. A ``timeout``
    on a test, its class or its module comes first. Runners that are built around a TextTestRunner take this one, too:
    ``test_runner = TextTestRunner`` in a subclass of Django's DiscoverRunner.
    """

    timeout: float | None = None
    limits: Limits | None = None
    limited: type[LimitedResult] = LimitedResult  # what is mixed into the class of the result

    def run(self, test: Any) -> Any:
        if self.limits is None:
            own = Limit(self.timeout, "timeout of the runner")
            self.limits = Limits(limit_from_environ() if self.timeout is None else own)
        limits = self.limits
        each_test = list(tests_of(test))
        tests = [names_of(each) for each in each_test if hasattr(each, "id")]
        kinds = {type(each) for each in each_test}
        del each_test  # unittest lets go of each test that has run

        def run_all(result: LimitedResult) -> None:
            limits.rest()
            if limits.slow_after:
                watchdog.add_job(result, Slow(result, limits.slow_after))
            if limits.kill_after and limits.wish:
                watchdog.add_job(run_all, Between(limits, limits.kill_after))
            try:
                if limits.spent():
                    for each in tests_of(test):
                        if isinstance(each, loader.ImportTimeout) and each.entry.late:  # it has spent it
                            each(result)
                    result.stop()
                test(result)
            except KeyboardInterrupt:
                result.interrupted = True
            finally:
                watchdog.remove_job(run_all)
                watchdog.remove_job(result)
            result.leave_out(tests)
            limits.listener.close(result.not_run)

        with limits, limited_fixtures(limits), limited_tests(limits, kinds):
            return self._run(run_all)

    def _run(self, run_all: Callable[[LimitedResult], None]) -> Any:
        """Run what runs the tests, and write the summary with our counts in it."""
        stream = self.stream
        summary = _Summary(stream.stream)
        self._hold = lambda: setattr(stream, "stream", summary)
        results: list[LimitedResult] = []

        def run(result: LimitedResult) -> None:
            results.append(result)
            run_all(result)

        try:
            return super().run(run)  # type: ignore[arg-type]
        finally:
            stream.stream = summary.stream
            for result in results:
                self._conclude(result, summary.text(result))

    def _conclude(self, result: LimitedResult, summary: str) -> None:
        """Write the summary; then count as errors what only we count, for whoever adds up errors and failures."""
        self.stream.write(summary)
        self.stream.flush()
        result.errors += result.timeouts + result.crashes + result.interruptions
        if result.interrupted and not result.interruptions:
            result.errors.append((Named("the run"), "It was interrupted by Ctrl-C.\n"))

    def _makeResult(self) -> Any:
        result: Any = super()._makeResult()
        kind = type(result)
        result.__class__ = type(kind.__name__, (self.limited, kind), {})
        result.adopt(self.limits, self._hold)
        return result


class _Summary:
    """Holds back the last lines that a runner writes, whose counts are those of unittest."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._held: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> None:
        self._held.append(text)

    def text(self, result: LimitedResult) -> str:
        """Return them with ours."""
        counts = [f"timeouts={len(result.timeouts)}"] * bool(result.timeouts)
        counts += [f"crashes={len(result.crashes)}"] * bool(result.crashes)
        counts += [f"not run={len(result.not_run)}"] * bool(result.not_run) + ["interrupted"] * result.interrupted
        held = "".join(self._held)
        if counts:
            head, newline, last = held.rstrip("\n").rpartition("\n")
            verdict, opening, rest = last.partition(" (")
            held = f"{head}{newline}{verdict} ({', '.join(counts)}{', ' + rest if opening else ')'}\n"
        return held
