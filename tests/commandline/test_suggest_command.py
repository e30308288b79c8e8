"""``python -m timeout_manager suggest``: limits from the ledgers of earlier runs."""

import importlib
import json
import os
import time
import unittest

from .. import package
from ..helpers.clock import FakeClock
from ..helpers.command import Directory

suggest = importlib.import_module(package.__name__ + ".commandline.suggest_command")

SUITE = """
    import time
    import unittest

    class Some(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            pass

        def test_slow(self):
            time.sleep(0.4)

        def test_fast(self):
            pass

        def test_wrong(self):
            self.fail()

        def test_hung(self):
            time.sleep(60)

        @unittest.skip("not here")
        def test_skipped(self):
            time.sleep(60)

        @unittest.expectedFailure
        def test_expected(self):
            self.fail()
"""


def test(name, elapsed, outcome="passed", kind="test"):
    return {"id": name, "kind": kind, "outcome": outcome, "elapsed": elapsed}


def phase(path, elapsed, outcome="done"):
    return {"path": path.split("/"), "outcome": outcome, "elapsed": elapsed}


class Figures(unittest.TestCase):
    def test_few_runs_have_their_maximum_for_percentile(self):
        for count in 1, 2, 50, 99:
            self.assertEqual(suggest.suggestion(range(1, count + 1))[1:], (count, count))

    def test_from_a_hundred_on_it_is_the_nearest_rank(self):
        for count, rank in (100, 99), (101, 100), (199, 198), (200, 198), (201, 199), (1000, 990):
            self.assertEqual(suggest.suggestion(range(1, count + 1))[1:], (rank, count))

    def test_the_order_of_the_runs_does_not_matter(self):
        self.assertEqual(suggest.suggestion([3, 9, 1]), suggest.suggestion([9, 1, 3]))

    def test_three_times_the_percentile(self):
        self.assertEqual(suggest.suggestion([10.0])[0], 30)
        self.assertEqual(suggest.suggestion([10.0] * 99 + [12.0])[0], 30)

    def test_or_two_and_a_half_times_the_maximum(self):
        self.assertEqual(suggest.suggestion([10.0] * 99 + [12.1])[0], 45)
        self.assertEqual(suggest.suggestion([1.0] * 999 + [40.0])[0], 120)

    def test_what_a_person_would_write(self):
        for seconds, limit in (
            *((0.0, 1), (0.99, 1), (1.0, 1), (1.01, 1.5), (1.5, 1.5), (1.6, 2), (2.5, 3), (7, 8), (9, 10), (11, 15)),
            *((31, 45), (46, 60), (61, 90), (91, 120), (301, 360), (599, 600), (1801, 2700), (3599, 3600)),
            *((3601, 5400), (7201, 10800), (36001, 54000)),
        ):
            self.assertEqual(suggest.rounded(seconds), limit, seconds)

    def test_never_less_and_at_most_half_as_much_again(self):
        seconds = 1.0
        while seconds < 1e305:
            limit = suggest.rounded(seconds)
            self.assertTrue(seconds <= limit <= 1.5 * seconds, seconds)
            seconds *= 1.37 if seconds < 1e12 else 1370


