"""Suites that unittest would not run as it runs others: with ways of their own, and errors that end the process."""

import os
import subprocess
import unittest
from importlib import import_module
from types import SimpleNamespace

from .. import package
from ..helpers.child import PYTHON, ROOT, environment
from ..helpers.isolated import LINUX, OF_FORKS, PASSES, Isolated


class OfForks(Isolated):
    code = OF_FORKS

    def check(self, ran, outcomes, not_run=(), status=None):
        tests = {name: outcome for name, outcome in ran.outcomes.items() if not name.startswith("test_suite")}
        self.assertEqual(tests, outcomes, ran.stderr)
        self.assertEqual([name.rpartition(".")[2] for name in ran.report["not run"]], list(not_run))
        self.assertEqual(ran.status, int("crash" in outcomes.values()) if status is None else status)


class AnErrorThatEndsTheProcess(OfForks):
    def test_ends_no_other_class(self):
        self.write(test_suite_a="""
            import asyncio, sys, unittest
            class A(unittest.TestCase):
                @classmethod
                def setUpClass(cls): sys.exit(3)
                def test_a1(self): pass
                def test_a2(self): pass
            class B(unittest.TestCase):
                @classmethod
                def tearDownClass(cls): raise asyncio.CancelledError("oh")
                def test_b(self): pass
            class C(unittest.TestCase):
                def run(self, result):
                    result.startTest(self)
                    raise ValueError("of its own way")
                def test_c(self): pass
            class D(unittest.TestCase):
                def test_d(self): pass
        """, test_suite_b="    def setUpModule(): raise SystemExit\n" + PASSES)
        ends = {"setUpClass (test_suite_a.A)": "crash", "tearDownClass (test_suite_a.B)": "crash"}
        outcomes = {**ends, "setUpModule (test_suite_b)": "crash", "test_b": "passed", "test_c": "crash"}
        for ran in self.with_each("-v", "test_suite_a", "test_suite_b"):
            self.check(ran, {**outcomes, "test_d": "passed"}, ["test_a1", "test_a2", "test"])
            self.assertIn("The process ended: exit status 3.\n\nTraceback (most recent call last):\n  File", ran.stderr)
            self.assertIn("\n2 tests did not run, because setUpClass (test_suite_a.A) crashed:\n", ran.stderr)
            for error in "SystemExit: 3", "CancelledError: oh", "ValueError: of its own way":
                self.assertEqual(ran.stderr.count(f"{error}\n"), 1)
            self.assertNotIn("unittest/suite.py", ran.stderr)

    def test_is_told_of_later_where_it_does_not_end_it(self):
        self.write(test_suite="""
            import sys, unittest
            class A(unittest.TestCase):
                @classmethod
                def setUpClass(cls): sys.exit(3)
                def test_a(self): pass
            class B(unittest.TestCase):
                def test_b(self): pass
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    for each in self._tests:
                        try: each(result)
                        except SystemExit: pass
                    return result
            def load_tests(loader, tests, pattern):
                return Suite([unittest.TestSuite([A("test_a")]), unittest.TestSuite([B("test_b")])])
        """)
        for ran in self.with_each("test_suite"):
            self.check(ran, {"setUpClass (test_suite.A)": "error", "test_b": "passed"})


