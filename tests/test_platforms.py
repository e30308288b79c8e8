"""What platforms lack, taken away on this one: what can do without it does, and what cannot says so."""

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from . import package
from .helpers.child import PYTHON, ROOT, environment
from .helpers.forks import CAN_FORK, Fork

NO_THREADS = """
def no(*args, **kwargs):
    raise RuntimeError("can't start new thread")
import _thread
_thread.start_new_thread = _thread.start_joinable_thread = no
"""
NO_CTYPES = "sys.modules['_ctypes'] = None\n"
NO_WAY = NO_CTYPES + "if hasattr(sys, 'monitoring'): del sys.monitoring\n"  # into another thread
NO_ALARM = NO_CTYPES + "import _signal\ndel _signal.setitimer\n"
FORGOTTEN = package.__name__.partition(".")[0], "ctypes", "signal", "threading"
FORGET = f"""
import sys
for name in [name for name in sys.modules if name.partition(".")[0] in {FORGOTTEN}]:
    del sys.modules[name]  # what is loaded, and has looked at what there is
"""
PRELUDE = f"""
import {package.__name__} as package
import importlib, os, threading, time, warnings
warnings.simplefilter("always")
def module(name):
    return importlib.import_module(f"{package.__name__}.{{name}}")
def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()  # an interpreter that ends starts no watchdog any more
def interrupted(manager, body):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with manager.timed_operation("block", 0.1):
                body()
        except package.PhaseTimeout as error:
            print(manager.enforcement, error.interrupted, *[each.message for each in told], flush=True)
        except RuntimeError as error:
            print(error, flush=True)
"""
COMMAND = """
import unittest
class Case(unittest.TestCase):
    def test_fast(self): pass
    def test_hangs(self): time.sleep(9)
module("__main__").main({})
"""
REFUSED = """
import posix
def refuse(*args, **kwargs):
    raise OSError(1, "Operation not permitted")
posix.{} = refuse
"""
FORBIDDEN = """
import _signal
def refuse(*args):
    raise _signal.ItimerError(1, "Operation not permitted")
_signal.{0} = refuse
"""
AUDITED = """
def audit(event, args):
    if event == "ctypes.dlsym" and args[-1] == "timer_create":
        raise RuntimeError("no such call in here")
sys.addaudithook(audit)
"""
EACH = """
manager = package.TimeoutManager(9, enforce=True, kill_after=9)
interrupted(manager, lambda: [time.sleep(0.01) for _ in range(900)])
for name in "timer", "signal":
    interrupted(package.TimeoutManager(9, enforce=name), lambda: time.sleep(9))
"""
ISOLATED = """
import tempfile, unittest
tempfile.tempdir = "/proc/self/nowhere"
class Case(unittest.TestCase):
    def test(self): print("said")
module("__main__").main(["unittest", "--isolate", *{}, "__main__"])
"""
NO_GROUPS = """
originals = module("originals")
for name in "killpg", "getpgrp", "waitid", "waitpid", "getsid":
    originals.system.__dict__.pop(name, None)
for name in "SIGKILL", "SIGSTOP", "SIGCONT":
    delattr(originals.signals, name)
job, child = module("processes.job"), module("processes.child")
assert not module("processes.table").HAS_GROUPS
def kill(pid):
    try: os.killpg(pid, 9)
    except ProcessLookupError: pass
def run():
    try:
        manager = package.TimeoutManager(9)
        manager.run("sleep 9 2>/dev/null & echo said; wait", timeout=1.5, stdout=-1, text=True, shell=True)
    except package.PhaseTimeout as error:
        print([each.signal for each in error.killed], error.survivors, error.output)
"""
CASES = {
    "no threads, best": (NO_THREADS, "interrupted(package.TimeoutManager(9, enforce=True), lambda: time.sleep(9))"),
    "no threads, thread": (NO_THREADS, "interrupted(package.TimeoutManager(9, enforce='thread'), int)"),
    "no threads, unittest": (NO_THREADS, COMMAND.format(["unittest", "--timeout", "2", "__main__"])),
    "no threads, slow": (NO_THREADS, COMMAND.format(["unittest", "--slow-after", "0.1", "__main__"])),
    "no threads, method": (NO_THREADS, COMMAND.format(["unittest", "--method", "thread", "__main__"])),
    "nothing, kill": (NO_ALARM + NO_THREADS, COMMAND.format(["unittest", "--kill-after", "1", "__main__"])),
    "nothing, task": (
        NO_ALARM + NO_THREADS,
        """
import asyncio
async def blocks():
    time.sleep(0.2)
async def main():
    manager = package.TimeoutManager(9, enforce=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for body in lambda: asyncio.sleep(9), blocks:
            try:
                async with manager.timed_operation("task", 0.1):
                    await body()
            except package.PhaseTimeout as error:
                print(manager.enforcement, error.interrupted)
    print({str(each.message) for each in told})
asyncio.run(main())
""",
    ),
    **{f"refused, {name}": (FORBIDDEN.format(name), EACH) for name in ("signal", "pthread_sigmask", "setitimer")},
    "refused, ctypes": (AUDITED, EACH),
    "no real-time signals": (
        "import _signal\ndel _signal.SIGRTMIN, _signal.SIGRTMAX\n",
        "interrupted(package.TimeoutManager(9, enforce='thread'), lambda: time.sleep(9))\n"
        "import signal; assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL",
    ),
    "no way, worker": (
        NO_WAY,
        "manager = package.TimeoutManager(9, enforce=True)\n"
        "in_thread(interrupted, manager, lambda: time.sleep(0.2))",
    ),
    "no way, kill": (
        NO_WAY,
        "manager = package.TimeoutManager(9, enforce=True, kill_after=0.1)\n"
        "in_thread(interrupted, manager, lambda: time.sleep(9))",
    ),
    "no processor time": (
        "import time\ndel time.pthread_getcpuclockid\n",
        """
module("interpreter.threads")._scheduled = lambda ident: (0.0, 0.0)  # as without /proc
enforcer = module("interrupting.enforcer")
enforcer.SHORTEST, enforcer.BRIEFEST = 0.1, 0.02
def loop():
    while True: pass
diagnosis = ""
for limit in 0.2, 1, 5:  # on a busy machine nobody may have looked before it was over
    if "At the same line" not in diagnosis:
        try:
            with package.TimeoutManager(limit, enforce="thread").timed_operation("block"):
                loop()
        except package.PhaseTimeout as error:
            diagnosis = error.diagnosis
print(diagnosis)
""",
    ),
    "no clock since the boot": (
        "import time\ndef no(*args):\n    raise OSError(22, 'Invalid argument')\ntime.clock_gettime = no\n",
        "print(package.TimeoutManager(9).run([sys.executable, '-S', '-c', 'print(7)'], stdout=-1).stdout)",
    ),
    "no list of signals": (
        "import signal\nif hasattr(signal, 'valid_signals'): del signal.valid_signals\n",
        "print(module('commandline.run_command')._signal('term'))",
    ),
    "Windows, a job": (
        "",
        NO_GROUPS
        + """
class InAJob:
    def __init__(self, process): self.process = process
    def pids(self): return [self.process, 10**8] if os.path.exists(f"/proc/{self.process}/task") else []
    def end(self): kill(self.process)
    def close(self): print("closed")
job._Job, child.Child._handle = InAJob, property(lambda process: process.pid)
run()
import gc; gc.collect()
""",
    ),
    "Windows, no job": (
        "",
        NO_GROUPS
        + """
import subprocess
def taskkill(words, **options):
    print(words[:-1])
    kill(int(words[-1]))
subprocess.run = taskkill
run()
""",
    ),
    "Windows, nothing": ("", NO_GROUPS + "os.environ['PATH'] = '/bin:/usr/bin'\nrun()"),
    "Windows, command": (
        "import signal\nfor name in ('ALRM', 'CHLD', 'TTIN', 'TTOU'): delattr(signal, 'SIG' + name)\n",
        "module('__main__').main(['run', '9', sys.executable, '-S', '-c', 'raise SystemExit(3)'])",
    ),
    "no fcntl": (
        "import asyncio\nsys.modules['fcntl'] = sys.modules['resource'] = None\nsys.platform = 'sunos5'\n",
        """
import pkgutil
for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not each.name.endswith(("pytest_plugin", "__main__")):
        importlib.import_module(each.name)
"""
        + COMMAND.format(["unittest", "--isolate", "__main__"]),
    ),
    "isolated, no memory": (
        REFUSED.format("memfd_create"),
        ISOLATED.format([]).replace("/proc/self/nowhere", tempfile.gettempdir()),
    ),
    "isolated, no directory": ("sys.stdout = sys.stderr = None\n", ISOLATED.format(["--jobs", "2"])),
    "isolated, no process": (REFUSED.format("fork"), ISOLATED.format([])),
    "no stdout": ("sys.stdout = None\n", "module('__main__').main(['help', 'guide.zh'])"),
    "no stderr": ("sys.__stderr__ = None\n", "module('interpreter.stderr').tell('into another file'); print('told')"),
}
SIGNALS = {"no threads, best", "no threads, unittest", "no threads, method", "no real-time signals"}
SIGNALS |= {name for name in CASES if name.startswith("refused")}


