"""What a JUnit file tells: the counts at its beginning, which keep their length, and a case for each test."""

from __future__ import annotations

from ..counting.report import FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NOT_IN_XML = {each: "?" for each in (*range(0x20), 0xFFFE, 0xFFFF) if chr(each) not in "\t\n\r"}
_ESCAPED = {ord(each): f"&#{ord(each)};" for each in "&<>\"'"}
_IN_ATTRIBUTE = {**_ESCAPED, **{ord(each): f"&#{ord(each)};" for each in "\t\n\r"}}  # they would become blanks
_COUNTS = 120  # characters for the counts
_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n<testsuite name="unittest" '
_PROPERTIES = f'\n<properties>\n<property name="format" value="{FORMAT}"/>\n</properties>'
FOOT = "\n</testsuite>\n</testsuites>\n"
_TAGS = {
    "failed": ("failure", "failure"),
    "unexpected success": ("failure", "unexpected success"),
    "error": ("error", "error"),
    "timeout": ("error", "timeout"),
    "crash": ("error", "crash"),
    "interrupted": ("error", "interrupted"),
    "running": ("error", "killed"),
    "skipped": ("skipped", "skip"),
}


def head(count: Mapping[str, int], seconds: float, left_out: int) -> str:
    """Return the beginning, given how many there are of each outcome, how long they took, and how many did not run."""
    errors = sum(count[each] for each in ("error", "timeout", "crash", "interrupted", "running"))
    failures = count["failed"] + count["unexpected success"]
    tests, skipped = sum(count.values()) + left_out, count["skipped"] + left_out
    counts = f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    return _HEAD + f'{counts} time="{seconds:.3f}"'.ljust(_COUNTS) + ">" + _PROPERTIES


def case_of(entry: Mapping[str, Any]) -> str:
    kind, _, name = entry["id"].rpartition(".") if entry["kind"] == "test" else (entry["kind"], "", entry["id"])
    case = f'\n<testcase classname={_quoted(kind)} name={_quoted(name)} time="{entry["elapsed"]:.3f}"'
    tag, problem = _TAGS.get(entry["outcome"], ("", ""))
    if not tag:
        return case + "/>"
    text = entry["text"] or ("was running when the process ended" if problem == "killed" else problem)
    lines = text.strip().splitlines() or [problem]
    message = lines[-1 if problem in ("error", "failure") else 0]  # a traceback ends with what was wrong
    inner = f"<{tag} type={_quoted(problem)} message={_quoted(message)}>{printable(text).translate(_ESCAPED)}</{tag}>"
    return f"{case}>\n{inner}\n</testcase>"


def left_out(name: str, why: str) -> str:
    kind, _, name = name.rpartition(".")
    case = f'\n<testcase classname={_quoted(kind)} name={_quoted(name)} time="0.000">'
    return f'{case}\n<skipped type="not run" message={_quoted(f"did not run, because {why}")}/>\n</testcase>'


def _quoted(text: str) -> str:
    return f'"{printable(text).translate(_IN_ATTRIBUTE)}"'


def printable(text: str) -> str:
    """Return the text without what XML cannot have: control characters and lone surrogates."""
    return text.translate(_NOT_IN_XML).encode("utf-8", "replace").decode()
