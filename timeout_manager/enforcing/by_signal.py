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

An alarm can come between the last look of the interpreter and the system call that blocks, and then does not end that
call (2 of 150,000 phases on 3.15), so it repeats until it has been handled; the interval also tells our timer from
others. And it can come late, when the kernel gives it to another thread, which has to run first (and up to 3.9 the main
thread is not told then). So one alarm that was due and has not come is owed: the next one that nobody is known to have
set is taken for it; it is discarded before the handler is put back, which it would meet; and where that is SIG_DFL, an
alarm within a second after one of ours does not kill.

From half of a limit of a second or more on it also comes a few times to see where the block stands. Calls of the
standard library go on after that (PEP 475), all but ``signal.pause``.

What remains: C code that does not return to the interpreter is not interrupted. Linux rounds what is left of a timer
down to whole microseconds, so one of somebody else that has less than one left when it is read looks like none, and is
lost (about 1 in 1,000 of those due within 80 microseconds of entering a phase). A block that replaces our timer or our
handler has taken the limits of the open phases away, until a phase that is due earlier arms the alarm again; leaving
them late is still a timeout. A block that calls ``exec`` hands its alarm on to the new program.
"""

from __future__ import annotations

import atexit
import sys

try:  # what `signal` wraps: numbers in, numbers out, and not what a test may have put in its place
    from _signal import ITIMER_REAL, SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_UNBLOCK, SIGALRM  # type: ignore[import-not-found]
    from _signal import getitimer, getsignal, pthread_kill, pthread_sigmask, raise_signal, setitimer, signal
except ImportError:  # Windows; WASI and Pyodide have the signal, but not the timer
    setitimer = None

from ..diagnosis.snapshot import lines_at
from ..interrupting.delivery import look
from ..interpreter.safepoints import guarded
from ..originals import clock, system, thread
from ..seconds import INFINITY
from ..interpreter.frames import up
from ..interrupting.enforcer import MOMENT, Watch

RLock, get_ident = thread.RLock, thread.get_ident

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_no_interrupt = frozenset({"_fired", "arrived"})  # see interrupt

NAME = "signal"
SLACK = 1e-5  # seconds: an alarm is late, never early; this is for the rounding of the figures
REPEAT = 0.05 + id(sys.modules[__name__]) // 64 % 1000 * 1e-5  # seconds; the interval tells our timer from others
ROUNDING = 5e-6  # of an interval that is read back
LATE = 1.0  # for so long after one of ours nobody's alarm kills the process: it may be ours
LONGEST = 1e8  # what every setitimer takes
FOREIGN = "the handler of SIGALRM was not installed by Python, and could not be put back"

watch = Watch(0, sys.modules[__name__])  #: over the main thread
_running = False
_taking = False  # the handler is set, but not yet the timer: what comes is not ours
_main = 0  # the ident of the main thread, once it is known
_previous: Any = None  # the handler that was there
_foreign = INFINITY  # when the timer of somebody else is due,
_interval = 0.0  # and its interval
_armed = INFINITY  # when the timer is due as we have set it,
_owed = False  # and whether it was due before it was set anew: that signal may be on its way still
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
        if at < watch.at:
            arm(watch, at)
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
    global _running, _owed, _armed, _foreign
    if not watch.key or not _running:  # it is of the process that this one was forked from; it was stopped
        return
    with _closing:
        _running = False
    watch.at = INFINITY
    rest, interval = setitimer(ITIMER_REAL, 0.0)
    if getsignal(SIGALRM) is _fired:
        now = clock.monotonic()
        if _owed or _armed <= now or now - _recent < LATE:
            signal(SIGALRM, SIG_IGN)  # discards one that waits for another thread to run
        signal(SIGALRM, _previous)
    foreign = _foreign
    rest = _next(rest, interval)
    if rest:
        setitimer(ITIMER_REAL, rest, interval)
    elif foreign < INFINITY:
        setitimer(ITIMER_REAL, max(foreign - clock.monotonic(), 1e-6), _interval)
    _armed = _foreign = INFINITY
    _owed = watch.stale = False  # if one comes still, it is the business of the handler that the block has left
    if watch.blocked:
        watch.blocked = False
        pthread_sigmask(SIG_BLOCK, (SIGALRM,))


def arm(watch: Watch, at: float) -> None:
    """Fire at this instant, or when the other timer is due if that is earlier."""
    global _armed, _owed, _foreign, _interval
    watch.at = at
    now = clock.monotonic()
    before, owed = _armed, _owed
    _owed = owed or before < INFINITY  # until it is known that it was not due when it was set anew
    due = watch.next(now)
    _armed = due if due < _foreign else _foreign
    seconds = _armed - now
    if not 1e-6 < seconds < LONGEST:
        seconds = 1e-6 if seconds <= 1e-6 else LONGEST if _armed < INFINITY else 0.0
    if getsignal(SIGALRM) is not _fired:  # another copy has taken over, and will call ours
        rest = getitimer(ITIMER_REAL)[0]
        if seconds and not 0.0 < rest < seconds:
            setitimer(ITIMER_REAL, seconds, REPEAT)
        return
    rest, interval = setitimer(ITIMER_REAL, seconds, REPEAT)
    if clock.monotonic() < before:
        _owed = owed
    rest = _next(rest, interval)
    if rest:
        _foreign, _interval = now + rest, interval
        if _foreign < _armed:
            arm(watch, at)


def poke(watch: Watch) -> None:
    """Have the watched thread look at once; called in any thread."""
    with _closing:
        if _running and _is_heard():
            pthread_kill(watch.key, SIGALRM)


def arrived(frame: FrameType, at: int) -> None:
    """Look where the thread was sent to (-1: it was not)."""
    global _armed
    is_sample = True
    error = None
    try:
        now = clock.monotonic()
        is_sample = at < 0 and watch.is_sample(now)
        if is_sample:
            watch.see(lines_at(up(frame)), now)
        else:
            error = look(watch, frame, at)
        _go_on()
    except RecursionError:  # the block has used up the stack; the timer repeats
        _armed = -INFINITY
        if not is_sample:
            raise
    if error is not None:
        try:
            raise error
        finally:
            del error


def _fired(signum: int, frame: FrameType | None) -> None:
    global _armed, _owed, _recent, _foreign
    now = clock.monotonic()
    if frame is None or not _running:  # it came while the watch was stopped, or not begun
        if _taking and (_previous != SIG_DFL or now - _recent > LATE):
            _hand_on(signum, frame)
        return None
    if now >= _armed - SLACK:
        _armed = INFINITY
        _recent = now
    elif not watch.stale and not _owed and getsignal(SIGALRM) is _fired:
        if _previous != SIG_DFL or now - _recent > LATE:
            return _forward(signum, frame)
    _owed = False
    if now >= _foreign - SLACK:
        if any(guarded(each) for each in up(frame)):
            _foreign = now + MOMENT
            return arm(watch, watch.at)
        _foreign = _foreign + _interval if _interval else INFINITY
        return _forward(signum, frame)
    return arrived(frame, -1)


def _is_heard() -> bool:
    """Tell whether the handler is ours, or that of another copy, which calls ours."""
    handler = getsignal(SIGALRM)
    return handler is _fired or "_fired" in getattr(handler, "__globals__", {}).get("_no_interrupt", ())


def _next(rest: float, interval: float) -> float:
    """Return in how many seconds a timer that was read is due next, if it is somebody else's; 0.0 if there is none.

    One that repeats has no rest while its alarm is on its way.
    """
    return 0.0 if abs(interval - REPEAT) <= ROUNDING else rest or interval


def _go_on() -> None:
    if _running:  # a look can close the last phase
        arm(watch, watch.at)


def _forward(signum: int, frame: FrameType | None) -> None:
    """Hand an alarm that is not ours to the handler that was there; it may set its timer anew."""
    _note_foreign()  # it may be running still, if the watch has only begun
    try:
        _hand_on(signum, frame)
    finally:
        _note_foreign()
        _go_on()


def _hand_on(signum: int, frame: FrameType | None) -> None:
    if callable(_previous):
        _previous(signum, frame)
    elif _previous == SIG_DFL:
        signal(signum, SIG_DFL)
        raise_signal(signum)


def _note_foreign() -> None:
    """Take the timer off, and keep the account of it if it is not ours."""
    global _foreign, _interval
    rest, interval = setitimer(ITIMER_REAL, 0.0)
    rest = _next(rest, interval)
    if rest:
        _foreign, _interval = clock.monotonic() + rest, interval


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
    watch = Watch(0, sys.modules[__name__])


atexit.register(_exit)
if hasattr(system, "register_at_fork"):
    system.register_at_fork(after_in_child=_forked)
