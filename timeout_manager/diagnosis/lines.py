"""Threads, event loops and tasks: what they are called, at which lines they stand, and how that is shown."""

from __future__ import annotations

from os.path import abspath, dirname, join

from ..interpreter.frames import awaiting, module_of, own, shown, stack, text
from ..interpreter.threads import thread_of
from ..originals import loaded
from ..seconds import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any

    from ..interpreter.frames import Line

GROUPS = 20  # of threads or tasks with different stacks that are shown
NAMES = 3  # of a group
FOLDER = join(dirname(dirname(abspath(__file__))), "")  #: of this package


def lines_at(frames: Iterable[FrameType]) -> list[Line]:
    """Return where a thread stands; where it waits in an event loop, where the first of its tasks awaits."""
    frames = list(frames)
    lines = stack(frames)
    loops = () if own(lines) else [loop_of(frame) for frame in frames if runs_a_loop(frame)]
    try:
        found = [awaiting(task.get_coro()) for loop in loops for task in in_order(tasks_of(loop))]
    except Exception:  # they come and go while another thread looks
        found = []
    return next((each for each in found if own(each)), lines)


def line_of(frames: Iterable[FrameType]) -> str:
    """Return the innermost line of the user's own code in a thread, with its place."""
    lines = stack(frames)
    line = own(lines) or next(iter(lines), None)
    return "" if line is None else text(line)


def titled(who: str, lines: Iterable[Line]) -> str:
    return "\n".join([f"Stack of {who} (most recent call last):", *shown(list(lines))])


def of_others(stacks: str) -> list[str]:
    """Return those of the stacks that C code of the interpreter has printed which are not of threads of ours."""
    return [each for each in stacks.strip().split("\n\n") if f'File "{FOLDER}' not in each.rpartition("\n")[2]]


def grouped(kind: str, groups: list[tuple[tuple[Line, ...], list[str]]]) -> list[str]:
    """Return a stack for all threads or tasks that stand at the same lines."""
    parts = []
    for lines, names in groups[:GROUPS]:
        some = ", ".join(names[:NAMES]) + (", ..." if names[NAMES:] else "")
        parts.append(titled(f"{kind} {some}" if len(names) == 1 else f"{len(names)} {kind}s ({some})", lines))
    rest = sum(len(names) for _, names in groups[GROUPS:])
    return parts + ([f"and {rest} more {kind}s"] if rest else [])


def runs_a_loop(frame: FrameType) -> bool:
    return frame.f_code.co_name == "run_forever" and module_of(frame) == "asyncio.base_events"


def loop_of(frame: FrameType) -> Any:
    return frame.f_locals.get("self")


def name_of_task(task: Any) -> str:
    return plain(task.get_name())


def tasks_of(loop: Any) -> Iterable[Any]:
    return [task for task in loaded("asyncio").all_tasks(loop) if not task.done()]


def in_order(tasks: Iterable[Any]) -> dict[Any, str]:
    """Return the tasks with their labels, Task-2 before Task-10."""
    labels = {task: label_of(task) for task in tasks}
    return dict(sorted(labels.items(), key=lambda item: (len(item[1]), item[1])))


def label_of(task: Any) -> str:
    """Return its name, and which tasks await it, where asyncio knows (from 3.14)."""
    awaited_by = getattr(task, "_asyncio_awaited_by", None) or ()
    found = [name_of_task(each) for each in awaited_by if hasattr(each, "get_name")]
    return name_of_task(task) + (f", awaited by {', '.join(sorted(found)[:NAMES])}" if found else "")


def name_of_thread(ident: int) -> str:
    known = thread_of(ident)
    if known is None:
        return str(ident) if loaded("threading") else "MainThread"
    return plain(known.name)
