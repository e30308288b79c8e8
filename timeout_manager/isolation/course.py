"""The course of a run whose tests are run by workers: what there is to run, and what has come of it."""

from __future__ import annotations

import sys

from ..originals import clock
from ..seconds import INFINITY
from ..testing.entry import Entry
from ..testing.plan import Unit
from ..testing.report_files import data_of
from ..testing.result import SETS_UP
from .hired import IDLE
from .showing import Showing, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..testing.limits import Limits
    from ..testing.plan import Plan
    from ..testing.report_files import Reports
    from .far import Result
    from .hired import Hired

LISTS = {"timeout": "timeouts", "crash": "crashes", "interrupted": "interruptions"}  # where an outcome is told
AGAIN = "it was not there when its module was loaded once more"
GIVEN_UP = "workers ended again and again before they came to one"


class Test:
    """A test as its parent knows it."""

    def __init__(self, name: list[Any], shown: str, kind: str, module: str) -> None:
        self.name: tuple[str, int] = (name[0], name[1])
        self.shown = shown
        self.names = name[0], kind, module


class Course:
    """What workers say comes to the methods of that name, ``on_...``; what they do not come to say is said here."""

    def __init__(self, limits: Limits, reports: Reports, plan: Plan) -> None:
        self.limits, self.reports, self.plan = limits, reports, plan
        self.tests: list[Test] = []
        self.is_listed = False
        self.is_bound = True  # there is a limit for one of the tests
        self.units: list[Unit] = []
        self.todo: list[Unit] = []
        self.mine: list[int] = []  # the places of the tests that are run here
        self.workers: list[Hired] = []
        self.result: Result
        self._numbers: dict[tuple[str, int], int] = {}
        self._imports: list[dict[str, Any]] = []
        self._failed: set[str] = set()  # classes and modules that could not be set up
        self._ended = 0  # tests

    def begin(self, result: Result, jobs: int) -> None:
        """Begin to run the tests that have been listed."""
        self.result = result
        tests = [test.names for test in self.tests]
        places = self.mine = self.plan.mine(tests)
        if jobs == 1:
            self.units = [Unit(places)] if places else []
        else:
            self.units = self.plan.units(tests, places)
        self.todo = list(self.units)
        self.showing = Showing(result, self.units)

    def order(self, unit: Unit) -> list[tuple[str, int]]:
        return [self.tests[number].name for number in unit.left]

    def load_again(self) -> None:
        """What has been told of imports comes once more."""
        if self._imports:
            self._imports.clear()
            self.reports.rewrite([])

    # -- what workers say

    def hear(self, worker: Hired) -> None:
        for name, *told in worker.read():
            getattr(self, f"on_{name}")(worker, *told)

    def on_hello(self, worker: Hired, number: int) -> None:
        worker.signal = number

    def on_tests(self, worker: Hired, tests: list[list[Any]], is_bound: bool) -> None:
        self.tests = [Test(*test) for test in tests]
        self._numbers = {test.name: number for number, test in enumerate(self.tests)}
        self.is_listed, self.is_bound = True, is_bound

    def on_next(self, worker: Hired, is_stopped: bool) -> None:
        unit, worker.unit = worker.unit, None
        worker.state = "ready"
        self.on_idle(worker)
        if unit is not None:
            if is_stopped:
                unit.events.append(("stop",))
            unit.done = True

    def on_idle(self, worker: Hired) -> None:
        worker.at, worker.due = IDLE, INFINITY

    def on_unloaded(self, worker: Hired, status: int) -> None:
        worker.unloaded = status

    def on_over(self, worker: Hired) -> None:
        worker.state = "over"

    def on_due(self, worker: Hired, due: float | None, part: str, limit: str, seconds: float | None) -> None:
        worker.due, worker.part, worker.limit, worker.seconds = due or INFINITY, part, limit, seconds

    def on_started(self, worker: Hired) -> None:
        worker.has_line = True
        worker.uncounted += 1

    def on_at(self, worker: Hired, kind: str, name: str, test: list[Any] | None, began: float) -> None:
        number = None if test is None else self._numbers.get((test[0], test[1]))
        worker.at, worker.due, worker.has_line = (kind, name, number), INFINITY, False
        worker.began = began
        left = worker.unit.left if worker.unit is not None else ()
        if number is not None and number in left:
            while worker.unit.left.popleft() != number:  # type: ignore[union-attr]
                pass
        self._tell_running()

    def on_ended(self, worker: Hired, entry: dict[str, Any]) -> None:
        worker.last = entry["id"]
        self.on_idle(worker)
        if worker.unit is not None:
            self._note(worker, entry)
        elif worker.is_lister and not self.is_listed:
            self._imports.append(entry)
            self.reports.tell_ended([entry])

    def on_written(self, worker: Hired, *sizes: int) -> None:
        written = worker.written(*sizes)
        if worker.unit is not None:
            worker.unit.events.append(("write", *written))
        elif worker.is_lister or worker.state != "loading":  # otherwise the lister has written the same
            write(*written)

    def on_missing(self, worker: Hired, names: list[list[Any]]) -> None:
        for name, _ in names:
            worker.unit.events.append(("leave", name, AGAIN))  # type: ignore[union-attr]

    def on_interrupted(self, worker: Hired) -> None:
        self.result.interrupted = True

    def on_told(self, worker: Hired, *told: Any) -> None:
        self._add(worker, "tell", *told)

    def on_took(self, worker: Hired, *told: Any) -> None:
        self._add(worker, "took", *told)

    def on_counted(self, worker: Hired, name: str, more: int) -> None:
        worker.uncounted -= more * (name == "testsRun")
        self._add(worker, "count", name, more)

    def on_failed(self, worker: Hired, owner: str, why: str) -> None:
        self._failed.add(owner)
        self._add(worker, "fail", owner, why)

    def on_slow(self, worker: Hired, line: str) -> None:
        sys.stderr.write(line)
        sys.stderr.flush()

    def _add(self, worker: Hired, *event: Any) -> None:
        if worker.unit is not None:
            worker.unit.events.append(event)

    def _note(self, worker: Hired, entry: dict[str, Any]) -> None:
        entry["job"] = worker.job
        self._ended += entry["kind"] == "test"
        self._add(worker, "entry", entry)
        self.reports.tell_ended([entry])
        self._tell_running()

    def _tell_running(self) -> None:
        running = [self._entry(worker, "running", "") for worker in self.workers if worker.at != IDLE]
        if running:
            self.reports.tell_running(running)

    def _entry(self, worker: Hired, outcome: str, text: str) -> dict[str, Any]:
        entry = Entry(*worker.at[:2])
        entry.began, entry.outcome, entry.texts = worker.began, outcome, [text]
        entry.elapsed = 0.0 if outcome == "running" else clock.monotonic() - worker.began
        return {**data_of(entry, self.limits.began), "job": worker.job}

    # -- what becomes of a unit whose worker is lost

    def lose(self, worker: Hired, outcome: str, text: str) -> bool:
        """Tell how a worker has ended amid a unit; what is left of that is to be run. Tell whether it got anywhere."""
        unit = worker.unit
        assert unit is not None
        kind, name, number = worker.at
        if worker.at == IDLE:
            kind, name = "test", f"between tests, after {worker.last}" if worker.last else "before the first test"
            worker.at = kind, name, None
        shown = name if number is None else self.tests[number].shown
        if worker.spools:
            self.on_written(worker)
        self._add(worker, "write_end", shown, worker.has_line, outcome.upper())
        self._add(worker, "tell", LISTS[outcome], shown, text)
        self._add(worker, "count", "testsRun", worker.uncounted)
        fixture, _, owner = name.partition(" (")
        if kind == "fixture" and fixture in SETS_UP:
            ended = {"timeout": "timed out", "crash": "crashed"}.get(outcome, outcome)
            self.on_failed(worker, owner[:-1], f"{name} {ended}")
        entry = self._entry(worker, outcome, text)
        self.on_idle(worker)
        self._note(worker, entry)
        if self.result.failfast:
            self._add(worker, "stop")
            unit.left.clear()
        before = len(unit.left)
        left = [each for each in unit.left if self._failed.isdisjoint(self.tests[each].names[1:])]
        unit.left.clear()
        unit.left.extend(left)
        unit.done = not unit.left
        return number is not None or len(left) < before or len(left) < worker.taken

    def give_up(self, unit: Unit) -> None:
        """Leave out what is left of a unit."""
        unit.events += [("leave", self.tests[number].name[0], GIVEN_UP) for number in unit.left]
        unit.left.clear()
        unit.done = True

    # -- what is told and shown

    def show(self, all_begun: bool = False) -> None:
        self.showing.go_on(all_begun)

    def show_written(self) -> None:
        """Show what the tests of the first unit that is not done have written up to now."""
        for worker in self.workers:
            if worker.unit is not None and self.showing.is_at(worker.unit):
                self.on_written(worker)
                self.show()

    def count(self) -> str:
        return f"{self._ended}/{len(self.mine)}" if self.mine else "loading"

    def close(self) -> None:
        """Say what did not run, and write the reports in the order of the suite."""
        result = self.result
        result.leave_out(self.tests[number].names for number in self.mine)
        self.reports.rewrite(self._imports + self.showing.entries)
        self.reports.close(result.not_run)
