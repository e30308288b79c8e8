"""The command `unittest`: ``python -m unittest`` with limits."""

from __future__ import annotations

import gc
import os
import sys
import unittest
from contextlib import redirect_stdout, suppress
from functools import partial
from io import StringIO

from ..errors import STATUS, PhaseTimeout
from ..originals import signals
from ..testing.entry import names_of
from ..testing.limits import Limits
from ..testing.loader import TestLoader
from ..testing.plan import Plan, earlier_report, shard_of
from ..testing.report_files import Reports
from ..testing.result import LimitedResult
from ..testing.runner import TextTestRunner
from ..testing.units import Suite, tests_of
from . import lingering, unittest_options as options
from .dying import die_of
from .screen import refuse, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

NOTHING = getattr(sys.modules["unittest.main"], "_NO_TESTS_EXITCODE", 0)  # no test ran: a status of its own from 3.12
SOON = 1.0  # seconds that closing what hung has at least


def main(program: str, arguments: list[str]) -> NoReturn:
    """Run the tests; exit as ``python -m unittest`` does, with 124 if the total is spent, 2 if an option is bad."""
    _open_missing()
    own, rest = options.split(program, arguments)
    if any(each in ("-h", "--help") for each in rest):
        _help(program)
    try:
        jobs, worker = 0, None
        if options.ISOLATION & own.keys():
            from . import isolated

            jobs, worker = isolated.jobs_of(own.get("--jobs", "1")), isolated.role()
        if worker is not None:
            own.pop("--kill-after", None)  # the parent does that
        limits = options.limits_of(own)
        options.check(limits)
        sys.argv[:] = argv = [program, *rest]
        if worker is None:
            _parse(argv)
            plan, reports = _planned(own, limits)
    except (ValueError, OSError) as error:
        refuse(f"{program}: error: {error}")
    if worker is not None:
        isolated.work(worker, argv, limits)
    check = partial(options.check_bound, program, own)
    ran: Any = None
    try:
        run: Any = partial(isolated.run, jobs) if jobs else _run
        ran, is_well = run(argv, limits, reports, plan, check)
        status: Any = _status(ran, is_well, plan)
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:
        print("\nCtrl-C, while the tests were being loaded", file=sys.stderr)
        die_of(signals.SIGINT)
    reports.close(is_all=False)  # unless the run has come to its end, and closed them
    _end(status, ran, limits)


def _open_missing() -> None:
    """Have the streams that this process was started without lead nowhere: unittest needs them."""
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):  # each gets the number that is free, its own
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, closefd=False))


def _help(program: str) -> NoReturn:
    """Show our options, and those of unittest."""
    with redirect_stdout(StringIO()) as theirs, suppress(SystemExit):
        unittest.main(None, argv=[program, "--help"])
    show(f"{options.usage(program)}\n{theirs.getvalue()}")


class _Parser(unittest.TestProgram):
    """Takes the arguments, and does nothing."""

    def createTests(self, *args: Any, **kwargs: Any) -> None:
        pass

    runTests = createTests


def _parse(argv: list[str]) -> None:
    """Exit as unittest does if it does not take these arguments; then no report has been touched."""
    try:
        _Parser(None, argv=argv)
    except SystemExit:
        options.tell_hint(argv[0], argv[1:])
        raise


def _status(ran: Any, is_well: bool, plan: Plan) -> int:
    if not (ran.wasSuccessful() and is_well):
        return 1
    return 0 if ran.testsRun or ran.skipped or plan.shard and plan.shard.of else NOTHING


def _end(status: Any, ran: Any, limits: Limits) -> NoReturn:
    """Exit with this status, or with what tells better how the tests have ended, if they ran."""
    if ran and ran.interrupted:
        die_of(signals.SIGINT)
    if ran and limits.spent() and (ran.not_run or ran.timeouts):
        status = STATUS
    number = int(status or 0) if status is None or isinstance(status, int) else 1
    lingering.tell_of(number, limits.kill_after, limits.kill_children is not None)
    raise SystemExit(status)


def _planned(own: dict[str, str], limits: Limits) -> tuple[Plan, Reports]:
    """Return which tests are to run in what order, and what is written of them."""
    plan = Plan(earlier_report(own.get("--report")), shard_of(own.get("--shard")))
    reports = Reports(limits, {name: own[name] for name in options.FILES if own.get(name)})
    reports.shard = plan.shard
    return plan, reports


def _run(argv: list[str], limits: Limits, reports: Reports, plan: Plan, check: Any) -> tuple[Any, bool]:
    """Run the tests in this process; return what `isolated.run` does, and tell `check` the same."""

    class Runner(TextTestRunner):
        def run(self, test: Any) -> Any:
            check(any(map(limits.may_bind, tests_of(test))))
            return super().run(_part_of(test, plan) if plan.shard else test)

    Runner.limits, limits.listener = limits, reports
    with limits:
        loader = TestLoader(limits)
        ran: Any = unittest.main(None, argv=argv, testRunner=Runner, testLoader=loader, exit=False).result
        if ran.timeouts:
            _collect(limits, ran)
    return ran, True


def _part_of(test: Any, plan: Plan) -> Any:
    """Return those of the tests that are run here."""
    suite = Suite(test)
    names = [name for name, _ in suite.named()]
    mine = plan.mine(list(map(names_of, suite)))
    return suite.take([names[place] for place in mine])[0]


def _collect(limits: Limits, result: LimitedResult) -> None:
    """Let what hung be closed while that has a limit: when the interpreter ends, a coroutine may defy it for ever."""
    result.timeouts[:] = [(str(test), told) for test, told in result.timeouts]
    ledger = limits.ledger(max(limits.scaled(limits.timeout) or 0.0, SOON))
    with suppress(PhaseTimeout), ledger.kind(ledger, "garbage", None):
        gc.collect()
