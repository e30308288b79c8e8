"""Many tasks with one budget, and generators that several tasks use."""

import asyncio
import contextlib
import gc
import signal
import sys
import time
import unittest
import weakref
from importlib import import_module
from pathlib import Path
from unittest import mock

from .. import package
from ..helpers.enforced import BRIEF, CPYTHON, LIMIT, LONG, MARGIN
from ..helpers.tasks import TaskCase, hang

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
Position = import_module(f"{package.__name__}.interrupting.position").Position


class Concurrent(TaskCase):
    async def test_each_task_has_its_own_stack_and_limit(self):
        async def work(limit):
            async with self.phase(limit, f"{limit}") as outer:
                async with self.phase(None, "inner") as inner:
                    self.assertIs(inner.parent, outer)
                    await (hang() if limit < 1 else asyncio.sleep(0.2))

        limits = [0.05, 30, 0.1, 40]
        results = await asyncio.gather(*map(work, limits), return_exceptions=True)
        self.assertEqual([type(result) for result in results], [PhaseTimeout, type(None)] * 2)
        self.assertEqual([error.limited_phase for error in results[::2]], ["0.05", "0.1"])

    async def test_the_budget_is_charged_once(self):
        async def work():
            async with self.phase(LONG):
                await asyncio.sleep(0.5)

        await asyncio.gather(*(work() for _ in range(20)))
        self.assertLess(self.manager.as_dict()["used"], 5)

    async def test_a_phase_whose_name_is_no_text_does_not_hold_up_others(self):
        async def work(name):
            async with self.phase(LONG, "outer"):
                async with self.phase(LIMIT, name):
                    await hang()

        errors = await asyncio.gather(*map(work, (Path("file"), "file")), return_exceptions=True)
        for error in errors:
            self.assertIsInstance(error, PhaseTimeout)
            self.assertEqual((error.interrupted, error.phase_path), (True, ("outer", "file")))

    async def test_a_budget_that_all_share_ends_all(self):
        manager = TimeoutManager(LIMIT, enforce=True)

        async def work():
            async with manager.timed_operation("fetch"):
                await hang()

        results = await asyncio.gather(*(work() for _ in range(200)), return_exceptions=True)
        self.assertEqual({type(result) for result in results}, {PhaseTimeout})

    async def end_together(self, number, manager):
        """Let the limit of many tasks pass at the same time; return their errors, and how often was looked around."""

        async def work():
            async with manager.timed_operation("fetch"):
                await hang()

        async def other():
            async with manager.timed_operation("other"):
                await asyncio.Event().wait()

        tasks = [asyncio.ensure_future(other() if each % 2 else work()) for each in range(number)]
        for each, task in enumerate(tasks):
            task.set_name(f"task {each} of {number}")
        with mock.patch("asyncio.all_tasks", wraps=asyncio.all_tasks) as looks:
            errors = await asyncio.gather(*tasks, return_exceptions=True)
        return errors, looks.call_count

    def check_beginnings(self, errors):
        """Each error begins with where its own task stood, and with its name."""
        for each, error in enumerate(errors):
            here, line = ("other", "await asyncio.Event") if each % 2 else ("work", "await hang")
            title, found = error.diagnosis.splitlines()[:2]
            crowd = rf"{(len(errors) + 1) // 2} tasks \(task {each} of {len(errors)}, "
            self.assertRegex(title, f"^Stack of {crowd}")
            self.assertRegex(error.diagnosis, rf"^.*\n.* in {here}\n    {line}")
            self.assertNotIn("could not", error.diagnosis)

    async def test_a_crowd_whose_time_is_over_at_once_is_looked_at_once(self):
        for number in 4, 100:
            errors, looks = await self.end_together(number, TimeoutManager(20 * LIMIT, enforce=True))
            self.assertLess(looks, 4)
            self.check_beginnings(errors)

    async def test_a_crowd_is_looked_at_once_where_the_loop_is_blocked(self):
        async def block():
            await asyncio.sleep(0)
            time.sleep(20 * LIMIT + 0.5)

        blocking = asyncio.ensure_future(block())
        errors, looks = await self.end_together(100, TimeoutManager(20 * LIMIT, enforce=True))
        await blocking
        self.assertLess(looks, 10)
        for error in errors:
            self.assertRegex(error.diagnosis, r"in task Task-\d+ .*\n.* in block\n    time\.sleep")
        self.check_beginnings(errors)

    async def test_what_was_seen_while_the_loop_was_blocked_is_not_what_is_seen_later(self):
        async def waits():
            async with self.phase(0.2):
                await hang()

        async def blocks():
            await asyncio.sleep(0)
            time.sleep(1)
            async with self.phase(0.001) as phase:
                while not phase.expired():
                    pass
                await asyncio.Event().wait()

        tasks = [asyncio.ensure_future(each()) for each in (waits, blocks)]
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        self.assertIn("in blocks\n    time.sleep(1)\n", first.diagnosis)
        name = tasks[1].get_name()
        self.assertRegex(second.diagnosis, rf"^Stack of task {name}\b.*\n.* in blocks\n    await asyncio")

    async def test_sessions_of_tasks(self):
        async def work():
            with self.manager:
                for _ in range(3):
                    async with self.phase(LONG):
                        await asyncio.sleep(0.001)

        await asyncio.gather(work(), work())
        self.assertFalse(self.manager._ledger.sessions)

    async def test_what_is_left_between_two_phases(self):
        async with self.phase(LONG):
            pass
        await asyncio.sleep(1)  # much longer than it lingers
        self.assertFalse(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].timers)
        self.assertEqual(self.is_watched(), self.watched)
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                await hang()

    async def test_an_alarm_takes_nothing_from_a_loop_that_runs(self):
        async with self.phase(LONG):
            pass
        (timer,) = sys.modules[f"{package.__name__}.enforcing.by_asyncio"].timers.values()
        timers = timer.timer, timer.resting
        self.assertIsNone(timer.seize(Position(sys._getframe())))
        self.assertFalse(any(timer.cancelled() for timer in timers))  # the loop may be about to call one

    def test_a_loop_that_is_stopped_is_let_go(self):
        async def work():
            async with self.phase(LONG):
                await asyncio.sleep(0)
            found.extend(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].timers.values())
            loop.stop()
            await hang()

        found, loop = [], asyncio.new_event_loop()
        task = loop.create_task(work())
        loop.run_forever()
        (timer,) = found
        timer.seize(Position(sys._getframe()))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    @unittest.skipUnless(CPYTHON, "elsewhere what is not needed any more may live on")
    async def test_the_ledger_keeps_no_task(self):
        async def work():
            async with self.phase(LONG):
                await asyncio.sleep(0)
            with contextlib.suppress(PhaseTimeout):
                async with self.phase():
                    await hang()

        task = asyncio.ensure_future(work())
        await task
        reference = weakref.ref(task)
        del task
        await asyncio.sleep(0.01)
        gc.collect()
        self.assertIsNone(reference())

    def test_a_loop_that_is_closed_while_a_task_is_in_a_phase(self):
        async def work():
            async with self.phase(LONG):
                await hang()

        loop = asyncio.new_event_loop()
        task = loop.create_task(work())
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        task._log_destroy_pending = False
        with mock.patch("sys.unraisablehook") as unraisable:
            task.get_coro().close()
            del task
            gc.collect()
        self.assertFalse(unraisable.called)
        self.assertEqual(self.outcomes(), [("fetch", "failed")])

    @unittest.skipUnless(hasattr(signal, "SIGALRM"), "no alarm here")
    def test_a_loop_that_is_closed_before_the_limit_of_a_task_keeps_no_handler(self):
        async def work():
            async with self.phase(0.2):
                await hang()

        loop = asyncio.new_event_loop()
        task = loop.create_task(work())
        loop.run_until_complete(asyncio.sleep(0.01))
        self.assertTrue(self.is_watched())
        loop.close()
        timers = sys.modules[f"{package.__name__}.enforcing.by_asyncio"].timers
        while (timers or self.is_watched() != self.watched) and time.monotonic() < self.began + MARGIN / 2:
            time.sleep(0.01)
        self.assertEqual((timers, self.is_watched()), ({}, self.watched))
        task._log_destroy_pending = False
        task.get_coro().close()
        self.assertEqual([name for name, _ in self.outcomes()], ["fetch"])


