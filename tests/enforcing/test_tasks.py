"""How a task ends: by others, by the limit that it swallows, where it or its loop blocks, in another thread."""

import asyncio
import contextlib
import functools
import gc
import sys
import threading
import time
import unittest
import warnings

from .. import package
from ..helpers.child import count_threads
from ..helpers.enforced import CPYTHON, LIMIT, LONG, MARGIN, spin
from ..helpers.tasks import TaskCase, hang

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


class CancelledByOthers(TaskCase):
    """A cancellation from outside is never swallowed."""

    def race(self, when, answer=lambda: None):
        """Cancel a task from outside when its phase is over: in the iteration before, in the same, in the next."""

        async def work():
            async with self.phase():
                try:
                    await hang()
                finally:
                    answer()

        async def main():
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            timer = next(iter(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].timers.values()))
            timer.set(0.0, 0.0)  # it is looked at in the next iteration,
            until = time.monotonic() + LIMIT
            while time.monotonic() < until:
                pass  # when it is over
            if when == "before":
                task.cancel()
            elif when == "same":
                loop.call_later(0, task.cancel)
            else:
                loop.call_later(0, loop.call_soon, task.cancel)
            await asyncio.wait([task])
            return task

        return asyncio.run(main())

    def test_at_the_same_moment(self):
        for when in "before", "same":
            with self.subTest(when):
                self.assertTrue(self.race(when).cancelled())
        self.assertEqual(set(self.outcomes()), {("fetch", "timeout")})

    def test_at_the_same_moment_and_what_answers_blocks_the_loop(self):
        for when in "before", "same":
            with self.subTest(when):
                self.assertTrue(self.race(when, spin).cancelled())

    def test_after_it_has_ended(self):
        task = self.race("next")
        self.assertTrue(task.cancelled() or isinstance(task.exception(), PhaseTimeout))

    async def test_while_an_inner_task_is_on_its_way_out(self):
        async def slow():
            try:
                await hang()
            finally:
                await asyncio.sleep(0.2)

        async def work():
            async with self.phase():
                await asyncio.ensure_future(slow())

        task = asyncio.ensure_future(work())
        await asyncio.sleep(2 * LIMIT)
        task.cancel()
        await asyncio.wait([task])
        self.assertTrue(task.cancelled())

    async def test_while_it_is_on_its_way_out(self):
        async def work():
            async with self.phase():
                try:
                    await hang()
                finally:
                    await hang()

        task = asyncio.ensure_future(work())
        await asyncio.sleep(2 * LIMIT)
        task.cancel()
        await asyncio.wait([task])
        self.assertTrue(task.cancelled())


async def cancellations_alone():
    while True:
        try:
            return await hang()
        except asyncio.CancelledError:
            continue


async def everything():
    while True:
        try:
            await hang()
        except BaseException:
            pass


async def on_the_way_out_too():
    while True:
        with contextlib.suppress(BaseException):
            try:
                await hang()
            finally:
                await hang()


async def in_an_asynchronous_generator():
    async def events():
        while True:
            try:
                yield await hang()
            except asyncio.CancelledError:
                pass

    async for _ in events():
        pass


async def others_as_well():
    while True:
        try:
            await asyncio.gather(hang(), hang())
        except asyncio.CancelledError:
            pass


class Swallowed(TaskCase):
    async def test_it_comes_again(self):
        times = []
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase():
                while len(times) < 3:
                    try:
                        await hang()
                    except asyncio.CancelledError:
                        times.append(time.monotonic())
        self.assertIsNone(caught.exception.__cause__)
        self.assertEqual(len(times), 3)

    async def test_what_was_swallowed_is_a_timeout_all_the_same(self):
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                with contextlib.suppress(asyncio.CancelledError):
                    await hang()

    @unittest.skipUnless(CPYTHON, "elsewhere an error that was handled may live on")
    async def test_sooner_where_the_block_runs_on_than_where_it_is_on_its_way_out(self):
        hits = []

        async def count(seconds, enough):
            until = time.monotonic() + seconds
            while time.monotonic() < until and len(hits) < enough:
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    hits.append(1)

        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                try:
                    await hang()
                finally:
                    await count(0.3, enough=1)
        self.assertEqual(hits, [])
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                await count(LONG, enough=2)
        self.assertEqual(len(hits), 2)

    @unittest.skipUnless(CPYTHON, "elsewhere nothing else can be raised in a task")
    async def test_in_a_loop_without_an_end(self):
        async def ends(swallow):
            with self.assertRaises(PhaseTimeout) as caught:
                async with self.phase():
                    await swallow()
            return caught.exception.interrupted

        ways = cancellations_alone, everything, on_the_way_out_too, in_an_asynchronous_generator, others_as_well
        self.assertEqual(await asyncio.gather(*map(ends, ways)), [True] * len(ways))
        await asyncio.sleep(0.3)
        self.assertEqual(sys.modules[f"{package.__name__}.interpreter.safepoints"]._visits, {})

    async def test_a_way_out_that_hangs(self):
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                try:
                    await hang()
                finally:
                    await hang()


