"""Read code objects: which handlers an exception meets that is raised at an instruction, and where it is well received.

Wanted: an exception that comes from outside reaches every `try` and `with` around the place where it is raised, as if a
line of the code itself had raised it. The interpreter does not promise that. It looks for signals on the jump back of a
loop, and there

* 3.11 and 3.12 take the instruction before the head of the loop for the place (cpython#108214);
* 3.13 and later split some of these jumps from their condition, and the split part is missing in the exception table
  (cpython#130279);
* 3.9 looks also between the end of a block and its ``__exit__``, and before a handler begins (bpo-29988).

It looks behind a call, too, and where a function of Python begins: so behind the call that takes a lock, before the
`try` begins that is to give it back, and in the `finally` before that is done.

So `misplaced`, `opens` and `closes` name the places where nothing must be raised, and `landings` those where it is good
to: the head of a loop, the jump back to it, and behind a call. Everything else is left alone, because between two
instructions of a `with` or `finally` there is often no handler that the source promises. Offsets are in bytes, as in
``frame.f_lasti``.

All that differs between the interpreters in their instructions is in this file, and nowhere else: so it is a long one.
"""

from __future__ import annotations

import sys
from opcode import EXTENDED_ARG, hasjabs, hasjrel, opmap

from ..originals import python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

CALLER = -1  #: stands in the place of a handler for C code that has called the function
KEPT = 1000  # facts that are remembered of code objects
_known: dict[tuple[object, int, tuple[int, ...]], tuple[CodeType, Any]] = {}


def _remembered(read: F) -> F:
    """Have a function read a code object once, and remember that: a limit that passes often is not slow each time."""

    def known(code: CodeType, *at: int) -> Any:
        key = read, id(code), at
        found = _known.get(key)
        if found is None or found[0] is not code:
            if len(_known) >= KEPT:
                _known.clear()
            _known[key] = found = code, read(code, *at)
        return found[1]

    return known  # type: ignore[return-value]


def _named(*names: str) -> frozenset[int]:
    return frozenset(opmap[name] for name in names if name in opmap)


_CPYTHON = sys.implementation.name == "cpython"
_TABLE = hasattr(_named.__code__, "co_exceptiontable")  # from 3.11; before, handlers are blocks that the code sets up
LOSES_EXITS = _TABLE and _CPYTHON  #: the interpreter can leave a `with` without calling ``__exit__``, and go on
_HEAD_COUNTS = _TABLE and _CPYTHON and sys.version_info < (3, 13)
_GAPS = _CPYTHON and sys.version_info < (3, 10)
_UNIT = 1 if sys.version_info < (3, 10) else 2  # what the argument of a jump counts in, in bytes

# not those without interrupt: they come back from a handler that was moved away
_JUMP_BACK = frozenset(n for name, n in opmap.items() if "JUMP_BACKWARD" in name and not name.endswith("NO_INTERRUPT"))
_MAY_JUMP_BACK = _JUMP_BACK | {EXTENDED_ARG, *hasjabs}
_CONDITION = frozenset(n for name, n in opmap.items() if name.startswith("POP_JUMP"))
_CALL = frozenset(n for name, n in opmap.items() if name.startswith("CALL") and "INTRINSIC" not in name)
_FILLING = frozenset({0, EXTENDED_ARG}) | _named("NOT_TAKEN")
_WITH = _named("SETUP_WITH", "SETUP_ASYNC_WITH")
_SETUP = _WITH | _named("SETUP_FINALLY")
_POP_BLOCK = _named("POP_BLOCK")
_NOP = _named("NOP")
_AFTER_SETUP = _SETUP | _POP_BLOCK
_WITH_STARTS = opmap.get("WITH_EXCEPT_START")
_AWAITS = _named("SEND", "YIELD_VALUE")
_END_SEND = _named("END_SEND")
_AWAITED = _END_SEND or _named("JUMP_BACKWARD_NO_INTERRUPT")
_GET_AWAITABLE = opmap.get("GET_AWAITABLE")
_RESUME, _YIELD, _YIELD_FROM = opmap.get("RESUME"), opmap["YIELD_VALUE"], opmap.get("YIELD_FROM", -1)
_RETURN = _named("RETURN_VALUE", "RETURN_CONST")
_NO_NEXT = _RETURN | _named("RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_ABSOLUTE")
_BEGINS_HANDLING = _named("PUSH_EXC_INFO")
_GOES_ELSEWHERE = _NO_NEXT | _MAY_JUMP_BACK | _CONDITION | _CALL


def _argument(raw: bytes, at: int) -> int:
    value, shift = raw[at + 1], 8
    while at >= 2 and raw[at - 2] == EXTENDED_ARG:
        at -= 2
        value |= raw[at + 1] << shift
        shift += 8
    return value


def _next(raw: bytes, at: int) -> int:
    at += 2
    while raw[at : at + 1] == b"\0":  # inline caches
        at += 2
    return at


