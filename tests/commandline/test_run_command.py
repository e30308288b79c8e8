"""``python -m timeout_manager run``: the habits of coreutils' ``timeout``, and nothing left behind."""

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import unittest
from unittest import mock

from .. import package
from ..helpers.child import PYTHON, ROOT, at_once, environment, hear, python
from ..helpers.command import Directory

# What both do with the same command line; the exit status is that of coreutils 9.1.
LINES = {
    "5 true": 0,
    "5 false": 1,
    "5 sh -c 'exit 7'": 7,
    "0.2 sleep 5": 124,
    "0.2s sleep 5": 124,
    "0.004m sleep 5": 124,
    "0 true": 0,
    "-s KILL 0.2 sleep 5": 137,
    "-s 9 0.2 sleep 5": 137,
    "--signal=INT 0.2 sleep 5": 124,
    "-k 0.2 0.6 sh -c 'trap \"\" TERM; sleep 1; sleep 5'": 137,
    "-k5 0.2 sleep 5": 124,
    "--preserve-status 0.2 sleep 5": 143,
    "--preserve-status 0.6 sh -c 'trap \"exit 9\" TERM; sleep 1; sleep 1'": 9,
    "--foreground 0.2 sleep 5": 124,
    "-v 0.2 sleep 5": 124,
    "5 /no/such/command": 127,
    "5 /etc/passwd": 126,
    "5 /": 126,
    "5 ''": 127,
    "five true": 125,
    "-1 true": 125,
    "5": 125,
    "-s NONSENSE 5 true": 125,
    "-s 99 5 true": 125,
    "-s 0 0.2 sleep 0.5": 124,
    "-v -s 40 0.2 sleep 5": 124,
    "--nonsense 5 true": 125,
    "5 sh -c 'kill -TERM $$'": 143,
    "5 sh -c 'cat; exit 3'": 3,
}


def status(command):
    """Return the exit status as a shell sees it."""
    line = f"{command} </dev/null >/dev/null 2>&1; exit $?"
    return subprocess.run(["bash", "-c", line], stderr=subprocess.DEVNULL, timeout=60).returncode


