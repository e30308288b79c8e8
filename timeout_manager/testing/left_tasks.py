"""Tasks that a part of a test has left in the event loop of an IsolatedAsyncioTestCase."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def tasks_of(test: Any) -> set[Any]:
    """Return the tasks in the loop of an IsolatedAsyncioTestCase."""
    loop = getattr(test, "_asyncioTestLoop", None)  # up to 3.10
    try:
        if loop is None:
            runner = getattr(test, "_asyncioRunner", None)
            loop = runner and runner.get_loop()
        return sys.modules["asyncio"].all_tasks(loop) if loop else set()
    except RuntimeError:  # the loop is closed
        return set()


def cancel_left(test: Any, before: Iterable[Any]) -> None:
    """Cancel what a part that was interrupted has left in the loop: it would go on hanging in the next part."""
    for task in tasks_of(test).difference(before):
        task.cancel()
    caller = getattr(test, "_asyncioCallsTask", None)  # up to 3.10 it awaits what is under test
    if caller is not None and caller.get_coro().cr_frame is not None:
        waiting = caller.get_coro().cr_frame.f_locals.get("fut")
        if waiting is not None and not waiting.done():
            waiting.cancel()
            caller.cancel()
