"""The command `unittest`: ``python -m unittest`` with limits."""

from __future__ import annotations

import gc
import sys
import unittest
from contextlib import suppress
from unittest.util import strclass

from . import lingering
from ..enforcing import choice
from ..interpreter import watchdog
from .nearest import hint
from .screen import show
from ..errors import STATUS, PhaseTimeout
from ..testing.limits import METHODS, Limit, Limits, limit_from_environ, seconds_from_environ
from ..originals import signals, system
from ..seconds import duration
from ..testing.runner import TextTestRunner, tests_of
from ..testing.loader import TestLoader
from ..testing.reports import Reports
from ..testing.plan import Plan, earlier_report, shard_of
from ..testing.result import LimitedResult
from ..testing.units import Suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__unittest = True

USAGE = 2
NOTHING = getattr(sys.modules["unittest.main"], "_NO_TESTS_EXITCODE", 0)  # no test ran: a status of its own from 3.12
TOTAL_VARIABLE = "TEST_TIMEOUT"  # of Bazel, which kills the process then
MARGIN, LONGEST_MARGIN = 0.1, 30.0  # of that, for our own report; at most so many seconds
SOON = 1.0  # seconds that closing what hung has at least

TIMES = {
    "--timeout": "for each test: setUp and the test together; tearDown and the cleanups get as much again",
    "--total": "for the whole run; the tests that are left are named, and the exit status is 124",
    "--slow-after": "report on stderr, again and again, what has been running this long",
    "--kill-after": "end the process with status 124 if a test is still running this long after its limit",
    "--kill-children": "end the processes that a test waits for at its limit: SIGTERM, then SIGKILL this much later",
}
FILES = {
    "--report": "every test and its phases, as JSON",
    "--junit-xml": "the same as JUnit XML, for CI servers",
    "--trace": "the same for chrome://tracing and Perfetto",
    "--html": "the same as a page for a browser, written at the end of the run",
}
ISOLATION = {"--isolate", "--jobs"}
AFTER_LIMITS = {"--kill-after", "--kill-children"}
ADVICE = "add --timeout SECONDS or --total SECONDS, or write `timeout = SECONDS` on a test, its class or module"
OPTIONS = {"--method", "--jobs", "--shard", *TIMES, *FILES}
OF_UNITTEST = {
    *("--verbose", "--quiet", "--locals", "--durations", "--failfast", "--catch", "--buffer", "--help"),
    *("--start-directory", "--pattern", "--top-level-directory"),
}


