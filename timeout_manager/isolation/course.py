"""The course of a run whose tests are run by workers: what there is to run, and what has come of it.

Both are in one file, since whatever a worker says changes both.
"""

from __future__ import annotations

import sys
from collections import deque
from itertools import groupby

from ..originals import clock
from ..seconds import INFINITY, text
from ..testing.between import WHERE
from ..testing.entry import Entry
from ..testing.plan import Unit
from ..testing.report_files import data_of
from ..testing.result import set_up_by
from .hired import IDLE
from .showing import Showing, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..testing.limits import Limits
    from ..testing.plan import Plan
    from ..testing.report_files import Reports
    from ..testing.units import Name
    from .far import Result
    from .hired import Hired

LISTS = {"timeout": "timeouts", "crash": "crashes", "interrupted": "interruptions"}  # where an outcome is told
AGAIN = "it was not there when its module was loaded once more"


class Test:
    """A test as its parent knows it."""

    def __init__(self, name: list[Any], shown: str, kind: str, module: str, number: int) -> None:
        self.name: Name = (name[0], name[1])
        self.shown = shown
        self.names = name[0], kind, module
        self.owners: set[Name] = {(kind, number), (module, 0)}  # of its fixtures


class Course:
    """What workers say comes to the methods of that name, ``on_...``; what they do not come to say is said here."""

    def __init__(self, limits: Limits, reports: Reports, plan: Plan) -> None:
        self.limits, self.reports, self.plan = limits, reports, plan
        self.tests: list[Test] = []
        self.is_listed = False
        self.has_begun = False  # there is a result
        self.is_bound = True  # there is a limit for one of the tests
        self.verdicts: list[bool] = []  # of the results of workers
        self.units: list[Unit] = []
        self.todo: list[Unit] = []
        self.mine: list[int] = []  # the places of the tests that are run here
        self.workers: list[Hired] = []
        self.result: Result
        self._numbers: dict[Name, int] = {}  # of tests
        self._imports: list[dict[str, Any]] = []
        self._ended = 0  # tests

    def begin(self, result: Result, jobs: int) -> None:
        """Begin to run the tests that have been listed."""
        self.result, self.has_begun = result, True
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
        if worker.state == "loading" and not worker.is_lister:
            worker.written()  # the same as the lister
        unit, worker.unit = worker.unit, None
        worker.state = "ready"
        self.on_idle(worker)
        if unit is not None:
            if is_stopped:
                unit.events.append(("stop",))
            unit.done = True

    def on_idle(self, worker: Hired) -> None:
        """Take that it runs no test: what it runs instead, if it has a unit, has as long as a test."""
        worker.at, worker.due = IDLE, INFINITY
        seconds, source = (None, "") if worker.unit is None else self.limits.between()
        if seconds is not None:
            worker.due = clock.monotonic() + seconds
            worker.part, worker.limit, worker.seconds = WHERE, f"{text(seconds)} ({source})", seconds

    def on_unloaded(self, worker: Hired, status: int) -> None:
        worker.unloaded = status

    def on_over(self, worker: Hired, is_well: bool) -> None:
        """Take that its run is over, and what its own result says of that if it has run something."""
        worker.state = "over"
        if worker.taken:
            self.verdicts.append(is_well)

    def on_due(self, worker: Hired, due: float, part: str, limit: str, seconds: float | None) -> None:
        worker.due, worker.part, worker.limit, worker.seconds = due, part, limit, seconds

    def on_started(self, worker: Hired) -> None:
        worker.has_line = True
        worker.uncounted += 1

    def on_at(self, worker: Hired, kind: str, name: str, place: list[Any] | None, began: float) -> None:
        number = self._number(kind, place)
        worker.begin((kind, name, number), _named(place), began)
        if number is not None and self.take(worker, number):
            worker.begun.append(number)
        self._tell_running()

    def on_called(self, worker: Hired, name: str, place: list[Any] | None, began: float) -> None:
        """Take that this test is called, of which nothing may ever be told."""
        worker.begin(("test", name, self._number("test", place)), _named(place), began)
        self._tell_running()

    def on_so_far(self, worker: Hired, news: list[list[Any]], late: str) -> None:
        worker.so_far, worker.late = news, late

    def on_raised(self, worker: Hired, text: str) -> None:
        worker.raised = text

    def on_ended(self, worker: Hired, entry: dict[str, Any], place: list[Any] | None) -> None:
        worker.last, worker.has_line = entry["id"], False
        self.on_idle(worker)
        number = self._number(entry["kind"], place)
        worker.so_far, worker.late = [], ""
        if number in worker.begun:
            worker.begun.remove(number)
        elif number is not None:
            self.take(worker, number)  # it is told of a test that has not begun
        if set_up_by(entry["id"]) and entry["outcome"] != "passed" and worker.unit is not None:
            self.pass_over(worker.unit, _named(place))
        if worker.unit is not None:
            self._note(worker, entry)
        elif worker.is_lister and not self.is_listed:
            self._imports.append(entry)
            self.reports.tell_ended([entry])
        else:  # it has loaded a module that others have loaded, too
            self.reports.tell_ended([])
            self._tell_running()

    def on_written(self, worker: Hired) -> None:
        if worker.unit is not None:
            worker.unit.events.append(("write", *worker.written()))
        elif worker.is_lister or worker.state != "loading":
            write(*worker.written())

    def on_missing(self, worker: Hired, names: list[list[Any]]) -> None:
        for name, why in names:
            self.on_add(worker, "leave", name, f"{AGAIN}: {why}" if why else AGAIN)

    def on_interrupted(self, worker: Hired) -> None:
        self.result.interrupted = True

    def on_counted(self, worker: Hired, name: str, more: int) -> None:
        worker.uncounted -= more * (name == "testsRun")
        self.on_add(worker, "count", name, more)

    def on_slow(self, worker: Hired, line: str) -> None:
        sys.stderr.write(line)
        sys.stderr.flush()

    def on_add(self, worker: Hired, *event: Any) -> None:
        if worker.unit is not None:
            worker.unit.events.append(event)
        elif worker.state == "dismissed" and self.has_begun:  # what its result comes to know when all tests have ended
            self.showing.tell(*event)

    def take(self, worker: Hired, number: int) -> bool:
        """Take a test from what is left of a unit; tell whether it was there."""
        if worker.unit is None or number not in worker.unit.left:
            return False
        worker.unit.left.remove(number)
        return True

    def _number(self, kind: str, place: list[Any] | None) -> int | None:
        return self._numbers.get(_named(place)) if kind == "test" else None

    def _note(self, worker: Hired, entry: dict[str, Any]) -> None:
        entry["job"] = worker.job
        self._ended += entry["kind"] == "test"
        self.on_add(worker, "entry", entry)
        self.reports.tell_ended([entry])
        self._tell_running()

    def _tell_running(self) -> None:
        running = [self._entry(worker, "running") for worker in self.workers if worker.at != IDLE]
        if running:
            self.reports.tell_running(running)

    def _entry(self, worker: Hired, outcome: str, *texts: str) -> dict[str, Any]:
        entry = Entry(*worker.at[:2])
        entry.began, entry.outcome, entry.texts = worker.began, outcome, list(texts)
        entry.elapsed = 0.0 if outcome == "running" else clock.monotonic() - worker.began
        return {**data_of(entry, self.limits.began), "job": worker.job}

    # -- what a worker does not come to say

    def tell_end(self, worker: Hired, outcome: str, shown: str, text: str) -> None:
        """Tell that what a worker is at has ended so, with the worker."""
        self.on_written(worker)
        for event in worker.so_far:
            self.on_add(worker, *event)
        bad = [event[3] for event in worker.so_far if event[0] == "tell"]
        text = "\n\n".join(filter(None, (worker.late.rstrip(), text)))
        entry = self._entry(worker, outcome, text, *bad)
        self.on_add(worker, "write_end", shown, worker.has_line, outcome.upper())
        self.on_add(worker, "tell", LISTS[outcome], shown, text)
        self.on_add(worker, "count", "testsRun", worker.uncounted)
        self.on_idle(worker)
        self._note(worker, entry)

    def leave(self, unit: Unit, numbers: Iterable[int], why: str) -> None:
        """Take that these tests of a unit do not run."""
        unit.events += [("leave", self.tests[number].names[0], why) for number in numbers]

    def give_up(self, why: str) -> None:
        """Take that nothing more can be run."""
        for unit in self.todo:
            self.leave(unit, unit.left, why)
            unit.left.clear()
            unit.done = True
        self.todo.clear()

    def pass_over(self, unit: Unit, owner: Name) -> None:
        """Take that a class or module is not set up for its next tests; it may be for more that come later."""
        runs = groupby(unit.left, key=lambda number: owner in self.tests[number].owners)
        found = [(is_owned, list(numbers)) for is_owned, numbers in runs]
        over = next((numbers for is_owned, numbers in found if is_owned), [])
        unit.left = deque(number for _, numbers in found if numbers is not over for number in numbers)

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


def _named(place: list[Any] | None) -> Name:
    return (place[0], place[1]) if place else ("", 0)
