"""End the whole process when a block outlives its deadline by ``kill_after``.

What is wanted: a block that nothing can interrupt (a loop in C, a lock that is never given back, code that swallows
everything) ends all the same, and says where it stood. Exit status 124, as of coreutils' ``timeout``.

What does not work: Python code alone. While C code holds the GIL none runs, in any thread. ``faulthandler`` has a
timer for that, but it exits with 1, and it is one for the whole process: to take it breaks whoever set it.

What works: the watchdog looks at the instant, and if the block is still running it prints the error, the ledger and
all stacks, and exits. Behind it stand three timers of the kernel, set a little later and handled by C code alone: a
line on stderr by libc's ``warnx``, the stacks by the handler that ``faulthandler.register`` installs for a signal, and
libc's ``_exit``.

Where no thread can be started, the signal that interrupts a block looks instead, each time that it does.

What it costs others: one real-time signal, while such a block is open, and a sleeping thread of libc's (no Python
thread) from the first such block on. What remains: the timers are Linux's; elsewhere the GIL has to be free.
"""

from __future__ import annotations

import sys
from functools import partial
from warnings import warn

from ..counting.report import table
from ..counting.verdict import is_debugged, overrun, timeout_in
from ..diagnosis.lines import of_others
from ..errors import LET_PASS, STATUS
from ..interpreter import fork, watchdog
from ..interpreter.end_timers import EndTimers, faults
from ..interpreter.frames import suspended_in, up, waits
from ..interpreter.stderr import STDERR, tell
from ..interpreter.threads import thread_of
from ..interpreter.turns import coroutine
from ..interrupting.escalation import Escalation
from ..interrupting.whereabouts import awaits, is_by_hand, place
from ..originals import clock, files, python, system, thread
from ..processes import bound
from ..seconds import INFINITY, path, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

    from ..counting.ledger import Ledger
    from ..interrupting.enforcer import InterruptiblePhase as Phase, Struck
    from ..interrupting.position import Position

AGAIN = 0.1  # seconds until the next look at a block that is over but not running
ENDING = 10.0  # seconds that it may take to end what ends with the process

_ends: dict[Phase, End] = {}
_lock = thread.RLock()  # held while these and the timers are changed
_timers: Any = None  # the kernel's, False where there are none


class End:
    """When the process is to be ended for a phase."""

    def __init__(self, at: float, seconds: float) -> None:
        self.at = at
        self.seconds = seconds  # after its deadline
        self.rests = False  # the phase does not run, or stands aside; code that holds the GIL is not its own


class KillAfter(Escalation):
    """Ends the process so many seconds after the deadline of a phase that is still running."""

    ends_process = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def entered(self, phase: Phase, at: float) -> None:
        with _lock:
            _ends[phase] = End(at + self.seconds, self.seconds)
        try:
            watchdog.add_job(phase, partial(_look, phase))
        except RuntimeError as error:  # no thread can be started
            if phase.enforcer is None or phase.key.__class__ is not int:  # nor does a signal come
                self.let_pass(phase)
                why = f"nothing can look whether it has to ({error})"
                warn(f"kill_after cannot end this process: {why}", RuntimeWarning, 4)
        except BaseException:
            self.let_pass(phase)
            raise
        _set_timers()

    def struck(self, phase: Phase, position: Position) -> None:
        for each in () if watchdog.jobs else _ends.copy():  # there is no watchdog
            _look(each, clock.monotonic())

    def left(self, phase: Phase, struck: Struck) -> None:
        self.let_pass(phase)

    def changed(self, ledger: Ledger) -> None:
        tops: list[Any] = [*ledger.open.copy().values(), *ledger.aside.copy().values()]  # they may have had no limit
        known = [phase for phase in _ends.copy() if phase.ledger is ledger]
        for phase in {*known, *(phase for top in tops for phase in top.outwards())}:
            now = clock.monotonic()
            at = now + phase.left(now)
            if phase in _ends:
                _set_end(phase, at + self.seconds, _stands_aside(phase))
                watchdog.ring()
            elif phase.outcome == "running" and at < INFINITY:
                self.entered(phase, at)

    def let_pass(self, phase: Phase) -> None:
        with _lock:
            known = _ends.pop(phase, None) is not None
        if known:
            watchdog.remove_job(phase)
            _set_timers()


