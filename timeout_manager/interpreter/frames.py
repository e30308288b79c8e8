"""Stacks of threads, tasks and greenlets: the lines where they stand, and how these are shown.

Taking one has to be quick: code objects and line numbers. The text is made when somebody reads it.

A frame of a greenlet that waits is on no stack that the interpreter shows, and comes back later. A task can be run in
parts by greenlets, too (SQLAlchemy, greenback): each is then held by a local variable of what awaits it in the task.
"""

from __future__ import annotations

import gc
import sys
from functools import __file__ as library, lru_cache  # a file: that of a frozen module may be a guess
from itertools import islice
from os import sep
from os.path import dirname
from types import FunctionType

from ..originals import files, loaded, python, system
from .turns import current_greenlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType, FrameType
    from typing import Any

    Line = tuple[CodeType, int]

DEPTH = 200  # frames of a stack that are looked at
SHOWN = 40  # of them that are shown
WALKABLE = None if getattr(sys, "_is_gil_enabled", lambda: True)() else 1  # frames of a thread that may run on
_RUNNING = "cr_running", "gi_running"  # attributes of coroutines
# what a coroutine awaits: later CPythons know none while it runs, or (3.11, 3.12) read where nothing is, and crash
_TELLS_WHILE_IT_RUNS = sys.version_info < (3, 11) or sys.implementation.name != "cpython"

_LIBRARY = dirname(library)
_TESTS = f"{_LIBRARY}{sep}test"  # its own
_INSTALLED = f"-packages{sep}"
_LOOP = f"asyncio{sep}events.py"
_PACKAGE = __name__.rsplit(".", 2)[0]  # __package__ is not set while 3.9 loads a module from a zip
_HIDDEN = f"{_PACKAGE}.", "unittest."
_IMPORTS = "importlib._bootstrap", "_frozen_importlib"
_RUNNER = f"{_PACKAGE}.testing.part"  # what calls the code under test; what has called that is not of interest


def module_of(frame: FrameType) -> str:
    """Return the name of the module whose code a frame runs; "" if it is no text, but what others have made."""
    name = frame.f_globals.get("__name__")
    return name if name.__class__ is str else ""


def is_of_package(frame: FrameType) -> bool:
    """Tell whether a frame is ours; a thread whose outermost one is was started here."""
    return f"{module_of(frame)}.".startswith(_HIDDEN[0])


