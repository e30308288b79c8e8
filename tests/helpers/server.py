"""The program behind `forks`: it loads modules, and then forks for each request, which says what to run, and how.

A request is a line of JSON, with the descriptors of three streams and of a pipe, which is told the number of the fork
and, later, its status. A run ends, where its status is known, as soon as its exit handlers have been called: to take
the interpreter down would copy all that is loaded.
"""

import atexit
import ctypes  # noqa: F401
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import unittest.main  # noqa: F401
from importlib import import_module

_status = None  # with which a run ends, once that is known


@atexit.register  # before all others: it is called after them
def _end(sys=sys, leave=os._exit):
    if _status is not None:
        try:
            for stream in sys.stdout, sys.stderr:
                stream.flush()
        except Exception:  # the interpreter tells of it
            return
        leave(_status)


def _serve():
    """Fork for each request, and end with whoever asks; in a fork, return the request."""
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
            _tell(waiting[child], b"%d" % status)
            os.close(waiting.pop(child))
        if connection not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        while request and not request.endswith(b"\n"):
            request += connection.recv(1 << 16)
        if not request:
            os._exit(0)
        *streams, told = descriptors
        child = os.fork()
        if not child:
            break
        _tell(told, b"%10d" % child)
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


def _tell(told, what):
    try:
        os.write(told, what)
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    del sys.path[0], __file__, __doc__
    for name in sys.argv[1:]:
        import_module(name)
    getattr(gc, "freeze", int)()  # lest the forks copy all that is loaded when they collect garbage
    module, sys.argv[1:], directory, variables = _serve()
    os.chdir(directory)
    sys.path.insert(0, os.getcwd())
    os.environ.clear()
    os.environ.update(variables)
    try:
        if module == "-c":
            sys.argv[0] = module
            exec(compile(sys.argv.pop(1), "<string>", "exec"))
        else:
            runpy._run_module_as_main(module)
        _status = 0
    except SystemExit as _ended:
        if _ended.code is None or isinstance(_ended.code, int):
            _status = (_ended.code or 0) & 255
        raise
