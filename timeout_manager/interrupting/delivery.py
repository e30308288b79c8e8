"""What is raised in a thread whose phase is over: when, where, and how often.

Whatever fires, a signal or another thread, it is the watched thread itself that calls `look`. Since only this thread
enters and leaves its phases, none of this needs a lock. Four things keep an interrupt inside its block.

* Code that enters or leaves a phase is never interrupted. Its functions say so (`uninterrupted`), those of another copy
  of the package, too; the look is put off by a moment.
* Only phases count whose block the thread is in (`standing`).
* Where the exception would miss a `try` or `with` of the source, the thread is sent on to a better place (`landing`),
  which is never far. A loop without one is left without its ``__exit__``, so its phase is closed before.
* What is raised in a phase is written into it: it ends in that error whatever the block makes of it.

Where the thread waits in an event loop, what that runs is cancelled first, as asyncio does it on Ctrl-C.

An interrupt that is swallowed comes again, and where the block is an endless loop around a handler that swallows
everything, it is raised out of reach of that handler.
"""

from __future__ import annotations

import sys
from itertools import islice

from ..interpreter import safepoints
from ..interpreter.bytecode import entry, handlers, misplaced, returns, stand, swallower
from ..diagnosis.snapshot import Scene
from ..errors import LET_PASS, PhaseInterrupt
from ..interpreter.safepoints import guarded
from ..originals import clock, python
from ..interpreter.frames import up
from .whereabouts import abandon, bind, find_borders, next_look, place, standing
from ..counting.verdict import is_debugged, timeout_in
from .enforcer import LAST, MOMENT, Strike, Watch

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from ..counting.ledger import Ledger, Limit
    from .enforcer import InterruptiblePhase as Phase

PATIENCE = 100  # bad places that are passed over, if a better one may come
STUCK = 20  # how many of them it counts for when a thread is found where it was found before
SENT = 20  # how many of them are passed over at the border of a block by a thread that was sent there: it takes longer
NEAR = 8  # frames in which the interpreter may stand at a bad place: a signal handler of others has callers


def look(watch: Watch, frame: FrameType, landed: int) -> BaseException | None:
    """Return what is to be raised in the calling thread, if anything; set when to look again.

    The thread stands at this frame. It has been sent to this instruction (``landed``), or was interrupted there (-1).
    """
    now = clock.monotonic()
    watch.stale = False
    watch.at = now + MOMENT
    stack = dict.fromkeys(up(frame))
    if any(map(guarded, stack)):
        return None
    error = seize(watch, stack, frame, landed, now)
    if error is None and not (watch.strike and watch.strike.tries):
        for pulse in watch.pulses:
            error = error or pulse.seize(stack, frame, landed, now)
    return error


def seize(
    watch: Watch, stack: dict[FrameType, None], frame: FrameType, landed: int, now: float
) -> BaseException | None:
    """Return what is to be raised, if anything, for the phases of this watch; set when to look at it again."""
    phases, elsewhere = standing(watch, stack)
    watch.at = next_look(elsewhere, now)
    due = find(watch, phases, frame, now)
    if due is None:
        safepoints.withdraw(watch.thread.key)
        return None
    strike, struck = due
    if not strike.hits and watch is watch.thread and _cancels_main(strike, struck[0], stack):
        strike.next(now)
        watch.at = strike.again = now + LAST
        mark(struck, strike)
        return None
    return _raise(watch, strike, struck, stack, frame, landed, now)


def find(
    watch: Watch, phases: list[Phase], frame: FrameType | None, now: float, like: Scene | None = None
) -> tuple[Strike, list[Phase]] | None:
    """Return the limit to interrupt for now, and the phases that it binds; set when to look again.

    ``phases`` are those in which the thread or task is. It stands at this frame; what is around it is as in ``like``.
    """
    over, bound = _over(watch, phases, now)
    excused, watch.excused = watch.excused, ""
    if over is None:
        watch.strike = None
        watch.looked = now
        return None
    struck = [phase for phase in bound if phase.ledger is bound[0].ledger]
    last = strike = watch.strike
    if strike is None or strike.over is not over:
        if is_debugged(struck[-1], excused):
            _let_pass(struck)
            watch.at = now
            return None
        error = timeout_in(struck[-1], over, struck[-1].ledger.clock())
        error.interrupted = True
        error._outermost = struck[0]
        seen = [each for each in watch.seen if each[0] >= struck[-1].started]
        due = now + struck[-1].ledger.left_of(over, struck[-1].ledger.clock())
        error._scene = Scene(frame, watch.key if watch.pulse else None, struck, seen, like, max(due, watch.looked))
        watch.strike = strike = Strike(over, error)
    if last is not None and last.hits and strike.again < last.hit + LAST and last.is_handled():
        strike.again = last.hit + LAST
    if now < strike.again:
        watch.at = strike.again
        strike.tries = 0
        return None
    return strike, struck


