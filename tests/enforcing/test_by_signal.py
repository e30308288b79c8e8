"""SIGALRM belongs to everybody: handlers and timers of others work on around our phases, inside them, and after."""

import importlib
import os
import signal
import threading
import time
import unittest
from itertools import permutations
from unittest import mock

from .. import package
from ..helpers.child import ROOT
from ..helpers.enforced import LIMIT, LONG, MARGIN, spin
from ..helpers.forks import said
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
START = f"""
import os, signal, sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
"""


class Foreign(Exception):
    pass


class ForeignAlarms(Together, unittest.TestCase):
    def setUp(self):
        self.calls = []
        handler = signal.signal(signal.SIGALRM, self.handle)
        self.addCleanup(signal.signal, signal.SIGALRM, handler)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)

    def handle(self, signum, frame):
        self.calls.append(time.monotonic())

    def test_handler_and_timer_are_back_minus_the_time_gone(self):
        signal.setitimer(signal.ITIMER_REAL, LONG)
        start = time.monotonic()
        manager = TimeoutManager(enforce="signal")
        with manager.timed_operation("run", LONG / 2):
            pass
        with self.assertRaises(PhaseTimeout):
            with manager.timed_operation("run", LIMIT):
                spin()
        rest, interval = signal.getitimer(signal.ITIMER_REAL)
        self.assertEqual(signal.getsignal(signal.SIGALRM), self.handle)
        self.assertEqual(interval, 0)
        self.assertLess(abs(LONG - (time.monotonic() - start) - rest), 0.05)
        self.assertEqual(self.calls, [])

    def test_an_earlier_alarm_reaches_its_handler_on_time(self):
        due = time.monotonic() + 2 * LIMIT
        signal.setitimer(signal.ITIMER_REAL, 2 * LIMIT)
        with TimeoutManager(enforce="signal").timed_operation("run", LONG):
            spin(6 * LIMIT)
        self.assertEqual(len(self.calls), 1)
        self.assertLess(due - 0.01, self.calls[0])
        self.assertLess(self.calls[0], due + 10 * LIMIT)
        self.assertEqual(signal.getitimer(signal.ITIMER_REAL), (0, 0))

    def test_its_exception_passes_as_foreign_and_our_limit_still_holds(self):
        def handle(signum, frame):
            raise Foreign

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        manager = TimeoutManager(enforce="signal")
        with self.assertRaises(Foreign):
            with manager.timed_operation("run", LONG):
                spin()
        self.assertEqual(manager.phases[0].outcome, "failed")
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        with self.assertRaises(PhaseTimeout):
            with manager.timed_operation("run", 4 * LIMIT):
                with self.assertRaises(Foreign):
                    spin()
                spin()

    def test_an_interval_timer_whose_alarm_is_on_its_way_keeps_its_interval(self):
        alarm = importlib.import_module(f"{package.__name__}.interpreter.alarm")
        really, calls = alarm.setitimer, []

        def setitimer(*args):
            rest, interval = really(*args)
            calls.append(args)
            return (0.0 if len(calls) == 1 else rest), interval

        signal.setitimer(signal.ITIMER_REAL, LONG, LONG)
        with mock.patch.object(alarm, "setitimer", setitimer):
            with TimeoutManager(enforce="signal").timed_operation("run", LONG / 2):
                pass
        rest, interval = signal.getitimer(signal.ITIMER_REAL)
        self.assertEqual(interval, LONG)
        self.assertLess(0, rest)

    def test_an_interval_timer_keeps_its_interval(self):
        signal.setitimer(signal.ITIMER_REAL, LIMIT, LIMIT)
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(enforce="signal").timed_operation("run", 10 * LIMIT):
                spin()
        self.assertGreaterEqual(len(self.calls), 3)
        self.assertAlmostEqual(signal.getitimer(signal.ITIMER_REAL)[1], LIMIT, 3)

    def test_a_handler_that_sets_its_timer_again_goes_on(self):
        def handle(signum, frame):
            self.calls.append(time.monotonic())
            signal.setitimer(signal.ITIMER_REAL, LIMIT)

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(enforce="signal").timed_operation("run", 10 * LIMIT):
                spin()
        calls, end = len(self.calls), time.monotonic() + MARGIN
        self.assertGreaterEqual(calls, 3)
        while len(self.calls) == calls and time.monotonic() < end:
            time.sleep(LIMIT / 10)
        self.assertGreater(len(self.calls), calls)

    def test_an_alarm_that_is_not_ours_reaches_the_previous_handler(self):
        with TimeoutManager(enforce="signal").timed_operation("run", LONG):
            os.kill(os.getpid(), signal.SIGALRM)
            spin(LIMIT)
        self.assertEqual(len(self.calls), 1)

    def test_a_handler_and_a_timer_that_the_body_leaves_stay(self):
        own = []
        with TimeoutManager(enforce="signal").timed_operation("run", LONG):
            signal.signal(signal.SIGALRM, lambda *args: own.append(args))
            signal.setitimer(signal.ITIMER_REAL, 4 * LIMIT)
        self.assertGreater(signal.getitimer(signal.ITIMER_REAL)[0], 0)
        spin(8 * LIMIT)
        self.assertEqual((len(own), self.calls), (1, []))

    def test_a_handler_of_the_body_is_not_called_when_limits_change(self):
        own = []
        manager = TimeoutManager(LONG, enforce="signal")
        with manager.timed_operation("run"):
            signal.signal(signal.SIGALRM, lambda *args: own.append(args))
            signal.setitimer(signal.ITIMER_REAL, 0)
            with manager.cleanup_operation("tidy", limit=LONG):
                pass
            manager.reset(LONG - 1)
            thread = threading.Thread(target=manager.reset, args=(LONG,))
            thread.start()
            thread.join()
            spin(LIMIT)
        self.assertEqual((own, self.calls), ([], []))

    def test_nor_does_a_change_kill_where_the_body_has_none(self):
        code = START + (
            "manager = package.TimeoutManager(60, enforce='signal')\n"
            "with manager.timed_operation('run'):\n"
            "    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
            "    signal.setitimer(signal.ITIMER_REAL, 0)\n"
            "    with manager.cleanup_operation('tidy', limit=5): pass\n"
            "    manager.reset(50)\n"
            "print('alive')"
        )
        self.assertEqual(said(code).strip(), "alive")

    def test_one_that_comes_while_we_take_over_or_look_reaches_its_handler(self):
        originals = importlib.import_module(f"{package.__name__}.originals")
        modules = [importlib.import_module(f"{package.__name__}.interpreter.alarm"), originals.signals]
        manager = TimeoutManager(LONG, enforce="signal")
        with manager.timed_operation("run"):
            pass  # the main thread is known from now on
        raised = []

        def enter():
            with manager.timed_operation("run"):
                pass

        for name in "signal", "getsignal", "pthread_sigmask", "setitimer":
            module = next(each for each in modules if hasattr(each, name))
            step = getattr(module, name)

            for use in enter, lambda: manager.enforcement:
                with self.subTest(step=name, use=use.__name__):
                    due = [name]

                    def interrupted(*args):
                        result = step(*args)
                        if due:
                            raised.append(due.pop())
                            signal.raise_signal(signal.SIGALRM)
                        return result

                    with mock.patch.object(module, name, interrupted):
                        use()
                    self.assertEqual(len(self.calls), len(raised), raised)
                    self.assertEqual(signal.getsignal(signal.SIGALRM), self.handle)
                    self.assertEqual(signal.getitimer(signal.ITIMER_REAL), (0, 0))
        self.assertEqual(set(raised), {"signal", "getsignal", "pthread_sigmask", "setitimer"})

    def test_a_timer_that_the_body_sets_counts_beside_our_limit(self):
        manager = TimeoutManager(enforce="signal")
        with self.assertRaises(PhaseTimeout):
            with manager.timed_operation("outer", LONG):
                signal.setitimer(signal.ITIMER_REAL, LIMIT)
                with manager.timed_operation("inner", 6 * LIMIT):
                    spin()
        self.assertEqual(len(self.calls), 1)

    def test_a_blocked_signal_is_unblocked_for_the_phase(self):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        try:
            for enforce in "signal", "thread":
                with self.assertRaises(PhaseTimeout):
                    with TimeoutManager(enforce=enforce).timed_operation("run", LIMIT):
                        time.sleep(LONG)
                self.assertIn(signal.SIGALRM, signal.pthread_sigmask(signal.SIG_BLOCK, []))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def test_by_a_thread_it_is_not_touched(self):
        signal.setitimer(signal.ITIMER_REAL, LONG)
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(enforce="thread").timed_operation("run", LIMIT):
                self.assertEqual(signal.getsignal(signal.SIGALRM), self.handle)
                self.assertGreater(signal.getitimer(signal.ITIMER_REAL)[0], LONG - MARGIN)
                time.sleep(LONG)

    def test_it_fires_where_signal_is_replaced_by_a_mock(self):
        kept, signal.signal = signal.signal, lambda *args: None
        try:
            with self.assertRaises(PhaseTimeout):
                with TimeoutManager(enforce="signal").timed_operation("run", LIMIT):
                    time.sleep(LONG)
        finally:
            signal.signal = kept
        self.assertEqual(signal.getsignal(signal.SIGALRM), self.handle)


