"""What stands in the place of a function of the interpreter, a mock or a clock that stands still, never reaches us."""

import _thread
import ast
import asyncio
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock
from xml.etree import ElementTree

from . import package
from .helpers.child import DIRECTORY, PYTHON, ROOT, environment, python
from .helpers.command import Directory
from .helpers.enforced import CPYTHON, LONG, NAMES, spin
from .helpers.sources import nodes, sources
from .helpers.together import Together
from .helpers.tree import LINUX

FUNCTION = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda
#: run where the user calls them
AT_WILL = "__main__", "pytest_plugin", "processes.child", "processes.name", "processes.sigchld"
NOT_BESIDE = "fsencode", "fsdecode", "makedirs", "main_thread"  #: for a child, when a run begins, after a fork
KNOWN = {"os": os, "signal": signal, "threading": threading, "_thread": _thread, "sys": sys}
TESTS = os.path.dirname(os.path.abspath(__file__))


def modules():
    """Import and yield all modules of the package."""
    for name in sources():
        if name.rpartition(".")[2] != "__main__":
            try:
                yield importlib.import_module(f"{package.__name__}.{name}".replace(".__init__", ""))
            except ImportError as error:  # a plug-in for a package that is not there
                if (error.name or package.__name__).startswith(package.__name__):
                    raise


def run_nodes(tree):
    """Yield what is run of a module: not what is there for the types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from (each for part in node.orelse for each in [part, *run_nodes(part)])
        else:
            yield node
            yield from run_nodes(node)


class NoNameOfOurs(unittest.TestCase):
    def test_is_a_function_of_time(self):
        functions = [value for value in vars(time).values() if callable(value)]
        for module in modules():
            found = [name for name, value in vars(module).items() if any(value is each for each in functions)]
            self.assertEqual(found, [], module.__name__)

    def test_is_the_module_time(self):
        for name, tree in sources().items():
            self.assertEqual([node.lineno for node in run_nodes(tree) if is_time(node)], [], name)

    def test_is_looked_up_where_a_mock_would_be_found(self):
        found = set()
        for name in sources():
            if not name.startswith("commandline") and name not in AT_WILL:
                functions = [node for node in nodes()[name] if isinstance(node, FUNCTION)]
                inside = {each for node in functions for each in ast.walk(node)}
                found.update(f"{name}:{node.lineno}" for node in inside if is_looked_up(node))
        self.assertEqual(found, set())


def is_time(node):
    if isinstance(node, ast.Import):
        return "time" in [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        return node.module == "time"
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "time"


def is_looked_up(node):
    """Tell whether a function is looked up in one of the modules, or among those of the interpreter, to be called."""
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") in ("open", "print")
    if not isinstance(node, ast.Attribute) or getattr(node.value, "id", "") not in KNOWN:
        return False
    found = getattr(KNOWN[node.value.id], node.attr, None)
    return callable(found) and node.attr not in NOT_BESIDE and not isinstance(found, (type, type(os)))


def is_marked(node):
    return "uninterrupted" in [each.id for each in node.decorator_list if isinstance(each, ast.Name)]


class Uninterrupted(unittest.TestCase):
    def test_is_what_says_so_and_nothing_else(self):
        known = {os.path.relpath(each.__file__, DIRECTORY)[:-3].replace(os.sep, "."): vars(each) for each in modules()}
        marked = {}
        for name, found in nodes().items():
            functions = [node for node in found if isinstance(node, FUNCTION[:2])]
            names = marked[name] = {node.name for node in functions if is_marked(node)}
            self.assertLessEqual(set(known.get(name, {}).get("_no_interrupt", ())), names, name)
            alike = {f"{name}:{node.lineno}" for node in functions if node.name in names and not is_marked(node)}
            self.assertEqual(alike, set(), "known by the same name, and not marked")
        self.assertIn("judge", marked["counting.verdict"])

    def test_copies_of_other_versions_find_it_and_are_found(self):
        guarded = importlib.import_module(f"{package.__name__}.interpreter.safepoints").guarded
        uninterrupted = importlib.import_module(f"{package.__name__}.originals").uninterrupted

        def here():
            return sys._getframe()

        self.assertFalse(guarded(here()))
        there = {"sys": sys, "_no_interrupt": frozenset({"marked"})}
        exec("def marked(): return sys._getframe()\ndef other(): return sys._getframe()", there)
        self.assertEqual((guarded(there["marked"]()), guarded(there["other"]())), (True, False))
        there["_no_interrupt"] = set()
        self.assertIs(uninterrupted(there["other"]), there["other"])
        self.assertEqual(there["_no_interrupt"], {"other"})
        self.assertEqual((guarded(there["marked"]()), guarded(there["other"]())), (False, True))


FROZEN = """
import sys, time
from tests.helpers import freezer
{first}
from tests import package
{then}
sleep = time.sleep
for enforce in (True, "thread"):
    manager = package.TimeoutManager(60, enforce=enforce)
    print(manager.enforcement)
    try:
        with manager.timed_operation("hung", limit=0.2) as phase:
            for _ in range(3000): sleep(0.01)
    except package.PhaseTimeout as error:
        print(error.interrupted, 0.2 <= error.elapsed < 20, 0.2 <= phase.elapsed() < 20)
