"""What takes turns in a thread: the tasks of asyncio and trio, and greenlets, each with a stack of its own.

Nothing is imported to find that out: what was never loaded runs nothing.
"""

from __future__ import annotations

from sys import modules
from weakref import ref

from ..originals import loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def running_loop() -> Any:
    """Return the event loop of asyncio that runs in the calling thread, None if there is none."""
    get = getattr(loaded("asyncio"), "_get_running_loop", None)
    return get and get()


def asyncio_task() -> Any:
    """Return the running task of asyncio, None if there is none."""
    loop = running_loop()
    return None if loop is None else loaded("asyncio").current_task(loop)


def call_in_loop(loop: Any, function: Callable[..., None], *args: object) -> None:
    """Have a loop of asyncio call a function; called in any thread."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:  # it is closed
        pass


def trio_task() -> Any:
    """Return the running task of trio, None if there is none."""
    try:
        return loaded("trio").lowlevel.current_task()
    except (AttributeError, RuntimeError):  # not loaded, or not yet; no task runs here
        return None


def greenlet() -> ref[Any] | None:
    """Return the running greenlet, None for the one that every thread begins with; they are equal for the same one."""
    here = current_greenlet()
    return None if here is None or here.parent is None else ref(here)


def is_alive(which: ref[Any] | None) -> bool:
    """Tell whether a greenlet can run on."""
    here = None if which is None else which()
    return which is None or here is not None and not here.dead


def coroutine(task: Any) -> Any:
    """Return that of a task; None for what is no task."""
    return task.get_coro() if hasattr(task, "get_coro") else getattr(task, "coro", None)


def unreachable() -> str:
    """Say why the calling code cannot be interrupted while it waits; nothing if it can."""
    if "greenlet" not in modules and "trio" not in modules:  # this is asked for each phase
        return ""
    if trio_task() is not None:
        return "a task of trio cannot be interrupted while it awaits"
    if greenlet() is not None or _has_hub():
        return "a greenlet cannot be interrupted while it waits in its hub"
    return ""


def current_greenlet() -> Any:
    """Return the running greenlet itself, None where there are none."""
    return getattr(loaded("greenlet"), "getcurrent", lambda: None)()


def _has_hub() -> bool:
    """Tell whether gevent or eventlet makes the calling thread wait in a hub."""
    calls = (
        getattr(loaded("gevent.monkey"), "is_anything_patched", None),
        getattr(loaded("gevent._hub_local"), "get_hub_if_exists", None),
    )
    eventlet = getattr(loaded("eventlet.hubs"), "_threadlocal", None)
    return any(call is not None and call() for call in calls) or hasattr(eventlet, "hub")
