"""What an interrupted phase says of the place where it stood; and debuggers, where nothing is interrupted."""

import asyncio
import importlib
import bdb
import functools
import itertools
import os
import pickle
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import ROOT, environment, python

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
CPYTHON = sys.implementation.name == "cpython"
WHOLE_STACKS = getattr(sys, "_is_gil_enabled", lambda: True)()  # of threads that may run on while they are looked at


def hang():
    time.sleep(60)


def swallow():
    try:
        hang()
    except Exception:
        pass


def interrupted(enforce=True, body=hang, limit=0.1):
    """Return the error of a phase whose body hangs."""
    try:
        with TimeoutManager(limit, enforce=enforce).timed_operation("phase"):
            body()
    except PhaseTimeout as error:
        return error


class TheDiagnosis(unittest.TestCase):
    def test_is_the_stack_of_the_thread_that_was_interrupted(self):
        for enforce in True, "thread":
            error = interrupted(enforce)
            self.assertRegex(error.diagnosis, r"^Stack of thread MainThread \(most recent call last\):\n")
            self.assertRegex(error.diagnosis, r"in hang\n    time\.sleep\(60\)(\n\n|\Z)")
            self.assertIn("in interrupted\n    body()\n", error.diagnosis)
            self.assertNotIn(package.__name__ + "/", error.diagnosis)

    @unittest.skipUnless(hasattr(BaseException, "add_note"), "no notes")
    def test_is_a_note_on_the_error(self):
        for body in hang, swallow:
            error = interrupted(body=body)
            self.assertEqual(error.__notes__, [error.diagnosis])

    def test_travels_with_the_error(self):
        error = interrupted()
        self.assertEqual(pickle.loads(pickle.dumps(error)).diagnosis, error.diagnosis)

    def test_is_empty_where_time_is_only_counted(self):
        error = interrupted(False, lambda: time.sleep(0.2))
        self.assertEqual((error.diagnosis, error.interrupted), ("", False))

    def test_has_the_lines_where_tasks_wait(self):
        async def wait():
            await asyncio.sleep(60)

        def body():
            asyncio.run(wait())

        self.assertRegex(interrupted(body=body).diagnosis, r"in wait\n    await asyncio\.sleep\(60\)\n")


def wait(event):
    event.wait()


