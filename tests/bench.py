"""What a phase costs, measured: ``python -m tests.bench`` prints a line for each figure, with its goal.

Both sides of a ratio run in turns, in rounds of a tenth of a millisecond, so that what slows the machine down slows
both; the figure is the median of the rounds. The garbage collector is left as it is: users have it too.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import importlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from statistics import median

from . import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ROUNDS = 2000
PHASES = 100  # in a round
STARTS = 30  # of an interpreter
LIMITS = 300  # that pass


def main() -> None:
    on_311 = sys.version_info[:2] == (3, 11)
    by_hand = 3.0 if on_311 else 3.5
    show("counting phase, against time.time() by hand", "x", counting_phase(package.TimeoutManager), goal=by_hand)
    show("the least such class, against the same", "x", counting_phase(Least), goal=by_hand)
    show("enforced phase alone, against a setitimer pair", "x", enforced_phase(in_session=False), goal=2.3)
    show("its system calls alone, against the same", "x", ratios(system_calls, pairs), goal=2.3)
    show("enforced phase in a session, against the pair", "x", enforced_phase(in_session=True), goal=0.6)
    bare = median(latencies_of_a_bare_handler())
    show("latency, main thread, beyond a bare handler", " us", [each - bare for each in latencies("signal")], goal=10.0)
    switch = sys.getswitchinterval() * 1e6
    show("latency, other thread, beyond a switch", " us", in_thread(lambda: latencies("thread", -switch)), goal=300.0)
    show("a level of nesting at depth 1000, against 10", "x", nesting(), goal=1.5)
    show("a level of nesting at depth 1000", " us", level(1000), goal=1.0)
    show("threads started by 100,000 phases", "", threads_started(), goal=1)
    show("run(['true']), against subprocess.run(['true'])", "x", command(), goal=1.15)
    show("import, processor time", " ms", import_time(), goal=1.0)
    if sys.version_info >= (3, 11):  # at last: once asyncio is there, every phase asks whether a task is running
        show("async phase, against asyncio.timeout", "x", async_phases(), goal=1.0)


def show(what: str, unit: str, samples: list[float], goal: float) -> None:
    figure = median(samples)
    print(f"{what:48}{figure:7.2f}{unit:3}  goal <= {goal}{unit}{'' if figure <= goal else ', missed'}", flush=True)


def ratios(ours: Callable[[], None], theirs: Callable[[], None]) -> list[float]:
    """Return how many times as long as theirs ours took, for each round."""
    return [seconds(ours) / seconds(theirs) for _ in range(ROUNDS)]


def seconds(side: Callable[[], None]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


class Least:
    """What a manager does at the least: its phases read the clock twice, and are kept. What is missing is all else."""

    def __init__(self, initial_timeout: float) -> None:
        self.phases: list[LeastPhase] = []

    def timed_operation(self, phase_name: str) -> LeastPhase:
        return LeastPhase(self, phase_name)


class LeastPhase:
    __slots__ = ("manager", "name", "started", "ended")

    def __init__(self, manager: Least, name: str) -> None:
        self.manager = manager
        self.name = name

    def __enter__(self) -> LeastPhase:
        self.started = time.monotonic()
        self.manager.phases.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.ended = time.monotonic()


def counting_phase(kind: Any) -> list[float]:
    def ours() -> None:
        manager = kind(3600)
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


def pairs() -> None:
    for _ in range(PHASES):
        signal.setitimer(signal.ITIMER_REAL, 3600)
        signal.setitimer(signal.ITIMER_REAL, 0)


def system_calls() -> None:
    """Ask the system for what a phase alone needs, the shortest way: the handler, the mask, the timer; and back."""
    for _ in range(PHASES):
        _signal.signal(_signal.SIGALRM, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGALRM,))
        _signal.setitimer(_signal.ITIMER_REAL, 3600, 0.05)
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)


def enforced_phase(in_session: bool) -> list[float]:
    manager = package.TimeoutManager(3600, enforce="signal")

    def ours() -> None:
        manager._ledger.phases.clear()
        for _ in range(PHASES):
            with manager.timed_operation("convert"):
                pass

    if not in_session:
        return ratios(ours, pairs)
    pair = median(seconds(pairs) for _ in range(ROUNDS))
    with manager:  # the pair would disarm it
        return [seconds(ours) / pair for _ in range(ROUNDS)]


def async_phases() -> list[float]:
    import asyncio

    manager = package.TimeoutManager(3600, enforce=True)

    async def ours() -> float:
        manager._ledger.phases.clear()
        start = time.perf_counter()
        for _ in range(PHASES):
            async with manager.timed_operation("fetch", 60):
                pass
        return time.perf_counter() - start

    async def theirs() -> float:
        start = time.perf_counter()
        for _ in range(PHASES):
            async with asyncio.timeout(60):
                pass
        return time.perf_counter() - start

    async def both() -> list[float]:
        found = []
        for _ in range(ROUNDS):
            found.append(await ours() / await theirs())
            await asyncio.sleep(0)
        return found

    return asyncio.run(both())


def spin() -> None:
    while True:
        time.perf_counter()


def latencies_of_a_bare_handler() -> list[float]:
    """Return the microseconds from when an alarm is due to when its exception is caught, without this package."""
    found = []

    def handler(*args: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, handler)
    for _ in range(LIMITS):
        due = time.monotonic() + 0.002
        signal.setitimer(signal.ITIMER_REAL, due - time.monotonic())
        try:
            spin()
        except TimeoutError:
            found.append((time.monotonic() - due) * 1e6)
    signal.signal(signal.SIGALRM, before)
    return found


def latencies(enforce: str, offset: float = 0.0) -> list[float]:
    """Return the microseconds from a deadline to the exception in the block."""
    found = []
    manager = package.TimeoutManager(enforce=enforce)
    for _ in range(LIMITS):
        phase = manager.timed_operation("spin", 0.002)
        try:
            with phase:
                try:
                    spin()
                except TimeoutError:
                    found.append((phase.elapsed() - 0.002) * 1e6 + offset)
        except TimeoutError:
            pass
    return found


def in_thread(function: Callable[[], list[float]]) -> list[float]:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.extend(function()))
    thread.start()
    thread.join()
    return found


def level(depth: int) -> list[float]:
    """Return the microseconds that one more phase takes inside so many others."""
    manager = package.TimeoutManager(3600, enforce="signal")
    found = []
    with ExitStack() as stack:
        for _ in range(depth):
            stack.enter_context(manager.timed_operation("level"))
        for _ in range(ROUNDS // 4):
            start = time.perf_counter()
            for _ in range(PHASES):
                with manager.timed_operation("level"):
                    pass
            found.append((time.perf_counter() - start) / PHASES * 1e6)
    return found


def nesting() -> list[float]:
    return [median(level(1000)) / median(level(10)) for _ in range(3)]


def threads_started() -> list[float]:
    """Return how many threads are started by many phases in a session that the watchdog enforces."""
    watchdog: Any = importlib.import_module(package.__name__ + ".enforcing.by_thread")
    start, started = watchdog.start_new_thread, []

    def count(*args: Any) -> int:
        started.append(args)
        return int(start(*args))

    watchdog.start_new_thread = count
    manager = package.TimeoutManager(3600, enforce="thread")
    with manager:
        for _ in range(100_000):
            with manager.timed_operation("convert"):
                pass
    watchdog.start_new_thread = start
    return [float(len(started))]


def command() -> list[float]:
    manager = package.TimeoutManager(3600)

    def ours() -> None:
        manager.run(["true"])

    def theirs() -> None:
        subprocess.run(["true"])

    ours()
    return [seconds(ours) / seconds(theirs) for _ in range(ROUNDS // 4)]


def import_time() -> list[float]:
    """Return the milliseconds of processor time of an import in a new interpreter, compiled before."""
    code = f"from time import process_time as t; a = t(); import {package.__name__}; print((t() - a) * 1000)"
    with tempfile.TemporaryDirectory() as cache:  # -E: whatever PYTHONDONTWRITEBYTECODE says
        command = [sys.executable, "-E", "-X", f"pycache_prefix={cache}", "-c", code]
        return [float(subprocess.check_output(command)) for _ in range(1 + STARTS)][1:]


if __name__ == "__main__":
    main()
