"""The errors of the package, and the errors of others that mean the same.

Nothing is imported to recognise a timeout of ``subprocess``, ``socket``, ``asyncio`` or ``concurrent.futures``: an
error of a module that was never loaded cannot be in flight.
"""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Protocol, TypeVar

    T = TypeVar("T")

    class EndedProcess(Protocol):
        """What is known of a process that had to be ended; as text it is one line."""

        pid: int
        command: str
        """The command line, cut to a line."""
        age: float
        """The seconds that it had lived."""
        signal: str
        """The last signal that it got, as "TERM" or "KILL"."""


STATUS = 124  # of a process whose time was over, as of coreutils' timeout
LISTED = 30  # processes that a text names


class PhaseTimeout(TimeoutError):
    """The time of a phase is over. The message starts with ``Timeout exceeded after {phase} phase!``.

    With ``enforce`` it is raised inside the block, at the limit; otherwise when the block ends. It pickles and copies
    with its attributes. All times are seconds.
    """

    phase: str = ""
    """The name of the innermost phase that was running (``check_timeout``: the name that it was given)."""
    phase_path: tuple[str, ...] = ()
    """The names of all phases of that manager that were open, outermost first."""
    limited_by: str = "budget"
    """Whose limit it was: "budget", "limit" (of a phase) or "inherited" (from a parent process)."""
    limited_phase: str | None = None
    """The name of the phase whose own limit it was; None for the budget."""
    timeout: float | None = None
    """The limit that has passed, in seconds."""
    elapsed: float | None = None
    """The seconds that were used against that limit."""
    interrupted: bool = False
    """True if the block was cut short; False if it ended by itself, too late."""
    cmd: Any = None
    """The command whose time ran out, of ``run`` or of the cause; None if there was none."""
    output: Any = None
    """What the command had written, as str or bytes; None if that was not captured."""
    stderr: Any = None
    """What the command had written on stderr, as str or bytes; None if that was not captured."""
    killed: tuple[EndedProcess, ...] = ()
    """The processes that ``run`` or ``kill_children`` had to end."""
    survivors: tuple[EndedProcess, ...] = ()
    """The processes that could not be ended: they are another user's, or wait for a device."""

    owner: Any = None  # whose limit it was, for matching by identity; stays at home when the error travels,
    outermost: Any = None  # as does the outermost phase that is interrupted by it
    scene: Any = ""  # what was running; its text travels

    @property
    def diagnosis(self) -> str:
        """What was running when time ran out, and what had to be killed, as text; "" when time was only counted."""
        return "\n\n".join(filter(None, (self._told(), self.ended())))

    @diagnosis.setter
    def diagnosis(self, text: str) -> None:
        self.scene = text

    _scene = diagnosis  # its name on the way, in pickles of every version

    @property
    def stdout(self) -> Any:
        """The same as ``output``, as on ``subprocess.TimeoutExpired``."""
        return self.output

    def ended(self) -> str:
        """Return what had to be killed, and what could not be, as text."""
        parts = ("Processes that had to be killed:", self.killed), ("Processes that live on:", self.survivors)
        return "\n\n".join("\n  ".join([title, *listed(processes)]) for title, processes in parts if processes)

    def _told(self) -> str:
        try:
            return str(self.scene)
        except Exception as error:  # the timeout is what has to be told
            return f"What was running cannot be told: {error!r}"

    def again(self) -> PhaseTimeout:
        """Return the same error as it was before it was raised."""
        error = type(self)(*self.args)
        vars(error).update(vars(self))
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name not in ("owner", "outermost", "scene")}
        return type(self), self.args, {**state, "_scene": self._told()}

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        for name, value in (state or {}).items():  # that of PyPy would pass a property by
            setattr(self, name, value)


def listed(found: Sequence[T], show: Callable[[T], str] = str, most: int = LISTED) -> list[str]:
    """Return the first of many as text, and how many more there are."""
    return [*map(show, found[:most]), *([f"and {len(found) - most} more"] if len(found) > most else [])]


class PhaseInterrupt(BaseException):
    """The second and every later interrupt of a phase that swallowed the first; it leaves the block as PhaseTimeout."""

    first: PhaseTimeout | None = None  # which was swallowed

    @classmethod
    def of(cls, error: PhaseTimeout) -> PhaseInterrupt:
        interrupt = cls(str(error))
        interrupt.first = error
        return interrupt


class LetPass:
    """Stands in a phase where an error would that was raised in it: a debugger was there, so its limit is let pass."""


LET_PASS = LetPass()

# Classes of their own on some versions only: socket.timeout before 3.10, the other two before 3.11.
_TIMEOUTS = (
    ("subprocess", "TimeoutExpired"),
    ("socket", "timeout"),
    ("asyncio", "TimeoutError"),
    ("concurrent.futures", "TimeoutError"),
)
_CANCELLATIONS = (("asyncio", "CancelledError"), ("trio", "Cancelled"), ("greenlet", "GreenletExit"))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its contexts, each once: code can make a ring of them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__context__


def members(error: BaseException) -> list[BaseException]:
    """Return what a group holds; errors of other kinds may have anything by that name."""
    found = getattr(error, "exceptions", ())
    return [each for each in found if isinstance(each, BaseException)] if isinstance(found, (list, tuple)) else []


def beneath(error: BaseException | None) -> list[BaseException]:
    """Return an error with its causes, contexts and members, and theirs, each once."""
    found: dict[int, BaseException] = {}
    rest = [error]
    while rest:
        each = rest.pop()
        if each is not None and id(each) not in found:
            found[id(each)] = each
            rest += [*members(each), each.__context__, each.__cause__]
    return list(found.values())


class CancelMessage(str):
    """What a task is cancelled with when its time is over; there is a reference to it while that is in flight."""

    timeout: Callable[[], PhaseTimeout | None] = staticmethod(lambda: None)


def message_of(error: BaseException | None) -> CancelMessage | None:
    """Return ours, if a cancellation began with it; up to 3.10 every task on the way makes its own error."""
    begun = (each.args[0] for each in chain(error) if each.args)
    return next((message for message in begun if type(message) is CancelMessage), None)


def timeout_of(error: BaseException | None) -> PhaseTimeout | None:
    """Return the timeout of the phase by which a task was cancelled, if this is such a cancellation."""
    kind = getattr(modules.get("asyncio"), "CancelledError", ())
    message = message_of(error) if isinstance(error, kind) else None
    return None if message is None else message.timeout()


def is_timeout(error: BaseException) -> bool:
    """Tell whether an error says by its type that some time limit has passed."""
    return isinstance(error, TimeoutError) or _is_one_of(error, _TIMEOUTS)


def is_for_others(error: BaseException) -> bool:
    """Tell whether an error comes from outside of the block, and is meant for what is around it."""
    return isinstance(error, (KeyboardInterrupt, GeneratorExit)) or _is_one_of(error, _CANCELLATIONS)


def _is_one_of(error: BaseException, names: tuple[tuple[str, str], ...]) -> bool:
    kinds = [getattr(modules.get(module), name, None) for module, name in names]
    return any(isinstance(kind, type) and isinstance(error, kind) for kind in kinds)
