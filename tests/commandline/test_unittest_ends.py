"""How the command `unittest` ends, what it does to children, and which options it takes."""

import os
import re
import signal
import sys
import time
import unittest

from .. import package
from ..helpers.child import at_once, hear
from ..helpers.command import BETWEEN, Directory

POSIX = hasattr(signal, "pthread_kill")
LINUX = sys.platform == "linux"


class Ends(Directory):
    """What keeps the process alive when the tests are over."""

    LEFT = """
        import atexit, subprocess, threading, time, unittest

        def slow_goodbye(): time.sleep(60)
        def wait_for_child():
            subprocess.Popen(["sh", "-c", "read line", "mine"], stdin=subprocess.PIPE).wait()
        def fork(seconds):
            import multiprocessing
            multiprocessing.get_context("fork").Process(target=time.sleep, args=(seconds,), name="the child").start()

        class Left(unittest.TestCase):
            def test_thread(self): threading.Thread(target=time.sleep, args=(60,), name="the left one").start()
            def test_pool(self):
                from concurrent.futures import ThreadPoolExecutor
                ThreadPoolExecutor(1, "the pool").submit(slow_goodbye)
            def test_loop(self):
                import asyncio
                async def use_default_executor(): loop.run_in_executor(None, slow_goodbye)
                loop = asyncio.new_event_loop()
                loop.run_until_complete(use_default_executor())
            def test_process(self): fork(20)
            def test_brief_process(self): fork(3)
            def test_handler(self): atexit.register(slow_goodbye)
            def test_handler_of_child(self): atexit.register(wait_for_child)
            def test_thread_then_handler(self):
                atexit.register(slow_goodbye)
                threading.Thread(target=time.sleep, args=(3,), name="the first").start()
            def test_fails(self): self.fail()
    """

    def end_all(self, **ends):
        """Run these tests at once, and require of each its status and what is said after the summary."""
        self.write(test_left=self.LEFT)
        runs = {}
        for name, (options, *wanted) in ends.items():
            names = [f"test_left.Left.{test}" for test in options.split() if test[0] != "-"]
            more = [each for each in options.split() if each[0] == "-"]
            limits = ["--timeout=30", "--kill-after=0.5"]
            runs[name] = wanted, self.start("unittest", f"--report={name}.json", *limits, *more, *names)
        for name, ((status, *words), run) in runs.items():
            ran = self.end(run)
            with self.subTest(name):
                after = re.split(r"\n(?:OK|FAILED|NO TESTS).*\n", ran.stderr)[-1]
                for each in (*words, f"The process ends with status {status}.\n", "(most recent call first"):
                    self.assertIn(each, after)
                self.assertNotIn(os.path.join(package.__name__, "interpreter", "watchdog"), after)
                self.assertEqual(ran.status, status, ran.stderr)
                self.assertIsNotNone(self.read(f"{name}.json"))

    def test_threads(self):
        alive = "keep the process alive:\n"
        self.end_all(
            thread=("test_thread", 0, f"{alive}  the left one\n"),
            pool=("-q test_pool test_fails", 1, f"{alive}  the pool_0\n", "in slow_goodbye"),
            loop=("-b test_loop", 0, f"{alive}  asyncio_0\n", "in slow_goodbye"),
        )

    def test_the_status_of_a_total_that_is_spent(self):
        self.write(
            test_left="""
            import threading, time, unittest
            class Left(unittest.TestCase):
                def test_thread(self): threading.Thread(target=time.sleep, args=(60,), name="the left one").start()
                def test_total(self): time.sleep(60)
            """
        )
        ran = self.unittest("--total=3", "--kill-after=0.5")
        self.assertIn("keep the process alive:\n  the left one\n", ran.stderr)
        self.assertEqual(ran.status, 124)

    def test_what_runs_between_tests_has_as_long_as_a_test(self):
        self.write(test_between=BETWEEN)
        wheres = {"slow": "between tests"}
        if sys.implementation.name == "cpython":  # elsewhere objects die late
            wheres["Owner"] = "between tests, after test_between.Owner.test_1"
        lines = [("--timeout", "20", "--kill-after", "0.5", f"test_between.{name}") for name in wheres]
        for ran, where in zip(self.unittest_at_once(*lines, TIMEOUT_MANAGER_SCALE="0.1"), wheres.values()):
            self.assertIn(f"Time ran out in what runs {where}; the limit is 2.00 s (--timeout).", ran.stderr)
            self.assertRegex(ran.stderr, r"line \d+ in (__del__|run)\n")
            self.assertEqual(ran.status, 124)

    def test_the_status_where_no_test_ran_since_its_fixture_failed(self):
        self.write(
            test_left="""
            import time, unittest
            def setUpModule(): time.sleep(60)
            class Left(unittest.TestCase):
                def test(self): pass
            """
        )
        ran = self.unittest("--timeout=0.5")
        self.assertEqual((ran.status, ran.last), (1, "FAILED (timeouts=1, not run=1)"))

    @unittest.skipUnless(hasattr(os, "fork"), "multiprocessing cannot fork here")
    def test_exit_handlers_and_children(self):
        self.end_all(
            handler=("-v test_handler test_fails", 1, "An exit handler keeps the process alive", "in slow_goodbye"),
            process=("test_brief_process", 0, "An exit handler keeps the process alive", *["(the child)"] * LINUX),
            child=("test_handler_of_child", 0, "in wait_for_child", *["mine"] * LINUX),
            then=("--kill-after=4 test_thread_then_handler", 0, "alive:\n  the first\n", "in slow_goodbye"),
        )

    @unittest.skipUnless(LINUX, "without /proc it is not held")
    def test_kill_children_ends_what_the_end_waits_for(self):
        began = time.monotonic()
        self.end_all(process=("--kill-children=1 test_process", 0, "(the child)"))  # which holds the pipes open
        self.assertLess(time.monotonic() - began, 18)

    def test_nothing_is_said_of_what_ends_by_itself(self):
        self.write(test_left=self.LEFT)
        ran = self.unittest("--timeout", "30", "--kill-after", "30", "test_left.Left.test_fails")
        self.assertEqual((ran.status, ran.last), (1, "FAILED (failures=1)"))

    @unittest.skipUnless(POSIX, "there are no such signals")
    def test_ctrl_c_ends_the_waiting(self):
        self.write(test_left=self.LEFT)
        hear(self, signal.SIGINT)
        run = self.start("unittest", "--timeout", "30", "test_left.Left.test_handler")
        while "in slow_goodbye" not in run.stderr.readline():
            self.assertIsNone(run.poll())
        run.send_signal(signal.SIGINT)
        self.assertEqual(self.end(run).status, 0)


