"""Under pytest: which limit a test has, what its reports tell, and who else is there."""

import os
import unittest
from importlib.util import find_spec

from . import package
from .helpers.child import DIRECTORY
from .helpers.pytester import HAS_PYTEST_TIMEOUT, MODULE, PLUGIN, STRICT, PytestCase

LIMITS = """
    import pytest
    pytestmark = pytest.mark.timeout(70)
    @pytest.fixture
    def limits(timeout_from_marker, timeout_from_command_line, timeout_manager, tell):
        tell([timeout_from_marker, timeout_from_command_line, timeout_manager.initial_timeout])
    def test_module(limits): pass
    @pytest.mark.timeout(90)
    def test_positional(limits): pass
    @pytest.mark.timeout(timeout=90.5)
    def test_keyword(limits): pass
    @pytest.mark.timeout(0)
    def test_zero(limits): pass
    @pytest.mark.timeout(float("inf"))
    def test_infinity(limits): pass
    @pytest.mark.timeout(method="thread")
    def test_without_seconds(limits): pass
    @pytest.mark.timeout(80)
    class TestClass:
        def test_class(self, limits): pass
        @pytest.mark.timeout(90, func_only=True)
        def test_closest(self, limits): pass
"""


def setUpModule():
    if find_spec("pytest") is None:
        raise unittest.SkipTest("pytest is not installed")


class TheLimit(PytestCase):
    def test_is_that_of_the_closest_marker_then_of_the_command_line(self):
        self.write(test_limits=LIMITS)
        expected = {
            "test_module": [70, 60, 70],
            "test_positional": [90, 60, 90],
            "test_keyword": [90.5, 60, 90.5],
            "test_zero": [None, 60, None],
            "test_infinity": [None, 60, None],
            "test_without_seconds": [None, 60, 60],
            "test_class": [80, 60, 80],
            "test_closest": [90, 60, 90],
        }
        self.assertEqual(self.told("--timeout=60", "--strict-markers"), expected)
        self.write(test_limits="def test(timeout_manager, tell): tell([timeout_manager.initial_timeout])")
        self.assertEqual(self.told(), {"test": [None]})
        self.assertEqual(self.told("--timeout=0"), {"test": [None]})
        self.assertEqual(self.told("--timeout=60", TIMEOUT_MANAGER_SCALE="2"), {"test": [120]})

    def test_that_makes_no_sense_is_an_error_of_the_test(self):
        markers = {
            "string": ("'30'", "must be a number of seconds or None, not '30'"),
            "negative": ("-5", "must not be negative, but is -5"),
            "nan": ("float('nan')", "must be a number of seconds or None, not nan"),
            "bool": ("True", "must be a number of seconds or None, not True"),
            "nothing": ("", "must be given, as in @pytest.mark.timeout(90)"),
            "twice": ("3, timeout=3", "multiple values for argument 'timeout'"),
        }
        self.write(
            test_bad="import pytest\n"
            + "".join(
                f"@pytest.mark.timeout({value})\ndef test_{name}(timeout_manager): pass\n"
                for name, (value, _) in markers.items()
            )
        )
        reports = self.pytest(status=1).reports
        for name, (_, message) in markers.items():
            report = reports[f"test_{name}", "setup"]
            self.assertEqual(report.outcome, "failed")
            self.assertIn("timeout", report.text)
            self.assertIn(message, report.text)
            self.assertIn(f"(marker of test_bad.py::test_{name})", report.text)
            self.assertNotIn("\n", report.text)
        self.write(test_bad="def test(timeout_manager): pass")
        report = self.pytest("--timeout=-1", status=1).reports["test", "setup"]
        self.assertEqual(report.text, "--timeout must not be negative, but is -1.0")

    def test_can_come_from_fixtures_of_the_users(self):
        self.write(
            conftest=f"""
            import pytest
            from {package.__name__} import TimeoutManager
            @pytest.fixture
            def timeout_from_marker(request):
                marker = request.node.get_closest_marker("limit")
                return marker and marker.args[0]
            @pytest.fixture
            def timeout_from_command_line(request):
                return 60
            @pytest.fixture
            def another(timeout_from_command_line):
                return TimeoutManager(timeout_from_command_line)
            def pytest_configure(config):
                config.addinivalue_line("markers", "limit")
            """,
            test_own="""
            import pytest
            def test_command_line(timeout_manager, tell): tell(timeout_manager.initial_timeout)
            @pytest.mark.limit(90)
            def test_marker(timeout_manager, tell): tell(timeout_manager.initial_timeout)
            def test_another(another):
                with another.timed_operation("build"): pass
            """,
        )
        reports = self.pytest().reports
        self.assertEqual(reports["test_command_line", "call"].told, 60)
        self.assertEqual(reports["test_marker", "call"].told, 90)
        self.assertEqual(reports["test_another", "teardown"].phases, {"phase build": "done"})

    def test_is_that_of_a_decorated_test_too(self):
        self.write(
            test_decorated=f"""
            import pytest
            from {package.__name__} import create_timeout_manager, with_timeout_management
            @with_timeout_management
            def test_guide(tell, timeout_from_marker, timeout_manager):
                with timeout_manager.timed_operation("convert"): pass
                with create_timeout_manager().timed_operation("of the code under test"): pass
                tell([timeout_from_marker, timeout_manager.initial_timeout, timeout_manager.enforcement])
            @pytest.mark.timeout(90)
            @with_timeout_management
            def test_marked(tell, timeout_manager): tell(timeout_manager.initial_timeout)
            class TestClass:
                @with_timeout_management(timeout=30, enforce=False)
                def test_own(self, tell, timeout_manager):
                    tell([timeout_manager.initial_timeout, timeout_manager.enforcement])
            """
        )
        reports = self.pytest("--timeout=60", "-o", "timeout_manager_enforce=thread").reports
        self.assertEqual(reports["test_guide", "call"].told, [None, 60, "thread"])
        phases = {"phase convert": "done", "phase of the code under test": "done"}
        self.assertEqual(reports["test_guide", "call"].phases, phases)
        self.assertEqual(reports["test_marked", "call"].told, 90)
        self.assertEqual(reports["test_own", "call"].told, [30, "none"])

    def test_is_that_of_a_decorated_test_of_a_test_case_too(self):
        self.write(
            test_case=f"""
            import pytest
            from unittest import IsolatedAsyncioTestCase, TestCase
            from {package.__name__} import with_timeout_management
            def tell(manager):
                with manager.timed_operation(f"{{manager.initial_timeout}} {{manager.enforcement}}"): pass
            class TestPlain(TestCase):
                @with_timeout_management
                def setUp(self, timeout_manager): assert timeout_manager.initial_timeout is None
                @with_timeout_management
                def test_command_line(self, timeout_manager): tell(timeout_manager)
                @pytest.mark.timeout(90)
                @with_timeout_management
                def test_marked(self, timeout_manager): tell(timeout_manager)
                @pytest.mark.timeout(90)
                @with_timeout_management(timeout=30, enforce=False)
                def test_own(self, timeout_manager): tell(timeout_manager)
            class TestAttribute(TestCase):
                timeout = 12
                @with_timeout_management
                def test_attribute(self, timeout_manager): tell(timeout_manager)
                @pytest.mark.timeout(0)
                @with_timeout_management
                def test_zero(self, timeout_manager): tell(timeout_manager)
            class TestAsync(IsolatedAsyncioTestCase):
                @pytest.mark.timeout(90)
                @with_timeout_management
                async def test_async(self, timeout_manager): tell(timeout_manager)
            """
        )
        reports = self.pytest("--timeout=60", "-o", "timeout_manager_enforce=thread").reports
        for name, phase in {
            "command_line": "60.0 thread",
            "marked": "90.0 thread",
            "own": "30.0 none",
            "attribute": "12.0 thread",
            "zero": "None thread",
            "async": "90.0 thread",
        }.items():
            self.assertEqual(reports[f"test_{name}", "call"].phases, {f"phase {phase}": "done"})


