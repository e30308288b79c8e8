"""Tasks of trio and greenlets, which take turns in a thread: each has phases of its own, and none of them is lost.

The libraries are imitated: for greenlets by threads that stand in a `with`, since the frames of a greenlet that waits
are on no stack of the thread that it belongs to. Where greenlet is installed, it is tried itself.
"""

import asyncio
import gc
import importlib.util
import sys
import threading
import time
import types
import unittest
import warnings
import weakref
from importlib import import_module
from itertools import islice
from unittest import mock

from .. import package
from ..helpers.clock import FakeClock

TimeoutManager, PhaseTimeout = package.TimeoutManager, package.PhaseTimeout
LONG = 60  # what no test takes


class Task:
    pass


class Stack:
    """A greenlet that waits in a `with`, on the stack of a thread of its own."""

    def __init__(self, parent=None):
        self.parent = parent
        self.dead = False
        self._enters, self._goes_on, self._is_inside, self._leaves = (threading.Event() for _ in range(4))
        self._thread = threading.Thread(target=self._stand, daemon=True)
        self._thread.start()
        self._enters.wait(LONG)

    def _stand(self):
        with self:
            self._is_inside.set()
            self._leaves.wait(LONG)

    def __enter__(self):
        self._frame = sys._getframe(1)
        self._enters.set()
        self._goes_on.wait(LONG)

    def __exit__(self, *error):
        pass

    @property
    def gr_frame(self):
        return self._frame

    def enter(self, phase):
        """Enter a phase as if its `with` were the one in which this stands, and go on into the block."""
        phase.__enter__(self._frame)
        self._goes_on.set()
        self._is_inside.wait(LONG)
        return phase

    def end(self):
        self._goes_on.set()
        self._leaves.set()
        self._thread.join(LONG)


class Imitation(unittest.TestCase):
    def load(self, name, **contents):
        module = types.ModuleType(name)
        vars(module).update(contents)
        before = sys.modules.get(name)
        sys.modules[name] = module
        self.addCleanup(sys.modules.__setitem__ if before else sys.modules.pop, name, before)

    def load_greenlets(self):
        self.main = self.running = self.stack()
        self.load("greenlet", greenlet=Stack, getcurrent=lambda: self.running)

    def stack(self, parent=None):
        stack = Stack(parent)
        self.addCleanup(stack.end)
        return stack

    def load_trio(self):
        self.running = None
        self.load("trio", lowlevel=types.SimpleNamespace(current_task=self.current_task))

    def current_task(self):
        if self.running is None:
            raise RuntimeError("must be called from async context")
        return self.running


def enter_by_hand(phase):
    phase.__enter__()


class WhosePhases(Imitation):
    def check(self, one, another):
        clock = FakeClock()
        manager = TimeoutManager(100, clock=clock)
        limits = {"a": 1, "b": 40, "c": None}
        slow, quick, inner = (manager.timed_operation(name, limit) for name, limit in limits.items())
        self.running = one
        slow.__enter__()
        clock.advance(0.5)
        self.running = another
        quick.__enter__()
        clock.advance(1)
        self.assertEqual((quick.parent, manager.remaining_timeout), (None, 39))
        self.running = one
        inner.__enter__()
        self.assertEqual((inner.parent, manager.remaining_timeout), (slow, 0))
        with self.assertRaises(PhaseTimeout) as caught:
            inner.__exit__(None, None, None)
        self.assertEqual((caught.exception.phase, caught.exception.limited_phase), ("c", "a"))
        with self.assertRaises(PhaseTimeout):
            slow.__exit__(None, None, None)
        self.running = another
        quick.__exit__(None, None, None)
        self.assertEqual([phase.outcome for phase in manager.phases], ["timeout", "done", "timeout"])
        self.assertEqual(manager.as_dict()["used"], 1.5)

    def test_two_greenlets(self):
        self.load_greenlets()
        self.check(self.stack(self.main), self.stack(self.main))

    def test_a_greenlet_and_the_one_that_its_thread_began_with(self):
        self.load_greenlets()
        self.check(self.main, self.stack(self.main))

    def test_two_tasks_of_trio(self):
        self.load_trio()
        self.check(Task(), Task())

    def test_the_greenlet_that_a_thread_began_with_is_the_thread_that_was_before(self):
        manager = TimeoutManager(100, clock=FakeClock())
        with manager.timed_operation("outer") as outer:
            self.load_greenlets()
            with manager.timed_operation("inner") as inner:
                self.assertIs(inner.parent, outer)

    def test_a_ledger_keeps_no_greenlet(self):
        self.load_greenlets()
        manager = TimeoutManager(100)
        self.running = Task()
        self.running.parent = self.main
        weak = weakref.ref(self.running)
        phase = manager.timed_operation("left open")
        phase.__enter__()
        self.running = self.main
        gc.collect()
        self.assertIsNone(weak())
        phase.__exit__(None, None, None)
        self.assertEqual((phase.outcome, manager._ledger.open), ("done", {}))


