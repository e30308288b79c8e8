"""Under pytest: which limit a test has, what its reports tell, and who else is there."""

import os
import re
import unittest
from importlib.util import find_spec
from xml.etree import ElementTree

from . import package
from .helpers.child import DIRECTORY
from .helpers.command import Directory

PLUGIN = f"{package.__name__}.pytest_plugin"
HAS_PYTEST_TIMEOUT = find_spec("pytest_timeout") is not None
STRICT = ("--strict-markers", "--strict-config", "-W", "error::pytest.PytestAssertRewriteWarning")

OBSERVER = """
    import json, os
    import pytest
    reports = []
    def pytest_runtest_logreport(report):
        told = {name: value for name, value in report.user_properties}
        reports.append([report.nodeid.rpartition("::")[2], report.when, report.outcome, told,
                        dict(report.sections), str(report.longrepr or "")])
    def pytest_unconfigure(config):
        if not hasattr(config, "workerinput"):
            with open(os.environ["REPORTS"], "w") as file:
                json.dump(reports, file)
    @pytest.fixture
    def tell(record_property):
        return lambda value: record_property("told", value)
"""


def setUpModule():
    if find_spec("pytest") is None:
        raise unittest.SkipTest("pytest is not installed")


class Report:
    def __init__(self, outcome, properties, sections, text):
        self.outcome, self.sections, self.text = outcome, sections, text
        self.told = properties.pop("told", None)
        #: what the traceback and the section tell; the traceback has signs at the beginning of its lines
        self.all = re.sub(r"(?m)^(E   |    \| )", "", text) + "\n" + sections.get("Timeout", "")
        self.phases = {name: value.rpartition(" ")[2] for name, value in properties.items()}


class PytestCase(Directory):
    """A test that runs pytest; without pytest-timeout, unless it asks for it."""

    plugins = ("-p", PLUGIN, "-p", "no:timeout")

    def begin(self, *arguments, plugins=None, **variables):
        self.write(observer=OBSERVER)
        options = ("-p", "no:cacheprovider", "-p", "observer", *(self.plugins if plugins is None else plugins))
        self.begun = getattr(self, "begun", 0) + 1
        variables = dict(PYTEST_ADDOPTS="", REPORTS=f"reports-{self.begun}.json", **variables)
        process = self.start(*options, *arguments, module="pytest", **variables)
        process.reports = variables["REPORTS"]
        return process

    def finish(self, process, status=0):
        """Return what came of it; its reports by the name of the test and when."""
        ran = self.end(process)
        self.assertEqual(ran.status, status, ran.stdout + ran.stderr)
        ran.reports = {(name, when): Report(*rest) for name, when, *rest in self.read(process.reports) or ()}
        return ran

    def pytest(self, *arguments, status=0, **more):
        return self.finish(self.begin(*arguments, **more), status)

    def told(self, *arguments, **more):
        """Return what each test told."""
        reports = self.pytest(*arguments, **more).reports
        return {name: report.told for (name, when), report in reports.items() if when == "teardown"}


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
    MODULE = """
        import pytest
        def test(timeout_from_command_line, timeout_manager, tell):
            tell([timeout_from_command_line, timeout_manager.initial_timeout])
    """
    OPTION = "def pytest_addoption(parser): parser.addoption('--timeout', type=float)\n"

    def check(self, *arguments, plugins, conftest="", expected=60, **more):
        self.write(test_module=self.MODULE, conftest=conftest)
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


