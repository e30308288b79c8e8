"""Tests that wait: some run at once, each in a fork, and are told one after the other as ever."""

import gc
import json
import os
import sys
import tempfile
import time
import unittest
import warnings

from .. import IN_A_WORKER
from .forks import USUAL, connect

AT_ONCE = 5  # forks
BAD = "failures", "errors", "expectedFailures"
CAN_FORK = hasattr(os, "fork")
_loaded, _running, _over = {}, {}, {}


class InAFork(Exception):
    """What a test in a fork has said."""


class Together:
    """To be inherited before `TestCase`; where a class or module has a fixture, its tests run as ever."""

    server = USUAL

    def __init__(self, *name):
        super().__init__(*name)
        has_fixture = type(self).setUpClass.__func__ is not unittest.TestCase.setUpClass.__func__
        has_fixture |= hasattr(sys.modules[type(self).__module__], "setUpModule")
        if CAN_FORK and not (IN_A_WORKER or has_fixture or getattr(self, "__unittest_skip__", False)):
            _loaded[id(self)] = self

    def run(self, result=None):
        is_alone = id(self) in _loaded and not (_running or _over or _loaded.keys() - {id(self)})
        if result is None or is_alone or not any(id(self) in each for each in (_loaded, _running, _over)):
            _loaded.pop(id(self), None)
            return super().run(result)
        if id(self) in _loaded:
            self._begin()
        result.startTest(self)
        _advance()
        while id(self) not in _over:
            time.sleep(0.01)
            _advance()
        self._tell(result, *_over.pop(id(self)))
        result.stopTest(self)
        return result

    def _begin(self):
        """Run in a fork, which writes down what comes of it."""
        connect(self.server)
        sys.stdout.flush()
        file = tempfile.TemporaryFile("w+")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12, of a fork beside other threads
            getattr(gc, "freeze", int)()  # lest it copies all that is loaded when it collects garbage
            pid = os.fork()
        if pid:
            getattr(gc, "unfreeze", int)()
            _loaded.pop(id(self))
            _running[id(self)] = pid, file
            return
        try:
            result = unittest.TestResult()
            super().run(result)
            said = {kind: [f"{test}\n{text}" for test, text in getattr(result, kind)] for kind in BAD}
            said["skipped"] = [reason for _, reason in result.skipped]
            json.dump({**said, "unexpected": len(result.unexpectedSuccesses)}, file)
            file.flush()
        finally:
            os._exit(0)

    def _tell(self, result, status, file):
        """Tell the result what came of it."""
        with file:
            file.seek(0)
            text = file.read()
        said = json.loads(text) if text else {"errors": [f"its process ended with status {status}"]}
        for kind, add in zip(BAD, (result.addFailure, result.addError, result.addExpectedFailure)):
            for each in said.get(kind, ()):
                add(self, (InAFork, InAFork(each), None))
        for reason in said.get("skipped", ()):
            result.addSkip(self, reason)
        if said.get("unexpected"):
            result.addUnexpectedSuccess(self)
        elif not any(said.values()):
            result.addSuccess(self)


def _advance():
    """Collect the forks that have ended, and let others begin."""
    for key, (pid, file) in list(_running.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del _running[key]
            _over[key] = status, file
    while _loaded and len(_running) < AT_ONCE:
        next(iter(_loaded.values()))._begin()