class NotLost(Imitation):
    """A block waits in another greenlet when its limit passes."""

    def setUp(self):
        self.load_greenlets()
        warnings.simplefilter("ignore", RuntimeWarning)
        self.addCleanup(warnings.resetwarnings)

    def wait_in_hub(self, owner, limit, kill_after=None):
        """Have a greenlet enter a phase and wait until its limit is over; return the phase, to be left at once."""
        manager = TimeoutManager(LONG, enforce=True, kill_after=kill_after)
        hub = self.stack(self.main)
        self.running = owner
        phase = owner.enter(manager.timed_operation("ask", limit))
        self.running = hub
        time.sleep(0.3)
        self.assertEqual(phase.outcome, "running")
        return phase

    def test_a_late_one_is_a_timeout(self):
        for owner in self.main, self.stack(self.main):
            phase = self.wait_in_hub(owner, 0.1)
            with self.assertRaises(PhaseTimeout):
                phase.__exit__(None, None, None)
            self.assertEqual((phase.outcome, phase.ledger.open), ("timeout", {}))

    def test_one_that_is_in_time_keeps_its_result(self):
        phase = self.wait_in_hub(self.stack(self.main), LONG)
        phase.__exit__(None, None, None)
        self.assertEqual(phase.outcome, "done")

    def test_its_own_error_passes(self):
        phase = self.wait_in_hub(self.stack(self.main), 0.1)
        self.assertIsNone(phase.__exit__(KeyError, KeyError("own"), None))
        self.assertEqual(phase.outcome, "timeout")

    def test_nobody_is_disturbed_before_the_limit_of_another_greenlet(self):
        manager = TimeoutManager(LONG, enforce=True)
        self.running = self.stack(self.main)
        patient = self.running.enter(manager.timed_operation("patient", 30))
        self.running = self.main
        with self.assertRaises(PhaseTimeout), manager.timed_operation("short", 0.05):
            time.sleep(LONG)
        time.sleep(0.2)
        rest = patient.enforcer.at - time.monotonic()
        patient.__exit__(None, None, None)
        self.assertGreater(rest, 10)

    def test_a_greenlet_that_has_ended_has_left_its_phases(self):
        for entered_by_hand in False, True:
            manager = TimeoutManager(LONG, enforce=True)
            self.running = owner = self.stack(self.main)
            phase = manager.timed_operation("left open", 0.1)
            enter_by_hand(phase) if entered_by_hand else owner.enter(phase)
            self.running, owner.dead = self.main, True
            time.sleep(0.3)
            self.assertEqual((phase.outcome, manager._ledger.open), ("failed", {}), entered_by_hand)

    def test_kill_after_is_for_those_that_wait_too(self):
        with TimeoutManager(LONG, enforce=True, kill_after=LONG).timed_operation("loads what is needed"):
            pass
        for owner in self.main, self.stack(self.main):
            phase = self.wait_in_hub(owner, 0.1, kill_after=LONG)
            seen = []
            kill_after = package.enforcing.kill_after

            def look():
                seen.append(kill_after._is_running(phase))
                with mock.patch.object(kill_after, "python", mock.Mock(_current_frames=dict)):  # it runs C code alone
                    seen.append(kill_after._is_running(phase))

            watcher = threading.Thread(target=look)
            watcher.start()
            watcher.join(LONG)
            with self.assertRaises(PhaseTimeout):
                phase.__exit__(None, None, None)
            self.assertEqual(seen, [True, True])

    def test_a_task_is_cancelled_where_a_greenlet_runs_a_part_of_it(self):
        async def main():
            manager = TimeoutManager(LONG, enforce=True)
            async with manager.timed_operation("outer"):
                self.running = spawned = self.stack(self.main)
                phase = spawned.enter(manager.timed_operation("query", 0.1))
                self.running = self.main
                try:
                    await asyncio.sleep(LONG)
                except asyncio.CancelledError as error:
                    self.running = spawned
                    phase.__exit__(type(error), error, error.__traceback__)

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(main())
        self.assertEqual((caught.exception.phase_path, caught.exception.interrupted), (("outer", "query"), True))


