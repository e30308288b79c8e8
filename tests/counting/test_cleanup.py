"""A cleanup has a limit of its own, and costs the budget nothing."""

import threading
import unittest

from .. import package
from ..helpers.clock import FakeClock

TimeoutManager = package.TimeoutManager
PhaseTimeout = package.PhaseTimeout


class Cleanup(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock()
        self.manager = TimeoutManager(10, clock=self.clock)

    def test_is_recorded_and_not_charged(self):
        with self.manager.cleanup_operation("tidy", limit=5) as phase:
            self.clock.advance(3)
        self.assertEqual((phase.outcome, phase.elapsed(), self.manager.remaining_timeout), ("done", 3, 10))
        self.assertEqual(self.manager.phases, (phase,))

    def test_can_be_used_when_the_budget_is_spent(self):
        with self.assertRaises(PhaseTimeout), self.manager.timed_operation("build"):
            self.clock.advance(11)
        with self.manager.cleanup_operation(limit=5) as phase:
            self.assertEqual(self.manager.remaining_timeout, 5)
            self.clock.advance(2)
            self.assertEqual((self.manager.remaining_timeout, phase.remaining()), (3, 3))
        self.assertEqual((phase.name, phase.outcome, self.manager.remaining_timeout), ("cleanup", "done", 0))

    def test_its_own_limit_ends_it(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.cleanup_operation("tidy", limit=5):
                self.clock.advance(6)
        error = caught.exception
        found = error.phase, error.limited_by, error.limited_phase, error.timeout
        self.assertEqual(found, ("tidy", "limit", "tidy", 5))
        self.assertEqual(self.manager.remaining_timeout, 10)

    def test_inside_a_phase_the_budget_stands_still_and_goes_on_after_it(self):
        with self.manager.timed_operation("build") as build:
            self.clock.advance(4)
            with self.manager.cleanup_operation("tidy", limit=50) as tidy:
                self.assertEqual(self.manager.remaining_timeout, 50)
                self.clock.advance(20)
            self.assertIs(tidy.parent, build)
            self.assertEqual(self.manager.remaining_timeout, 6)
            self.clock.advance(1)
        self.assertEqual((build.outcome, build.elapsed(), self.manager.remaining_timeout), ("done", 25, 5))

    def test_an_outer_limit_is_due_right_after_it(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.timed_operation("build", limit=3):
                with self.manager.cleanup_operation("tidy", limit=50) as tidy:
                    self.clock.advance(20)
        self.assertEqual((tidy.outcome, caught.exception.phase), ("done", "build"))

    def test_a_phase_inside_it_is_bound_by_its_limit_and_not_charged(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.cleanup_operation("tidy", limit=15):
                with self.manager.timed_operation("remove") as remove:
                    self.clock.advance(12)
                self.assertEqual((remove.outcome, self.manager.remaining_timeout), ("done", 3))
                with self.manager.timed_operation("sync"):
                    self.clock.advance(5)
        error = caught.exception
        self.assertEqual((error.phase, error.limited_phase, error.phase_path), ("sync", "tidy", ("tidy", "sync")))
        self.assertEqual(self.manager.remaining_timeout, 10)

    def test_one_inside_another(self):
        with self.manager.timed_operation("build"):
            with self.manager.cleanup_operation("outer", limit=5):
                with self.manager.cleanup_operation("inner", limit=50) as inner:
                    self.assertEqual(self.manager.remaining_timeout, 50)
                self.clock.advance(4)
            self.clock.advance(1)
        self.assertEqual((inner.outcome, self.manager.remaining_timeout), ("done", 9))

    def test_that_is_left_before_a_phase_inside_it(self):
        with self.manager.timed_operation("build"):
            self.clock.advance(1)
            tidy = self.manager.cleanup_operation("tidy", limit=50).__enter__()
            remove = self.manager.timed_operation("remove").__enter__()
            self.clock.advance(5)
            tidy.__exit__(None, None, None)
            self.clock.advance(2)
            self.assertEqual(remove.remaining(), 7)
            remove.__exit__(None, None, None)
        self.assertEqual((tidy.outcome, remove.outcome), ("done", "done"))
        self.clock.advance(4)
        self.assertEqual(self.manager.remaining_timeout, 7)

    def test_that_is_not_entered_yet_has_its_own_limit_whatever_the_budget(self):
        def found(limit):
            phase = self.manager.cleanup_operation("tidy", limit=limit)
            return phase.remaining(), phase.expired()

        self.assertEqual((found(5), found(50)), ((5, False), (50, False)))
        with self.manager.timed_operation("build", limit=3):
            self.assertEqual(found(50), (50, False))
        self.manager.reset(0)
        self.assertEqual((found(5), found(0)), ((5, False), (0, True)))

    def test_for_the_phases_around_it_the_budget_stands_still_and_their_limits_go_on(self):
        timed = self.manager.timed_operation
        with timed("outer") as outer, timed("build", limit=100) as build, self.assertRaises(PhaseTimeout):
            with timed("link", limit=19) as link:
                self.clock.advance(4)
                with self.manager.cleanup_operation("tidy", limit=50):
                    self.clock.advance(10)
                    for phase, left in (outer, 6), (build, 6), (link, 5):
                        self.assertEqual((phase.remaining(), phase.expired()), (left, False))
                    self.clock.advance(5)
                    self.assertEqual((build.remaining(), link.remaining(), link.expired()), (6, 0, True))

    def test_a_phase_around_it_that_is_left_first(self):
        build = self.manager.timed_operation("build").__enter__()
        self.clock.advance(4)
        with self.manager.cleanup_operation("tidy", limit=50) as tidy:
            self.clock.advance(20)
            build.__exit__(None, None, None)
            self.clock.advance(20)
        self.assertEqual((build.outcome, build.remaining(), tidy.outcome), ("done", 6, "done"))
        self.assertEqual(self.manager.remaining_timeout, 6)

    def test_a_phase_that_outlives_it(self):
        tidy = self.manager.cleanup_operation("tidy", limit=50).__enter__()
        remove = self.manager.timed_operation("remove").__enter__()
        tidy.__exit__(None, None, None)
        remove.__exit__(None, None, None)
        self.clock.advance(20)
        self.assertEqual((remove.outcome, self.manager.remaining_timeout), ("done", 10))
        with self.manager.timed_operation("next") as phase:
            self.assertEqual(phase.path(), ("next",))

    def test_other_threads_are_charged_as_usual(self):
        entered, leave = threading.Event(), threading.Event()

        def work():
            with self.manager.timed_operation("work"):
                entered.set()
                leave.wait(60)

        thread = threading.Thread(target=work)
        thread.start()
        entered.wait(60)
        with self.manager.cleanup_operation("tidy", limit=50):
            self.clock.advance(3)
            leave.set()
            thread.join()
            self.clock.advance(3)
        self.assertEqual(self.manager.remaining_timeout, 7)


if __name__ == "__main__":
    unittest.main()
