"""How every enforcer ends a block: loops of every form, calls that block, under tracers, and not before its time."""

import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from contextlib import suppress
from itertools import repeat

from .. import package
from ..helpers.child import PYTHON, at_once
from ..helpers.enforced import CPYTHON, LATE, LIMIT, LONG, burn, by_each_enforcer, spin, swallow_exceptions
from ..stress import BODIES, holes

PhaseTimeout = package.PhaseTimeout
HANG = [*PYTHON, "-c", "import time; time.sleep(60)"]
FORMS = (
    *("while True: pass", "while 1: x += 1", "while x: pass", "while True: continue", "while x: x += 1; x -= 1"),
    *("for _ in repeat(0): pass", "for _ in iter(int, 1): x = 1", "[0 for x in repeat(0) if x]"),
    *("any(x for x in repeat(0))", "for _ in (x for x in repeat(0)): pass", "(lambda: {x for x in repeat(0) if x})()"),
    *("exec('while True: pass')", "while True:\n   while True: pass", "while True:\n   with suppress(): pass"),
    *("for _ in repeat(0):\n   try: x += 1\n   except ValueError: pass",),
    *(  # 3.10 looks for nothing at the head of such a loop, not even for Ctrl-C
        ("while True:\n   try: x += 1\n   except ValueError: pass", "while True:\n   try: pass\n   finally: pass")
        if sys.version_info[:2] != (3, 10)
        else ()
    ),
)


def loops(form, phase):
    """Run a loop of this form in the very function that has the `with`."""
    space = {"repeat": repeat, "suppress": suppress}
    exec(f"def go(phase):\n x = 1\n with phase:\n  {form}", space)
    space["go"](phase)


