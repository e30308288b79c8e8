"""Run a command of the package, or plain unittest, on test modules that are written for the purpose."""

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
from textwrap import dedent
from xml.etree import ElementTree

from .. import package
from .child import ROOT, at_once, environment
from .forks import CAN_FORK, Fork
from .together import Together

BETWEEN = """
    import time, unittest
    class Thing:
        def __del__(self): time.sleep(60)
    class Owner(unittest.TestCase):
        def test_1(self): self.thing = Thing()
        def test_2(self): pass
    class Slow(unittest.TestSuite):
        def run(self, result, debug=False): time.sleep(60)
    def slow(): return Slow([Owner("test_2")])
"""  # what hangs where no test runs


class Ran:
    """What came of a run: its exit status, what it printed, and the outcomes by the last part of the name."""

    def __init__(self, status, stdout, stderr, report):
        self.status, self.stdout, self.stderr, self.report = status, stdout, stderr, report
        tests = report["tests"] if report else ()
        self.outcomes = {_short(each["id"], each["kind"]): each["outcome"] for each in tests}

    @property
    def last(self):
        return self.stderr.rstrip().rpartition("\n")[2]


def _short(name, kind):
    return name if kind == "fixture" else name.rpartition(".")[2]


class Directory(Together, unittest.TestCase):
    """A test with a directory of its own, to write test modules into."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, **modules):
        for name, text in modules.items():
            with open(self.path(name + ".py"), "w") as file:
                file.write(dedent(text))

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, *arguments, module=package.__name__, interpreter=(), stdin=subprocess.DEVNULL, **variables):
        """Run a module, in a fork of its server if nothing is said of the interpreter."""
        env = environment(**{"PYTHONPATH": ROOT, **variables})
        if CAN_FORK and not interpreter and not any(name.startswith("PYTHON") for name in variables):
            return Fork(module, arguments, self.directory, env, stdin, self.server)
        return subprocess.Popen(
            [*(interpreter or self.server[0]), "-m", module, *arguments],
            **dict(cwd=self.directory, env=env, text=True, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE),
        )

    def end(self, process, text=None, report="report.json"):
        try:
            stdout, stderr = process.communicate(text, timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail("it did not end by itself:\n{}{}".format(*process.communicate()))
        return Ran(process.returncode, stdout, stderr, self.read(report))

    def read(self, name):
        if not os.path.exists(self.path(name)):
            return None
        with open(self.path(name)) as file:
            text = file.read()
        return json.loads(text) if text else None  # it has just been created

    def junit(self, name="junit.xml"):
        """Return the suite in a JUnit file, whose head has the counts of its entries."""
        suite = ElementTree.parse(self.path(name)).getroot().find("testsuite")
        counts = [len(suite.findall(path)) for path in ("testcase", "*/failure", "*/error", "*/skipped")]
        head = [int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")]
        self.assertEqual(head, counts)
        return suite

    def unittest(self, *arguments, report="report.json", **variables):
        """Run the command `unittest`, with a report."""
        return self.end(self.start("unittest", "--report", report, *arguments, **variables), report=report)

    def unittest_at_once(self, *command_lines, **variables):
        """Run the command with each of these, at once; each may end with a dictionary of variables."""

        def run(number, command_line):
            own = command_line[-1] if isinstance(command_line[-1], dict) else {}
            arguments = [each for each in command_line if each is not own]
            return self.unittest(*arguments, report=f"report{number}.json", **variables, **own)

        return at_once(lambda numbered: run(*numbered), enumerate(command_lines))

    def call(self, main, program, *arguments):
        """Call the function of a command; return the exit status and what is printed, on one stream only."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            with self.assertRaises(SystemExit) as end:
                main(program, list(arguments))
        self.assertTrue(out.getvalue() == "" or err.getvalue() == "", out.getvalue() + err.getvalue())
        return end.exception.code, out.getvalue() + err.getvalue()

    def plain(self, *arguments, **variables):
        """Run unittest itself."""
        return self.end(self.start(*arguments, module="unittest", **variables))
