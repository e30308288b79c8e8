"""A command in the group of this process: what is sent to the group must not end this process as well.

Where nothing else is known of processes, the group is all there is to find what the command has started. Signals go to
the whole group, and this process ignores its own. Before the group gets SIGKILL, this process leaves it.
"""

from __future__ import annotations

import os
import signal

from ..processes.children import collect
from ..processes.group import Group
from ..processes.table import HAS_GROUPS, KILL, STOP
from ..processes.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class OwnTree(Tree):
    """The tree of a command that is in the group of this process."""

    def group_of(self, root: Any) -> Group:
        return OwnGroup(root, self.adopts) if HAS_GROUPS else super().group_of(root)

    def is_blind(self) -> bool:
        """Tell whether nothing was known of processes, and the group of this one is still that of the command."""
        return any(isinstance(each, OwnGroup) and each.group == os.getpgrp() for each in self.found.values())


class OwnGroup(Group):
    """The command and the group of this process, where nothing else is known of processes."""

    def __init__(self, root: Any, adopts: bool) -> None:
        super().__init__(root)
        self.group = os.getpgrp()
        self.adopts = adopts  # all that is left of the command is a child of this process

    def is_left(self) -> bool:
        return self.adopts and collect([self.root]) or self.root.poll() is None

    def _send(self, number: int) -> None:
        if number == KILL and (os.getpgrp() != self.group or leave_group()):
            os.killpg(self.group, number)  # where this is the first process, all of its system but itself
        elif number in (KILL, STOP):  # which this process cannot ignore
            self.adopts = self.adopts and number != KILL  # nobody else can be killed without this process
            self.root.send_signal(number)
        elif number:
            before = signal.signal(number, signal.SIG_IGN)
            os.killpg(self.group, number)
            signal.signal(number, before)


def leave_group() -> bool:
    """Leave the group of this process for a new one; tell whether that could be done, or need not be.

    The first process of a system is not killed from within, and Linux never lets it end in the group of another one.
    """
    group = os.getpgrp()
    if os.getpid() == 1:
        return True
    other = os.fork()
    if not other:
        signal.pause()
    try:
        os.setpgid(other, other)
        os.setpgid(0, other)
    except OSError:  # it has begun its session
        pass
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    return os.getpgrp() != group