TIMEOUTS = """
    import threading, time
    import pytest
    from unittest import TestCase
    def hang(manager, name="hang"):
        with manager.timed_operation(name, limit=0.1):
            time.sleep(60)
    @pytest.fixture
    def setup(timeout_manager):
        with timeout_manager.timed_operation("before"): pass
        hang(timeout_manager, "setup")
    @pytest.fixture
    def around(timeout_manager):
        with timeout_manager.timed_operation("around"): yield
    @pytest.fixture
    def teardown(timeout_manager):
        yield
        hang(timeout_manager, "teardown")
    @pytest.fixture
    def broken():
        yield
        raise OSError("broken")
    def test_passes(around, timeout_manager):
        with timeout_manager.timed_operation("build"):
            with timeout_manager.timed_operation("compile"): pass
    def test_fails(around, timeout_manager):
        with timeout_manager.timed_operation("build"): pass
        with timeout_manager.timed_operation("run"): assert False
    def test_call(timeout_manager): hang(timeout_manager)
    def test_setup(setup): pass
    def test_teardown(broken, teardown): pass
    def test_cause(timeout_manager):
        try: hang(timeout_manager)
        except TimeoutError as error: raise KeyError("x") from error
    def test_context(timeout_manager):
        try: hang(timeout_manager)
        except TimeoutError: assert 0
    def test_leaves_no_thread(timeout_manager):
        before = set(threading.enumerate())
        with pytest.raises(TimeoutError): hang(timeout_manager)
        assert set(threading.enumerate()) == before
    def test_late(timeout_manager):
        with timeout_manager.timed_operation("late", limit=0): pass
    class TestUnit(TestCase):
        @pytest.fixture(autouse=True)
        def manager(self, timeout_manager): self.manager = timeout_manager
        def test_unittest(self): hang(self.manager)
"""


UNPRINTABLE = r"""
    import threading, time
    def test_passes(timeout_manager):
        with timeout_manager.timed_operation("a\udcff\x1b[1m"): pass
    def test_hangs(timeout_manager):
        end = threading.Event()
        threading.Thread(target=end.wait, name="b\udcff\x1b[1m").start()
        try:
            with timeout_manager.timed_operation("c\udcff\x1b[1m", limit=0.1): time.sleep(60)
        finally:
            end.set()
"""