class WhatABlockDoesToTheAlarm(Together, unittest.TestCase):
    """Code in a block sets, cancels and replaces timer and handler: it all stays as if there were no phase."""

    def setUp(self):
        self.calls = []
        self.before = lambda *args: self.calls.append("before")
        self.own = lambda *args: self.calls.append("own")
        handler = signal.signal(signal.SIGALRM, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGALRM, handler)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        self.steps = {
            "alarm(0)": lambda: signal.alarm(0),
            "setitimer(0)": lambda: signal.setitimer(signal.ITIMER_REAL, 0),
            "setitimer(new)": lambda: signal.setitimer(signal.ITIMER_REAL, LONG / 3),
            "SIG_DFL": lambda: signal.signal(signal.SIGALRM, signal.SIG_DFL),
            "own handler": lambda: signal.signal(signal.SIGALRM, self.own),
            "handler back": lambda: signal.signal(signal.SIGALRM, self.saved),
        }

    def begin(self, pending):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)
        signal.setitimer(signal.ITIMER_REAL, LONG if pending else 0)

    def end(self):
        """Return whose handler there is, and which timer."""
        rest = signal.getitimer(signal.ITIMER_REAL)[0]
        handler = signal.getsignal(signal.SIGALRM)
        whose = {self.before: "before", self.own: "own", signal.SIG_DFL: "SIG_DFL"}.get(handler, handler)
        return whose, "none" if not rest else "that before" if rest > LONG / 2 else "new"

    def go(self, order, between=lambda: None):
        self.saved = signal.getsignal(signal.SIGALRM)
        for step in order:
            self.steps[step]()
            between()

    def in_a_phase(self, order):
        with TimeoutManager(LONG / 4, enforce="signal").timed_operation("run"):
            self.go(order)

    def in_a_session(self, order):
        manager = TimeoutManager(LONG / 4, enforce="signal")
        with manager:
            with manager.timed_operation("first"):
                self.go(order)
            with manager.timed_operation("second"):
                pass
            manager.reset(LONG / 5)

    def in_a_session_without_phase(self, order):
        manager = TimeoutManager(LONG / 4, enforce="signal")

        def between():
            with manager.timed_operation("run", LONG / 5):
                pass

        with manager:
            self.go(order, between)

    def around_phases_of_others(self, order):
        def between():
            manager = TimeoutManager(enforce="signal")
            with manager.timed_operation("inner", LONG / 5), manager.timed_operation("innermost"):
                pass

        with TimeoutManager(LONG / 4, enforce="signal").timed_operation("outer"):
            self.go(order, between)

    def where_limits_change(self, order):
        manager = TimeoutManager(LONG / 4, enforce="signal")
        with manager.timed_operation("run"):
            self.go(order, lambda: manager.reset(LONG / 5))

    def test_all_orders_leave_what_they_leave_without_a_phase(self):
        places = self.in_a_phase, self.in_a_session, self.in_a_session_without_phase, self.around_phases_of_others
        orders = [order for length in (1, 2, 3) for order in permutations(self.steps, length)]
        for pending in True, False:
            for order in orders:
                self.begin(pending)
                self.go(order)
                expected = self.end()
                for place in (*places, self.where_limits_change):
                    with self.subTest(order=order, pending=pending, place=place.__name__):
                        self.begin(pending)
                        place(order)
                        self.assertEqual((self.end(), self.calls), (expected, []))

    def test_after_all_of_them_the_limits_hold_in_the_next_phase(self):
        for length in 1, 2:
            for order in permutations(self.steps, length):
                for name in "outer", "inner":
                    with self.subTest(order=order, limit=name):
                        self.begin(True)
                        manager = TimeoutManager(LONG / 4, enforce="signal")
                        with self.assertRaises(PhaseTimeout) as caught:
                            with manager.timed_operation("outer", 2 * LIMIT if name == "outer" else None):
                                self.go(order)
                                with manager.timed_operation("inner", LIMIT if name == "inner" else None):
                                    spin(MARGIN)
                        self.assertEqual((caught.exception.limited_phase, caught.exception.interrupted), (name, True))
        self.assertEqual(self.calls, [])

    def test_and_in_the_next_phase_of_a_session(self):
        for order in permutations(self.steps, 1):
            with self.subTest(order=order):
                self.begin(True)
                manager = TimeoutManager(LONG / 4, enforce="signal")
                with manager:
                    with manager.timed_operation("first", LONG / 5):
                        self.go(order)
                    with self.assertRaises(PhaseTimeout) as caught:
                        with manager.timed_operation("second", LIMIT):
                            spin(MARGIN)
                self.assertTrue(caught.exception.interrupted)

    def test_a_timer_that_a_block_sets_comes_on_time_and_once(self):
        self.steps["setitimer(new)"] = lambda: signal.setitimer(signal.ITIMER_REAL, 2 * LIMIT)
        for order in permutations(["setitimer(new)", "own handler", "alarm(0)"]):
            for place in self.in_a_phase, self.around_phases_of_others:
                with self.subTest(order=order, place=place.__name__):
                    self.begin(True)
                    self.calls.clear()
                    place(order)
                    spin(6 * LIMIT)
                    comes = order.index("alarm(0)") < order.index("setitimer(new)")
                    self.assertEqual(self.calls, ["own"] * comes)

    def test_one_that_replaces_ours_and_comes_after_the_limit_reaches_its_handler(self):
        self.begin(False)
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(enforce="signal").timed_operation("run", LIMIT):
                signal.setitimer(signal.ITIMER_REAL, 3 * LIMIT)
                spin(MARGIN)
        self.assertEqual(self.calls, ["before"])

    def test_a_handler_that_cancels_its_interval_timer_is_not_called_again(self):
        def handle(*args):
            self.calls.append("before")
            signal.setitimer(signal.ITIMER_REAL, 0)

        self.before = handle
        self.begin(False)
        signal.setitimer(signal.ITIMER_REAL, LIMIT, 8 * LIMIT)
        with TimeoutManager(enforce="signal").timed_operation("run", LONG):
            spin(12 * LIMIT)
        self.assertEqual((self.calls, self.end()), (["before"], ("before", "none")))

    def test_as_pytest_timeout_does_it_at_every_failure(self):
        """It sets handler and timer for each test; phases of fixtures are open around that."""
        self.begin(False)
        manager = TimeoutManager(LONG / 4, enforce="signal")
        with manager.timed_operation("fixture"):
            for test in range(3):
                signal.signal(signal.SIGALRM, self.own)
                signal.setitimer(signal.ITIMER_REAL, LONG / 3)
                with self.assertRaises(PhaseTimeout) as caught:
                    with TimeoutManager(LIMIT, enforce="signal").timed_operation("in the test"):
                        spin(MARGIN)
                self.assertTrue(caught.exception.interrupted)
                self.assertEqual(self.end(), ("own", "new"))
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.assertEqual((self.calls, self.end()), ([], ("SIG_DFL", "none")))


