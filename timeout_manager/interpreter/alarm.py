"""The timer of SIGALRM, which is one for the whole process: set for us, with that of somebody else accounted for.

It is always set to whichever is due first. Ours is known by its interval, and never ends by itself. Where another one
is found in its place, the block has set that, and where there is none, the block has cancelled it, and with it the
other one that is accounted for: neither is set again.

An alarm repeats until it has been handled: once in a second, since there is C code that begins its wait anew after each
signal, and looks only when none has come for a while (gRPC, 200 ms). And it can come late, when the kernel gives it to
another thread, which has to run first (and up to 3.9 the main thread is not told then). So one alarm that was due and
has not come is owed.
"""

from __future__ import annotations

import sys

from ..originals import clock, signals
from ..seconds import INFINITY

if hasattr(signals, "setitimer"):
    ITIMER_REAL, getitimer, setitimer = signals.ITIMER_REAL, signals.getitimer, signals.setitimer

SLACK = 1e-5  # seconds: an alarm is late, never early; this is for the rounding of the figures
REPEAT = 1.0 + id(sys.modules[__name__]) // 64 % 1000 * 1e-5  # seconds: ours always repeats, after a time of its own,
LEAST, MOST = REPEAT - 5e-6, REPEAT + 5e-6  # as it may be read back
AT_ONCE = 1e-6  # seconds: less would switch it off
LATE = 1.0  # for so long after one of ours an alarm of nobody may be ours
LONGEST = 1e8  # what every setitimer takes


def missing() -> str:
    """Return why there is no such timer; nothing if there is. It is found out by trying, without a change."""
    if not hasattr(signals, "setitimer"):  # Windows; WASI and Pyodide have the signal, but not the timer
        return "this system has no setitimer"
    try:
        if getitimer(ITIMER_REAL) == (0.0, 0.0):
            setitimer(ITIMER_REAL, 0.0)
    except signals.ItimerError as error:
        return f"the system refuses setitimer ({error.strerror})"
    return ""


class Alarm:
    """The timer while it is ours."""

    __slots__ = ("armed", "is_owed", "recent", "foreign", "interval")

    def __init__(self) -> None:
        self.armed = INFINITY  # when the timer is due as we have set it,
        self.is_owed = False  # and whether it was due before it was set anew: that signal may be on its way still
        self.recent = -INFINITY  # when one of ours was due last
        self.foreign = INFINITY  # when the timer of somebody else is due,
        self.interval = 0.0  # and its interval

    def set(self, at: float, is_handed_on: bool) -> bool:
        """Have it go off at this instant, or when the other one is due if that is earlier.

        Where another copy has taken over, and hands alarms on to us, it can only be earlier than it is. Return whether
        another one was found in the place of ours: then it is to be set again.
        """
        now = clock.monotonic()
        before, owed = self.armed, self.is_owed
        self.is_owed = owed or before < INFINITY  # until it is known that it was not due when it was set anew
        self.armed = at if at < self.foreign else self.foreign
        seconds = self.armed - now
        if not AT_ONCE < seconds < LONGEST:
            seconds = AT_ONCE if seconds <= AT_ONCE else LONGEST if self.armed < INFINITY else 0.0
        if is_handed_on:
            rest = getitimer(ITIMER_REAL)[0]
            if seconds and not 0.0 < rest < seconds:
                setitimer(ITIMER_REAL, seconds, REPEAT)
            return False
        rest, interval = setitimer(ITIMER_REAL, seconds, REPEAT)
        if self.is_owed and not owed and clock.monotonic() < before:
            self.is_owed = False
        if LEAST <= interval <= MOST:  # here and in `take_off` without `_is_ours`: each phase sets it and takes it off
            return False
        accounted = self.foreign
        self.foreign, self.interval = now + (rest or interval) if rest or interval else INFINITY, interval
        return self.foreign != accounted

    def set_again(self, seconds: float) -> None:
        """Have it go off once more; this takes no room on the stack."""
        setitimer(ITIMER_REAL, seconds, REPEAT)

    def set_at_once(self) -> bool:
        """Have it go off now, and again until it is heard; return False if the block has set another one.

        A signal is lost on a call of the system that is about to begin. Called in any thread.
        """
        self.recent, self.is_owed = clock.monotonic(), True
        is_there = self.is_there()
        if is_there:
            self.set_again(AT_ONCE)
        return is_there

    def take_off(self) -> tuple[float, float]:
        """Take ours off; return that of somebody else, as it is to go on: (0.0, 0.0) if there is none."""
        rest, interval = setitimer(ITIMER_REAL, 0.0)
        if LEAST <= interval <= MOST:
            lent = self.foreign < INFINITY
            rest, interval = (max(self.foreign - clock.monotonic(), AT_ONCE), self.interval) if lent else (0.0, 0.0)
        self.armed = self.foreign = INFINITY
        return rest or interval, interval

    def put_back(self, rest: float, interval: float) -> None:
        """Set that of somebody else."""
        setitimer(ITIMER_REAL, rest, interval)

    def give_back(self) -> None:
        """Have that of somebody else in the place of ours, if there is one."""
        rest, interval = self.take_off()
        if rest:
            self.put_back(rest, interval)

    def is_there(self) -> bool:
        """Tell whether it is ours that is set: the block may have set another one, or taken it off."""
        return _is_ours(getitimer(ITIMER_REAL)[1])

    def lend(self) -> None:
        """Leave it to somebody else, whose alarm has come: ours is off, theirs as it is without ours."""
        if self.is_foreign(clock.monotonic()):
            self.foreign = self.foreign + self.interval if self.interval else INFINITY
        self.give_back()

    def may_come(self, now: float) -> bool:
        """Tell whether one of ours may be on its way."""
        return self.is_owed or self.armed <= now or now - self.recent < LATE

    def is_known(self, now: float) -> bool:
        """Tell whether the alarm that has come can be ours, and not one that the block has set."""
        if now < self.armed - SLACK:
            return self.is_owed
        rest, interval = getitimer(ITIMER_REAL)
        return _is_ours(interval) or bool(rest) and not interval

    def is_late(self, now: float) -> bool:
        """Tell whether one of ours was due shortly before."""
        return now - self.recent <= LATE or -SLACK <= now - self.armed <= LATE

    def is_foreign(self, now: float) -> bool:
        """Tell whether that of somebody else is due."""
        return now >= self.foreign - SLACK

    def note(self, now: float) -> None:
        """One of ours has come."""
        if now >= self.armed - SLACK:
            self.recent = now
        self.is_owed = False


def _is_ours(interval: float) -> bool:
    """Tell whether a timer with this interval is ours."""
    return LEAST <= interval <= MOST
