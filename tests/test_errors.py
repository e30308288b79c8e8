"""PhaseTimeout as a value: it travels, and says everything by attributes."""

import copy
import pickle
import unittest

from . import package
from .clock import FakeClock


class PhaseTimeout(unittest.TestCase):
    def setUp(self):
        clock = FakeClock()
        manager = package.TimeoutManager(5, clock=clock)
        try:
            with manager.timed_operation("suite"), manager.timed_operation("build"):
                clock.advance(6)
        except package.PhaseTimeout as error:
            self.error = error
        self.error.diagnosis = "what was running"

    def test_is_a_timeout_error_without_an_errno(self):
        self.assertIsInstance(self.error, TimeoutError)
        self.assertEqual((len(self.error.args), self.error.errno), (1, None))

    def test_travels_with_its_attributes(self):
        facts = {name: value for name, value in vars(self.error).items() if name != "_owner"}
        self.assertGreaterEqual(len(facts), 7)
        ways = [copy.copy, copy.deepcopy]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            ways.append(lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)))
        for way in ways:
            other = way(self.error)
            self.assertIsNot(other, self.error)
            self.assertIs(type(other), package.PhaseTimeout)
            self.assertEqual((other.args, vars(other)), (self.error.args, facts))

    def test_message(self):
        self.assertEqual(
            str(self.error), "Timeout exceeded after build phase! (budget 5.00 s, used 6.00 s; in suite > build)"
        )

    def test_made_by_hand_it_has_every_attribute(self):
        error = package.PhaseTimeout("own")
        self.assertEqual(str(error), "own")
        found = error.phase, error.phase_path, error.limited_by, error.limited_phase
        self.assertEqual(found, ("", (), "budget", None))
        self.assertEqual((error.timeout, error.elapsed, error.interrupted, error.diagnosis), (None, None, False, ""))

    def test_an_interrupt_is_no_exception_for_except_exception(self):
        self.assertFalse(issubclass(package.PhaseInterrupt, Exception))


if __name__ == "__main__":
    unittest.main()
