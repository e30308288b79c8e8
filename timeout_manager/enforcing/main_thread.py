"""What the two enforcers of the main thread have in common: a handler of a signal that has it fire, one object each."""

from __future__ import annotations

import errno
import sys

from ..interpreter import watchdog
from ..interrupting.delivery import look
from ..interrupting.enforcer import MOMENT, ThreadEnforcer
from ..originals import clock, loaded, signals, thread
from ..seconds import INFINITY

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from ..interrupting.enforcer import Enforcer

ELSEWHERE = "only the main thread of the main interpreter can be interrupted by a signal"


class MainThreadEnforcer(ThreadEnforcer):
    """Interrupts the main thread by a signal that is sent when it is due."""

    __slots__ = ("is_running", "is_looking", "closing")

    only: Any  # of its class; another one from the beginning of a forked child, and the end of the interpreter

    def __init__(self) -> None:
        super().__init__()
        self.is_running = False
        self.is_looking = False  # what comes meanwhile waits for that
        self.closing = thread.RLock()  # held while another thread sends the signal, lest it finds the handler gone

    @classmethod
    def started(cls) -> list[Enforcer]:
        return [cls.only]

    @classmethod
    def begin(cls) -> None:
        """Make the one, which is a guest of the watchdog."""
        cls.only = cls()
        watchdog.guests.append(lambda now: cls.only.visit(now))

    @classmethod
    def begin_anew(cls) -> None:
        """Make another one, and have what is left of this one watch nothing."""
        cls.only.is_running = False
        cls.only.forget()
        cls.only = cls()

    def look(self, frame: FrameType, sent_to: int) -> BaseException | None:
        self.is_looking = True
        try:
            error = look(self, frame, sent_to)
        finally:
            self.is_looking = False
        self.go_on()
        return error

    def go_on(self) -> None:
        """Set when to fire again; nothing if the last phase has been closed."""
        if self.is_running:
            soon = clock.monotonic() + MOMENT  # a look can take longer than it is to the next, which would interrupt it
            self.arm(soon if self.stale or self.at < soon else self.at)

    def visit(self, now: float) -> float:
        """See where the main thread stands, if the watchdog runs; return when to do so again."""
        if not self.is_running:
            return INFINITY
        self.next(now)
        if self.is_sample(now):
            self.see_thread(now)
        return self.sample if now < self.sample else INFINITY

    def expect_visit(self) -> None:
        """Have the watchdog, if it runs, come when it is to see where the main thread stands."""
        if watchdog.jobs:
            self.next(clock.monotonic())
            watchdog.expect(self.sample)


def refusal() -> str:
    """Return why no signal can interrupt the calling thread; it is found out by trying, and changes nothing."""
    if _is_deaf():
        return "this process was forked in a thread that was not the main one, and no signal handler is called here"
    try:
        signals.pthread_sigmask(signals.SIG_BLOCK, ())
        signals.signal(signals.SIGKILL, signals.SIG_DFL)  # invalid, where it is not refused
    except AttributeError:
        return "this system sends no signals to threads"
    except ValueError:
        return ELSEWHERE
    except OSError as error:
        if error.errno is None:  # of the handler of a signal
            raise
        if error.errno != errno.EINVAL:
            return f"the system refuses sigaction or sigprocmask ({error.strerror})"
    return ""


def _is_deaf() -> bool:
    """Tell whether this is the child of a thread that was not the main one: from 3.13 it hears no signal."""
    threading = loaded("threading")
    main = None if threading is None or sys.version_info < (3, 13) else threading.main_thread()
    return main is not None and type(main).__name__ != "_MainThread"
