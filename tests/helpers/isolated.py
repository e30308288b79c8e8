"""Run tests by workers that are started as fast as may be: in forks that were made before."""

import os
import sys
import unittest

from .. import package
from .child import PYTHON
from .command import Directory
from .forks import CAN_FORK

LINUX = sys.platform == "linux" and hasattr(os, "memfd_create")
PASSES = """
    import unittest
    class Passes(unittest.TestCase):
        def test(self): pass
"""
IN_A_FORK = f"""
import runpy, sys
from {package.__name__}.isolation import parent
command = [*{[*PYTHON, "-m", package.__name__]}, *sys.argv[1:]]
parent.own_command = lambda: command
runpy._run_module_as_main({package.__name__!r})
"""
OF_FORKS = """
import fcntl, json, os, socket, subprocess

class Worker(subprocess.Popen):  # one of the forks that were made before the run began, while there is one
    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more):
        if not waiting:
            return super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more)
        self.pid, mouth = waiting.pop()
        streams = [own if given < 0 else given for own, given in enumerate((more[3], more[6], more[8]))]
        with mouth:
            socket.send_fds(mouth, [json.dumps([[0, 1, 2, *pass_fds], env]).encode()], [*streams, *pass_fds])
        self._child_created = True

def be_hired(ear):
    request, given, _, _ = socket.recv_fds(ear, 1 << 16, 16)
    if not request:
        os._exit(0)
    numbers, variables = json.loads(request)
    given = [fcntl.fcntl(each, fcntl.F_DUPFD, 500) for each in given]
    ear.detach()
    os.closerange(3, 500)
    for each, number in zip(given, numbers):
        os.dup2(each, number)
        os.close(each)
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)

waiting = []
for _ in range(4):
    ours, theirs = socket.socketpair()
    worker = os.fork()
    if not worker:
        for _, mouth in [*waiting, (0, ours)]:
            mouth.close()
        be_hired(theirs)
        break
    theirs.close()
    waiting.append((worker, ours))
else:
    subprocess.Popen = Worker
""" + IN_A_FORK


@unittest.skipUnless(LINUX, "there are no workers elsewhere")
class Isolated(Directory):
    code = IN_A_FORK

    def start(self, *arguments, interpreter=(), **more):
        """Run the command; in a fork, too, its workers are started as if it had been started by itself, or as forks."""
        if interpreter or not CAN_FORK:
            return super().start(*arguments, interpreter=interpreter, **more)
        return super().start(self.code, *arguments, module="-c", **more)

    def isolated(self, *arguments, **variables):
        return self.unittest("--isolate", *arguments, **variables)

    def with_each(self, *arguments, jobs="12", **variables):
        """Run the same with so many jobs each, at the same time; return what came of it, in that order."""
        started = [
            self.start("unittest", "--report", f"{each}.json", "--jobs", each, *arguments, **variables)
            for each in jobs
        ]
        return [self.end(process, report=f"{each}.json") for each, process in zip(jobs, started)]
