"""What every enforcer has to do, run against each: the alarm, the watchdog by a signal, and in another thread."""

import asyncio
import gc
import importlib
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from unittest import mock

from .. import package
from ..helpers.child import ROOT, count_threads, python
from ..stress import BODIES, holes

PhaseInterrupt, PhaseTimeout, TimeoutManager = package.PhaseInterrupt, package.PhaseTimeout, package.TimeoutManager

LIMIT = 0.05  # seconds
LONG = 60  # what would hang for so long has hung
MARGIN = 20  # what ends within so many seconds has not
LATE = 1  # what returns after so many seconds has been looked at before
BRIEF = 5  # what goes on for so long was not interrupted
CPYTHON = sys.implementation.name == "cpython"
HANG = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]

FORMS = (
    *("while True: pass", "while 1: x += 1", "while x: pass", "while True: continue", "while x: x += 1; x -= 1"),
    *("for _ in repeat(0): pass", "for _ in iter(int, 1): x = 1", "[0 for x in repeat(0) if x]"),
    *("any(x for x in repeat(0))", "for _ in (x for x in repeat(0)): pass", "(lambda: {x for x in repeat(0) if x})()"),
    *("exec('while True: pass')", "while True:\n   while True: pass", "while True:\n   with suppress(): pass"),
    *("for _ in repeat(0):\n   try: x += 1\n   except ValueError: pass",),
    *(  # 3.10 looks for nothing at the head of such a loop, not even for Ctrl-C
        ("while True:\n   try: x += 1\n   except ValueError: pass", "while True:\n   try: pass\n   finally: pass")
        if sys.version_info[:2] != (3, 10)
        else ()
    ),
)


def loops(form, phase):
    """Run a loop of this form in the very function that has the `with`."""
    space = {"repeat": repeat, "suppress": suppress}
    exec(f"def go(phase):\n x = 1\n with phase:\n  {form}", space)
    space["go"](phase)


