"""Commands in coroutines: as `run`, while the event loop goes on."""

import asyncio
import os
import signal
import subprocess
import threading
import time
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import PYTHON
from ..helpers.together import Together
from ..helpers.tree import LINUX, alive

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
awaiting = import_module(f"{package.__name__}.processes.awaiting")


@unittest.skipUnless(os.name == "posix", "the commands are those of POSIX systems")
class AnAwaitedCommand(Together, unittest.TestCase):
    def setUp(self):
        self.word = f"{os.getpid()}{time.monotonic_ns()}"
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in alive(self.word)] if LINUX else None)
        self.addCleanup(self.assertEqual, threading.enumerate(), threading.enumerate())

    def assert_gone(self, seconds=0):
        if LINUX:
            end = time.monotonic() + seconds
            while alive(self.word) and time.monotonic() < end:
                time.sleep(0.05)
            self.assertEqual(alive(self.word), [])

    def tree(self, before=":"):
        return ["bash", "-c", f"{before}; sleep 60.{self.word} & (setsid sleep 60.{self.word} &) ; wait"]

    def test_is_run_as_by_subprocess(self):
        manager = TimeoutManager(60)
        code = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('e'); sys.exit(3)"
        options = {"input": "hello" * 50_000, "capture_output": True, "text": True}
        late = f"import time; time.sleep(0.5); {code}"  # what does not fit into the pipe has to wait for that
        done = asyncio.run(manager.run_async([*PYTHON, "-c", late], **options))
        self.assertEqual(vars(done), vars(subprocess.run([*PYTHON, "-c", late], **options)))
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            asyncio.run(manager.run_async([*PYTHON, "-c", code], "build", check=True, **options))
        self.assertEqual(caught.exception.returncode, 3)
        with self.assertRaises(FileNotFoundError):
            asyncio.run(manager.run_async(["/no/such/command"]))
        names = [phase.name for phase in manager.phases if not phase.name.startswith("end ")]
        self.assertEqual(names, [os.path.basename(PYTHON[0]), "build", "command"])
        self.assertEqual([phase.outcome for phase in manager.phases], ["done", "done", "failed"])

    def test_lets_the_loop_go_on_and_waits_for_others_beside_it(self):
        async def main():
            manager = TimeoutManager(60)
            began = time.monotonic()
            await asyncio.gather(*(manager.run_async(["sleep", "0.5"]) for _ in range(20)), asyncio.sleep(0))
            return time.monotonic() - began

        self.assertLess(asyncio.run(main()), 5)

    def test_waits_no_longer_than_what_remains(self):
        for enforce in False, True:
            manager = TimeoutManager(0.5, enforce=enforce)
            with self.assertRaises(PhaseTimeout) as caught:
                command = self.tree("echo out; echo err >&2; trap '' TERM")
                asyncio.run(manager.run_async(command, "build", grace=0.2, capture_output=True, text=True))
            error = caught.exception
            self.assert_gone()
            self.assertTrue(str(error).startswith("Timeout exceeded after build phase! (budget 0.500 s"), error)
            self.assertEqual((error.output, error.stderr, error.cmd), ("out\n", "err\n", command))
            self.assertIsInstance(error.__cause__, subprocess.TimeoutExpired)
            self.assertEqual(manager.phases[0].outcome, "timeout")
            self.assertEqual([phase.name for phase in manager.phases], ["build", "end build"])  # not from the budget
            if LINUX:
                self.assertIn("KILL", {each.signal for each in error.killed})
            with self.assertRaises(PhaseTimeout):  # nothing is left, so it is not even started
                asyncio.run(manager.run_async(["/no/such/command"]))

    def test_ends_when_its_task_is_cancelled(self):
        async def main(again):
            task = asyncio.create_task(TimeoutManager(60).run_async(self.tree("trap '' TERM"), grace=grace))
            await asyncio.sleep(0.4)
            task.cancel()
            if again:
                await asyncio.sleep(0.3)
                task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assert_gone()

        for grace, again in (0.2, False), (50.0, True):
            began = time.monotonic()
            asyncio.run(main(again))
            self.assertLess(time.monotonic() - began, 25)

    def test_its_end_loses_no_cancellation(self):
        async def main(enforce):
            manager = TimeoutManager(60, enforce=enforce)
            task = asyncio.create_task(manager.run_async(self.tree("trap '' TERM"), timeout=0.3, grace=50))
            await asyncio.sleep(1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assert_gone()

        for enforce in False, True:
            began = time.monotonic()
            asyncio.run(main(enforce))
            self.assertLess(time.monotonic() - began, 25)

    def test_ends_by_a_limit_that_passes_while_its_thread_is_started(self):
        class Late(threading.Thread):
            def start(self):
                super().start()
                time.sleep(0.3)

        async def main():
            async with TimeoutManager(0.2, enforce=True).timed_operation("outer"):
                await TimeoutManager(60).run_async(self.tree(), grace=0.2)

        with self.assertRaises(PhaseTimeout), mock.patch.object(awaiting, "Thread", Late):
            asyncio.run(main())
        self.assert_gone(10)  # on a busy machine the limit interrupts the end, too: the thread goes on with it

    def test_ends_by_a_limit_around_it(self):
        async def main():
            async with TimeoutManager(0.5, enforce=True).timed_operation("outer"):
                await TimeoutManager(60, enforce=True).run_async(self.tree("trap '' TERM"), grace=0.2)

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(main())
        self.assert_gone()
        self.assertEqual(caught.exception.phase, "outer")

    def test_ends_when_its_coroutine_is_thrown_away(self):
        async def main():
            coroutine = TimeoutManager(60).run_async(self.tree(), grace=0.2)
            coroutine.send(None)
            await asyncio.sleep(0.3)
            coroutine.close()
            while len(threading.enumerate()) > 1:
                await asyncio.sleep(0.01)

        asyncio.run(main())
        self.assert_gone()

    def test_that_cannot_be_started_for_a_reason_raises_that(self):
        for error in ValueError("an odd command"), KeyboardInterrupt():
            with mock.patch.object(awaiting.Command, "start", side_effect=error), self.assertRaises(type(error)):
                asyncio.run(TimeoutManager(60).run_async(["true"]))

    def test_is_not_left_where_no_thread_can_be_started(self):
        with mock.patch("threading.Thread.start", side_effect=RuntimeError), self.assertRaises(RuntimeError):
            asyncio.run(TimeoutManager(60).run_async(["sleep", f"60.{self.word}"]))
        self.assert_gone()


if __name__ == "__main__":
    unittest.main()
