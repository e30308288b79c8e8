"""Interrupt any thread from another one.

What is wanted: what the alarm does for the main thread, for all others; and for the main thread, too, where SIGALRM
is not to be touched.

What does not work: to set an exception in another thread. Between the look whether its phase is still open and the
moment when the exception arrives the phase may end, and the exception surfaces in whatever comes next.

What works: to send the thread to a function of ours, which looks and raises there (`landing`). What it sees is true,
since it is the watched thread itself that looks. The main thread gets a signal instead, one of the real-time signals
that nobody uses (SIGURG where there are none), and looks in its handler, so that blocking calls end, too.

What remains: a blocking call in a thread that is not the main one ends when it returns. While C code holds the GIL, the
watchdog does not run either. There is one for all threads, started with the first watch and gone with the last.
"""

from __future__ import annotations

import atexit
import sys
from itertools import islice

from ..interpreter import fork, safepoints, watchdog
from ..interpreter.debugger import present
from ..diagnosis.snapshot import lines_at
from ..interrupting.delivery import look
from ..originals import python, thread, uninterrupted
from ..originals import signals as _signal
from ..seconds import INFINITY
from ..interpreter.frames import WALKABLE, up
from ..interrupting.whereabouts import give_up
from ..interrupting.enforcer import MOMENT, SUSPENDED, Watch

RLock, _local, get_ident = thread.RLock, thread._local, thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

NAME = "thread"

_SIGNALS = range(getattr(_signal, "SIGRTMAX", 0), getattr(_signal, "SIGRTMIN", 0), -1) or (
    [_signal.SIGURG] if hasattr(_signal, "pthread_kill") else []  # macOS; by default nothing happens then
)

watches: dict[int, Watch] = {}  #: by the ident of the thread
_closing = RLock()  # held while the watchdog sends a thread somewhere, lest its watch is gone
_ties = _local()  # what ends with a thread


def missing() -> str:
    """Return why the calling thread cannot be watched; nothing if it can."""
    if get_ident() in watches:
        return ""
    probe = Watch(get_ident(), sys.modules[__name__])
    reason = _find_way(probe)
    if not reason:
        _leave_way(probe)
        reason = watchdog.missing()
    return reason


def start(at: float) -> Watch | None:
    """Watch the calling thread, and fire at this instant at the latest; return None if that cannot be."""
    watch = watches.get(get_ident())
    if watch is not None:
        if at < watch.at:
            arm(watch, at)
        return watch
    safepoints.withdraw(get_ident())  # what was left by a thread that is gone and had the same ident
    watch = Watch(get_ident(), sys.modules[__name__])
    watch.at = at
    if _find_way(watch):
        return None
    if not hasattr(_ties, "tie"):
        _ties.tie = _Tie()
    watch.sessions += 1  # a phase in a signal handler is not to stop what has not begun yet
    watches[watch.key] = watch
    try:
        watchdog.add_job(watch, lambda now: _attend(watch, now))
    except RuntimeError:  # no thread can be started
        del watches[watch.key]
        _leave_way(watch)
        return None
    finally:
        watch.sessions -= 1
    return watch


def stop(watch: Watch) -> None:
    """Let the thread go."""
    if watches.get(watch.key) is not watch:  # it is of the process that this one was forked from; it was stopped
        return
    with _closing:
        watches.pop(watch.key, None)
    watch.at = INFINITY
    watchdog.remove_job(watch)
    safepoints.withdraw(watch.key)
    _leave_way(watch)


class _Tie:
    """Ends with the thread that has it, and closes what is open there: the next thread may have the same ident."""

    def __init__(self) -> None:
        self.key = get_ident()

    @uninterrupted
    def __del__(self) -> None:
        watch = watches.get(self.key) if watches else None  # None: the interpreter ends
        if watch is not None and self.key == get_ident():  # otherwise this is a child process, which clears up
            stop(watch)
            for phase in watch.phases[::-1]:
                give_up(phase)
            watch.forget()


def arm(watch: Watch, at: float) -> None:
    """Fire at this instant."""
    before, watch.at = watch.at, at
    watch.wait = MOMENT
    if at < before:  # otherwise it comes early, and sees that it is too early
        watchdog.ring()