class ASuite(OfForks):
    CASE = """
        import os, sys, threading, time, unittest
        class Case(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): pass
            def test_3(self): os._exit(1)
            def test_4(self): pass
            def test_5(self): pass
        class Skipped(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise unittest.SkipTest("for a reason")
            def test_6(self): pass
        NAMES = [f"test_{number}" for number in range(1, 6)]
    """

    def test_that_runs_its_tests_in_another_order_loses_none_after_a_crash(self):
        self.write(test_suite=self.CASE + """
        class Suite(unittest.TestSuite):
            def run(self, result, debug=False):
                self._tests.reverse()
                return super().run(result, debug)
        def load_tests(loader, tests, pattern):
            return Suite([*map(Case, NAMES), Skipped("test_6")])
        """)
        skipped = {"setUpClass (test_suite.Skipped)": "skipped"}
        outcomes = {**skipped, **dict.fromkeys(("test_1", "test_2", "test_4", "test_5"), "passed"), "test_3": "crash"}
        for ran in self.with_each("test_suite"):
            self.check(ran, outcomes)
            self.assertIn("FAILED (crashes=1, skipped=1)", ran.stderr)

    def test_that_makes_its_tests_when_it_runs_runs_each_once(self):
        self.write(test_suite=self.CASE + """
        class Suite(unittest.TestSuite):
            _cleanup = False
            def __iter__(self): return iter([*map(Case, NAMES)])
        def load_tests(loader, tests, pattern): return Suite()
        """)
        outcomes = {**dict.fromkeys(("test_1", "test_2", "test_4", "test_5"), "passed"), "test_3": "crash"}
        for ran in self.with_each("-v", "test_suite"):
            self.check(ran, outcomes)
            self.assertRegex(ran.stderr, "\nRan 5 tests in")

    def test_that_runs_its_tests_in_threads_names_those_that_a_crash_has_cut_off(self):
        self.write(test_suite="""
        import os, threading, unittest
        begun, ended = threading.Event(), threading.Event()
        class Case(unittest.TestCase):
            def test_1(self):
                begun.set()
                threading.Event().wait(60)
            def test_2(self):
                begun.wait(60)
                ended.wait(60)
                os._exit(1)
            def test_3(self): begun.wait(60)
        class Suite(unittest.TestSuite):
            def run(self, result, debug=False):
                def run(test):
                    test(result)
                    ended.set()
                threads = []
                for test in self:
                    threads.append(threading.Thread(target=run, args=(test,)))
                    threads[-1].start()
                    begun.wait(60)
                for thread in threads: thread.join(60)
        def load_tests(loader, tests, pattern): return Suite(map(Case, ["test_1", "test_2", "test_3"]))
        """)
        for ran in self.with_each("test_suite"):
            self.check(ran, {"test_2": "crash", "test_3": "passed"}, ["test_1"])
            self.assertIn("1 test did not run, because another test that ran beside it ended their proc", ran.stderr)

    def test_that_runs_its_tests_in_threads_is_told_of_each_failure_once(self):
        self.write(test_suite="""
            import sys, unittest
            from concurrent.futures import ThreadPoolExecutor
            sys.setswitchinterval(1e-5)
            class Case(unittest.TestCase):
                def tearDown(self): pass
                def test(self): self.fail("x")
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    with ThreadPoolExecutor(8) as pool: list(pool.map(lambda test: test(result), list(self)))
                    return result
            def load_tests(loader, tests, pattern): return Suite(Case("test") for _ in range(200))
        """)
        for ran in self.with_each("--timeout", "60", "test_suite"):
            self.assertEqual(ran.last, "FAILED (failures=200)")

    def test_with_classes_of_one_name_sets_each_up_for_itself(self):
        self.write(test_suite="""
        import os, unittest
        def case(number):
            class Case(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    if number == 1: raise unittest.SkipTest("for a reason")
                    if number == 3: os._exit(1)
                def test(self):
                    print("ran", number, flush=True)
                    if number == 2: os._exit(1)
            return Case
        def load_tests(loader, tests, pattern): return unittest.TestSuite(case(each)("test") for each in range(1, 6))
        """)
        for ran in self.with_each("test_suite"):
            self.assertEqual(ran.stdout, "ran 2\nran 4\nran 5\n", ran.stderr)
            self.assertEqual(ran.last, "FAILED (crashes=2, skipped=1)")

    def test_for_which_no_worker_can_be_started_any_more_is_told_of(self):
        more = "return super()._execute_child(args"
        self.code = OF_FORKS.replace(more, f"raise OSError(24, 'too many')\n            {more}")
        self.write(test_suite="""
        import os, unittest
        class Case(unittest.TestCase):
            def test_1(self): os._exit(1)
            test_2 = test_3 = test_4 = test_5 = test_1
        """)
        ran = self.isolated("test_suite")
        self.check(ran, dict.fromkeys(("test_1", "test_2", "test_3", "test_4"), "crash"), ["test_5"])
        self.assertIn("1 test did not run, because no worker can be started: [Errno 24] too many:\n", ran.stderr)

    def test_that_runs_copies_of_its_tests_runs_each_once(self):
        self.write(test_suite=self.CASE + """
        import copy
        class Suite(unittest.TestSuite):
            def run(self, result, debug=False):
                for test in self: copy.copy(test)(result)
                return result
        def load_tests(loader, tests, pattern): return Suite([*map(Case, NAMES)])
        """)
        outcomes = {**dict.fromkeys(("test_1", "test_2", "test_4", "test_5"), "passed"), "test_3": "crash"}
        for ran in self.with_each("test_suite"):
            self.check(ran, outcomes)
            self.assertRegex(ran.stderr, "\nRan 5 tests in")

    def test_whose_tests_run_copies_of_themselves_loses_none_of_one_name(self):
        self.write(test_suite="""
            import copy, os, unittest
            class Case(unittest.TestCase):
                is_copy = False
                def run(self, result=None):
                    if self.is_copy: return super().run(result)
                    other = copy.copy(self)
                    other.is_copy = True
                    return other.run(result)
                def test_1(self): print("one")
                def test_2(self): os._exit(1)
        """)
        names = [f"test_suite.Case.test_{number}" for number in (1, 2, 1)]
        for ran in self.with_each(*names):
            self.assertEqual(ran.stdout, "one\none\n")
            self.assertRegex(ran.stderr, "\nRan 3 tests in")

    def test_that_tells_of_a_test_without_running_it_tells_once(self):
        self.write(test_suite=self.CASE + """
        class Suite(unittest.TestSuite):
            def run(self, result, debug=False):
                for test in self:
                    if test._testMethodName == "test_1": result.addSkip(test, "for a reason")
                    else: test(result)
                return result
        def load_tests(loader, tests, pattern): return Suite([*map(Case, NAMES)])
        """)
        for ran in self.with_each("test_suite"):
            self.assertEqual(ran.last, "FAILED (crashes=1, skipped=1)")

    def test_that_is_not_there_any_more_after_a_crash_says_why(self):
        self.write(test_suite="""
            import os, unittest
            if os.path.exists(os.environ["TIMEOUT_MANAGER_JOB"]): raise OSError("the port is in use")
            open(os.environ["TIMEOUT_MANAGER_JOB"], "w").close()
            class Case(unittest.TestCase):
                def test_1(self): os._exit(1)
                def test_2(self): pass
        """)
        reasons = {
            "loaded once more: Timeout exceeded after import phase.*": ("discover", "-p", "test_late*"),
            "when its module was loaded once more: OSError: the port is in use": ("discover", "-p", "test_suite*"),
            "because they could not be loaded once more": ("test_suite",),
        }
        with open(self.path("test_suite.py")) as file:
            late = file.read().replace('raise OSError("the port is in use")', "__import__('time').sleep(60)")
        self.write(test_late=late)
        for reason, arguments in reasons.items():
            (ran,) = self.with_each("--timeout", "1", *arguments, jobs="1")
            self.assertEqual((ran.outcomes["test_1"], ran.outcomes.get("test_2")), ("crash", None), ran.stderr)
            self.assertEqual([name.rpartition(".")[2] for name in ran.report["not run"]], ["test_2"])
            self.assertRegex(ran.stderr, f"{reason}:\n")
            os.remove(self.path("1"))

    def test_that_exits_while_it_is_discovered_costs_no_other(self):
        self.write(test_suite_a="""
            import sys
            def load_tests(loader, tests, pattern): sys.exit(0)
        """, test_suite_b=PASSES)
        for ran in self.with_each():
            self.assertIn("CRASH: import test_suite_a\n", ran.stderr)
            self.assertEqual((ran.outcomes["test"], ran.last), ("passed", "FAILED (crashes=1)"))


