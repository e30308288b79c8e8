"""Where enforcers run: at the end of the interpreter, beside another copy, in threads, children and subinterpreters."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

from .. import package
from ..helpers.child import DIRECTORY, ROOT, at_once, python
from ..helpers.enforced import CPYTHON, LIMIT, LONG, MARGIN, NAMES, spin
from ..helpers.forks import said
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
START = f"""
import os, signal, sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
"""


class AtTheEndOfTheInterpreter(Together, unittest.TestCase):
    """A generator that is suspended in a phase is collected late, or never."""

    CODE = START + (
        "def produce(**options):\n"
        "    with package.TimeoutManager(**options).timed_operation('produce', limit=1): yield\n"
        "class Slow:\n"
        "    def __del__(self, now=time.monotonic, rest=time.sleep):\n"
        "        end = now() + 1.5\n"
        "        while now() < end: rest(0.001)\n"
        "slow = Slow()\n"
    )

    def end_all(self, ends):
        for printed in at_once(lambda end: python("-c", self.CODE + end, timeout=2 * MARGIN), ends):
            self.assertEqual(printed.splitlines()[0], "fine")

    def test_nothing_hangs_and_no_alarm_kills(self):
        options = "enforce='thread'", "enforce='timer'", "enforce=True, kill_after=60", "enforce='signal'"
        self.end_all(f"suspended = produce({each}); next(suspended); print('fine')" for each in options)

    def test_nor_where_the_interpreter_ends_within_the_phase(self):
        self.end_all(
            f"phase = package.TimeoutManager(enforce={enforce!r}).timed_operation('run', limit=1)\n"
            "phase.__enter__(); print('fine')"
            for enforce in NAMES
        )


class RecursionLimit(Together, unittest.TestCase):
    def test_an_alarm_at_the_limit_does_not_kill(self):
        code = START + (
            "pypys = [TypeError] * (sys.implementation.name == 'pypy')  # of a bad chain of errors\n"
            "def deep():\n"
            "    try: return deep()\n"
            "    except (RecursionError, *pypys): pass\n"
            "    end = time.monotonic() + 0.1\n"
            "    while time.monotonic() < end:\n"
            "        try:\n"
            "            while time.monotonic() < end: pass\n"
            "        except (RecursionError, *pypys): pass\n"
            "for _ in range(3):\n"
            "    try:\n"
            "        with package.TimeoutManager(enforce='signal').timed_operation('run', limit=0.02): deep()\n"
            "    except (package.PhaseTimeout, *pypys): print('ended')\n"
        )
        self.assertEqual(said(code).split(), ["ended"] * 3)

    def test_a_look_before_the_limit_does_no_harm(self):
        code = START + (
            "from importlib import import_module\n"
            "import_module(package.__name__ + '.interrupting.enforcer').SHORTEST = 0.5  # there is a look\n"
            "def spin(depth, seconds):\n"
            "    if depth: return spin(depth - 1, seconds)\n"
            "    end = time.monotonic() + seconds\n"
            "    while time.monotonic() < end: time.sleep(0.003)\n"
            "spin(sys.getrecursionlimit() - 4, 0)\n"
            "with package.TimeoutManager(enforce='signal').timed_operation('run', limit=1):\n"
            "    spin(sys.getrecursionlimit() - 4, 0.6)\n"
            "print('fine')\n"
        )
        self.assertEqual(python("-c", code).strip(), "fine")


class TwoCopies(Together, unittest.TestCase):
    def assert_fine(self, code):
        prelude = "import signal, sys, time; sys.path.insert(0, sys.argv[1]); import one, two\n"
        with tempfile.TemporaryDirectory() as directory:
            for name in "one", "two":
                os.symlink(DIRECTORY, os.path.join(directory, name), target_is_directory=True)
            printed = python("-I", "-S", "-c", f"{prelude}{code}print('fine')", directory)
        self.assertEqual(printed.strip(), "fine")

    def test_nest_in_each_other(self):
        code = (
            "def nest(outer, inner, outer_limit, inner_limit):\n"
            "    with outer.TimeoutManager(enforce=kind).timed_operation('outer', outer_limit):\n"
            "        with inner.TimeoutManager(enforce=kind).timed_operation('inner', inner_limit):\n"
            "            end = time.monotonic() + 60\n"
            "            while time.monotonic() < end: time.sleep(0.003)\n"
            f"for kind in {NAMES}:\n"
            "    for outer, inner in (one, two), (two, one):\n"
            "        for limits, owner in ((60, 0.02), 'inner'), ((0.02, 60), 'outer'), ((2, 0.02), 'inner'):\n"
            "            for _ in range(2):\n"
            "                try: nest(outer, inner, *limits)\n"
            "                except TimeoutError as error: assert error.limited_phase == owner, error\n"
            "                else: raise AssertionError('not interrupted')\n"
            "                assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL\n"
            "                assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)\n"
        )
        self.assert_fine(code)

    def test_leave_each_other_no_block_without_its_exit(self):
        """The limits of both pass at once, in a block that swallows, so that both send the thread on."""
        code = (
            "def nest(outer, inner):\n"
            "    try:\n"
            "        with outer.timed_operation('outer'):\n"
            "            with inner.timed_operation('inner'):\n"
            "                while True:\n"
            "                    try: time.sleep(0.01)\n"
            "                    except Exception: pass\n"
            "    except TimeoutError:\n"
            "        return [phase.outcome for each in (outer, inner) for phase in each.phases]\n"
            f"for kind in {NAMES} * 3:\n"
            "    outcomes = nest(*(each.TimeoutManager(0.05, enforce=kind) for each in (one, two)))\n"
            "    assert outcomes == ['timeout', 'timeout'], (kind, outcomes)\n"
            "    assert sys.gettrace() is None\n"
        )
        self.assert_fine(code)


class Elsewhere(unittest.TestCase):
    """Where a mechanism cannot work, the next one is taken, or the reason given."""

    def in_thread(self, function):
        found = []
        thread = threading.Thread(target=lambda: found.append(function()))
        thread.start()
        thread.join(MARGIN)
        return found[0]

    def test_by_name_in_another_thread_it_says_what_is_missing_and_what_works(self):
        def go():
            manager = TimeoutManager(1, enforce="signal")
            self.assertEqual(manager.enforcement, "none")
            try:
                with manager.timed_operation("run"):
                    pass
            except RuntimeError as error:
                return str(error), manager.phases, manager.remaining_timeout

        message, phases, rest = self.in_thread(go)
        self.assertIn("enforce='signal' cannot work here: only the main thread", message)
        self.assertEqual((phases, rest), ((), 1))
        if sys.implementation.name == "cpython":
            self.assertIn('here enforce="thread" works', message)

    def test_true_takes_the_next_best(self):
        expected = "thread" if sys.implementation.name == "cpython" else "none"
        self.assertEqual(self.in_thread(lambda: TimeoutManager(enforce=True).enforcement), expected)
        self.assertEqual(TimeoutManager(enforce=True).enforcement, NAMES[0])
        self.assertEqual(TimeoutManager(enforce="signal").enforcement, "signal")
        self.assertEqual(TimeoutManager(enforce="thread").enforcement, "thread")
        self.assertEqual(TimeoutManager().enforcement, "none")

    def test_what_is_not_a_mechanism_is_refused(self):
        for value in "alarm", None, 1.5:
            with self.assertRaisesRegex(ValueError, f"enforce must be .*, not {value!r}"):
                TimeoutManager(enforce=value)

    def test_the_environment_overrides_the_code(self):
        for setting, expected in ("off", "none"), ("auto", NAMES[0]), *zip(NAMES, NAMES):
            os.environ["TIMEOUT_MANAGER_ENFORCE"] = setting
            try:
                for enforce in False, True, "thread":
                    self.assertEqual(TimeoutManager(enforce=enforce).enforcement, expected)
            finally:
                del os.environ["TIMEOUT_MANAGER_ENFORCE"]
        os.environ["TIMEOUT_MANAGER_ENFORCE"] = "maybe"
        try:
            with self.assertRaisesRegex(ValueError, "TIMEOUT_MANAGER_ENFORCE must be .*, not 'maybe'"):
                TimeoutManager()
        finally:
            del os.environ["TIMEOUT_MANAGER_ENFORCE"]

    def test_on_another_clock_limits_are_only_counted(self):
        self.assertEqual(TimeoutManager(1, enforce=True, clock=lambda: 0.0).enforcement, "none")

    def test_without_a_limit_signal_is_not_imported(self):
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "before = set(sys.modules)\n"
            "manager = package.TimeoutManager(enforce=True)\n"
            "with manager, manager.timed_operation('run'): pass\n"
            "print(sorted({'signal', 'threading', 'ctypes', 'asyncio'} & (set(sys.modules) - before)))"
        )
        self.assertEqual(python("-I", "-S", "-c", code).strip(), "[]")

    def test_where_nothing_works_it_warns_and_counts(self):
        code = START + (
            "import _signal, _thread, warnings\n"
            "def no(*args): raise RuntimeError('no threads here')\n"
            "def forbidden(*args): raise ValueError('signal only works in main thread')\n"
            "from importlib import import_module\n"
            "watchdog = import_module(package.__name__ + '.interpreter.watchdog')\n"
            "signals = import_module(package.__name__ + '.originals').signals\n"
            "signals.signal = forbidden\n"
            "watchdog.start_new_thread = no\n"
            "manager = package.TimeoutManager(0.05, enforce=True)\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always')\n"
            "    try:\n"
            "        with manager.timed_operation('run'): time.sleep(0.1)\n"
            "    except package.PhaseTimeout as error: print(error.interrupted, manager.enforcement)\n"
            "print(caught[0].category.__name__, caught[0].message)\n"
            "try:\n"
            "    with package.TimeoutManager(1, enforce='thread').timed_operation('run'): pass\n"
            "except RuntimeError as error: print(error)\n"
        )
        printed = said(code)
        self.assertIn("False none", printed)
        self.assertIn("RuntimeWarning nothing can interrupt this thread, so time is only counted: only", printed)
        self.assertIn("enforce='thread' cannot work here:", printed)
        self.assertIn("here time can only be counted", printed)

    @unittest.skipUnless(CPYTHON, "PyPy has no other way")
    def test_a_server_that_swallows_the_handler_is_found_out(self):
        code = START + (
            "from importlib import import_module\n"
            "signals = import_module(package.__name__ + '.originals').signals\n"
            "signals.signal = lambda number, handler: signals.getsignal(number)\n"
            "manager = package.TimeoutManager(0.2, enforce=True)\n"
            "print(manager.enforcement)\n"
            "try:\n"
            "    with manager.timed_operation('run'):\n"
            "        while True: time.sleep(0.01)\n"
            "except package.PhaseTimeout as error: print('interrupted', error.interrupted)\n"
            "try: package.TimeoutManager(0.2, enforce='signal').timed_operation('run').__enter__()\n"
            "except RuntimeError as error: print(error)\n"
        )
        printed = said(code)
        self.assertIn("thread\ninterrupted True\n", printed)
        self.assertIn("setting the handler of SIGALRM has no effect here", printed)


@unittest.skipUnless(hasattr(os, "fork"), "no fork here")
class Processes(Together, unittest.TestCase):
    def run_child(self, body):
        """Fork in an open phase, run the body in the child, and return its exit status."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 3.12: a fork beside other threads
            pid = os.fork()
        if pid == 0:
            try:
                body()
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        return os.waitpid(pid, 0)[1]

    def test_a_forked_child_inherits_no_interrupt_but_has_its_own(self):
        for enforce in NAMES:
            manager = TimeoutManager(enforce=enforce)

            def body():
                time.sleep(6 * LIMIT)  # the limit of the parent passes
                assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
                for kind in NAMES:
                    try:
                        with TimeoutManager(enforce=kind).timed_operation("own", LIMIT):
                            spin()
                    except PhaseTimeout as error:
                        assert error.phase == "own"
                    else:
                        raise AssertionError("not interrupted")

            with self.subTest(enforce):
                with self.assertRaises(PhaseTimeout):
                    with manager, manager.timed_operation("run", 2 * LIMIT):
                        self.assertEqual(self.run_child(body), 0)
                        spin()

    def test_a_child_that_is_forked_in_another_thread_is_interrupted_by_what_works_there(self):
        def body():
            manager = TimeoutManager(enforce=True)
            try:
                with manager.timed_operation("own", LIMIT):
                    spin()
            except PhaseTimeout as error:
                assert error.interrupted, manager.enforcement
            else:
                raise AssertionError("not interrupted")

        found = []
        thread = threading.Thread(target=lambda: found.append(self.run_child(body)))
        thread.start()
        thread.join(LONG)
        self.assertEqual(found, [0])

    def test_a_forked_child_leaves_the_phase_in_peace(self):
        def body():
            phase.__exit__(None, None, None)
            manager.__exit__(None, None, None)
            with manager.timed_operation("next", LONG):
                assert manager.enforcement == enforce

        for enforce in NAMES:
            manager = TimeoutManager(LONG, enforce=enforce)
            with manager, manager.timed_operation("run") as phase:
                self.assertEqual(self.run_child(body), 0)

    def test_spawned_and_forkserver_processes(self):
        code = START + (
            "import multiprocessing\n"
            "def work(kinds):\n"
            "    for kind in kinds:\n"
            "        try:\n"
            "            with package.TimeoutManager(0.1, enforce=kind).timed_operation('work'):\n"
            "                time.sleep(60)\n"
            "        except package.PhaseTimeout as error: assert error.interrupted, kind\n"
            "    os._exit(7)\n"
            "if __name__ == '__main__':\n"
            "    with package.TimeoutManager(60, enforce=True).timed_operation('all'):\n"
            "        for method in 'spawn', 'forkserver':\n"
            f"            process = multiprocessing.get_context(method).Process(target=work, args=({NAMES},))\n"
            "            process.start(); process.join(30); print(process.exitcode)\n"
        )
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "script.py")
            with open(script, "w") as file:
                file.write(code)
            self.assertEqual(python(script).split(), ["7"] * 2)

    def test_after_the_last_phase_exec_is_safe(self):
        code = START + (
            "manager = package.TimeoutManager(0.2, enforce=True)\n"
            "with manager:\n"
            "    with manager.timed_operation('run'): pass\n"
            "os.execv(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(0.5); print(1)'])\n"
        )
        self.assertEqual(said(code).strip(), "1")

    def test_a_child_process_started_in_a_phase_is_not_interrupted(self):
        with TimeoutManager(enforce=True).timed_operation("run", LONG):
            status = subprocess.call([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"])
        self.assertEqual(status, 0)


class Subinterpreters(unittest.TestCase):
    def test_limits_hold_or_the_reason_is_given(self):
        code = f"""
import sys, time, warnings
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
manager = package.TimeoutManager(0.1, enforce=True)
assert manager.enforcement in ("thread", "none"), manager.enforcement
warnings.simplefilter("ignore")
start = time.monotonic()
try:
    with manager.timed_operation("run"):
        while time.monotonic() < start + 0.5:
            pass
    raise AssertionError("no error")
except package.PhaseTimeout as error:
    assert error.interrupted == (manager.enforcement == "thread")
"""
        run = f"""
try:
    import _interpreters
except ImportError:
    try:
        import _xxsubinterpreters as _interpreters
    except ImportError:
        raise SystemExit("none")
made = _interpreters.create()
failed = _interpreters.run_string(made, {code!r})
assert failed is None, failed
_interpreters.destroy(made)
print("fine")
"""
        try:
            printed = said(run)
        except AssertionError as error:
            if "none" not in str(error):
                raise
            self.skipTest("no subinterpreters here")
        self.assertEqual(printed.strip().splitlines()[-1], "fine")

    def test_a_thread_that_threading_did_not_start(self):
        import _thread

        found = []

        def go():
            try:
                with TimeoutManager(enforce=True).timed_operation("run", LIMIT):
                    spin(2)
            except PhaseTimeout as error:
                found.append(error.interrupted)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _thread.start_new_thread(go, ())
            for _ in range(MARGIN * 10):
                if found:
                    break
                time.sleep(0.1)
        self.assertEqual(found, [sys.implementation.name == "cpython"])


if __name__ == "__main__":
    unittest.main()
