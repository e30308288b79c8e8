"""The processes of the machine: what the system says of them, and how to hold one.

On Linux from ``/proc``, if it is that of the namespace in which this process is: that of another one gives the numbers
to others. Elsewhere from POSIX's ``ps``, which knows no sessions and no starts, and is believed if it knows this
process and itself. An OSError says that nothing is known. On Linux nothing is imported for a look, since that may come
in the handler of a signal.
"""

from __future__ import annotations

import sys
from errno import EMFILE, ENFILE

from ..originals import clock, files, signals, system
from ..seconds import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

SHOWN = 30  # processes of a family
WIDTH = 200  # characters of a command
STATES = {"R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped", "Z": "ended, not waited for"}
HAS_GROUPS = hasattr(system, "killpg")  # Windows has no signals either: what gets one ends
KILL, STOP, CONT = (getattr(signals, name, 9 * (name == "SIGKILL")) for name in ("SIGKILL", "SIGSTOP", "SIGCONT"))
ENDED = "Z", "X"  # states of processes that nobody has waited for yet
PS = "ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat=", "-o", "args="
PATIENCE = 5.0  # seconds for ``ps``
SHARE = 8  # of the files that this process may open, one in so many is for holding others
_HAS_SYSCONF = hasattr(system, "sysconf")
_TICKS = system.sysconf("SC_CLK_TCK") if _HAS_SYSCONF else 1
TICK = 1 / _TICKS  # seconds: the clock by which processes start is rounded down to it


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
        self.started = started  # on a clock of the system; infinity where that is not known
        self.busy = busy  # seconds of processor time
        self.command = ""  # what it is, as far as one line shows it
        self.age = 0.0
        self.signal = ""  # the last one that was sent to it
        self.is_refused = False  # it belongs to somebody else: no signal of ours reaches it
        self.descriptor = -1

    def __repr__(self) -> str:
        return f"{self.pid} {self.command} ({self.age:.1f} s) {self.signal}".rstrip()

    def hold(self) -> bool:
        """Take hold of it, as long as there are descriptors enough; tell whether that was in time."""
        if self.descriptor >= 0:
            return True
        if _HAS_SYSCONF and Process.held < system.sysconf("SC_OPEN_MAX") // SHARE:
            try:
                self.descriptor = system.pidfd_open(self.pid)
                Process.held += 1
            except (AttributeError, OSError):  # gone; or not Linux, an old kernel, too many open files
                pass
        if not self._is_same():
            self.let_go()
            return False
        if has_proc():
            self.command = self.command or command_of(self.pid)
            self.age = self.age or max(uptime() - self.started, 0.0)
        return True

    def _is_same(self) -> bool:
        """Tell whether the number still means this process, as far as that can be known."""
        if not has_proc():
            return True
        try:
            again = process_of(self.pid)
        except OSError:
            return True
        return again is not None and again.started == self.started

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        try:
            self._send(number)
        except OSError as error:
            self.is_refused = self.is_refused or isinstance(error, PermissionError)
            return
        if number not in (STOP, CONT):
            self.signal = name_of_signal(number)

    def _send(self, number: int) -> None:
        if self.descriptor >= 0:
            try:
                return signals.pidfd_send_signal(self.descriptor, number)
            except ProcessLookupError:
                raise
            except OSError:  # a filter of system calls does not know this one
                pass
        if self._is_same():
            system.kill(self.pid, number)

    def let_go(self) -> None:
        if self.descriptor >= 0:
            system.close(self.descriptor)
            self.descriptor = -1
            Process.held -= 1


def processes() -> dict[int, Process]:
    """Return all processes by their numbers; OSError if that cannot be known."""
    if not HAS_GROUPS:
        raise OSError("this system does not tell of its processes")
    if not has_proc():
        return _by_ps()
    found = (process_of(pid) for pid in numbers())
    return {process.pid: process for process in found if process is not None}


def numbers() -> list[int]:
    """Return the numbers of all processes, the youngest first as a rule."""
    return sorted((int(name) for name in system.listdir("/proc") if name.isdigit()), reverse=True)


def process_of(pid: int) -> Process | None:
    """Return the process with this number; None if there is none. OSError if no file can be opened any more."""
    try:
        with files.open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):
            raise
        return None
    state, parent, group, session = fields[0].decode(), *map(int, fields[1:4])
    if state in ENDED and int(fields[17]) > 1:  # its main thread has ended, others have not
        state = "S"
    busy = (int(fields[11]) + int(fields[12])) / _TICKS
    return Process(pid, parent, group, session, state, int(fields[19]) / _TICKS, busy)


def is_child(pid: int) -> bool:
    """Tell whether it is a child of this process that nobody has waited for, as far as that can be known."""
    if not has_proc():
        return True
    try:
        process = process_of(pid)
    except OSError:
        return True
    return process is not None and process.parent == system.getpid()


def environ_of(pid: int) -> bytes:
    """Return the environment that a process was started with; nothing if it is somebody else's, or gone."""
    if not has_proc():
        return b""
    try:
        with files.open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
        if environ:
            return environ
        for thread in system.listdir(f"/proc/{pid}/task"):  # where the main thread has ended, another one has it
            with files.open(f"/proc/{pid}/task/{thread}/environ", "rb") as file:
                environ = environ or file.read()
        return environ
    except OSError:
        return b""


def last_born() -> bytes:
    """Return the number that was given away last, to a process or thread; nothing where that is not known."""
    try:
        with files.open("/proc/loadavg", "rb") as file:
            return file.read().split()[-1] if has_proc() else b""
    except (OSError, IndexError):
        return b""


