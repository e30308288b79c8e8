"""What README shows is what happens, and what it links to is there."""

import os
import unittest

from .helpers.child import ROOT
from .helpers.pages import CAN_TRY, broken_links, try_pages
from .helpers.together import Together

README = os.path.join(ROOT, "README.md")


class Readme(Together, unittest.TestCase):
    @unittest.skipUnless(CAN_TRY, "it shows what CPython does, by the commands of a shell")
    def test_its_examples(self):
        try_pages(self, [README])

    def test_its_links(self):
        self.assertEqual(broken_links(README), [])


if __name__ == "__main__":
    unittest.main()