class Children(Directory):
    """The child processes of tests that hang."""

    WAITS = """
        import subprocess, unittest
        CHILD = "{}echo up; read line"
        kept = []  # a child whose pipes are closed ends
        class Waits(unittest.TestCase):
            def test_hangs(self): self.start("hung").wait()
            def test_leaves(self): self.start("left")
            def start(self, name):
                pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
                process = subprocess.Popen(["sh", "-c", CHILD, name], **pipes)
                kept.append(process)
                self.assertEqual(process.stdout.readline(), b"up\\n")
                return process
    """
    DEAF = "trap '' TERM; "

    @unittest.skipUnless(LINUX, "nothing tells of them")
    def test_those_that_live_on_are_named_at_the_end(self):
        self.write(test_waits=self.WAITS.replace("{}", ""))
        ran = self.unittest("--timeout", "1", "test_waits")
        end = ran.stderr.partition("Child processes that were there at a timeout live on:\n")[2].partition("\n---")[0]
        self.assertRegex(end, r"^  \d+ .* hung$")

    @unittest.skipUnless(LINUX, "nothing tells of them")
    def test_kill_children_ends_what_a_test_was_waiting_for(self):
        self.write(test_waits=self.WAITS.replace("{}", ""), test_deaf=self.WAITS.replace("{}", self.DEAF))
        options = "--timeout", "1", "--kill-children", "0.3"
        runs = self.unittest_at_once(*((*options, f"{name}.Waits.test_hangs") for name in ("test_waits", "test_deaf")))
        for how, ran in zip(("TERM", "KILL"), runs):
            self.assertEqual((ran.status, ran.outcomes), (1, {"test_hangs": "timeout"}), ran.stderr)
            self.assertRegex(ran.stderr, rf"Processes that had to be killed:\n  \d+ .* {how}\n")
            self.assertNotIn("live on", ran.stderr)