class OfEverythingElse(unittest.TestCase):
    def start(self, number=1, target=wait):
        """Start threads, and wait until all of them stand at the same line."""
        event = threading.Event()
        threads = [threading.Thread(target=target, args=(event,), name=f"helper-{each}") for each in range(number)]
        for thread in threads:
            thread.start()
            self.addCleanup(thread.join)
            self.addCleanup(event.set)
        places, end = (), time.monotonic() + 60
        while len(places) != 1 and time.monotonic() < end:
            time.sleep(0.1)
            frames = sys._current_frames()
            places = {(frame.f_code, frame.f_lineno) for frame in map(frames.get, (each.ident for each in threads))}

    def test_other_threads_by_their_names(self):
        self.start()
        for enforce in True, "thread":
            told = interrupted(enforce).diagnosis
            self.assertIn("\n\nStack of thread helper-0 (most recent call last):\n", told)
            if WHOLE_STACKS:
                self.assertRegex(told, r"in wait\n    event\.wait\(\)\n")

    def test_a_crowd_of_threads_is_one_stack(self):
        self.start(200)
        began = time.monotonic()
        told = interrupted().diagnosis
        self.assertLess(time.monotonic() - began, 30)
        self.assertLess(len(told.splitlines()), 100)
        self.assertRegex(told, r"Stack of 200 threads \(helper-\d+, helper-\d+, helper-\d+, \.\.\.\)")

    def test_tasks_by_their_names_and_who_awaits_them(self):
        async def inner():
            await asyncio.sleep(60)

        async def main():
            task = asyncio.ensure_future(inner())
            task.set_name("the inner one")
            asyncio.current_task().set_name("the outer one")
            await task

        told = interrupted(body=lambda: asyncio.run(main())).diagnosis
        by = ", awaited by the outer one" if sys.version_info >= (3, 14) else ""
        self.assertIn(f"Stack of task the inner one{by} (most recent call last):", told)
        self.assertRegex(told, r"in inner\n    await asyncio\.sleep\(60\)")
        self.assertRegex(told, r"Stack of task the outer one \(most recent call last\):\n.*in main\n    await task")

    @unittest.skipUnless(WHOLE_STACKS, "other threads may run on while they are looked at")
    def test_tasks_in_the_loop_of_another_thread(self):
        def serve(event):
            async def waits():
                while not event.is_set():
                    await asyncio.sleep(0.01)

            asyncio.run(waits())

        event = threading.Event()
        thread = threading.Thread(target=serve, args=(event,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(event.set)
        time.sleep(2)
        self.assertRegex(interrupted().diagnosis, r"Stack of task Task-\d+ .*\n.* in waits\n    await asyncio")

    @unittest.skipUnless(sys.platform == "linux", "needs /proc")
    def test_child_processes(self):
        process = subprocess.Popen(["sh", "-c", "sleep 60.25; true"], start_new_session=True)
        try:
            told = interrupted(body=process.wait, limit=1).diagnosis
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        about = r"( in \w+)?, \d\.\d s old, \d\.\d\d s of processor time"
        self.assertRegex(told, rf"\nChild processes:\n(  .*\n)*  \d+ sleeping{about}: sh -c sleep 60\.25; true\n")
        self.assertRegex(told, rf"(?m)\n    \d+ sleeping{about}: sleep 60\.25$")

    @unittest.skipUnless(sys.platform == "linux", "needs /proc")
    def test_a_crowd_of_child_processes(self):
        processes = import_module(f"{package.__name__}.processes.table")
        numbers = range(10**7, 10**7 + 1000)
        crowd = {number: processes.Process(number, os.getpid(), 1, 1, "S", 0.0) for number in numbers}
        with mock.patch.object(processes, "processes", lambda: crowd):
            told = processes.family()
        self.assertLess(len(told.splitlines()), 50)
        self.assertRegex(told, r"\n  and 970 more\Z")
        with mock.patch.object(processes, "has_proc", lambda: False):
            self.assertEqual(processes.family(), "Child processes: not known on this system")

    def test_the_phases_so_far(self):
        manager = TimeoutManager(60, enforce=True)
        for number in range(40):
            with manager.timed_operation(f"phase {number}"):
                pass
        with self.assertRaises(PhaseTimeout) as caught:
            with manager.timed_operation("outer"):
                with manager.timed_operation("inner", limit=0.1):
                    hang()
        with manager.timed_operation("later"):
            pass
        ledger = caught.exception.diagnosis.partition("\n\nPhases so far:\n")[2]
        shown = re.sub(r" +\d+\.\d+ m?s  ", " ", ledger).splitlines()
        self.assertEqual(shown[:2], ["  and 12 earlier ones", "  phase 12 done"])
        self.assertEqual(shown[-2:], ["  outer RUNNING", "    inner RUNNING (limit 0.100 s)"])

    def test_what_cannot_be_looked_at_does_not_hide_the_timeout(self):
        with mock.patch("asyncio.all_tasks", side_effect=KeyError("broken")):
            error = interrupted(body=lambda: asyncio.run(asyncio.sleep(60)))
        self.assertTrue(error.interrupted)
        self.assertRegex(error.diagnosis, r"What could not be looked at: .*: KeyError\('broken'\)")

    def test_what_a_test_has_mocked_is_neither_used_nor_called(self):
        names = ["sys._current_frames", "os.waitid", "os.listdir", "os.getcwd", "os.getpid", "os.fspath"]
        names += ["os.path.join", "os.path.relpath", "os.stat", "builtins.open", "io.open", "linecache.getline"]
        self.start()
        for name in names:
            module, _, function = name.rpartition(".")
            if hasattr(importlib.import_module(module), function):
                with self.subTest(name), mock.patch(name, side_effect=KeyError("broken")) as mocked:
                    error = interrupted()
                    told = error.diagnosis
                    self.assertFalse(mocked.called)
                self.assertIn("in hang\n    time.sleep(60)", told)
                self.assertIn("helper-0", told)
                self.assertNotIn("broken", told)

    def test_what_cannot_be_told_does_not_hide_the_timeout(self):
        class Nameless:
            def __str__(self):
                raise KeyError("broken")

        with mock.patch.object(threading.main_thread(), "_name", Nameless()):
            error = interrupted()
            told = error.diagnosis
            travelled = pickle.loads(pickle.dumps(error))
        self.assertTrue(error.interrupted)
        self.assertEqual(told, "What was running cannot be told: KeyError('broken')")
        self.assertEqual(travelled.diagnosis, told)

    def test_nor_does_it_where_a_task_is_cancelled(self):
        async def main():
            async with TimeoutManager(0.1, enforce=True).timed_operation("phase"):
                await asyncio.sleep(60)

        with mock.patch("asyncio.all_tasks", side_effect=KeyError("broken")), self.assertRaises(PhaseTimeout):
            asyncio.run(main())

    def test_a_module_whose_name_is_no_text_does_not_hide_the_timeout(self):
        class Nameless:
            def __str__(self):
                raise KeyError("broken")

        for name in Nameless(), None:
            error = interrupted(body=lambda: exec("from time import sleep\nsleep(60)", {"__name__": name}))
            self.assertIn('File "<string>", line 2, in <module>', error.diagnosis)

    def test_nothing_is_imported_while_it_is_taken(self):
        code = f"""
import os, sys, time, {package.__name__} as package
manager = package.TimeoutManager(60, enforce=True, kill_children=1)
with manager.timed_operation("loads what is needed"):
    pass
if not os.fork():
    time.sleep(2)
    os._exit(0)
before = set(sys.modules)
try:
    with manager.timed_operation("run", limit=1):
        try: time.sleep(60)
        finally: print(sorted(set(sys.modules) - before))
except TimeoutError: pass
"""
        self.assertEqual(python("-c", code, env=environment(PYTHONPATH=ROOT)), "[]\n")

    def test_a_unittest_report_has_it(self):
        limits = import_module(f"{package.__name__}.testing.limits")
        hooks = import_module(f"{package.__name__}.testing.case")
        files = import_module(f"{package.__name__}.testing.reports")
        entry, run = hooks.Entry("test", "a.test"), limits.Limits(0.1)
        group = entry.groups[0] = limits.Group(run, "a.test", run.timeout)
        with self.assertRaises(PhaseTimeout) as caught:
            group.call("test", hang)
        self.assertEqual(files.Reports(run)._data(entry)["diagnosis"], caught.exception.diagnosis)


def move():
    """Stands in for what moves."""


def spin():
    while True: pass  # noqa: E701  # in one line: that of a free thread may be seen anywhere in it


def in_c(seconds):
    """Return a function that is in C code for about so much processor time, and lets nobody run meanwhile."""
    count = 10**5
    taken = 0.0
    while taken < 0.05:
        count, began = 2 * count, time.thread_time()
        sum(itertools.repeat(1, count))
        taken = time.thread_time() - began

    def body():
        sum(itertools.repeat(1, int(count * seconds / taken)))
        spin()

    return body


class OfALimitThatPassedInC(unittest.TestCase):
    """The next line is not to blame, and is not told to be."""

    HELD = r"\nWhen the limit passed C code held the GIL, and went on for \d+\.\d+ s\. This line is where it came back"
    BLOCKED = r"\nFor \d+\.\d+ s after the limit nothing could interrupt it: .* may have held the GIL"

    def in_thread(self, body):
        errors = []
        thread = threading.Thread(target=lambda: errors.append(interrupted(body=body)))
        thread.start()
        thread.join()
        return errors[0].diagnosis

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "there is no GIL, or it is not CPython's")
    @unittest.skipUnless(sys.platform == "linux", "nothing tells of it")
    def test_the_watchdog_knows_that_the_gil_was_held(self):
        body = in_c(1.0)
        self.assertRegex(interrupted("thread", body).diagnosis, self.HELD)
        self.assertRegex(self.in_thread(body), self.HELD)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "no alarm")
    def test_the_alarm_does_not(self):
        self.assertRegex(interrupted("signal", in_c(1.0)).diagnosis, self.BLOCKED)

    def test_a_call_that_blocks_in_a_thread(self):
        self.assertRegex(self.in_thread(lambda: time.sleep(1) or spin()), self.BLOCKED)

    def test_our_own_threads_are_in_no_stack(self):
        watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
        event, gone = threading.Event(), threading.Event()
        watchdog.add_job(self, lambda now: event.set() or gone.wait(30) and now + 30)
        event.wait(30)
        try:
            scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        finally:
            gone.set()
            watchdog.remove_job(self)
        self.assertNotIn("gone.wait", str(scene))

    def test_one_that_is_in_time_is_not_told_to_be_late(self):
        self.assertNotRegex(interrupted().diagnosis, f"{self.HELD}|{self.BLOCKED}")
        self.assertNotRegex(self.in_thread(spin), f"{self.HELD}|{self.BLOCKED}")


