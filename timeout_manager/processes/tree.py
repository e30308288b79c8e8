"""A process and everything that has come of it: find all of it, and end it.

What is wanted: when time is over nothing is left of a command, whatever it has started, and nothing else is touched.

What does not work: to kill the process alone (a shell leaves its children behind), or its group, or its session (a
child can have its own). To follow the parents misses what has lost its parent. A process number is given to somebody
else once its owner is gone. One look that finds nothing is not the end: in a chain each process forks and exits, and
a look sees those that have just gone.

What works: a mark in the environment, which every child inherits, of a process that has lost its parent or has its own
session, too; together with the parents and the sessions, for whoever has overwritten its environment. Each process that
is found is held by a descriptor (pidfd) before it is looked at a second time; signals go through that, so they reach
this process or nobody. Where there are not enough descriptors, the time of its start is compared instead. The last
signal goes to groups as a whole, since no member can fork its way out of that; before the rest gets it, it is stopped,
since what goes on while its child dies starts the next one. After every step there is another look, until there is
nothing left or the time for this is over. An empty look counts if no number was given to anybody while it was taken, or
if it is one of many. A process of our own that has no other children can take over what loses its parent, and misses
nothing then.

What remains: elsewhere, a process with a session of its own that has lost its parent and has cleared its environment is
not found. Elsewhere than on Linux, only children and groups are (by ``ps``); on Windows what is in a job is. Where
nothing is known of processes, the child itself and the group that it leads are signalled.
"""

from __future__ import annotations

from itertools import count

from ..originals import clock, system, uninterrupted
from ..seconds import INFINITY
from .deadline import variable
from .group import Group, to_group
from .job import Job
from .table import (
    CONT,
    ENDED,
    HAS_GROUPS,
    KILL,
    STOP,
    Process,
    environ_of,
    has_proc,
    is_child,
    last_born,
    numbers,
    process_of,
    processes,
    uptime,
    wait_for_one,
)

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

MARK = "TIMEOUT_MANAGER_TREE"
BOUND = 5.0  # seconds that killing may take, after the grace
LOOK = 0.05  # seconds between two looks at what is left
MOMENT = 0.001  # and between two at what changes
TELLING = 1.0  # seconds that it may take to send a signal to everything, and to what is born meanwhile
YOUNGEST = 10  # looks at the process that was born last, before one at all
EMPTY = 10  # looks that find nothing, while others are born on this machine

_counter = count()


