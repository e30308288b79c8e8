"""Phases in coroutines: what ``asyncio.timeout`` does, told for phases, and what it does not do."""

import asyncio
import contextlib
import time
import unittest

from .. import package
from ..helpers.enforced import BRIEF, LIMIT, LONG, MARGIN, burn
from ..helpers.tasks import COUNTS, TaskCase, cancelling, hang

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


class AsTheLibraryDecided(TaskCase):
    """The cases of CPython's test_asyncio/test_timeouts.py."""

    async def test_basic(self):
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase() as phase:
                self.assertEqual(self.manager.enforcement, "asyncio")
                await hang()
        error = caught.exception
        self.assertEqual((error.phase, error.limited_by, error.interrupted), ("fetch", "limit", True))
        self.assertRegex(error.diagnosis, "in test_basic\n    await hang")
        self.assertTrue(phase.expired())
        self.assertEqual(phase.outcome, "timeout")

    async def test_bound_by_the_budget(self):
        manager = TimeoutManager(LIMIT, enforce=True)
        with self.assertRaises(PhaseTimeout) as caught:
            async with manager.timed_operation("outer"):
                async with manager.timed_operation("inner"):
                    await hang()
        self.assertEqual((caught.exception.phase_path, caught.exception.limited_by), (("outer", "inner"), "budget"))
        self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

    async def test_a_plain_with(self):
        with self.assertRaises(PhaseTimeout):
            with self.phase():
                await hang()

    async def test_entered_by_a_stack(self):
        with self.assertRaises(PhaseTimeout):
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(self.phase())
                await hang()

    async def test_nested(self):
        cancelled = False
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase(name="outer"):
                try:
                    async with self.phase(LONG, name="inner"):
                        await hang()
                except asyncio.CancelledError:
                    cancelled = True
                    raise
        self.assertTrue(cancelled)
        self.assertEqual((caught.exception.limited_phase, caught.exception.phase), ("outer", "inner"))
        self.assertEqual(self.outcomes(), [("outer", "timeout"), ("inner", "timeout")])

    async def test_nested_and_equal(self):
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase(name="outer"):
                async with self.phase(name="inner"):
                    await hang()
        self.assertEqual(caught.exception.limited_phase, "outer")

    async def test_of_two_managers(self):
        other = TimeoutManager(LONG, enforce=True)
        for first, second in ((LIMIT, LONG), (LONG, LIMIT), (LIMIT, LIMIT)):
            with self.subTest(first=first, second=second), self.assertRaises(PhaseTimeout) as caught:
                async with self.phase(first, "first"):
                    async with self.phase(second, "second", other):
                        await hang()
            self.assertEqual(caught.exception.limited_phase, "first" if first <= second else "second")
            self.assertEqual(cancelling(), 0)

    async def test_the_inner_one_is_caught_and_the_outer_one_still_holds(self):
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase(4 * LIMIT, "outer"):
                with self.assertRaises(PhaseTimeout):
                    async with self.phase(LIMIT, "inner"):
                        await hang()
                await hang()
        self.assertEqual(caught.exception.limited_phase, "outer")

    async def test_what_awaits_is_cancelled(self):
        cancelled = False
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                try:
                    await hang()
                except asyncio.CancelledError:
                    cancelled = True
                    raise
        self.assertTrue(cancelled)

    async def test_in_time(self):
        async with self.phase(LONG) as phase:
            await asyncio.sleep(0)
        self.assertFalse(phase.expired())
        self.assertEqual(phase.outcome, "done")

    async def test_without_a_limit(self):
        for limit in None, float("inf"):
            async with TimeoutManager(None, enforce=True).timed_operation("fetch", limit=limit) as phase:
                await asyncio.sleep(0)
            self.assertEqual((phase.expired(), phase.remaining(), phase.outcome), (False, None, "done"))

    async def test_nothing_left(self):
        for limit in 0, -11:
            with self.assertRaises(PhaseTimeout) as caught:
                async with self.phase(limit) as phase:
                    self.fail("it was run")  # pragma: no cover
            self.assertTrue(caught.exception.interrupted)
        phase = self.manager.phases[-1]
        self.assertEqual((phase.outcome, phase.remaining()), ("timeout", 0.0))

    async def test_nothing_left_and_a_cancellation_pending(self):
        asyncio.current_task().cancel()
        with self.assertRaises(PhaseTimeout):
            async with self.phase(0):
                pass
        with self.assertRaises(asyncio.CancelledError):
            await asyncio.sleep(0)
        if COUNTS:
            self.assertEqual(asyncio.current_task().uncancel(), 0)

    async def test_an_error_of_the_block_passes(self):
        error = KeyError()
        with self.assertRaises(KeyError) as caught:
            async with self.phase(LONG) as phase:
                raise error
        self.assertIs(caught.exception, error)
        self.assertEqual(phase.outcome, "failed")

    async def test_a_crash_on_the_way_out_is_the_cause(self):
        async def crash():
            try:
                await hang()
            finally:
                1 / 0

        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase() as phase:
                await crash()
        self.assertEqual(phase.outcome, "timeout")
        self.assertIsInstance(caught.exception.__cause__, ZeroDivisionError)
        self.assertIsInstance(caught.exception.__cause__.__context__, asyncio.CancelledError)
        self.assertNotIn("__notes__", vars(caught.exception.__cause__))

    async def test_an_error_that_only_looks_like_a_group_is_one_too(self):
        for members in None, 3, ("text",):
            error = KeyError()
            error.exceptions = members
            with self.assertRaises(PhaseTimeout) as caught:
                async with self.phase():
                    try:
                        await hang()
                    finally:
                        raise error
            self.assertIs(caught.exception.__cause__, error)

    async def test_what_is_cancelled_in_answer_to_the_interrupt_is_not_of_others(self):
        for swallows in False, True:
            with self.assertRaises(PhaseTimeout) as caught:
                async with self.phase():
                    task = asyncio.ensure_future(hang())
                    try:
                        await hang()
                    except asyncio.CancelledError:
                        if not swallows:
                            task.cancel()
                            await task
                    task.cancel()
                    await task
            self.assertIsInstance(caught.exception.__cause__, asyncio.CancelledError)

    async def test_a_cancellation_from_outside_in_time(self):
        async def cancelled():
            async with self.phase(LONG):
                asyncio.current_task().cancel()
                await hang()

        with self.assertRaises(asyncio.CancelledError):
            await asyncio.ensure_future(cancelled())
        self.assertEqual(self.outcomes(), [("fetch", "failed")])

    async def test_a_cancellation_from_outside_whose_answer_blocks_the_loop_until_time_is_over(self):
        async def run():
            async with self.phase():
                try:
                    await hang()
                finally:
                    burn(MARGIN)

        task = asyncio.ensure_future(run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        self.assertTrue(task.cancelled(), task)
        self.assertEqual(self.outcomes(), [("fetch", "timeout")])

    async def test_a_cancellation_by_a_method_that_was_bound_before(self):
        for cleanup, when in (0.0, LIMIT), (4 * LIMIT, LIMIT / 5):  # at the limit; before it, with a cleanup

            async def cancelled(cleanup=cleanup, when=when):
                asyncio.get_running_loop().call_later(when, asyncio.current_task().cancel)
                async with self.phase():
                    try:
                        time.sleep(0 if cleanup else 1.1 * LIMIT)  # both are due at once
                        await hang()
                    finally:
                        await asyncio.sleep(cleanup)

            with self.assertRaises(asyncio.CancelledError):
                await asyncio.ensure_future(cancelled())

    async def test_the_task_is_not_cancelled_at_last(self):
        async def outer():
            with self.assertRaises(PhaseTimeout):
                async with self.phase():
                    await hang()

        task = asyncio.ensure_future(outer())
        await task
        self.assertFalse(task.cancelled())

    async def test_the_loop_was_busy(self):
        for outer, inner, busy in ((0.002, 0.1, 0.01), (0.04, 0.01, 0.06)):
            with self.subTest(busy=busy), self.assertRaises(PhaseTimeout) as caught:
                async with self.phase(outer, "outer"):
                    with self.assertRaises(PhaseTimeout):
                        async with self.phase(inner, "inner"):
                            time.sleep(busy)
                            await hang()
                    await hang()
            self.assertEqual(caught.exception.limited_phase, "outer")

    async def test_reset_from_another_task(self):
        manager = TimeoutManager(LONG, enforce=True)

        async def work():
            async with manager.timed_operation("fetch"):
                await hang()

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0.01)
        manager.reset(LIMIT)
        with self.assertRaises(PhaseTimeout):
            await task

    async def test_reset_from_another_task_binds_one_that_had_no_limit(self):
        manager = TimeoutManager(enforce=True)

        async def work():
            async with manager.timed_operation("outer"):
                async with manager.timed_operation("fetch"):
                    await asyncio.sleep(BRIEF)

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0.01)
        manager.reset(LIMIT)
        with self.assertRaises(PhaseTimeout) as caught:
            await task
        self.assertEqual((caught.exception.phase, caught.exception.interrupted), ("fetch", True))
        self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

    async def test_reset_gives_more(self):
        manager = TimeoutManager(LIMIT, enforce=True)
        async with manager.timed_operation("fetch") as phase:
            manager.reset(LONG)
            await asyncio.sleep(3 * LIMIT)
        self.assertEqual(phase.outcome, "done")
        manager.reset(LIMIT)
        with self.assertRaises(PhaseTimeout):
            async with manager.timed_operation("fetch"):
                await hang()

    async def test_a_phase_in_the_cleanup_of_a_phase(self):
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase(name="outer"):
                try:
                    await hang()
                finally:
                    with self.assertRaises(PhaseTimeout) as inside:
                        async with self.phase(name="inner"):
                            self.fail("nothing is left")  # pragma: no cover
        self.assertEqual(caught.exception.limited_phase, "outer")
        self.assertEqual(inside.exception.limited_phase, "outer")

    async def test_a_cleanup_has_its_own_time(self):
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase(name="outer"):
                try:
                    await hang()
                finally:
                    async with self.manager.cleanup_operation("tidy", limit=LONG):
                        await asyncio.sleep(3 * LIMIT)
                    with self.assertRaises(PhaseTimeout) as inside:
                        async with self.manager.cleanup_operation("hang", limit=LIMIT):
                            await hang()
        self.assertEqual((caught.exception.limited_phase, inside.exception.limited_phase), ("outer", "hang"))
        self.assertEqual(self.outcomes(), [("outer", "timeout"), ("tidy", "done"), ("hang", "timeout")])

    async def test_after_a_cancellation(self):
        try:
            asyncio.current_task().cancel()
            await hang()
        except asyncio.CancelledError:
            pass
        for limit in 0.0, LIMIT:
            with self.assertRaises(PhaseTimeout):
                async with self.phase(limit):
                    await hang()
        self.assertEqual(cancelling(), int(COUNTS))
        if COUNTS:
            asyncio.current_task().uncancel()

    async def test_a_cancellation_after_a_cancellation(self):
        try:
            asyncio.current_task().cancel()
            await hang()
        except asyncio.CancelledError:
            pass
        with self.assertRaises(asyncio.CancelledError):
            async with self.phase(LONG):
                asyncio.current_task().cancel()
                await hang()
        while cancelling():
            asyncio.current_task().uncancel()

    async def test_the_cancellation_is_the_cause(self):
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase():
                await hang()
        self.assertIsInstance(caught.exception.__cause__, asyncio.CancelledError)

    async def test_what_it_looks_like(self):
        with self.assertRaises(PhaseTimeout):
            async with self.phase() as phase:
                self.assertRegex(repr(phase), r"<Phase fetch running after \d+\.\d+ m?s>")
                await hang()
        self.assertRegex(repr(phase), r"<Phase fetch timeout after \d\.\d+ s>")

    async def test_entered_twice(self):
        async with self.phase(LONG) as phase:
            with self.assertRaisesRegex(RuntimeError, "was entered before"):
                async with phase:
                    pass
        with self.assertRaisesRegex(RuntimeError, "was entered before"):
            await phase.__aenter__()

    def test_without_a_task(self):
        async def enter():
            with self.assertRaises(PhaseTimeout):
                async with self.phase():
                    self.assertNotEqual(self.manager.enforcement, "asyncio")
                    time.sleep(LONG)

        with self.assertRaises(StopIteration):
            enter().send(None)

    def test_in_a_callback_of_the_loop(self):
        caught = []

        def callback():
            try:
                with self.phase():
                    time.sleep(LONG)
            except PhaseTimeout as error:
                caught.append(error)

        async def main():
            asyncio.get_running_loop().call_soon(callback)
            await asyncio.sleep(0.01)

        asyncio.run(main())
        self.assertEqual(len(caught), 1)


