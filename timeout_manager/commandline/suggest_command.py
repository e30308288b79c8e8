"""The command `suggest`: limits for tests and phases, from the ledgers of earlier runs.

A ledger is what ``unittest --report`` or ``run --report`` has written, or ``as_dict()`` of a manager as JSON. A limit
is the larger of three times the 99th percentile and two and a half times the maximum, rounded up. The percentile is
that of the nearest rank: a time that really occurred, and with fewer than 100 runs the longest.

It runs nothing and changes nothing, and cannot tell whether a run was green as a whole: a phase is ``done`` also where
the command in it had an exit status of 7.
"""

from __future__ import annotations

import sys
from collections import Counter

from ..seconds import path as line, text
from .of_reports import load, parsed, telling
from .screen import USAGE, show
from .shape import Seconds, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

OPTIONS = ["all", "help"]
NOTHING = 1  # exit status
ENTRIES: dict[str, Any] = {
    "tests": {"id": str, "outcome": str, "elapsed": Seconds},
    "phases": {"path": [str], "outcome": str, "elapsed": Seconds},
}
ENDED_WELL = "passed", "expected failure", "done"
OF_PERCENTILE, OF_LONGEST = 3.0, 2.5
STEPS = 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45  # seconds, minutes or hours
LISTED = 20  # rows at least, even if the smallest limit is enough for all


def usage(program: str) -> str:
    return f"""usage: {program} [--all] REPORT.json...

Read the report files of earlier runs that passed, and print a limit for each test or phase: 3 times the 99th percentile
or 2.5 times the maximum, whichever is greater, rounded up to {", ".join(f"{step:g}" for step in STEPS[:6])} and so on.
Such a file is what `unittest --report` or `run --report` has written, or as_dict() of a manager as JSON.

      --all  list all of them; otherwise, after {LISTED} lines, those for which {STEPS[0]} s is enough share one

runs  how often it ended well, in all files together; runs that did not end well are counted and left out
p99   the 99th percentile by nearest rank; with fewer than 100 runs this is the maximum
max   the longest time; that of a test is setUp, the test, tearDown and the cleanups together

No limit is smaller than {STEPS[0]} s: below that, what else the machine is doing matters more.

to copy:
  {program} monday.json tuesday.json
  {program} --all build.json

Exit status: 0 if there are limits; {NOTHING} if nothing ended well; {USAGE} if a file cannot be read or an option is
wrong.
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Print the limits; exit with 0, 1 if there is nothing to go by, 2 if a report or an option is bad."""
    with telling(program, OPTIONS):
        options, paths = parsed(arguments, OPTIONS, usage(program))
        entries = [entry for path in paths for entry in read(path)]
    times: dict[tuple[bool, str], list[float]] = {}
    left_out: Counter[str] = Counter()
    for of_suite, name, outcome, elapsed in entries:
        if outcome in ENDED_WELL:
            times.setdefault((of_suite, name), []).append(elapsed)
        else:
            left_out[outcome] += 1
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in left_out.items())
    reports = f"{len(paths)} report" + "s" * (len(paths) > 1)
    if not times:
        print(f"{program}: nothing has ended well in {reports} ({outcomes or 'they are empty'})", file=sys.stderr)
        sys.exit(NOTHING)
    lines = [*table(times, "--all" in options), f"From {reports}."]
    if outcomes:
        lines[-1] += f" Left out, as they have not ended well: {outcomes}."
    limits = [suggestion(each)[0] for (of_suite, _), each in times.items() if of_suite]
    if limits:
        lines.append(f"For all tests, fixtures and imports together: --timeout {max(limits):g}")
    show("\n".join([*lines, ""]))


def read(path: str) -> Iterator[tuple[bool, str, str, float]]:
    """Yield of every entry whether it is one of a unittest run, its name, its outcome and its seconds.

    ValueError names the file, the value, and what is wrong with it.
    """
    ledger = load(path)
    found = [kind for kind in ENTRIES if isinstance(ledger, dict) and isinstance(ledger.get(kind), list)]
    if not found:
        raise ValueError(f'{path} is not a report: it must be an object with a list "tests" or "phases"')
    kind = found[0]
    check(ledger, {kind: [ENTRIES[kind]]}, f"{path}:")
    for entry in ledger[kind]:
        names = [entry["id"]] if kind == "tests" else entry["path"]
        name = "import " * (entry.get("kind") == "import") + line(names)
        yield kind == "tests", name, entry["outcome"], entry["elapsed"]


def table(times: dict[tuple[bool, str], list[float]], every: bool) -> list[str]:
    """Return a head and a line for each, the largest limit first; one for all after `LISTED` if 1 s is enough."""
    rows = [(*suggestion(each), len(each), name) for (_, name), each in times.items()]
    rows.sort(key=lambda row: (row[0], row[2]), reverse=True)
    shown = len(rows) if every else max(LISTED, sum(row[0] > STEPS[0] for row in rows))
    others = rows[shown:]
    if others:
        limits, percentiles, longest, runs, _ = zip(*others)
        name = f"{len(others)} more (fewest runs, longest times; --all lists them)"
        rows[shown:] = [(max(limits), max(percentiles), max(longest), min(runs), name)]
    lines = [f"{'limit':>8}  {'runs':>5}  {'p99':>10}  {'max':>10}  name"]
    for limit, percentile, most, count, name in rows:
        lines.append(f"{f'{limit:g} s':>8}  {count:5}  {text(percentile):>10}  {text(most):>10}  {name}")
    return lines


def suggestion(times: list[float]) -> tuple[float, float, float]:
    """Return a limit, the 99th percentile and the maximum."""
    ordered = sorted(times)
    percentile, longest = ordered[-(-99 * len(ordered) // 100) - 1], ordered[-1]
    return rounded(max(OF_PERCENTILE * percentile, OF_LONGEST * longest)), percentile, longest


def rounded(seconds: float) -> float:
    """Return the next larger amount that a person would write."""
    unit = 1
    while True:
        for step in STEPS:
            if step * unit >= seconds:
                return step * unit
        unit *= 60
