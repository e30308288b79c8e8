"""Interrupt any thread from another one.

What is wanted: what the alarm does for the main thread, for all others; and for the main thread, too, where SIGALRM
is not to be touched.

What does not work: to set an exception in another thread. Between the look whether its phase is still open and the
moment when the exception arrives the phase may end, and the exception surfaces in whatever comes next.

What works: to send the thread to a function of ours, which looks and raises there (`safepoints`). What it sees is true,
since it is the watched thread itself that looks. The main thread gets a signal instead, one of the real-time signals
that nobody uses (SIGURG where there is none), and looks in its handler, so that blocking calls end, too. As long as it
does not look, the signal comes again, each time later, up to a second: C code may begin its wait anew after each.

What remains: a blocking call in a thread that is not the main one ends when it returns. While C code holds the GIL, the
watchdog does not run either. There is one for all threads, started with the first enforcer and gone with the last, or
half a second later: code that takes its threads for all there are, like ``unshare``, may meet it in that time.
"""

from __future__ import annotations

import atexit
from itertools import chain

from ..interpreter import fork, safepoints, threads, watchdog
from ..interpreter.debugger import present
from ..interpreter.timer import free_signals
from ..interrupting.delivery import look
from ..interrupting.enforcer import MOMENT, SUSPENDED, ThreadEnforcer
from ..interrupting.expiry import LAST
from ..interrupting.whereabouts import give_up
from ..originals import clock, signals, thread, uninterrupted
from ..seconds import INFINITY
from .main_thread import refusal

RLock, _local, get_ident = thread.RLock, thread._local, thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

enforcers: dict[int, ByThread] = {}  #: by the ident of the thread
_closing = RLock()  # held while the watchdog sends a thread somewhere, lest its enforcer is gone
_ties = _local()  # what ends with a thread


class ByThread(ThreadEnforcer):
    """Interrupts a thread by the watchdog."""

    NAME = "thread"

    __slots__ = ("signum", "wait")

    def __init__(self, key: int) -> None:
        super().__init__(key)
        self.signum = 0  # by which the watchdog interrupts the main thread
        self.wait = MOMENT  # of the watchdog, for a thread that does not arrive

    @classmethod
    def missing(cls) -> str:
        if get_ident() in enforcers:
            return ""
        probe = cls(get_ident())
        reason = probe.find_way()
        if not reason:
            probe.leave_way()
        return reason or watchdog.missing()

    @classmethod
    def start(cls, at: float) -> ByThread | None:
        self = enforcers.get(get_ident())
        if self is not None:
            if at < self.at:
                self.arm(at)
            return self
        safepoints.withdraw(get_ident())  # what was left by a thread that is gone and had the same ident
        tie = getattr(_ties, "tie", None) or _Tie()
        self = tie.enforcer or cls(get_ident())
        if not self.state and self.find_way():
            return None
        _ties.tie = tie
        if not self.signum:
            tie.enforcer = self  # it takes long to find out, and stays
        self.sessions += 1  # a phase in a signal handler is not to stop what has not begun yet
        self.at, self.wait, self.stale = at, MOMENT, False
        enforcers[self.key] = self
        try:
            watchdog.add_job(self, self.attend, at=self.next(clock.monotonic()))
        except RuntimeError:  # no thread can be started
            del enforcers[self.key]
            self.leave_way()
            return None
        finally:
            self.sessions -= 1
        return self

    @classmethod
    def started(cls) -> list[ByThread]:
        return [*enforcers.copy().values()]

    def arm(self, at: float) -> None:
        before, self.at = self.at, at
        self.wait = MOMENT
        if at < before:  # otherwise it comes early, and sees that it is too early
            watchdog.ring()

    def wake(self) -> None:
        watchdog.ring()

    def stop(self) -> None:
        """Let the thread go."""
        if enforcers.get(self.key) is not self:  # it is of the process that this was forked from; it was stopped
            return
        with _closing:
            enforcers.pop(self.key, None)
        self.at = INFINITY
        watchdog.remove_job(self, lingers=not self.signum)  # for the main thread it is gone at once
        safepoints.withdraw(self.key)
        self.leave_way()

    def look(self, frame: FrameType, sent_to: int) -> BaseException | None:
        if enforcers.get(get_ident()) is not self:  # not any more
            return None
        error = look(self, frame, sent_to)
        self.wait = MOMENT
        watchdog.ring()
        return error

    def ends_calls(self) -> bool:
        return self.signum != 0

    def attend(self, now: float) -> float:
        """Have the thread look if it is time; look after it again later and later, until it has done so."""
        if not _closing.acquire(False):  # a signal handler that opens phases may have interrupted who holds it
            return now + MOMENT
        try:
            if enforcers.get(self.key) is not self:  # not any more
                return self.at
            if self.is_sample(now):
                self.see_thread(now)
            elif self.stale or self.at <= now:
                self.at = now + self.wait
                self.wait = min(2 * self.wait, LAST if self.signum else SUSPENDED)
                self.stale = False
                self.excused = self.excused or present()
                # to be sent from outside takes a debugger its tracing up to 3.11, so who hears the signal has longer
                if not self._signal() or self.wait >= (SUSPENDED if threads.blocks(self.key, self.signum) else LAST):
                    self.send_from_outside()
        finally:
            _closing.release()
        return self.next(now)

    def _signal(self) -> bool:
        """Send the signal; return False if that cannot be, or nobody would hear it."""
        if not self.signum or signals.getsignal(self.signum) is not _fired:
            return False
        try:
            signals.pthread_kill(self.key, self.signum)
        except OSError:  # too many signals wait
            return False
        return True

    # -- the way to the thread

    def find_way(self) -> str:
        """Find out how the calling thread can be interrupted: by a signal, or by sending it somewhere; or why not."""
        self.state = safepoints.thread_state()
        usable = () if refusal() else chain(free_signals(), [signals.SIGURG])  # by default nothing happens at that
        for signum in usable:
            if signals.getsignal(signum) != signals.SIG_DFL:
                continue  # somebody's
            signals.signal(signum, _fired)
            if signals.getsignal(signum) is _fired:
                self.signum = signum
                self.blocked = signum in signals.pthread_sigmask(signals.SIG_UNBLOCK, (signum,))
                return ""
        return "" if self.state else "this interpreter cannot reach into another thread"

    def leave_way(self) -> None:
        """Put back what was set up for that."""
        if self.signum:
            signals.sigpending()  # a system call: what was sent to this thread comes before the handler is gone
            if signals.getsignal(self.signum) is _fired:
                signals.signal(self.signum, signals.SIG_IGN)  # discards what the block has blocked
                signals.signal(self.signum, signals.SIG_DFL)
            if self.blocked:
                signals.pthread_sigmask(signals.SIG_BLOCK, (self.signum,))


