"""A process and everything that has come of it: end all of it.

What is wanted: when time is over nothing is left of a command, whatever it has started, and nothing else is touched.

What does not work: to kill the process alone (a shell leaves its children behind), or its group, or its session (a
child can have its own). One look that finds nothing is not the end: in a chain each process forks and exits, and a look
sees those that have just gone.

What works: signals go to all `members`. The last one goes to groups as a whole, since no member can fork its way out of
that; before the rest gets it, it is stopped, since what goes on while its child dies starts the next one. After every
step there is another look, until there is nothing left or the time for this is over. An empty look counts if nobody of
the tree is among those who were born meanwhile: that is asked until nobody is born while it is asked.
"""

from __future__ import annotations

from ..originals import clock, signals, system, uninterrupted
from ..seconds import INFINITY
from .group import to_group
from .members import LOOK, Members
from .table import (
    CONT, ENDED, HAS_GROUPS, KILL, STOP, Process, has_proc, is_child, last_born, numbers, process_of, wait_for,
)

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    Wait = Callable[[list[Process], float], None]

BOUND = 5.0  # seconds that killing may take, after the grace
MOMENT = 0.001  # seconds between two looks at what changes
TELLING = 1.0  # seconds that it may take to send a signal to everything, and to what is born meanwhile
YOUNGEST = 10  # looks at who was born last, before one at all
CROWD = 1000  # births while one look is taken, beyond which another look is better


