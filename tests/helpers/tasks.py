"""What the tests of tasks share: a loop for each test, which leaves nothing behind."""

import asyncio
import functools
import signal
import sys
import time
import unittest

from .. import package
from .enforced import LIMIT, LONG, MARGIN
from .together import Together

TimeoutManager = package.TimeoutManager
COUNTS = hasattr(asyncio.Task, "cancelling")


def hang():
    return asyncio.sleep(LONG)


def cancelling():
    return asyncio.current_task().cancelling() if COUNTS else 0


class TaskCase(Together, unittest.TestCase):
    """Its asynchronous tests run in a loop of their own, which leaves nothing behind."""

    def setUp(self):
        self.manager = TimeoutManager(LONG, enforce=True)
        self.began = time.monotonic()
        if hasattr(signal, "SIGALRM"):
            self.handler = signal.getsignal(signal.SIGALRM)
        self.watched = self.is_watched()
        self.addCleanup(self.check)

    def check(self):
        self.assertLess(time.monotonic() - self.began, MARGIN)
        self.assertFalse(self.manager._ledger.open)
        self.assertFalse(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].timers)
        self.assertEqual(self.is_watched(), self.watched)
        if hasattr(signal, "SIGALRM"):
            self.assertEqual(signal.getitimer(signal.ITIMER_REAL), (0.0, 0.0))

    def is_watched(self):
        """Tell whether the timer or the alarm stands behind a loop of the main thread."""
        if sys.modules[f"{package.__name__}.enforcing.by_timer"].ByTimer.only.is_running:
            return True
        return hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is not self.handler

    def __init_subclass__(cls):
        for name, test in list(vars(cls).items()):
            if name.startswith("test") and asyncio.iscoroutinefunction(test):
                setattr(cls, name, functools.wraps(test)(cls.in_a_loop(test)))

    @staticmethod
    def in_a_loop(test):
        def run(self):
            async def main():
                await test(self)
                self.assertEqual(cancelling(), 0)

            asyncio.run(main())

        return run

    def phase(self, limit=LIMIT, name="fetch", manager=None):
        return (manager or self.manager).timed_operation(name, limit=limit)

    def outcomes(self):
        return [(phase.name, phase.outcome) for phase in self.manager.phases]
