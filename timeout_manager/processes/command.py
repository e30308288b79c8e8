"""Run a command in a phase: it has what is left of the time, and the deadline in its environment.

When time is over, on Ctrl-C, and on every other error it is ended with everything that it has started (`tree`).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import contextmanager
from threading import Lock, current_thread, main_thread

from . import bound, deadline
from ..errors import PhaseTimeout
from ..originals import clock, uninterrupted
from ..seconds import amount
from .name import name_of
from .tree import BOUND, Tree

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class Phases(Protocol):
        """What gives a command its phases: a manager."""

        def timed_operation(self, phase_name: str, limit: float | None) -> Any: ...
        def cleanup_operation(self, phase_name: str, *, limit: float) -> Any: ...


try:
    from _signal import SIGCHLD, getsignal  # type: ignore[import-not-found]  # without the names of handlers
except ImportError:  # Windows
    SIGCHLD = None

BIRTH = 1.0  # seconds for a process to become the command, if the start was interrupted
LONGEST = 1e6  # seconds that a poll waits for everywhere
PIECE = 32768  # bytes that are read at once
DRAIN = 0.5  # seconds for each of two looks at what is left in the pipes when all who could write are gone


def run(
    manager: Phases,
    args: Any,
    phase_name: str | None = None,
    *,
    grace: float = 5.0,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    env: Any = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """See ``TimeoutManager.run``."""
    args, name, waiting = prepare(args, phase_name, grace, input, capture_output, timeout, options)
    with child_signal(), manager.timed_operation(name, timeout) as phase:
        command = Command(args, env, options, phase.remaining())
        try:
            command.start()
            command.talk(input, phase.remaining())
        except BaseException as error:
            if command.is_to_end(error):
                _end(manager, name, command, waiting)
                command.explain(error)
            raise
    return command.done(check)


def prepare(
    args: Any,
    phase_name: str | None,
    grace: float,
    input: Any,
    capture_output: bool,
    timeout: float | None,
    options: dict[str, Any],
) -> tuple[Any, str, float]:
    """Check what a command is to be run with, and complete the options; return it, its name and the grace."""
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
    if options.get("preexec_fn") is None and options.get("process_group") is None:  # they may begin a group or session
        options.setdefault("start_new_session", True)
    if hasattr(args, "__next__"):  # it can be read but once, and has the name
        args = list(args)
    return args, phase_name if phase_name is not None else name_of(args, bool(options.get("shell"))), waiting


class Command:
    """A command, what it has said, and all that has come of it."""

    def __init__(self, args: Any, env: Any, options: dict[str, Any], left: float | None) -> None:
        if left == 0.0:
            raise subprocess.TimeoutExpired(args, left)
        self.args, self.options = args, options
        self.tree = Tree()
        self.environ = with_variables(env, {**deadline.variables(left), **self.tree.variables()})
        self.process = Child.__new__(Child)  # known before it is there: an error in its start leaves it to us
        self.is_started = False
        self.output: Any = None
        self.errors: Any = None

    def start(self) -> None:
        bound.bind(self.tree, [self.process])
        _start(self.process, self.args, self.environ, self.options)
        self.is_started = True
        self.tree.take(self.process)

    def talk(self, input: Any, seconds: float | None) -> None:
        """Wait for its end, and for that of its output; TimeoutExpired after so many seconds."""
        process = self.process
        if process.stdin is process.stdout is process.stderr is None:
            process.wait(seconds)
        else:
            self.output, self.errors = process.communicate(input, seconds)

    def is_to_end(self, error: BaseException) -> bool:
        """Tell whether an error has left something behind: one of the system's has not if it could not be started."""
        is_started = self.is_started or bool(self.process.pid and self.process.returncode is None)
        return is_started or isinstance(error, TimeoutError) or not isinstance(error, OSError)

    def end(self, grace: float) -> None:
        """End all of it, and take what it has said."""
        process = self.process
        try:
            process.pid = process.pid or self.tree.newborn(BIRTH)
            self.tree.end([process] if process.pid and process.returncode is None else [], signal.SIGTERM, grace)
        finally:
            self.output, self.errors = _drain(process) if process.pid else (None, None)

    def explain(self, error: BaseException | None) -> None:
        """Write into a timeout what the command had said, and what had to be killed."""
        if isinstance(error, (PhaseTimeout, subprocess.TimeoutExpired)):
            told: Any = error
            told.output, told.stderr = self.output, self.errors
            told.killed, told.survivors = tuple(self.tree.killed), tuple(self.tree.survivors)
            if self.process.pid:
                told.cmd = self.args
        if isinstance(error, PhaseTimeout):
            error.__cause__ = subprocess.TimeoutExpired(error.cmd, error.timeout or 0.0, self.output, self.errors)

    def done(self, check: bool) -> subprocess.CompletedProcess[Any]:
        bound.release(self.tree)
        done = subprocess.CompletedProcess(self.args, self.process.returncode, self.output, self.errors)
        if check:
            done.check_returncode()
        return done


def longest_end(grace: float) -> float:
    """Return the seconds that it takes to end a command, at most."""
    return grace + BOUND + 3 * DRAIN + BIRTH


@uninterrupted
def _end(manager: Phases, name: str, command: Command, grace: float) -> None:
    with manager.cleanup_operation(f"end {name}", limit=longest_end(grace)):
        command.end(grace)


def with_variables(env: Any, variables: dict[str, str]) -> Any:
    """Return the environment (None: that of this process) with these variables in it."""
    if env is not None or not os.supports_bytes_environ:
        given = os.environ if env is None else env
        return {**{name: given[name] for name in given if os.fsdecode(name) not in variables}, **variables}
    environ = dict(deadline.own)
    for name, value in variables.items():
        environ[name.encode()] = os.fsencode(value)
    return environ


