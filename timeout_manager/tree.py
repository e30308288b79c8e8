"""A process and everything that has come of it: find all of it, and end it.

What is wanted: when time is over nothing is left of a command, whatever it has started, and nothing else is touched.

What does not work: to kill the process alone (a shell leaves its children behind), or its group, or its session (a
child can have its own). To follow the parents misses what has lost its parent. A process number is given to somebody
else once its owner is gone.

What works: a mark in the environment, which every child inherits, of a process that has lost its parent or has its own
session, too; together with the parents and the sessions, for whoever has overwritten its environment. Each process that
is found is held by a descriptor (pidfd) before it is looked at a second time; signals go through that, so they reach
this process or nobody. Before the last signal all of it is stopped, since what goes on while its child dies starts the
next one; and groups get that signal as a whole, since no member can fork its way out of that. After every step there is
another look, until there is nothing left or the time for this is over.

What remains: a process with a session of its own that has lost its parent and has cleared its environment is not found.
Elsewhere than on Linux, only children and groups are (by ``ps``), and on Windows it is left to ``taskkill /T``.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from itertools import count

from .seconds import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

_no_interrupt = frozenset({"end"})  # see interrupt

MARK = "TIMEOUT_MANAGER_TREE"
BOUND = 5.0  # seconds that killing may take, after the grace
ENDED = "Z", "X"  # states of processes that nobody has waited for yet
STOPS = 20  # looks for what still runs after it was stopped
LOOK = 0.05  # seconds between two looks for newcomers

_counter = count()


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
        if _PROC:
            again = _process(self.pid)
            if again is None or again.started != self.started:
                return False
            self.command = self.command or _command(self.pid)
            self.age = self.age or max(_uptime() - self.started, 0.0)
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


class Tree:
    """What comes of a process that has these `variables` in its environment."""

    def __init__(self, since: float | None = None) -> None:
        self.mark = f"{os.getpid():x}.{next(_counter):x}.{int(monotonic() * 1e6):x}"
        self.began = _uptime() if since is None else since  # whatever has been there before is not of the tree
        self.found: dict[tuple[int, float], Process] = {}  # by number and start

    def variables(self) -> dict[str, str]:
        """Return what marks a process as one of the tree; the marks of trees around this one stay."""
        return {MARK: f"{os.environ.get(MARK, '')} {self.mark}".strip()}

    def end(self, roots: Collection[int], number: int, grace: float) -> list[Process]:
        """Send this signal to everything in the tree, after the grace SIGKILL to what is left; return what has got one.

        ``roots`` are children of this process that nobody has waited for yet. KeyboardInterrupt ends the grace.
        """
        if sys.platform == "win32":
            for root in roots:
                subprocess.run(["taskkill", "/F", "/T", "/PID", str(root)], capture_output=True, check=False)
            return []
        interrupt: KeyboardInterrupt | None = None
        try:
            self._until_gone(roots, number, monotonic() + grace)
        except KeyboardInterrupt as error:
            interrupt = error
        self._until_gone(roots, signal.SIGKILL, monotonic() + BOUND)
        for process in self.found.values():
            process.let_go()
        if interrupt is not None:
            raise interrupt
        return [process for process in self.found.values() if process.signal]

    def look(self, roots: Collection[int]) -> list[Process]:
        """Take hold of what is in the tree now, and has not ended."""
        return [process for process in self._find(roots) if process.state not in ENDED]

    def send(self, roots: Collection[int], number: int) -> list[Process]:
        """Send a signal to everything that is in the tree now; return that."""
        alive = self.look(roots)
        for process in alive:
            process.send(number)
            if number != signal.SIGKILL:
                process.send(signal.SIGCONT)  # one that is stopped ends when it goes on
        return alive

    def _until_gone(self, roots: Collection[int], number: int, deadline: float) -> None:
        """Send a signal to all of the tree, and to what comes to it, until nothing is left or time is over."""
        told: set[Process] = set()
        while True:
            alive = self.look(roots)
            if not alive:
                return
            if number == signal.SIGKILL:
                alive = self._stop(roots, alive)
                self._kill_groups(alive)
                told.clear()
            for process in alive:
                if process not in told:
                    told.add(process)
                    process.send(number)
                    process.send(signal.SIGCONT)  # one that is stopped ends when it goes on
            left = deadline - monotonic()
            if left <= 0:
                return
            _wait(alive, min(left, LOOK))

    def _stop(self, roots: Collection[int], alive: list[Process]) -> list[Process]:
        """Stop all of the tree, lest one goes on and starts something while another dies; return what there is then."""
        for _ in range(STOPS):
            running = [process for process in alive if process.state not in ("T", "t")]
            if not running:
                break
            for process in running:
                process.send(signal.SIGSTOP)
            _wait((), 0.001)
            alive = self.look(roots)
        return alive

    def _kill_groups(self, alive: Iterable[Process]) -> None:
        """Kill the groups in sessions that the tree has begun; a member that is stopped keeps the group its number."""
        sessions = {process.pid for process in self.found.values()}
        done = {os.getpgrp()}
        for process in alive:
            if process.session in sessions and process.group not in done:
                again = _process(process.pid)
                if not _PROC or again is not None and (again.started, again.group) == (process.started, process.group):
                    done.add(process.group)
                    try:
                        os.killpg(process.group, signal.SIGKILL)
                    except OSError:
                        pass

    def _find(self, roots: Collection[int]) -> list[Process]:
        others = {pid: process for pid, process in _processes().items() if process.started >= self.began}
        others.pop(os.getpid(), None)
        members: dict[int, Process] = {}
        known = {process.pid for process in others.values() if (process.pid, process.started) in self.found}
        fresh = [each for pid, each in others.items() if pid in roots or pid in known or self._has_mark(pid)]
        while fresh:
            for process in fresh:
                del others[process.pid]
                held = self.found.setdefault((process.pid, process.started), process)
                held.parent, held.group, held.session = process.parent, process.group, process.session
                held.state = process.state
                if held.hold():
                    members[process.pid] = held
            fresh = [each for each in others.values() if each.parent in members or each.session in members]
        return list(members.values())

    def _has_mark(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self.mark.encode() in file.read()
        except OSError:  # somebody else's, or gone
            return False


def _wait(processes: Iterable[Process], seconds: float) -> None:
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


# -- what the system says ----------------------------------------------------------------------------------------------


_PROC = sys.platform == "linux" and os.path.exists("/proc/self/stat")
_TICKS = os.sysconf("SC_CLK_TCK") if _PROC else 1


def _processes() -> dict[int, Process]:
    """Return all processes by their numbers."""
    if not _PROC:
        return _by_ps()
    found = (_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def _process(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, parent, group, session = fields[0].decode(), *map(int, fields[1:4])
    return Process(pid, parent, group, session, state, int(fields[19]) / _TICKS)


def _uptime() -> float:
    """Return the time on the clock by which processes start, rounded down as they are; 0.0 where there is none."""
    if not _PROC:
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
