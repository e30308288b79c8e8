"""POSIX's ``ps``, which knows no sessions and no starts. It is believed if it knows this process and itself."""

from __future__ import annotations

from ..originals import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    Row = tuple[int, int, int, str, str]  # of a process: its number, that of its parent, its group, state and command

PS = "ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat=", "-o", "args="
PATIENCE = 5.0  # seconds


def rows() -> list[Row]:
    """Return all processes but that of ``ps``; OSError if that cannot be known."""
    try:
        return _ask()
    except Exception as error:  # of what a test has put in the place of what it uses, too
        raise OSError(f"ps does not tell: {error!r}") from error


def _ask() -> list[Row]:
    import subprocess

    ps = subprocess.Popen(PS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
    try:
        listing = ps.communicate(timeout=PATIENCE)[0]
    finally:
        ps.kill()
        try:
            ps.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        ps.stdout.close()  # type: ignore[union-attr]
    found: dict[int, Row] = {}
    for words in (line.split(None, 4) for line in listing.splitlines()):
        if len(words) >= 4 and "".join(words[:3]).isdecimal():
            pid, parent, group = map(int, words[:3])
            found[pid] = pid, parent, group, words[3][:1], "".join(words[4:])
    us, itself = found.get(system.getpid()), found.pop(ps.pid, None)
    if us is None or itself is None or itself[1] != us[0] or us[1] != system.getppid():
        raise OSError("ps does not know this process, or there is another one of its number")
    return list(found.values())
