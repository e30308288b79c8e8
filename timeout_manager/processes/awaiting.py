"""Run a command in a phase of a coroutine: a thread of its own waits for it, and ends it.

Time is over for it as for `command.run`. When the task is cancelled, by the phase or by others, everything that the
command has started is ended before the cancellation goes on; another one ends the grace.
"""

from __future__ import annotations

import asyncio
import subprocess
from threading import Thread

from ..errors import PhaseTimeout, message_of
from ..interpreter.turns import call_in_loop
from ..originals import uninterrupted
from . import sigchld
from .command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .command import Phases

LOOK = 0.1  # seconds until the thread knows that its command is to end


async def run(
    manager: Phases, args: Any, phase_name: str | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """See ``TimeoutManager.run_async``."""
    command = Command(args, phase_name, **options)
    try:
        with sigchld.heard():
            async with manager.timed_operation(command.name, command.timeout) as phase:
                command.prepare(phase.remaining())
                attendant = Attendant(command, phase.remaining)
                try:
                    attendant.start()
                    await attendant.talk()
                except GeneratorExit:  # nothing can be awaited any more
                    attendant.is_over = True
                    raise
                except BaseException as error:
                    if command.is_to_end(error):
                        with manager.cleanup_operation(f"end {command.name}", limit=LOOK + command.longest_end()):
                            await attendant.end()
                    raise
    except PhaseTimeout as error:
        command.explain(error)
        raise
    return command.done()


class Attendant:
    """Waits for a command in a thread, and ends it there when time is over, or when it is told to."""

    def __init__(self, command: Command, remaining: Callable[[], float | None]) -> None:
        self.command, self.remaining = command, remaining
        self.is_over = False
        self.error: BaseException | None = None
        self.thread: Thread | None = None
        self.loop = asyncio.get_running_loop()
        self.talked: asyncio.Future[None] = self.loop.create_future()  # the command has ended, or is being ended;
        self.ended: asyncio.Future[None] = self.loop.create_future()  # that is over, too

    def start(self) -> None:
        """Start the command and the thread."""
        try:
            self.command.start()
        except BaseException as error:
            if not self.command.is_to_end(error):
                raise
            self.error, self.is_over = error, True
        self._employ()

    @uninterrupted
    def _employ(self) -> None:
        """Start the thread, if that has not been done."""
        if self.thread is not None:
            return
        self.thread = Thread(target=self._attend, name=f"timeout_manager: {self.command.args!r:.50}")
        try:
            self.thread.start()
        except RuntimeError:  # no thread can be started
            self.talked.set_result(None)
            self.ended.set_result(None)
            self.command.end(0.0)
            raise

    async def talk(self) -> None:
        """Wait for the end of the command; raise what has come in between."""
        await asyncio.shield(self.talked)
        if self.error is not None:
            raise self.error

    async def end(self) -> None:
        """Have the command ended, and wait for that; a cancellation ends the grace, and goes on after it."""
        self.is_over = True
        self._employ()
        by_others: asyncio.CancelledError | None = None
        while not self.ended.done():
            try:
                await asyncio.shield(self.ended)
            except asyncio.CancelledError as error:
                self.command.tree.is_hurried = True
                by_others = by_others if message_of(error) else error
        if by_others is not None:
            raise by_others

    def _attend(self) -> None:
        try:
            self.command.talk(lambda: 0.0 if self.is_over else self.remaining(), LOOK)
        except BaseException as error:
            self.error = self.error or error  # what has kept it from being started comes first
        call_in_loop(self.loop, self.talked.set_result, None)
        try:
            if self.error is not None or self.is_over:
                self.command.end(self.command.grace)
                self.command.explain(self.error)
        except BaseException as error:
            self.error = self.error or error
        call_in_loop(self.loop, self.ended.set_result, None)
