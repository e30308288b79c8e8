"""What counts as an amount of seconds, what the environment says of every limit, how seconds and names are shown."""

from __future__ import annotations

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True  # a setting in a test that is no amount is shown without our frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

INFINITY = float("inf")
LONGEST_WAIT = 2147483.0  #: what the standard library can wait for at most: a poll counts milliseconds in 31 bits
SCALE = "TIMEOUT_MANAGER_SCALE"
ENFORCE = "TIMEOUT_MANAGER_ENFORCE"
_SPACES = "\xa0\u3000"  # which are printed, whatever Python says
MECHANISMS = "timer", "signal", "thread"  #: that can be asked for by name


def amount(value: Any, parameter: str) -> float | None:
    """Return a limit in seconds: None for none (also for infinity), 0.0 for spent (also for less than nothing).

    Raise TypeError or ValueError, naming the parameter and the value, for what is not a number: NaN, a bool, a string.
    """
    if value is None:
        return None
    try:
        seconds = None if isinstance(value, (bool, str, bytes, bytearray)) else float(value)
    except OverflowError:  # an int past the largest float
        seconds = INFINITY if value > 0 else 0.0
    except (TypeError, ValueError):
        seconds = None
    if seconds is None or seconds != seconds:
        error = TypeError if seconds is None else ValueError
        raise error(f"{parameter} must be a number of seconds or None, not {value!r}")
    return None if seconds == INFINITY else max(0.0, seconds)


def scaled(value: Any, parameter: str, scale: float) -> float | None:
    """Return the limit after scaling; a scale of 0 or less switches every limit off."""
    kind = type(value)
    try:
        if kind is int or kind is float:  # as nearly always; it saves more than half of the time
            product: float = value * scale
            if 0.0 < product < INFINITY:
                return product
    except OverflowError:  # an int past the largest float
        pass
    seconds = amount(value, parameter)
    return seconds if seconds is None or scale == 1.0 else amount(seconds * scale, parameter) if scale > 0 else None


def duration(value: str, source: str) -> float:
    """Return the seconds that somebody has written: ``90``, ``1.5``, ``90s``, ``2m``, ``1h``, ``1d``.

    ValueError names the source if it is no number, less than 0 or NaN.
    """
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(value[-1:], 0)
    try:
        seconds = float(value[:-1]) * factor if factor else float(value)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{source} must be seconds like 90, 1.5, 90s, 2m, 1h or 1d, not {value!r}")
    return seconds


def variable(name: str) -> str | None:
    """Return a variable of the environment; ``os.environ`` itself takes its time to say that there is none."""
    import os

    environ: Any = os.environ
    kept = getattr(environ, "_data", None)
    return environ.get(name) if kept is None or environ.encodekey(name) in kept else None


def scale() -> float:
    """Read TIMEOUT_MANAGER_SCALE, 1.0 where it is not set; ValueError names it if it is not a finite number."""
    text = variable(SCALE)
    if text is None:
        return 1.0
    try:
        factor = float(text)
    except ValueError:
        factor = INFINITY
    if not -INFINITY < factor < INFINITY:
        raise ValueError(f"{SCALE} must be a finite number, not {text!r} (from the environment)")
    return factor


def mechanism(enforce: bool | str) -> bool | str | None:
    """Return how limits are to be enforced: False, True (the best mechanism), or one by name.

    TIMEOUT_MANAGER_ENFORCE, if set, overrides what the code asks for: off, auto, timer, signal or thread. None is off:
    time is counted, and nothing else happens.
    """
    if not isinstance(enforce, bool) and enforce not in MECHANISMS:
        raise ValueError(f'enforce must be False, True, "timer", "signal" or "thread", not {enforce!r}')
    asked = variable(ENFORCE)
    if asked is None:
        return enforce
    choices: dict[str, bool | str | None] = {"off": None, "auto": True, **{name: name for name in MECHANISMS}}
    if asked not in choices:
        raise ValueError(f"{ENFORCE} must be off, auto, timer, signal or thread, not {asked!r} (from the environment)")
    return choices[asked]


def plain(name: object) -> str:
    """Return a name as one line that keeps its width: what is not to be printed is written as in a Python string."""
    line = str(name)
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() or each in _SPACES else repr(each)[1:-1] for each in line)


def path(names: Iterable[object]) -> str:
    """Return the names of phases, the outermost first, as one line."""
    return " > ".join(map(plain, names))


def text(seconds: float | None) -> str:
    """Return seconds as a reader wants them: "90.00 s", "0.120 s", "0.035 ms", "no limit"."""
    if seconds is None or seconds == INFINITY:
        return "no limit"
    if seconds >= 0.9995 or seconds <= 0:
        return f"{seconds:.2f} s"
    return f"{seconds:.3f} s" if seconds >= 0.0009995 else f"{seconds * 1000:.3f} ms"
