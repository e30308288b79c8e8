"""The ledger of a manager as text, as plain data, as a trace."""

from __future__ import annotations

from unicodedata import category, east_asian_width

from ..originals import system
from ..seconds import INFINITY, plain, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ledger import Ledger, Phase

FORMAT = 1  #: of what is written to files; a greater one when something is taken away or changes its meaning
BAR = 20  # characters for the whole budget


def table(ledger: Ledger) -> str:
    """Return a line for each phase: name indented by nesting, time used, share of the budget, outcome."""
    phases = ledger.phases
    budget, left = ledger.budget.amount, ledger.left()
    whole = budget if 0 < budget < INFINITY else ledger.used() or 1.0
    names = _column(["phase", *("  " * (len(phase.path()) - 1) + plain(phase.name) for phase in phases)])
    lines = [f"{names[0]}  {'used':>11}  {'share':>5}  {'':{BAR}}  outcome"]
    for name, phase in zip(names[1:], phases):
        used = phase.elapsed()
        share = used / whole
        bar = "#" * min(round(share * BAR), BAR)
        lines.append(f"{name}  {text(used):>11}  {share:5.0%}  {bar:{BAR}}  {phase.outcome}")
    rest = ", no limit" if budget == INFINITY else f" of {text(budget)}, {text(left)} left"
    return "\n".join([*lines, f"{text(ledger.used())} used{rest}"])


def lines(phases: list[Phase], running: dict[Phase, float]) -> list[str]:
    """Return a line for each phase as it was when those ``running`` had taken so long."""
    names = _column(["  " * len(phase.path()) + plain(phase.name) for phase in phases])
    told = []
    for name, phase in zip(names, phases):
        now = running.get(phase)
        elapsed, outcome = (phase.elapsed(), phase.outcome) if now is None else (now, "RUNNING")
        limit = "" if phase.limit is None else f" (limit {text(phase.limit)})"
        told.append(f"{name}  {text(elapsed):>11}  {outcome}{limit}")
    return told


def _column(names: list[str]) -> list[str]:
    """Return the names, filled up so that they take the same room on a terminal."""
    widths = list(map(columns, names))
    most = max(widths, default=0)
    return [name + " " * (most - width) for name, width in zip(names, widths)]


def columns(text: str) -> int:
    """Return how many columns a text takes that is to be printed."""
    if text.isascii():
        return len(text)
    return sum(0 if category(each) in ("Mn", "Me", "Cf") else 1 + (east_asian_width(each) in "WF") for each in text)


def data(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger as numbers, strings, lists and dicts."""
    budget, left = ledger.budget.amount, ledger.left()
    return {
        "timeout": None if budget == INFINITY else budget,
        "used": ledger.used(),
        "remaining": left,
        "expired": left == 0.0,
        "phases": [entry(phase, ledger.made) for phase in ledger.phases],
    }


def html(ledger: Ledger) -> str:
    """Return the ledger as a page of HTML, with a row for each thread or task that had phases."""
    from .page import Bar, draw

    bars = []
    for row, phase in zip(_rows(ledger), ledger.phases):
        depth = len(phase.path()) - 1
        told = phase.told()
        bars.append(Bar(entry(phase, ledger.made), phase.limit, row=f"thread {row}", depth=depth, told=told))
    budget = ledger.budget.amount
    limit = "no limit" if budget == INFINITY else f"of {text(budget)}"
    return draw(f"{len(bars):,} phases", f"{text(ledger.used())} used, {limit}", bars)


def entry(phase: Phase, since: float) -> dict[str, Any]:
    """Return what there is to tell of one phase; it ``started`` so many seconds after that instant."""
    return {
        "name": phase.name,
        "path": list(phase.path()),
        "started": phase.started - since,
        "elapsed": phase.elapsed(),
        "limit": phase.limit,
        "outcome": phase.outcome,
    }


def trace_events(ledger: Ledger) -> list[dict[str, Any]]:
    """Return a complete event ("ph": "X", microseconds) for each phase, a row for each thread or task."""
    return [
        {
            "name": phase.name,
            "cat": "phase",
            "ph": "X",
            "ts": (phase.started - ledger.made) * 1e6,
            "dur": phase.elapsed() * 1e6,
            "pid": system.getpid(),
            "tid": row,
            "args": {"outcome": phase.outcome, "limit": phase.limit},
        }
        for row, phase in zip(_rows(ledger), ledger.phases)
    ]


def _rows(ledger: Ledger) -> list[int]:
    """Return for each phase the number of its thread or task, in the order in which they came."""
    keys = [phase.key if isinstance(phase.key, int) else id(phase.key) for phase in ledger.phases]  # that, once it ends
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys), 1)}
    return [numbers[key] for key in keys]