def _behind_nops(raw: bytes, at: int) -> int:
    """Return the first instruction from this one on that does something; the NOP of a `try` is in no table."""
    while at >= 0 and raw[at] in _NOP:
        at += 2
    return at


def _jump(raw: bytes, at: int) -> int:
    """Return where the instruction may jump to, -1 if it never jumps."""
    if raw[at] in _JUMP_BACK:
        return _next(raw, at) - 2 * _argument(raw, at)
    if raw[at] in hasjabs:
        return _argument(raw, at) * _UNIT
    return at + 2 + _argument(raw, at) * _UNIT if not _TABLE and raw[at] in hasjrel else -1


def _head(raw: bytes, at: int) -> int:
    """Return the head of the loop that this instruction jumps back to, -1 if it does not."""
    if at < 0 or raw[at] not in _MAY_JUMP_BACK:
        return -1
    while raw[at] == EXTENDED_ARG:
        at += 2
    head = _jump(raw, at)
    return head if head <= at else -1


# -- handlers ----------------------------------------------------------------------------------------------------------


@_remembered
def handlers(code: CodeType, at: int) -> tuple[int, ...]:
    """Return the handlers which an exception raised at this instruction meets if each raises it again."""
    if not _TABLE:
        return _blocks(code).get(at, ())
    entries = _entries(code)
    met: list[int] = []
    while True:
        handler = next((handler for start, end, handler in entries if start <= at < end), -1)
        if handler < 0 or handler in met:
            return tuple(met)
        met.append(handler)
        at = handler


@_remembered
def _entries(code: CodeType) -> list[tuple[int, int, int]]:
    """Return start, end and handler of every entry of the exception table (Objects/exception_handling_notes.txt)."""
    found = []
    entry: list[int] = []
    value = 0
    for byte in code.co_exceptiontable:
        value = value << 6 | byte & 63
        if not byte & 64:
            entry.append(2 * value)
            value = 0
            if len(entry) == 4:
                found.append((entry[0], entry[0] + entry[1], entry[2]))
                entry = []
    return found


@_remembered
def _blocks(code: CodeType) -> dict[int, tuple[int, ...]]:
    """Follow the code before 3.11 through all its jumps; return which handlers are set up at each instruction."""
    raw = code.co_code
    found: dict[int, tuple[int, ...]] = {}
    todo: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while todo:
        at, blocks = todo.pop()
        while at < len(raw) and at not in found:
            found[at] = blocks
            goal = _jump(raw, at)
            if raw[at] in _SETUP:
                todo.append((goal, blocks))
                blocks = (goal, *blocks)
            elif goal >= 0:
                todo.append((goal, blocks))
            elif raw[at] in _POP_BLOCK:
                blocks = blocks[1:]
            if raw[at] in _NO_NEXT:
                break
            at += 2
    return found


def stand(code: CodeType, at: int) -> int:
    """Return the instruction that counts for a frame that is interrupted, or calls, at this one."""
    if _TABLE or at < 0:
        head = _head(code.co_code, at) if _HEAD_COUNTS else -1
        return head - 2 if head >= 2 else at
    return at + 2 if code.co_code[at] in _AFTER_SETUP else at  # it has done its work already


@_remembered
def entry(code: CodeType, at: int) -> int:
    """Return the handler of the `with` statement that is entering its context manager at this instruction, else -1."""
    if at < 0:
        return -1
    raw = code.co_code
    if not _TABLE:
        if raw[at + 2] == _YIELD_FROM:  # suspended
            at += 2
        if raw[at] not in _WITH and raw[at + 2] in _WITH:
            at += 2  # an `async with`, while it waits
        return _jump(raw, at) if raw[at] in _WITH else -1
    while not raw[at] or at and raw[at] == _RESUME:  # in the cache of a SEND, 3.12; suspended, from 3.13
        at -= 2
    handler = next(iter(handlers(code, _awaited(raw, at))), -1)
    if handler < 0 or raw[handler + 2] != _WITH_STARTS or handler in handlers(code, at):
        return -1
    return handler


def _awaited(raw: bytes, at: int) -> int:
    """Return the instruction behind this one; where an ``__aenter__`` is awaited, the one behind that."""
    after = _next(raw, at)
    if raw[after] == _GET_AWAITABLE or raw[at] in _AWAITS:
        end = min(after + 48, len(raw))
        return next((_next(raw, here) for here in range(after, end, 2) if raw[here] in _AWAITED), after)
    return after


def inside(frame: FrameType, lasti: int) -> bool:
    """Tell whether a frame still stands in the block of the `with` that it entered at this offset.

    Where the interpreter has lost the place, the loop tells; and the end of the block still belongs to it, as the
    beginning of a `try` does, where a trace function may be called. So does the call that has entered it.
    """
    code, at = frame.f_code, frame.f_lasti
    handler = entry(code, lasti)
    if handler in handlers(code, stand(code, at)) or handler in handlers(code, _behind_nops(code.co_code, at)):
        return True
    head = _head(code.co_code, at)
    return at == lasti or head >= 0 and handler in handlers(code, head) or misplaced(frame)


