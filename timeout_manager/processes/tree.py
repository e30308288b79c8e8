"""A process and everything that has come of it: find all of it, and end it.

What is wanted: when time is over nothing is left of a command, whatever it has started, and nothing else is touched.

What does not work: to kill the process alone (a shell leaves its children behind), or its group, or its session (a
child can have its own). To follow the parents misses what has lost its parent. A process number is given to somebody
else once its owner is gone.

What works: a mark in the environment, which every child inherits, of a process that has lost its parent or has its own
session, too; together with the parents and the sessions, for whoever has overwritten its environment. Each process that
is found is held by a descriptor (pidfd) before it is looked at a second time; signals go through that, so they reach
this process or nobody. The last one goes to groups as a whole, since no member can fork its way out of that; before the
rest gets it, it is stopped, since what goes on while its child dies starts the next one. After every step there is
another look, until there is nothing left or the time for this is over.

What remains: a process with a session of its own that has lost its parent and has cleared its environment is not found.
Elsewhere than on Linux, only children and groups are (by ``ps``), and on Windows it is left to ``taskkill /T``.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import count

from .deadline import variable
from ..originals import clock, files, signals, system
from .table import HAS_PROC, Process, process_of, processes, uptime, wait_for_one


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_no_interrupt = frozenset({"end"})  # see interrupt

MARK = "TIMEOUT_MANAGER_TREE"
BOUND = 5.0  # seconds that killing may take, after the grace
ENDED = "Z", "X"  # states of processes that nobody has waited for yet
STOPPED = "T", "t"  # and of those that are stopped
LOOK = 0.05  # seconds between two looks for newcomers

_counter = count()


class Tree:
    """What comes of a process that has these `variables` in its environment."""

    def __init__(self, since: float | None = None) -> None:
        self.mark = f"{system.getpid():x}.{next(_counter):x}.{int(clock.monotonic() * 1e6):x}"
        self.began = uptime() if since is None else since  # whatever has been there before is not of the tree
        self.found: dict[tuple[int, float], Process] = {}  # by number and start

    def variables(self) -> dict[str, str]:
        """Return what marks a process as one of the tree; the marks of trees around this one stay."""
        return {MARK: f"{variable(MARK) or ''} {self.mark}".strip()}

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
            self._until_gone(roots, number, clock.monotonic() + grace)
        except KeyboardInterrupt as error:
            interrupt = error
        self._until_gone(roots, signals.SIGKILL, clock.monotonic() + BOUND)
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
            if number != signals.SIGKILL:
                process.send(signals.SIGCONT)  # one that is stopped ends when it goes on
        return alive

    def _until_gone(self, roots: Collection[int], number: int, deadline: float) -> None:
        """Send a signal to all of the tree, and to what comes to it, until nothing is left or time is over."""
        told: set[Process] = set()
        while True:
            alive = self.look(roots)
            if not alive:
                return
            if number == signals.SIGKILL:
                self._kill_groups(alive)
                alive = self._stop(roots, deadline)
                told.clear()
            for process in alive:
                if process not in told:
                    told.add(process)
                    process.send(number)
                    process.send(signals.SIGCONT)  # one that is stopped ends when it goes on
            left = deadline - clock.monotonic()
            if left <= 0:
                return
            wait_for_one(alive, min(left, LOOK))

    def _stop(self, roots: Collection[int], deadline: float) -> list[Process]:
        """Stop all of the tree, lest one goes on and starts something while another dies; return what there is then."""
        while True:
            alive = self.look(roots)
            running = [process for process in alive if process.state not in STOPPED]
            if not running or clock.monotonic() > deadline:
                return alive
            for process in running:
                process.send(signals.SIGSTOP)
            wait_for_one((), 0.001)

    def _kill_groups(self, alive: Iterable[Process]) -> None:
        """Kill the groups in sessions that the tree has begun; a member that is stopped keeps the group its number."""
        sessions = {process.pid for process in self.found.values()}
        done = {system.getpgrp()}
        for process in alive:
            if process.session in sessions and process.group not in done:
                process.send(signals.SIGSTOP)
                again = process_of(process.pid)
                same = again is not None and (again.started, again.group) == (process.started, process.group)
                if same or not HAS_PROC:
                    done.add(process.group)
                    try:
                        system.killpg(process.group, signals.SIGKILL)
                    except OSError:
                        continue
                    for member in alive:
                        if member.group == process.group:
                            member.signal = "KILL"

    def newborn(self, seconds: float) -> int:
        """Return the child of this process that is of the tree; 0 if there is none.

        Until it has become the command it has the environment of this process, or none; that is waited for.
        """
        ours = _environ(system.getpid())
        deadline = clock.monotonic() + seconds
        while HAS_PROC:
            unclear = False
            for process in processes().values():
                if process.parent == system.getpid() and process.started >= self.began and process.state not in ENDED:
                    environ = _environ(process.pid)
                    if self.mark.encode() in environ:
                        return process.pid
                    unclear = unclear or environ in (ours, b"")
            if not unclear or clock.monotonic() > deadline:
                break
            wait_for_one((), LOOK)
        return 0

    def _find(self, roots: Collection[int]) -> list[Process]:
        others = {pid: process for pid, process in processes().items() if process.started >= self.began}
        others.pop(system.getpid(), None)
        members: dict[int, Process] = {}  # parents before their children, which might end them by ending first
        known = {process.pid for process in others.values() if (process.pid, process.started) in self.found}
        sure = {pid for pid in others if pid in roots or pid in known or self._has_mark(pid)}
        fresh = sorted(
            (others[pid] for pid in sure), key=lambda each: (each.pid not in roots, each.started, each.parent in sure)
        )
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
        return self.mark.encode() in _environ(pid)


def _environ(pid: int) -> bytes:
    try:
        with files.open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:  # somebody else's, or gone
        return b""
