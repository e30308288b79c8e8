"""A clock for tests: it stands still until it is told to go on."""

import threading


class FakeClock:
    """Steps of whole or binary fractions (0.5, 0.25) stay exact, so that results can be compared with ``==``."""

    def __init__(self, now=1000.0):
        self.now = now
        self._stops = {}

    def __call__(self):
        now = self.now
        meanwhile = self._stops.pop(threading.get_ident(), None)
        if meanwhile is not None:
            meanwhile()
        return now

    def advance(self, seconds):
        self.now += seconds

    def stop_here(self, meanwhile):
        """At its next reading, hold up the calling thread: it goes on with that reading after ``meanwhile`` has run."""
        self._stops[threading.get_ident()] = meanwhile
