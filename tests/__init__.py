"""The tests; this line says which copy of the package is under test."""

import timeout_manager as package  # noqa: F401