class Claims(Imitation):
    """What cannot be interrupted is not said to be, and a warning tells."""

    def check(self, text):
        manager = TimeoutManager(LONG, enforce=True)
        self.assertEqual(manager.enforcement, "none")
        with self.assertWarnsRegex(RuntimeWarning, text), manager.timed_operation("wait"):
            pass

    def test_an_await_in_a_task_of_trio(self):
        self.load_trio()
        self.assertNotEqual(TimeoutManager(LONG, enforce=True).enforcement, "none")
        self.running = Task()
        self.check("a task of trio .* while it awaits")

    def test_a_wait_in_a_greenlet(self):
        self.load_greenlets()
        self.assertNotEqual(TimeoutManager(LONG, enforce=True).enforcement, "none")
        self.running = self.stack(self.main)
        self.check("a greenlet .* while it waits in its hub")

    def test_a_wait_where_gevent_has_replaced_what_waits(self):
        self.load_greenlets()
        self.load("gevent.monkey", is_anything_patched=lambda: True)
        self.check("a greenlet .* while it waits in its hub")

    def test_a_wait_where_gevent_or_eventlet_has_a_hub(self):
        self.load_greenlets()
        for name, contents in (
            ("gevent._hub_local", {"get_hub_if_exists": lambda: object()}),
            ("eventlet.hubs", {"_threadlocal": types.SimpleNamespace(hub=object())}),
        ):
            with self.subTest(name):
                self.load(name, **contents)
                self.check("a greenlet .* while it waits in its hub")
                self.doCleanups()
                self.load_greenlets()


@unittest.skipUnless(importlib.util.find_spec("greenlet"), "greenlet is not installed")
class RealGreenlets(unittest.TestCase):
    def setUp(self):
        from greenlet import getcurrent, greenlet

        self.greenlet, self.main = greenlet, getcurrent()
        self.manager = TimeoutManager(LONG, enforce=True)
        warnings.simplefilter("ignore", RuntimeWarning)
        self.addCleanup(warnings.resetwarnings)

    def wait_in_hub(self, seconds=0.3):
        self.greenlet(lambda: (time.sleep(seconds), self.main.switch())).switch()

    def spin(self):
        while True:
            time.sleep(0.01)

    def test_the_interrupt_comes_when_it_is_resumed(self):
        with self.assertRaises(PhaseTimeout) as caught, self.manager.timed_operation("ask", 0.1):
            self.wait_in_hub()
            self.spin()
        self.assertTrue(caught.exception.interrupted)

    def test_a_late_one_is_a_timeout(self):
        with self.assertRaises(PhaseTimeout), self.manager.timed_operation("ask", 0.1):
            self.wait_in_hub()

    def test_each_of_a_pool_ends_by_its_own_limit(self):
        ended = {}

        def work(number):
            try:
                with self.manager.timed_operation(str(number), 0.1 if number % 2 else LONG):
                    with self.manager.timed_operation("inner"):
                        self.main.switch()
                    if number % 4 == 3:
                        self.spin()
                ended[number] = "done"
            except PhaseTimeout as error:
                ended[number] = error.limited_phase, error.interrupted

        pool = [self.greenlet(work) for _ in range(8)]
        for number, each in enumerate(pool):
            each.switch(number)
        time.sleep(0.3)
        for each in pool:
            each.switch()
        right = {n: "done" if n % 2 == 0 else (str(n), False) for n in range(8)}
        self.assertEqual(ended, right)
        self.assertEqual(self.manager._ledger.open, {})

    def test_where_one_waits_has_an_end(self):
        frames = import_module(f"{package.__name__}.interpreter.frames")
        found = []

        def start_another():
            self.greenlet(lambda: found.extend(islice(frames.callers(), 1000))).switch()

        self.greenlet(start_another).switch()
        self.assertLess(len(found), 1000)
        self.assertIn("start_another", [frame.f_code.co_name for frame in found])

    @unittest.skipIf(sys.implementation.name == "pypy", "there it just ends")
    def test_a_greenlet_that_is_given_up_leaves_its_phase(self):
        def work():
            with self.manager.timed_operation("ask", LONG):
                self.main.switch()

        given_up = self.greenlet(work)
        given_up.switch()
        del given_up
        gc.collect()
        self.assertEqual((self.manager.phases[0].outcome, self.manager._ledger.open), ("failed", {}))

    def test_a_blocked_loop_where_a_greenlet_runs_a_part_of_the_task(self):
        def query():
            with self.manager.timed_operation("query", 0.1):
                time.sleep(LONG)

        async def main():
            async with self.manager.timed_operation("outer", LONG):
                spawned = self.greenlet(query)
                spawned.switch()

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(main())
        self.assertEqual((caught.exception.limited_phase, caught.exception.interrupted), ("query", True))

    def test_the_task_itself_is_over_while_a_greenlet_blocks_the_loop(self):
        async def main():
            async with self.manager.timed_operation("outer", 0.1):
                spawned = self.greenlet(self.spin)
                spawned.switch()

        with self.assertRaises(PhaseTimeout) as caught:
            asyncio.run(main())
        self.assertTrue(caught.exception.interrupted)


if __name__ == "__main__":
    unittest.main()
