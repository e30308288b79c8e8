"""``python -m timeout_manager unittest``: a hung test is ended and named, and the next one runs."""

import os
import re
import signal
import sys
import time
import unittest
from xml.etree import ElementTree

from ..helpers.child import hear
from ..helpers.command import Directory
from ..helpers.enforced import NAMES

POSIX = hasattr(signal, "pthread_kill")
CPYTHON = sys.implementation.name == "cpython"
HUNG = """
    import asyncio, sys, time, unittest
    from unittest import TestCase

    class Hung(TestCase):
        timeout = 0.1
        def test_sleep(self): time.sleep(60)
        @unittest.expectedFailure
        def test_expected(self): time.sleep(60)
        def test_os_error(self):
            with self.assertRaises(OSError): time.sleep(60)
        def test_except(self):
            try: time.sleep(60)
            except Exception: pass
        def test_retry(self):
            for _ in range(1000):
                try: time.sleep(0.04)
                except OSError: pass
        def test_skip(self):
            try: time.sleep(60)
            except TimeoutError: self.skipTest("slow")
        def test_fail(self):
            try: time.sleep(60)
            except TimeoutError: self.fail("too slow")
        def test_exit(self):
            try: time.sleep(60)
            except TimeoutError: sys.exit(3)
        def test_sub(self):
            for i in range(1000):
                with self.subTest(i=i): time.sleep(0.04)
        def test_fails(self): self.fail("in time")
        def test_passes(self): pass
        test_fails.timeout = test_passes.timeout = 30

    class SetUp(TestCase):
        timeout = 0.1
        def setUp(self): time.sleep(60)
        def test_set_up(self): pass

    class End(TestCase):
        timeout = 0.3  # also for what comes before the end
        def tearDown(self):
            if "tear_down" in self.id(): time.sleep(60)
            for i in range(1000 if "end_sub" in self.id() else 0):
                with self.subTest(i=i): time.sleep(0.04)
        def test_end_sub(self): pass
        def test_tear_down(self): self.addCleanup(print, "cleaned up after tearDown")
        def test_all(self):
            self.addCleanup(print, "cleaned up after a cleanup")
            self.addCleanup(time.sleep, 60)
            time.sleep(60)

    class SetUpClass(TestCase):
        timeout = 0.1
        @classmethod
        def setUpClass(cls):
            cls.addClassCleanup(print, "cleaned up after setUpClass")
            time.sleep(60)
        def test_never(self): pass

    class TearDownClass(TestCase):
        timeout = 0.1
        @classmethod
        def setUpClass(cls): cls.addClassCleanup(time.sleep, 60)
        @classmethod
        def tearDownClass(cls): time.sleep(60)
        def test_before(self): pass

    class Async(unittest.IsolatedAsyncioTestCase):
        timeout = 1  # a loop may take its time to start
        async def asyncTearDown(self): print("asyncTearDown of", self.id())
        async def test_await(self):
            try: await asyncio.sleep(60)
            finally: print("finally of", self.id())
        async def test_block(self): time.sleep(60)
        async def test_async_sub(self):
            for i in range(1000):
                with self.subTest(i=i): await asyncio.sleep(60)
        async def test_async_passes(self): await asyncio.sleep(0)

    class Own(TestCase):
        def test_longer(self): time.sleep(0.3)
        test_longer.timeout = 30
        def test_none(self): time.sleep(0.3)
        test_none.timeout = None
        def test_zero(self): time.sleep(0.3)
        test_zero.timeout = 0
        def test_text(self): pass
        test_text.timeout = "30"
        timeout = 0.1
        def test_of_class(self): time.sleep(60)
"""
TIMEOUTS = (
    *("test_sleep", "test_expected", "test_os_error", "test_except", "test_retry", "test_skip", "test_fail"),
    *("test_exit", "test_sub"),
    *("test_set_up", "test_tear_down", "test_end_sub", "test_all", "test_await", "test_block", "test_async_sub"),
    "test_of_class",
    *("setUpClass (test_hung.SetUpClass)", "tearDownClass (test_hung.TearDownClass)"),
    "cleanup (test_hung.TearDownClass)",
)


