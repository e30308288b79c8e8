"""How a worker tells its parent what it is at, and gets its orders, whatever code under test does to its descriptors.

Messages are sent together, a line of JSON behind a token that nobody else knows and a number: the rest of what comes
through the pipe is noise of tests. A line that an interrupt has torn is sent once more. Before each use a descriptor is
looked at; if it has been closed, or is another file by now, the end of the parent is opened in its place, through
``/proc``. A process that a test has forked has none of this: it says nothing, and ends where it comes back to us.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec
from struct import Struct

from ..interpreter.descriptor import Descriptor
from ..interpreter.fork import in_child
from ..originals import system, thread, uninterrupted

try:
    import fcntl
except ImportError:  # not Unix: there are no workers there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VARIABLE = "TIMEOUT_MANAGER_WORKER"  # has the role of a worker
HASHES = "PYTHONHASHSEED"  # is the same for all of them
RETURNED = 70  # exit status of a forked process that comes back to the runner
PLACE = Struct("QQ")  # of an order in the book: where it begins, and its size; what is so small comes in one piece
ABOVE = 1000  # where descriptors are out of the way of tests, if there may be so many


def _made_for_us(name: str) -> Any:
    """Return a module of Python that nobody else has: tests may replace whatever is in the one that others use."""
    spec: Any = find_spec(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


encode = _made_for_us("json.encoder").JSONEncoder(default=str).encode  # a reason may be an object
decode = _made_for_us("json.decoder").JSONDecoder().decode


class Shared(Descriptor):
    """A pipe or file of the parent's; `number` is that of a descriptor of the parent's, to open it anew."""

    def __init__(self, descriptor: int, parent: int, number: int, flags: int) -> None:
        super().__init__(f"/proc/{parent}/fd/{number}", flags, _out_of_the_way(descriptor))

    def _open(self) -> int:
        return _out_of_the_way(super()._open())


def _out_of_the_way(descriptor: int) -> int:
    """Move a descriptor to a high number, where there is room; programs that are started do not get it."""
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE)
    except OSError:
        system.set_inheritable(descriptor, False)
        return descriptor
    system.close(descriptor)
    return moved


class Channel:
    """The end of a worker; `role` is what it was started with."""

    def __init__(self, role: dict[str, Any]) -> None:
        parent = system.getppid()
        ends = {"out": system.O_WRONLY, "orders": system.O_RDONLY, "book": system.O_RDONLY, "words": system.O_RDWR}
        self._ends = {name: Shared(role[name][0], parent, role[name][1], flags) for name, flags in ends.items()}
        self._token: str = role["token"]
        self._messages: list[Any] = []
        self._line = b""  # which has not been sent yet
        self._number = 0
        self.lock = thread.RLock()  # a suite may run tests in threads
        self._process = system.getpid()
        in_child("channel", self._forked)

    @property
    def words(self) -> Shared:
        """The file for last words: what the interpreter says when it dies."""
        return self._ends["words"]

    def say(self, *message: Any, flush: bool = False) -> None:
        """Tell this, by and by; at once where it is to be flushed."""
        self._messages.append(message)
        if flush:
            self.flush()

    @uninterrupted
    def flush(self) -> None:
        if self.is_foreign():
            return
        with self.lock:
            said = self._messages[:]
            if said:
                count, number = len(said), self._number + 1
                line = self._line + f"\n{self._token} {number} {encode(said)}\n".encode()
                self._line, self._number, self._messages[:count] = line, number, ()  # no Ctrl-C comes between these
            data = memoryview(self._line)
            try:
                while data:
                    data = data[self._use("out", system.write, data) :]
            except OSError:  # there is no parent, or no way to it: what happens here would never be known
                system._exit(RETURNED)
            self._line = b""

    def read(self) -> Any:
        """Wait for an order; None if there is nobody to give one. KeyboardInterrupt may lose one, but no part of it."""
        try:
            place = self._use("orders", system.read, PLACE.size)
            return self.look_up(*PLACE.unpack(place)) if place else None
        except OSError:
            return None

    def look_up(self, begin: int, size: int) -> Any:
        """Return what the parent has written there."""
        data = b""
        while len(data) < size:
            more = system.pread(self._ends["book"].number(), size - len(data), begin + len(data))
            if not more:
                raise OSError("the book of orders is torn")
            data += more
        return decode(data.decode())

    def _use(self, name: str, function: Callable[[int, Any], Any], what: Any) -> Any:
        """Read from an end, or write to it; wait where a test has let nothing wait."""
        number = self._ends[name].number()
        try:
            return function(number, what)
        except BlockingIOError:
            system.set_blocking(number, True)
            return function(number, what)

    def is_foreign(self) -> bool:
        """Tell whether this is a process that a test has forked."""
        return system.getpid() != self._process

    def _forked(self) -> None:
        for each in self._ends.values():
            each.close()
