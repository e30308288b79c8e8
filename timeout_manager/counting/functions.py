"""Run a function as a phase: `timed_operation` as a decorator, and ``call_with_timeout``."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial, wraps
from inspect import isasyncgen, isasyncgenfunction, isawaitable, iscoroutinefunction, isgenerator, isgeneratorfunction
from types import FunctionType

from ..errors import PhaseTimeout
from .ledger import caller

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from .ledger import F, Phase

_AWAITED = 0x100  # flag of the code of a generator that is a coroutine by ``types.coroutine``


def decorate(phase: Phase, func: F) -> F:
    """Return the function wrapped so that every call runs in a fresh phase like this one."""
    check_function(func, "timed_operation")
    if is_generator_function(func):
        _refuse(phase, f"timed_operation cannot decorate the generator function {_name(func)}")
    kind, ledger, name, limit = type(phase), phase.ledger, phase.name, phase.limit

    @wraps(func)
    def plain(*args: Any, **kwargs: Any) -> Any:
        return _call(kind(ledger, name, limit), func, args, kwargs)

    @wraps(func)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        async with kind(ledger, name, limit):
            return await func(*args, **kwargs)

    return asynchronous if is_coroutine_function(func) else plain  # type: ignore[return-value]


def call(phase: Phase, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call the function in this phase; of what is to be awaited, return a coroutine that awaits it there."""
    check_function(func, "a call in a phase")
    if is_coroutine_function(func):
        return _await(phase, func, args, kwargs)
    if is_generator_function(func):
        _refuse(phase, f"call_with_timeout cannot time the generator function {_name(func)}")
    return _call(phase, func, args, kwargs)


def _call(phase: Phase, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Do that with a function which does not say by its kind what it returns."""
    awaited = None
    try:
        with phase:
            result = func(*args, **kwargs)
            if _is_to_be_awaited(result):
                awaited = result
            elif isgenerator(result) or isasyncgen(result):
                _refuse(phase, f"a phase cannot time the generator that {_name(func)} returns")
    except PhaseTimeout as error:
        if awaited is None or error.interrupted:
            raise
    if awaited is None:
        return result
    phase.ledger.phases.remove(phase)  # there was nothing to time yet
    return _await_made(type(phase)(phase.ledger, phase.name, phase.limit), awaited)


async def _await(phase: Phase, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    async with phase:  # which may let nothing begin, and a coroutine that nobody awaits is a warning
        return await func(*args, **kwargs)


async def _await_made(phase: Phase, awaited: Any) -> Any:
    try:
        async with phase:
            return await awaited
    finally:
        if isinstance(awaited, Coroutine):
            awaited.close()  # it may not have begun


def _is_to_be_awaited(result: Any) -> bool:
    """Tell whether the work is still to come: a coroutine or future, or what a task has got that can be awaited."""
    if isinstance(result, Coroutine) or hasattr(type(result), "_asyncio_future_blocking"):
        return True
    return isawaitable(result) and (isgenerator(result) or not isinstance(caller(), int))


def _refuse(phase: Phase, why: str) -> NoReturn:
    write = f"write `with manager.timed_operation({phase.name!r}):` inside it"
    raise TypeError(f"{why}, whose body runs after the call; {write}")


def _name(func: Any) -> str:
    return str(getattr(func, "__qualname__", func))


def check_function(func: Any, what: str) -> None:
    """Raise TypeError if it is no function, but what a class makes a method of one with, or nothing to call at all."""
    if isinstance(func, (classmethod, staticmethod)):
        raise TypeError(f"{what} goes below @{type(func).__name__}, next to the function; it was given {func!r}")
    if not callable(func):
        raise TypeError(f"{what} needs a function, not {func!r}")


def is_coroutine_function(func: Any) -> bool:
    """Tell whether calling it makes a coroutine; also of a partial, a method, an object with an async ``__call__``."""
    return any(map(iscoroutinefunction, _called(func)))


def is_generator_function(func: Any) -> bool:
    """Tell the same of generators of both kinds; what ``types.coroutine`` has made of one is none."""
    return any(
        isasyncgenfunction(each) or isgeneratorfunction(each) and not _flags(each) & _AWAITED
        for each in _called(func)
    )


def _called(func: Any) -> list[Any]:
    while isinstance(func, partial):
        func = func.func
    return [func] if isinstance(func, (type, FunctionType)) else [func, getattr(func, "__call__", None)]


def _flags(func: Any) -> int:
    return getattr(getattr(getattr(func, "__func__", func), "__code__", None), "co_flags", 0)