class AHungTest(Directory):
    def check(self, ran):
        for name in TIMEOUTS:
            self.assertEqual(ran.outcomes.get(name), "timeout", (name, ran.stderr))
        others = {name: outcome for name, outcome in ran.outcomes.items() if name not in TIMEOUTS}
        passed = ["test_passes", "test_before", "test_async_passes", "test_longer", "test_none", "test_zero"]
        passed += ["test_hung"]
        passed += ["setUpClass (test_hung.TearDownClass)", "cleanup (test_hung.SetUpClass)"]
        self.assertEqual(others, {"test_fails": "failed", "test_text": "error", **dict.fromkeys(passed, "passed")})
        self.assertIn("\nFAILED (timeouts=20, not run=1, failures=1, errors=1)\n", ran.stderr)
        self.assertEqual(ran.status, 1)
        message = "TypeError: timeout of Own.test_text must be a number of seconds or None, not '30'"
        self.assertIn(f"-\n{message}\n", ran.stderr)  # without our frames
        for line in ("after tearDown", "after a cleanup", "after setUpClass"):
            self.assertIn(f"cleaned up {line}\n", ran.stdout)
        # what hangs in an await is cancelled, and cleans up before the next part begins
        name = "test_hung.Async.test_await"
        self.assertIn(f"finally of {name}\nasyncTearDown of {name}\n", ran.stdout)
        self.assertIn("asyncTearDown of test_hung.Async.test_block\n", ran.stdout)
        return ran

    def test_is_ended_by_every_method_and_the_next_one_runs(self):
        self.write(test_hung=HUNG)
        methods = ["auto", *NAMES]
        ran, *others = self.unittest_at_once(*(("--timeout", "60", "--method", each) for each in methods))
        for each in (ran, *others):
            self.check(each)
        self.assertRegex(ran.stderr, r"(?m)^TIMEOUT: test_sleep \(test_hung\.Hung")
        self.assertIn(
            "Time ran out in test after 0.1 s; the limit is 0.100 s (timeout of Hung).\n"
            '  File "test_hung.py", line 7, in test_sleep\n    def test_sleep(self): time.sleep(60)\n',
            re.sub(r"after \d\.\d+ s", "after 0.1 s", ran.stderr),
        )
        told = "".join(each.stderr for each in (ran, *others))  # one may be ended between two sub-tests
        for part in "test", "tearDown":  # it does not go on with the next one
            self.assertRegex(told, rf"Time ran out in {part} \(subTest \(i=\d\)\) after")
        self.assertRegex(ran.stderr, r"Time ran out in cleanup \(sleep\) after \d\.\d+ s; the limit is 0\.100 s")
        self.assertRegex(ran.stderr, r'(?m)^  File "test_hung.py", line \d+, in test_await\n    try: await asyncio')
        self.assertIn("It ended in this:\nTraceback", ran.stderr)

    def test_has_the_phases_of_unittest(self):
        self.write(
            test_names="""
            import unittest
            def setUpModule(): unittest.addModuleCleanup(print)
            def tearDownModule(): pass
            class Case(unittest.TestCase):
                setUpClass = tearDownClass = classmethod(lambda cls: cls.addClassCleanup(print))
                def setUp(self): self.addCleanup(print)
                def tearDown(self): pass
                def test(self): pass
            """
        )
        tests = self.unittest("--timeout", "60").report["tests"]
        self.assertEqual(
            [(each["id"], each["kind"], [phase["name"] for phase in each["phases"]]) for each in tests],
            [
                ("test_names", "import", ["import"]),
                ("setUpModule (test_names)", "fixture", ["setUpModule"]),
                ("setUpClass (test_names.Case)", "fixture", ["setUpClass"]),
                ("test_names.Case.test", "test", ["setUp", "test", "tearDown", "cleanup"]),
                ("tearDownClass (test_names.Case)", "fixture", ["tearDownClass"]),
                ("cleanup (test_names.Case)", "fixture", ["cleanup"]),
                ("cleanup (test_names.Case)", "fixture", ["cleanup"]),
                ("tearDownModule (test_names)", "fixture", ["tearDownModule"]),
                ("cleanup (test_names)", "fixture", ["cleanup"]),
            ],
        )
        self.assertEqual({each["outcome"] for each in tests}, {"passed"})

    def test_in_a_module_fixture(self):
        self.write(
            test_a="import time, unittest\ntimeout = 0.2\ndef setUpModule(): time.sleep(60)\n"
            "class A(unittest.TestCase):\n def test_never(self): pass\n",
            test_b="import time, unittest\ntimeout = 0.2\ndef tearDownModule(): time.sleep(60)\n"
            "def setUpModule(): unittest.addModuleCleanup(time.sleep, 60)\n"
            "class B(unittest.TestCase):\n def test_b(self): pass\n",
            test_c="import time, unittest\ntimeout = 0.2\n"
            "def setUpModule(): unittest.addModuleCleanup(time.sleep, 60); raise ValueError\n"
            "class C(unittest.TestCase):\n def test_never(self): pass\n",
        )
        ran = self.unittest("--timeout", "60")
        late = [each["id"] for each in ran.report["tests"] if each["outcome"] == "timeout"]
        ends = ["tearDownModule (test_b)", "cleanup (test_b)", "cleanup (test_c)"]
        self.assertEqual(late, ["setUpModule (test_a)", *ends])
        self.assertEqual(ran.last, "FAILED (timeouts=4, not run=2, errors=1)")
        self.assertEqual(ran.report["not run"], ["test_a.A.test_never", "test_c.C.test_never"])

    def test_in_a_fixture_keeps_tests_from_running_that_are_named(self):
        self.write(
            test_kept="""
            import time, unittest
            class Late(unittest.TestCase):
                timeout = 0.1
                @classmethod
                def setUpClass(cls): time.sleep(60)
                def test_a(self): pass
                def test_b(self): pass
            class Broken(unittest.TestCase):
                timeout = 1.5
                @classmethod
                def setUpClass(cls):
                    cls.addClassCleanup(time.sleep, 60)
                    1 / 0
                def test_c(self): pass
                @unittest.skip("never")
                def test_d(self): pass
            class Skipped(unittest.TestCase):
                @classmethod
                def setUpClass(cls): raise unittest.SkipTest("all of them")
                def test_e(self): pass
            class Good(unittest.TestCase):
                def test_f(self): pass
            """
        )
        ran = self.unittest("--junit-xml", "junit.xml")
        names = [f"test_kept.{name}" for name in ("Broken.test_c", "Broken.test_d", "Late.test_a", "Late.test_b")]
        self.assertEqual(ran.report["not run"], names)
        self.assertEqual(ran.last, "FAILED (timeouts=2, not run=4, errors=1, skipped=1)")
        for fixture, these in ("Broken) failed", names[:2]), ("Late) timed out", names[2:]):
            why = f"2 tests did not run, because setUpClass (test_kept.{fixture}:\n"
            self.assertIn(why + "".join(f"  {name}\n" for name in these), ran.stderr)
        suite = self.junit()
        skips = {case.get("name"): case.find("skipped") for case in suite.findall("testcase")}
        self.assertEqual(skips["test_a"].get("type"), "not run")
        self.assertEqual(skips["test_a"].get("message"), "did not run, because setUpClass (test_kept.Late) timed out")
        self.assertIsNone(skips["test_f"])

    def test_in_an_import_is_named_and_discovery_goes_on(self):
        os.mkdir(self.path("test_package"))
        self.write(
            test_a="import a_1\n",
            a_1="import time\ntime.sleep(60)\n",
            test_b="import unittest\nclass B(unittest.TestCase):\n def test_b(self): pass\n",
            test_c="import time\ndef load_tests(loader, tests, pattern): time.sleep(60)\n",
            **{
                "test_package/__init__": "import os\ndef load_tests(loader, tests, pattern):\n"
                " return loader.discover(os.path.dirname(__file__), 'part*.py')\n",
                "test_package/part_1": "import time\ntime.sleep(60)\n",
                "test_package/part_2": "import unittest\nclass P(unittest.TestCase):\n def test_p(self): pass\n",
            },
        )
        limit = "--timeout", "0.5"
        for ran in self.unittest_at_once(limit, (*limit, "test_a", "test_b", "test_c", "test_package")):
            late = {name for name, outcome in ran.outcomes.items() if outcome == "timeout"}
            self.assertEqual(late, {"test_a", "test_c", "part_1"}, ran.stderr)
            self.assertEqual((ran.outcomes["test_b"], ran.outcomes["test_p"]), ("passed", "passed"))
            self.assertIn("TIMEOUT: import test_a\n", ran.stderr)
            stack = (
                r'  File "test_a.py", line 1, in <module>\n    import a_1\n'
                r'  File "a_1.py", line 2, in <module>\n    time.sleep'
            )
            self.assertRegex(ran.stderr, stack)
            self.assertEqual(ran.last, "FAILED (timeouts=3)")

    def test_in_the_import_of_a_package_to_discover_is_named(self):
        os.makedirs(self.path("outer/inner"))
        self.write(
            **{
                "outer/__init__": "",
                "outer/inner/__init__": "import os, time\nif 'HANG' in os.environ: time.sleep(60)\n",
                "outer/inner/test_a": "import unittest\nclass A(unittest.TestCase):\n def test_a(self): pass\n",
                "outer/inner/test_b": "import time\ntime.sleep(60)\n",
            },
        )
        arguments = "--timeout", "0.5", "discover", "-s", "outer.inner"
        ran = self.unittest(*arguments, HANG="")
        self.assertEqual((ran.outcomes, ran.last), ({"inner": "timeout"}, "FAILED (timeouts=1)"))
        self.assertNotIn("A test that needs longer", ran.stderr)
        self.assertIn("TIMEOUT: import outer.inner\n", ran.stderr)
        ran = self.unittest(*arguments)
        self.assertEqual((ran.outcomes["test_a"], ran.outcomes["test_b"]), ("passed", "timeout"))


