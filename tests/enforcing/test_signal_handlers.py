"""Signal handlers of others that open phases or call ``reset``, wherever they interrupt us."""

import signal
import unittest

from .. import package
from ..helpers.child import ROOT, at_once
from ..helpers.enforced import MARGIN, NAMES
from ..helpers.forks import run_code
from ..helpers.together import Together

START = f"""
import os, signal, sys, time
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package

enforce = sys.argv[1]
manager, other = (package.TimeoutManager(60, enforce=enforce) for _ in range(2))
with manager.timed_operation("first"):
    pass  # whatever has to be loaded is loaded
timer, alarm, enforcer, threads = (
    sys.modules[f"{{package.__name__}}.enforcing.{{name}}"] for name in ("by_timer", "by_signal", "choice", "by_thread")
)
watchdog = sys.modules[f"{{package.__name__}}.interpreter.watchdog"]

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return handlers, signal.getitimer(signal.ITIMER_REAL), signal.pthread_sigmask(signal.SIG_BLOCK, ())

before = []

def begin():
    before.append(state())

def end():
    assert state() == before[0], (state(), before[0])
    assert not manager._ledger.open and not other._ledger.open, (manager._ledger.open, other._ledger.open)
    assert not threads.enforcers and not watchdog.jobs
    assert not any(each.only.phases or each.only.sessions for each in (timer.ByTimer, alarm.BySignal))
    try:
        with manager.timed_operation("last", limit=0.05):
            time.sleep(5)
    except package.PhaseTimeout as error:
        assert error.interrupted
    else:
        raise AssertionError("not interrupted")
    assert state() == before[0], (state(), before[0])
    print("fine")
"""

HANDLERS = {
    "reset": "def handle(*args): manager.reset()",
    "a phase": """
def handle(*args):
    with other.timed_operation("in the handler", limit=5):
        pass
""",
    "a phase of the same manager": """
def handle(*args):
    with manager.timed_operation("in the handler", limit=5):
        pass
""",
}


@unittest.skipUnless(hasattr(signal, "setitimer"), "no such signals here")
class WhereverTheyCome(Together, unittest.TestCase):
    def go(self, code):
        """Run the code in a process of its own, with each handler and each enforcer."""

        def run(case):
            name, enforce = case
            return run_code(START + HANDLERS[name] + code, enforce, timeout=3 * MARGIN)

        cases = [(name, enforce) for name in HANDLERS for enforce in NAMES]
        for case, done in zip(cases, at_once(run, cases)):
            self.assertEqual((done.returncode, done.stdout), (0, "fine\n"), (case, done))

    def test_before_the_watch_of_a_phase_begins(self):
        self.go(
            """
signal.signal(signal.SIGUSR1, handle)
begin()
real = enforcer.start

def interrupted(*args):
    enforcer.start = real
    signal.raise_signal(signal.SIGUSR1)
    return real(*args)

for limit in 5, None:
    enforcer.start = interrupted
    with manager.timed_operation("run", limit=limit):
        pass
end()
"""
        )

    def test_at_every_line_of_entering_and_leaving(self):
        self.go(
            """
signal.signal(signal.SIGUSR1, handle)
directory = os.path.dirname(package.__file__)
count, due = [0], [0]

def trace(frame, event, argument):
    if not frame.f_code.co_filename.startswith(directory):
        return None
    if event == "line":
        count[0] += 1
        if count[0] == due[0]:
            signal.raise_signal(signal.SIGUSR1)
            sys.settrace(None)
    return trace

begin()
while count[0] >= due[0]:
    count[0] = 0
    due[0] += 1
    sys.settrace(trace)
    with manager.timed_operation("run", limit=5):
        pass
    sys.settrace(None)
assert due[0] > 20, due
end()
"""
        )

    def test_in_a_storm_of_signals(self):
        self.go(
            """
signal.signal(signal.SIGVTALRM, handle)
begin()
signal.setitimer(signal.ITIMER_VIRTUAL, 0.003, 0.003)
stop = time.monotonic() + 0.15
while time.monotonic() < stop:
    with manager.timed_operation("run", limit=5):
        pass
signal.setitimer(signal.ITIMER_VIRTUAL, 0)
end()
"""
        )


if __name__ == "__main__":
    unittest.main()
