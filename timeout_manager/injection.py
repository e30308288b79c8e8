"""Hand a manager to a function or a test: ``@with_timeout_management``.

Under pytest the limit comes as the fixture ``timeout_from_marker``: the wrapper's signature asks for it. Under unittest
there is no fixture: the limit is the decorator's argument, or the attribute ``timeout`` of the test case.
"""

from __future__ import annotations

from functools import partial, wraps
from inspect import Parameter, Signature, isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from sys import modules

from .accounting import TimeoutManager
from .counting.calls import check_function

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, TypeVar, overload

    T = TypeVar("T")
else:

    def overload(func):
        return func


MANAGER = "timeout_manager"
MARKER = "timeout_from_marker"


def make_manager(
    func: Any, limit: float | None, of_test_case: float | None, options: dict[str, Any]
) -> TimeoutManager:
    """Make the manager for a call of the function; `pytest_plugin` has its own for a test."""
    return TimeoutManager(of_test_case if limit is None else limit, **options)


def create_timeout_manager(timeout_from_marker: float | None = None, **options: Any) -> TimeoutManager:
    """Return ``TimeoutManager(timeout_from_marker, **options)``."""
    return TimeoutManager(timeout_from_marker, **options)


@overload
def with_timeout_management(func: Callable[..., T]) -> Callable[..., T]: ...
@overload
def with_timeout_management(
    *, timeout: float | None = None, **options: Any
) -> Callable[[Callable[..., T]], Callable[..., T]]: ...
def with_timeout_management(func: Any = None, *, timeout: float | None = None, **options: Any) -> Any:
    """Call the function with a fresh TimeoutManager as its argument ``timeout_manager``.

    Its budget is, in this order: that of a ``timeout_manager`` which the caller passes (it is used as it is);
    ``timeout_from_marker``, if not None; ``timeout``; the attribute ``timeout`` of a ``unittest.TestCase`` whose method
    it is; no limit. Seconds, as for TimeoutManager, which gets the other options too. Works on functions and methods,
    ``async def`` and generators; what it returns is of the same kind. TypeError if the function takes no
    ``timeout_manager``.
    """
    if func is None:
        return partial(with_timeout_management, timeout=timeout, **options)
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
    adds_marker = MARKER not in inner.parameters and timeout is None

    def inject(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        marker = kwargs.pop(MARKER, None) if adds_marker else None
        given = inner.bind_partial(*args, **kwargs).arguments
        if given.get(MANAGER, kwargs.get(MANAGER)) is None:
            limit = next((choice for choice in (marker, given.get(MARKER), timeout) if choice is not None), None)
            kwargs[MANAGER] = make_manager(func, limit, _of_test_case(args), options)
        return kwargs

    wrapper: Any
    if iscoroutinefunction(func):

        @wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await func(*args, **inject(args, kwargs))

    elif isgeneratorfunction(func):

        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from func(*args, **inject(args, kwargs)))

    elif isasyncgenfunction(func):

        @wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            generator = func(*args, **inject(args, kwargs))
            step = generator.__anext__()
            while True:  # what `yield from` does, which is a syntax error here
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

    else:

        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return func(*args, **inject(args, kwargs))

    wrapper.__signature__ = _outer(inner, adds_marker)
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
