"""Two threads, each of which waits for the lock that the other one holds."""

import threading

from .. import package

left, right = threading.Lock(), threading.Lock()
both = threading.Barrier(2)


def take(first, second):
    with first:
        both.wait()
        with second:
            pass


def main():
    threading.Thread(target=take, args=(right, left), name="mover", daemon=True).start()
    take(left, right)


manager = package.TimeoutManager(60, enforce=True)
try:
    with manager.timed_operation("prepare"):
        pass
    with manager.timed_operation("move", limit=2):
        main()
except package.PhaseTimeout as error:
    print(error)
    print(error.diagnosis)
