"""What an import loads, and where it works from."""

import importlib.util
import os
import re
import sys
import tempfile
import unittest
import zipfile
from glob import glob

from . import package
from .helpers.child import DIRECTORY, ROOT, environment, python

FIVE = "", ".counting", ".counting.ledger", ".originals", ".seconds"
LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
__import__(sys.argv[2])
own = set(sys.argv[2].split("."))
print(*sorted(name for name in set(sys.modules) - before if bool(own & set(name.split("."))) == (sys.argv[3] == "own")))
"""


TIMES_OUT = """
import sys, time
sys.path.insert(0, sys.argv[1])
package = __import__(sys.argv[2], fromlist=["PhaseTimeout"])
for options in {}, {"enforce": True}, {"enforce": True, "kill_after": 9}:
    manager = package.TimeoutManager(9, **options)
    kept, sys.meta_path[:] = sys.meta_path[:], []
    loaded = set(sys.modules)
    for late in manager.timed_operation("größe", 0.01), manager.cleanup_operation(limit=0.01):
        try:
            with late:
                time.sleep(0.05)
        except TimeoutError as error:
            print(type(error).__name__, late.outcome)
    manager.reset(0)
    try:
        manager.check_timeout()
    except TimeoutError as error:
        print(type(error).__name__)
    assert set(sys.modules) == loaded, set(sys.modules) - loaded
    sys.meta_path[:] = kept
"""


class Import(unittest.TestCase):
    def loaded(self, which):
        for flags in (["-I"], ["-I", "-S"]):
            yield set(python("-c", LOADED, ROOT, package.__name__, which, interpreter=[sys.executable, *flags]).split())

    def test_loads_time_and_its_own_files_only(self):
        for printed in self.loaded("others"):
            self.assertEqual(printed - {"time", "_thread", "__future__"}, set())

    def test_loads_five_of_its_own_files(self):
        around = package.__name__.split(".")[:-1]
        parents = {".".join(around[: count + 1]) for count in range(len(around))}
        for printed in self.loaded("own"):
            self.assertEqual(printed - parents, {package.__name__ + name for name in FIVE})

    def test_nothing_is_loaded_at_a_timeout(self):
        printed = python("-c", TIMES_OUT, ROOT, package.__name__, env=environment(PYTHONUTF8="1")).splitlines()
        self.assertEqual(printed, ["PhaseTimeout timeout", "PhaseTimeout timeout", "PhaseTimeout"] * 3)

    def test_works_from_a_zip(self):
        with tempfile.TemporaryDirectory() as directory:
            archive = os.path.join(directory, "all.zip")
            with zipfile.ZipFile(archive, "w") as file:
                for path in sorted(glob(f"{DIRECTORY}/**/*.py", recursive=True)):
                    inside = os.path.join("anything", os.path.relpath(path, DIRECTORY))
                    file.write(path, inside)
                    bytecode = importlib.util.cache_from_source(path)
                    if os.path.exists(bytecode):  # it is quicker to load
                        file.write(bytecode, inside + "c")
            code = (
                "import sys; sys.path.insert(0, sys.argv[1]); import anything\n"
                "@anything.with_timeout_management(timeout=5)\n"
                "def test(timeout_manager):\n"
                "    with timeout_manager.timed_operation('build'): pass\n"
                "    print(timeout_manager.report())\n"
                "test()\n"
                "with anything.TimeoutManager(5, enforce=True).timed_operation('run'): pass\n"
                "import pkgutil, importlib\n"
                "for module in pkgutil.walk_packages(anything.__path__, 'anything.'):\n"
                "    if not module.name.endswith(('__main__', 'pytest_plugin')):\n"
                "        assert 'None' not in str(vars(importlib.import_module(module.name)).get('TOOL', ''))"
            )
            self.assertIn("build", python("-I", "-c", code, archive))

    def test_it_never_imports_itself_by_name(self):
        own = package.__name__.rpartition(".")[2]
        for path in sorted(glob(f"{DIRECTORY}/**/*.py", recursive=True)):
            with open(path, encoding="utf-8") as file:
                self.assertIsNone(re.search(rf"^\s*(from|import) {own}\b", file.read(), re.M), path)

    def test_every_public_name_is_there(self):
        for name in package.__all__:
            self.assertTrue(getattr(package, name).__doc__, name)
        with self.assertRaises(AttributeError):
            package.nothing_of_this_name


if __name__ == "__main__":
    unittest.main()