def poke(watch: Watch) -> None:
    """Have the watched thread look at once; called in any thread."""
    watchdog.ring()


@uninterrupted
def arrived(frame: FrameType, at: int) -> None:
    """Look where the thread was sent to."""
    watch = watches.get(get_ident())
    if watch is not None:
        _look(watch, frame, at)


@uninterrupted
def _fired(signum: int, frame: FrameType | None) -> None:
    watch = watches.get(get_ident())
    if watch is not None and frame is not None:
        _look(watch, frame, -1)


def _look(watch: Watch, frame: FrameType, landed: int) -> None:
    error = look(watch, frame, landed)
    watch.wait = MOMENT
    watchdog.ring()
    if error is not None:
        try:
            raise error
        finally:
            del error


def renew() -> None:
    """Set up the way to the calling thread anew, if code that ran there has replaced or blocked the signal."""
    watch = watches.get(get_ident())
    if watch is not None and watch.signum:
        if _signal.getsignal(watch.signum) is not _fired:
            _signal.signal(watch.signum, _fired)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (watch.signum,))


def _attend(watch: Watch, now: float) -> float:
    """Have the watched thread look if it is time; look after it again later and later, until it has done so."""
    if not _closing.acquire(False):  # a signal handler that opens phases may have interrupted who holds it
        return now + MOMENT
    try:
        if watches.get(watch.key) is not watch:  # not any more
            return watch.at
        if watch.is_sample(now):
            watch.see(lines_at(islice(up(python._current_frames().get(watch.key)), WALKABLE)), now)
        elif watch.stale or watch.at <= now:
            watch.at = now + watch.wait
            watch.wait = min(2 * watch.wait, SUSPENDED)
            watch.stale = False
            watch.excused = watch.excused or present()
            if watch.signum and _signal.getsignal(watch.signum) is _fired:
                _signal.pthread_kill(watch.key, watch.signum)
            if not watch.signum or watch.wait >= SUSPENDED:  # the block may have blocked the signal, or replaced ours
                frames = up(python._current_frames().get(watch.key))
                safepoints.arrange(watch.key, watch.state, islice(frames, WALKABLE), arrived)
    finally:
        _closing.release()
    return watch.next(now)


# -- the way to a thread -----------------------------------------------------------------------------------------------


def _find_way(watch: Watch) -> str:
    """Find out how the calling thread can be interrupted: by a signal, or by sending it somewhere."""
    for signum in _SIGNALS:
        if _signal.getsignal(signum) != _signal.SIG_DFL:
            continue  # somebody's
        try:
            _signal.signal(signum, _fired)
        except ValueError:  # not the main thread of the main interpreter
            break
        if _signal.getsignal(signum) is _fired:
            watch.signum = signum
            watch.blocked = signum in _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (signum,))
            watch.state = safepoints.thread_state() if safepoints.IS_CHEAP else 0
            return ""
    watch.state = safepoints.thread_state()
    return "" if watch.state else "this interpreter cannot reach into another thread"


def _leave_way(watch: Watch) -> None:
    if watch.signum:
        _signal.sigpending()  # a system call: what was sent to this thread comes before the handler is gone
        if _signal.getsignal(watch.signum) is _fired:
            _signal.signal(watch.signum, _signal.SIG_IGN)  # discards what the block has blocked
            _signal.signal(watch.signum, _signal.SIG_DFL)
        if watch.blocked:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, (watch.signum,))


def _forked() -> None:
    """Begin anew in a child process: it has inherited no thread but the calling one."""
    global _closing
    _closing = RLock()
    for watch in watches.values():
        if watch.signum:
            _leave_way(watch)
        watch.forget()
    watches.clear()


def _exit() -> None:
    """Watch nobody any more: the interpreter ends, and with it every thread."""
    for watch in list(watches.values()):
        watchdog.remove_job(watch)
        if watch.key == get_ident():
            _leave_way(watch)
        watch.forget()
    watches.clear()


atexit.register(_exit)
fork.in_child("by_thread", _forked)
