"""A block that swallows the interrupt, or takes its time on the way out."""

import ctypes
import gc
import subprocess
import sys
import threading
import time
import unittest
import weakref
from concurrent.futures import ThreadPoolExecutor

from ..helpers.child import PYTHON
from ..helpers.enforced import (
    CPYTHON, LONG, MARGIN, burn, by_each_enforcer, choice, retry_on_os_error, spin, swallow_exceptions,
)

HANG = [*PYTHON, "-c", "import time; time.sleep(60)"]


def rest(_):
    time.sleep(0.003)


def swallow_everything(body=burn):
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            body()
        except:  # noqa: E722
            pass


@by_each_enforcer
class Swallowing:
    swallows = True

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
                    swallow_everything(spin)
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

    @unittest.skipUnless(CPYTHON, "elsewhere generators are closed late")
    def test_a_generator_that_is_left_behind_has_its_time_to_clean_up(self):
        is_on_its_way_out = []

        def rows():
            try:
                while True:
                    yield
            finally:
                found = [each.expiry for each in choice.started() if each.expiry is not None]
                is_on_its_way_out.append([each.is_handled() for each in found])

        def body():
            for _ in rows():
                spin()

        self.assert_times_out(body)
        self.assertEqual(is_on_its_way_out, [[True]])

    @unittest.skipUnless(CPYTHON, "elsewhere objects die late")
    def test_callbacks_whose_errors_are_ignored_are_left_for_what_calls_them(self):
        class Thing:
            pass

        def loops(_):
            for _ in range(500):
                pass

        def of_weakref(callback):
            thing = Thing()
            reference = weakref.ref(thing, callback)
            del thing
            return reference

        def of_ctypes(callback):
            compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda a, b: callback(a) or 0)
            sort((ctypes.c_int * 20)(), 20, 4, compare)

        def of_gc(_):
            gc.collect()

        def body():
            end = time.monotonic() + MARGIN
            while time.monotonic() < end:
                call(callback)

        sort = ctypes.CDLL(None).qsort
        hook, sys.unraisablehook = sys.unraisablehook, lambda *args: None
        gc.callbacks.append(lambda *args: time.sleep(0.003))
        try:
            for call, callback in (of_weakref, rest), (of_weakref, loops), (of_ctypes, rest), (of_gc, None):
                with self.subTest(call=call.__name__, callback=callback):
                    self.assert_times_out(body)
        finally:
            gc.callbacks.pop()
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


if __name__ == "__main__":
    unittest.main()
