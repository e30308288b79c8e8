"""A job of four commands under one budget: ``python -m tests.example`` runs it and prints the report."""

import subprocess
import sys

from timeout_manager import PhaseTimeout, TimeoutManager


def main() -> None:
    manager = TimeoutManager(1.0)
    try:
        for phase, seconds in (("convert", 0.1), ("build", 0.2), ("run", 30), ("summary", 0.1)):
            with manager.timed_operation(phase):
                command = [sys.executable, "-c", f"import time; time.sleep({seconds})"]
                subprocess.check_call(command, timeout=manager.remaining_timeout)
    except PhaseTimeout as error:
        print(error)
    print(manager.report())


if __name__ == "__main__":
    main()
