"""The page of HTML: what it shows, that nothing in it can inject, and that a browser opens it."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from html.parser import HTMLParser
from importlib import import_module

from . import package
from .helpers.child import environment
from .helpers.clock import FakeClock
from .helpers.command import Directory

page = import_module(f"{package.__name__}.counting.page")
CHROMIUM = shutil.which("chromium")
EVIL = "</pre></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Counts the elements of a page, and keeps its text."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.names.append(name)
        self.attributes += [attribute for attribute, _ in attributes]

    def handle_data(self, data):
        self.text += data


def bars(count):
    names = (f"tests.test_{n % 50}.Case.test_{n}" for n in range(count))
    told = {"elapsed": 0.1, "outcome": "passed"}
    return [page.Bar({"id": name, "started": n * 0.1, **told}, 1.0) for n, name in enumerate(names)]


class OfAManager(unittest.TestCase):
    def test_has_a_row_for_each_thread_and_every_phase_with_its_limit(self):
        clock = FakeClock()
        manager = package.TimeoutManager(60, clock=clock)
        with manager.timed_operation("build", limit=10):
            with manager.timed_operation("compile"):
                clock.advance(9)
        elements = Elements(manager.as_html())
        self.assertEqual(elements.names.count("i"), 2)
        self.assertIn("9.00 s used, of 60.00 s", elements.text)
        self.assertRegex(elements.text, r"build9\.00 s10\.00 s90%done")

    def test_folds_out_what_was_running_at_a_timeout(self):
        manager = package.TimeoutManager(60, enforce=True)
        if manager.enforcement == "none":
            self.skipTest("nothing can interrupt here")
        with self.assertRaises(package.PhaseTimeout):
            with manager.timed_operation("run", limit=0.05):
                time.sleep(60)
        text = manager.as_html()
        self.assertRegex(text, "<details open>.*timeout.*run")
        self.assertIn("Stack of thread MainThread", text)

    def test_nothing_in_it_can_inject(self):
        manager = package.TimeoutManager(60, clock=FakeClock())
        with manager.timed_operation(EVIL):
            pass
        elements = Elements(manager.as_html())
        self.assertNotIn("script", elements.names)
        self.assertNotIn("img", elements.names)
        self.assertNotIn("onerror", elements.attributes)
        self.assertIn(EVIL, elements.text)

    def test_can_be_written_whatever_a_phase_is_called(self):
        manager = package.TimeoutManager(60, clock=FakeClock())
        with manager.timed_operation("read \udcff"):
            pass
        self.assertIn(r"read \udcff", manager.as_html().encode().decode())

    def test_is_a_page_also_without_a_phase(self):
        self.assertIn("0 phases", package.TimeoutManager().as_html())


class OfTests(Directory):
    def test_tells_what_the_report_tells(self):
        self.write(
            test_page="""
            import time, unittest
            class Case(unittest.TestCase):
                def test_fails(self): self.fail("<script>")
                def test_hangs(self): time.sleep(60)
                def test_passes(self): pass
            """
        )
        self.end(self.start("unittest", "--timeout", "0.2", "--html", "page.html", "--report", "report.json"))
        with open(os.path.join(self.directory, "page.html"), encoding="utf-8") as file:
            elements = Elements(file.read())
        with open(os.path.join(self.directory, "report.json"), encoding="utf-8") as file:
            tests = json.load(file)["tests"]
        self.assertNotIn("script", elements.names)
        self.assertIn("3 tests", elements.text)
        for test in tests:
            self.assertIn(test["id"], elements.text)
        self.assertIn("Time ran out in test", elements.text)

    def test_nothing_in_it_can_inject(self):
        phase = {"name": EVIL, "started": 0, "elapsed": 1, "limit": 1, "outcome": EVIL, "group": 0}
        texts = dict.fromkeys(("id", "outcome", "job", "text", "diagnosis"), EVIL)
        test = {"kind": "test", "started": 0, "elapsed": 1, "phases": [phase], **texts}
        elements = Elements(page.of_tests({"tests": [test], "counts": {EVIL: 1}, "not run": []}))
        self.assertEqual({"script", "img"} & set(elements.names), set())
        self.assertNotIn("onerror", elements.attributes)

    def test_has_a_row_for_each_worker_and_what_shares_a_limit_against_it(self):
        def phase(name, elapsed, group):
            return {"name": name, "started": 0, "elapsed": elapsed, "limit": 1, "outcome": "done", "group": group}

        def test(name, job, *phases):
            times = {"started": 0, "elapsed": sum(phase["elapsed"] for phase in phases)}
            texts = {"text": "", "diagnosis": ""}
            return {"id": name, "kind": "test", "outcome": "passed", "job": job, "phases": phases, **times, **texts}

        tests = test("a", 1, phase("setUp", 0.2, 0), phase("test", 0.5, 0), phase("tearDown", 0.6, 1)), test("b", 2)
        elements = Elements(page.of_tests({"tests": tests, "counts": {"passed": 2}, "not run": []}))
        self.assertRegex(elements.text, "(?s)worker 1.*worker 2")
        self.assertRegex(elements.text, r"a0\.700 s1\.00 s70%passed")

    @unittest.skipUnless(CHROMIUM and "TESTS_IN_A_BROWSER" in os.environ, "no Chromium here, or it is not asked for")
    def test_a_browser_opens_five_thousand_of_them(self):
        path = os.path.join(self.directory, "page.html")
        with open(path, "w", encoding="utf-8") as file:
            file.write(page.draw(EVIL, "", bars(5000)))
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
        with tempfile.TemporaryDirectory() as profile:
            command = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", "--dump-dom", f"file://{path}"]
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
        elements = Elements(done.stdout)
        self.assertEqual(elements.names.count("i"), 5000)
        self.assertNotIn("script", elements.names)
        self.assertTrue(re.search("4,960 more", elements.text))


if __name__ == "__main__":
    unittest.main()
