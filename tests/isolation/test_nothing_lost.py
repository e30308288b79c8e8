"""What a worker has come to know or has written is not lost with it; what it has started ends with it."""

import os
import signal
import sys
import time
import unittest
from importlib import import_module
from types import SimpleNamespace
from unittest import mock

from .. import package
from ..helpers.command import BETWEEN
from ..helpers.isolated import IN_A_FORK, OF_FORKS, PASSES, Isolated
from ..helpers.tree import alive


class OfForks(Isolated):
    code = OF_FORKS


class WhatItsResultSays(OfForks):
    def test_at_its_end_is_in_the_summary(self):
        self.write(test_a="""
            import unittest
            def learn(self): self.errors.append((A("test"), "a leak"))
            unittest.TestResult.stopTestRun = learn
            class A(unittest.TestCase):
                def test(self): pass
        """)
        (ran,) = self.with_each("test_a", jobs="1")
        self.assertIn("\nERROR: test (test_a.A", ran.stderr)
        self.assertEqual((ran.last, ran.status), ("FAILED (errors=1)", 1))

    def test_of_its_success_counts(self):
        self.write(test_a=PASSES + "    unittest.TestResult.wasSuccessful = lambda self: False\n")
        for ran in self.with_each("test_a"):
            self.assertEqual((ran.last, ran.status), ("FAILED", 1), ran.stderr)

    def test_is_no_success_where_it_ends_the_process(self):
        self.write(test_a=PASSES + "    import os\n    unittest.TestResult.stopTestRun = lambda self: os._exit(0)\n")
        (ran,) = self.with_each("test_a", jobs="1")
        self.assertIn("CRASH: the end of a worker\n", ran.stderr)
        self.assertEqual((ran.last, ran.status), ("FAILED (crashes=1)", 1))

    def test_counts_for_more_than_the_failures_that_it_knows(self):
        self.write(test_a="""
            import time, unittest
            class Result(unittest.TextTestResult):
                def wasSuccessful(self): return self.testsRun and not self.errors
            unittest.TextTestRunner.resultclass = Result
            class A(unittest.TestCase):
                def test_known(self): self.fail("a known bug")
                def test_other(self): pass
        """)
        for ran in self.with_each("test_a"):  # with two jobs one has nothing to do
            self.assertEqual((ran.last, ran.status), ("OK", 0), ran.stderr)

    def test_may_take_its_time_and_is_not_given_up_for_ctrl_c_without_a_word(self):
        self.write(test_a="""
            import os, signal, time, unittest
            class Result(unittest.TextTestResult):
                def stopTestRun(self):
                    time.sleep(1.5)
                    open(os.environ["TIMEOUT_MANAGER_JOB"], "w").close()
                    INTERRUPT
            unittest.TextTestRunner.resultclass = Result
            class A(unittest.TestCase):
                def test(self): pass
        """)
        (ran,) = self.with_each("--timeout", "60", "--kill-after", "0.1", "test_a", jobs="1")
        self.assertIn("NameError: name 'INTERRUPT' is not defined", ran.stderr)  # it has come to its end
        with open(self.path("test_a.py")) as file:
            text = file.read().replace("INTERRUPT", "os.kill(os.getppid(), signal.SIGINT); time.sleep(60)")
        self.write(test_a=text)
        (ran,) = self.with_each("--timeout", "60", "test_a", jobs="1")
        self.assertEqual((ran.last, ran.status), ("FAILED (interrupted)", -signal.SIGINT), ran.stderr)


class WhatATestHasComeTo(OfForks):
    def test_is_no_more_than_what_is_left_of_it_in_the_end(self):
        self.write(test_a="""
            import unittest
            class A(unittest.TestCase):
                tries = 0
                def run(self, result=None):
                    super().run(result)
                    if result.failures:
                        result.failures.pop()
                        super().run(result)
                def tearDown(self): pass
                def test(self):
                    A.tries += 1
                    self.assertEqual(A.tries, 2)
        """)
        for ran in self.with_each("test_a"):
            self.assertEqual((ran.last, ran.status), ("OK", 0), ran.stderr)

    def test_may_be_of_any_kind(self):
        self.write(test_a="""
            import unittest
            class A(unittest.TestCase):
                @unittest.skipIf(True, ImportError("no such module"))
                def test_1(self): pass
                def test_2(self): pass
        """)
        for ran in self.with_each("-v", "test_a"):
            self.assertEqual((ran.last, ran.status), ("OK (skipped=1)", 0), ran.stderr)

    @unittest.skipIf(sys.version_info < (3, 11), "unittest tells of it when the test has ended")
    def test_before_it_ended_the_process(self):
        self.write(test_a="""
            import os, unittest
            class A(unittest.TestCase):
                def tearDown(self): os._exit(3)
                def test_1(self): self.assertEqual("found", "wanted")
                def test_2(self): self.skipTest("for a reason")
        """)
        for ran in self.with_each("test_a"):
            self.assertIn("\nFAIL: test_1 ", ran.stderr)
            self.assertEqual(ran.last, "FAILED (crashes=2, failures=1, skipped=1)")
            tests = [each["text"] for each in ran.report["tests"] if each["kind"] == "test"]
            self.assertIn("'found' != 'wanted'", tests[0])
            self.assertIn("The process ended: exit status 3.", tests[0])

    def test_in_a_part_that_was_late_before_another_one_was_killed(self):
        self.write(test_a="""
            import os, signal, time, unittest
            class A(unittest.TestCase):
                timeout = 0.3
                def tearDown(self): os.kill(os.getpid(), signal.SIGSTOP)
                def test(self): time.sleep(60)
        """)
        for ran in self.with_each("--kill-after", "0.2", "test_a"):
            self.assertIn("Time ran out in test after 0.3", ran.stderr)
            self.assertRegex(ran.stderr, "Time ran out in tearDown after .* s; the limit is 0.300 s")
            self.assertEqual(ran.last, "FAILED (timeouts=1)")


