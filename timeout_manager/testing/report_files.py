"""Report files of a unittest run: JSON, JUnit XML and Trace Event Format, whole after every test; a page at its end.

Whatever kills the process, the files tell everything up to then, and which test was running; and if the disk is full,
everything up to that.
"""

from __future__ import annotations

import os
from json import dumps

from ..counting.report import FORMAT, entry as phase_entry
from ..originals import clock, system
from . import junit
from .limits import Listener
from .whole_file import WholeFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from .entry import Entry
    from .limits import Limits
    from .plan import Shard

    Data = dict[str, Any]

OUTCOMES = (
    *("passed", "failed", "error", "timeout", "crash", "skipped", "expected failure", "unexpected success"),
    *("interrupted", "running"),
)
OPTIONS = "--report", "--junit-xml", "--trace", "--html"
_TRACE_HEAD, _TRACE_FOOT = f'{{"otherData": {{"format": {FORMAT}}}, "traceEvents": [', "\n]}\n"


class Reports(Listener):
    """The report files that were asked for: their paths, by the options.

    OSError if one cannot be written, ValueError if two are the same file.
    """

    def __init__(self, limits: Limits, paths: Mapping[str, str]) -> None:
        self.began = limits.began
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.seconds = 0.0
        self._first = True
        self._head = self._json_head(limits)
        self.shard: Shard | None = None  # of which this is told
        self.left_out = 0  # tests that did not run, where they are told of
        self._json, self._junit, self._trace, self._html = map(_opened(paths).get, OPTIONS)
        if self._json:
            self._json.start(self._head, self._json_foot())
        if self._junit:
            self._junit.start(self._junit_head(), junit.FOOT)
        if self._trace:
            self._trace.start(_TRACE_HEAD, _TRACE_FOOT)
        if self._html:
            self._html.start("", "")
            from ..counting import page  # no test is there yet that could be in the way

            self._page = page.of_tests
        self._tests: list[dict[str, Any]] = []  # of the page

    def running(self, entry: Entry) -> None:
        """Tell that this has begun, and count it: it may be the end."""
        self.tell_running([data_of(entry, self.began)])

    def ended(self, entry: Entry) -> None:
        """Tell how it has ended."""
        self.tell_ended([data_of(entry, self.began)])

    def tell_running(self, entries: Sequence[Data]) -> None:
        """Tell that these are what is running."""
        self.counts["running"] = len(entries)
        if self._json:
            self._json.add("", self._joined(map(dumps, entries), "  ") + self._json_foot())
        if self._junit:
            self._junit.add("", "".join(map(junit.case_of, entries)) + junit.FOOT)
            self._junit.begin(self._junit_head())  # the counts of what there was room for
        if self._trace:
            self._trace.add("", self._joined(_trace_events(entries)) + _TRACE_FOOT)

    def tell_ended(self, entries: Sequence[Data]) -> None:
        """Tell how these have ended; nothing else is running."""
        self.counts["running"] = 0
        counted = [each for each in entries if each["kind"] == "test" or each["outcome"] not in ("passed", "skipped")]
        for entry in counted:
            self.counts[entry["outcome"]] += 1
            self.seconds += entry["elapsed"]
        if self._junit:
            self._junit.add("".join(map(junit.case_of, counted)), junit.FOOT)
            self._junit.begin(self._junit_head())
        if self._json:
            self._json.add(self._joined(map(dumps, entries), "  "), self._json_foot())
        if self._trace:
            self._trace.add(self._joined(_trace_events(entries)), _TRACE_FOOT)
        if self._html:
            self._tests += entries
        self._first = self._first and not entries

    def rewrite(self, entries: Sequence[Data]) -> None:
        """Tell of these from the beginning, and of nothing else."""
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.seconds, self._first = 0.0, True
        self._tests.clear()
        for file, head in (self._json, self._head), (self._junit, self._junit_head()), (self._trace, _TRACE_HEAD):
            if file:
                file.empty(head)
        self.tell_ended(entries)

    def close(self, not_run: Mapping[str, str] = {}, is_all: bool = True) -> None:
        """Tell which tests did not run, and why; others may be missing if these are not all."""
        if self._json:
            self._json.add("", self._json_foot(list(not_run) if is_all else None))
        if self._junit:
            self.left_out = len(not_run)
            self._junit.add("".join(junit.left_out(*each) for each in not_run.items()), junit.FOOT)
            self._junit.begin(self._junit_head())
        if self._html:
            data = {"tests": self._tests, "counts": self.counts, "not run": list(not_run)}
            self._html.add(self._page(data), "")
        for file in filter(None, (self._json, self._junit, self._trace, self._html)):
            file.close()
        self._json = self._junit = self._trace = self._html = None

    # -- JSON

    def _json_head(self, limits: Limits) -> str:
        now = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime())
        times = {"timeout": limits.timeout.seconds, "total": limits.total.seconds}
        head = {"format": FORMAT, "began": now, **times}
        return dumps(head, indent=1)[:-2] + ',\n "tests": ['

    def _json_foot(self, not_run: list[str] | None = None) -> str:
        counts = dumps({name: count for name, count in self.counts.items() if count})
        left = "null" if not_run is None else dumps(not_run)
        shard = f',\n "shard": {dumps(self.shard.as_dict())}' if self.shard else ""
        return f'\n ],\n "counts": {counts},\n "not run": {left}{shard}\n}}\n'

    def _joined(self, entries: Iterable[str], indent: str = "") -> str:
        texts = [f"\n{indent}{entry}" for entry in entries]
        return ("" if self._first or not texts else ",") + ",".join(texts)

    def _junit_head(self) -> str:
        return junit.head(self.counts, self.seconds, self.left_out)


def _opened(paths: Mapping[str, str]) -> dict[str, WholeFile]:
    """Return the files by their options; where one cannot be written, the others keep what they have."""
    files: dict[str, WholeFile] = {}
    options: dict[str, str] = {}
    for option, path in paths.items():
        other = options.setdefault(os.path.realpath(path), option)
        if other != option:
            raise ValueError(f"{other} and {option} name the same file, {path!r}; each report needs one of its own")
        try:
            files[option] = WholeFile(path)
        except OSError as error:
            raise OSError(f"{option} cannot be written: {error}") from None
    return files


def data_of(entry: Entry, began: float) -> Data:
    """Return what the JSON report tells of an entry; times are counted from this instant."""
    return {
        "id": entry.name,
        "kind": entry.kind,
        "outcome": entry.outcome,
        "started": entry.began - began,
        "elapsed": entry.elapsed,
        "phases": [
            {**phase_entry(part, began), "limit": group.ledger.initial, "group": number}
            for number, group in enumerate(entry.groups)
            for part in group.parts
            if part.outcome != "new"
        ],
        "text": "\n".join(entry.texts),
        "diagnosis": "\n\n".join(error.diagnosis for error in entry.timeouts),
    }


def _trace_events(entries: Iterable[Data]) -> Iterator[str]:
    """Yield events that are complete, and the beginnings of those that are running."""
    for entry in entries:
        for each, name in (entry, entry["id"]), *((phase, phase["name"]) for phase in entry["phases"]):
            outcome = each["outcome"]
            ends = {"ph": "B"} if outcome == "running" else {"ph": "X", "dur": each["elapsed"] * 1e6}
            place = {"ts": each["started"] * 1e6, "pid": system.getpid(), "tid": entry.get("job", 1)}
            yield dumps({"name": name, "cat": entry["kind"], **ends, **place, "args": {"outcome": outcome}})
