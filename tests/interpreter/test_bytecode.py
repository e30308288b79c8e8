"""Code objects are read right on every version: which `with` a frame is in, and where an exception may be raised."""

import asyncio
import dis
import sys
import unittest
from importlib import import_module

from .. import package

bytecode = import_module(package.__name__ + ".interpreter.bytecode")


class Probe:
    """A context manager that notes where its `with` entered it."""

    def __enter__(self):
        self.frame = sys._getframe(1)
        self.lasti = self.frame.f_lasti
        return self

    def __exit__(self, *error):
        self.seen_at_exit = self.inside()

    async def __aenter__(self):
        self.frame = sys._getframe(1)
        self.lasti = self.frame.f_lasti
        asyncio.get_running_loop().call_soon(self.see_suspended)
        await asyncio.sleep(0)
        return self

    def see_suspended(self):
        self.entry_while_suspended = bytecode.entry(self.frame.f_code, self.frame.f_lasti)

    async def __aexit__(self, *error):
        await asyncio.sleep(0)

    def entry(self):
        return bytecode.entry(self.frame.f_code, self.lasti)

    def inside(self):
        return bytecode.inside(self.frame, self.lasti)


class Reading(unittest.TestCase):
    def test_inside_and_outside_of_a_with(self):
        probe = Probe()
        seen = []
        with probe:
            seen.append(probe.inside())
            for _ in range(2):
                try:
                    seen.append(probe.inside())
                finally:
                    seen.append(probe.inside())
        seen.append(probe.inside())
        self.assertEqual(seen, [True] * 5 + [False])
        self.assertFalse(probe.seen_at_exit)

    def test_no_try_begins_behind_the_last_call_of_a_function(self):
        def ends_with_a_try():
            try:
                sys.exit()
            except OSError:
                raise

        code = ends_with_a_try.__code__
        self.assertEqual([at for at in range(0, len(code.co_code), 2) if bytecode.opens(code, at)], [])

    @unittest.skipUnless(bytecode.LOSES_EXITS, "a phase is not closed for the place where its block is")
    def test_where_a_trace_function_is_called(self):
        probe, seen = Probe(), []

        def look(frame, event, arg):
            if frame is getattr(probe, "frame", None) and frame.f_lineno > frame.f_code.co_firstlineno + 1:
                seen.append(probe.inside())
            return look

        def loop():
            with probe:
                for _ in range(2):
                    try:  # its NOP is in no exception table
                        pass
                    finally:
                        pass

        before = sys.gettrace()
        sys.settrace(look)
        try:
            loop()
        finally:
            sys.settrace(before)
        self.assertGreater(len(seen), 5)
        self.assertTrue(all(seen), seen)

    def test_two_in_one_line_are_told_apart(self):
        outer, inner = Probe(), Probe()
        with outer, inner:
            self.assertTrue(outer.inside() and inner.inside())
        self.assertNotEqual(outer.entry(), inner.entry())
        self.assertFalse(inner.seen_at_exit)
        self.assertTrue(outer.entry() > 0)

    def test_an_async_with(self):
        probe, seen = Probe(), []

        async def run():
            async with probe:
                seen.append(probe.inside())
                await asyncio.sleep(0)
                seen.append(probe.inside())
            await asyncio.sleep(0)
            seen.append(probe.inside())

        asyncio.run(run())
        self.assertEqual(seen, [True, True, False])
        self.assertEqual(probe.entry_while_suspended, probe.entry())

    def test_a_call_is_no_with(self):
        probe = Probe()
        probe.__enter__()
        self.assertEqual(probe.entry(), -1)

    def test_handlers_from_the_innermost_out(self):
        def nested(here):
            try:
                try:
                    here.append(sys._getframe().f_lasti)
                except ValueError:
                    pass
            except KeyError:
                pass
            here.append(sys._getframe().f_lasti)

        places = []
        nested(places)
        inner, outer = (bytecode.handlers(nested.__code__, at) for at in places)
        self.assertGreaterEqual(len(inner), 2)
        self.assertLess(len(outer), len(inner))

    @unittest.skipUnless(sys.implementation.name == "cpython", "PyPy is not sent anywhere")
    def test_there_is_a_landing_in_every_loop(self):
        def loops(x):
            while x:
                x -= 1
            for _ in range(3):
                pass
            while True:
                try:
                    x()
                except ValueError:
                    continue
                if x:
                    break

        self.assertGreaterEqual(len(bytecode.landings(loops.__code__)), 4)

    @unittest.skipUnless(sys.implementation.name == "cpython", "PyPy is not sent anywhere")
    def test_no_landing_is_between_the_call_of_what_is_awaited_and_its_end(self):
        async def waits(lock):
            async with lock:
                len([])
            await lock.acquire()
            try:
                len([])
            finally:
                lock.release()

        names = {each.offset: each.opname for each in dis.get_instructions(waits)}
        found = {names[at] for at in bytecode.landings(waits.__code__)}
        self.assertEqual(found & {"END_SEND", "GET_AWAITABLE"}, set())
        self.assertNotEqual(found, set())


if __name__ == "__main__":
    unittest.main()
