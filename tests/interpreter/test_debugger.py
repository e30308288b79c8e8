"""In a debugger, and where somebody sits at a prompt, nothing is interrupted."""

import bdb
import os
import subprocess
import sys
import time
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import PYTHON, ROOT, at_once
from ..helpers.forks import said
from ..helpers.together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
CPYTHON = sys.implementation.name == "cpython"
WHOLE_STACKS = getattr(sys, "_is_gil_enabled", lambda: True)()  # of threads that may run on while they are looked at


class InADebugger(unittest.TestCase):
    class Debugger(bdb.Bdb):
        def trace_dispatch(self, *args):
            return None

    def go(self, enforce, tracer, body=lambda: time.sleep(0.2)):
        manager = TimeoutManager(0.05, enforce=enforce)
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            with mock.patch(f"{package.__name__}.interpreter.debugger.tell"):
                with manager.timed_operation("outer"):
                    body()
                    with manager.timed_operation("inner"):
                        pass
        finally:
            sys.settrace(before)
        return [phase.outcome for phase in manager.phases]

    def test_nothing_is_raised_and_the_ledger_tells(self):
        for enforce in False, True, "thread":
            self.assertEqual(self.go(enforce, self.Debugger().trace_dispatch), ["timeout", "timeout"], enforce)

    @unittest.skipUnless(os.name == "posix", "needs a command that waits")
    def test_a_command_is_ended_at_its_limit(self):
        def body():
            with self.assertRaises(subprocess.TimeoutExpired):
                TimeoutManager(0.2, enforce=True).run(["sleep", "60"])

        self.assertEqual(self.go(True, self.Debugger().trace_dispatch, body), ["timeout", "timeout"])

    @unittest.skipUnless(os.name == "posix", "needs a call of the system that signals do not end")
    def test_a_call_that_goes_on_is_no_reason_to_trace_in_its_place(self):
        outcomes = self.go("thread", self.Debugger().trace_dispatch, lambda: os.system("sleep 0.5"))
        self.assertEqual(outcomes, ["timeout", "timeout"])

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


class AtAPrompt(Together, unittest.TestCase):
    """Somebody types, in some thread, while a limit passes."""

    server = tuple(PYTHON), ("asyncio", "pdb")

    PROMPT = f"""
import asyncio, io, os, pdb, sys, threading, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package

class Terminal(io.StringIO):
    seconds = 0  # for which somebody thinks, and goes on
    def readline(self, *args):
        time.sleep(self.seconds)
        return "c\\n"

def prompt():
    debugger = pdb.Pdb(stdin=Terminal(), stdout=io.StringIO(), nosigint=True, readrc=False)
    debugger.set_trace(sys._getframe(1))

prompt()  # loads what it needs
Terminal.seconds = 1.5

def go(body, **options):
    manager = package.TimeoutManager(0.7, enforce=True, **options)
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
    for _ in range(100):
        time.sleep(0.01)

def work_after_one_long_call():
    time.sleep(2)
    work()

def work_after_a_prompt():
    prompt()
    work()

"""
    SAID = "Time is over for phase phase. There is a debugger (pdb): nothing is interrupted.\n"

    def said(self, code):
        return said(self.PROMPT + code, server=self.server)

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "the watchdog sees too little, or cannot reach other threads")
    def test_a_prompt_lets_the_phases_of_other_threads_pass_for_good(self):
        code = """
for options in {}, {"kill_after": 0.2}:
    start(work, **options)
    start(work_after_one_long_call, **options)
prompt()
"""
        self.assertEqual(self.said(code), 4 * "timeout\n" + self.SAID)

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "the watchdog sees too little, or cannot reach other threads")
    def test_a_prompt_in_a_thread_and_a_phase_that_waits_for_it(self):
        code = """
thread = start(work_after_a_prompt, kill_after=0.2)
go(thread.join, kill_after=0.2)
"""
        self.assertEqual(self.said(code), 2 * "timeout\n" + self.SAID)

    @unittest.skipUnless(WHOLE_STACKS, "other threads may run on while they are looked at")
    def test_a_prompt_in_a_thread_without_a_phase(self):
        code = """
thread = threading.Thread(target=work_after_a_prompt)
thread.start()
go(thread.join)
"""
        self.assertEqual(self.said(code), "timeout\n" + self.SAID)

    @unittest.skipUnless(CPYTHON and WHOLE_STACKS, "the watchdog sees too little, or cannot reach other threads")
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
    manager = package.TimeoutManager(0.7, enforce=True, kill_after=0.2)
    print(await asyncio.gather(waits(manager), asks(manager), return_exceptions=True))
    print([phase.outcome for phase in manager.phases])

thread = threading.Thread(target=asyncio.run, args=(main(),))
thread.start()
thread.join()
"""
        expected = "[None, None]\n['timeout', 'timeout']\n" + self.SAID
        self.assertEqual(self.said(code), expected)

    def test_stderr_may_be_closed(self):
        code = """
def body():
    prompt()
    time.sleep(0)
CLOSE
go(body)
"""
        programs = [code.replace("CLOSE", each) for each in ("sys.__stderr__.close()", "os.close(2)")]
        printed = at_once(self.said, programs)
        self.assertEqual(printed, ["timeout\n" + self.SAID, "timeout\n"])


if __name__ == "__main__":
    unittest.main()
