"""What stands in the place of an attribute of others for a while."""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MISSING: Any = object()


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have this there, where the owner takes attributes; put back what it had, unless others have replaced ours."""
    own = getattr(owner, "__dict__", {})
    before = own.get(name, _MISSING)
    try:
        setattr(owner, name, value)
    except (AttributeError, TypeError):  # the class of a test that is a function
        yield
        return
    try:
        yield
    finally:
        if vars(owner).get(name) is not value:
            pass
        elif before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