def up(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def frames_of(ident: Any) -> Iterator[FrameType]:
    """Yield the frames of a thread, the innermost first; none if there is no such thread, or no Python code in it."""
    return up(python._current_frames().get(ident))


def waits(greenlet: Any) -> Iterator[FrameType]:
    """Yield the frames in which a greenlet waits, the innermost first; none while it runs, and of None."""
    seen = set()
    for frame in up(None if greenlet is None else greenlet.gr_frame):
        if frame in seen:  # on PyPy they are in a ring, if another one was started there
            break
        seen.add(frame)
        yield frame


def callers() -> Iterator[FrameType]:
    """Yield the frames in which the parents of the running greenlet wait for it, the innermost first."""
    greenlet = current_greenlet()
    while greenlet is not None:
        greenlet = greenlet.parent
        yield from waits(greenlet)


def _held(frame: FrameType) -> Iterator[FrameType]:
    """Yield where the greenlets wait that a frame holds in its local variables, the innermost first."""
    kind = getattr(loaded("greenlet"), "greenlet", None)
    if isinstance(kind, type):
        for each in list(frame.f_locals.values()):
            if isinstance(each, kind):
                yield from waits(each)


def runs(frame: FrameType, names: tuple[str, ...]) -> bool:
    """Tell whether a frame runs one of these methods; it may have been defined by another name, or be wrapped."""
    return frame.f_code.co_name in names or frame.f_code in codes(first_argument(frame), names)


def codes(owner: object, names: tuple[str, ...]) -> list[CodeType]:
    """Return the code of these methods of an object; where one is not a function, none of its own runs."""
    found = (vars(kind).get(name) for kind in type(owner).__mro__ for name in names)
    return [method.__code__ for method in found if type(method) is FunctionType]


def first_argument(frame: FrameType) -> object:
    """Return the first argument that a frame was called with, None if there is none."""
    code = frame.f_code
    if code.co_argcount:
        return frame.f_locals.get(code.co_varnames[0])
    if not code.co_flags & 0x04:  # it takes any number of them
        return None
    given = frame.f_locals.get(code.co_varnames[code.co_kwonlyargcount])
    return given[0] if type(given) is tuple and given else None  # it may be something else by now


def stack(frames: Iterable[FrameType]) -> list[Line]:
    """Return the lines of these frames, the innermost first, without those of this package, unittest and imports."""
    found: list[Line] = []
    for frame in islice(frames, DEPTH):
        name = module_of(frame)
        if found and name.startswith(_IMPORTS):
            continue  # Python leaves out what is between an import and the module, too
        if not f"{name}.".startswith(_HIDDEN):
            found.append((frame.f_code, frame.f_lineno))
        elif name == _RUNNER:
            break
    return found


def awaiting(coroutine: Any) -> list[Line]:
    """Return the lines where a suspended coroutine awaits, the innermost first."""
    return [(frame.f_code, frame.f_lineno) for frame in suspended_in(coroutine)]


def suspended_in(coroutine: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine and what it awaits, the innermost first; greenlets run parts of it."""
    frames: list[FrameType] = []
    while coroutine is not None and len(frames) < DEPTH:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, kind + "_frame", None)
            if frame is not None:
                frames += [frame, *list(_held(frame))[::-1]]
                if frame.f_back is not None and not _TELLS_WHILE_IT_RUNS:
                    return frames[::-1]
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else kind + "_await", None)
                break
        else:  # what `async for` awaits does not tell of which generator it is
            coroutine = next((each for each in gc.get_referents(coroutine) if hasattr(each, "ag_frame")), None)
    return frames[::-1]


def is_suspended(coroutine: Any) -> bool:
    """Tell whether a coroutine does not run, as far as it says so."""
    return next((not getattr(coroutine, name) for name in _RUNNING if hasattr(coroutine, name)), False)


def in_task(lines: list[Line]) -> list[Line]:
    """Return those of the lines of a thread that are of the task which runs there, without the event loop."""
    ends = (at for at, (code, _) in enumerate(lines) if code.co_name == "_run" and code.co_filename.endswith(_LOOP))
    return lines[: next(ends, None)]


def own(lines: Iterable[Line]) -> Line | None:
    """Return the first line of the user's own code, not of the standard library nor installed."""
    return next((line for line in lines if _is_own(line[0])), None)


def _is_own(code: CodeType) -> bool:
    path = code.co_filename
    if path.startswith(_LIBRARY):
        return path.startswith(_TESTS)
    return not path.startswith("<frozen ") and _INSTALLED not in path and not _is_in_zip(path)


def _is_in_zip(path: str) -> bool:
    """Tell whether that is of a standard library in a zip, whose modules know their files by the names in it."""
    top = path.partition(sep)[0]
    module = sys.modules.get(top[:-3] if top.endswith(".py") else top)
    return top != "test" and str(getattr(module, "__file__", "")).startswith(_LIBRARY)


def shown(lines: list[Line]) -> list[str]:
    """Return a stack as text, the innermost line last, without what called the first line of the user's own."""
    if own(lines) is not None:
        while not _is_own(lines[-1][0]):
            lines = lines[:-1]
    left_out = [f"  ... {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return left_out + [f"  {text(line)}" for line in reversed(lines[:SHOWN])]


def text(line: Line) -> str:
    """Return the place and the source of a line."""
    return f"{place(line)}\n{_source(line)}".rstrip()


def place(line: Line) -> str:
    code, number = line
    path = code.co_filename
    try:
        here = system.getcwd() + sep
    except OSError:  # it is gone
        here = path
    return f'File "{path[len(here):] if path.startswith(here) else path}", line {number}, in {code.co_name}'


def _source(line: Line) -> str:
    code, number = line
    try:
        return f"    {_lines(code.co_filename)[number - 1].strip()}"
    except Exception:  # it is not there, or is not what it was
        return ""


@lru_cache(maxsize=32)
def _lines(path: str) -> list[str]:
    """Return the lines of a source; `linecache` opens it with what a test may have put in the place of ``open``."""
    known = getattr(sys.modules.get("linecache"), "cache", {}).get(path, ())
    if len(known) > 2:  # that of a prompt or a doctest is nowhere else
        return list(known[2])
    with files.open(path, encoding="utf-8", errors="replace") as file:
        return file.readlines()
