"""The watchdog: threads that end in a phase, and jobs that fail."""

import importlib
import os
import signal
import threading
import time
import unittest
import warnings
from unittest import mock

from .. import package
from ..helpers.child import ROOT
from ..helpers.enforced import BRIEF, CPYTHON, LATE, LIMIT, LONG, MARGIN, ByWatchdogInAnotherThread, spin, unwatched
from ..helpers.forks import said

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


@unittest.skipUnless(CPYTHON, "PyPy offers no way into another thread")
class InAnotherThread(ByWatchdogInAnotherThread, unittest.TestCase):
    @unwatched
    def test_a_thread_that_ends_in_a_phase_takes_what_watches_it_along(self):
        by_thread = importlib.import_module(f"{package.__name__}.enforcing.by_thread")
        watchdog = importlib.import_module(f"{package.__name__}.interpreter.watchdog")
        for _ in range(3):  # they have the same ident, it may be
            self.in_thread(self.manager().timed_operation("left open", LIMIT).__enter__)
            self.assert_times_out(spin)
        self.in_thread(self.manager().timed_operation("left open", LIMIT).__enter__)
        end = time.monotonic() + MARGIN
        while watchdog._running and time.monotonic() < end:
            time.sleep(LIMIT)
        self.assertEqual((watchdog._running, by_thread.enforcers), ({}, {}))

    def test_garbage_of_an_earlier_thread_with_its_ident_does_not_end_what_watches_it(self):
        def body():
            importlib.import_module(f"{package.__name__}.enforcing.by_thread")._Tie()
            spin()

        self.assert_times_out(body)

    @unwatched
    def test_a_thread_that_ends_in_a_phase_closes_it(self):
        for options in {}, {"kill_after": LONG}:
            manager = self.manager(LONG, **options)

            def go():
                with manager.timed_operation("next") as phase:
                    return phase.path()

            self.in_thread(manager.timed_operation("left open", LONG).__enter__)
            end = time.monotonic() + MARGIN
            while manager.phases[0].outcome == "running" and time.monotonic() < end:
                time.sleep(LIMIT)
            self.assertEqual(self.in_thread(go), ("next",))  # of another thread with the same ident, it may be
            self.assertEqual([phase.outcome for phase in manager.phases], ["failed", "done"])
            left = manager.remaining_timeout
            self.assertEqual(manager.remaining_timeout, left)
        watchdog = importlib.import_module(f"{package.__name__}.interpreter.watchdog")
        self.assertEqual(watchdog.jobs, {})

    @unwatched
    def test_the_way_to_a_thread_is_found_once_and_anew_in_a_forked_child(self):
        kind, manager = importlib.import_module(f"{package.__name__}.enforcing.by_thread").ByThread, self.manager(LONG)

        def phases():
            with mock.patch.object(kind, "find_way", autospec=True, side_effect=kind.find_way) as found:
                for _ in range(3):
                    with manager.timed_operation("run"):
                        pass
            return found.call_count

        def go():
            count = phases()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # there are threads
                child = os.fork() if hasattr(os, "fork") else None
            if child == 0:
                count = 0
                try:
                    count = phases()
                finally:
                    os._exit(count)
            return count, child

        count, child = self.in_thread(go)
        self.assertEqual(count, 1)
        if child is not None:
            self.assertGreaterEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 1)

    def test_a_blocking_call_ends_when_it_returns_and_within_its_try(self):
        ended = []

        def body():
            try:
                time.sleep(LATE)
            finally:
                for each in "begun", "done":
                    ended.append(each)

        self.assert_times_out(body)
        self.assertEqual(ended, ["begun", "done"])


class InTheMainThread(unittest.TestCase):
    @unwatched
    def test_the_signal_comes_seldom_enough_for_what_begins_its_wait_anew_after_each(self):
        by_thread = importlib.import_module(f"{package.__name__}.enforcing.by_thread")
        sent, now = [], 0.0
        signals = mock.Mock(getsignal=lambda signum: by_thread._fired, pthread_kill=lambda *args: sent.append(now))
        enforcer = by_thread.ByThread(1)
        enforcer.signum, enforcer.at = 40, now
        with mock.patch.multiple(by_thread, signals=signals, enforcers={1: enforcer}):
            with mock.patch.object(by_thread.ByThread, "send_from_outside"):
                while now < 10:
                    now = enforcer.attend(now)
        gaps = [round(after - before, 6) for before, after in zip(sent, sent[1:])]
        self.assertEqual(gaps, sorted(gaps))
        self.assertLess(next(at for at, gap in zip(sent, gaps) if gap > 0.25), 1)
        self.assertEqual(gaps[-1], 1)

    def test_is_traced_at_once_if_it_is_deaf_and_late_if_it_hears_the_signal(self):
        by_thread = importlib.import_module(f"{package.__name__}.enforcing.by_thread")
        signals = mock.Mock(getsignal=lambda signum: by_thread._fired)
        for deaf, least, most in (True, 0.0, 0.2), (False, 0.4, 2.0):
            now, traced = 0.0, []
            enforcer = by_thread.ByThread(1)
            enforcer.signum, enforcer.at = 40, now
            threads = mock.Mock(blocks=lambda ident, signum, told=deaf: told)
            with mock.patch.multiple(by_thread, signals=signals, enforcers={1: enforcer}, threads=threads):
                with mock.patch.object(by_thread.ByThread, "send_from_outside", lambda self: traced.append(now)):
                    while not traced and now < 10:
                        now = enforcer.attend(now)
            self.assertTrue(least <= traced[0] <= most, (deaf, traced))

    @unittest.skipUnless(hasattr(signal, "SIGRTMIN"), "no real-time signals here")
    def test_takes_no_signal_that_c_code_handles_and_another_one_where_all_are_taken(self):
        code = f"""
import faulthandler, os, signal, sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
    faulthandler.register(number)
try:
    with package.TimeoutManager({LIMIT}, enforce="thread").timed_operation("run"):
        time.sleep({LONG})
except package.PhaseTimeout:
    print("interrupted")
os.kill(os.getpid(), signal.SIGRTMAX)
assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
"""
        self.assertRegex(said(code), r"^interrupted\n[\s\S]*most recent call first")


class TheWatchdog(unittest.TestCase):
    def test_comes_again_for_an_enforcer_that_it_does_not_know_yet(self):
        enforcer = importlib.import_module(f"{package.__name__}.enforcing.by_thread").ByThread(threading.get_ident())
        enforcer.at = 5.0
        self.assertEqual(enforcer.attend(1.0), 5.0)

    def test_goes_on_after_an_error_in_one_of_its_jobs(self):
        code = f"""
import sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
manager = package.TimeoutManager(enforce="thread")
try:
    with manager.timed_operation("run", limit={6 * LIMIT}):
        watchdog = sys.modules["{package.__name__}.interpreter.watchdog"]
        key = object()
        watchdog.add_job(key, lambda now: 1 / 0)
        end = time.monotonic() + {BRIEF}
        while time.monotonic() < end:
            time.sleep(0.003)
except package.PhaseTimeout as error:
    watchdog.remove_job(key)
    print("interrupted", error.interrupted)
"""
        printed = said(code, timeout=MARGIN)
        self.assertIn("interrupted True", printed)
        self.assertIn("ZeroDivisionError", printed)


if __name__ == "__main__":
    unittest.main()
