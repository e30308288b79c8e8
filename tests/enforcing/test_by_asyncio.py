"""Phases in coroutines: what ``asyncio.timeout`` does, told for phases, and what it does not do."""

import asyncio
import contextlib
import functools
import gc
import signal
import sys
import threading
import time
import unittest
import warnings
import weakref
from pathlib import Path
from unittest import mock

from .. import package
from ..helpers.child import count_threads

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager

LIMIT = 0.05  # seconds
LONG = 60  # what would hang for so long has hung
MARGIN = 20  # what ends within so many seconds has not
BRIEF = 5  # what goes on for so long was not interrupted
CPYTHON = sys.implementation.name == "cpython"
COUNTS = hasattr(asyncio.Task, "cancelling")


def hang():
    return asyncio.sleep(LONG)


def cancelling():
    return asyncio.current_task().cancelling() if COUNTS else 0


class Case(unittest.TestCase):
    """Its asynchronous tests run in a loop of their own, which leaves nothing behind."""

    def setUp(self):
        self.manager = TimeoutManager(LONG, enforce=True)
        self.began = time.monotonic()
        if hasattr(signal, "SIGALRM"):
            self.handler = signal.getsignal(signal.SIGALRM)
        self.addCleanup(self.check)

    def check(self):
        self.assertLess(time.monotonic() - self.began, MARGIN)
        self.assertFalse(self.manager._ledger.open)
        self.assertFalse(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].pulses)
        self.assertFalse(self.is_watched())
        if hasattr(signal, "SIGALRM"):
            self.assertEqual(signal.getitimer(signal.ITIMER_REAL), (0.0, 0.0))

    def is_watched(self):
        """Tell whether the timer or the alarm stands behind a loop of the main thread."""
        if sys.modules[f"{package.__name__}.enforcing.by_timer"].watch.at < float("inf"):
            return True
        return hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is not self.handler

    def __init_subclass__(cls):
        for name, test in list(vars(cls).items()):
            if name.startswith("test") and asyncio.iscoroutinefunction(test):
                setattr(cls, name, functools.wraps(test)(cls.in_a_loop(test)))

    @staticmethod
    def in_a_loop(test):
        def run(self):
            async def main():
                await test(self)
                self.assertEqual(cancelling(), 0)

            asyncio.run(main())

        return run

    def phase(self, limit=LIMIT, name="fetch", manager=None):
        return (manager or self.manager).timed_operation(name, limit=limit)

    def outcomes(self):
        return [(phase.name, phase.outcome) for phase in self.manager.phases]


class AsTheLibraryDecided(Case):
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
            async with self.phase() as phase:
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

    async def test_a_cancellation_by_a_method_that_was_bound_before(self):
        for cleanup, when in (0.0, LIMIT), (4 * LIMIT, LIMIT / 5):  # at the limit; before it, with a cleanup

            async def cancelled(cleanup=cleanup, when=when):
                asyncio.get_running_loop().call_later(when, asyncio.current_task().cancel)
                async with self.phase():
                    try:
                        time.sleep(0 if cleanup else 2 * LIMIT)  # both are due at once
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
                self.assertRegex(repr(phase), r"<Phase fetch running after \d+\.\d+ ms>")
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


class CancelledByOthers(Case):
    """A cancellation from outside is never swallowed."""

    def race(self, when):
        """Cancel a task from outside when its phase is over: in the iteration before, in the same, in the next."""

        async def work():
            async with self.phase():
                await hang()

        async def main():
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            pulse = next(iter(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].pulses.values()))
            pulse.set(0.0, 0.0)  # it is looked at in the next iteration,
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


class WithAnyio(Case):
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
class WithTheLibrary(Case):
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


class Swallowed(Case):
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

        async def count(until):
            while time.monotonic() < until:
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    hits.append(1)

        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                try:
                    await hang()
                finally:
                    await count(time.monotonic() + 0.7)
        self.assertEqual(hits, [])
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                await count(time.monotonic() + 0.7 + LIMIT)
        self.assertGreaterEqual(len(hits), 2)

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