def _look(phase: Phase, now: float) -> float:
    """End the process if it is time; return when to look again."""
    end = _ends.get(phase)
    if end is None or now < end.at:
        return INFINITY if end is None else end.at
    at = now + phase.left(now) + end.seconds if phase.outcome == "running" else INFINITY
    if at > now:
        return _set_end(phase, at, _stands_aside(phase))
    if not _is_running(phase) or _stands_aside(phase):
        return _set_end(phase, now + AGAIN, rests=True)
    if not is_debugged(phase):
        error = timeout_in(phase, overrun(phase, now) or phase, now)
        kill(f"{error}\nThe block is still running {text(end.seconds)} after that.", table(phase.ledger))
    phase.struck = LET_PASS
    return _set_end(phase, INFINITY)


def _is_running(phase: Phase) -> bool:
    """Tell whether its thread stands in the block, or its task awaits there; a suspended generator does not run."""
    frames = python._current_frames()
    thread = phase.key if phase.enforcer is None else phase.enforcer.thread.key
    tops = [frames.get(thread)] if thread.__class__ is int else frames.values()  # a task may run in any of them
    stack = [frame for top in tops for frame in up(top)]
    at = place(phase, stack)
    if at is not None and at[0] in stack:
        return True
    coro = coroutine(phase.key)
    if coro is not None:
        return awaits(phase, suspended_in(coro))
    return at is not None and (is_by_hand(at) or _waits(phase, at[0], stack))  # by hand: that function has returned


def _waits(phase: Phase, frame: FrameType, stack: list[FrameType]) -> bool:
    """Tell whether a frame of the phase waits in its greenlet, while another one runs on this stack of its thread."""
    if phase.key.__class__ is int:  # the greenlet of the thread itself is not known, but what it began with
        here = bool(stack) or thread_of(phase.key) is not None  # or C code alone, without a frame
        return "greenlet" in sys.modules and here and [*up(frame)][-1] not in stack
    return phase.greenlet is not None and frame in waits(phase.greenlet())


def _stands_aside(phase: Phase) -> bool:
    """Tell whether a cleanup inside of it is open."""
    return phase.key in phase.ledger.aside and not phase.in_cleanup()


def _set_end(phase: Phase, at: float, rests: bool = False) -> float:
    with _lock:
        end = _ends.get(phase)
        if end is not None:  # otherwise it has been left meanwhile
            end.at, end.rests = at, rests
            _set_timers()
    return at


def kill(why: str, report: str, status: int = STATUS) -> NoReturn:
    """Say why, print the report and all stacks on the real stderr, and end the process."""
    try:
        with _lock:  # the kernel's timers wait for what is done here
            for end in _ends.values():
                end.at = clock.monotonic() + ENDING
            _set_timers()
        lines = why, f"The process ends with status {status}.", report and f"\n{report}"
        tell("\n".join(["", *filter(None, lines), ""]))
        _dump()
        bound.end_all()
    finally:
        system._exit(status)


def _dump() -> None:
    """Print the stacks of all threads as C sees them, without ours where a file in memory can be had."""
    try:
        descriptor = system.memfd_create("stacks")
    except (AttributeError, OSError):
        faults.dump_traceback(STDERR, all_threads=True)
        return
    faults.dump_traceback(descriptor, all_threads=True)
    system.lseek(descriptor, 0, 0)
    with files.open(descriptor, "rb") as file:
        stacks = file.read().decode(errors="replace")
    tell("".join(f"\n{each}\n" for each in of_others(stacks)))


# -- the kernel's timers -----------------------------------------------------------------------------------------------


def _set_timers() -> None:
    global _timers
    with _lock:
        if _timers is None and _ends:
            _timers = EndTimers.make(STATUS) or False
        if _timers:
            ends = [(end.at, phase) for phase, end in _ends.items() if not end.rests]
            at, phase = min(ends, key=lambda each: each[0], default=(INFINITY, None))
            where = "" if phase is None else path(phase.path())
            _timers.set(at, f"phase {where} outlives its limit, and the GIL is not free")


def give_back() -> None:
    """Delete them; RuntimeError while phases are open that need them."""
    global _timers
    with _lock:
        if _timers:
            if _ends:
                raise RuntimeError("phases are open, and need the timers of kill_after, which are to be given back")
            _timers.delete()
        _timers = None


def _forked() -> None:
    global _lock, _timers
    _lock = thread.RLock()
    _ends.clear()
    _timers = None  # a child process inherits none


fork.in_child("kill_after", _forked)
