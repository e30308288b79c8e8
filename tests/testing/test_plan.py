"""Which tests are run here, by whom, and in which order: units, shards, times of an earlier run."""

import os
import tempfile
import unittest
from importlib import import_module
from unittest.mock import patch

from .. import package

plan = import_module(f"{package.__name__}.testing.plan")
SUITE = [(f"{module}.Case.test_{number}", f"{module}.Case", module) for module in "abc" for number in (1, 2)]


def report(**seconds):
    """Return an earlier report: how long the tests of each module took, and the module itself to set up."""
    entries = [
        {"id": f"{module}.Case.test_{number}", "kind": "test", "outcome": "passed", "elapsed": each / 4}
        for module, each in seconds.items()
        for number in (1, 2)
    ]
    fixtures = [
        {"id": f"setUpModule ({module})", "kind": "fixture", "outcome": "passed", "elapsed": each / 2}
        for module, each in seconds.items()
    ]
    return {"tests": entries + fixtures}


class Order(unittest.TestCase):
    def order(self, jobs, report):
        """Return the modules in the order in which they begin."""
        units = plan.Plan(report).units(SUITE, range(6))
        return "".join(SUITE[plan.next_unit(units, jobs).left[0]][2] for _ in range(3))

    def test_is_that_of_the_suite_where_nothing_is_known(self):
        self.assertEqual(self.order(2, {}), "abc")

    def test_a_unit_that_takes_as_long_as_the_rest_shared_out_begins_first(self):
        self.assertEqual(self.order(2, report(a=1, b=1, c=2)), "cab")
        self.assertEqual(self.order(2, report(a=2, b=2, c=2)), "abc")
        self.assertEqual(self.order(3, report(a=1, b=1.5, c=2)), "cba")

    def test_a_new_test_is_taken_for_an_average_one(self):
        self.assertEqual(plan.Plan({}).seconds(SUITE, {"a.Case.test_1": 3.0, "b.Case.test_1": 1.0}), [3, 2, 1, 2, 2, 2])

    def test_of_a_report_that_is_none_nothing_is_known(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "report.json")
            for text in "", "[]", '{"tests": [1]}', '{"tests": [{"kind": "test"}]}':
                with open(path, "w") as file:
                    file.write(text)
                self.assertEqual(plan.earlier_report(path), {})
        self.assertEqual(plan.earlier_report(path), {})

    @unittest.skipUnless(os.path.exists("/dev/fd"), "this system has no paths of pipes")
    def test_a_pipe_is_not_read(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.write(writer, b"{}")
        os.close(writer)
        self.assertEqual(plan.earlier_report(f"/dev/fd/{reader}"), {})
        self.assertEqual(os.read(reader, 9), b"{}")


class Shards(unittest.TestCase):
    def shards(self, report, total):
        """Return the modules of each shard."""
        plans = [plan.Plan(report, plan.Shard(str(index), str(total), "--shard")) for index in range(1, total + 1)]
        return ["".join(sorted({SUITE[place][2] for place in each.mine(SUITE)})) for each in plans]

    def test_are_dealt_out_by_time_and_miss_nothing(self):
        self.assertEqual(sorted(self.shards({}, 2)), ["ac", "b"])
        self.assertEqual(sorted(self.shards(report(a=1, b=3, c=1), 2)), ["ac", "b"])
        self.assertEqual(sorted(self.shards(report(a=9, b=3, c=5), 2)), ["a", "bc"])
        self.assertEqual(sorted(self.shards(report(a=9, b=3, c=5), 4)), ["", "a", "b", "c"])

    def test_by_the_report_of_a_shard_are_not_dealt_out(self):
        known = {**report(a=9, b=3, c=5), "shard": {"index": 1, "total": 2}}
        self.assertEqual(self.shards(known, 2), self.shards({}, 2))

    def test_that_bazel_asks_for(self):
        with tempfile.TemporaryDirectory() as directory:
            status = os.path.join(directory, "status")
            variables = {"TEST_TOTAL_SHARDS": "3", "TEST_SHARD_INDEX": "2", "TEST_SHARD_STATUS_FILE": status}
            with patch.dict(os.environ, variables):
                shard = plan.shard_of(None)
                self.assertEqual((shard.index, shard.total, os.path.exists(status)), (3, 3, True))
                self.assertEqual(plan.shard_of("1/2").total, 2)
                for wrong in "3", "-1", "one", "":
                    with patch.dict(os.environ, TEST_SHARD_INDEX=wrong):
                        with self.assertRaisesRegex(ValueError, "TEST_SHARD_INDEX must be a number from 0, and"):
                            plan.shard_of(None)
        self.assertIsNone(plan.shard_of(None))

    def test_that_are_none(self):
        for wrong in "0/2", "3/2", "1", "1/", "/2", "a/b", "-1/2", "1/2/3", "1.0/2":
            with self.assertRaisesRegex(ValueError, "--shard must be a shard"):
                plan.shard_of(wrong)


if __name__ == "__main__":
    unittest.main()