class Blocked(Case):
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

    async def test_by_another_task_that_is_named(self):
        began = time.monotonic()
        ended = []

        async def blocks_the_loop():
            await asyncio.sleep(LIMIT / 2)
            time.sleep(0.5)
            ended.append(time.monotonic() - began)

        task = asyncio.ensure_future(blocks_the_loop())
        if hasattr(task, "set_name"):
            task.set_name("the culprit")
        with self.assertRaises(PhaseTimeout) as caught:
            async with self.phase():
                await hang()
        await task
        self.assertGreaterEqual(ended[0], 0.5)
        self.assertRegex(caught.exception.diagnosis, r"the culprit")
        self.assertRegex(caught.exception.diagnosis, r"in blocks_the_loop\n    time\.sleep\(0\.5\)")

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
            with self.phase():
                asyncio.run(main())
        self.assertEqual(log, ["cleaned"])
        self.assertRegex(caught.exception.diagnosis, "in main\n    await hang")

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


class InAnotherThread(Case):
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


class Concurrent(Case):
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
            errors, looks = await self.end_together(number, TimeoutManager(4 * LIMIT, enforce=True))
            self.assertLess(looks, 4)
            self.check_beginnings(errors)

    async def test_a_crowd_is_looked_at_once_where_the_loop_is_blocked(self):
        async def block():
            await asyncio.sleep(0)
            time.sleep(4 * LIMIT + 0.5)

        blocking = asyncio.ensure_future(block())
        errors, looks = await self.end_together(100, TimeoutManager(4 * LIMIT, enforce=True))
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
        self.assertFalse(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].pulses)
        self.assertFalse(self.is_watched())
        with self.assertRaises(PhaseTimeout):
            async with self.phase():
                await hang()

    async def test_an_alarm_takes_nothing_from_a_loop_that_runs(self):
        async with self.phase(LONG):
            pass
        (pulse,) = sys.modules[f"{package.__name__}.enforcing.by_asyncio"].pulses.values()
        timers = pulse.timer, pulse.resting
        self.assertIsNone(pulse.seize({}, sys._getframe(), -1, time.monotonic()))
        self.assertFalse(any(timer.cancelled() for timer in timers))  # the loop may be about to call one

    def test_a_loop_that_is_stopped_is_let_go(self):
        async def work():
            async with self.phase(LONG):
                await asyncio.sleep(0)
            await hang()

        loop = asyncio.new_event_loop()
        task = loop.create_task(work())
        loop.run_until_complete(asyncio.sleep(0.01))
        (pulse,) = sys.modules[f"{package.__name__}.enforcing.by_asyncio"].pulses.values()
        pulse.seize({}, sys._getframe(), -1, time.monotonic())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

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
        while self.is_watched() and time.monotonic() < self.began + MARGIN / 2:
            time.sleep(0.01)
        self.assertFalse(self.is_watched())
        self.assertFalse(sys.modules[f"{package.__name__}.enforcing.by_asyncio"].pulses)
        task._log_destroy_pending = False
        task.get_coro().close()
        self.assertEqual([name for name, _ in self.outcomes()], ["fetch"])


class Functions(Case):
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
        self.assertEqual(caught, [])  # of a coroutine that was never awaited

    async def test_an_object_that_is_called(self):
        class Fetch:
            async def __call__(self, value):
                await asyncio.sleep(0)
                return value

        self.assertEqual(await self.manager.call_with_timeout(Fetch(), 3), 3)
        self.assertIsInstance(self.manager.call_with_timeout(Fetch), Fetch)


class Generators(Case):
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
        async def step():
            async with self.phase():
                yield

        @contextlib.asynccontextmanager
        async def nested():
            async with step():
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
            async with context():
                pass
            await asyncio.sleep(4 * LIMIT)
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
