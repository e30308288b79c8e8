"""Interrupt the main thread by a timer of our own, with a signal that nobody uses.

What is wanted: what SIGALRM does, in what holds the GIL, too, as long as that looks for signals (regular expressions,
large integers), without an alarm that others set, replace or take off, and without a thread.

What does not work: to leave the timer set when a phase has ended. Nothing in Python notices a signal that comes too
late, but ``signal.pause``, a semaphore and other C code that does not begin anew return for it, in a block that is in
time. So the timer is off whenever no phase or session is open; in a session it is set anew when the next phase begins.

What works: a timer of the kernel (`timer`) that tells the main thread alone. Its signal is chosen once, and so is what
stays between phases: a handler for it, and a timer that is not set (`give_back`). Each phase takes two system calls for
the timer, and one that has the signal unblocked. Whether it works is found out by trying: a timer that goes off at once
has to be heard.

A signal can come between the last look of the interpreter and the system call that blocks. So it is sent again after
REPEAT, long enough for C code that begins its wait anew after each signal, and looks for them in between.

What remains: C code that does not return to the interpreter is not interrupted. A block that blocks the signal, or
replaces the handler (C code can do that unseen), is interrupted when it puts that right, and is late by then; under the
unittest command the watchdog stands behind. A session keeps the timer set between its phases.
"""

from __future__ import annotations

import atexit
import sys
from itertools import islice

from ..diagnosis.snapshot import lines_at
from ..interpreter import fork, safepoints, watchdog
from ..interpreter.debugger import present
from ..interpreter.frames import WALKABLE, up
from ..interpreter.timer import TO_THREAD, NoTimer, Timer, free_signals, library
from ..interrupting.delivery import look
from ..interrupting.enforcer import MOMENT, Watch
from ..originals import clock, python, signals, thread, uninterrupted
from ..seconds import INFINITY
from .by_signal import is_deaf

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Optional

NAME = "timer"
REPEAT = 1.0  # seconds
TICK = 0.25  # seconds between looks whether the main thread has heard what was due
TRIAL = 0.5  # seconds in which a timer that goes off at once has to be heard

watch = Watch(0, sys.modules[__name__])  #: over the main thread
_running = False
_main = 0  # the ident of the main thread, once it is known
_signum = 0  # ours, while there is
_timer: Optional[Timer] = None
_unable = ""  # why there can be none in this process
_heard = False  # since the trial has begun
_looking = False  # what comes meanwhile waits for that
_closing = thread.RLock()  # held while another thread sends the signal, lest it finds the handler gone


def missing() -> str:
    """Return why the calling thread cannot be watched; nothing if it can."""
    if _is_ours():
        return ""
    reason = _prepare()
    if not reason and not _running:
        give_back()
    return reason


def start(at: float) -> Watch | None:
    """Watch the calling thread, and fire at this instant at the latest; return None if that cannot be."""
    global _running
    if _running:
        if watch.key != thread.get_ident():
            return None
        if at < watch.at:
            arm(watch, at)
        return watch
    if not _is_ours() and _prepare():
        return None
    watch.sessions += 1  # a phase in a signal handler is not to stop what has not begun yet
    try:
        watch.key = _main
        if _signum in signals.pthread_sigmask(signals.SIG_UNBLOCK, (_signum,)):
            watch.blocked = True
        _running = True
        if at < watch.at:
            arm(watch, at)
    except BaseException:  # of a signal handler
        if _running and not watch.phases and watch.sessions == 1:
            stop(watch)
        raise
    finally:
        watch.sessions -= 1
    return watch


def stop(watch: Watch) -> None:
    """Take the timer off."""
    global _running
    if not watch.key or not _running or _timer is None:  # it is of the process that this one was forked from
        return
    with _closing:
        _running = False
    watch.at = INFINITY
    _timer.off()
    watch.stale = False
    if watch.blocked:
        watch.blocked = False
        if signals.getsignal(_signum) is _fired:
            signals.signal(_signum, signals.SIG_IGN)  # discards what the block has blocked
            signals.signal(_signum, _fired)
        signals.pthread_sigmask(signals.SIG_BLOCK, (_signum,))


def arm(watch: Watch, at: float) -> None:
    """Fire at this instant."""
    now = clock.monotonic()
    if _timer is not None:
        _timer.set(at - now)
    watch.at = at  # not before: if the signal comes in between, the timer is early rather than late
    if watchdog.is_running():
        watch.next(now)
        watchdog.expect(watch.sample)


def poke(watch: Watch) -> None:
    """Have the watched thread look at once; called in any thread."""
    with _closing:
        if _running and signals.getsignal(_signum) is _fired:
            signals.pthread_kill(watch.key, _signum)


@uninterrupted
def arrived(frame: FrameType, at: int) -> None:
    """Look where the thread was sent to (-1: it was not)."""
    global _looking
    _looking = True
    try:
        error = look(watch, frame, at)
    finally:
        _looking = False
    if _running:  # a look can close the last phase
        soon = clock.monotonic() + MOMENT  # a look can take longer than it is to the next, which would interrupt it
        arm(watch, soon if watch.stale or watch.at < soon else watch.at)
    if error is not None:
        try:
            raise error
        finally:
            del error


@uninterrupted
def _fired(signum: int, frame: FrameType | None) -> None:
    global _heard
    _heard = True
    if _running and not _looking and frame is not None:
        arrived(frame, -1)


