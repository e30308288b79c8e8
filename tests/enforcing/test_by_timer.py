"""The timer of the kernel: what it takes, what it leaves alone, what becomes of it, and why there may be none."""

import ctypes
import importlib
import os
import re
import signal
import sys
import threading
import time
import unittest
from unittest import mock

from .. import package
from ..helpers.child import ROOT, python
from ..helpers.enforced import LIMIT, LONG, MARGIN, NAMES, spin, unwatched
from ..helpers.forks import said
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
HAS_TIMER = "timer" in NAMES
CPYTHON = sys.implementation.name == "cpython"

START = f"""
import ctypes, faulthandler, os, signal, sys, threading, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
from importlib import import_module
"""


def module(name):
    return importlib.import_module(f"{package.__name__}.{name}")


def handlers():
    return [signal.getsignal(number) for number in signal.valid_signals()]


def phase(limit, body=lambda: None, enforce="timer"):
    with TimeoutManager(enforce=enforce).timed_operation("run", limit):
        return body()


def ours():
    """Return the signal that the timer has taken."""
    return module("enforcing.by_timer")._signum


@unittest.skipUnless(hasattr(signal, "setitimer"), "no such signals here")
class InTime(Together, unittest.TestCase):
    """C code that does not begin anew after a signal: nothing that was set for another block ends it."""

    def assert_undisturbed(self, milliseconds):
        self.assertEqual(ctypes.CDLL(None).poll(None, 0, milliseconds), 0)  # -1: a signal has come

    @unwatched
    def test_after_the_last_phase(self):
        for enforce in NAMES:
            with self.subTest(enforce):
                phase(2 * LIMIT, enforce=enforce)
                self.assert_undisturbed(150)

    def test_in_a_later_phase(self):
        for enforce in NAMES:
            with self.subTest(enforce):
                phase(2 * LIMIT, enforce=enforce)
                phase(LONG, lambda: self.assert_undisturbed(150), enforce)

    def test_in_the_phase_around(self):
        def body():
            phase(2 * LIMIT, enforce=enforce)
            with manager.timed_operation("inner", 2 * LIMIT):
                pass
            self.assert_undisturbed(150)

        for enforce in NAMES:
            with self.subTest(enforce):
                manager = TimeoutManager(LONG, enforce=enforce)
                with manager.timed_operation("outer"):
                    body()
                with manager, manager.timed_operation("outer"):
                    body()

    def test_in_a_later_phase_of_a_session(self):
        for enforce in NAMES:
            with self.subTest(enforce):
                manager = TimeoutManager(LONG, enforce=enforce)
                with manager:
                    with manager.timed_operation("first", 2 * LIMIT):
                        pass
                    with manager.timed_operation("second"):
                        self.assert_undisturbed(150)

    @unwatched
    def test_in_a_session_whose_budget_has_stood_still(self):
        for enforce in NAMES:
            with self.subTest(enforce):
                manager = TimeoutManager(30 * LIMIT, enforce=enforce)
                with manager:
                    time.sleep(26 * LIMIT)  # its deadline is later for that
                    with manager.timed_operation("run"):
                        self.assert_undisturbed(400)

    def test_after_a_phase_of_a_session_that_was_interrupted(self):
        for enforce in NAMES:
            with self.subTest(enforce):
                manager = TimeoutManager(LONG, enforce=enforce)
                with manager:
                    with self.assertRaises(PhaseTimeout):
                        with manager.timed_operation("first", LIMIT):
                            spin()
                    time.sleep(LIMIT)  # a signal may have been on its way
                    self.assert_undisturbed(150)


