"""Phases in phases, limits that change, cleanups: whose limit it is that ends a block."""

import importlib
import select
import signal
import socket
import sys
import threading
import time
import unittest
from contextlib import ExitStack
from unittest import mock

from .. import package
from ..helpers.enforced import BRIEF, LIMIT, LONG, MARGIN, by_each_enforcer, spin

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
ENTERED = 10 * LIMIT  # in which the phases inside are entered


@by_each_enforcer
class Nesting:
    def nested(self, *limits, body=spin, budget=None):
        """Run phases a, b, c, ... with these limits in each other; return the error and the outcomes."""
        manager = self.manager(budget)

        def go():
            with self.assertRaises(PhaseTimeout) as caught, ExitStack() as stack:
                for name, limit in zip("abc", limits):
                    stack.enter_context(manager.timed_operation(name, limit))
                body()
            return caught.exception, [phase.outcome for phase in manager.phases]

        return self.in_thread(go)

    def test_the_inner_limit_comes_first(self):
        error, outcomes = self.nested(LONG, LIMIT)
        self.assertEqual((error.limited_phase, error.phase, error.phase_path), ("b", "b", ("a", "b")))
        self.assertEqual(outcomes, ["failed", "timeout"])

    def test_the_outer_limit_comes_first(self):
        error, outcomes = self.nested(ENTERED, LONG)
        self.assertEqual((error.limited_phase, error.phase, error.phase_path), ("a", "b", ("a", "b")))
        self.assertEqual(outcomes, ["timeout", "timeout"])

    def test_of_equal_limits_the_outermost_owns_the_error(self):
        def body():
            time.sleep(2 * ENTERED)
            spin()

        error, outcomes = self.nested(ENTERED, ENTERED, ENTERED, body=body)
        if self.ends_blocking_calls:
            self.assertEqual((error.limited_phase in "abc", error.phase), (True, "c"))
        else:
            self.assertEqual((error.limited_phase, error.phase), ("a", "c"))

    def test_three_deep(self):
        error, outcomes = self.nested(LONG, ENTERED, LONG)
        self.assertEqual((error.limited_phase, error.phase), ("b", "c"))
        self.assertEqual(outcomes, ["failed", "timeout", "timeout"])

    def test_the_budget_is_outside_of_all_phases(self):
        error, outcomes = self.nested(LONG, LONG, budget=ENTERED)
        self.assertEqual((error.limited_by, error.limited_phase, error.phase), ("budget", None, "b"))
        self.assertEqual(outcomes, ["timeout", "timeout"])

    def test_the_inner_error_is_caught_and_the_outer_limit_still_holds(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("outer", 4 * LIMIT):
                    for _ in range(LONG):
                        with self.assertRaises(PhaseTimeout) as inner:
                            with manager.timed_operation("inner", LIMIT):
                                spin()
                        if inner.exception.limited_phase == "outer":
                            raise inner.exception
            self.assertEqual(caught.exception.limited_phase, "outer")
            self.assertEqual((manager.phases[0].outcome, manager.phases[1].outcome), ("timeout", "timeout"))

        self.in_thread(go)

    def test_an_outer_limit_that_passes_meanwhile_gives_the_inner_finally_its_time(self):
        done = []

        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("outer", 3 * LIMIT):
                    with manager.timed_operation("inner", LIMIT):
                        try:
                            spin()
                        finally:
                            spin(3 * LIMIT)
                            done.append(True)
            self.assertEqual(caught.exception.limited_phase, "outer")
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

        self.in_thread(go)
        self.assertEqual(done, [True])

    def test_two_managers(self):
        def go():
            for outer_limit, inner_limit, owner in (LONG, LIMIT, "inner"), (LIMIT, LONG, "outer"):
                with self.assertRaises(PhaseTimeout) as caught:
                    with self.manager().timed_operation("outer", outer_limit):
                        with self.manager().timed_operation("inner", inner_limit):
                            spin()
                self.assertEqual((caught.exception.limited_phase, caught.exception.phase_path), (owner, (owner,)))

        self.in_thread(go)

    def test_a_manager_of_one_kind_around_one_of_the_other(self):
        def go():
            for kinds in (True, self.enforce), (self.enforce, True):
                for outer_limit, inner_limit, owner in (LONG, LIMIT, "inner"), (LIMIT, LONG, "outer"):
                    with self.assertRaises(PhaseTimeout) as caught:
                        with TimeoutManager(enforce=kinds[0]).timed_operation("outer", outer_limit):
                            with TimeoutManager(enforce=kinds[1]).timed_operation("inner", inner_limit):
                                spin()
                    self.assertEqual(caught.exception.limited_phase, owner)

        self.in_thread(go)

    def test_a_thousand_deep(self):
        def go():
            manager = self.manager(LONG)
            with self.assertRaises(PhaseTimeout) as caught, ExitStack() as stack:
                for _ in range(1000):
                    stack.enter_context(manager.timed_operation("level", LONG))
                stack.enter_context(manager.timed_operation("last", LIMIT))
                spin()
            self.assertEqual(len(caught.exception.phase_path), 1001)

        self.in_thread(go)

    def test_reset_gives_an_open_phase_more_time(self):
        def go():
            manager = self.manager(LIMIT)
            with manager.timed_operation("run"):
                manager.reset(LONG)
                spin(4 * LIMIT)
            self.assertEqual(manager.phases[0].outcome, "done")

        self.in_thread(go)

    def test_reset_sends_no_signal_that_could_meet_what_comes_next(self):
        with self.manager(LONG).timed_operation() as phase:
            phase.ledger.reset(LONG)
            read, write = socket.socketpair()
            with read, write:
                for each in read, write:
                    each.setblocking(False)
                before = self.hear(write.fileno())
                try:
                    for _ in range(20):
                        phase.ledger.reset(LONG)
                        time.sleep(0.002)
                finally:
                    self.hear(before)
                self.assertEqual(select.select([read], [], [], 0), ([], [], []))

    def hear(self, descriptor):
        """Have every signal that a handler of Python's gets write to this descriptor; return the one before."""
        try:
            return signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        except ValueError:  # signals are not for this thread
            return -1

    def test_reset_from_another_thread_gives_an_open_phase_less_time(self):
        manager = self.manager(LONG)

        def go():
            entered = threading.Event()
            other = threading.Thread(target=lambda: (entered.wait(LONG), manager.reset(LIMIT)))
            other.start()
            with self.assertRaises(PhaseTimeout):
                with manager.timed_operation("run"):
                    entered.set()
                    spin()
            other.join()

        self.in_thread(go)

    def test_reset_from_another_thread_is_heard_though_a_signal_is_lost(self):
        # as one is that comes when a call of the system is about to begin
        signals = importlib.import_module(f"{package.__name__}.originals").signals
        if not hasattr(signals, "pthread_kill"):
            self.skipTest("there are no signals to threads")
        kill, sent = signals.pthread_kill, []

        def lose_the_first(ident, number):
            sent.append(number)
            if len(sent) > 1:
                kill(ident, number)

        def go():
            manager = self.manager(LONG)
            later = threading.Timer(LIMIT, manager.reset, [0])
            with mock.patch.object(signals, "pthread_kill", lose_the_first), self.assertRaises(PhaseTimeout):
                with manager.timed_operation("run"):
                    later.start()
                    (time.sleep if self.ends_blocking_calls else spin)(LONG)
            later.join()
            self.assertLess(manager.phases[0].elapsed(), MARGIN)

        self.in_thread(go)

    def test_reset_sets_a_limit_where_there_was_none(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                with manager.timed_operation("outer"), manager.timed_operation("run"):
                    manager.reset(LIMIT)
                    spin()

        self.in_thread(go)

    def test_reset_in_a_phase_with_a_limit_binds_the_one_around_it_that_had_none(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("outer"):
                    with manager.timed_operation("inner", LONG):
                        manager.reset(10 * LIMIT)
                    spin(BRIEF)
            self.assertEqual((caught.exception.phase, caught.exception.interrupted), ("outer", True))
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "done"])

        self.in_thread(go)

    def test_a_cleanup_holds_the_other_limits_back(self):
        done = []

        def go():
            manager = self.manager(LIMIT)
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("run", LIMIT):
                    with manager.cleanup_operation("tidy", limit=LONG):
                        spin(4 * LIMIT)
                        done.append(True)
                    spin()
            self.assertEqual(caught.exception.phase, "run")

        self.in_thread(go)
        self.assertEqual(done, [True])

    def test_a_cleanup_in_a_suspended_generator_holds_them_back_too(self):
        done = []

        def go():
            manager = self.manager()

            def tidy():
                with manager.cleanup_operation("tidy", limit=LONG):
                    yield

            suspended = tidy()
            next(suspended)
            with manager.timed_operation("use"):
                manager.reset(0)
                spin(LIMIT)
                done.append(True)
            suspended.close()

        self.in_thread(go)
        self.assertEqual(done, [True])

    def test_a_cleanup_that_hangs_ends(self):
        def go():
            manager = self.manager(0)
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.cleanup_operation("tidy", limit=LIMIT):
                    spin()
            self.assertEqual((caught.exception.phase, caught.exception.limited_phase), ("tidy", "tidy"))

        self.in_thread(go)


class NestedPhases(unittest.TestCase):
    def test_the_stack_is_walked_once_for_the_borders_of_all(self):
        whereabouts = importlib.import_module(f"{package.__name__}.interrupting.whereabouts")
        manager = TimeoutManager(enforce=True)
        walks = []

        class Stack(dict):
            def __iter__(self):
                walks.append(self)
                return super().__iter__()

        def found_in(depth):
            with manager.timed_operation("step", LONG) as phase:
                if depth:
                    return found_in(depth - 1)
                stack, frame = Stack(), sys._getframe()
                while frame is not None:
                    stack[frame], frame = None, frame.f_back
                return whereabouts.find_borders(list(manager.phases), [phase], stack)

        self.assertEqual(found_in(20), {})
        self.assertEqual(len(walks), 1)


if __name__ == "__main__":
    unittest.main()
