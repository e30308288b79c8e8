"""What is taken for an amount of seconds, by every parameter; and TIMEOUT_MANAGER_SCALE."""

import unittest
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from unittest import mock

from . import package
from .helpers.clock import FakeClock

TimeoutManager = package.TimeoutManager
INFINITY = float("inf")

WAYS = {
    "initial_timeout": lambda manager, value: TimeoutManager(value, clock=manager._ledger.clock).initial_timeout,
    "limit": lambda manager, value: manager.timed_operation("build", limit=value).limit,
    "limit of a cleanup": lambda manager, value: manager.cleanup_operation("tidy", limit=value).limit,
    "timeout": lambda manager, value: manager.reset(value) or manager.remaining_timeout,
}


def scaled_by(text):
    return mock.patch.dict("os.environ", {"TIMEOUT_MANAGER_SCALE": text})


class Amounts(unittest.TestCase):
    def setUp(self):
        self.manager = TimeoutManager(10, clock=FakeClock())

    def test_numbers(self):
        for value in (3, 3.0, Fraction(3), Decimal(3)):
            for name, give in WAYS.items():
                with self.subTest(parameter=name, value=value):
                    seconds = give(self.manager, value)
                    self.assertEqual((seconds, type(seconds)), (3.0, float))

    def test_less_than_nothing_is_nothing(self):
        for value in (0, -1, -0.0, -INFINITY, -(10**400)):
            for name, give in WAYS.items():
                with self.subTest(parameter=name, value=str(value)[:9]):
                    self.assertEqual(str(give(self.manager, value)), "0.0")

    def test_infinity_is_no_limit(self):
        for value in (INFINITY, Decimal("inf"), 10**400):
            for name, give in WAYS.items():
                with self.subTest(parameter=name, value=str(value)[:9]):
                    self.assertIsNone(give(self.manager, value))

    def test_anything_else_is_refused_by_name_and_value_and_changes_nothing(self):
        wrong = (float("nan"), True, False, "3", b"3", [3], 3j, object)
        for value in wrong:
            for name, give in WAYS.items():
                with self.subTest(parameter=name, value=value):
                    with self.assertRaises((TypeError, ValueError)) as caught:
                        give(self.manager, value)
                    self.assertIn(name.split()[0], str(caught.exception))
                    self.assertIn(repr(value), str(caught.exception))
                    self.assertEqual((self.manager.remaining_timeout, self.manager.phases), (10, ()))

    def test_a_cleanup_must_have_a_limit(self):
        with self.assertRaises(TypeError):
            self.manager.cleanup_operation("tidy", limit=None)
        with self.assertRaises(TypeError):
            self.manager.cleanup_operation("tidy")


class Texts(unittest.TestCase):
    def test_change_their_unit_where_figures_are_rounded_up_to_it(self):
        text = import_module(f"{package.__name__}.seconds").text
        for seconds, expected in (
            (0, "0.00 s"),
            (0.00012345, "0.123 ms"),
            (0.00099949, "0.999 ms"),
            (0.00099996, "0.001 s"),
            (0.99949, "0.999 s"),
            (0.99996, "1.00 s"),
            (1, "1.00 s"),
            (None, "no limit"),
        ):
            self.assertEqual(text(seconds), expected)


class Scale(unittest.TestCase):
    def test_multiplies_every_finite_limit_once(self):
        with scaled_by("2.5"):
            manager = TimeoutManager(10, clock=FakeClock())
            for name, give in WAYS.items():
                with self.subTest(parameter=name):
                    self.assertEqual(give(manager, 4), 10)
                    self.assertIsNone(give(manager, INFINITY))
            manager.reset()
            self.assertEqual((manager.initial_timeout, manager.remaining_timeout), (25, 25))

    def test_is_found_in_whatever_stands_for_the_environment(self):
        with mock.patch("os.environ", {"TIMEOUT_MANAGER_SCALE": "3"}):
            self.assertEqual(TimeoutManager(2).initial_timeout, 6)

    def test_a_decorator_scales_once(self):
        with scaled_by("2"):
            manager = TimeoutManager(clock=FakeClock())
            manager.timed_operation("build", limit=3)(lambda: None)()
        self.assertEqual(manager.phases[0].limit, 6)

    def test_is_read_when_a_manager_is_made(self):
        with scaled_by("2"):
            manager = TimeoutManager(clock=FakeClock())
        self.assertEqual(manager.timed_operation(limit=3).limit, 6)
        with scaled_by("nonsense"):
            self.assertEqual(manager.timed_operation(limit=3).limit, 6)

    def test_nothing_or_less_switches_limits_off(self):
        for text in ("0", "-1", "0.0"):
            with scaled_by(text):
                manager = TimeoutManager(10, clock=FakeClock())
                self.assertIsNone(manager.initial_timeout)
                for give in WAYS.values():
                    self.assertIsNone(give(manager, 4))

    def test_anything_else_is_an_error_that_names_it(self):
        for text in ("fast", "", "nan", "inf", "2x"):
            with self.subTest(value=text), scaled_by(text):
                with self.assertRaisesRegex(ValueError, "TIMEOUT_MANAGER_SCALE") as caught:
                    TimeoutManager(10)
                self.assertIn(repr(text), str(caught.exception))


if __name__ == "__main__":
    unittest.main()