class MeddlingTests(Directory):
    """They neither kill the run nor take the limit of the next test away."""

    def test_with_signals_clocks_and_threads(self):
        hang = "    def test_{}_hang(self): time.sleep(60)\n    test_{}_hang.timeout = 0.2\n"
        meddle = {
            "a": "signal.signal(signal.SIGALRM, signal.SIG_DFL)",
            "b": "signal.setitimer(signal.ITIMER_REAL, 1000); signal.signal(signal.SIGALRM, signal.SIG_IGN)",
            "c": "mock.patch('time.monotonic', lambda: 1e9).start()",
            "d": "mock.patch('signal.signal').start(); mock.patch('signal.setitimer').start()",
            "e": "mock.patch('threading.Thread').start(); mock.patch('threading.Lock').start()",
            "f": "faulthandler.cancel_dump_traceback_later()",
            "g": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))",
            "h": "[signal.signal(n, signal.SIG_DFL) for n in range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]",
            "i": "gc.freeze() if hasattr(gc, 'freeze') else None; sys.setswitchinterval(0.5)",
        }
        self.write(
            test_meddling="import faulthandler, gc, signal, sys, threading, time, unittest\nfrom unittest import mock\n"
            "class Meddling(unittest.TestCase):\n"
            + "".join(f"    def test_{n}(self): {what}\n" + hang.format(n, n) for n, what in meddle.items())
        )
        if not POSIX:
            self.skipTest("these are signals of POSIX")
        ran = self.unittest("--timeout", "60")
        for name in meddle:
            self.assertEqual(ran.outcomes.get(f"test_{name}"), "passed", ran.stderr)
            self.assertEqual(ran.outcomes.get(f"test_{name}_hang"), "timeout", (name, ran.stderr))
        self.assertEqual(ran.status, 1)

    def test_that_replace_every_handler_and_keep_it(self):
        self.write(
            test_handlers="""
            import signal, time, unittest
            class Case(unittest.TestCase):
                timeout = 0.2
                def setUp(self):
                    for number in signal.valid_signals():
                        try: signal.signal(number, lambda *args: None)
                        except (OSError, ValueError): pass
                def test_1_waits(self): time.sleep(1.1)  # by then it is looked at again whether the timer is heard
                def test_2_computes(self):
                    end = time.monotonic() + 60
                    while time.monotonic() < end: pass
            """
        )
        if not POSIX or sys.implementation.name != "cpython":
            self.skipTest("these are signals of POSIX, and PyPy has no other way into the main thread")
        ran = self.unittest("test_handlers")
        self.assertEqual(ran.last, "FAILED (timeouts=2)", ran.stderr)
        self.assertLess(ran.report["tests"][-1]["elapsed"], 20)

    def test_that_close_the_report_files(self):
        self.write(
            test_close="""
            import os, unittest
            class Close(unittest.TestCase):
                def test_a(self): os.closerange(3, 100)
                def test_b(self):
                    self.addClassCleanup(os.closerange, 3, 100)
                    for name in "abcd":  # they get the numbers that are free
                        os.write(os.open(name, os.O_RDWR | os.O_CREAT), b'"mine"')
                def test_c(self):
                    os.remove("trace.json")
            """
        )
        ran = self.unittest("--junit-xml", "junit.xml", "--trace", "trace.json", "test_close")
        self.assertEqual((ran.status, ran.last), (0, "OK"), ran.stderr)
        self.assertEqual([ran.outcomes.get(f"test_{each}") for each in "abc"], ["passed"] * 3)
        self.assertEqual([self.read(each) for each in "abcd"], ["mine"] * 4)
        self.assertEqual(len(self.junit().findall("testcase")), 3)
        self.assertIn("trace.json cannot be written any more: ", ran.stderr)

    @unittest.skipUnless(POSIX and CPYTHON, "needs a way into another thread")
    def test_that_block_or_replace_every_signal_while_they_run_in_python(self):
        self.write(
            test_deaf="""
            import signal, time, unittest
            def hang():
                while True:
                    time.sleep(0.003)
            class Deaf(unittest.TestCase):
                timeout = 0.6  # some looks later
                def test_blocked(self):
                    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
                    hang()
                def test_replaced(self):
                    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1): signal.signal(number, signal.SIG_DFL)
                    hang()
                def test_tidy(self): pass
            """
        )
        outcomes = self.unittest("--timeout", "60", "test_deaf.Deaf").outcomes
        outcomes = [outcomes[f"test_{name}"] for name in ("blocked", "replaced", "tidy")]
        self.assertEqual(outcomes, ["timeout", "timeout", "passed"])