"""


class TimeThatStandsStill(Directory):
    @classmethod
    def setUpClass(cls):
        cls.path_there = os.path.dirname(TESTS)

    def interrupted(self, first, then):
        paths = f"import sys; sys.path[:0] = {[self.path_there, ROOT]!r}\n"
        return python("-c", paths + FROZEN.format(first=first, then=then)).split()

    def test_a_hang_is_interrupted(self):
        found = self.interrupted("", "freezer.freeze()")
        self.assertEqual(found[1:4] + found[5:], ["True"] * 6)
        self.assertNotIn("none", found)

    @unittest.skipUnless(CPYTHON, "PyPy does not make a module once more")
    def test_it_may_stand_still_before_the_package_is_loaded(self):
        found = self.interrupted("time.monotonic = lambda: 5.0; freezer.freeze()", "")
        self.assertEqual(found[1:4] + found[5:], ["True"] * 6)
        self.assertNotIn("none", found)


def no_imports():
    return mock.patch("builtins.__import__", side_effect=ImportError)


def no_modules():
    return mock.patch.dict(sys.modules, clear=True)


class WithoutImports(Together, unittest.TestCase):
    """A test may refuse all imports, and take what was loaded away: what is needed at a limit is there by then."""

    def assert_interrupted(self, without, body, enforce=True, limit=0.1, **options):
        with self.assertRaises(package.PhaseTimeout) as caught:
            with package.TimeoutManager(limit, enforce=enforce, **options).timed_operation("run"):
                with without():
                    body()
        self.assertTrue(caught.exception.interrupted)
        self.assertIn(" in ", caught.exception.diagnosis)
        return caught.exception

    def test_blocks_are_interrupted(self):
        for without in no_imports, no_modules:
            for enforce in NAMES:
                self.assert_interrupted(without, spin, enforce)
            if "thread" in NAMES and CPYTHON:
                found = []
                thread = threading.Thread(target=lambda: found.append(self.assert_interrupted(without, spin)))
                thread.start()
                thread.join(LONG)
                self.assertEqual(len(found), 1)

    @unittest.skipUnless("timer" in NAMES, "no timers of the kernel")
    def test_a_timer_is_set(self):
        timers = importlib.import_module(f"{package.__name__}.interpreter.timer")
        timer = timers.Timer(timers.TO_THREAD, next(timers.free_signals()))
        for without in no_imports, no_modules:
            with without():
                timer.set(time.monotonic() + LONG)
                timer.off()
                timers.Timer(timers.TO_THREAD, next(timers.free_signals())).delete()
                timers.handler_in_c(signal.SIGINT)
        timer.delete()

    def test_tasks_are_interrupted(self):
        async def awaits(without, coroutine):
            async with package.TimeoutManager(0.1, enforce=True).timed_operation("run"):
                with without():
                    await coroutine

        async def blocks():
            spin()

        for without in no_imports, no_modules:
            for coroutine in asyncio.sleep(LONG), blocks():
                with self.assertRaises(package.PhaseTimeout) as caught:
                    asyncio.run(awaits(without, coroutine))
                self.assertTrue(caught.exception.interrupted)

    def test_what_was_unloaded_is_forgotten(self):
        loaded = importlib.import_module(f"{package.__name__}.originals").loaded
        with mock.patch.dict(sys.modules, greenlet="a fake"):
            self.assertEqual(loaded("greenlet"), "a fake")
            with no_modules():
                self.assertEqual(loaded("greenlet"), "a fake")
        with mock.patch.dict(sys.modules):
            sys.modules.pop("greenlet", None)
            self.assertIsNone(loaded("greenlet"))
            with no_modules():
                self.assertIsNone(loaded("greenlet"))

    @unittest.skipUnless(LINUX and CPYTHON, "Linux tells who is whose child; PyPy imports by itself")
    def test_children_are_ended(self):
        for without in no_imports, no_modules, lambda: mock.patch("subprocess.Popen"):
            with subprocess.Popen([*PYTHON, "-c", "import time; time.sleep(60)"]) as child:
                error = self.assert_interrupted(without, child.wait, limit=0.5, kill_children=1)
            self.assertEqual([(each.pid, each.signal) for each in error.killed], [(child.pid, "TERM")])

    def test_a_phase_is_late_for_the_first_time(self):
        code = (
            f"import builtins, sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "phase = package.TimeoutManager(0).timed_operation()\nphase.__enter__()\nbuiltins.__import__ = None\n"
            "try: phase.__exit__(None, None, None)\nexcept TimeoutError as error: print(type(error).__name__)\n"
        )
        self.assertEqual(python("-c", code), "PhaseTimeout\n")

    @unittest.skipUnless(LINUX and CPYTHON, "PyPy imports to encode")
    def test_a_process_ends_with_all_stacks(self):
        code = (
            f"import builtins, sys, time; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "with package.TimeoutManager(0.1, kill_after=0.1).timed_operation('run'):\n"
            "    sys.modules.clear()\n    builtins.__import__ = None\n    time.sleep(60)\n"
        )
        ran = subprocess.run([*PYTHON, "-c", code], stderr=-1, text=True, env=environment(), timeout=LONG)
        self.assertEqual(ran.returncode, 124)
        self.assertIn('File "<string>", line 5 in <module>', ran.stderr)


MOCKED = """
    import builtins, faulthandler, gc, io, json, os, select, signal, subprocess, sys, tempfile, threading, time
    import unittest
    from unittest import mock

    def hang(): time.sleep(60)
    NAMES = [
        "os.write", "os.getpid", "os.replace", "os.getcwd", "os.listdir", "os.stat", "os.kill", "os.waitid", "io.open",
        "json.dumps", "json.dump", "time.time", "time.monotonic", "threading.get_ident", "threading.current_thread",
        "threading.main_thread", "threading.Thread", "threading.enumerate", "subprocess.Popen", "subprocess.run",
        "tempfile.mkstemp", "builtins.open", "builtins.print", "signal.signal", "signal.getsignal", "signal.setitimer",
        "sys._current_frames", "sys._getframe", "sys.settrace", "sys.gettrace", "sys.exit", "faulthandler.register",
        "os.kill", "os.getpgid", "os.fork", "os.pipe", "select.poll", "select.select", "gc.get_referents",
    ]

    def there(): return [name for name in NAMES if hasattr(sys.modules[name.split(".")[0]], name.split(".")[1])]

    class Mocks(unittest.TestCase):
        timeout = 0.5
        def test_a_module_is_emptied(self):
            with mock.patch.dict(sys.modules, clear=True): hang()
        def test_b_environment_is_emptied(self):
            with mock.patch.dict(os.environ, clear=True): hang()
        def test_c_import(self):
            with mock.patch("builtins.__import__", side_effect=ImportError): hang()
        def test_d_streams(self):
            self.addCleanup(setattr, sys, "stderr", sys.stderr)
            sys.stderr = None
            hang()
        def test_e_is_not_called(self):
            mocks = {name: mock.patch(name).start() for name in there()}
            time.sleep(0.4)
            mock.patch.stopall()
            self.assertEqual([name for name, each in mocks.items() if each.called], [])
        test_e_is_not_called.timeout = 30
        def test_f_raises_and_stays(self):
            for name in there(): mock.patch(name, side_effect=RuntimeError(name)).start()
            hang()
        def test_g_hangs_after_it(self): hang()
        def test_h_fails_after_it(self): self.fail("as it should")
        def test_i_passes_after_it(self): pass