def suspended(frame: FrameType) -> int:
    """Return where a frame that does not run is suspended: 1 at a `yield`, else in an `await` or `yield from`; 0 if it
    is at its end.
    """
    raw, at = frame.f_code.co_code, frame.f_lasti
    if at < 0:
        return 1
    if _RESUME is None:
        return 1 if raw[at] == _YIELD else 2 * (_YIELD_FROM in raw[at : at + 3 : 2])  # it stands before it
    if raw[at] == _YIELD:
        at = _next(raw, at)  # from 3.14 it stands there
    return raw[at + 1] & 3 if raw[at] == _RESUME else 0  # which says what it comes back from


def returns(frame: FrameType) -> bool:
    """Tell whether a frame is returning, or has done so: no error has ended it."""
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] in _RETURN


def has_called(frame: FrameType) -> bool:
    """Tell whether a frame is about to await what it has just called, and what has not begun: an ``__aexit__``, say."""
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _GET_AWAITABLE


# -- places ------------------------------------------------------------------------------------------------------------


def _split_off(code: CodeType, raw: bytes, at: int) -> bool:
    """Tell whether this jump back was split from its condition, and is missing in the exception table.

    3.15 loses the jump of the condition, too; what the condition has computed before is still there.
    """
    if not (_TABLE and _CPYTHON) or handlers(code, at):
        return False
    at -= 2
    while raw[at] in _FILLING:
        at -= 2
    return raw[at] in _CONDITION and bool(handlers(code, at) or handlers(code, at - 2))


def misplaced(frame: FrameType) -> bool:
    """Tell whether an exception raised where this frame is interrupted would miss a handler of the source."""
    code, at = frame.f_code, frame.f_lasti
    raw = code.co_code
    if _GAPS:
        trace = python.exc_info()[2]
        begins_handling = trace is not None and trace.tb_frame is frame and trace.tb_lasti == at
        return at >= 0 and raw[at] in _POP_BLOCK or begins_handling
    head = _head(raw, at) if _TABLE and _CPYTHON else -1
    if head < 0:
        return False
    return _split_off(code, raw, at) or _HEAD_COUNTS and handlers(code, head - 2)[:1] != handlers(code, at)[:1]


@_remembered
def opens(code: CodeType, at: int) -> bool:
    """Tell whether this is a call behind which a `with` or `try` begins before anything else is called."""
    return at >= 0 and _is_beside(code, at, 2)


@_remembered
def closes(code: CodeType, at: int) -> bool:
    """Tell whether this is the first call behind the end of a `with` or `try`, or in a handler."""
    return at >= 0 and _is_beside(code, at, -2)


def _is_beside(code: CodeType, at: int, step: int) -> bool:
    """Tell whether this is a call between which and the next one a handler begins, or to cover what this one is not."""
    raw = code.co_code
    while not raw[at]:  # in the cache of the call: its function runs, 3.11 and 3.12
        at -= 2
    if raw[at] not in _CALL:
        return False
    met = handlers(code, at)
    for each in range(at + step, len(raw) if step > 0 else -1, step):
        if raw[each] in _GOES_ELSEWHERE:
            return False
        if raw[each] and len(handlers(code, each)) > len(met) or raw[each] in _BEGINS_HANDLING:
            return True
    return False


@_remembered
def landings(code: CodeType) -> frozenset[int]:
    """Return the instructions at which an exception may be raised: heads of loops, jumps back, and behind calls."""
    raw = code.co_code
    found = set()
    for at in range(0, len(raw), 2):
        head = _head(raw, at) if raw[at] != EXTENDED_ARG else -1
        if head >= 0 and raw[head] not in _END_SEND:  # 3.12 jumps back into what it awaits; that is no loop
            found.add(_behind_nops(raw, head))
            if not _split_off(code, raw, at):
                found.add(at)
        elif raw[at] in _CALL:
            after = _next(raw, at)
            if raw[after] != _GET_AWAITABLE and handlers(code, at) == handlers(code, after) and not opens(code, at):
                found.add(after)
    return frozenset(found)


def swallower(error: BaseException, sent: bool) -> list[tuple[CodeType, int]]:
    """Return the innermost handler around the place where an error was last seen before it was swallowed, if it was.

    It was raised where a thread was interrupted, or where it had been ``sent``.

    Where that one only passed it on (a `finally`, a `with`), an exception raised outside of it will find the next one.
    Where there is none, C code has called this, and ignores errors (a callback of weakref, gc, ctypes): CALLER.
    """
    trace = error.__traceback__
    if trace is None:
        return []
    code = trace.tb_frame.f_code
    at = trace.tb_lasti if sent else stand(code, trace.tb_lasti)
    return [(code, next(iter(handlers(code, at)), CALLER))]
