"""A manager handed to functions and tests of every kind."""

import asyncio
import contextlib
import functools
import gc
import inspect
import sys
import time
import unittest
import weakref

from . import package, typed
from .helpers.enforced import MARGIN

TimeoutManager = package.TimeoutManager
with_timeout_management = package.with_timeout_management


def names(function):
    return list(inspect.signature(function).parameters)


class TheLimit(unittest.TestCase):
    def test_is_the_marker_where_the_function_takes_it(self):
        @with_timeout_management
        def test(root, timeout_from_marker, timeout_manager):
            return root, timeout_from_marker, timeout_manager.initial_timeout

        self.assertEqual(test("r", timeout_from_marker=9), ("r", 9, 9))
        self.assertEqual(test("r", 9), ("r", 9, 9))
        self.assertEqual(test("r", timeout_from_marker=None), ("r", None, None))
        self.assertEqual(names(test), ["root", "timeout_from_marker"])

    def test_is_the_marker_where_the_function_lacks_it(self):
        @with_timeout_management
        def test(root, timeout_manager, **more):
            return root, timeout_manager.initial_timeout, more

        self.assertEqual(test("r", timeout_from_marker=9, a=1), ("r", 9, {"a": 1}))
        self.assertEqual(names(test), ["root", "timeout_from_marker", "more"])
        self.assertIs(inspect.signature(test).parameters["timeout_from_marker"].default, inspect.Parameter.empty)

    def test_is_the_argument_of_the_decorator(self):
        @with_timeout_management(timeout=30)
        def test(root, timeout_manager):
            return timeout_manager.initial_timeout

        self.assertEqual((test("r"), names(test)), (30, ["root"]))

        @with_timeout_management(timeout=30)
        def both(timeout_from_marker, timeout_manager):
            return timeout_manager.initial_timeout

        self.assertEqual((both(5), both(None)), (5, 30))

    def test_is_that_of_a_manager_which_the_caller_passes(self):
        @with_timeout_management(timeout=30)
        def test(timeout_manager):
            return timeout_manager

        own = TimeoutManager(1)
        self.assertIs(test(timeout_manager=own), own)
        self.assertIs(test(own), own)
        self.assertEqual(test(timeout_manager=None).initial_timeout, 30)
        self.assertEqual(test(None).initial_timeout, 30)

    def test_is_handed_over_where_the_function_has_no_name_for_it_outside(self):
        @with_timeout_management(timeout=30)
        def test(root, timeout_manager=None, /, *more, **options):
            return root, timeout_manager.initial_timeout, more, options

        own = TimeoutManager(1)
        self.assertEqual(test("r"), ("r", 30, (), {}))
        self.assertEqual(test("r", None, 2, a=3), ("r", 30, (2,), {"a": 3}))
        self.assertEqual(test("r", own, 2), ("r", 1, (2,), {}))

    def test_is_none_without_any(self):
        @with_timeout_management
        def test(timeout_manager):
            return timeout_manager.initial_timeout

        self.assertIsNone(test())

    def test_options_go_to_the_manager(self):
        @with_timeout_management(timeout=30, clock=lambda: 5.0)
        def test(timeout_manager):
            with timeout_manager.timed_operation() as phase:
                pass
            return phase.elapsed()

        self.assertEqual(test(), 0)

    def test_each_call_has_a_manager_of_its_own(self):
        @with_timeout_management(timeout=30)
        def test(timeout_manager):
            return timeout_manager

        self.assertIsNot(test(), test())


class UnderUnittest(unittest.TestCase):
    def test_the_attribute_of_the_test_case_comes_after_the_argument(self):
        class Case(unittest.TestCase):
            timeout = 12

            @with_timeout_management
            def test_attribute(self, timeout_manager):
                return timeout_manager.initial_timeout

            @with_timeout_management(timeout=30)
            def test_argument(self, timeout_manager):
                return timeout_manager.initial_timeout

        self.assertEqual((Case("test_attribute").test_attribute(), Case("test_argument").test_argument()), (12, 30))