@by_each_enforcer
class Blocks:
    def test_a_loop_ends_at_the_limit_with_an_error_raised_inside(self):
        seen = []

        def body():
            try:
                burn()
            except PhaseTimeout as error:
                seen.append(error)
                raise

        error = self.assert_times_out(body)
        self.assertIs(seen[0], error)
        self.assertTrue(str(error).startswith("Timeout exceeded after run phase!"))

    def test_loops_of_every_form_end_also_under_a_tracer(self):
        def trace(frame, event, arg):
            return trace

        def go(form, tracer):
            before = sys.gettrace()
            sys.settrace(tracer or before)
            try:
                with self.assertRaises(PhaseTimeout) as caught:
                    loops(form, self.manager().timed_operation("run", LIMIT / 20))
            finally:
                sys.settrace(before)
            self.assertTrue(caught.exception.interrupted)

        for form in FORMS:
            for tracer in None, trace:
                with self.subTest(form=form, traced=tracer is not None):
                    self.in_thread(lambda: go(form, tracer))

    def test_a_loop_ends_at_the_deadline_of_the_budget(self):
        def go():
            manager = self.manager(LIMIT)
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("convert"):
                    pass
                with manager.timed_operation("build"):
                    spin()
            self.assertEqual((caught.exception.limited_by, caught.exception.phase), ("budget", "build"))
            self.assertEqual([phase.outcome for phase in manager.phases], ["done", "timeout"])
            self.assertTrue(manager.expired)

        self.in_thread(go)

    def test_blocking_calls(self):
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        lock = threading.Lock()
        lock.acquire()
        leave = threading.Event()
        thread = threading.Thread(target=leave.wait, args=(LONG,), daemon=True)
        thread.start()
        self.addCleanup(leave.set)
        seconds = LONG if self.ends_blocking_calls else LATE
        calls = {
            "sleep": lambda: time.sleep(seconds),
            "lock": lambda: lock.acquire(True, seconds),
            "event": lambda: threading.Event().wait(seconds),
            "queue": lambda: self.quiet(queue.Empty, queue.Queue().get, True, seconds),
            "select": lambda: select.select([one], [], [], seconds),
            "join": lambda: thread.join(seconds),
        }
        if not self.ends_blocking_calls:
            at_once(self.assert_times_out, calls.values())  # each in a thread of its own
            return
        calls["recv"] = lambda: one.recv(1)
        for name, call in calls.items():
            with self.subTest(name):
                self.assert_times_out(call)

    def quiet(self, error, function, *args):
        try:
            function(*args)
        except error:
            pass

    def test_waiting_for_a_child_process(self):
        if not self.ends_blocking_calls:
            self.skipTest("this enforcer waits for blocking calls")
        self.assert_times_out(lambda: subprocess.run(HANG), limit=0.5)
        child = subprocess.Popen(HANG)
        try:
            self.assert_times_out(child.wait)
        finally:
            child.kill()
            child.wait()

    @unittest.skipUnless(hasattr(signal, "pthread_sigmask"), "no masks of signals here")
    def test_a_process_that_has_just_begun_is_known_before_its_start_is_interrupted(self):
        from _signal import pthread_sigmask

        start = {"__name__": "subprocess", "mask": pthread_sigmask, "sleep": time.sleep, "spin": spin, "known": []}
        start.update(every=signal.valid_signals(), some=pthread_sigmask(signal.SIG_BLOCK, ()))
        fork = f"mask({int(signal.SIG_BLOCK)}, every); sleep({2 * LIMIT}); mask({int(signal.SIG_SETMASK)}, some)"
        exec(f"def _execute_child():\n  {fork}; known.append(1)\n  spin()", start)
        self.assert_times_out(start["_execute_child"])
        self.assertEqual(start["known"], [1])

    def test_nothing_left_on_entry_raises_before_the_body(self):
        def go():
            for manager in self.manager(0), self.manager(-1):
                with self.assertRaises(PhaseTimeout) as caught:
                    with manager.timed_operation("run"):
                        self.fail("the body ran")
                self.assertTrue(caught.exception.interrupted)
                self.assertEqual([phase.outcome for phase in manager.phases], ["timeout"])
                self.assertLess(manager.as_dict()["used"], 1)

        self.in_thread(go)

    def test_a_body_that_ends_in_time_is_left_alone(self):
        def go():
            manager = self.manager(LONG)
            with manager.timed_operation("run", LONG / 2):
                pass
            with self.assertRaises(KeyError):
                with manager.timed_operation("run"):
                    raise KeyError
            self.assertEqual([phase.outcome for phase in manager.phases], ["done", "failed"])

        self.in_thread(go)

    def test_the_loops_that_the_interpreter_leaves_without_its_handlers(self):
        def go():
            return holes(2, self.enforce, 5)

        counts = self.in_thread(go)
        self.assertEqual(counts.pop("expiries"), 4 * len(BODIES))
        self.assertEqual(sum(counts.values()), 0, counts)

    def test_a_loop_without_any_place_to_land_ends_and_leaves_clean_state(self):
        def nowhere(manager):
            with manager.timed_operation("run", LIMIT):
                while True:
                    pass

        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                nowhere(manager)
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout"])
            with manager.timed_operation("next") as phase:
                self.assertEqual(phase.path(), ("next",))
            self.assertIsNone(manager.remaining_timeout)

        self.in_thread(go)

    def test_the_trace_function_of_somebody_else_is_put_back(self):
        def trace(frame, event, arg):
            return trace

        def go():
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                with self.assertRaises(PhaseTimeout):
                    with self.manager().timed_operation("run", LIMIT):
                        swallow_exceptions()
                counts = holes(1, self.enforce, 5)
                self.assertEqual(sum(counts.values()), counts["expiries"], counts)
                self.assertIs(sys.gettrace(), trace)
            finally:
                sys.settrace(before)

        self.in_thread(go)

    @unittest.skipUnless(CPYTHON, "PyPy ends the tracing of a function in which an error is raised")
    def test_trace_and_profile_functions_go_on(self):
        if not self.ends_blocking_calls:
            self.skipTest("such a function is never monitored here, so nothing is raised in it")

        def waste():
            for _ in range(200):  # most of the time is spent in here
                pass

        def local(frame, event, argument):
            waste()
            return local

        def trace(frame, event, argument):  # other than that of its frames
            return local if frame.f_code.co_filename == __file__ else None

        def profile(frame, event, argument):
            waste()

        def step():
            pass

        def loop(manager):
            try:
                with manager.timed_operation("run", LIMIT / 10):
                    while True:
                        step()
            except PhaseTimeout as error:
                return error

        def go():
            manager = self.manager()
            for setter, getter, function in (
                (sys.settrace, sys.gettrace, trace),
                (sys.setprofile, sys.getprofile, profile),
            ):
                before = getter()
                try:
                    for _ in range(6):
                        setter(function)
                        error = loop(manager)
                        now = getter()
                        self.assertIs(now, function)
                        self.assertTrue(error.interrupted)
                finally:
                    setter(before)

        self.in_thread(go)

    def test_it_is_named(self):
        self.assertEqual(self.in_thread(lambda: self.manager().enforcement), self.enforce)

    def test_the_decorator(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                manager.timed_operation("run", LIMIT)(spin)()
            with self.assertRaises(PhaseTimeout):
                manager.timed_operation("run", LIMIT)(spin)()
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

        self.in_thread(go)


if __name__ == "__main__":
    unittest.main()
