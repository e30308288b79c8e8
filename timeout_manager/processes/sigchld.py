"""Have the system tell how children end, where whoever started this process has it ignore SIGCHLD, and so forget it."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from threading import RLock

from ..originals import signals

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SIGCHLD = getattr(signals, "SIGCHLD", None)  # not on Windows
_lock = RLock()  # a signal handler may run a command, too
_waiting = 0  # how many commands are run
_nowhere: list[Any] = []  # the file into which is written that one has ended, where that takes a handler


@contextmanager
def heard() -> Iterator[None]:
    """Have the system tell how children end."""
    global _waiting
    if not _waiting and (SIGCHLD is None or signals.getsignal(SIGCHLD) != signals.SIG_IGN):
        yield
        return
    with _lock:
        _waiting += 1
        _set(signal.SIG_DFL)
    try:
        yield
    finally:
        with _lock:
            _waiting -= 1
            if not _waiting:
                _set(signal.SIG_IGN)


def _set(handler: signal.Handlers) -> None:
    try:
        import ctypes
    except ImportError:
        import faulthandler  # its handlers can be set in any thread, and taken back

        if handler == signal.SIG_IGN:
            faulthandler.unregister(signal.SIGCHLD)
            while _nowhere:  # a signal handler may have done this meanwhile
                _nowhere.pop().close()
        elif not _nowhere:
            _nowhere.append(open(os.devnull, "w"))
            faulthandler.register(signal.SIGCHLD, _nowhere[-1], all_threads=False)
        return
    # for Python it stays ignored: only the main thread may tell it otherwise, and another one may be the last to leave
    ctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(int(handler)))
