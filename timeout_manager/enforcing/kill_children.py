"""End the processes for which a phase was waiting when it was interrupted, if the manager was asked for that.

Nothing else is certain to belong to the phase: when a thread ends, the system gives its children to another one. But
whoever waits in ``subprocess`` says for whom, by the frames of the call. All that has come of that process is held
before the interrupt is raised, since ``subprocess.run`` then kills the one that it knows. It ends when the phase is
left (`tree`).
"""

from __future__ import annotations

import signal
from sys import modules

from ..originals import system
from ..processes.tree import Tree

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any

    from ..errors import PhaseTimeout
    from ..counting.ledger import Phase

_awaited: dict[Phase, tuple[Tree, list[Any]]] = {}  # what has been taken hold of, and for whom the phase was waiting


def note(phase: Phase, stack: Iterable[FrameType]) -> None:
    """Take hold of what the phase, which is about to be interrupted, is waiting for."""
    subprocess = modules.get("subprocess")
    for frame in stack:
        if frame is phase._frame:
            break
        if subprocess is not None and frame.f_globals is vars(subprocess):
            process = frame.f_locals.get("self")
            if isinstance(process, subprocess.Popen) and process.returncode is None:
                tree, processes = _awaited.setdefault(phase, (Tree(since=0.0), []))
                processes.append(process)
                tree.look([process])


def end(phase: Phase, grace: float, struck: PhaseTimeout | None) -> None:
    """The phase is left: end what it was waiting for."""
    if phase in _awaited:
        tree, processes = _awaited.pop(phase)
        tree.end([process for process in processes if process.returncode is None], signal.SIGTERM, grace)
        for process in processes:
            process.poll()  # nobody waits for it any more
        if struck is not None:
            struck.killed = (*struck.killed, *tree.killed)
            struck.survivors = (*struck.survivors, *tree.survivors)


if hasattr(system, "register_at_fork"):
    system.register_at_fork(after_in_child=_awaited.clear)