class Tree:
    """What comes of a process that has these `variables` in its environment.

    ``roots`` are children of this process, as objects of ``subprocess.Popen``; nobody else waits for them.
    """

    def __init__(self, since: float | None = None) -> None:
        self.mark = f"{system.getpid():x}.{next(_counter):x}.{int(clock.monotonic() * 1e6):x}"
        self.began = uptime() if since is None else since  # whatever has been there before is not of the tree
        self.found: dict[tuple[int, float], Process] = {}  # by number and start
        self.is_hurried = False  # the grace is over, whatever is left of it
        self.adopts = False  # this process gets what loses its parent, and had no children before
        self.killed: list[Process] = []  # what has ended after a signal of ours
        self.survivors: list[Process] = []  # and what has not ended

    def variables(self) -> dict[str, str]:
        """Return what marks a process as one of the tree; the marks of trees around this one stay."""
        return {MARK: f"{variable(MARK) or ''} {self.mark}".strip()}

    def take(self, root: Any) -> None:
        """Take hold of a root that has just been started, where that has to be done before it starts others."""
        if not HAS_GROUPS:
            self.found[root.pid, INFINITY] = Job(root, is_new=True)

    @uninterrupted
    def end(self, roots: Collection[Any], number: int, grace: float) -> None:
        """Send this signal to everything in the tree, after the grace SIGKILL to what is left; note what came of it.

        KeyboardInterrupt ends the grace. A root that has not been started yet has no number.
        """
        roots = [root for root in roots if root.pid]
        interrupt: KeyboardInterrupt | None = None
        left: list[Process] = []
        try:
            try:
                if number != KILL:
                    deadline = clock.monotonic() + grace
                    self.send(roots, number)
                    left = self._wait(roots, deadline)
            except KeyboardInterrupt as error:
                interrupt = error
            left = self._kill(roots, clock.monotonic() + BOUND)
        finally:
            self.let_go()
            self.survivors = left
            numbers = {process.pid for process in left}
            ended = {each.pid: each for each in self.found.values() if each.signal and each.pid not in numbers}
            self.killed = list(ended.values())
        if interrupt is not None:
            raise interrupt

    def look(self, roots: Collection[Any]) -> list[Process]:
        """Take hold of what is in the tree now, and has not ended."""
        try:
            members = self._find(roots)
        except OSError:  # too many open files, perhaps
            self.let_go()
            try:
                members = self._find(roots)
            except OSError:
                members = self._groups(roots)
        for process in self.found.values():
            if process not in members:
                process.let_go()
        return [process for process in members if process.state not in ENDED]

    def send(self, roots: Collection[Any], number: int) -> list[Process]:
        """Send a signal to everything that is in the tree now; return that.

        What is born while this goes on gets it, too, if its parent has ended: otherwise it is the parent's affair.
        """
        told: list[Process] = []
        until = clock.monotonic() + TELLING
        while clock.monotonic() < until:
            alive = self.look(roots)
            parents = {process.pid for process in alive}
            fresh = [each for each in alive if each not in told and not (told and each.parent in parents)]
            if not fresh:
                break
            for process in fresh:
                process.send(number)
                if number != KILL:
                    process.send(CONT)  # one that is stopped ends when it goes on
            told += fresh
        return told

    def let_go(self) -> None:
        """Hold nothing any more."""
        for process in self.found.values():
            process.let_go()

    def _wait(self, roots: Collection[Any], deadline: float) -> list[Process]:
        """Wait until nothing of the tree is left, or time is over; return what is left."""
        empty = 0
        while True:
            before = last_born()
            alive = self.look(roots)
            empty = 0 if alive else empty + 1
            is_gone = not alive and (before == last_born() or empty > EMPTY)
            if is_gone or clock.monotonic() > deadline or self.is_hurried:
                return alive
            wait_for_one(alive, min(max(deadline - clock.monotonic(), 0.0), LOOK) if alive else MOMENT)

    def _kill(self, roots: Collection[Any], deadline: float) -> list[Process]:
        """Kill all of the tree until nothing is left but what may not be killed, or time is over; return that."""
        empty = 0
        while True:
            before = last_born()
            self._kill_groups(roots, self.look(roots))
            alive = self._stop(roots, deadline)
            for process in alive:
                process.send(KILL)
            ours = [process for process in alive if not process.is_refused]
            empty = 0 if ours else empty + 1
            if not ours and (before == last_born() or empty > EMPTY) or clock.monotonic() > deadline:
                return alive
            wait_for_one(ours, LOOK if ours else MOMENT)

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
            wait_for_one((), MOMENT)

    def _catch(self) -> None:
        """Stop what has come to the tree as soon as it is seen: in a chain it would be gone a moment later."""
        pids = {process.pid for process in self.found.values()}
        try:
            for pid in _youngest_first() if has_proc() else ():
                process = process_of(pid)
                if process is None or process.started < self.began or process.state in ENDED or pid == system.getpid():
                    continue
                if (pid, process.started) not in self.found and (
                    self._is_sure(process) or process.parent in pids or process.session in pids
                ):
                    self.found[pid, process.started] = process
                    if process.hold():
                        process.send(STOP)
        except OSError:  # too many open files
            pass

    def _kill_groups(self, roots: Collection[Any], alive: Iterable[Process]) -> None:
        """Kill the groups in sessions that the tree has begun.

        A root that nobody has waited for, and a member that is stopped, keep the group its number.
        """
        if not HAS_GROUPS:
            return
        done = {system.getpgrp()}
        groups = [root.pid for root in roots if root.returncode is None and is_child(root.pid)]
        sessions = {process.pid for process in self.found.values()}
        for process in alive:
            if process.session in sessions and process.group not in done and process.group not in groups:
                process.send(STOP)
                again = process_of(process.pid) if process.started < INFINITY else process
                if again is not None and (again.started, again.group) == (process.started, process.group):
                    groups.append(process.group)
        for group in groups:
            if to_group(group, KILL):
                for member in alive:
                    if member.group == group and not member.is_refused:
                        member.signal = "KILL"

    def newborn(self, seconds: float) -> int:
        """Return the child of this process that is of the tree; 0 if there is none.

        Until it has become the command it has the environment of this process, or none; that is waited for.
        """
        ours = environ_of(system.getpid())
        deadline = clock.monotonic() + seconds
        while has_proc():
            unclear = False
            try:
                others = processes()
            except OSError:
                break
            for process in others.values():
                if process.parent == system.getpid() and process.started >= self.began and process.state not in ENDED:
                    environ = environ_of(process.pid)
                    if self.mark.encode() in environ:
                        return process.pid
                    unclear = unclear or environ in (ours, b"")
            if not unclear or clock.monotonic() > deadline:
                break
            wait_for_one((), LOOK)
        return 0

    def _find(self, roots: Collection[Any]) -> list[Process]:
        """Return the members of the tree; OSError if the processes of this machine are not known."""
        others = {pid: process for pid, process in processes().items() if process.started >= self.began}
        others.pop(system.getpid(), None)
        own = {root.pid for root in roots if root.returncode is None and is_child(root.pid)}
        members: dict[int, Process] = {}  # parents before their children, which might end them by ending first
        sure = {
            pid
            for pid, process in others.items()
            if pid in own or (pid, process.started) in self.found or self._is_sure(process)
        }
        fresh = sorted(
            (others[pid] for pid in sure), key=lambda each: (each.pid not in own, each.started, each.parent in sure)
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

    def _is_sure(self, process: Process) -> bool:
        """Tell whether it is known without the others that a process is of the tree."""
        return self.adopts and process.parent == system.getpid() or self.mark.encode() in environ_of(process.pid)

    def _groups(self, roots: Collection[Any]) -> list[Process]:
        """Return what is left of the roots and their groups, where nothing else is known."""
        for root in roots:
            if (root.pid, INFINITY) not in self.found:
                self.found[root.pid, INFINITY] = self._group(root)
        groups = [each for each in self.found.values() if isinstance(each, Group)]
        for group in groups:
            group.state = "S" if group.is_left() else ENDED[0]
            self.found.update(((each.pid, INFINITY), each) for each in group.others())
        return list(groups)

    def _group(self, root: Any) -> Group:
        return Group(root) if HAS_GROUPS else Job(root)


def _youngest_first() -> Iterator[int]:
    """Yield the numbers of processes: that of the last one, anew each time, and then all.

    A link of a chain may live for less time than a list of all processes takes.
    """
    for _ in range(YOUNGEST):
        yield int(last_born() or 0)
    yield from numbers()
