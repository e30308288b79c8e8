"""What keeps the process alive after the tests: named on stderr, and ended if that was asked for.

The interpreter waits for the threads that are left, then it calls the exit handlers, and those of multiprocessing wait
for its child processes. Each of them can wait for ever, and none says for what. What keeps an object from being
deleted after that is not seen: no Python thread runs any more.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

from ..diagnosis.lines import line_of
from ..enforcing import kill_after, kill_children
from ..interpreter import watchdog
from ..interpreter.frames import frames_of, module_of, shown, stack
from ..interpreter.stderr import tell
from ..originals import clock, thread
from ..processes.family import descendants, family, has_children
from ..seconds import INFINITY

_living, _main = threading.enumerate, threading.main_thread()  # before a test puts something else there

SOON = 1.0  # seconds that the process has to end before it is said what it waits for; and between two looks


def tell_of(status: int, after: float | None, with_children: bool) -> None:
    """From now on, say what the calling thread waits for while the process ends; end it all the same after so long.

    ``with_children``: and the child that it waits for, too.
    """
    told: set[object] = set()
    main, begins = thread.get_ident(), clock.monotonic() + SOON
    end = INFINITY if after is None else begins + after

    def look(now: float) -> float:
        if now < begins:
            return begins
        key, text = _waits_for(main)
        if key not in told:
            told.add(key)
            tell(f"\n{text}\n")
        if now >= end:
            if with_children:
                kill_children.note(main, frames_of(main))
            kill_after.kill("", "", status)
        return min(now + SOON, end)

    with suppress(RuntimeError):  # no thread can be started
        watchdog.add_job("lingering", look, lasting=True)
    with suppress(Exception):  # tests may have put anything there, also what blocks
        sys.stdout.flush()


def _waits_for(main: int) -> tuple[object, str]:
    """Return what the end waits for in this thread: what tells it from the next, and a text."""
    frames = list(frames_of(main))
    threads = []
    if any(each.f_code.co_name == "_shutdown" and module_of(each) == "threading" for each in frames):
        threads = [each for each in _living() if not each.daemon and each is not _main]
    if threads:
        names = "".join(f"\n  {each.name}{_place(each)}" for each in threads)
        key: object = frozenset(each.ident for each in threads)
        text = f"Threads that the tests have left behind keep the process alive:{names}"
    else:
        lines = "\n".join(shown(stack(frames)))
        key = frames[-1].f_code if frames else None
        text = f"An exit handler keeps the process alive (most recent call last):\n{lines}"
    return key, "\n".join(filter(None, (text, family(descendants()) if has_children() else "")))


def _place(left: threading.Thread) -> str:
    return "".join(f"\n    {line}" for line in line_of(frames_of(left.ident)).splitlines())
