"""The tests. To test another copy of the package, change the import of it below and nothing else."""

from os import environ

import timeout_manager as package  # noqa: F401

IN_A_WORKER = "TIMEOUT_MANAGER_JOB" in environ  # of `--jobs`, which says how many tests run at once
for name in [name for name in environ if name.startswith("TIMEOUT_MANAGER_")]:
    del environ[name]  # a scale or a deadline meant for other suites would bend the figures of this one
