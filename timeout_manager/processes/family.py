"""The family of this process: the processes that have come of it, what each of them is, and what it does."""

from __future__ import annotations

from ..errors import listed
from ..originals import loaded, system
from .table import ENDED, Process, command_of, contents, has_proc, process_of, processes, uptime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATES = {"R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped", "Z": "ended, not waited for"}


def has_children() -> bool:
    """Tell whether this process has children, as far as it can be asked."""
    try:
        system.waitid(system.P_ALL, 0, system.WEXITED | system.WNOHANG | system.WNOWAIT)
    except ChildProcessError:
        return False
    except AttributeError:  # PyPy does not know the call
        tasks = "/proc/self/task"
        try:
            return any(contents(f"{tasks}/{thread}/children") for thread in system.listdir(tasks))
        except OSError:  # a thread has just ended; or there is no such file
            pass
    return True


def descendants() -> list[tuple[int, Process]]:
    """Return the children of this process, each followed by its own, and how deep each is; none without ``/proc``."""
    children: dict[int, list[Process]] = {}
    try:
        known = processes() if has_proc() else {}
    except OSError:  # too many open files
        known = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process)
    found: list[tuple[int, Process]] = []
    todo = [(0, process) for process in reversed(children.get(system.getpid(), []))]
    while todo:
        depth, process = todo.pop()
        found.append((depth, process))
        todo += [(depth + 1, child) for child in reversed(children.get(process.pid, []))]
    return found


def family(found: list[tuple[int, Process]]) -> str:
    """Return a line for each of these descendants of this process: what it is, what it does, and for how long."""
    if not has_proc():
        return "Child processes: not known on this system"
    lines = listed(found, lambda each: f"{'  ' * each[0]}{described(each[1])}")
    return "\n  ".join(["Child processes:", *lines]) if lines else ""


def described(process: Process) -> str:
    """Return in a line what a process is, what it does, and for how long."""
    name = _names().get(process.pid)
    state = STATES.get(process.state, process.state) + _waits_in(process.pid)
    age = max(uptime() - process.started, 0.0)
    return (
        f"{process.pid}{f' ({name})' if name else ''} {state}, {age:.1f} s old, {process.busy:.2f} s of processor time:"
        f" {command_of(process.pid)}"
    )


def _names() -> dict[int, str]:
    """Return what `multiprocessing` calls its children, whose commands are all alike."""
    known: Any = getattr(loaded("multiprocessing.process"), "_children", frozenset()).copy()
    started = [(getattr(each, "_popen", None), each) for each in known]
    return {popen.pid: str(each.name) for popen, each in started if popen is not None}


def _waits_in(pid: int) -> str:
    """Return in what function of the kernel it waits, where the system tells."""
    try:
        name = contents(f"/proc/{pid}/wchan").decode(errors="replace")
    except OSError:
        name = "0"
    return "" if name in ("", "0") else f" in {name}"


def alive(process: Process) -> Process | None:
    """Return a process as it is now; None if it has ended."""
    try:
        again = process_of(process.pid)
    except OSError:  # that cannot be looked up
        return process
    return again if again is not None and again.started == process.started and again.state not in ENDED else None
