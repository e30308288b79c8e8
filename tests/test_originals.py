"""What stands in the place of a function of the interpreter, a mock or a clock that stands still, never reaches us."""

import ast
import importlib
import os
import sys
import time
import unittest
from glob import glob

from . import package
from .child import DIRECTORY, ROOT, python
from .command import Directory

PATHS = sorted(glob(os.path.join(DIRECTORY, "**", "*.py"), recursive=True))
CPYTHON = sys.implementation.name == "cpython"
TESTS = os.path.dirname(os.path.abspath(__file__))


def modules():
    """Import and yield all modules of the package."""
    for path in PATHS:
        name = os.path.relpath(path, DIRECTORY)[:-3].replace(os.sep, ".")
        if name.rpartition(".")[2] != "__main__":
            try:
                yield importlib.import_module(f"{package.__name__}.{name}".replace(".__init__", ""))
            except ImportError as error:  # a plug-in for a package that is not there
                if (error.name or package.__name__).startswith(package.__name__):
                    raise


def sources():
    for path in PATHS:
        with open(path, encoding="utf-8") as file:
            yield os.path.relpath(path, DIRECTORY), ast.parse(file.read())


def run_nodes(tree):
    """Yield what is run of a module: not what is there for the types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from (each for part in node.orelse for each in [part, *run_nodes(part)])
        else:
            yield node
            yield from run_nodes(node)


class NoNameOfOurs(unittest.TestCase):
    def test_is_a_function_of_time(self):
        functions = [value for value in vars(time).values() if callable(value)]
        for module in modules():
            found = [name for name, value in vars(module).items() if any(value is each for each in functions)]
            self.assertEqual(found, [], module.__name__)

    def test_is_the_module_time(self):
        for name, tree in sources():
            for node in run_nodes(tree):
                where = f"{name}:{getattr(node, 'lineno', '')}"
                if isinstance(node, ast.Import):
                    self.assertNotIn("time", [each.name for each in node.names], where)
                elif isinstance(node, ast.ImportFrom):
                    self.assertNotEqual(node.module, "time", where)
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self.assertNotEqual(node.value.id, "time", where)


FROZEN = """
import sys, time
from tests import freezer
{first}
from tests import package
{then}
sleep = time.sleep
for enforce in (True, "thread"):
    manager = package.TimeoutManager(60, enforce=enforce)
    print(manager.enforcement)
    try:
        with manager.timed_operation("hung", limit=0.2) as phase:
            for _ in range(3000): sleep(0.01)
    except package.PhaseTimeout as error:
        print(error.interrupted, 0.2 <= error.elapsed < 20, 0.2 <= phase.elapsed() < 20)
"""


class TimeThatStandsStill(Directory):
    @classmethod
    def setUpClass(cls):
        cls.path_there = os.path.dirname(TESTS)

    def interrupted(self, first, then):
        paths = f"import sys; sys.path[:0] = {[self.path_there, ROOT]!r}\n"
        return python("-c", paths + FROZEN.format(first=first, then=then)).split()

    def test_a_hang_is_interrupted(self):
        found = self.interrupted("", "freezer.freeze()")
        self.assertEqual(found[1:4] + found[5:], ["True"] * 6)
        self.assertNotIn("none", found)

    @unittest.skipUnless(CPYTHON, "PyPy does not make a module once more")
    def test_it_may_stand_still_before_the_package_is_loaded(self):
        found = self.interrupted("time.monotonic = lambda: 5.0; freezer.freeze()", "")
        self.assertEqual(found[1:4] + found[5:], ["True"] * 6)
        self.assertNotIn("none", found)


if __name__ == "__main__":
    unittest.main()
