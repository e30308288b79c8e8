"""The ledger as text, as data, as a trace."""

import asyncio
import json
import unittest

from .. import package
from ..helpers.clock import FakeClock


class Ledger(unittest.TestCase):
    def setUp(self):
        clock = FakeClock()
        self.manager = manager = package.TimeoutManager(20, clock=clock)
        clock.advance(1)
        with manager.timed_operation("convert"):
            clock.advance(5)
        try:
            with manager.timed_operation("build", limit=2), manager.timed_operation("link"):
                clock.advance(3)
        except package.PhaseTimeout:
            pass
        manager.timed_operation("run").__enter__()
        clock.advance(2)

    def test_as_a_table(self):
        self.assertEqual(
            self.manager.report().splitlines(),
            [
                "phase           used  share                        outcome",
                "convert       5.00 s    25%  #####                 done",
                "build         3.00 s    15%  ###                   timeout",
                "  link        3.00 s    15%  ###                   timeout",
                "run           2.00 s    10%  ##                    running",
                "10.00 s used of 20.00 s, 10.00 s left",
            ],
        )

    def test_as_a_table_whatever_a_phase_is_called(self):
        manager = package.TimeoutManager(20, clock=FakeClock())
        for name in "cd build\nmake", "\u8f6c\u6362", "e\u0301", "a\tb":
            with manager.timed_operation(name):
                pass
        lines = [line.partition(" 0.00 s")[0] for line in manager.report().splitlines()[1:-1]]
        self.assertEqual(lines[0], r"cd build\nmake      ")
        self.assertEqual(lines[1], "\u8f6c\u6362                ")
        self.assertEqual(lines[2], "e\u0301                   ")
        self.assertEqual(lines[3], r"a\tb                ")

    def test_as_a_table_without_a_limit_and_without_phases(self):
        clock = FakeClock()
        manager = package.TimeoutManager(clock=clock)
        self.assertIn("0.00 s used, no limit", manager.report())
        with manager.timed_operation("only"):
            clock.advance(4)
        self.assertIn("only        4.00 s   100%  ####################  done", manager.report())

    def test_as_data(self):
        data = self.manager.as_dict()
        self.assertEqual(json.loads(json.dumps(data, allow_nan=False)), data)
        self.assertEqual(list(data), ["timeout", "used", "remaining", "expired", "phases"])
        self.assertEqual((data["timeout"], data["used"], data["remaining"], data["expired"]), (20, 10, 10, False))
        self.assertEqual(
            data["phases"][2],
            dict(name="link", path=["build", "link"], started=6, elapsed=3, limit=None, outcome="timeout"),
        )
        unlimited = package.TimeoutManager().as_dict()
        self.assertEqual((unlimited["timeout"], unlimited["remaining"], unlimited["expired"]), (None, None, False))

    def test_as_trace_events(self):
        events = json.loads(json.dumps(self.manager.as_trace_events()))
        self.assertEqual([event["name"] for event in events], ["convert", "build", "link", "run"])
        self.assertEqual([event["ph"] for event in events], ["X"] * 4)
        self.assertEqual((events[0]["ts"], events[0]["dur"]), (1e6, 5e6))
        self.assertEqual(len({(event["pid"], event["tid"]) for event in events}), 1)

    def test_as_trace_events_a_task_is_one_row(self):
        async def work():
            async with manager.timed_operation("outer"):
                async with manager.timed_operation("inner"):
                    await asyncio.sleep(0)
                rows.append([event["tid"] for event in manager.as_trace_events()])

        async def main():
            await asyncio.gather(work(), work())

        manager, rows = package.TimeoutManager(60), []
        asyncio.run(main())
        rows.append([event["tid"] for event in manager.as_trace_events()])
        self.assertEqual(rows, [[1, 1, 2, 2]] * 3)  # open or not


if __name__ == "__main__":
    unittest.main()
