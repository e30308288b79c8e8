"""Run a function as a phase: `timed_operation` as a decorator, and ``call_with_timeout``."""

from __future__ import annotations

from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from .ledger import Phase

    F = TypeVar("F", bound=Callable[..., Any])


def decorate(phase: Phase, func: F) -> F:
    """Return the function wrapped so that every call runs in a fresh phase like this one."""
    if isgeneratorfunction(func) or isasyncgenfunction(func):
        raise TypeError(
            f"timed_operation cannot decorate the generator function {getattr(func, '__qualname__', func)}, whose body"
            f" runs after the call; write `with manager.timed_operation({phase.name!r}):` inside it"
        )
    kind, manager, name, limit = type(phase), phase._manager, phase.name, phase.limit

    @wraps(func)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with kind(manager, name, limit):
            return func(*args, **kwargs)

    @wraps(func)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        async with kind(manager, name, limit):
            return await func(*args, **kwargs)

    return asynchronous if is_coroutine_function(func) else plain  # type: ignore[return-value]


def call(phase: Phase, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call the function in this phase; of a coroutine function, return a coroutine that awaits it there."""
    if is_coroutine_function(func):
        return _await(phase, func, args, kwargs)
    with phase:
        return func(*args, **kwargs)


async def _await(phase: Phase, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    async with phase:  # which may let nothing begin, and a coroutine that nobody awaits is a warning
        return await func(*args, **kwargs)


def is_coroutine_function(func: Any) -> bool:
    """Tell whether calling it makes a coroutine; also of a partial, a method, an object with an async ``__call__``."""
    while isinstance(func, partial):
        func = func.func
    called = None if isinstance(func, type) else getattr(func, "__call__", None)
    return iscoroutinefunction(func) or iscoroutinefunction(called)