class Slow(asyncio.Future):
    """To begin to wait for it takes so long that the loop, or what is behind it, has looked meanwhile."""

    def add_done_callback(self, *args, **options):
        time.sleep(0.5)
        super().add_done_callback(*args, **options)


class Blocked(TaskCase):
    """A coroutine that does not await."""

    def expect(self, block):
        async def main():
            async with self.phase() as phase:
                await asyncio.sleep(0)
                block()
            return phase  # pragma: no cover

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(main())
        self.assertTrue(caught.exception.interrupted)
        self.assertEqual(self.outcomes()[-1], ("fetch", "timeout"))

    def test_by_its_own_task(self):
        def spin():
            while True:
                pass

        def swallow():
            while True:
                try:
                    time.sleep(LONG)
                except Exception:
                    pass

        for block in (lambda: time.sleep(LONG)), spin, swallow:
            with self.subTest(block):
                self.expect(block)

    async def test_first_it_blocks_and_then_it_awaits(self):
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                with contextlib.suppress(PhaseTimeout):
                    time.sleep(LONG)
                await hang()

    async def test_first_it_awaits_and_then_it_blocks(self):
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                with contextlib.suppress(asyncio.CancelledError):
                    await hang()
                time.sleep(LONG)

    def test_by_the_beginning_of_its_wait(self):
        """An interrupt there would be an error of the loop: the task would never hear of it, nor wake again."""

        async def wait(told):
            asyncio.get_running_loop().set_exception_handler(lambda loop, what: told.append(what["message"]))
            async with self.phase():
                await Slow()

        async def main(told):
            task = asyncio.ensure_future(wait(told))
            await asyncio.wait([task], timeout=MARGIN / 2)
            return task.done() and task.exception()

        told, loop = [], asyncio.new_event_loop()
        self.addCleanup(loop.close)
        error = loop.run_until_complete(main(told))
        self.assertEqual((type(error), told), (PhaseTimeout, []))
        self.assertTrue(error.interrupted)

    def test_a_phase_of_what_is_called_at_the_beginning_of_its_wait(self):
        class Hangs(asyncio.Future):
            def add_done_callback(future, *args, **options):
                with contextlib.suppress(PhaseTimeout), self.phase():
                    spin()
                super().add_done_callback(*args, **options)

        async def main():
            future = Hangs()
            asyncio.get_running_loop().call_soon(future.set_result, "fine")
            return await future

        self.assertEqual(asyncio.run(main()), "fine")
        self.assertEqual(self.outcomes(), [("fetch", "timeout")])

    async def test_by_another_task_that_is_named(self):
        began = time.monotonic()

        async def blocks_the_loop():
            time.sleep(1.5)
            return time.monotonic()

        task = asyncio.ensure_future(blocks_the_loop())
        task.set_name("the culprit")
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase(0.5):
                await hang()
        self.assertGreaterEqual(await task - began, 1.5)
        self.assertRegex(caught.exception.diagnosis, r"the culprit")
        self.assertRegex(caught.exception.diagnosis, r"in blocks_the_loop\n    time\.sleep\(1\.5\)")

    async def test_by_its_own_task_that_is_shown_first(self):
        other = asyncio.ensure_future(hang())
        await asyncio.sleep(0)
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase():
                time.sleep(LONG)
        other.cancel()
        told = caught.exception.diagnosis
        self.assertRegex(told, r"^Stack of thread MainThread, in task Task-\d+ \(most")
        self.assertNotIn("run_until_complete", told)
        self.assertIn("time.sleep(LONG)\n\nStack of task ", told)

    def test_a_phase_around_the_loop_cancels_what_it_runs(self):
        log = []

        async def main():
            try:
                await hang()
            finally:
                await asyncio.sleep(0.01)
                log.append("cleaned")

        with self.assertRaises(PhaseTimeout) as caught:
            with self.phase(1):
                asyncio.run(main())
        self.assertEqual(log, ["cleaned"])
        self.assertRegex(caught.exception.diagnosis, "in main\n    await hang")

    def test_a_phase_around_the_loop_cancels_what_is_about_to_wait(self):
        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, what: log.append(what["message"]))
            try:
                await Slow()
            finally:
                log.append("cleaned")

        log = []
        with self.assertRaises(PhaseTimeout):
            with self.phase():
                asyncio.run(main())
        self.assertEqual(log, ["cleaned"])

    def test_a_phase_around_the_loop_is_not_defied(self):
        async def main():
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await hang()

        with self.assertRaises(PhaseTimeout):
            with self.phase():
                loop = asyncio.new_event_loop()
                try:
                    task = loop.create_task(main())
                    loop.run_until_complete(task)
                finally:
                    task._log_destroy_pending = False
                    loop.close()

    def test_mechanisms_by_name(self):
        async def main(name):
            manager = TimeoutManager(LONG, enforce=name)
            async with manager.timed_operation("fetch", limit=LIMIT):
                self.assertEqual(manager.enforcement, name)
                await asyncio.sleep(0)
                time.sleep(LONG)

        for name in "signal", "thread":
            with self.subTest(name), self.assertRaises(PhaseTimeout):
                asyncio.run(main(name))


