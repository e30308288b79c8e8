"""The children of a phase that is interrupted end with it."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from contextlib import suppress
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import let_lie
from ..helpers.enforced import LONG
from ..helpers.together import Together
from ..helpers.tree import LINUX, alive

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
KILL_CHILDREN = import_module(f"{package.__name__}.enforcing.kill_children")
WATCHDOG = import_module(f"{package.__name__}.interpreter.watchdog")


@unittest.skipUnless(LINUX, "processes are found by /proc")
class ChildrenOfAPhase(Together, unittest.TestCase):
    def setUp(self):
        let_lie(self)

    def test_end_with_it_and_those_of_other_threads_do_not(self):
        def by_hand(command):
            with subprocess.Popen(command) as process:
                process.wait()

        for enforce, wait in (True, by_hand), ("thread", by_hand), (True, subprocess.check_output):
            word = f"{os.getpid()}{time.monotonic_ns()}"
            script = f"trap '' TERM; sleep 60.{word} & sleep 60.{word}; sleep 60.{word}"
            before = subprocess.Popen(["sleep", "60"])
            others = []
            start = threading.Thread(target=lambda: others.append(subprocess.Popen(["sleep", "60"])))
            try:
                with self.assertRaises(PhaseTimeout) as caught:
                    with TimeoutManager(0.5, enforce=enforce, kill_children=0.2).timed_operation("build"):
                        start.start()
                        start.join()
                        wait(["bash", "-c", script])
                self.assertEqual(alive(word), [])
                self.assertIn("KILL", {each.signal for each in caught.exception.killed}, wait)
                self.assertEqual([before.poll(), others[0].poll()], [None, None])
            finally:
                for each in before, *others:
                    each.kill()
                    each.wait()

    def test_one_that_is_not_started_yet_is_left_out(self):
        for name in "Popen._execute_child", "_cleanup":  # in the second it has no number and no status yet
            with mock.patch(f"subprocess.{name}", lambda *args: time.sleep(60)):
                with self.assertRaises(PhaseTimeout) as caught:
                    with TimeoutManager(0.1, enforce=True, kill_children=0.1).timed_operation("build"):
                        subprocess.Popen(["true"])
            self.assertEqual(caught.exception.killed, ())

    def test_one_that_is_being_started_ends(self):
        class Slow:
            """A word of a command, which is looked at just before the process is made, and nearly takes all time."""

            def __init__(self, left):
                self.left = left

            def __fspath__(self):
                while manager.remaining_timeout > self.left:
                    pass
                return word

        for left in (0.0002, 0.0005, 0.001, 0.002) * 3:
            word = f"60.{os.getpid()}{time.monotonic_ns()}"
            manager = TimeoutManager(0.01, enforce=True, kill_children=LONG)
            with self.assertRaises(PhaseTimeout), manager.timed_operation("build"):
                subprocess.run(["sleep", Slow(left)])
            self.assertEqual(alive(word), [], left)

    def waits(self):
        """Return ways to wait for a command, by name."""

        def pipe(command):
            for _ in subprocess.Popen(command, stdout=subprocess.PIPE).stdout:
                pass

        def read(command):
            os.read(subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0).stdout.fileno(), 1)

        def fork(command):
            process = multiprocessing.get_context("fork").Process(target=subprocess.call, args=[command])
            process.start()
            process.join()

        waits = pipe, read, fork, subprocess.check_output, lambda command: subprocess.Popen(command).wait()
        return {getattr(wait, "__name__", ""): wait for wait in waits}

    def ended(self, wait, script, **options):
        """Return the signals that were the last for what a phase was waiting for; nothing of it is left."""
        word = f"{os.getpid()}{time.monotonic_ns()}"
        grace = 0.3 if "trap" in script else LONG
        try:
            with self.assertRaises(PhaseTimeout) as caught:
                with TimeoutManager(0.5, enforce=True, kill_children=grace, **options).timed_operation("build"):
                    wait(["bash", "-c", script.replace("SLEEP", f"sleep 60.{word}")])
            self.assertEqual(alive(word), [])
        finally:
            for pid in alive(word):
                os.kill(pid, signal.SIGKILL)
        return {each.signal for each in caught.exception.killed}

    def test_end_in_whichever_way_a_phase_waits_for_them(self):
        for name, wait in self.waits().items():
            with self.subTest(name):
                self.assertEqual(self.ended(wait, "SLEEP & SLEEP; :"), {"TERM"})

    def test_end_in_a_process_that_was_forked(self):
        pid = os.fork()
        if not pid:
            try:
                os._exit(self.ended(self.waits()["read"], "SLEEP & SLEEP; :") != {"TERM"})
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    @unittest.skipUnless(sys.implementation.name == "cpython", "no interrupts in other threads here")
    def test_end_in_a_thread_that_nothing_can_interrupt(self, script="SLEEP; :", last="TERM"):
        for name, wait in self.waits().items():
            found = []
            thread = threading.Thread(target=lambda: found.append(self.ended(wait, script)))
            with self.subTest(name):
                thread.start()
                thread.join(50)
                self.assertIn(last, found[0] if found else ())

    def test_end_there_though_they_ignore_the_first_signal(self):
        self.test_end_in_a_thread_that_nothing_can_interrupt("trap '' TERM; SLEEP & SLEEP; SLEEP", "KILL")

    def test_end_in_a_task(self):
        async def started(command):
            return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)

        async def wait(command):
            await (await started(command)).wait()

        async def communicate(command):
            await (await started(command)).communicate()

        async def line(command):
            await (await started(command)).stdout.readline()

        for function in wait, communicate, line:
            with self.subTest(function.__name__):
                ended = self.ended(lambda command: asyncio.run(function(command)), "SLEEP & SLEEP; :")
                self.assertEqual(ended, {"TERM"})
                self.assertEqual(asyncio.run(self.in_task(function)), {"TERM"})

    async def in_task(self, function):
        word = f"{os.getpid()}{time.monotonic_ns()}"
        with self.assertRaises(PhaseTimeout) as caught:
            async with TimeoutManager(0.5, enforce=True, kill_children=LONG).timed_operation("build"):
                await function(["bash", "-c", f"sleep 60.{word} & sleep 60.{word}; :"])
        self.assertEqual(alive(word), [])
        return {each.signal for each in caught.exception.killed}

    def test_are_left_alone_where_the_phase_does_not_wait_for_them(self):
        process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(0.3, enforce=True, kill_children=0.2).timed_operation("build"):
                time.sleep(60)
        self.assertIsNone(process.poll())
        process.kill()
        process.communicate()

    def test_are_known_where_the_look_just_before_the_limit_is_late(self):
        for moves in False, True:
            moved = threading.Event()

            def spend():
                while not KILL_CHILDREN._awaited:
                    WATCHDOG.ring()
                    time.sleep(0.01)
                with KILL_CHILDREN._lock:  # it has seen all
                    pass
                if moves:
                    process.stdin.write(b"\n")
                    process.stdin.flush()
                    moved.wait(LONG)
                manager.reset(0)

            def read():
                os.read(process.stdout.fileno(), 1)

            command = ["sh", "-c", "read line; echo; exec sleep 60"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            manager = TimeoutManager(LONG, enforce=True, kill_children=LONG)
            with mock.patch.multiple(KILL_CHILDREN, AHEAD=2 * LONG, SHORTLY=0.0), self.assertRaises(PhaseTimeout):
                with manager.timed_operation("build"):
                    threading.Thread(target=spend).start()
                    read()
                    moved.set()
                    time.sleep(LONG)
            self.assertEqual(process.poll() is None, moves)
            process.kill()
            process.communicate()

    def test_are_left_alone_by_a_phase_that_ends_in_time(self):
        with TimeoutManager(60, enforce=True, kill_children=0.2).timed_operation("build"):
            process = subprocess.Popen(["sleep", "60"])
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()

    def test_end_with_it_if_its_limit_comes_earlier(self):
        manager = TimeoutManager(60, enforce=True, kill_children=0.2)
        process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        with self.assertRaises(PhaseTimeout) as caught, manager.timed_operation("build"):
            threading.Timer(0.05, manager.reset, [0.3]).start()
            os.read(process.stdout.fileno(), 1)
        self.assertEqual([each.pid for each in caught.exception.killed], [process.pid])

    @unittest.skipUnless(sys.implementation.name == "cpython", "no interrupts in other threads here")
    def test_are_left_alone_in_a_debugger(self):
        verdict = import_module(f"{package.__name__}.counting.verdict")
        said = threading.Event()
        manager = TimeoutManager(0.1, enforce="thread", kill_children=0.1)

        def wait(seconds):
            with manager.timed_operation("build"), suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

        with mock.patch.multiple(verdict, present=lambda: "pdb", say=lambda *what: said.set()):
            process = subprocess.Popen(["sleep", "60"])
            wait(0.4)
            self.assertTrue(said.is_set())
            self.assertIsNone(process.poll())
            said.clear()
            manager.reset()
            blocked = threading.Thread(target=wait, args=(60,))
            blocked.start()
            self.assertTrue(said.wait(20))
            self.assertIsNone(process.poll())
            process.kill()
            blocked.join(20)
        self.assertEqual([phase.outcome for phase in manager.phases], ["timeout"] * 2)


if __name__ == "__main__":
    unittest.main()