class Options(Directory):
    PASSES = "import unittest\nclass P(unittest.TestCase):\n def test_p(self): pass\n def test_q(self): print('said')\n"
    FAILS = PASSES + " def test_r(self): self.fail()\n"

    def test_everything_else_goes_to_unittest(self):
        self.write(test_p=self.PASSES, other=self.PASSES)
        os.mkdir(self.path("inner"))
        command_lines = (
            (),
            ("-v",),
            ("-q",),
            ("-b", "-f", "-c", "--locals"),
            ("-k", "test_q", "test_p"),
            ("test_p.P.test_q",),
            ("test_p.py", "other.py"),
            ("discover",),
            ("discover", "-s", ".", "-p", "o*.py", "-t", "."),
            ("discover", "--top", ".", "--start", ".", "--pat", "o*.py"),
            ("discover", "inner"),
            ("nowhere",),
            ("-v", "--", "test_p"),
            *((("-v", "--durations", "1", "test_p.P.test_q"),) if sys.version_info >= (3, 12) else ()),
        )

        def run_both(arguments):
            after = ("--timeout", "60") if "--" not in arguments else ()
            return self.plain(*arguments), self.end(self.start("unittest", *arguments, *after))

        for arguments, (plain, ours) in zip(command_lines, at_once(run_both, command_lines)):
            self.assertEqual(ours.status, plain.status, (arguments, plain.stderr, ours.stderr))
            for ran in plain, ours:
                ran.stderr = "".join(line for line in ran.stderr.splitlines(True) if "File" not in line)
            self.assertEqual(*(_masked(ran.stderr) for ran in (plain, ours)))
            self.assertEqual(ours.stdout, plain.stdout)
        ran = self.unittest("--nonsense")
        self.assertEqual((ran.status, self.plain("--nonsense").status), (2, 2))
        self.assertIn("unittest: error: unrecognized arguments: --nonsense", ran.stderr)
        self.write(test_p=self.FAILS)
        self.assertEqual(self.unittest("--timeout", "60").status, self.plain().status)

    def test_an_import_that_fails_is_told_of_as_unittest_does(self):
        self.write(test_a="import none_of_this_name\n", test_b="import test_a\n", test_c="1 / 0\n", test_d="1 +\n")
        runs = self.start(module="unittest"), self.start("unittest")
        plain, ours = (self.end(run) for run in runs)
        self.assertEqual(_masked(ours.stderr), _masked(plain.stderr))
        self.assertEqual(ours.stderr.count("ImportError: Failed to import test module"), 4)

    def test_a_setting_that_makes_no_sense_names_its_source(self):
        self.write(test_p=self.PASSES)
        settings = (
            (("--timeout", "soon"), {}, "--timeout must be seconds like 90, 1.5, 90s, 2m, 1h or 1d, not 'soon'"),
            (("--timeout=-1",), {}, "--timeout must be seconds like 90, 1.5, 90s, 2m, 1h or 1d, not '-1'"),
            (("--total", "nan"), {}, "--total must be seconds like"),
            (("--slow-after", "1w"), {}, "--slow-after must be seconds like"),
            (("-v", "--timeout"), {}, "--timeout needs a value"),
            (("--method", "magic"), {}, "--method must be one of auto, timer, signal, thread, not 'magic'"),
            (("--kill-after", "5"), {}, "--kill-after counts from a limit, and there is none: add --timeout SECONDS"),
            (("--kill-children=5", "test_p"), {}, "--kill-children counts from a limit, and there is none"),
            (("--report", os.path.join("test_p.py", "r")), {}, "test_p.py"),
            ((), {"TIMEOUT_MANAGER_TIMEOUT": "x"}, "TIMEOUT_MANAGER_TIMEOUT (from the environment) must be"),
            ((), {"TEST_TIMEOUT": "x"}, "TEST_TIMEOUT (from the environment) must be"),
            ((), {"TIMEOUT_MANAGER_SCALE": "x"}, "TIMEOUT_MANAGER_SCALE must be a finite number"),
        )
        runs = [self.start("unittest", *arguments, **variables) for arguments, variables, _ in settings]
        for (arguments, _, message), run in zip(settings, runs):
            ran = self.end(run)
            self.assertEqual(ran.status, 2, (arguments, ran.stderr))
            self.assertIn(message, ran.stderr)
            self.assertNotIn("Traceback", ran.stderr)

    def test_a_limit_that_stands_in_the_tests_is_one_to_kill_after(self):
        self.write(test_p=self.PASSES + " test_q.timeout = 30\n", test_m=self.PASSES + "timeout = 30\n")
        self.write(broken="import nonsense\n")
        runs = self.unittest_at_once(*(("--kill-after", "5", name) for name in ("test_p", "test_m", "broken")))
        self.assertEqual([ran.status for ran in runs], [0, 0, 1], [ran.stderr for ran in runs])

    def test_the_limit_can_come_from_the_environment(self):
        self.write(test_s="import time, unittest\nclass S(unittest.TestCase):\n def test_s(self): time.sleep(1)\n")
        late, scaled, *passed = self.unittest_at_once(
            (dict(TIMEOUT_MANAGER_TIMEOUT="0.2s"),),
            ("--timeout", "0.002", dict(TIMEOUT_MANAGER_SCALE="100")),
            ("--timeout", "0", dict(TIMEOUT_MANAGER_TIMEOUT="0.2")),
            ("--timeout", "0.2", dict(TIMEOUT_MANAGER_SCALE="300")),
            (dict(TIMEOUT_MANAGER_TIMEOUT="", TEST_TIMEOUT=""),),
        )
        self.assertEqual(late.outcomes["test_s"], "timeout")
        self.assertIn("(TIMEOUT_MANAGER_TIMEOUT)", late.stderr)
        self.assertIn("the limit is 0.200 s (--timeout)", scaled.stderr)
        self.assertEqual([ran.outcomes["test_s"] for ran in passed], ["passed"] * 3)

    def test_help_says_what_to_do(self):
        for arguments in (), ("--help",):
            ran = self.end(self.start(*arguments))
            self.assertEqual(ran.status, 0)
            self.assertIn(f"python -m {package.__name__} unittest --timeout 60", ran.stdout)
        ran = self.end(self.start("unittest", "--report", "report.json", "--help"))
        self.assertIsNone(ran.report)
        for option in ("--timeout SECONDS", "--junit-xml FILE", "--failfast", f"python -m {package.__name__} unittest"):
            self.assertIn(option, ran.stdout)
        self.assertEqual(self.end(self.start("nonsense")).status, 2)

    def test_a_timeout_shows_in_every_way_of_printing(self):
        self.write(test_h="import time, unittest\nclass H(unittest.TestCase):\n"
                   " def test_a(self): print('what it said'); time.sleep(60)\n def test_b(self): pass\n",
                   late="import time, unittest\nclass L(unittest.TestCase):\n"
                   " setUpClass = classmethod(lambda cls: time.sleep(60))\n def test_l(self): pass\n")  # fmt: skip
        plain, verbose, fixture, ran = self.unittest_at_once(
            ("--timeout", "0.5"),
            ("--timeout", "0.5", "-v"),
            ("--timeout", "0.5", "-v", "late"),
            ("--timeout", "0.5", "-b", "-f", "--junit-xml", "deep/er/junit.xml"),
        )
        self.assertTrue(plain.stderr.startswith("T.\n"))
        self.assertIn(" ... TIMEOUT\n", verbose.stderr)
        self.assertTrue(fixture.stderr.startswith("setUpClass (late.L) ... TIMEOUT\n"), fixture.stderr)
        self.assertIn("\nStdout:\nwhat it said\n", ran.stderr)
        self.assertNotIn("test_b", ran.outcomes)
        self.assertEqual(ran.report["counts"], {"timeout": 1})
        error = self.junit("deep/er/junit.xml").find("testcase/error")
        self.assertEqual(error.get("type"), "timeout")
        self.assertRegex(error.get("message"), r"^Time ran out in test after \d\.\d+ s; the limit is 0\.500 s \(--time")
        self.assertIn("in test_a", error.text)