def burn(seconds=LONG):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def spin(seconds=LONG):
    """Go on like `burn`, but leave the processor to the tests that run beside this one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


def swallow_exceptions():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            burn()
        except Exception:
            pass


def swallow_everything():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            burn()
        except:  # noqa: E722
            pass


class Thing:
    pass


def hold(things):
    thing = Thing()
    things.append(weakref.ref(thing))
    spin()


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


def retry_on_os_error():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            burn()
        except OSError:
            continue


class Contract:
    enforce = "signal"
    ends_blocking_calls = True

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

    # -- ending

    def test_a_loop_ends_at_the_limit_with_an_error_raised_inside(self):
        seen = []

        def body():
            try:
                burn()
            except PhaseTimeout as error:
                seen.append(error)
                raise

        error = self.assert_times_out(body)
        self.assertIs(seen[0], error)
        self.assertTrue(str(error).startswith("Timeout exceeded after run phase!"))

    def test_loops_of_every_form_end_also_under_a_tracer(self):
        def trace(frame, event, arg):
            return trace

        def go(form, tracer):
            before = sys.gettrace()
            sys.settrace(tracer or before)
            try:
                with self.assertRaises(PhaseTimeout) as caught:
                    loops(form, self.manager().timed_operation("run", LIMIT))
            finally:
                sys.settrace(before)
            self.assertTrue(caught.exception.interrupted)

        for form in FORMS:
            for tracer in None, trace:
                with self.subTest(form=form, traced=tracer is not None):
                    self.in_thread(lambda: go(form, tracer))

    def test_a_loop_ends_at_the_deadline_of_the_budget(self):
        def go():
            manager = self.manager(LIMIT)
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("convert"):
                    pass
                with manager.timed_operation("build"):
                    spin()
            self.assertEqual((caught.exception.limited_by, caught.exception.phase), ("budget", "build"))
            self.assertEqual([phase.outcome for phase in manager.phases], ["done", "timeout"])
            self.assertTrue(manager.expired)

        self.in_thread(go)

    def test_blocking_calls(self):
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        lock = threading.Lock()
        lock.acquire()
        leave = threading.Event()
        thread = threading.Thread(target=leave.wait, args=(LONG,), daemon=True)
        thread.start()
        self.addCleanup(leave.set)
        seconds = LONG if self.ends_blocking_calls else LATE
        calls = {
            "sleep": lambda: time.sleep(seconds),
            "lock": lambda: lock.acquire(True, seconds),
            "event": lambda: threading.Event().wait(seconds),
            "queue": lambda: self.quiet(queue.Empty, queue.Queue().get, True, seconds),
            "select": lambda: select.select([one], [], [], seconds),
            "join": lambda: thread.join(seconds),
        }
        if self.ends_blocking_calls:
            calls["recv"] = lambda: one.recv(1)
        for name, call in calls.items():
            with self.subTest(name):
                self.assert_times_out(call)

    def quiet(self, error, function, *args):
        try:
            function(*args)
        except error:
            pass

    def test_waiting_for_a_child_process(self):
        if not self.ends_blocking_calls:
            self.skipTest("this enforcer waits for blocking calls")
        self.assert_times_out(lambda: subprocess.run(HANG), limit=0.5)
        child = subprocess.Popen(HANG)
        try:
            self.assert_times_out(child.wait)
        finally:
            child.kill()
            child.wait()

    def test_nothing_left_on_entry_raises_before_the_body(self):
        def go():
            for manager in self.manager(0), self.manager(-1):
                with self.assertRaises(PhaseTimeout) as caught:
                    with manager.timed_operation("run"):
                        self.fail("the body ran")
                self.assertTrue(caught.exception.interrupted)
                self.assertEqual([phase.outcome for phase in manager.phases], ["timeout"])
                self.assertLess(manager.as_dict()["used"], 1)

        self.in_thread(go)

    def test_a_body_that_ends_in_time_is_left_alone(self):
        def go():
            manager = self.manager(LONG)
            with manager.timed_operation("run", LONG / 2):
                pass
            with self.assertRaises(KeyError):
                with manager.timed_operation("run"):
                    raise KeyError
            self.assertEqual([phase.outcome for phase in manager.phases], ["done", "failed"])

        self.in_thread(go)

    # -- what leaves an interrupted block comes of the interrupt

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

        return self.in_thread(go), seen[0]

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
            self.assertNotIn(module, sys.modules)
            own = type(name, (BaseException,), {})
            sys.modules[module] = mock.Mock(**{name: own})
            try:
                self.assertIs(type(self.leave(own())[0]), own)
            finally:
                del sys.modules[module]

    def test_the_timeout_of_another_manager_is_a_cause_like_any_other(self):
        own = PhaseTimeout("of somebody else")
        error, _ = self.leave(own)
        self.assertIs(error.__cause__, own)

    def test_an_interrupt_belongs_to_the_manager_whose_it_was(self):
        for late in False, True:
            for again in False, True:
                with self.subTest(late=late, again=again):
                    outer, inner = self.manager(), TimeoutManager(LIMIT / 5 if late else LONG)

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

    # -- what is swallowed comes again

    def test_what_except_exception_swallows_comes_again(self):
        self.assert_times_out(swallow_exceptions)

    def test_what_a_retry_on_os_error_swallows_comes_again(self):
        self.assert_times_out(retry_on_os_error)

    @unittest.skipUnless(CPYTHON, "PyPy offers nothing to find a place outside of the handler")
    def test_an_endless_loop_around_a_bare_except_ends(self):
        self.assert_times_out(swallow_everything)

    @unittest.skipUnless(CPYTHON, "PyPy offers nothing to find a place outside of the handler")
    def test_a_bare_except_around_a_bare_except_ends(self):
        def body():
            end = time.monotonic() + LONG
            while time.monotonic() < end:
                try:
                    swallow_everything()
                except:  # noqa: E722
                    pass

        self.assert_times_out(body)

    @unittest.skipUnless(CPYTHON, "PyPy offers nothing to find a place outside of the handler")
    def test_two_loops_with_bare_excepts_in_one_function_end(self):
        def body():
            end = time.monotonic() + MARGIN
            while time.monotonic() < end:
                try:
                    while time.monotonic() < end:
                        try:
                            spin()
                        except:  # noqa: E722
                            pass
                except:  # noqa: E722
                    pass

        self.assert_times_out(body)

    def test_a_body_that_swallows_and_returns_has_timed_out_all_the_same(self):
        def body():
            try:
                spin()
            except TimeoutError:
                pass

        self.assert_times_out(body)

    @unittest.skipUnless(CPYTHON, "elsewhere objects die late")
    def test_what_is_lost_in_a_del_comes_again(self):
        class Slow:
            def __del__(self):
                spin()

        hook, sys.unraisablehook = sys.unraisablehook, lambda *args: None
        try:

            def body():
                Slow()
                spin()

            self.assert_times_out(body)
        finally:
            sys.unraisablehook = hook

    def test_a_popen_that_waits_for_its_child_on_the_way_out(self):
        if not self.ends_blocking_calls:
            self.skipTest("this enforcer waits for blocking calls")
        children = []

        def body():
            with subprocess.Popen(HANG) as child:
                children.append(child)
                spin()

        try:
            self.assert_times_out(body, limit=0.5)  # starting it takes time, too
        finally:
            children[0].kill()
            children[0].wait()

    def test_an_executor_that_waits_for_its_workers_on_the_way_out(self):
        if not self.ends_blocking_calls:
            self.skipTest("this enforcer waits for blocking calls")
        leave = threading.Event()
        self.addCleanup(leave.set)

        def body():
            with ThreadPoolExecutor(1) as executor:
                executor.submit(leave.wait, LONG).result()

        self.assert_times_out(body)

    def test_a_finally_is_not_torn_to_pieces(self):
        done = []

        def body():
            try:
                spin()
            finally:
                spin(0.4)  # longer than the first repeats would wait
                done.append(True)

        self.assert_times_out(body)
        self.assertEqual(done, [True])

    def test_a_finally_that_hangs_ends(self):
        def body():
            try:
                spin()
            finally:
                spin()

        self.assert_times_out(body)

    # -- nesting

    def nested(self, *limits, body=spin, budget=None):
        """Run phases a, b, c, ... with these limits in each other; return the error and the outcomes."""
        manager = self.manager(budget)

        def go():
            with self.assertRaises(PhaseTimeout) as caught, ExitStack() as stack:
                for name, limit in zip("abc", limits):
                    stack.enter_context(manager.timed_operation(name, limit))
                body()
            return caught.exception, [phase.outcome for phase in manager.phases]

        return self.in_thread(go)

    def test_the_inner_limit_comes_first(self):
        error, outcomes = self.nested(LONG, LIMIT)
        self.assertEqual((error.limited_phase, error.phase, error.phase_path), ("b", "b", ("a", "b")))
        self.assertEqual(outcomes, ["failed", "timeout"])

    def test_the_outer_limit_comes_first(self):
        error, outcomes = self.nested(LIMIT, LONG)
        self.assertEqual((error.limited_phase, error.phase, error.phase_path), ("a", "b", ("a", "b")))
        self.assertEqual(outcomes, ["timeout", "timeout"])

    def test_of_equal_limits_the_outermost_owns_the_error(self):
        limit = 10 * LIMIT  # in which all three are entered

        def body():
            time.sleep(2 * limit)
            spin()

        error, outcomes = self.nested(limit, limit, limit, body=body)
        if self.ends_blocking_calls:
            self.assertEqual((error.limited_phase in "abc", error.phase), (True, "c"))
        else:
            self.assertEqual((error.limited_phase, error.phase), ("a", "c"))

    def test_three_deep(self):
        error, outcomes = self.nested(LONG, LIMIT, LONG)
        self.assertEqual((error.limited_phase, error.phase), ("b", "c"))
        self.assertEqual(outcomes, ["failed", "timeout", "timeout"])

    def test_the_budget_is_outside_of_all_phases(self):
        error, outcomes = self.nested(LONG, LONG, budget=LIMIT)
        self.assertEqual((error.limited_by, error.limited_phase, error.phase), ("budget", None, "b"))
        self.assertEqual(outcomes, ["timeout", "timeout"])

    def test_the_inner_error_is_caught_and_the_outer_limit_still_holds(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("outer", 4 * LIMIT):
                    for _ in range(LONG):
                        with self.assertRaises(PhaseTimeout) as inner:
                            with manager.timed_operation("inner", LIMIT):
                                spin()
                        if inner.exception.limited_phase == "outer":
                            raise inner.exception
            self.assertEqual(caught.exception.limited_phase, "outer")
            self.assertEqual((manager.phases[0].outcome, manager.phases[1].outcome), ("timeout", "timeout"))

        self.in_thread(go)

    def test_an_outer_limit_that_passes_meanwhile_gives_the_inner_finally_its_time(self):
        done = []

        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("outer", 3 * LIMIT):
                    with manager.timed_operation("inner", LIMIT):
                        try:
                            spin()
                        finally:
                            spin(3 * LIMIT)
                            done.append(True)
            self.assertEqual(caught.exception.limited_phase, "outer")
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

        self.in_thread(go)
        self.assertEqual(done, [True])

    def test_two_managers(self):
        def go():
            for outer_limit, inner_limit, owner in (LONG, LIMIT, "inner"), (LIMIT, LONG, "outer"):
                with self.assertRaises(PhaseTimeout) as caught:
                    with self.manager().timed_operation("outer", outer_limit):
                        with self.manager().timed_operation("inner", inner_limit):
                            spin()
                self.assertEqual((caught.exception.limited_phase, caught.exception.phase_path), (owner, (owner,)))

        self.in_thread(go)

    def test_a_manager_of_one_kind_around_one_of_the_other(self):
        def go():
            for kinds in (True, self.enforce), (self.enforce, True):
                for outer_limit, inner_limit, owner in (LONG, LIMIT, "inner"), (LIMIT, LONG, "outer"):
                    with self.assertRaises(PhaseTimeout) as caught:
                        with TimeoutManager(enforce=kinds[0]).timed_operation("outer", outer_limit):
                            with TimeoutManager(enforce=kinds[1]).timed_operation("inner", inner_limit):
                                spin()
                    self.assertEqual(caught.exception.limited_phase, owner)

        self.in_thread(go)

    def test_a_thousand_deep(self):
        def go():
            manager = self.manager(LONG)
            with self.assertRaises(PhaseTimeout) as caught, ExitStack() as stack:
                for _ in range(1000):
                    stack.enter_context(manager.timed_operation("level", LONG))
                stack.enter_context(manager.timed_operation("last", LIMIT))
                spin()
            self.assertEqual(len(caught.exception.phase_path), 1001)

        self.in_thread(go)

    # -- changes while a phase is open

    def test_reset_gives_an_open_phase_more_time(self):
        def go():
            manager = self.manager(LIMIT)
            with manager.timed_operation("run"):
                manager.reset(LONG)
                spin(4 * LIMIT)
            self.assertEqual(manager.phases[0].outcome, "done")

        self.in_thread(go)

    def test_reset_sends_no_signal_that_could_meet_what_comes_next(self):
        with self.manager(LONG).timed_operation() as phase:
            phase.ledger.reset(LONG)
            read, write = socket.socketpair()
            with read, write:
                for each in read, write:
                    each.setblocking(False)
                before = self.hear(write.fileno())
                try:
                    for _ in range(20):
                        phase.ledger.reset(LONG)
                        time.sleep(0.002)
                finally:
                    self.hear(before)
                self.assertEqual(select.select([read], [], [], 0), ([], [], []))

    def hear(self, descriptor):
        """Have every signal that a handler of Python's gets write to this descriptor; return the one before."""
        try:
            return signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        except ValueError:  # signals are not for this thread
            return -1

    def test_reset_from_another_thread_gives_an_open_phase_less_time(self):
        manager = self.manager(LONG)

        def go():
            entered = threading.Event()
            other = threading.Thread(target=lambda: (entered.wait(LONG), manager.reset(LIMIT)))
            other.start()
            with self.assertRaises(PhaseTimeout):
                with manager.timed_operation("run"):
                    entered.set()
                    spin()
            other.join()

        self.in_thread(go)

    def test_reset_sets_a_limit_where_there_was_none(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                with manager.timed_operation("outer"), manager.timed_operation("run"):
                    manager.reset(LIMIT)
                    spin()

        self.in_thread(go)

    def test_reset_in_a_phase_with_a_limit_binds_the_one_around_it_that_had_none(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("outer"):
                    with manager.timed_operation("inner", LONG):
                        manager.reset(10 * LIMIT)
                    spin(BRIEF)
            self.assertEqual((caught.exception.phase, caught.exception.interrupted), ("outer", True))
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "done"])

        self.in_thread(go)

    def test_a_cleanup_holds_the_other_limits_back(self):
        done = []

        def go():
            manager = self.manager(LIMIT)
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.timed_operation("run", LIMIT):
                    with manager.cleanup_operation("tidy", limit=LONG):
                        spin(4 * LIMIT)
                        done.append(True)
                    spin()
            self.assertEqual(caught.exception.phase, "run")

        self.in_thread(go)
        self.assertEqual(done, [True])

    def test_a_cleanup_in_a_suspended_generator_holds_them_back_too(self):
        done = []

        def go():
            manager = self.manager()

            def tidy():
                with manager.cleanup_operation("tidy", limit=LONG):
                    yield

            suspended = tidy()
            next(suspended)
            with manager.timed_operation("use"):
                manager.reset(0)
                spin(LIMIT)
                done.append(True)
            suspended.close()

        self.in_thread(go)
        self.assertEqual(done, [True])

    def test_a_cleanup_that_hangs_ends(self):
        def go():
            manager = self.manager(0)
            with self.assertRaises(PhaseTimeout) as caught:
                with manager.cleanup_operation("tidy", limit=LIMIT):
                    spin()
            self.assertEqual((caught.exception.phase, caught.exception.limited_phase), ("tidy", "tidy"))

        self.in_thread(go)

    # -- frames

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
            spin(3 * LIMIT)  # nothing comes here
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
                self.around = self.phase.ledger.phase("around", LONG)
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
            spin(3 * LIMIT)  # nothing comes here
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
                self.phase = manager.timed_operation("whole", 10 * LIMIT)
                self.phase.__enter__()

            def hang(self):
                with self.phase.ledger.phase("part", LIMIT):
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
                manager = self.manager()
                suite = kind()
                suite.setUp(manager)
                try:
                    with suite:
                        pass
                except PhaseTimeout as error:
                    self.assertEqual(error.limited_phase, "part")
                with self.assertRaises(PhaseTimeout) as caught:
                    spin()
                self.assertEqual(caught.exception.limited_phase, "whole")
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

    def test_the_loops_that_the_interpreter_leaves_without_its_handlers(self):
        def go():
            return holes(2, self.enforce, 5)

        counts = self.in_thread(go)
        self.assertEqual(counts.pop("expiries"), 4 * len(BODIES))
        self.assertEqual(sum(counts.values()), 0, counts)

    def test_a_loop_without_any_place_to_land_ends_and_leaves_clean_state(self):
        def nowhere(manager):
            with manager.timed_operation("run", LIMIT):
                while True:
                    pass

        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                nowhere(manager)
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout"])
            with manager.timed_operation("next") as phase:
                self.assertEqual(phase.path(), ("next",))
            self.assertIsNone(manager.remaining_timeout)

        self.in_thread(go)

    def test_the_trace_function_of_somebody_else_is_put_back(self):
        def trace(frame, event, arg):
            return trace

        def go():
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                with self.assertRaises(PhaseTimeout):
                    with self.manager().timed_operation("run", LIMIT):
                        swallow_exceptions()
                counts = holes(1, self.enforce, 5)
                self.assertEqual(sum(counts.values()), counts["expiries"], counts)
                self.assertIs(sys.gettrace(), trace)
            finally:
                sys.settrace(before)

        self.in_thread(go)

    @unittest.skipUnless(CPYTHON, "PyPy ends the tracing of a function in which an error is raised")
    def test_trace_and_profile_functions_go_on(self):
        if not self.ends_blocking_calls:
            self.skipTest("such a function is never monitored here, so nothing is raised in it")

        def waste():
            for _ in range(200):  # most of the time is spent in here
                pass

        def local(frame, event, argument):
            waste()
            return local

        def trace(frame, event, argument):  # other than that of its frames
            return local if frame.f_code.co_filename == __file__ else None

        def profile(frame, event, argument):
            waste()

        def step():
            pass

        def loop(manager):
            try:
                with manager.timed_operation("run", LIMIT):
                    while True:
                        step()
            except PhaseTimeout as error:
                return error

        def go():
            manager = self.manager()
            for setter, getter, function in (
                (sys.settrace, sys.gettrace, trace),
                (sys.setprofile, sys.getprofile, profile),
            ):
                before = getter()
                try:
                    for _ in range(6):
                        setter(function)
                        error = loop(manager)
                        now = getter()
                        self.assertIs(now, function)
                        self.assertTrue(error.interrupted)
                finally:
                    setter(before)

        self.in_thread(go)

    def test_nothing_is_kept_of_a_finished_phase_but_the_ledger(self):
        things = []

        def go():
            manager = self.manager()
            with manager:
                try:
                    with manager.timed_operation("run", LIMIT):
                        hold(things)
                except PhaseTimeout:
                    pass
                gc.collect()
                self.assertIsNone(things[0]())

        self.in_thread(go)

    # -- sessions and threads

    def test_a_session_enforces_each_phase_and_ends_clean(self):
        def go():
            before = self.state()
            manager = self.manager(LONG)
            with manager as entered:
                self.assertIs(entered, manager)
                for _ in range(3):
                    with manager.timed_operation("fast"):
                        pass
                    with self.assertRaises(PhaseTimeout):
                        with manager.timed_operation("slow", LIMIT):
                            spin()
                    with manager, manager.timed_operation("nested"):
                        pass
                time.sleep(0.01)
            self.assertEqual(self.state(), before)
            with self.assertRaises(ZeroDivisionError):
                with manager, manager.timed_operation("run"):
                    1 / 0
            self.assertEqual(self.state(), before)
            with self.assertRaises(RuntimeError):
                manager.__exit__(None, None, None)

        self.in_thread(go)

    def state(self):
        """What must be as it was after the last phase and session; threads that have ended do not count."""
        for _ in range(500):
            if count_threads() <= self.threads:
                break
            time.sleep(0.01)  # the kernel takes a moment to forget one
        return (
            max(count_threads(), self.threads),
            signal.getitimer(signal.ITIMER_REAL),
            [signal.getsignal(number) for number in signal.valid_signals()],
        )

    def setUp(self):
        self.threads = count_threads() + (not self.ends_blocking_calls)

    def test_no_thread_and_no_handler_outlives_the_last_phase(self):
        def go():
            before = self.state()
            for _ in range(3):
                with self.assertRaises(PhaseTimeout):
                    with self.manager().timed_operation("run", LIMIT):
                        spin()
            self.assertEqual(self.state(), before)

        self.in_thread(go)

    def test_a_phase_without_a_limit_touches_nothing(self):
        def go():
            before = self.state()
            with self.manager().timed_operation("run"):
                self.assertEqual(self.state(), before)

        self.in_thread(go)

    def test_it_is_named(self):
        self.assertEqual(self.in_thread(lambda: self.manager().enforcement), self.enforce)

    def test_the_decorator(self):
        def go():
            manager = self.manager()
            with self.assertRaises(PhaseTimeout):
                manager.timed_operation("run", LIMIT)(spin)()
            with self.assertRaises(PhaseTimeout):
                manager.timed_operation("run", LIMIT)(spin)()
            self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "timeout"])

        self.in_thread(go)


