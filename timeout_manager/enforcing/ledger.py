"""A ledger whose limits are enforced: what it means to enter and leave a phase or session, and to change the limits."""

from __future__ import annotations

from ..counting.cleanup import step_back
from ..counting.counted import CountedLedger
from ..counting.ledger import Phase, caller
from ..counting.verdict import is_debugged, overrun, timeout_in
from ..errors import LET_PASS, PhaseTimeout
from ..interpreter.frames import up
from ..interpreter.turns import call_in_loop
from ..interrupting.phase import EARLY, EnforcedCleanup, EnforcedPhase
from ..interrupting.whereabouts import whereabouts
from ..originals import clock, python
from ..seconds import INFINITY
from . import choice

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..interrupting.enforcer import Enforcer, Struck
    from ..interrupting.escalation import Escalation


class EnforcedLedger(CountedLedger):
    """A ledger that has its phases interrupted, and what else is asked for when they are late."""

    kind = EnforcedPhase

    def __init__(
        self, seconds: float | None, enforce: bool | str, kill_after: float | None, kill_children: float | None
    ) -> None:
        self.enforce = enforce
        self.enforcer: Enforcer = choice.NOBODY  # what watched a phase last
        self.escalations: tuple[Escalation, ...] = ()
        if kill_after is not None:
            from .kill_after import KillAfter

            self.escalations += (KillAfter(kill_after),)
        if kill_children is not None:
            from .kill_children import KillChildren

            self.escalations += (KillChildren(kill_children),)
        super().__init__(seconds, clock.monotonic)

    def begin(self, seconds: float | None) -> None:
        super().begin(seconds)
        self.in_sessions: dict[object, list[Enforcer | None]] = {}  # thread or task -> what is watched in its sessions

    def cleanup(self, name: str, limit: float | None) -> EnforcedCleanup:
        return EnforcedCleanup(self, name, limit)

    def mechanism(self) -> str:
        return choice.name_of(self.enforce)

    # -- phases

    def enter(self, phase: EnforcedPhase, at: float) -> None:
        """See to it that the phase ends at this instant; raise PhaseTimeout at once if it has passed already."""
        if self.enforce and at <= phase.started:
            at = self._refuse(phase, at)
            if at == INFINITY:
                return
        try:
            while phase.enforcer is None:
                last = self.enforcer
                enforcer = last.start(at) if last.key == phase.key else None
                enforcer = enforcer or self._begin(at)
                if enforcer is None:
                    break
                if enforcer.sessions and not enforcer.phases:
                    _put_off(enforcer, at)  # it is still set for a phase that has ended
                _register(phase, enforcer)
            for escalation in self.escalations:
                escalation.entered(phase, at)
        except BaseException:
            self.leave(phase, None)
            _retract(phase)
            raise

    def leave(self, phase: EnforcedPhase, struck: Struck) -> None:
        """See to it that nothing happens to the phase any more; ``struck`` is what was raised in it."""
        enforcer = phase.enforcer
        if enforcer is not None:
            phases = enforcer.phases
            if phases[-1] is phase:
                phases.pop()
            else:
                phases.remove(phase)
            if enforcer.expiry is not None and (not phases or enforcer.expiry.over is phase):
                enforcer.expiry = None
            if enforcer.covered:
                enforcer.settle()
            if not phases and not enforcer.sessions:
                enforcer.stop()
            elif not phases and struck is not None:
                _put_off(enforcer, INFINITY)
            elif phases and (phase.parent is None or phase.until < phase.parent.until):
                innermost = {each.ledger: each for each in phases}
                now = clock.monotonic()
                _put_off(enforcer, min([now + each.left(now) for each in innermost.values()]))
        for escalation in self.escalations:
            escalation.left(phase, struck)

    def _begin(self, at: float) -> Enforcer | None:
        """Watch the calling thread or task from now on."""
        enforcer = choice.start(self.enforce, at)
        if enforcer is not None and not self.escalations:
            self.enforcer = enforcer
        return enforcer

    def _refuse(self, phase: EnforcedPhase, at: float) -> float:
        """Leave the phase again, since its time is over; return when it is over after all, if that was for a lost one.

        INFINITY: never, since nothing else binds it, or in a debugger.
        """
        over = overrun(phase, phase.started)
        if isinstance(over, EnforcedPhase) and over is not phase and over.enforcer is not None:
            whereabouts(over.enforcer, [*up(python._getframe())])
            phase.parent = around = phase.open_around()
            own = INFINITY if phase.limit is None else phase.started + phase.limit
            phase.until = own if around is None else min(own, around.until)
            at = phase.started + phase.left(phase.started)
            over = overrun(phase, phase.started)
        parent: Any = phase.parent
        if parent is not None and parent.struck is LET_PASS or over is not None and is_debugged(phase):
            phase.struck, at = LET_PASS, INFINITY
        elif over is not None:
            error = timeout_in(phase, over, phase.started)
            error.interrupted = True
            try:
                phase.__exit__(None, None, None)
            except PhaseTimeout:
                phase.outcome = "timeout"
                raise error from None
        return at

    # -- sessions

    def open_session(self) -> None:
        """Watch the calling thread, if there is a budget, until the session is closed."""
        rest = self.left()
        enforcer = None if rest is None else self._begin(clock.monotonic() + rest)
        if enforcer is not None:
            enforcer.sessions += 1
        self.in_sessions.setdefault(caller(), []).append(enforcer)
        super().open_session()

    def close_session(self) -> bool:
        """Disarm, and put everything back, unless phases are open that need it."""
        was_empty = super().close_session()
        here = caller()
        enforcer = self.in_sessions[here].pop()
        if not self.in_sessions[here]:
            del self.in_sessions[here]
        if enforcer is not None:
            enforcer.sessions -= 1
            if enforcer.covered:
                enforcer.settle()
            if not enforcer.sessions and not enforcer.phases:
                enforcer.stop()
        return was_empty

    # -- limits that change

    def changed(self) -> None:
        """Look again at once, in all threads."""
        here = caller()
        for key, top in [*self.open.copy().items(), *self.aside.copy().items()]:
            if key == here:
                self._catch_up(top)
            elif self.enforce is True and hasattr(key, "get_loop"):  # a task of asyncio
                call_in_loop(key.get_loop(), self._catch_up, top, key)
        for enforcer in choice.started():
            phases = enforcer.phases.copy()
            if not any(phase.ledger is self for phase in phases):
                continue
            if enforcer.key == here and not enforcer.OF_TASKS:  # without a signal, which could meet what is next
                now = clock.monotonic()
                enforcer.arm(min(now + phase.left(now) for phase in phases))
            else:
                enforcer.stale = True
                enforcer.wake()
        for escalation in self.escalations:
            escalation.changed(self)

    def _catch_up(self, top: Any, task: Any = None) -> None:
        """Watch the calling thread or this task, if it is in phases that had no limit when they were entered."""
        found = [phase for phase in top.outwards() if phase.outcome == "running" and phase.enforcer is None]
        if not found or top.remaining() is None or any(frame.f_code in _STEPS for frame in up(python._getframe())):
            return
        now = clock.monotonic()
        enforcer = self._begin(now) if task is None else choice.start_over(task, now)
        if enforcer is not None:
            for phase in found[::-1]:
                _register(phase, enforcer)
            enforcer.phases[:] = sorted(enforcer.phases, key=lambda each: each.started)


def _register(phase: EnforcedPhase, enforcer: Enforcer) -> None:
    """Have an enforcer that has started watch the phase, unless a phase in a signal handler has stopped it since."""
    enforcer.phases.append(phase)
    if enforcer.at < INFINITY:
        phase.enforcer = enforcer
    else:
        enforcer.phases.remove(phase)


def _put_off(enforcer: Enforcer, at: float) -> None:
    """Fire at this instant and not before, lest a block is disturbed that is in time."""
    if enforcer.at + EARLY < at and not enforcer.stale and not enforcer.loops:
        enforcer.arm(at)


def _retract(phase: EnforcedPhase) -> None:
    """Undo entering: this thread cannot be watched as was asked for."""
    ledger, key = phase.ledger, phase.key
    stack = ledger.open if ledger.open.get(key) is phase else ledger.aside
    if phase.parent is None:
        del stack[key]
    else:
        stack[key] = phase.parent
    ledger.phases.remove(phase)
    phase.outcome = "new"
    if phase.is_cleanup:
        step_back(ledger, key)


_STEPS = frozenset(  # where a signal handler may have called `reset`
    method.__code__ for kind in (Phase, EnforcedPhase) for method in (kind.__enter__, kind.__exit__)
)
