"""The package works as a copy under another name, inside another package, with nothing but itself."""

import os
import shutil
import sys
import tempfile
import unittest
from subprocess import PIPE, STDOUT, Popen

from . import package
from .child import DIRECTORY, environment

TESTS = os.path.dirname(os.path.abspath(__file__))
IMPORT = "import timeout_manager as package"
WHOLE = "TESTS_OF_THE_COPY" in os.environ  # otherwise without the modules that take long, on every interpreter
LONG = (
    *("test_aio.py", "test_alarm.py", "test_awaiting.py", "test_diagnosis.py", "test_enforcing.py", "test_guide.py"),
    *("test_inheritance.py", "test_timer.py"),
    *("test_kill.py", "test_process.py", "test_pytest_plugin.py", "test_run_command.py", "test_samples.py"),
    *("test_signal_handlers.py", "test_suggest.py", "test_testing.py", "test_unittest_command.py"),
)
COPY = "import vendored.utils.limits as package"


@unittest.skipUnless(package.__name__ == "timeout_manager", "this is the copy")
class ARenamedCopy(unittest.TestCase):
    def test_passes_the_same_tests(self):
        with tempfile.TemporaryDirectory() as directory:
            left_out = () if WHOLE else LONG
            leave_out = shutil.ignore_patterns("__pycache__", "test_copy.py", "test_readme.py", *left_out)
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
            names = sorted(name[:-3] for name in os.listdir(f"{directory}/tests") if name.startswith("test_"))
            halves = [self.start(directory, [f"tests.{name}" for name in names[half::2]]) for half in range(2)]
            for half in halves:
                printed, _ = half.communicate(timeout=400)
                self.assertEqual(half.returncode, 0, printed)
                self.assertRegex(printed, r"Ran \d{2,} tests")

    def start(self, directory, names):
        command = [sys.executable, "-W", "error::ImportWarning", "-m", "unittest", *names]
        half = Popen(command, cwd=directory, env=environment(), stdout=PIPE, stderr=STDOUT, text=True)
        self.addCleanup(half.wait)
        self.addCleanup(half.kill)
        return half


if __name__ == "__main__":
    unittest.main()
