"""``python -m timeout_manager unittest --isolate``: whatever a test does to its process, the next one runs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

from .. import package
from ..helpers.child import PYTHON, ROOT, environment
from ..helpers.isolated import IN_A_FORK, OF_FORKS, PASSES, Isolated

CPYTHON = sys.implementation.name == "cpython"

KILLERS = """
    import ctypes, os, re, resource, signal, sys, time, unittest

    def deadlock():
        mutex, library = ctypes.create_string_buffer(64), getattr(ctypes, "PyDLL", ctypes.CDLL)(None)
        for _ in range(2): library.pthread_mutex_lock(mutex)

    def noise():
        for number in range(3, 1100):
            try: os.write(number, b"noise without an end\\n\\nand without a beginning")
            except OSError: pass

    class A_Killers(unittest.TestCase):
        timeout = 0.3
        def setUp(self): pass
        def test_01_mutex_and_noise(self):
            noise()
            deadlock()
        def test_02_signals_blocked(self):
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            deadlock()
        def test_03_segmentation_fault(self): signal.raise_signal(signal.SIGSEGV)
        @unittest.expectedFailure
        def test_04_exit_0(self): os._exit(0)
        def test_05_exit_7(self): os._exit(7)
        def test_06_kill(self): os.kill(os.getpid(), signal.SIGKILL)
        def test_07_abort(self): os.abort()
        def test_08_in_a_sub_test(self):
            with self.subTest("fails"): self.fail("before the end")
            with self.subTest("ends"): os._exit(1)
        def test_09_chain_of_sessions(self):
            if not os.fork():
                for _ in range(100000):
                    if os.fork(): os._exit(0)
                    os.setsid()
                    time.sleep(0.001)
            os._exit(5)
        def test_21_descriptors_closed(self): os.closerange(3, 4096)
        def test_22_noise(self): noise()
        def test_23_forked_child_comes_back(self):
            if not os.fork(): raise RuntimeError("here I am")
            self.assertNotEqual(os.wait()[1], 0)
        def test_24_no_memory(self):
            resource.setrlimit(resource.RLIMIT_AS, (1 << 29, resource.getrlimit(resource.RLIMIT_AS)[1]))
            with self.assertRaises(MemoryError): bytearray(1 << 30)
        def test_25_forked_child_runs_tests(self):
            class Inner(unittest.TestCase):
                def test(self): pass
            if not os.fork():
                result = unittest.TestResult()
                unittest.TestSuite([Inner("test")]).run(result)
                os._exit(10 + result.testsRun)
            self.assertEqual(os.wait()[1] >> 8, 11)

    class B_SetUpClass(unittest.TestCase):
        @classmethod
        def setUpClass(cls): os._exit(0)
        def test_never(self): pass

    class C_TearDownClass(unittest.TestCase):
        @classmethod
        def tearDownClass(cls): os.kill(os.getpid(), signal.SIGKILL)
        def test_before(self): pass

    class D_Fixtures(unittest.TestCase):
        ready = 0
        @classmethod
        def setUpClass(cls): cls.ready += 1
        def test_1_ends(self): os._exit(1)
        def test_2_has_fresh_ones(self): self.assertEqual(self.ready, 1)

    class E_OwnWay(unittest.TestCase):
        timeout = 0.3
        def doCleanups(self):
            super().doCleanups()
            deadlock()
        def test_31_after_the_others(self): pass
