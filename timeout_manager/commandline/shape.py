"""The shape of a report of `unittest`, as far as somebody relies on it: each key, and what its value must be."""

from __future__ import annotations

from reprlib import repr as brief

from ..testing.report_files import OUTCOMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST = 1e300  # no number is as large: sums of them are to be numbers, too


class Seconds(float):
    """Stands for a number that is not less than 0."""


# A type stands for a value of it, a tuple for one of these values, a list for a list of what it has, a dictionary for
# an object with these keys; one with a question mark may be null, or not be there.
_PHASE = {"name": str, "outcome": str, "started": float, "elapsed": Seconds, "limit?": Seconds, "group": int}
_ENTRY = {
    **{"id": str, "kind": ("test", "fixture", "import"), "outcome": OUTCOMES, "started": float, "elapsed": Seconds},
    **{"phases": [_PHASE], "text": str, "diagnosis": str},
}
_SHARD = {"index": int, "total": int, "tests": int, "of": int}
REPORT = {"format": int, "tests": [_ENTRY], "not run?": [str], "shard?": _SHARD}
_NUMBERS = {int: "a whole number", float: "a number", Seconds: "seconds"}
_NAMES = {str: "a text", list: "a list", dict: "an object", **_NUMBERS}


def check(value: Any, shape: Any, where: str) -> None:
    """ValueError, beginning with `where`, if this has not that shape."""
    kind = shape if isinstance(shape, type) else type(shape)
    if kind is tuple:
        good, wanted = value in shape, "one of " + ", ".join(shape)
    elif issubclass(kind, float):
        least = 0.0 if kind is Seconds else -MOST
        good, wanted = type(value) in (int, float) and least <= value < MOST, _NAMES[kind]
    else:
        good, wanted = type(value) is kind, _NAMES[kind]
    if not good:
        raise ValueError(f"{where} must be {wanted}, not {brief(value)}")
    if kind is list:
        for number, each in enumerate(value):
            check(each, shape[0], f"{where}[{number}]")
    elif kind is dict:
        for key, inner in shape.items():
            name = key.rstrip("?")
            told = value.get(name)
            if told is not None or key == name:
                check(told, inner, f'{where} "{name}"')
