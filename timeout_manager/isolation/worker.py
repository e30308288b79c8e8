"""A process that runs tests for another one, and tells it what a result was told.

It is started as its parent was, with a role in a variable. It loads the whole suite, as any run would, then it runs
what it is ordered to (`orders`), and writes the progress of it. What is added up in the end is added up by the parent,
and it is the parent that keeps the limits which nothing here can keep.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from json import loads

from ..errors import PhaseTimeout
from ..originals import clock, system
from ..seconds import INFINITY
from ..testing.entry import Entry
from ..testing.limits import Listener
from ..testing.loader import ImportTimeout
from ..testing.report_files import data_of
from ..testing.telling import of_parts
from .channel import HASHES, RETURNED, VARIABLE, Channel
from .last_words import have_it_told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..testing.limits import Limits
    from ..testing.part import Group
    from ..testing.units import Suite

NEAR = 0.02  # seconds: instants that differ by less are one


class LostImport(ImportTimeout):
    """Stands for the tests of a module whose import has ended a worker so, after so many seconds: it is left out."""

    def __init__(self, module: str, outcome: str, text: str, elapsed: float = 0.0) -> None:
        super().__init__(Entry("import", module), PhaseTimeout(module))
        self.entry.outcome, self.entry.texts, self.entry.elapsed = outcome, [text], elapsed


class Worker(Listener):
    """What this process is to do, and how it tells what comes of it; there is one if the environment says so."""

    def __init__(self) -> None:
        role = loads(os.environ.pop(VARIABLE))
        if role["hashes"]:  # those of our own: what tests start has random ones
            os.environ.pop(HASHES, None)
        self.channel = Channel(role)
        self.orders: dict[str, Any] = self.channel.look_up(*role["begin"])
        if self.orders["is live"] and sys.stdout is not None:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        self._streams = sys.stdout, sys.stderr
        self.began: float = self.orders["began"]
        self.result: Any = None  # of the tests
        self.suite: Suite | None = None
        self._place, self._due = "", 0.0  # the part of it of which has been told until when it has to be over
        self._open: list[Group] = []  # the parts that are running
        self._entry: Entry | None = None  # what is
        self._called: list[Entry] = []  # tests that are running, of which the result will hear later, if at all
        self._left: list[Entry] = []  # by an error that would end the process; so it is not told yet that they ended
        self.channel.say("hello", have_it_told(self.channel), flush=True)

    def bind(self, limits: Limits) -> None:
        """Have the limits of a run be those of the parent."""
        limits.began, limits.end, limits.listener = self.began, self.orders["end"], self

    # -- what code under test does: called by the groups of parts

    def entered(self, group: Group) -> None:
        if self.channel.is_foreign():  # it runs tests itself, for whoever has forked it
            return
        with self.channel.lock:
            self.tell_so_far()
            self._open.append(group)
            self._tell_due(group)

    def left(self, group: Group) -> None:
        if self.channel.is_foreign():
            self.end_if_back(group in self._open)
            return
        with self.channel.lock:
            if group in self._open:  # otherwise another thread has been left behind in it
                self._open.remove(group)
                if self._open:
                    self._tell_due(self._open[-1])

    def goes_on(self, group: Group) -> None:
        if self.channel.is_foreign():
            return
        with self.channel.lock:
            if group in self._open:
                self._tell_due(group)

    def _tell_due(self, group: Group) -> None:
        """Tell until when which part has to be over."""
        left = group.ledger.remaining()
        due = INFINITY if left is None else clock.monotonic() + left
        place = "" if left is None else group.parts[-1].place()
        if place != self._place or abs(due - self._due) > NEAR:
            self._place, self._due = place, due
            self.channel.say("due", due, place, str(group), group.ledger.initial)
        self.channel.flush()

    def idle(self) -> None:
        self.channel.say("idle", flush=True)

    def stand_in(self, module: str, error: BaseException | None = None) -> LostImport | None:
        """Return what stands for a module whose import has ended a worker, or would have, by SystemExit."""
        if isinstance(error, SystemExit):
            code = "" if error.code is None else repr(error.code)
            return LostImport(module, "crash", f"The import called sys.exit({code}).\n")
        lost = self.orders["lost"].get(module)
        return lost and LostImport(module, *lost)

    def running(self, entry: Entry) -> None:
        if self.channel.is_foreign():
            return
        with self.channel.lock:
            self._running(entry)

    def _running(self, entry: Entry) -> None:
        self.tell_news()
        self._entry = entry
        self._find_place(entry)
        self._place = ""
        self.channel.say("at", entry.kind, entry.name, entry.place, entry.began, flush=entry.kind != "test")
        if self._open:  # it goes on
            self._tell_due(self._open[-1])

    def _find_place(self, entry: Entry) -> None:
        """Find the name by which the parent knows a test, or the class or module of a fixture."""
        if entry.place is not None or self.suite is None or entry.kind == "import":
            return
        if entry.kind == "fixture":
            entry.place = self.suite.owner(entry.test)
            return
        around = self.result.around(entry)
        is_test = around is not None and around.kind == "test"
        entry.place = self.suite.begin(entry.test, around.place if is_test else None)

    @contextmanager
    def called(self, entry: Entry) -> Iterator[None]:
        if self.channel.is_foreign() or self.suite is None or self.result.current is not None:
            yield
            return
        entry.place = self.suite.look_up(entry.test)
        self._called.append(entry)
        try:
            with self.channel.lock:
                self._tell_called()
            yield
        finally:
            self.end_if_back()
            with self.channel.lock:
                self._called.remove(entry)
                self.channel.say("idle")
                self._tell_called()

    def _tell_called(self) -> None:
        """Tell which of them is running, the last one if there are several."""
        if self._called:
            entry = self._called[-1]
            self._place = ""
            self.channel.say("called", entry.name, entry.place, entry.began)
            if self._open:
                self._tell_due(self._open[-1])
        self.channel.flush()

    def ended(self, entry: Entry) -> None:
        self.end_if_back(entry is self._entry)
        if self.channel.is_foreign():
            return
        with self.channel.lock:
            self.tell_news()
            self._find_place(entry)
            self._say_ended(entry)
        self.tell_written()
        with self.channel.lock:
            self._tell_called()

    def leaves(self, entry: Entry) -> None:
        self.end_if_back(entry is self._entry)
        if not self.channel.is_foreign():
            self._left.append(entry)  # what the parent takes to be running when the process ends has ended it

    def _say_ended(self, entry: Entry) -> None:
        self.channel.say("ended", data_of(entry, self.began), entry.place)

    # -- what a result was told

    def tell_news(self) -> None:
        """Tell what the result has come to know."""
        with self.channel.lock:
            while self._left:  # the process has not ended
                self._say_ended(self._left.pop(0))
            if self.result is not None:
                self.result.tell_news(self.channel)

    def tell_so_far(self) -> None:
        """Tell what has come of a test that is running, in case that it ends the process; it may be taken back yet."""
        if self.result is None or self._entry is None:
            return
        _, news = self.result.news()
        late = "\n".join(of_parts(self._entry.late, self.result.text_of))
        if news or late:
            self.channel.say("so_far", news, late)

    def end_if_back(self, is_back: bool = True) -> None:
        """End a process that a test has forked, if it is back where it was forked."""
        if is_back and self.channel.is_foreign():
            system._exit(RETURNED)

    def is_at(self, entry: Entry | None) -> bool:
        return entry is not None and entry is self._entry

    def tell_written(self) -> None:
        """Have what was written not be lost with this process, and tell of it: the parent may show it later."""
        for stream in (*self._streams, sys.stdout, sys.stderr):
            with suppress(Exception):  # tests may have put anything there, also what blocks
                if stream.fileno() in (1, 2):
                    stream.flush()
        self.channel.say("written")