"""
OUTCOMES = {
    **{"test_01_mutex_and_noise": "timeout", "test_02_signals_blocked": "timeout"},
    "test_03_segmentation_fault": "crash",
    **{"test_04_exit_0": "crash", "test_05_exit_7": "crash", "test_06_kill": "crash", "test_07_abort": "crash"},
    **{"test_08_in_a_sub_test": "crash", "test_09_chain_of_sessions": "crash"},
    **{"test_21_descriptors_closed": "passed", "test_22_noise": "passed", "test_24_no_memory": "passed"},
    **{"test_23_forked_child_comes_back": "passed", "test_25_forked_child_runs_tests": "passed"},
    **{"setUpClass (test_killers.B_SetUpClass)": "crash", "tearDownClass (test_killers.C_TearDownClass)": "crash"},
    "test_31_after_the_others": "timeout",
    **{"test_before": "passed", "test_1_ends": "crash", "test_2_has_fresh_ones": "passed", "test_killers": "passed"},
}
SOME = [word for name in ("test_03", "test_2", "D_Fix") for word in ("-k", name)]
TOLD_AT_ONCE = sys.version_info >= (3, 11)  # of a sub-test that fails; before, it is told when the test has ended
LAST = "FAILED (timeouts=3, crashes=10, not run=1" + ", failures=1" * TOLD_AT_ONCE + ")"


def is_there(pid):
    """Tell whether a process lives; one that nobody has collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class AKiller(Isolated):
    def check(self, ran):
        outcomes = {name: outcome for name, outcome in ran.outcomes.items() if "D_Fixtures)" not in name}
        self.assertEqual(outcomes, OUTCOMES, ran.stderr)
        self.assertEqual(ran.last, LAST)
        self.assertEqual(ran.status, 1)
        why = "because setUpClass (test_killers.B_SetUpClass) crashed"
        self.assertIn(f"1 test did not run, {why}:\n  test_killers.B_SetUpClass.test_never\n", ran.stderr)
        self.assertEqual([each["id"].rpartition(".")[2] for each in ran.report["tests"]][1:10], list(OUTCOMES)[:9])

    def test_costs_no_other_test(self):
        self.write(test_killers=KILLERS)
        started = [
            self.start("unittest", "--report", f"{jobs}.json", "--jobs", jobs, "--kill-after", "0.3", "-v", *some)
            for jobs, some in (("1", ["test_killers"]), ("2", [*SOME, "test_killers"]))
        ]
        one, two = (self.end(run, report=f"{jobs}.json") for run, jobs in zip(started, "12"))
        self.check(one)
        self.check_text(one)
        self.assertEqual(two.last, "FAILED (crashes=2)", two.stderr)
        self.assertEqual(set(self.progress(two)) - set(self.progress(one)), set())
        self.assertEqual([pid for pid in os.listdir("/proc") if pid.isdigit() and self.is_ours(pid)], [])

    def is_ours(self, pid):
        """Tell whether a process has been started in the directory of this test, and is there."""
        try:
            return os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(self.directory)
        except OSError:  # it is somebody else's, or gone
            return False

    def progress(self, ran):
        return re.sub(r"\d\.\d+ s|pid=\d+", "", ran.stderr.partition("\n\n=")[0]).splitlines()

    def check_text(self, ran):
        self.assertRegex(ran.stderr, r"(?m)^test_01_mutex_and_noise .* TIMEOUT$")
        self.assertRegex(ran.stderr, r"(?m)^test_04_exit_0 .* CRASH$")
        self.assertRegex(ran.stderr, r"(?m)^setUpClass \(test_killers\.B_SetUpClass\) \.\.\. CRASH$")
        for how in "exit status 0", "exit status 7", "signal SIGKILL", "signal SIGABRT", "signal SIGSEGV":
            self.assertIn(f"The process ended: {how}.\n", ran.stderr)
        if TOLD_AT_ONCE:
            self.assertIn("AssertionError: before the end", ran.stderr)
        told = ran.stderr.partition("TIMEOUT: test_01_mutex")[2]
        limit = "the limit is 0.300 s (timeout of A_Killers)."
        self.assertRegex(told, rf"\nTime ran out in test after \d\.\d+ s; {re.escape(limit)}\n")
        self.assertNotIn("noise without", told)
        if CPYTHON:
            lines = r'line 6 in deadlock\n.*line 18 in test_01_mutex_and_noise'
            stack = rf'first\):\n  File "[^"]+test_killers.py", {lines}\n\n='
            self.assertRegex(told, stack)


class AFixtureOfAModule(Isolated):
    code = OF_FORKS

    def test_that_ends_the_process_costs_no_other_module(self):
        self.write(
            test_a="    import os\n    def setUpModule(): os._exit(0)" + PASSES,
            test_b="    import os\n    def tearDownModule(): os.abort()" + PASSES,
            test_c="    import atexit, time" + PASSES.replace("pass\n", "atexit.register(time.sleep, 60)\n"),
        )
        for ran in self.with_each("--timeout", "60", "--kill-after", "0.5", "test_a", "test_b", "test_c"):
            names = {"setUpModule (test_a)": "crash", "test": "passed", "tearDownModule (test_b)": "crash"}
            imports = dict.fromkeys(("test_a", "test_b", "test_c"), "passed")
            self.assertEqual(ran.outcomes, {**names, **imports}, ran.stderr)
            self.assertEqual((ran.status, ran.report["not run"]), (1, ["test_a.Passes.test"]))
            self.assertIn("\nFAILED (crashes=2, not run=1)\n", ran.stderr)
            self.assertRegex(ran.stderr, r"\nA worker had still not ended \d+\.\d+ s after the tests:\n")


