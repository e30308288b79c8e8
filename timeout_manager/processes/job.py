"""A child of this process with all that it has started, on Windows, which knows no signals and no groups.

A job object holds whatever its members start, and ends it all at once, however it is related. What a process had
started before it came into the job is left to ``taskkill /T``, which follows the parents; so is everything where no job
can be had. There is no asking: what gets a signal here ends.
"""

from __future__ import annotations

from contextlib import suppress

from ..originals import signals, system
from ..seconds import INFINITY
from .group import Group
from .ps import PATIENCE
from .table import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATUS = 1  # of what is ended
MEMBERS = 1000  # that are told
PROCESS_IDS = 3  # JobObjectBasicProcessIdList


class Job(Group):
    """A child, as an object of ``subprocess.Popen``, together with what it starts from now on."""

    def __init__(self, root: Any, is_new: bool = False) -> None:
        super().__init__(root)
        self.job = _job_of(root)
        self.is_whole = is_new and self.job is not None  # the root cannot have started anything yet

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "job": None}

    def __del__(self) -> None:
        if self.job is not None:
            self.job.close()

    def is_left(self) -> bool:
        return self.root.poll() is None or self.job is not None and bool(self.job.pids())

    def _send(self, number: int) -> None:
        if not number:
            return
        for pid in self.job.pids() if self.job is not None else ():
            if pid != self.pid:
                self.others.setdefault(pid, Process(pid, self.pid, 0, 0, "S", INFINITY)).signal = "KILL"
        if not self.is_whole:
            _end_family(self.pid)
        if self.job is not None:
            self.job.end()
        if self.root.poll() is None:
            with suppress(OSError):  # it has just ended
                system.kill(self.pid, signals.SIGTERM)  # which ends it


def _end_family(pid: int) -> None:
    """Have all ended that the parents lead to, as long as they are there."""
    import subprocess  # on Windows alone

    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, timeout=PATIENCE, check=True)


def _job_of(root: Any) -> _Job | None:
    """Return a new job with the process in it; None if there can be none."""
    try:
        return _Job(int(root._handle))
    except (AttributeError, ImportError, OSError, TypeError):
        return None


class _Job:
    def __init__(self, process: int) -> None:
        import ctypes

        kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]  # a handle of our own
        kernel.CreateJobObjectW.restype = ctypes.c_void_p
        self.kernel = kernel
        self.handle = ctypes.c_void_p(kernel.CreateJobObjectW(None, None))
        self.list: Any = (ctypes.c_size_t * (MEMBERS + 1))()  # two numbers of 32 bits, and the numbers of the processes
        if not self.handle or not kernel.AssignProcessToJobObject(self.handle, ctypes.c_void_p(process)):
            self.close()
            raise OSError("no job can be had")

    def pids(self) -> list[int]:
        """Return the numbers of its members that are there."""
        from ctypes import POINTER, byref, c_uint32, cast, sizeof

        kernel = self.kernel
        if not kernel.QueryInformationJobObject(self.handle, PROCESS_IDS, byref(self.list), sizeof(self.list), None):
            return []
        count = cast(self.list, POINTER(c_uint32))[1]
        first = 8 // sizeof(self.list._type_)
        return [int(pid) for pid in self.list[first : first + count]]

    def end(self) -> None:
        self.kernel.TerminateJobObject(self.handle, STATUS)

    def close(self) -> None:
        self.kernel.CloseHandle(self.handle)
