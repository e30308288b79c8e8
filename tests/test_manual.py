"""The pages of the manual: there is one for each topic, and what they show works as it stands there."""

import io
import os
import re
import subprocess
import unittest
import zipfile
from contextlib import redirect_stderr
from fnmatch import fnmatch
from importlib import import_module
from tempfile import TemporaryDirectory
from unittest import mock

from . import package
from .helpers.child import DIRECTORY, PYTHON, ROOT, environment, python
from .helpers.pages import CAN_TRY, broken_links, try_pages
from .helpers.together import Together

MANUAL = os.path.join(DIRECTORY, "manual")
PATHS = [os.path.join(MANUAL, name) for name in sorted(os.listdir(MANUAL)) if name.endswith(".md")]
SETUP = os.path.join(ROOT, "setup.cfg")


class Manual(Together, unittest.TestCase):
    def test_every_page_has_a_line_in_the_list_of_topics_and_every_line_a_page(self):
        topics = import_module(f"{package.__name__}.commandline.help_command").TOPICS
        self.assertEqual(sorted(topics), [os.path.basename(path)[:-3] for path in PATHS])

    @unittest.skipUnless(os.path.exists(SETUP), "this is a copy")
    def test_the_wheel_carries_it(self):
        with open(SETUP) as file:
            patterns = re.search(r"^timeout_manager = (.*manual.*)$", file.read(), re.M)[1].split(", ")
        names = [os.path.relpath(path, DIRECTORY).replace(os.sep, "/") for path in PATHS] + ["LICENSE", "py.typed"]
        self.assertEqual([name for name in names if not any(fnmatch(name, each) for each in patterns)], [])

    @unittest.skipUnless(CAN_TRY, "it shows what CPython does, by the commands of a shell")
    def test_its_examples(self):
        try_pages(self, PATHS)

    def test_its_links(self):
        self.assertEqual([(path, link) for path in PATHS for link in broken_links(path)], [])

    def test_whoever_reads_only_the_beginning_of_it_is_not_told_of_an_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        began = []
        for words in ["help", "unittest"], ["unittest", "--help"]:
            command = [*PYTHON, "-m", package.__name__, *words]
            pipes = {"stdout": writer, "stderr": subprocess.PIPE}
            began.append(subprocess.Popen(command, cwd=ROOT, env=environment(), text=True, **pipes))
        os.close(writer)
        self.assertEqual([(each.communicate()[1], each.returncode) for each in began], [("", 0), ("", 0)])

    def test_help_prints_a_page_from_a_zip(self):
        with TemporaryDirectory() as directory:
            path = os.path.join(directory, "package.zip")
            with zipfile.ZipFile(path, "w") as file:
                for folder, _, names in os.walk(DIRECTORY):
                    for name in names if os.path.basename(folder) != "__pycache__" else ():
                        full = os.path.join(folder, name)
                        file.write(full, os.path.relpath(full, ROOT))
                for folder in _packages_around():
                    file.writestr(f"{folder}/__init__.py", "")
            code = (
                f"import runpy, sys; sys.path.insert(0, {path!r}); "
                f"runpy.run_module({package.__name__!r}, run_name='__main__')"
            )
            printed = python("-I", "-c", code, "help", "guide.zh", encoding="utf-8")
        self.assertTrue(printed.startswith("# TimeoutManager"), printed[:200])

    def test_help_says_so_where_a_copy_was_made_without_it(self):
        command = import_module(f"{package.__name__}.commandline.help_command")
        printed = io.StringIO()
        with mock.patch.object(command, "PACKAGE", __package__), redirect_stderr(printed):
            with self.assertRaises(SystemExit) as caught:
                command.main("help", ["unittest"])
        self.assertEqual(caught.exception.code, 2)
        self.assertEqual(printed.getvalue(), "help: this copy of the package has no manual\n")


def _packages_around():
    names = package.__name__.split(".")
    return ["/".join(names[:count]) for count in range(1, len(names))]


if __name__ == "__main__":
    unittest.main()