class Text(Isolated):
    maxDiff = None
    code = OF_FORKS

    SUITES = {
        "test_one": """
            import sys, unittest
            class One(unittest.TestCase):
                def test_passes(self): print("on stdout")
                def test_fails(self):
                    "It has a docstring."
                    value = 3
                    self.fail("it does")
                def test_sub(self):
                    "This one, too."
                    for i in range(3):
                        with self.subTest(i=i): self.assertEqual(i, 1)
                @unittest.skip("for a reason")
                def test_skipped(self): pass
                @unittest.expectedFailure
                def test_expected(self): self.fail()
                @unittest.expectedFailure
                def test_unexpected(self): pass
                def test_error(self):
                    print("on stderr", file=sys.stderr)
                    raise ValueError("\\udcff and ä")
        """,
        "test_two": """
            import unittest, warnings
            def setUpModule(): print("set up")
            def tearDownModule(): print("torn down")
            class Skipped(unittest.TestCase):
                @classmethod
                def setUpClass(cls): raise unittest.SkipTest("all of them")
                def test(self): pass
            class Warns(unittest.TestCase):
                def test_it(self): warnings.warn("careful", DeprecationWarning)
            class Params(unittest.TestCase):
                def test_same(self): pass
            def load_tests(loader, tests, pattern):
                tests.addTests(Params("test_same") for _ in {"a", "b", "c"})
                return tests
        """,
        "test_three": "import nothing_of_this_name",
    }

    def text(self, ran):
        text = re.sub(r"(?m)^Ran (\d+) tests? in .*$", r"Ran \1", ran.stderr)
        text = re.sub(r"(?m)^\d+\.\d+s  .*$", "", text)  # durations, and whose they are
        return text, ran.stdout, ran.status

    def test_is_that_of_a_run_without(self):
        self.write(**self.SUITES)
        shows = ("--durations", "2") if sys.version_info >= (3, 12) else ()
        for options in ("-v", "--locals", *shows), ("-b", "-f"), ("-q", "-k", "test_s"):
            with self.subTest(options=options):
                given = options + ("test_one", "test_two", "test_three") * ("-f" in options)
                expected = self.start("unittest", *given)
                isolated = self.with_each(*given)
                expected = self.text(self.end(expected))
                for ran in isolated:
                    self.assertEqual(self.text(ran), expected)

    def test_is_the_same_with_flags_of_the_interpreter(self):
        self.write(test_flags="""
            import sys, unittest
            class Flags(unittest.TestCase):
                def test(self):
                    print(sys.argv, sys.flags.bytes_warning, sys.stdout.write_through, sys.warnoptions, sys._xoptions)
                    print("stdin:", sys.stdin.read(), file=sys.stderr)
        """)
        flags = "-W", "error::ImportWarning", "-X", "utf8", "-u", "-b"
        command = [*PYTHON, *flags, "-m", package.__name__, "unittest"]
        how = dict(cwd=self.directory, env=environment(PYTHONPATH=ROOT), stdin=subprocess.DEVNULL)
        runs = [
            subprocess.Popen([*command, *options, "test_flags"], stdout=-1, stderr=-1, text=True, **how)
            for options in ([], ["--isolate"])
        ]
        found = []
        for run in runs:
            stdout, stderr = run.communicate(timeout=100)
            found.append((stdout, run.returncode, "stdin: \n" in stderr))
        self.assertEqual(found[0], found[1])
        self.assertIn("'error::ImportWarning'", found[0][0])


