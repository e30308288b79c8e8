"""The watchdog does its jobs when they ask for it, and comes earlier if it is expected to."""

import gc
import os
import sys
import threading
import time
import unittest
import warnings
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import ROOT, count_threads, environment, python
from ..helpers.enforced import unwatched

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

    def test_goes_on_whatever_a_test_has_made_of_builtins(self):
        came = threading.Event()
        watchdog.add_job(self, lambda now: came.set() or now + LONG, at=time.monotonic() + 0.05)
        self.addCleanup(watchdog.remove_job, self)
        with mock.patch("builtins.min", side_effect=KeyError), mock.patch("builtins.max", side_effect=KeyError):
            self.assertTrue(came.wait(LONG / 2))

    @unittest.skipUnless(sys.implementation.name == "cpython", "elsewhere it is not known that it has ended")
    def test_is_started_again_where_a_tracer_of_others_has_ended_it(self):
        def wait_until_dead():
            end = time.monotonic() + LONG
            while watchdog._life and time.monotonic() < end:
                watchdog.ring()
                time.sleep(0.01)

        came = threading.Event()
        watchdog.end()
        gc.collect()  # what is left of mocks of other tests, which keep what a thread was given
        with mock.patch.object(watchdog.stalls.Clerk, "wait_until", side_effect=SystemExit):  # which is not told
            watchdog.add_job(self, lambda now: now + LONG)
            wait_until_dead()
            watchdog.remove_job(self)  # does not wait for what is gone
            watchdog.add_job(self, lambda now: came.set() or now + LONG)
            wait_until_dead()
        came.clear()
        watchdog.revive()
        self.addCleanup(watchdog.remove_job, self)
        self.assertTrue(came.wait(LONG / 2))

    def test_has_begun_before_the_interpreter_ends(self):
        code = f"import {watchdog.__name__} as watchdog\nwatchdog.add_job('job', lambda now: now + 9, lasting=True)"
        variables = environment(PYTHONPATH=ROOT, PYTHONMALLOC="debug")  # which overwrites what is freed
        self.assertEqual(python("-c", code, env=variables), "")


@unwatched
class Lingering(unittest.TestCase):
    def setUp(self):
        watchdog.end()
        starts = mock.patch.object(watchdog, "start_new_thread", wraps=watchdog.start_new_thread)
        self.starts = starts.start()
        self.addCleanup(starts.stop)
        self.before = count_threads()
        for _ in range(3):
            watchdog.add_job(self, lambda now: now + LONG, at=time.monotonic() + LONG)
            watchdog.remove_job(self, lingers=True)

    def wait(self):
        """Wait until the watchdog is gone; return how long that took."""
        began = time.monotonic()
        while count_threads() > self.before and time.monotonic() < began + LONG:
            time.sleep(0.01)
        return time.monotonic() - began

    def test_serves_the_next_job_and_ends(self):
        self.assertEqual(self.starts.call_count, 1)
        self.assertLess(self.wait(), LONG / 2)
        watchdog.add_job(self, lambda now: now + LONG)
        watchdog.remove_job(self)
        self.assertEqual(self.starts.call_count, 2)

    def test_does_not_keep_a_job_from_its_instant(self):
        came = threading.Event()
        watchdog.add_job(self, lambda now: came.set() or now + LONG, at=time.monotonic() + 0.05)
        self.addCleanup(watchdog.remove_job, self)
        self.assertTrue(came.wait(LONG / 2))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_ends_before_a_fork(self):
        with mock.patch.object(watchdog, "LINGER", LONG), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # threads of other tests may be there
            watchdog.remove_job(self, lingers=True)
            pid = os.fork()
            if not pid:
                os._exit(0)
            self.assertEqual(watchdog._running, {})
        os.waitpid(pid, 0)

    def test_ends_if_it_is_to_be_given_back(self):
        with mock.patch.object(watchdog, "LINGER", LONG):
            watchdog.remove_job(self, lingers=True)
            package.TimeoutManager.give_back()
        self.assertEqual((watchdog._running, count_threads()), ({}, self.before))

    def test_is_no_thread_of_the_process_any_more_when_it_has_ended(self):
        watchdog.end()
        counts = set()
        for _ in range(300):
            watchdog.add_job(self, lambda now: now + LONG)
            watchdog.remove_job(self)
            counts.add(count_threads())
        self.assertEqual(counts, {self.before})

    def test_ends_with_what_is_to_be_gone_at_once(self):
        watchdog.add_job(self, lambda now: now + LONG)
        with mock.patch.object(watchdog, "LINGER", LONG):
            watchdog.remove_job(self, lingers=True)
            watchdog.remove_job(self)
        self.assertLess(self.wait(), LONG / 2)

    def test_does_not_keep_the_interpreter_from_its_end(self):
        code = f"import {watchdog.__name__} as watchdog\nwatchdog.LINGER = 300\n"
        code += "watchdog.add_job(1, lambda now: now + 300)\nwatchdog.remove_job(1, lingers=True)"
        self.assertEqual(python("-c", code, env=environment(PYTHONPATH=ROOT)), "")


if __name__ == "__main__":
    unittest.main()
