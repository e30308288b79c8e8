"""The watchdog: one thread that does jobs, each at the instant for which it asks.

It is started with the first job, and gone with the last: a process that needs it no more has one thread less. Where the
next job is likely to come soon it lingers for a while, since to start a thread costs more than all else; it is gone
before a fork and at the end of the interpreter. What has ended counts as a thread of the process until Linux, too, has
done with it, so that is waited for.

A job is called with the instant it is, returns when to be called again, and never waits. What it raises is told on
stderr, and the other jobs go on. Guests are asked, too, but only while the watchdog runs for some job. A tracer that
others have set in all threads may raise anywhere in it, and so end it: then the next job, or `revive`, starts another.

While C code holds the GIL, it does not run either; it writes down when that was (`stalls`).
"""

from __future__ import annotations

import atexit
from weakref import ref

from ..originals import clock, signals, system, thread, uninterrupted
from ..seconds import INFINITY, LONGEST_WAIT
from . import fork, stalls
from .frames import text
from .stderr import tell

RLock, allocate_lock, start_new_thread = thread.RLock, thread.allocate_lock, thread.start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable

    Job = Callable[[float], float]

AGAIN = 1.0  # seconds until a job is called again that has raised an error
LINGER = 0.5  # seconds for which it waits for the next job; CPython's own tests give threads 0.6 to end
BIRTH = 1.0  # seconds that a thread has to begin
MOMENT = 0.001  # seconds between looks whether the thread has ended,
INSTANT = 5e-5  # and whether it is gone

guests: list[Job] = []  #: what it does besides, while it runs anyway
jobs: dict[object, Job] = {}  #: while there is one it asks its guests, too
_lasting: set[object] = set()  # which of them go on while exit handlers run
_stays = -INFINITY  # until when it lingers without a job
_wakes = -INFINITY  # when it comes next by itself; INFINITY while it asks, since an answer may be old by then
_starting = RLock()  # held while it is started or stopped
_bell = allocate_lock()  # it sleeps on this; whoever lets it go wakes it
_rung = INFINITY  # when that was done last
_running: dict[str, LockType] = {}  # it, if it runs: what it holds until it has ended
_life: set[ref[_Mark]] = set()  # empty as soon as the thread is gone, however it has ended: C code sees to that
_task = ""  # where Linux shows it until it is gone


def missing() -> str:
    """Return why there can be no watchdog; nothing if there can."""
    probe = object()
    try:
        add_job(probe, lambda now: INFINITY)
    except RuntimeError as error:
        return f"no thread can be started here ({error})"
    remove_job(probe)
    return ""


def add_job(key: object, job: Job, at: float = -INFINITY, lasting: bool = False) -> None:
    """Have the watchdog call the job at this instant at the latest; start it if it does not run yet.

    A lasting job goes on until no Python thread runs any more, also while exit handlers run. For one of these it is
    waited until the watchdog runs: up to 3.10 an interpreter crashes that ends while a thread is being born.
    """
    with _starting:
        if lasting:
            _lasting.add(key)
        jobs[key] = job
        try:
            if not _runs():
                _start()
        except BaseException:
            del jobs[key]
            raise
    expect(at)
    if lasting:
        end = clock.monotonic() + BIRTH
        while _wakes == -INFINITY and clock.monotonic() < end:
            clock.sleep(MOMENT)


class _Mark:
    """An argument of the thread, which goes with it."""


def _runs() -> bool:
    """Tell whether it runs, and is to go on; forget one that has been ended from outside."""
    if not _life:
        _running.clear()
    return "watchdog" in _running


def _start() -> None:
    """Start the thread, unless that has seen the job before it could end."""
    ended, mark = allocate_lock(), _Mark()
    ended.acquire()
    _life.add(ref(mark, _life.discard))
    if _running.setdefault("watchdog", ended) is ended:
        try:
            start_new_thread(_run, (ended, clock.monotonic(), mark))
        except BaseException:
            _running.clear()
            raise


