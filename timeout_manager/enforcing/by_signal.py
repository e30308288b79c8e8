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

Our timer is known by its interval, and it never ends by itself. Where another one is found in its place, the block has
set that, and where there is none, the block has cancelled it, and with it the other one that is accounted for: neither
is set again. A handler that a block has set stays, and no timer of ours is set while it is there. Where a phase begins
within that block, its handler is covered like one that was there before, until the phase has ended.

An alarm can come between the last look of the interpreter and the system call that blocks, and then does not end that
call (2 of 150,000 phases on 3.15), so it repeats until it has been handled: once in a second, since there is C code
that begins its wait anew after each signal, and looks only when none has come for a while (gRPC, 200 ms). And it can
come late, when the kernel gives it to another thread, which has to run first (and up to 3.9 the main thread is not told
then). So one alarm that was due and has not come is owed: the next one that nobody is known to have set is taken for
it; it is discarded before the handler is put back, which it would meet; and where that is SIG_DFL, an alarm within a
second after one of ours does not kill.

It never comes before a limit is over: C code that does not go on after a signal would be cut short. Where the block
stands before is seen by the watchdog alone, if that runs for some other reason.

What remains: C code that does not return to the interpreter is not interrupted. Linux rounds what is left of a timer
down to whole microseconds, so one of somebody else that has less than one left when it is read looks like none, and is
lost (about 1 in 1,000 of those due within 80 microseconds of entering a phase). A block that cancels or replaces our
timer, or our handler, has taken the limits of the open phases away until the next phase begins in it; leaving them late
is still a timeout. One that replaces the handler alone, and does not cancel the timer, gets our alarm at the limit. A
block that calls ``exec`` hands its alarm on to the new program.
"""

from __future__ import annotations

import atexit
import sys
from itertools import islice

try:  # what `signal` wraps: numbers in, numbers out, and not what a test may have put in its place
    from _signal import ITIMER_REAL, SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_UNBLOCK, SIGALRM  # type: ignore[import-not-found]
    from _signal import getitimer, getsignal, pthread_kill, pthread_sigmask, raise_signal, setitimer, signal
except ImportError:  # Windows; WASI and Pyodide have the signal, but not the timer
    setitimer = None

from ..diagnosis.snapshot import lines_at
from ..interrupting.delivery import look
from ..interpreter import fork, watchdog
from ..interpreter.safepoints import guarded
from ..originals import clock, python, thread, uninterrupted
from ..seconds import INFINITY
from ..interpreter.frames import WALKABLE, up
from ..interrupting.enforcer import FIRST, LAST, MOMENT, Watch

RLock, get_ident = thread.RLock, thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

NAME = "signal"
SLACK = 1e-5  # seconds: an alarm is late, never early; this is for the rounding of the figures
REPEAT = LAST + id(sys.modules[__name__]) // 64 % 1000 * 1e-5  # seconds; the interval tells our timer from others
ROUNDING = 5e-6  # of an interval that is read back
LATE = 1.0  # for so long after one of ours nobody's alarm kills the process: it may be ours
LONGEST = 1e8  # what every setitimer takes
FOREIGN = "the handler of SIGALRM was not installed by Python, and could not be put back"


def _new() -> Watch:
    made = Watch(0, sys.modules[__name__])
    made.shared = True
    return made


watch = _new()  #: over the main thread
_running = False
_taking = False  # the handler is set, but not yet the timer: what comes is not ours
_main = 0  # the ident of the main thread, once it is known
_previous: Any = None  # the handler that was there
_foreign = INFINITY  # when the timer of somebody else is due,
_interval = 0.0  # and its interval
_armed = INFINITY  # when the timer is due as we have set it,
_owed = False  # and whether it was due before it was set anew: that signal may be on its way still
_looking = False  # what comes meanwhile waits for that
_recent = -INFINITY  # when one of ours was due last
_closing = RLock()  # held while another thread sends the signal, lest it finds the handler gone


def missing() -> str:
    """Return why the calling thread cannot be watched; nothing if it can."""
    global _main
    if setitimer is None:
        return "this system has no setitimer"
    if get_ident() == _main:
        return "" if getsignal(SIGALRM) is not None else FOREIGN
    if is_deaf():
        return "this process was forked in a thread that was not the main one, and no signal handler is called in it"
    try:
        previous = signal(SIGALRM, _fired)
    except ValueError:
        return "only the main thread of the main interpreter can be interrupted by a signal"
    took = getsignal(SIGALRM) is _fired
    signal(SIGALRM, SIG_DFL if previous is None else previous)
    if previous is None:
        return FOREIGN
    if not took:
        return "setting the handler of SIGALRM has no effect here"
    _main = get_ident()
    return ""


def start(at: float) -> Watch | None:
    """Watch the calling thread, and fire at this instant at the latest; return None if that cannot be."""
    global _running, _taking, _main, _previous
    if _running:
        if watch.key != get_ident():
            return None
        _look_after(at)
        return watch
    if setitimer is None or get_ident() != _main and is_deaf():
        return None
    previous = getsignal(SIGALRM)
    if previous is None:
        return None
    resumes = previous is _fired  # this is a signal handler, which has interrupted `start` or `stop`
    if resumes:
        previous = _previous
    held = None
    if get_ident() == _main:
        held = _hold()
        _previous, _taking = previous, True
    try:
        signal(SIGALRM, _fired)
        if getsignal(SIGALRM) is not _fired:
            return start(at) if held is None and get_ident() == _main else None
        held = held or _hold()
        _previous = previous
        _main = watch.key = get_ident()
        if SIGALRM in pthread_sigmask(SIG_UNBLOCK, (SIGALRM,)):
            watch.blocked = True
        _running = True
        _taking = False
        if at < watch.at:
            arm(watch, at)
    except ValueError:
        return None
    except BaseException:  # of the handler that was there
        if not _running:
            signal(SIGALRM, previous)
        elif not watch.phases and watch.sessions == 1:
            stop(watch)
        raise
    finally:
        _taking = False
        if held is not None:
            held.sessions -= 1
    return watch


def is_deaf() -> bool:
    """Tell whether this is the child of a thread that was not the main one: from 3.13 it hears no signal."""
    threading = sys.modules.get("threading")
    main = None if threading is None or sys.version_info < (3, 13) else threading.main_thread()
    return main is not None and type(main).__name__ != "_MainThread"


def _hold() -> Watch:
    """Have a phase in a signal handler not stop what has not begun yet."""
    watch.sessions += 1
    return watch


def stop(watch: Watch) -> None:
    """Give the alarm back."""
    global _running, _owed
    if not watch.key or not _running:  # it is of the process that this one was forked from; it was stopped
        return
    with _closing:
        _running = False
    watch.at = INFINITY
    while watch.covered:
        _uncover()
    _give_back()
    _owed = watch.stale = False  # if one comes still, it is the business of the handler that the block has left
    if watch.blocked:
        watch.blocked = False
        pthread_sigmask(SIG_BLOCK, (SIGALRM,))


def _give_back() -> None:
    """Put back the handler that was there, and the timer of somebody else, unless the block has set others."""
    now = clock.monotonic()
    may_come = _owed or _armed <= now or now - _recent < LATE
    rest, interval = _take_off()
    if getsignal(SIGALRM) is _fired:
        if may_come:
            signal(SIGALRM, SIG_IGN)  # discards one that waits for another thread to run
        signal(SIGALRM, _previous)
    if rest:
        setitimer(ITIMER_REAL, rest, interval)


def _take_off() -> tuple[float, float]:
    """Take the timer off; return that of somebody else, as it is to go on: (0.0, 0.0) if there is none."""
    global _armed, _foreign
    rest, interval = setitimer(ITIMER_REAL, 0.0)
    if _is_ours(interval):
        lent = _foreign < INFINITY
        rest, interval = (max(_foreign - clock.monotonic(), 1e-6), _interval) if lent else (0.0, 0.0)
    _armed = _foreign = INFINITY
    return rest or interval, interval


def _is_ours(interval: float) -> bool:
    """Tell whether this is our timer: always one that repeats, after a time that nobody else has."""
    return abs(interval - REPEAT) <= ROUNDING


def arm(watch: Watch, at: float) -> None:
    """Fire at this instant, or when the other timer is due if that is earlier."""
    global _armed, _owed
    watch.at = at
    if not _is_heard():  # it would meet the handler of the block
        if _is_ours(getitimer(ITIMER_REAL)[1]):
            rest, interval = _take_off()
            setitimer(ITIMER_REAL, rest, interval)
        return
    now = clock.monotonic()
    before, owed = _armed, _owed
    _owed = owed or before < INFINITY  # until it is known that it was not due when it was set anew
    _armed = at if at < _foreign else _foreign
    seconds = _armed - now
    if not 1e-6 < seconds < LONGEST:
        seconds = 1e-6 if seconds <= 1e-6 else LONGEST if _armed < INFINITY else 0.0
    if getsignal(SIGALRM) is not _fired:  # another copy has taken over, and will call ours
        rest = getitimer(ITIMER_REAL)[0]
        if seconds and not 0.0 < rest < seconds:
            setitimer(ITIMER_REAL, seconds, REPEAT)
        return
    watch.next(now)
    watchdog.expect(watch.sample)
    found = setitimer(ITIMER_REAL, seconds, REPEAT)
    if clock.monotonic() < before:
        _owed = owed
    accounted = _foreign
    _account(now, *found)
    if _foreign != accounted:
        arm(watch, watch.at)


def _account(now: float, rest: float, interval: float) -> None:
    """Note what was found in the place of our timer.

    Ours repeats: where there is none the block has taken it off, and with it the one that is accounted for.
    """
    global _foreign, _interval
    if not _is_ours(interval):
        _foreign, _interval = now + (rest or interval) if rest or interval else INFINITY, interval


def _look_after(at: float) -> None:
    """See to it that the alarm comes at this instant at the latest, and to us: a block may have changed that."""
    if not _is_heard():
        _cover()
    elif watch.at <= at and _is_ours(getitimer(ITIMER_REAL)[1]):
        return
    arm(watch, min(at, watch.at))


def settle(watch: Watch) -> None:
    """A phase or session has ended: give the handler back that a block around it has set, if it has begun there."""
    if len(watch.phases) + watch.sessions <= watch.covered[-1][0]:
        _uncover()


def _cover() -> None:
    """Take over from the handler that a block has set, while it calls what has phases of its own."""
    global _previous
    handler = getsignal(SIGALRM)
    if handler is not None:
        watch.covered.append((len(watch.phases) + watch.sessions, _previous))
        _previous = handler
        signal(SIGALRM, _fired)


def _uncover() -> None:
    global _previous
    _give_back()
    _previous = watch.covered.pop()[1]


def poke(watch: Watch) -> None:
    """Have the watched thread look at once; called in any thread."""
    with _closing:
        if _running and _is_heard():
            pthread_kill(watch.key, SIGALRM)


@uninterrupted
def arrived(frame: FrameType, at: int) -> None:
    """Look where the thread was sent to (-1: it was not)."""
    global _looking
    error = None
    try:
        _looking = True
        try:
            error = look(watch, frame, at)
        finally:
            _looking = False
        _go_on()
    except RecursionError:  # the block has used up the stack
        setitimer(ITIMER_REAL, FIRST, REPEAT)
        raise
    if error is not None:
        try:
            raise error
        finally:
            del error


@uninterrupted
def _fired(signum: int, frame: FrameType | None) -> None:
    global _owed, _recent, _foreign
    now = clock.monotonic()
    if frame is None or not _running:  # it came while the watch was stopped, or not begun
        if _taking and (_previous != SIG_DFL or now - _recent > LATE):
            _hand_on(signum, frame)
        return None
    due = now >= _armed - SLACK
    if not watch.stale and getsignal(SIGALRM) is _fired and not (_owed if not due else _is_timely(now)):
        if _previous != SIG_DFL or now - max(_recent, _armed if due else _recent) > LATE:
            return _forward(signum, frame)
    if due:
        _recent = now
    _owed = False
    if now >= _foreign - SLACK:
        if any(guarded(each) for each in up(frame)):
            _foreign = now + MOMENT
            return arm(watch, watch.at)
        return _forward(signum, frame)
    return None if _looking else arrived(frame, -1)


def _is_timely(now: float) -> bool:
    """Tell whether the alarm that has come is that of our timer, which is due: the block may have set another one."""
    rest, interval = getitimer(ITIMER_REAL)
    return _is_ours(interval) or bool(rest) and not interval


def _is_heard() -> bool:
    """Tell whether the handler is ours, or that of another copy, which calls ours."""
    handler = getsignal(SIGALRM)
    return handler is _fired or "_fired" in getattr(handler, "__globals__", {}).get("_no_interrupt", ())


def _go_on() -> None:
    if _running:  # a look can close the last phase
        soon = clock.monotonic() + MOMENT  # a look can take longer than it is to the next, which would interrupt it
        arm(watch, soon if watch.stale or watch.at < soon else watch.at)


def _forward(signum: int, frame: FrameType | None) -> None:
    """Hand an alarm that is not ours to the handler that was there, with its timer as it is without ours."""
    global _foreign
    if clock.monotonic() >= _foreign - SLACK:
        _foreign = _foreign + _interval if _interval else INFINITY
    rest, interval = _take_off()
    if rest:
        setitimer(ITIMER_REAL, rest, interval)
    try:
        _hand_on(signum, frame)
    finally:
        _go_on()


def _hand_on(signum: int, frame: FrameType | None) -> None:
    if callable(_previous):
        _previous(signum, frame)
    elif _previous == SIG_DFL:
        signal(signum, SIG_DFL)
        raise_signal(signum)


def _forked() -> None:
    """Begin anew in a child process: it has inherited the handler, but not the timer."""
    global _running, _main, _closing
    if _running and getsignal(SIGALRM) is _fired:
        signal(SIGALRM, _previous)
    _running = False
    _main = 0
    _closing = RLock()
    _begin_anew()


def _exit() -> None:
    """Give the alarm back: the interpreter ends, and with it the handler, at which an alarm kills."""
    if _running and watch.key == get_ident():
        stop(watch)
        _begin_anew()


def _begin_anew() -> None:
    global watch, _armed, _foreign
    _armed = _foreign = INFINITY
    watch.forget()
    watch = _new()


def _see(now: float) -> float:
    """See where the main thread stands, if the watchdog runs; return when to do so again."""
    if not _running:
        return INFINITY
    watch.next(now)
    if watch.is_sample(now):
        watch.see(lines_at(islice(up(python._current_frames().get(watch.key)), WALKABLE)), now)
    return watch.sample if now < watch.sample else INFINITY


watchdog.guests.append(_see)
atexit.register(_exit)
fork.in_child("by_signal", _forked)