class WithAnyio(TaskCase):
    async def test_a_scope_that_cancels_its_own_task_too_and_ends_that_itself(self):
        task = asyncio.current_task()

        async def group():
            try:
                await hang()
            except asyncio.CancelledError:
                asyncio.get_running_loop().call_soon(task.cancel, "Cancelled via cancel scope 7f0000000000")
                try:
                    await hang()
                except asyncio.CancelledError:
                    COUNTS and task.uncancel()
                raise

        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                await group()


@unittest.skipUnless(COUNTS, "asyncio has no timeout and no TaskGroup before Python 3.11")
class WithTheLibrary(TaskCase):
    async def test_inside_and_around_its_timeout(self):
        for phase, library in ((LIMIT, LONG), (LONG, LIMIT)):
            with self.assertRaises(TimeoutError) as caught:
                async with self.phase(phase):
                    async with asyncio.timeout(library):
                        await hang()
            self.assertEqual(isinstance(caught.exception, PhaseTimeout), phase < library)
            with self.assertRaises(TimeoutError) as caught:
                async with asyncio.timeout(library):
                    async with self.phase(phase):
                        await hang()
            self.assertEqual(isinstance(caught.exception, PhaseTimeout), phase < library)
            self.assertEqual(cancelling(), 0)

    async def test_at_the_same_time_as_its_timeout(self):
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(LIMIT):
                async with self.phase(LIMIT):
                    await hang()
        with self.assertRaises(PhaseTimeout):
            async with self.phase(LIMIT):
                async with asyncio.timeout(LIMIT):
                    await hang()

    async def test_around_a_group(self):
        ended = []

        async def child():
            try:
                await hang()
            finally:
                ended.append(1)

        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    group.create_task(child())
        self.assertEqual(len(ended), 2)

    async def test_a_crash_in_a_group_is_the_cause(self):
        async def child():
            try:
                await hang()
            finally:
                1 / 0

        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase() as phase:
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    await hang()
        self.assertIsInstance(caught.exception.__cause__, ExceptionGroup)  # noqa: F821
        self.assertIsInstance(caught.exception.__cause__.exceptions[0], ZeroDivisionError)
        self.assertEqual(phase.outcome, "timeout")

    async def test_inside_a_group(self):
        async def crash():
            await asyncio.sleep(LIMIT / 2)
            1 / 0

        with self.assertRaises(ExceptionGroup) as caught:  # noqa: F821
            async with asyncio.TaskGroup() as group:
                group.create_task(crash())
                async with self.phase(LONG):
                    await hang()
        self.assertIsInstance(caught.exception.exceptions[0], ZeroDivisionError)
        self.assertEqual(self.outcomes(), [("fetch", "failed")])

    async def test_a_child_whose_time_is_over_ends_its_group(self):
        async def child():
            async with self.phase():
                await hang()

        with self.assertRaises(ExceptionGroup) as caught:  # noqa: F821
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await hang()
        self.assertIsInstance(caught.exception.exceptions[0], PhaseTimeout)


if __name__ == "__main__":
    unittest.main()
