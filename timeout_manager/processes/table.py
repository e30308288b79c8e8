"""The processes of the machine: what the system says of them, and how to hold one.

On Linux from ``/proc``, if it is that of the namespace in which this process is: that of another one gives the numbers
to others. Elsewhere from `ps`. An OSError says that nothing is known. On Linux nothing is imported for a look, since
that may come in the handler of a signal.
"""

from __future__ import annotations

import sys
from errno import EMFILE, ENFILE

from ..interpreter.stderr import POLLIN, poll
from ..originals import clock, files, signals, system
from ..seconds import INFINITY
from . import ps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

WIDTH = 200  # characters of a command
HAS_GROUPS = hasattr(system, "killpg")  # Windows has no signals either: what gets one ends
KILL, STOP, CONT = (getattr(signals, name, 9 * (name == "SIGKILL")) for name in ("SIGKILL", "SIGSTOP", "SIGCONT"))
UNKNOWN = float("nan")
AGAIN = 10_000  # births, before which no number comes again: there are three times as many as a rule, or more
ENDED = "Z", "X"  # states of processes that nobody has waited for yet
SHARE = 8  # of the files that this process may open, one in so many is for holding others
_TICKS = system.sysconf("SC_CLK_TCK") if hasattr(system, "sysconf") else 1
_NAMES = {
    number: name[3:]
    for name, number in sorted(vars(signals).items(), reverse=True)  # of two names for one, the first in this order
    if name[:3] == "SIG" and name[3:].isalnum() and isinstance(number, int)
}
_EXITING = 4  # PF_EXITING, a flag of a process for the kernel
TICK = 1 / _TICKS  # seconds: the clock by which processes start is rounded down to it


def contents(path: str, size: int = -1) -> bytes:
    """Return what is in a file of the system, or the beginning of it."""
    with files.FileIO(path) as file:
        return file.read(size)


def has_proc() -> bool:
    """Tell whether the system shows its processes as files, by the numbers that they have for this one."""
    try:
        return sys.platform == "linux" and system.readlink("/proc/self") == str(system.getpid())
    except OSError:
        return False


class Process:
    """A process; once held, its number cannot come to mean another one."""

    held = 0  # how many there are with a descriptor

    def __init__(
        self, pid: int, parent: int, group: int, session: int, state: str, started: float, busy: float = 0.0
    ) -> None:
        self.pid, self.parent, self.group, self.session = pid, parent, group, session
        self.state = state
        self.is_dying = False  # it does nothing more, though it has not ended yet
        self.started = started  # on a clock of the system; infinity where that is not known
        self.busy = busy  # seconds of processor time
        self.command = ""  # what it is, as far as one line shows it
        self.age = 0.0
        self.signal = ""  # the last one that was sent to it
        self.is_refused = False  # it belongs to somebody else: no signal of ours reaches it
        self.descriptor = -1

    def __repr__(self) -> str:
        age = f"({self.age:.1f} s) " if self.started < INFINITY else ""
        return f"{self.pid} {self.command} {age}{self.signal}".rstrip()

    def hold(self) -> bool:
        """Take hold of it, as long as there are descriptors enough; tell whether that was in time."""
        if self.descriptor >= 0:
            return True
        try:
            if Process.held < system.sysconf("SC_OPEN_MAX") // SHARE:
                self.descriptor = system.pidfd_open(self.pid)
                Process.held += 1
        except (AttributeError, OSError):  # gone; or not Linux, an old kernel, too many open files
            pass
        if not self._is_there():
            self.let_go()
            return False
        if has_proc():
            self.command = self.command or command_of(self.pid)
            self.age = self.age or max(uptime() - self.started, 0.0)
        return True

    def _is_there(self) -> bool:
        return _may_be(self.pid, lambda now: now.started == self.started)

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        try:
            self._send(number)
        except OSError as error:
            self.is_refused = self.is_refused or isinstance(error, PermissionError)
        else:
            self.signal = self.signal if number in (STOP, CONT) else name_of_signal(number)

    def _send(self, number: int) -> None:
        if self.descriptor >= 0:
            try:
                return signals.pidfd_send_signal(self.descriptor, number)
            except ProcessLookupError:
                raise
            except OSError:  # a filter of system calls does not know this one
                pass
        if self._is_there():
            system.kill(self.pid, number)

    def let_go(self) -> None:
        if self.descriptor >= 0:
            system.close(self.descriptor)
            self.descriptor = -1
            Process.held -= 1


