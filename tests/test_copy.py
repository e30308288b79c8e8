"""The package works as a copy under another name, inside another package, with nothing but itself."""

import os
import shutil
import tempfile
import unittest

from . import package
from .child import DIRECTORY, environment, python

TESTS = os.path.dirname(os.path.abspath(__file__))
IMPORT = "import timeout_manager as package"
COPY = "import vendored.utils.limits as package"


@unittest.skipUnless(package.__name__ == "timeout_manager", "this is the copy")
class ARenamedCopy(unittest.TestCase):
    def test_passes_the_same_suite(self):
        with tempfile.TemporaryDirectory() as directory:
            leave_out = shutil.ignore_patterns("__pycache__", "test_copy.py", "test_readme.py")
            utils = os.path.join(directory, "vendored", "utils")
            shutil.copytree(DIRECTORY, os.path.join(utils, "limits"), ignore=leave_out)
            shutil.copytree(TESTS, os.path.join(directory, "tests"), ignore=leave_out)
            for folder in (os.path.dirname(utils), utils):
                open(os.path.join(folder, "__init__.py"), "w").close()
            marker = os.path.join(directory, "tests", "__init__.py")
            with open(marker) as file:
                text = file.read()
            self.assertEqual(text.count(IMPORT), 1)
            with open(marker, "w") as file:
                file.write(text.replace(IMPORT, COPY))
            options = {"cwd": directory, "env": environment(), "timeout": 400}
            printed = python("-W", "error::ImportWarning", "-m", "unittest", **options)
            self.assertRegex(printed, r"Ran \d{2,} tests")
            self.assertNotIn("NO TESTS", printed)


if __name__ == "__main__":
    unittest.main()