class BetweenABlockAndItsExit(unittest.TestCase):
    def test_a_phase_stays_open_where_the_exit_is_never_lost(self):
        standing = importlib.import_module(f"{package.__name__}.interrupting.whereabouts")
        manager = TimeoutManager(LONG, enforce=True)
        with manager.timed_operation("first") as first:
            pass
        with manager.timed_operation("second") as second:
            place, second.lasti = second.lasti, first.lasti  # as if the block of the second one was left
            with mock.patch.object(standing, "LOSES_EXITS", False):
                self.assertEqual(standing.standing(second.watch, {sys._getframe(): None}), ([], [second]))
            second.lasti = place
        self.assertEqual(second.outcome, "done")


class NestedPhases(unittest.TestCase):
    def test_the_stack_is_walked_once_for_the_borders_of_all(self):
        standing = importlib.import_module(f"{package.__name__}.interrupting.whereabouts")
        manager = TimeoutManager(enforce=True)
        walks = []

        class Stack(dict):
            def __iter__(self):
                walks.append(self)
                return super().__iter__()

        def found_in(depth):
            with manager.timed_operation("step", LONG) as phase:
                if depth:
                    return found_in(depth - 1)
                stack, frame = Stack(), sys._getframe()
                while frame is not None:
                    stack[frame], frame = None, frame.f_back
                return standing.find_borders(list(manager.phases), [phase], stack)

        self.assertEqual(found_in(20), {})
        self.assertEqual(len(walks), 1)


