"""A manager on a clock that stands still."""

import unittest

from .. import package
from .clock import FakeClock

TimeoutManager = package.TimeoutManager


class CountingCase(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock()
        self.manager = TimeoutManager(100, clock=self.clock)

    def used(self):
        return self.manager.as_dict()["used"]

    def spend(self, seconds, name="operation", **options):
        with self.manager.timed_operation(name, **options) as phase:
            self.clock.advance(seconds)
        return phase
