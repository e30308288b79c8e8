"""Limits for tests under any runner: a mixin for test cases, a decorator for one test."""

from __future__ import annotations

import unittest
from functools import partial, wraps
from inspect import iscoroutinefunction

from .. import TimeoutManager
from ..counting.functions import check_function
from .call import call_limited, is_called
from .case import ending
from .limits import ATTRIBUTE, Limit, Limits, limit_from_environ
from .part import Group, is_limited
from .suite import are_limited, call_fixture, has, limited_cleanups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True


def time_limit(seconds: float) -> Callable[[F], F]:
    """Give one test a limit of its own, in seconds, which holds under any runner; 0 = no limit.

    When its time is over, PhaseTimeout is raised inside the test. ValueError or TypeError if ``seconds`` is no amount
    of seconds. TypeError on a class: write ``timeout = 30`` in it instead, and use the mixin or the runner.
    """
    limit = Limit(seconds, "time_limit")

    def decorate(func: F) -> F:
        if isinstance(func, type):
            raise TypeError(f"time_limit is for one test; in the class {func.__name__}, write `timeout = ...`")
        check_function(func, "time_limit")

        @wraps(func)
        def test(*args: Any, **kwargs: Any) -> Any:
            if is_called(*args[:1]):
                return func(*args, **kwargs)
            with Limits() as limits:
                group = Group(limits, func.__qualname__, limit)
                with ending(next(iter(args), None), lambda: group.parts):
                    return group.call("test", func, *args, **kwargs)

        wrapper: Any = _limited_async(func, limit) if iscoroutinefunction(func) else test
        setattr(wrapper, ATTRIBUTE, seconds)
        return wrapper  # type: ignore[no-any-return]

    return decorate


def _limited_async(func: Any, limit: Limit) -> Any:
    @wraps(func)
    async def test(*args: Any, **kwargs: Any) -> Any:
        manager = TimeoutManager(None if is_called(*args[:1]) else limit.seconds, enforce=True)
        phase = manager.timed_operation(func.__qualname__)
        with ending(next(iter(args), None), lambda: [phase]):
            async with phase:
                return await func(*args, **kwargs)

    return test


class TimeLimitMixin(unittest.TestCase):
    """Give the tests and class fixtures of a TestCase limits under any runner. It stands before TestCase in the bases.

    ``class NetTest(TimeLimitMixin, unittest.TestCase): timeout = 30``. The nearest ``timeout`` counts: of the test, its
    class or its module, else TIMEOUT_MANAGER_TIMEOUT; seconds, 0 and None = no limit. A timeout is an error of the
    test, a PhaseTimeout. Under a runner of this package the mixin does nothing.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("setUpClass", "tearDownClass"):
            own = vars(cls).get(name)
            if isinstance(own, classmethod) or own is None and has(cls, name):
                setattr(cls, name, _limited_fixture(cls, name, own))

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        return _call(self, super().run, result)  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self, super().__call__, *args, **kwargs)

    def debug(self) -> None:
        _call(self, super().debug)

    @classmethod
    def doClassCleanups(cls) -> None:
        if are_limited(cls):
            return super().doClassCleanups()
        with limited_cleanups(cls, partial(_call_fixture, cls, "cleanup")):
            super().doClassCleanups()


def _call(test: TimeLimitMixin, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if is_called(test):
        return function(*args, **kwargs)
    with Limits(limit_from_environ()) as limits:
        return call_limited(limits, test, function, *args, **kwargs)


def _limited_fixture(owner: type, name: str, own: Any) -> Any:
    """Return a fixture that calls, within the limit, the class's own, or the one that it inherits."""

    def fixture(cls: type) -> Any:
        function = getattr(super(owner, cls), name) if own is None else own.__get__(None, cls)
        return function() if is_limited(cls) else _call_fixture(cls, name, function)

    return classmethod(fixture)


def _call_fixture(cls: type, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with Limits(limit_from_environ()) as limits:
        return call_fixture(limits, cls, name, function, *args, **kwargs)
