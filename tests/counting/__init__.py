"""Budgets, phases and their ledger: on a clock that stands still."""
