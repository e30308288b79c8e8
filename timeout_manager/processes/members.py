"""The members of a tree of processes: whatever has come of one process. They are found and held here, and no more.

What does not work: to follow the parents misses what has lost its parent, and a session misses who has one of its own.
A process number is given to somebody else once its owner is gone.

What works: a mark in the environment, which every child inherits, of a process that has lost its parent or has its own
session, too; together with the parents and the sessions, for whoever has overwritten its environment. Each process that
is found is held by a descriptor (pidfd) before it is looked at a second time; signals go through that, so they reach
this process or nobody. Where there are not enough descriptors, the time of its start is compared instead. A process of
our own that has no other children can take over what loses its parent, and misses nothing then. Who was there before
the tree is looked at once: the system counts births, and gives numbers in order.

What remains: elsewhere, a process with a session of its own that has lost its parent and has cleared its environment is
not found. Elsewhere than on Linux, only children and groups are (by ``ps``); on Windows what is in a job is. Where
nothing is known of processes, the child itself and the group that it leads stand for all.
"""

from __future__ import annotations

from itertools import count

from ..originals import clock, system
from ..seconds import INFINITY, variable
from .group import Group
from .job import Job
from .table import (
    AGAIN, ENDED, HAS_GROUPS, UNKNOWN, Process, births, environ_of, has_proc, is_child, processes, uptime, wait_for,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

MARK = "TIMEOUT_MANAGER_TREE"
LOOK = 0.05  # seconds between two looks at what is left

_counter = count()


class Members:
    """What comes of a process that has these `variables` in its environment.

    ``roots`` are children of this process, as objects of ``subprocess.Popen``; nobody else waits for them.
    """

    def __init__(self, since: float | None = None) -> None:
        number = f"{system.getpid():x}.{next(_counter):x}.{int(clock.monotonic() * 1e6):x}"
        self.mark = number if since is None else ""  # what others have started has none
        self.began = uptime() if since is None else since  # whatever has been there before is not of the tree
        self.found: dict[tuple[int, float], Process] = {}  # by number and start
        self.older: Collection[int] = ()  # numbers of processes that were there before,
        self._births = UNKNOWN, 0  # as they were when those were looked at
        self.asks_ps = True  # it has not failed, which may take its time
        self.adopts = False  # whatever has lost its parent is of the tree, and a child of this process
        self.session = -1  # what has lost its parent in this one is, too

    def variables(self) -> dict[str, str]:
        """Return what marks a process as one of the tree; the marks of trees around this one stay."""
        return {MARK: f"{variable(MARK) or ''} {self.mark}".strip()}

    def take(self, root: Any) -> None:
        """Take hold of a root that has just been started, where that has to be done before it starts others."""
        if not HAS_GROUPS:
            self.found[root.pid, INFINITY] = Job(root, is_new=True)

    def look(self, roots: Collection[Any]) -> list[Process]:
        """Take hold of what is in the tree now, and has not ended."""
        try:
            members = self._find(roots)
        except OSError:
            self.let_go()
            self.asks_ps = has_proc()
            try:
                members = self._find(roots)  # there were too many open files, perhaps
            except OSError:
                members = self._groups(roots)
        for process in self.found.values():
            if process not in members:
                process.let_go()
        return [process for process in members if process.state not in ENDED]

    def let_go(self) -> None:
        """Hold nothing any more."""
        for process in self.found.values():
            process.let_go()

    def newborn(self, seconds: float) -> int:
        """Return the child of this process that is of the tree; 0 if there is none.

        Until it has become the command it has the environment of this process, or none; that is waited for.
        """
        ours = environ_of(system.getpid())
        deadline = clock.monotonic() + seconds
        while has_proc():
            unclear = False
            try:
                others = self._others()
            except OSError:
                break
            for process in others.values():
                if process.parent == system.getpid() and process.state not in ENDED:
                    environ = environ_of(process.pid)
                    if self.mark.encode() in environ:
                        return process.pid
                    unclear = unclear or environ in (ours, b"")
            if not unclear or clock.monotonic() > deadline:
                break
            wait_for((), LOOK)
        return 0

    def _find(self, roots: Collection[Any]) -> list[Process]:
        """Return the members of the tree; OSError if the processes of this machine are not known."""
        if not self.asks_ps:
            raise OSError("ps does not tell")
        others = self._others()
        others.pop(system.getpid(), None)
        own = {root.pid for root in roots if root.returncode is None and is_child(root.pid)}
        members: dict[int, Process] = {}
        sure = [
            process
            for pid, process in others.items()
            if pid in own or (pid, process.started) in self.found or self.is_sure(process)
        ]
        fresh = sorted(sure, key=lambda each: (each.pid not in own, each.started))
        while fresh:
            for process in fresh:
                del others[process.pid]
                held = self.found.setdefault((process.pid, process.started), process)
                held.parent, held.group, held.session = process.parent, process.group, process.session
                held.state, held.is_dying = process.state, process.is_dying
                if held.hold():
                    members[process.pid] = held
            fresh = [each for each in others.values() if each.parent in members or each.session in members]
        return sorted(members.values(), key=lambda each: _depth(each, members))

    def _others(self) -> dict[int, Process]:
        """Return who may be of the tree. Who was there before is looked at once, until a number may come again."""
        count, last = births()
        if not (0 <= count - self._births[0] < AGAIN and last >= self._births[1]):
            self._births, self.older = (count, last), ()
        found = processes(self.older)
        others = {pid: process for pid, process in found.items() if process.started >= self.began}
        self.older = self.older or found.keys() - others.keys()
        return others

    def is_sure(self, process: Process) -> bool:
        """Tell whether it is known without the others that a process is of the tree."""
        if process.parent == system.getpid() and (self.adopts or process.session == self.session):
            return True
        return self.mark != "" and self.mark.encode() in environ_of(process.pid)

    def _groups(self, roots: Collection[Any]) -> list[Process]:
        """Return what is left of the roots and their groups, where nothing else is known."""
        for root in roots:
            if (root.pid, INFINITY) not in self.found:
                self.found[root.pid, INFINITY] = self.group_of(root)
        groups = [each for each in self.found.values() if isinstance(each, Group)]
        for group in groups:
            group.state = "S" if group.is_left() else ENDED[0]
            self.found.update(((pid, INFINITY), each) for pid, each in group.others.items())
        return list(groups)

    def group_of(self, root: Any) -> Group:
        return Group(root) if HAS_GROUPS else Job(root)


def _depth(process: Process, members: dict[int, Process]) -> int:
    """Return how many of these it has come of. They go first: a parent may end because a child has ended.

    A child may have been born within the same tick of the clock by which processes start.
    """
    depth = 0
    while process.parent in members and depth < len(members):
        process = members[process.parent]
        depth += 1
    return depth
