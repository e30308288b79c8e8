"""A loop that steps over its end."""

from .. import package


def count_to(end):
    number = 0
    while number != end: number += 3  # noqa: E701


manager = package.TimeoutManager(60, enforce=True)
try:
    with manager.timed_operation("count", limit=1.2):
        count_to(100)
except package.PhaseTimeout as error:
    print(error)
    print(error.diagnosis)