class StuckOrSlow(unittest.TestCase):
    SAME = r"^At the same line for the last SOON \(seen \d times?\), "

    def motion(self, body, enforce=True, limit=1.2, beside=True):
        watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
        if beside:  # it runs for some other reason
            watchdog.add_job(self, lambda now: float("inf"))
        told = interrupted(enforce, body, limit).diagnosis
        watchdog.remove_job(self)
        line = next((line for line in told.splitlines() if line.startswith(("At the same", "Moving"))), "")
        return re.sub(r"\d+\.\d+ m?s", "SOON", line)

    def by_runner(self, method, body):
        """Return what is said of a test that does not end."""
        limits = import_module(f"{package.__name__}.testing.limits")
        watchdog = import_module(f"{package.__name__}.interpreter.watchdog")
        watchdog.add_job(self, lambda now: float("inf"))
        run = limits.Limits(1.2, method=method)
        try:
            limits.Group(run, "a.test", run.timeout).call("test", body)
        except PhaseTimeout as error:
            return re.sub(r"\d+\.\d+ m?s", "SOON", error.diagnosis)
        finally:
            watchdog.remove_job(self)

    def test_stuck(self):
        for enforce in "signal", "thread":
            self.assertRegex(self.motion(hang, enforce), self.SAME + "waiting: ")

    def test_by_a_signal_it_is_looked_at_only_where_the_watchdog_runs(self):
        self.assertEqual(self.motion(hang, "signal", beside=False), "")

    @unittest.skipUnless(hasattr(time, "pthread_getcpuclockid"), "the processor time of a thread is not known")
    def test_busy(self):
        for enforce in "signal", "thread":
            self.assertRegex(self.motion(spin, enforce), self.SAME + "computing")

    def test_moving(self):
        watch = import_module(f"{package.__name__}.interrupting.enforcer").Watch(0, None)
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        for at, function in ((10, spin), (15, move)):
            watch.phases.append(None)
            watch.at = 20
            watch.next(at)
            watch.see([(function.__code__, 5)], at)
        scene.seen, scene.at = watch.seen, 20
        self.assertRegex(scene.motion(), r"^Moving: last seen at File .*, line 5, in move, 5\.00 s before: slow")

    def test_in_another_thread(self):
        def wait():
            [time.sleep(0.001) for _ in range(5000)]

        found = []
        thread = threading.Thread(target=lambda: found.append(self.motion(wait)))
        thread.start()
        thread.join()
        if CPYTHON and WHOLE_STACKS:
            self.assertRegex(found[0], "^At the same line for the last SOON")

    def test_in_a_task(self):
        manager = TimeoutManager(60, enforce=True)

        async def fetch():
            async with manager.timed_operation("fetch", limit=1.2):
                await asyncio.sleep(60)

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(fetch())
        self.assertRegex(caught.exception.diagnosis, r"\nAt the same line for the last .* \(seen \d times?\), waiting")

    def test_in_an_event_loop_that_waits_for_its_tasks(self):
        async def deadlock():
            await asyncio.Event().wait()

        class Test(unittest.IsolatedAsyncioTestCase):
            async def runTest(self):
                await deadlock()

        run, test = functools.partial(asyncio.run, deadlock()), functools.partial(Test().run, unittest.TestResult())
        methods = ["signal"] * hasattr(signal, "SIGALRM") + ["thread"] * WHOLE_STACKS
        for method, body in zip(methods, (run, test)):
            told = self.by_runner(method, body)
            self.assertRegex(told, f"(?m){self.SAME}waiting: ")
            self.assertRegex(told, r"in deadlock\n    await asyncio\.Event")
            self.assertNotIn("Moving", told)

    def test_nothing_of_an_event_loop_whose_tasks_were_not_looked_at(self):
        scene = import_module(f"{package.__name__}.diagnosis.snapshot").Scene(sys._getframe())
        scene.seen = [(scene.at - 5, (selectors.SelectSelector.select.__code__, 5), 0.0)]
        self.assertEqual(scene.motion(), "")

    def test_a_recursion_that_is_deep_and_ends_in_time_is_not_disturbed(self):
        code = f"""
import sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package

def descend(depth):
    if depth:
        return descend(depth - 1)
    end = time.monotonic() + 1.3
    while time.monotonic() < end:
        pass

try:
    with package.TimeoutManager(2, enforce=True).timed_operation("phase"):
        descend(sys.getrecursionlimit() - 5)
except package.PhaseTimeout:  # a slow machine
    pass
print("done")
"""
        self.assertEqual(python("-c", code), "done\n")

    def test_not_for_less_than_a_second(self):
        self.assertEqual(self.motion(hang, limit=0.5), "")


