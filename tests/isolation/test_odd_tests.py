"""Tests that answer to any name, need their setUp to tell who they are, or take away what a worker uses."""

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
            """,
            test_suite_asked="""
            import unittest
            def __getattr__(name): raise ImportError(name) if name == "timeout" else AttributeError(name)
            class Asked(unittest.TestCase):
                def test_asked(self): pass
            """,
        )
        names = "test_suite_odd", "test_suite_asked"
        runs = [self.unittest(*names, report="0.json"), *self.with_each(*names)]
        for ran in runs:
            outcomes = {"test_forwards": "failed", "test_sequence": "passed", "test_named": "skipped"}
            self.check(ran, {**outcomes, "test_of_meta": "passed", "test_asked": "passed"}, status=1)
            self.assertEqual(ran.last, "FAILED (failures=1, skipped=1)")

    def test_may_take_away_what_a_worker_uses(self):
        self.write(test_suite="""
            import json, os, unittest
            class Takes(unittest.TestCase):
                def test_1(self):
                    json.JSONEncoder.iterencode = lambda *args, **kwargs: iter(["[null]"])
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


class ASuite(OfForks):
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
        self.write(test_suite="""
            import os, unittest
            class Late(unittest.TestResult):
                def __init__(self, result):
                    super().__init__()
                    self.result = result
                def addSuccess(self, test):
                    self.result.startTest(test)
                    self.result.addSuccess(test)
                    self.result.stopTest(test)
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

    def test_that_comes_back_to_a_class_after_a_crash_sets_it_up_again(self):
        self.write(test_suite="""
            import os, unittest
            class Flaky(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    if not os.path.exists("again"):
                        open("again", "w").close()
                        raise OSError("not yet")
                def test_1(self): pass
                def test_3(self): pass
            class Ends(unittest.TestCase):
                def test_2(self): os._exit(3)
            def load_tests(loader, tests, pattern):
                return unittest.TestSuite([Flaky("test_1"), Ends("test_2"), Flaky("test_3")])
        """)
        ran = self.isolated("test_suite")
        outcomes = {"setUpClass (test_suite.Flaky)": "passed", "test_2": "crash", "test_3": "passed"}
        self.check(ran, outcomes, ["test_1"])
        self.assertIn("ERROR: setUpClass (test_suite.Flaky)\n", ran.stderr)
