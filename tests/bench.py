"""What the package costs, measured: ``python -m tests.bench`` prints a line for each figure, with its goal.

    python -m tests.bench                       # everything
    python -m tests.bench alone session         # the figures whose names have one of these words
    python -m tests.bench --against ../before   # the copy in another checkout beside, in the same rounds

All sides of a figure run in turns, in rounds of some tenths of a millisecond, so that what slows the machine down slows
all of them. A figure is shown twice: by the minima of the rounds, which a machine with other work hardly bends, and by
the medians. The garbage collector is left as it is: users have it too. Packages for the same purpose are measured
beside this one where they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import unittest
from contextlib import ExitStack
from functools import partial
from statistics import median

from . import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Optional

    Work = Callable[[], object]
    Sample = Callable[[], float]  # measures once, in seconds
    Side = Callable[[Any], Sample]  # makes it for a copy of the package
    Figure = Optional[tuple[float, float]]  # by the minima, by the medians

ROUNDS = 1000
PHASES = 100  # in a round
TESTS = 20  # in a round
LIMITS = 300  # that pass
STARTS = 30  # of an interpreter
RUNS = 6  # of a command on a suite
NOT_THERE = AttributeError, ImportError, RuntimeError, ValueError  # an older copy lacks it, or this system does


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the package costs.")
    parser.add_argument("words", nargs="*", help="measure only what has one of these words in its name")
    parser.add_argument("--against", metavar="PATH", help="measure the copy in this checkout, too")
    options = parser.parse_args()
    copies = [package] + ([load(options.against)] if options.against else [])
    print(f"{build()}\n{os.getloadavg()[0]:.1f} processes are busy on {os.cpu_count()} processors\n")
    titles = "".join(f"{title:>16}" for title in ("ours: min median", "against")[: len(copies)])
    print(f"{'':52}{titles}   goal")
    for what, goal, show in FIGURES:
        if not options.words or any(word in what for word in options.words):
            figures = show(copies)
            shown = "".join("               -" if each is None else "%8.2f%8.2f" % each for each in figures)
            missed = ", missed" if figures[0] is not None and goal < figures[0][0] else ""
            print(f"{what:52}{shown}   {goal:g}{missed}", flush=True)
    if not options.words or "rivals" in options.words:
        show_rivals()


def build() -> str:
    """Name the interpreter, and say whether its configuration asks for optimization by a profile."""
    asked = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    pgo = "with PGO" if asked else "not configured with --enable-optimizations; a distribution may do PGO by itself"
    return f"{sys.implementation.name} {sys.version.split()[0]} ({sys.executable}), {pgo}"


def load(checkout: str) -> Any:
    """Return the package in another checkout, loaded under a name of its own."""
    folder = os.path.join(checkout, package.__name__)
    spec = importlib.util.spec_from_file_location(
        "against", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    copy = sys.modules["against"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


# -- how it is measured ------------------------------------------------------------------------------------------------


def timed(prepare: Callable[[], Work]) -> Sample:
    """Return what measures this work, prepared anew each time."""

    def sample() -> float:
        work = prepare()
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return sample


def rounds(samples: list[Sample], count: int) -> list[tuple[float, float]]:
    """Return minimum and median of each, taken in turns."""
    found: list[list[float]] = [[] for _ in samples]
    for number in range(count):
        for index in range(len(samples)):
            which = (index + number) % len(samples)
            found[which].append(samples[which]())
    return [(min(each), median(each)) for each in found]


def compare(side: Side, base: Side, combine: Callable[[float, float], float], copies: list[Any], count: int) -> Any:
    """Return a figure for each copy."""
    samples: list[Sample] = []
    there = []
    for copy in copies:
        try:
            both = [side(copy), base(copy)]
            both[0]()  # not the first of all
        except NOT_THERE:
            continue
        samples += both
        there.append(copy)
    found = rounds(samples, count)
    figures: dict[Any, Figure] = {}
    for copy, (least, middle), (least_base, median_base) in zip(there, found[::2], found[1::2]):
        figures[copy] = combine(least, least_base), combine(middle, median_base)
    return [figures.get(copy) for copy in copies]


def ratio(side: Side, base: Side, count: int = ROUNDS) -> Any:
    """Return what shows how many times as long as the base it takes."""
    return lambda copies: compare(side, base, lambda ours, theirs: ours / theirs, copies, count)


def added(side: Side, base: Side, count: int) -> Any:
    """Return what shows how many microseconds longer than the base it takes."""
    return lambda copies: compare(side, base, lambda ours, theirs: (ours - theirs) * 1e6, copies, count)


def in_thread(show: Callable[[list[Any]], list[Figure]]) -> Any:
    """Return what shows the same in a thread that is not the main one."""

    def show_there(copies: list[Any]) -> list[Figure]:
        found: list[Figure] = []
        thread = threading.Thread(target=lambda: found.extend(show(copies)))
        thread.start()
        thread.join()
        return found

    return show_there


# -- phases ------------------------------------------------------------------------------------------------------------


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


def phases(make: Callable[[Any], Any], in_session: bool = False) -> Side:
    """Return the work of many phases of one manager."""

    def side(copy: Any) -> Sample:
        def prepare() -> Work:
            manager = make(copy)

            def work() -> None:
                for _ in range(PHASES):
                    with manager.timed_operation("convert"):
                        pass

            def session() -> None:
                with manager:
                    work()

            return session if in_session else work

        return timed(prepare)

    return side


def enforced(wish: bool | str) -> Callable[[Any], Any]:
    return lambda copy: copy.TimeoutManager(3600, enforce=wish)


def fresh(copy: Any) -> Sample:
    """Do a phase of a manager of its own, each time."""

    def work() -> None:
        for _ in range(PHASES):
            with copy.TimeoutManager(3600, enforce=True).timed_operation("convert"):
                pass

    return timed(lambda: work)


def by_hand(copy: Any) -> Sample:
    def work() -> None:
        remaining_timeout = 3600.0
        for _ in range(PHASES):
            convert_start = time.time()
            convert_time = time.time() - convert_start
            remaining_timeout -= convert_time
            if remaining_timeout <= 0:
                raise TimeoutError("Timeout exceeded after convert phase!")

    return timed(lambda: work)


def pairs(copy: Any) -> Sample:
    """Set an alarm, and take it off."""

    def work() -> None:
        for _ in range(PHASES):
            signal.setitimer(signal.ITIMER_REAL, 3600)
            signal.setitimer(signal.ITIMER_REAL, 0)

    return timed(lambda: work)


def system_calls(copy: Any) -> Sample:
    """Ask the system for what a phase alone needs of SIGALRM: the handler, the mask, the timer; and back."""
    import _signal  # type: ignore[import-not-found]

    def work() -> None:
        for _ in range(PHASES):
            _signal.signal(_signal.SIGALRM, _signal.SIG_IGN)
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGALRM,))
            _signal.setitimer(_signal.ITIMER_REAL, 3600, 0.05)
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)

    return timed(lambda: work)


def calls_of_timer(copy: Any) -> Sample:
    """Ask the system for what a phase alone needs of a timer: the mask, the timer; and back."""
    timer = importlib.import_module(f"{copy.__name__}.interpreter.timer")
    signum = next(timer.free_signals())
    ours = timer.Timer(timer.TO_THREAD, signum)
    import _signal

    def work() -> None:
        at = time.monotonic() + 3600
        for _ in range(PHASES):
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (signum,))
            ours.set(at)
            ours.off()

    return timed(lambda: work)


def nested(depth: int) -> Side:
    """Return the work of phases inside so many others."""

    def side(copy: Any) -> Sample:
        def sample() -> float:
            with ExitStack() as stack:
                manager = copy.TimeoutManager(3600, enforce=True)
                for _ in range(depth):
                    stack.enter_context(manager.timed_operation("level"))
                return phases(lambda copy: manager)(copy)()

        return sample

    return side


def command(copy: Any) -> Sample:
    return timed(lambda: lambda: copy.TimeoutManager(3600).run(["true"]))


def plain_command(copy: Any) -> Sample:
    return timed(lambda: lambda: subprocess.run(["true"]))


# -- limits that pass --------------------------------------------------------------------------------------------------


def spin() -> None:
    while True:
        time.perf_counter()


def bare_handler(copy: Any) -> Sample:
    """Measure from when an alarm is due to when its exception is caught, without this package."""

    def handler(*args: object) -> None:
        raise TimeoutError

    def sample() -> float:
        before = signal.signal(signal.SIGALRM, handler)
        due = time.monotonic() + 0.002
        try:
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 1e-6))
            spin()
        except TimeoutError:
            late = time.monotonic() - due
        signal.signal(signal.SIGALRM, before)
        return late

    return sample


def limit(wish: bool | str) -> Side:
    """Return what measures from a deadline to the exception in the block."""

    def side(copy: Any) -> Sample:
        manager = copy.TimeoutManager(enforce=wish)

        def sample() -> float:
            late = 0.0
            phase = manager.timed_operation("spin", 0.002)
            try:
                with phase:
                    try:
                        spin()
                    except TimeoutError:
                        late = phase.elapsed() - 0.002
                        raise
            except TimeoutError:
                pass
            return late

        return sample

    return side


def nothing(copy: Any) -> Sample:
    return lambda: 0.0


# -- unittest ----------------------------------------------------------------------------------------------------------


class Bare(unittest.TestCase):
    def test(self) -> None:
        pass


class WithFixtures(Bare):
    def setUp(self) -> None:
        self.value = 1

    def tearDown(self) -> None:
        self.value = 0


class Mark(unittest.TestCase):
    """Notes when it runs."""

    at = 0.0

    def test(self) -> None:
        self.at = time.perf_counter()


def tests(runner: Callable[[Any], Any], kind: type[unittest.TestCase]) -> Side:
    """Return what measures a test among others, from the first to the last."""

    def side(copy: Any) -> Sample:
        class_of_runner = runner(copy)

        def sample() -> float:
            first, last = Mark("test"), Mark("test")
            suite = unittest.TestSuite([first, *(kind("test") for _ in range(TESTS)), last])
            class_of_runner(stream=io.StringIO()).run(suite)
            return (last.at - first.at) / TESTS

        return sample

    return side


def plain_runner(copy: Any) -> Any:
    return unittest.TextTestRunner


def limited_runner(copy: Any) -> Any:
    module = importlib.import_module(f"{copy.__name__}.testing")
    if not hasattr(module, "TextTestRunner"):
        module = importlib.import_module(f"{copy.__name__}.testing.runner")
    return type("Runner", (module.TextTestRunner,), {"timeout": 60.0})


class Suite:
    """Modules of tests that do so little, run by the command in a process of its own."""

    def __init__(self, modules: int, tests: int, body: str = "pass") -> None:
        self.folder = tempfile.TemporaryDirectory()
        methods = "".join(f"    def test_{number}(self): {body}\n" for number in range(tests))
        for number in range(modules):
            with open(os.path.join(self.folder.name, f"test_{number:02}.py"), "w") as file:
                file.write(f"import time, unittest\nclass Case(unittest.TestCase):\n{methods}")

    def seconds(self, copy: Any, *options: str) -> float:
        """Run it, and return how long that takes; RuntimeError if the copy does not know such options."""
        path = os.path.dirname(os.path.dirname(copy.__file__))
        line = [sys.executable, "-m", package.__name__, "unittest", *options]
        start = time.perf_counter()
        done = subprocess.run(
            line, cwd=self.folder.name, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return time.perf_counter() - start


def command_runs(suite: Callable[[], Suite], *options: str) -> Side:
    """Return what measures a run of a suite with these options."""

    def side(copy: Any) -> Sample:
        made = suite()
        return lambda: made.seconds(copy, *options)

    return side


def added_to_result(copies: list[Any]) -> list[Figure]:
    """Show how many microseconds a test more takes longer with workers than without, in a run of a thousand."""
    many, few = Suite(50, 20), Suite(50, 1)
    figures: list[Figure] = []
    for copy in copies:
        runs = [(suite, options) for options in (("--isolate",), ()) for suite in (many, few)]
        try:
            found = rounds([partial(suite.seconds, copy, *options) for suite, options in runs], RUNS)
        except NOT_THERE:
            figures.append(None)
        else:
            least, middle = ((m - f - (m0 - f0)) / (50 * 20 - 50) * 1e6 for m, f, m0, f0 in zip(*found))
            figures.append((least, middle))
    return figures


# -- import ------------------------------------------------------------------------------------------------------------


def import_time(path: str, name: str) -> Sample:
    """Return what measures the processor time of an import in a new interpreter, compiled before."""
    code = f"import sys; sys.path[0] = {path!r}; from time import process_time as t; a = t(); import {name}"
    cache = tempfile.TemporaryDirectory()

    def sample() -> float:  # -E: whatever PYTHONDONTWRITEBYTECODE says
        line = [sys.executable, "-E", "-X", f"pycache_prefix={cache.name}", "-c", f"{code}; print(t() - a)"]
        return float(subprocess.check_output(line))

    sample()
    return sample


def whole_import(copy: Any) -> Sample:
    return import_time(os.path.dirname(os.path.dirname(copy.__file__)), package.__name__)


def empty_import(copy: Any) -> Sample:
    """Import a package of as many modules in which there is nothing."""
    where = os.path.dirname(os.path.dirname(copy.__file__))
    code = f"import sys; sys.path[0] = {where!r}; import {package.__name__}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    count = len([name for name in loaded if name.split(".")[0] == package.__name__])
    folder = tempfile.mkdtemp()
    os.mkdir(os.path.join(folder, "empty"))
    for number in range(1, count):
        open(os.path.join(folder, "empty", f"m{number}.py"), "w").close()
    with open(os.path.join(folder, "empty", "__init__.py"), "w") as file:
        file.writelines(f"from . import m{number}\n" for number in range(1, count))
    return import_time(folder, "empty")


# -- packages for the same purpose -------------------------------------------------------------------------------------


def blocks(limited: Callable[[], Any]) -> Side:
    """Return the work of many blocks, each under a limit of another package."""

    def work() -> None:
        for _ in range(PHASES):
            with limited():
                pass

    return lambda copy: timed(lambda: work)


def rivals() -> Iterator[tuple[str, Side, Side]]:
    """Yield names, what they do, and what we do at the same place, of those that are installed."""
    alone = phases(enforced(True))
    try:
        function = importlib.import_module("timeout_decorator").timeout(60)(lambda: None)
        yield "timeout_decorator", lambda copy: timed(lambda: lambda: [function() for _ in range(PHASES)]), alone
    except ImportError:
        pass
    try:
        stopit: Any = importlib.import_module("stopit")
        yield "stopit.SignalTimeout", blocks(lambda: stopit.SignalTimeout(60)), alone
        yield "stopit.ThreadingTimeout", blocks(lambda: stopit.ThreadingTimeout(60)), alone
    except ImportError:
        pass
    if sys.version_info >= (3, 11):  # late: once asyncio is there, every phase asks whether a task is running
        import asyncio

        yield "asyncio.timeout", tasks(lambda copy: lambda: asyncio.timeout(60)), tasks(in_task)
    try:
        gevent: Any = importlib.import_module("gevent")
        yield "gevent.Timeout", blocks(lambda: gevent.Timeout(60)), alone
    except ImportError:
        pass


def in_task(copy: Any) -> Callable[[], Any]:
    manager = copy.TimeoutManager(3600, enforce=True)
    return lambda: manager.timed_operation("fetch", 60)


def tasks(make: Callable[[Any], Callable[[], Any]]) -> Side:
    """Return the work of many blocks in a task of asyncio."""
    import asyncio

    loop = asyncio.new_event_loop()

    def side(copy: Any) -> Sample:
        def prepare() -> Work:
            limited = make(copy)

            async def work() -> None:
                for _ in range(PHASES):
                    async with limited():
                        pass

            return lambda: loop.run_until_complete(work())

        return timed(prepare)

    return side


def show_rivals() -> None:
    print(f"\n{'a block under a limit, us':52}{'ours: min median':>16}{'theirs':>16}   who is ahead")
    for name, theirs, ours in rivals():
        found = rounds([ours(package), theirs(package)], ROUNDS // 2)
        shown = "".join("%8.2f%8.2f" % (least / PHASES * 1e6, middle / PHASES * 1e6) for least, middle in found)
        print(f"{name:52}{shown}   {'ours' if found[0] < found[1] else name}", flush=True)


def least_phases(copy: Any) -> Sample:
    return phases(lambda copy: Least(3600))(copy)


COUNTED, TIMED = phases(enforced(False)), phases(enforced("timer"))
BARE = tests(limited_runner, Bare), tests(plain_runner, Bare)
FIXTURES = tests(limited_runner, WithFixtures), tests(plain_runner, WithFixtures)
ISOLATED = command_runs(lambda: Suite(50, 20), "--isolate"), command_runs(lambda: Suite(50, 20))
SLEEPING = "time.sleep(0.1)"
TWO, ONE = (command_runs(lambda: Suite(20, 2, SLEEPING), "--jobs", jobs) for jobs in "21")
FIGURES: list[tuple[str, float, Any]] = [
    ("counting phase, against the least class, x", 2.0, ratio(COUNTED, least_phases)),
    ("counting phase, against the time by hand, x", 7.0, ratio(COUNTED, by_hand)),
    ("phase alone, timer, against a setitimer pair, x", 1.8, ratio(TIMED, pairs)),  # 2.5 without PGO
    ("its three system calls alone, against the pair, x", 1.8, ratio(calls_of_timer, pairs)),
    ("phase alone, SIGALRM, against the pair, x", 6.0, ratio(phases(enforced("signal")), pairs)),
    ("its five system calls alone, against the pair, x", 6.0, ratio(system_calls, pairs)),
    ("phase in a session, timer, against the pair, x", 1.5, ratio(phases(enforced("timer"), in_session=True), pairs)),
    ("fresh manager and one phase, against the pair, x", 4.0, ratio(fresh, pairs)),
    ("phase in another thread, against the pair, x", 4.0, in_thread(ratio(phases(enforced(True)), pairs, ROUNDS // 4))),
    ("phase alone, watchdog, against the pair, x", 4.0, ratio(phases(enforced("thread")), pairs, ROUNDS // 4)),
    ("unittest, added to a bare test, us", 25, added(*BARE, ROUNDS // 2)),
    ("unittest, added to one with setUp and tearDown, us", 40, added(*FIXTURES, ROUNDS // 2)),
    ("unittest --isolate, 1000 tests, against without, x", 2.5, ratio(*ISOLATED, RUNS)),
    ("unittest --isolate, added to a result, us", 200, added_to_result),
    ("unittest --jobs 2, 40 tests of 0.1 s, against 1, x", 0.6, ratio(TWO, ONE, RUNS // 2)),
    ("latency, timer, beyond a bare handler, us", 50, added(limit("timer"), bare_handler, LIMITS)),
    ("latency, SIGALRM, beyond a bare handler, us", 50, added(limit("signal"), bare_handler, LIMITS)),
    ("latency, another thread, us", 5300, in_thread(added(limit("thread"), nothing, LIMITS))),
    ("nesting at depth 1000, against 10, x", 1.5, ratio(nested(1000), nested(10), ROUNDS // 20)),
    ("run(['true']), against subprocess.run, x", 1.15, ratio(command, plain_command, ROUNDS // 4)),
    ("import, against as many empty modules, x", 2.0, ratio(whole_import, empty_import, STARTS)),
]


if __name__ == "__main__":
    main()
