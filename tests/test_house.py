"""Which room of the package may use which: only those on lower floors, and inside a room there is no circle.

All imports count: at the top of a module, inside a function, and those for annotations alone.
"""

import ast
import itertools
import os
import unittest
from glob import glob
from importlib import import_module

from . import package
from .helpers.sources import nodes, sources

FLOORS = [  # from the top down; what stands together on one floor does not know each other
    {"__main__"},
    {"commandline", "pytest_plugin"},
    {"isolation"},
    {"testing"},
    {"__init__"},
    {"enforcing", "injection"},
    {"interrupting"},
    {"diagnosis"},
    {"counting"},
    {"processes"},
    {"interpreter"},
    {"errors", "originals", "seconds"},
]
LINES = 40  # that a function has fewer of,
LONG = 250  # and a file at most, unless it says why;
LONGEST = 600  # a file of tests
FLOOR = {room: len(FLOORS) - number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports():
    """Yield each import of one module of the package by another: both names."""
    for name, found in nodes().items():
        for node in found:
            if isinstance(node, ast.ImportFrom) and node.level:
                around = name.split(".")[: -node.level]
                place = ".".join([*around, *filter(None, [node.module])])
                for alias in node.names:
                    inner = f"{place}.{alias.name}".lstrip(".")
                    named = inner, place, f"{place}.__init__".lstrip(".")
                    yield name, next(each for each in named if each in nodes())


def private(nodes):
    """Yield the private names that a module defines: of classes, functions and attributes."""
    for node in nodes:
        name = getattr(node, "name", None)
        if isinstance(getattr(node, "ctx", None), ast.Store):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
        if name and name[0] == "_" != name[1:2]:
            yield name


def is_of_its_own_kind(value):
    """Tell whether an attribute is looked up in the object itself, in its base, or in the interpreter."""
    if isinstance(value, ast.Call):
        return getattr(value.func, "id", "") == "super"
    return getattr(value, "id", "") in ("self", "cls", "python", "system", "thread")


def room(name):
    return name.partition(".")[0]


def differ_by_a_letter(name, other):
    """Tell whether one name has a letter more than another one, or one letter in the place of another one."""
    if len(name) == len(other):
        return sum(map(str.__ne__, name, other)) == 1
    short, long = sorted((name, other), key=len)
    return any(short == long[:at] + long[at + 1 :] for at in range(len(long)))


class House(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.modules = sources()
        cls.imports = sorted(set(imports()))

    def test_every_module_is_on_a_floor(self):
        self.assertEqual({room(name) for name in self.modules}, set(FLOOR))

    def test_a_room_uses_only_what_stands_below_it(self):
        wrong = [
            f"{name} imports {other}"
            for name, other in self.imports
            if room(name) != room(other) and FLOOR[room(name)] <= FLOOR[room(other)]
        ]
        self.assertEqual(wrong, [])

    def test_no_circle_in_a_room(self):
        below = {name: set() for name in self.modules}
        for name, other in self.imports:
            if room(name) == room(other):
                below[name].add(other)
        while below:
            last = {name for name, others in below.items() if not others}
            if not last:
                break
            below = {name: others - last for name, others in below.items() if name not in last}
        self.assertEqual(below, {})

    def test_functions_are_short(self):
        kinds = ast.FunctionDef, ast.AsyncFunctionDef
        functions = [(name, each) for name, found in nodes().items() for each in found]
        functions = [(name, each) for name, each in functions if isinstance(each, kinds)]
        long = [f"{name}: {each.name}" for name, each in functions if each.end_lineno - each.lineno + 1 >= LINES]
        self.assertEqual(long, [])

    def test_a_long_file_says_why_it_is_one(self):
        long = {name: tree for name, tree in self.modules.items() if tree.body and tree.body[-1].end_lineno > LONG}
        self.assertEqual([name for name, tree in long.items() if " file" not in ast.get_docstring(tree)], [])

    def test_no_two_files_have_names_that_differ_by_a_letter(self):
        names = sorted({name.rpartition(".")[2] for name in self.modules} | set(FLOOR))
        pairs = itertools.combinations(names, 2)
        self.assertEqual([pair for pair in pairs if differ_by_a_letter(*pair)], [])

    def test_every_room_has_a_folder_of_tests_and_no_file_of_them_is_long(self):
        sizes = {}
        for path in glob(os.path.join(os.path.dirname(__file__), "**", "test_*.py"), recursive=True):
            with open(path, encoding="utf-8") as file:
                sizes[os.path.relpath(path, os.path.dirname(__file__))] = len(file.readlines())
        rooms = {room(name) for name in self.modules if "." in name}
        self.assertEqual({os.path.dirname(path) for path in sizes}, rooms | {""})
        self.assertEqual([path for path, lines in sizes.items() if lines > LONGEST], [])

    def test_the_enforcers_are_classes_with_the_same_methods_in_the_same_order(self):
        choice = import_module(f"{package.__name__}.enforcing.choice")
        protocol = import_module(f"{package.__name__}.interrupting.enforcer").Enforcer
        order = ["missing", "start", "started", "arm", "wake", "send", "stop", "look"]
        for kind in choice.ALL:
            with self.subTest(kind.NAME):
                left_out = [name for name in order if getattr(kind, name) in (None, getattr(protocol, name))]
                own = [name for name in vars(kind) if name in order]
                self.assertEqual((left_out, own), ([], [name for name in order if name in own]))

    def test_the_escalations_have_the_same_methods_in_the_same_order(self):
        protocol = import_module(f"{package.__name__}.interrupting.escalation").Escalation
        order = [name for name in vars(protocol) if name[0] != "_"]
        for name in "kill_after", "kill_children":
            import_module(f"{package.__name__}.enforcing.{name}")
        for kind in protocol.__subclasses__():
            own = [name for name in vars(kind) if name[0] != "_"]
            self.assertEqual(own, [name for name in order if name in own])
        self.assertGreater(len(protocol.__subclasses__()), 1)

    def test_nobody_but_their_room_knows_one_enforcer_from_another(self):
        kinds = {name for name in self.modules if name.startswith("enforcing.by_")}
        users = {name for name, other in self.imports if other in kinds}
        self.assertEqual({name for name in users if room(name) != "enforcing"}, {"__init__"})
        self.assertFalse(users & {"enforcing.ledger", "enforcing.kill_after", "enforcing.kill_children"})

    def test_what_is_private_is_used_in_its_own_file_alone(self):
        own = {name: set(private(found)) for name, found in nodes().items()}
        wrong = set()
        for name, found in nodes().items():
            others = set().union(*own.values()) - own[name]
            for node in found:
                if isinstance(node, ast.Attribute) and node.attr in others and not is_of_its_own_kind(node.value):
                    wrong.add(f"{name}:{node.lineno} {node.attr}")
        self.assertEqual(wrong, set())

    def test_what_begins_anew_in_a_child_is_said_in_one_place(self):
        words = "attr", "id", "name", "value"  # that a node may have
        uses = {
            name
            for name, found in nodes().items()
            if any(getattr(node, word, "") == "register_at_fork" for node in found for word in words)
        }
        self.assertEqual(uses, {"interpreter.fork"})


if __name__ == "__main__":
    unittest.main()