"""


class MocksInTheTests(Directory):
    def test_neither_take_limits_away_nor_break_reports_nor_see_us(self):
        self.write(test_mocks=MOCKED)
        files = "--junit-xml", "junit.xml", "--trace", "trace.json"
        ran = self.unittest("--timeout", "60", "--slow-after", "0.1", *files, "test_mocks")
        self.assertEqual(
            {name[5]: outcome for name, outcome in ran.outcomes.items() if name != "test_mocks"},
            {**dict.fromkeys("abcdfg", "timeout"), "e": "passed", "h": "failed", "i": "passed"},
            ran.stderr,
        )
        self.assertEqual(ran.status, 1, ran.stderr)
        self.assertIn("\nFAILED (timeouts=6, failures=1)\n", ran.stderr)
        self.assertIn("\nSLOW: test_mocks.Mocks.test_f_raises_and_stays is still running", ran.stderr)
        self.assertIn("in hang\n    def hang(): time.sleep(60)\n", ran.stderr)
        self.assertIn("AssertionError: as it should", ran.stderr)
        suite = ElementTree.parse(self.path("junit.xml")).getroot().find("testsuite")
        self.assertEqual((suite.get("tests"), len(suite.findall("testcase"))), ("9", 9))
        self.assertGreater(len(self.read("trace.json")["traceEvents"]), 9)


if __name__ == "__main__":
    unittest.main()
