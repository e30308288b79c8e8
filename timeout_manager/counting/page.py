"""A report as one page of HTML: a timeline, where the time went against the limits, every timeout with its diagnosis.

The page needs nothing but itself: no script, no font, no picture from elsewhere. It follows the reader's choice of
light or dark, and can be printed. What a bar tells is in its tooltip and in the tables, too. Every text is escaped.
"""

from __future__ import annotations

from html import escape

from ..seconds import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized
    from typing import Any

NEAR = 0.8  # the share of its limit from which something is near it
SHOWN = 40  # rows of the table of limits that are not folded away
TICKS = 8  # at most so many on the axis of time
_STEPS = (  # seconds between ticks
    *(size * part for size in (0.001, 0.01, 0.1, 1) for part in (1, 2, 5)),
    *(10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400),
)


class Bar:
    """What took some time: a phase, a test, a part of one, as a report tells of it. Times are seconds.

    ``used`` is the part of its time that the limit is for, all of it if None; ``told`` says what went wrong.
    """

    def __init__(
        self,
        entry: Mapping[str, Any],
        limit: float | None = None,
        used: float | None = None,
        row: str = "",
        depth: int = 0,
        told: str = "",
    ) -> None:
        self.name: str = entry["id"] if "id" in entry else entry["name"]
        self.started, self.elapsed, self.outcome = entry["started"], entry["elapsed"], entry["outcome"]
        self.kind = _KINDS.get(self.outcome, "bad")  # its class in the style below
        self.limit, self.used = limit, self.elapsed if used is None else used
        self.row, self.depth, self.told = row, depth, told

    @property
    def share(self) -> float:
        """The part of its limit that was used."""
        return self.used / self.limit if self.limit else 0.0

    def __str__(self) -> str:
        limit = "" if self.limit is None else f", {self.share:.0%} of the limit of {text(self.limit)}"
        return f"{self.name}: {self.outcome}, {text(self.elapsed)}{limit}"


def of_tests(report: Mapping[str, Any]) -> str:
    """Return the page of a unittest run: what ``--report`` writes, as data."""
    tests, bars = report["tests"], []
    for test in tests:
        row = f"worker {test['job']}" if "job" in test else "imports"
        used, limit = _fullest(test["phases"])
        bar = Bar(test, limit, used, row)
        if bar.kind not in ("good", "none"):
            bar.told = "\n\n".join(filter(None, (test["text"].strip("\n"), test["diagnosis"])))
        bars += [bar, *(Bar(phase, row=row, depth=1) for phase in test["phases"])]
    counts = [f"{count} {name}" for name, count in report["counts"].items() if count]
    left = f"{len(report['not run'])} not run" if report.get("not run") else ""
    number = sum(test["kind"] == "test" for test in tests)
    return draw(f"{number:,} tests", ", ".join(filter(None, (*counts, left))), bars)


