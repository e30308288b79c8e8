"""What is raised in a thread whose phase is over: when, where, and how often.

Whatever fires, a signal or another thread, it is the watched thread itself that calls `look`. Since only this thread
enters and leaves its phases, none of this needs a lock. Four things keep an interrupt inside its block.

* Code that enters or leaves a phase is never interrupted. Its functions say so (`uninterrupted`), those of another copy
  of the package, too; the look is put off by a moment.
* Only phases count whose block the thread is in (`whereabouts`).
* Where the exception would miss a `try` or `with` of the source, or come into an ``__enter__`` or ``__exit__``, the
  thread is sent on to a better place (`harm`), which is never far (`safepoints`). A loop without one is left without
  its ``__exit__``, so its phase is closed before.
* What is raised in a phase is written into it: it ends in that error whatever the block makes of it.

Where the thread waits in an event loop, what that runs is cancelled first, as asyncio does it on Ctrl-C.

An interrupt that is swallowed comes again, out of reach of what has swallowed it: a handler, or C code that calls back
and ignores errors. So an endless loop around such a thing ends.
"""

from __future__ import annotations

from ..counting.verdict import is_debugged, timeout_in
from ..diagnosis.snapshot import Scene
from ..errors import LET_PASS, PhaseInterrupt
from ..interpreter.bytecode import CALLER, entry, handlers, returns, stand, swallower
from ..interpreter.safepoints import guarded
from .cancellation import cancel_main
from .enforcer import MOMENT, Enforcer
from .expiry import LAST, Expiry
from .harm import PATIENCE, does_harm
from .position import Position
from .whereabouts import abandon, bind, find_borders, next_look, place, whereabouts

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from ..counting.ledger import Ledger, Limit
    from .enforcer import InterruptiblePhase as Phase
    from .whereabouts import Place

BURST = 10  # places where it would do harm, or be swallowed, that count for one; harmful ones are taken in bursts
STUCK = 20  # how many of them it counts for when a thread is found where it was found before
SENT = 20  # how many of them are passed over at the border of a block by a thread that was sent there: it takes longer


def look(enforcer: Enforcer, frame: FrameType, sent_to: int = -1) -> BaseException | None:
    """Return what is to be raised in the calling thread, if anything; set when to look again.

    The thread stands at this frame. It has been sent to this instruction, or was interrupted there (-1).
    """
    position = Position(frame, sent_to)
    enforcer.stale = False
    enforcer.at = position.now + MOMENT
    if any(map(guarded, position.stack)):
        return None
    error = seize(enforcer, position)
    if not (enforcer.expiry and enforcer.expiry.tries):
        for seize_in_loop in enforcer.loops:
            error = error or seize_in_loop(position)
    return error


def seize(enforcer: Enforcer, position: Position) -> BaseException | None:
    """Return what is to be raised, if anything, for the phases of this enforcer; set when to look at it again."""
    now = position.now
    phases, elsewhere = whereabouts(enforcer, position.stack)
    enforcer.at = next_look(elsewhere, now)
    due = find(enforcer, phases, position)
    if due is None:
        enforcer.thread.call_off()
        return None
    expiry, struck = due
    if not expiry.hits and enforcer is enforcer.thread and cancel_main(expiry, struck[0], position.stack):
        expiry.next(now)
        enforcer.at = expiry.again = now + LAST
        mark(struck, expiry)
        return None
    return _raise(enforcer, expiry, struck, position)


def find(
    enforcer: Enforcer, phases: list[Phase], position: Position, like: Scene | None = None
) -> tuple[Expiry, list[Phase]] | None:
    """Return the limit to interrupt for now, and the phases that it binds; set when to look again.

    ``phases`` are those in which the thread or task is that stands there; what is around it is as in ``like``.
    """
    now = position.now
    over, bound = _over(enforcer, phases, now)
    excused, enforcer.excused = enforcer.excused, ""
    if over is None:
        enforcer.expiry = None
        enforcer.looked = now
        return None
    struck = [phase for phase in bound if phase.ledger is bound[0].ledger]
    last = expiry = enforcer.expiry
    if expiry is None or expiry.over is not over:
        if is_debugged(struck[-1], excused):
            _let_pass(struck)
            enforcer.at = now
            return None
        error = timeout_in(struck[-1], over, now)
        error.interrupted = True
        error.outermost = struck[0]
        task = enforcer.key if enforcer.OF_TASKS else None
        seen = [each for each in enforcer.seen if each[0] >= struck[-1].started]
        due = now + struck[-1].ledger.left_of(over, now)
        error.scene = Scene(position.frame, task, struck, seen, like, max(due, enforcer.looked))
        enforcer.expiry = expiry = Expiry(over, error)
    if last is not None and last.hits and last.is_handled():
        expiry.again = last.hit + LAST
    if now < expiry.again:
        enforcer.at = expiry.again
        expiry.tries = 0
        return None
    return expiry, struck


