"""What was running when time ran out: the thread that is interrupted, tasks, other threads, child processes, phases.

Looking comes between the limit and the interrupt, so it has to be quick, and to fail at no cost: what cannot be looked
at is a line of the text. The text is made when somebody reads it.
"""

from __future__ import annotations

from itertools import islice

from ..counting.report import lines as lines_of
from ..interpreter import stalls
from ..interpreter.frames import WALKABLE, awaiting, in_task, is_of_package, own, place, stack, text as text_of, up
from ..interpreter.threads import UNKNOWN, use_of
from ..interpreter.turns import asyncio_task, running_loop
from ..originals import clock, loaded, python, thread
from ..processes.family import descendants, family, has_children
from ..seconds import INFINITY, text
from .lines import grouped, in_order, label_of, loop_of, name_of_task, name_of_thread, runs_a_loop, tasks_of, titled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any, TypeVar

    from ..counting.ledger import Phase
    from ..interpreter.frames import Line
    from ..interpreter.threads import Sample, Use
    from ..processes.table import Process

    T = TypeVar("T")
    Groups = dict[tuple[Line, ...], list[str]]
    Family = tuple[list[tuple[int, Process]], str]

PHASES = 30  # the last ones
NOBODY: Family = ([], "")
TELLING = 0.2  # seconds; for less even what computes may have waited for the GIL, which a look on a busy machine held
MOST = 0.75  # of the time
HARDLY = 0.01  # of it
BLOCKED = 0.5  # seconds by which an interrupt is late that a call has held up; a busy machine may take less