class InAnotherThread(TaskCase):
    def run_there(self, main):
        caught = []

        def run():
            try:
                asyncio.run(main())
            except PhaseTimeout as error:
                caught.append(error)

        before = count_threads()
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual(len(caught), 1)
        end = time.monotonic() + MARGIN
        while count_threads() > before and time.monotonic() < end:  # the system may need a moment to end one
            time.sleep(0.01)
        self.assertLessEqual(count_threads(), before)

    def test_a_task_is_cancelled(self):
        async def main():
            async with self.phase():
                await hang()

        self.run_there(main)

    @unittest.skipUnless(CPYTHON, "no other thread can be reached")
    def test_a_task_that_blocks(self):
        async def main():
            async with self.phase():
                while True:
                    pass

        self.run_there(main)


class BlockedInAnotherThread(unittest.TestCase):
    def test_a_call_that_is_the_last_of_the_block_ends_late_and_the_phase_with_it(self):
        manager, errors = TimeoutManager(enforce=True), []

        async def block():
            time.sleep(4 * LIMIT)

        async def main():
            try:
                async with manager.timed_operation("run", LIMIT):
                    await block()
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        thread.join()
        self.assertEqual([type(error) for error in errors], [PhaseTimeout], errors)


class Functions(TaskCase):
    async def fetch(self, first, second=0):
        await asyncio.sleep(0.01)
        if first == "hang":
            await hang()
        return first + second

    async def test_the_awaiting_is_the_phase_not_the_making_of_the_coroutine(self):
        for call in (
            lambda: self.manager.call_with_timeout(self.fetch, 1, second=2, phase_name="fetch"),
            lambda: self.manager.call_with_timeout(functools.partial(self.fetch, second=2), 1, phase_name="fetch"),
            lambda: self.manager.execute_with_timeout(self.fetch, "fetch", first=1, second=2),
        ):
            coroutine = call()
            before = len(self.manager.phases)
            self.assertEqual(await coroutine, 3)
            self.assertEqual(len(self.manager.phases), before + 1)
            self.assertGreaterEqual(self.manager.phases[-1].elapsed(), 0.005)

    async def test_they_are_interrupted(self):
        self.manager.reset(LIMIT)
        with self.assertRaises(PhaseTimeout):
            await self.manager.call_with_timeout(self.fetch, "hang")

        @self.phase()
        async def decorated():
            await hang()

        self.manager.reset(LONG)
        with self.assertRaises(PhaseTimeout):
            await decorated()

        @package.with_timeout_management(timeout=LIMIT, enforce=True)
        async def managed(timeout_manager):
            async with timeout_manager.timed_operation("fetch"):
                await hang()

        with self.assertRaises(PhaseTimeout):
            await managed()

    async def test_none_is_called_with_nothing_left(self):
        self.manager.reset(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with self.assertRaises(PhaseTimeout):
                await self.manager.call_with_timeout(self.fetch, 1)
            gc.collect()
        never = [each for each in caught if each.category is RuntimeWarning]  # of a coroutine that was never awaited
        self.assertEqual(never, [])

    async def test_an_object_that_is_called(self):
        class Fetch:
            async def __call__(self, value):
                await asyncio.sleep(0)
                return value

        self.assertEqual(await self.manager.call_with_timeout(Fetch(), 3), 3)
        self.assertIsInstance(self.manager.call_with_timeout(Fetch), Fetch)


if __name__ == "__main__":
    unittest.main()
