"""What the summary says of a timeout: what hung, for how long, and where; and which tests did not run."""

from __future__ import annotations

from ..diagnosis.snapshot import Scene
from ..errors import listed
from ..interpreter.frames import shown
from ..seconds import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from ..errors import PhaseTimeout
    from ..interpreter.frames import Line
    from .part import Group, Part

SHOWN = 100  # names of tests that did not run, for each reason


def of_reported(timeouts: Sequence[PhaseTimeout], source: str) -> Iterator[str]:
    """Yield what is to be said of timeouts in another process or thread, or by a framework."""
    for each in timeouts:
        limit = f"the limit is {text(each.timeout)}{source and f' ({source})'}"
        yield from (f"Time ran out in {each.phase} after {text(each.elapsed)}; {limit}.", "", each.diagnosis)


def of_parts(late: Iterable[tuple[Group, Part]], text_of: Callable[[BaseException], str]) -> Iterator[str]:
    """Yield what is to be said of the parts that were late."""
    for group, part in late:
        yield from _of_late(group, part, text_of)


def _of_late(group: Group, part: Part, text_of: Callable[[BaseException], str]) -> Iterator[str]:
    """Yield what is to be said of a part that was late."""
    error = part.error
    assert error is not None
    place = part.place()
    if error.interrupted:
        yield f"Time ran out in {place} after {text(error.elapsed)}; the limit is {group}."
    else:
        yield f"{place} took {text(part.elapsed())}, and nothing interrupted it; the limit is {group}."
    for earlier in group.parts[: group.parts.index(part)]:
        if earlier.elapsed() > part.elapsed() / 10:
            yield f"{earlier.name} had taken {text(earlier.elapsed())} of it."
    scene = error.scene
    if isinstance(scene, Scene):
        yield f"  {scene.line()}"
        yield from (scene.motion(), "") if scene.is_one_line() else ("", scene.stacks(), "")
    if error.killed or error.survivors:
        yield from (error.ended(), "")
    if error.__cause__ is not None:
        yield from ("It ended in this:", text_of(error.__cause__), "")


def of_left_out(not_run: Mapping[str, str]) -> Iterator[str]:
    """Yield which tests did not run, and why."""
    for why in dict.fromkeys(not_run.values()):
        names = [name for name, each in not_run.items() if each == why]
        count = len(names)
        yield f"{count} test{'s' * (count != 1)} did not run, because {why}:"
        yield from (f"  {each}" for each in listed(names, most=SHOWN))


def of_error(err: Any, broken: Exception) -> str:
    """Return the text of an error where unittest's own way is broken: a test has left a mock in the place of a part."""
    lines: list[Line] = []
    trace = err[2]
    while trace is not None:
        lines.insert(0, (trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    return "\n".join([*shown(lines), f"{err[0].__name__}: {err[1]}", f"(there is no more of this: {broken!r})"]) + "\n"
