"""What the tests of enforcers share: limits, blocks that go on, and a class of tests for each enforcer."""

import sys
import threading
import time
import unittest
import weakref
from functools import wraps
from importlib import import_module
from unittest import mock

from .. import package
from .together import Together

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
NAMES = [name for name in ("timer", "signal", "thread") if TimeoutManager(enforce=name).enforcement == name]

LIMIT = 0.05  # seconds
LONG = 60  # what would hang for so long has hung
MARGIN = 20  # what ends within so many seconds has not
LATE = 1  # what returns after so many seconds has been looked at before
BRIEF = 5  # what goes on for so long was not interrupted
CPYTHON = sys.implementation.name == "cpython"
choice = import_module(f"{package.__name__}.enforcing.choice")
expiry = import_module(f"{package.__name__}.interrupting.expiry")


def is_watched():
    """Tell whether anything is armed at present."""
    return any(each.only.is_running for each in (choice.ByTimer, choice.BySignal)) or bool(choice.ByThread.started())


def unwatched(test):
    """Have a test, or all tests of a class, be skipped where the runner of the package watches the tests themselves."""
    if isinstance(test, type):
        test.setUp = unwatched(test.setUp)
        return test

    @wraps(test)
    def unless_watched(self):
        if is_watched():
            self.skipTest("the tests themselves are watched, by the runner of the package")
        return test(self)

    return unless_watched


def burn(seconds=LONG):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def spin(seconds=LONG):
    """Go on like `burn`, but leave the processor to the tests that run beside this one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.003)


def swallow_exceptions():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            spin()
        except Exception:
            pass


def retry_on_os_error():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            spin()
        except OSError:
            continue


class Thing:
    """What a block holds."""


def hold(things):
    """Hold something, to which there is a reference in the list, and go on."""
    thing = Thing()
    things.append(weakref.ref(thing))
    spin()


class Enforced(Together):
    """What a test of what every enforcer has to do may call."""

    enforce = "signal"
    ends_blocking_calls = True
    swallows = False  # the blocks of these tests swallow interrupts, and others are to follow soon

    def setUp(self):
        """Have the second interrupt come after a second: a busy machine may have the answer to the first one wait."""
        first = expiry.FIRST if self.swallows else expiry.LAST
        patch = mock.patch.object(expiry, "FIRST", first)
        patch.start()
        self.addCleanup(patch.stop)
        super().setUp()

    def in_thread(self, function):
        """Call the function where this enforcer works."""
        return function()

    def manager(self, timeout=None, **options):
        return TimeoutManager(timeout, enforce=self.enforce, **options)

    def assert_times_out(self, body, limit=LIMIT, **expected):
        """Run the body in a phase "run" with a limit; it has to end there. Return the error."""
        manager = self.manager()

        def go():
            start = time.monotonic()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("run", limit):
                    body()
            self.assertLess(time.monotonic() - start, MARGIN)
            return caught.exception

        error = self.in_thread(go)
        expected = {"phase": "run", "limited_phase": "run", "interrupted": True, "timeout": limit, **expected}
        self.assertEqual({name: getattr(error, name) for name in expected}, expected)
        self.assertEqual([phase.outcome for phase in manager.phases], ["timeout"])
        return error


class ByAlarm(Enforced):
    pass


@unittest.skipIf(TimeoutManager(enforce="timer").enforcement == "none", "no such timers here")
class ByTimer(Enforced):
    enforce = "timer"

    def setUp(self):
        super().setUp()
        with self.manager().timed_operation("first", LONG):
            pass  # the handler of its signal is there from now on


class ByWatchdogInTheMainThread(Enforced):
    enforce = "thread"


@unittest.skipUnless(CPYTHON, "PyPy offers no way into another thread")
class ByWatchdogInAnotherThread(Enforced):
    enforce = "thread"
    ends_blocking_calls = False

    def in_thread(self, function):
        found, errors = [], []

        def go():
            try:
                found.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        thread.join(6 * MARGIN)
        self.assertFalse(thread.is_alive(), "it hangs")
        if errors:
            raise errors[0]
        return found[0]


def by_each_enforcer(cls):
    """Have the tests of this class run against each enforcer: a class in its module for each."""
    for enforced in ByAlarm, ByTimer, ByWatchdogInTheMainThread, ByWatchdogInAnotherThread:
        name = cls.__name__ + enforced.__name__
        attributes = {"__module__": cls.__module__, "__qualname__": name}
        setattr(sys.modules[cls.__module__], name, type(name, (cls, enforced, unittest.TestCase), attributes))
    return cls
