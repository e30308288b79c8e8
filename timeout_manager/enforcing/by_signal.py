"""Interrupt the main thread by SIGALRM.

What is wanted: a sleep, a lock, a read from a socket ends at the limit, not after it, in the thread where nearly all
work is done. A signal handler that raises does that, and nothing else in the standard library does.

What does not work: to take the alarm as if it were ours. It is one timer and one handler for the whole process. Whoever
replaces them and puts SIG_DFL back kills the process at the next alarm of somebody else; whoever leaves its timer armed
kills it after exec; whoever restores the handler before the timer is off meets its own alarm with the other's handler.

What works: to save both, to keep the account of the other timer while ours is set (the timer is always set to whichever
is due first), and to leave in one order: marked as closed, timer off, handler back, other timer on with the time gone
taken off. An alarm that comes when neither is due is somebody's ``kill``, and goes to the other handler. A handler or a
timer that is not the one we set was installed by the block, and stays. Reading the handler after setting it tells
whether it took: some servers ignore that silently.

A handler that a block has set stays, and no timer of ours is set while it is there. Where a phase begins within that
block, its handler is covered like one that was there before, until the phase has ended. How the timer is shared with
others is the affair of `alarm`.

An alarm can come between the last look of the interpreter and the system call that blocks, and then does not end that
call (2 of 150,000 phases on 3.15), so it repeats. And it can come late. So the next one that nobody is known to have
set is taken for one that is owed; it is discarded before the handler is put back, which it would meet; and where that
is SIG_DFL, an alarm within a second after one of ours does not kill.

It never comes before a limit is over: C code that does not go on after a signal would be cut short. Where the block
stands before is seen by the watchdog alone, if that runs for some other reason.

What remains: C code that does not return to the interpreter is not interrupted. Linux rounds what is left of a timer
down to whole microseconds, so one of somebody else that has less than one left when it is read looks like none, and is
lost (about 1 in 1,000 of those due within 80 microseconds of entering a phase). A block that cancels or replaces our
timer, or our handler, has taken the limits of the open phases away until the next phase begins in it; leaving them late
is still a timeout. One that replaces the handler alone, and does not cancel the timer, gets our alarm at the limit. A
block that calls ``exec`` hands its alarm on to the new program.

All of it is one file: what becomes of an alarm depends on what was set, and that on what has come.
"""

from __future__ import annotations

import atexit

from ..interpreter import fork
from ..interpreter.alarm import LATE, Alarm, missing
from ..interpreter.frames import up
from ..interpreter.safepoints import guarded
from ..interrupting.enforcer import MOMENT
from ..interrupting.expiry import FIRST
from ..originals import clock, signals, thread, uninterrupted
from ..seconds import INFINITY
from .main_thread import MainThreadEnforcer, refusal

get_ident = thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Optional

SIGALRM = getattr(signals, "SIGALRM", 0)
FOREIGN = "the handler of SIGALRM was not installed by Python, and could not be put back"