class Reports(PytestCase):
    def check(self, reports):
        self.assertEqual(
            [reports["test_passes", when].phases for when in ("setup", "call", "teardown")],
            [
                {"phase around": "running"},
                {"phase around": "running", "phase around > build": "done", "phase around > build > compile": "done"},
                {"phase around": "done", "phase around > build": "done", "phase around > build > compile": "done"},
            ],
        )
        failed = {"phase around": "running", "phase around > build": "done", "phase around > run": "failed"}
        self.assertEqual(reports["test_fails", "call"].phases, failed)
        self.assertEqual(reports["test_setup", "setup"].phases, {"phase before": "done", "phase setup": "timeout"})
        self.assertEqual(reports["test_leaves_no_thread", "call"].outcome, "passed")
        for name in ("passes", "fails"):
            self.assertNotIn("Timeout", reports[f"test_{name}", "call"].sections)
        for name, when, phase in (
            ("call", "call", "hang"),
            ("setup", "setup", "setup"),
            ("teardown", "teardown", "teardown"),
            ("cause", "call", "hang"),
            ("context", "call", "hang"),
            ("unittest", "call", "hang"),
        ):
            report = reports[f"test_{name}", when]
            self.assertEqual((report.outcome, report.phases[f"phase {phase}"]), ("failed", "timeout"), name)
            stack = r"Stack of thread \w+ .*\n(.*\n)*.*, in hang\n +time\.sleep\(60\)"
            self.assertEqual(len(re.findall(stack, report.all)), 1, report.all)
            self.assertRegex(report.sections["Timeout"], rf"(?m)^{phase} .* timeout$", name)
            self.assertIn(f"Timeout exceeded after {phase} phase!", report.text)
            if name in ("call", "setup", "unittest"):  # pytest 7 and 8 show every frame of a chain or a group
                self.assertNotIn(DIRECTORY, report.text)
        self.assertRegex(reports["test_late", "call"].sections["Timeout"], r"(?m)^late .* timeout$")

    def test_have_the_phases_and_the_diagnosis(self):
        self.write(test_timeouts=TIMEOUTS)
        for mechanism in "true", "thread":
            enforce = f"timeout_manager_enforce={mechanism}"
            ran = self.pytest("-o", enforce, "--junit-xml=junit.xml", "-o", "junit_family=xunit1", status=1)
            self.check(ran.reports)
        self.assertRegex(ran.stdout, r"(?m)^-+ Timeout -+\n(Stack of thread|phase )")
        cases = {case.get("name"): case for case in ElementTree.parse(self.path("junit.xml")).iter("testcase")}
        properties = {each.get("name"): each.get("value") for each in cases["test_fails"].iter("property")}
        self.assertEqual(list(properties), ["phase around", "phase around > build", "phase around > run"])
        self.assertRegex(properties["phase around > run"], r"^\d+\.\d{3} s, failed$")

    def test_without_the_plugin_show_no_source_of_ours(self):
        self.write(
            test_plain=f"""
            import time
            import pytest
            from {package.__name__} import TimeoutManager, with_timeout_management
            def fetch():
                try: time.sleep(60)
                except TimeoutError: raise ValueError("no answer")
            @pytest.mark.parametrize("enforce", [False, True, "thread"])
            def test_late(enforce):
                with TimeoutManager(0.1, enforce=enforce).timed_operation(): time.sleep(0.2)
            def test_chain():
                with TimeoutManager(0.1, enforce=True).timed_operation(): fetch()
            @with_timeout_management(timeout=0.1, enforce=True)
            def test_decorated(timeout_manager): timeout_manager.call_with_timeout(time.sleep, 60)
            def test_misuse(): TimeoutManager("a")
            """
        )
        ran = self.pytest(plugins=("-p", "no:timeout"), status=1)
        self.assertEqual(len(ran.reports), 18)
        self.assertNotIn(DIRECTORY, ran.stdout)
        self.assertNotIn("hidden", ran.stdout)

    def check_unprintable(self, *options):
        self.write(test_unprintable=UNPRINTABLE)
        options += "-o", "timeout_manager_enforce=true"
        reports = self.pytest(*options, status=1, PYTHONIOENCODING="utf-8:replace").reports
        self.assertEqual(reports["test_passes", "call"].phases, {r"phase a\udcff\x1b[1m": "done"})
        self.assertEqual(reports["test_hangs", "call"].phases, {r"phase c\udcff\x1b[1m": "timeout"})
        self.assertEqual(reports["test_hangs", "call"].all.count(r"Stack of thread b\udcff\x1b[1m "), 1)
        section = reports["test_hangs", "call"].sections["Timeout"]
        self.assertRegex(section, r"(?m)^c\\udcff\\x1b\[1m .* timeout$")

    def test_can_be_xml_whatever_a_phase_is_called(self):
        self.check_unprintable("--junit-xml=junit.xml", "-o", "junit_family=xunit1")
        names = [each.get("name") for each in ElementTree.parse(self.path("junit.xml")).iter("property")]
        self.assertEqual(names, [r"phase a\udcff\x1b[1m", r"phase c\udcff\x1b[1m"])

    @unittest.skipIf(find_spec("xdist") is None, "pytest-xdist is not installed")
    def test_come_from_other_processes_whatever_a_phase_is_called(self):
        self.check_unprintable("-n", "1")

    @unittest.skipIf(find_spec("xdist") is None, "pytest-xdist is not installed")
    def test_come_from_other_processes(self):
        self.write(test_timeouts=TIMEOUTS)
        options = ("-n", "2", "--timeout", "60", "-o", "timeout_manager_enforce=true")
        self.check(self.pytest(*options, status=1).reports)
        conftest = f"pytest_plugins = [{PLUGIN!r}]\n"
        self.write(conftest=conftest, test_timeouts=Loading.MODULE)
        self.assertEqual(self.told("-n", "1", "--timeout=60", plugins=("-p", "no:timeout")), {"test": [60, 60]})
        if HAS_PYTEST_TIMEOUT:
            limit, budget = self.told("-n", "1", "--timeout=60", plugins=("-p", PLUGIN))["test"]
            self.assertEqual(limit, 60)
            self.assertLess(budget, 60)


