"""Run pytest in a process of its own, with the plug-in or without."""

import re
import sys
from importlib.util import find_spec

from .. import package
from .command import Directory

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
MODULE = """
    import pytest
    def test(timeout_from_command_line, timeout_manager, tell):
        tell([timeout_from_command_line, timeout_manager.initial_timeout])
"""


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
    server = (sys.executable,), ("pytest",)  # with `site`

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
