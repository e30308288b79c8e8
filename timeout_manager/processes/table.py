"""The processes of the machine: what the system says of them, and how to hold one.

On Linux from ``/proc``. Elsewhere from POSIX's ``ps``, which knows no sessions and no starts. Nothing is imported for a
look, since that may come in the handler of a signal.
"""

from __future__ import annotations

import os
import sys

from ..originals import clock, files, signals, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HAS_PROC = sys.platform == "linux" and os.path.exists("/proc/self/stat")
SHOWN = 30  # processes of a family
WIDTH = 200  # characters of a command
STATES = {"R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped", "Z": "ended, not waited for"}
_TICKS = system.sysconf("SC_CLK_TCK") if HAS_PROC else 1
TICK = 1 / _TICKS  # seconds: the clock by which processes start is rounded down to it


class Process:
    """A process; once held, its number cannot come to mean another one."""

    def __init__(
        self, pid: int, parent: int, group: int, session: int, state: str, started: float, busy: float = 0.0
    ) -> None:
        self.pid, self.parent, self.group, self.session = pid, parent, group, session
        self.state = state
        self.started = started  # on a clock of the system
        self.busy = busy  # seconds of processor time
        self.command = ""
        self.age = 0.0
        self.signal = ""  # the last one that was sent to it
        self.descriptor = -1

    def __repr__(self) -> str:
        return f"{self.pid} {self.command} ({self.age:.1f} s) {self.signal}"

    def hold(self) -> bool:
        """Take hold of it; tell whether that was in time."""
        if self.descriptor >= 0:
            return True
        try:
            self.descriptor = system.pidfd_open(self.pid)
        except (AttributeError, OSError):  # gone; or not Linux, an old kernel, too many open files
            pass
        if HAS_PROC:
            again = process_of(self.pid)
            if again is None or again.started != self.started:
                return False
            self.command = self.command or _command(self.pid)
            self.age = self.age or max(uptime() - self.started, 0.0)
        return True

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        try:
            if self.descriptor >= 0:
                signals.pidfd_send_signal(self.descriptor, number)
            else:
                system.kill(self.pid, number)
        except OSError:
            return
        if number not in (signals.SIGSTOP, signals.SIGCONT):
            self.signal = name_of_signal(number)

    def let_go(self) -> None:
        if self.descriptor >= 0:
            system.close(self.descriptor)
            self.descriptor = -1


def processes() -> dict[int, Process]:
    """Return all processes by their numbers."""
    if not HAS_PROC:
        return _by_ps()
    found = (process_of(int(name)) for name in system.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def process_of(pid: int) -> Process | None:
    try:
        with files.open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, parent, group, session = fields[0].decode(), *map(int, fields[1:4])
    busy = (int(fields[11]) + int(fields[12])) / _TICKS
    return Process(pid, parent, group, session, state, int(fields[19]) / _TICKS, busy)


def uptime() -> float:
    """Return the time on the clock by which processes start, rounded down as they are; 0.0 where there is none."""
    if not HAS_PROC:
        return 0.0
    return int(clock.clock_gettime(clock.CLOCK_BOOTTIME) * _TICKS) / _TICKS


def name_of_signal(number: int) -> str:
    """Return the name of a signal, without SIG; the number if it has none, as most real-time signals."""
    import signal

    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return str(number)


def _command(pid: int) -> str:
    try:
        with files.open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip() or "?"
    except OSError:
        return "?"


def family(found: list[tuple[int, Process]] | None = None) -> str:
    """Return a line for each of these descendants of this process: what it is, what it does, and for how long."""
    if not HAS_PROC:
        return "Child processes: not known on this system"
    if found is None:
        found = descendants()
    lines = [f"{'  ' * (depth + 1)}{described(process)}" for depth, process in found[:SHOWN]]
    more = [f"  and {len(found) - SHOWN} more"] * (len(found) > SHOWN)
    return "\n".join(["Child processes:", *lines, *more]) if lines else ""


def descendants() -> list[tuple[int, Process]]:
    """Return the children of this process, each followed by its own, and how deep each is; none without ``/proc``."""
    if not HAS_PROC:
        return []
    children: dict[int, list[Process]] = {}
    for process in processes().values():
        children.setdefault(process.parent, []).append(process)
    found: list[tuple[int, Process]] = []
    todo = [(0, process) for process in reversed(children.get(system.getpid(), []))]
    while todo:
        depth, process = todo.pop()
        found.append((depth, process))
        todo += [(depth + 1, child) for child in reversed(children.get(process.pid, []))]
    return found


def has_children() -> bool:
    """Tell whether this process has children, as far as it can be asked."""
    try:
        system.waitid(system.P_ALL, 0, system.WEXITED | system.WNOHANG | system.WNOWAIT)
    except ChildProcessError:
        return False
    except AttributeError:  # it cannot be asked so quickly
        pass
    return True


def alive(process: Process) -> Process | None:
    """Return a process as it is now; None if it has ended."""
    again = process_of(process.pid)
    return again if again is not None and again.started == process.started and again.state not in "ZX" else None


def described(process: Process) -> str:
    """Return in a line what a process is, what it does, and for how long."""
    name = _names().get(process.pid)
    state = STATES.get(process.state, process.state) + _waits_in(process.pid)
    age = max(uptime() - process.started, 0.0)
    return (
        f"{process.pid}{f' ({name})' if name else ''} {state}, {age:.1f} s old, {process.busy:.2f} s of processor time:"
        f" {_command(process.pid)[:WIDTH]}"
    )


def _names() -> dict[int, str]:
    """Return what `multiprocessing` calls its children, whose commands are all alike."""
    known: Any = getattr(sys.modules.get("multiprocessing.process"), "_children", frozenset()).copy()
    started = [(getattr(each, "_popen", None), each) for each in known]
    return {popen.pid: str(each.name) for popen, each in started if popen is not None}


def _waits_in(pid: int) -> str:
    """Return in what function of the kernel it waits, where the system tells."""
    try:
        with files.open(f"/proc/{pid}/wchan", "rb") as file:
            name = file.read().decode(errors="replace")
    except OSError:
        name = "0"
    return "" if name in ("", "0") else f" in {name}"


def _by_ps() -> dict[int, Process]:
    """Ask POSIX's ``ps``, which knows no sessions; the leader of a group stands for one."""
    import subprocess

    columns: list[Any] = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat=", "-o", "args="]
    listed = subprocess.run(columns, stdout=subprocess.PIPE, text=True, errors="replace", check=False).stdout
    found = {}
    for line in listed.splitlines():
        pid, parent, group, state, *command = line.split(None, 4)
        process = Process(int(pid), int(parent), int(group), int(group), state[:1], 0.0)
        process.command = "".join(command)
        found[process.pid] = process
    return found


def wait_for_one(processes: Iterable[Process], seconds: float) -> None:
    """Wait until one of the processes ends, or the time is over."""
    import select

    poll = getattr(select, "poll", None)
    held = [process.descriptor for process in processes if process.descriptor >= 0]
    if poll is None or not held:
        select.select([], [], [], seconds)
        return
    waiting = poll()
    for descriptor in held:
        waiting.register(descriptor, select.POLLIN)
    waiting.poll(seconds * 1000)