class WhatWasWritten(OfForks):
    def test_by_tests_that_have_ended_is_there(self):
        self.write(test_a="""
            import os, unittest
            class A(unittest.TestCase):
                def test_1(self): print("one")
                def test_2(self): os._exit(3)
                def test_3(self): print("three")
        """)
        for ran in self.with_each("test_a"):
            self.assertEqual(ran.stdout, "one\nthree\n")

    def test_through_another_stream_to_the_same_file_is_there(self):
        self.write(test_a="""
            import os, sys, unittest
            sys.stdout = open(1, "w", closefd=False)
            class A(unittest.TestCase):
                def test_1(self): print("one")
                def test_2(self): os._exit(3)
        """)
        for ran in self.with_each("test_a"):
            self.assertEqual(ran.stdout, "one\n", ran.stderr)

    def test_to_a_stream_of_a_test_that_blocks_is_its_own_affair(self):
        self.write(test_a="""
            import os, sys, unittest
            class A(unittest.TestCase):
                def test_1(self):
                    A.reader, writer = os.pipe()
                    os.write(writer, bytes(1 << 16))
                    sys.stdout = open(writer, "w")
                    print("there is no room")
                def test_2(self): pass
                @classmethod
                def tearDownClass(cls): os.read(cls.reader, 1 << 16)
        """)
        for ran in self.with_each("--timeout", "60", "test_a"):
            self.assertEqual((ran.last, ran.status), ("OK", 0), ran.stderr)

    def test_is_there_though_a_test_would_empty_the_stream(self):
        self.write(test_a="""
            import os, subprocess, unittest
            class A(unittest.TestCase):
                def test_1(self): print("one")
                def test_2(self):
                    subprocess.run("echo two > /dev/stdout; echo on stderr > /dev/stderr", shell=True, check=True)
                def test_3(self):
                    print("three", flush=True)
                    self.assertRaises(OSError, os.ftruncate, 1, 0)
        """)
        for ran in self.with_each("-v", "test_a"):
            self.assertEqual((ran.stdout, ran.last), ("one\ntwo\nthree\n", "OK"), ran.stderr)
            self.assertRegex(ran.stderr, r"(?s)\Atest_1 .* ok\ntest_2 .*on stderr\nok\ntest_3 .* ok\n")

    def test_is_there_though_a_test_may_write_no_file(self):
        self.write(test_a="""
            import resource, unittest
            class A(unittest.TestCase):
                def test(self):
                    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
                    print("written")
        """)
        for ran in self.with_each("test_a"):
            self.assertEqual((ran.stdout, ran.last), ("written\n", "OK"), ran.stderr)

    def test_by_a_process_that_has_ended_is_there_though_others_have_the_stream(self):
        self.write(test_a="""
            import os, subprocess, unittest
            class A(unittest.TestCase):
                def test_1(self):
                    subprocess.Popen(["sleep", "60"])
                    os.write(1, 50_000 * b"x")
                    os.set_blocking(1, False)
                    os._exit(3)
                def test_2(self): print(3_000_000 * "y")
        """)
        (ran,) = self.with_each("test_a", jobs="2")
        self.assertEqual((ran.stdout.count("x"), ran.stdout.count("y")), (50_000, 3_000_000), ran.stderr)
        self.assertEqual(ran.last, "FAILED (crashes=1)")

    def test_with_buffer_is_not_asked_for_when_a_suite_ends_the_process(self):
        self.write(test_a="""
            import unittest
            class Suite(unittest.TestSuite):
                def run(self, result, debug=False):
                    super().run(result, debug)
                    raise RuntimeError("could not be dropped")
            class A(unittest.TestCase):
                def test(self): pass
            def load_tests(loader, tests, pattern): return Suite([A("test")])
        """)
        for ran in self.with_each("-b", "-v", "test_a"):
            self.assertIn("\nbetween tests, after test_a.A.test ... CRASH\n", ran.stderr)
            self.assertIn("\nRuntimeError: could not be dropped\n", ran.stderr)
            self.assertNotIn("orders.py", ran.stderr)


