"""Limits for plain unittest suites: a runner, a loader, a mixin for test cases, a decorator for one test.

The nearest limit counts: the attribute ``timeout`` of the test method, of its class, of its module, then that of the
run (of the runner; TIMEOUT_MANAGER_TIMEOUT where it has none). Seconds; None and 0 mean no limit. setUp and the test
have it together; tearDown and the cleanups have as much again; every fixture of a class or module has it for itself.
"""

from __future__ import annotations

import sys
import unittest
from functools import partial, wraps
from inspect import iscoroutinefunction

from . import loader  # its ImportTimeout would be taken for a test where its name is
from ..enforcing import by_thread
from ..accounting import TimeoutManager
from ..errors import PhaseTimeout
from .suite import has, limited_cleanups, limited_fixtures
from .limits import ATTRIBUTE, Group, Limit, Limits, group_of, limit_from_environ, running
from .case import LimitedTest, ending_sub_tests, not_as_expected
from .result import LimitedResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from ..counting.ledger import Phase
    from .reports import Reports

    F = TypeVar("F", bound=Callable[..., Any])

__unittest = True


def time_limit(seconds: float) -> Callable[[F], F]:
    """Give one test a limit of its own, which holds under any runner.

    ValueError or TypeError if that is no amount of seconds; 0 is no limit. TypeError for a class: write
    ``timeout = 30`` in it, and use the mixin or the runner.
    """
    limit = Limit(seconds, "time_limit")

    def decorate(func: F) -> F:
        if isinstance(func, type):
            raise TypeError(f"time_limit is for one test; in the class {func.__name__}, write `timeout = ...`")

        @wraps(func)
        def test(*args: Any, **kwargs: Any) -> Any:
            if running():
                return func(*args, **kwargs)
            with Limits() as limits:
                group = Group(limits, func.__qualname__, limit)
                try:
                    with ending_sub_tests(next(iter(args), None), lambda: group.parts):
                        return group.call("test", func, *args, **kwargs)
                finally:
                    _judge(group.parts, args)

        @wraps(func)
        async def test_async(*args: Any, **kwargs: Any) -> Any:
            manager = TimeoutManager(None if running() else limit.seconds, enforce=True)
            phase = manager.timed_operation(func.__qualname__)
            try:
                with ending_sub_tests(next(iter(args), None), lambda: [phase]):
                    async with phase:
                        return await func(*args, **kwargs)
            finally:
                _judge([phase], args)

        wrapper: Any = test_async if iscoroutinefunction(func) else test
        setattr(wrapper, ATTRIBUTE, seconds)
        return wrapper  # type: ignore[no-any-return]

    return decorate


def _judge(phases: Iterable[Phase], args: tuple[object, ...]) -> None:
    if any(phase.outcome == "timeout" for phase in phases):
        not_as_expected(*args[:1])


class TimeLimitMixin(unittest.TestCase):
    """To be put before TestCase among the bases: its tests and class fixtures have limits under any runner.

    ``class NetTest(TimeLimitMixin, unittest.TestCase): timeout = 30``. Under a runner of ours it does nothing.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("setUpClass", "tearDownClass"):
            own = vars(cls).get(name)
            if isinstance(own, classmethod) or own is None and has(cls, name):
                setattr(cls, name, _limited_fixture(cls, name, own))

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        if running():
            return super().run(result)
        with Limits(limit_from_environ()) as limits:
            entry = LimitedTest(self, limits)
            entry.attach()
            try:
                return super().run(result)
            except PhaseTimeout as error:  # of closing the event loop
                if result is None or not entry.owns(error):
                    raise
                result.addError(self, sys.exc_info())
                return result
            finally:
                entry.detach(close=False)

    @classmethod
    def doClassCleanups(cls) -> None:
        if running():
            return super().doClassCleanups()
        with limited_cleanups(cls, partial(_call_fixture, cls, "cleanup")):
            super().doClassCleanups()


def _limited_fixture(owner: type, name: str, own: Any) -> Any:
    """Return a fixture that calls, within the limit, the class's own, or the one that it inherits."""

    def fixture(cls: type) -> Any:
        function = getattr(super(owner, cls), name) if own is None else own.__get__(None, cls)
        return function() if running() else _call_fixture(cls, name, function)

    return classmethod(fixture)


def _call_fixture(cls: type, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with Limits(limit_from_environ()) as limits:
        return group_of(cls, limits).call(name, function, *args, **kwargs)


class TextTestRunner(unittest.TextTestRunner):
    """A runner that puts limits on every test: ``unittest.main(testRunner=TextTestRunner)``.

    ``timeout``, seconds for each test, can be set on a subclass. Runners that are built around a TextTestRunner take
    it in its place: ``test_runner = TextTestRunner`` for Django's DiscoverRunner.
    """

    timeout: float | None = None
    limits: Limits | None = None
    reports: Reports | None = None

    def run(self, test: Any) -> Any:
        if self.limits is None:
            own = Limit(self.timeout, "timeout of the runner")
            self.limits = Limits(limit_from_environ() if self.timeout is None else own)
        limits, stream = self.limits, self.stream
        summary = _Summary(stream.stream)
        self._hold = lambda: setattr(stream, "stream", summary)
        results: list[LimitedResult] = []
        tests = [_named(each) for each in tests_of(test) if hasattr(each, "id")]

        def run_all(result: LimitedResult) -> None:
            results.append(result)
            if limits.slow_after:
                by_thread.employ(result, lambda now: result.tell_slow(limits.slow_after or 0.0, now))
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
                if limits.slow_after:
                    by_thread.dismiss(result)
            result.leave_out(tests)
            if self.reports is not None:
                self.reports.close(result.not_run)

        with limits, limited_fixtures():
            try:
                return super().run(run_all)  # type: ignore[arg-type]
            finally:
                stream.stream = summary.stream
                for result in results:
                    stream.write(summary.text(result))
                    stream.flush()

    def _makeResult(self) -> Any:
        result: Any = super()._makeResult()
        kind = type(result)
        result.__class__ = type(kind.__name__, (LimitedResult, kind), {})
        result.adopt(self.limits, self.reports, self._hold)
        return result


def tests_of(suite: Any) -> Iterator[Any]:
    """Yield the tests of a suite, which are there until it runs."""
    try:
        inner = iter(suite)
    except TypeError:
        yield suite
    else:
        for each in inner:
            yield from tests_of(each)


def _named(test: Any) -> tuple[str, Any, Any]:
    """Return the name of a test, its class and its module, which are there after it, too."""
    return test.id(), test.__class__, sys.modules.get(test.__class__.__module__)


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
        counts += [f"not run={len(result.not_run)}"] * bool(result.not_run) + ["interrupted"] * result.interrupted
        held = "".join(self._held)
        if counts:
            head, newline, last = held.rstrip("\n").rpartition("\n")
            verdict, opening, rest = last.partition(" (")
            held = f"{head}{newline}{verdict} ({', '.join(counts)}{', ' + rest if opening else ')'}\n"
        return held