def revive() -> None:
    """Start it again if it has jobs, and has been ended from outside."""
    if jobs and not _life:
        with _starting:
            try:
                if not _runs():
                    _start()
            except RuntimeError:  # no thread can be started
                pass


def remove_job(key: object, lingers: bool = False) -> None:
    """Take the job back; the watchdog ends with the last one, or lingers."""
    global _stays
    with _starting:
        jobs.pop(key, None)
        if lingers and not jobs:
            _stays = clock.monotonic() + LINGER
            expect(_stays)
        elif not lingers:
            end()


@uninterrupted
def end() -> None:
    """Have it end and wait until it is gone, unless it has a job."""
    global _stays
    with _starting:
        _stays = -INFINITY
        ended = _running.get("watchdog")
        while ended is not None and not jobs and _life:
            ring()
            if ended.acquire(True, MOMENT):
                ended.release()
            ended = _running.get("watchdog")
        _wait_until_gone()


def _wait_until_gone() -> None:
    global _task
    end = clock.monotonic() + BIRTH
    while _task and not jobs and clock.monotonic() < end:
        try:
            system.stat(_task)
        except OSError:
            _task = ""
        else:
            clock.sleep(INSTANT)


def expect(at: float) -> None:
    """Have the watchdog come at this instant at the latest, if it runs."""
    if at < _wakes:
        ring()


def ring() -> None:
    """Have it call all jobs at once; called in any thread."""
    global _rung
    try:
        _bell.release()
        _rung = clock.monotonic()
    except RuntimeError:  # it rings already
        pass


def _run(ended: LockType, started: float, mark: _Mark) -> None:
    """Be the watchdog. Its loop calls nothing that a test may have replaced, as it may the functions in `builtins`."""
    global _task, _wakes
    _task = f"/proc/self/task/{getattr(thread, 'get_native_id', thread.get_ident)()}"
    try:  # a signal that the kernel gives to this thread comes late
        signals.pthread_sigmask(signals.SIG_BLOCK, (signals.SIGALRM,))
    except (AttributeError, OSError):  # there are none, or the system refuses it
        pass
    clerk = stalls.Clerk(started)
    while _running.setdefault("watchdog", ended) is ended:
        while jobs or clock.monotonic() < _stays:
            now = clock.monotonic()
            _wakes = INFINITY
            soonest = _stays if now < _stays else INFINITY if jobs else now
            for job in [*jobs.values(), *guests] if jobs else []:
                at = _ask(job, now)
                soonest = at if at < soonest else soonest
            _wakes = soonest
            clerk.wait_until(soonest)
            rest = soonest - clock.monotonic()
            is_rung = _bell.acquire(True, 0.0 if rest < 0.0 else rest if rest < LONGEST_WAIT else LONGEST_WAIT)
            clerk.note(_rung if is_rung else INFINITY)
        _wakes = -INFINITY
        _running.clear()
        if not jobs:  # otherwise one has just come
            break
    ended.release()


def _ask(job: Job, now: float) -> float:
    try:
        return job(now)
    except BaseException as error:  # the other jobs go on, whatever a test has put in the place of what they use
        try:
            tell(f"The watchdog met {error!r}\n{_place_of(error)}\n")
        except BaseException:
            tell(f"The watchdog met {type(error).__name__}, and could not tell where\n")
        return now + AGAIN


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else text((trace.tb_frame.f_code, trace.tb_lineno))


def _forked() -> None:
    """Begin anew in a child process: it has inherited no thread but the calling one."""
    global _starting, _bell
    _starting, _bell = RLock(), allocate_lock()
    _running.clear()
    jobs.clear()
    _lasting.clear()


def _exit() -> None:
    """The interpreter ends, and with it every thread."""
    for key in jobs.keys() - _lasting:
        remove_job(key)
    end()


atexit.register(_exit)
fork.before(end)
fork.in_child("watchdog", _forked)
