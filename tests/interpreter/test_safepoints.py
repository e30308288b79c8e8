"""What sends a thread to a safe point is taken back, whatever happens meanwhile."""

import unittest
from importlib import import_module

from .. import package

safepoints = import_module(f"{package.__name__}.interpreter.safepoints")


class Tracing(unittest.TestCase):
    def test_is_taken_back_though_a_signal_handler_is_noted_meanwhile(self):
        visit = safepoints._Visit(None)

        class Frame:
            f_trace_opcodes = f_trace_lines = False

            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                visit.note(handler)

        handler, frame = Frame(), Frame()
        visit.note(frame)
        safepoints._untrace(0, visit, None)
        self.assertIn(handler, visit.frames)


if __name__ == "__main__":
    unittest.main()
