"""A shell that waits for a process of its own, which hangs."""

import subprocess

from .. import package

manager = package.TimeoutManager(2, enforce=True, kill_children=1)
try:
    with manager.timed_operation("build"):
        subprocess.run(["sh", "-c", "echo building; sleep 60; echo built"], stdout=subprocess.DEVNULL)
except package.PhaseTimeout as error:
    print(error)
    print(error.diagnosis)
