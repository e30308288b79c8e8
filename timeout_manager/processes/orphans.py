"""What loses its parent, and how this process comes to be the parent of it."""

from __future__ import annotations

import sys

from ..originals import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def adopt() -> bool:
    """Have what loses its parent become a child of this process, unless it has children that are nobody's affair."""
    try:
        system.waitpid(-1, system.WNOHANG)
        return False
    except (AttributeError, ChildProcessError):
        pass
    try:
        import ctypes

        long = ctypes.c_ulong
        return sys.platform == "linux" and not ctypes.CDLL(None).prctl(SUBREAPER, long(1), long(0), long(0), long(0))
    except (ImportError, OSError, AttributeError):
        return False


def collect(known: Iterable[Any] = ()) -> bool:
    """Collect the children of this process that have ended; tell whether there are others. Known ones are told how."""
    by_pid = {child.pid: child for child in known}
    while True:
        try:
            pid, status = system.waitpid(-1, system.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
        if pid in by_pid:
            by_pid[pid].returncode = system.waitstatus_to_exitcode(status)
