"""Try what a page of the documentation shows: its examples are run, and print what the page says.

Where the text before a block ends with ``File `NAME`:`` the block is written to that file. Of the other blocks, those
of ``python`` are run one after the other, in a fork of one interpreter for all pages; what has ``>>>`` must print what
is shown. Of a block ``console`` each line with ``$`` is run, by a shell where it needs one; what follows it must be
what it prints, up to figures, and ``...`` stands for anything. Other blocks are there to be read. The blocks of a page
share a directory, and nothing else: they are run at the same time. Python does without what is installed, which takes
time to find, but where a file is for pytest.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

from .. import package
from .child import ROOT, environment
from .forks import Fork

CAN_TRY = os.name == "posix" and sys.implementation.name == "cpython"
AT_ONCE = 4  # processes; most of them wait
BLOCK = re.compile(r"(?:File\s`([^`\n]+)`:\n+)?^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ +(.*)$", re.M)
NAME = re.compile(r"\b(from|import|-m|-p) timeout_manager\b|(?<=\")timeout_manager(?=\.pytest_plugin)")
MASKS = (
    (r"\d+(\.\d+)? ?(s|ms)\b", "0 s"),
    (r"seen \d+ times?", "seen 0 times"),
    (r"(?m)^For 0 s after the limit nothing could interrupt it.*\n", ""),  # on a busy machine
    (r"(?m)^[ E]*[~^]+\n", ""),  # the place within a line, from 3.11
    (r"\d+(\.\d+)?%", "0%"),
    (r"([=_])\1{3,}", r"\1"),  # as wide as the terminal
    (r"#+", "#"),
    (r"(?m)(^ *|\bprocess |\bto )\d+(?= )", r"\g<1>0"),
    (r"\((\w+(?:\.\w+)+)\.(test\w*)\)", r"(\1)"),  # names of tests, from 3.11
)
OURS = "python -m timeout_manager "
COMMANDS = {
    "python": 'exec "$PYTHON_HERE" $PYTHON_FLAGS "$@"\n',
    "timeout-manager": f"exec \"$PYTHON_HERE\" $PYTHON_FLAGS -c 'import sys; sys.argv[0] = \"timeout-manager\"\n"
    f"from {package.__name__}.__main__ import script; script()' \"$@\"\n",
}
SESSIONS = """
import asyncio, doctest, json, os, subprocess, sys, threading
def run(blocks):
    space = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for block in blocks:
        if ">>>" in block:
            session = doctest.DocTestParser().get_doctest(block, space, "page", None, 0)
            runner.run(session, clear_globs=False)
            space.update(session.globs)
        else:
            exec(compile(block, "page", "exec"), space)
    return runner.failures
pages = {}
for folder, blocks in json.load(sys.stdin).items():
    page = os.fork()
    if page == 0:
        os.chdir(folder)
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
        sys.exit(run(blocks))
    pages[folder] = page
