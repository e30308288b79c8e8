"""Report files: whole after every write, also where the disk is full; and all of them, or none."""

import errno
import importlib
import os
import unittest

from .. import package
from ..helpers.command import Directory

report_files = importlib.import_module(package.__name__ + ".testing.report_files")
whole_file = importlib.import_module(package.__name__ + ".testing.whole_file")
limits = importlib.import_module(package.__name__ + ".testing.limits")

FILES = report_files.OPTIONS


class FullDisk:
    """The system, with room for so many bytes of each file."""

    def __init__(self, room):
        self.system, self.room = whole_file.system, room

    def __getattr__(self, name):
        return getattr(self.system, name)

    def write(self, number, data):
        left = self.room - self.lseek(number, 0, 1)
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.system.write(number, data[:left])


def entry(name, outcome="passed"):
    times = {"started": 0.0, "elapsed": 0.0 if outcome == "running" else 1.0}
    return {"id": name, "kind": "test", "outcome": outcome, **times, "phases": [], "text": "", "diagnosis": ""}


class AFullDisk(Directory):
    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, whole_file, "system", whole_file.system)
        self.addCleanup(setattr, whole_file, "tell", whole_file.tell)
        self.said = []
        whole_file.tell = self.said.append

    def reports(self, room):
        """Yield after each step of a run, which has room for so many bytes of each file."""
        whole_file.system = FullDisk(room)
        try:
            reports = report_files.Reports(limits.Limits(), {each: self.path(each[2:]) for each in FILES})
            yield
            for name in "m.T.a", "m.T.b":
                reports.tell_running([entry(name, "running")])
                yield
                reports.tell_ended([entry(name)])
                yield
            if room % 2:  # as with workers
                reports.rewrite([entry(f"m.T.{each}" * 9) for each in "cba"])
                yield
            reports.close({"m.T.d": "of Ctrl-C"})
            yield
        finally:
            whole_file.system = whole_file.system.system

    def test_leaves_what_has_fitted(self):
        told = set()
        for room in (*range(0, 2500, 13), 10**6):
            for _ in self.reports(room):
                report = self.read("report")
                told.add(report and len(report["tests"]))
                self.read("trace")
                if os.path.getsize(self.path("junit-xml")):
                    self.junit("junit-xml")
                with open(self.path("html")) as page:
                    self.assertIn(page.read()[-8:], ("", "</html>\n"))
        self.assertEqual(told, {None, 0, 1, 2, 3})
        self.assertIn("report cannot be written any more: ", self.said[0])
        self.assertEqual(report["not run"], ["m.T.d"])


class AFileThatCannotBeWritten(Directory):
    def test_leaves_the_others_as_they_were(self):
        with open(self.path("keep"), "w") as file:
            file.write('"earlier"' * 9)
        for name in FILES[1:]:
            with self.assertRaisesRegex(OSError, f"^{name} cannot be written: "):
                report_files.Reports(limits.Limits(), {"--report": self.path("keep"), name: self.directory})
        with open(self.path("keep")) as file:
            self.assertEqual(file.read(), '"earlier"' * 9)
        report_files.Reports(limits.Limits(), {"--report": self.path("keep"), "--html": self.path("html")}).close()
        self.assertEqual(self.read("keep")["tests"], [])


if __name__ == "__main__":
    unittest.main()
