"""Tests that answer to any name, need their setUp to tell who they are, or take away what a worker uses."""

import os
import unittest

from ..helpers.enforced import CPYTHON
from ..helpers.isolated import IN_A_FORK, PASSES
from .test_suites import OfForks


class ATest(OfForks):
    def test_is_asked_for_nothing_that_it_may_not_have(self):
        self.write(
            test_suite_odd="""
            import unittest
            from unittest import mock
            class Forwards(unittest.TestCase):
                def __getattr__(self, name):
                    if name.startswith("__"): raise AttributeError(name)
                    return mock.MagicMock()
                def test_forwards(self): self.fail("red")
            class Sequence(unittest.TestCase):
                def __getitem__(self, index): raise IndexError
                def __iter__(self): return iter([1])
                def test_sequence(self): pass
            class Named(unittest.TestCase):
                def setUp(self): self.server = "server"
                def id(self): return f"Named {self.server}"
                def __str__(self): return self.server
                @unittest.skip("later")
                def test_named(self): pass
            class Meta(type):
                def __getattr__(cls, name):
                    if name.startswith("__"): raise AttributeError(name)
            class OfMeta(unittest.TestCase, metaclass=Meta):
                def test_of_meta(self): pass
            class Duck:
                __iter__ = None
                def countTestCases(self): return 1
                def id(self): return "Duck.test_duck"
                def __call__(self, result):
                    result.startTest(self)
                    result.stopTest(self)
            def load_tests(loader, tests, pattern): return unittest.TestSuite([*tests, Duck()])
            """,
            test_suite_asked="""
            import unittest
            def __getattr__(name): raise ImportError(name) if name == "timeout" else AttributeError(name)
            class Asked(unittest.TestCase):
                def test_asked(self): pass
            """,
        )
        names = "test_suite_odd", "test_suite_asked"
        limit = "--timeout", "60"
        for ran in self.unittest(*limit, *names, report="0.json"), *self.with_each(*limit, *names):
            outcomes = {"test_forwards": "failed", "test_sequence": "passed", "test_named": "skipped"}
            passed = dict.fromkeys(("test_of_meta", "test_asked", "test_duck"), "passed")
            self.check(ran, {**outcomes, **passed}, status=1)
            self.assertEqual(ran.last, "FAILED (failures=1, skipped=1)")

    def test_may_take_away_what_a_worker_uses(self):
        self.write(test_suite="""
            import json, os, unittest
            class Takes(unittest.TestCase):
                def test_1(self):
                    json.JSONEncoder.iterencode = lambda *args, **kwargs: iter(["[null]"])
                    json.JSONEncoder.key_separator = json.JSONEncoder.item_separator = ";"
                    json.encoder.c_make_encoder = json.encoder.encode_basestring_ascii = None
                    json.JSONDecoder.decode = None
                def test_2(self):
                    for number in range(3, 2000):
                        try: os.set_blocking(number, False)
                        except OSError: pass
                def test_3(self): self.fail(3_000_000 * "x")
                def test_4(self): pass
        """)
        outcomes = {"test_1": "passed", "test_2": "passed", "test_3": "failed", "test_4": "passed"}
        for ran in self.with_each("test_suite"):
            self.check(ran, outcomes, status=1)

    @unittest.skipUnless(CPYTHON, "PyPy does not start there")
    def test_may_be_run_from_a_directory_that_is_gone(self):
        self.write(test_suite=PASSES)
        self.code = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n" + IN_A_FORK
        report = self.path("report.json")
        ran = self.unittest("--isolate", "discover", "-s", self.directory, "-t", self.directory, report=report)
        self.check(ran, {"test": "passed"})

    def test_that_runs_copies_of_itself_runs_these(self):
        self.write(test_suite="""
            import copy, unittest
            class Scenarios(unittest.TestCase):
                value = 1
                def run(self, result=None):
                    if "value" in vars(self): return super().run(result)
                    for value in 1, 2, 3:
                        test = copy.copy(self)
                        test.value = value
                        test.run(result)
                def test(self): self.assertEqual(self.value, 1)
        """)
        for ran in self.unittest("test_suite", report="0.json"), self.isolated("--timeout", "60", "test_suite"):
            self.assertEqual(ran.last, "FAILED (failures=2)", ran.stderr)

    def test_that_is_in_a_suite_twice_runs_in_its_place_and_ends_two_processes(self):
        self.write(test_suite="""
            import os, unittest
            class Case(unittest.TestCase):
                def test_1(self): os._exit(3)
                def test_2(self): print("two", flush=True)
            class Own(unittest.TestSuite):
                def __iter__(self): return iter(self._tests)
            def load_tests(loader, tests, pattern):
                one, two = Case("test_1"), Case("test_2")
                return unittest.TestSuite([Own([two, one]), one, two])
        """)
        ran = self.isolated("test_suite")
        self.assertEqual((ran.stdout, ran.last), ("two\ntwo\n", "FAILED (crashes=2)"), ran.stderr)


