"""What comes after interrupts: the end of the process, or of the children for which a phase was waiting."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..counting.ledger import Ledger
    from .enforcer import InterruptiblePhase, Struck
    from .position import Position


class Escalation:
    """Told of what becomes of the phases of a ledger; does nothing by itself."""

    ends_process = False

    def entered(self, phase: InterruptiblePhase, at: float) -> None:
        """The phase has begun; its time will be over at this instant."""

    def struck(self, phase: InterruptiblePhase, position: Position) -> None:
        """The phase is about to be interrupted; its thread stands there."""

    def put_off(self, phase: InterruptiblePhase, position: Position) -> None:
        """Its time is over, but where its thread stands an interrupt would do harm; it comes in a moment."""

    def left(self, phase: InterruptiblePhase, struck: Struck) -> None:
        """The phase has ended; this was raised in it."""

    def changed(self, ledger: Ledger) -> None:
        """The limits of open phases of the ledger have changed."""

    def let_pass(self, phase: InterruptiblePhase) -> None:
        """Nothing is to happen to the phase any more."""
