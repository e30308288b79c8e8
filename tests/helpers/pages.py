"""Try what a page of the documentation shows: its examples are run, and print what the page says.

Where the text before a block ends with ``File `NAME`:`` the block is written to that file. Of the other blocks, those
of ``python`` are run one after the other in a process of their own; what has ``>>>`` must print what is shown. Of a
block ``console`` each line with ``$`` is run in a shell; what follows it must be what it prints, up to figures, and
``...`` stands for anything. Other blocks are there to be read. The blocks of a page share a directory, and nothing
else: they are run at the same time.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

from .. import package
from .child import ROOT, environment

CAN_TRY = os.name == "posix" and sys.implementation.name == "cpython"
AT_ONCE = 8  # processes; most of them wait
BLOCK = re.compile(r"(?:File `([^`\n]+)`:\n+)?^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ +(.*)$", re.M)
NAME = re.compile(r"\b(from|import|-m|-p) timeout_manager\b|(?<=\")timeout_manager(?=\.pytest_plugin)")
MASKS = (
    (r"\d+(\.\d+)? ?(s|ms)\b", "0 s"),
    (r"seen \d+ times?", "seen 0 times"),
    (r"(?m)^[ E]*[~^]+\n", ""),  # the place within a line, from 3.11
    (r"\d+(\.\d+)?%", "0%"),
    (r"([=_])\1{3,}", r"\1"),  # as wide as the terminal
    (r"#+", "#"),
    (r"(?m)(^ *|\bprocess |\bto )\d+(?= )", r"\g<1>0"),
    (r"\((\w+(?:\.\w+)+)\.(test\w*)\)", r"(\1)"),  # names of tests, from 3.11
)
DONE = "----- done -----"
COMMANDS = {
    "python": 'exec "$PYTHON_HERE" "$@"\n',
    "timeout-manager": f"exec \"$PYTHON_HERE\" -c 'import sys; sys.argv[0] = \"timeout-manager\"\n"
    f"from {package.__name__}.__main__ import script; script()' \"$@\"\n",
}
SESSION = """
import doctest, sys
space = {"__name__": "__main__"}
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for block in BLOCKS:
    if ">>>" in block:
        session = doctest.DocTestParser().get_doctest(block, space, "page", None, 0)
        runner.run(session, clear_globs=False)
        space.update(session.globs)
    else:
        exec(compile(block, "page", "exec"), space)
sys.exit(runner.failures)
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

    def __init__(self, path, directory, env):
        self.name, self.directory, self.env = os.path.basename(path), directory, env
        self.files, self.consoles, self.sessions = {}, [], []
        for name, kind, block in BLOCK.findall(read(path)):
            if "pytest" in block and not find_spec("pytest") or "--isolate" in block and sys.platform != "linux":
                pass
            elif name:
                assert name not in self.files, f"{self.name} shows two files {name}"
                self.files[name] = block
            elif kind == "console":
                self.consoles.append(block)
            elif kind == "python":
                self.sessions.append(block)
        for name, block in self.files.items():
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(named(block))

    def jobs(self):
        """Yield what is shown, and what runs it and returns what is wrong with that."""
        for block in self.consoles:
            yield block, self.try_console
        if self.sessions:
            yield self.sessions, self.try_sessions

    def try_sessions(self, blocks):
        code = f"BLOCKS = {[named(block) for block in blocks]!r}{SESSION}"
        done = self.run(sys.executable, "-c", code)
        return [done.stdout] if done.returncode else []

    def try_console(self, block):
        pairs = [each.partition("\n")[::2] for each in re.split(r"^\$ ", block, flags=re.M)[1:]]
        script = "".join(f"{named(line)}\n_=$?; echo; echo '{DONE}'; (exit $_)\n" for line, _ in pairs)
        done = self.run("sh", "-c", script)
        printed = done.stdout.replace(package.__name__, "timeout_manager").split(DONE)
        if len(printed) != len(pairs) + 1:
            return [done.stdout]
        return [
            f"$ {line}\n{got}\n\n-- is not what is shown:\n{masked(shown)}\n-- but:\n{masked(got)}"
            for (line, shown), got in zip(pairs, printed)
            if not is_shown(masked(got), masked(shown))
        ]

    def run(self, *command):
        return subprocess.run(
            command,
            **dict(cwd=self.directory, env=self.env, stdin=subprocess.DEVNULL),
            **dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120),
            **dict(encoding="utf-8", errors="replace"),
        )


def try_pages(test, paths):
    """Run all that is shown in these files."""
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(AT_ONCE) as pool:
        bin = os.path.join(directory, "bin")
        os.mkdir(bin)
        for name, script in COMMANDS.items():
            with open(os.path.join(bin, name), "w") as file:
                file.write(f"#!/bin/sh\n{script}")
            os.chmod(os.path.join(bin, name), 0o755)
        env = environment(PYTHONPATH=ROOT, PYTHON_HERE=sys.executable, PYTHONIOENCODING="utf-8", COLUMNS="80")
        env.update(PATH=bin + os.pathsep + env["PATH"], TERM="dumb", NO_COLOR="1")
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the pages say what happens without other plug-ins
        started = []
        for path in paths:
            folder = tempfile.mkdtemp(dir=directory)
            page = Page(path, folder, env)
            started += [(page, shown, pool.submit(function, shown)) for shown, function in page.jobs()]
        for page, shown, job in started:
            with test.subTest(page=page.name, shown=shown[:60]):
                wrong = job.result()
                if wrong:
                    test.fail("\n\n".join(wrong))
