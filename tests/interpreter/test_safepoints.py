"""What sends a thread to a safe point is taken back, whatever happens meanwhile."""

import unittest
from importlib import import_module

from .. import package

gate = import_module(f"{package.__name__}.interpreter.gate")


class Tracing(unittest.TestCase):
    def test_is_taken_back_though_a_signal_handler_is_noted_meanwhile(self):
        traced = gate.Gate()
        traced.visits.append("visit")

        class Frame:
            f_trace_opcodes = f_trace_lines = False

            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                traced.note(handler)

        handler, frame = Frame(), Frame()
        traced.note(frame)
        traced.leave("visit", 0)
        self.assertIn(handler, traced.frames)


if __name__ == "__main__":
    unittest.main()
