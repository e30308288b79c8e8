"""kill_after: what nothing can interrupt ends with the process, and says where it stood."""

import os
import select
import signal
import sys
import unittest
from subprocess import run

from .. import package
from ..helpers.child import PYTHON, ROOT, at_once, environment
from ..helpers.forks import run_code
from ..helpers.together import Together

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
LINUX_CPYTHON = sys.platform == "linux" and sys.implementation.name == "cpython"

PROGRAM = f"""
import gc, os, sys, threading, time, weakref
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
manager = package.TimeoutManager(30, enforce=True, kill_after=0.6)
with manager.timed_operation("fast"):
    pass  # whatever has to be loaded is loaded
manager.reset(0.2)

def in_c(kind):
    import ctypes
    mutex = ctypes.create_string_buffer(64)
    lock = kind(None).pthread_mutex_lock
    lock(mutex), lock(mutex)

class Thing:
    pass

def swallow():  # what is raised in a callback is lost, and C code goes on with the next one
    sys.unraisablehook = lambda *_: None
    thing = Thing()
    callbacks = [weakref.ref(thing, lambda reference: time.sleep(0.3)) for _ in range(200)]
    del thing
    gc.collect()

def go(body):
    with manager.timed_operation("hang"):
        body()
"""

WARNINGS = "import warnings\nwarnings.simplefilter({!r})\n"
NO_THREADS = """
kill, watchdog = (
    sys.modules[f"{package.__name__}.{name}"] for name in ("enforcing.kill_after", "interpreter.watchdog")
)
def no(*args):
    raise RuntimeError("no threads here")
start, watchdog.start_new_thread = watchdog.start_new_thread, no
"""


