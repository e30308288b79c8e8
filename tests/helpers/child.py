"""Run Python in a process of its own."""

import os
import signal
import subprocess
import sys
import threading

from .. import package

DIRECTORY = os.path.dirname(os.path.abspath(package.__file__))  #: of the package under test
ROOT = DIRECTORY  #: what has to be on sys.path to import it
for _ in package.__name__.split("."):
    ROOT = os.path.dirname(ROOT)


def count_threads():
    """Return how many threads this process has, also those that `threading` does not know."""
    tasks = "/proc/self/task"
    return len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()


def environment(**more):
    """Return the environment without what would change how a Python starts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}


def hear(test, *numbers):
    """Have what a test starts hear these signals, also where a shell (``&``, nohup) has let all of us ignore them."""
    for number in numbers:
        test.addCleanup(signal.signal, number, signal.signal(number, signal.default_int_handler))


def python(*args, timeout=120, **options):
    """Run this interpreter; return what it printed, with its errors as the text of an AssertionError if it failed."""
    options.setdefault("env", environment())
    done = subprocess.run(
        [sys.executable, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
