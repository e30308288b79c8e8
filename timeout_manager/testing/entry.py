"""What is told of a test, a fixture or an import: in a report, in the summary, to a parent."""

from __future__ import annotations

from unittest.util import strclass

from ..originals import clock, thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..errors import PhaseTimeout
    from .part import Group, Part


class Entry:
    """What a report tells of a test, a fixture or an import."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.began = clock.monotonic()
        self.elapsed = 0.0
        self.outcome = "running"
        self.thread = thread.get_ident()  # in which it is called
        self.groups: list[Group] = []
        self.texts: list[str] = []  # what went wrong, or why it was skipped
        self.test: Any = None
        self.is_called = False  # it ends with the call of the test, and not when that is stopped
        self.started = False
        self.place: Any = None  # among the tests of a parent
        self.told: list[Part] = []  # those of which it has been told that they were late
        self.reported: list[PhaseTimeout] = []  # timeouts in another process or thread

    @property
    def parts(self) -> list[Part]:
        return [part for group in list(self.groups) for part in group.parts]  # asked for by the watchdog, too

    @property
    def late(self) -> list[tuple[Group, Part]]:
        """The parts that were not over in time."""
        return [(group, part) for group in self.groups for part in group.parts if part.error is not None]

    @property
    def timeouts(self) -> list[PhaseTimeout]:
        return [part.error for _, part in self.late if part.error is not None] + self.reported

    @property
    def part(self) -> Part | None:
        """The part that is running, the innermost if there are several; else the last."""
        parts = self.parts
        running = [part for part in parts if part.outcome == "running"] or parts
        return running[-1] if running else None

    def owns(self, error: BaseException | None) -> bool:
        """Tell whether an error is an interrupt of a part of this, or has the text of one: some keep no more."""
        if any(group.owns(error) for group in self.groups):
            return True
        if not any(part.outcome == "timeout" or getattr(part, "struck", None) is not None for part in self.parts):
            return False
        words = str(error)
        return "Timeout exceeded after " in words and f"in {self.name} > " in words


def name_of(test: Any) -> str:
    """Return what a report calls a test, which need not be a TestCase."""
    try:
        return str(test.id()) if hasattr(test, "id") else str(test)
    except Exception:  # it may rely on what setUp does
        return f"{strclass(type(test))}.{getattr(test, '_testMethodName', 'test')}"


def described(test: Any, describe: Callable[[Any], str]) -> str:
    """Return what a function says of a test; its name where that relies on what setUp does, or has another fault."""
    try:
        return describe(test)
    except Exception:
        return name_of(test)


def names_of(test: Any) -> tuple[str, str, str]:
    """Return the names of a test, its class and its module."""
    return name_of(test), strclass(type(test)), type(test).__module__
