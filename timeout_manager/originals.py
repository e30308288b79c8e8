"""What is out of reach of the code under test: originals of the interpreter, and functions that no interrupt enters.

Here are the originals of what the interpreter offers, as it was when the package was loaded. Tests replace
``os.write``, ``time.monotonic``, ``sys._current_frames`` or ``open`` for all threads, at any moment, and libraries that
freeze time or fake files look for the functions to replace among the globals of all modules. So what can run beside
code under test takes functions from here: ``clock.monotonic()``, ``system.write()``, never from a module that others
know, and never by a name of its own. Here are copies of the modules that stand behind ``time``, ``os``, ``_thread``,
``signal``, ``io`` and ``sys``: these are written in C, and there from the start. The copies are in no list of modules.

What changes with time (``sys.stderr``, ``os.environ``) is not here: it is to be looked up where it is. Of the modules
of others, those are remembered that were met.

And here is what marks functions of ours in which no exception may be raised from outside: `uninterrupted`. It is needed
wherever phases begin and end, as the originals are, and by the first modules that are loaded.
"""

from __future__ import annotations

import sys

__all__ = ["clock", "files", "loaded", "made_anew", "python", "signals", "system", "thread", "uninterrupted"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _io as files
    import _thread as thread
    import posix as system
    import signal as signals  # _signal has no stubs: there are numbers and plain functions, and no classes
    import sys as python
    import time as clock
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])


def _is_function(value: object) -> bool:
    return type(value) is type(len)


def _copy(name: str, functions_only: bool = False) -> Any:
    """Return a module with what is in this one now."""
    copy: Any = type(sys)(f"copy of {name}")
    there = vars(__import__(name))
    if functions_only:
        there = {name: value for name, value in there.items() if _is_function(value)}
    vars(copy).update(there)
    return copy


def made_anew(name: str, function: str) -> Any:
    """Return a copy, too; if this function has been replaced already, then of the same module made once more."""
    copy = _copy(name)
    if not _is_function(getattr(copy, function, len)):
        try:
            module = copy.__spec__.loader.create_module(copy.__spec__)
            copy.__spec__.loader.exec_module(module)
        except (AttributeError, ImportError):  # PyPy cannot
            return copy
        vars(copy).update(vars(module))
    return copy


def loaded(name: str) -> Any:
    """Return a module of others, None if nobody has loaded it; also where a test has taken all or this one away."""
    module = sys.modules.get(name)
    if module is not None:
        _seen[name] = module
    elif name in sys.modules or "sys" not in sys.modules:
        return _seen.get(name)
    else:  # somebody has unloaded it
        _seen.pop(name, None)
    return module


_seen: dict[str, Any] = {}

if not TYPE_CHECKING:
    clock = made_anew("time", "monotonic")
    thread = made_anew("_thread", "get_ident")  # which gevent replaces
    system = _copy("posix" if "posix" in sys.builtin_module_names else "nt")
    signals = _copy("_signal")
    files = _copy("_io")
    python = _copy("sys", functions_only=True)


def uninterrupted(function: F) -> F:
    """Keep interrupts out of a function, and of what it calls: they come when it has returned.

    It is known by its name, in ``_no_interrupt`` of its module: copies of other versions look for it there.
    """
    code: Any = function.__code__
    function.__globals__.setdefault("_no_interrupt", set()).add(code.co_name)
    return function
