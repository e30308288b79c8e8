"""Hand a manager to a function or a test: what ``@with_timeout_management`` does. How it is made is handed in.

Under pytest the limit comes as the fixture ``timeout_from_marker``: the wrapper's signature asks for it. Under unittest
there is no fixture: the limit is the decorator's argument, or the attribute ``timeout`` of the test case.
"""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, Signature, isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from sys import modules

from .counting.functions import check_function

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]
    Add = Callable[[tuple[Any, ...], dict[str, Any]], Arguments]

MANAGER = "timeout_manager"
MARKER = "timeout_from_marker"


def limit_of(func: Any, limit: float | None, of_test_case: float | None) -> float | None:
    """Return the seconds for a call of the function; `pytest_plugin` knows better for a test that it runs."""
    return of_test_case if limit is None else limit


def inject(func: Any, timeout: float | None, make: Callable[[float | None], Any]) -> Any:
    """Return the function wrapped so that every call gets a manager, which is made of the seconds for it."""
    inner = _checked_signature(func)
    adds_marker = MARKER not in inner.parameters and timeout is None

    def add(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        marker = kwargs.pop(MARKER, None) if adds_marker else None
        bound = inner.bind_partial(*args, **kwargs)
        given = bound.arguments
        if given.get(MANAGER, kwargs.get(MANAGER)) is not None:
            return args, kwargs
        limit = next((choice for choice in (marker, given.get(MARKER), timeout) if choice is not None), None)
        manager = make(limit_of(func, limit, _of_test_case(args)))
        if MANAGER not in inner.parameters:
            return args, {**kwargs, MANAGER: manager}
        given[MANAGER] = manager  # in the place of a None, too
        return bound.args, bound.kwargs

    wrapper = _wrap_async_generator(func, add) if isasyncgenfunction(func) else _wrap(func, add)
    wrapper.__signature__ = _outer(inner, adds_marker)
    return wrapper


def _checked_signature(func: Any) -> Signature:
    """Return the signature of a function; TypeError if it cannot be given a manager."""
    if isinstance(func, (int, float)):
        raise TypeError(f"with_timeout_management needs a function, not {func!r}; write timeout={func!r}")
    check_function(func, "with_timeout_management")
    try:
        inner = signature(func)
    except ValueError:
        raise TypeError(f"with_timeout_management cannot tell which arguments {func!r} takes") from None
    kinds = {parameter.kind for parameter in inner.parameters.values()}
    if MANAGER not in inner.parameters and Parameter.VAR_KEYWORD not in kinds:
        name = getattr(func, "__qualname__", func)
        raise TypeError(f"with_timeout_management has nothing to hand over: {name} takes no argument {MANAGER!r}")
    return inner


def _wrap(func: Any, add: Add) -> Any:
    """Return the function with these arguments added to a call; what it returns is of the same kind."""
    wrapper: Any
    if iscoroutinefunction(func):

        @wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = add(args, kwargs)
            return await func(*args, **kwargs)

    elif isgeneratorfunction(func):

        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            args, kwargs = add(args, kwargs)
            return (yield from func(*args, **kwargs))

    else:

        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = add(args, kwargs)
            return func(*args, **kwargs)

    return wrapper


def _wrap_async_generator(func: Any, add: Add) -> Any:
    """Do the same, and what `yield from` does, which is a syntax error here."""

    @wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        args, kwargs = add(args, kwargs)
        generator = func(*args, **kwargs)
        step = generator.__anext__()
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                return
            finally:
                del step  # it would be a cycle with an error that was thrown
            try:
                step = generator.asend((yield item))
            except GeneratorExit:
                await generator.aclose()
                raise
            except BaseException as error:
                step = generator.athrow(error)

    return wrapper


def _outer(inner: Signature, adds_marker: bool) -> Signature:
    """Return the signature that the wrapper shows: no manager, and the marker where the function lacks it."""
    parameters = [parameter for name, parameter in inner.parameters.items() if name != MANAGER]
    if adds_marker:
        last = bool(parameters) and parameters[-1].kind is Parameter.VAR_KEYWORD
        parameters.insert(len(parameters) - last, Parameter(MARKER, Parameter.KEYWORD_ONLY))
    return inner.replace(parameters=parameters)


def _of_test_case(args: tuple[Any, ...]) -> Any:
    test_case = getattr(modules.get("unittest"), "TestCase", ())
    return getattr(args[0], "timeout", None) if args and isinstance(args[0], test_case) else None
