"""For pytest: a manager for each test, its phases as user properties, and what was running when time ran out.

To be loaded by ``-p timeout_manager.pytest_plugin``, or by ``pytest_plugins = ["timeout_manager.pytest_plugin"]`` in a
root conftest. It ends phases and nothing else: a test that hangs outside of them is left to pytest-timeout. Where that
is, its option and marker are read, not defined again, and a budget is over a little before its alarm. It is one file,
since pytest takes hooks and fixtures from the module that it is told.
"""

from __future__ import annotations

import os
from functools import wraps
from inspect import unwrap

import pytest  # type: ignore[import-not-found, unused-ignore]

from . import TimeoutManager, injection
from .errors import PhaseTimeout, beneath
from .originals import clock
from .processes.deadline import less_margin
from .seconds import INFINITY, MECHANISMS, amount, path, scale
from .testing.junit import printable
from .testing.limits import Limit
from .testing.replacing import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

    def fixture(func: F) -> F: return func  # fmt: skip
    wrapper = before_pytest_timeout = fixture
else:
    fixture = pytest.fixture
    wrapper = pytest.hookimpl(hookwrapper=True)
    before_pytest_timeout = pytest.hookimpl(optionalhook=True, tryfirst=True)

OPTION, ENFORCE, SECTION = "--timeout", "timeout_manager_enforce", "Timeout"
WISHES: dict[str, bool | str] = {"false": False, "true": True, **{name: name for name in MECHANISMS}}
MANAGERS = 1000  # of a test that are kept; one that makes more of them is about something else


# -- Settings. By `-p` this is loaded before pytest-timeout and the conftests, which may define --timeout, too; so it
# waits for them. Loaded by a conftest it cannot wait, but nothing comes later except what that conftest asks for.


def pytest_addoption(parser: Any, pluginmanager: Any) -> None:
    parser.addini(ENFORCE, "interrupt phases that take too long: false, true, timer, signal or thread", default="false")
    by_conftest = any(name.endswith("conftest.py") for name, _ in pluginmanager.list_name_plugin())
    asked = [getattr(plugin, "pytest_plugins", None) or "" for plugin in pluginmanager.get_plugins()]
    if by_conftest and not any("pytest_timeout" in names for names in asked):
        _define_option(parser)


@wrapper
def pytest_load_initial_conftests(early_config: Any, parser: Any, args: list[str]) -> Iterator[None]:
    if not _has_option(parser):
        paths = early_config.known_args_namespace.file_or_dir
        for option, value in zip(args, args[1:]):
            if option == OPTION and value in paths:
                paths.remove(value)  # as the option is not known, it looks like one of them
    yield
    _define_option(parser)


def _has_option(parser: Any) -> bool:
    return hasattr(parser.parse_known_args([]), "timeout")


def _define_option(parser: Any) -> None:
    if not _has_option(parser):
        help = "seconds for the phases of a test without a marker; 0 is no limit"
        parser.getgroup("timeout_manager").addoption(OPTION, type=float, help=help)


def pytest_configure(config: Any) -> None:
    if not _has_pytest_timeout(config):
        config.addinivalue_line("markers", "timeout(timeout): seconds for the phases of the test; 0 is no limit")
    _mechanism(config)


def _has_pytest_timeout(config: Any) -> bool:
    return bool(config.hook.pytest_timeout_set_timer.has_spec())


def _mechanism(config: Any) -> bool | str:
    try:
        value = config.getini(ENFORCE)
        return WISHES[str(value).lower()]
    except (TypeError, pytest.UsageError) as error:  # TOML has types, and this is text
        why = f"{error}; write it in quotes"
    except KeyError:
        why = f"{ENFORCE} must be false, true, timer, signal or thread, not {value!r} (from the ini, {config.inipath})"
    raise pytest.UsageError(why)


# -- The limit of a test: seconds, infinity for no limit, None where nothing is said.


