"""A phase whose limits are enforced: it knows where it was entered, and what watches it.

Who enforces them is the affair of its ledger, which is asked when nothing suitable is armed.
"""

from __future__ import annotations

from sys import modules

from ..counting.cleanup import Cleanup
from ..counting.ledger import Phase
from ..counting.verdict import judge
from ..errors import PhaseTimeout
from ..interpreter.turns import greenlet
from ..originals import loaded, python, uninterrupted
from ..seconds import INFINITY
from .cancellation import cancelling
from .enforcer import InterruptiblePhase
from .users import FOR_OTHERS, find_users
from .whereabouts import GENERATES

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from .enforcer import Struck

_getframe = python._getframe

EARLY = 0.001  #: seconds before a limit at which what was set for a phase before may come


class EnforcedPhase(InterruptiblePhase):
    """A phase that is interrupted when its time is over."""

    __slots__ = ("scene",)

    scene: object  # what was running when it was interrupted

    @uninterrupted
    def __enter__(self, frame: FrameType | None = None) -> Phase:
        frame = frame or _getframe(1)
        if self.outcome == "new":  # a signal handler may look at it as soon as it is open
            self.enforcer = self.struck = self.greenlet = None
            self.users = ()
            self.frame, self.lasti = frame, frame.f_lasti
        Phase.__enter__(self)
        ledger, key = self.ledger, self.key
        if type(key) is not int:
            self.cancelling = cancelling(key)
            if "greenlet" in modules:
                self.greenlet = greenlet()
        code = frame.f_code
        if code.co_flags & GENERATES or code.co_name in FOR_OTHERS:
            find_users(self, frame)
        until = self.until
        if ledger.open.get(key) is self:
            budget = ledger.budget
            end = budget.origin + budget.amount
            if end < until:
                until = end
        if until < INFINITY:
            armed = ledger.enforcer
            is_armed = self.started < until and armed.at <= until <= armed.at + EARLY and armed.key == key
            if is_armed and not (armed.phases and armed.CAN_BE_LOST):
                self.enforcer = armed
                armed.phases.append(self)
            else:
                ledger.enter(self, until)
        return self

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.outcome != "running" and getattr(self, "struck", None) is not None:
            lost, self.struck = self.struck, None  # it seemed to have lost its way out, and was closed
            return self._end(error, self.ledger.clock(), lost)
        Phase.__exit__(self, kind, error, traceback)
        if self.frame is not None:  # it was in time
            struck = self._release()
            if struck is not None:  # but only since the limits have changed
                self._end(error, self.ended, struck)

    def _late(self, error: BaseException | None, now: float) -> None:
        self._end(error, now, self._release())

    def _end(self, error: BaseException | None, now: float, struck: Struck) -> None:
        """End the phase, in which that was raised."""
        if isinstance(struck, PhaseTimeout):
            self.scene = struck.scene
        judge(self, error, now, struck)

    def _release(self) -> Struck:
        """See to it that nothing interrupts it any more; return what was raised in it."""
        struck, ledger, enforcer = self.struck, self.ledger, self.enforcer
        self.struck = self.frame = None
        self.users = ()
        if enforcer is not None and enforcer.sessions and not (enforcer.covered or struck or ledger.escalations):
            phases = enforcer.phases
            if phases[-1] is self and (len(phases) == 1 or self.limit is None and self.parent is not None):
                phases.pop()  # there is nothing to put off
                return None
        ledger.leave(self, struck)
        return struck

    def told(self) -> str:
        return str(getattr(self, "scene", ""))

    def replaced(self, error: BaseException | None) -> BaseException | None:
        return None if self.enforcer is None else self.enforcer.replaced(self, error)

    def takes_back(self, error: BaseException | None) -> bool:
        return loaded("asyncio") is not None and self.enforcer is not None and self.enforcer.takes_back(self, error)

    @uninterrupted
    async def __aenter__(self) -> Phase:
        return self.__enter__(_getframe(1))


class EnforcedCleanup(Cleanup, EnforcedPhase):
    """A cleanup that can be interrupted."""

    __slots__ = ()