@unittest.skipUnless(HAS_TIMER, "no such timers here")
class ItsSignal(Together, unittest.TestCase):
    def test_is_one_that_nobody_uses(self):
        code = START + (
            "timer = import_module(package.__name__ + '.interpreter.timer')\n"
            "first, second, third, fourth, *_ = range(signal.SIGRTMAX, signal.SIGRTMIN, -1)\n"
            "assert next(timer.free_signals()) == first, [*timer.free_signals()]\n"
            "faulthandler.register(first)\n"
            "signal.signal(second, lambda *args: None)\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, [third])  # somebody waits for it\n"
            "free = [*timer.free_signals()]\n"
            "print(free[0] == fourth, {first, second, third} & {*free})\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, free)\n"
            "print([*timer.free_signals()] == [third, *free])  # one of these is better than none\n"
        )
        self.assertEqual(said(code).splitlines(), ["True set()", "True"])

    def test_leaves_other_alarms_alone(self):
        calls = []
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, lambda *args: calls.append(args)))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        with self.assertRaises(PhaseTimeout):
            phase(4 * LIMIT, spin)
        self.assertEqual(len(calls), 1)

    @unwatched
    def test_is_unblocked_for_the_phase(self):
        phase(LONG)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [ours()])
        try:
            with self.assertRaises(PhaseTimeout):
                phase(LIMIT, lambda: time.sleep(LONG))
            self.assertIn(ours(), signal.pthread_sigmask(signal.SIG_BLOCK, []))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def test_that_a_block_has_blocked_interrupts_when_it_is_let_through(self):
        def body():
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [ours()])
            try:
                spin(4 * LIMIT)
                seen.append("late")
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            spin()

        seen = []
        phase(LONG)
        with self.assertRaises(PhaseTimeout) as caught:
            phase(2 * LIMIT, body)
        self.assertEqual((seen, caught.exception.interrupted), (["late"], True))

    @unwatched
    def test_is_put_in_the_place_of_by_the_watchdog_at_once_only_where_the_thread_is_deaf(self):
        def looks(late):
            with mock.patch.object(by_timer.ByTimer, "send_from_outside", lambda self: sent.append(late)):
                by_timer.attend(by_timer.ByTimer.only.at + late * 1.001)  # a sum is rounded

        by_timer, sent = module("enforcing.by_timer"), []
        with TimeoutManager(enforce="timer").timed_operation("run", LONG):
            for deaf in False, True:
                with mock.patch.object(by_timer, "blocks", lambda *args, told=deaf: told):
                    for late in -by_timer.TICK, by_timer.TICK, by_timer.REPEAT:
                        looks(late)
                sent.append(deaf)
        self.assertEqual(sent, [by_timer.REPEAT, False, by_timer.TICK, by_timer.REPEAT, True])

    @unwatched
    def test_never_comes_to_a_handler_that_has_taken_its_place_though_no_other_signal_is_free(self):
        by_timer, taken = module("enforcing.by_timer"), []

        def body():
            real_time = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
            before = {number: signal.signal(number, lambda *args: taken.append(args)) for number in real_time}
            by_timer._next_check = 0.0
            try:
                for _ in range(2):
                    by_timer.ByTimer.only.arm(time.monotonic())
                    spin(LIMIT)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        phase(LONG, body)
        self.assertEqual(taken, [])
        with self.assertRaises(PhaseTimeout):
            phase(LIMIT, spin)

    def test_that_a_block_leaves_blocked_is_discarded(self):
        def body():
            signal.pthread_sigmask(signal.SIG_BLOCK, [ours()])
            spin(4 * LIMIT)

        phase(LONG)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        try:
            with self.assertRaises(PhaseTimeout) as caught:
                phase(2 * LIMIT, body)
            self.assertFalse(caught.exception.interrupted)
            phase(LONG)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @unwatched
    def test_that_somebody_has_taken_since_is_left_to_him(self):
        def handle(signum, frame):
            pass

        phase(LONG)
        taken = ours()
        before = signal.signal(taken, handle)
        try:
            with self.assertRaises(PhaseTimeout):
                phase(LIMIT, lambda: time.sleep(LONG))
            self.assertNotEqual(ours(), taken)
            self.assertIs(signal.getsignal(taken), handle)
        finally:
            signal.signal(taken, signal.SIG_DFL)
        self.assertIsNot(before, signal.SIG_DFL)

    def test_that_c_code_has_taken_since_is_left_to_it(self):
        code = START + (
            "by_timer = import_module(package.__name__ + '.enforcing.by_timer')\n"
            "for limit in 60, 0.1:\n"
            "    try:\n"
            "        with package.TimeoutManager(limit, enforce='timer').timed_operation('run'):\n"
            "            if limit < 60: time.sleep(60)\n"
            "            taken = by_timer._signum\n"
            "            faulthandler.register(taken)\n"
            "            by_timer._next_check = 0.0\n"
            "    except package.PhaseTimeout as error: print(error.interrupted, taken != by_timer._signum)\n"
            "package.TimeoutManager.give_back()\n"
            "os.kill(os.getpid(), taken)\n"
        )
        self.assertRegex(said(code), r"^True True\n[\s\S]*most recent call first")

    def test_is_not_sent_to_a_program_that_is_started_in_a_phase(self):
        code = START + (
            "with package.TimeoutManager(0.3, enforce='timer').timed_operation('run'):\n"
            "    os.execv(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(0.8); print(1)'])\n"
        )
        self.assertEqual(said(code).strip(), "1")

    def test_does_not_come_after_an_end_within_a_phase(self):
        code = START + (
            "import atexit\n"
            "atexit.register(time.sleep, 1.5)  # it is called after ours\n"
            "package.TimeoutManager(1, enforce='timer').timed_operation('run').__enter__()\n"
        )
        self.assertEqual(python("-c", code), "")

    @unittest.skipUnless(CPYTHON, "PyPy looks for signals when a call of C code returns")
    def test_ends_what_holds_the_gil_and_looks_for_signals(self):
        number = 10**400_000
        for body in lambda: re.match("(a+)+$", "a" * 64 + "b"), lambda: pow(3, number, number + 1):
            start = time.monotonic()
            with self.assertRaises(PhaseTimeout) as caught:
                phase(LIMIT, body)
            self.assertTrue(caught.exception.interrupted)
            self.assertLess(time.monotonic() - start, MARGIN)

    @unittest.skipUnless(CPYTHON, "PyPy cannot set that limit")
    def test_comes_where_too_many_signals_wait_for_another_one(self):
        code = START + (
            "from resource import RLIMIT_SIGPENDING, getrlimit, setrlimit\n"
            "most = getrlimit(RLIMIT_SIGPENDING)[1]\n"
            "def hurry():\n"
            "    setrlimit(RLIMIT_SIGPENDING, (0, most))\n"
            "    manager.reset(0.1)\n"
            "for kind in 'timer', 'thread':\n"
            "    manager = package.TimeoutManager(60, enforce=kind)\n"
            "    try:\n"
            "        with manager.timed_operation('run'):\n"
            "            threading.Thread(target=hurry).start()\n"
            "            for _ in range(2000): time.sleep(0.005)\n"
            "    except package.PhaseTimeout as error: print(error.interrupted)\n"
            "    setrlimit(RLIMIT_SIGPENDING, (most, most))\n"
        )
        self.assertEqual(said(code).split(), ["True"] * 2)