def _fullest(phases: Iterable[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """Return the seconds used and the limit of the parts that share one and have used the most of it."""
    groups: dict[Any, list[float]] = {}
    for phase in phases:
        limit = phase.get("limit")
        if limit:
            group = groups.setdefault(phase.get("group"), [0.0, limit])
            group[0] += phase["elapsed"]
    used, limit = max(groups.values(), key=lambda group: group[0] / group[1], default=(None, None))
    return used, limit


def draw(title: str, summary: str, bars: Sequence[Bar]) -> str:
    """Return the page. Bars with the same ``row`` share a line of the timeline; ``depth`` > 0 lies inside another."""
    page = "".join(
        [
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n',
            '<meta name="viewport" content="width=device-width">\n',
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n<p>{escape(summary)}</p>\n",
            *_timeline(bars),
            *_told([bar for bar in bars if bar.told]),
            *_against_limits(bars),
            "</body>\n</html>\n",
        ]
    )
    return page.encode("utf-8", "backslashreplace").decode()  # a name of a file may have what UTF-8 has not


def _timeline(bars: Sequence[Bar]) -> Iterable[str]:
    whole = max((bar.started + bar.elapsed for bar in bars), default=0.0) or 1.0
    rows: dict[str, list[Bar]] = {}
    for bar in bars:
        rows.setdefault(bar.row, []).append(bar)
    yield '<h2>Timeline</h2>\n<div class="timeline">\n'
    for row, members in rows.items():
        height = 1 + max(bar.depth for bar in members)
        yield f'<div class="row">{_label(row, rows)}<div class="lane" style="--lanes:{height}">\n'
        for bar in members:
            left, width = 100 * bar.started / whole, 100 * bar.elapsed / whole
            label = escape(bar.name) if width > 4 else ""  # percent: there is room for some letters,
            apart = " apart" if width > 0.4 else ""  # and for a line that sets it apart
            yield (
                f'<i class="{bar.kind}{apart}" style="left:{left:.3f}%;width:{width:.3f}%;--depth:{bar.depth}"'
                f' title="{escape(str(bar))}">{label}</i>\n'
            )
        yield "</div></div>\n"
    step = next((step for step in _STEPS if whole / step <= TICKS), whole / TICKS)
    ticks = (f'<span style="left:{100 * step * n / whole:.3f}%">{_instant(step * n)}</span>' for n in range(TICKS + 1))
    yield f'<div class="row">{_label("", rows)}<div class="axis">{"".join(ticks)}</div></div>\n</div>\n'


def _label(row: str, rows: Sized) -> str:
    """Return the beginning of a line, which there is only where there are several."""
    return f'<span class="label">{escape(row)}</span>' if len(rows) > 1 else ""


def _told(late: Sequence[Bar]) -> Iterable[str]:
    if late:
        yield "<h2>What went wrong</h2>\n"
    for bar in late:
        opened = " open" if bar.kind in ("late", "open") else ""
        yield f'<details{opened}><summary><b class="{bar.kind}">{escape(bar.outcome)}</b> {escape(bar.name)}'
        yield f" <small>{text(bar.elapsed)}</small></summary>\n<pre>{escape(bar.told)}</pre></details>\n"


def _against_limits(bars: Sequence[Bar]) -> Iterable[str]:
    own = [bar for bar in bars if not bar.depth or bar.limit is not None]
    ranked = sorted(own, key=lambda bar: (-bar.share, -bar.used))
    yield "<h2>Time used, against the limits</h2>\n"
    yield from _table(ranked[:SHOWN])
    if ranked[SHOWN:]:
        yield f"<details><summary>{len(ranked) - SHOWN:,} more</summary>\n"
        yield from _table(ranked[SHOWN:])
        yield "</details>\n"


def _table(bars: Iterable[Bar]) -> Iterable[str]:
    yield "<table>\n<tr><th>name<th>used<th>limit<th>share<th>outcome\n"
    for bar in bars:
        limit, share = ("", "") if bar.limit is None else (text(bar.limit), f"{bar.share:.0%}")
        near = ' class="near"' if bar.share >= NEAR else ""
        meter = f'<u style="--share:{min(bar.share, 1.0):.3f}"></u>' if share else ""
        yield f"<tr{near}><td>{escape(bar.name)}<td>{text(bar.used)}<td>{limit}<td>{meter}{share}"
        yield f'<td><b class="{bar.kind}">{escape(bar.outcome)}</b>\n'
    yield "</table>\n"


def _instant(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours}:{minutes:02}:{int(seconds) % 60:02}" if hours else f"{minutes}:{int(seconds) % 60:02}"


_KINDS = {
    **dict.fromkeys(("done", "passed", "expected failure"), "good"),
    **dict.fromkeys(("timeout", "crash", "interrupted"), "late"),
    **dict.fromkeys(("skipped", "new", "not run"), "none"),
    "running": "open",
}
_STYLE = """
:root { color-scheme: light dark; --good: #2e8b57; --bad: #c0392b; --late: #d35400; --none: #8a8f98; --open: #2874a6;
  --line: #d0d4da; --back: #fff; --fore: #1c2128; --soft: #f3f5f7 }
@media (prefers-color-scheme: dark) { :root { --good: #4caf7d; --bad: #ef6b5e; --late: #f39c4a; --none: #7d8590;
  --open: #58a6d6; --line: #3a414b; --back: #14181d; --fore: #e3e7ec; --soft: #1e242b } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; padding: 0 1.5em; max-width: 75em;
  background: var(--back); color: var(--fore) }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.15em; margin-top: 2em }
.row { display: flex } .label { flex: 0 0 9em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.lane { flex: 1; position: relative; height: calc(var(--lanes) * 1.5em); margin-bottom: 2px; background: var(--soft) }
.lane i { position: absolute; top: calc(var(--depth) * 1.5em); height: 1.4em; min-width: 1px; box-sizing: border-box;
  overflow: hidden; white-space: nowrap; color: var(--back);
  font: 12px/1.7 system-ui, sans-serif; text-indent: 3px }
.apart { border-right: 1px solid var(--back); border-radius: 2px }
.axis { flex: 1; position: relative; height: 1.5em; overflow: hidden; font-size: 12px }
.axis span { position: absolute; border-left: 1px solid var(--line); padding-left: 3px }
i.good { background: var(--good) } i.bad { background: var(--bad) } i.none { background: var(--none) }
i.open { background: var(--open) } i.late { background: repeating-linear-gradient(45deg,
  var(--late) 0 6px, color-mix(in srgb, var(--late) 75%, #000) 6px 12px) }
b.good { color: var(--good) } b.bad { color: var(--bad) } b.late { color: var(--late) } b.none { color: var(--none) }
b.open { color: var(--open) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600 } th, td { padding: 2px 1em 2px 0; border-bottom: 1px solid var(--line) }
td:first-child { overflow-wrap: anywhere } td:not(:first-child) { white-space: nowrap }
td u { display: inline-block; height: .7em; width: calc(var(--share) * 8em); margin-right: 6px;
  background: var(--none) }
td:nth-child(4) { width: 14em } .near td { font-weight: 600 } .near u { background: var(--late) }
pre { background: var(--soft); padding: 1em; overflow-x: auto; font-size: 13px } summary { cursor: pointer }
@media print { body { margin: 0; max-width: none } i, u { print-color-adjust: exact }
  pre { white-space: pre-wrap } details::details-content { content-visibility: visible; height: auto } }
"""
