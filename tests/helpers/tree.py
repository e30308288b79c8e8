"""Which processes there are."""

import os
import sys

LINUX = sys.platform == "linux"


def alive(word):
    """Return the processes whose command line contains the word."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb", 0) as file:  # that of a zombie is empty
                    if word.encode() in file.read():
                        found.append(int(name))
            except OSError:
                pass
    return found


def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()
