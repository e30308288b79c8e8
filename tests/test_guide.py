"""Every form of the guide to the original tool works as it stands there."""

import inspect
import os
import shutil
import subprocess
import tempfile
import unittest

from . import package
from .helpers.child import DIRECTORY, PYTHON, python
from .helpers.together import Together

TimeoutManager = package.TimeoutManager
with_timeout_management = package.with_timeout_management


def check_call(seconds, **options):
    return subprocess.check_call([*PYTHON, "-c", f"import time; time.sleep({seconds})"], **options)


class Forms(unittest.TestCase):
    def test_execute_with_timeout(self):
        timeout_manager = TimeoutManager(60)
        result = timeout_manager.execute_with_timeout(lambda: "done", phase_name="convert")
        self.assertEqual((result, timeout_manager.phases[0].name), ("done", "convert"))
        self.assertEqual(timeout_manager.execute_with_timeout(dict, "build", a=1), {"a": 1})

    def test_call_with_timeout(self):
        timeout_manager = TimeoutManager(60)
        self.assertEqual(timeout_manager.call_with_timeout(max, 3, 5, phase_name="run"), 5)
        self.assertEqual(timeout_manager.call_with_timeout(sorted, [1, 2], reverse=True), [2, 1])
        self.assertEqual([phase.name for phase in timeout_manager.phases], ["run", "operation"])

    def test_timed_operation(self):
        timeout_manager = TimeoutManager(60)
        with timeout_manager.timed_operation("convert"):
            result = sum([1, 2])
        self.assertEqual((result, timeout_manager.phases[0].outcome), (3, "done"))

    def test_the_decorator(self):
        @with_timeout_management
        def test_example(timeout_from_marker, timeout_manager):
            with timeout_manager.timed_operation("convert"):
                return timeout_from_marker, timeout_manager.initial_timeout

        self.assertEqual(test_example(timeout_from_marker=60), (60, 60))

    def test_no_marker_no_limit(self):
        timeout_manager = TimeoutManager(None)
        with timeout_manager.timed_operation("convert"):
            self.assertIsNone(timeout_manager.remaining_timeout)
        timeout_manager.check_timeout()

    def test_names_positions_and_defaults(self):
        expected = {
            "__init__": "(self, initial_timeout=None",
            "reset": "(self, timeout=None",
            "check_timeout": "(self, phase_name='operation'",
            "timed_operation": "(self, phase_name='operation'",
            "execute_with_timeout": "(self, operation=None, /, phase_name='operation', **kwargs",
            "call_with_timeout": "(self, func=None, /, *args, phase_name='operation', **kwargs",
        }
        for name, start in expected.items():
            signature = inspect.signature(getattr(TimeoutManager, name))
            bare = [item.replace(annotation=inspect.Parameter.empty) for item in signature.parameters.values()]
            text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
            self.assertTrue(text.startswith(start), text)
        self.assertTrue(str(inspect.signature(package.create_timeout_manager)).startswith("(timeout_from_marker"))


class FourPhases(Together, unittest.TestCase):
    @staticmethod
    @with_timeout_management
    def job(seconds, timeout_manager):
        try:
            for phase in ("convert", "build", "run", "summary"):
                with timeout_manager.timed_operation(phase):
                    check_call(seconds.get(phase, 0), timeout=timeout_manager.remaining_timeout)
        finally:
            seconds["ended"] = [(phase.name, phase.outcome) for phase in timeout_manager.phases]

    def test_in_time(self):
        seconds = {}
        self.job(seconds, timeout_from_marker=60)
        names = ("convert", "build", "run", "summary")
        self.assertEqual(seconds["ended"], [(name, "done") for name in names])

    def test_one_that_hangs_is_named(self):
        seconds = {"build": 60}
        with self.assertRaisesRegex(TimeoutError, "^Timeout exceeded after build phase!") as caught:
            self.job(seconds, timeout_from_marker=2)
        self.assertIsInstance(caught.exception.__cause__, subprocess.TimeoutExpired)
        self.assertEqual(seconds["ended"], [("convert", "done"), ("build", "timeout")])


class InPlaceOfTheFile(unittest.TestCase):
    def test_the_import_of_the_guide(self):
        with tempfile.TemporaryDirectory() as directory:
            utils = os.path.join(directory, "x", "utils")
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(DIRECTORY, os.path.join(utils, "timeout_manager"), ignore=without)
            for folder in (os.path.dirname(utils), utils):
                open(os.path.join(folder, "__init__.py"), "w").close()
            code = (
                "from x.utils.timeout_manager import TimeoutManager, create_timeout_manager, with_timeout_management\n"
                "print(TimeoutManager(3), create_timeout_manager, with_timeout_management)"
            )
            self.assertIn("TimeoutManager", python("-c", code, cwd=directory))


if __name__ == "__main__":
    unittest.main()
