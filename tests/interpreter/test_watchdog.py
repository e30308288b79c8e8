"""The watchdog does its jobs when they ask for it, and comes earlier if it is expected to."""

import threading
import unittest
from importlib import import_module

from .. import package

watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
LONG = 60  # seconds


class TheWatchdog(unittest.TestCase):
    def test_comes_if_it_is_expected_to_while_it_asks_its_jobs(self):
        looks, is_added, came = [], threading.Event(), threading.Event()

        def job(now):
            looks.append(now)
            if len(looks) == 1:
                is_added.wait(LONG)  # until the bell that is rung for it has been rung
                return now
            if len(looks) == 2:
                watchdog.expect(now + LONG / 2)  # as another thread may, when another job has been asked
            else:
                came.set()
            return now + LONG

        watchdog.add_job(job, job)
        self.addCleanup(watchdog.remove_job, job)
        is_added.set()
        self.assertTrue(came.wait(LONG / 6))


if __name__ == "__main__":
    unittest.main()