def _over(watch: Watch, phases: list[Phase], now: float) -> tuple[Limit | None, list[Phase]]:
    """Return the outermost limit that has passed, and the phases that it binds; set when the next one will pass."""
    aside = {phase.ledger: index for index, phase in enumerate(phases) if phase.is_cleanup}
    seen: set[Ledger] = set()
    for index, phase in enumerate(phases):
        ledger = phase.ledger
        if index < aside.get(ledger, 0) or phase.struck is LET_PASS:
            continue
        limits: list[Limit] = []
        if ledger not in seen and not phase.in_cleanup():
            seen.add(ledger)
            limits.append(ledger.budget)
        if phase.limit is not None:
            limits.append(phase)
        for limit in limits:
            rest = ledger.left_of(limit, ledger.clock())
            if rest <= 0.0:
                return limit, phases[index:]
            watch.at = min(watch.at, now + rest)
    return None, []


def _let_pass(phases: list[Phase]) -> None:
    """Leave these phases alone for good: neither interrupt nor kill."""
    for phase in phases:
        phase.struck = LET_PASS
        for escalation in phase.ledger.escalations:
            escalation.let_pass(phase)


def _raise(
    watch: Watch,
    strike: Strike,
    struck: list[Phase],
    stack: dict[FrameType, None],
    frame: FrameType,
    landed: int,
    now: float,
) -> BaseException | None:
    """Return the next interrupt if the place is right; otherwise see to it that the thread comes to a better one."""
    thread = watch.thread
    if not strike.tries:
        strike.depth = 0
        avoid = swallower(strike.raised, strike.landed)
        if avoid is not None:
            strike.avoid.add(avoid)
    found, strike.place = strike.place, None if landed >= 0 else (id(frame), frame.f_lasti)
    strike.tries += STUCK if strike.place and strike.place == found else 1
    watch.at = now + MOMENT
    if strike.tries < PATIENCE or landed >= 0:
        if _is_between(frame, stack, landed):
            safepoints.arrange(thread.key, thread.state, stack, thread.enforcer.arrived)
            return None
    at = landed if landed >= 0 else stand(frame.f_code, frame.f_lasti)
    missed = [phase for phase in watch.phases if not _covers(place(phase, stack), frame, at)]
    around = _count_avoided(strike, stack, place(struck[0], stack), frame, at) if strike.avoid else 0
    at_border = find_borders(watch.phases, struck, stack)
    patience = PATIENCE if landed < 0 else SENT
    if (strike.tries < patience or returns(frame)) and any(phase in at_border for phase in struck):
        safepoints.withdraw(thread.key)
        return None
    if strike.tries < PATIENCE and (missed or around and not around < strike.depth):
        if safepoints.arrange(thread.key, thread.state, stack, thread.enforcer.arrived):
            return None
    if around:  # it will be swallowed, but ends what the handler guards, and so brings the thread to a better place
        strike.raised = PhaseInterrupt.of(strike.error)
        strike.depth = around
        strike.tries = 1
    else:
        safepoints.withdraw(thread.key)
        strike.next(now)
        watch.at = strike.again
    bound = bind(at_border)
    if struck[0] in missed or any(phase in struck for phase in bound):  # it may meet no exit that makes it a timeout
        strike.raised = strike.error
        watch.at = now + MOMENT
    strike.landed = landed >= 0
    for escalation in struck[0].ledger.escalations:
        escalation.struck(struck[0], stack)
    mark(struck, strike)
    for phase in reversed(missed):
        abandon(phase, "timeout")
    return strike.raised


def mark(struck: list[Phase], strike: Strike) -> None:
    """Write into the phases what ends them, whatever their blocks make of it."""
    for phase in struck:
        phase.struck = strike.error


def _cancels_main(strike: Strike, outermost: Phase, stack: dict[FrameType, None]) -> bool:
    """Cancel what an event loop runs around which these phases are, as asyncio does on Ctrl-C; tell whether it is."""
    if "asyncio" not in sys.modules:
        return False
    from .cancellation import cancel_main

    return cancel_main(strike, outermost, stack)


def _is_between(frame: FrameType, stack: dict[FrameType, None], landed: int) -> bool:
    """Tell whether an exception raised here would do harm: miss a handler, or leave somebody's work half done."""
    if frame.f_globals.get("__name__") == "contextlib":  # ExitStack, between two of its callbacks
        return True
    if landed >= 0:
        return False
    near = list(islice(stack, NEAR))
    # an error in one ends the tracing
    tracers = [python.gettrace(), python.getprofile(), *(each.f_trace for each in near)]
    codes = [getattr(getattr(each, "__func__", each), "__code__", None) for each in tracers if each is not None]
    return any(misplaced(each) or each.f_code in codes for each in near)


def _covers(block: tuple[FrameType, int] | None, frame: FrameType, at: int) -> bool:
    """Tell whether a `with` is left by its exit if an exception is raised in this frame, at this instruction."""
    if block is None or block[0] is not frame:
        return True
    handler = entry(frame.f_code, block[1])
    return handler < 0 or handler in handlers(frame.f_code, at)


def _count_avoided(
    strike: Strike, stack: dict[FrameType, None], last: tuple[FrameType, int] | None, frame: FrameType, at: int
) -> int:
    """Count the handlers which an exception raised here would meet that have swallowed one before."""
    count = 0
    for each in stack:
        code = each.f_code
        here = at if each is frame else stand(code, each.f_lasti)
        count += sum((code, handler) in strike.avoid for handler in handlers(code, here))
        if last is not None and each is last[0]:
            break
    return count
