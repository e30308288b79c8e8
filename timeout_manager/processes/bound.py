"""The trees of processes that end with this one, where it is ended from within."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ..interpreter import fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from .tree import Tree

before_the_end: list[Callable[[], object]] = []  #: what may bind others still
_bound: WeakKeyDictionary[Tree, Collection[Any]] = WeakKeyDictionary()  # with their roots, until nobody knows them


def bind(tree: Tree, roots: Collection[Any]) -> None:
    """Have a tree end with this process, until it is released."""
    _bound[tree] = roots


def release(tree: Tree) -> None:
    _bound.pop(tree, None)


def end_all() -> None:
    """Kill all of them: this process ends."""
    for call in before_the_end:
        call()
    for tree, roots in _bound.copy().items():
        tree.end(roots)


fork.in_child("bound", _bound.clear)
