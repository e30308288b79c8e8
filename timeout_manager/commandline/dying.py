"""The end of a command by a signal, so that whoever has started it sees that."""

from __future__ import annotations

import sys
from contextlib import suppress

from ..originals import signals, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def die_of(number: int) -> NoReturn:
    """End by this signal, without a core."""
    with suppress(Exception):  # tests may leave anything there
        sys.stdout.flush()
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):  # SIGKILL and SIGSTOP have no handlers
        signals.signal(number, signals.SIG_DFL)
    system.kill(system.getpid(), number)
    sys.exit(128 + number)