def usage(program: str) -> str:
    """Return what our options are."""
    times = "".join(f"  {name + ' SECONDS':25}{what}\n" for name, what in TIMES.items())
    files = "".join(f"  {name + ' FILE':25}{what}\n" for name, what in FILES.items())
    return f"""usage: {program} [OPTIONS] [whatever python -m unittest takes]

limits:
{times}  --method METHOD          how to interrupt: timer (of the kernel), signal (SIGALRM), thread (a watchdog) or auto

  SECONDS are 90, 1.5, 90s, 2m or 1h; 0 is no limit. A test, a class or a module can have a limit of its own: write
  `timeout = SECONDS` on it.

processes:
  --isolate                run the tests in another process. If a test crashes it, or has to be killed with it (after
                           --kill-after; 5 s if not given), the other tests still run
  --jobs N|auto            the same with N processes at once; each finds its number, 1 to N, in TIMEOUT_MANAGER_JOB

shards:
  --shard I/N              run the modules of machine I of N. They are divided so that all take about as long, by the
                           times in the file that --report will replace. If not given, Bazel's variables count

reports, complete after every test:
{files}
to copy:
  {program} --timeout 60 --kill-after 10 --junit-xml results.xml
  {program} --timeout 60 --isolate tests.test_net

Which method: auto is right for most suites. It takes what tests are least likely to disturb: on Linux the timer,
elsewhere the thread. Choose signal if os.fork must not warn of threads.

Exit status: 0 all tests passed; 1 some did not; 2 an option makes no sense; 5 no test ran (from Python 3.12); {STATUS}
the total was spent, or --kill-after has ended the process.
Environment: TIMEOUT_MANAGER_TIMEOUT is the limit where --timeout is not given; TIMEOUT_MANAGER_SCALE multiplies limits.

All other options are unittest's own:
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Run the tests; exit as ``python -m unittest`` does, with 124 if the total is spent, 2 if an option is bad."""
    own, rest = _split(program, arguments)
    if any(each in ("-h", "--help") for each in rest):
        show(f"{usage(program)}\n")
    try:
        jobs, worker = 0, None
        if ISOLATION & own.keys():
            from . import isolated

            jobs, worker = isolated.jobs_of(own.get("--jobs", "1")), isolated.role()
        if worker is not None:
            own.pop("--kill-after", None)  # the parent does that
        limits = _limits(own)
        _check(limits)
        plan, reports = _planned(own, limits, worker is not None)
    except (ValueError, OSError) as error:
        _fail(program, str(error))
    sys.argv[:] = argv = [program, *rest]
    if worker is not None:
        isolated.work(worker, argv, limits)

    def check(is_bound: bool) -> None:
        for option in sorted(AFTER_LIMITS & own.keys()) if not is_bound else ():
            _fail(program, f"{option} counts from a limit, and there is none: {ADVICE}")

    results: list[Any] = []
    status: Any = 0
    try:
        if jobs:
            is_well = isolated.run(argv, limits, reports, jobs, plan, check, results)
        else:
            is_well = _run(argv, limits, reports, plan, check, results)
        status = _status(results[-1], is_well, plan)
    except SystemExit as end:
        status = end.code
        if status == USAGE:
            _hint(program, rest)
    except KeyboardInterrupt:
        print("\nCtrl-C, while the tests were being loaded", file=sys.stderr)
        _die_of_interrupt()
    reports.close()
    _end(status, results, limits)


def _status(ran: Any, is_well: bool, plan: Plan) -> int:
    is_empty = not (ran.testsRun or ran.skipped or plan.shard and plan.shard.of)
    return NOTHING if is_empty else int(not (ran.wasSuccessful() and is_well))


def _end(status: Any, results: list[Any], limits: Limits) -> NoReturn:
    """Exit with this status, or with what tells better how the tests have ended."""
    if any(result.interrupted for result in results):
        _die_of_interrupt()
    if limits.spent() and any(result.not_run or result.timeouts for result in results):
        status = STATUS
    number = int(status or 0) if status is None or isinstance(status, int) else 1
    lingering.tell_of(number, limits.kill_after, limits.kill_children is not None)
    raise SystemExit(status)


def _planned(own: dict[str, str], limits: Limits, is_worker: bool) -> tuple[Plan, Reports]:
    """Return which tests are to run in what order, and what is written of them: by the parent, if there are workers."""
    plan = Plan({} if is_worker else earlier_report(own.get("--report")), shard_of(own.get("--shard")))
    files = {} if is_worker else {option[2:].replace("-", "_"): own[option] for option in FILES if option in own}
    reports = Reports(limits, **files)
    reports.shard = plan.shard
    return plan, reports


def _run(argv: list[str], limits: Limits, reports: Reports, plan: Plan, check: Any, results: list[Any]) -> bool:
    """Run the tests in this process, and add their result to the results; `check` is told whether a limit binds one."""

    class Runner(TextTestRunner):
        def run(self, test: Any) -> Any:
            check(any(map(limits.bind, tests_of(test))))
            results.append(super().run(_part_of(test, plan) if plan.shard else test))
            if results[-1].timeouts:
                _collect(limits, results[-1])
            return results[-1]

    Runner.limits, Runner.reports = limits, reports
    with limits:
        loader = TestLoader(limits, reports)
        unittest.main(None, argv=argv, testRunner=Runner, testLoader=loader, exit=False)
    return True