def _masked(text):
    text = text.replace(f"-m {package.__name__} unittest", "-m unittest").replace("python -m", "")
    return re.sub(r"\d+\.\d+s|python[\d.t]*( -m)?", "", text)


class Debuggers(Directory):
    HANG = "import sys, time, unittest\nclass D(unittest.TestCase):\n def test_d(self):\n  {}\n  time.sleep(0.6)\n"

    def test_are_not_interrupted(self):
        self.write(test_d=self.HANG.format("breakpoint()"))
        process = self.start("unittest", "--report", "report.json", "--timeout", "2", stdin=-1)
        prompt = ""
        while not prompt.endswith("(Pdb) ") and process.poll() is None:
            prompt += process.stdout.read(1)
        time.sleep(2.1)  # longer than the limit
        ran = self.end(process, "c\n")
        self.assertEqual((ran.status, ran.outcomes["test_d"]), (0, "passed"), ran.stderr)
        self.assertEqual(ran.stderr.count("There is a debugger (pdb): nothing is interrupted."), 1)

    def test_a_tracer_is_none(self):
        self.write(test_d=self.HANG.format("sys.settrace(lambda *args: None)"))
        self.assertEqual(self.unittest("--timeout", "0.3").outcomes["test_d"], "timeout")


if __name__ == "__main__":
    unittest.main()
