"""Load the tests of a unittest run under limits: a module that hangs while it is imported is a timeout of its own."""

from __future__ import annotations

import os
import unittest
from contextlib import nullcontext

from ..errors import PhaseTimeout
from ..interpreter.frames import is_of_package
from ..originals import clock, python
from .entry import Entry
from .part import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .limits import Limits

__tracebackhide__ = True  # pytest leaves our frames out of its tracebacks
__unittest = True


class ImportTimeout(unittest.TestCase):
    """Stands for the tests of a module that was not loaded in time."""

    def __init__(self, entry: Entry, error: BaseException) -> None:
        super().__init__()
        self.entry = entry
        self.error = error

    def runTest(self) -> None:
        raise self.error

    def id(self) -> str:
        return f"import {self.entry.name}"

    __str__ = id


class TestLoader(unittest.TestLoader):
    """A loader that gives every module the limit of a test to be imported, and goes on with the next one."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._open: list[Entry] = []  # a load_tests function loads others
        self._late: list[ImportTimeout] = []
        self._interrupt: BaseException | None = None

    @property
    def suiteClass(self) -> type[unittest.TestSuite]:  # type: ignore[override]
        """What suites are made of. unittest asks for it before it tells of an error: our frames are gone by then."""
        _remove_frames(python.exc_info()[1])
        return unittest.TestSuite

    def loadTestsFromName(self, name: str, module: Any = None) -> unittest.TestSuite:
        return self._suite("import", name, super().loadTestsFromName, name, module)

    def loadTestsFromModule(self, module: Any, *args: Any, **kwargs: Any) -> unittest.TestSuite:
        load = super().loadTestsFromModule
        if not hasattr(module, "load_tests"):
            return load(module, *args, **kwargs)
        return self._suite("load_tests", module.__name__, load, module, *args, **kwargs)

    def discover(self, start_dir: str, *args: Any, **kwargs: Any) -> unittest.TestSuite:
        discover = super().discover
        if os.path.isdir(start_dir):
            return discover(start_dir, *args, **kwargs)
        return self._suite("import", start_dir, discover, start_dir, *args, **kwargs)  # it imports that by itself

    def _get_module_from_name(self, name: str) -> Any:
        return self._limited("import", name, super()._get_module_from_name, name)  # type: ignore[misc]

    def _find_test_path(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._find_test_path(*args, **kwargs)  # type: ignore[misc]
        if self._interrupt is not None:
            raise self._interrupt
        if self._late:  # unittest has made an import error of it
            self.errors.pop()
            return self.suiteClass([self._late.pop()]), False
        return found

    def _suite(self, part: str, name: str, load: Callable[..., Any], *args: Any, **kwargs: Any) -> unittest.TestSuite:
        try:
            return self._limited(part, name, load, *args, **kwargs)  # type: ignore[no-any-return]
        except PhaseTimeout:
            if not self._late:
                raise
            return self.suiteClass([self._late.pop()])
        except SystemExit as error:
            stand_in = self._limits.listener.stand_in(name, error)
            if stand_in is None:
                raise
            return self.suiteClass([stand_in])

    def _limited(self, part: str, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._open[-1].groups[0].aside() if self._open else nullcontext():
            return self._load(part, name, function, *args, **kwargs)

    def _load(self, part: str, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        entry = Entry("import", name)
        listener = self._limits.listener
        stand_in = listener.stand_in(name)
        if stand_in is None and self._limits.spent():
            stand_in = ImportTimeout(entry, PhaseTimeout("the total is spent"))  # it will not be run
        if stand_in is not None:
            self._late.append(stand_in)
            raise stand_in.error
        group = Group(self._limits, name, self._limits.timeout)
        entry.groups.append(group)
        self._open.append(entry)
        listener.running(entry)
        try:
            return group.call(part, function, *args, **kwargs)
        except BaseException as ended:
            if entry.late:
                self._late.append(ImportTimeout(entry, ended))
            elif isinstance(ended, KeyboardInterrupt):
                self._interrupt = ended
            raise
        finally:
            entry.elapsed = clock.monotonic() - entry.began
            self._open.pop()
            if not entry.late:
                entry.outcome = "passed" if python.exc_info()[1] is None else "error"
                listener.ended(entry)
            elif not self._open:
                listener.idle()
            for outer in self._open[-1:]:
                listener.running(outer)


def _remove_frames(error: BaseException | None) -> None:
    """Take our frames out of the traceback of an error that they have handed on."""
    trace = None if error is None else error.__traceback__
    while trace is not None:
        while trace.tb_next is not None and is_of_package(trace.tb_next.tb_frame):
            trace.tb_next = trace.tb_next.tb_next
        trace = trace.tb_next