class Kinds(unittest.TestCase):
    def test_a_coroutine_function_stays_one(self):
        @with_timeout_management(timeout=30)
        async def test(timeout_manager):
            return timeout_manager.initial_timeout

        self.assertTrue(inspect.iscoroutinefunction(test))
        self.assertEqual(asyncio.run(test()), 30)

    def test_a_generator_function_stays_one(self):
        @with_timeout_management(timeout=30)
        def test(timeout_manager):
            sent = yield timeout_manager.initial_timeout
            return sent

        self.assertTrue(inspect.isgeneratorfunction(test))
        generator = test()
        self.assertEqual(next(generator), 30)
        with self.assertRaises(StopIteration) as caught:
            generator.send("x")
        self.assertEqual(caught.exception.value, "x")

    def test_an_asynchronous_generator_function_stays_one(self):
        @with_timeout_management(timeout=30)
        async def test(timeout_manager):
            yield timeout_manager.initial_timeout

        async def collect():
            return [item async for item in test()]

        self.assertTrue(inspect.isasyncgenfunction(test))
        self.assertEqual(asyncio.run(collect()), [30])

    def test_an_asynchronous_generator_gets_what_is_sent_and_thrown(self):
        got = []
        handled = sys.exc_info()[1]  # PyPy may still hold what a test before was interrupted by

        @with_timeout_management(timeout=30)
        async def test(timeout_manager):
            try:
                got.append((yield 1))
                yield 2
            except KeyError as error:
                got.append(error)
            got.append(sys.exc_info()[1])
            try:
                yield 3
            finally:
                got.append(sys.exc_info()[0])

        async def use():
            generator, error = test(), KeyError("x")
            items = [await generator.__anext__(), await generator.asend("sent"), await generator.athrow(error)]
            await generator.aclose()
            self.assertEqual((items, got), ([1, 2, 3], ["sent", error, handled, GeneratorExit]))

        asyncio.run(use())

    def test_an_asynchronous_context_manager_sees_the_error_of_its_block(self):
        @contextlib.asynccontextmanager
        @with_timeout_management(timeout=30)
        async def test(handled, timeout_manager):
            try:
                yield timeout_manager.initial_timeout
            except handled:
                pass

        async def use(error, handled):
            async with test(handled) as limit:
                self.assertEqual(limit, 30)
                raise error

        for error in ValueError("x"), StopAsyncIteration("x"), asyncio.CancelledError():
            asyncio.run(use(error, type(error)))
            with self.assertRaises(type(error)) as caught:
                asyncio.run(use(error, KeyError))
            if not isinstance(error, asyncio.CancelledError):  # asyncio.run makes it anew
                self.assertIs(caught.exception, error)

    @unittest.skipUnless(sys.implementation.name == "cpython", "objects do not go at once")
    def test_an_error_that_is_thrown_into_an_asynchronous_generator_goes_with_it(self):
        class Error(Exception):
            pass

        @with_timeout_management(timeout=30)
        async def test(timeout_manager):
            yield 1

        async def throw():
            generator, error = test(), Error()
            gone = weakref.ref(error)
            await generator.__anext__()
            with contextlib.suppress(Error):
                await generator.athrow(error)
            del generator, error
            return gone

        gc.disable()
        self.addCleanup(gc.enable)
        gone, end = asyncio.run(throw()), time.monotonic() + MARGIN
        while gone() is not None and time.monotonic() < end:  # the watchdog, if it runs, may look at the frames
            time.sleep(0.01)
        self.assertIsNone(gone())

    def test_a_method(self):
        class Suite:
            @with_timeout_management(timeout=30)
            def check(self, timeout_manager):
                return self, timeout_manager.initial_timeout

        suite = Suite()
        self.assertEqual(suite.check(), (suite, 30))

    def test_what_cannot_be_decorated(self):
        with self.assertRaisesRegex(TypeError, "timeout_manager"):
            with_timeout_management(lambda root: None)
        with self.assertRaisesRegex(TypeError, "timeout=30"):
            with_timeout_management(30)

    def test_what_cannot_be_decorated_is_named_with_the_decorator(self):
        def test(timeout_manager):
            pass

        for wrong, told in (
            (functools.partial(print, "all"), "partial"),
            (functools.partial(test, timeout_manager=1, no=3), "partial"),
            (functools.partial(int), "partial"),
            (classmethod(test), "below @classmethod"),
            (staticmethod(test), "below @staticmethod"),
            (property(test), "property"),
            (type, "type"),
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex(TypeError, "(?s)with_timeout_management.*" + told):
                with_timeout_management(timeout=5)(wrong)

    def test_a_partial_of_a_function_that_takes_it(self):
        def test(root, timeout_manager):
            return root, timeout_manager.initial_timeout

        self.assertEqual(with_timeout_management(timeout=5)(functools.partial(test, "all"))(), ("all", 5))


class Types(unittest.TestCase):
    def test_calls_that_a_type_checker_accepts(self):
        self.assertEqual(asyncio.run(typed.main()), [1, 2, 1, 4])


class Create(unittest.TestCase):
    def test_create_timeout_manager(self):
        self.assertIsNone(package.create_timeout_manager().initial_timeout)
        self.assertEqual(package.create_timeout_manager(9).initial_timeout, 9)
        self.assertEqual(package.create_timeout_manager(timeout_from_marker=9).initial_timeout, 9)


if __name__ == "__main__":
    unittest.main()
