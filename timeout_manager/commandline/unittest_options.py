"""The options of the command `unittest`: what there are, what is given, and what of that cannot be had here."""

from __future__ import annotations

import sys

from ..enforcing import choice
from ..errors import STATUS
from ..interpreter import watchdog
from ..processes.deadline import less_margin
from ..seconds import MECHANISMS, duration
from ..testing.limits import METHODS, Limit, Limits, limit_from_environ, seconds_from_environ
from .screen import hint, refuse

TOTAL_VARIABLE = "TEST_TIMEOUT"  # of Bazel, which kills the process then
MARGIN = 0.1, 30.0  # of that, for our own report; at most so many seconds

TIMES = {
    "--timeout": "for each test: setUp and the test together; tearDown and the cleanups get as much again",
    "--total": f"for the whole run; the tests that are left are named, and the exit status is {STATUS}",
    "--slow-after": "name on stderr, again and again, what has been running this long",
    "--kill-after": f"end the process with status {STATUS} if a test is still running this long after its limit; what\n"
    f"{'':27}keeps the process alive after the tests is ended, too, with the status of the tests",
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
ADVICE = "add --timeout SECONDS or --total SECONDS, or write `timeout = SECONDS` in a class or module"
OPTIONS = {"--method", "--shard", *ISOLATION, *TIMES, *FILES}
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

  SECONDS are 90, 1.5, 90s, 2m, 1h or 1d; 0 is no limit. A class or a module can have a limit of its own: write
  `timeout = SECONDS` in it; a test too: write `test_name.timeout = SECONDS` below it.

processes:
  --isolate                run the tests in another process. If a test crashes it, or nothing helps but to kill it
                           (after --kill-after; 5 s if not given), the other tests still run
  --jobs N|auto            the same with N processes at once; each finds its number, 1 to N, in TIMEOUT_MANAGER_JOB

shards:
  --shard I/N              run what machine I of N has to run: some of the modules. All machines take about equally
                           long, by the times in the file that --report will replace. If not given, Bazel's variables
                           count

report files, complete after every test:
{files}
to copy:
  {program} --timeout 60 --kill-after 10 --junit-xml results.xml
  {program} --timeout 60 --isolate tests.test_net

Which method: auto is right for most suites. It takes what tests are least likely to disturb: on Linux the timer,
elsewhere the thread. If os.fork must not warn of threads, choose signal, without --slow-after, --kill-after and
--kill-children.

Exit status: 0 if all tests passed; 1 if some did not; 2 if an option makes no sense; 5 if none was found (from Python
3.12); {STATUS} if the total was spent, or --kill-after has ended the run. After Ctrl-C it dies of SIGINT.
Environment: TIMEOUT_MANAGER_TIMEOUT is the limit where --timeout is not given; TIMEOUT_MANAGER_SCALE multiplies limits;
TIMEOUT_MANAGER_ENFORCE overrides --method.

All other options are unittest's own:
"""


def split(program: str, arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return our options, and what is for unittest, in the order in which it came."""
    own: dict[str, str] = {}
    rest: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *left]
        elif name == "--isolate":
            if equals:
                refuse(f"{program}: error: {name} takes no value")
            own[name] = ""
        elif name not in OPTIONS:
            rest.append(argument)
        elif equals:
            own[name] = value
        else:
            own[name] = next(left, "")
            if not own[name]:
                refuse(f"{program}: error: {name} needs a value")
    return own, rest


def limits_of(own: dict[str, str]) -> Limits:
    """Return the limits that the options and the environment ask for; ValueError names the source of a bad one."""
    given = {name[2:].replace("-", "_"): Limit(duration(own[name], name), name) for name in TIMES if name in own}
    if "timeout" not in given:
        given["timeout"] = limit_from_environ()
    seconds = None if "total" in given else seconds_from_environ(TOTAL_VARIABLE)
    if seconds is not None:
        given["total"] = Limit(less_margin(seconds, *MARGIN), f"{TOTAL_VARIABLE}, less a margin", scaled=False)
    method = own.get("--method", "auto")
    if method not in METHODS:
        raise ValueError(f"--method must be one of {', '.join(METHODS)}, not {method!r}")
    return Limits(method=method, **given)


def check(limits: Limits) -> None:
    """Raise ValueError, saying what works instead, if something that is asked for cannot be had here."""
    wish = limits.wish
    if wish in MECHANISMS:
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


def check_bound(program: str, own: dict[str, str], is_bound: bool) -> None:
    """Refuse what counts from a limit if none binds one of the tests."""
    for option in sorted(AFTER_LIMITS & own.keys()) if not is_bound else ():
        refuse(f"{program}: error: {option} counts from a limit, and there is none: {ADVICE}")


def tell_hint(program: str, arguments: list[str]) -> None:
    """Name what an option may have been meant to be which unittest, too, does not know."""
    known = OPTIONS | OF_UNITTEST
    for name in (each.partition("=")[0] for each in arguments if each[:1] == "-" and len(each) > 2):
        near = hint(f"--{name.lstrip('-')}", known)
        if near and not any(each.startswith(name) for each in OF_UNITTEST):  # it takes beginnings of its own
            print(f"{program}: {name} is not known{near}", file=sys.stderr)
