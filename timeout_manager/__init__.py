"""Count the time left over the named phases of a long job, and end what hangs.

>>> manager = TimeoutManager(60)
>>> with manager.timed_operation("convert"):
...     pass
>>> manager.remaining_timeout <= 60
True
"""

from .accounting import TimeoutManager
from .errors import PhaseInterrupt, PhaseTimeout
from .counting.ledger import Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .injection import create_timeout_manager as create_timeout_manager
    from .injection import with_timeout_management as with_timeout_management

__version__ = "1.1.0"
__all__ = [
    "Phase",
    "PhaseInterrupt",
    "PhaseTimeout",
    "TimeoutManager",
    "create_timeout_manager",
    "with_timeout_management",
]


def __getattr__(name: str) -> object:
    if name in ("create_timeout_manager", "with_timeout_management"):
        from . import injection

        return getattr(injection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