class TheRun(Isolated):
    code = OF_FORKS

    def until(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def started(self, jobs, test):
        """Start a run, wait until its test has written a file of this name, and return the run and what is there."""
        self.write(**{test: HANGS})
        run = self.start("unittest", "--jobs", jobs, "--report", f"{test}.json", test)
        self.until(lambda: os.path.exists(self.path(f"{test}.ready")))
        with open(self.path(f"{test}.ready")) as file:
            return run, [int(each) for each in file.read().split()]

    def test_leaves_nothing_when_it_is_killed(self):
        self.code = IN_A_FORK  # what is left is known by the environment with which it was started
        runs = [self.started(jobs, test) for jobs, test in (("1", "test_one"), ("2", "test_two"))]
        for run, pids in runs:
            run.kill()
            run.wait()
            self.until(lambda: not any(map(is_there, pids)))
            for stream in run.stdout, run.stderr:
                stream.close()

    def test_says_at_once_what_is_slow(self):
        self.write(test_slow="""
            import os, time, unittest
            class Case(unittest.TestCase):
                def test(self):
                    end = time.monotonic() + 30
                    while not os.path.exists("go"):
                        time.sleep(0.01)
                        self.assertLess(time.monotonic(), end)
        """)
        run = self.start("unittest", "--jobs", "2", "--slow-after", "0.1", "test_slow")
        self.assertIn("SLOW: test_slow.Case.test is still running", next(line for line in run.stderr if line.strip()))
        open(self.path("go"), "w").close()
        self.assertEqual(self.end(run).last, "OK")

    def test_ends_at_the_second_interrupt(self):
        runs = [self.started(jobs, test) for jobs, test in (("1", "test_one"), ("2", "test_two"))]
        for run, _ in runs:
            run.send_signal(signal.SIGINT)
        time.sleep(0.1)
        for run, _ in runs:
            run.send_signal(signal.SIGINT)
        for (run, pids), test in zip(runs, ("test_one", "test_two")):
            ran = self.end(run, report=f"{test}.json")
            self.assertEqual((ran.status, ran.last), (-signal.SIGINT, "FAILED (not run=1, interrupted)"))
            self.assertEqual(ran.outcomes, {test: "passed", "test_1": "passed", "test_2": "interrupted"})
            self.assertEqual(ran.report["not run"], [f"{test}.Case.test_3"])
            self.assertFalse(any(map(is_there, pids)))

    def test_starts_no_more_workers_than_can_load_at_once(self):
        self.write(test_a="""
            import os, unittest
            open("loaded by " + os.environ["TIMEOUT_MANAGER_JOB"], "w").close()
            class Case(unittest.TestCase):
                def test(self): pass
        """)
        self.assertEqual(self.unittest("--jobs", "30", "test_a").last, "OK")
        loaded = [name for name in os.listdir(self.directory) if name.startswith("loaded by ")]
        self.assertLessEqual(len(loaded), len(os.sched_getaffinity(0)))

    def test_tells_in_the_order_of_the_suite(self):
        for name, seconds in ("test_a", 0.0), ("test_b", 0.3), ("test_c", 0.0):
            self.write(**{name: MODULE.replace("SECONDS", str(seconds))})
        names = "test_a", "test_b", "test_c"
        ran = self.unittest("--jobs", "2", "--junit-xml", "junit.xml", *names)
        self.assertEqual((ran.status, ran.stdout), (0, "set up test_a\nset up test_b\nset up test_c\n"), ran.stderr)
        tests = [each for each in ran.report["tests"] if each["kind"] == "test"]
        self.assertEqual([each["id"] for each in tests], [f"{name}.Case.test_{n}" for name in names for n in (1, 2)])
        self.assertLessEqual({each["job"] for each in tests}, {1, 2})
        self.junit()
        shards = [
            self.start("unittest", "--isolate", "--shard", f"{each}/2", "--report", f"{each}.json", *names)
            for each in (1, 2)
        ]
        told = [self.end(run, report="none.json").stdout.split("\n")[:-1] for run in shards]
        self.assertEqual(sorted(told[0] + told[1]), [f"set up {name}" for name in names])
        self.assertNotIn([], told)
        merging = self.start("merge", "2.json", "1.json", "--report", "all.json", "--junit-xml", "junit.xml")
        lacking = self.start("merge", "2.json", "--report", "none.json")
        merged, lacking = self.end(merging, report="all.json"), self.end(lacking, report="none.json")
        self.assertEqual((merged.status, merged.stdout), (0, "6 passed\n"), merged.stderr)
        told = [each["id"] for each in merged.report["tests"] if each["kind"] == "test"]
        self.assertEqual(sorted(told), [each["id"] for each in tests])
        self.junit()
        self.assertEqual((lacking.status, lacking.report), (2, None))
        self.assertIn("error: shard 1 is missing", lacking.stderr)


class FailFast(Isolated):
    code = OF_FORKS

    def test_by_a_later_module_that_began_first_stops_no_earlier_one(self):
        test = """
            import time, unittest
            class Case(unittest.TestCase):
                def test(self): {}
        """
        self.write(
            test_a=test.format("time.sleep(0.5)"),
            test_b=test.format("self.fail('b')"),
            test_c=test.format("self.fail('c')"),
        )
        long = {"id": "test_c.Case.test", "kind": "test", "outcome": "passed", "elapsed": 100.0}
        with open(self.path("report.json"), "w") as file:
            json.dump({"format": 1, "tests": [long, {**long, "id": "test_a.Case.test", "elapsed": 1.0}]}, file)
        ran = self.unittest("--jobs", "2", "-f", "test_a", "test_b", "test_c")
        self.assertEqual((ran.last, ran.status), ("FAILED (failures=1)", 1), ran.stderr)
        self.assertRegex(ran.stderr, "AssertionError: b\n")


class TheImport(Isolated):
    code = OF_FORKS

    def test_that_ends_a_worker_is_left_out(self):
        self.write(
            test_a="import os; os._exit(3)",
            test_b="import sys; sys.exit(4)",
            test_c=f"{KILLERS}    def load_tests(loader, *_): loader.loadTestsFromName('test_d'), deadlock()\n",
            test_d=PASSES,
        )
        for ran in self.with_each("--timeout", "1", "--kill-after", "1", "-v", *NAMES):
            outcomes = {"test_a": "crash", "test_b": "crash", "test_c": "timeout", "test_d": "passed", "test": "passed"}
            self.assertEqual(ran.outcomes, outcomes, ran.stderr)
            self.assertEqual((ran.last, ran.status), ("FAILED (timeouts=1, crashes=2)", 1))
            progress = [f"import test_{name} ... {end}" for name, end in zip("abc", ("CRASH", "CRASH", "TIMEOUT"))]
            self.assertEqual(ran.stderr.splitlines()[:3], progress)
            self.assertIn("exit status 3", ran.stderr)
            self.assertIn("sys.exit(4)", ran.stderr)

    def test_error_ends_the_run_as_without(self):
        self.write(test_a="1 / 0")
        for ran in self.with_each("test_a"):
            self.assertEqual(ran.status, 1)
            self.assertEqual(ran.last, "ZeroDivisionError: division by zero")

    def test_of_what_is_not_asked_for_rightly_ends_the_run_as_without(self):
        for ran in self.with_each("--nonsense"):
            self.assertEqual((ran.status, ran.stderr.count("Traceback")), (2, 0), ran.stderr)
            self.assertIn("error: unrecognized arguments: --nonsense", ran.stderr)

    def test_that_always_fails_to_start_ends_the_run(self):
        self.write(sitecustomize="import os\nif 'TIMEOUT_MANAGER_WORKER' in os.environ: os._exit(9)", test_a=PASSES)
        how = dict(interpreter=[sys.executable], PYTHONPATH=os.pathsep.join((self.directory, ROOT)))
        ran = self.isolated("test_a", **how)
        self.assertEqual(ran.status, 1)
        self.assertIn("The tests cannot be loaded: 3 workers have ended meanwhile.\n", ran.stderr)


HANGS = KILLERS.partition("    class")[0] + """
    import subprocess
    class Case(unittest.TestCase):
        def test_1(self): pass
        def test_2(self):
            children = [subprocess.Popen(["sleep", "60"], start_new_session=each).pid for each in (False, True)]
            with open(__name__ + ".part", "w") as file: print(os.getpid(), *children, file=file)
            os.rename(__name__ + ".part", __name__ + ".ready")
            deadlock()
        def test_3(self): pass
"""
MODULE = """
    import os, time, unittest
    def setUpModule(): print("set up", __name__)
    class Case(unittest.TestCase):
        def test_1(self): time.sleep(SECONDS)
        def test_2(self): self.assertIn(os.environ["TIMEOUT_MANAGER_JOB"], ("1", "2"))
"""
NAMES = "test_a", "test_b", "test_c", "test_d"


if __name__ == "__main__":
    unittest.main()
