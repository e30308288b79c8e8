"""SIGALRM belongs to everybody: handlers and timers of others work on around our phases, inside them, and after."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings
from itertools import permutations
from unittest import mock

from .. import package
from ..helpers.child import DIRECTORY, ROOT, python
from .test_contract import LIMIT, LONG, MARGIN, spin

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
NAMES = [name for name in ("timer", "signal", "thread") if TimeoutManager(enforce=name).enforcement == name]

START = f"""
import os, signal, sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
"""


class Foreign(Exception):
    pass


class ForeignAlarms(unittest.TestCase):
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
        alarm = importlib.import_module(f"{package.__name__}.enforcing.by_signal")
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
        self.assertGreaterEqual(len(self.calls), 3)
        self.assertGreater(signal.getitimer(signal.ITIMER_REAL)[0], 0)

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
        self.assertEqual(python("-c", code).strip(), "alive")

    def test_one_that_comes_while_we_take_over_or_look_reaches_its_handler(self):
        alarm = importlib.import_module(f"{package.__name__}.enforcing.by_signal")
        manager = TimeoutManager(LONG, enforce="signal")
        with manager.timed_operation("run"):
            pass  # the main thread is known from now on
        raised = []

        def enter():
            with manager.timed_operation("run"):
                pass

        for name in "signal", "getsignal", "pthread_sigmask", "setitimer":
            step = getattr(alarm, name)

            for use in enter, lambda: manager.enforcement:
                with self.subTest(step=name, use=use.__name__):
                    due = [name]

                    def interrupted(*args):
                        result = step(*args)
                        if due:
                            raised.append(due.pop())
                            signal.raise_signal(signal.SIGALRM)
                        return result

                    with mock.patch.object(alarm, name, interrupted):
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


class WhatABlockDoesToTheAlarm(unittest.TestCase):
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
                            with manager.timed_operation("outer", LIMIT if name == "outer" else None):
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
                    place(order)
                    self.calls.clear()
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
        signal.setitimer(signal.ITIMER_REAL, LIMIT, LIMIT)
        with TimeoutManager(enforce="signal").timed_operation("run", LONG):
            spin(6 * LIMIT)
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


class InTime(unittest.TestCase):
    """No signal comes before a limit."""

    def test_no_alarm_before_the_limit(self):
        seen = []
        with TimeoutManager(enforce="signal").timed_operation("outer", LONG):
            with TimeoutManager(enforce="signal").timed_operation("earlier", 1.5):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                seen.append(signal.sigtimedwait([signal.SIGALRM], 1.2))
            seen.append(signal.sigtimedwait([signal.SIGALRM], 0.6))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        self.assertEqual(seen, [None, None])

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


class AtTheEndOfTheInterpreter(unittest.TestCase):
    """A generator that is suspended in a phase is collected late, or never."""

    CODE = START + (
        "def produce(**options):\n"
        "    with package.TimeoutManager(**options).timed_operation('produce', limit=0.3): yield\n"
        "class Slow:\n"
        "    def __del__(self, now=time.monotonic):\n"
        "        end = now() + 0.8\n"
        "        while now() < end: pass\n"
        "slow = Slow()\n"
    )

    def test_nothing_hangs_and_no_alarm_kills(self):
        for options in "enforce='thread'", "enforce='timer'", "enforce=True, kill_after=60", "enforce='signal'":
            with self.subTest(options):
                code = self.CODE + f"suspended = produce({options}); next(suspended); print('fine')"
                self.assertEqual(python("-c", code, timeout=MARGIN).splitlines()[0], "fine")

    def test_nor_where_the_interpreter_ends_within_the_phase(self):
        for enforce in NAMES:
            with self.subTest(enforce):
                code = self.CODE + (
                    f"phase = package.TimeoutManager(enforce={enforce!r}).timed_operation('run', limit=0.3)\n"
                    "phase.__enter__(); print('fine')"
                )
                self.assertEqual(python("-c", code, timeout=MARGIN).splitlines()[0], "fine")


class RecursionLimit(unittest.TestCase):
    def test_an_alarm_at_the_limit_does_not_kill(self):
        code = START + (
            "def deep():\n"
            "    try: return deep()\n"
            "    except RecursionError: pass\n"
            "    end = time.monotonic() + 0.8\n"
            "    while time.monotonic() < end:\n"
            "        try:\n"
            "            while time.monotonic() < end: pass\n"
            "        except RecursionError: pass\n"
            "for _ in range(4):\n"
            "    try:\n"
            "        with package.TimeoutManager(enforce='signal').timed_operation('run', limit=0.2): deep()\n"
            "    except package.PhaseTimeout: print('ended')\n"
        )
        self.assertEqual(python("-c", code).split(), ["ended"] * 4)

    def test_a_look_before_the_limit_does_no_harm(self):
        code = START + (
            "def spin(depth):\n"
            "    if depth: return spin(depth - 1)\n"
            "    end = time.monotonic() + 0.9\n"
            "    while time.monotonic() < end: pass\n"
            "spin(sys.getrecursionlimit() - 4)\n"
            "with package.TimeoutManager(enforce='signal').timed_operation('run', limit=1.4):\n"
            "    spin(sys.getrecursionlimit() - 4)\n"
            "print('fine')\n"
        )
        self.assertEqual(python("-c", code).strip(), "fine")


class TwoCopies(unittest.TestCase):
    def test_nest_in_each_other(self):
        with tempfile.TemporaryDirectory() as directory:
            for name in "one", "two":
                shutil.copytree(DIRECTORY, os.path.join(directory, name), ignore=shutil.ignore_patterns("__pycache__"))
            code = (
                "import sys, time, signal, threading; sys.path.insert(0, sys.argv[1]); import one, two\n"
                "def nest(outer, inner, outer_limit, inner_limit):\n"
                "    with outer.TimeoutManager(enforce=kind).timed_operation('outer', outer_limit):\n"
                "        with inner.TimeoutManager(enforce=kind).timed_operation('inner', inner_limit):\n"
                "            end = time.monotonic() + 60\n"
                "            while time.monotonic() < end: pass\n"
                f"for kind in {NAMES}:\n"
                "    for outer, inner in (one, two), (two, one):\n"
                "        for limits, owner in ((60, 0.05), 'inner'), ((0.05, 60), 'outer'), ((2, 0.05), 'inner'):\n"
                "            for _ in range(3):\n"
                "                try: nest(outer, inner, *limits)\n"
                "                except TimeoutError as error: assert error.limited_phase == owner, error\n"
                "                else: raise AssertionError('not interrupted')\n"
                "                assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL\n"
                "                assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)\n"
                "print('fine')"
            )
            self.assertEqual(python("-I", "-c", code, directory).strip(), "fine")


class Elsewhere(unittest.TestCase):
    """Where a mechanism cannot work, the next one is taken, or the reason given."""

    def in_thread(self, function):
        found = []
        thread = threading.Thread(target=lambda: found.append(function()))
        thread.start()
        thread.join(MARGIN)
        return found[0]

    def test_by_name_in_another_thread_it_says_what_is_missing_and_what_works(self):
        def go():
            manager = TimeoutManager(1, enforce="signal")
            self.assertEqual(manager.enforcement, "none")
            try:
                with manager.timed_operation("run"):
                    pass
            except RuntimeError as error:
                return str(error), manager.phases, manager.remaining_timeout

        message, phases, rest = self.in_thread(go)
        self.assertIn("enforce='signal' cannot work here: only the main thread", message)
        self.assertEqual((phases, rest), ((), 1))
        if sys.implementation.name == "cpython":
            self.assertIn('here enforce="thread" works', message)

    def test_true_takes_the_next_best(self):
        expected = "thread" if sys.implementation.name == "cpython" else "none"
        self.assertEqual(self.in_thread(lambda: TimeoutManager(enforce=True).enforcement), expected)
        self.assertEqual(TimeoutManager(enforce=True).enforcement, NAMES[0])
        self.assertEqual(TimeoutManager(enforce="signal").enforcement, "signal")
        self.assertEqual(TimeoutManager(enforce="thread").enforcement, "thread")
        self.assertEqual(TimeoutManager().enforcement, "none")

    def test_what_is_not_a_mechanism_is_refused(self):
        for value in "alarm", None, 1.5:
            with self.assertRaisesRegex(ValueError, f"enforce must be .*, not {value!r}"):
                TimeoutManager(enforce=value)

    def test_the_environment_overrides_the_code(self):
        for setting, expected in ("off", "none"), ("auto", NAMES[0]), *zip(NAMES, NAMES):
            os.environ["TIMEOUT_MANAGER_ENFORCE"] = setting
            try:
                for enforce in False, True, "thread":
                    self.assertEqual(TimeoutManager(enforce=enforce).enforcement, expected)
            finally:
                del os.environ["TIMEOUT_MANAGER_ENFORCE"]
        os.environ["TIMEOUT_MANAGER_ENFORCE"] = "maybe"
        try:
            with self.assertRaisesRegex(ValueError, "TIMEOUT_MANAGER_ENFORCE must be .*, not 'maybe'"):
                TimeoutManager()
        finally:
            del os.environ["TIMEOUT_MANAGER_ENFORCE"]

    def test_on_another_clock_limits_are_only_counted(self):
        self.assertEqual(TimeoutManager(1, enforce=True, clock=lambda: 0.0).enforcement, "none")

    def test_without_a_limit_signal_is_not_imported(self):
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "before = set(sys.modules)\n"
            "manager = package.TimeoutManager(enforce=True)\n"
            "with manager, manager.timed_operation('run'): pass\n"
            "print(sorted({'signal', 'threading', 'ctypes', 'asyncio'} & (set(sys.modules) - before)))"
        )
        self.assertEqual(python("-I", "-S", "-c", code).strip(), "[]")

    def test_where_nothing_works_it_warns_and_counts(self):
        code = START + (
            "import _signal, _thread, warnings\n"
            "def no(*args): raise RuntimeError('no threads here')\n"
            "def forbidden(*args): raise ValueError('signal only works in main thread')\n"
            "from importlib import import_module\n"
            "watchdog = import_module(package.__name__ + '.interpreter.watchdog')\n"
            "alarm = import_module(package.__name__ + '.enforcing.by_signal')\n"
            "timer = import_module(package.__name__ + '.enforcing.by_timer')\n"
            "alarm.signal = timer.signals.signal = forbidden\n"
            "watchdog.start_new_thread = no\n"
            "manager = package.TimeoutManager(0.05, enforce=True)\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always')\n"
            "    try:\n"
            "        with manager.timed_operation('run'): time.sleep(0.1)\n"
            "    except package.PhaseTimeout as error: print(error.interrupted, manager.enforcement)\n"
            "print(caught[0].category.__name__, caught[0].message)\n"
            "try:\n"
            "    with package.TimeoutManager(1, enforce='thread').timed_operation('run'): pass\n"
            "except RuntimeError as error: print(error)\n"
        )
        printed = python("-c", code)
        self.assertIn("False none", printed)
        self.assertIn("RuntimeWarning nothing can interrupt this thread, so time is only counted: only", printed)
        self.assertIn("enforce='thread' cannot work here:", printed)
        self.assertIn("here time can only be counted", printed)

    def test_a_server_that_swallows_the_handler_is_found_out(self):
        code = START + (
            "from importlib import import_module\n"
            "alarm = import_module(package.__name__ + '.enforcing.by_signal')\n"
            "timer = import_module(package.__name__ + '.enforcing.by_timer')\n"
            "alarm.signal = timer.signals.signal = lambda number, handler: alarm.getsignal(number)\n"
            "manager = package.TimeoutManager(0.2, enforce=True)\n"
            "print(manager.enforcement)\n"
            "try:\n"
            "    with manager.timed_operation('run'):\n"
            "        while True: time.sleep(0.01)\n"
            "except package.PhaseTimeout as error: print('interrupted', error.interrupted)\n"
            "try: package.TimeoutManager(0.2, enforce='signal').timed_operation('run').__enter__()\n"
            "except RuntimeError as error: print(error)\n"
        )
        printed = python("-c", code)
        self.assertIn("thread\ninterrupted True\n", printed)
        self.assertIn("setting the handler of SIGALRM has no effect here", printed)


@unittest.skipUnless(hasattr(os, "fork"), "no fork here")
class Processes(unittest.TestCase):
    def run_child(self, body):
        """Fork in an open phase, run the body in the child, and return its exit status."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 3.12: a fork beside other threads
            pid = os.fork()
        if pid == 0:
            try:
                body()
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        return os.waitpid(pid, 0)[1]

    def test_a_forked_child_inherits_no_interrupt_but_has_its_own(self):
        for enforce in NAMES:
            manager = TimeoutManager(enforce=enforce)

            def body():
                end = time.monotonic() + 6 * LIMIT
                while time.monotonic() < end:  # the limit of the parent passes
                    pass
                assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
                for kind in NAMES:
                    try:
                        with TimeoutManager(enforce=kind).timed_operation("own", LIMIT):
                            spin()
                    except PhaseTimeout as error:
                        assert error.phase == "own"
                    else:
                        raise AssertionError("not interrupted")

            with self.subTest(enforce):
                with self.assertRaises(PhaseTimeout):
                    with manager, manager.timed_operation("run", 2 * LIMIT):
                        self.assertEqual(self.run_child(body), 0)
                        spin()

    def test_a_child_that_is_forked_in_another_thread_is_interrupted_by_what_works_there(self):
        def body():
            manager = TimeoutManager(enforce=True)
            try:
                with manager.timed_operation("own", LIMIT):
                    spin()
            except PhaseTimeout as error:
                assert error.interrupted, manager.enforcement
            else:
                raise AssertionError("not interrupted")

        found = []
        thread = threading.Thread(target=lambda: found.append(self.run_child(body)))
        thread.start()
        thread.join(LONG)
        self.assertEqual(found, [0])

    def test_a_forked_child_leaves_the_phase_in_peace(self):
        def body():
            phase.__exit__(None, None, None)
            manager.__exit__(None, None, None)
            with manager.timed_operation("next", LONG):
                assert manager.enforcement == enforce

        for enforce in NAMES:
            manager = TimeoutManager(LONG, enforce=enforce)
            with manager, manager.timed_operation("run") as phase:
                self.assertEqual(self.run_child(body), 0)

    def test_spawned_and_forkserver_processes(self):
        code = START + (
            "import multiprocessing\n"
            "def work(kind):\n"
            "    try:\n"
            "        with package.TimeoutManager(0.1, enforce=kind).timed_operation('work'):\n"
            "            time.sleep(60)\n"
            "    except package.PhaseTimeout as error: os._exit(7 if error.interrupted else 8)\n"
            "if __name__ == '__main__':\n"
            "    with package.TimeoutManager(60, enforce=True).timed_operation('all'):\n"
            "        for method in 'spawn', 'forkserver':\n"
            f"            for kind in {NAMES}:\n"
            "                process = multiprocessing.get_context(method).Process(target=work, args=(kind,))\n"
            "                process.start(); process.join(30); print(process.exitcode)\n"
        )
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "script.py")
            with open(script, "w") as file:
                file.write(code)
            self.assertEqual(python(script).split(), ["7"] * 2 * len(NAMES))

    def test_after_the_last_phase_exec_is_safe(self):
        code = START + (
            "manager = package.TimeoutManager(0.2, enforce=True)\n"
            "with manager:\n"
            "    with manager.timed_operation('run'): pass\n"
            "os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(0.5); print(1)'])\n"
        )
        self.assertEqual(python("-c", code).strip(), "1")

    def test_a_child_process_started_in_a_phase_is_not_interrupted(self):
        with TimeoutManager(enforce=True).timed_operation("run", LONG):
            status = subprocess.call([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"])
        self.assertEqual(status, 0)


class Subinterpreters(unittest.TestCase):
    def test_limits_hold_or_the_reason_is_given(self):
        code = f"""
import sys, time, warnings
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
manager = package.TimeoutManager(0.1, enforce=True)
assert manager.enforcement in ("thread", "none"), manager.enforcement
warnings.simplefilter("ignore")
start = time.monotonic()
try:
    with manager.timed_operation("run"):
        while time.monotonic() < start + 0.5:
            pass
    raise AssertionError("no error")
except package.PhaseTimeout as error:
    assert error.interrupted == (manager.enforcement == "thread")
"""
        run = f"""
try:
    import _interpreters
except ImportError:
    try:
        import _xxsubinterpreters as _interpreters
    except ImportError:
        raise SystemExit("none")
made = _interpreters.create()
failed = _interpreters.run_string(made, {code!r})
assert failed is None, failed
_interpreters.destroy(made)
print("fine")
"""
        try:
            printed = python("-c", run)
        except AssertionError as error:
            if "none" not in str(error):
                raise
            self.skipTest("no subinterpreters here")
        self.assertEqual(printed.strip().splitlines()[-1], "fine")

    def test_a_thread_that_threading_did_not_start(self):
        import _thread

        found = []

        def go():
            try:
                with TimeoutManager(enforce=True).timed_operation("run", LIMIT):
                    spin(2)
            except PhaseTimeout as error:
                found.append(error.interrupted)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _thread.start_new_thread(go, ())
            for _ in range(MARGIN * 10):
                if found:
                    break
                time.sleep(0.1)
        self.assertEqual(found, [sys.implementation.name == "cpython"])


if __name__ == "__main__":
    unittest.main()
