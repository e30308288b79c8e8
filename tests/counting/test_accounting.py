"""What is charged to the budget, and what is left of it."""

import asyncio
import concurrent.futures
import copy
import functools
import inspect
import json
import multiprocessing.connection
import os
import pickle
import queue
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
import unittest
import warnings
from pathlib import Path
from unittest import mock

from .. import package
from ..helpers.child import PYTHON
from ..helpers.counting import CountingCase

TimeoutManager = package.TimeoutManager
PhaseTimeout = package.PhaseTimeout


class TheClock(unittest.TestCase):
    def test_is_the_monotonic_one(self):
        self.assertIs(inspect.signature(TimeoutManager).parameters["clock"].default, time.monotonic)

    def test_a_replaced_time_function_does_not_reach_the_package(self):
        with mock.patch("time.monotonic", lambda: 1e9), mock.patch("time.time", lambda: 1e9):
            manager = TimeoutManager(60)
            with manager.timed_operation() as phase:
                pass
        self.assertLess(phase.elapsed(), 10)
        self.assertGreater(manager.remaining_timeout, 50)

    def test_real_time_passes(self):
        manager = TimeoutManager(60)
        start = time.monotonic()
        with manager.timed_operation() as phase:
            time.sleep(0.01)
        whole = time.monotonic() - start
        self.assertGreaterEqual(phase.elapsed(), 0.005)
        self.assertLessEqual(phase.elapsed(), whole)
        self.assertAlmostEqual(manager.remaining_timeout, 60 - phase.elapsed(), places=6)


class OnePhaseAfterAnother(CountingCase):
    def test_nothing_is_used_before_the_first(self):
        self.clock.advance(50)
        self.assertEqual(self.manager.remaining_timeout, 100)
        self.assertEqual(self.used(), 0)

    def test_remaining_is_live_inside(self):
        with self.manager.timed_operation():
            self.assertEqual(self.manager.remaining_timeout, 100)
            self.clock.advance(30)
            self.assertEqual(self.manager.remaining_timeout, 70)
            self.clock.advance(0.5)
            self.assertEqual(self.manager.remaining_timeout, 69.5)

    def test_time_between_is_free(self):
        self.spend(10)
        self.clock.advance(1000)
        self.assertEqual(self.manager.remaining_timeout, 90)
        self.spend(20)
        self.clock.advance(1000)
        self.assertEqual(self.manager.remaining_timeout, 70)
        self.assertFalse(self.manager.expired)

    def test_a_failed_phase_is_charged(self):
        with self.assertRaises(ZeroDivisionError):
            with self.manager.timed_operation():
                self.clock.advance(10)
                1 / 0
        self.assertEqual(self.manager.remaining_timeout, 90)

    def test_a_phase_that_is_made_but_not_entered_costs_nothing(self):
        phase = self.manager.timed_operation("idle", limit=5)
        self.clock.advance(10)
        self.assertEqual(self.manager.remaining_timeout, 100)
        self.assertEqual(self.manager.phases, ())
        self.assertEqual((phase.outcome, phase.elapsed(), phase.remaining(), phase.expired()), ("new", 0, 5, False))

    def test_phases_are_listed_in_the_order_of_entry_open_ones_too(self):
        first = self.spend(1, "first")
        with self.manager.timed_operation("second") as second:
            with self.manager.timed_operation("third") as third:
                self.assertEqual(self.manager.phases, (first, second, third))
        self.assertEqual([phase.name for phase in self.manager.phases], ["first", "second", "third"])

    def test_execute_with_timeout_hands_on_arguments_and_result(self):
        def work(a, b=2):
            self.clock.advance(3)
            return a, b

        self.assertEqual(self.manager.execute_with_timeout(work, "convert", a=1), (1, 2))
        self.assertEqual(self.manager.execute_with_timeout(lambda: "default"), "default")
        self.assertEqual([phase.name for phase in self.manager.phases], ["convert", "operation"])
        self.assertEqual(self.manager.remaining_timeout, 97)

    def test_call_with_timeout_hands_on_arguments_and_result(self):
        def work(*args, **kwargs):
            self.clock.advance(3)
            return args, kwargs

        self.assertEqual(self.manager.call_with_timeout(work, 1, 2, phase_name="build", c=3), ((1, 2), {"c": 3}))
        self.assertEqual(self.manager.call_with_timeout(work), ((), {}))
        self.assertEqual([phase.name for phase in self.manager.phases], ["build", "operation"])
        self.assertEqual(self.manager.remaining_timeout, 94)


