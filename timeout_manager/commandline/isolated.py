"""The command `unittest` where workers run the tests: --isolate, --jobs.

The parent and the workers load each what they need.
"""

from __future__ import annotations

import os
import sys
import unittest

from ..interpreter import debugger
from ..isolation.channel import VARIABLE
from ..processes.table import has_proc
from . import lingering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ..isolation.worker import Worker
    from ..testing.limits import Limits
    from ..testing.plan import Plan
    from ..testing.report_files import Reports


def jobs_of(asked: str) -> int:
    """Return how many workers are asked for; ValueError if that is no number of them, or if there can be none here."""
    if sys.platform != "linux" or not hasattr(os, "memfd_create") or not has_proc():
        raise ValueError("--isolate needs Linux, with /proc: elsewhere nothing could end all that a test has started")
    found = debugger.present()
    if found:
        raise ValueError(f"--isolate runs the tests in other processes, where the debugger ({found}) does not see them")
    if asked == "auto":
        return len(os.sched_getaffinity(0))
    if not asked.isdecimal() or not int(asked):
        raise ValueError(f"--jobs must be a number of processes like 4, or auto, not {asked!r}")
    return int(asked)


def role() -> Worker | None:
    """Return what this process is to do, if it is a worker."""
    if VARIABLE not in os.environ:
        return None
    from ..isolation.worker import Worker

    return Worker()


def run(jobs: int, argv: list[str], limits: Limits, reports: Reports, plan: Plan, check: Any) -> tuple[Any, bool]:
    """Have the tests run; return their result, and whether all workers have ended well.

    `check` is told whether a limit binds one of the tests. Nothing of the tests is imported here.
    """
    # a file beside the tests may have the name of a module of Python
    sys.path[:] = [each for each in sys.path if each not in ("", _here())]
    from ..isolation import far
    from ..isolation.parent import Parent

    parent = Parent(limits, reports, jobs, plan)

    def load() -> Parent:
        parent.load()
        check(parent.course.is_bound)
        return parent

    far.Runner.limits = limits
    try:
        ran = unittest.main(None, argv=argv, testRunner=far.Runner, testLoader=far.Loader(load), exit=False).result
    finally:
        crashes = parent.end()
    return ran, not crashes


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return ""


def work(role: Worker, argv: list[str], limits: Limits) -> NoReturn:
    """Be a worker, to the end."""
    from ..isolation import orders

    orders.work(role, argv, limits)
    lingering.tell_of(0, None, False)
    raise SystemExit(0)