class Ledgers(Directory):
    def save(self, name, **ledger):
        with open(self.path(name), "w") as file:
            json.dump(ledger, file)
        return self.path(name)

    def go(self, *arguments):
        return self.call(suggest.main, "suggest", *arguments)

    def rows(self, *arguments):
        """Return limit and runs by name, in the order of the table."""
        status, text = self.go(*arguments)
        self.assertEqual(status, 0, text)
        lines = [line.split(None, 7) for line in text.splitlines() if line.startswith(" ")]
        return {name: (f"{limit} {unit}", int(runs)) for limit, unit, runs, _, _, _, _, name in lines[1:]}

    def test_the_table(self):
        one = self.save("1.json", tests=[test("m.T.a", 0.25), test("m.T.b", 12.3)])
        two = self.save("2.json", tests=[test("m.T.a", 0.35), test("m.T.b", 11.0)])
        self.assertEqual(
            self.go(one, two),
            (
                0,
                "   limit   runs         p99         max  name\n"
                "    45 s      2     12.30 s     12.30 s  m.T.b\n"
                "   1.5 s      2     0.350 s     0.350 s  m.T.a\n"
                "From 2 reports.\n"
                "For all tests, fixtures and imports together: --timeout 45\n",
            ),
        )

    def test_what_has_not_ended_well_is_left_out_and_counted(self):
        outcomes = "failed", "error", "timeout", "skipped", "unexpected success", "interrupted", "running", "failed"
        bad = [test("m.T.a", 99.0, outcome) for outcome in outcomes]
        path = self.save("r.json", tests=[*bad, test("m.T.a", 1.0), test("m.T.a", 2.0, "expected failure")])
        self.assertEqual(self.rows(path), {"m.T.a": ("6 s", 2)})
        self.assertIn(
            "Left out, as they have not ended well: 2 failed, 1 error, 1 timeout, 1 skipped, "
            "1 unexpected success, 1 interrupted, 1 running.",
            self.go(path)[1],
        )

    def test_fixtures_and_imports_have_limits_too(self):
        tests = test("m", 9.0, kind="import"), test("setUpClass (m.T)", 2.0, kind="fixture"), test("m.T.a", 1.0)
        path = self.save("r.json", tests=tests)
        expected = {"import m": ("30 s", 1), "setUpClass (m.T)": ("6 s", 1), "m.T.a": ("3 s", 1)}
        self.assertEqual(self.rows(path), expected)
        self.assertIn("--timeout 30\n", self.go(path)[1])

    def test_phases_are_known_by_their_path_and_count_as_often_as_they_occur(self):
        phases = [phase("build", 5), phase("build/compile", 1), phase("build/compile", 2), phase("compile", 20)]
        path = self.save("r.json", phases=phases)
        expected = {"compile": ("60 s", 1), "build": ("15 s", 1), "build > compile": ("6 s", 2)}
        self.assertEqual(self.rows(path), expected)
        self.assertNotIn("--timeout", self.go(path)[1])

    def test_the_same_name_of_a_test_and_of_a_phase(self):
        one, two = self.save("1.json", tests=[test("a", 2)]), self.save("2.json", phases=[phase("a", 20)])
        status, text = self.go(one, two)
        self.assertEqual([line.split()[0] for line in text.splitlines()[1:3]], ["60", "6"])
        self.assertIn("For all tests, fixtures and imports together: --timeout 6\n", text)

    def test_the_largest_limit_is_first_then_the_longest_then_the_order_of_appearance(self):
        tests = [test("d", 0.1), test("e", 0.1), test("c", 0.2), test("a", 7.0), test("b", 6.8)]
        self.assertEqual(list(self.rows(self.save("r.json", tests=tests))), ["a", "b", "c", "d", "e"])

    def test_many_fast_tests_are_one_line(self):
        fast = [test(f"fast{number}", 0.001 * number) for number in range(300)]
        path = self.save("r.json", tests=[*fast, test("slow", 2)])
        rows = self.rows(path)
        self.assertEqual(list(rows), ["slow", *(f"fast{number}" for number in range(299, 280, -1)), list(rows)[-1]])
        self.assertRegex(list(rows)[-1], "^281 more .*--all")
        self.assertIn(f"{'1 s':>8}  {1:5}  {'0.280 s':>10}  {'0.280 s':>10}  281 more (", self.go(path)[1])
        self.assertEqual(len(self.rows(path, "--all")), 301)

    def test_what_needs_more_is_always_listed(self):
        path = self.save("r.json", tests=[test(f"t{number}", 0.5) for number in range(60)] + [test("fast", 0)])
        rows = self.rows(path)
        self.assertEqual(len(rows), 61)
        self.assertIn("1 more", list(rows)[-1])

    def test_a_name_that_would_break_the_table(self):
        path = self.save("r.json", phases=[phase("two\nlines", 1), phase("not \udcff text", 1), phase("größe", 1)])
        self.assertEqual(set(self.rows(path)), {r"two\nlines", r"not \udcff text", "größe"})

    def test_a_file_that_is_given_twice_counts_once(self):
        path = self.save("r.json", phases=[phase("a", 1)])
        self.assertEqual(self.rows(path, path), {"a": ("3 s", 1)})

    def test_a_file_as_some_shells_write_it(self):
        for encoding in "utf-8-sig", "utf-16":
            with open(self.path("r.json"), "w", encoding=encoding) as file:
                file.write(json.dumps({"phases": [phase("a", 1)]}))
            self.assertEqual(self.rows(self.path("r.json")), {"a": ("3 s", 1)})

    def test_nothing_to_go_by(self):
        path = self.save("r.json", tests=[test("a", 1, "timeout"), test("b", 1, "skipped")])
        self.assertEqual(self.go(path), (1, "suggest: nothing has ended well in 1 report (1 timeout, 1 skipped)\n"))
        paths = self.save("1.json", tests=[]), self.save("2.json", phases=[])
        self.assertEqual(self.go(*paths), (1, "suggest: nothing has ended well in 2 reports (they are empty)\n"))

    def test_what_is_wrong_with_a_file_is_said(self):
        good = self.save("good.json", tests=[test("a", 1)])
        for text, message in {
            "": "is not JSON: ",
            '{"tests": [{"id": "a", "kind"': "is not JSON: ",
            "[" * 100000: "is not JSON: ",
            "\0": "is not JSON: ",
            "[]": 'is not a report: it must be an object with a list "tests" or "phases"',
            '{"tests": {}}': "is not a report",
            '{"traceEvents": []}': "is not a report",
            '{"format": 99, "tests": []}': '"format" must be 1, not 99',
            '{"tests": [7]}': '"tests"[0] must be an object, not 7',
            '{"phases": [{"outcome": "done", "elapsed": 1}]}': '"phases"[0] "path" must be a list, not None',
            '{"phases": [{"path": ["a", 7], "outcome": "done", "elapsed": 1}]}': '"path"[1] must be a text, not 7',
            '{"tests": [{"id": 7, "outcome": "passed", "elapsed": 1}]}': '"tests"[0] "id" must be a text, not 7',
            '{"tests": [{"id": "a", "outcome": null, "elapsed": 1}]}': '"outcome" must be a text, not None',
            '{"tests": [{"id": "a", "outcome": "passed"}]}': '"elapsed" must be seconds, not None',
            **{
                f'{{"tests": [{{"id": "a", "outcome": "passed", "elapsed": {value}}}]}}': '"tests"[0] "elapsed" must '
                f"be seconds, not {shown}"
                for value, shown in (
                    *(("-1", "-1"), ("true", "True"), ('"2"', "'2'"), ("NaN", "nan"), ("1e999", "inf")),
                    ("1e305", "1e+305"),
                )
            },
        }.items():
            with open(self.path("bad.json"), "w") as file:
                file.write(text)
            status, said = self.go(good, self.path("bad.json"))
            self.assertEqual(status, 2, text[:100])
            self.assertIn(f"suggest: error: {self.path('bad.json')}", said)
            self.assertIn(message, said)
            self.assertEqual(said.count("\n"), 1, said)

    def test_what_is_wrong_with_the_arguments_is_said(self):
        self.assertEqual(self.go(), (2, "suggest: error: REPORT.json is needed; see --help\n"))
        said = "suggest: error: option --al1 not recognized; did you mean --all?\n"
        self.assertEqual(self.go("--al1", "r.json"), (2, said))
        missing = self.path("missing.json")
        expected = f"suggest: error: {missing} cannot be read: {os.strerror(2)}\n"
        self.assertEqual(self.go(missing), (2, expected))
        self.assertRegex(self.go(self.directory)[1], "cannot be read: ")

    def test_help(self):
        status, text = self.go("--help")
        self.assertEqual(status, 0)
        self.assertIn("usage: suggest [--all] REPORT.json...", text)
        self.assertLess(max(map(len, text.splitlines())), 121)

    def test_the_ledger_of_a_manager(self):
        clock = FakeClock()
        manager = package.TimeoutManager(60, clock=clock)
        for _ in range(2):
            with manager.timed_operation("build"):
                with manager.timed_operation("compile"):
                    clock.advance(2)
                clock.advance(1)
        with self.assertRaises(ZeroDivisionError):
            with manager.timed_operation("run"):
                raise ZeroDivisionError
        with manager.timed_operation("open"):
            path = self.save("r.json", **manager.as_dict())
        self.assertEqual(self.rows(path), {"build": ("10 s", 2), "build > compile": ("6 s", 2)})
        self.assertIn("Left out, as they have not ended well: 1 failed, 1 running.", self.go(path)[1])