def _seconds(value: Any, source: str) -> float | None:
    try:
        return None if value is None else Limit(value, source).seconds or INFINITY
    except (TypeError, ValueError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _of_marker(item: Any) -> float | None:
    marker = item.get_closest_marker("timeout")
    if marker is None:
        return None
    source = f"(marker of {item.nodeid})"
    try:
        if not marker.args and not marker.kwargs:
            raise TypeError("timeout must be given, as in @pytest.mark.timeout(90)")
        value = _arguments(*marker.args, **marker.kwargs)
    except TypeError as error:
        raise pytest.fail.Exception(f"{error} {source}", pytrace=False) from None
    return _seconds(value, f"timeout {source}")


def _arguments(timeout: Any = None, method: Any = None, func_only: Any = None, **more: Any) -> Any:
    return timeout


def _of_command_line(config: Any) -> float | None:
    return _seconds(config.getoption("timeout", None), OPTION)


def _limit(item: Any) -> float:
    """Return what counts first: marker, command line, and what else pytest-timeout reads, where that is."""
    limit = _of_marker(item)
    if limit is None:
        limit = _of_command_line(item.config)
    if limit is None and _has_pytest_timeout(item.config):
        other = os.environ.get("PYTEST_TIMEOUT") or item.config.getini("timeout")
        limit = _seconds(float(other), "timeout of pytest-timeout") if other else None
    return INFINITY if limit is None else limit


class Running:
    """What there is of a test while it runs."""

    def __init__(self) -> None:
        self.managers: list[TimeoutManager] = []
        self.properties: list[tuple[str, str]] = []  # what was told of them last
        self.alarm: float | None = None  # when that of pytest-timeout comes, while it is set


RUNNING = pytest.StashKey["Running"]()


def _running(item: Any) -> Running:
    running: Running = item.stash.setdefault(RUNNING, Running())
    return running


def _budget(item: Any, limit: float | None) -> float | None:
    """Return the seconds for a manager with this limit (None: that of the test), or what pytest-timeout has left."""
    seconds = amount(_limit(item) if limit is None else limit, "initial_timeout")
    running = _running(item)
    if _has_pytest_timeout(item.config):
        left = _limit(item) if running.alarm is None else max(running.alarm - clock.monotonic(), 0.0)
        seconds = min(INFINITY if seconds is None else seconds, less_margin(left) / (scale() or 1.0))
    return seconds


@fixture
def timeout_from_marker(request: Any) -> float | None:
    """The seconds of the closest ``@pytest.mark.timeout``; None (no limit) without a marker, or if it says 0."""
    return amount(_of_marker(request.node), "timeout")


@fixture
def timeout_from_command_line(request: Any) -> float | None:
    """The seconds of ``--timeout``; None (no limit) if it is not given, or 0."""
    return amount(_of_command_line(request.config), OPTION)


@fixture
def timeout_manager(
    request: Any, timeout_from_marker: float | None, timeout_from_command_line: float | None
) -> TimeoutManager:
    """The manager of the test. Its budget is the marker ``timeout``, else ``--timeout``, else there is no limit."""
    marked = timeout_from_marker is not None or _of_marker(request.node) is not None
    return TimeoutManager(_budget(request.node, timeout_from_marker if marked else timeout_from_command_line))


# -- While a test runs.


@before_pytest_timeout
def pytest_timeout_set_timer(item: Any, settings: Any) -> None:
    _running(item).alarm = clock.monotonic() + settings.timeout


@before_pytest_timeout
def pytest_timeout_cancel_timer(item: Any) -> None:
    _running(item).alarm = None


@wrapper
def pytest_runtest_protocol(item: Any) -> Iterator[None]:
    """Know the managers that are made while a test runs, its fixtures too, and have them enforce what the ini says."""
    original = TimeoutManager.__init__
    running, mechanism = _running(item), _mechanism(item.config)

    @wraps(original)
    def init(self: TimeoutManager, *args: Any, **options: Any) -> None:
        __tracebackhide__ = True
        original(self, *args, **{"enforce": mechanism, **options})
        if len(running.managers) < MANAGERS:
            running.managers.append(self)

    with replaced(TimeoutManager, "__init__", init):
        yield


@wrapper
def pytest_runtest_call(item: Any) -> Iterator[None]:
    """Limit the manager of a test that `with_timeout_management` decorates, be it a function or one of a TestCase."""
    original = injection.limit_of

    def limit_of(func: Any, limit: float | None, of_test_case: float | None) -> float | None:
        if unwrap(func) is not unwrap(getattr(item, "obj", item)):
            return original(func, limit, of_test_case)
        injection.limit_of = original
        if limit is None:  # a TestCase gets no fixture `timeout_from_marker`, which comes before its own limit
            limit = _of_marker(item)
        return _budget(item, of_test_case if limit is None else limit)

    with replaced(injection, "limit_of", limit_of):
        yield


@wrapper
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    running = _running(item)
    given = (getattr(item, "funcargs", None) or {}).values()  # the users may have fixtures of their own
    managers = dict.fromkeys([*running.managers, *(each for each in given if isinstance(each, TimeoutManager))])
    others = [each for each in item.user_properties if each not in running.properties]
    running.properties = [
        (printable(f"phase {path(phase.path())}"), f"{phase.elapsed():.3f} s, {phase.outcome}")
        for manager in managers
        for phase in manager.phases
    ]
    item.user_properties[:] = others + running.properties
    if _timeouts(call) and _has_pytest_timeout(item.config):
        item.config.hook.pytest_timeout_cancel_timer(item=item)  # as it does itself, but not before it has a report
    outcome: Any = yield
    timeouts = _timeouts(call)
    if timeouts:
        report = outcome.get_result()
        told = report.longreprtext
        texts = [error.diagnosis for error in timeouts if not _has_lines(told, error.diagnosis)]
        texts += [manager.report() for manager in [each for each in managers if each.phases] or managers]
        if texts:
            report.sections.append((SECTION, printable("\n\n".join(dict.fromkeys(texts)))))
    if call.when == "teardown":
        running.managers.clear()  # it may be run again


@wrapper
def pytest_report_to_serializable(report: Any) -> Iterator[None]:
    """Have pytest-xdist send a traceback that names a phase or a thread which it cannot encode."""
    outcome: Any = yield
    if any(title == SECTION for title, _ in getattr(report, "sections", ())):
        outcome.force_result(_encodable(outcome.get_result()))


def _encodable(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode("utf-8", "replace").decode()
    if isinstance(data, dict):
        return {name: _encodable(value) for name, value in data.items()}
    return type(data)(map(_encodable, data)) if isinstance(data, (list, tuple)) else data


def _timeouts(call: Any) -> list[PhaseTimeout]:
    """Return those among the error of a call, its causes and contexts, and the members of groups."""
    found = beneath(call.excinfo.value) if call.excinfo else []
    return [each for each in found if isinstance(each, PhaseTimeout)]


def _has_lines(told: str, text: str) -> bool:
    """Tell whether all lines of a text are told already: from 3.11 the error has notes, which a traceback shows."""
    return all(line in told for line in text.splitlines())
