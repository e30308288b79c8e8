"""Run test cases in this process."""

import unittest
from importlib import import_module
from io import StringIO

from .. import package


def testing():
    return import_module(f"{package.__name__}.testing")


def run(*cases, runner=None, **options):
    """Run test cases; return the result and what was printed."""
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    stream = StringIO()
    return (runner or unittest.TextTestRunner)(stream=stream, **options).run(suite), stream.getvalue()
