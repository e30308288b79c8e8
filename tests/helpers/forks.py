"""Run modules as ``python -m`` does, and code as ``python -c``, in forks of one interpreter that has the package.

Most of a run is its start, and its end, which copies all that is loaded as it takes it down: a fork whose status is
known ends when its exit handlers have been called. What serves is nobody's child, so that no test finds a child that it
has not started; it tells of the end of each fork, and ends with the tests.
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
SERVER = """
import atexit, os, sys

@atexit.register  # before all others: it is called after them
def _end(sys=sys, leave=os._exit):
    if _status is not None:
        try:
            for stream in sys.stdout, sys.stderr:
                stream.flush()
        except Exception:  # the interpreter tells of it
            return
        leave(_status)  # to take the interpreter down would copy all that is loaded

import ctypes, gc, json, runpy, select, signal, socket, unittest.main
from importlib import import_module

def serve():
    connection, (rung, bell) = socket.socket(fileno=os.dup(0)), os.pipe()
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(bell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in signal.SIGINT, signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)
    waiting = {}  # for the end of a fork: who is told of it
    while True:
        ready = select.select([connection, rung], [], [])[0]
        if rung in ready:
            os.read(rung, 1 << 16)
        while waiting and rung in ready:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                break
            tell(waiting[child], b"%d" % status)
            os.close(waiting.pop(child))
        if connection not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        while request and not request.endswith(b"\\n"):
            request += connection.recv(1 << 16)
        if not request:
            os._exit(0)
        *streams, told = descriptors
        child = os.fork()
        if not child:
            break
        tell(told, b"%10d" % child)
        waiting[child] = told
        for stream in streams:
            os.close(stream)
    connection.close()
    signal.set_wakeup_fd(-1)
    for descriptor in rung, bell, told, *waiting.values():
        os.close(descriptor)
    for number in signal.SIGCHLD, signal.SIGHUP:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return json.loads(request)

def tell(told, what):
    try:
        os.write(told, what)
    except BrokenPipeError:
        pass

if os.fork():
    os._exit(0)
for name in sys.argv[1:]:
    import_module(name)
_status = None  # with which a run ends, once that is known
if hasattr(gc, "freeze"):
    gc.freeze()  # lest the forks copy all that is loaded when they collect garbage
module, sys.argv[1:], directory, variables = serve()
os.chdir(directory)
sys.path[0] = os.getcwd()
os.environ.clear()
os.environ.update(variables)
try:
    if module == "-c":
        exec(compile(sys.argv.pop(1), "<string>", "exec"))
    else:
        runpy._run_module_as_main(module)
    _status = 0
except SystemExit as _ended:
    if _ended.code is None or isinstance(_ended.code, int):
        _status = (_ended.code or 0) & 255
    raise
"""
LOADED = (
    *("commandline.unittest_command", "commandline.run_command", "testing.runner", "enforcing.choice"),
    *(("commandline.isolated", "isolation.parent", "isolation.far") if sys.platform == "linux" else ()),
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
        subprocess.run([*interpreter, "-c", SERVER, *names], check=True, **how)
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
