"""PhaseTimeout as a value: it travels, and says everything by attributes."""

import asyncio
import copy
import pickle
import sys
import threading
import time
import traceback
import unittest
from importlib import import_module

from . import package
from .helpers.child import PYTHON, ROOT
from .helpers.clock import FakeClock
from .helpers.forks import run_code
from .helpers.together import Together


class PhaseTimeout(unittest.TestCase):
    def setUp(self):
        clock = FakeClock()
        manager = package.TimeoutManager(5, clock=clock)
        try:
            with manager.timed_operation("suite"), manager.timed_operation("build"):
                clock.advance(6)
        except package.PhaseTimeout as error:
            self.error = error
        self.error.diagnosis = "what was running"

    def test_is_a_timeout_error_without_an_errno(self):
        self.assertIsInstance(self.error, TimeoutError)
        self.assertEqual((len(self.error.args), self.error.errno), (1, None))

    def test_travels_with_its_attributes(self):
        facts = {name: value for name, value in vars(self.error).items() if name != "owner"}
        self.assertGreaterEqual(len(facts), 7)
        ways = [copy.copy, copy.deepcopy]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            ways.append(lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)))
        for way in ways:
            other = way(self.error)
            self.assertIsNot(other, self.error)
            self.assertIs(type(other), package.PhaseTimeout)
            self.assertEqual((other.args, vars(other)), (self.error.args, facts))

    def test_message(self):
        self.assertEqual(
            str(self.error), "Timeout exceeded after build phase! (budget 5.00 s, used 6.00 s; in suite > build)"
        )

    def test_made_by_hand_it_has_every_attribute(self):
        error = package.PhaseTimeout("own")
        self.assertEqual(str(error), "own")
        found = error.phase, error.phase_path, error.limited_by, error.limited_phase
        self.assertEqual(found, ("", (), "budget", None))
        self.assertEqual((error.timeout, error.elapsed, error.interrupted, error.diagnosis), (None, None, False, ""))

    def test_what_was_running_and_cannot_be_told(self):
        class Broken:
            def __str__(self):
                raise KeyError("broken")

        self.error.diagnosis = Broken()
        told = "What was running cannot be told: KeyError('broken')"
        self.assertEqual(self.error.diagnosis, told)
        self.error.killed = ("a process",)
        self.assertEqual(self.error.diagnosis, told + "\n\nProcesses that had to be killed:\n  a process")
        self.error.killed = ()
        for way in copy.copy, lambda error: pickle.loads(pickle.dumps(error)):
            self.assertEqual(way(self.error).diagnosis, told)

    def test_an_interrupt_is_no_exception_for_except_exception(self):
        self.assertFalse(issubclass(package.PhaseInterrupt, Exception))


