"""The processes of the machine: what the system says of them, and how to hold one.

On Linux from ``/proc``. Elsewhere from POSIX's ``ps``, which knows no sessions and no starts.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HAS_PROC = sys.platform == "linux" and os.path.exists("/proc/self/stat")
_TICKS = os.sysconf("SC_CLK_TCK") if HAS_PROC else 1


class Process:
    """A process of the tree: held, so that its number cannot come to mean another one."""

    def __init__(self, pid: int, parent: int, group: int, session: int, state: str, started: float) -> None:
        self.pid, self.parent, self.group, self.session = pid, parent, group, session
        self.state = state
        self.started = started  # on a clock of the system
        self.command = ""
        self.age = 0.0
        self.signal = ""  # the last one that was sent to it
        self.descriptor = -1

    def __str__(self) -> str:
        return f"{self.pid} {self.command} ({self.age:.1f} s) {self.signal}"

    def hold(self) -> bool:
        """Take hold of it; tell whether that was in time."""
        if self.descriptor >= 0:
            return True
        try:
            self.descriptor = os.pidfd_open(self.pid)
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
                signal.pidfd_send_signal(self.descriptor, number)
            else:
                os.kill(self.pid, number)
        except OSError:
            return
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.signal = signal.Signals(number).name[3:]

    def let_go(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def processes() -> dict[int, Process]:
    """Return all processes by their numbers."""
    if not HAS_PROC:
        return _by_ps()
    found = (process_of(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def process_of(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, parent, group, session = fields[0].decode(), *map(int, fields[1:4])
    return Process(pid, parent, group, session, state, int(fields[19]) / _TICKS)


def uptime() -> float:
    """Return the time on the clock by which processes start, rounded down as they are; 0.0 where there is none."""
    if not HAS_PROC:
        return 0.0
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS) / _TICKS


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip() or "?"
    except OSError:
        return "?"


def _by_ps() -> dict[int, Process]:
    """Ask POSIX's ``ps``, which knows no sessions; the leader of a group stands for one."""
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
    poll = getattr(select, "poll", None)
    held = [process.descriptor for process in processes if process.descriptor >= 0]
    if poll is None or not held:
        select.select([], [], [], seconds)
        return
    waiting = poll()
    for descriptor in held:
        waiting.register(descriptor, select.POLLIN)
    waiting.poll(seconds * 1000)
