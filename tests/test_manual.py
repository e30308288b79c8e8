"""The pages of the manual: there is one for each topic, and what they show works as it stands there."""

import io
import os
import re
import unittest
from contextlib import redirect_stdout
from importlib import import_module

from . import package
from .helpers.child import DIRECTORY

MANUAL = os.path.join(DIRECTORY, "manual")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def page(topic):
    with open(os.path.join(MANUAL, f"{topic}.md"), encoding="utf-8") as file:
        return file.read()


class Manual(unittest.TestCase):
    def test_every_page_has_a_line_in_the_list_of_topics_and_every_line_a_page(self):
        topics = import_module(f"{package.__name__}.commandline.help_command").TOPICS
        pages = {name[:-3] for name in os.listdir(MANUAL) if name.endswith(".md")}
        self.assertEqual(set(topics), pages)

    @unittest.skipUnless(os.name == "posix", "its commands are those of a shell")
    def test_the_guide_in_chinese_works_line_by_line(self):
        text = page("guide.zh").replace("from timeout_manager import", f"from {package.__name__} import")
        space = {}
        with redirect_stdout(io.StringIO()):
            for block in BLOCK.findall(text):
                exec(compile(block, "guide.zh.md", "exec"), space)
        self.assertEqual(space["ledger"]["phases"][1]["outcome"], "done")


if __name__ == "__main__":
    unittest.main()
