"""Run a command in a phase: it has what is left of the time, and the deadline in its environment.

When time is over, on Ctrl-C, and on every other error it is ended with everything that it has started (`tree`).

Its start can be interrupted. What remains: where the system has the parent wait until the child has become the program
(vfork), C code waits, and holds the GIL: a file system that does not answer stops the whole process for so long.
"""

from __future__ import annotations

import subprocess

from ..errors import PhaseTimeout
from ..originals import clock, uninterrupted
from ..seconds import amount
from . import bound, deadline, sigchld
from .child import DRAIN, Child
from .name import name_of
from .table import wait_for
from .tree import BOUND, Tree

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .table import Process

    class Phases(Protocol):
        """What gives a command its phases: a manager."""

        def timed_operation(self, phase_name: str, limit: float | None) -> Any: ...
        def cleanup_operation(self, phase_name: str, *, limit: float) -> Any: ...


BIRTH = 1.0  # seconds for a process to become the command, if the start was interrupted
IMPATIENCE = 10  # times that Ctrl-C may come while it is being ended


def run(
    manager: Phases, args: Any, phase_name: str | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """See ``TimeoutManager.run``."""
    command = Command(args, phase_name, **options)
    try:
        with sigchld.heard(), manager.timed_operation(command.name, command.timeout) as phase:
            command.prepare(phase.remaining())
            try:
                command.start()
                command.talk(phase.remaining)
            except BaseException as error:
                _end(manager, command, error)
                raise
    except PhaseTimeout as error:
        command.explain(error)
        raise
    return command.done()


class Command:
    """A command, what it has said, and all that has come of it.

    It takes what ``subprocess.run`` takes. ValueError or TypeError if that makes no sense.
    """

    def __init__(
        self,
        args: Any,
        phase_name: str | None,
        *,
        grace: float,
        input: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        env: Any = None,
        **options: Any,
    ) -> None:
        waiting = amount(grace, "grace")
        if waiting is None:
            raise TypeError(f"grace must be a finite number of seconds, not {grace!r}")
        amount(timeout, "timeout")
        if input is not None:
            if options.get("stdin") is not None:
                raise ValueError("input and stdin cannot both be given: input goes through stdin")
            options["stdin"] = subprocess.PIPE
        if capture_output:
            if options.get("stdout") is not None or options.get("stderr") is not None:
                raise ValueError("capture_output cannot be given with stdout or stderr: it sets both")
            options["stdout"] = options["stderr"] = subprocess.PIPE
        if options.get("preexec_fn") is None and options.get("process_group") is None:  # which may begin a group
            options.setdefault("start_new_session", True)
        self.args = list(args) if hasattr(args, "__next__") else args  # it can be read but once, and has the name
        self.name = phase_name if phase_name is not None else name_of(self.args, bool(options.get("shell")))
        self.grace, self.input, self.timeout, self.check = waiting, input, timeout, check
        self.env, self.options = env, options
        self.process = Child.__new__(Child)  # known before it is there: an error in its start leaves it to us
        self.is_started = False
        self.tree = Tree()
        self.output: Any = None
        self.errors: Any = None

    def prepare(self, left: float | None) -> None:
        """Make all ready for a start with so many seconds left; TimeoutExpired if there are none."""
        if left == 0.0:
            raise subprocess.TimeoutExpired(self.args, left)
        self.env = deadline.environ_with(self.env, {**deadline.variables(left), **self.tree.variables()})

    def start(self) -> None:
        bound.bind(self.tree, [self.process])
        Child.__init__(self.process, self.args, env=self.env, **self.options)
        self.is_started = True
        self.tree.take(self.process)

    def talk(self, remaining: Callable[[], float | None], look: float | None = None) -> None:
        """Wait for its end, and for that of its output; TimeoutExpired when no time remains.

        What remains is asked again when it should be over, and every ``look`` seconds. To look puts together all that
        has been said, which takes long if that is much.
        """
        process, input = self.process, self.input
        while True:
            left = remaining()
            seconds = min((each for each in (left, look) if each is not None), default=None)
            try:
                if process.has_pipes():
                    self.output, self.errors = process.communicate(input, seconds)
                else:
                    process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                if left == 0.0:
                    raise
                input = None  # it is under way

    def is_to_end(self, error: BaseException) -> bool:
        """Tell whether an error has left something behind: one of the system's has not if it could not be started."""
        is_started = self.is_started or bool(self.process.pid and self.process.returncode is None)
        return is_started or isinstance(error, TimeoutError) or not isinstance(error, OSError)

    def longest_end(self) -> float:
        """Return the seconds that it takes to end it, at most."""
        return self.grace + BOUND + 3 * DRAIN + BIRTH

    def end(self, grace: float) -> None:
        """End all of it, and take what it has said. Ctrl-C ends the grace, and goes on after that."""
        interrupt: KeyboardInterrupt | None = None
        try:
            for patience in (grace, *[0.0] * IMPATIENCE):
                try:
                    self._end_tree(patience)
                    break
                except KeyboardInterrupt as error:
                    interrupt = error
        finally:
            self.output, self.errors = self.process.drain() if self.process.pid else (None, None)
        if interrupt is not None:
            raise interrupt

    def _end_tree(self, grace: float) -> None:
        process = self.process
        process.pid = process.pid or self.tree.newborn(BIRTH)
        self.tree.end([process] if process.pid and process.returncode is None else [], grace, self._wait_for)

    def _wait_for(self, processes: list[Process], seconds: float) -> None:
        """Read what is said meanwhile: whoever finds no room to write waits, and would be killed for that."""
        until = clock.monotonic() + seconds
        if self.process.has_pipes():
            self.process.read_on(seconds)
        wait_for(processes, max(until - clock.monotonic(), 0.0))

    def explain(self, error: BaseException | None) -> None:
        """Write into a timeout what the command had said, and what had to be killed."""
        if isinstance(error, (PhaseTimeout, subprocess.TimeoutExpired)):
            told: Any = error
            told.output, told.stderr = self.output, self.errors
            told.killed, told.survivors = tuple(self.tree.killed), tuple(self.tree.survivors)
            if self.process.pid:
                told.cmd = self.args
        if isinstance(error, PhaseTimeout) and self.process.pid:
            error.__cause__ = subprocess.TimeoutExpired(error.cmd, error.timeout or 0.0, self.output, self.errors)

    def done(self) -> subprocess.CompletedProcess[Any]:
        bound.release(self.tree)
        done = subprocess.CompletedProcess(self.args, self.process.returncode, self.output, self.errors)
        if self.check:
            done.check_returncode()
        return done


@uninterrupted
def _end(manager: Phases, command: Command, error: BaseException) -> None:
    if command.is_to_end(error):
        with manager.cleanup_operation(f"end {command.name}", limit=command.longest_end()):
            command.end(command.grace)