class Tracebacks(Together, unittest.TestCase):
    """pytest leaves out the frames of modules that say so; no frame of ours is of use to who reads a timeout."""

    def check(self, function, *args):
        frames = []
        try:
            function(*args)
        except package.PhaseTimeout as error:
            frames += [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        shown = [
            frame
            for frame in frames
            if frame.f_globals["__name__"].startswith(f"{package.__name__}.")
            and not frame.f_globals.get("__tracebackhide__")
        ]
        self.assertEqual(shown, [])
        self.assertTrue(any(frame.f_globals["__name__"] == __name__ for frame in frames))

    def test_of_a_phase_that_is_late_or_not_begun(self):
        def late():
            with manager.timed_operation(limit=0):
                pass

        def cleanup():
            with manager.cleanup_operation(limit=0):
                pass

        for manager in package.TimeoutManager(60), package.TimeoutManager(60, enforce=True):
            for function in late, cleanup, manager.timed_operation(limit=0)(int):
                self.check(function)
        manager.reset(0)
        for function in manager.check_timeout, lambda: manager.call_with_timeout(int), lambda: manager.run(["true"]):
            self.check(function)
        self.check(lambda: manager.execute_with_timeout(int))

    def test_of_an_interrupt(self):
        def spin():
            while True:
                pass

        def sleep():
            time.sleep(60)

        def swallow():
            try:
                time.sleep(60)
            except OSError:
                time.sleep(60)

        def run(body):
            with manager.timed_operation(limit=0.05):
                body()

        kinds = ["thread"] if sys.platform == "win32" else ["thread", "signal"]
        for manager in [package.TimeoutManager(60, enforce=kind) for kind in kinds]:
            for body in spin, sleep, swallow:
                self.check(run, body)
        if sys.implementation.name == "cpython":  # PyPy offers no way into another thread
            errors = []
            thread = threading.Thread(target=lambda: errors.append(self.check(run, spin)))
            manager = package.TimeoutManager(60, enforce="thread")
            thread.start()
            thread.join()
            self.assertEqual(errors, [None])

    def test_of_a_task_and_a_command(self):
        async def wait(phase):
            async with phase:
                await asyncio.sleep(60)

        async def block(phase):
            async with phase:
                time.sleep(60)

        for body in wait, block:
            manager = package.TimeoutManager(60, enforce=True)
            self.check(lambda: asyncio.run(body(manager.timed_operation(limit=0.05))))
            manager.reset(0)
            self.check(lambda: asyncio.run(body(manager.timed_operation())))
        hang = [*PYTHON, "-c", "import time; time.sleep(60)"]
        for enforce in False, True:
            manager = package.TimeoutManager(0.05, enforce=enforce)
            self.check(lambda: manager.run(hang, grace=0.1))

    def test_of_a_function_that_has_got_its_manager(self):
        def plain(timeout_manager):
            with timeout_manager.timed_operation(limit=0):
                pass

        async def asynchronous(timeout_manager):
            plain(timeout_manager)

        def generator(timeout_manager):
            yield plain(timeout_manager)

        async def asynchronous_generator(timeout_manager):
            yield plain(timeout_manager)

        async def each():
            async for _ in package.with_timeout_management(asynchronous_generator)():
                pass

        self.check(package.with_timeout_management(plain))
        self.check(lambda: asyncio.run(package.with_timeout_management(asynchronous)()))
        self.check(lambda: list(package.with_timeout_management(generator)()))
        self.check(lambda: asyncio.run(each()))


class Contexts(unittest.TestCase):
    def test_are_followed_once_each(self):
        chain = import_module(f"{package.__name__}.errors").chain
        first, second, third = KeyError(1), KeyError(2), KeyError(3)
        self.assertEqual(list(chain(None)), [])
        self.assertEqual(list(chain(first)), [first])
        first.__context__, second.__context__ = second, third
        self.assertEqual(list(chain(first)), [first, second, third])
        third.__context__ = second
        self.assertEqual(list(chain(first)), [first, second, third])

    def test_in_a_ring_hang_nothing(self):
        code = f"""
import asyncio, sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package

def ring():
    first, second, third = KeyError(1), KeyError(2), KeyError(3)
    first.__context__, second.__context__, third.__context__ = second, third, second
    return first

async def swallow():
    async with package.TimeoutManager(0.2, enforce=True).timed_operation("phase"):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        try:
            raise ring()
        except KeyError:
            await asyncio.sleep(60)

for enforce in True, "thread":
    try:
        with package.TimeoutManager(0.2, enforce=enforce).timed_operation("phase"):
            try:
                time.sleep(60)
            except TimeoutError:
                pass
            try:
                raise ring()
            except KeyError:
                time.sleep(60)
    except package.PhaseTimeout:
        print("ended")
try:
    asyncio.run(swallow())
except package.PhaseTimeout:
    print("ended")
"""
        ran = run_code(code, timeout=30)
        self.assertEqual((ran.stdout + ran.stderr, ran.returncode), ("ended\n" * 3, 0))


if __name__ == "__main__":
    unittest.main()


class Unequal(Exception):
    def __eq__(self, other):
        raise AssertionError("errors are told apart by identity")

    __hash__ = Exception.__hash__


class Handled(unittest.TestCase):
    def test_an_error_that_cannot_be_compared_is_not_ours(self):
        module = import_module(package.__name__ + ".interrupting.expiry")
        expiry = module.Expiry(None, package.PhaseTimeout("late"))
        try:
            raise Unequal
        except Unequal:
            self.assertFalse(expiry.is_handled())
        try:
            raise expiry.error
        except TimeoutError:
            self.assertTrue(expiry.is_handled())
