"""Run Python in a process of its own."""

import compileall
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

from .. import package

DIRECTORY = os.path.dirname(os.path.abspath(package.__file__))  #: of the package under test
ROOT = DIRECTORY  #: what has to be on sys.path to import it
for _ in package.__name__.split("."):
    ROOT = os.path.dirname(ROOT)
PYTHON = [sys.executable, "-S"]  #: starts without `site`, which takes time to find what is installed
if not sys.dont_write_bytecode:  # the many processes that the tests start write none
    compileall.compile_dir(DIRECTORY, quiet=2)


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


def at_once(function, items):
    """Return what the function returns for each item, in order; it is called for four of them at once."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, items))


def let_lie(test):
    """Say nothing of the pipes, processes and loops that a test leaves behind since it was interrupted."""
    caught = warnings.catch_warnings()
    caught.__enter__()
    test.addCleanup(caught.__exit__, None, None, None)
    warnings.simplefilter("ignore", ResourceWarning)
    logger = logging.getLogger("asyncio")
    test.addCleanup(logger.setLevel, logger.level)
    logger.setLevel(logging.CRITICAL)
    test.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
    sys.unraisablehook = lambda unraisable: None
    getattr(gc, "freeze", int)()  # what was there before need not be looked through
    test.addCleanup(getattr(gc, "unfreeze", int))
    test.addCleanup(gc.collect)  # it comes first


def python(*args, interpreter=PYTHON, timeout=120, **options):
    """Run this interpreter; return what it printed, with its errors as the text of an AssertionError if it failed."""
    options.setdefault("env", environment())
    done = subprocess.run(
        [*interpreter, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
