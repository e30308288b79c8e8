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

from . import deadline
from ..errors import PhaseTimeout
from ..originals import clock
from ..seconds import amount
from .table import shown
from .tree import BOUND, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..accounting import TimeoutManager

try:
    from _signal import SIGCHLD, getsignal  # type: ignore[import-not-found]  # without the names of handlers
except ImportError:  # Windows
    SIGCHLD = None

_no_interrupt = frozenset({"_start", "_end"})  # see interrupt; a process that nobody knows would outlive us

BIRTH = 1.0  # seconds for a process to become the command, if the start was interrupted
LONGEST = 1e6  # seconds that a poll waits for everywhere
DRAIN = 0.5  # seconds for each of two looks at what is left in the pipes when all who could write are gone


def run(
    manager: TimeoutManager,
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
    name = phase_name if phase_name is not None else name_of(args, bool(options.get("shell")))
    if _is_sigchld_ignored():
        with _sigchld_not_ignored():
            return _run(manager, args, name, waiting, input, timeout, check, env, options)
    return _run(manager, args, name, waiting, input, timeout, check, env, options)


def _run(
    manager: TimeoutManager,
    args: Any,
    name: str,
    grace: float,
    input: Any,
    timeout: float | None,
    check: bool,
    env: Any,
    options: dict[str, Any],
) -> subprocess.CompletedProcess[Any]:
    with manager.timed_operation(name, timeout) as phase:
        left = phase.remaining()
        if left == 0.0:
            raise subprocess.TimeoutExpired(args, left)
        tree = Tree()
        environ = with_variables(env, {**deadline.variables(left), **tree.variables()})
        process = Child.__new__(Child)  # known before it is there: an error that comes in its start leaves it to us
        is_started = False
        output = errors = None
        try:
            _start(process, args, environ, options)
            is_started = True
            if process.stdin is process.stdout is process.stderr is None:
                process.wait(phase.remaining())
            else:
                output, errors = process.communicate(input, phase.remaining())
        except BaseException as error:
            is_started = is_started or bool(process.pid and process.returncode is None)
            if is_started or isinstance(error, TimeoutError) or not isinstance(error, OSError):
                _end(manager, name, process, tree, grace, error)
            raise
    done = subprocess.CompletedProcess(args, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def with_variables(env: Any, variables: dict[str, str]) -> Any:
    """Return the environment (None: that of this process) with these variables in it."""
    if env is not None or not os.supports_bytes_environ:
        given = os.environ if env is None else env
        return {**{name: given[name] for name in given if os.fsdecode(name) not in variables}, **variables}
    environ = dict(deadline.own)
    for name, value in variables.items():
        environ[name.encode()] = os.fsencode(value)
    return environ


def name_of(args: Any, shell: bool = False) -> str:
    """Return a name for a command: that of its program, without the directory and without variables before it."""
    is_line = isinstance(args, (str, bytes)) or hasattr(args, "__fspath__")
    words = [os.fsdecode(word) for word in ([args] if is_line else args)]
    if shell or is_line and os.name == "nt":
        words = _after_variables(_words(words[0] if words else ""))
    if words and os.path.basename(words[0]) == "env":
        rest = _after_variables(words[1:])
        words = rest if rest and not rest[0].startswith("-") else words
    program = words[0].rstrip("/") if words else ""
    return shown(os.path.basename(program)) if program.strip() else "command"


def _words(line: str) -> list[str]:
    """Return the words of a line as a shell takes them, without what is no word."""
    import shlex

    words = shlex.shlex(line, posix=os.name == "posix", punctuation_chars=True)
    words.whitespace_split, words.commenters = True, ""
    try:
        return [word for word in words if word.strip(words.punctuation_chars + "{!}")]
    except ValueError:  # a quotation without an end, or what seems to be one
        return line.split()


def _after_variables(words: list[str]) -> list[str]:
    """Return the words after those that set a variable."""
    first = 0
    while first < len(words) and words[first].partition("=")[1] and words[first].partition("=")[0].isidentifier():
        first += 1
    return words[first:]


class Child(subprocess.Popen):  # type: ignore[type-arg]
    """A process that is waited for without looking again and again, where the system has descriptors for processes."""

    pid = 0  # not started yet

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

    def _remaining_time(self, endtime: float | None) -> float | None:  # until 3.14; it goes to a selector
        return None if endtime is None else min(endtime - clock.monotonic(), LONGEST)


def _start(process: Child, args: Any, environ: Any, options: dict[str, Any]) -> None:
    Child.__init__(process, args, env=environ, **options)


def _end(manager: TimeoutManager, name: str, process: Child, tree: Tree, grace: float, error: BaseException) -> None:
    """End the tree; write into a timeout what the command had said, and what had to be killed."""
    with manager.cleanup_operation(f"end {name}", limit=grace + BOUND + 3 * DRAIN + BIRTH):
        try:
            process.pid = process.pid or tree.newborn(BIRTH)
            tree.end([process] if process.pid and process.returncode is None else [], signal.SIGTERM, grace)
        finally:
            output, errors = _drain(process) if process.pid else (None, None)
    if isinstance(error, (PhaseTimeout, subprocess.TimeoutExpired)):
        told: Any = error
        told.output, told.stderr = output, errors
        told.killed, told.survivors = tuple(tree.killed), tuple(tree.survivors)
        if process.pid:
            told.cmd = process.args
    if isinstance(error, PhaseTimeout):
        error.__cause__ = subprocess.TimeoutExpired(error.cmd, error.timeout or 0.0, output, errors)


def _drain(process: Child) -> tuple[Any, Any]:
    """Return what has come from the pipes, close them, and collect the process."""
    output = errors = None
    try:
        for pipe in process.stdout, process.stderr:
            if process.text_mode and pipe is not None:  # type: ignore[attr-defined]
                pipe.reconfigure(errors="replace")  # type: ignore[attr-defined]  # it may be cut within a character
        for _ in range(2):  # a machine that stands still for a moment costs but one look
            try:
                output, errors = process.communicate(timeout=DRAIN)
                break
            except subprocess.TimeoutExpired as late:  # somebody else holds them open
                output, errors = late.output, late.stderr
    except ValueError:  # they are closed
        pass
    if process.text_mode:  # type: ignore[attr-defined]
        output, errors = (_text(process, part) for part in (output, errors))
    for pipe in process.stdin, process.stdout, process.stderr:
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                pass
    try:
        process.wait(DRAIN)
    except subprocess.TimeoutExpired:  # not even SIGKILL helps, at least not yet
        pass
    return output, errors


def _text(process: Any, part: Any) -> Any:
    """Return what `communicate` leaves as bytes when it is cut short."""
    return part.decode(process.encoding or "utf-8", "replace") if isinstance(part, bytes) else part


# -- whoever started us may ignore SIGCHLD: then the system would forget how children end ------------------------------

_lock = Lock()
_waiting = 0  # how many commands are run


def _is_sigchld_ignored() -> bool:
    return _waiting > 0 or SIGCHLD is not None and getsignal(SIGCHLD) == signal.SIG_IGN


@contextmanager
def _sigchld_not_ignored() -> Iterator[None]:
    global _waiting
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
    if current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, handler)
    else:
        import ctypes

        ctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(int(handler)))
