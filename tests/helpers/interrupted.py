"""A phase that is interrupted, and its error."""

import time

from .. import package

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager


def hang():
    time.sleep(60)


def interrupted(enforce=True, body=hang, limit=0.1):
    """Return the error of a phase whose body hangs."""
    try:
        with TimeoutManager(limit, enforce=enforce).timed_operation("phase"):
            body()
    except PhaseTimeout as error:
        return error
