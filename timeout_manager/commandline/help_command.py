"""The command `help`: the pages of the manual, which travel with the package."""

from __future__ import annotations

import pkgutil

from .screen import USAGE, hint, refuse, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PACKAGE = __name__.rsplit(".", 2)[0]  # __package__ is not set while 3.9 loads a module from a zip
TOPICS = {
    "unittest": "a limit for every test of a suite, in CI and elsewhere",
    "isolate": "tests in a worker process: a crash does not end the run",
    "phases": "a budget for a job of several steps, and what becomes of errors",
    "enforcement": "what can interrupt your code, and what it may do to you",
    "reports": "JSON, JUnit XML, traces and a page for a browser, with every key",
    "asyncio": "phases in coroutines",
    "diagnosis": "how to read what was running when time ran out",
    "commands": "run a command, and leave nothing of it behind",
    "children": "end the child that a phase waits for; pass the deadline on to child processes",
    "environment": "variables that change limits from outside",
    "pytest": "the pytest plug-in",
    "threads": "phases in threads, greenlets and trio tasks, and after a fork",
    "platforms": "what works where, and what was run there",
    "vendoring": "copy the package into yours",
    "migration": "coming from other tools",
    "measurements": "how often it goes wrong, what it costs, and how to measure both yourself",
    "guide.zh": "the user's guide, in Chinese",
}


def usage(program: str) -> str:
    wide = max(map(len, TOPICS))
    pages = "".join(f"  {name:{wide}}  {what}\n" for name, what in TOPICS.items())
    return f"""usage: {program} [TOPIC]

Print a page of the manual. Without a topic, print this list.

topics:
{pages}
to copy:
  {program} unittest
  {program} migration | less

Exit status: 0 if there is such a page; {USAGE} if not.
"""


def main(program: str, arguments: list[str]) -> NoReturn:
    """Print a page, or the list of them; exit with 2 if there is none of that name."""
    topic = arguments[0] if arguments else ""
    if topic in ("", "-h", "--help"):
        show(usage(program))
    if topic not in TOPICS or len(arguments) > 1:
        what = hint(topic, TOPICS) or f"; `{program}` lists them"
        refuse(f"{program}: there is no page on {' '.join(arguments)!r}{what}")
    try:
        page = pkgutil.get_data(PACKAGE, f"manual/{topic}.md")  # also from a zip
    except OSError:
        page = None
    if page is None:  # the loader of the package cannot read files, or the pages were left out of a copy
        refuse(f"{program}: this copy of the package has no manual")
    show(page.decode("utf-8"))
