"""Limits for plain unittest suites: a runner, a mixin for test cases, a decorator for one test.

The nearest limit counts: the attribute ``timeout`` of the test method, of its class, of its module, then that of the
runner, then TIMEOUT_MANAGER_TIMEOUT. All are seconds; None and 0 mean no limit. setUp and the test share the limit;
tearDown and the cleanups share as much again; each fixture of a class or module has it for itself.
"""

from .mixin import TimeLimitMixin, time_limit
from .runner import TextTestRunner

__all__ = ["TextTestRunner", "TimeLimitMixin", "time_limit"]

__unittest = True
