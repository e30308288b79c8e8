"""The parent of the workers of a run: it hands out the tests, hears what comes of them, and outlives what they do.

It imports nothing of the tests. Whatever ends a worker is told of what the worker was at, and another one goes on after
that. Who lives on after the instant at which it was to be over, and a grace, is asked where it stands, and killed. To
start workers, to hear them and to dismiss them is one loop, in one file.
"""

from __future__ import annotations

import sys

from ..originals import clock, system
from ..processes.children import collect
from ..processes.tree import Tree
from ..seconds import INFINITY, text
from ..testing.plan import Plan, next_unit
from .bell import Bell
from .course import Course
from .ends import Ends
from .guard import Guard
from .hired import IDLE, LAST, Hired, own_command
from .live import line, told_of
from .nameless import Book, Spool, spools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..testing.limits import Limits
    from ..testing.report_files import Reports
    from .far import Result

GRACE = 5.0  # seconds after its limit that code has to end, where nothing else is asked for
SOON = 1.0  # seconds that a worker has to end by itself, before the grace
OVERSLEPT = 1.0  # seconds that a wait may take longer: then this process was stopped, and judges nobody
LONGEST = 3600.0  # and that it takes at most
TICK = 0.2  # between two live lines


class Parent:
    """Runs a suite by so many workers at once, from `load` to `end`."""

    def __init__(self, limits: Limits, reports: Reports, jobs: int, plan: Plan) -> None:
        self.limits, self.jobs = limits, jobs
        self.course = Course(limits, reports, plan)
        self.workers = self.course.workers
        self.grace = limits.kill_after or GRACE
        self._drains = False  # nothing new is begun
        self._seen_interrupts = 0
        self._spared = 0  # how many of them let running tests come to their end: one with --catch
        self._kill_at = INFINITY  # after Ctrl-C
        self._line_at = INFINITY  # when to show the next live line
        self._spools: dict[int, list[Spool]] = {}  # what the workers of each job write to, one after the other
        self._has_begun = False

    def load(self) -> Parent:
        """Start the workers, and wait until one of them has told what tests there are."""
        self._hashes = int.from_bytes(system.urandom(4), "little")
        try:
            self._command, self._book, self._marks = own_command(), Book(), Tree()
            self._guard = Guard(self._marks)
            self._bell = Bell()
        except OSError as error:
            _give_up(error)
        self._ends = Ends(self.course, self._bell, self.jobs == 1)
        self._line = line()
        if self._line is not None:
            self._line_at = 0.0
        self._has_begun = True
        while not self.course.is_listed:
            self._hire()
            self._wait()
            self._tell()
            if self._bell.interrupts:
                raise KeyboardInterrupt
        return self

    def run(self, result: Result) -> None:
        """Run the tests; the result is told what comes of them."""
        course = self.course
        course.begin(result, self.jobs)
        self._spared = int(self._bell.hear_again())
        try:
            while not self._is_over():
                self._hand_out()
                if not self.workers:  # none can be started
                    continue
                self._wait()
                self._mind_interrupts()
                course.show()
                self._tell()
        finally:
            for worker in self._busy():
                self._ends.bury(worker)
        if self._seen_interrupts > self._spared and not all(unit.done for unit in course.units):
            result.interrupted = True
        if not result.shouldStop or self.limits.spent() or self._bell.interrupts:
            course.show(all_begun=True)
        self._dismiss(self.limits.scaled(self.limits.timeout) or INFINITY)
        result.verdicts = course.verdicts
        result.interrupted |= self._bell.interrupts > self._seen_interrupts
        course.close()

    def _is_over(self) -> bool:
        result = self.course.result
        self._drains = self._drains or self.limits.spent()
        if result.shouldStop and not self._drains:
            return True
        return not self._busy() and (self._drains or all(unit.done for unit in self.course.units))

    def _busy(self) -> list[Hired]:
        return [worker for worker in self.workers if worker.unit is not None]

    def _dismiss(self, seconds: float) -> None:
        """Have the results of workers end in so many seconds: what they come to know then belongs to the summary."""
        self._ends.are_asked = True
        if self._line is not None:
            self._line.close()
            self._line_at = INFINITY
        for worker in list(self.workers):
            worker.at, worker.began, worker.due = IDLE, clock.monotonic(), clock.monotonic() + seconds
            if worker.state == "loading":  # nobody has waited for it
                self._ends.bury(worker)
            elif worker.state == "ready":
                worker.send([], self._book)
                worker.state = "dismissed"
        self._wait_while(lambda worker: worker.state == "dismissed")

    def _wait_while(self, is_waited_for: Callable[[Hired], bool]) -> None:
        while any(map(is_waited_for, self.workers)) and self._bell.interrupts <= self._seen_interrupts:
            self._wait()

    def end(self) -> int:
        """Have the workers end, and nothing be left of them; return how many have crashed meanwhile."""
        if not self._has_begun:
            return 0
        try:
            if not self._ends.are_asked:
                self._dismiss(SOON)
            for worker in self.workers:
                worker.began, worker.due = clock.monotonic(), clock.monotonic() + SOON
            self._wait_while(lambda worker: True)
        finally:
            self._end_all()
        return self._ends.crashes

    def _end_all(self) -> None:
        for worker in list(self.workers):
            self._ends.bury(worker)
        if not self._bell.adopts or collect():
            self._marks.adopts = self._bell.adopts
            self._marks.end([], LAST)
            collect()
        self._guard.let_go()
        self._bell.let_go()

    # -- workers

    def _hire(self) -> None:
        """Start the workers that are missing."""
        there = {worker.job for worker in self.workers}
        if self.course.is_listed:
            free = sum(worker.unit is None for worker in self.workers)
            wanted = min(self.jobs, len(self.workers) + max(len(self.course.todo) - free, 0))
        else:
            wanted = min(self.jobs, len(system.sched_getaffinity(0)))  # more do not load the tests any sooner
        for job in range(1, self.jobs + 1):
            if job not in there and len(self.workers) < wanted:
                try:
                    self._start(job)
                except OSError as error:  # too many processes, too many open files
                    if not (self.workers or self.course.is_listed):
                        _give_up(error)
                    return None if self.workers else self.course.give_up(f"no worker can be started: {error}")

    def _start(self, job: int) -> None:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        is_to_list = not self.course.is_listed and not any(worker.is_lister for worker in self.workers)
        is_live = self._line is not None
        orders = {
            **{"lost": dict(self._ends.lost), "hashes": self._hashes, "is to list": is_to_list},
            **{"is live": is_live, "began": self.limits.began, "end": self.limits.end},
        }
        if is_to_list:
            self.course.load_again()
        if (self.jobs > 1 or is_live) and job not in self._spools:
            self._spools[job] = spools()
        self.workers.append(Hired(job, self._command, self._book, orders, self._marks, self._spools.get(job, [])))

    def _hand_out(self) -> None:
        if self._drains:
            self.course.todo.clear()
        self._hire()
        for worker in self.workers:
            if worker.state == "ready" and self.course.todo:
                unit = next_unit(self.course.todo, self.jobs)
                worker.unit, worker.state, worker.taken = unit, "busy", len(unit.left)
                worker.send(self.course.order(unit), self._book)
                self.course.on_idle(worker)

    def _wait(self) -> None:
        """Wait until something happens, and see to it."""
        now = clock.monotonic()
        soonest = min(self._kill_at, self._line_at, *(worker.due + self.grace for worker in self.workers))
        seconds = max(min(soonest - now, LONGEST), 0.0)
        came = self._bell.hear(self.workers, seconds)
        self._rouse(clock.monotonic() - now - seconds)
        for worker in list(self.workers):
            if worker.ear in came:
                self.course.hear(worker)
            if worker.popen.returncode is not None:
                self._ends.died(worker)
            elif self._is_late(worker):
                self._ends.kill(worker, "timeout", self._overrun(worker))

    def _rouse(self, late: float) -> None:
        """If this process was stopped meanwhile, give everybody time anew."""
        if late > OVERSLEPT:
            for worker in self.workers:
                worker.due = max(worker.due, clock.monotonic())

    def _is_late(self, worker: Hired) -> bool:
        if clock.monotonic() < worker.due + self.grace:
            return False
        self.course.hear(worker)  # it may have said something meanwhile
        return clock.monotonic() >= worker.due + self.grace

    def _overrun(self, worker: Hired) -> str:
        if self._ends.are_asked:
            return ""
        after = text(clock.monotonic() - worker.due + (worker.seconds or 0.0))
        told = f"Time ran out in {worker.part} after {after}; the limit is {worker.limit}."
        return f"{told}\nNothing interrupted it, and its process was killed {text(self.grace)} after that."

    def _tell(self) -> None:
        """Renew the live line, if it is time."""
        now = clock.monotonic()
        if self._line is not None and now >= self._line_at:
            self._line_at = now + TICK
            self.course.show_written()
            self._line.show(told_of(self.course.count(), self.workers))

    def _mind_interrupts(self) -> None:
        """Hand Ctrl-C on; kill what is there still when the grace is over, or at the next one."""
        came, own = self._bell.interrupts, self._spared + 1
        if self.course.result.interrupted:  # by a test, it may be: that is as good
            came = max(came, own)
        if came > self._seen_interrupts:
            self._seen_interrupts = came
            self._drains = True
            for worker in self._busy():
                worker.interrupt()
            if came >= own:
                self._kill_at = clock.monotonic() + (self.grace if came == own else 0.0)
        elif came >= own:
            for worker in filter(Hired.goes_on, self._busy()):
                worker.interrupt()
        if clock.monotonic() >= self._kill_at:
            for worker in self._busy():
                self.course.result.interrupted = True
                self._ends.kill(worker, "interrupted", "Nothing interrupted it, and it was killed after Ctrl-C.")


def _give_up(error: OSError) -> NoReturn:
    sys.stderr.write(f"No worker can be started: {error}\n")
    raise SystemExit(1)