class _Tie:
    """Ends with the thread that has it, and closes what is open there: the next thread may have the same ident."""

    def __init__(self) -> None:
        self.key = get_ident()
        self.enforcer: ByThread | None = None  # that has been found to need no signal

    @uninterrupted
    def __del__(self) -> None:
        is_own = enforcers and self.key == get_ident()  # not where the interpreter ends, or a child, which clears up
        enforcer = enforcers.get(self.key) if is_own else None
        if enforcer is not None and (enforcer is self.enforcer or enforcer.signum):  # else it is of a later thread
            enforcer.stop()
            for phase in enforcer.phases[::-1]:
                give_up(phase)
            enforcer.forget()


@uninterrupted
def _fired(signum: int, frame: FrameType | None) -> None:
    __tracebackhide__ = True
    enforcer = enforcers.get(get_ident())
    if enforcer is not None and frame is not None:
        enforcer.fire(frame)


def renew() -> None:
    """Set up the way to the calling thread anew, if code that ran there has replaced or blocked the signal."""
    enforcer = enforcers.get(get_ident())
    if enforcer is not None and enforcer.signum:
        if signals.getsignal(enforcer.signum) is not _fired:
            signals.signal(enforcer.signum, _fired)
        signals.pthread_sigmask(signals.SIG_UNBLOCK, (enforcer.signum,))


def _forked() -> None:
    """Begin anew in a child process: it has inherited no thread but the calling one."""
    global _closing, _ties
    _closing = RLock()
    for enforcer in enforcers.values():
        enforcer.leave_way()
        enforcer.forget()
    enforcers.clear()
    _ties = _local()


def _exit() -> None:
    """Watch nobody any more: the interpreter ends, and with it every thread."""
    global _ties
    for enforcer in list(enforcers.values()):
        watchdog.remove_job(enforcer)
        if enforcer.key == get_ident():
            enforcer.leave_way()
        enforcer.forget()
    enforcers.clear()
    _ties = _local()


atexit.register(_exit)
fork.in_child("by_thread", _forked)
