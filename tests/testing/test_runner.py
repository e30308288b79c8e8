"""Limits for unittest suites that have a runner of their own: a mixin, a runner, a decorator."""

import os
import pickle
import sys
import threading
import time
import unittest
import warnings
from importlib import import_module
from io import StringIO
from unittest.suite import TestSuite

from .. import package
from ..helpers.command import Directory


def testing():
    return import_module(f"{package.__name__}.testing")


def run(*cases, runner=None, **options):
    """Run test cases; return the result and what was printed."""
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    stream = StringIO()
    result = (runner or unittest.TextTestRunner)(stream=stream, **options).run(suite)
    return result, stream.getvalue()


class TheMixin(unittest.TestCase):
    def test_puts_limits_on_tests_and_class_fixtures_under_any_runner(self):
        log = []

        class Base(testing().TimeLimitMixin, unittest.TestCase):
            timeout = 0.1

        class Hung(Base):
            @classmethod
            def setUpClass(cls):
                cls.addClassCleanup(log.append, "class cleanup after a cleanup")
                cls.addClassCleanup(time.sleep, 60)

            @classmethod
            def tearDownClass(cls):
                time.sleep(60)

            def tearDown(self):
                log.append("tearDown")

            def test_hung(self):
                time.sleep(60)

            @unittest.expectedFailure
            def test_swallows(self):
                with self.assertRaises(OSError):
                    time.sleep(60)

            def test_longer(self):
                time.sleep(0.3)

            test_longer.timeout = 30

        result, _ = run(Hung)
        names = [str(test).split()[0] for test, _ in result.errors]
        self.assertEqual(names, ["test_hung", "test_swallows", "tearDownClass", "tearDownClass"])
        self.assertIn("Timeout exceeded after test phase!", result.errors[0][1])
        self.assertEqual(log, ["tearDown"] * 3 + ["class cleanup after a cleanup"])
        self.assertEqual((result.failures, result.expectedFailures, result.testsRun), ([], [], 3))

    def test_puts_limits_on_class_fixtures_that_a_class_inherits(self):
        log = []

        class Framework(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                log.append(f"setUpClass of {cls.__name__}")

            @classmethod
            def tearDownClass(cls):
                time.sleep(60)

        class Other(Framework):
            @classmethod
            def setUpClass(cls):
                log.append("setUpClass of Other")
                super().setUpClass()

        class Hung(testing().TimeLimitMixin, Framework):
            timeout = 0.1

            def test(self):
                pass

        class Both(Hung, Other):
            pass

        result, _ = run(Hung, Both)
        self.assertEqual([str(test).split()[0] for test, _ in result.errors], ["tearDownClass"] * 2)
        self.assertEqual(log, ["setUpClass of Hung", "setUpClass of Other", "setUpClass of Both"])

    def test_works_for_asynchronous_tests(self):
        log = []

        class Hung(testing().TimeLimitMixin, unittest.IsolatedAsyncioTestCase):
            timeout = 3  # a loop may take its time to start

            async def asyncTearDown(self):
                log.append("asyncTearDown")

            async def test_hung(self):
                from asyncio import sleep

                await sleep(60)

        result, _ = run(Hung)
        self.assertEqual((len(result.errors), log), (1, ["asyncTearDown"]), result.errors)

    def test_does_nothing_without_a_limit(self):
        class Case(testing().TimeLimitMixin, unittest.TestCase):
            def test(self):
                self.assertEqual(threading.active_count(), 1)

        self.assertTrue(run(Case)[0].wasSuccessful())


class TheRunner(unittest.TestCase):
    def test_counts_timeouts_for_themselves(self):
        class Runner(testing().TextTestRunner):
            timeout = 0.1

        class Case(unittest.TestCase):
            def test_hung(self):
                time.sleep(60)

            def test_fails(self):
                self.fail()

            def test_passes(self):
                pass

        result, printed = run(Case, runner=Runner)
        self.assertEqual(printed.rpartition("\n\n")[2], "FAILED (timeouts=1, failures=1)\n")
        self.assertTrue(printed.startswith("FT.\n"))
        self.assertEqual((len(result.timeouts), result.wasSuccessful()), (1, False))

    def test_cancels_what_ctrl_c_interrupts(self):
        import asyncio

        log = []

        def interrupt():
            raise KeyboardInterrupt

        class Case(unittest.IsolatedAsyncioTestCase):
            async def test(self):
                asyncio.get_running_loop().call_soon(interrupt)
                try:
                    await asyncio.sleep(5)
                except asyncio.CancelledError:
                    log.append("cancelled")
                    raise

        result, printed = run(Case, runner=testing().TextTestRunner)
        self.assertEqual((log, result.interrupted), (["cancelled"], True), printed)
        self.assertIn("INTERRUPTED: test (", printed)

    def test_takes_any_reason_for_a_skip(self):
        class Case(unittest.TestCase):
            def test_number(self):
                self.skipTest(42)

            @unittest.skip(ImportError("no numpy"))
            def test_error(self):
                pass

        result, printed = run(Case, runner=testing().TextTestRunner)
        self.assertEqual((len(result.skipped), result.wasSuccessful()), (2, True), printed)

    def test_keeps_a_result_class_of_others(self):
        class Result(unittest.TextTestResult):
            def addSuccess(self, test):
                super().addSuccess(test)
                self.stream.write("well done")

        class Case(unittest.TestCase):
            def test(self):
                pass

        result, printed = run(Case, runner=testing().TextTestRunner, resultclass=Result)
        self.assertIsInstance(result, Result)
        self.assertIn("well done", printed)

    def test_leaves_nothing_behind(self):
        seen = []

        class Case(unittest.TestCase):
            def setUp(self):
                seen.append(self)

            def test(self):
                seen.append(dict(vars(self)))

        class Runner(testing().TextTestRunner):
            timeout = 30

        before = dict(vars(TestSuite))
        run(Case, runner=Runner)
        self.assertEqual(dict(vars(TestSuite)), before)
        test, during = seen
        self.assertIn("_callTestMethod", during)
        self.assertFalse({"_callTestMethod", "_callSetUp", "subTest"} & set(vars(test)))
        self.assertIs(type(unittest.case._module_cleanups), list)

    def test_tests_that_a_test_runs_have_its_limit_only(self):
        class Inner(unittest.TestCase):
            timeout = 0.001

            @classmethod
            def setUpClass(cls):
                time.sleep(0.05)

            def test(self):
                time.sleep(0.05)

        class Outer(unittest.TestCase):
            def test(self):
                self.assertTrue(run(Inner)[0].wasSuccessful())

        class Runner(testing().TextTestRunner):
            timeout = 30

        result, printed = run(Outer, runner=Runner)
        self.assertTrue(result.wasSuccessful(), printed)


class Catching(unittest.TestCase):
    """As testtools has it: `run` calls everything by itself, and lets nothing out."""

    def doCleanups(self):
        while self._cleanups:
            function, arguments, _ = self._cleanups.pop()
            function(*arguments)

    def run(self, result):
        result.startTest(self)
        errors = []
        for name in "setUp", self._testMethodName, "tearDown", "doCleanups":
            try:
                getattr(self, name)()
            except BaseException as error:
                errors.append(error)
        for error in errors[:1]:
            result.addError(self, (AssertionError, AssertionError(f"made text of it: {error}"), None))
        result.stopTest(self)
        return result


class Prepared(unittest.TestCase):
    """As Django has it: `__call__` works before and after `run`."""

    def __call__(self, result=None):
        try:
            self.prepare()
        except Exception:
            result.addError(self, sys.exc_info())
            return
        super().__call__(result)
        self.clear()

    def prepare(self):
        pass

    clear = prepare


class Limited(testing().TextTestRunner):
    timeout = 0.2


class TestsWithAWayOfTheirOwn(unittest.TestCase):
    """Their classes have a `run` or a `__call__`, which knows nothing of limits."""

    def check(self, *cases, timeouts, ran, **options):
        result, printed = run(*cases, runner=options.pop("runner", Limited), **options)
        self.assertEqual([test._testMethodName for test, _ in result.timeouts], timeouts, printed)
        self.assertEqual((result.testsRun, result.errors, result.failures), (ran, [], []), printed)
        self.assertIs(result.wasSuccessful(), not timeouts)
        return result, printed

    def test_are_limited_where_run_calls_the_parts_by_itself(self):
        log = []

        class Case(Catching):
            def setUp(self):
                if "set_up" in self._testMethodName:
                    time.sleep(60)

            def tearDown(self):
                time.sleep(0.15)  # it has a limit of its own, after one that has passed
                log.append(self._testMethodName)

            def test_a_hung(self):
                time.sleep(60)

            def test_b_cleanup(self):
                self.addCleanup(time.sleep, 60)

            def test_c_set_up(self):
                pass

            def test_d_passes(self):
                pass

        _, printed = self.check(Case, timeouts=["test_a_hung", "test_b_cleanup", "test_c_set_up"], ran=4)
        self.assertEqual(log, ["test_a_hung", "test_b_cleanup", "test_c_set_up", "test_d_passes"])
        for part in "test", "call", "setUp":
            self.assertIn(f"Time ran out in {part} after ", printed)

    def test_are_limited_around_run_and_have_their_parts_within(self):
        class Case(Prepared):
            def prepare(self):
                if "before" in self._testMethodName:
                    time.sleep(60)

            def clear(self):
                if "after" in self._testMethodName:
                    time.sleep(60)

            def tearDown(self):
                time.sleep(60 if "tear_down" in self._testMethodName else 0.15)

            def test_after(self):
                pass

            def test_before(self):
                pass

            def test_longer_in_all_than_each_part_may_take(self):
                time.sleep(0.15)

            def test_tear_down(self):
                pass

        result, printed = self.check(Case, timeouts=["test_after", "test_before", "test_tear_down"], ran=4)
        parts = [told.split(" after ")[0] for _, told in result.timeouts]
        self.assertEqual(parts, [f"Time ran out in {part}" for part in ("call", "call", "tearDown")], printed)

    def test_are_limited_for_a_result_of_their_own_and_have_the_limit_in_each_attempt(self):
        attempts = []

        class Retried(unittest.TestCase):
            def run(self, result):
                for attempt in range(3):
                    attempts.append(attempt)
                    own = unittest.TestResult()
                    super().run(own)
                    if own.wasSuccessful():
                        break
                result.startTest(self)
                for _, text in own.errors:
                    result.addError(self, (AssertionError, AssertionError(text), None))
                result.stopTest(self)

            def test_a_hung(self):
                time.sleep(60)

            def test_b_passes_in_the_end(self):
                time.sleep(0.15)
                if len(attempts) % 3:
                    self.fail()

        self.check(Retried, timeouts=["test_a_hung"], ran=2)
        self.assertEqual(attempts, [0, 1, 2] * 2)

    def test_have_the_limit_each_where_one_runs_others_like_it(self):
        class Many(unittest.TestCase):
            def run(self, result):
                if hasattr(self, "number"):
                    return super().run(result)
                for number in range(4):
                    other = type(self)(self._testMethodName)
                    other.number = number
                    other.run(result)

            def test(self):
                time.sleep(60 if self.number == 2 else 0.1)

        result, printed = run(Many, runner=Limited)
        self.assertEqual([test.number for test, _ in result.timeouts], [2], printed)
        self.assertEqual(result.testsRun, 4)

    def test_need_not_be_test_cases(self):
        class Any:
            def __init__(self, seconds):
                self.seconds = seconds

            def __call__(self, result):
                result.startTest(self)
                time.sleep(self.seconds)
                result.stopTest(self)

            def id(self):
                return f"any.{self.seconds}"

            def shortDescription(self):
                return None

            def countTestCases(self):
                return 1

        stream = StringIO()
        result = Limited(stream=stream).run(unittest.TestSuite([Any(60), Any(0)]))
        self.assertEqual([test.id() for test, _ in result.timeouts], ["any.60"], stream.getvalue())
        self.assertEqual(result.testsRun, 2)
        self.assertEqual(vars(Any)["__call__"].__qualname__, Any.__call__.__qualname__)
        self.assertFalse(hasattr(Any.__call__, "__wrapped__"))

    def test_end_by_the_limit_that_their_framework_asks_for(self):
        class OfTrial(unittest.TestCase):
            def getTimeout(self):
                return 120.0

            def run(self, result):
                result.startTest(self)
                seconds = self.getTimeout()
                time.sleep(min(seconds, 1))  # a reactor
                if seconds < 1:
                    error = type("TimeoutError", (Exception,), {})(f"{self} still running at {seconds} secs")
                    result.addError(self, (type(error), error, None))
                result.stopTest(self)

            def test_hung(self):
                pass

        result, printed = self.check(OfTrial, timeouts=["test_hung"], ran=1)
        self.assertIn("Time ran out in call after 0.200 s; the limit is 0.200 s.", printed)

    def test_have_limits_by_the_mixin(self):
        for base in Catching, Prepared, unittest.TestCase:

            class Case(testing().TimeLimitMixin, base):
                timeout = 0.2

                def test_hung(self):
                    time.sleep(60)

            result, _ = run(Case)
            self.assertEqual([test._testMethodName for test, _ in result.errors], ["test_hung"])
            self.check(Case, timeouts=["test_hung"], ran=1, runner=testing().TextTestRunner)

        with self.assertRaisesRegex(TimeoutError, "after test phase"):
            Case("test_hung").debug()

        class HungBefore(testing().TimeLimitMixin, Prepared):
            timeout = 0.2

            def prepare(self):
                time.sleep(60)

            def test(self):
                pass

        self.assertEqual(len(run(HungBefore)[0].errors), 1)


class SuitesThatRunTestsThemselves(unittest.TestCase):
    """Their tests run elsewhere than in the thread of the runner, for results that are not its own."""

    class Hung(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            pass

        def test_hung(self):
            for _ in range(6000):  # in a thread it is interrupted between two calls
                time.sleep(0.01)

        def test_passes(self):
            pass

    def events(self, tests):
        """Run tests for a result of its own; return the errors in a form that can be sent."""
        result = unittest.TestResult()
        errors = []
        result.addError = lambda test, error: errors.append((test.id(), pickle.dumps(error[1])))
        unittest.TestSuite(tests).run(result)
        return errors

    def tell(self, result, tests, errors):
        for test in tests:
            result.startTest(test)
            for name, error in errors:
                if name == test.id():
                    error = pickle.loads(error)
                    result.addError(test, (type(error), error, None))
            result.stopTest(test)

    def check(self, suite):
        stream = StringIO()
        result = Limited(stream=stream).run(suite)
        self.assertEqual([test._testMethodName for test, _ in result.timeouts], ["test_hung"], stream.getvalue())
        self.assertEqual((result.testsRun, result.errors), (2, []), stream.getvalue())
        self.assertIn("Time ran out in test after ", stream.getvalue())

    def test_in_threads(self):
        outer = self

        class InThread(unittest.TestSuite):
            def run(self, result, debug=False):
                found = []
                thread = threading.Thread(target=lambda: found.extend(outer.events(self)))
                thread.start()
                thread.join(60)
                outer.tell(result, list(self), found)
                return result

        self.check(InThread(map(self.Hung, ("test_hung", "test_passes"))))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_in_forked_workers(self):
        outer = self

        class Forked(unittest.TestSuite):
            def run(self, result, debug=False):
                outer.tell(result, list(self), outer.forked(lambda: outer.events(self)))
                return result

        self.check(Forked(map(self.Hung, ("test_hung", "test_passes"))))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_in_what_a_test_forks(self):
        outer, log = self, []

        class Case(testing().TimeLimitMixin, unittest.TestCase):
            timeout = 0.2

            def test_mixin(self):
                time.sleep(60)

            @testing().time_limit(0.1)
            def test_decorator(self):
                time.sleep(60)

        class Outer(unittest.TestCase):
            timeout = 60

            def test(self):
                tests = [*map(Case, ("test_mixin", "test_decorator")), outer.Hung("test_hung")]
                log.extend(outer.forked(lambda: outer.events(tests)))

        result, printed = run(Outer, runner=Limited)
        self.assertTrue(result.wasSuccessful(), printed)
        self.assertEqual([name.rpartition(".")[2] for name, _ in log], ["test_mixin", "test_decorator", "test_hung"])

    def forked(self, function):
        """Return what the function returns in a forked child."""
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there is a thread, the watchdog
            child = os.fork()
        if not child:
            try:
                os.write(write, pickle.dumps(function()))
            finally:
                os._exit(0)
        os.close(write)
        with open(read, "rb") as file:
            data = file.read()
        os.waitpid(child, 0)
        return pickle.loads(data)


class AnEntry(unittest.TestCase):
    def test_can_be_read_while_another_thread_adds_to_it(self):
        entry = import_module(f"{package.__name__}.testing.case").Entry("test", "name")

        class Group:
            @property
            def parts(self):
                entry.groups[len(entry.groups)] = Group()
                return ["part"]

        entry.groups[0] = Group()
        self.assertEqual(entry.parts, ["part"])


class TheDecorator(unittest.TestCase):
    def test_gives_one_test_a_limit_under_any_runner(self):
        class Case(unittest.TestCase):
            @testing().time_limit(0.1)
            def test_hung(self):
                try:
                    time.sleep(60)
                except Exception:
                    pass

            def test_passes(self):
                pass

            @unittest.expectedFailure
            @testing().time_limit(0.1)
            def test_expected(self):
                time.sleep(60)

        result, _ = run(Case)
        self.assertEqual([test._testMethodName for test, _ in result.errors], ["test_expected", "test_hung"])
        result, _ = run(Case, runner=testing().TextTestRunner)
        self.assertEqual([test._testMethodName for test, _ in result.timeouts], ["test_expected", "test_hung"])

    def test_ends_a_test_amid_its_sub_tests(self):
        import asyncio

        log = []

        class Case(unittest.TestCase):
            @testing().time_limit(0.1)
            def test_hung(self):
                for i in range(3):
                    with self.subTest(i=i):
                        log.append(i)
                        time.sleep(60)

            def tearDown(self):
                log.append("subTest" in vars(self))

        class Async(unittest.IsolatedAsyncioTestCase):
            @testing().time_limit(0.1)
            async def test_hung(self):
                for i in range(3):
                    with self.subTest(i=i):
                        log.append(i)
                        await asyncio.sleep(60)

        result, _ = run(Case, Async)
        self.assertEqual((log, result.wasSuccessful()), ([0, False, 0], False))

    def test_interrupts_an_asynchronous_test(self):
        import asyncio

        class Case(unittest.IsolatedAsyncioTestCase):
            @unittest.expectedFailure
            @testing().time_limit(0.1)
            async def test_hung(self):
                await asyncio.sleep(60)

            @unittest.expectedFailure
            @testing().time_limit(30)
            async def test_fails(self):
                self.fail()

        result, _ = run(Case)
        self.assertEqual([test._testMethodName for test, _ in result.errors], ["test_hung"])
        self.assertEqual([test._testMethodName for test, _ in result.expectedFailures], ["test_fails"])

    def test_says_what_it_does_not_take(self):
        with self.assertRaisesRegex(TypeError, "in the class Case, write `timeout"):
            testing().time_limit(3)(type("Case", (), {}))
        for kind in classmethod, staticmethod:
            with self.assertRaisesRegex(TypeError, f"time_limit goes below @{kind.__name__}"):
                testing().time_limit(3)(kind(len))
        with self.assertRaisesRegex(ValueError, "time_limit must not be negative, but is -3"):
            testing().time_limit(-3)
        with self.assertRaisesRegex(ValueError, "nan"):
            testing().time_limit(float("nan"))


class InMain(Directory):
    def test_two_lines_are_enough(self):
        self.write(
            test_main=f"""
            import time, unittest
            from {package.__name__}.testing import TextTestRunner
            class Case(unittest.TestCase):
                timeout = 0.1
                def test(self): time.sleep(60)
            unittest.main(testRunner=TextTestRunner)
            """
        )
        ran = self.end(self.start(module="test_main"))
        self.assertEqual((ran.status, ran.last), (1, "FAILED (timeouts=1)"))


if __name__ == "__main__":
    unittest.main()