def uptime() -> float:
    """Return the time on the clock by which processes start, rounded down as they are; 0.0 where there is none."""
    try:
        return int(clock.clock_gettime(clock.CLOCK_BOOTTIME) * _TICKS) / _TICKS
    except (AttributeError, OSError):  # it may have no more than a name
        return 0.0


def name_of_signal(number: int) -> str:
    """Return the name of a signal, without SIG; the number if it has none, as most real-time signals."""
    import signal

    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return str(number)


def command_of(pid: int) -> str:
    try:
        with files.open(f"/proc/{pid}/cmdline", "rb") as file:
            return shown(file.read(2 * WIDTH).replace(b"\0", b" ").decode(errors="replace"))
    except OSError:
        return "?"


def shown(command: str) -> str:
    """Return a command as one line that is not too long; what would move the cursor is left out."""
    line = "".join(each if each.isprintable() else "?" for each in command.strip()[: WIDTH + 1])
    return f"{line[:WIDTH]}..." if len(line) > WIDTH else line or "?"


def listed(found: Sequence[object]) -> list[str]:
    """Return the first of them as text, and how many more there are."""
    return [*map(str, found[:SHOWN]), *([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else ())]


def family(found: list[tuple[int, Process]] | None = None) -> str:
    """Return a line for each of these descendants of this process: what it is, what it does, and for how long."""
    if not has_proc():
        return "Child processes: not known on this system"
    if found is None:
        found = descendants()
    lines = [f"{'  ' * (depth + 1)}{described(process)}" for depth, process in found[:SHOWN]]
    more = [f"  and {len(found) - SHOWN} more"] * (len(found) > SHOWN)
    return "\n".join(["Child processes:", *lines, *more]) if lines else ""


def descendants() -> list[tuple[int, Process]]:
    """Return the children of this process, each followed by its own, and how deep each is; none without ``/proc``."""
    children: dict[int, list[Process]] = {}
    try:
        known = processes() if has_proc() else {}
    except OSError:  # too many open files
        known = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process)
    found: list[tuple[int, Process]] = []
    todo = [(0, process) for process in reversed(children.get(system.getpid(), []))]
    while todo:
        depth, process = todo.pop()
        found.append((depth, process))
        todo += [(depth + 1, child) for child in reversed(children.get(process.pid, []))]
    return found


def has_children() -> bool:
    """Tell whether this process has children, as far as it can be asked."""
    try:
        system.waitid(system.P_ALL, 0, system.WEXITED | system.WNOHANG | system.WNOWAIT)
    except ChildProcessError:
        return False
    except AttributeError:  # it cannot be asked so quickly
        pass
    return True


def alive(process: Process) -> Process | None:
    """Return a process as it is now; None if it has ended."""
    try:
        again = process_of(process.pid)
    except OSError:  # that cannot be looked up
        return process
    return again if again is not None and again.started == process.started and again.state not in ENDED else None


def described(process: Process) -> str:
    """Return in a line what a process is, what it does, and for how long."""
    name = _names().get(process.pid)
    state = STATES.get(process.state, process.state) + _waits_in(process.pid)
    age = max(uptime() - process.started, 0.0)
    return (
        f"{process.pid}{f' ({name})' if name else ''} {state}, {age:.1f} s old, {process.busy:.2f} s of processor time:"
        f" {command_of(process.pid)}"
    )


def _names() -> dict[int, str]:
    """Return what `multiprocessing` calls its children, whose commands are all alike."""
    known: Any = getattr(sys.modules.get("multiprocessing.process"), "_children", frozenset()).copy()
    started = [(getattr(each, "_popen", None), each) for each in known]
    return {popen.pid: str(each.name) for popen, each in started if popen is not None}


def _waits_in(pid: int) -> str:
    """Return in what function of the kernel it waits, where the system tells."""
    try:
        with files.open(f"/proc/{pid}/wchan", "rb") as file:
            name = file.read().decode(errors="replace")
    except OSError:
        name = "0"
    return "" if name in ("", "0") else f" in {name}"


def _by_ps() -> dict[int, Process]:
    """Ask POSIX's ``ps``, which knows no sessions; the leader of a group stands for one."""
    import subprocess
    from contextlib import suppress

    ps = subprocess.Popen(PS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
    try:
        listing = ps.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        raise OSError("ps does not end") from None
    finally:
        ps.kill()
        with suppress(subprocess.TimeoutExpired):
            ps.wait(PATIENCE)
        ps.stdout.close()  # type: ignore[union-attr]
    found = {}
    for words in (line.split(None, 4) for line in listing.splitlines()):
        if len(words) >= 4 and "".join(words[:3]).isdecimal():
            pid, parent, group = map(int, words[:3])
            found[pid] = Process(pid, parent, group, group, words[3][:1], INFINITY)
            found[pid].command = shown("".join(words[4:]))
    us = found.get(system.getpid())
    if us is None or ps.pid not in found or found.pop(ps.pid).parent != us.pid or us.parent != system.getppid():
        raise OSError("ps does not know this process, or there is another one of its number")
    return found


def wait_for_one(processes: Iterable[Process], seconds: float) -> None:
    """Wait until one of the processes ends, or the time is over."""
    import select

    poll = getattr(select, "poll", None)
    held = [process.descriptor for process in processes if process.descriptor >= 0]
    if poll is None:
        clock.sleep(seconds)
        return
    if not held:
        select.select([], [], [], seconds)
        return
    waiting = poll()
    for descriptor in held:
        waiting.register(descriptor, select.POLLIN)
    waiting.poll(seconds * 1000)
