"""Tests that wait: some forks run a few of them each, at once; they are told one after the other as ever."""

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

AT_ONCE = 8  # forks
SHARE = 4  # tests that a fork runs: to make one takes as long as many a test
BAD = "failures", "errors", "expectedFailures"
CAN_FORK = hasattr(os, "fork")
_loaded, _running, _over = {}, {}, {}  # tests by their ids; forks by theirs; what has come of tests


class InAFork(Exception):
    """What a test in a fork has said."""


class Together:
    """To be inherited before `TestCase`; where a class or module has a fixture, its tests run as ever."""

    server = USUAL
    is_in_a_fork = False

    def __init__(self, *name):
        super().__init__(*name)
        has_fixture = type(self).setUpClass.__func__ is not unittest.TestCase.setUpClass.__func__
        has_fixture |= hasattr(sys.modules[type(self).__module__], "setUpModule")
        if CAN_FORK and not (IN_A_WORKER or has_fixture or getattr(self, "__unittest_skip__", False)):
            _loaded[id(self)] = self

    def run(self, result=None):
        is_alone = id(self) in _loaded and not (_running or _over or _loaded.keys() - {id(self)})
        if id(self) in _loaded and not (result is None or is_alone):
            self._begin()
        elif not self.is_in_a_fork:
            _loaded.pop(id(self), None)
            return super().run(result)
        result.startTest(self)
        _advance()
        while id(self) not in _over:
            time.sleep(0.05)
            _advance()
        self._tell(result, *_over.pop(id(self)))
        result.stopTest(self)
        return result

    def _begin(self):
        """Run in a fork, with others of this class; it writes down what comes of them."""
        connect(self.server)
        sys.stdout.flush()
        file = tempfile.TemporaryFile("w+")
        others = [each for each in _loaded.values() if type(each) is type(self) and each is not self]
        tests = [self, *others[: SHARE - 1]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12, of a fork beside other threads
            getattr(gc, "freeze", int)()  # lest it copies all that is loaded when it collects garbage
            pid = os.fork()
        if pid:
            getattr(gc, "unfreeze", int)()
            for each in tests:
                del _loaded[id(each)]
                each.is_in_a_fork = True
            _running[pid] = tests, file
            return
        try:
            for each in tests:
                result = unittest.TestResult()
                super(Together, each).run(result)
                said = {kind: [f"{test}\n{text}" for test, text in getattr(result, kind)] for kind in BAD}
                said["skipped"] = [reason for _, reason in result.skipped]
                print(json.dumps({**said, "unexpected": len(result.unexpectedSuccesses)}), file=file, flush=True)
        finally:
            os._exit(0)

    def _tell(self, result, status, text):
        """Tell the result what came of it."""
        self.is_in_a_fork = False
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
    for pid, (tests, file) in list(_running.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del _running[pid]
            with file:
                file.seek(0)
                _over.update((id(test), (status, file.readline())) for test in tests)
    while _loaded and len(_running) < AT_ONCE:
        next(iter(_loaded.values()))._begin()
