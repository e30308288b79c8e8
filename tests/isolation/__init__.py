"""Suites whose tests run in worker processes."""