class TheWatchdog(unittest.TestCase):
    def test_comes_again_for_a_watch_that_it_does_not_know_yet(self):
        names = "interrupting.enforcer", "enforcing.by_thread"
        modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
        watch = modules[0].Watch(threading.get_ident(), modules[1])
        watch.at = 5.0
        self.assertEqual(modules[1]._attend(watch, 1.0), 5.0)

    def test_goes_on_after_an_error_in_one_of_its_jobs(self):
        code = f"""
import sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
manager = package.TimeoutManager(enforce="thread")
try:
    with manager.timed_operation("run", limit={6 * LIMIT}):
        watchdog = sys.modules["{package.__name__}.interpreter.watchdog"]
        key = object()
        watchdog.add_job(key, lambda now: 1 / 0)
        end = time.monotonic() + {BRIEF}
        while time.monotonic() < end:
            pass
except package.PhaseTimeout as error:
    watchdog.remove_job(key)
    print("interrupted", error.interrupted)
"""
        printed = python("-c", code, timeout=MARGIN)
        self.assertIn("interrupted True", printed)
        self.assertIn("ZeroDivisionError", printed)


class ByAlarm(Contract, unittest.TestCase):
    pass


@unittest.skipIf(TimeoutManager(enforce="timer").enforcement == "none", "no such timers here")
class ByTimer(Contract, unittest.TestCase):
    enforce = "timer"

    def setUp(self):
        super().setUp()
        with self.manager().timed_operation("first", LONG):
            pass  # the handler of its signal is there from now on


