"""Run modules as ``python -m`` does, and code as ``python -c``, in forks of one interpreter that has the package.

Most of a run is its start. What serves (`server`) is nobody's child, so that no test finds a child that it has not
started; it tells of the end of each fork, and ends with the tests.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

from .. import package
from .child import PYTHON, ROOT, environment

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")
LOADED = (
    *("commandline.unittest_command", "commandline.run_command", "testing.runner", "enforcing.choice"),
    *("commandline.isolated", "isolation.parent", "isolation.far", "isolation.orders")[: 4 * (sys.platform == "linux")],
)
USUAL = tuple(PYTHON), ()  # a server: its interpreter, and what it loads beside the package
STREAMS = "stdout", "stderr"
_connections = {}
_lock = threading.Lock()


def connect(server):
    """Return the connection to a server, which is started when it is first needed."""
    if server not in _connections:
        _connections[server], other = socket.socketpair()
        atexit.register(_connections[server].close)
        interpreter, more = server
        names = [*(f"{package.__name__}.{name}" for name in LOADED), *more]
        how = dict(stdin=other, stdout=subprocess.DEVNULL, env=environment(PYTHONPATH=ROOT))
        subprocess.run([*interpreter, SERVER, *names], check=True, **how)
        other.close()
    return _connections[server]


class Fork:
    """A run of a module, for tests: what `subprocess.Popen` would be with text and pipes."""

    def __init__(self, module, arguments, directory, variables, stdin=subprocess.DEVNULL, server=USUAL, in_one=False):
        self.args, self.returncode, self._readers, self._said = [module, *arguments], None, [], {}
        pipes = [os.pipe() for _ in range(4)]
        (theirs, ours), *others = pipes
        if stdin != subprocess.PIPE:
            os.close(ours)
            os.close(theirs)
            theirs, ours = os.open(os.devnull, os.O_RDONLY), None
        given = [theirs, *(writer for _, writer in others)]
        request = json.dumps([module, arguments, directory, variables]).encode() + b"\n"
        stderr = given[1] if in_one else given[2]
        with _lock:
            socket.send_fds(connect(server), [request], [*given[:2], stderr, given[3]])
        for descriptor in given:
            os.close(descriptor)
        self.stdin = None if ours is None else open(ours, "w")
        self.stdout, self.stderr = (open(reader) for reader, _ in others[:2])
        self._told = others[2][0]
        self.pid = int(os.read(self._told, 10))

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            status = int(os.read(self._told, 10))
            os.close(self._told)
            self.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.returncode

    def communicate(self, text=None, timeout=None):
        if not self._readers:
            self._readers = [threading.Thread(target=self._read, args=[name], daemon=True) for name in STREAMS]
            for each in self._readers:
                each.start()
            if self.stdin:
                with contextlib.suppress(BrokenPipeError), self.stdin:
                    self.stdin.write(text or "")
        end = None if timeout is None else time.monotonic() + timeout
        for each in self._readers:
            each.join(None if end is None else max(end - time.monotonic(), 0))
            if each.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait()
        return tuple(self._said[name] for name in STREAMS)

    def _read(self, name):
        with getattr(self, name) as stream:
            self._said[name] = stream.read()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run_code(code, *arguments, timeout=60, server=USUAL, **variables):
    """Run code as ``python -c`` does; return what came of it."""
    if not CAN_FORK:
        how = dict(capture_output=True, text=True, timeout=timeout, env=environment(**variables))
        return subprocess.run([*PYTHON, "-c", code, *arguments], **how)
    fork = Fork("-c", [code, *arguments], os.getcwd(), environment(**variables), server=server)
    stdout, stderr = fork.communicate(timeout=timeout)
    return subprocess.CompletedProcess(fork.args, fork.returncode, stdout, stderr)


def said(code, **how):
    """Run code; return what it printed, with its errors as the text of an AssertionError if it failed."""
    done = run_code(code, **how)
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