class Tree(Members):
    """What comes of a process, and how it ends."""

    def __init__(self, since: float | None = None) -> None:
        super().__init__(since)
        self.is_hurried = False  # the grace is over, whatever is left of it
        self.killed: list[Process] = []  # what has ended after a signal of ours
        self.survivors: list[Process] = []  # and what has not ended

    @uninterrupted
    def end(self, roots: Collection[Any], grace: float | None = None, wait: Wait = wait_for) -> None:
        """Send SIGTERM to everything in the tree, and after the grace SIGKILL to what is left (None: SIGKILL at once).

        Note what came of it. KeyboardInterrupt ends the grace, in which `wait` waits for processes, for so many seconds
        at most. A root that has not been started yet has no number.
        """
        roots = [root for root in roots if getattr(root, "pid", None)]
        interrupt: KeyboardInterrupt | None = None
        is_over = False
        try:
            try:
                if grace is not None:
                    deadline = clock.monotonic() + grace
                    self.send(roots, signals.SIGTERM)
                    is_over = self._wait(roots, deadline, wait)
            except KeyboardInterrupt as error:
                interrupt = error
            self.survivors = [] if is_over else self._kill(roots, clock.monotonic() + BOUND)
        finally:
            self.let_go()
            numbers = {process.pid for process in self.survivors}
            ended = {each.pid: each for each in self.found.values() if each.signal and each.pid not in numbers}
            self.killed = list(ended.values())
        if interrupt is not None:
            raise interrupt

    def send(self, roots: Collection[Any], number: int) -> list[Process]:
        """Send a signal to everything that is in the tree now; return that.

        What is born while this goes on gets it, too, if its parent ends: otherwise it is the parent's affair.
        """
        told: list[Process] = []
        until = clock.monotonic() + TELLING
        while clock.monotonic() < until:
            alive = self.look(roots)
            parents = {process.pid for process in alive if not process.is_dying}
            fresh = [each for each in alive if each not in told and not (told and each.parent in parents)]
            if not fresh:
                break
            for process in fresh:
                process.send(number)
                if number != KILL:
                    process.send(CONT)  # one that is stopped ends when it goes on
            told += fresh
        return told

    def _wait(self, roots: Collection[Any], deadline: float, wait: Wait) -> bool:
        """Wait until nothing of the tree is left, or time is over; tell whether nothing is."""
        while True:
            before = last_born()
            alive = self.look(roots)
            if not alive and self._is_last(before):
                return True
            if clock.monotonic() > deadline or self.is_hurried:
                return False
            wait(alive, min(max(deadline - clock.monotonic(), 0.0), LOOK) if alive else MOMENT)

    def _kill(self, roots: Collection[Any], deadline: float) -> list[Process]:
        """Kill all of the tree until nothing is left but what may not be killed, or time is over; return that."""
        while True:
            is_late = clock.monotonic() > deadline  # looks may take long, and there is one more after the last signal
            before = last_born()
            self._kill_groups(roots)
            alive = self._stop(roots, deadline)
            for process in alive:
                process.send(KILL)
            ours = [process for process in alive if not process.is_refused]
            if not ours and self._is_last(before) or is_late:
                return alive
            wait_for(ours, LOOK if ours else MOMENT)

    def _stop(self, roots: Collection[Any], deadline: float) -> list[Process]:
        """Stop all of the tree, lest one goes on and starts something while another dies; return what there is then.

        Who has got the signal starts nothing any more, even if it has not come to a stop yet.
        """
        stopped: set[Process] = set()
        while True:
            self._catch()
            alive = self.look(roots)
            running = [process for process in alive if process not in stopped]
            if not running or clock.monotonic() > deadline:
                return alive
            for process in running:
                process.send(STOP)
            stopped.update(running)
            wait_for((), MOMENT)

    def _is_last(self, number: bytes) -> bool:
        """Tell whether nobody of the tree was born after the process with this number."""
        pids = {process.pid for process in self.found.values()}
        try:
            for _ in range(YOUNGEST):
                first, number = number, last_born()
                born = range(int(first or 0) + 1, int(number or 0) + 1)
                if first == number:
                    return True
                if not 0 < len(born) < CROWD or any(self._is_new(process_of(pid), pids) for pid in born):
                    break
        except OSError:  # too many open files
            pass
        return False

    def _is_new(self, process: Process | None, pids: set[int]) -> bool:
        """Tell whether a process is of the tree, and not yet among those of it that have these numbers."""
        if process is None or process.started < self.began or process.state in ENDED or process.pid == system.getpid():
            return False
        return (process.pid, process.started) not in self.found and (
            self.is_sure(process) or process.parent in pids or process.session in pids
        )

    def _catch(self) -> None:
        """Stop what has come to the tree as soon as it is seen: in a chain it would be gone a moment later."""
        pids = {process.pid for process in self.found.values()}
        try:
            for pid in _youngest_first() if has_proc() else ():
                process = None if pid in self.older else process_of(pid)
                if process is not None and self._is_new(process, pids):
                    self.found[pid, process.started] = process
                    if process.hold():
                        process.send(STOP)
        except OSError:  # too many open files
            pass

    def _kill_groups(self, roots: Collection[Any]) -> None:
        """Kill the groups in sessions that the tree has begun.

        Before, they are stopped and looked at: who is born later dies with the others and would be told of by nobody.
        """
        groups = [group for group in self._own_groups(roots) if to_group(group, STOP)]
        alive = self.look(roots) if groups else []
        for group in groups:
            if to_group(group, KILL):
                for member in alive:
                    if member.group == group and not member.is_refused:
                        member.signal = "KILL"

    def _own_groups(self, roots: Collection[Any]) -> list[int]:
        """Return the groups in sessions that the tree has begun.

        A root that nobody has waited for, and a member that is stopped, keep the group its number.
        """
        if not HAS_GROUPS:
            return []
        ours = system.getpgrp()
        alive = self.look(roots)
        groups = [root.pid for root in roots if root.returncode is None and is_child(root.pid)]
        sessions = {process.pid for process in self.found.values()}
        for process in alive:
            if process.session in sessions and process.group not in (ours, *groups):
                process.send(STOP)
                again = process_of(process.pid) if process.started < INFINITY else process
                if again is not None and (again.started, again.group) == (process.started, process.group):
                    groups.append(process.group)
        return groups


def _youngest_first() -> Iterator[int]:
    """Yield the numbers of processes: that of the last one, anew each time, and then all.

    A link of a chain may live for less time than a list of all processes takes.
    """
    for _ in range(YOUNGEST):
        yield int(last_born() or 0)
    yield from numbers()
