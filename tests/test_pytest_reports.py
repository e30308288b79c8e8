"""What reports of pytest have of phases, and its own timeouts beside ours."""

import re
import unittest
from importlib.util import find_spec
from xml.etree import ElementTree

from . import package
from .helpers.child import DIRECTORY
from .helpers.enforced import NAMES
from .helpers.pytester import HAS_PYTEST_TIMEOUT, MODULE, PLUGIN, PytestCase

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


def setUpModule():
    if find_spec("pytest") is None:
        raise unittest.SkipTest("pytest is not installed")


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

    def test_a_debugger_opens_in_the_code_under_test(self):
        self.write(
            shows="""
            import pdb
            class Shows(pdb.Pdb):
                def cmdloop(self, *args): print("opened in", self.curframe.f_code.co_name)
            """,
            test_hang="""
            import time
            def test(timeout_manager):
                with timeout_manager.timed_operation("hang", limit=0.1): time.sleep(60)
            """,
        )
        options = "--pdb", "--pdbcls", "shows:Shows", "test_hang.py"
        for each in NAMES:
            ran = self.pytest(*options, "-o", f"timeout_manager_enforce={each}", status=1)
            self.assertIn("opened in test\n", ran.stdout)

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
        self.write(conftest=conftest, test_timeouts=MODULE)
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
            @pytest.mark.timeout(12)
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