@unittest.skipUnless(os.name == "posix", "the comparison is with a command of POSIX systems")
class Habits(Directory):
    def test_exit_status(self):
        def ours(line):
            status = self.end(self.start("run", *shlex.split(line))).status
            return status if status >= 0 else 128 - status

        self.assertEqual(dict(zip(LINES, at_once(ours, LINES))), LINES)

    def test_the_same_as_of_the_real_one(self):
        real = shutil.which("timeout")
        version = subprocess.run([real, "--version"], stdout=-1, text=True).stdout if real else ""
        if "coreutils" not in version:
            self.skipTest("no timeout of coreutils here")
        self.assertEqual(dict(zip(LINES, at_once(status, [f"{real} {line}" for line in LINES]))), LINES)

    def environment(self):
        return mock.patch.dict(os.environ, environment(PYTHONPATH=ROOT), clear=True)

    def go(self, *arguments, text=None, **more):
        return self.end(self.start("run", *arguments, stdin=subprocess.PIPE, **more), text)

    def assert_gone(self, word):
        if shutil.which("pgrep"):
            self.assertEqual(subprocess.run(["pgrep", "-f", word], stdout=-1, text=True).stdout, "")

    def test_input_and_output_pass(self):
        ran = self.go("5", "sh", "-c", "cat; echo err >&2", text="said\n")
        self.assertEqual((ran.stdout, ran.stderr, ran.status), ("said\n", "err\n", 0))

    def test_nothing_is_left(self):
        word = f"{os.getpid()}{time.monotonic_ns()}"
        ran = self.go("-v", "-k", "0.3", "0.5", "bash", "-c", f"(setsid sleep 60.{word} &) ; sleep 60.{word} & wait")
        self.assertEqual(ran.status, 124)
        self.assertRegex(ran.stderr, rf"run: sending signal TERM to \d+ bash .*sleep 60\.{word}")
        time.sleep(0.1)
        self.assert_gone(f"60.{word}")

    def test_all_of_it_has_the_rest_of_the_grace(self):
        script = "(trap 'sleep 0.5; echo saved; exit' TERM; sleep 60 & wait) & sleep 60; :"
        ran = self.go("-k", "20", "2", "sh", "-c", script)
        self.assertEqual((ran.status, ran.stdout), (124, "saved\n"))

    def test_signals_do_not_put_the_end_off(self):
        script = "trap '' TERM; echo there; while :; do sleep 1; done"
        process = self.start("run", "-k", "1", "60", "bash", "-c", script)
        self.assertEqual(process.stdout.readline(), "there\n")
        began = time.monotonic()
        while process.poll() is None and time.monotonic() < began + 15:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        self.assertEqual(self.end(process).status, -signal.SIGKILL)

    def test_who_is_born_while_it_looks_gets_the_signal(self):
        word = f"60.{os.getpid()}{time.monotonic_ns()}"
        ran = self.go("0.5", "bash", "-c", f"while :; do sleep {word} & sleep 0.004; done")
        self.assertEqual(ran.status, 124)
        time.sleep(0.1)
        self.assert_gone(word)

    @unittest.skipUnless(sys.platform == "linux", "only there orphans can be taken over")
    def test_what_has_no_parent_no_session_and_no_environment_is_found(self):
        word = f"60.{os.getpid()}{time.monotonic_ns()}"
        script = f"(env -i setsid sh -c 'trap : TERM; (sleep {word} &); sleep {word}; sleep {word}' &) ; sleep 60"
        self.assertEqual(self.go("-k", "0.2", "0.5", "sh", "-c", script).status, 124)
        self.assert_gone(word)

    @unittest.skipUnless(sys.platform == "linux", "only there orphans can be taken over")
    def test_orphans_are_collected(self):
        script = "(sh -c 'echo $$ > pid' &); while [ ! -s pid ]; do sleep 0.01; done; sleep 0.5; ! kill -0 $(cat pid)"
        self.assertEqual(self.go("20", "sh", "-c", script).status, 0)

    @unittest.skipUnless(sys.platform == "linux", "only there orphans can be taken over")
    def test_but_not_where_they_may_be_of_others(self):
        word = f"60.{os.getpid()}{time.monotonic_ns()}"
        command = f"{' '.join(PYTHON)} -m {package.__name__} run -k 0.2 0.5 sleep 5"
        script = f"(sleep 0.2; sleep {word} >/dev/null & echo $!) & exec {command}"
        with self.environment():
            done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 124)
        os.kill(int(done.stdout), signal.SIGKILL)

    def test_whatever_is_known_of_processes(self):
        self.write(
            blind=f"""
            import sys
            from {package.__name__}.commandline import run_command
            from {package.__name__}.processes import ps, table, tree
            table.has_proc = tree.has_proc = lambda: False
            ps.PS = (sys.argv[1],)
            run_command.main("blind", ["-k", "0.3", "0.3", *sys.argv[2:]])
            """
        )

        def end(case):
            ps, script = case
            word = f"60.{os.getpid()}{time.monotonic_ns()}"
            ran = self.end(self.start(ps, "sh", "-c", script.replace("WORD", word), module="blind"))
            self.assert_gone(word)
            return ran

        scripts = {
            "sleep WORD & sleep WORD; :": (124,),
            "trap '' TERM; sleep WORD & while :; do sleep WORD; done": (137,),
            "(trap '' TERM; exec sleep WORD) & sleep WORD; :": (124, -signal.SIGKILL),  # no subreaper elsewhere
        }
        cases = [(ps, script) for ps in ("/no/such/ps", "true") for script in scripts]
        for (ps, script), ran in zip(cases, at_once(end, cases)):
            self.assertIn(ran.status, scripts[script], (ps, script, ran.stderr))

    def test_on_a_terminal_in_the_background(self):
        import pty

        for command, options in ("cat", "-k1"), ("stty tostop; echo there; exec sleep 5", "-v"):
            ours = f"{' '.join(PYTHON)} -m {package.__name__} run {options} 0.5 sh -c '{command}'"
            pid, terminal = pty.fork()
            if not pid:
                with self.environment():
                    os.execvp("bash", ["bash", "-c", f"{ours}; echo status $?"])
            said = b""
            with contextlib.suppress(OSError):  # nobody is there any more
                while b"status" not in said:
                    readable = select.select([terminal], [], [], 30)[0]
                    said += os.read(terminal, 1000) if readable else b"it hangs, status"
            os.close(terminal)
            self.assertRegex(said, b"status 124", command)
            os.waitpid(pid, 0)

    def test_what_the_terminal_sends_at_the_start_is_no_signal_for_the_command(self):
        script = """
            import os, signal, sys
            from {}.commandline.supervisor import Supervisor
            class Early(Supervisor):
                def _start(self, environ):
                    child = super()._start(environ)
                    os.kill(os.getpid(), signal.SIGTTIN)
                    return child
            sys.exit(-Early("run", ["sleep", "0.3"], False, True).run(None, signal.SIGTERM, 0.1))
        """
        self.assertEqual(python("-c", textwrap.dedent(script).format(package.__name__), cwd=ROOT), "")

    def test_streams_that_are_closed_or_full(self):
        lines = {"5 sh -c 'kill -TERM $$'": 143, "0.2 sleep 5": 124, "x true": 125}
        code = f"""
import os, runpy, shlex, sys
from {package.__name__}.commandline import run_command
for line, expected in {lines}.items():
    child = os.fork()
    if not child:
        sys.argv[1:] = ["run", "-v", *shlex.split(line)]
        runpy._run_module_as_main({package.__name__!r})
    status = os.waitpid(child, 0)[1]
    if (os.WEXITSTATUS(status) or 128 + os.WTERMSIG(status)) != expected:
        sys.exit(f"{{line}}: {{status}}")
"""

        def run(streams):
            script = f"exec {streams}; {shlex.join([*PYTHON, '-c', code])}"
            how = dict(env=environment(PYTHONPATH=ROOT), capture_output=True, timeout=60)
            done = subprocess.run(["bash", "-c", script], **how)
            return done.returncode, done.stdout

        streams = "<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full" if os.path.exists("/dev/full") else "2>&-"
        self.assertEqual(at_once(run, streams), [(0, b"")] * len(streams))

    def test_no_module_of_the_folder_is_imported(self):
        self.write(signal="print('run')", json="print('run')", subprocess="print('run')", ctypes="print('run')")
        ran = self.go("5", "sh", "-c", "exit 7", interpreter=PYTHON)
        self.assertEqual((ran.status, ran.stdout, ran.stderr), (7, "", ""))

    def test_the_environment_is_as_it_was(self):
        for variables in {}, {"LC_CTYPE": "C"}, {"LC_ALL": "C"}, {"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"}:
            given = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, **variables}
            command = [*PYTHON, "-m", package.__name__, "run", "5", "env"]
            said = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, timeout=60).stdout
            lines = [line for line in said.splitlines() if not line.startswith("TIMEOUT_MANAGER_")]
            if os.path.exists("/proc/self/environ"):
                self.assertEqual(sorted(lines), sorted(f"{name}={value}" for name, value in given.items()))

    def test_a_deadline_of_others_is_named(self):
        ran = self.end(self.start("run", "60", "sleep", "5", TIMEOUT_MANAGER_DEADLINE="1:1:another"))
        self.assertEqual(ran.status, 124)
        self.assertIn("run: time is over by TIMEOUT_MANAGER_DEADLINE of the environment", ran.stderr)
        self.assertEqual(self.end(self.start("run", "0.2", "sleep", "5")).stderr, "")

    def test_nor_where_the_environment_asks_for_interrupts(self):
        ran = self.end(self.start("run", "0.5", "sleep", f"5.{os.getpid()}", TIMEOUT_MANAGER_ENFORCE="auto"))
        self.assertEqual((ran.status, ran.stderr), (124, ""))
        self.assert_gone(f"5.{os.getpid()}")

    def test_nor_after_an_error_of_its_own(self):
        self.write(
            broken=f"""
            from {package.__name__}.commandline import run_command, supervisor
            supervisor.Supervisor._send = lambda *_: 1 / 0
            run_command.main("broken", ["0.5", "sleep", "5.{os.getpid()}"])
            """
        )
        ran = self.end(self.start(module="broken"))
        self.assertIn("ZeroDivisionError", ran.stderr)
        self.assert_gone(f"5.{os.getpid()}")

    def test_a_signal_is_handed_on(self):
        script = "trap 'kill $!; echo got; exit 5' TERM INT HUP; sleep 60 & echo there; wait"
        hear(self, signal.SIGINT, signal.SIGHUP)
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            process = self.start("run", "60", "bash", "-c", script)
            self.assertEqual(process.stdout.readline(), "there\n")
            process.send_signal(number)
            ran = self.end(process)
            self.assertEqual((ran.status, ran.stdout), (5, "got\n"), number)

    def test_so_is_the_one_that_it_sends_itself(self):
        process = self.start("run", "-s", "USR1", "60", "bash", "-c", "trap 'exit 3' USR1; echo there; sleep 5 & wait")
        self.assertEqual(process.stdout.readline(), "there\n")
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(self.end(process).status, 3)

    def test_an_alarm_says_that_time_is_over(self):
        process = self.start("run", "60", "bash", "-c", "trap 'echo got; exit 3' TERM; echo there; sleep 5 & wait")
        self.assertEqual(process.stdout.readline(), "there\n")
        process.send_signal(signal.SIGALRM)
        ran = self.end(process)
        self.assertEqual((ran.status, ran.stdout), (124, "got\n"))

    def test_open_files_pass(self):
        ours = f"{' '.join(PYTHON)} -m {package.__name__} run"
        script = f"{ours} 5 ls /proc/self/fd 7>&1"
        with self.environment():
            done = subprocess.run(script, shell=True, stdin=subprocess.DEVNULL, stdout=-1, text=True, timeout=60)
        if os.path.isdir("/proc/self/fd"):
            self.assertEqual(done.stdout.split(), ["0", "1", "2", "3", "7"])  # 3 is of ls

    def test_a_script_that_names_no_interpreter(self):
        with open(self.path("scripted"), "w") as file:
            file.write('echo "ran $1"; exit 3')
        os.chmod(self.path("scripted"), 0o755)
        ran = self.go("5", "./scripted", "it")
        self.assertEqual((ran.status, ran.stdout), (3, "ran it\n"))
        with mock.patch.dict(os.environ, PATH=f"{self.directory}:{os.environ['PATH']}"):
            ran = self.go("5", "scripted", "it")
        self.assertEqual((ran.status, ran.stdout), (3, "ran it\n"))

    def test_a_signal_that_is_ignored_does_not_take_the_limit_away(self):
        script = "trap '' HUP; echo there; sleep 60 & wait"
        process = self.start("run", "1", "bash", "-c", script)
        self.assertEqual(process.stdout.readline(), "there\n")
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
        self.assertEqual(self.end(process).status, 124)

    def test_it_ends_as_the_command_did(self):
        self.assertEqual(self.go("5", "sh", "-c", "kill -KILL $$").status, -signal.SIGKILL)

    def test_also_where_sigchld_is_ignored(self):
        self.addCleanup(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        process = self.start("run", "5", "sh", "-c", "exit 7", interpreter=PYTHON)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.assertEqual(self.end(process).status, 7)

    def test_report_and_deadline(self):
        code = f"import {package.__name__} as p; print(p.TimeoutManager.from_environ(90).initial_timeout)"
        ran = self.go("--phase", "build", "--report", "r.json", "40", *PYTHON, "-c", code)
        self.assertEqual(ran.status, 0, ran.stderr)
        self.assertTrue(30 < float(ran.stdout) <= 38.1, ran.stdout)
        with open(self.path("r.json")) as file:
            ledger = json.load(file)
        self.assertEqual((ledger["timeout"], ledger["phases"][0]["name"]), (40, "build"))
        self.assertEqual(ledger["phases"][0]["outcome"], "done")
        self.go("--report", "r.json", "0.2", "sleep", "5")
        self.assertEqual(self.read("r.json")["phases"][0]["outcome"], "timeout")

    def test_what_is_wrong_is_said(self):
        for arguments, message in (
            (("soon", "true"), "DURATION must be seconds like 90, 1.5, 90s, 2m, 1h or 1d, not 'soon'"),
            (("-k", "-3", "5", "true"), "--kill-after must be seconds like"),
            (("-s", "NONE", "5", "true"), "--signal must be a signal like TERM or 15, not 'NONE'"),
            (("-s", "65", "5", "true"), "--signal must be a signal like TERM or 15, not '65'"),
            (("-s", "", "5", "true"), "--signal must be a signal like TERM or 15, not ''"),
            (("5",), "DURATION and COMMAND are needed"),
        ):
            ran = self.go(*arguments)
            self.assertEqual(ran.status, 125)
            self.assertIn(f"python -m {package.__name__} run: {message}", ran.stderr)
        self.assertIn("/no/such cannot be started: No such file or directory", self.go("5", "/no/such").stderr)


if __name__ == "__main__":
    unittest.main()
