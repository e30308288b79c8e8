"""Count what goes wrong where a block ends as its limit passes: ``python -m tests.stress [main] [worker] [holes] ...``.

``main`` and ``worker`` run phases whose bodies end within some tens of microseconds of the limit, in the main thread
and in another one: counting and enforcing, alone and in a session, nested, through ExitStack, through the decorator,
with bodies that swallow. ``tasks`` does so in coroutines, some of which are cancelled by others at the same moment.
``holes`` lets limits pass in loops that share a function with their `with`, `try` and `finally`. ``held`` does so where
locks of several kinds are taken and given back all the time. Every indented count has to be 0. How many:
``main=1000000 worker=200000``, ``holes=420`` for each of the 48 combinations of a loop, what is around it, and a
mechanism, and ``held=1000`` for each lock and mechanism.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from _thread import _count as thread_count  # type: ignore[attr-defined]
from collections import Counter
from contextlib import ExitStack
from random import Random

from . import package
from .helpers.held import USES, left_held

PhaseTimeout = package.PhaseTimeout
ENDLESS = 10.0  # seconds: a body that would last so long has to be interrupted; a busy machine stands still for 1.0
SIZES = {"main": 20_000, "worker": 5_000, "tasks": 10_000, "holes": 50, "held": 100}
monotonic = time.monotonic


def spin(seconds):
    end = monotonic() + seconds
    while monotonic() < end:
        pass


# -- shapes: each opens phases of a manager, the outermost first, and lets their bodies last for so long ---------------


def plain(manager, limit, seconds, lost):
    with manager.timed_operation("one", limit):
        spin(seconds)


def in_the_block(manager, limit, seconds, lost):
    with manager.timed_operation("one", limit):
        end = monotonic() + seconds
        while monotonic() < end:
            pass


def nested(manager, limit, seconds, lost):
    with manager.timed_operation("outer", limit * 1.2):
        with manager.timed_operation("inner", limit):
            spin(seconds)
        spin(limit * 0.1)


def in_one_line(manager, limit, seconds, lost):
    with manager.timed_operation("outer", limit), manager.timed_operation("inner", limit):
        spin(seconds)


def through_exit_stack(manager, limit, seconds, lost):
    with ExitStack() as stack:
        stack.enter_context(manager.timed_operation("outer", limit))
        stack.enter_context(manager.timed_operation("inner"))
        spin(seconds)


def decorated(manager, limit, seconds, lost):
    manager.timed_operation("one", limit)(spin)(seconds)


def swallowing(manager, limit, seconds, lost):
    with manager.timed_operation("one", limit):
        try:
            spin(seconds)
        except Exception:
            pass


def swallowing_all(manager, limit, seconds, lost):
    with manager.timed_operation("one", limit):
        try:
            spin(seconds)
        except:  # noqa: E722
            pass


def cleaning_up(manager, limit, seconds, lost):
    done = False
    with manager.timed_operation("one", limit):
        try:
            while monotonic() < 0:
                pass
            spin(seconds)
        finally:
            done = True
    lost[not done] += 1


def asleep(manager, limit, seconds, lost):
    with manager.timed_operation("one", limit):
        time.sleep(seconds)


SHAPES = [
    *(plain, in_the_block, nested, in_one_line, through_exit_stack),
    *(decorated, swallowing, swallowing_all, cleaning_up, asleep),
]


def phases(number, wishes, seed):
    """Run so many phases in the calling thread, and count what went wrong."""
    random, counts = Random(seed), Counter()
    main = threading.current_thread() is threading.main_thread()
    before = handlers_now() if main else {}
    with package.TimeoutManager(60, enforce=True).timed_operation("first"):
        pass  # the handler that stays between phases is there from now on
    handlers = handlers_now() if main else {}
    while counts["phases"] < number:
        try:
            batch(random, random.choice(wishes), counts, main)
            spin(3e-5)
        except BaseException as error:
            counts["after the block"] += 1
            print(f"after the block: {error!r}", file=sys.stderr)
        if main:
            left = signal.getsignal(signal.SIGALRM) != handlers[signal.SIGALRM]
            counts["handlers or timers left"] += left or signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
    counts["handlers or timers left"] += main and handlers_now() != handlers
    package.TimeoutManager.give_back()
    counts["handlers or timers left"] += main and handlers_now() != before
    return counts


def handlers_now():
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def batch(random, wish, counts, main):
    """Run some phases of one manager."""
    manager = package.TimeoutManager(60, enforce=wish)
    if random.random() < 0.5:
        with manager:
            for _ in range(10):
                once(random, manager, wish, counts, main)
    else:
        for _ in range(5):
            once(random, manager, wish, counts, main)
    names = [phase for phase in manager.phases if phase.outcome not in ("done", "failed", "timeout")]
    outermost = sum(phase.elapsed() for phase in manager.phases if phase.parent is None)
    used = manager.as_dict()["used"]
    balanced = abs(outermost - used) < 1e-6 and manager.as_dict()["used"] == used
    counts["ledgers that do not add up"] += bool(names) or not balanced
    counts["phases"] += len(manager.phases)


def once(random, manager, wish, counts, main):
    shape = random.choice(SHAPES)
    limit = random.uniform(2e-5, 8e-5)
    seconds = max(0.0, limit + random.uniform(-3e-5, 3e-5))
    interruptible = wish and (shape is not asleep or main)
    if interruptible and random.random() < 0.05:
        seconds = ENDLESS
    first, lost, error = len(manager.phases), Counter(), None
    start = monotonic()
    try:
        shape(manager, limit, seconds, lost)
    except PhaseTimeout as caught:
        error = caught
    took = monotonic() - start
    opened = manager.phases[first:]
    counts["interrupts lost"] += took > ENDLESS
    counts["finally skipped"] += lost[True]
    over = [phase for phase in opened if phase.limit is not None and phase.remaining() == 0.0]
    if error is None:
        counts["wrong owner"] += bool(over)
    else:
        counts["wrong owner"] += not over or error.limited_phase != over[0].name or error.owner is not over[0]
    counts["interrupted"] += error is not None and error.interrupted


# -- tasks -------------------------------------------------------------------------------------------------------------


def tasks(number, seed):
    """Run so many phases in tasks, and count what went wrong."""
    random, counts = Random(seed), Counter()
    while counts["phases"] < number:
        asyncio.run(crowd(random, counts))
        counts["handlers or timers left"] += signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
        counts["handlers or timers left"] += signal.getsignal(signal.SIGALRM) != signal.SIG_DFL
    return counts


async def crowd(random, counts):
    manager = package.TimeoutManager(60, enforce=True)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: counts.update(["errors in the loop"]))
    counts["errors in the loop"] += 0
    members = []
    for _ in range(100):
        limit = random.uniform(1e-3, 2e-2)
        inner = random.choice([limit, 60])
        phases = [manager.timed_operation("outer", limit), manager.timed_operation("inner", inner)]
        task = asyncio.ensure_future(member(*phases, limit + random.uniform(-5e-5, 5e-5)))
        cancelled = []
        if random.random() < 0.3:
            when = limit + random.uniform(-5e-5, 5e-5)
            loop.call_later(when, lambda task=task, cancelled=cancelled: cancelled.append(task.cancel()))
        members.append((task, cancelled, phases))
    await asyncio.wait([task for task, _, _ in members], timeout=30)
    for task, cancelled, (outer, _) in members:
        error = task.exception() if task.done() and not task.cancelled() else None
        counts["interrupts lost"] += not task.done()
        counts["cancellations lost"] += any(cancelled) and not task.cancelled()
        counts["cancelled by nobody"] += task.cancelled() and not any(cancelled)
        if not task.cancelled():
            counts["wrong owner"] += (error is not None) != (outer.remaining() == 0.0)
            counts["wrong owner"] += error is not None and error.owner is not outer
        counts["after the block"] += getattr(task, "cancelling", lambda: sum(cancelled))() != sum(cancelled)
        counts["interrupted"] += error is not None and error.interrupted
    counts["ledgers that do not add up"] += any(phase.outcome == "running" for phase in manager.phases)
    counts["phases"] += len(manager.phases)


async def member(outer, inner, seconds):
    async with outer:
        async with inner:
            await asyncio.sleep(seconds)
    await asyncio.sleep(0)


# -- holes: loops in the very function that has the `with` and the `try` -----------------------------------------------

BODIES = {
    "while True, continue": """
