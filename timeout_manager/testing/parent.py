"""The parent of the workers of a run: it hands out the tests, hears what comes of them, and outlives what they do.

It imports nothing of the tests. Whatever ends a worker is told of what the worker was at, and another one goes on after
that. Who lives on after the instant at which it was to be over, and a grace, is asked where it stands, and killed.
"""

from __future__ import annotations

import select
import sys

from ..errors import listed
from ..interpreter.stderr import tell
from ..originals import clock, files, signals, system
from ..processes.orphans import adopt
from ..processes.table import name_of_signal
from ..seconds import text
from .course import Course
from .guard import Guard
from .hired import Book, Hired, OrphansTree, own_command
from .live import line
from .plan import Plan, next_unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .far import Result
    from .limits import Limits
    from .reports import Reports

GRACE = 5.0  # seconds after its limit that code has to end, where nothing else is asked for
SOON = 1.0  # seconds that a worker has to end by itself, before the grace
FUTILE = 3  # workers in a row that come to nothing, until it is given up
OVERSLEPT = 1.0  # seconds that a wait may take longer: then this process was stopped, and judges nobody
LONGEST = 3600.0  # and that it takes at most
TICK = 0.2  # between two live lines


class Parent:
    """Runs a suite by so many workers at once."""

    def __init__(self, limits: Limits, reports: Reports, jobs: int, plan: Plan) -> None:
        self.limits, self.jobs = limits, jobs
        self.course = Course(limits, reports, plan)
        self.workers = self.course.workers
        self.grace = limits.kill_after or GRACE
        self._lost: dict[str, Any] = {}  # imports that have ended a worker: outcome, text, seconds
        self._futile = 0
        self._drains = False  # nothing new is begun
        self._ends = False  # the workers are to end
        self._interrupts = 0
        self._seen_interrupts = 0
        self._kill_at: float | None = None  # after Ctrl-C
        self._kills = _kills_for_memory()
        self._line = line()
        self._line_at = 0.0  # when to show the next one
        self.crashes = 0  # after the summary
        self._hashes = int.from_bytes(system.urandom(4), "little")

    def load(self) -> Parent:
        """Start the workers, and wait until one of them has told what tests there are."""
        self._command, self._book, self._marks = own_command(), Book(), OrphansTree()
        self._guard = Guard(self._marks)
        self._adopts = adopt()
        self._bell, wake = system.pipe()
        for each in self._bell, wake:
            system.set_blocking(each, False)
        signals.signal(signals.SIGCHLD, lambda *_: None)
        signals.signal(signals.SIGINT, self._interrupted)
        signals.set_wakeup_fd(wake, warn_on_full_buffer=False)
        while not self.course.is_listed:
            self._hire()
            self._wait()
            self._tell()
            if self._interrupts:
                raise KeyboardInterrupt
        return self

    def _interrupted(self, *args: Any) -> None:
        self._interrupts += 1

    def run(self, result: Result) -> None:
        """Run the tests; the result is told what comes of them."""
        course = self.course
        course.begin(result, self.jobs)
        try:
            while not self._is_over():
                self._hand_out()
                self._wait()
                self._mind_interrupts()
                course.show()
                self._tell()
        finally:
            for worker in [each for each in self.workers if each.unit is not None]:
                self._bury(worker)
        if not result.shouldStop or self.limits.spent() or self._interrupts:
            course.show(all_begun=True)
        course.close()

    def _is_over(self) -> bool:
        result = self.course.result
        self._drains = self._drains or self.limits.spent()
        if result.shouldStop and not self._drains:
            return True
        busy = any(worker.unit is not None for worker in self.workers)
        return not busy and (self._drains or all(unit.done for unit in self.course.units))

    def end(self) -> None:
        """Have the workers end, and nothing be left of them."""
        self._ends = True
        if self._line is not None:
            self._line.close()
            self._line = None
        until = clock.monotonic() + SOON
        for worker in list(self.workers):
            worker.at, worker.due = ("nothing", "", None), until
            if worker.state == "loading":  # nobody has waited for it
                self._bury(worker)
        try:
            while self.workers:
                for worker in self.workers:
                    if worker.state == "ready":
                        worker.send([], self._book)
                        worker.state, worker.due = "dismissed", until
                self._wait()
                if self._interrupts > self._seen_interrupts:
                    break
        finally:
            for worker in list(self.workers):
                self._bury(worker)
            if not self._adopts or _has_children():
                self._marks.is_only = self._adopts
                self._marks.end([], signals.SIGKILL, 0.0)
                self._collect()
            self._guard.let_go()
            signals.set_wakeup_fd(-1)
            signals.signal(signals.SIGCHLD, signals.SIG_DFL)

    # -- workers

    def _hire(self) -> None:
        """Start the workers that are missing."""
        there = {worker.job for worker in self.workers}
        wanted = self.jobs
        if self.course.is_listed:
            free = sum(worker.unit is None for worker in self.workers)
            wanted = min(self.jobs, len(self.workers) + max(len(self.course.todo) - free, 0))
        for job in range(1, self.jobs + 1):
            if job not in there and len(self.workers) < wanted:
                self._start(job)

    def _start(self, job: int) -> None:
        for stream in sys.stdout, sys.stderr:
            stream.flush()
        is_to_list = not self.course.is_listed and not any(worker.is_lister for worker in self.workers)
        is_live = self._line is not None
        orders = {
            **{"lost": dict(self._lost), "hashes": self._hashes, "is to list": is_to_list},
            **{"has files": self.jobs > 1 or is_live, "is live": is_live},
            **{"began": self.limits.began, "end": self.limits.end if self.limits.total.seconds else None},
        }
        if is_to_list:
            self.course.load_again()
        self.workers.append(Hired(job, self._command, self._book, orders, self._marks))

    def _hand_out(self) -> None:
        if self._drains:
            self.course.todo.clear()
        self._hire()
        for worker in self.workers:
            if worker.state == "ready" and self.course.todo:
                unit = next_unit(self.course.todo, self.jobs)
                worker.unit, worker.state, worker.taken = unit, "busy", len(unit.left)
                worker.send(self.course.order(unit), self._book)

    def _wait(self) -> None:
        """Wait until something happens, and see to it."""
        now = clock.monotonic()
        dues = [worker.due + self.grace - now for worker in self.workers if worker.due is not None]
        dues += [] if self._kill_at is None else [self._kill_at - now]
        dues += [] if self._line is None else [self._line_at - now]
        seconds = max(min([LONGEST, *dues]), 0.0)
        poll = select.poll()
        for descriptor in self._bell, *(worker.ear for worker in self.workers):
            poll.register(descriptor, select.POLLIN)
        came = {descriptor for descriptor, _ in poll.poll(seconds * 1000 + 1)}
        self._rouse(clock.monotonic() - now - seconds)
        if self._bell in came:
            _drain(self._bell)
            self._collect()
        for worker in list(self.workers):
            if worker.ear in came:
                self.course.hear(worker)
            if worker.popen.returncode is not None:
                self._died(worker)
            elif self._is_late(worker):
                self._kill(worker, "timeout", self._overrun(worker))

    def _tell(self) -> None:
        """Renew the live line, if it is time."""
        now = clock.monotonic()
        if self._line is not None and now >= self._line_at:
            self._line_at = now + TICK
            self.course.show_written()
            self._line.show(self.course.state())

    def _rouse(self, late: float) -> None:
        """If this process was stopped meanwhile, give everybody time anew."""
        if late > OVERSLEPT:
            for worker in self.workers:
                if worker.due is not None:
                    worker.due = max(worker.due, clock.monotonic())

    def _overrun(self, worker: Hired) -> str:
        if self._ends:
            return ""
        after = text(clock.monotonic() - worker.began)
        told = f"Time ran out in {worker.part} after {after}; the limit is {worker.limit}."
        return f"{told}\nNothing interrupted it, and its process was killed {text(self.grace)} after that."

    def _is_late(self, worker: Hired) -> bool:
        if worker.due is None or clock.monotonic() < worker.due + self.grace:
            return False
        self.course.hear(worker)  # it may have said something meanwhile
        return worker.due is not None and clock.monotonic() >= worker.due + self.grace

    def _collect(self) -> None:
        """Collect the children that have ended, orphans among them."""
        workers = {worker.popen.pid: worker for worker in self.workers}
        while True:
            try:
                pid, status = system.waitpid(-1, system.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in workers:
                workers[pid].popen.returncode = _exit_code(status)

    def _mind_interrupts(self) -> None:
        """Hand Ctrl-C on; kill what is there still when the grace is over, or at the next one."""
        if self._interrupts > self._seen_interrupts:
            self._seen_interrupts = self._interrupts
            self._drains = True
            busy = [worker for worker in self.workers if worker.unit is not None]
            for worker in busy:
                worker.interrupt()
            if not busy:
                self.course.result.interrupted = True
            self._kill_at = clock.monotonic() + (self.grace if self._interrupts == 1 else 0.0)
        if self._kill_at is not None and clock.monotonic() >= self._kill_at:
            for worker in [each for each in self.workers if each.unit is not None]:
                self.course.result.interrupted = True
                self._kill(worker, "interrupted", "Nothing interrupted it, and it was killed after Ctrl-C.")

    # -- the ends of workers

    def _kill(self, worker: Hired, outcome: str, why: str) -> None:
        worker.ask()
        self._bury(worker)
        self._lose(worker, outcome, f"{why}\n\n{worker.words()}".strip() + "\n")

    def _died(self, worker: Hired) -> None:
        self.course.hear(worker)
        status = worker.popen.returncode
        self._bury(worker)
        kills, self._kills = self._kills, _kills_for_memory()
        how = f"exit status {status}" if status >= 0 else f"signal SIG{name_of_signal(-status)}"
        if status == -signals.SIGKILL and kills != self._kills:
            how += "; out of memory?"
        self._lose(worker, "crash", f"The process ended: {how}.\n\n{worker.words()}".rstrip() + "\n")

    def _bury(self, worker: Hired) -> None:
        """End what is left of a worker."""
        if self._ends and worker.popen.returncode is not None:
            left = []  # what is left of all of them will be ended together
        else:
            worker.tree.is_only = self._adopts and self.jobs == 1
            left = worker.end()
        if left:
            sys.stderr.write(f"\nWhat could not be killed: {'; '.join(listed(left))}\n")
        self.workers.remove(worker)
        if worker.popen.returncode is None:
            self.workers.append(worker)
            self._collect()
            self.workers.remove(worker)

    def _lose(self, worker: Hired, outcome: str, told: str) -> None:
        """Tell of a worker that has ended, and have the others go on."""
        course, unit = self.course, worker.unit
        if worker.state == "over" or self._ends:
            self._lose_at_end(worker, outcome, told)
        elif unit is not None:
            self._futile = 0 if course.lose(worker, outcome, told) else self._futile + 1
            if self._futile >= FUTILE:
                course.give_up(unit)
            elif unit.left:
                course.todo.insert(0, unit)
        elif worker.unloaded is not None and not course.is_listed:
            course.write(worker, *worker.rest())
            raise SystemExit(worker.unloaded or 1)
        else:
            self._lose_at_loading(worker, outcome, told)
        worker.close()

    def _lose_at_loading(self, worker: Hired, outcome: str, told: str) -> None:
        kind, name, _ = worker.at
        if kind == "import" and name not in self._lost:
            self._lost[name] = outcome, told, clock.monotonic() - worker.began
            self._futile = 0
        elif kind != "import" or name in worker.lost:
            self._futile += 1
        if self._futile >= FUTILE:
            sys.stderr.write(f"The tests cannot be loaded: {FUTILE} workers have ended meanwhile.\n{told}")
            raise SystemExit(1)

    def _lose_at_end(self, worker: Hired, outcome: str, told: str) -> None:
        if self.course.is_listed:
            self.course.write(worker, *worker.rest())
        if outcome == "timeout":
            tell(f"\nThe end of a worker was not over {text(SOON + self.grace)} after the tests:\n{told}")
        elif worker.popen.returncode and self.course.is_listed:
            self.crashes += 1
            tell(f"\nCRASH: the end of a worker\n{told}")


def _exit_code(status: int) -> int:
    return -system.WTERMSIG(status) if system.WIFSIGNALED(status) else system.WEXITSTATUS(status)


def _drain(descriptor: int) -> None:
    try:
        while system.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass


def _has_children() -> bool:
    try:
        system.waitpid(-1, system.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _kills_for_memory() -> bytes:
    """Return how often the kernel has killed for want of memory, as it tells."""
    try:
        with files.open("/proc/vmstat", "rb") as file:
            return next((line for line in file if line.startswith(b"oom_kill ")), b"")
    except OSError:
        return b""