def _part_of(test: Any, plan: Plan) -> Any:
    """Return those of the tests that are run here."""
    suite = Suite(test)
    names = [name for name, _ in suite.named()]
    mine = plan.mine([(name, strclass(type(each)), type(each).__module__) for (name, _), each in suite.named()])
    return suite.take([names[place] for place in mine])[0]


def _split(program: str, arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return our options, and what is for unittest, in the order in which it came."""
    own: dict[str, str] = {}
    rest: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *left]
        elif argument == "--isolate":
            own[argument] = ""
        elif name not in OPTIONS:
            rest.append(argument)
        elif equals:
            own[name] = value
        else:
            own[name] = next(left, "")
            if not own[name]:
                _fail(program, f"{name} needs a value")
    return own, rest


def _limits(own: dict[str, str]) -> Limits:
    """Return the limits that the options and the environment ask for; ValueError names the source of a bad one."""
    given = {name: Limit(duration(own[name], name), name) for name in TIMES if name in own}
    seconds = None if "--total" in given else seconds_from_environ(TOTAL_VARIABLE)
    if seconds is not None:
        less = seconds - min(seconds * MARGIN, LONGEST_MARGIN)
        given["--total"] = Limit(less, f"{TOTAL_VARIABLE}, less a margin", scaled=False)
    method = own.get("--method", "auto")
    if method not in METHODS:
        raise ValueError(f"--method must be one of {', '.join(METHODS)}, not {method!r}")
    return Limits(
        given.get("--timeout") or limit_from_environ(),
        given.get("--total"),
        given.get("--slow-after"),
        given.get("--kill-after"),
        method,
        given.get("--kill-children"),
    )


def _check(limits: Limits) -> None:
    """Raise ValueError, saying what works instead, if something that is asked for cannot be had here."""
    wish = limits.wish
    if isinstance(wish, str):
        missing = choice.CANDIDATES[wish][0].missing()
        if missing:
            works = choice.name_of(True)
            advice = "time can only be counted" if works == "none" else f"--method {works} works"
            raise ValueError(f"--method {wish} cannot work here: {missing}; {advice}")
    lacking = watchdog.missing() if limits.slow_after or limits.kill_after else ""
    if lacking and limits.slow_after:
        raise ValueError(f"--slow-after cannot work here: {lacking}; --report tells how long each test has taken")
    if lacking and choice.name_of(wish) == "none":
        raise ValueError(f"--kill-after cannot work here: {lacking}, and no signal interrupts a test")


def _hint(program: str, arguments: list[str]) -> None:
    """Name what an option may have been meant to be which unittest, too, does not know."""
    known = sorted(OPTIONS | OF_UNITTEST | ISOLATION)
    for name in (each.partition("=")[0] for each in arguments if each[:1] == "-"):
        near = hint(f"--{name.lstrip('-')}", known)
        if near and not any(each.startswith(name) for each in OF_UNITTEST):  # it takes beginnings of its own
            print(f"{program}: {name} is not known{near}", file=sys.stderr)


def _fail(program: str, message: str) -> NoReturn:
    print(f"{program}: error: {message}", file=sys.stderr)
    raise SystemExit(USAGE)


def _die_of_interrupt() -> NoReturn:
    """End as a program does that Ctrl-C has ended, so that whoever started us knows."""
    with suppress(Exception):  # tests may leave anything there
        sys.stdout.flush()
    signals.signal(signals.SIGINT, signals.SIG_DFL)
    system.kill(system.getpid(), signals.SIGINT)
    raise SystemExit(128 + signals.SIGINT)


def _collect(limits: Limits, result: LimitedResult) -> None:
    """Let what hung be closed while that has a limit: when the interpreter ends, a coroutine may defy it for ever."""
    result.timeouts[:] = [(str(test), told) for test, told in result.timeouts]
    manager = limits.manager(max(limits.timeout.seconds or 0.0, SOON))
    try:
        with manager.timed_operation("garbage"):
            gc.collect()
    except PhaseTimeout:
        pass
