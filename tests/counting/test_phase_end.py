"""How a phase ends: in time or late, with an error or without; and what cannot be done with one."""

import asyncio
import concurrent.futures
import functools
import socket
import subprocess
import sys
import threading
import unittest

from .. import package
from ..helpers.clock import FakeClock

TimeoutManager = package.TimeoutManager
PhaseTimeout = package.PhaseTimeout
PHRASE = "Timeout exceeded after build phase!"


class Case(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock()
        self.manager = TimeoutManager(10, clock=self.clock)

    def end(self, error=None, seconds=0, **options):
        """Run a phase that takes so long and raises the error; return it, and what came out of it."""
        try:
            with self.manager.timed_operation("build", **options) as phase:
                self.clock.advance(seconds)
                if error is not None:
                    raise error
        except BaseException as caught:
            return phase, caught
        return phase, None


class InTime(Case):
    def test_a_body_that_returns_is_done(self):
        phase, error = self.end(seconds=9.5)
        self.assertEqual((phase.outcome, error), ("done", None))

    def test_the_very_same_error_passes_untouched(self):
        for kind in (ValueError, TimeoutError, KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            own = kind("own")
            phase, error = self.end(own)
            self.assertIs(error, own)
            self.assertEqual(phase.outcome, "failed")
            self.assertEqual(getattr(error, "__notes__", []), [])
            self.assertIsNone(error.__cause__)

    def test_the_instant_before_the_deadline_is_in_time_and_the_deadline_is_not(self):
        self.assertEqual(self.end(seconds=9.75)[0].outcome, "done")
        self.assertEqual(self.end(seconds=0.25)[0].outcome, "timeout")


class TooLate(Case):
    def test_a_body_that_returns_is_a_timeout(self):
        phase, error = self.end(seconds=12)
        self.assertEqual(phase.outcome, "timeout")
        self.assertIs(type(error), PhaseTimeout)
        self.assertTrue(str(error).startswith(PHRASE + " ("), error)
        self.assertTrue(str(error).endswith(")"), error)
        self.assertEqual((error.phase, error.phase_path), ("build", ("build",)))
        self.assertEqual((error.limited_by, error.limited_phase), ("budget", None))
        self.assertEqual((error.timeout, error.elapsed, error.interrupted), (10, 12, False))

    def test_what_is_no_exception_passes(self):
        for kind in (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, BaseException):
            own = kind()
            phase, error = self.end(own, seconds=12)
            self.assertIs(error, own)
            self.assertEqual(phase.outcome, "timeout")

    def test_a_timeout_by_its_type_becomes_the_cause(self):
        kinds = (TimeoutError, socket.timeout, asyncio.TimeoutError, concurrent.futures.TimeoutError)
        for own in (*(kind("own") for kind in kinds), subprocess.TimeoutExpired("make", 3, b"out", b"err")):
            with self.subTest(kind=type(own)):
                phase, error = self.end(own, seconds=12)
                self.assertIs(type(error), PhaseTimeout)
                self.assertIs(error.__cause__, own)
                self.assertEqual(phase.outcome, "timeout")

    def test_what_a_command_had_written_is_kept(self):
        error = self.end(subprocess.TimeoutExpired("make", 3, b"out", b"err"), seconds=12)[1]
        self.assertEqual((error.cmd, error.output, error.stdout, error.stderr), ("make", b"out", b"out", b"err"))

    def test_a_real_failure_is_never_masked(self):
        own = AssertionError("wrong")
        phase, error = self.end(own, seconds=12)
        self.assertIs(error, own)
        self.assertEqual(phase.outcome, "timeout")
        if hasattr(own, "add_note"):
            self.assertEqual(len(own.__notes__), 1)
            self.assertTrue(own.__notes__[0].startswith(PHRASE))

    def test_one_note_for_all_the_phases_it_passes(self):
        own = AssertionError("wrong")
        with self.assertRaises(AssertionError):
            with self.manager.timed_operation("outer"), self.manager.timed_operation("build"):
                self.clock.advance(12)
                raise own
        if hasattr(own, "add_note"):
            self.assertEqual(len(own.__notes__), 1)

    def test_an_error_that_takes_no_note_is_not_masked(self):
        class Noteless(Exception):
            def add_note(self, note):
                raise RuntimeError("no notes")

        for notes in None, 3, [None], (1, 2), {}:
            for kind in AssertionError, Noteless:
                with self.subTest(notes=notes, kind=kind):
                    own = kind("wrong")
                    own.__notes__ = notes
                    phase, error = self.end(own, seconds=12)
                    self.assertIs(error, own)
                    self.assertEqual((phase.outcome, own.__notes__), ("timeout", notes))

    def test_a_spent_budget_lets_the_body_run_and_tells_at_its_end(self):
        self.end(seconds=12)
        ran = []
        with self.assertRaises(PhaseTimeout):
            with self.manager.timed_operation("next"):
                ran.append(True)
        self.assertEqual(ran, [True])


class SeveralLimits(Case):
    def run_nested(self, outer, inner, seconds, after=0):
        try:
            with self.manager.timed_operation("outer", limit=outer) as first:
                try:
                    with self.manager.timed_operation("inner", limit=inner) as second:
                        self.clock.advance(seconds)
                finally:
                    self.clock.advance(after)
        except PhaseTimeout as error:
            return first, second, error
        return first, second, None

    def test_the_inner_one_alone(self):
        first, second, error = self.run_nested(5, 1, 2)
        self.assertEqual((error.phase, error.limited_by, error.limited_phase), ("inner", "limit", "inner"))
        self.assertEqual((error.timeout, error.elapsed), (1, 2))
        self.assertEqual(error.phase_path, ("outer", "inner"))
        self.assertEqual((first.outcome, second.outcome), ("failed", "timeout"))

    def test_the_outer_one_owns_the_error_and_the_inner_one_is_named(self):
        first, second, error = self.run_nested(1, 5, 2)
        self.assertEqual((error.phase, error.limited_by, error.limited_phase), ("inner", "limit", "outer"))
        self.assertEqual((first.outcome, second.outcome), ("timeout", "timeout"))
        self.assertIsNone(error.__cause__)

    def test_both_at_once(self):
        error = self.run_nested(1, 1, 2)[2]
        self.assertEqual((error.phase, error.limited_phase), ("inner", "outer"))

    def test_the_budget_before_every_limit(self):
        error = self.run_nested(1, 1, 12)[2]
        self.assertEqual((error.phase, error.limited_by, error.limited_phase), ("inner", "budget", None))

    def test_an_outer_limit_that_passes_on_the_way_out_has_the_inner_error_as_its_cause(self):
        first, second, error = self.run_nested(5, 1, 2, after=4)
        self.assertEqual((error.phase, error.limited_phase), ("outer", "outer"))
        self.assertEqual(error.__cause__.limited_phase, "inner")
        self.assertEqual((first.outcome, second.outcome), ("timeout", "timeout"))

    def test_the_timeout_of_another_manager_with_the_same_names_is_an_error_like_any_other(self):
        other = TimeoutManager(1, clock=self.clock)
        with self.assertRaises(PhaseTimeout) as caught:
            with self.manager.timed_operation("build") as outer, other.timed_operation("build"):
                self.clock.advance(2)
        self.assertEqual(outer.outcome, "failed")
        self.assertEqual(caught.exception.timeout, 1)


class Misuse(Case):
    def test_entering_twice(self):
        phase, _ = self.end(seconds=1)
        with self.assertRaisesRegex(RuntimeError, "entered before"):
            phase.__enter__()
        with self.manager.timed_operation() as phase, self.assertRaises(RuntimeError):
            phase.__enter__()
        self.assertEqual(phase.outcome, "done")
        self.assertEqual(len(self.manager.phases), 2)

    def test_leaving_what_is_not_open(self):
        phase = self.manager.timed_operation()
        with self.assertRaises(RuntimeError):
            phase.__exit__(None, None, None)
        self.assertEqual((phase.outcome, self.manager.phases), ("new", ()))
        phase, _ = self.end(seconds=1)
        with self.assertRaises(RuntimeError):
            phase.__exit__(None, None, None)
        self.assertEqual((phase.outcome, phase.elapsed()), ("done", 1))

    def test_leaving_in_another_thread(self):
        for make in (self.manager.timed_operation, lambda: self.manager.cleanup_operation(limit=5)):
            errors = []

            def leave():
                try:
                    phase.__exit__(None, None, None)
                except RuntimeError as error:
                    errors.append(error)

            with make() as phase:
                thread = threading.Thread(target=leave)
                thread.start()
                thread.join()
                self.assertEqual((len(errors), phase.outcome), (1, "running"))
            self.assertEqual(phase.outcome, "done")


class OutOfOrder(Case):
    def test_closes_that_phase_alone(self):
        first, second = self.manager.timed_operation("first", limit=1), self.manager.timed_operation("second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        self.assertEqual((first.outcome, second.outcome), ("done", "running"))
        self.clock.advance(2)  # past the limit of the first, which does not bind any more
        self.assertEqual(second.remaining(), 8)
        second.__exit__(None, None, None)
        self.assertEqual(second.outcome, "done")
        self.clock.advance(3)  # and nothing runs on
        self.assertEqual(self.manager.remaining_timeout, 8)

    def test_a_generator_that_ends_before_its_consumer(self):
        def numbers():
            with self.manager.timed_operation("numbers"):
                yield 1

        generator = numbers()
        next(generator)
        with self.manager.timed_operation("consumer") as consumer:
            generator.close()
            self.clock.advance(1)
        self.assertEqual(consumer.outcome, "done")
        self.assertEqual(self.manager.phases[0].outcome, "failed")
        self.assertEqual(self.manager.remaining_timeout, 9)


class AsADecorator(Case):
    def test_a_fresh_phase_for_each_call(self):
        @self.manager.timed_operation("build", limit=3)
        def build(seconds, *, result):
            "Build."
            self.clock.advance(seconds)
            return result

        self.assertEqual((build(1, result=7), build.__name__, build.__doc__), (7, "build", "Build."))
        with self.assertRaises(PhaseTimeout):
            build(4, result=0)
        self.assertEqual([phase.outcome for phase in self.manager.phases], ["done", "timeout"])
        self.assertEqual([phase.limit for phase in self.manager.phases], [3, 3])

    def test_a_coroutine_function_is_charged_for_its_running(self):
        @self.manager.timed_operation("fetch")
        async def fetch():
            self.clock.advance(2)
            return 7

        self.assertTrue(asyncio.iscoroutinefunction(fetch) if sys.version_info < (3, 14) else True)
        coroutine = fetch()
        self.assertEqual(self.manager.phases, ())
        self.assertEqual(asyncio.run(coroutine), 7)
        self.assertEqual(self.manager.phases[0].elapsed(), 2)

    def test_a_generator_function_is_refused_with_what_to_write_instead(self):
        def numbers():
            yield 1

        async def more():
            yield 1

        for function in (numbers, more, functools.partial(numbers)):
            with self.assertRaisesRegex(TypeError, "with manager.timed_operation"):
                self.manager.timed_operation("numbers")(function)


class Tasks(Case):
    def test_each_task_has_its_own_stack_and_the_budget_is_charged_once(self):
        async def work(name, release):
            async with self.manager.timed_operation(name) as phase:
                await release.wait()
            return phase

        async def main():
            release = asyncio.Event()
            tasks = [asyncio.ensure_future(work(name, release)) for name in "ab"]
            await asyncio.sleep(0)
            self.clock.advance(3)
            release.set()
            return await asyncio.gather(*tasks)

        phases = asyncio.run(main())
        self.assertEqual([phase.parent for phase in phases], [None, None])
        self.assertEqual(self.manager.remaining_timeout, 7)


if __name__ == "__main__":
    unittest.main()
