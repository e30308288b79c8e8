"""Ctrl-C where workers run the tests: nobody is cut off or left out without a word."""

import signal
import unittest

from ..helpers.isolated import IN_A_FORK, OF_FORKS, Isolated


class CtrlC(Isolated):
    """Each suite sends it to the run itself, from its first test."""

    code = OF_FORKS
    CASE = """
        import os, signal, time, unittest
        class Case(unittest.TestCase):
            def test_1(self):
                try:
                    PREPARE
                    os.kill(os.getppid(), signal.SIGINT)
                    for _ in range(int(LONG * 100)): time.sleep(0.01)  # a signal just before a sleep does not end it
                except KeyboardInterrupt: pass
            def test_2(self): pass
    """

    def case(self, prepare="pass", long=60):
        return self.CASE.replace("PREPARE", prepare).replace("LONG", str(long))

    def check(self, ran, outcomes, not_run):
        tests = [each for each in ran.report["tests"] if each["kind"] == "test"]
        self.assertEqual({each["id"]: each["outcome"] for each in tests}, outcomes, ran.stderr)
        self.assertEqual(ran.report["not run"], not_run)
        self.assertEqual(ran.status, -signal.SIGINT if not_run else 0, ran.stderr)
        self.assertEqual("did not run, because of Ctrl-C" in ran.stderr, bool(not_run))

    def test_that_a_test_swallows_ends_what_begins_after_it_and_the_rest_does_not_begin(self):
        waits = self.case("while not os.path.exists('begun'): time.sleep(0.01)")
        waits = waits.replace("test_2(self): pass", "test_2(self): [time.sleep(0.01) for _ in range(6000)]")
        begins = self.case("open('begun', 'w').close()").replace("os.kill(os.getppid(), signal.SIGINT)", "pass")
        self.write(test_a=waits, test_b=begins, test_c=begins)
        for ran in self.with_each("--timeout", "60", "--kill-after", "60", "test_a", "test_b", "test_c", jobs="2"):
            outcomes = {each["id"]: each["outcome"] for each in ran.report["tests"] if each["kind"] == "test"}
            for module in "ab":
                self.assertEqual(outcomes[f"test_{module}.Case.test_1"], "passed", ran.stderr)
                self.assertIn(outcomes.get(f"test_{module}.Case.test_2"), ("interrupted", "passed", None), ran.stderr)
            self.assertNotEqual(outcomes.get("test_a.Case.test_2"), "passed")
            self.assertEqual(ran.report["not run"][-2:], ["test_c.Case.test_1", "test_c.Case.test_2"])
            self.assertEqual(ran.status, -signal.SIGINT, ran.stderr)

    def test_before_a_worker_ends_in_its_own_way_leaves_out_what_has_not_begun(self):
        self.write(test_a=self.case("signal.signal(signal.SIGINT, signal.SIG_DFL)"))
        for ran in self.with_each("test_a"):
            self.check(ran, {"test_a.Case.test_1": "crash"}, ["test_a.Case.test_2"])

    def test_with_catch_lets_the_running_test_come_to_its_end(self):
        self.write(test_a=self.case(long=0.5))
        for ran in self.with_each("-c", "test_a"):
            self.check(ran, {"test_a.Case.test_1": "passed"}, [])
            self.assertEqual(ran.last, "OK")

    def test_that_is_ignored_by_whoever_has_started_the_run_is_ignored(self):
        self.code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + IN_A_FORK
        self.write(test_a=self.case(long=0.3).replace("except KeyboardInterrupt: pass", "finally: pass"))
        for ran in self.with_each("test_a"):
            self.check(ran, {"test_a.Case.test_1": "passed", "test_a.Case.test_2": "passed"}, [])

    def test_by_a_test_itself_ends_the_run(self):
        own = "os.kill(os.getpid(), signal.SIGINT)"
        self.write(test_a=f"""
            import os, signal, time, unittest
            class Case(unittest.TestCase):
                def test_1(self): {own}; time.sleep(60)
                def test_2(self): pass
        """, test_b="""
            import time, unittest
            class Case(unittest.TestCase):
                def test_3(self): time.sleep(60)
        """)
        for ran in self.with_each("test_a", "test_b"):
            self.assertEqual(ran.status, -signal.SIGINT, ran.stderr)
            self.assertEqual(ran.report["not run"][0], "test_a.Case.test_2")


if __name__ == "__main__":
    unittest.main()