class Generators(TaskCase):
    async def test_one_that_is_suspended_does_not_cancel_its_consumer(self):
        async def numbers():
            async with self.phase():
                for number in range(3):
                    yield number

        generator = numbers()
        self.assertEqual(await generator.__anext__(), 0)
        await asyncio.sleep(4 * LIMIT)
        with self.assertRaises(PhaseTimeout):
            async for _ in generator:
                pass
        self.assertEqual(self.outcomes(), [("fetch", "timeout")])

    async def test_one_that_awaits_is_cancelled(self):
        async def numbers():
            async with self.phase():
                yield 0
                await hang()
                yield 1  # pragma: no cover

        got = []
        with self.assertRaises(PhaseTimeout):
            async for number in numbers():
                got.append(number)
        self.assertEqual(got, [0])

    async def test_a_plain_one_that_is_suspended(self):
        def numbers():
            with self.phase():
                yield 0
                yield 1

        generator = numbers()
        next(generator)
        await asyncio.sleep(4 * LIMIT)
        with self.assertRaises(PhaseTimeout):
            list(generator)

    async def test_the_consumer_is_not_cancelled_where_the_phase_is_in_an_exit_stack(self):
        async def entered():
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(self.phase())
                yield 0

        async def entered_plainly():
            with contextlib.ExitStack() as stack:
                stack.enter_context(self.phase())
                yield 0

        for numbers in entered, entered_plainly:
            generator = numbers()
            await generator.__anext__()
            await asyncio.sleep(6 * LIMIT)
            with self.assertRaises(PhaseTimeout):
                await generator.__anext__()

    async def test_a_context_manager_around_a_phase_is_cancelled_in_the_with_of_its_user(self):
        @contextlib.asynccontextmanager
        async def step(limit=LIMIT):
            async with self.phase(limit):
                yield

        @contextlib.asynccontextmanager
        async def nested(limit=LIMIT):
            async with step(limit):
                yield

        @contextlib.contextmanager
        def plain():
            with self.phase():
                yield

        for context in step, nested:
            with self.assertRaises(PhaseTimeout) as caught:
                async with context():
                    await asyncio.sleep(BRIEF)
            self.assertTrue(caught.exception.interrupted)
            async with context(10 * LIMIT):
                pass
            await asyncio.sleep(12 * LIMIT)
        with self.assertRaises(PhaseTimeout) as caught:
            with plain():
                await asyncio.sleep(BRIEF)
        self.assertTrue(caught.exception.interrupted)

    async def test_a_class_that_hands_on_to_a_phase_is_cancelled_in_the_with_of_its_user(self):
        class Step:
            def __init__(self, phase, hangs_in):
                self.phase, self.hangs_in = phase, hangs_in

            async def __aenter__(self):
                await self.phase.__aenter__()
                await asyncio.sleep(LONG if self.hangs_in == "enter" else 0)

            async def __aexit__(self, *error):
                await asyncio.sleep(LONG if self.hangs_in == "exit" else 0)
                return await self.phase.__aexit__(*error)

        cancelled = asyncio.CancelledError
        for hangs_in, kind in ("body", PhaseTimeout), ("enter", cancelled), ("exit", cancelled):
            manager = TimeoutManager(LONG, enforce=True)
            with self.assertRaises(kind) as caught:
                async with Step(manager.timed_operation("step", LIMIT), hangs_in):
                    await asyncio.sleep(LONG if hangs_in == "body" else 0)
            if hangs_in != "enter":  # where it was left at its border the next does not count as inside of it
                await asyncio.sleep(6 * LIMIT)  # and nothing comes here
            with manager.timed_operation("next", LONG) as after:
                self.assertEqual(after.path(), ("next",))
            self.assertIn("Timeout exceeded after step phase!", str(caught.exception))
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "done"])

    async def test_closed_in_another_task(self):
        async def numbers():
            async with self.phase(LONG):
                yield 0

        generator = numbers()
        await generator.__anext__()
        await asyncio.ensure_future(generator.aclose())
        self.assertEqual(self.outcomes(), [("fetch", "failed")])

    async def test_one_whose_items_are_awaited_in_several_tasks(self):
        async def numbers(limit):
            async with self.phase(limit):
                for number in range(3):
                    await asyncio.sleep(LIMIT / 2)
                    yield number

        async def item(generator):
            return await generator.__anext__()

        for limit, expected in ((LONG, StopAsyncIteration), (LIMIT, PhaseTimeout)):
            generator = numbers(limit)
            with self.subTest(limit=limit), self.assertRaises(expected):
                while True:
                    await asyncio.ensure_future(item(generator))
        self.assertEqual(self.outcomes(), [("fetch", "done"), ("fetch", "timeout")])

    async def test_a_stack_that_one_task_enters_and_another_leaves(self):
        async def enter():
            await stack.enter_async_context(self.phase(LONG))

        stack = contextlib.AsyncExitStack()
        await asyncio.ensure_future(enter())
        await asyncio.sleep(0)
        await asyncio.ensure_future(stack.aclose())
        self.assertEqual(self.outcomes(), [("fetch", "done")])

    @unittest.skipUnless(hasattr(unittest.IsolatedAsyncioTestCase, "enterAsyncContext"), "not before Python 3.11")
    def test_a_phase_around_an_asynchronous_test(self):
        manager = self.manager

        class Test(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                await self.enterAsyncContext(manager.timed_operation("fetch"))

            async def runTest(self):
                await asyncio.sleep(0)

        result = unittest.TestResult()
        Test().run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))
        self.assertEqual(self.outcomes(), [("fetch", "done")])


if __name__ == "__main__":
    unittest.main()