print(json.dumps({folder: os.waitpid(page, 0)[1] for folder, page in pages.items()}))
"""


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def masked(text):
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return text


def named(text):
    """Return the text with the name that the package has here."""
    return NAME.sub(lambda match: match[0].replace("timeout_manager", package.__name__, 1), text)


def anchors(text):
    """Return what a link can lead to on a page."""
    bare = (re.sub(r"[^\w -]", "", heading.lower()) for heading in HEADING.findall(BLOCK.sub("", text)))
    return {heading.replace(" ", "-") for heading in bare}


def is_shown(text, shown):
    """Tell whether a text is what is shown, where ``...`` stands for anything, also for nothing."""
    parts = (re.escape(" ".join(part.split())) for part in shown.split("..."))
    return re.fullmatch(" ?.*? ?".join(parts), " ".join(text.split()), re.S) is not None


def broken_links(path):
    """Return the links of a page that lead nowhere, in the files beside it."""
    found = []
    text = read(path)
    for target, anchor in LINK.findall(text):
        file = os.path.join(os.path.dirname(path), target) if target else path
        if not os.path.exists(file) or anchor and anchor not in anchors(read(file)):
            found.append(f"{target}#{anchor}")
    return found


class Page:
    """What there is to run on a page, in a directory of its own."""

    def __init__(self, path, directory):
        self.name, self.directory = os.path.basename(path), directory
        self.files, self.consoles, self.session = {}, [], []
        for name, kind, block in BLOCK.findall(read(path)):
            if "pytest" in block and not find_spec("pytest") or "--isolate" in block and sys.platform != "linux":
                pass
            elif name:
                assert name not in self.files, f"{self.name} shows two files {name}"
                self.files[name] = block
            elif kind == "console":
                self.consoles.append(block)
            elif kind == "python":
                self.session.append(named(block))
        for name, block in self.files.items():
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(named(block))
        self.flags = "" if any("pytest" in block for block in self.files.values()) else "-S"


class Trial:
    """Runs what pages show, with commands and an environment of its own."""

    def __init__(self, directory):
        commands = os.path.join(directory, "bin")
        os.mkdir(commands)
        for name, script in COMMANDS.items():
            with open(os.path.join(commands, name), "w") as file:
                file.write(f"#!/bin/sh\n{script}")
            os.chmod(os.path.join(commands, name), 0o755)
        self.env = environment(PYTHONPATH=ROOT, PYTHON_HERE=sys.executable, PYTHONIOENCODING="utf-8", COLUMNS="80")
        self.env.update(PATH=commands + os.pathsep + self.env["PATH"], TERM="dumb", NO_COLOR="1")
        self.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the pages say what happens without other plug-ins

    def sessions(self, pages):
        """Return what is wrong with the sessions of each of these pages."""
        blocks = {page.directory: page.session for page in pages}
        done = self.run([sys.executable, "-S", "-c", SESSIONS], input=json.dumps(blocks))
        statuses = json.loads(done.stdout)
        said = {page: read(os.path.join(page.directory, "said")) for page in pages}
        return {page: said[page] if statuses[page.directory] else "" for page in pages}

    def console(self, page, block):
        """Return what is wrong with a block."""
        wrong, status = [], 0
        for line, _, shown in (each.partition("\n") for each in re.split(r"^\$ ", block, flags=re.M)[1:]):
            got, status = self.line(page, line, status)
            got, shown = masked(got.replace(package.__name__, "timeout_manager")), masked(shown)
            if not is_shown(got, shown):
                wrong.append(f"$ {line}\n-- is not what is shown:\n{shown}\n-- but:\n{got}")
        return "\n\n".join(wrong)

    def line(self, page, line, status):
        """Run a line after one that has ended with this status; return what it prints, and its status."""
        if page.flags and line.startswith(OURS) and not re.search("[|>]|--isolate", line):
            words = shlex.split(line[len(OURS) :])
            run = Fork(package.__name__, words, page.directory, self.env, in_one=True)
            return run.communicate(timeout=120)[0], run.returncode & 255
        env = {**self.env, "PYTHON_FLAGS": page.flags}
        script = f"(exit {status}); {named(line)}"
        done = self.run(["sh", "-c", script], cwd=page.directory, env=env, stdin=subprocess.DEVNULL)
        return done.stdout, done.returncode

    def run(self, command, **options):
        options = {"env": self.env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 120, **options}
        return subprocess.run(command, encoding="utf-8", errors="replace", **options)


def try_pages(test, paths):
    """Run all that is shown in these files."""
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(AT_ONCE) as pool:
        trial = Trial(directory)
        pages = [Page(path, tempfile.mkdtemp(dir=directory)) for path in paths]
        sessions = pool.submit(trial.sessions, [page for page in pages if page.session])
        consoles = [(page, block, pool.submit(trial.console, page, block)) for page in pages for block in page.consoles]
        for page, block, job in consoles:
            with test.subTest(page=page.name, shown=block[:60]):
                _pass(test, job.result())
        for page, wrong in sessions.result().items():
            with test.subTest(page=page.name):
                _pass(test, wrong)


def _pass(test, wrong):
    if wrong:
        test.fail(wrong)
