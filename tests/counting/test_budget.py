"""A budget that is spent, is asked for, is set anew, or has ended."""

import unittest

from .. import package
from ..helpers.clock import FakeClock
from ..helpers.counting import CountingCase

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


class NoLimit(unittest.TestCase):
    def test_none_and_infinity_are_reported_as_none(self):
        clock = FakeClock()
        for timeout in (None, float("inf")):
            with self.subTest(timeout=timeout):
                manager = TimeoutManager(timeout, clock=clock)
                with manager.timed_operation(limit=timeout) as phase:
                    clock.advance(1e9)
                    self.assertIsNone(manager.remaining_timeout)
                    self.assertIsNone(phase.remaining())
                    self.assertFalse(phase.expired())
                    manager.check_timeout()
                self.assertIsNone(manager.initial_timeout)
                self.assertIsNone(manager.remaining_timeout)
                self.assertIsNone(phase.limit)
                self.assertIsNone(phase.remaining())
                self.assertFalse(manager.expired)
                self.assertEqual(phase.outcome, "done")
                self.assertEqual(manager.as_dict()["used"], 1e9)

    def test_is_the_default(self):
        self.assertIsNone(TimeoutManager().initial_timeout)

    def test_a_phase_may_still_have_a_limit(self):
        clock = FakeClock()
        manager = TimeoutManager(clock=clock)
        with self.assertRaises(PhaseTimeout) as caught:
            with manager.timed_operation("build", limit=5):
                self.assertEqual(manager.remaining_timeout, 5)
                clock.advance(6)
        self.assertEqual(caught.exception.limited_by, "limit")
        self.assertIsNone(manager.remaining_timeout)


class Spent(CountingCase):
    def test_remaining_is_never_negative(self):
        with self.assertRaises(PhaseTimeout):
            with self.manager.timed_operation() as phase:
                self.clock.advance(250)
                self.assertEqual(self.manager.remaining_timeout, 0.0)
                self.assertEqual(phase.remaining(), 0.0)
        self.assertEqual(self.manager.remaining_timeout, 0.0)
        self.assertEqual(phase.remaining(), 0.0)
        self.assertEqual(self.used(), 250)

    def test_expired_at_the_deadline_and_never_early(self):
        with self.assertRaises(PhaseTimeout):
            with self.manager.timed_operation() as phase:
                self.clock.advance(99.75)
                self.assertFalse(self.manager.expired)
                self.assertFalse(phase.expired())
                self.manager.check_timeout()
                self.clock.advance(0.25)
                self.assertTrue(self.manager.expired)
                self.assertTrue(phase.expired())

    def test_a_phase_that_ends_a_moment_before_the_deadline_is_done(self):
        self.assertEqual(self.spend(99.75).outcome, "done")

    def test_a_limit_that_is_over_does_not_spend_the_budget(self):
        with self.assertRaises(PhaseTimeout):
            with self.manager.timed_operation(limit=5) as phase:
                self.clock.advance(5)
                self.assertTrue(phase.expired())
                self.assertFalse(self.manager.expired)
        self.assertEqual(self.manager.remaining_timeout, 95)

    def test_a_budget_of_zero_or_less_is_spent_and_still_runs_the_block(self):
        for timeout in (0, -3, float("-inf")):
            with self.subTest(timeout=timeout):
                manager = TimeoutManager(timeout, clock=self.clock)
                self.assertTrue(manager.expired)
                self.assertEqual(manager.initial_timeout, 0.0)
                self.assertEqual(manager.remaining_timeout, 0.0)
                ran = []
                with self.assertRaises(PhaseTimeout):
                    with manager.timed_operation() as phase:
                        ran.append(True)
                self.assertEqual((ran, phase.outcome), ([True], "timeout"))

    def test_a_phase_entered_after_the_end_of_the_budget_runs_and_raises_at_exit(self):
        with self.assertRaises(PhaseTimeout):
            self.spend(100)
        with self.assertRaises(PhaseTimeout) as caught:
            self.spend(1, "next")
        self.assertEqual(caught.exception.phase, "next")
        self.assertEqual(caught.exception.elapsed, 101)

    def test_a_limit_of_zero_or_less_is_spent(self):
        for limit in (0, -1):
            with self.subTest(limit=limit), self.assertRaises(PhaseTimeout) as caught:
                self.spend(0, limit=limit)
            self.assertEqual(caught.exception.limited_by, "limit")