class TheWholeRun(Directory):
    SLOW = """
        import time, unittest
        class Slow(unittest.TestCase):
            def test_a(self): pass
            def test_b(self): time.sleep(60)
            def test_c(self): pass
            def test_d(self): pass
            @classmethod
            def tearDownClass(cls): print("tearDownClass")
    """

    def test_ends_when_its_total_is_spent(self):
        self.write(test_slow=self.SLOW)
        runs = self.unittest_at_once(
            ("--total", "3"),
            ("--timeout=40", {"TEST_TIMEOUT": "3"}),
            ({"TEST_TIMEOUT": "3", "TIMEOUT_MANAGER_SCALE": "30"},),
        )
        for ran, source in zip(runs, ("--total", *["TEST_TIMEOUT, less a margin"] * 2)):
            self.assertEqual(ran.status, 124, ran.stderr)
            self.assertEqual(ran.outcomes["test_b"], "timeout")
            self.assertEqual(ran.report["not run"], ["test_slow.Slow.test_c", "test_slow.Slow.test_d"])
            self.assertIn("2 tests did not run, because the total of ", ran.stderr)
            self.assertIn(f"({source}) is spent:\n  test_slow.Slow.test_c\n  test_slow.Slow.test_d\n", ran.stderr)
            self.assertEqual(ran.last, "FAILED (timeouts=1, not run=2)")
            self.assertNotIn("A test that needs longer", ran.stderr)
            self.assertIn("tearDownClass", ran.stdout)

    def test_names_the_import_that_has_spent_the_total(self):
        self.write(test_a="import time\ntime.sleep(60)\n", test_b=self.SLOW)
        ran = self.unittest("--total", "1", "test_a", "test_b.Slow.test_c")
        self.assertEqual(ran.status, 124, ran.stderr)
        self.assertIn("TIMEOUT: import test_a\n", ran.stderr)
        self.assertEqual((ran.outcomes, ran.report["not run"]), ({"test_a": "timeout"}, ["import test_b.Slow.test_c"]))
        self.assertEqual(ran.last, "FAILED (timeouts=1, not run=1)")

    def test_is_ended_by_ctrl_c_with_its_summary_and_reports(self):
        hear(self, signal.SIGINT)
        self.write(test_slow=self.SLOW)
        process = self.start("unittest", "--report", "report.json", "--junit-xml", "junit.xml", "-v")
        seen = []
        while not seen or not seen[-1].startswith("test_b"):
            seen.append(process.stderr.readline() if not seen else process.stderr.read(len("test_b")))
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        ran = self.end(process)
        self.assertEqual(ran.status, -signal.SIGINT)
        self.assertEqual(ran.last, "FAILED (not run=2, interrupted)")
        self.assertIn("2 tests did not run, because of Ctrl-C:\n  test_slow.Slow.test_c\n", ran.stderr)
        self.assertEqual(ran.outcomes["test_b"], "interrupted")
        self.assertRegex(ran.stderr, r"(?s)\nINTERRUPTED: test_b .*, in test_b\n.*\nKeyboardInterrupt\n")
        self.assertIsNotNone(ElementTree.parse(self.path("junit.xml")).find(".//error[@type='interrupted']"))

    def test_says_what_is_slow(self):
        self.write(test_slow="import time, unittest\nclass S(unittest.TestCase):\n def test_s(self): time.sleep(1.5)\n")
        ran = self.unittest("--slow-after", "0.5")
        self.assertRegex(ran.stderr, r"SLOW: test_slow\.S\.test_s is still running after [\d.]+ s, in test\n  File ")
        self.assertEqual(ran.status, 0)

    def test_a_run_that_ends_amid_a_test_or_fixture_tells_everything_up_to_then(self):
        self.write(
            test_ends="""
            import os, unittest
            class Ends(unittest.TestCase):
                def test_a(self): pass
                def test_b(self): os._exit(3)
            class Fixture(unittest.TestCase):
                @classmethod
                def setUpClass(cls): os.kill(os.getpid(), 9)
                def test_c(self): pass
            """
        )
        for tests, status, counts, last in (
            (["test_ends.Ends"], 3, {"passed": 1, "running": 1}, "test_ends.Ends.test_b"),
            (["test_ends.Fixture"], -9, {"running": 1}, "setUpClass (test_ends.Fixture)"),
        ):
            ran = self.unittest("--junit-xml", "junit.xml", "--trace", "trace.json", *tests)
            self.assertEqual((ran.status, ran.report["counts"]), (status, counts))
            self.assertEqual([(each["id"], each["outcome"]) for each in ran.report["tests"]][-1], (last, "running"))
            cases = self.junit().findall("testcase")
            self.assertEqual((len(cases), cases[-1].find("error").get("type")), (sum(counts.values()), "killed"))
            event = self.read("trace.json")["traceEvents"][-1]
            self.assertEqual((event["name"], event["ph"]), (last, "B"))

    @unittest.skipUnless(CPYTHON and sys.platform == "linux", "timers of the kernel, by ctypes")
    def test_is_killed_where_nothing_else_helps(self):
        self.write(
            test_c="""
            import collections, ctypes, itertools, unittest
            class C(unittest.TestCase):
                def test_c(self): collections.deque(map(ctypes.PyDLL(None).usleep, itertools.repeat(1000)), 0)
            """
        )
        ran = self.unittest("--timeout", "0.3", "--kill-after", "0.3")
        self.assertEqual(ran.status, 124)
        self.assertIn("test_c.C.test_c > test", ran.stderr)
        self.assertIn('File "', ran.stderr)
        self.assertEqual(ran.outcomes["test_c"], "running")

    @unittest.skipUnless(CPYTHON, "no interrupt out of reach of the except")
    def test_ends_also_where_a_coroutine_does_not_let_itself_be_closed(self):
        self.write(
            test_stubborn="""
            import asyncio, unittest
            class Stubborn(unittest.IsolatedAsyncioTestCase):
                async def test_stubborn(self):
                    while True:
                        try: await asyncio.sleep(60)
                        except BaseException: pass
            """
        )
        ran = self.unittest("--timeout", "0.5")
        self.assertEqual((ran.status, ran.outcomes["test_stubborn"]), (1, "timeout"), ran.stderr)


if __name__ == "__main__":
    unittest.main()
