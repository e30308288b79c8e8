"""kill_after: what nothing can interrupt ends with the process, and says where it stood."""

import os
import sys
import unittest
from subprocess import PIPE, run

from . import package
from .child import ROOT, environment

LINUX_CPYTHON = sys.platform == "linux" and sys.implementation.name == "cpython"

PROGRAM = f"""
import os, sys, threading, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
manager = package.TimeoutManager(30, enforce=True, kill_after=0.6)
with manager.timed_operation("fast"):
    pass  # whatever has to be loaded is loaded
manager.reset(0.2)

def in_c(kind):
    import ctypes
    mutex = ctypes.create_string_buffer(64)
    lock = kind(None).pthread_mutex_lock
    lock(mutex), lock(mutex)

def go(body):
    with manager.timed_operation("hang"):
        body()
"""


class Kill(unittest.TestCase):
    def go(self, code):
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM + code]
        return run(command, stdout=PIPE, stderr=PIPE, text=True, timeout=60, env=environment())

    def assert_killed(self, code):
        done = self.go(code)
        self.assertEqual(done.returncode, 124, done)
        return done.stderr

    def assert_tells_all(self, text, where="in_c"):
        self.assertRegex(text, r"Timeout exceeded after hang phase! \(budget 0\.200 s, used \d+\.\d+ s\)")
        self.assertIn("The block is still running 0.600 s after that.\nThe process ends with status 124.\n", text)
        self.assertRegex(text, r"(?m)^fast +.* done$")
        self.assertRegex(text, r"(?m)^hang +.* running$")
        self.assertIn(where, text)

    def test_c_code_that_nothing_interrupts(self):
        import ctypes

        try:
            ctypes.CDLL(None).pthread_mutex_lock
        except (AttributeError, TypeError):
            self.skipTest("no such function here")
        self.assert_tells_all(self.assert_killed("import ctypes; go(lambda: in_c(ctypes.CDLL))"))

    def test_a_task_whose_loop_another_task_blocks(self):
        code = """
import asyncio
async def block():
    time.sleep(60)
async def main():
    asyncio.ensure_future(block())
    async with manager.timed_operation("hang"):
        await asyncio.sleep(60)
asyncio.run(main())
"""
        self.assert_tells_all(self.assert_killed(code), where="in block")

    def test_a_task_that_defies_every_cancellation(self):
        code = """
import asyncio
async def main():
    async with manager.timed_operation("hang"):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
asyncio.run(main())
"""
        self.assert_tells_all(self.assert_killed(code), where="Timeout")

    def test_a_blocking_call_in_another_thread(self):
        if sys.implementation.name != "cpython":
            self.skipTest("no interrupts in other threads here")
        code = "threading.Thread(target=go, args=(lambda: time.sleep(60),)).start(); time.sleep(60)"
        self.assert_tells_all(self.assert_killed(code), "in go")

    @unittest.skipUnless(LINUX_CPYTHON, "the timers of the kernel are Linux's, the GIL is CPython's")
    def test_c_code_that_holds_the_gil(self):
        text = self.assert_killed("import ctypes; go(lambda: in_c(ctypes.PyDLL))")
        self.assertIn("hang", text)
        self.assertIn("in_c", text)

    def test_who_ends_in_time_is_not_killed(self):
        code = """
import signal
before = [signal.getsignal(number) for number in signal.valid_signals()]
for _ in range(3):
    try:
        go(lambda: time.sleep(60))
    except package.PhaseTimeout as error:
        print(error.phase)
    manager.reset(0.2)
with manager.timed_operation("more"):
    manager.reset(3)
    time.sleep(1.5)
assert before == [signal.getsignal(number) for number in signal.valid_signals()]
time.sleep(1)
print("alive")
"""
        done = self.go(code)
        self.assertEqual((done.returncode, done.stdout.split()), (0, ["hang", "hang", "hang", "alive"]), done)

    def test_nor_is_one_in_a_session(self):
        done = self.go(
            """
with manager:
    with manager.timed_operation("fast"): pass
    time.sleep(1.5)
print("alive")
"""
        )
        self.assertEqual((done.returncode, done.stdout), (0, "alive\n"), done)

    def test_a_cleanup_may_go_on(self):
        code = """
try:
    with manager.timed_operation("run"):
        try:
            time.sleep(60)
        finally:
            with manager.cleanup_operation("tidy", limit=5):
                time.sleep(1.2)
                print("tidy")
except package.PhaseTimeout:
    print("alive")
"""
        self.assertEqual(self.go(code).stdout.split(), ["tidy", "alive"])

    def test_a_generator_that_is_suspended_is_not_running(self):
        code = """
def produce():
    with manager.timed_operation("run"):
        yield 1
producer = produce()
next(producer)
time.sleep(1)
print("alive")
"""
        self.assertEqual(self.go(code).stdout.split(), ["alive"])

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_fork_is_not_killed_for_its_parent(self):
        code = """
try:
    with manager.timed_operation("run"):
        if os.fork() == 0:
            time.sleep(1.5)
            os._exit(5)
        time.sleep(60)
except package.PhaseTimeout:
    print(os.waitpid(-1, 0)[1] >> 8)
"""
        done = self.go(code)
        self.assertEqual(done.stdout.split(), ["5"], done)

    def test_seconds_are_checked(self):
        for value in "1", float("nan"), True:
            with self.assertRaisesRegex((TypeError, ValueError), "kill_after"):
                package.TimeoutManager(1, enforce=True, kill_after=value)


if __name__ == "__main__":
    unittest.main()
