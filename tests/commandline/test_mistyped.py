"""What the command line understands: the mistyped is told with what is nearest, what is right is left alone."""

import os
import subprocess
import unittest

from .. import package
from ..helpers.child import PYTHON, ROOT, environment
from ..helpers.command import Directory

MISTYPED = {
    "unitest": "did you mean unittest?",
    "help guide.hz": "did you mean guide.zh?",
    "unittest --timout 5": "--timout is not known; did you mean --timeout?",
    "unittest --kil-after=5 --timeout 60": "--kil-after is not known; did you mean --kill-after?",
    "unittest --failfats": "--failfats is not known; did you mean --failfast?",
    "unittest --junit x.xml": "--junit is not known; did you mean --junit-xml?",
    "unittest -timeout 5": "-timeout is not known; did you mean --timeout?",
    "unittest --isolate=yes": "--isolate takes no value",
    "unittest --trace . --timeout 5": "--trace cannot be written: ",
    "unittest --html a/../a.html --report a.html": "--report and --html name the same file, 'a/../a.html'; each report",
    "--verson": "did you mean --version?",
    "run --kil-after 5 10 true": "did you mean --kill-after?",
    "run 10 --kill-after 5 true": "options come before DURATION",
    "suggest --ell monday.json": "did you mean --all?",
}
NOT_NEAR = "frobnicate", "unittest --frobnicate --locals", "run --frobnicate 5 true", "run -z 5 true", "help frobnicate"


class Mistyped(Directory):
    def test_names_the_nearest(self):
        began = [(words, self.start(*words.split())) for words in (*MISTYPED, *NOT_NEAR)]
        for words, process in began:
            with self.subTest(words):
                ran = self.end(process)
                self.assertIn(ran.status, (2, 125, 127), ran.stderr)
                if words in MISTYPED:
                    self.assertIn(MISTYPED[words], ran.stderr)
                else:
                    self.assertNotIn("did you mean", ran.stderr + ran.stdout)

    def test_leaves_an_earlier_report_alone(self):
        path = os.path.join(self.directory, "report.json")
        with open(path, "w") as file:
            file.write("{}")
        began = [self.start("unittest", "--report", path, *words) for words in (["--locls"], ["--isolate", "--locls"])]
        for process in began:
            self.assertEqual(self.end(process).status, 2)
            with open(path) as file:
                self.assertEqual(file.read(), "{}")

    def test_the_installed_command_finds_the_tests_of_the_folder_where_it_is_run(self):
        script = os.path.join(self.directory, "bin", "timeout-manager")
        os.mkdir(os.path.dirname(script))
        with open(script, "w") as file:
            file.write(f"from {package.__name__}.__main__ import script\nscript()\n")
        self.write(test_here="import unittest\nclass Here(unittest.TestCase):\n    def test_it(self): pass\n")
        words = [*PYTHON, script, "unittest", "test_here"]
        environ = environment(PYTHONPATH=ROOT)
        ran = subprocess.run(words, cwd=self.directory, env=environ, stderr=subprocess.PIPE, text=True)
        self.assertTrue(ran.stderr.endswith("\nOK\n"), ran.stderr)


if __name__ == "__main__":
    unittest.main()
