"""Test cases and suites with a way of their own to run tests are limited, too."""

import os
import pickle
import sys
import threading
import time
import unittest
import warnings
from importlib import import_module
from io import StringIO
from unittest import mock

from .. import package
from ..helpers.enforced import spin
from ..helpers.suites import run, testing
from ..helpers.together import Together


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
    timeout = 0.8


class TestsWithAWayOfTheirOwn(Together, unittest.TestCase):
    """Their classes have a `run` or a `__call__`, which knows nothing of limits."""

    def check(self, *cases, timeouts, ran, **options):
        result, printed = run(*cases, runner=options.pop("runner", Limited), **options)
        self.assertEqual([test._testMethodName for test, _ in result.timeouts], timeouts, printed)
        self.assertEqual((result.testsRun, result.errors, result.failures), (ran, result.timeouts, []), printed)
        self.assertIs(result.wasSuccessful(), not timeouts)
        return result, printed

    def test_are_limited_where_cleanups_are_done_by_the_class(self):
        class Case(unittest.TestCase):
            def doCleanups(self):
                time.sleep(60)

            def test(self):
                pass

        self.check(Case, timeouts=["test"], ran=1)

    def test_are_limited_where_run_calls_the_parts_by_itself(self):
        log = []

        class Case(Catching):
            def setUp(self):
                if "set_up" in self._testMethodName:
                    time.sleep(60)

            def tearDown(self):
                time.sleep(0.02)  # it has a limit of its own, after one that has passed
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
                time.sleep(60 if "tear_down" in self._testMethodName else 0.5)

            def test_after(self):
                pass

            def test_before(self):
                pass

            def test_longer_in_all_than_each_part_may_take(self):
                time.sleep(0.5)

            def test_tear_down(self):
                pass

        result, printed = self.check(Case, timeouts=["test_after", "test_before", "test_tear_down"], ran=4)
        parts = [told.split(" after ")[0] for _, told in result.timeouts]
        self.assertEqual(parts, [f"Time ran out in {part}" for part in ("call", "call", "tearDown")], printed)

    def test_are_told_of_once_also_if_telling_takes_its_time(self):
        class Stream(StringIO):
            def write(self, text):
                time.sleep(0.6 if text == "T" else 0)
                return super().write(text)

        class Own(unittest.TestCase):
            timeout = 0.1

            def run(self, result=None):
                return super().run(result)

            def test_hung(self):
                time.sleep(60)

        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Own)
        result = testing().TextTestRunner(stream=Stream()).run(suite)
        self.assertEqual((len(result.timeouts), result.errors), (1, result.timeouts))

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
                time.sleep(0.3)  # more than the limit in all
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
                time.sleep(60 if self.number == 2 else 0.3)

        result, printed = run(Many, runner=Limited)
        self.assertEqual([test.number for test, _ in result.timeouts], [2], printed)
        self.assertEqual(result.testsRun, 4)

    @unittest.skipUnless(sys.implementation.name == "cpython", "nothing interrupts another thread")
    def test_end_where_run_calls_the_inherited_one_in_another_thread(self):
        go_on, threads = threading.Event(), []

        class Threaded(unittest.TestCase):
            def run(self, result):
                thread = threading.Thread(target=super().run, args=(result,), daemon=True)
                threads.append(thread)
                thread.start()
                thread.join()
                return result

            def test_a_blocked(self):
                go_on.wait(60)

            def test_b_loops(self):
                spin()

            def test_c_passes(self):
                go_on.set()
                threads[0].join(60)  # what it tells now is of no interest any more

        result, printed = run(Threaded, runner=Limited)
        self.assertEqual([test._testMethodName for test, _ in result.timeouts], ["test_a_blocked", "test_b_loops"])
        self.assertEqual((result.testsRun, result.errors, result.failures), (3, result.timeouts, []), printed)
        if getattr(sys, "_is_gil_enabled", lambda: True)():  # else only the innermost line of another thread is shown
            self.assertIn("in test_a_blocked\n    go_on.wait(60)", printed)

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
                return getattr(self, "timeout", 120.0)

            def run(self, result):
                result.startTest(self)
                seconds = self.getTimeout()
                time.sleep(min(seconds, 1))  # a reactor
                error = type("TimeoutError", (Exception,), {})(f"{self} still running at {seconds} secs")
                if "swallows" in self._testMethodName:
                    result.addSuccess(self)
                else:
                    result.addError(self, (type(error), error, None))
                result.stopTest(self)

            def test_hung(self):
                pass

            def test_swallows(self):
                pass

        result, printed = self.check(OfTrial, timeouts=["test_hung", "test_swallows"], ran=2)
        told = "Time ran out in call after 0.800 s; the limit is 0.800 s (timeout of the runner).\n\n"
        self.assertIn(f"{told}test_hung (", printed)
        self.assertIn(f"{told}Its framework ended the wait; the test swallowed that.\n", printed)

        class WithALimitOfItsOwn(OfTrial):
            timeout = 0.5

        self.check(WithALimitOfItsOwn, timeouts=["test_hung", "test_swallows"], ran=2)
        with mock.patch.dict("os.environ", {"TIMEOUT_MANAGER_SCALE": "1.2"}):
            self.check(WithALimitOfItsOwn, timeouts=["test_hung", "test_swallows"], ran=2)

    def test_are_not_those_with_the_mixin(self):
        """It is known for ours by its module, also in a copy whose place has "case" in its name."""

        class Case(testing().TimeLimitMixin, unittest.TestCase):
            pass

        case = import_module(f"{package.__name__}.testing.case")
        self.assertEqual((case.ways(Case), case.ways(Catching)), (set(), {"run", "doCleanups"}))

    def test_have_limits_by_the_mixin(self):
        for base in Catching, Prepared, unittest.TestCase:

            class Case(testing().TimeLimitMixin, base):
                timeout = 0.5

                def test_hung(self):
                    time.sleep(60)

            result, _ = run(Case)
            self.assertEqual([test._testMethodName for test, _ in result.errors], ["test_hung"])
            self.check(Case, timeouts=["test_hung"], ran=1, runner=testing().TextTestRunner)

        with self.assertRaisesRegex(TimeoutError, "after test phase"):
            Case("test_hung").debug()

        class HungBefore(testing().TimeLimitMixin, Prepared):
            timeout = 0.5

            def prepare(self):
                time.sleep(60)

            def test(self):
                pass

        self.assertEqual(len(run(HungBefore)[0].errors), 1)


class SuitesThatRunTestsThemselves(Together, unittest.TestCase):
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
        self.assertEqual((result.testsRun, result.errors), (2, result.timeouts), stream.getvalue())
        self.assertIn("Time ran out in test after ", stream.getvalue())

    @unittest.skipUnless(sys.implementation.name == "cpython", "nothing interrupts another thread")
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
            timeout = 0.5

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


if __name__ == "__main__":
    unittest.main()
