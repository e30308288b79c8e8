"""The ends of workers: those that are killed, those that nobody has asked for, and what is said of each."""

from __future__ import annotations

import sys

from ..errors import listed
from ..interpreter.stderr import tell
from ..originals import clock, signals
from ..processes.table import contents, name_of_signal
from ..seconds import text
from ..testing.result import set_up_by
from .hired import IDLE
from .showing import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..testing.plan import Unit
    from .bell import Bell
    from .course import Course
    from .hired import Hired

BESIDE = "another test that ran beside it ended their process"
GIVEN_UP = "workers ended again and again before they came to one"
FUTILE = 3  # workers in a row that come to nothing, until it is given up


class Ends:
    """Ends workers and tells the course; `is_one` says that there is one at a time, to which all orphans belong."""

    def __init__(self, course: Course, bell: Bell, is_one: bool) -> None:
        self.course, self.bell, self.is_one = course, bell, is_one
        self.lost: dict[str, Any] = {}  # imports that have ended a worker: outcome, text, seconds
        self.are_asked = False  # the workers are to end
        self.crashes = 0  # when they were
        self._futile = 0
        self._kills = _kills_for_memory()

    def kill(self, worker: Hired, outcome: str, why: str) -> None:
        """End one that lives on."""
        worker.ask()
        self.bury(worker)
        self._lose(worker, outcome, why)

    def died(self, worker: Hired) -> None:
        """Take that one has ended."""
        self.course.hear(worker)
        status = worker.popen.returncode
        self.bury(worker)
        kills, self._kills = self._kills, _kills_for_memory()
        how = f"exit status {status}" if status >= 0 else f"signal SIG{name_of_signal(-status)}"
        if status == -signals.SIGKILL and kills != self._kills:
            how += "; out of memory?"
        self._lose(worker, "crash", f"The process ended: {how}.")

    def bury(self, worker: Hired) -> None:
        """End what is left of a worker."""
        if self.are_asked and worker.popen.returncode is not None:
            left = []  # what is left of all of them will be ended together
        else:
            worker.tree.adopts = self.bell.adopts and self.is_one
            left = worker.end()
        if left:
            sys.stderr.write(f"\nWhat could not be killed: {'; '.join(listed(left))}\n")
        self.course.workers.remove(worker)

    def _lose(self, worker: Hired, outcome: str, why: str) -> None:
        """Tell of a worker that has ended, and have the others go on."""
        course, unit = self.course, worker.unit
        told = "\n\n".join(filter(None, (why, worker.raised.rstrip(), worker.words()))) + "\n"
        if worker.state == "over" or self.are_asked:
            self._lose_at_end(worker, outcome, told)
        elif unit is not None:
            self._lose_amid(unit, worker, outcome, told)
            if self._futile >= FUTILE:
                course.leave(unit, unit.left, GIVEN_UP)
                unit.left.clear()
            unit.done = not unit.left
            if unit.left:
                course.todo.insert(0, unit)
        elif worker.unloaded is not None and not course.is_listed:
            write(*worker.written())
            raise SystemExit(worker.unloaded or 1)
        else:
            self._lose_at_loading(worker, outcome, told)
        worker.close()

    def _lose_amid(self, unit: Unit, worker: Hired, outcome: str, told: str) -> None:
        """Tell what a worker was at when it ended; what is left of its unit is to be run."""
        course = self.course
        kind, name, number = worker.at
        if worker.at == IDLE:
            kind, name = "test", f"between tests, after {worker.last}" if worker.last else "before the first test"
            worker.at = kind, name, None
        course.tell_end(worker, outcome, name if number is None else course.tests[number].shown, told)
        owner = set_up_by(name)
        if number is not None:
            course.take(worker, number)  # nothing may have been told of it yet
        if owner:
            ended = {"timeout": "timed out", "crash": "crashed"}.get(outcome, outcome)
            course.pass_over(unit, worker.place)
            course.on_add(worker, "fail", owner, f"{name} {ended}")
        if course.result.failfast:
            course.on_add(worker, "stop")
            unit.left.clear()
        course.leave(unit, [each for each in worker.begun if each != number], BESIDE)
        self._futile = 0 if len(unit.left) < worker.taken else self._futile + 1

    def _lose_at_loading(self, worker: Hired, outcome: str, told: str) -> None:
        kind, name, _ = worker.at
        if kind == "import" and name not in self.lost:
            self.lost[name] = outcome, told, clock.monotonic() - worker.began
            self._futile = 0
        elif kind != "import" or name in worker.lost:
            self._futile += 1
        if self._futile >= FUTILE and self.course.is_listed:
            tell(f"\nThe tests cannot be loaded once more: {FUTILE} workers have ended meanwhile.\n{told}")
            self.course.give_up("they could not be loaded once more")
        elif self._futile >= FUTILE:
            write(*worker.written())
            sys.stderr.write(f"The tests cannot be loaded: {FUTILE} workers have ended meanwhile.\n{told}")
            raise SystemExit(1)

    def _lose_at_end(self, worker: Hired, outcome: str, told: str) -> None:
        if outcome == "timeout":
            told = f"A worker had still not ended {text(clock.monotonic() - worker.began)} after the tests:\n{told}"
        if worker.state == "dismissed" and self.course.has_begun:  # there is no summary yet
            worker.at = "fixture", "the end of a worker", None
            self.course.tell_end(worker, outcome, worker.at[1], told)
            return
        if self.course.is_listed:
            write(*worker.written())
        if outcome == "timeout":
            tell(f"\n{told}")
        elif worker.popen.returncode and self.course.is_listed:
            self.crashes += 1
            tell(f"\nCRASH: the end of a worker\n{told}")


def _kills_for_memory() -> bytes:
    """Return how often the kernel has killed for want of memory, as it tells."""
    try:
        return next((line for line in contents("/proc/vmstat").splitlines() if line.startswith(b"oom_kill ")), b"")
    except OSError:
        return b""
