"""The cancellation of a task when its time is over, and whether it was that, and that alone, that came out of a block.

It carries a message of ours. While somebody refers to that, the block is on its way out. Others may cancel the task at
the same moment, which must not get lost, so all cancellations are counted: from 3.11 by the task (``Task.cancelling``),
before by a stand-in for its ``cancel``.
"""

from __future__ import annotations

import sys
from weakref import ref

from ..errors import CancelMessage, chain, message_of
from ..interpreter.frames import is_suspended, module_of
from ..interpreter.turns import asyncio_task, running_loop
from ..originals import loaded

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from .enforcer import InterruptiblePhase as Phase
    from .expiry import Expiry

COUNTS_CANCELLATIONS = sys.version_info >= (3, 11)  # a task knows by how many it was cancelled
_MAIN = {  # where asyncio has the task that a loop runs; the first is missing where the loop is uvloop's
    ("asyncio.base_events", "run_until_complete"): "future",
    ("asyncio.runners", "run"): "task",
}
_SCOPE = "Cancelled via cancel scope "  # of anyio, which ends such a cancellation itself, by this text


class _Cancels:
    """Stand in for ``cancel`` of a task, and count."""

    def __init__(self, task: Any) -> None:
        self.cancel = task.cancel
        self.count = 0

    def __call__(self, msg: Any = None) -> Any:
        self.count += not str(msg).startswith(_SCOPE)
        return self.cancel(msg)


def cancel(task: Any, expiry: Expiry) -> None:
    """Cancel the task, with a message that tells whose cancellation it is, and whether it is in flight still."""
    if isinstance(getattr(task, "cancel", None), _Cancels) and _is_cancelled(task):
        task.cancel.count += 1  # by a method that was bound before it was counted
    message = CancelMessage(expiry.error)
    message.timeout = ref(expiry.error)
    expiry.message = ref(message)
    task.cancel(msg=message)


def count(task: Any) -> None:
    """Count from now on by how many the task is cancelled, where it does not do that itself."""
    try:
        if not COUNTS_CANCELLATIONS and not isinstance(task.cancel, _Cancels):
            task.cancel = _Cancels(task)
    except AttributeError:  # it takes no attributes
        pass


def uncount(task: Any) -> None:
    """Count no more."""
    if isinstance(getattr(task, "cancel", None), _Cancels):
        del task.cancel


def cancelling(task: Any) -> int:
    """Return by how many the task has been cancelled."""
    if COUNTS_CANCELLATIONS and hasattr(task, "cancelling"):  # of asyncio
        return task.cancelling()  # type: ignore[no-any-return]
    return getattr(getattr(task, "cancel", None), "count", 0)


def _is_cancelled(task: Any) -> bool:
    """Tell whether somebody has cancelled the task up to 3.10, and it does not know yet."""
    waits_for = task._fut_waiter
    pending = task._must_cancel or waits_for is not None and waits_for.cancelled()
    return pending and type(task._cancel_message) is not CancelMessage


def uncancel(task: Any) -> int:
    """Take one of these cancellations back; return how many are left."""
    if COUNTS_CANCELLATIONS:
        return task.uncancel()  # type: ignore[no-any-return]
    counter = getattr(task, "cancel", None)
    if isinstance(counter, _Cancels):
        counter.count -= 1
    return cancelling(task)


def is_alone(error: BaseException | None) -> bool:
    """Tell whether, up to 3.10, no other cancellation was in flight when ours came."""
    kind = loaded("asyncio").CancelledError
    found = [type(each.args and each.args[0]) is CancelMessage for each in chain(error) if isinstance(each, kind)]
    return COUNTS_CANCELLATIONS or True not in found or all(found[found.index(True) :])


def cancellation_beneath(error: BaseException | None, task: Any, before: int, ours: int) -> BaseException | None:
    """Return the cancellation by others that an error has replaced, if the task has been asked to end since.

    Two that come at once are thrown as one, with the message of the first, which may be one of ours.
    """
    asked, kind = cancelling(task), loaded("asyncio").CancelledError
    if asked <= before:
        return None
    found = (each for each in chain(error) if isinstance(each, kind))
    return next((each for each in found if asked - ours > before or message_of(each) is None), None)


def cancel_main(expiry: Expiry, outermost: Phase, stack: dict[FrameType, None]) -> bool:
    """Cancel what a waiting loop in this phase runs, as on Ctrl-C, and wake it; False if there is none."""
    loop, task = running_loop(), asyncio_task()
    if loop is None or task is not None and not is_suspended(task.get_coro()):
        return False
    for frame in stack:
        if frame is outermost.frame:
            break
        name = _MAIN.get((module_of(frame), frame.f_code.co_name))
        if name is not None:
            main = frame.f_locals.get(name)
            caller = frame.f_back.f_locals.get("self") if frame.f_back is not None else None
            main = getattr(caller, "_asyncioCallsTask", main)  # of IsolatedAsyncioTestCase up to 3.10
            if isinstance(main, loaded("asyncio").Task) and not main.done():
                loop.call_soon_threadsafe(cancel, main, expiry)
                return True
    return False
