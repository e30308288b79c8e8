"""Which tests of a suite are run here, by whom, and in which order.

A unit is a run of tests of one module, so that the fixtures of the module run once. How long it takes is known from an
earlier run. A shard is what one of several machines has to run: each of them deals out the modules of the suite for
itself, and all come to the same, as long as they have the same suite and the same report, or none.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from itertools import groupby
from json import load

from ..originals import files, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

INDEX, TOTAL, STATUS_FILE = "TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS", "TEST_SHARD_STATUS_FILE"  # of Bazel


class Unit:
    """A run of tests, by their places in the suite: what is left of it, and what has come of the rest."""

    def __init__(self, tests: Iterable[int]) -> None:
        self.left = deque(tests)
        self.seconds = 0.0  # that it took the last time
        self.events: list[tuple[Any, ...]] = []  # which are not shown yet
        self.done = False


class Shard:
    """The part `index` of so many, counted from 1. ValueError with this refusal if there is none such."""

    def __init__(self, index: str, total: str, refusal: str) -> None:
        if not (index.isdecimal() and total.isdecimal() and 1 <= int(index) <= int(total)):
            raise ValueError(refusal)
        self.index, self.total = int(index), int(total)
        self.dealt = self.of = 0  # how many tests there are here, and in all

    def as_dict(self) -> dict[str, int]:
        return {"index": self.index, "total": self.total, "tests": self.dealt, "of": self.of}

    def deal(self, modules: Sequence[str], seconds: Sequence[float]) -> list[int]:
        """Return the places of the tests that are run here, given the module of each test and how long it takes.

        The longest module goes first, each to whoever has least; the order of the tests does not matter.
        """
        weights: Counter[str] = Counter()
        for module, weight in zip(modules, seconds):
            weights[module] += weight  # type: ignore[assignment]
        loads = [(0.0, 0, shard) for shard in range(1, self.total + 1)]
        mine: set[str] = set()
        for module, weight in sorted(weights.items(), key=lambda item: (-round(item[1], 6), item[0])):
            load, count, shard = min(loads)
            loads[shard - 1] = load + weight, count + 1, shard
            if shard == self.index:
                mine.add(module)
        places = [place for place, module in enumerate(modules) if module in mine]
        self.dealt, self.of = len(places), len(modules)
        return places


def shard_of(option: str | None) -> Shard | None:
    """Return the shard that an option or Bazel asks for, and tell Bazel that it is heard; ValueError or OSError."""
    status = os.environ.get(STATUS_FILE)
    total = os.environ.get(TOTAL)
    shard = None
    if option is not None:
        index, _, of = option.partition("/")
        shard = Shard(index, of, f"--shard must be a shard and how many there are, like 1/3, not {option!r}")
    elif total:
        index = os.environ.get(INDEX, "")
        refusal = f"{INDEX} must be a number from 0, and {TOTAL} a larger one, not {index!r} and {total!r}"
        shard = Shard(str(int(index) + 1) if index.isdecimal() else index, total, refusal)
    if status and shard is not None:
        system.close(system.open(status, system.O_CREAT | system.O_WRONLY, 0o666))
    return shard


class Plan:
    """The shard that is run here, and how long tests took; `report` is what an earlier run has written of them."""

    def __init__(self, report: Mapping[str, Any], shard: Shard | None = None) -> None:
        self.shard = shard
        whole = "shard" not in report  # otherwise others have another one, and would deal otherwise
        self._times = _times_of(report)
        self._dealt_by = self._times if whole else {}

    def seconds(self, tests: Sequence[tuple[str, str, str]], times: Mapping[str, float]) -> list[float]:
        """Return how long each of these tests takes, given its name, its class and its module.

        Fixtures count for the first test that they are for. A new test is taken for an average one.
        """
        left = Counter(times)
        usual = sum(times.get(name, 0.0) for name, _, _ in tests) / max(sum(name in times for name, _, _ in tests), 1)
        found = []
        for name, kind, module in tests:
            fixtures = [f"{each} ({owner})" for owner in (kind, module) for each in _FIXTURES]
            found.append(times.get(name, usual or 1.0) + sum(left.pop(each, 0.0) for each in fixtures))
        return found

    def mine(self, tests: Sequence[tuple[str, str, str]]) -> list[int]:
        """Return the places of the tests that are run here."""
        if self.shard is None:
            return list(range(len(tests)))
        return self.shard.deal([module for _, _, module in tests], self.seconds(tests, self._dealt_by))

    def units(self, tests: Sequence[tuple[str, str, str]], places: Iterable[int]) -> list[Unit]:
        """Return the runs of tests of one module."""
        units: list[Unit] = []
        seconds = self.seconds(tests, self._times) if self._times else [0.0] * len(tests)
        for _, run in groupby(places, lambda place: tests[place][2]):
            units.append(Unit(run))
            units[-1].seconds = sum(seconds[place] for place in units[-1].left)
        return units


_FIXTURES = "setUpClass", "setUpModule", "tearDownClass", "tearDownModule", "cleanup"


def next_unit(units: list[Unit], jobs: int) -> Unit:
    """Take the next one: the first, but for one that alone takes as long as all, shared out, would take."""
    longest = max(units, key=lambda unit: unit.seconds)
    share = sum(unit.seconds for unit in units) / jobs
    unit = longest if longest.seconds >= share > 0.0 else units[0]
    units.remove(unit)
    return unit


def _times_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return how long each test and fixture took, by its name; what ran more than once counts together."""
    times: Counter[str] = Counter()
    for entry in report.get("tests", ()):
        if entry["kind"] in ("test", "fixture") and entry["outcome"] != "running":
            times[entry["id"]] += entry["elapsed"]
    return dict(times)


def earlier_report(path: str | None) -> dict[str, Any]:
    """Return the report that is about to be replaced; an empty one if there is none, or it is something else."""
    if not (path and os.path.isfile(path)):  # a pipe would be waited for
        return {}
    try:
        with files.open(path, "rb") as file:
            report = load(file)
        Plan(report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return dict(report)
