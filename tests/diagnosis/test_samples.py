"""What is printed for a hang of each kind is kept in ``tests/samples``, but for figures and lines of the library.

To write it anew: ``python -m tests.diagnosis.test_samples write``.
"""

import os
import re
import sys
import unittest

from ..helpers.child import ROOT, environment
from ..helpers.forks import Fork
from ..helpers.together import Together

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLES = os.path.join(TESTS, "samples")
NAMES = "busy_loop", "deadlock", "grandchild", "lost_await"
MASKS = (
    (r'(?m)^  File "(?!tests[/\\]samples).*\n(    .*\n)?', ""),  # lines of the library differ from version to version
    (r"(?m)^  \d+ sh -c .* TERM\n", ""),  # `subprocess.run` may have killed it before
    (r"\d+(\.\d+)? (m?s\b)", r"0 s"),
    (r"(?m)^( +)\d+ ", r"\1PID "),
    (r"sleeping( in \w+)?,", "sleeping,"),
    (r"seen \d+ times?", "seen 0 times"),
    (r" +0 s", " 0 s"),
    *(((", awaited by Task-1", ""),) if sys.version_info < (3, 14) else ()),
)


def masked(text):
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return text


def run(names):
    """Return what each of these samples prints."""
    where = os.path.dirname(TESTS), environment(PYTHONPATH=ROOT)
    running = [Fork(f"tests.samples.{name}", [], *where) for name in names]
    return {name: "".join(fork.communicate(timeout=100)) for name, fork in zip(names, running)}


@unittest.skipUnless(sys.implementation.name == "cpython" and sys.platform == "linux", "kept from CPython on Linux")
class Samples(Together, unittest.TestCase):
    def test_what_is_printed(self):
        self.maxDiff = None
        for name, printed in run(NAMES).items():
            with self.subTest(name), open(os.path.join(SAMPLES, f"{name}.txt"), encoding="utf-8") as file:
                kept = masked(file.read())
                if masked(printed) != kept:  # a busy machine may have looked late
                    printed = run([name])[name]
                self.assertEqual(masked(printed), kept)


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        for name, printed in run(NAMES).items():
            with open(os.path.join(SAMPLES, f"{name}.txt"), "w", encoding="utf-8") as file:
                file.write(printed.replace(os.path.dirname(os.__file__), "LIB"))
    else:
        unittest.main()