class WhereThatIsMissing(unittest.TestCase):
    """Each in a process of its own, which loads the package anew; all are started together."""

    @classmethod
    def setUpClass(cls):
        cls.started = {name: cls.start(name, *case) for name, case in CASES.items() if cls.applies(name)}
        for process in cls.started.values():
            cls.addClassCleanup(process.communicate)
            cls.addClassCleanup(process.kill)

    @staticmethod
    def applies(name):
        if name in SIGNALS:
            return hasattr(importlib.import_module("signal"), "setitimer")
        if name.startswith(("Windows", "isolated")):
            return sys.platform == "linux"
        return name != "no processor time" or hasattr(importlib.import_module("time"), "pthread_getcpuclockid")

    @staticmethod
    def start(name, lacking, code):
        code = f"{FORGET}{lacking}{PRELUDE}{code}"
        if CAN_FORK and not name.startswith("isolated"):  # these start what they have been started by
            return Fork("-c", [code], ROOT, environment())
        pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return subprocess.Popen([*PYTHON, "-c", code], cwd=ROOT, env=environment(), **pipes)

    def said(self, name, status=0):
        """Return what it has written, if it has ended with this status."""
        if name not in self.started:
            self.skipTest("no such signals, or no such clock, here")
        process = self.started[name]
        stdout, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, status, (name, stdout, stderr))
        self.assertNotIn("Traceback", stderr)
        return stdout + stderr

    def test_no_thread_is_needed_to_interrupt_the_main_one(self):
        self.assertRegex(self.said("no threads, best"), r"^(timer|signal) True$")

    def test_a_watchdog_without_threads_is_refused(self):
        expected = r"enforce='thread' cannot work here: .*no thread can be started here \(can't start new thread\)"
        self.assertRegex(self.said("no threads, thread"), expected)

    def test_tests_are_interrupted_without_threads(self):
        said = self.said("no threads, unittest", 1)
        self.assertRegex(said, r"Ran 2 tests in [\s\S]*\nFAILED \(timeouts=1\)\n$")

    def test_options_that_need_threads_are_refused(self):
        expected = "--slow-after cannot work here: no thread can be started here (can't start new thread); --report"
        self.assertIn(expected, self.said("no threads, slow", 2))
        expected = r"--method thread cannot work here: no thread can be .*; --method (timer|signal) works\n$"
        self.assertRegex(self.said("no threads, method", 2), expected)

    def test_the_end_of_what_hangs_is_not_promised_where_nothing_can_look(self):
        self.assertIn("--kill-after cannot work here: no thread can be started", self.said("nothing, kill", 2))

    def test_a_task_that_blocks_is_told_to_be_counted(self):
        expected = "asyncio True\nasyncio False\n{'nothing can interrupt this thread: a task ends where it awaits; "
        self.assertEqual(self.said("nothing, task").partition("while it blocks")[0], expected)

    @unittest.skipUnless(sys.implementation.name == "cpython", "PyPy has no way into a thread but signals")
    def test_where_the_system_refuses_what_signals_take_the_watchdog_interrupts(self):
        for name in "signal", "pthread_sigmask":
            said = self.said(f"refused, {name}").splitlines()
            why = "the system refuses sigaction or sigprocmask (Operation not permitted)"
            expected = [f"enforce={kind!r} cannot work here: {why}; here " for kind in ("timer", "signal")]
            self.assertEqual(said[0], "thread True")
            self.assertEqual([line.partition('enforce="')[0] for line in said[1:]], expected)
        self.assertIn("cannot work here: the system refuses setitimer (Oper", self.said("refused, setitimer"))

    @unittest.skipUnless(sys.implementation.name == "cpython", "PyPy tells auditors nothing of that")
    def test_where_ctypes_is_refused_the_alarm_interrupts(self):
        said = self.said("refused, ctypes")
        self.assertRegex(said, r"^signal True\n.*out of reach \(no such call in here\); here .*\nsignal True\n$")

    def test_the_main_thread_is_interrupted_without_real_time_signals(self):
        self.assertEqual(self.said("no real-time signals"), "thread True\n")

    def test_a_worker_that_nothing_reaches_is_told_to_be_counted(self):
        self.assertRegex(self.said("no way, worker"), "^none False nothing can interrupt this thread, so time is only")

    def test_a_worker_that_nothing_reaches_ends_with_the_process(self):
        self.assertIn("The block is still running 0.100 s after that.", self.said("no way, kill", 124))

    def test_it_is_not_claimed_that_a_loop_waits_where_its_processor_time_is_not_known(self):
        self.assertRegex(self.said("no processor time"), r"At the same line for the last .* \(seen \d+ times?\)\.\n")

    def test_commands_run_where_nothing_tells_when_they_began(self):
        self.assertIn("7", self.said("no clock since the boot"))

    def test_a_signal_has_its_name_where_no_list_of_them_can_be_had(self):
        self.assertEqual(self.said("no list of signals"), "15\n")

    def test_a_job_ends_with_all_that_is_in_it(self):
        self.assertEqual(self.said("Windows, a job"), "['TERM', 'KILL'] () said\n\nclosed\n")

    def test_where_no_job_can_be_had_taskkill_ends_what_it_finds(self):
        said = self.said("Windows, no job").splitlines()
        self.assertEqual(said[:2], ["['taskkill', '/F', '/T', '/PID']", "['TERM'] () said"])

    def test_where_taskkill_cannot_be_had_either_the_child_itself_ends(self):
        self.assertIn("['TERM'] () said", self.said("Windows, nothing"))

    def test_a_command_has_its_time_where_there_is_no_alarm(self):
        self.assertEqual(self.said("Windows, command", 3), "")

    def test_all_can_be_imported_elsewhere_than_on_unix(self):
        self.assertIn("--isolate needs Linux", self.said("no fcntl", 2))

    def test_workers_need_a_place_for_files_in_memory_or_on_disk(self):
        self.assertRegex(self.said("isolated, no memory"), r"^said\n[\s\S]*\nOK\n$")
        self.assertEqual(self.said("isolated, no directory"), "")

    def test_workers_that_cannot_be_started_end_the_run(self):
        expected = "No worker can be started: [Errno 1] Operation not permitted\n"
        self.assertEqual(self.said("isolated, no process", 1), expected)

    def test_a_page_of_the_manual_without_stdout(self):
        self.assertEqual(self.said("no stdout"), "")

    def test_nothing_is_written_into_a_file_that_has_the_number_of_stderr(self):
        self.assertEqual(self.said("no stderr"), "told\n")


