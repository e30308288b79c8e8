"""The errors of the package, and the errors of others that mean the same.

Nothing is imported to recognise a timeout of ``subprocess``, ``socket``, ``asyncio`` or ``concurrent.futures``: an
error of a module that was never loaded cannot be in flight.
"""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class PhaseTimeout(TimeoutError):
    """Time is over for a phase; the message starts with ``Timeout exceeded after {phase} phase!``.

    It pickles and copies with its attributes. All times are seconds.
    """

    phase: str = ""  #: the innermost phase that was running (``check_timeout``: the name that it was given)
    phase_path: tuple[str, ...] = ()  #: the open phases of that manager, outermost first
    limited_by: str = "budget"  #: "budget", "limit" (of a phase) or "inherited" (from a parent process)
    limited_phase: str | None = None  #: the phase whose own limit it was; None for the budget
    timeout: float | None = None  #: that limit
    elapsed: float | None = None  #: the time used against it
    interrupted: bool = False  #: True: the block was cut short; False: it came back late
    cmd: Any = None  #: the command that time ran out for, and what it had written: of ``run``, or of the cause
    output: Any = None
    stderr: Any = None
    killed: tuple[Any, ...] = ()  #: what ``run`` had to end: ``pid``, ``command``, ``age``, and the last ``signal``

    _owner: Any = None  # whose limit it was, for matching by identity; stays at home when the error travels
    _scene: Any = ""  # what was running

    @property
    def diagnosis(self) -> str:
        """What was running when time ran out, and what had to be killed, as text; "" when time was only counted."""
        killed = ["Processes that had to be killed:", *(f"  {process}" for process in self.killed)]
        return "\n\n".join(filter(None, (self._told(), "\n".join(killed) if self.killed else "")))

    @diagnosis.setter
    def diagnosis(self, text: str) -> None:
        self._scene = text

    @property
    def stdout(self) -> Any:
        """The same as ``output``, as on ``subprocess.TimeoutExpired``."""
        return self.output

    def _told(self) -> str:
        try:
            return str(self._scene)
        except Exception as error:  # the timeout is what has to be told
            return f"What was running cannot be told: {error!r}"

    def _again(self) -> PhaseTimeout:
        """Return the same error as it was before it was raised."""
        error = type(self)(*self.args)
        vars(error).update(vars(self))
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name != "_owner"}
        return type(self), self.args, {**state, "_scene": self._told()}


class PhaseInterrupt(BaseException):
    """The second and every later interrupt of a phase that swallowed the first; it leaves the block as PhaseTimeout."""


# Classes of their own on some versions only: socket.timeout before 3.10, the other two before 3.11.
_TIMEOUTS = (
    ("subprocess", "TimeoutExpired"),
    ("socket", "timeout"),
    ("asyncio", "TimeoutError"),
    ("concurrent.futures", "TimeoutError"),
)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its contexts, each once: code can make a ring of them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__context__


def is_timeout(error: BaseException) -> bool:
    """Tell whether an error says by its type that some time limit has passed."""
    if isinstance(error, TimeoutError):
        return True
    for module, name in _TIMEOUTS:
        kind = getattr(modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return True
    return False


LET_PASS = PhaseTimeout("a debugger was there")  # stands in a phase whose limit was let pass
