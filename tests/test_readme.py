"""What README shows is what happens."""

import doctest
import os
import re
import sys
import unittest
from subprocess import PIPE, run

from .helpers.child import ROOT, environment

README = os.path.join(ROOT, "README.md")


class Readme(unittest.TestCase):
    def test_its_examples(self):
        result = doctest.testfile(README, module_relative=False, verbose=False, optionflags=doctest.ELLIPSIS)
        self.assertGreater(result.attempted, 3)
        self.assertEqual(result.failed, 0)

    def test_what_a_hung_test_looks_like(self):
        with open(README, encoding="utf-8") as file:
            shown = re.search(r"```\n\$ python (-m timeout_manager unittest .*)\n([^`]*`[^`]*`[^`]*)```", file.read())
        done = run([sys.executable, *shown[1].split()], cwd=ROOT, env=environment(), stderr=PIPE, text=True, timeout=60)
        masks = (r"\d\.\d+ ?s", "0 s"), (r"seen \d+ times?", "seen 0 times"), (r"(?m)^    [~^]+\n", "")
        for pattern, mask in masks:
            done.stderr = re.sub(pattern, mask, done.stderr)
        printed = done.stderr.replace("(tests.hung.Echo)", "(tests.hung.Echo.test_silence)")  # up to 3.10
        expected = shown[2]
        for pattern, mask in masks:
            expected = re.sub(pattern, mask, expected)
        self.assertEqual(printed, expected)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
