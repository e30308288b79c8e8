"""What is there after the last phase is what was there before."""

import gc
import signal
import time
import unittest

from .. import package
from ..helpers.child import count_threads
from ..helpers.enforced import LIMIT, LONG, by_each_enforcer, hold, spin

PhaseTimeout = package.PhaseTimeout


@by_each_enforcer
class LeavingNothing:
    def test_nothing_is_kept_of_a_finished_phase_but_the_ledger(self):
        things = []

        def go():
            manager = self.manager()
            with manager:
                try:
                    with manager.timed_operation("run", LIMIT):
                        hold(things)
                except PhaseTimeout:
                    pass
                gc.collect()
                self.assertIsNone(things[0]())

        self.in_thread(go)

    def setUp(self):
        super().setUp()
        self.threads = count_threads() + (not self.ends_blocking_calls)  # the watchdog waits for the next phase

    def state(self):
        """What must be as it was after the last phase and session; threads that have ended do not count."""
        for _ in range(500):
            if count_threads() <= self.threads:
                break
            time.sleep(0.01)  # the kernel takes a moment to forget one
        return (
            max(count_threads(), self.threads),
            signal.getitimer(signal.ITIMER_REAL),
            [signal.getsignal(number) for number in signal.valid_signals()],
        )

    def test_a_session_enforces_each_phase_and_ends_clean(self):
        def go():
            before = self.state()
            manager = self.manager(LONG)
            with manager as entered:
                self.assertIs(entered, manager)
                for _ in range(3):
                    with manager.timed_operation("fast"):
                        pass
                    with self.assertRaises(PhaseTimeout):
                        with manager.timed_operation("slow", LIMIT):
                            spin()
                    with manager, manager.timed_operation("nested"):
                        pass
                time.sleep(0.01)
            self.assertEqual(self.state(), before)
            with self.assertRaises(ZeroDivisionError):
                with manager, manager.timed_operation("run"):
                    1 / 0
            self.assertEqual(self.state(), before)
            with self.assertRaises(RuntimeError):
                manager.__exit__(None, None, None)

        self.in_thread(go)

    def test_no_thread_and_no_handler_outlives_the_last_phase(self):
        def go():
            before = self.state()
            for _ in range(3):
                with self.assertRaises(PhaseTimeout):
                    with self.manager().timed_operation("run", LIMIT):
                        spin()
            self.assertEqual(self.state(), before)

        self.in_thread(go)

    def test_a_phase_without_a_limit_touches_nothing(self):
        def go():
            before = self.state()
            with self.manager().timed_operation("run"):
                self.assertEqual(self.state(), before)

        self.in_thread(go)


if __name__ == "__main__":
    unittest.main()