class Scene:
    """What is running at present; ``str`` makes the text.

    The calling thread stands at this frame. ``task`` is the asyncio task whose time is over, if it is one, ``phases``
    those that are over, the outermost first, and ``seen`` where they stood before. What is ``like`` in another scene,
    of the same moment, is taken from there: many tasks can have one deadline. Since it was ``due`` no code could look.
    """

    def __init__(
        self,
        frame: FrameType | None,
        task: Any = None,
        phases: Iterable[Phase] = (),
        seen: Iterable[Sample] = (),
        like: Scene | None = None,
        due: float = INFINITY,
    ) -> None:
        self.seen = list(seen)
        self.thread = thread.get_ident()
        self.use = use_of(self.thread) if self.seen else (UNKNOWN, 0.0)
        self.at = clock.monotonic()
        self.due = due
        self.problems: list[str] = []
        self.stack = stack(up(frame))
        self.task = task and self._try("", label_of, task)
        self.current = ""  # the task that runs in this thread, if any
        self.tasks: Groups = {}
        self.threads: Groups = {}
        self.loops: list[Any] = []  # of other threads
        if like is None:
            self._try(None, self._look_at_threads)
            self._try(None, self._look_at_tasks, task)
            self.family, self.children = self._try(NOBODY, _children)
        else:
            self.tasks, self.threads = like.tasks, like.threads
            self.family, self.children = like.family, like.children
            self.stack, self.current = like.stack, like.current
            self.problems += like.problems
        self.loops.clear()
        self.ledger = self._try(None, _ledger, list(phases))

    def _try(self, default: T, function: Callable[..., T], *args: Any) -> T:
        try:
            return function(*args)
        except Exception as error:  # the timeout is what has to be told
            self.problems.append(f"{function.__name__.strip('_').replace('_', ' ')}: {error!r}")
            return default

    def _look_at_threads(self) -> None:
        others = python._current_frames()
        others.pop(self.thread, None)  # this very frame; to keep it here would keep all that called it, too
        for ident, frame in others.items():
            frames = list(islice(up(frame), WALKABLE))
            lines = tuple(stack(frames))
            if lines and not is_of_package(frames[-1]):  # otherwise it is the watchdog
                self.threads.setdefault(lines, []).append(name_of_thread(ident))
            if loaded("asyncio") is not None:
                self.loops += map(loop_of, filter(runs_a_loop, frames))

    def _look_at_tasks(self, task: Any) -> None:
        if loaded("asyncio") is None:
            return
        loop, current = running_loop(), asyncio_task()
        if current is not None:
            self.current = name_of_task(current)
            self.stack = in_task(self.stack)
        if current is task:
            self.task = None  # it is the thread that stands in it
        tasks = [each for loop in (loop, *self.loops) if loop is not None for each in tasks_of(loop)]
        for each, label in in_order(each for each in tasks if each is not current).items():
            self.tasks.setdefault(tuple(awaiting(each.get_coro())), []).append(label)

    def _groups(self) -> list[tuple[tuple[Line, ...], list[str]]]:
        """Return the stacks of tasks, and whose they are: first that of the task whose time is over."""
        groups = sorted(self.tasks.items(), key=lambda group: self.task not in group[1])
        return [(lines, sorted(names, key=lambda name: name != self.task)) for lines, names in groups]

    def where(self) -> Line | None:
        """Return the innermost line of the user's own code."""
        stacks = [self.stack, *(list(lines) for lines, _ in self._groups())]
        if self.task:
            stacks = stacks[1:] + stacks[:1]
        found = next(filter(None, map(own, stacks)), None)
        return found or next((lines[0] for lines in stacks if lines), None)

    def is_one_line(self) -> bool:
        """Tell whether `line` and `motion` say it all."""
        return len(self.stack) < 2 and not (self.tasks or self.threads or self.children or self.problems)

    def line(self) -> str:
        """Return that line with its place."""
        where = self.where()
        return "" if where is None else text_of(where)

    def motion(self) -> str:
        """Tell whether it is stuck or slow; nothing if it was not looked at before."""
        where = self.stack[0] if WALKABLE and self.stack else self.where()  # that is what was looked at
        late = self._lateness()
        if late or not self.seen or where is None:
            return late
        looks, waits = 0, bool(self.task)
        for at, line, before in reversed(self.seen):
            if line != where:
                break
            looks, since = looks + 1, self.at - at
            used, waited = self._used(since, before)
            slept = since - used - waited
            waits = waits or since >= TELLING and slept >= max(10 * used, MOST * since)  # it may have begun with work
        if not looks:
            if own([line]) is None and own([where]):
                return ""  # it was in the event loop, whose tasks were not looked at
            return f"Moving: last seen at {place(line)}, {text(self.at - at)} earlier: slow rather than stuck."
        if waits:
            what = ", waiting: a deadlock, or something that never comes"
        elif used >= 0.0 and since >= TELLING:  # what never sleeps has of the processor what others leave
            what = ", computing: an endless loop, or too much work for its limit"
        else:  # that is not known
            what = ""
        return f"At the same line for the last {text(since)} (seen {looks} time{'s' * (looks > 1)}){what}."

    def _used(self, since: float, before: Use) -> Use:
        """Return how long it has computed in the time since a look, and waited for a processor.

        A wait may have begun before the look. But Linux (6.18) may count a sleep as one, from its begin on: a wait that
        is longer than that time, of what hardly ran in it, is none.
        """
        used, waited = (now - then for now, then in zip(self.use, before))
        return used, waited if waited <= since or used > HARDLY * since else 0.0

    def _lateness(self) -> str:
        """Tell why it was interrupted long after it was due, if it was: the line is not to blame for that."""
        waited = 0.0  # for a processor: so no call did
        if self.seen:
            at, _, before = self.seen[-1]
            waited = self._used(self.at - at, before)[1]
        late = self.at - self.due - waited
        came_back = "This is the line it came back to: look at the call before it."
        if late > stalls.LATE and stalls.held(self.due, self.at):
            return f"When the limit passed, C code held the GIL, and it ran on for {text(late)}. {came_back}"
        if late > BLOCKED and not self.task:
            what = "a call did not return to the interpreter, and may have held the GIL"
            return f"For {text(late)} after the limit nothing could interrupt it: {what}. {came_back}"
        return ""

    def stacks(self) -> str:
        """Return all but the ledger."""
        tasks = self._groups()
        here = f"thread {name_of_thread(self.thread)}" + (f", in task {self.current}" if self.current else "")
        parts = []
        if self.task:
            parts += grouped("task", tasks[:1])
            tasks = tasks[1:]
        if self.stack and (own(self.stack) or not self.tasks):  # otherwise it is the loop that waits for its tasks
            parts.append(titled(here, self.stack))
        parts += grouped("task", tasks) + grouped("thread", list(self.threads.items()))
        motion = self.motion()
        if parts and motion:
            parts[0] += f"\n{motion}"
        parts += [self.children] if self.children else []
        parts += [f"What could not be looked at: {problem}" for problem in self.problems]
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return "\n\n".join(filter(None, (self.stacks(), self.ledger and self.ledger())))


def _children() -> Family:
    """Return the descendants of this process, and a text."""
    if not has_children():
        return NOBODY
    found = descendants()
    return found, family(found)


def _ledger(phases: list[Phase]) -> Callable[[], str] | None:
    """Return what makes a text of the ledger as it is now; none of a single phase, which the error tells all of."""
    if not phases:
        return None
    ledger = phases[0].ledger
    count = len(ledger.phases)
    if count < 2:
        return None
    first = max(count - PHASES, 0)
    running = {each: each.elapsed() for each in ledger.phases[first:count] if each.outcome == "running"}

    def text() -> str:
        earlier = [f"  and {first} earlier ones"] if first else []
        return "\n".join(["Phases so far:", *earlier, *lines_of(ledger.phases[first:count], running)])

    return text