@unittest.skipUnless(HAS_PYTEST_TIMEOUT, "pytest-timeout is not installed")
class BesidePytestTimeout(PytestCase):
    plugins = ("-p", PLUGIN)

    def test_a_budget_is_what_it_has_left_less_a_margin(self):
        self.write(
            test_budget=f"""
            import time
            import pytest
            from {package.__name__} import with_timeout_management
            @pytest.fixture
            def slow(): time.sleep(0.2)
            def test_default(timeout_manager, timeout_from_marker, tell): tell(timeout_manager.initial_timeout)
            @pytest.mark.timeout(40)
            def test_marker(timeout_manager, timeout_from_marker, tell):
                assert timeout_from_marker == 40
                tell(timeout_manager.initial_timeout)
            @pytest.mark.timeout(40)
            def test_slow(slow, timeout_manager, tell): tell(timeout_manager.initial_timeout)
            @pytest.mark.timeout(40, func_only=True)
            def test_func_only(slow, timeout_manager, tell): tell(timeout_manager.initial_timeout)
            @pytest.mark.timeout(40, func_only=True)
            def test_late(request, tell):
                time.sleep(0.2)
                tell(request.getfixturevalue("timeout_manager").initial_timeout)
            @pytest.mark.timeout(0)
            def test_zero(timeout_manager, tell): tell(timeout_manager.initial_timeout)
            @pytest.mark.timeout(40)
            @with_timeout_management(timeout=100)
            def test_decorated(timeout_manager, tell): tell(timeout_manager.initial_timeout)
            """
        )
        for arguments, variables, default in (
            ((), {}, None),
            ((), {"PYTEST_TIMEOUT": "20"}, 20),
            (("-o", "timeout=20"), {}, 20),
            (("-o", "timeout=20", "-o", "timeout_func_only=true"), {}, 20),
            (("--timeout=20",), {"PYTEST_TIMEOUT": "70", "TIMEOUT_MANAGER_SCALE": "3"}, 20),
        ):
            told = self.told(*arguments, **variables)
            self.assertIsNone(told["test_zero"])
            if default is None:
                self.assertIsNone(told["test_default"])
            else:
                self.assertTrue(default * 0.5 < told["test_default"] <= default * 0.95, told)
            whole, rest = 40 * 0.95, 39.8 * 0.95
            func_only = "timeout_func_only=true" in arguments
            self.assertTrue(rest / 2 < told["test_marker"] <= whole, told)
            self.assertTrue(rest / 2 < told["test_decorated"] <= whole, told)
            self.assertTrue(rest / 2 < told["test_slow"] <= (whole if func_only else rest), told)
            self.assertAlmostEqual(told["test_func_only"], whole)
            self.assertTrue(rest / 2 < told["test_late"] <= rest, told)

    def test_a_phase_ends_before_its_alarm_and_cleanup_runs(self):
        self.write(
            test_hang="""
            import time
            import pytest
            @pytest.fixture
            def cleans(timeout_manager):
                yield
                with timeout_manager.cleanup_operation("clean", limit=60):
                    time.sleep(1)
            @pytest.mark.timeout(8)
            def test_hang(cleans, timeout_manager):
                with timeout_manager.timed_operation("build"):
                    time.sleep(60)
            """,
            test_alarm="""
            import time
            import pytest
            @pytest.fixture
            def around(timeout_manager):
                with timeout_manager.timed_operation("around"): yield
            @pytest.mark.timeout(3)
            def test_fails(around, timeout_manager): assert False
            def test_next(timeout_manager):
                with timeout_manager.timed_operation("run"):
                    time.sleep(4)
            """,
        )
        enforce = "-o", "timeout_manager_enforce=true"
        hung = [self.begin("test_hang.py", f"--timeout-method={each}", *enforce) for each in ("signal", "thread")]
        reports = self.pytest("test_alarm.py", *enforce, status=1).reports
        self.assertEqual(reports["test_next", "call"].phases, {"phase run": "done"})
        for process in hung:
            reports = self.finish(process, status=1).reports
            self.assertIn("Timeout exceeded after build phase!", reports["test_hang", "call"].text)
            phases = {"phase build": "timeout", "phase clean": "done"}
            self.assertEqual(reports["test_hang", "teardown"].phases, phases)
            self.assertEqual(reports["test_hang", "teardown"].outcome, "passed")


if __name__ == "__main__":
    unittest.main()
