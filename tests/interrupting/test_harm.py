"""What is held by a `with`, or by a `try` behind the call that takes it, is given back where a block is interrupted."""

import sys
import threading
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.enforced import CPYTHON, LONG, burn, by_each_enforcer, spin
from ..helpers.held import BRIEF, USES, Condition, left_held, use

TIMES = 6  # enough: if nothing is done against it, some of them leave something held


@by_each_enforcer
class WhatIsHeld:
    @unittest.skipUnless(CPYTHON, "PyPy does not look for signals at the places that it tells")
    def test_is_given_back(self):
        found = self.in_thread(lambda: [(*each, left_held(*each, TIMES, self.manager)) for each in USES])
        self.assertEqual([each for each in found if each[2]], [])

    @unittest.skipUnless(CPYTHON, "PyPy does not look for signals at the places that it tells")
    def test_is_given_back_by_an_exit_that_takes_some_turns(self):
        class Slow:
            turns = 0

            def turn(self):
                for self.turns in range(10_000):
                    pass

            def __enter__(self):
                pass

            def __exit__(self, *error):
                self.turn()
                self.turns = 0

        def body():
            while True:
                with slow:
                    pass
                for _ in range(10_000):
                    pass

        slow = Slow()
        for _ in range(TIMES):
            self.assert_times_out(body, BRIEF)
            self.assertEqual(slow.turns, 0)

    @unittest.skipUnless(CPYTHON, "elsewhere objects die later")
    def test_is_no_error_that_a_del_would_lose(self):
        class Dying:
            def __del__(self):
                self.is_gone = True

        def body():
            while True:
                Dying()

        lost = []
        with mock.patch.object(sys, "unraisablehook", lost.append):
            for _ in range(TIMES):
                self.assert_times_out(body, BRIEF)
        self.assertEqual(lost, [])

    def test_does_not_put_off_the_end_of_a_deadlock(self):
        if not self.ends_blocking_calls:
            self.skipTest("such a call is not ended here")
        for kind in threading.Lock, Condition:
            lock = kind()
            with lock:
                self.assert_times_out(lambda lock=lock: use(lock))

    def test_puts_off_for_a_few_looks_only_what_is_called_directly_before_a_with(self):
        delivery = import_module(f"{package.__name__}.interrupting.delivery")
        looks = []

        def body():
            burn()
            with lock:
                pass

        def count(*args):
            looks.append(args)
            return choose(*args)

        lock, choose = threading.Lock(), delivery._raise
        with mock.patch.object(delivery, "_raise", count):
            self.assert_times_out(body)
        self.assertLess(len(looks), 300)

    def test_does_not_put_off_the_end_of_an_exit_that_does_not_end(self):
        class Endless:
            def __enter__(self):
                pass

            def __exit__(self, *error):
                spin(LONG)

        def body():
            with Endless():
                pass

        self.assert_times_out(body)


class TheCallThatHasEntered(unittest.TestCase):
    def test_belongs_to_the_block(self):
        """The interpreter looks for signals behind it, in any case if something evaluates frames in its own way."""
        inside = import_module(f"{package.__name__}.interpreter.bytecode").inside
        seen = []

        class Manager:
            def __enter__(self):
                frame = sys._getframe(1)
                seen.append(inside(frame, frame.f_lasti))

            def __exit__(self, *error):
                pass

        with Manager():
            pass
        self.assertEqual(seen, [True])


if __name__ == "__main__":
    unittest.main()
