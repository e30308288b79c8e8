"""``python -m timeout_manager merge``: one report of several."""

import importlib
import json
import unittest

from .. import package
from ..helpers.command import Directory

merge = importlib.import_module(package.__name__ + ".commandline.merge_command")


SUITE = """
    import os, sys, unittest
    class A(unittest.TestCase):
        def test_a(self): pass
    class B(unittest.TestCase):
        @classmethod
        def setUpClass(cls): {}
        def test_b(self): pass
    class C(unittest.TestCase):
        def test_c(self): {}
"""


class Merge(Directory):
    def save(self, name, *tests, kind="test", shard=None):
        how = {"kind": kind, "outcome": "passed", "started": 0, "elapsed": 1, "phases": [], "text": "", "diagnosis": ""}
        report = {"format": 1, "tests": [{"id": each, **how} for each in tests], "not run": []}
        if shard is not None:
            report["shard"] = {"index": shard, "total": 2, "tests": len(tests), "of": 2}
        return self.dump(name, report)

    def dump(self, name, report):
        with open(self.path(name), "w") as file:
            json.dump(report, file)
        return self.path(name)

    def load(self, path):
        with open(path) as file:
            return json.load(file)

    def merge(self, *arguments):
        return self.call(merge.main, "merge", *arguments)

    def test_refuses_two_files_that_tell_of_the_same_test(self):
        for shards in (None, None), (1, 2):
            one = self.save("1.json", "m.T.a", "m.T.b", shard=shards[0])
            two = self.save("2.json", "m.T.c", "m.T.b", "m.T.a", shard=shards[1])
            expected = 2, f"merge: error: {one} and {two} both tell of m.T.b\n"
            self.assertEqual(self.merge(one, two, "--report", self.path("all.json")), expected)
            self.assertIsNone(self.read("all.json"))

    def test_names_both_files_of_a_shard_that_is_given_twice(self):
        one, again = self.save("1.json", "m.T.a", shard=1), self.save("again.json", "m.T.a", shard=1)
        two = self.save("2.json", "m.T.b", shard=2)
        self.assertEqual(self.merge(one, two, again), (2, f"merge: error: shard 1 is given twice: {one} and {again}\n"))
        self.assertEqual(self.merge(one), (2, "merge: error: shard 2 is missing\n"))

    def test_counts_a_file_that_is_given_twice_once(self):
        one = self.save("1.json", "m.T.a")
        self.assertEqual(self.merge(one, self.save("2.json", "m.T.b"), one), (0, "2 passed\n"))

    def test_counts_what_one_report_tells_twice_twice(self):
        self.assertEqual(self.merge(self.save("1.json", "m.T.a", "m.T.a")), (0, "2 passed\n"))

    def test_takes_imports_and_fixtures_from_all(self):
        for kind in "import", "fixture":
            one, two = self.save("1.json", "m", kind=kind), self.save("2.json", "m", kind=kind)
            self.assertEqual(self.merge(one, two, "--report", self.path("all.json")), (0, "no tests\n"))
            self.assertEqual(len(self.read("all.json")["tests"]), 2)

    def test_names_the_key_of_a_damaged_report_whose_value_is_of_another_form(self):
        good = self.load(self.save("r.json", "m.T.a", shard=1))
        phase = {"name": "test", "outcome": "done", "started": 0, "elapsed": 1, "limit": None, "group": 0}
        good["shard"].update(total=1, of=1)
        good["tests"][0]["phases"] = [phase]
        options = [f"--{each}={self.path(each)}" for each in ("report", "junit-xml", "trace", "html")]
        self.assertEqual(self.merge(self.dump("r.json", good), *options), (0, "1 passed\n"))
        del phase["limit"]
        self.assertEqual(self.merge(self.dump("r.json", good), *options), (0, "1 passed\n"))
        phase["limit"] = None
        damages = [
            *((["format"], each) for each in (99, "1", None)),
            *((["tests"], each) for each in ({}, None, 5, [5])),
            *((["not run"], each) for each in (5, "m.T.b", [5], {})),
            *((["shard"], each) for each in (5, [], {}, "1/1")),
            *((["shard", key], each) for key in good["shard"] for each in ([1], None, 1.5)),
            *((["tests", 0, key], each) for key in good["tests"][0] for each in ({}, None)),
            *((["tests", 0, key], each) for key in ("kind", "outcome") for each in ("new", [])),
            *((["tests", 0, key], each) for key in ("started", "elapsed") for each in ("1", float("nan"), 10**400)),
            *((["tests", 0, "phases", 0, key], []) for key in phase),
        ]
        for path, value in damages:
            report = json.loads(json.dumps(good))
            owner = report
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = value
            with self.subTest(path=path, value=value):
                status, said = self.merge(self.dump("r.json", report), *options)
                self.assertEqual(status, 2)
                self.assertRegex(said, f"^merge: error: {self.path('r.json')}: .*\"{path[-1]}\".* must be .*\n$")
        self.assertRegex(self.merge(self.dump("r.json", []))[1], r"r\.json: must be an object, not \[\]\n$")

    def test_refuses_a_shard_that_is_none_of_so_many(self):
        one, two, three = (self.save(f"{each}.json", f"m.T.{each}", shard=each) for each in (1, 2, 3))
        expected = 2, "merge: error: there is a shard whose index is not one of 1 to 2\n"
        self.assertEqual(self.merge(one, two, three), expected)

    def test_is_not_green_where_a_run_did_not_come_to_its_end(self):
        breaks_off = "breaks off after 1{} tests: its run was ended, or its disk was full"
        for shard, of in (None, ""), (1, " of 1"):
            one, two = self.save("1.json", "m.T.a", shard=shard), self.save("2.json", "m.T.b", shard=shard and 2)
            self.assertEqual(self.merge(one, two), (0, "2 passed\n"))
            self.dump("1.json", {**self.load(one), "not run": None})
            expected = 1, f"2 passed\n{one} {breaks_off.format(of)}\n"
            self.assertEqual(self.merge(one, two, "--report", self.path("all.json")), expected)
            self.assertIsNone(self.read("all.json")["not run"])
            expected = 1, f"2 passed\n{self.path('all.json')} breaks off after 2 tests: its run was ended, or"
            status, said = self.merge(self.path("all.json"))
            self.assertEqual((status, said[: len(expected[1])]), expected)

    def test_is_not_green_where_a_module_ran_nowhere(self):
        one, two = self.save("1.json", "m.T.a", shard=1), self.save("2.json", "m.T.b", shard=2)
        for ofs, told in (((3, 3), "3"), ((2, 3), "2 or 3")):
            for path, of in zip((one, two), ofs):
                report = self.load(path)
                report["shard"]["of"] = of
                self.dump(path, report)
            status, said = self.merge(one, two)
            expected = f"2 passed\nthe shards have 2 tests in all, the suite {told}: their runs began with other "
            self.assertEqual((status, said), (1, expected + "reports\n"))

    def test_is_green_where_a_fixture_has_skipped_tests_of_a_shard(self):
        one, two = self.save("1.json", "m.T.a", shard=1), self.save("2.json", shard=2)
        report = self.load(two)
        report["shard"]["tests"] = 1
        self.assertEqual(self.merge(one, self.dump(two, report)), (0, "1 passed\n"))

    def test_writes_the_version_of_the_format_into_each_file(self):
        files = "--report", "all.json", "--junit-xml", "junit.xml", "--trace", "trace.json"
        options = [each if each.startswith("--") else self.path(each) for each in files]
        self.assertEqual(self.merge(self.save("1.json", "m.T.a"), *options), (0, "1 passed\n"))
        self.assertEqual(self.read("all.json")["format"], 1)
        self.assertEqual(self.junit().find("properties/property").attrib, {"name": "format", "value": "1"})
        trace = self.read("trace.json")
        self.assertEqual(trace["otherData"], {"format": 1})
        self.assertEqual([each["name"] for each in trace["traceEvents"]], ["m.T.a"])

    def test_of_runs_that_were_ended_and_of_one_that_was_not(self):
        runs = {
            "skipped": ("raise unittest.SkipTest('')", "pass", 0, "2 passed"),
            "killed": ("pass", "os.kill(os.getpid(), 9)", 1, "2 passed, 1 running"),
            "exited": ("pass", "os._exit(0)", 1, "2 passed, 1 running"),
            "left": ("sys.exit(0)", "pass", 1, "1 passed, 1 error"),
        }
        self.write(**{name: SUITE.format(*run[:2]) for name, run in runs.items()})
        started = {name: self.start("unittest", "--shard=1/1", f"--report={name}.json", name) for name in runs}
        for name, (*_, status, first) in runs.items():
            ran = self.end(started[name], report=f"{name}.json")
            found, said = self.merge(self.path(f"{name}.json"))
            self.assertEqual((found, said.split("\n")[0]), (status, first), ran.stderr)
            self.assertIs("breaks off" in said, bool(status))


if __name__ == "__main__":
    unittest.main()