class InTime(Together, unittest.TestCase):
    """No signal comes before a limit."""

    @unittest.skipUnless(hasattr(signal, "sigtimedwait"), "what comes cannot be waited for")
    def test_no_alarm_before_the_limit(self):
        seen = []
        with TimeoutManager(enforce="signal").timed_operation("outer", LONG):
            with TimeoutManager(enforce="signal").timed_operation("earlier", 1.5):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                seen.append(signal.sigtimedwait([signal.SIGALRM], 1.2))
            seen.append(signal.sigtimedwait([signal.SIGALRM], 0.6))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        self.assertEqual(seen, [None, None])

    @unittest.skipUnless(hasattr(signal, "sigtimedwait"), "what comes cannot be waited for")
    def test_what_begins_its_wait_anew_after_each_signal_is_interrupted(self):
        """As gRPC does; here what comes is put back when none has come for a while."""
        start = time.monotonic()
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(enforce="signal").timed_operation("run", LIMIT):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                try:
                    time.sleep(2 * LIMIT)
                    while signal.sigtimedwait([signal.SIGALRM], 0.4):
                        self.assertLess(time.monotonic() - start, MARGIN)
                    signal.raise_signal(signal.SIGALRM)
                finally:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])


if __name__ == "__main__":
    unittest.main()