class ASuite(OfForks):
    LATE = """
            import os, threading, time, unittest
            class Late(unittest.TestResult):
                def __init__(self, result):
                    super().__init__()
                    self.result = result
                def addSuccess(self, test):
                    self.result.startTest(test)
                    self.result.addSuccess(test)
                    self.result.stopTest(test)
    """

    def test_with_an_order_of_its_own_keeps_it(self):
        self.write(test_suite="""
            import unittest
            class Case(unittest.TestCase):
                def test_1(self): pass
                def test_2(self): pass
                def test_3(self): pass
            class Backwards(unittest.TestSuite):
                def __iter__(self): return reversed(list(super().__iter__()))
            def load_tests(loader, tests, pattern):
                return Backwards(Case(name) for name in ("test_1", "test_2", "test_3"))
        """)
        for ran in self.with_each("-v", "test_suite"):
            self.assertEqual([line.split()[0] for line in ran.stderr.splitlines()[:3]], ["test_3", "test_2", "test_1"])

    def test_whose_result_hears_of_tests_when_they_have_ended_names_the_one_that_ends_the_process(self):
        self.write(test_suite=self.LATE + """
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    super().run(Late(result))
                    return result
            class Case(unittest.TestCase):
                def test_1(self): pass
                def test_2(self): os._exit(3)
                def test_3(self): pass
            class Other(unittest.TestCase):
                def test_4(self): pass
            def load_tests(loader, tests, pattern):
                return unittest.TestSuite([Suite(map(Case, ("test_1", "test_2", "test_3"))), Other("test_4")])
        """)
        for ran in self.with_each("test_suite"):
            self.check(ran, {"test_1": "passed", "test_2": "crash", "test_3": "passed", "test_4": "passed"})

    def test_whose_result_is_private_or_hears_of_copies_runs_each_test_once_more(self):
        self.write(test_suite="""
            import copy, os, unittest
            class Case(unittest.TestCase):
                def test_1(self): pass
                def test_2(self): runs[-1:] == ["told"] and os._exit(3)
                def test_3(self): pass
            class Copies(unittest.TestResult):
                def __init__(self, result):
                    super().__init__()
                    self.result = result
                def stopTest(self, test):
                    test = copy.copy(test)
                    self.result.startTest(test)
                    self.result.addSuccess(test)
                    self.result.stopTest(test)
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    for how, each in ("private", unittest.TestResult()), ("told", Copies(result)):
                        runs.append(how)
                        for test in self._tests: test(each)
                    return result
            runs = []
            def load_tests(loader, tests, pattern): return Suite(map(Case, ("test_1", "test_2", "test_3")))
        """)
        for ran in self.with_each("test_suite"):
            self.check(ran, {"test_1": "passed", "test_2": "crash", "test_3": "passed"})

    def test_whose_result_answers_to_any_name_has_its_fixtures(self):
        self.write(test_suite="""
            import unittest
            class Any:
                shouldStop = False
                def __getattr__(self, name):
                    if name.startswith("_"): raise AttributeError(name)
                    return lambda *args, **kwargs: None
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    super().run(Any())
                    return result
            class Case(unittest.TestCase):
                @classmethod
                def setUpClass(cls): print("set up", flush=True)
                def test(self): print("ran", flush=True)
            def load_tests(loader, tests, pattern): return Suite([Case("test")])
        """)
        for ran in self.unittest("--timeout", "60", "test_suite", report="0.json"), self.isolated("test_suite"):
            self.assertEqual(ran.stdout, "set up\nran\n", ran.stderr)

    def test_whose_result_hands_everything_on_is_told_of_as_ever(self):
        self.write(test_suite="""
            import unittest
            class HandsOn:
                def __init__(self, result): vars(self)["result"] = result
                def __getattr__(self, name): return getattr(self.result, name)
                def __setattr__(self, name, value): setattr(self.result, name, value)
                def stopTest(self, test): pass
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    super().run(HandsOn(result))
                    return result
            class Case(unittest.TestCase):
                def test(self): self.assertLess(self.number, 1499)
            def load_tests(loader, tests, pattern):
                suite = Suite(Case("test") for _ in range(1500))
                for Case.number, test in enumerate(suite): test.number = Case.number
                return suite
        """)
        for ran in self.unittest("test_suite", report="0.json"), self.isolated("test_suite"):
            self.assertEqual(ran.last, "FAILED (failures=1)", ran.stderr[-5000:])
            self.assertEqual(sum(each["kind"] == "test" for each in ran.report["tests"]), 1500)

    def test_whose_result_hears_of_threads_when_they_have_ended_keeps_their_limits(self):
        self.write(test_suite=self.LATE + """
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    threads = [threading.Thread(target=each.run, args=[Late(result)]) for each in self]
                    for each in threads: each.start()
                    for each in threads: each.join()
                    return result
            class Case(unittest.TestCase):
                def test_1(self): time.sleep(60)
                def test_2(self): time.sleep(0.2)
            def load_tests(loader, tests, pattern): return Suite(map(Case, ("test_1", "test_2")))
        """)
        ran = self.isolated("--timeout", "0.5", "--kill-after", "0.5", "test_suite")
        self.assertEqual((ran.last, ran.outcomes["test_1"]), ("FAILED (timeouts=1)", "timeout"), ran.stderr)
        self.assertLess(ran.report["tests"][0]["elapsed"], 30)

    def test_that_comes_back_to_a_class_after_a_crash_sets_it_up_again(self):
        self.write(test_suite="""
            import os, unittest
            class Flaky(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    if not os.path.exists("again"):
                        open("again", "w").close()
                        raise OSError('not yet')
                def test_1(self): pass
                def test_4(self): pass
            class Ends(unittest.TestCase):
                def test_2(self): pass
                def test_3(self): os._exit(3)
            def load_tests(loader, tests, pattern):
                return unittest.TestSuite([Flaky("test_1"), Ends("test_2"), Ends("test_3"), Flaky("test_4")])
        """)
        for how, said in ("raise OSError('not yet')", "ERROR:"), ("os._exit(4)", "CRASH:"):
            os.path.exists(self.path("again")) and os.remove(self.path("again"))
            with open(self.path("test_suite.py")) as file:
                text = file.read()
            with open(self.path("test_suite.py"), "w") as file:
                file.write(text.replace("raise OSError('not yet')", how))
            ran = self.isolated("test_suite")
            passed = dict.fromkeys(("setUpClass (test_suite.Flaky)", "test_2", "test_4"), "passed")
            self.check(ran, {**passed, "test_3": "crash"}, ["test_1"])
            self.assertIn(f"{said} setUpClass (test_suite.Flaky)\n", ran.stderr)
