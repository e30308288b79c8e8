"""The deadline that a process hands on to those it starts: TIMEOUT_MANAGER_DEADLINE in their environment.

``MONOTONIC:WALL:BOOT``: the same instant on the monotonic clock, which is one for all processes since the machine was
booted, and on the clock of the world, for a process on another machine; BOOT tells which of them counts. An instant is
right for a child that starts late, and for a parent that is stopped and goes on. There is no character in it that a
shell, ``mpirun -x`` or ``srun --export`` takes for its own.
"""

from __future__ import annotations

import os
from functools import lru_cache

from ..originals import clock, files
from ..seconds import INFINITY, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "TIMEOUT_MANAGER_DEADLINE"
MARGIN = 0.05, 5.0  # of what is left, at most seconds: the child reports before its parent kills

#: the environment of this process as it is kept, which ``os.environ`` decodes and encodes word by word
own: Any = getattr(os.environb, "_data", os.environb) if os.supports_bytes_environ else os.environ


def inherited() -> float:
    """Return the seconds that the parent has left, never below 0.0; infinity if it has no limit.

    ValueError names the variable if it makes no sense.
    """
    value = variable(VARIABLE)
    if value is None:
        return INFINITY
    parts = value.split(":")
    try:
        by_monotonic, by_wall = float(parts[0]), float(parts[1])
        left = by_monotonic - clock.monotonic() if parts[2] == _boot() != "" else by_wall - clock.time()
    except (IndexError, ValueError):
        left = INFINITY
    if not left < INFINITY:
        raise ValueError(f"{VARIABLE} must be MONOTONIC:WALL:BOOT, not {value!r} (from the environment)")
    return max(left, 0.0)


def less_margin(seconds: float, share: float = MARGIN[0], longest: float = MARGIN[1]) -> float:
    """Return the share of what a parent has left that is a child's to use."""
    return seconds - min(seconds * share, longest)


def deadline(seconds: float) -> str:
    """Return the value of the variable for a child that has so many seconds."""
    return f"{clock.monotonic() + seconds:.3f}:{clock.time() + seconds:.3f}:{_boot()}"


def variables(seconds: float | None) -> dict[str, str]:
    """Return what tells a child that it has so many seconds; nothing for None: it inherits what this process has."""
    return {} if seconds is None else {VARIABLE: deadline(min(seconds, inherited()))}


def environ_with(env: Any, variables: dict[str, str]) -> Any:
    """Return an environment (None: that of this process) with these variables in it."""
    if env is not None or not os.supports_bytes_environ:
        given = os.environ if env is None else env
        return {**{name: given[name] for name in given if os.fsdecode(name) not in variables}, **variables}
    return {**own, **{name.encode(): os.fsencode(value) for name, value in variables.items()}}


@lru_cache(maxsize=None)
def _boot() -> str:
    """Return what tells this run of this machine from others; "" where the system does not say."""
    try:
        with files.open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
