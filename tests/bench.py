"""What a phase costs, measured: ``python -m tests.bench`` prints a line for each figure, with its goal.

Both sides of a ratio run in turns, in rounds of a tenth of a millisecond, so that what slows the machine down slows
both; the figure is the median of the rounds. The garbage collector is left as it is: users have it too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from statistics import median

from . import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 2000
PHASES = 100  # in a round
STARTS = 30  # of an interpreter


def main() -> None:
    on_311 = sys.version_info[:2] == (3, 11)
    show("counting phase, against time.time() by hand", "x", counting_phase(), goal=3.0 if on_311 else 3.5)
    show("import, processor time", " ms", import_time(), goal=1.0)


def show(what: str, unit: str, samples: list[float], goal: float) -> None:
    figure = median(samples)
    print(f"{what:48}{figure:6.2f}{unit:3}  goal <= {goal}{unit}{'' if figure <= goal else ', missed'}", flush=True)


def ratios(ours: Callable[[], None], theirs: Callable[[], None]) -> list[float]:
    """Return how many times as long as theirs ours took, for each round."""
    return [seconds(ours) / seconds(theirs) for _ in range(ROUNDS)]


def seconds(side: Callable[[], None]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def counting_phase() -> list[float]:
    def ours() -> None:
        manager = package.TimeoutManager(3600)
        for _ in range(PHASES):
            with manager.timed_operation("convert"):
                pass

    def theirs() -> None:
        remaining_timeout = 3600.0
        for _ in range(PHASES):
            convert_start = time.time()
            convert_time = time.time() - convert_start
            remaining_timeout -= convert_time
            if remaining_timeout <= 0:
                raise TimeoutError("Timeout exceeded after convert phase!")

    return ratios(ours, theirs)


def import_time() -> list[float]:
    """Return the milliseconds of processor time of an import in a new interpreter, compiled before."""
    code = f"from time import process_time as t; a = t(); import {package.__name__}; print((t() - a) * 1000)"
    with tempfile.TemporaryDirectory() as cache:  # -E: whatever PYTHONDONTWRITEBYTECODE says
        command = [sys.executable, "-E", "-X", f"pycache_prefix={cache}", "-c", code]
        return [float(subprocess.check_output(command)) for _ in range(1 + STARTS)][1:]


if __name__ == "__main__":
    main()