class ATest(OfForks):
    def test_that_calls_another_one_is_named_when_that_ends_the_process(self):
        self.write(test_suite="""
            import os, unittest
            class Case(unittest.TestCase):
                def test_1(self): os._exit(1)
                def test_2(self): pass
            class Around:
                def __init__(self, test): self.test = test
                def __call__(self, result): self.test(result)
                def countTestCases(self): return 1
                def id(self): return "around." + self.test.id()
                def __str__(self): return self.id()
            def load_tests(loader, tests, pattern):
                return unittest.TestSuite([Around(Case("test_1")), Around(Case("test_2"))])
        """)
        for ran in self.with_each("test_suite"):
            self.assertIn("CRASH: around.test_suite.Case.test_1\n", ran.stderr)
            self.assertEqual(ran.report["not run"], [])

    def test_whose_name_is_there_when_it_is_set_up_runs(self):
        self.write(test_suite="""
            import unittest
            class Case(unittest.TestCase):
                def setUp(self): self.text = "a name"
                def __str__(self): return self.text
                def test(self): pass
        """)
        for ran in self.with_each("test_suite"):
            self.check(ran, {"test": "passed"})


class WhatTestsWrite(OfForks):
    def test_may_be_much(self):
        self.write(test_suite="""
            import unittest
            class Case(unittest.TestCase):
                def test_1(self): self.fail(3_000_000 * "x")
                def test_2(self): print(3_000_000 * "y")
        """)
        for ran in self.with_each("test_suite"):
            self.assertEqual((ran.stdout.count("y"), ran.stderr.count("x") // 3_000_000), (3_000_000, 1))

    def test_is_shown_byte_for_byte(self):
        self.write(test_suite="""
            import os, sys, unittest
            class Case(unittest.TestCase):
                def test_1(self): print("\\xfc", flush=True)
                def test_2(self): os.write(1, b"\\xff\\xfe")
        """)
        command = [*PYTHON, "-m", package.__name__, "unittest", "--jobs", "2", "test_suite"]
        env = environment(PYTHONPATH=ROOT, PYTHONIOENCODING="latin-1")
        ran = subprocess.run(command, cwd=self.directory, env=env, capture_output=True, timeout=100)
        self.assertEqual((ran.stdout, ran.returncode), (b"\xfc\n\xff\xfe", 0), ran.stderr.decode("latin-1"))

    def test_comes_once_whatever_becomes_of_the_descriptor(self):
        self.write(test_suite="""
            import os, tempfile, unittest
            class A(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    cls.stdout = os.dup(1)
                    print("before", flush=True)
                def test_1(self):
                    with tempfile.TemporaryFile() as file: os.dup2(file.fileno(), 1)
                def test_2(self):
                    os.dup2(self.stdout, 1)
                    print("after")
            class B(unittest.TestCase):
                @classmethod
                def tearDownClass(cls): os.dup2(A.stdout, 1)
                def test_3(self): os.close(1)
                def test_4(self): pass
        """)
        tests = dict.fromkeys(("test_1", "test_2", "test_3", "test_4"), "passed")
        for ran in self.with_each("-v", "test_suite"):
            fixtures = "setUpClass (test_suite.A)", "tearDownClass (test_suite.B)"
            self.check(ran, {**tests, **dict.fromkeys(fixtures, "passed")})
            self.assertEqual(ran.stdout, "before\nafter\n")


@unittest.skipUnless(LINUX, "there are no workers elsewhere")
class CtrlC(unittest.TestCase):
    def test_while_an_order_is_waited_for_ends_no_worker(self):
        said, ran = [], []
        answers = iter([KeyboardInterrupt, [("sent before", 0)], []])

        def read():
            answer = next(answers)
            if answer is KeyboardInterrupt:
                raise KeyboardInterrupt
            return answer

        channel = SimpleNamespace(read=read, say=lambda *told, flush=False: said.append(told[0]))
        nothing = dict.fromkeys(("end_if_back", "tell_news", "tell_written"), lambda: None)
        worker = SimpleNamespace(channel=channel, **nothing)
        orders = import_module(f"{package.__name__}.isolation.orders")
        run = orders.Orders(worker, unittest.TestSuite())
        run._run = lambda *order: ran.append(order)
        try:
            run(SimpleNamespace(shouldStop=False, interrupted=False))
        except KeyboardInterrupt:
            self.fail("it would end the process")
        self.assertEqual((said, ran), (["next", "interrupted", "next", "next"], []))


if __name__ == "__main__":
    unittest.main()
