"""Limits for unittest suites that have a runner of their own: a mixin, a runner, a decorator."""

import io
import os
import threading
import time
import unittest
from importlib import import_module
from unittest import mock
from unittest.suite import TestSuite

from .. import package
from ..helpers.command import Directory
from ..helpers.enforced import is_watched, unwatched
from ..helpers.suites import run, testing
from ..helpers.together import Together


class TheMixin(Together, unittest.TestCase):
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
        self.assertEqual([test.id().split(".")[-1] for test, _ in result.errors], ["test_hung"])  # Django adds these up

    def test_only_counts_where_the_environment_says_so(self):
        class Runner(testing().TextTestRunner):
            timeout = 0.1

        class Case(unittest.TestCase):
            def test_is_late(self):
                time.sleep(0.2)
                self.came_to_its_end = True

            def tearDown(self):
                self.assertTrue(self.came_to_its_end)

        with mock.patch.dict(os.environ, TIMEOUT_MANAGER_ENFORCE="off"):
            result, printed = run(Case, runner=Runner)
        self.assertIn("nothing interrupted it; the limit is 0.100 s", printed)
        self.assertEqual((result.timeouts, result.failures), (result.errors, []), printed)

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
        self.assertEqual((log, result.interrupted, len(result.errors)), (["cancelled"], True, 1), printed)
        self.assertIn("INTERRUPTED: test (", printed)

    def test_counts_ctrl_c_between_two_tests_as_an_error(self):
        class Suite(unittest.TestSuite):
            def run(self, result, debug=False):
                raise KeyboardInterrupt

        result = testing().TextTestRunner(stream=io.StringIO()).run(Suite())
        self.assertEqual([str(test) for test, _ in result.errors], ["the run"])

    @unwatched
    def test_arms_nothing_before_the_first_limit(self):
        armed = []

        class Case(unittest.TestCase):
            def test_1(self):
                armed.append(is_watched())

            def test_2(self):
                armed.append(is_watched())

            test_2.timeout = 60

        run(Case, runner=testing().TextTestRunner)
        self.assertEqual(armed, [False, package.TimeoutManager(enforce=True).enforcement != "none"])

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

    def test_tells_of_timeouts_where_a_result_class_knows_more_of_each_error(self):
        class Result(unittest.TextTestResult):
            def addError(self, test, err):
                self.errors.append((test, self._exc_info_to_string(err, test), "SELECT 1"))

            def printErrorList(self, flavour, errors):
                for test, text, more in errors:
                    self.stream.writeln(f"{flavour}: {test} {more}")

        class Case(unittest.TestCase):
            timeout = 0.3

            def test_hung(self):
                time.sleep(60)

            def test_wrong(self):
                raise KeyError("wrong")

        result, printed = run(Case, runner=testing().TextTestRunner, resultclass=Result)
        self.assertIn("TIMEOUT: test_hung", printed)
        self.assertRegex(printed, "ERROR: test_wrong .* SELECT 1")
        self.assertIn("FAILED (timeouts=1, errors=1)", printed)

    def test_gives_what_runs_between_tests_as_long_as_a_test_and_five_seconds_at_least(self):
        limits = import_module(f"{package.__name__}.testing.limits")
        none, long, brief = (limits.Limit(seconds, "--timeout") for seconds in (None, 60, 0.5))
        self.assertEqual(limits.Limits(none).between()[0], None)
        self.assertEqual(limits.Limits(long).between(), (60.0, "--timeout"))
        self.assertEqual(limits.Limits(brief).between(), (5.0, "the least for that"))
        seconds, source = limits.Limits(none, total=limits.Limit(50, "--total")).between()
        self.assertTrue(5 < seconds <= 50, seconds)
        self.assertEqual(source, "what is left of --total 50.00 s")

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
                self.assertTrue(run(Inner, runner=unittest.TextTestRunner)[0].wasSuccessful())

        class Runner(testing().TextTestRunner):
            timeout = 30

        result, printed = run(Outer, runner=Runner)
        self.assertTrue(result.wasSuccessful(), printed)


class AnEntry(unittest.TestCase):
    def test_can_be_read_while_another_thread_adds_to_it(self):
        entry = import_module(f"{package.__name__}.testing.entry").Entry("test", "name")

        class Group:
            @property
            def parts(self):
                entry.groups.append(Group())
                return ["part"]

        entry.groups.append(Group())
        self.assertEqual(entry.parts, ["part"])

    def test_tells_of_no_part_that_ctrl_c_has_kept_from_beginning(self):
        limits, entry, data_of = (
            getattr(import_module(f"{package.__name__}.testing.{module}"), name)
            for module, name in (("limits", "Limits"), ("entry", "Entry"), ("report_files", "data_of"))
        )
        part = import_module(f"{package.__name__}.testing.part")

        class Listener(mock.Mock):
            def entered(self, group):
                raise KeyboardInterrupt

        of_run, told = limits(), entry("test", "name")
        of_run.listener = Listener()
        told.groups.append(part.Group(of_run, "name", of_run.timeout))
        with self.assertRaises(KeyboardInterrupt):
            told.groups[0].call("setUp", self.fail)
        self.assertEqual(data_of(told, 0.0)["phases"], [])
        of_run.listener.left.assert_called_once_with(told.groups[0])


class TheDecorator(Together, unittest.TestCase):
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
