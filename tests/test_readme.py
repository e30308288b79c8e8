"""What README shows is what happens."""

import doctest
import os
import unittest

from .child import ROOT

README = os.path.join(ROOT, "README.md")


class Readme(unittest.TestCase):
    def test_its_examples(self):
        result = doctest.testfile(README, module_relative=False, optionflags=doctest.ELLIPSIS)
        self.assertGreater(result.attempted, 3)
        self.assertEqual(result.failed, 0)

    def test_it_is_short(self):
        with open(README, encoding="utf-8") as file:
            self.assertLess(len(file.readlines()), 250)


if __name__ == "__main__":
    unittest.main()
