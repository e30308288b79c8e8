"""End the processes for which a phase was waiting when it was interrupted, if the manager was asked for that.

Nothing else is certain to belong to the phase: when a thread ends, the system gives its children to another one. But
whoever waits in ``subprocess`` or ``multiprocessing`` says for whom, by the frames of the call. All that has come of
that process is held before the interrupt is raised, since ``subprocess.run`` then kills the one that it knows. It ends
when the phase is left (`tree`), or with this process. Who reads from a pipe waits for those who can write into it, and
only another thread can see from which one it reads, so the watchdog looks just before the time is over. On a busy
machine that comes too late; then what it saw ahead of that counts, if the frame that was reading is still there. Where
a thread waits in a call that nothing interrupts, the watchdog ends the child, and the call returns.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import takewhile

from ..counting.verdict import is_debugged
from ..errors import LET_PASS, PhaseTimeout
from ..interpreter import fork, watchdog
from ..interpreter.frames import frames_of, module_of, suspended_in
from ..interpreter.turns import coroutine
from ..interrupting.escalation import Escalation
from ..originals import signals, thread
from ..processes import bound, readers
from ..processes.tree import Tree
from ..seconds import INFINITY

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import FrameType
    from typing import Any

    from ..counting.ledger import Ledger
    from ..interrupting.enforcer import InterruptiblePhase as Phase, Struck
    from ..interrupting.position import Position

AHEAD, SHORTLY = 0.2, 0.02  # seconds before its time is over when it is seen what a phase waits for
BLOCKED = 0.2  # seconds after which a thread that has not come to be interrupted will not

_lock = thread.RLock()  # held while it is seen what a phase waits for, by its thread or by the watchdog
_open: set[Phase] = set()  # those whose children are to be ended
_awaited: dict[object, tuple[Tree, list[Any]]] = {}  # what has been taken hold of, and for whom the phase was waiting
_ahead: dict[object, FrameType | None] = {}  # where phases stood of which no more is known than what was seen ahead


class KillChildren(Escalation):
    """Ends what an interrupted phase was waiting for; that has so many seconds for it."""

    def __init__(self, grace: float) -> None:
        self.grace = grace

    def entered(self, phase: Phase, at: float) -> None:
        if phase.enforcer is not None:
            _open.add(phase)
            with suppress(RuntimeError):  # no thread can be started
                watchdog.add_job((self, phase), partial(self._look, phase))

    def struck(self, phase: Phase, position: Position) -> None:
        with _lock:
            _recall(phase, position.stack)
            note(phase, position.stack)

    def put_off(self, phase: Phase, position: Position) -> None:
        """Keep what is being started: before the interrupt comes, there may be no frame any more that knows it."""
        with _lock:
            _recall(phase, position.stack)
            _keep(phase, _found(phase, position.stack))

    def left(self, phase: Phase, struck: Struck) -> None:
        watchdog.remove_job((self, phase))
        _open.discard(phase)
        with _lock:
            _ahead.pop(phase, None)
            tree, processes = _awaited.pop(phase, (None, []))  # it is of this thread alone from now on
        if tree is None:
            return
        bound.release(tree)
        if struck is LET_PASS or struck is None and (getattr(phase, "rest", 1.0) > 0.0 or is_debugged(phase)):
            return tree.let_go()
        processes = _started(processes)
        tree.end(processes, self.grace)
        for process in processes:
            process.poll()  # nobody waits for it any more
        if isinstance(struck, PhaseTimeout):
            struck.killed = (*struck.killed, *tree.killed)
            struck.survivors = (*struck.survivors, *tree.survivors)

    def changed(self, ledger: Ledger) -> None:
        watchdog.ring()  # it may have to look earlier

    def _look(self, phase: Phase, now: float) -> float:
        """Take hold of what the phase waits for when its time is nearly over, and no more; return when to look again.

        Called by another thread, which can see in what call of the system the thread is.
        """
        rest = phase.left(now)
        if rest > AHEAD:
            return now + rest - AHEAD
        if not _lock.acquire(False):
            return now + SHORTLY
        try:
            if phase not in _open or phase.struck is LET_PASS:
                return INFINITY
            if phase not in _awaited or phase in _ahead and phase.struck is None:
                rest = _see(phase)
            elif rest < -BLOCKED and _is_blocked(phase) and not is_debugged(phase):
                tree, processes = _awaited[phase]
                if rest < -BLOCKED - self.grace:
                    tree.end(_started(processes))
                    return INFINITY
                tree.send(_started(processes), signals.SIGTERM)
        finally:
            _lock.release()
        return now + (rest - SHORTLY if rest > SHORTLY else BLOCKED)


def _recall(phase: object, stack: Collection[FrameType | None]) -> None:
    """Let go of what was seen ahead of time, unless the frame that was there is still on the stack."""
    if phase in _ahead and _ahead.pop(phase) not in stack and phase in _awaited:
        tree, _ = _awaited.pop(phase)
        bound.release(tree)
        tree.let_go()


def _see(phase: Phase) -> float:
    """Take hold of what the phase waits for now, in the place of what was seen ahead; return what is left then."""
    enforcer, frames = phase.enforcer, _frames(phase)
    found = _found(phase, frames)
    if not found and enforcer is not None and phase.key == enforcer.key:
        found = [_Child(pid) for pid in readers.writers(enforcer.key)]
        if found and frames[0] not in _frames(phase):  # it has moved on meanwhile
            found = []
    rest = phase.left(phase.ledger.clock())
    _recall(phase, () if found or rest > 0.0 else _frames(phase))
    if rest > SHORTLY:
        _ahead[phase] = next(iter(frames), None)
    _hold(phase, found)
    return rest


def note(phase: object, stack: Iterable[FrameType]) -> None:
    """Take hold of what the phase, which is about to be interrupted, is waiting for."""
    _hold(phase, _found(phase, stack))


def _found(phase: object, stack: Iterable[FrameType]) -> list[Any]:
    frames = takewhile(lambda frame: frame is not getattr(phase, "frame", None), stack)
    return [process for process in map(_waits_for, frames) if process is not None]


def _hold(phase: object, found: list[Any]) -> None:
    _keep(phase, found)
    if phase in _awaited:
        tree, processes = _awaited[phase]
        tree.look(_started(processes))


def _keep(phase: object, found: list[Any]) -> None:
    for process in found:
        if getattr(process, "returncode", None) is None:  # it has none before it is started, either
            tree, processes = _awaited.setdefault(phase, (Tree(since=0.0), []))
            if process not in processes:
                processes.append(process)
            bound.bind(tree, processes)


def _started(processes: list[Any]) -> list[Any]:
    return [each for each in processes if getattr(each, "pid", None) is not None and each.returncode is None]


def note_all() -> None:
    """Take hold of what every phase is waiting for now: this process ends."""
    for phase in _open.copy():
        if phase.enforcer is not None:
            note(phase, _frames(phase))


def _frames(phase: Phase) -> list[FrameType]:
    """Return where the phase stands, the innermost first."""
    frames: list[FrameType] = []
    for frame in frames_of(None if phase.enforcer is None else phase.enforcer.thread.key):
        if frame.f_code.co_name == "run_until_complete":  # what an event loop runs
            frames += suspended_in(coroutine(frame.f_locals.get("future")))
        frames.append(frame)
    return frames if phase.key.__class__ is int or phase.frame in frames else suspended_in(coroutine(phase.key))


def _is_blocked(phase: Phase) -> bool:
    """Tell whether nothing interrupts what the phase waits in, and it will not end with the process."""
    enforcer = phase.enforcer
    is_worker = enforcer is not None and enforcer.key == phase.key and not enforcer.ends_calls()
    return is_worker and not any(escalation.ends_process for escalation in phase.ledger.escalations)


class _Child:
    """A child process that somebody else waits for."""

    returncode = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> None:
        pass


def _waits_for(frame: FrameType) -> Any:
    """Return the process for which a frame waits, if it is of ``subprocess``, ``multiprocessing`` or ``asyncio``."""
    module = module_of(frame)
    process = frame.f_locals.get("self")
    if module == "subprocess":
        return process if hasattr(process, "poll") else None  # a Popen, whatever a test has put in its place
    if module.startswith("multiprocessing.popen_"):
        return process
    if module in ("asyncio.subprocess", "asyncio.streams"):
        transport = getattr(process, "_transport", None)  # of a process, or of a pipe of one
        transport = getattr(getattr(transport, "_protocol", None), "proc", transport)
        started = getattr(transport, "_proc", None)
        return None if started is None or started.returncode is not None else _Child(started.pid)
    return None


def _forked() -> None:
    global _lock
    _lock = thread.RLock()
    for known in _open, _awaited, _ahead:
        known.clear()


bound.before_the_end.append(note_all)
fork.in_child("kill_children", _forked)
