"""Timers of the kernel's own: they send a signal to one thread, or have C code called, whoever holds the GIL.

They are POSIX timers, by ``ctypes``, through a handle of our own: what is set on its functions changes nobody else's.
A process has as many as it likes, a forked child and a program that is started by exec inherit none. Only Linux can
send a signal to one thread, and the structures are those of 64 bits.

The signal is one of the real-time signals that nobody uses here: no handler of Python's, none of C code's (those of
``faulthandler.register``, which ``getsignal`` does not see), and not blocked, as whoever waits for one has blocked it.
"""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from struct import pack

from ..originals import signals, system, thread
from ..seconds import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

LATEST = 1e9  # the last instant at which one goes off, some thirty years after the machine was booted
CLOCK_MONOTONIC = 1
ABSOLUTE = 1  # an instant, rather than so much time from now: TIMER_ABSTIME
TO_PROCESS, CALL, TO_THREAD = 0, 2, 4  # what a timer does: SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID
_FIRST = 16  # bytes of a struct sigaction that are zero where there is no handler: it comes first, or after the flags


class NoTimer(Exception):
    """There are none here, and why."""


class Timer:
    """One of them: it sends a signal to the calling thread or to the process, or has a function of libc called.

    It goes off again after each ``interval``, in seconds, until it is set anew.
    """

    def __init__(
        self, does: int, signum: int = 0, function: str = "", argument: int = 0, interval: float = 0.0
    ) -> None:
        ctypes, libc = c_types(), library(use_errno=True)
        word, number = ctypes.c_long, ctypes.c_int
        if does == CALL:
            called = ctypes.cast(getattr(libc, function), ctypes.c_void_p).value
            event = pack("PiiP40x", argument, signum, does, called)
        else:
            event = pack("Piii44x", argument, signum, does, thread.get_native_id())
        made = _words(1)()
        if libc.timer_create(number(CLOCK_MONOTONIC), ctypes.c_char_p(event), made):
            raise NoTimer(f"the system refuses timer_create ({_reason()})")
        self._timer = made[0]
        never, spec = _words(4)(), _words(4)(int(interval), int(interval % 1 * 1e9))  # then its seconds and nanoseconds
        if libc.timer_settime(word(self._timer), number(), never, word()):
            why = _reason()
            self.delete()
            raise NoTimer(f"the system refuses timer_settime ({why})")
        settime = library().timer_settime
        if hasattr(ctypes, "PyDLL"):  # for this PyPy imports something in each call, as it does for plain arguments
            settime.restype = None
        # nothing is to be converted: so a call takes half of the time
        timer, absolute, nowhere = word.from_param(self._timer), number.from_param(ABSOLUTE), word.from_param(0)
        self._never, self._spec = never, memoryview(spec).cast("B").cast("l")
        self._start = partial(settime, timer, absolute, word.from_param(ctypes.addressof(spec)), nowhere)
        #: have it not go off any more
        self.off: Callable[[], None] = partial(
            settime, timer, absolute, word.from_param(ctypes.addressof(never)), nowhere
        )

    def set(self, at: float) -> None:
        """Go off at this instant, at once if it has passed; never if it is infinity."""
        if at > LATEST:
            if at == INFINITY:
                return self.off()
            at = LATEST
        spec, whole = self._spec, int(at)
        spec[2], spec[3] = whole, int((at - whole) * 1e9)
        self._start()

    def delete(self) -> None:
        library().timer_delete(c_types().c_long(self._timer))


@lru_cache(None)
def c_types() -> Any:
    """Return the module: the first phase with a limit loads it, since tests may take all imports away later."""
    import ctypes

    return ctypes


@lru_cache(None)
def library(use_errno: bool = False) -> Any:
    """Return the part of libc that has the timers; NoTimer says why there is none."""
    if sys.platform != "linux" or sys.maxsize < 2**32 or not hasattr(signals, "pthread_sigmask"):
        raise NoTimer("only Linux with 64 bits has timers that send a signal to one thread")
    try:
        libc = _load(None, use_errno)
        found = libc if hasattr(libc, "timer_create") else _load("librt.so.1", use_errno)  # glibc before 2.34
        for name in "timer_create", "timer_settime", "timer_delete":
            getattr(found, name)
        _sigaction()
        return found
    except Exception as error:  # also of a hook for imports, or of an auditor
        raise NoTimer(f"the timers of the system are out of reach ({error})") from None


def _load(name: str | None, use_errno: bool = False) -> Any:
    ctypes = c_types()
    kind = getattr(ctypes, "PyDLL", ctypes.CDLL)  # keeps the GIL: to let it go takes longer than the call
    return kind(name, use_errno=use_errno)


def free_signals() -> Iterator[int]:
    """Yield the real-time signals that nobody uses, the last one first; if all are blocked, these.

    One by one: to see whether C code handles a signal takes a moment.
    """
    numbers = range(getattr(signals, "SIGRTMAX", 0), getattr(signals, "SIGRTMIN", 0), -1)
    blocked = signals.pthread_sigmask(signals.SIG_BLOCK, ())
    is_any = False
    for signum in numbers:
        if signum not in blocked and _is_free(signum):
            is_any = True
            yield signum
    if not is_any:
        yield from filter(_is_free, numbers)


def _is_free(signum: int) -> bool:
    """Tell whether nobody handles a signal; without ``ctypes`` handlers of C code are not seen."""
    if signals.getsignal(signum) != signals.SIG_DFL:
        return False
    try:
        return not any(handler_in_c(signum))
    except Exception:
        return True


def handler_in_c(signum: int) -> bytes:
    """Return what the system calls for a signal, which C code may have set behind Python's back; zeros: the default."""
    ctypes, action = c_types(), _words(64)()
    _sigaction()(ctypes.c_int(signum), ctypes.c_void_p(), action)
    return bytes(action)[:_FIRST]


@lru_cache(None)
def _sigaction() -> Any:
    return _load(None).sigaction


@lru_cache(None)
def _words(count: int) -> Any:
    """Return the type of so many words: made once, since PyPy imports something to make it."""
    return c_types().c_long * count


def _reason() -> str:
    return system.strerror(c_types().get_errno())
