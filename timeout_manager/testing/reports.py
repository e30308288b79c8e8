"""Report files of a unittest run, whole after every test: JSON, JUnit XML, Trace Event Format.

Whatever kills the process, the files tell everything up to then, and which test was running.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from html import escape
from json import dumps

from ..originals import clock, files, system
from ..counting.page import of_tests
from ..counting.report import FORMAT
from ..counting.report import entry as phase_entry
from ..interpreter.frames import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from .case import Entry
    from .limits import Limits
    from .plan import Shard

    Data = dict[str, Any]

OUTCOMES = (
    *("passed", "failed", "error", "timeout", "crash", "skipped", "expected failure", "unexpected success"),
    *("interrupted", "running"),
)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPACES = {ord(each): f"&#{ord(each)};" for each in "\t\n\r"}  # in an attribute they would become blanks
_COUNTS = 120  # characters for the counts at the beginning of a JUnit file


class Reports:
    """The report files that were asked for, by their paths. OSError if one cannot be written."""

    def __init__(
        self, limits: Limits, *, report: str = "", junit_xml: str = "", trace: str = "", html: str = ""
    ) -> None:
        self.began = limits.began
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.seconds = 0.0
        self._json: _File | None = None
        self._junit: _File | None = None
        self._trace: _File | None = None
        self._first = True
        self._head = self._json_head(limits)
        self.shard: Shard | None = None  # of which this is told
        self.left_out = 0  # tests that did not run, where they are told of
        if report:
            self._json = _File(report, self._head, self._json_foot())
        if junit_xml:
            self._junit = _File(junit_xml, self._junit_head(), _JUNIT_FOOT)
        if trace:
            self._trace = _File(trace, "[", "\n]\n")
        self._html = _File(html, "", "") if html else None
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
            self._junit.begin(self._junit_head())
            self._junit.add("", "".join(map(_junit_case, entries)) + _JUNIT_FOOT)
        if self._trace:
            self._trace.add("", self._joined(_trace_events(entries)) + "\n]\n")

    def tell_ended(self, entries: Sequence[Data]) -> None:
        """Tell how these have ended; nothing else is running."""
        self.counts["running"] = 0
        counted = [each for each in entries if each["kind"] == "test" or each["outcome"] not in ("passed", "skipped")]
        for entry in counted:
            self.counts[entry["outcome"]] += 1
            self.seconds += entry["elapsed"]
        if self._junit:
            self._junit.add("".join(map(_junit_case, counted)), _JUNIT_FOOT)
            self._junit.begin(self._junit_head())
        if self._json:
            self._json.add(self._joined(map(dumps, entries), "  "), self._json_foot())
        if self._trace:
            self._trace.add(self._joined(_trace_events(entries)), "\n]\n")
        if self._html:
            self._tests += entries
        self._first = self._first and not entries

    def rewrite(self, entries: Sequence[Data]) -> None:
        """Tell of these from the beginning, and of nothing else."""
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.seconds, self._first = 0.0, True
        self._tests.clear()
        for file, head in (self._json, self._head), (self._junit, self._junit_head()), (self._trace, "["):
            if file:
                file.empty(head)
        self.tell_ended(entries)

    def close(self, not_run: Mapping[str, str] = {}) -> None:
        """Tell which tests did not run, and why."""
        if self._json:
            self._json.add("", self._json_foot(list(not_run)))
        if self._junit:
            self.left_out = len(not_run)
            self._junit.add("".join(_junit_left_out(*each) for each in not_run.items()), _JUNIT_FOOT)
            self._junit.begin(self._junit_head())
        if self._html:
            data = {"tests": self._tests, "counts": self.counts, "not run": list(not_run)}
            self._html.add(of_tests(data), "")
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

    # -- JUnit XML

    def _junit_head(self) -> str:
        count = self.counts
        errors = sum(count[each] for each in ("error", "timeout", "crash", "interrupted")) + count["running"]
        failures = count["failed"] + count["unexpected success"]
        skipped = count["skipped"] + self.left_out
        tests = sum(count.values()) + self.left_out
        counts = f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
        return _JUNIT_HEAD + f'{counts} time="{self.seconds:.3f}"'.ljust(_COUNTS) + ">"


def data_of(entry: Entry, began: float) -> Data:
    """Return what the JSON report tells of an entry; times are counted from this instant."""
    return {
        "id": entry.name,
        "kind": entry.kind,
        "outcome": entry.outcome,
        "started": entry.began - began,
        "elapsed": entry.elapsed,
        "phases": [
            {**phase_entry(part, began), "limit": group.manager.initial_timeout, "group": number}
            for number, group in entry.groups.items()
            for part in group.parts
        ],
        "text": "\n".join(entry.texts),
        "diagnosis": "\n\n".join(error.diagnosis for error in entry.timeouts),
    }


def _trace_events(entries: Iterable[Data]) -> Iterator[str]:
    for entry in entries:
        for each, name in (entry, entry["id"]), *((phase, phase["name"]) for phase in entry["phases"]):
            yield dumps(_event(entry, name, each["started"], each["elapsed"], each["outcome"]))


def _event(entry: Data, name: str, began: float, elapsed: float, outcome: str) -> Data:
    """Return an event that is complete, or the beginning of one that is running."""
    ends = {"ph": "B"} if outcome == "running" else {"ph": "X", "dur": elapsed * 1e6}
    place = {"ts": began * 1e6, "pid": system.getpid(), "tid": entry.get("job", 1)}
    return {"name": name, "cat": entry["kind"], **ends, **place, "args": {"outcome": outcome}}


_JUNIT_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n<testsuite name="unittest" '
_JUNIT_FOOT = "\n</testsuite>\n</testsuites>\n"
_JUNIT_TAGS = {
    "failed": ("failure", "failure"),
    "unexpected success": ("failure", "unexpected success"),
    "error": ("error", "error"),
    "timeout": ("error", "timeout"),
    "crash": ("error", "crash"),
    "interrupted": ("error", "interrupted"),
    "running": ("error", "killed"),
    "skipped": ("skipped", "skip"),
}


def _junit_case(entry: Data) -> str:
    kind, _, name = entry["id"].rpartition(".") if entry["kind"] == "test" else (entry["kind"], "", entry["id"])
    case = f'\n<testcase classname={_quoted(kind)} name={_quoted(name)} time="{entry["elapsed"]:.3f}"'
    tag, problem = _JUNIT_TAGS.get(entry["outcome"], ("", ""))
    if not tag:
        return case + "/>"
    text = entry["text"] or ("was running when the process ended" if problem == "killed" else problem)
    lines = text.strip().splitlines() or [problem]
    message = lines[-1 if problem in ("error", "failure") else 0]  # a traceback ends with what was wrong
    inner = f"<{tag} type={_quoted(problem)} message={_quoted(message)}>{escape(printable(text))}</{tag}>"
    return f"{case}>\n{inner}\n</testcase>"


def _junit_left_out(name: str, why: str) -> str:
    kind, _, name = name.rpartition(".")
    case = f'\n<testcase classname={_quoted(kind)} name={_quoted(name)} time="0.000">'
    return f'{case}\n<skipped type="not run" message={_quoted(f"did not run, because {why}")}/>\n</testcase>'


def _quoted(text: str) -> str:
    return f'"{escape(printable(text)).translate(_SPACES)}"'


def printable(text: str) -> str:
    """Return the text without what XML cannot have: control characters and lone surrogates."""
    return _NOT_IN_XML.sub("?", text)


class _File:
    """A text file that is whole after every write: what is added takes the place of the foot, which follows it anew."""

    def __init__(self, path: str, head: str, foot: str) -> None:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        self._file = files.open(path, "wb", buffering=0)
        self._process = system.getpid()
        self._end = self._size = 0
        self._before = ""
        self.add(head, foot)

    def add(self, text: str, foot: str) -> None:
        text, self._before = self._before + text, ""
        data = _bytes(text + foot)
        before, self._size = self._size, self._end + len(data)
        self._write(self._end, data + b" " * (before - self._size))  # it is whole also before it is cut
        self._end += len(_bytes(text))

    def begin(self, head: str) -> None:
        """Write the beginning anew; its length is what it was."""
        self._write(0, _bytes(head))

    def empty(self, head: str) -> None:
        """Begin it anew with what is added next."""
        self._end = 0
        self._before = head

    def _write(self, at: int, data: bytes) -> None:
        if system.getpid() != self._process or self._file.closed:  # a child process that a test has forked
            return
        try:
            self._file.seek(at)
            self._file.write(data)
            self._file.truncate(self._size)
        except OSError as error:  # the results of the run are worth more than the file
            tell(f"{self._file.name} cannot be written any more: {error}\n")
            self.close()

    def close(self) -> None:
        with suppress(OSError):  # a test may have closed it
            self._file.close()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
