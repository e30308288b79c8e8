"""What has to begin anew in a forked child, in one order.

A child inherits the memory of its parent, and one thread: no other thread, no timer of the kernel, and locks as they
were, held perhaps by a thread that is gone. So each module that has any of these says what puts it right. The order is
that of ORDER, whichever module was loaded first: what others use comes before them.
"""

from __future__ import annotations

from ..originals import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ORDER = (
    *("safepoints", "watchdog"),  # locks that all below take, and what is on its way to a thread
    *("by_timer", "by_signal", "by_thread"),  # the way to each thread, then whose phases these were
    "by_asyncio",  # stands on these
    *("kill_after", "kill_children", "bound"),  # what was to end with the phases
    *("part", "call", "channel", "last words"),  # of tests that the parent runs
)
_steps: dict[str, Callable[[], object]] = {}


def before(step: Callable[[], object]) -> None:
    """Have this called before every fork."""
    if hasattr(system, "register_at_fork"):
        system.register_at_fork(before=step)


def in_child(name: str, step: Callable[[], object]) -> None:
    """Have this called in every forked child, in its place in ORDER."""
    if name not in ORDER:
        raise ValueError(f"{name!r} has no place in the order of what begins anew in a child")
    _steps[name] = step


def _forked() -> None:
    failed = None
    for name in ORDER:
        try:
            _steps.get(name, int)()
        except Exception as error:  # the others are to begin anew, too
            failed = error
    if failed is not None:
        raise failed


if hasattr(system, "register_at_fork"):
    system.register_at_fork(after_in_child=_forked)
