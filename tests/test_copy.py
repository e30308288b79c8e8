"""The package works as a copy under another name, inside another package, with nothing but itself.

Its place has "case" in the name, as one of its modules has.
"""

import os
import shutil
import sys
import tempfile
import unittest
from glob import glob
from subprocess import PIPE, STDOUT, Popen

from . import package
from .helpers.child import DIRECTORY, environment
from .helpers.together import Together

TESTS = os.path.dirname(os.path.abspath(__file__))
IMPORT = "import timeout_manager as package"
ASKED = os.environ.get("TESTS_OF_THE_COPY")  # "all", "none"; otherwise without what takes long
WHOLE = ASKED == "all"
NAMELESS = (  # what these test takes a while, and knows no names; the last wants all rooms
    *("interrupting", "processes", "diagnosis"),
    *("test_isolate.py", "test_nothing_lost.py", "test_odd_tests.py", "test_suites.py"),
    *("test_kill_after.py", "test_kill_children.py", "test_signal_handlers.py", "test_tasks*.py", "test_house.py"),
)
QUICK = "counting", "helpers"
LONG = (
    *(each for each in os.listdir(TESTS) if os.path.isdir(os.path.join(TESTS, each)) and each not in QUICK),
    *("test_guide.py", "test_house.py", "test_originals.py", "test_page.py", "test_platforms.py", "test_pytest*.py"),
)
COPY = "import vendored.showcase.limits as package"


@unittest.skipIf(ASKED == "none", "another run does it")
@unittest.skipUnless(package.__name__ == "timeout_manager", "this is the copy")
class ARenamedCopy(Together, unittest.TestCase):
    def test_passes_the_same_tests(self):
        with tempfile.TemporaryDirectory() as directory:
            left_out = NAMELESS if WHOLE else LONG
            apart = "test_copy.py", "test_readme.py", "test_manual.py"  # the pages have the name
            being_written = "*.pyc.*"  # by another interpreter
            leave_out = shutil.ignore_patterns(*apart, *left_out, being_written)
            around = os.path.join(directory, "vendored", "showcase")
            without = shutil.ignore_patterns(being_written)
            shutil.copytree(DIRECTORY, os.path.join(around, "limits"), ignore=without)  # bytecode, which knows no place
            shutil.copytree(TESTS, os.path.join(directory, "tests"), ignore=leave_out)
            for folder in (os.path.dirname(around), around):
                open(os.path.join(folder, "__init__.py"), "w").close()
            marker = os.path.join(directory, "tests", "__init__.py")
            with open(marker) as file:
                text = file.read()
            self.assertEqual(text.count(IMPORT), 1)
            with open(marker, "w") as file:
                file.write(text.replace(IMPORT, COPY))
            paths = sorted(glob(os.path.join(directory, "tests", "**", "test_*.py"), recursive=True))
            names = [os.path.relpath(path, directory)[:-3].replace(os.sep, ".") for path in paths]
            count = 4 if WHOLE else 1
            parts = [self.start(directory, names[part::count]) for part in range(count)]
            for part in parts:
                printed, _ = part.communicate(timeout=2000)
                self.assertEqual(part.returncode, 0, printed)
                self.assertRegex(printed, r"Ran \d{2,} tests")

    def start(self, directory, names):
        command = [sys.executable, "-W", "error::ImportWarning", "-m", "unittest", *names]
        env = environment(TIMEOUT_MANAGER_JOB="1")  # the parts are what runs at once
        part = Popen(command, cwd=directory, env=env, stdout=PIPE, stderr=STDOUT, text=True)
        self.addCleanup(part.wait)
        self.addCleanup(part.kill)
        return part


if __name__ == "__main__":
    unittest.main()
