"""What leaves a block that was interrupted comes of the interrupt, but for what comes from outside."""

import asyncio
import queue
import socket
import sys
import unittest
import warnings
from unittest import mock

from .. import package
from ..helpers.enforced import LIMIT, LONG, by_each_enforcer, spin, swallow_exceptions

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


@by_each_enforcer
class Causes:
    def leave(self, error, hide=False, manager=None):
        """Answer to an interrupt with this error; return what came out of the phase, and the interrupt."""
        seen = []

        def answer():
            try:
                spin()
            except Exception as interrupt:
                seen.append(interrupt)
                if hide:
                    raise error from None
            raise error

        def go():
            try:
                with (manager or self.manager()).timed_operation("run", LIMIT) as phase:
                    answer()
            except BaseException as caught:
                self.assertEqual(phase.outcome, "timeout")
                return caught
            return None

        error = self.in_thread(go)
        while not seen:  # a busy machine had not come to the answer yet
            error = self.in_thread(go)
        return error, seen[0]

    def test_whatever_leaves_it_is_the_cause_of_a_timeout(self):
        kinds = (AssertionError, socket.timeout, queue.Empty, SystemExit, StopIteration, StopAsyncIteration)
        for kind in (*kinds, unittest.SkipTest, BaseException, type("Outcome", (BaseException,), {})):
            for hide in False, True:
                with self.subTest(kind=kind, hide=hide):
                    own = kind("own")
                    error, interrupt = self.leave(own, hide)
                    self.assertIs(type(error), PhaseTimeout)
                    self.assertTrue(error.interrupted)
                    self.assertIs(error.__cause__, own)
                    self.assertEqual(getattr(own, "__notes__", []), [])
                    self.assert_no_ring(error)

    def test_the_interrupt_itself_in_another_error_makes_no_ring(self):
        class Group(BaseException):
            exceptions = ()

        for hold in "__cause__", "__context__", "exceptions":
            with self.subTest(hold=hold):
                own = Group()

                def go():
                    with self.manager().timed_operation("run", LIMIT):
                        try:
                            spin()
                        except Exception as interrupt:
                            caught.append(interrupt)
                        setattr(own, hold, tuple(caught) if hold == "exceptions" else caught[0])
                        raise own

                caught = []
                with self.assertRaises(PhaseTimeout) as raised:
                    self.in_thread(go)
                self.assertIs(raised.exception.__cause__, own)
                self.assertEqual(vars(raised.exception), {**vars(caught[0]), **vars(raised.exception)})
                self.assert_no_ring(raised.exception)

    def assert_no_ring(self, error, *around):
        self.assertFalse(any(each is error for each in around))
        for each in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
            if each is not None:
                self.assert_no_ring(each, *around, error)

    def test_what_comes_from_outside_passes(self):
        class Group(BaseException):
            exceptions = ()

        group = Group()
        group.exceptions = (ValueError(), KeyboardInterrupt())
        for own in KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), group:
            with self.subTest(error=own):
                self.assertIs(self.leave(own)[0], own)

    def test_a_cancellation_of_a_library_that_others_have_loaded_passes(self):
        for module, name in ("trio", "Cancelled"), ("greenlet", "GreenletExit"):
            own = type(name, (BaseException,), {})
            with mock.patch.dict(sys.modules, {module: mock.Mock(**{name: own})}), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # what waits there cannot be interrupted
                self.assertIs(type(self.leave(own())[0]), own)

    def test_the_timeout_of_another_manager_is_a_cause_like_any_other(self):
        own = PhaseTimeout("of somebody else")
        error, _ = self.leave(own)
        self.assertIs(error.__cause__, own)

    def test_an_interrupt_belongs_to_the_manager_whose_it_was(self):
        for late in False, True:
            for again in False, True:
                with self.subTest(late=late, again=again):
                    outer, inner = self.manager(), TimeoutManager(LIMIT / 500 if late else LONG)

                    def go():
                        with outer.timed_operation("outer", LIMIT):
                            with inner.timed_operation("inner"):
                                (swallow_exceptions if again else spin)()

                    with self.assertRaises(PhaseTimeout) as caught:
                        self.in_thread(go)
                    self.assertEqual((caught.exception.phase, caught.exception.__cause__), ("outer", None))
                    self.assertEqual(inner.phases[0].outcome, "timeout" if late else "failed")

    def test_an_interrupt_that_passes_an_interrupted_phase_of_another_manager(self):
        outer, inner = self.manager(), self.manager()

        def swallow_one():
            try:
                spin()
            except Exception:
                pass
            spin()

        def go():
            with outer.timed_operation("outer", 1.4 * LIMIT):  # before the other interrupt comes again
                with inner.timed_operation("inner", LIMIT):
                    swallow_one()

        with self.assertRaises(PhaseTimeout) as caught:
            self.in_thread(go)
        self.assertEqual(caught.exception.phase, "outer")
        self.assertEqual((outer.phases[0].outcome, inner.phases[0].outcome), ("timeout", "timeout"))


if __name__ == "__main__":
    unittest.main()
