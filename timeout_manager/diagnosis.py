"""What was running when time ran out.

Looking has to be quick, for it comes between the limit and the interrupt: it takes the code objects and the line
numbers of the interrupted thread, and of the asyncio tasks of its loop. The text is made when somebody reads it.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any

    Line = tuple[CodeType, int]

DEPTH = 200  # frames of a stack that are looked at
TASKS = 20  # tasks that are shown

_LIBRARY = os.path.dirname(os.__file__)
_PACKAGE = f"{__package__}."
_RUNNER = f"{__package__}.limits"  # what calls the code under test; what has called that is not of interest


class Scene:
    """Where the calling thread stands, and the tasks of the event loop that runs in it; ``str`` makes the text."""

    __slots__ = ("stack", "tasks", "thread")

    def __init__(self, frame: FrameType | None) -> None:
        self.thread = get_ident()
        self.stack: list[Line] = []
        while frame is not None and len(self.stack) < DEPTH and frame.f_globals.get("__name__") != _RUNNER:
            if not _is_machinery(frame):
                self.stack.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        self.tasks = [(task.get_name(), _awaiting(task.get_coro())) for task in _tasks()]

    def line(self) -> str:
        """Return the innermost line of the user's own code, with its place."""
        stacks = [self.stack, *(stack for _, stack in self.tasks)]
        own = (line for stack in stacks for line in stack if _is_own(line[0]))
        line = next(own, None) or next((stack[0] for stack in stacks if stack), None)
        return "" if line is None else f"{_place(line)}\n{_source(line)}".rstrip()

    def __str__(self) -> str:
        lines = []
        stack = self.stack
        own = any(_is_own(code) for code, _ in stack)
        while own and not _is_own(stack[-1][0]):
            stack = stack[:-1]  # what called the first line of the user's: runpy, a test runner
        if stack and (own or not self.tasks):  # otherwise it is the event loop that waits for its tasks
            lines.append(f"Stack of thread {_name(self.thread)} (most recent call last):")
            lines += _text(stack)
        for name, awaiting in self.tasks[:TASKS]:
            lines.append(f"Stack of task {name} (most recent call last):")
            lines += _text(awaiting)
        if self.tasks[TASKS:]:
            lines.append(f"and {len(self.tasks) - TASKS} more tasks")
        return "\n".join(lines)


def _is_machinery(frame: FrameType) -> bool:
    """Tell whether a frame belongs to this package or to unittest."""
    return str(frame.f_globals.get("__name__")).startswith((_PACKAGE, "unittest."))


def _is_own(code: CodeType) -> bool:
    """Tell whether it is code of the user's: not of the standard library, nor installed."""
    path = code.co_filename
    if path.startswith(_LIBRARY):
        return path.startswith(os.path.join(_LIBRARY, "test"))  # the library's own tests
    return not path.startswith("<frozen ") and "-packages" + os.sep not in path


def _tasks() -> list[Any]:
    asyncio = sys.modules.get("asyncio")
    try:
        loop = asyncio and asyncio._get_running_loop()
        return [] if loop is None or asyncio is None else [task for task in asyncio.all_tasks(loop) if not task.done()]
    except (AttributeError, RuntimeError):  # it is being imported, or the set of tasks was about to change
        return []


def _awaiting(coroutine: Any) -> list[Line]:
    """Return the lines where a suspended coroutine awaits, the innermost first."""
    lines: list[Line] = []
    while coroutine is not None and len(lines) < DEPTH:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, kind + "_frame", None)
            if frame is not None:
                lines.append((frame.f_code, frame.f_lineno))
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else kind + "_await", None)
                break
        else:
            break
    return lines[::-1]


def _name(thread: int) -> str:
    threading = sys.modules.get("threading")
    if threading is None:
        return "MainThread"
    known = threading._active.get(thread)
    return str(thread) if known is None else str(known.name)


def _text(stack: list[Line]) -> list[str]:
    return [f"  {_place(line)}\n{_source(line)}".rstrip() for line in reversed(stack)]


def _place(line: Line) -> str:
    code, number = line
    path = code.co_filename
    try:
        near = os.path.relpath(path)
    except (OSError, ValueError):  # the current directory is gone; another drive
        near = os.pardir
    return f'File "{path if near.startswith(os.pardir) else near}", line {number}, in {code.co_name}'


def _source(line: Line) -> str:
    import linecache

    try:
        return "    " + linecache.getline(line[0].co_filename, line[1]).strip()
    except Exception:  # a test may have put something else in the place of what it needs
        return ""
