"""Print in a line what the package does on this platform: what interrupts, what ends, what is said instead.

`-` is what the platform cannot do at all (no threads, no processes); an X is a fault.
WITHOUT in the environment takes away what it names, here and in child processes: ctypes, threads, macos.
"""

import asyncio
import os
import subprocess
import sys
import time
import warnings

LIMIT, LONG = 0.3, 1.2  # seconds: limits, and what goes on for longer
HUNG = """
import time, unittest
took = []
class Case(unittest.TestCase):
    def test_a(self): pass
    def test_b(self):
        begun = time.monotonic()
        try: time.sleep(1.5)
        finally: took.append(time.monotonic() - begun)
    def test_c(self): pass
"""
SWALLOWS = """
import time, weakref
class Thing: pass
thing = Thing()
callbacks = [weakref.ref(thing, lambda reference: time.sleep(0.1)) for _ in range(50)]
sys.unraisablehook = lambda *_: None
with package.TimeoutManager(0.2, enforce=True, kill_after=0.3).timed_operation("stuck"):
    del thing
"""
FAMILY = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(12)'])\n"
FAMILY += "print(p.pid, flush=True); time.sleep(12)"


def take_away(names):
    if "ctypes" in names:
        sys.modules["_ctypes"] = None
    if "threads" in names:
        import _thread

        def refuse(*args, **kwargs):
            raise RuntimeError("can't start new thread")

        _thread.start_new_thread = _thread.start_joinable_thread = refuse
    if "macos" in names:
        import _signal

        sys.platform = "darwin"
        for module, lacking in (
            (_signal, "SIGRTMIN SIGRTMAX pidfd_send_signal sigtimedwait"),
            (os, "pidfd_open memfd_create sched_getaffinity waitid pipe2 eventfd"),
            (time, "pthread_getcpuclockid CLOCK_BOOTTIME"),
            (__import__("select"), "epoll"),
        ):
            for name in lacking.split():
                module.__dict__.pop(name, None)
                sys.modules["posix"].__dict__.pop(name, None)


HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ.get("PROJECT", os.path.dirname(HERE)))
take_away(os.environ.get("WITHOUT", "").split())
import timeout_manager as package  # noqa: E402
from timeout_manager.__main__ import main  # noqa: E402


def burn():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass


def verdict(manager, error, told):
    """Return what interrupted, or that this was only counted, which has to be said."""
    if error is None:
        return "X not counted"
    if error.interrupted:
        return manager.enforcement + (" on return" if error.elapsed > LONG - 0.1 else "")
    return "counted" if told or manager.enforcement != "none" else "X counted, not said"


def phase(body):
    manager, error = package.TimeoutManager(9, enforce=True), None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with manager.timed_operation("block", LIMIT):
                body()
        except package.PhaseTimeout as caught:
            error = caught
    return verdict(manager, error, told)


def worker():
    import threading

    found = []
    thread = threading.Thread(target=lambda: found.append(phase(burn)))
    try:
        thread.start()
    except RuntimeError:
        return "-"
    thread.join()
    return found[0]


async def task():
    async def block():
        time.sleep(LONG)

    found = []
    for body in lambda: asyncio.sleep(9), block:
        manager, error = package.TimeoutManager(9, enforce=True), None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                async with manager.timed_operation("task", LIMIT):
                    await body()
            except package.PhaseTimeout as caught:
                error = caught
        found.append(verdict(manager, error, told))
    return "/".join(found)


def awaits():
    try:
        loop = asyncio.new_event_loop()
    except (OSError, AttributeError, NotImplementedError):  # nothing to wait with
        return "-"
    try:
        return loop.run_until_complete(task())
    finally:
        loop.close()


def can_start():
    try:
        subprocess.Popen([sys.executable, "-c", ""]).wait()
        return True
    except OSError:
        return False


def is_alive(pid):
    if sys.platform == "win32":
        return str(pid) in subprocess.run(["tasklist"], stdout=subprocess.PIPE, text=True).stdout.split()
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        if not os.path.isdir("/proc/1"):
            time.sleep(0.2)  # whoever takes the orphans collects them
    try:
        os.kill(pid, 0)
        return not os.path.isdir("/proc/1")
    except OSError:
        return False


def tree():
    begun = time.monotonic()
    try:
        package.TimeoutManager(60).run([sys.executable, "-c", FAMILY], timeout=2, grace=0.3, stdout=-1, text=True)
    except package.PhaseTimeout as error:
        if time.monotonic() - begun > 10:
            return "X late"
        if not error.output:
            return "X output lost"
        alive = is_alive(int(error.output))
        return ("X child left" if alive else "ended") + (", survivors" if error.survivors else "")
    return "X nothing raised"


def own(*arguments, code=None, **options):
    env = {**os.environ, "PYTHONPATH": sys.path[0], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, __file__, *(("own", *arguments) if code is None else ("code", code))]
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)


def command():
    status = [own("run", seconds, sys.executable, "-c", code).returncode for seconds, code in COMMANDS]
    return "as timeout" if status == [3, 124] else f"X {status}"


COMMANDS = ("20", "raise SystemExit(3)"), (str(LIMIT), "import time; time.sleep(9)")


def tests(*options):
    """Run tests by the command: what becomes of one that hangs."""
    import contextlib
    import io

    module = type(sys)("hung")
    exec(HUNG, module.__dict__)
    sys.modules["hung"] = module
    said, status = io.StringIO(), None
    arguments = sys.argv[:]
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main(["unittest", "--timeout", str(LIMIT), *options, "hung"])
    except SystemExit as end:
        status = end.code
    sys.argv[:] = arguments
    if options and status == 2 and "Traceback" not in said.getvalue():
        return "refused"
    if status != 1 or "FAILED (timeouts=1)" not in said.getvalue():
        return f"X {status} {said.getvalue()[-300:]!r}"
    return "interrupted" if module.took[0] < LONG else "late"


def kill_after():
    done = own(code=SWALLOWS)
    if done.returncode == 124 and "still running 0.300 s after" in done.stderr:
        return "ended"
    return "said" if "kill_after cannot end" in done.stderr else f"X {done.returncode} {done.stderr[-300:]!r}"


def row():
    yield "loop", phase(burn)
    yield "sleep", phase(lambda: time.sleep(LONG))
    yield "worker", worker()
    if sys.platform != "emscripten":  # there somebody else awaits it
        yield "task", awaits()
    if can_start():
        yield "tree", tree()
        yield "run", command()
        yield "kill_after", kill_after()
    yield "unittest", tests()
    yield "slow-after", tests("--slow-after", "0.2")


def text(found):
    return "; ".join(f"{name}: {what}" for name, what in found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["own"]:
        main(sys.argv[2:])
    elif sys.argv[1:2] == ["code"]:
        exec(sys.argv[2])
    else:
        print(text(row()), flush=True)