class Kill(Together, unittest.TestCase):
    server = tuple(PYTHON), ("asyncio",)

    def go(self, code):
        return run_code(WARNINGS.format("ignore") + PROGRAM + code, server=self.server)

    def assert_killed(self, code):
        done = self.go(code)
        self.assertEqual(done.returncode, 124, done)
        return done.stderr

    def assert_tells_all(self, text, where="in_c"):
        self.assertRegex(text, r"Timeout exceeded after hang phase! \(budget 0\.200 s, used \d+\.\d+ s\)")
        self.assertIn("The block is still running 0.600 s after that.\nThe process ends with status 124.\n", text)
        self.assertRegex(text, r"(?m)^fast +.* done$")
        self.assertRegex(text, r"(?m)^hang +.* running$")
        self.assertIn(where, text)

    def test_c_code_that_nothing_interrupts(self):
        import ctypes

        try:
            ctypes.CDLL(None).pthread_mutex_lock
        except (AttributeError, TypeError):
            self.skipTest("no such function here")
        self.assert_tells_all(self.assert_killed("import ctypes; go(lambda: in_c(ctypes.CDLL))"))

    def test_a_task_whose_loop_another_task_blocks(self):
        code = """
import asyncio
async def block():
    time.sleep(60)
async def main():
    asyncio.ensure_future(block())
    async with manager.timed_operation("hang"):
        await asyncio.sleep(60)
asyncio.run(main())
"""
        self.assert_tells_all(self.assert_killed(code), where="in block")

    def test_a_task_that_defies_every_cancellation(self):
        code = """
import asyncio
async def main():
    async with manager.timed_operation("hang"):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
asyncio.run(main())
"""
        self.assert_tells_all(self.assert_killed(code), where="Timeout")

    def test_a_blocking_call_in_another_thread(self):
        if sys.implementation.name != "cpython":
            self.skipTest("no interrupts in other threads here")
        code = "threading.Thread(target=go, args=(lambda: time.sleep(60),)).start(); time.sleep(60)"
        self.assert_tells_all(self.assert_killed(code), "in go")

    @unittest.skipUnless(LINUX_CPYTHON, "the timers of the kernel are Linux's, the GIL is CPython's")
    def test_c_code_that_holds_the_gil(self):
        text = self.assert_killed("import ctypes; manager.reset(1); go(lambda: in_c(ctypes.PyDLL))")
        self.assertIn("hang", text)
        self.assertIn("in_c", text)

    def test_who_ends_in_time_is_not_killed(self):
        code = """
import signal
before = [signal.getsignal(number) for number in signal.valid_signals()]
for _ in range(3):
    try:
        go(lambda: time.sleep(60))
    except package.PhaseTimeout as error:
        print(error.phase)
    manager.reset(0.2)
with manager.timed_operation("more"):
    manager.reset(3)
    time.sleep(1.5)
assert before == [signal.getsignal(number) for number in signal.valid_signals()]
time.sleep(1)
print("alive")
"""
        done = self.go(code)
        self.assertEqual((done.returncode, done.stdout.split()), (0, ["hang", "hang", "hang", "alive"]), done)

    def test_nor_is_one_in_a_session(self):
        done = self.go(
            """
with manager:
    with manager.timed_operation("fast"): pass
    time.sleep(1.5)
print("alive")
"""
        )
        self.assertEqual((done.returncode, done.stdout), (0, "alive\n"), done)

    def test_a_cleanup_may_go_on(self):
        code = """
try:
    with manager.timed_operation("run"):
        try:
            time.sleep(60)
        finally:
            with manager.cleanup_operation("tidy", limit=5):
                time.sleep(1.2)
                print("tidy")
except package.PhaseTimeout:
    print("alive")
"""
        self.assertEqual(self.go(code).stdout.split(), ["tidy", "alive"])

    @unittest.skipUnless(sys.implementation.name == "cpython", "no interrupts in other threads here")
    def test_a_cleanup_may_not_hang(self):
        code = """
def tidy():
    with manager.cleanup_operation("tidy", limit=0.2):
        time.sleep(60)
import threading
thread = threading.Thread(target=tidy)
thread.start()
thread.join()
"""
        done = self.go(code)
        self.assertEqual(done.returncode, 124, done)
        self.assertIn("Timeout exceeded after tidy phase! (limit of phase tidy", done.stderr)

    def test_a_generator_that_is_suspended_is_not_running(self):
        code = """
def produce():
    with manager.timed_operation("run"):
        yield 1
producer = produce()
next(producer)
time.sleep(1)
print("alive")
"""
        self.assertEqual(self.go(code).stdout.split(), ["alive"])

    @unittest.skipUnless(LINUX_CPYTHON and HAS_GIL, "the timers of the kernel are Linux's, the GIL is CPython's")
    def test_what_does_not_run_or_stands_aside_is_not_killed_for_c_code_that_holds_the_gil(self):
        hold = """
import ctypes
def hold_the_gil(seconds):
    mutex = ctypes.create_string_buffer(64)
    end = time.time() + seconds
    until = (ctypes.c_long * 2)(int(end), int(end % 1 * 1e9))
    library = ctypes.PyDLL(None)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_timedlock(mutex, until)
    assert time.time() >= end
"""
        suspended = """
def produce():
    with manager.timed_operation("run"):
        yield 1
producer = produce()
next(producer)
time.sleep(1.3)
hold_the_gil(1.5)
producer.close()
print("alive")
"""
        aside = """
manager.reset(60)
try:
    with manager.timed_operation("run", limit=0.2):
        try:
            time.sleep(60)
        finally:
            with manager.cleanup_operation("tidy", limit=60):
                time.sleep(1.3)
                hold_the_gil(1.5)
except package.PhaseTimeout:
    print("alive")
"""
        for done in at_once(self.go, [hold + suspended, hold + aside]):
            self.assertEqual((done.returncode, done.stdout), (0, "alive\n"), done)

    @unittest.skipUnless(sys.implementation.name == "cpython", "no interrupts in other threads here")
    def test_a_phase_that_was_entered_for_its_user(self):
        stack = """
import contextlib
def enter():
    stack = contextlib.ExitStack()
    stack.enter_context(manager.timed_operation("hang"))
    return stack
"""
        stack_of_the_block = """
import contextlib
@contextlib.contextmanager
def enter():
    with contextlib.ExitStack() as stack:
        stack.enter_context(manager.timed_operation("hang"))
        yield
"""
        generator = """
import contextlib
@contextlib.contextmanager
def enter():
    with manager.timed_operation("hang"):
        yield
"""
        own = """
class enter:
    def __enter__(self):
        self.phase = manager.timed_operation("hang")
        self.phase.__enter__()
    def __exit__(self, *args):
        self.phase.__exit__(*args)
"""
        block = """
def work():
    with enter():
        time.sleep(60)
threading.Thread(target=work, daemon=True).start()
time.sleep(10)
"""
        for text in at_once(self.assert_killed, [code + block for code in (stack, stack_of_the_block, generator, own)]):
            self.assert_tells_all(text, "in work")

    @unittest.skipUnless(LINUX_CPYTHON, "the timers of the kernel are Linux's")
    def test_the_first_phases_of_two_threads_share_the_timers(self):
        code = """
kill = sys.modules[f"{package.__name__}.enforcing.kill_after"]
kill._timers = None  # as before the first phase
make, delays = kill.EndTimers.make, [0.4, 0.2]
def slowly(status):
    time.sleep(delays.pop())
    return make(status)
kill.EndTimers.make = slowly
manager = package.TimeoutManager(1, enforce=True, kill_after=0.2)
threads = [threading.Thread(target=go, args=(lambda: None,)) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
time.sleep(2.5)
print("alive")
"""
        done = self.go(code)
        self.assertEqual((done.returncode, done.stdout), (0, "alive\n"), done)

    def test_where_no_thread_can_be_started_the_signal_that_interrupts_looks(self):
        code = NO_THREADS + """
go(swallow)
"""
        done = self.go(code)
        if not hasattr(signal, "setitimer"):
            self.skipTest("no signal interrupts here")
        self.assertEqual(done.returncode, 124, done)
        self.assertIn("The block is still running 0.600 s after that.", done.stderr)

    def test_where_nothing_can_look_it_says_so_and_nothing_is_left_open(self):
        code = NO_THREADS + """
import warnings
manager = package.TimeoutManager(0.2, kill_after=0.1)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    try:
        go(lambda: time.sleep(0.5))
    except package.PhaseTimeout as error:
        print(error.phase, *[f"{each.category.__name__}: {each.message}" for each in told], flush=True)
assert not manager._ledger.open and not kill._ends and not watchdog.jobs
watchdog.start_new_thread = start
manager.reset()
go(lambda: time.sleep(60))
"""
        done = self.go(code)
        text = "hang RuntimeWarning: kill_after cannot end this process: nothing can look whether it has to (no threads"
        self.assertEqual((done.returncode, done.stdout[: len(text)]), (124, text), done)

    @unittest.skipUnless(hasattr(select, "poll"), "not to be asked whether stderr takes more")
    def test_ends_also_where_nobody_reads_what_it_says(self):
        code = "import os\nreader, writer = os.pipe()\nos.dup2(writer, 2)\nos.set_blocking(2, False)\n"
        code += "try:\n    while True: os.write(2, b'x' * 4096)\nexcept OSError: os.set_blocking(2, True)\n"
        code += "sys.modules['_ctypes'] = None\n"  # without timers of the kernel
        code = f"import sys\n{code}{PROGRAM}go(swallow)"
        done = run([*PYTHON, "-W", "ignore", "-c", code], timeout=60, env=environment())
        self.assertEqual(done.returncode, 124)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_fork_is_not_killed_for_its_parent(self):
        code = """
try:
    with manager.timed_operation("run"):
        if os.fork() == 0:
            time.sleep(1.5)
            os._exit(5)
        time.sleep(60)
except package.PhaseTimeout:
    print(os.waitpid(-1, 0)[1] >> 8)
"""
        done = self.go(code)
        self.assertEqual(done.stdout.split(), ["5"], done)

    def count(self, code, **variables):
        """Run a program whose manager only counts."""
        program = WARNINGS.format("error") + PROGRAM.replace("enforce=True, ", "") + code
        return run_code(program, server=self.server, **variables)

    def test_works_where_time_is_only_counted(self):
        sleep = "time.sleep(60)"
        ways = (
            ("thread", "go(lambda: time.sleep(60))"),
            ("worker", "threading.Thread(target=go, args=[lambda: time.sleep(60)]).start()"),
            ("session", "with manager: go(lambda: time.sleep(60))"),
            ("cleanup", f"with manager.cleanup_operation('hang', limit=0.2): {sleep}"),
            ("task", "go_async()"),
            ("thread of a task", "go_async(lambda: time.sleep(60))"),
            ("reset", f"manager.reset(1e9)\nwith manager.timed_operation('hang'):\n RESET\n {sleep}"),
            ("no limit before", f"manager._ledger.initial = None; manager.reset()\nTHREAD\ngo(lambda: {sleep})"),
        )
        prelude = """
import asyncio
def go_async(block=None):
    async def main():
        async with manager.timed_operation("hang"):
            block() if block else await asyncio.sleep(60)
    asyncio.run(main())
"""
        reset = "time.sleep(0.1); manager.reset(0.2)"  # when the watchdog has gone to sleep
        thread = "threading.Timer(0.1, lambda: manager.reset(0.2)).start()"
        programs = [prelude + code.replace("THREAD", thread).replace("RESET", reset) for _, code in ways]
        runs = at_once(self.count, programs)
        for (where, _), done in zip(ways, runs):
            with self.subTest(where=where):
                self.assertEqual(done.returncode, 124, done)
                self.assertIn("Timeout exceeded after hang phase! (", done.stderr)
                self.assertIn("The block is still running 0.600 s after that.", done.stderr)

    def test_ends_nobody_who_is_late_by_less_where_time_is_only_counted(self):
        code = """
def rows():
    with manager.timed_operation("rows"):
        yield
suspended = rows()
next(suspended)
for _ in range(2):
    try:
        with manager.timed_operation("late"):
            time.sleep(0.3)
    except package.PhaseTimeout as error:
        print(error.phase, error.interrupted)
    manager.reset(0.2)
time.sleep(1)
print([phase.outcome for phase in manager.phases])
"""
        done = self.count(code)
        self.assertEqual(done.returncode, 0, done)
        outcomes = ["done", "running", "timeout", "timeout"]
        self.assertEqual(done.stdout.splitlines(), ["late False", "late False", str(outcomes)])

    def test_ends_nobody_where_the_environment_switches_limits_off(self):
        done = self.count("go(lambda: time.sleep(1.5))", TIMEOUT_MANAGER_ENFORCE="off")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("Timeout exceeded after hang phase!", done.stderr.splitlines()[-1])

    @unittest.skipUnless(LINUX_CPYTHON, "no /proc, or no way into another thread")
    def test_ends_the_children_of_run_and_of_kill_children_with_the_process(self):
        child = "[sys.executable, '-S', '-c', 'import time; print(1, flush=True); time.sleep(100)']"
        shell = f"['sh', '-c', '\"$0\" \"$@\"; :', *{child}]"
        ways = (
            ("subprocess", f"go(lambda: subprocess.run({shell}))"),
            ("Popen", f"go(lambda: subprocess.Popen({child}).wait())"),
            ("multiprocessing", "go(lambda: fork())"),
            ("run", f"package.TimeoutManager(60).run({shell})"),
        )
        prelude = """
import multiprocessing, subprocess
package.TimeoutManager(60).run(["true"])
manager = package.TimeoutManager(4, enforce="thread", kill_after=0.5, kill_children=0.5)
def fork():
    process = multiprocessing.get_context("fork").Process(target=lambda: (print(1, flush=True), time.sleep(100)))
    process.start()
    process.join()
def work():
    CODE
if "package.Time" in CODE_TEXT:
    threading.Thread(target=go, args=[lambda: time.sleep(60)]).start()
worker = threading.Thread(target=work)
worker.start()
worker.join()  # from 3.12 nothing may fork once the main thread is at its end
"""
        programs = [prelude.replace("CODE_TEXT", repr(code)).replace("CODE", code) for _, code in ways]
        for (where, _), done in zip(ways, at_once(self.go, programs)):  # waits until all have closed the pipe
            with self.subTest(where=where):
                self.assertEqual((done.returncode, done.stdout.split()), (124, ["1"]), done)

    def test_seconds_are_checked(self):
        for value in "1", float("nan"), True:
            with self.assertRaisesRegex((TypeError, ValueError), "kill_after"):
                package.TimeoutManager(1, enforce=True, kill_after=value)


if __name__ == "__main__":
    unittest.main()
