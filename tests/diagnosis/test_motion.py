"""Whether what was interrupted was stuck or slow, and what the limit met in C."""

import asyncio
import ctypes
import itertools
import os
import re
import selectors
import signal
import sys
import threading
import time
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import ROOT
from ..helpers.enforced import unwatched
from ..helpers.forks import said
from ..helpers.interrupted import hang, interrupted
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
enforcer = import_module(f"{package.__name__}.interrupting.enforcer")
SHORTEST = enforcer.SHORTEST
CPYTHON = sys.implementation.name == "cpython"
SCHEDULED = os.path.exists("/proc/self/schedstat")
KNOWN = SCHEDULED or hasattr(time, "pthread_getcpuclockid")
WHOLE_STACKS = getattr(sys, "_is_gil_enabled", lambda: True)()  # of threads that may run on while they are looked at


def move():
    """Stands in for what moves."""


def spin():
    while True: pass  # noqa: E701  # in one line: that of a free thread may be seen anywhere in it


def in_c(seconds):
    """Return a function that is in C code for so long, lets nobody run meanwhile, and then goes on."""

    def body():
        nap, end = ctypes.PyDLL(None).usleep, time.monotonic() + seconds
        next(filter((end,).__lt__, zip(iter(time.monotonic, None), map(nap, itertools.repeat(1000)))))
        spin()

    return body


class OfALimitThatPassedInC(Together, unittest.TestCase):
    """The next line is not to blame, and is not told to be."""

    HELD = r"\nWhen the limit passed, C code held the GIL, and it ran on for \d+\.\d+ s\. This is the line"
    BLOCKED = r"\nFor \d+\.\d+ s after the limit nothing could interrupt it: .* may have held the GIL"

    def in_thread(self, body):
        errors = []
        thread = threading.Thread(target=lambda: errors.append(interrupted(body=body)))
        thread.start()
        thread.join()
        return errors[0].diagnosis

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "there is no GIL, or it is not CPython's")
    @unittest.skipUnless(sys.platform == "linux", "nothing tells of it")
    def test_the_watchdog_knows_that_the_gil_was_held(self):
        body = in_c(0.8)
        self.assertRegex(interrupted("thread", body).diagnosis, self.HELD)
        self.assertRegex(self.in_thread(body), self.HELD)

    @unittest.skipUnless(CPYTHON and hasattr(signal, "setitimer"), "no alarm, or that code is not C there")
    @unwatched
    def test_the_alarm_does_not(self):
        self.assertRegex(interrupted("signal", in_c(0.8)).diagnosis, self.BLOCKED)

    @unittest.skipUnless(CPYTHON, "nothing interrupts another thread")
    def test_a_call_that_blocks_in_a_thread(self):
        self.assertRegex(self.in_thread(lambda: time.sleep(1) or spin()), self.BLOCKED)

    def test_our_own_threads_are_in_no_stack(self):
        watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
        event, gone = threading.Event(), threading.Event()
        watchdog.add_job(self, lambda now: event.set() or gone.wait(30) and now + 30)
        event.wait(30)
        try:
            scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        finally:
            gone.set()
            watchdog.remove_job(self)
        self.assertNotIn("gone.wait", str(scene))

    def test_one_that_is_in_time_is_not_told_to_be_late(self):
        self.assertNotRegex(interrupted().diagnosis, f"{self.HELD}|{self.BLOCKED}")
        if CPYTHON:
            self.assertNotRegex(self.in_thread(spin), f"{self.HELD}|{self.BLOCKED}")


