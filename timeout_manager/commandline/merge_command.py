"""The command `merge`: one report of the reports of shards, or of runs of different suites.

It runs nothing. Times are counted from the beginning of each shard: they have run at the same time.
"""

from __future__ import annotations

import sys

from ..testing.limits import Limits
from ..testing.report_files import OUTCOMES, Reports
from .of_reports import load, parsed, telling
from .screen import USAGE
from .shape import REPORT, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    Report = dict[str, Any]

OPTIONS = ["report=", "junit-xml=", "trace=", "html=", "help"]
WELL = "passed", "skipped", "expected failure"
LEFT = "the shard that was to run it did not come to it"


def usage(program: str) -> str:
    return f"""usage: {program} REPORT.json... [--report FILE] [--junit-xml FILE] [--trace FILE] [--html FILE]

Merge the report files of shards (the parts of a suite that `unittest --shard I/N --report FILE` has run on several
machines), print what came of all tests, and write the files asked for.

to copy:
  {program} 1.json 2.json 3.json --junit-xml results.xml
  {program} 1.json 2.json 3.json --report all.json --html all.html

Exit status: 0 if all tests ended well; 1 if some did not, or did not run; {USAGE} if a file cannot be read, a shard is
missing, or two files tell of the same test.
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Write the files; exit with 0, 1 if something did not end well or is missing, 2 if an argument is bad."""
    with telling(program, OPTIONS):
        options, paths = parsed(arguments, OPTIONS, usage(program))
        found = {path: load(path) for path in paths}
        for path, report in found.items():
            check(report, REPORT, f"{path}:")
        shards = in_order(found)
        check_apart(found)
        reports = Reports(Limits(), options)
    left = {name: LEFT for shard in shards for name in shard.get("not run") or ()}
    reports.rewrite([entry for shard in shards for entry in shard["tests"]])
    missing = what_is_missing(found)
    reports.close(left, is_all=not missing)
    counts = [f"{reports.counts[name]} {name}" for name in OUTCOMES if reports.counts[name]]
    print(", ".join(counts + [f"{len(left)} not run"] * bool(left)) or "no tests", *missing, sep="\n")
    sys.exit(int(bool(left or missing) or any(count for name, count in reports.counts.items() if name not in WELL)))


def in_order(reports: Mapping[str, Report]) -> list[Report]:
    """Return the reports in the order of their shards; ValueError if one is missing, or there twice."""
    parts = {path: report["shard"] for path, report in reports.items() if report.get("shard")}
    if not parts:
        return list(reports.values())
    totals = {part["total"] for part in parts.values()}
    if len(parts) < len(reports) or len(totals) > 1:
        raise ValueError("these are not the shards of one run")
    total = totals.pop()
    for index in range(1, total + 1):
        paths = [path for path, part in parts.items() if part["index"] == index]
        if len(paths) != 1:
            raise ValueError(f"shard {index} is " + (f"given twice: {' and '.join(paths)}" if paths else "missing"))
    if len(parts) > total:
        raise ValueError(f"there is a shard whose index is not one of 1 to {total}")
    return sorted(reports.values(), key=lambda report: int(report["shard"]["index"]))


def what_is_missing(reports: Mapping[str, Report]) -> list[str]:
    """Say which runs have not come to their end; if all have, whether the shards make up the suite.

    A run that has come to its end may tell of fewer tests than its shard has: a fixture may skip them.
    """
    missing = []
    for path, report in reports.items():
        if report.get("not run") is None:
            told = sum(each["kind"] == "test" for each in report["tests"])
            of = f" of {report['shard']['tests']}" if report.get("shard") else ""
            missing.append(f"{path} breaks off after {told}{of} tests: its run was ended, or its disk was full")
    shards = [report["shard"] for report in reports.values() if report.get("shard")]
    dealt, suites = sum(shard["tests"] for shard in shards), {shard["of"] for shard in shards}
    if shards and not missing and suites != {dealt}:
        suite = " or ".join(map(str, sorted(suites)))
        missing.append(f"the shards have {dealt} tests in all, the suite {suite}: their runs began with other reports")
    return missing


def check_apart(reports: Mapping[str, Report]) -> None:
    """ValueError if two reports tell of the same test: which of them counts is not for us to say."""
    told: dict[str, str] = {}
    for path, report in reports.items():
        for name in [each["id"] for each in report["tests"] if each["kind"] == "test"]:
            first = told.setdefault(name, path)
            if first != path:
                raise ValueError(f"{first} and {path} both tell of {name}")