@unittest.skipUnless(HAS_TIMER, "no such timers here")
@unwatched
class GivingBack(unittest.TestCase):
    def test_leaves_no_trace(self):
        TimeoutManager.give_back()
        before = handlers()
        self.assertEqual(TimeoutManager(enforce="timer").enforcement, "timer")
        self.assertEqual(handlers(), before)
        phase(LONG)
        self.assertNotEqual(handlers(), before)
        TimeoutManager.give_back()
        TimeoutManager.give_back()
        self.assertEqual(handlers(), before)
        with self.assertRaises(PhaseTimeout):
            phase(LIMIT, spin)

    @unittest.skipUnless(os.path.exists("/proc/self/timers"), "Linux shows no timers here")
    def test_deletes_the_timers_of_kill_after_too(self):
        def timers():
            with open("/proc/self/timers") as file:
                return file.read().count("signal:")

        TimeoutManager.give_back()
        before = timers()
        manager = TimeoutManager(LONG, kill_after=LONG)
        for _ in range(2):
            with manager.timed_operation("run"):
                self.assertEqual(timers(), before + 3)
                with self.assertRaisesRegex(RuntimeError, "phases are open, and need the timers of kill_after"):
                    TimeoutManager.give_back()
            TimeoutManager.give_back()
            self.assertEqual(timers(), before)

    def test_is_refused_while_it_is_needed(self):
        manager = TimeoutManager(LONG, enforce="timer")
        with manager.timed_operation("run"), self.assertRaisesRegex(RuntimeError, "phases or sessions are open"):
            TimeoutManager.give_back()
        with manager:
            with manager.timed_operation("run"):
                pass
            with self.assertRaisesRegex(RuntimeError, "phases or sessions are open"):
                TimeoutManager.give_back()
        TimeoutManager.give_back()

    def test_another_thread_has_nothing_to_give_back(self):
        phase(LONG)
        before = handlers()
        thread = threading.Thread(target=TimeoutManager.give_back)
        thread.start()
        thread.join()
        self.assertEqual(handlers(), before)


