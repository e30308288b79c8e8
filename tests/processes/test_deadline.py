"""The deadline goes from a process to those that it starts."""

import os
import subprocess
import sys
import time
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import PYTHON, ROOT, environment
from ..helpers.clock import FakeClock
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
inheritance = import_module(f"{package.__name__}.processes.deadline")
watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
VARIABLE = "TIMEOUT_MANAGER_DEADLINE"
CODE = f"import {package.__name__} as p; print(p.TimeoutManager.from_environ(%s).initial_timeout)"
SLACK = 15.0


def left(command, manager, default="None", **more):
    """Return what a Python child has left that is started by the command, whose last word is its code."""
    env = {**environment(PYTHONPATH=ROOT, CODE=CODE % default), **manager.child_environ(), **more}
    return float(subprocess.run(command, stdout=-1, env={**env, "PYTHONPATH": ROOT}, check=True, timeout=60).stdout)


class TheDeadline(Together, unittest.TestCase):
    def setUp(self):
        self.addCleanup(watchdog.jobs.pop, "parent", None)  # nobody ends this process
        self.addCleanup(watchdog.ring)
        patch = mock.patch.dict(os.environ, {"CODE": CODE % "None", "PYTHON": sys.executable})
        patch.start()
        self.addCleanup(patch.stop)
        os.environ.pop(VARIABLE, None)

    def test_is_right_across_other_programs(self):
        for command in (
            [*PYTHON, "-c", CODE % "None"],
            ["sh", "-c", '"$PYTHON" -c "$CODE"'],
            ["env", "sh", "-c", 'sleep 0.3; "$PYTHON" -c "$CODE"'],
        ):
            seconds = left(command, TimeoutManager(100))
            self.assertTrue(95 - SLACK < seconds <= 95.01, (command, seconds))

    def test_the_lesser_counts(self):
        command = [*PYTHON, "-c", CODE % "20"]
        self.assertEqual(left(command, TimeoutManager(100)), 20)
        self.assertEqual(left(command, TimeoutManager()), 20)
        os.environ[VARIABLE] = inheritance.deadline(50)
        self.assertTrue(47.5 - SLACK < left([*PYTHON, "-c", CODE % "None"], TimeoutManager(100)) <= 47.51)
        self.assertTrue(47.5 - SLACK < left([*PYTHON, "-c", CODE % "None"], TimeoutManager()) <= 47.51)

    def test_is_not_scaled_twice(self):
        os.environ[VARIABLE] = inheritance.deadline(100)
        with mock.patch.dict(os.environ, TIMEOUT_MANAGER_SCALE="10"):
            self.assertTrue(95 - SLACK < TimeoutManager.from_environ(90).initial_timeout <= 95.01)
            self.assertEqual(TimeoutManager.from_environ(5).initial_timeout, 50)

    def test_of_another_machine_is_told_by_the_clock_of_the_world(self):
        os.environ[VARIABLE] = f"1.0:{time.time() + 100}:another-boot"
        self.assertTrue(95 - SLACK < TimeoutManager.from_environ().initial_timeout <= 95.01)

    def test_that_has_passed_leaves_nothing(self):
        os.environ[VARIABLE] = inheritance.deadline(-5)
        manager = TimeoutManager.from_environ(60)
        self.assertTrue(manager.expired)
        with self.assertRaises(PhaseTimeout) as caught:
            with manager.timed_operation("build"):
                pass
        self.assertEqual(caught.exception.limited_by, "inherited")
        self.assertRegex(str(caught.exception), r"^Timeout exceeded after build phase! \(inherited 0\.00 s, used ")

    def test_shortly_before_it_a_child_tells_what_it_does(self):
        code = f"""
import time, {package.__name__} as package
manager = package.TimeoutManager.from_environ()
def hang():
    time.sleep(60)
with manager.timed_operation("prepare"):
    pass
with manager.timed_operation("build"):
    hang()
"""
        command = [*PYTHON, "-c", code]
        options = dict(grace=1, stderr=-1, text=True, env=environment(PYTHONPATH=ROOT))
        with self.assertRaises(PhaseTimeout) as caught:  # PyPy takes long to start where others run, too
            TimeoutManager(20).run(command, timeout=4 if sys.implementation.name == "cpython" else 10, **options)
        told = caught.exception.stderr
        self.assertRegex(told, r"Process \d+ \(-c\) still runs; its parent, which had \d\.\d+ s left for it, ends it")
        self.assertRegex(told, r"Stack of thread MainThread .*:\n(.*\n)*.* in hang\n")
        self.assertRegex(told, r"  prepare .* done\n  build .* RUNNING\n")

    def test_a_child_that_is_done_in_time_tells_nothing(self):
        command = [*PYTHON, "-c", CODE % "None"]
        done = TimeoutManager(60).run(command, stdout=-1, stderr=-1, env=environment(PYTHONPATH=ROOT))
        self.assertEqual(done.stderr, b"")

    def test_garbage_is_an_error_that_names_it(self):
        for value in "", "soon", "1:2", "nan:nan:x", f"{time.time()}", "inf:inf:x":
            os.environ[VARIABLE] = value
            with self.assertRaisesRegex(ValueError, f"{VARIABLE} must be .*{value!r}"):
                TimeoutManager.from_environ()

    def test_none_is_no_limit(self):
        self.assertIsNone(TimeoutManager.from_environ().initial_timeout)
        self.assertEqual(TimeoutManager.from_environ(7).initial_timeout, 7)
        with self.assertRaisesRegex(TypeError, "default must be a number of seconds or None, not '7'"):
            TimeoutManager.from_environ("7")
        self.assertNotIn(VARIABLE, TimeoutManager().child_environ())

    def test_is_what_remains_in_the_calling_thread(self):
        clock = FakeClock()
        manager = TimeoutManager(100, clock=clock)
        with manager.timed_operation("build", 50):
            clock.advance(20)
            by_monotonic = float(manager.child_environ()[VARIABLE].split(":")[0])
        self.assertTrue(30 - SLACK < by_monotonic - time.monotonic() <= 30.1)

    def test_has_no_character_that_anybody_minds(self):
        self.assertRegex(inheritance.deadline(5), r"\A[\w.:-]+\Z")

    def test_a_command_finds_it(self):
        command = [*PYTHON, "-c", CODE % "None"]
        done = TimeoutManager(100).run(command, stdout=-1, env=environment(PYTHONPATH=ROOT))
        self.assertTrue(95 - SLACK < float(done.stdout) <= 95.01)


if __name__ == "__main__":
    unittest.main()