def renew() -> None:
    """Set up the way to the main thread anew, if code that ran there has replaced the handler or blocked the signal."""
    if _running and watch.key == thread.get_ident():
        signals.signal(_signum, _fired)
        signals.pthread_sigmask(signals.SIG_UNBLOCK, (_signum,))


def attend(now: float) -> float:
    """Stand behind the timer: a job for the watchdog, where one runs anyway. Return when to come again.

    It sends the main thread to look where that does not hear the signal, and takes the timer off where somebody has
    replaced the handler: by the default one the process would end.
    """
    again = now + TICK
    if not _closing.acquire(False):  # a signal handler that opens phases may have interrupted who holds it
        return again
    try:
        if not _running or _timer is None or not watch.phases:
            return again
        is_heard = signals.getsignal(_signum) is _fired
        if not is_heard:
            _timer.off()
        if watch.at + (TICK if is_heard else 0.0) <= now:
            watch.excused = watch.excused or present()
            safepoints.arrange(watch.key, watch.state, _frames(), arrived)
        return again
    finally:
        _closing.release()


def _see(now: float) -> float:
    """See where the main thread stands, if the watchdog runs; return when to do so again."""
    if not _running:
        return INFINITY
    watch.next(now)
    if watch.is_sample(now):
        watch.see(lines_at(_frames()), now)
    return watch.sample if now < watch.sample else INFINITY


def _frames() -> Iterator[FrameType]:
    return islice(up(python._current_frames().get(watch.key)), WALKABLE)


# -- the signal and the timer ------------------------------------------------------------------------------------------


def _is_ours() -> bool:
    """Tell whether this is the main thread, and all is set up."""
    return _timer is not None and thread.get_ident() == _main and signals.getsignal(_signum) is _fired


def _prepare() -> str:
    """Choose a signal, and make the timer for the calling thread; return why that cannot be."""
    global _main, _unable
    if _unable or _main not in (0, thread.get_ident()) or not _is_main_thread():
        return _unable or "only the main thread of the main interpreter can be interrupted by a signal"
    try:
        library()
        signums = free_signals()
        if not signums:
            return "no real-time signal is free"
        if _timer is not None:  # somebody has taken its signal
            _drop()
        _try(signums[0])
        _main = thread.get_ident()
    except NoTimer as error:
        _unable = str(error)
    return _unable


def _is_main_thread() -> bool:
    try:
        signals.signal(signals.SIGTERM, None)
    except TypeError:  # the thread was right
        return not is_deaf()
    except (ValueError, AttributeError):
        return False
    return True


def _try(signum: int) -> None:
    """Make the timer, and find out whether its signal is heard; NoTimer, and nothing is left, if not."""
    global _signum, _timer, _heard
    signals.signal(signum, _fired)
    blocked = signum in signals.pthread_sigmask(signals.SIG_UNBLOCK, (signum,))
    timer = None
    try:
        if signals.getsignal(signum) is not _fired:  # then it kills
            raise NoTimer("setting the handler of a signal has no effect here")
        timer = Timer(TO_THREAD, signum, interval=REPEAT)
        _heard = False
        timer.set(0.0)
        end = clock.monotonic() + TRIAL
        while not _heard and clock.monotonic() < end:
            clock.sleep(TRIAL / 100)
        timer.off()
        if not _heard:
            raise NoTimer("the signal of a timer does not arrive here")
        if _timer is None:  # otherwise a signal handler has opened a phase meanwhile
            _signum, _timer = signum, timer
            watch.state = safepoints.thread_state()
    finally:
        if blocked:
            signals.pthread_sigmask(signals.SIG_BLOCK, (signum,))
        if _timer is None or _timer is not timer:
            if timer is not None:
                timer.delete()
            _put_back(signum)


def _put_back(signum: int) -> None:
    """Put a signal back to its default, if its handler is ours, and discard what is pending of it."""
    if signals.getsignal(signum) is _fired:
        signals.signal(signum, signals.SIG_IGN)
        signals.signal(signum, signals.SIG_DFL)


def _drop() -> None:
    global _timer
    timer, _timer = _timer, None
    if timer is not None:
        timer.delete()
        _put_back(_signum)


@uninterrupted
def give_back() -> None:
    """Delete the timer, and put the signal back to its default; RuntimeError while phases or sessions are open.

    There is nothing to give back in a thread that is not the main one.
    """
    if thread.get_ident() == _main:
        if _running:
            raise RuntimeError("phases or sessions are open, and need the timer that is to be given back")
        _drop()


def _forked() -> None:
    """Begin anew in a child process: it has inherited the handler, but not the timer."""
    global _running, _main, _timer, _unable, _closing
    if _timer is not None:
        _put_back(_signum)
        if watch.blocked:
            signals.pthread_sigmask(signals.SIG_BLOCK, (_signum,))
    _timer = None
    _running = False
    _main = 0
    _unable = ""
    _closing = thread.RLock()
    _begin_anew()


def _exit() -> None:
    """Give all back: the interpreter ends, and with it the handler, at which the signal kills."""
    global _running
    if thread.get_ident() == _main:
        _running = False
        _drop()
        _begin_anew()


def _begin_anew() -> None:
    global watch
    watch.forget()
    watch = Watch(0, sys.modules[__name__])


watchdog.guests.append(_see)
atexit.register(_exit)
fork.in_child("by_timer", _forked)
