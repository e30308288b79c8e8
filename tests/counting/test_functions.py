"""Functions that are run as a phase: what they get, and what of them is timed."""

import asyncio
import functools
import inspect
import types
import unittest

from .. import package
from ..helpers.clock import FakeClock

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


def logged(function):
    """An ordinary decorator."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Case(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock()
        self.manager = TimeoutManager(10, clock=self.clock)

    def outcomes(self):
        return [(phase.name, phase.elapsed(), phase.outcome) for phase in self.manager.phases]


class Arguments(Case):
    def test_belong_to_the_function_whatever_they_are_called(self):
        def take(**kwargs):
            return kwargs

        for name in "func", "operation", "self", "args":
            self.assertEqual(self.manager.call_with_timeout(take, **{name: 1}), {name: 1})
            self.assertEqual(self.manager.execute_with_timeout(take, **{name: 1}), {name: 1})
        self.assertEqual(self.manager.call_with_timeout(max, 1, 2, key=lambda number: -number), 1)

    def test_the_function_can_be_given_by_name(self):
        self.assertEqual(self.manager.execute_with_timeout(operation=dict, phase_name="build", a=1), {"a": 1})
        self.assertEqual(self.manager.execute_with_timeout(phase_name="build", operation=list), [])
        self.assertEqual(self.manager.call_with_timeout(func=dict, phase_name="build", a=1), {"a": 1})
        self.assertEqual([phase.name for phase in self.manager.phases], ["build"] * 3)

    def test_what_is_no_function_is_an_error_that_shows_it(self):
        for call in (
            lambda: self.manager.call_with_timeout(),
            lambda: self.manager.execute_with_timeout(phase_name="build"),
            lambda: self.manager.call_with_timeout(None, func=None),
            lambda: self.manager.timed_operation("build")(None),
        ):
            with self.assertRaisesRegex(TypeError, "function, not None"):
                call()
        for kind in classmethod, staticmethod:
            with self.assertRaisesRegex(TypeError, f"timed_operation goes below @{kind.__name__}"):
                self.manager.timed_operation("build")(kind(len))
        self.assertEqual(self.manager.phases, ())


class Awaited(Case):
    """What there is to await is the phase, and there is one of it, however the function comes to it."""

    async def work(self, seconds=3):
        await asyncio.sleep(0)
        self.clock.advance(seconds)
        return seconds

    def functions(self):
        """Return functions of all kinds whose result is to be awaited."""

        class Callable:
            async def __call__(_):
                return await self.work()

        class Awaitable:
            def __await__(_):
                return self.work().__await__()

        @types.coroutine
        def old(seconds=3):
            return (yield from self.work(seconds))

        return {
            "function": self.work,
            "partial": functools.partial(self.work, 3),
            "object": Callable(),
            "partial of an object": functools.partial(Callable()),
            "wrapped": logged(self.work),
            "lambda": lambda: self.work(),
            "generator": old,
            "wrapped generator": logged(old),
            "future": lambda: asyncio.ensure_future(self.work()),
            "awaitable": Awaitable,
        }

    def ways(self):
        """Return the ways of running a function as a phase."""
        return {
            "call": lambda function: self.manager.call_with_timeout(function, phase_name="fetch"),
            "execute": lambda function: self.manager.execute_with_timeout(function, "fetch"),
            "decorator": lambda function: self.manager.timed_operation("fetch")(function)(),
            "cleanup": lambda function: self.manager.cleanup_operation("fetch", limit=5)(function)(),
        }

    def each(self, *without):
        for way in self.ways().keys() - set(without):
            for kind in self.functions():
                self.setUp()
                with self.subTest(way=way, kind=kind):
                    yield self.ways()[way], self.functions()[kind]

    def test_is_the_phase(self):
        async def main():
            made = run(function)
            self.clock.advance(1)  # it is not being awaited yet
            return await made

        for run, function in self.each():
            self.assertEqual(asyncio.run(main()), 3)
            self.assertEqual(self.outcomes(), [("fetch", 3, "done")])

    def test_is_over_at_the_limit(self):
        async def main():
            self.manager.reset(2)
            with self.assertRaises(PhaseTimeout):
                await run(function)

        for run, function in self.each("cleanup"):
            asyncio.run(main())
            self.assertEqual(self.outcomes(), [("fetch", 3, "timeout")])

    def test_runs_as_other_bodies_do_where_nothing_is_left_and_time_is_counted(self):
        async def main():
            self.manager.reset(0)
            with self.assertRaises(PhaseTimeout):
                await self.manager.call_with_timeout(lambda: self.work())

        asyncio.run(main())
        self.assertEqual(self.outcomes(), [("operation", 3, "timeout")])

    def test_does_not_begin_where_nothing_is_left_and_time_is_enforced(self):
        async def main():
            manager = TimeoutManager(60, enforce=True)
            made = manager.call_with_timeout(lambda: self.work())
            manager.reset(0)
            with self.assertRaises(PhaseTimeout):
                await made  # a coroutine that nobody awaits would be a warning

        asyncio.run(main())

    def test_is_interrupted(self):
        async def main():
            return await manager.timed_operation("fetch", limit=0.05)(logged(asyncio.sleep))(60)

        manager = TimeoutManager(60, enforce=True)
        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(main())
        self.assertTrue(caught.exception.interrupted)
        self.assertEqual(len(manager.phases), 1)

    def test_an_error_before_there_is_anything_to_await_is_the_end_of_the_phase(self):
        with self.assertRaises(ZeroDivisionError):
            self.manager.call_with_timeout(lambda: 1 / 0)
        self.assertEqual(self.outcomes(), [("operation", 0, "failed")])

    def test_what_can_be_awaited_is_a_result_where_nobody_can(self):
        class Awaitable:
            def __await__(self):
                yield

        self.assertIsInstance(self.manager.call_with_timeout(Awaitable), Awaitable)
        self.assertTrue(inspect.iscoroutinefunction(self.manager.timed_operation()(self.work)))


class Generators(Case):
    def test_are_refused_with_what_to_write(self):
        def rows():
            yield

        async def pages():
            yield

        class Table:
            def __call__(self):
                yield

            def lines(self):
                yield

        for function in rows, pages, Table(), Table().lines, functools.partial(rows):
            for way in Awaited.ways(self).values():
                with self.assertRaisesRegex(TypeError, r"with manager\.timed_operation\('fetch'\):"):
                    way(function)
        self.assertEqual(self.manager.phases, ())

    def test_are_refused_where_they_come_out_of_another_function(self):
        def rows():
            yield

        async def pages():
            yield

        for function in logged(rows), logged(pages), lambda: rows():
            for way in Awaited.ways(self).values():
                with self.assertRaisesRegex(TypeError, r"with manager\.timed_operation\('fetch'\):"):
                    way(function)


if __name__ == "__main__":
    unittest.main()