class InADebugger(unittest.TestCase):
    class Debugger(bdb.Bdb):
        def trace_dispatch(self, *args):
            return None

    def go(self, enforce, tracer, error=None):
        manager = TimeoutManager(0.05, enforce=enforce)
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            with mock.patch(f"{package.__name__}.interpreter.debugger.tell"):
                with manager.timed_operation("outer"):
                    time.sleep(0.2)
                    with manager.timed_operation("inner"):
                        pass
        finally:
            sys.settrace(before)
        return [phase.outcome for phase in manager.phases]

    def test_nothing_is_raised_and_the_ledger_tells(self):
        for enforce in False, True, "thread":
            self.assertEqual(self.go(enforce, self.Debugger().trace_dispatch), ["timeout", "timeout"], enforce)

    def test_which_tracer_is_a_debugger(self):
        debugger = import_module(f"{package.__name__}.interpreter.debugger")
        named = {"pydevd_tracing": "pydevd_tracing", "debugpy._vendored": "debugpy", "coverage.pytracer": "", "x": ""}
        for module, name in named.items():
            self.assertEqual(debugger.name(type("Tracer", (), {"__module__": module})()), name)
        self.assertEqual(debugger.name(bdb.Bdb().trace_dispatch), "bdb")

    @unittest.skipUnless(hasattr(sys, "monitoring"), "no sys.monitoring before Python 3.12")
    def test_a_tool_that_has_the_place_of_a_debugger(self):
        sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "some debugger")
        try:
            for enforce in False, True, "thread":
                self.assertEqual(self.go(enforce, None), ["timeout", "timeout"])
        finally:
            sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)

    def test_a_tracer_that_is_none_changes_nothing(self):
        for enforce in False, True:
            with self.assertRaises(PhaseTimeout):
                self.go(enforce, lambda *args: None)