class BySignal(MainThreadEnforcer):
    """Interrupts the main thread by SIGALRM."""

    NAME = "signal"
    CAN_BE_LOST = True

    __slots__ = ("alarm", "covered", "is_taking", "previous")

    def __init__(self) -> None:
        super().__init__()
        self.alarm = Alarm()
        self.covered: list[tuple[int, Any]] = []  # handlers of blocks: how much was open, and what was there
        self.is_taking = False  # the handler is set, but not yet the timer: what comes is not ours
        self.previous: Any = None  # the handler that was there

    @classmethod
    def missing(cls) -> str:
        global _main
        if get_ident() == _main:
            return "" if signals.getsignal(SIGALRM) is not None else FOREIGN
        reason = refusal() or missing()
        if reason:
            return reason
        previous = signals.signal(SIGALRM, _fired)
        took = signals.getsignal(SIGALRM) is _fired
        signals.signal(SIGALRM, signals.SIG_DFL if previous is None else previous)
        if previous is None:
            return FOREIGN
        if not took:
            return "setting the handler of SIGALRM has no effect here"
        _main = get_ident()
        return ""

    @classmethod
    def start(cls, at: float) -> BySignal | None:
        self: BySignal = cls.only
        if self.is_running:
            if self.key != get_ident():
                return None
            self._look_after(at)
            return self
        if get_ident() != _main and (refusal() or missing()):
            return None
        previous = signals.getsignal(SIGALRM)
        if previous is None:
            return None
        if previous is _fired:  # this is a signal handler, which has interrupted `start` or `stop`
            previous = self.previous
        return self._take(previous, at)

    def arm(self, at: float) -> None:
        self.at = at
        is_handed_on = signals.getsignal(SIGALRM) is not _fired
        if is_handed_on and not _is_heard():  # it would meet the handler of the block
            if self.alarm.is_there():
                self.alarm.give_back()
            return
        if not is_handed_on:
            self.expect_visit()
        if self.alarm.set(at, is_handed_on):
            self.arm(self.at)
        elif self.stale:  # another thread has set it meanwhile
            self.wake()

    def wake(self) -> None:
        with self.closing:
            if self.is_running and _is_heard() and not self.alarm.set_at_once():
                signals.pthread_kill(self.key, SIGALRM)

    def stop(self) -> None:
        """Give the alarm back."""
        if not self.is_running:  # it is of the process that this one was forked from; it was stopped
            return
        with self.closing:
            self.is_running = False
        self.at = INFINITY
        while self.covered:
            self._uncover()
        self._give_back()
        self.alarm.is_owed = self.stale = False  # if one comes still, it is the business of the handler that is left
        if self.blocked:
            self.blocked = False
            signals.pthread_sigmask(signals.SIG_BLOCK, (SIGALRM,))

    def look(self, frame: FrameType, sent_to: int) -> BaseException | None:
        try:
            return super().look(frame, sent_to)
        except RecursionError:  # the block has used up the stack
            self.alarm.set_again(FIRST)
            raise

    def settle(self) -> None:
        """Give the handler back that a block around has set, if what has ended was the last that has begun there."""
        if len(self.phases) + self.sessions <= self.covered[-1][0]:
            self._uncover()

    # -- the handler

    def _take(self, previous: Any, at: float) -> BySignal | None:
        """Set our handler in the place of that one, and the timer; return None if that cannot be."""
        global _main
        here = get_ident()
        is_held = here == _main
        self.sessions += is_held  # a phase in a signal handler is not to stop what has not begun yet
        if is_held:
            self.previous, self.is_taking = previous, True
        try:
            signals.signal(SIGALRM, _fired)
            if signals.getsignal(SIGALRM) is not _fired:
                return self.start(at) if not is_held and here == _main else None
            self.sessions += not is_held
            is_held, self.previous = True, previous
            _main = self.key = here
            if SIGALRM in signals.pthread_sigmask(signals.SIG_UNBLOCK, (SIGALRM,)):
                self.blocked = True
            self.is_running = True
            self.is_taking = False
            if at < self.at:
                self.arm(at)
        except ValueError:
            return None
        except BaseException:  # of the handler that was there
            if not self.is_running:
                signals.signal(SIGALRM, previous)
            elif not self.phases and self.sessions == 1:
                self.stop()
            raise
        finally:
            self.is_taking = False
            self.sessions -= is_held
        return self

    def _give_back(self) -> None:
        """Put back the handler that was there, and the timer of somebody else, unless the block has set others."""
        may_come = self.alarm.may_come(clock.monotonic())
        rest, interval = self.alarm.take_off()
        if signals.getsignal(SIGALRM) is _fired:
            if may_come:
                signals.signal(SIGALRM, signals.SIG_IGN)  # discards one that waits for another thread to run
                signals.pthread_sigmask(signals.SIG_BLOCK, ())  # PyPy keeps one that has come for the next handler
            signals.signal(SIGALRM, self.previous)
        if rest:
            self.alarm.put_back(rest, interval)

    def _look_after(self, at: float) -> None:
        """See to it that the alarm comes at this instant at the latest, and to us: a block may have changed that."""
        if not _is_heard():
            self._cover()
        elif self.at <= at and self.alarm.is_there():
            return
        self.arm(min(at, self.at))

    def _cover(self) -> None:
        """Take over from the handler that a block has set, while it calls what has phases of its own."""
        handler = signals.getsignal(SIGALRM)
        if handler is not None:
            self.covered.append((len(self.phases) + self.sessions, self.previous))
            self.previous = handler
            signals.signal(SIGALRM, _fired)

    def _uncover(self) -> None:
        self._give_back()
        self.previous = self.covered.pop()[1]

    # -- an alarm

    def hear(self, signum: int, frame: FrameType | None) -> None:
        """Fire if it is ours and due; hand it on if it is that of somebody else."""
        __tracebackhide__ = True
        now, alarm = clock.monotonic(), self.alarm
        if frame is None or not self.is_running:  # it came while this was stopped, or not begun
            if self.is_taking and (self.previous != signals.SIG_DFL or now - alarm.recent > LATE):
                self._hand_on(signum, frame)
            return None
        if not self.stale and signals.getsignal(SIGALRM) is _fired and not alarm.is_known(now):
            if self.previous != signals.SIG_DFL or not alarm.is_late(now):
                return self._forward(signum, frame)
        alarm.note(now)
        if alarm.is_foreign(now):
            if any(guarded(each) for each in up(frame)):
                alarm.foreign = now + MOMENT
                return self.arm(self.at)
            return self._forward(signum, frame)
        return None if self.is_looking else self.fire(frame)

    def _forward(self, signum: int, frame: FrameType | None) -> None:
        """Hand an alarm that is not ours to the handler that was there, with its timer as it is without ours."""
        self.alarm.lend()
        try:
            self._hand_on(signum, frame)
        finally:
            self.go_on()

    def _hand_on(self, signum: int, frame: FrameType | None) -> None:
        if callable(self.previous):
            self.previous(signum, frame)
        elif self.previous == signals.SIG_DFL:
            signals.signal(signum, signals.SIG_DFL)
            signals.raise_signal(signum)


_main: Optional[int] = None  # the ident of the main thread, once it is known: WASI has but one, and that is 0


@uninterrupted
def _fired(signum: int, frame: FrameType | None) -> None:
    __tracebackhide__ = True
    BySignal.only.hear(signum, frame)


def _is_heard() -> bool:
    """Tell whether the handler is ours, or that of another copy, which calls ours."""
    handler = signals.getsignal(SIGALRM)
    return handler is _fired or "_fired" in getattr(handler, "__globals__", {}).get("_no_interrupt", ())


def _forked() -> None:
    """Begin anew in a child process: it has inherited the handler, but not the timer."""
    global _main
    self = BySignal.only
    if self.is_running and signals.getsignal(SIGALRM) is _fired:
        signals.signal(SIGALRM, self.previous)
    _main = None
    BySignal.begin_anew()


def _exit() -> None:
    """Give the alarm back: the interpreter ends, and with it the handler, at which an alarm kills."""
    self = BySignal.only
    if self.is_running and self.key == get_ident():
        self.stop()
        BySignal.begin_anew()


BySignal.begin()
atexit.register(_exit)
fork.in_child("by_signal", _forked)