class Loading(PytestCase):
    OPTION = "def pytest_addoption(parser): parser.addoption('--timeout', type=float)\n"

    def check(self, *arguments, plugins, conftest="", expected=60, **more):
        self.write(test_module=MODULE, conftest=conftest)
        told = self.told(*arguments, *STRICT, plugins=plugins, **more)["test"]
        self.assertEqual(told[0], 60)
        if expected is None:
            self.assertLess(told[1], 60)
        else:
            self.assertEqual(told[1], expected)

    def test_works_in_every_way(self):
        without = ("-p", "no:timeout")
        self.check("--timeout", "60", plugins=("-p", PLUGIN, *without))
        self.check("--timeout", "60", plugins=without, conftest=f"pytest_plugins = [{PLUGIN!r}]\n")
        self.check("--timeout=60", plugins=without, PYTEST_PLUGINS=PLUGIN)

    def test_beside_an_option_that_a_conftest_defines(self):
        without = ("-p", "no:timeout")
        self.check("--timeout=60", plugins=("-p", PLUGIN, *without), conftest=self.OPTION)
        self.check("--timeout=60", plugins=without, conftest=f"pytest_plugins = {PLUGIN!r}\n{self.OPTION}")

    @unittest.skipUnless(HAS_PYTEST_TIMEOUT, "pytest-timeout is not installed")
    def test_beside_pytest_timeout(self):
        alone = dict(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
        there = ("-p", "pytest_timeout")
        mine = f"pytest_plugins = [{PLUGIN!r}]\n"
        for plugins, conftest, variables in (
            (("-p", PLUGIN), "", {}),
            ((), mine, {}),
            (("-p", PLUGIN, *there), "", alone),
            ((*there, "-p", PLUGIN), "", alone),
            (there, mine, alone),
            (("-p", PLUGIN), "pytest_plugins = 'pytest_timeout'\n", alone),
            ((), f"pytest_plugins = [{PLUGIN!r}, 'pytest_timeout']\n", alone),
        ):
            with self.subTest(plugins=plugins, conftest=conftest):
                self.check("--timeout=60", plugins=plugins, conftest=conftest, expected=None, **variables)
        self.check("--timeout=60", plugins=("-p", PLUGIN), **alone)

    def test_takes_no_value_of_the_option_for_a_path(self):
        os.mkdir(self.path("inner"))
        with open(self.path("pytest.ini"), "w") as file:
            file.write("[pytest]\ntestpaths = inner\n")
        self.write(
            **{
                "inner/conftest": "def pytest_addoption(parser): parser.addoption('--their-own')\n",
                "inner/test_inner": "def test(timeout_from_command_line, tell): tell(timeout_from_command_line)\n",
            }
        )
        if self.end(self.begin("--their-own=x")).status:
            self.skipTest("this pytest does not look into testpaths before it starts")
        self.assertEqual(self.told("--timeout", "60", "--their-own=x"), {"test": 60})

    def test_is_the_only_one_to_import_pytest(self):
        for name in sorted(os.listdir(DIRECTORY)):
            if name.endswith(".py") and name != "pytest_plugin.py":
                with open(os.path.join(DIRECTORY, name), encoding="utf-8") as file:
                    self.assertNotRegex(file.read(), r"(?m)^\s*(from|import) _?pytest\b", name)


class Enforcing(PytestCase):
    def test_is_as_the_ini_says(self):
        self.write(test_e="def test(timeout_manager, tell): tell(timeout_manager.enforcement)")
        self.assertEqual(self.told(), {"test": "none"})
        for value, expected in ("true", "best"), ("signal", "signal"), ("THREAD", "thread"):
            with open(self.path("pytest.ini"), "w") as file:
                file.write(f"[pytest]\ntimeout_manager_enforce = {value}\n")
            told = self.told()["test"]
            if expected != "best":
                self.assertEqual(told, expected)
            else:
                self.assertIn(told, ("timer", "signal", "thread"))

    def test_is_that_of_every_manager_that_is_made_while_a_test_runs(self):
        self.write(
            test_forms=f"""
            import threading
            import pytest
            from {package.__name__} import TimeoutManager, create_timeout_manager, with_timeout_management
            from unittest import TestCase
            class Own(TimeoutManager):
                def __init__(self): super().__init__(5)
            EARLY = TimeoutManager(5)
            @with_timeout_management(timeout=5)
            def helper(name, timeout_manager): return use(name, timeout_manager)
            def use(name, manager):
                with manager.timed_operation(name): return manager.enforcement
            @pytest.fixture(scope="module")
            def module(): return use("fixture", TimeoutManager(5))
            @pytest.fixture
            def after():
                yield
                use("teardown", TimeoutManager(5))
            def test(module, after, tell, timeout_from_marker):
                managers = TimeoutManager(timeout_from_marker), create_timeout_manager(5), Own()
                managers += TimeoutManager.from_environ(5), TimeoutManager(5, enforce=False)
                tell([module, helper("helper"), use("early", EARLY), *map(use, "abcde", managers)])
            class TestUnit(TestCase):
                def test_unit(self): use("unit", TimeoutManager(5))
                def test_late(self):
                    manager = TimeoutManager(5, enforce=False)
                    with manager.timed_operation("late", limit=0): pass
            def test_early(): use("again", EARLY)
            def test_check(): TimeoutManager(0).check_timeout()
            """
        )
        reports = self.pytest("-o", "timeout_manager_enforce=thread", status=1).reports
        self.assertEqual(reports["test", "call"].told, ["thread", "thread", "none", *["thread"] * 4, "none"])
        self.assertEqual([*reports["test", "setup"].phases], ["phase fixture"])
        phases = [f"phase {name}" for name in ("fixture", *"abcde", "helper")]
        self.assertEqual([*reports["test", "call"].phases], phases)
        self.assertEqual([*reports["test", "teardown"].phases], [*phases, "phase teardown"])
        self.assertEqual(reports["test_unit", "call"].phases, {"phase unit": "done"})
        self.assertEqual(reports["test_early", "call"].phases, {})  # it is nobody's
        self.assertIn("used of 0.00 s", reports["test_check", "call"].sections["Timeout"])
        self.assertRegex(reports["test_late", "call"].sections["Timeout"], r"(?m)^late .* timeout$")

    def test_by_something_else_is_an_error_that_names_the_ini(self):
        self.write(test_e="def test(): pass")
        with open(self.path("pytest.ini"), "w") as file:
            file.write("[pytest]\ntimeout_manager_enforce = maybe\n")
        ran = self.pytest(status=4)
        message = "timeout_manager_enforce must be false, true, timer, signal or thread, not 'maybe'"
        self.assertRegex(ran.stderr, rf"{message} \(from the ini, .*pytest\.ini\)")
        self.assertNotIn("Traceback", ran.stderr)


if __name__ == "__main__":
    unittest.main()
