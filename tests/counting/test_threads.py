"""One budget, many threads: each has its own stack of phases, and the time is charged once."""

import threading
import time
import unittest

from .. import package
from ..helpers.clock import FakeClock

TimeoutManager = package.TimeoutManager


def union(intervals):
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def in_a_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


class Parallel(unittest.TestCase):
    def test_two_threads_are_charged_once_and_do_not_see_each_others_phases(self):
        clock = FakeClock()
        manager = TimeoutManager(10, clock=clock)
        entered, leave, seen = threading.Event(), threading.Event(), []

        def work():
            with manager.timed_operation("work", limit=3) as phase:
                seen.extend([phase.parent, manager.remaining_timeout])
                entered.set()
                leave.wait(60)

        thread = threading.Thread(target=work)
        with manager.timed_operation("main") as phase:
            clock.advance(1)
            thread.start()
            entered.wait(60)
            clock.advance(1)
            self.assertEqual((manager.remaining_timeout, phase.path()), (8, ("main",)))
        clock.advance(0.5)  # the other is still open
        leave.set()
        thread.join()
        clock.advance(5)  # none is
        self.assertEqual(seen, [None, 3])
        self.assertEqual(manager.remaining_timeout, 7.5)

    def test_a_storm_of_phases_adds_up(self):
        manager = TimeoutManager(1000)
        failures = []

        def work():
            try:
                for round in range(150):
                    with manager.timed_operation("outer"):
                        with manager.timed_operation("inner"):
                            manager.remaining_timeout
                    if round % 10 == 0:
                        time.sleep(0.0005)
            except BaseException as error:
                failures.append(error)

        start = time.monotonic()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.monotonic() - start
        self.assertEqual(failures, [])
        data = manager.as_dict()
        self.assertEqual(len(data["phases"]), 8 * 150 * 2)
        self.assertEqual({phase["outcome"] for phase in data["phases"]}, {"done"})
        whole = union((phase["started"], phase["started"] + phase["elapsed"]) for phase in data["phases"])
        self.assertLess(abs(data["used"] - whole), max(0.05, wall / 2))
        self.assertLessEqual(data["used"], wall)
        with manager.timed_operation() as phase:
            self.assertIsNone(phase.parent)

    def test_a_thread_that_is_held_up_while_it_enters_counts_nothing_twice(self):
        clock = FakeClock()
        manager = TimeoutManager(10, clock=clock)

        def another():
            with manager.timed_operation("another"):
                clock.advance(2)

        clock.stop_here(lambda: in_a_thread(another))
        with manager.timed_operation("held up"):
            clock.advance(1)
        self.assertEqual(manager.remaining_timeout, 7)

    def test_a_budget_that_is_replaced_while_a_phase_is_entered_begins_from_nothing(self):
        clock = FakeClock()
        manager = TimeoutManager(10, clock=clock)
        with manager.timed_operation("before"):
            clock.advance(4)
        entered, leave = threading.Event(), threading.Event()

        def clean_up():
            with manager.cleanup_operation(limit=5):
                entered.set()
                leave.wait()

        cleaning = threading.Thread(target=clean_up)
        cleaning.start()
        self.addCleanup(cleaning.join)
        self.addCleanup(leave.set)
        entered.wait()
        clock.stop_here(lambda: in_a_thread(manager.reset))
        with manager.timed_operation("held up"):
            clock.advance(1)
            self.assertEqual(manager.remaining_timeout, 9)

    def test_reset_from_another_thread(self):
        clock = FakeClock()
        manager = TimeoutManager(10, clock=clock)
        with manager.timed_operation():
            clock.advance(9)
            in_a_thread(manager.reset, 4)
            clock.advance(1)
            self.assertEqual(manager.remaining_timeout, 3)


if __name__ == "__main__":
    unittest.main()