class APipeThatAThreadReads(unittest.TestCase):
    """As on Windows, while somebody who lives on holds it open."""

    def setUp(self):
        reader, self.writer = os.pipe()
        self.buffer = []
        self.pipe = os.fdopen(reader, encoding="utf-8", newline=None)
        kind = importlib.import_module(f"{package.__name__}.processes.child").Child
        self.child = child = kind.__new__(kind)
        child.returncode, child._child_created = 0, False
        self.thread = threading.Thread(target=child._readerthread, args=(self.pipe, self.buffer), daemon=True)
        self.thread.start()
        os.write(self.writer, "a\r\n\u00e9".encode()[:-1])
        end = time.monotonic() + 20
        while self.buffer[:1] in ([], [b""]) and time.monotonic() < end:
            time.sleep(0.001)

    def test_what_has_come_is_known_and_nobody_waits(self):
        def communicate(timeout):
            raise subprocess.TimeoutExpired("command", timeout)

        child = self.child
        child.stdin = child.stderr = None
        child.stdout, child.stdout_thread, child._stdout_buff = self.pipe, self.thread, self.buffer
        child.communicate = communicate
        self.assertEqual(child.drain(), ("a\n\ufffd", None))
        self.assertFalse(self.pipe.closed)
        os.close(self.writer)
        self.thread.join(20)
        self.assertTrue(self.pipe.closed)

    def test_what_has_come_at_its_end_is_text(self):
        os.write(self.writer, "\u00e9".encode()[1:])
        os.close(self.writer)
        self.thread.join(20)
        self.assertEqual(self.child._text_of(self.pipe, self.buffer[0]), "a\n\u00e9")
        self.child.is_cut = True
        self.assertEqual(self.child._text_of(self.pipe, self.buffer[0][:-1]), "a\n\ufffd")


class AStandardLibraryInAZip(unittest.TestCase):
    def test_is_not_the_code_of_the_user(self):
        frames = importlib.import_module(f"{package.__name__}.interpreter.frames")
        for path, is_own in ("threading.py", False), ("unittest/case.py", False), ("mine.py", True):
            code = compile("", path.replace("/", frames.sep), "exec")
            self.assertIs(frames._is_own(code), is_own, path)


if __name__ == "__main__":
    unittest.main()
