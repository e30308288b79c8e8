"""The live line of ``unittest --isolate``: there on a terminal, gone before anything else is written."""

import errno
import io
import os
import re
import subprocess
import sys
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import PYTHON, ROOT, at_once, environment
from ..helpers.command import Directory

SUITE = """
    import sys, time, unittest
    class Case(unittest.TestCase):
        timeout = 10
        def test_1(self):
            print("on stdout, \\x1b[1min bold\\x1b[0m")
            print("on stderr", file=sys.stderr)
            time.sleep(0.3)
            print("no end in \\xfc\\u6f22\\u5b57 e\\u0301\\t", end="", flush=True)
            time.sleep(0.3)
            print("the end")
        def test_2(self): pass
"""
LINE = r"(?:loading|[0-2]/2)(?:  \d running: [^\r\n]*)?"
STYLE = r"\x1b\[[0-9;]*m"
GONE = r"\r\x1b\[K"


@unittest.skipUnless(sys.platform == "linux", "there are no workers elsewhere")
class LiveLine(Directory):
    def said(self, run):
        """Return what a run says, given its options and whether that is to a terminal."""
        options, is_terminal = run
        reader, writer = os.openpty() if is_terminal else os.pipe()
        if is_terminal:
            self.resize(writer, 24, 70)
        flags = ["-X", "utf8"] + ["-u"] * (not is_terminal)
        command = [*PYTHON, *flags, "-m", package.__name__, "unittest", *options, "-v", "test_live"]
        env = environment(PYTHONPATH=ROOT, TERM="xterm")
        how = dict(cwd=self.directory, env=env, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
        with subprocess.Popen(command, **how):
            os.close(writer)
            data = b""
            try:
                while True:
                    more = os.read(reader, 1 << 16)
                    data += more
                    if not more:
                        break
            except OSError as error:  # of a terminal that nobody has open any more
                self.assertEqual(error.errno, errno.EIO)
            os.close(reader)
        return re.sub(r"\d+\.\d+s", "TIMEs", data.decode().replace("\r\n", "\n"))

    def resize(self, terminal, rows, columns):
        import fcntl
        import struct
        import termios

        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def test_is_there_on_a_terminal_alone_and_gone_when_something_is_printed(self):
        self.write(test_live=SUITE)
        runs = (["--isolate"], False), (["--isolate"], True), (["--jobs", "2"], True)
        one, one_live, two_live = at_once(self.said, runs)
        self.assertIn("on stdout, \x1b[1min bold\x1b[0m\non stderr\nno end in \xfc\u6f22\u5b57 e\u0301\tthe end\n", one)
        self.assertNotIn("\x1b[K", one)
        for live in one_live, two_live:
            self.assertRegex(live, rf"\n0/2  1 running: test_live\.Case\.test_1 0\.\d s of 10 s{GONE}")
            self.assertRegex(live, r"\u0301\t\n[^\n]*\r\x1b\[K\x1b\[A\x1b\[24C")
            left = re.sub(rf"\n{LINE}{GONE}\x1b\[A\x1b\[\d+C", "", live)
            left = re.sub(LINE + GONE, "", left)
            self.assertEqual(re.sub(STYLE, "", left), re.sub(STYLE, "", one))
            if sys.version_info >= (3, 14):
                self.assertRegex(left, rf"{STYLE}ok{STYLE}\n")

    def test_goes_back_to_where_the_cursor_was(self):
        live = import_module(f"{package.__name__}.isolation.live")
        gone, up = "\r\x1b[K", "\x1b[A"
        told = {
            **{"": gone, "a line\n": gone, " 50%": f"{gone}{up}\x1b[4C", " 50%\r": gone + up, "\n\r": gone},
            **{"ab\b": f"{gone}{up}\x1b[1C", "\x1b[2K\x1b[1mab\x1b[0m": f"{gone}{up}\x1b[2C"},
            "a\0\a": f"{gone}{up}\x1b[1C",
        }
        for text, back in told.items():
            stdout, stderr = io.StringIO(), io.StringIO()
            system = mock.Mock(get_terminal_size=lambda number: (80, 25))
            stderr.fileno = lambda: 2
            with mock.patch.multiple(sys, stdout=stdout, stderr=stderr), mock.patch.object(live, "system", system):
                line = live.Line()
                sys.stderr.write(text)
                line.show("it runs")
                line.close()
            shown = "\n" * (up in back) + "it runs"
            self.assertEqual(stderr.getvalue(), text + shown + back, repr(text))

    def test_is_one_line_whatever_the_name_of_a_test(self):
        live = import_module(f"{package.__name__}.isolation.live")
        worker = mock.Mock(at=("test", "a\n\x1b[2J", 0), began=0.0, due=live.INFINITY)
        self.assertIn(r"1 running: a\n\x1b[2J ", live.told_of("1/2", [worker]))


if __name__ == "__main__":
    unittest.main()