class Names(CountingCase):
    def test_that_are_no_text_are_taken_as_text(self):
        name, text = Path("a", "b.txt"), str(Path("a", "b.txt"))
        phase = self.manager.timed_operation("copy")
        for inner in self.manager.timed_operation(name), self.manager.cleanup_operation(name, limit=5):
            self.assertEqual((inner.name, type(inner.name)), (text, str))
        with phase, self.manager.timed_operation(name) as inner:
            self.assertEqual(inner.path(), ("copy", text))
        self.assertIn(f"copy > {text} done", repr(inner))
        self.assertIn(f"\n  {text} ", self.manager.report())
        data = json.loads(json.dumps(self.manager.as_dict()))
        self.assertEqual([each["path"] for each in data["phases"]], [["copy"], ["copy", text]])
        events = json.loads(json.dumps(self.manager.as_trace_events()))
        self.assertEqual([each["name"] for each in events], ["copy", text])

    def test_that_are_no_text_in_an_error(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.timed_operation(1), self.manager.timed_operation(Path("b"), limit=5):
                self.clock.advance(6)
        error = caught.exception
        found = error.phase, error.phase_path, error.limited_phase
        self.assertEqual(found, ("b", ("1", "b"), "b"))
        self.assertEqual(
            str(error), "Timeout exceeded after b phase! (limit of phase b 5.00 s, used 6.00 s; in 1 > b)"
        )

    def test_in_texts_they_are_one_line_that_can_be_printed(self):
        for name, text in (
            ("cd build\nmake", r"cd build\nmake"),
            ("a\tb\r\x1b[1m\x85\u2028\udcff\x00", r"a\tb\r\x1b[1m\x85\u2028\udcff\x00"),
            ("\u8f6c\u6362\u3000\xe9", "\u8f6c\u6362\u3000\xe9"),
        ):
            with self.assertRaises(PhaseTimeout) as caught:
                with self.manager.timed_operation("outer"), self.manager.timed_operation(name, limit=1) as phase:
                    self.clock.advance(1)
            self.assertEqual((phase.name, caught.exception.phase), (name, name))
            start = f"Timeout exceeded after {text} phase! (limit of phase {text} "
            self.assertTrue(str(caught.exception).startswith(start), caught.exception)
            self.assertIn(f"outer > {text}", str(caught.exception))
            self.assertIn(f"outer > {text} timeout", repr(phase))

    def test_of_functions_that_are_called(self):
        self.manager.call_with_timeout(int, phase_name=Path("a"))
        self.manager.execute_with_timeout(int, Path("b"))
        self.manager.timed_operation(Path("c"))(int)()
        self.assertEqual([phase.name for phase in self.manager.phases], ["a", "b", "c"])


class Fitting(unittest.TestCase):
    """`remaining_timeout` goes to every ``timeout=`` of the standard library, however much is left."""

    def test_a_wait_of_any_kind(self):
        done = concurrent.futures.Future()
        done.set_result(None)
        pair = socket.socketpair()
        for each in pair:
            self.addCleanup(each.close)
        pair[1].send(b"x")
        full = queue.Queue()
        with selectors.DefaultSelector() as selector, multiprocessing.connection.Listener() as listener:
            selector.register(pair[0], selectors.EVENT_READ)
            for seconds in 3e6, 1e10, sys.maxsize, 1e300, None:
                manager = TimeoutManager(seconds)
                left = manager.remaining_timeout
                with self.subTest(seconds=seconds), manager.timed_operation():
                    self.assertTrue(threading.Lock().acquire(timeout=-1 if left is None else left))
                    condition = threading.Condition()
                    with condition:
                        threading.Thread(target=self.notify, args=[condition]).start()
                        self.assertTrue(condition.wait(manager.remaining_timeout))
                    full.put(1)
                    full.get(timeout=left)
                    pair[0].settimeout(left)
                    self.assertTrue(select.select([pair[0]], [], [], left)[0])
                    self.assertTrue(selector.select(left))
                    done.result(timeout=left)
                    concurrent.futures.wait([done], timeout=left)
                    self.assertTrue(multiprocessing.connection.wait([pair[0]], timeout=left))
                    subprocess.run([*PYTHON, "-c", ""], capture_output=True, timeout=left)
                    asyncio.run(asyncio.wait_for(asyncio.sleep(0.001), timeout=left))
            self.assertIsNone(left)
            self.assertTrue(listener.address)

    def notify(self, condition):
        with condition:
            condition.notify()

    def test_a_child_is_told_of_all_of_it(self):
        left = TimeoutManager(1e8).child_environ()["TIMEOUT_MANAGER_DEADLINE"].split(":")[0]
        self.assertGreater(float(left) - time.monotonic(), 0.9e8)


class Sessions(unittest.TestCase):
    def test_without_a_phase_warn_that_they_have_limited_nothing(self):
        for options in {}, {"enforce": True}, {"initial_timeout": 5}, {"initial_timeout": 5, "enforce": "thread"}:
            manager = TimeoutManager(**options)
            with manager.timed_operation("before"):
                pass
            with self.assertWarnsRegex(RuntimeWarning, r"limited nothing.* `with manager\.timed_operation") as caught:
                with manager:
                    pass
            self.assertEqual(caught.filename, __file__)

    def test_with_a_phase_or_an_error_say_nothing(self):
        manager = TimeoutManager(5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with manager, manager.timed_operation("in it"):
                pass
            with self.assertRaises(ZeroDivisionError), manager:
                1 / 0
            with manager.timed_operation("around it"), manager:
                pass
            with manager:
                with manager:
                    thread = threading.Thread(target=manager.call_with_timeout, args=[int])
                    thread.start()
                    thread.join()

    def test_can_be_closed_once_by_who_has_opened_them(self):
        manager = TimeoutManager(5).__enter__()
        errors = []

        def close():
            try:
                manager.__exit__(None, None, None)
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
        with self.assertWarns(RuntimeWarning):
            close()
        close()
        self.assertEqual([str(error)[:22] for error in errors], ["a session can only be "] * 2)


class KillChildren(unittest.TestCase):
    def test_needs_something_that_interrupts_and_the_error_says_what(self):
        with self.assertRaisesRegex(ValueError, r"kill_children=0\.5 .*enforce=True works, or run\(\)"):
            TimeoutManager(1.5, kill_children=0.5)
        TimeoutManager(1.5, enforce=True, kill_children=0.5)
        with mock.patch.dict(os.environ, TIMEOUT_MANAGER_ENFORCE="auto"):
            TimeoutManager(1.5, kill_children=0.5)
        with mock.patch.dict(os.environ, TIMEOUT_MANAGER_ENFORCE="off"):
            TimeoutManager(1.5, enforce=True, kill_children=0.5)


class Copies(unittest.TestCase):
    def test_cannot_be_made_and_the_error_says_what_can(self):
        for manager in TimeoutManager(5), TimeoutManager(5, enforce=True):
            for made in manager, manager.timed_operation("build"), functools.partial(print, manager):
                for make in pickle.dumps, copy.deepcopy:
                    with self.assertRaisesRegex(TypeError, r"TimeoutManager\.from_environ\(\)"):
                        make(made)


class Nested(CountingCase):
    def test_time_is_charged_once(self):
        with self.manager.timed_operation("outer") as outer:
            self.clock.advance(10)
            with self.manager.timed_operation("inner") as inner:
                self.clock.advance(20)
            self.clock.advance(5)
        self.assertEqual(self.manager.remaining_timeout, 65)
        self.assertEqual((outer.elapsed(), inner.elapsed()), (35, 20))

    def test_the_phase_around_is_the_parent(self):
        with self.manager.timed_operation("outer") as outer:
            with self.manager.timed_operation("inner") as inner:
                self.assertIs(inner.parent, outer)
            with self.manager.timed_operation("second") as second:
                self.assertIs(second.parent, outer)
        self.assertIsNone(outer.parent)
        self.assertEqual(second.path(), ("outer", "second"))

    def test_remaining_is_the_least_of_the_budget_and_the_open_limits(self):
        with self.manager.timed_operation(limit=50):
            self.assertEqual(self.manager.remaining_timeout, 50)
            with self.manager.timed_operation(limit=20) as inner:
                self.clock.advance(5)
                self.assertEqual(self.manager.remaining_timeout, 15)
                self.assertEqual(inner.remaining(), 15)
            with self.manager.timed_operation(limit=80) as wide:
                self.assertEqual(self.manager.remaining_timeout, 45)
                self.assertEqual(wide.remaining(), 45)
            self.manager.reset(10)
            self.assertEqual(self.manager.remaining_timeout, 10)

    def test_a_limit_counts_only_while_its_phase_is_open(self):
        self.spend(5, limit=20)
        self.assertEqual(self.manager.remaining_timeout, 95)

    def test_two_managers_do_not_know_of_each_other(self):
        other = TimeoutManager(10, clock=self.clock)
        with self.manager.timed_operation("outer"):
            self.clock.advance(5)
            with other.timed_operation("inner") as inner:
                self.clock.advance(2)
        self.assertIsNone(inner.parent)
        self.assertEqual((self.manager.remaining_timeout, other.remaining_timeout), (93, 8))

    def test_a_thousand_deep(self):
        phases = [self.manager.timed_operation(str(depth)) for depth in range(1000)]
        for phase in phases:
            phase.__enter__()
        self.clock.advance(1)
        for phase in reversed(phases):
            phase.__exit__(None, None, None)
        self.assertEqual(self.manager.remaining_timeout, 99)
        self.assertEqual({phase.outcome for phase in phases}, {"done"})


class Tasks(CountingCase):
    def test_parallel_tasks_are_charged_once_and_have_stacks_of_their_own(self):
        async def job(name, limit, entered, leave):
            async with self.manager.timed_operation(name, limit=limit) as phase:
                entered.set()
                await leave.wait()
                return phase.parent, self.manager.remaining_timeout

        async def main():
            events = [asyncio.Event() for _ in range(4)]
            first = asyncio.ensure_future(job("first", 50, *events[:2]))
            await events[0].wait()
            self.clock.advance(10)
            second = asyncio.ensure_future(job("second", 20, *events[2:]))
            await events[2].wait()
            self.clock.advance(5)
            events[1].set()
            self.assertEqual(await first, (None, 35))
            self.clock.advance(5)
            self.assertEqual(self.manager.remaining_timeout, 80)
            events[3].set()
            self.assertEqual(await second, (None, 10))

        asyncio.run(main())
        self.clock.advance(1000)
        self.assertEqual(self.manager.remaining_timeout, 80)

    def test_a_task_does_not_nest_in_the_thread_that_runs_the_loop(self):
        async def main():
            with self.manager.timed_operation("inner") as inner:
                self.assertEqual(self.manager.remaining_timeout, 95)
            return inner

        with self.manager.timed_operation("outer", limit=50):
            self.clock.advance(5)
            self.assertIsNone(asyncio.run(main()).parent)
            self.assertEqual(self.manager.remaining_timeout, 45)


if __name__ == "__main__":
    unittest.main()