class StuckOrSlow(Together, unittest.TestCase):
    LIMIT = 0.6
    SAME = r"^At the same line for the last SOON \(seen \d times?\), "

    def setUp(self):
        patch = mock.patch.object(enforcer, "SHORTEST", self.LIMIT / 4)  # there is a look before so brief a limit
        patch.start()
        self.addCleanup(patch.stop)

    def motion(self, body, enforce=True, limit=LIMIT, beside=True):
        watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
        if beside:  # it runs for some other reason
            watchdog.add_job(self, lambda now: float("inf"))
        told = interrupted(enforce, body, limit).diagnosis
        watchdog.remove_job(self)
        line = next((line for line in told.splitlines() if line.startswith(("At the same", "Moving"))), "")
        return re.sub(r"\d+\.\d+ m?s", "SOON", line)

    def by_runner(self, method, body, limit=LIMIT):
        """Return what is said of a test that does not end."""
        limits = import_module(f"{package.__name__}.testing.limits")
        watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
        watchdog.add_job(self, lambda now: float("inf"))
        run = limits.Limits(limits.Limit(limit, "here"), method=method)
        try:
            import_module(f"{package.__name__}.testing.part").Group(run, "a.test", run.timeout).call("test", body)
        except PhaseTimeout as error:
            return re.sub(r"\d+\.\d+ m?s", "SOON", error.diagnosis)
        finally:
            watchdog.remove_job(self)

    @unittest.skipUnless(KNOWN, "the processor time of a thread is not known")
    def test_stuck(self):
        for enforce in "signal", "thread":
            told = self.motion(hang, enforce)
            if "waiting" not in told:  # a busy machine has looked too seldom
                told = self.motion(hang, enforce, 4 * self.LIMIT)
            self.assertRegex(told, self.SAME + "waiting: ")

    @unwatched
    def test_by_a_signal_it_is_looked_at_only_where_the_watchdog_runs(self):
        self.assertEqual(self.motion(hang, "signal", beside=False), "")

    @unittest.skipUnless(KNOWN, "the processor time of a thread is not known")
    def test_busy(self):
        for enforce in "signal", "thread":
            told = self.motion(spin, enforce)
            if "computing" not in told:  # a busy machine has looked too seldom
                told = self.motion(spin, enforce, 4 * self.LIMIT)
            self.assertRegex(told, self.SAME + "computing")

    def test_busy_where_others_have_the_processor(self):
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        scene.seen, scene.use = [(scene.at - 5, scene.where(), (1.0, 2.0))], (1.2, 6.5)
        self.assertRegex(scene.motion(), self.SAME.replace("SOON", "5.00 s") + "computing")
        scene.use = (1.01, 3.0)
        self.assertRegex(scene.motion(), self.SAME.replace("SOON", "5.00 s") + "waiting")
        for scene.use in (1.01, 6.9), (1.1, 7.2):  # that long a wait had begun before the look
            self.assertRegex(scene.motion(), self.SAME.replace("SOON", "5.00 s") + "computing")
        scene.due = scene.at - 4
        self.assertNotIn("after the limit", scene.motion())

    def test_a_wait_that_linux_counts_as_one_for_a_processor(self):
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        scene.seen, scene.use = [(scene.at - 5, scene.where(), (1.0, 2.0))], (1.001, 12.0)
        self.assertRegex(scene.motion(), self.SAME.replace("SOON", "5.00 s") + "waiting")
        scene.due = scene.at - 4
        self.assertIn("after the limit", scene.motion())

    def test_a_brief_wait_and_a_loop_that_hardly_runs(self):
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        scene.seen, scene.use = [(scene.at - 0.3, scene.where(), (1.0, 2.0))], (1.02, 2.02)
        self.assertIn("waiting", scene.motion())
        scene.use = (1.03, 2.2)
        self.assertIn("computing", scene.motion())

    def test_the_last_moments_tell_nothing(self):
        """The watchdog may have the GIL, and no processor, while a loop waits for it."""
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        early, late = [(scene.at - before, scene.where(), (1.0, 2.0)) for before in (0.3, 0.12)]
        scene.seen, scene.use = [early, (*late[:2], (1.03, 2.15))], (1.035, 2.17)
        self.assertIn("computing", scene.motion())
        scene.seen = [late]
        self.assertNotRegex(scene.motion(), "computing|waiting")

    def test_a_wait_that_began_with_work(self):
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        scene.seen = [(scene.at - 0.6, scene.where(), (1.0, 2.0)), (scene.at - 0.3, scene.where(), (1.2, 2.0))]
        scene.use = (1.21, 2.0)
        self.assertRegex(scene.motion(), "waiting: a deadlock")

    @unittest.skipUnless(SCHEDULED, "the system does not tell of that")
    def test_who_waits_for_a_processor_is_known(self):
        def so_far():
            with open(f"/proc/self/task/{threading.get_native_id()}/schedstat") as file:
                return int(file.read().split()[1]) / 1e9

        before = so_far()  # 0 in a process that has just been born
        used, waited = import_module(f"{package.__name__}.interpreter.threads").use_of(threading.get_ident())
        self.assertGreater(used, 0)
        self.assertLessEqual(before - 1e-6, waited)
        self.assertLessEqual(waited, so_far() + 1e-6)

    def test_moving(self):
        watch = enforcer.Enforcer()
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        for at, function in ((10, spin), (15, move)):
            watch.phases.append(None)
            watch.at = 20
            watch.next(at)
            watch.see([(function.__code__, 5)], at)
        scene.seen, scene.at = watch.seen, 20
        self.assertRegex(scene.motion(), r"^Moving: last seen at File .*, line 5, in move, 5\.00 s earlier: slow")

    def test_in_another_thread(self):
        def wait():
            [time.sleep(0.001) for _ in range(5000)]

        found = []
        thread = threading.Thread(target=lambda: found.append(self.motion(wait)))
        thread.start()
        thread.join()
        if CPYTHON and WHOLE_STACKS:
            self.assertRegex(found[0], "^At the same line for the last SOON")

    def test_in_a_task(self):
        manager = TimeoutManager(60, enforce=True)

        async def fetch():
            async with manager.timed_operation("fetch", limit=self.LIMIT):
                await asyncio.sleep(60)

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(fetch())
        self.assertRegex(caught.exception.diagnosis, r"\nAt the same line for the last .* \(seen \d times?\), waiting")

    @unittest.skipUnless(KNOWN, "the processor time of a thread is not known")
    def test_in_an_event_loop_that_waits_for_its_tasks(self):
        async def deadlock():
            await asyncio.Event().wait()

        class Test(unittest.IsolatedAsyncioTestCase):
            async def runTest(self):
                await deadlock()

        bodies = [lambda: asyncio.run(deadlock()), lambda: Test().run(unittest.TestResult())]
        methods = ["signal"] * hasattr(signal, "SIGALRM") + ["thread"] * WHOLE_STACKS
        for method, body in zip(methods, bodies):
            told = self.by_runner(method, body)
            if "waiting: " not in told:  # on a busy machine it may have waited for the processor
                told = self.by_runner(method, body, 4 * self.LIMIT)
            self.assertRegex(told, f"(?m){self.SAME}waiting: ")
            self.assertRegex(told, r"in deadlock\n    await asyncio\.Event")
            self.assertNotIn("Moving", told)

    def test_nothing_of_an_event_loop_whose_tasks_were_not_looked_at(self):
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        scene.seen = [(scene.at - 5, (selectors.SelectSelector.select.__code__, 5), (0.0, 0.0))]
        self.assertEqual(scene.motion(), "")

    def test_a_recursion_that_is_deep_and_ends_in_time_is_not_disturbed(self):
        code = f"""
import sys, time
from importlib import import_module
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package

def descend(depth):
    if depth:
        return descend(depth - 1)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        time.sleep(0.001)

import_module(package.__name__ + ".interrupting.enforcer").SHORTEST = 0.4
try:
    with package.TimeoutManager(0.8, enforce=True).timed_operation("phase"):
        descend(sys.getrecursionlimit() - 5)
except package.PhaseTimeout:  # a slow machine
    pass
print("done")
"""
        self.assertEqual(said(code), "done\n")

    def test_not_for_less_than_a_second(self):
        with mock.patch.object(enforcer, "SHORTEST", SHORTEST):
            self.assertEqual(self.motion(hang, limit=0.5), "")
            self.assertEqual(SHORTEST, 1)


if __name__ == "__main__":
    unittest.main()
