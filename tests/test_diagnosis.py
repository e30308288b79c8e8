"""What an interrupted phase says of the place where it stood; and debuggers, where nothing is interrupted."""

import bdb
import pickle
import sys
import time
import unittest
from unittest import mock

from . import package

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


def hang():
    time.sleep(60)


def swallow():
    try:
        hang()
    except Exception:
        pass


def interrupted(enforce=True, body=hang):
    """Return the error of a phase whose body hangs."""
    try:
        with TimeoutManager(0.1, enforce=enforce).timed_operation("phase"):
            body()
    except PhaseTimeout as error:
        return error


class TheDiagnosis(unittest.TestCase):
    def test_is_the_stack_of_the_thread_that_was_interrupted(self):
        for enforce in True, "thread":
            error = interrupted(enforce)
            self.assertRegex(error.diagnosis, r"^Stack of thread MainThread \(most recent call last\):\n")
            self.assertRegex(error.diagnosis, r"in hang\n    time\.sleep\(60\)\Z")
            self.assertIn("in interrupted\n    body()\n", error.diagnosis)
            self.assertNotIn(package.__name__ + "/", error.diagnosis)

    @unittest.skipUnless(hasattr(BaseException, "add_note"), "no notes")
    def test_is_a_note_on_the_error(self):
        for body in hang, swallow:
            error = interrupted(body=body)
            self.assertEqual(error.__notes__, [error.diagnosis])

    def test_travels_with_the_error(self):
        error = interrupted()
        self.assertEqual(pickle.loads(pickle.dumps(error)).diagnosis, error.diagnosis)

    def test_is_empty_where_time_is_only_counted(self):
        error = interrupted(False, lambda: time.sleep(0.2))
        self.assertEqual((error.diagnosis, error.interrupted), ("", False))

    def test_has_the_lines_where_tasks_wait(self):
        import asyncio

        async def wait():
            await asyncio.sleep(60)

        def body():
            asyncio.run(wait())

        self.assertRegex(interrupted(body=body).diagnosis, r"in wait\n    await asyncio\.sleep\(60\)\n")

    def test_a_test_that_replaces_what_it_needs_does_not_hide_the_timeout(self):
        with mock.patch("linecache.getline", side_effect=KeyError):
            self.assertIn("in hang", interrupted().diagnosis)


class InADebugger(unittest.TestCase):
    class Debugger(bdb.Bdb):
        def trace_dispatch(self, *args):
            return None

    def go(self, enforce, tracer, error=None):
        manager = TimeoutManager(0.05, enforce=enforce)
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            with mock.patch("sys.__stderr__"):
                with manager.timed_operation("outer"):
                    time.sleep(0.2)
                    with manager.timed_operation("inner"):
                        pass
        finally:
            sys.settrace(before)
        return [phase.outcome for phase in manager.phases]

    def test_nothing_is_raised_and_the_ledger_tells(self):
        for enforce in False, True, "thread":
            self.assertEqual(self.go(enforce, self.Debugger().trace_dispatch), ["timeout", "timeout"], enforce)

    def test_a_tracer_that_is_none_changes_nothing(self):
        for enforce in False, True:
            with self.assertRaises(PhaseTimeout):
                self.go(enforce, lambda *args: None)


if __name__ == "__main__":
    unittest.main()
