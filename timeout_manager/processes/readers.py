"""Who can write into the pipe from which a thread is reading: for Linux, empty elsewhere."""

from __future__ import annotations

from ..interpreter.threads import task_file
from ..originals import system
from .family import descendants

_READ = {"x86_64": 0, "aarch64": 63, "riscv64": 63}  # the number of the call, by machine


def writers(ident: int) -> list[int]:
    """Return the children of this process that hold the other end of the pipe, or have a descendant that does."""
    pipe = _pipe_of(ident)
    found: list[int] = []
    root = 0
    for depth, process in descendants() if pipe else ():
        root = process.pid if not depth else root
        if root not in found and _holds(process.pid, pipe):
            found.append(root)
    return found


def _pipe_of(ident: int) -> str:
    """Return the name of the pipe that a thread reads from at present; "" if it does not."""
    try:
        number, descriptor = (int(word, 0) for word in task_file(ident, "syscall").split()[:2])
        name = system.readlink(f"/proc/self/fd/{descriptor}")
    except (OSError, ValueError):  # it runs, or is not known; there is no such file
        return ""
    return name if number == _READ.get(system.uname().machine) and name.startswith("pipe:") else ""


def _holds(pid: int, pipe: str) -> bool:
    try:
        return any(system.readlink(f"/proc/{pid}/fd/{each}") == pipe for each in system.listdir(f"/proc/{pid}/fd"))
    except OSError:  # somebody else's, or gone
        return False
