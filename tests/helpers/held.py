"""Locks of several kinds, and loops that take and give them back all the time: an interrupt must leave none locked."""

import queue
import sys
import threading
from contextlib import contextmanager

from .. import package

BRIEF = 5e-4  # seconds: most of the limits pass in the loops below


class Written:
    """A lock of somebody's own, in Python."""

    def __init__(self):
        self.taken = 0

    def __enter__(self):
        self.taken += 1

    def __exit__(self, *error):
        self.taken -= 1

    def acquire(self):
        self.taken += 1

    def release(self):
        self.taken -= 1

    def locked(self):
        return self.taken != 0

    @contextmanager
    def held(self):
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Condition(threading.Condition):
    def __init__(self):
        super().__init__(threading.Lock())

    def locked(self):
        return self._lock.locked()


class Semaphore(threading.Semaphore):
    def locked(self):
        return self._value != 1


class Queue(queue.Queue):
    def locked(self):
        return self.mutex.locked()


def use(lock):
    while True:
        with lock:
            pass


def use_generator(lock):
    while True:
        with lock.held():
            pass


def use_queue(each):
    while True:
        each.put(1)
        each.get()


def use_by_hand(lock):
    x = 0
    while True:
        lock.acquire()
        try:
            x += 1
        finally:
            lock.release()


USES = [
    *((kind, use) for kind in (threading.Lock, Written, Condition, Semaphore)),
    *((Queue, use_queue), (Written, use_generator)),
]
if sys.version_info >= (3, 10):  # 3.9 looks for signals anywhere
    USES += (threading.Lock, use_by_hand), (Written, use_by_hand)


def left_held(kind, function, times, make_manager):
    """Have so many limits pass in such a loop; return after how many it was still held."""
    count = 0
    for _ in range(times):
        lock = kind()
        try:
            with make_manager().timed_operation("run", BRIEF):
                function(lock)
        except package.PhaseTimeout:
            count += lock.locked()
    return count