@unittest.skipUnless(HAS_TIMER, "no such timers here")
class WhereThereIsNone(unittest.TestCase):
    """The next best is taken, and asked for by name it says why."""

    def refused(self, code):
        code = START + code + (
            "before = [signal.getsignal(number) for number in signal.valid_signals()]\n"
            "manager = package.TimeoutManager(5, enforce='timer')\n"
            "print(package.TimeoutManager(5, enforce=True).enforcement, manager.enforcement)\n"
            "try:\n"
            "    with manager.timed_operation('run'): pass\n"
            "except RuntimeError as error: print(error)\n"
            "assert before == [signal.getsignal(number) for number in signal.valid_signals()]\n"
            "with package.TimeoutManager(5, enforce=True).timed_operation('run'): pass\n"
        )
        names, reason = said(code).splitlines()
        self.assertEqual(names, "signal none")
        self.assertIn("enforce='timer' cannot work here: ", reason)
        self.assertIn('here enforce="signal" works', reason)
        return reason

    def test_without_ctypes(self):
        self.assertIn("out of reach", self.refused("sys.modules['_ctypes'] = None; del sys.modules['ctypes']\n"))

    def test_on_another_system(self):
        self.assertIn("only Linux with 64 bits has", self.refused("sys.platform = 'darwin'\n"))

    def test_where_the_system_refuses_it(self):
        for name in "timer_create", "timer_settime":
            code = (
                "timer = import_module(package.__name__ + '.interpreter.timer')\n"
                "libc = timer.library(use_errno=True)\n"
                "def refuse(*args):\n"
                "    ctypes.set_errno(1)\n"
                "    return -1\n"
                f"libc.{name} = refuse\n"
            )
            self.assertIn(f"refuses {name} (Operation not permitted)", self.refused(code))

    def test_where_its_signal_does_not_arrive(self):
        code = (
            "timer = import_module(package.__name__ + '.interpreter.timer')\n"
            "timer.Timer.set = lambda *args: None\n"
        )
        self.assertIn("the signal of a timer does not arrive here", self.refused(code))

    def test_where_no_signal_is_free(self):
        code = "for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1): signal.signal(number, signal.SIG_IGN)\n"
        self.assertIn("no real-time signal is free", self.refused(code))

    def test_in_another_thread(self):
        found = []
        manager = TimeoutManager(LONG, enforce="timer")

        def go():
            try:
                with manager.timed_operation("run"):
                    pass
            except RuntimeError as error:
                found.append(str(error))

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
        self.assertIn("only the main thread of the main interpreter", found[0])


if __name__ == "__main__":
    unittest.main()
