"""End the processes for which a phase was waiting when it was interrupted, if the manager was asked for that.

Nothing else is certain to belong to the phase: when a thread ends, the system gives its children to another one. But
whoever waits in ``subprocess`` or ``multiprocessing`` says for whom, by the frames of the call. All that has come of
that process is held before the interrupt is raised, since ``subprocess.run`` then kills the one that it knows. It ends
when the phase is left (`tree`), or with this process.
"""

from __future__ import annotations

import signal
from sys import modules

from ..interpreter.frames import up
from ..originals import python, system
from ..processes import bound
from ..processes.tree import Tree

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any

    from ..errors import PhaseTimeout
    from ..counting.ledger import Phase

_open: set[Phase] = set()  # those whose children are to be ended
_awaited: dict[object, tuple[Tree, list[Any]]] = {}  # what has been taken hold of, and for whom the phase was waiting


def guard(phase: Phase) -> None:
    """End what this phase waits for when it is interrupted, or with this process."""
    _open.add(phase)


def note(phase: object, stack: Iterable[FrameType]) -> None:
    """Take hold of what the phase, which is about to be interrupted, is waiting for."""
    for frame in stack:
        if frame is getattr(phase, "_frame", None):
            break
        process = _waits_for(frame)
        if process is not None and process.returncode is None:
            tree, processes = _awaited.setdefault(phase, (Tree(since=0.0), []))
            processes.append(process)
            tree.look(processes)
            bound.bind(tree, processes)


def note_all() -> None:
    """Take hold of what every phase is waiting for now: this process ends."""
    frames = python._current_frames()
    for phase in _open.copy():
        if phase._watch is not None:
            note(phase, up(frames.get(phase._watch.thread.key)))


def _waits_for(frame: FrameType) -> Any:
    """Return the process for which a frame waits, if it is of ``subprocess`` or ``multiprocessing``."""
    module = frame.f_globals.get("__name__")
    if module == "subprocess":
        process = frame.f_locals.get("self")
        return process if isinstance(process, modules["subprocess"].Popen) else None
    if str(module).startswith("multiprocessing.popen_"):
        return frame.f_locals.get("self")
    return None


def end(phase: Phase, grace: float, struck: PhaseTimeout | None) -> None:
    """The phase is left: end what it was waiting for."""
    _open.discard(phase)
    if phase in _awaited:
        tree, processes = _awaited.pop(phase)
        tree.end([process for process in processes if process.returncode is None], signal.SIGTERM, grace)
        bound.release(tree)
        for process in processes:
            process.poll()  # nobody waits for it any more
        if struck is not None:
            struck.killed = (*struck.killed, *tree.killed)
            struck.survivors = (*struck.survivors, *tree.survivors)


def _forked() -> None:
    _open.clear()
    _awaited.clear()


if hasattr(system, "register_at_fork"):
    system.register_at_fork(after_in_child=_forked)
