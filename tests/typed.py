"""What a type checker is to accept: it reads this file with the package."""

from __future__ import annotations

from . import package


@package.with_timeout_management
def marked(path: str, timeout_manager: package.TimeoutManager) -> str:
    return timeout_manager.execute_with_timeout(lambda: path, phase_name="read")


@package.with_timeout_management(timeout=30)
def limited(path: str, timeout_manager: package.TimeoutManager) -> int:
    return timeout_manager.call_with_timeout(len, path, phase_name="count")


@package.with_timeout_management(timeout=30, enforce=True)
async def awaited(path: str, timeout_manager: package.TimeoutManager) -> int:
    return await timeout_manager.call_with_timeout(asynchronous, path)


async def asynchronous(path: str) -> int:
    return len(path)


def ended(error: package.PhaseTimeout) -> list[tuple[int, str, float, str]]:
    return [(each.pid, each.command, each.age, each.signal) for each in error.killed + error.survivors]


class Suite:
    @package.with_timeout_management(timeout=30)
    def method(self, path: str, timeout_manager: package.TimeoutManager) -> int:
        with timeout_manager.timed_operation("count"):
            return len(path)


async def main() -> list[int]:
    return [len(marked("a")), limited("b") + 1, await awaited("c"), Suite().method("d") + 3]