@unittest.skipUnless(sys.implementation.name == "cpython", "elsewhere objects die late")
class TheNextTests(OfForks):
    def test_run_where_something_hangs_between_tests(self):
        self.write(test_between=BETWEEN)
        limits = "--timeout", "20", "--kill-after", "0.5"
        for ran in self.with_each(*limits, "test_between.Owner", TIMEOUT_MANAGER_SCALE="0.1"):
            self.assertEqual((ran.status, ran.last), (1, "FAILED (timeouts=1)"), ran.stderr)
            self.assertEqual(ran.outcomes["test_2"], "passed")
            self.assertIn("TIMEOUT: between tests, after test_between.Owner.test_1\n", ran.stderr)
            self.assertIn("Time ran out in what runs between tests after ", ran.stderr)


class AFullDisk(OfForks):
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
""" + OF_FORKS

    def test_costs_what_is_written_and_no_test(self):
        self.write(test_a="""
            import unittest
            class A(unittest.TestCase):
                def test_1(self): print(200_000 * "x")
                def test_2(self): print("there is no room")
        """)
        (ran,) = self.with_each("test_a", jobs="2")
        self.assertEqual((ran.last, ran.status, ran.stderr.count("cannot be kept")), ("OK", 0, 1), ran.stderr)
        self.assertEqual(set(ran.outcomes.values()), {"passed"})


class WhatATestHasStarted(OfForks):
    def test_may_tidy_up(self):
        """As the resource tracker of multiprocessing does when it sees that the process is gone."""
        self.write(test_a="""
            import os, subprocess, unittest
            class A(unittest.TestCase):
                def test(self):
                    script = "trap '' TERM; read line; sleep 0.1; echo > tidied"
                    A.pipe = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE).stdin
        """)
        (ran,) = self.with_each("test_a", jobs="1")
        self.assertEqual(ran.status, 0, ran.stderr)
        self.assertTrue(os.path.exists(self.path("tidied")))

    def test_ends_with_a_worker_beside_others_though_its_environment_is_cleared(self):
        self.write(test_a="""
            import os, subprocess, unittest
            class A(unittest.TestCase):
                def test(self):
                    child = subprocess.Popen(["/bin/sleep", "100.NUMBER"], env={})
                    while not open(f"/proc/{child.pid}/cmdline").read(): pass  # it has none yet
                    open("started", "w").close()
                    os._exit(3)
        """.replace("NUMBER", str(os.getpid())), test_b="""
            import os, time, unittest
            class B(unittest.TestCase):
                def test(self):
                    while not os.path.exists("go"): time.sleep(0.01)
        """)
        self.code = IN_A_FORK  # it has no other children, and so it takes in what loses its parent
        process = self.start("unittest", "--jobs", "2", "--report", "report.json", "test_a", "test_b")
        until = time.monotonic() + 60
        while time.monotonic() < until and not (os.path.exists(self.path("started")) and not self._left()):
            time.sleep(0.01)
        self.assertEqual(self._left(), [])
        with open(self.path("go"), "w"):
            pass
        self.assertEqual(self.end(process).outcomes["test"], "passed")

    def _left(self):
        return alive(f"100.{os.getpid()}")


class TheRun(OfForks):
    def test_goes_on_where_the_signal_of_children_was_blocked(self):
        self.code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])\n" + IN_A_FORK
        self.write(test_a="""
            import os, unittest
            class A(unittest.TestCase):
                def test_1(self): os._exit(3)
                def test_2(self): pass
        """)
        (ran,) = self.with_each("test_a", jobs="1")
        self.assertEqual(ran.last, "FAILED (crashes=1)")

    def test_that_is_refused_when_the_tests_are_known_asks_for_no_result(self):
        late = "unittest.TestResult.stopTestRun = lambda self: self.errors.append((Passes('test'), 'late'))"
        self.write(test_a=f"{PASSES}    {late}\n")
        ran = self.isolated("--kill-after", "5", "test_a")
        self.assertEqual(ran.status, 2)
        self.assertIn("--kill-after counts from a limit, and there is none", ran.stderr)
        self.assertNotIn("Traceback", ran.stderr)

    def test_tells_of_no_import_that_has_ended(self):
        course = import_module(f"{package.__name__}.isolation.course")
        told = []
        reports = mock.Mock(tell_ended=told.append)
        each = course.Course(mock.Mock(), reports, mock.Mock())
        each.is_listed = True
        worker = SimpleNamespace(begun=[], unit=None, is_lister=False, last="")
        each.on_ended(worker, {"id": "test_a", "kind": "import", "outcome": "passed"}, None)
        self.assertEqual(told, [[]])


if __name__ == "__main__":
    unittest.main()