def _over(enforcer: Enforcer, phases: list[Phase], now: float) -> tuple[Limit | None, list[Phase]]:
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
            rest = ledger.left_of(limit, now)
            if rest <= 0.0:
                return limit, phases[index:]
            enforcer.at = min(enforcer.at, now + rest)
    return None, []


def _let_pass(phases: list[Phase]) -> None:
    """Leave these phases alone for good: neither interrupt nor kill."""
    for phase in phases:
        phase.struck = LET_PASS
        for escalation in phase.ledger.escalations:
            escalation.let_pass(phase)


def _raise(enforcer: Enforcer, expiry: Expiry, struck: list[Phase], position: Position) -> BaseException | None:
    """Return the next interrupt if the place is right; otherwise see to it that the thread comes to a better one."""
    thread, frame, stack, sent_to = enforcer.thread, position.frame, position.stack, position.sent_to
    enforcer.at = position.now + MOMENT
    if not expiry.tries:
        expiry.depth = 0
        expiry.avoid.update(swallower(expiry.raised, expiry.sent))
    at = sent_to if sent_to >= 0 else stand(frame.f_code, frame.f_lasti)
    harm = does_harm(position, block := place(struck[0], stack), expiry.tries)
    around = _count_avoided(expiry, position, block, at) if expiry.avoid else 0
    _count_try(expiry, position, 1 / BURST if harm or around else 1)
    if harm:
        _pass_over(expiry, struck[0], thread, position)
        return None
    missed = [phase for phase in enforcer.phases if not _covers(place(phase, stack), frame, at)]
    at_border = find_borders(enforcer.phases, struck, stack)
    patience = PATIENCE if sent_to < 0 else SENT
    if (expiry.tries < patience or returns(frame)) and any(phase in at_border for phase in struck):
        thread.call_off()
        return None
    if expiry.tries < PATIENCE and (missed or around and not around < expiry.depth):
        if thread.send(position):
            return None
        around = 0  # nothing leads out of reach here
    if around:  # it will be swallowed, but ends what the handler guards, and so brings the thread to a better place
        expiry.raised = PhaseInterrupt.of(expiry.error)
        expiry.depth = around
        expiry.tries = 1
    else:
        thread.call_off()
        expiry.next(position.now)
        enforcer.at = expiry.again
    bound = bind(at_border)
    if struck[0] in missed or any(phase in struck for phase in bound):  # it may meet no exit that makes it a timeout
        expiry.raised = expiry.error
        enforcer.at = position.now + MOMENT
    expiry.sent = sent_to >= 0
    _strike(expiry, struck, missed, position)
    return expiry.raised


def _strike(expiry: Expiry, struck: list[Phase], missed: list[Phase], position: Position) -> None:
    """Have phases end in what is about to be raised, and close those whose exit that misses."""
    for escalation in struck[0].ledger.escalations:
        escalation.struck(struck[0], position)
    mark(struck, expiry)
    for phase in reversed(missed):
        abandon(phase, "timeout")


def _count_try(expiry: Expiry, position: Position, weight: float) -> None:
    """Count one more place that is looked at, for many where the thread is found where it was found before."""
    frame, found = position.frame, expiry.place
    expiry.place = None if position.sent_to >= 0 else (id(frame), frame.f_lasti)
    expiry.tries += STUCK if expiry.place and expiry.place == found else weight


def _pass_over(expiry: Expiry, outermost: Phase, thread: Enforcer, position: Position) -> None:
    """Send the thread on to a better place, or after a burst of bad ones leave it alone for a moment.

    In between it gets something done. So an ``__exit__`` that goes through a loop is finished, too.
    """
    for escalation in outermost.ledger.escalations:
        escalation.put_off(outermost, position)
    expiry.passed += 1
    if expiry.passed % BURST == 0:
        thread.call_off()
    else:
        thread.send(position)


def mark(struck: list[Phase], expiry: Expiry) -> None:
    """Write into the phases what ends them, whatever their blocks make of it."""
    for phase in struck:
        phase.struck = expiry.error


def _covers(block: Place | None, frame: FrameType, at: int) -> bool:
    """Tell whether a `with` is left by its exit if an exception is raised in this frame, at this instruction."""
    if block is None or block[0] is not frame:
        return True
    handler = entry(frame.f_code, block[1])
    return handler < 0 or handler in handlers(frame.f_code, at)


def _count_avoided(expiry: Expiry, position: Position, block: Place | None, at: int) -> int:
    """Count what an exception raised here would meet that has swallowed one before: handlers, callers in C."""
    count = 0
    for each in position.stack:
        code = each.f_code
        here = at if each is position.frame else stand(code, each.f_lasti)
        count += sum((code, handler) in expiry.avoid for handler in handlers(code, here))
        if block is not None and each is block[0]:
            break
        count += (code, CALLER) in expiry.avoid
    return count
