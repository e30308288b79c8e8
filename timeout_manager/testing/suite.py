"""Where unittest calls the fixtures and cleanups of classes and modules, and how their limits get there.

They are called by methods of `TestSuite`. While a runner of ours is at work these are wrapped, and put a fixture of our
own in the place of the user's until it is called.
"""

from __future__ import annotations

import sys
import unittest
import unittest.case
import unittest.suite
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps

from .limits import Limits
from .part import at_work, group_of
from .recorder import own_method
from .replacing import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True


@contextmanager
def limited_fixtures(limits: Limits) -> Iterator[None]:
    """Have the fixtures of classes and modules called within the limits, unless it is a test that runs such tests.

    The result does it if it is ours.
    """
    suite = unittest.suite.TestSuite
    with ExitStack() as stack:
        for method, (name, owner_of) in _FIXTURES.items():
            wrapped = _wrap(getattr(suite, method), name, owner_of, limits)
            stack.enter_context(replaced(suite, method, wrapped))
        yield


def call_fixture(
    limits: Limits, owner: Any, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Call a fixture or a cleanup within its limit."""
    return group_of(owner, limits).call(name, function, *args, **kwargs)


def _wrap(
    original: Callable[..., None], name: str, owner_of: Callable[..., Any], limits: Limits
) -> Callable[..., None]:
    @wraps(original)
    def call(self: object, *args: Any) -> None:
        result = args[-1]
        if len(args) == 2 and _previous_class(*args) is args[0].__class__:
            return original(self, *args)  # one test of a class after another: there is nothing to call
        owner = owner_of(*args)
        if owner is None or at_work(limits) or not has(owner, name) and not _cleanups(owner):
            return original(self, *args)
        call_it = own_method(result, "call_fixture") or partial(call_fixture, limits)
        with limited_cleanups(owner, partial(call_it, owner, "cleanup")):
            with _in_place(owner, name, partial(call_it, owner, name)):
                original(self, *args)

    return call


def _previous_class(test: object, result: Any) -> Any:
    return getattr(result, "_previousTestClass", None)


def _next_module(test: object, result: Any) -> object:
    name = test.__class__.__module__
    return None if name == getattr(_previous_class(test, result), "__module__", None) else sys.modules.get(name)


def _left_module(result: Any) -> object:
    return sys.modules.get(getattr(_previous_class(None, result), "__module__", ""))


_FIXTURES: dict[str, tuple[str, Callable[..., Any]]] = {  # methods of TestSuite: what each calls, and whose it is
    "_handleClassSetUp": ("setUpClass", lambda test, result: test.__class__),
    "_tearDownPreviousClass": ("tearDownClass", _previous_class),
    "_handleModuleFixture": ("setUpModule", _next_module),
    "_handleModuleTearDown": ("tearDownModule", _left_module),
}


def has(owner: Any, name: str) -> bool:
    """Tell whether a class or module has such a fixture of its own."""
    fixture, default = getattr(owner, name, None), getattr(unittest.TestCase, name, None)
    return fixture is not None and getattr(fixture, "__func__", fixture) is not getattr(default, "__func__", None)


@contextmanager
def _in_place(owner: Any, name: str, call: Callable[..., Any]) -> Iterator[None]:
    """Let the fixture be called by ``call`` once, and be back in its place when that happens."""
    if not has(owner, name):
        yield
        return
    fixture = getattr(owner, name)

    def once() -> Any:
        stack.close()
        return call(fixture)

    with ExitStack() as stack:
        stack.enter_context(replaced(owner, name, once))
        yield


def are_limited(owner: type) -> bool:
    """Tell whether the cleanups of a class are called within limits already."""
    return isinstance(_cleanups(owner), Cleanups)


class Cleanups(list):  # type: ignore[type-arg]
    """A list of cleanups, which unittest pops one by one and calls: each will be called by ``call``."""

    def __init__(self, cleanups: Iterable[Any], call: Callable[..., Any]) -> None:
        super().__init__(cleanups)
        self.call = call

    def pop(self, *args: Any) -> Any:
        function, positional, keyword = super().pop(*args)
        return self.call, (function, *positional), keyword


@contextmanager
def limited_cleanups(owner: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Have the cleanups of a class, or of modules, called by ``call``."""
    before = _cleanups(owner)
    _set_cleanups(owner, Cleanups(before, call))
    before.clear()  # in 3.9 classes share it
    try:
        yield
    finally:
        rest = _cleanups(owner)  # a module is torn down amid the setting up of the next
        _set_cleanups(owner, Cleanups(rest, before.call) if isinstance(before, Cleanups) else list(rest))


def _cleanups(owner: Any) -> list[Any]:
    return getattr(*_place_of_cleanups(owner), [])


def _set_cleanups(owner: Any, cleanups: list[Any]) -> None:
    with suppress(TypeError):  # the class of a test that is a function
        setattr(*_place_of_cleanups(owner), cleanups)


def _place_of_cleanups(owner: Any) -> tuple[Any, str]:
    return (owner, "_class_cleanups") if isinstance(owner, type) else (unittest.case, "_module_cleanups")
