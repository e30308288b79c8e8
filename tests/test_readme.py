"""What README shows is what happens, and what it links to is there."""

import os
import unittest

from .helpers.child import ROOT
from .helpers.pages import broken_links, try_pages

README = os.path.join(ROOT, "README.md")


class Readme(unittest.TestCase):
    @unittest.skipUnless(os.name == "posix", "its commands are those of a shell")
    def test_its_examples(self):
        try_pages(self, [README])

    def test_its_links(self):
        self.assertEqual(broken_links(README), [])


if __name__ == "__main__":
    unittest.main()