class AtAPrompt(unittest.TestCase):
    """Somebody types, in some thread, while a limit passes."""

    PROMPT = f"""
import asyncio, io, os, pdb, sys, threading, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package

class Terminal(io.StringIO):
    def readline(self, *args):
        time.sleep(0.8)  # somebody thinks, and goes on
        return "c\\n"

def prompt():
    debugger = pdb.Pdb(stdin=Terminal(), stdout=io.StringIO(), nosigint=True, readrc=False)
    debugger.set_trace(sys._getframe(1))

def go(body, **options):
    manager = package.TimeoutManager(0.3, enforce=True, **options)
    try:
        with manager.timed_operation("phase"):
            body()
    except BaseException as error:
        print(repr(error))
    sys.stdout.write(manager.phases[0].outcome + "\\n")

def start(body, **options):
    thread = threading.Thread(target=go, args=(body,), kwargs=options)
    thread.start()
    return thread

def work():
    for _ in range(50):
        time.sleep(0.01)

def work_after_one_long_call():
    time.sleep(1.3)
    work()

def work_after_a_prompt():
    prompt()
    work()

"""
    SAID = "Time is over for phase phase. There is a debugger (pdb): nothing is interrupted.\n"

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "the watchdog sees too little, or cannot reach other threads")
    def test_a_prompt_lets_the_phases_of_other_threads_pass_for_good(self):
        code = """
for options in {}, {"kill_after": 0.2}:
    start(work, **options)
    start(work_after_one_long_call, **options)
prompt()
"""
        self.assertEqual(python("-c", self.PROMPT + code), 4 * "timeout\n" + self.SAID)

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "the watchdog sees too little, or cannot reach other threads")
    def test_a_prompt_in_a_thread_and_a_phase_that_waits_for_it(self):
        code = """
thread = start(work_after_a_prompt, kill_after=0.2)
go(thread.join, kill_after=0.2)
"""
        self.assertEqual(python("-c", self.PROMPT + code), 2 * "timeout\n" + self.SAID)

    @unittest.skipUnless(WHOLE_STACKS, "other threads may run on while they are looked at")
    def test_a_prompt_in_a_thread_without_a_phase(self):
        code = """
thread = threading.Thread(target=work_after_a_prompt)
thread.start()
go(thread.join)
"""
        self.assertEqual(python("-c", self.PROMPT + code), "timeout\n" + self.SAID)

    @unittest.skipUnless(WHOLE_STACKS, "other threads may run on while they are looked at")
    def test_a_prompt_in_a_task(self):
        code = """
async def waits(manager):
    async with manager.timed_operation("phase"):
        await asyncio.sleep(1)

async def asks(manager):
    async with manager.timed_operation("phase"):
        await asyncio.sleep(0)
        prompt()
        await asyncio.sleep(0.1)

async def main():
    manager = package.TimeoutManager(0.3, enforce=True, kill_after=0.2)
    print(await asyncio.gather(waits(manager), asks(manager), return_exceptions=True))
    print([phase.outcome for phase in manager.phases])

thread = threading.Thread(target=asyncio.run, args=(main(),))
thread.start()
thread.join()
"""
        expected = "[None, None]\n['timeout', 'timeout']\n" + self.SAID
        self.assertEqual(python("-c", self.PROMPT + code), expected)

    def test_stderr_may_be_closed(self):
        for close, said in (("sys.__stderr__.close()", self.SAID), ("os.close(2)", "")):
            with self.subTest(close):
                code = f"""
def body():
    prompt()
    time.sleep(0)
{close}
go(body)
"""
                self.assertEqual(python("-c", self.PROMPT + code), "timeout\n" + said)


if __name__ == "__main__":
    unittest.main()
