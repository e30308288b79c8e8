"""Ends what a run has started when the process of the run is killed.

A process of its own waits for that, in a session of its own, so that no signal to the group of the run reaches it. It
is no child of that process: it is not in the way of what waits for children.
"""

from __future__ import annotations

from errno import EAGAIN

from ..originals import signals, system
from ..processes.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Guard:
    """Guards this process from now on, until it is let go. It is to be made before there are threads."""

    def __init__(self, tree: Tree) -> None:
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)  # whoever started this process may have had it ignored
        waiting, self._pipe = system.pipe()
        first = system.fork()
        if not first:
            try:
                if not system.fork():
                    _guard(tree, waiting, self._pipe)
                system._exit(0)
            finally:
                system._exit(1)
        _, status = system.waitpid(first, 0)
        system.close(waiting)
        if status:
            raise OSError(EAGAIN, "too many processes")

    def let_go(self) -> None:
        """Let it end: there is nothing left to be ended."""
        system.write(self._pipe, b".")
        system.close(self._pipe)


def _guard(tree: Tree, waiting: int, other: int) -> NoReturn:
    try:
        system.setsid()
        for number in signals.SIGINT, signals.SIGTERM, signals.SIGHUP:
            signals.signal(number, signals.SIG_IGN)
        system.closerange(0, waiting)  # nobody waits for this process, and for what it holds open
        system.closerange(waiting + 1, max(other, system.sysconf("SC_OPEN_MAX")) + 1)
        system.chdir("/")
        if not system.read(waiting, 1):
            tree.end([])
    finally:
        system._exit(0)
