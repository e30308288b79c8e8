"""Limits for plain unittest suites: a runner, a mixin for test cases, a decorator for one test."""

from .runner import TextTestRunner, TimeLimitMixin, time_limit

__all__ = ["TextTestRunner", "TimeLimitMixin", "time_limit"]

__unittest = True