class ByWatchdogInTheMainThread(Contract, unittest.TestCase):
    enforce = "thread"


@unittest.skipUnless(CPYTHON, "PyPy offers no way into another thread")
class ByWatchdogInAnotherThread(Contract, unittest.TestCase):
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
        thread.join(2 * MARGIN)
        self.assertFalse(thread.is_alive(), "it hangs")
        if errors:
            raise errors[0]
        return found[0]

    def test_a_thread_that_ends_in_a_phase_takes_what_watches_it_along(self):
        by_thread = importlib.import_module(f"{package.__name__}.enforcing.by_thread")
        watchdog = importlib.import_module(f"{package.__name__}.interpreter.watchdog")
        for _ in range(3):  # they have the same ident, it may be
            self.in_thread(self.manager().timed_operation("left open", LIMIT).__enter__)
            self.assert_times_out(spin)
        self.in_thread(self.manager().timed_operation("left open", LIMIT).__enter__)
        end = time.monotonic() + MARGIN
        while watchdog._running and time.monotonic() < end:
            time.sleep(LIMIT)
        self.assertEqual((watchdog._running, by_thread.watches), ({}, {}))

    def test_a_thread_that_ends_in_a_phase_closes_it(self):
        for options in {}, {"kill_after": LONG}:
            manager = self.manager(LONG, **options)

            def go():
                with manager.timed_operation("next") as phase:
                    return phase.path()

            self.in_thread(manager.timed_operation("left open", LONG).__enter__)
            end = time.monotonic() + MARGIN
            while manager.phases[0].outcome == "running" and time.monotonic() < end:
                time.sleep(LIMIT)
            self.assertEqual(self.in_thread(go), ("next",))  # of another thread with the same ident, it may be
            self.assertEqual([phase.outcome for phase in manager.phases], ["failed", "done"])
            left = manager.remaining_timeout
            self.assertEqual(manager.remaining_timeout, left)
        watchdog = importlib.import_module(f"{package.__name__}.interpreter.watchdog")
        self.assertEqual(watchdog._jobs, {})

    def test_a_blocking_call_ends_when_it_returns(self):
        self.assert_times_out(lambda: time.sleep(LATE))


if __name__ == "__main__":
    unittest.main()
