"""A child of this process and the group that it leads, where nothing else is known of processes."""

from __future__ import annotations

from os import fsdecode

from ..originals import system
from ..seconds import INFINITY
from .table import Process, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Group(Process):
    """A child, as an object of ``subprocess.Popen``, together with its group."""

    def __init__(self, root: Any) -> None:
        super().__init__(root.pid, system.getpid(), root.pid, root.pid, "S", INFINITY)
        self.root = root
        self.others: dict[int, Process] = {}  # who else is known to be in it, by number
        args = getattr(root, "args", "")
        words = [args] if isinstance(args, (str, bytes)) or hasattr(args, "__fspath__") else args
        self.command = shown(" ".join(map(fsdecode, words)))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "root": None, "others": {}}

    def hold(self) -> bool:
        return True

    def is_left(self) -> bool:
        """Tell whether one of them is there."""
        if self.root.poll() is None:
            return True
        try:
            while system.waitpid(-self.pid, system.WNOHANG)[0]:  # the first process of a system gets the orphans
                pass
        except ChildProcessError:
            pass
        return to_group(self.pid, 0)

    def _send(self, number: int) -> None:
        if not to_group(self.pid, number):  # it leads none
            self.root.send_signal(number)


def to_group(group: int, number: int) -> bool:
    """Send a signal to all of a group who may get it; tell whether that was somebody (for 0, whether there is one)."""
    try:
        system.killpg(group, number)
        return True
    except PermissionError:  # nobody in it may get it
        return number == 0
    except OSError:
        return False
