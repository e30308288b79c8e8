"""Limits for unittest suites."""