class Commands(Directory):
    def suggest(self, *arguments):
        return self.end(self.start("suggest", *arguments))

    def test_reports_of_unittest(self):
        self.write(suite=SUITE)
        runs = [self.start("unittest", "--timeout", "1", "--report", name, "suite") for name in ("1.json", "2.json")]
        for ran in map(self.end, runs):
            self.assertEqual(ran.status, 1, ran.stderr)
        ran = self.suggest("1.json", "2.json")
        self.assertEqual((ran.status, ran.stderr), (0, ""))
        head, slow, *lines = ran.stdout.splitlines()
        self.assertRegex(slow, r"^ +(1\.5|2|3) s +2 +0\.\d\d\d s +0\.\d\d\d s  suite\.Some\.test_slow$")
        names = {line.rpartition("  ")[2] for line in lines[:-2]}
        fast = {"suite.Some.test_fast", "suite.Some.test_expected", "setUpClass (suite.Some)"}
        self.assertEqual(names - {"import suite"}, fast)
        self.assertEqual(
            lines[-2], "From 2 reports. Left out, as they have not ended well: 2 timeout, 2 skipped, 2 failed."
        )
        self.assertRegex(lines[-1], r"^For all tests, fixtures and imports together: --timeout (1\.5|2|3)$")

    def test_the_report_of_a_run_that_was_killed(self):
        self.write(suite=SUITE)
        process = self.start("unittest", "--report", "r.json", "suite.Some.test_fast", "suite.Some.test_hung")
        text = ""
        while '.test_hung", "kind": "test", "outcome": "running"' not in text and process.poll() is None:
            time.sleep(0.02)
            if os.path.exists(self.path("r.json")):
                with open(self.path("r.json")) as file:
                    text = file.read()
        process.kill()
        self.end(process)
        ran = self.suggest("r.json")
        self.assertEqual((ran.status, ran.stderr), (0, ""))
        self.assertIn("1 running.\n", ran.stdout)
        self.assertIn("suite.Some.test_fast\n", ran.stdout)

    def test_the_report_of_a_command(self):
        ran = self.end(self.start("run", "--report", "r.json", "--phase", "build", "60", "true"))
        self.assertEqual(ran.status, 0, ran.stderr)
        ran = self.suggest("r.json")
        self.assertEqual((ran.status, ran.stderr), (0, ""))
        self.assertRegex(ran.stdout, r" [\d.]+ s +1 .*  build\nFrom 1 report\.\n$")

    def test_a_name_that_the_output_cannot_show(self):
        with open(self.path("r.json"), "w") as file:
            json.dump({"tests": [test("größe", 1)]}, file)
        ran = self.end(self.start("suggest", "r.json", PYTHONIOENCODING="ascii"))
        self.assertEqual((ran.status, ran.stderr), (0, ""))
        self.assertIn("  gr\\xf6\\xdfe\n", ran.stdout)

    def test_a_reader_that_has_seen_enough(self):
        with open(self.path("r.json"), "w") as file:
            json.dump({"tests": [test("name" * 20 + str(number), 1) for number in range(2000)]}, file)
        process = self.start("suggest", "r.json")
        self.assertIn("limit", process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()
        self.assertEqual((process.wait(60), said), (0, ""))

    def test_it_is_in_the_help(self):
        self.assertIn("  suggest  ", self.end(self.start("--help")).stdout)


if __name__ == "__main__":
    unittest.main()
