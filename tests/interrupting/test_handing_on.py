"""Generators, context managers and classes that hand on to a phase: in whose block the interrupt comes."""

import gc
import importlib
import sys
import time
import unittest
from contextlib import ExitStack, contextmanager
from unittest import mock

from .. import package
from ..helpers.enforced import BRIEF, LIMIT, LONG, by_each_enforcer, hold, retry_on_os_error, spin

PhaseInterrupt, PhaseTimeout, TimeoutManager = package.PhaseInterrupt, package.PhaseTimeout, package.TimeoutManager


class Step:
    """A context manager that hands on to a phase, with something to do in between."""

    def __init__(self, phase, in_enter=int, in_exit=int):
        self.phase, self.in_enter, self.in_exit = phase, in_enter, in_exit

    def __enter__(self):
        self.phase.__enter__()
        self.in_enter()
        return self

    def __exit__(self, *error):
        self.in_exit()
        return self.phase.__exit__(*error)


@by_each_enforcer
class HandingOn:
    def test_a_suspended_generator_never_interrupts_its_consumer(self):
        def go():
            manager = self.manager()

            def produce():
                with manager.timed_operation("produce", LIMIT):
                    yield 1
                    spin()

            producer = produce()
            next(producer)
            spin(6 * LIMIT)  # the limit passes here
            with self.assertRaises(PhaseTimeout) as caught:
                next(producer)
            self.assertEqual(caught.exception.phase, "produce")

            abandoned = produce()
            next(abandoned)
            spin(4 * LIMIT)
            abandoned.close()  # a GeneratorExit is never masked
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

        self.in_thread(go)

    def test_nor_does_one_with_the_phase_in_an_exit_stack(self):
        def go():
            manager = self.manager()

            def produce():
                with ExitStack() as stack:
                    stack.enter_context(manager.timed_operation("produce", LIMIT))
                    yield 1
                    spin(BRIEF)

            producer = produce()
            next(producer)
            spin(6 * LIMIT)
            with self.assertRaises(PhaseTimeout) as caught:
                next(producer)
            self.assertEqual((caught.exception.phase, caught.exception.interrupted), ("produce", True))

        self.in_thread(go)

    def test_a_context_manager_around_a_phase_is_interrupted_in_the_with_of_its_user(self):
        def go():
            manager = self.manager()

            @contextmanager
            def step():
                with manager.timed_operation("run", LIMIT):
                    yield

            @contextmanager
            def nested():
                with step():
                    yield

            class Handed(Step):
                def __init__(self):
                    super().__init__(step())

            def in_a_stack():
                with ExitStack() as stack:
                    stack.enter_context(step())
                    spin(BRIEF)

            def in_a_generator():
                with nested():
                    yield
                    spin(BRIEF)

            for context in step, nested, Handed:
                with self.assertRaises(PhaseTimeout) as caught:
                    with context():
                        spin(BRIEF)
                self.assertTrue(caught.exception.interrupted)
                with context():
                    pass
                spin(4 * LIMIT)  # the limit passes here
            with self.assertRaises(PhaseTimeout) as caught:
                in_a_stack()
            self.assertTrue(caught.exception.interrupted)
            producer = in_a_generator()
            next(producer)
            spin(4 * LIMIT)
            with self.assertRaises(PhaseTimeout) as caught:
                next(producer)
            self.assertTrue(caught.exception.interrupted)
            outcomes = 3 * ["timeout", "done"] + 2 * ["timeout"]
            self.assertEqual([phase.outcome for phase in manager.phases], outcomes)

        self.in_thread(go)

    def test_a_class_that_hands_on_to_a_phase_is_interrupted_in_the_with_of_its_user(self):
        class Derived(Step):
            def __enter__(self):
                return super().__enter__()

        def step(kind, hangs_in, hang=spin):
            manager = self.manager(LONG)
            phase = manager.timed_operation("step", LIMIT)
            hangs = {"in_" + hangs_in: hang} if hangs_in in ("enter", "exit") else {}
            with self.assertRaises(BaseException) as caught:
                with kind(phase, **hangs):
                    if hangs_in == "body":
                        hang()
            with self.assertRaises(PhaseTimeout):  # the next does not count as inside of the one that was lost
                with Step(manager.timed_operation("next", LIMIT)):
                    spin()
            spin(LIMIT)  # nothing comes here
            self.assertEqual([each.outcome for each in manager.phases], ["timeout", "timeout"])
            self.assertIsNone(manager.phases[1].parent)
            left = manager.remaining_timeout
            self.assertEqual(manager.remaining_timeout, left)  # the budget stands still
            return caught.exception

        def go():
            for kind, hangs_in in (Step, "enter"), (Derived, "enter"), (Derived, "body"), (Step, "exit"):
                error = step(kind, hangs_in)
                self.assertIs(type(error), PhaseTimeout)
                self.assertTrue(error.interrupted)
                self.assertEqual(error.limited_phase, "step")
            self.assertIs(type(step(Step, "body", retry_on_os_error)), PhaseTimeout)
            self.assertIs(type(step(Step, "enter", retry_on_os_error)), PhaseInterrupt)  # it meets no exit of a phase

        self.in_thread(go)
        self.assert_times_out(spin)  # another thread with the same ident, it may be

    def test_a_class_that_hands_on_without_a_with_is_interrupted_as_in_one(self):
        class Opens(Step):
            """The methods have other names, and a phase whose time is not over is around it."""

            def begin(self):
                self.around = self.phase.ledger.kind(self.phase.ledger, "around", LONG)
                self.around.__enter__()
                return super().__enter__()

            def end(self, *error):
                try:
                    return super().__exit__(*error)
                finally:
                    if sys.exc_info()[0] is None:
                        self.around.__exit__(*error)

            __enter__, __exit__ = begin, end

        def step(kind, hangs_in, with_stack):
            manager = self.manager(LONG)
            step = kind(manager.timed_operation("step", LIMIT), **{hangs_in: spin})
            with self.assertRaises(PhaseTimeout):
                if with_stack:
                    with ExitStack() as stack:
                        stack.enter_context(step)
                else:
                    with step:
                        pass
            spin(LIMIT)  # nothing comes here
            with manager.timed_operation("next") as after:
                self.assertEqual(after.path(), ("next",))
            self.assertEqual(manager.phases[-2].outcome, "timeout")

        def go():
            for hangs_in in "in_enter", "in_exit":
                step(Step, hangs_in, True)
                step(Opens, hangs_in, False)

        self.in_thread(go)

    def test_an_enter_that_swallows_the_interrupt_and_returns_leads_into_the_block(self):
        class Swallows(Step):
            def __enter__(self):
                try:
                    return super().__enter__()
                except OSError:  # a timeout is one
                    return self

        def go():
            for in_body in retry_on_os_error, int:
                manager = self.manager(LONG)
                phase = manager.timed_operation("step", LIMIT)
                with self.assertRaises(PhaseTimeout):
                    with Swallows(phase, in_enter=spin):
                        in_body()
                self.assertEqual(phase.outcome, "timeout")

        self.in_thread(go)

    def test_a_phase_that_is_left_although_it_seemed_lost_ends_in_its_timeout(self):
        things = []

        def go():
            phase = self.manager(LONG).timed_operation("step", LIMIT)
            step = Step(phase, in_enter=lambda: hold(things))
            try:
                step.__enter__()
            except PhaseTimeout:
                pass
            end = time.monotonic() + LONG / 3
            while things[0]() is not None and time.monotonic() < end:  # PyPy collects it when it likes
                spin(3 * LIMIT)
                gc.collect()
            self.assertIsNone(things[0]())
            for expected in PhaseTimeout, RuntimeError:
                with self.assertRaises(expected):
                    step.__exit__(None, None, None)
            self.assertEqual(phase.outcome, "timeout")

        self.in_thread(go)

    def test_a_phase_without_a_limit_opens_after_one_that_was_lost(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                Step(manager.timed_operation("step", LIMIT), in_enter=spin).__enter__()
            with manager.timed_operation("next") as after:  # nothing binds it
                self.assertEqual((after.path(), after.remaining()), (("next",), None))
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "done"])

        self.in_thread(go)

    def test_an_object_with_a_phase_by_hand_may_be_used_in_a_with_where_another_phase_ends(self):
        class Suite:
            """Is no context manager for the phase of its ``setUp``, but for something else."""

            def setUp(self, manager):
                self.phase = manager.timed_operation("whole")
                self.phase.__enter__()

            def hang(self):
                with self.phase.ledger.kind(self.phase.ledger, "part", LIMIT):
                    spin()

        class Hangs(Suite):
            def __enter__(self):
                self.hang()

            def __exit__(self, *error):
                pass

        class HangsAtExit(Suite):
            def __enter__(self):
                pass

            def __exit__(self, *error):
                self.hang()

        class Swallows(HangsAtExit):
            def __exit__(self, *error):
                try:
                    self.hang()
                except PhaseTimeout:
                    pass

        def go():
            for kind in Hangs, HangsAtExit, Swallows:
                manager = self.manager(LONG)
                suite = kind()
                suite.setUp(manager)
                try:
                    with suite:
                        pass
                except PhaseTimeout as error:
                    self.assertEqual(error.limited_phase, "part")
                with self.assertRaises(PhaseTimeout) as caught:
                    manager.reset(LIMIT)
                    spin()
                self.assertEqual(caught.exception.limited_by, "budget")
                with self.assertRaises(PhaseTimeout):
                    suite.phase.__exit__(None, None, None)
                self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

        self.in_thread(go)

    def test_a_look_for_who_has_entered_a_phase_by_hand_leaves_the_arguments_alone(self):
        class Opens:
            def begin(self, phase):
                phase.__enter__()

        def go():
            def step(*args):
                args = values
                phase = self.manager().timed_operation("step", LIMIT)
                Opens().begin(phase)
                with self.assertRaises(PhaseTimeout):
                    spin()
                with self.assertRaises(PhaseTimeout):
                    phase.__exit__(None, None, None)
                return args

            for values in None, iter("ab"):
                self.assertIs(step("first", "second"), values)
            self.assertEqual(list(values), ["a", "b"])

        self.in_thread(go)

    def test_the_last_steps_of_a_class_that_hands_on_are_not_cut(self):
        def go():
            manager = self.manager()
            for hangs_in in "in_enter", "in_exit":
                with self.assertRaises(PhaseTimeout):
                    with Step(manager.timed_operation("step", 1e-4), **{hangs_in: lambda: spin(5e-4)}) as entered:
                        if hangs_in == "in_enter":
                            spin()
                self.assertEqual(entered.phase.outcome, "timeout")

        self.in_thread(go)


class BetweenABlockAndItsExit(unittest.TestCase):
    def test_a_phase_stays_open_where_the_exit_is_never_lost(self):
        whereabouts = importlib.import_module(f"{package.__name__}.interrupting.whereabouts")
        manager = TimeoutManager(LONG, enforce=True)
        with manager.timed_operation("first") as first:
            pass
        with manager.timed_operation("second") as second:
            place, second.lasti = second.lasti, first.lasti  # as if the block of the second one was left
            with mock.patch.object(whereabouts, "LOSES_EXITS", False):
                self.assertEqual(whereabouts.whereabouts(second.enforcer, {sys._getframe(): None}), ([], [second]))
            second.lasti = place
        self.assertEqual(second.outcome, "done")


if __name__ == "__main__":
    unittest.main()