class CheckTimeout(CountingCase):
    def test_passes_in_time(self):
        self.assertIsNone(self.manager.check_timeout())

    def test_raises_between_phases(self):
        self.manager.reset(0)
        with self.assertRaisesRegex(PhaseTimeout, r"^Timeout exceeded after operation phase! \(") as caught:
            self.manager.check_timeout()
        self.assertEqual((caught.exception.phase, caught.exception.phase_path), ("operation", ()))

    def test_inside_a_phase_it_names_what_it_was_given_and_the_phase_takes_the_error_as_its_own(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.timed_operation("convert") as phase:
                self.clock.advance(100)
                try:
                    self.manager.check_timeout("download")
                except PhaseTimeout as error:
                    raised = error
                    raise
        self.assertIs(caught.exception, raised)
        self.assertEqual((raised.phase, raised.phase_path), ("download", ("convert",)))
        self.assertEqual(phase.outcome, "timeout")

    def test_counts_the_limits_of_the_open_phases(self):
        with self.assertRaises(PhaseTimeout):
            with self.manager.timed_operation("outer", limit=5):
                with self.manager.timed_operation("inner"):
                    self.clock.advance(5)
                    with self.assertRaises(PhaseTimeout) as caught:
                        self.manager.check_timeout()
        self.assertEqual(caught.exception.limited_phase, "outer")
        self.manager.check_timeout()


class Reset(CountingCase):
    def test_goes_back_to_the_initial_timeout(self):
        self.spend(60)
        self.manager.reset()
        self.assertEqual(self.manager.remaining_timeout, 100)
        self.assertEqual(self.used(), 0)

    def test_takes_another_timeout_and_keeps_the_initial_one(self):
        self.manager.reset(5)
        self.assertEqual((self.manager.remaining_timeout, self.manager.initial_timeout), (5, 100))
        self.manager.reset()
        self.assertEqual(self.manager.remaining_timeout, 100)

    def test_in_an_open_phase_the_new_budget_starts_now(self):
        with self.manager.timed_operation() as phase:
            self.clock.advance(60)
            self.manager.reset(10)
            self.assertEqual(self.manager.remaining_timeout, 10)
            self.assertEqual(phase.remaining(), 10)
            self.clock.advance(4)
            self.assertEqual(self.manager.remaining_timeout, 6)
        self.assertEqual(self.used(), 4)
        self.assertEqual(phase.elapsed(), 64)

    def test_can_save_a_phase_that_was_over(self):
        with self.manager.timed_operation() as phase:
            self.clock.advance(150)
            self.assertTrue(phase.expired())
            self.manager.reset()
        self.assertEqual(phase.outcome, "done")

    def test_can_end_a_phase_that_had_time(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.timed_operation():
                self.clock.advance(7)
                self.manager.reset(0)
        self.assertEqual((caught.exception.timeout, caught.exception.elapsed), (0, 0))

    def test_leaves_the_limit_of_a_phase_alone(self):
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.timed_operation(limit=5):
                self.clock.advance(4)
                self.manager.reset(50)
                self.assertEqual(self.manager.remaining_timeout, 1)
                self.clock.advance(1)
        self.assertEqual(caught.exception.limited_by, "limit")

    def test_to_infinity_takes_the_limit_away(self):
        self.manager.reset(float("inf"))
        self.assertIsNone(self.manager.remaining_timeout)
        self.spend(1000)

    def test_keeps_the_ledger(self):
        before = self.spend(60)
        self.manager.reset()
        self.assertEqual(self.manager.phases, (before,))
        self.assertEqual((before.elapsed(), before.remaining()), (60, 40))

    def test_between_phases_does_not_start_the_clock(self):
        self.manager.reset()
        self.clock.advance(50)
        self.assertEqual(self.manager.remaining_timeout, 100)


class AfterTheEnd(CountingCase):
    def test_a_phase_stays_as_it_was_at_exit(self):
        for seconds, limit in ((10, None), (10, 30), (30, 30)):
            with self.subTest(seconds=seconds, limit=limit):
                try:
                    with self.manager.timed_operation(limit=limit) as phase:
                        self.clock.advance(seconds)
                        at_exit = phase.elapsed(), phase.remaining(), phase.expired()
                except PhaseTimeout:
                    pass
                self.clock.advance(500)
                self.manager.reset()
                self.assertEqual((phase.elapsed(), phase.remaining(), phase.expired()), at_exit)


if __name__ == "__main__":
    unittest.main()
