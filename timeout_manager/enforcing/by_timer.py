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
replaces the handler, is interrupted when it puts that right, and is late by then; under the unittest command the
watchdog stands behind. If it sets the default handler, the signal kills the process. To see what C code has set takes a
call of its own, so we look once in a second. A session keeps the timer set between its phases.

The signal, its handler and the timer are of no use without each other: so all of this is one file.
"""

from __future__ import annotations

import atexit

from ..interpreter import fork, safepoints
from ..interpreter.debugger import present
from ..interpreter.threads import blocks
from ..interpreter.timer import TO_THREAD, NoTimer, Timer, free_signals, handler_in_c, library
from ..originals import clock, signals, thread, uninterrupted
from ..seconds import INFINITY
from .main_thread import ELSEWHERE, MainThreadEnforcer, refusal

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Optional

REPEAT = 1.0  # seconds
TICK = 0.25  # seconds between looks whether the main thread has heard what was due
CHECK = 1.0  # seconds between looks whether C code has taken the signal
TRIAL = 0.5  # seconds in which a timer that goes off at once has to be heard


class ByTimer(MainThreadEnforcer):
    """Interrupts the main thread by the signal of our timer."""

    NAME = "timer"

    __slots__ = ()

    @classmethod
    def missing(cls) -> str:
        if _is_ours():
            return ""
        reason = _prepare()
        if not reason and not ByTimer.only.is_running:
            give_back()
        return reason

    @classmethod
    def start(cls, at: float) -> ByTimer | None:
        self: ByTimer = cls.only
        if self.is_running:
            if self.key != thread.get_ident():
                return None
            if at < self.at:
                self.arm(at)
            return self
        if not _is_ours() and _prepare():
            return None
        self.sessions += 1  # a phase in a signal handler is not to stop what has not begun yet
        try:
            self.key = _main
            if _signum in signals.pthread_sigmask(signals.SIG_UNBLOCK, (_signum,)):
                self.blocked = True
            self.is_running = True
            if at < self.at:
                self.arm(at)
        except BaseException:  # of a signal handler
            if self.is_running and not self.phases and self.sessions == 1:
                self.stop()
            raise
        finally:
            self.sessions -= 1
        return self

    def arm(self, at: float) -> None:
        global _next_check
        is_lost = clock.monotonic() > _next_check and not _is_heard(_signum) and _prepare() != ""
        if is_lost:  # somebody has its signal, and no other is free; it may be given back at any moment
            _next_check = 0.0
        if _timer is not None:
            _timer.off() if is_lost else _timer.set(at)
        self.at = at  # not before: if the signal comes in between, the timer is early rather than late
        self.expect_visit()
        if self.stale:  # another thread has set it meanwhile
            self.wake()

    def wake(self) -> None:
        with self.closing:
            if self.is_running and _timer is not None and signals.getsignal(_signum) is _fired:
                _timer.set(clock.monotonic())  # repeats: one signal is lost if a call of the system is about to begin

    def stop(self) -> None:
        if not self.is_running:  # it is of the process that this was forked from; it was stopped
            return
        with self.closing:
            self.is_running = False
        self.at = INFINITY
        if _timer is not None:
            _timer.off()
        self.stale = False
        if self.blocked:
            self.blocked = False
            if signals.getsignal(_signum) is _fired:
                signals.signal(_signum, signals.SIG_IGN)  # discards what the block has blocked
                signals.signal(_signum, _fired)
            signals.pthread_sigmask(signals.SIG_BLOCK, (_signum,))


_main: Optional[int] = None  # the ident of the main thread, once it is known
_signum = 0  # ours, while there is
_timer: Optional[Timer] = None
_handler = b""  # what the system calls for our signal,
_next_check = 0.0  # and when to see again whether it is that
_unable = ""  # why there can be none in this process
_heard = False  # since the trial has begun


@uninterrupted
def _fired(signum: int, frame: FrameType | None) -> None:
    __tracebackhide__ = True
    global _heard
    _heard = True
    self = ByTimer.only
    if self.is_running and not self.is_looking and frame is not None:
        self.fire(frame)


def renew() -> None:
    """Set up the way to the main thread anew, if code that ran there has replaced the handler or blocked the signal."""
    if ByTimer.only.is_running and ByTimer.only.key == thread.get_ident():
        signals.signal(_signum, _fired)
        signals.pthread_sigmask(signals.SIG_UNBLOCK, (_signum,))


def attend(now: float) -> float:
    """Stand behind the timer: a job for the watchdog, where one runs anyway. Return when to come again.

    It sends the main thread to look where that does not hear the signal, and takes the timer off where somebody has
    replaced the handler: by the default one the process would end.
    """
    again, self = now + TICK, ByTimer.only
    if not self.closing.acquire(False):  # a signal handler that opens phases may have interrupted who holds it
        return again
    try:
        if not self.is_running or not self.phases:
            return again
        is_heard, late = _timer is not None and signals.getsignal(_signum) is _fired, now - self.at
        if _timer is not None and not is_heard:
            _timer.off()
        if late >= 0.0 and (not is_heard or late >= REPEAT or late >= TICK and blocks(self.key, _signum)):
            self.excused = self.excused or present()
            self.send_from_outside()
        return again
    finally:
        self.closing.release()


# -- the signal and the timer ------------------------------------------------------------------------------------------


def _is_ours() -> bool:
    """Tell whether this is the main thread, and all is set up."""
    return _timer is not None and thread.get_ident() == _main and signals.getsignal(_signum) is _fired


def _is_heard(signum: int) -> bool:
    """Tell whether the handler is ours, for Python and for the system."""
    global _next_check
    _next_check = clock.monotonic() + CHECK
    return signals.getsignal(signum) is _fired and handler_in_c(signum) == _handler


def _prepare() -> str:
    """Choose a signal, and make the timer for the calling thread; return why that cannot be."""
    global _main, _unable
    if _unable or _main not in (None, thread.get_ident()):
        return _unable or ELSEWHERE
    reason = refusal()
    if reason:
        return reason
    try:
        library()
        signum = next(free_signals(), 0)
        if not signum:
            return "no real-time signal is free"
        if _timer is not None:  # somebody has taken its signal
            _drop()
        _try(signum)
        _main = thread.get_ident()
    except NoTimer as error:
        _unable = str(error)
    return _unable


def _try(signum: int) -> None:
    """Make the timer, and find out whether its signal is heard; NoTimer, and nothing is left, if not."""
    global _signum, _timer, _handler, _heard
    signals.signal(signum, _fired)
    _handler = handler_in_c(signum)
    blocked = signum in signals.pthread_sigmask(signals.SIG_UNBLOCK, (signum,))
    timer = None
    try:
        if signals.getsignal(signum) is not _fired:  # then it kills
            raise NoTimer("setting the handler of a signal has no effect here")
        timer = Timer(TO_THREAD, signum, interval=REPEAT)
        _heard = False
        now = clock.monotonic()
        timer.set(now)
        end = now + TRIAL
        while not _heard and clock.monotonic() < end:
            clock.sleep(TRIAL / 100)
        timer.off()
        if not _heard:
            raise NoTimer("the signal of a timer does not arrive here")
        if _timer is None:  # otherwise a signal handler has opened a phase meanwhile
            _signum, _timer = signum, timer
            ByTimer.only.state = safepoints.thread_state()
    finally:
        if blocked:
            signals.pthread_sigmask(signals.SIG_BLOCK, (signum,))
        if _timer is None or _timer is not timer:
            if timer is not None:
                timer.delete()
            _put_back(signum)


def _put_back(signum: int) -> None:
    """Put a signal back to its default, if its handler is ours, and discard what is pending of it."""
    if _is_heard(signum):
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
        if ByTimer.only.is_running:
            raise RuntimeError("phases or sessions are open, and need the timer that is to be given back")
        _drop()


def _forked() -> None:
    """Begin anew in a child process: it has inherited the handler, but not the timer."""
    global _main, _timer, _unable
    if _timer is not None:
        _put_back(_signum)
        if ByTimer.only.blocked:
            signals.pthread_sigmask(signals.SIG_BLOCK, (_signum,))
    _timer = None
    _main = None
    _unable = ""
    ByTimer.begin_anew()


def _exit() -> None:
    """Give all back: the interpreter ends, and with it the handler, at which the signal kills."""
    if thread.get_ident() == _main:
        ByTimer.only.is_running = False
        _drop()
        ByTimer.begin_anew()


ByTimer.begin()
atexit.register(_exit)
fork.in_child("by_timer", _forked)