while True:
    x += 1
    if x:
        continue
    x = 0
""",
    "while True": """
while True: pass
""",
    "while x": """
x = 1
while x:
    pass
""",
    "while x, assigning": """
x = 1
while x:
    y = 3
    while y:
        y -= 1
""",
    "while cond()": """
while cond():
    pass
""",
    "nested while": """
x = 1
while x:
    while cond():
        x += 1
""",
    "while True, try": """
while True:
    try:
        x += 1
    except ValueError:
        pass
    if sys.version_info[:2] == (3, 10):  # which never looks at the head of such a loop
        time.sleep(0)
""",
    "while True, if": """
while True:
    if x < 0:
        break
    x += 1
""",
}
WITH = """
def hole(phase, cond, seen):
    x = 0
    try:
        with phase:
            {}
        seen["no error"] += 1
    finally:
        seen["outside"] += 1
"""
WITH_TRY = """
def hole(phase, cond, seen):
    x = 0
    with phase:
        try:
            seen["in it"] += 1
            {}
        except TimeoutError:
            seen["except"] += 1
            raise
        finally:
            seen["finally"] += 1
"""


def holes(number, wish, seed):
    """Let a limit pass in each loop so many times, and count the handlers that did not run."""
    counts = Counter()
    for template, handlers in (WITH, ("outside",)), (WITH_TRY, ("except", "finally")):
        for body in BODIES.values():
            space, indented = {"sys": sys, "time": time}, body.strip().replace("\n", "\n" + " " * 12)
            exec(template.format(indented), space)
            for _ in range(number):
                hole(space["hole"], handlers, wish, counts)
    return counts


def hole(function, handlers, wish, counts):
    manager = package.TimeoutManager(enforce=wish)
    seen, phase = Counter(), manager.timed_operation("hole", 2e-4)
    exits = []
    try:
        function(Marked(phase, exits), lambda: True, seen)
        counts["no error"] += 1
    except PhaseTimeout:
        counts["expiries"] += 1
    counts["__exit__ skipped"] += not exits
    has_begun = "outside" in handlers or seen["in it"]  # 3.9 looks between a `with` and the `try` that is first in it
    counts["handlers skipped"] += has_begun and not all(seen[name] for name in handlers)
    counts["phases left open"] += phase.outcome != "timeout"


class Marked:
    """A phase that tells whether its ``__exit__`` was called."""

    def __init__(self, phase, exits):
        self.phase, self.exits = phase, exits

    def __enter__(self):
        return self.phase.__enter__()

    def __exit__(self, *error):
        self.exits.append(error)
        return self.phase.__exit__(*error)


def held(number, wish):
    """Let so many limits pass in each of the loops that hold something; count what is held afterwards."""
    counts = Counter({"expiries": number * len(USES)})
    for kind, function in USES:
        how = f"{kind.__name__}, {function.__name__.replace('_', ' ')}"
        counts[how] = left_held(kind, function, number, lambda: package.TimeoutManager(enforce=wish))
    return counts


# -- the program -------------------------------------------------------------------------------------------------------


def in_worker(function, *args):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)))
    thread.start()
    thread.join()
    return found[0] if found else Counter({"died": 1})


def main(arguments):
    sizes = dict(SIZES) if not any(arguments) else {}
    for argument in arguments:
        name, _, size = argument.partition("=")
        sizes[name] = int(size or SIZES[name])
    before, bad = thread_count(), 0
    for name, size in sizes.items():
        if name == "main":
            counted = [("phases, main thread", phases(size, [True, False, "signal", "thread"], 1))]
        elif name == "worker":
            interval = sys.getswitchinterval()
            sys.setswitchinterval(1e-5)
            counted = [("phases, worker thread", in_worker(phases, size, [True, False], 2))]
            sys.setswitchinterval(interval)
        elif name == "tasks":
            counted = [("phases in tasks", tasks(size, 5))]
        elif name == "held":
            counted = [
                ("locks, timer", held(size, True)),
                ("locks, signal", held(size, "signal")),
                ("locks, thread", in_worker(held, size, "thread")),
            ]
        else:
            counted = [
                ("holes, timer", holes(size, True, 3)),
                ("holes, signal", holes(size, "signal", 3)),
                ("holes, thread", in_worker(holes, size, "thread", 4)),
            ]
        for title, counts in counted:
            total = counts.pop("phases", 0) or counts.pop("expiries", 0)
            interrupted = counts.pop("interrupted", total)
            print(f"{title}: {total}, {interrupted} interrupted")
            for what, count in sorted(counts.items()):
                bad += count
                print(f"    {what:28} {count}")
    end = monotonic() + ENDLESS
    while thread_count() > before and monotonic() < end:  # the watchdog lingers
        time.sleep(0.01)
    left = thread_count() - before
    print(f"threads left: {left}")
    return 1 if bad or left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
