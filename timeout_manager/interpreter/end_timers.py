"""Three timers of the kernel that end the process where no Python code runs any more: a line, the stacks, the end."""

from __future__ import annotations

from ..originals import clock, made_anew
from ..seconds import INFINITY
from .stderr import STDERR
from .timer import CALL, TO_PROCESS, NoTimer, Timer, c_types, free_signals, library

faults = made_anew("faulthandler", "dump_traceback")
LATER = 0.5, 0.55, 0.8  # seconds by which they are later: line, stacks, end


class EndTimers:
    """Three timers of the kernel, and what they need of C."""

    def __init__(self, status: int) -> None:
        self.signum = [*free_signals()][-1]  # those who take the first are no danger then
        faults.register(self.signum, STDERR)  # the system may refuse it
        faults.unregister(self.signum)
        self.armed = False
        ctypes = c_types()
        self.line = ctypes.create_string_buffer(500)
        self.timers = [
            Timer(CALL, function="warnx", argument=ctypes.addressof(self.line)),
            Timer(TO_PROCESS, self.signum),
            Timer(CALL, function="_exit", argument=status),
        ]

    @classmethod
    def make(cls, status: int) -> EndTimers | None:
        """Return them; None where there are none of this kind."""
        try:
            library()
            return cls(status)
        except (NoTimer, AttributeError, IndexError, OSError):
            return None

    def set(self, at: float, line: str) -> None:
        armed = at < INFINITY
        if armed and not self.armed:
            faults.register(self.signum, STDERR, all_threads=True)
        self.line.value = line.replace("%", "%%").encode(errors="replace")[:499]
        for timer, later in zip(self.timers, LATER):
            timer.set(max(at, clock.monotonic()) + later)
        if self.armed and not armed:
            faults.unregister(self.signum)
        self.armed = armed

    def delete(self) -> None:
        for timer in self.timers:
            timer.delete()
