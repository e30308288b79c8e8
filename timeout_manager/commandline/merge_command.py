"""The command `merge`: one report of the reports of shards, or of runs of different suites.

It runs nothing. Times are counted from the beginning of each shard: they have run at the same time.
"""

from __future__ import annotations

import sys

from ..testing.limits import Limits
from ..testing.report_files import OUTCOMES, Reports
from .of_reports import load, parsed, telling
from .screen import USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

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

Exit status: 0 if all tests ended well; 1 if some did not; {USAGE} if a file cannot be read, or a shard is missing or
given twice.
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Write the files; exit with 0, 1 if something did not end well, 2 if a report or an option is bad."""
    with telling(program, OPTIONS):
        options, paths = parsed(arguments, OPTIONS, usage(program))
        shards = in_order([_read(path) for path in paths])
        files = {name[2:].replace("-", "_"): path for name, path in options.items()}
        reports = Reports(Limits(), **files)
    left = {name: LEFT for shard in shards for name in shard["not run"] or ()}
    reports.rewrite([entry for shard in shards for entry in shard["tests"]])
    reports.close(left)
    counts = [f"{reports.counts[name]} {name}" for name in OUTCOMES if reports.counts[name]]
    print(", ".join(counts + [f"{len(left)} not run"] * bool(left)) or "no tests")
    sys.exit(int(bool(left) or any(count for name, count in reports.counts.items() if name not in WELL)))


def _read(path: str) -> dict[str, Any]:
    """Return a report; ValueError if it is none."""
    report: Any = load(path)
    try:
        if all(each["outcome"] in OUTCOMES and each["id"] and each["kind"] for each in report["tests"]):
            report["not run"]
            return report  # type: ignore[no-any-return]
    except (KeyError, TypeError):
        pass
    raise ValueError(f"{path} is not a report of `unittest --report`")


def in_order(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the reports in the order of their shards; ValueError if one is missing, or there twice."""
    parts = [report["shard"] for report in reports if report.get("shard")]
    if not parts:
        return list(reports)
    totals = {part["total"] for part in parts}
    if len(parts) < len(reports) or len(totals) > 1:
        raise ValueError("these are not the shards of one run")
    found = sorted(part["index"] for part in parts)
    for index in range(1, totals.pop() + 1):
        if found.count(index) != 1:
            raise ValueError(f"shard {index} is {'missing' if index not in found else 'given twice'}")
    return sorted(reports, key=lambda report: report["shard"]["index"])
