"""The package as sources, which are read and taken apart once."""

import ast
import functools
import os
from glob import glob

from .child import DIRECTORY


@functools.cache
def sources():
    """Return the modules as trees, by name: "counting.ledger", "seconds", "testing.__init__"."""
    found = {}
    for path in sorted(glob(os.path.join(DIRECTORY, "**", "*.py"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            found[os.path.relpath(path, DIRECTORY)[:-3].replace(os.sep, ".")] = ast.parse(file.read())
    return found


@functools.cache
def nodes():
    """Return all nodes of each module, by its name."""
    return {name: list(ast.walk(tree)) for name, tree in sources().items()}
