"""How the call of a test comes to have limits: whoever calls it, for whichever result, in whichever thread or child.

While a runner of ours is at work, the methods by which tests are called (``run``, ``__call__``) are wrapped in the
classes that define them: `TestCase` and those that have their own way. So also suites that run tests themselves, in
threads or in forked processes, run them within the limits.
"""

from __future__ import annotations

import unittest
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from types import FunctionType

from ..errors import PhaseTimeout
from ..interpreter import fork
from ..originals import python, thread
from .case import LimitedTest, as_made
from .limits import Limits
from .part import at_work
from .recorder import own_method
from .replacing import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True

_called: list[LimitedTest] = []  # the tests that are being called, in all threads


@contextmanager
def limited_tests(limits: Limits, kinds: Iterable[type]) -> Iterator[None]:
    """Have tests of these classes, and all plain ones, called within the limits."""
    with ExitStack() as stack:
        for owner in dict.fromkeys(base for kind in [unittest.TestCase, *kinds] for base in kind.__mro__):
            for name in "run", "__call__":
                original = vars(owner).get(name)
                if isinstance(original, FunctionType) and original is not unittest.TestCase.__call__:
                    stack.enter_context(replaced(owner, name, _wrap(original, limits)))
        yield


def _wrap(original: Callable[..., Any], limits: Limits) -> Callable[..., Any]:
    @wraps(original)
    def call(test: Any, *args: Any, **kwargs: Any) -> Any:
        entry = _entry_of(test)
        if entry is not None and entry.thread != thread.get_ident():
            args = tuple(_relayed(entry, value) for value in args)
            kwargs = {name: _relayed(entry, value) for name, value in kwargs.items()}
        if entry is not None:
            return original(test, *args, **kwargs)
        if at_work(limits):
            as_made(test)
            return original(test, *args, **kwargs)
        return call_limited(limits, test, original, test, *args, **kwargs)

    return call


def is_called(test: object = None) -> bool:
    """Tell whether this is a test that is being called within limits."""
    return _entry_of(test) is not None


def _entry_of(test: object) -> LimitedTest | None:
    """Return the call of a test; it may have come from another thread, in which its class runs it."""
    return next((each for each in _called[:] if each.test is test), None)


class _Relay:
    """The result of a test that its class runs in another thread. Once the call is over, it hears nothing of that."""

    def __init__(self, entry: LimitedTest, result: Any) -> None:
        self._entry, self._result = entry, result

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._result, name)
        return (lambda *args, **kwargs: None) if self._entry.is_over and callable(value) else value


def _relayed(entry: LimitedTest, value: Any) -> Any:
    return _Relay(entry, value) if hasattr(value, "addError") else value


def call_limited(limits: Limits, test: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what runs a test within the limits; tell its result of it if that is ours."""
    as_made(test)
    entry = LimitedTest(test, limits)
    told: list[BaseException] = []
    given = (each for each in (*args, *kwargs.values()) if each is not test)  # which may answer to any name
    result: Any = next((each for each in given if hasattr(each, "addError")), None)
    around = next((each.whole for each in _called[::-1] if each.thread == entry.thread), None)
    with nullcontext() if around is None else around.aside():  # a test with its own way calls this one
        _called.append(entry)
        try:
            call_test = own_method(result, "call_test")
            if call_test is not None:
                return call_test(entry, function, *args, **kwargs)
            with limits.listener.called(entry), _listening(result, told):
                return entry.call(function, *args, **kwargs)
        except PhaseTimeout as error:  # of the whole call, or of closing an event loop
            if result is None or not entry.owns(error):
                raise
            if error not in told:  # by the class itself
                result.addError(test, python.exc_info())
            return result
        finally:
            if entry in _called:  # not in a child that the test has forked
                _called.remove(entry)


def _listening(result: Any, told: list[BaseException]) -> AbstractContextManager[None]:
    """Note which errors a result, if there is one, is told of."""
    if result is None:
        return nullcontext()
    add = result.addError

    def note(test: Any, err: Any, *args: Any, **kwargs: Any) -> Any:
        told.append(err and err[1])
        return add(test, err, *args, **kwargs)

    return replaced(result, "addError", note)


fork.in_child("call", _called.clear)