def processes(but: Container[int] = ()) -> dict[int, Process]:
    """Return all processes by their numbers, but those; OSError if that cannot be known."""
    if not HAS_GROUPS:
        raise OSError("this system does not tell of its processes")
    if not has_proc():
        return {row[0]: _process_of_row(*row) for row in ps.rows()}
    asked = map(process_of, (number for number in numbers() if number not in but))
    return {process.pid: process for process in asked if process is not None}


def _process_of_row(pid: int, parent: int, group: int, state: str, command: str) -> Process:
    process = Process(pid, parent, group, group, state, INFINITY)  # the leader of a group stands for its session
    process.command = shown(command)
    return process


def numbers() -> list[int]:
    """Return the numbers of all processes, the youngest first as a rule."""
    return sorted((int(name) for name in system.listdir("/proc") if name.isdigit()), reverse=True)


def process_of(pid: int) -> Process | None:
    """Return the process with this number; None if there is none. OSError if no file can be opened any more."""
    try:
        fields = contents(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):
            raise
        return None
    state, parent, group, session = fields[0].decode(), *map(int, fields[1:4])
    is_exiting = int(fields[6]) & _EXITING
    if state in ENDED and int(fields[17]) > 1:  # its main thread has ended, others have not
        state, is_exiting = "S", 0
    busy = (int(fields[11]) + int(fields[12])) / _TICKS
    process = Process(pid, parent, group, session, state, int(fields[19]) / _TICKS, busy)
    # every signal that ends a process becomes a pending SIGKILL, but for those that dump core
    process.is_dying = bool(is_exiting or int(fields[28]) & 1 << KILL - 1)
    return process


def is_child(pid: int) -> bool:
    """Tell whether it is a child of this process that nobody has waited for, as far as that can be known."""
    return _may_be(pid, lambda process: process.parent == system.getpid())


def _may_be(pid: int, fits: Callable[[Process], bool]) -> bool:
    """Tell whether the process with this number is such a one, as far as that can be known."""
    if not has_proc():
        return True
    try:
        process = process_of(pid)
    except OSError:
        return True
    return process is not None and fits(process)


def environ_of(pid: int) -> bytes:
    """Return the environment that a process was started with; nothing if it is somebody else's, or gone."""
    if not has_proc():
        return b""
    try:
        environ = contents(f"/proc/{pid}/environ")
        for thread in () if environ else system.listdir(f"/proc/{pid}/task"):
            environ = environ or contents(f"/proc/{pid}/task/{thread}/environ")  # the main thread has ended
        return environ
    except OSError:
        return b""


def last_born() -> bytes:
    """Return the number that was given away last, to a process or thread; nothing where that is not known."""
    try:
        return contents("/proc/loadavg").split()[-1] if has_proc() else b""
    except (OSError, IndexError):
        return b""


def births() -> tuple[float, int]:
    """Return how many processes and threads the system has seen born, and the number of the last; NaN if not known."""
    try:
        _, _, count = contents("/proc/stat").partition(b"\nprocesses ")
        return float(count.split(b"\n")[0]) or UNKNOWN, int(last_born())
    except (OSError, ValueError):
        return UNKNOWN, 0


def uptime() -> float:
    """Return the time on the clock by which processes start, rounded down as they are; 0.0 where there is none."""
    try:
        return int(clock.clock_gettime(clock.CLOCK_BOOTTIME) * _TICKS) / _TICKS
    except (AttributeError, OSError):  # it may have no more than a name
        return 0.0


def name_of_signal(number: int) -> str:
    """Return the name of a signal, without SIG; the number if it has none, as most real-time signals."""
    return _NAMES.get(number, str(number))


def command_of(pid: int) -> str:
    try:
        return shown(contents(f"/proc/{pid}/cmdline", 2 * WIDTH).replace(b"\0", b" ").decode(errors="replace"))
    except OSError:
        return "?"


def shown(command: str) -> str:
    """Return a command as one line that is not too long; what would move the cursor is left out."""
    line = "".join(each if each.isprintable() else "?" for each in command.strip()[: WIDTH + 1])
    return f"{line[:WIDTH]}..." if len(line) > WIDTH else line or "?"


def wait_for(processes: Iterable[Process], seconds: float) -> None:
    """Wait until all of the processes that are held have ended, or the time is over."""
    if poll is None:
        return clock.sleep(seconds)
    waiting, until = poll(), clock.monotonic() + seconds
    left = {process.descriptor for process in processes if process.descriptor >= 0}
    for descriptor in left:
        waiting.register(descriptor, POLLIN)
    while ended := waiting.poll(max(until - clock.monotonic(), 0.0) * 1000):
        for descriptor, _ in ended:
            waiting.unregister(descriptor)
            left.discard(descriptor)
        if not left:
            break
