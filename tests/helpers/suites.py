"""Run test cases in this process."""

import unittest
from contextlib import nullcontext
from importlib import import_module
from io import StringIO
from unittest.mock import patch

from .. import package


def testing():
    return import_module(f"{package.__name__}.testing")


def run(*cases, runner=None, **options):
    """Run test cases, without a runner as if none of ours ran this; return the result and what was printed."""
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    stream = StringIO()
    with nullcontext() if runner else patch.dict(testing().limits._running, clear=True):
        result = (runner or unittest.TextTestRunner)(stream=stream, **options).run(suite)
    return result, stream.getvalue()
