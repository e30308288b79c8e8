"""A mistyped command, topic or option is told with the nearest one that there is; what is right is left alone."""

import subprocess
import unittest

from .. import package
from ..helpers.child import PYTHON, ROOT, environment

MISTYPED = {
    "unitest": "did you mean unittest?",
    "help guide.hz": "did you mean guide.zh?",
    "unittest --timout 5": "--timout is not known; did you mean --timeout?",
    "unittest --kil-after=5 --timeout 60": "--kil-after is not known; did you mean --kill-after?",
    "unittest --failfats": "--failfats is not known; did you mean --failfast?",
    "unittest --junit x.xml": "--junit is not known; did you mean --junit-xml?",
    "unittest -timeout 5": "-timeout is not known; did you mean --timeout?",
    "--verson": "did you mean --version?",
    "run --kil-after 5 10 true": "did you mean --kill-after?",
    "suggest --ell monday.json": "did you mean --all?",
}
NOT_NEAR = "frobnicate", "unittest --frobnicate --locals", "run --frobnicate 5 true", "run -z 5 true", "help frobnicate"


class Mistyped(unittest.TestCase):
    def test_names_the_nearest(self):
        began = [(words, self.start(words)) for words in (*MISTYPED, *NOT_NEAR)]
        for words, process in began:
            with self.subTest(words):
                printed, _ = process.communicate(timeout=60)
                self.assertIn(process.returncode, (2, 125), printed)
                if words in MISTYPED:
                    self.assertIn(MISTYPED[words], printed)
                else:
                    self.assertNotIn("did you mean", printed)

    def start(self, words):
        process = subprocess.Popen(
            [*PYTHON, "-m", package.__name__, *words.split()],
            **dict(cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True),
        )
        self.addCleanup(process.stdout.close)
        return process


if __name__ == "__main__":
    unittest.main()
