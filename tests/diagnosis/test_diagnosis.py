"""What an interrupted phase says of the place where it stood; and debuggers, where nothing is interrupted."""

import asyncio
import importlib
import os
import pickle
import re
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
from ..helpers.forks import said
from ..helpers.interrupted import hang, interrupted
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
WHOLE_STACKS = getattr(sys, "_is_gil_enabled", lambda: True)()  # of threads that may run on while they are looked at


def swallow():
    try:
        hang()
    except Exception:
        pass


class TheDiagnosis(unittest.TestCase):
    def test_is_the_stack_of_the_thread_that_was_interrupted(self):
        for enforce in True, "thread":
            error = interrupted(enforce)
            self.assertRegex(error.diagnosis, r"^Stack of thread MainThread \(most recent call last\):\n")
            self.assertRegex(error.diagnosis, r"in hang\n    time\.sleep\(60\)(\n\n|\Z)")
            self.assertIn("in interrupted\n    body()\n", error.diagnosis)
            self.assertNotIn(package.__name__ + "/", error.diagnosis)

    def test_leaves_out_what_of_the_package_calls_a_function(self):
        manager = TimeoutManager(0.1, enforce=True)
        for call in manager.call_with_timeout, manager.execute_with_timeout, manager.timed_operation("more")(hang):
            with self.assertRaises(PhaseTimeout) as caught:
                call(hang) if call.__name__.endswith("_with_timeout") else call()
            manager.reset()
            self.assertIn("in hang\n", caught.exception.diagnosis)
            self.assertNotRegex(caught.exception.diagnosis, rf"{package.__name__}/.* in (call|execute|plain)\w*\n")

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


class OfEverythingElse(Together, unittest.TestCase):
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

        told = interrupted(body=lambda: asyncio.run(main()), limit=0.5).diagnosis
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

    def test_a_coroutine_that_is_traced_as_an_error_is_thrown_into_it(self):
        code = f"""
import sys
from {package.__name__}.interpreter.frames import suspended_in
class Waits:
    def __await__(self):
        while True: yield
async def inner():
    while True:
        try: await Waits()
        except ValueError: pass
async def outer(): await inner()
def trace(frame, event, arg):
    frame.f_trace_opcodes = True
    for each in coroutines: suspended_in(each)
    return trace
coroutine = outer()
coroutine.send(None)
coroutines = coroutine, coroutine.cr_await
print(len(suspended_in(coroutine)))
sys.settrace(trace)
for each in coroutines:
    each.cr_frame.f_trace, each.cr_frame.f_trace_opcodes = trace, True
for _ in range(20): coroutine.throw(ValueError())
sys.settrace(None)
"""
        self.assertEqual(said(code), "3\n")

    @unittest.skipUnless(sys.platform == "linux", "needs /proc")
    def test_all_processes_are_looked_at_only_where_there_are_children(self):
        code = f"""
import subprocess
from {package.__name__}.processes import family
process = subprocess.Popen(["true"])
print(family.has_children())  # though it may have ended
process.wait()
print(family.has_children())
"""
        self.assertEqual(said(code).split(), ["True", "False"])

    @unittest.skipUnless(sys.platform == "linux", "needs /proc")
    def test_a_crowd_of_child_processes(self):
        family = import_module(f"{package.__name__}.processes.family")
        numbers = range(10**7, 10**7 + 1000)
        crowd = {number: family.Process(number, os.getpid(), 1, 1, "S", 0.0) for number in numbers}
        with mock.patch.object(family, "processes", lambda: crowd):
            told = family.family(family.descendants())
        self.assertLess(len(told.splitlines()), 50)
        self.assertRegex(told, r"\n  and 970 more\Z")
        with mock.patch.object(family, "has_proc", lambda: False):
            self.assertEqual(family.family(family.descendants()), "Child processes: not known on this system")

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
            self.assertRegex(error.diagnosis, 'File "<string>", line [02], in <module>')

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
        self.assertEqual(python("-W", "ignore", "-c", code, env=environment(PYTHONPATH=ROOT)), "[]\n")

    def test_a_unittest_report_has_it(self):
        limits = import_module(f"{package.__name__}.testing.limits")
        hooks = import_module(f"{package.__name__}.testing.entry")
        files = import_module(f"{package.__name__}.testing.report_files")
        entry, run = hooks.Entry("test", "a.test"), limits.Limits(limits.Limit(0.1, "here"))
        part = import_module(f"{package.__name__}.testing.part")
        group = part.Group(run, "a.test", run.timeout)
        entry.groups.append(group)
        with self.assertRaises(PhaseTimeout) as caught:
            group.call("test", hang)
        self.assertEqual(files.data_of(entry, 0.0)["diagnosis"], caught.exception.diagnosis)


if __name__ == "__main__":
    unittest.main()