class Child(subprocess.Popen):  # type: ignore[type-arg]
    """A process that is waited for without looking again and again, where the system has descriptors for processes."""

    pid = 0  # not started yet
    is_cut = False  # its output may end within a character

    def _wait(self, timeout: float | None) -> int:
        if timeout is not None and self.returncode is None and hasattr(os, "pidfd_open"):
            try:
                descriptor = os.pidfd_open(self.pid)
            except OSError:  # an old kernel, or too many open files
                pass
            else:
                try:
                    poll = select.poll()
                    poll.register(descriptor, select.POLLIN)
                    first = min(max(timeout, 0.0), LONGEST)
                    timeout = None if poll.poll(first * 1000) else timeout - first
                finally:
                    os.close(descriptor)
        return super()._wait(timeout=timeout)  # type: ignore[misc,no-any-return]

    def _communicate(self, input: Any, endtime: Any, orig_timeout: Any) -> Any:
        """Go on with the input, too, when it is called again after a timeout: many versions forget the rest of it."""
        if not input and self.stdin is not None and not self.stdin.closed:
            input = getattr(self, "_input", None)
        output, errors = super()._communicate(input, endtime, orig_timeout)  # type: ignore[misc]
        return self._text_of(self.stdout, output), self._text_of(self.stderr, errors)

    def _text_of(self, pipe: Any, said: Any) -> Any:
        """Return as text what was read of a pipe that is for text, but not by its own means."""
        if not isinstance(said, bytes) or not hasattr(pipe, "encoding"):
            return said
        text = said.decode(pipe.encoding, "replace" if self.is_cut else pipe.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _readerthread(self, pipe: Any, buffer: list[Any]) -> None:
        """Note piece by piece what comes: on Windows a thread reads, and waits for whoever holds the pipe open."""
        raw = getattr(pipe, "buffer", pipe)
        buffer[:] = [b""]
        for piece in iter(lambda: getattr(raw, "read1", raw.read)(PIECE), b""):
            buffer[0] += piece
        pipe.close()

    def _remaining_time(self, endtime: float | None) -> float | None:  # until 3.14; it goes to a selector
        return None if endtime is None else min(endtime - clock.monotonic(), LONGEST)


@uninterrupted
def _start(process: Child, args: Any, environ: Any, options: dict[str, Any]) -> None:
    Child.__init__(process, args, env=environ, **options)


def _drain(process: Child) -> tuple[Any, Any]:
    """Return what has come from the pipes, close them, and collect the process."""
    output = errors = None
    is_text = getattr(process, "text_mode", False)  # gevent's does not tell
    process.is_cut = True
    try:
        for pipe in process.stdout, process.stderr:
            if is_text and pipe is not None and not pipe.closed:
                pipe.reconfigure(errors="replace")  # type: ignore[attr-defined]
        for _ in range(2):  # a machine that stands still for a moment costs but one look
            try:
                output, errors = process.communicate(timeout=DRAIN)
                break
            except subprocess.TimeoutExpired as late:  # somebody else holds them open
                output, errors = late.output or _read(process, "stdout"), late.stderr or _read(process, "stderr")
    except ValueError:  # they are closed
        pass
    if is_text:
        output, errors = _text(process.stdout, output), _text(process.stderr, errors)
    for name in "stdin", "stdout", "stderr":
        pipe = getattr(process, name)
        if pipe is not None and not _is_read(process, name):
            try:
                pipe.close()
            except OSError:
                pass
    try:
        process.wait(DRAIN)
    except subprocess.TimeoutExpired:  # not even SIGKILL helps, at least not yet
        pass
    return output, errors


def _is_read(process: Any, name: str) -> bool:
    """Tell whether a thread reads from the pipe, as on Windows: it has to close that itself, or both wait for ever."""
    thread = getattr(process, f"{name}_thread", None)
    return thread is not None and thread.is_alive()


def _read(process: Any, name: str) -> Any:
    """Return what such a thread has got so far."""
    buffer = getattr(process, f"_{name}_buff", None)
    return buffer[0] if buffer else None


def _text(pipe: Any, part: Any) -> Any:
    """Return what `communicate` leaves as bytes when it is cut short."""
    return part.decode(getattr(pipe, "encoding", None) or "utf-8", "replace") if isinstance(part, bytes) else part


# -- whoever started us may ignore SIGCHLD: then the system would forget how children end ------------------------------

_lock = Lock()
_waiting = 0  # how many commands are run
_nowhere: list[Any] = []  # the file into which is written that one has ended, where that takes a handler


def _is_sigchld_ignored() -> bool:
    return _waiting > 0 or SIGCHLD is not None and getsignal(SIGCHLD) == signal.SIG_IGN


@contextmanager
def child_signal() -> Iterator[None]:
    """Have the system tell how children end."""
    global _waiting
    if not _is_sigchld_ignored():
        yield
        return
    with _lock:
        _waiting += 1
        if _waiting == 1:
            _set_sigchld(signal.SIG_DFL)
    try:
        yield
    finally:
        with _lock:
            _waiting -= 1
            if not _waiting:
                _set_sigchld(signal.SIG_IGN)


def _set_sigchld(handler: signal.Handlers) -> None:
    try:
        import ctypes
    except ImportError:
        import faulthandler  # its handlers can be set in any thread, and taken back

        if handler == signal.SIG_DFL:
            _nowhere.append(open(os.devnull, "w"))
            faulthandler.register(signal.SIGCHLD, _nowhere[-1], all_threads=False)
        else:
            faulthandler.unregister(signal.SIGCHLD)
            _nowhere.pop().close()
        return
    if current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, handler)
    else:
        ctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(int(handler)))
