"""``python -m timeout_manager run``: the habits of coreutils' ``timeout``, and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

from . import package
from .child import hear
from .command import Directory

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
    "-k 0.2 0.2 sh -c 'trap \"\" TERM; sleep 1; sleep 5'": 137,
    "-k5 0.2 sleep 5": 124,
    "--preserve-status 0.2 sleep 5": 143,
    "--preserve-status 0.2 sh -c 'trap \"exit 9\" TERM; sleep 1; sleep 1'": 9,
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
        ours = f"{sys.executable} -m {package.__name__} run"
        with self.environment():
            for line, expected in LINES.items():
                self.assertEqual(status(f"{ours} {line}"), expected, line)

    def test_the_same_as_of_the_real_one(self):
        real = shutil.which("timeout")
        version = subprocess.run([real, "--version"], stdout=-1, text=True).stdout if real else ""
        if "coreutils" not in version:
            self.skipTest("no timeout of coreutils here")
        for line, expected in LINES.items():
            self.assertEqual(status(f"{real} {line}"), expected, line)

    def environment(self):
        from .child import ROOT, environment

        return mock.patch.dict(os.environ, environment(PYTHONPATH=ROOT), clear=True)

    def go(self, *arguments, text=None):
        return self.end(self.start("run", *arguments, stdin=subprocess.PIPE), text)

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
        ours = f"{sys.executable} -m {package.__name__} run"
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
        process = self.start("run", "5", "sh", "-c", "exit 7")
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.assertEqual(self.end(process).status, 7)

    def test_report_and_deadline(self):
        code = f"import {package.__name__} as p; print(p.TimeoutManager.from_environ(90).initial_timeout)"
        ran = self.go("--phase", "build", "--report", "r.json", "40", sys.executable, "-c", code)
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
            (("soon", "true"), "DURATION must be seconds like 90, 1.5, 90s, 2m or 1h, not 'soon'"),
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
