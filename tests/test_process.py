"""Commands in phases: the deadline is handed on, and nothing is left of a command when time is over."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from importlib import import_module
from tempfile import TemporaryDirectory
from unittest import mock

from . import package
from .child import ROOT, environment, hear

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
process = import_module(f"{package.__name__}.processes.command")
LINUX = sys.platform == "linux"
PYTHON = sys.executable


def alive(word):
    """Return the processes whose command line contains the word."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file, open(f"/proc/{name}/stat", "rb") as stat:
                    if word.encode() in file.read() and b") Z" not in stat.read():
                        found.append(int(name))
            except OSError:
                pass
    return found


def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


class ACommand(unittest.TestCase):
    def test_is_run_as_by_subprocess(self):
        manager = TimeoutManager(60)
        code = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('e'); sys.exit(3)"
        options = {"input": "hello", "capture_output": True, "text": True}
        done = manager.run([PYTHON, "-c", code], **options)
        plain = subprocess.run([PYTHON, "-c", code], **options)
        self.assertEqual(vars(done), vars(plain))
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            manager.run([PYTHON, "-c", code], "build", check=True, **options)
        self.assertEqual((caught.exception.returncode, caught.exception.output), (3, "HELLO"))
        self.assertEqual([phase.name for phase in manager.phases], [os.path.basename(PYTHON), "build"])
        self.assertEqual([phase.outcome for phase in manager.phases], ["done", "done"])

    def test_takes_the_options_of_subprocess(self):
        manager = TimeoutManager(60)
        with TemporaryDirectory() as directory:
            options = {"cwd": directory, "env": {"WORD": "said"}, "stdout": -1, "encoding": "utf-8"}
            done = manager.run("pwd; echo $WORD", shell=True, **options)
            self.assertEqual(done.stdout.split(), [os.path.realpath(directory), "said"])
            with open(os.path.join(directory, "out"), "w+") as file:
                manager.run(["echo", "there"], stdout=file, stdin=subprocess.DEVNULL)
                file.seek(0)
                self.assertEqual(file.read(), "there\n")
        for wrong in {"capture_output": True, "stdout": -1}, {"input": b"", "stdin": -1}, {"nonsense": 1}:
            with self.assertRaises((ValueError, TypeError)):
                manager.run(["true"], **wrong)
        with self.assertRaisesRegex(ValueError, "grace"):
            manager.run(["true"], grace=float("nan"))
        for name, value in ("timeout", "5"), ("timeout", True), ("grace", float("inf")), ("grace", None), ("grace", ""):
            with self.assertRaisesRegex(TypeError, f"{name} .*not {value!r}"):
                manager.run(["true"], **{name: value})
        with self.assertRaises(FileNotFoundError):
            manager.run(["/no/such/command"])
        self.assertEqual(manager.phases[-1].outcome, "failed")

    def test_can_be_told_word_by_word(self):
        manager = TimeoutManager(60)
        self.assertEqual(manager.run(iter(["echo", "one", "two"]), stdout=-1).stdout, b"one two\n")
        self.assertEqual(manager.phases[0].name, "echo")

    def test_has_the_environment_that_it_is_given_and_one_deadline(self):
        environs = [{}, {"TIMEOUT_MANAGER_DEADLINE": "1:1:x"}]
        environs += [{b"TIMEOUT_MANAGER_DEADLINE": b"1:1:x"}] if os.supports_bytes_environ else []
        for env in environs:
            code = "import os; print(os.environ)"
            said = TimeoutManager(60).run([PYTHON, "-c", code], env=env, stdout=-1, text=True).stdout
            self.assertNotIn("1:1:x", said)
            self.assertNotIn("'PATH'", said)

    def test_has_a_name(self):
        name_of = import_module(f"{package.__name__}.processes.command").name_of
        for args, name in ("make -j all", "make"), (["/usr/bin/env", "x"], "env"), ("", "command"), (b"ls -l", "ls"):
            self.assertEqual(name_of(args), name)

    def test_waits_no_longer_than_what_remains(self):
        for enforce in False, True, "thread":
            manager = TimeoutManager(0.3, enforce=enforce)
            with self.assertRaises(PhaseTimeout) as caught:
                manager.run("echo out; echo err >&2; sleep 60", "build", shell=True, capture_output=True, text=True)
            error = caught.exception
            self.assertTrue(str(error).startswith("Timeout exceeded after build phase! (budget 0.300 s"), error)
            self.assertEqual((error.output, error.stdout, error.stderr), ("out\n", "out\n", "err\n"))
            self.assertEqual(error.cmd, "echo out; echo err >&2; sleep 60")
            self.assertIsInstance(error.__cause__, subprocess.TimeoutExpired)
            self.assertEqual(manager.phases[0].outcome, "timeout")
            killed = sorted(each.command.rpartition("/")[2] for each in error.killed)
            if LINUX:
                self.assertEqual(killed, ["sh -c echo out; echo err >&2; sleep 60", "sleep 60"])
                self.assertEqual({each.signal for each in error.killed}, {"TERM"})
            with self.assertRaises(PhaseTimeout):  # nothing is left, so it is not even started
                manager.run(["/no/such/command"])

    def test_what_it_said_is_not_lost_on_a_machine_that_stands_still_for_a_moment(self):
        really, looks = process.Child.communicate, []

        def communicate(child, input=None, timeout=None):
            looks.append(timeout)
            if len(looks) == 2:  # the first after the end
                raise subprocess.TimeoutExpired(child.args, timeout)
            return really(child, input, timeout)

        with mock.patch.object(process.Child, "communicate", communicate):
            with self.assertRaises(PhaseTimeout) as caught:
                TimeoutManager(60).run("echo said; exec sleep 60", timeout=1, shell=True, stdout=-1, text=True)
        self.assertEqual(caught.exception.output, "said\n")

    def test_what_it_said_may_be_cut_within_a_character(self):
        with self.assertRaises(PhaseTimeout) as caught:
            TimeoutManager(0.3).run("printf 'a\\303'; sleep 60", shell=True, capture_output=True, encoding="utf-8")
        self.assertEqual((caught.exception.output, caught.exception.stderr), ("a\ufffd", ""))

    def test_can_have_a_limit_of_its_own(self):
        manager = TimeoutManager(60)
        with self.assertRaises(PhaseTimeout) as caught:
            manager.run(["sleep", "60"], timeout=0.2)
        self.assertEqual((caught.exception.limited_by, caught.exception.limited_phase), ("limit", "sleep"))

    def test_may_take_longer_than_the_system_waits(self):
        for options in {}, {"capture_output": True}:
            self.assertEqual(TimeoutManager(1e9).run(["true"], **options).returncode, 0)
        process = import_module(f"{package.__name__}.processes.command")
        with mock.patch.object(process, "LONGEST", 0.5):
            for options in {}, {"capture_output": True}:
                self.assertEqual(TimeoutManager(60).run(["sleep", "0.8"], **options).returncode, 0)

    def test_in_another_thread(self):
        errors = []

        def body():
            try:
                TimeoutManager(0.2, enforce=True).run(["sleep", "60"])
            except PhaseTimeout as error:
                errors.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(30)
        self.assertEqual(len(errors), 1)

    def test_status_is_known_where_sigchld_is_ignored(self):
        code = (
            f"import signal, sys, threading; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "manager, codes = package.TimeoutManager(60), []\n"
            "run = lambda: codes.append(manager.run('exit 3', shell=True).returncode)\n"
            "run(); thread = threading.Thread(target=run); thread.start(); thread.join(); print(codes)\n"
            "assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN\n"
        )
        done = subprocess.run([PYTHON, "-c", code], stdout=-1, text=True, env=environment(), timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "[3, 3]\n"))


@unittest.skipUnless(LINUX, "processes are found by /proc")
class NoSurvivor(unittest.TestCase):
    """Every command line has a word of its own, by which what is left of it can be found."""

    def setUp(self):
        self.word = f"{os.getpid()}{time.monotonic_ns()}"
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in alive(self.word)])

    def end(self, script, limit=0.5, grace=0.2, **options):
        """Run a script of the shell in which SLEEP is a long sleep with the word; return the error."""
        script = script.replace("SLEEP", f"sleep 60.{self.word}").replace("PYTHON", PYTHON)
        began = time.monotonic()
        with self.assertRaises(PhaseTimeout) as caught:
            TimeoutManager(limit).run(["bash", "-c", script, self.word], "tree", grace=grace, **options)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(alive(self.word), [], script)
        return caught.exception

    def test_of_a_shell_that_waits(self):
        error = self.end("SLEEP & wait", shell=False)
        self.assertEqual(sorted(each.signal for each in error.killed), ["TERM", "TERM"])

    def test_that_ignores_term(self):
        error = self.end("trap '' TERM; SLEEP & SLEEP & while :; do SLEEP; done")
        self.assertEqual({each.signal for each in error.killed}, {"KILL"})
        lines = ["Processes that had to be killed:", *(f"  {each}" for each in error.killed)]
        self.assertEqual(error.diagnosis, "\n".join(lines))
        self.assertRegex(str(error.killed[:1]), r"^\(\d+ bash -c .* \(0\.\d s\) KILL,\)$")

    def test_with_a_group_of_its_own(self):
        self.end("set -m; SLEEP & set +m; SLEEP")

    def test_with_a_session_of_its_own(self):
        self.end("setsid bash -c 'trap \"\" TERM; SLEEP; SLEEP' & SLEEP")

    def test_whose_parent_has_ended(self):
        self.end("(SLEEP &) & (setsid bash -c '(SLEEP &) ; (setsid SLEEP &)' &) ; SLEEP")

    def test_that_has_cleared_its_environment(self):
        self.end("env -i bash -c 'setsid SLEEP & SLEEP' & (env -i SLEEP &) ; SLEEP")

    def test_that_begins_a_session_or_group_before_the_command(self):
        for begin in os.setsid, os.setpgrp:
            self.end("(SLEEP &) & (setsid SLEEP &) ; set -m; SLEEP & SLEEP", preexec_fn=begin)
        if sys.version_info >= (3, 11):
            self.end("(SLEEP &) & (setsid SLEEP &) ; set -m; SLEEP & SLEEP", process_group=0)

    def test_that_is_stopped(self):
        self.end("SLEEP & kill -STOP $!; kill -STOP $$; SLEEP")

    def test_that_holds_the_pipe(self):
        error = self.end("echo said; (setsid SLEEP &) ; exit 0", capture_output=True)
        self.assertEqual(error.output, b"said\n")

    def test_of_two_hundred(self):
        self.end("for i in {1..100}; do SLEEP & setsid SLEEP & done; wait", limit=2)

    def test_that_forks_while_it_is_killed(self):
        self.end("trap '' TERM; f() { SLEEP & sleep 0.02; f & }; f; while :; do SLEEP & sleep 0.02; done", grace=0.3)

    def test_that_is_a_run_itself(self):
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            f"package.TimeoutManager().run(['bash', '-c', 'trap : TERM; sleep 60.{self.word} & sleep 60.{self.word}'])"
        )
        self.end(f"PYTHON -c \"{code}\"", limit=1.5)

    def test_after_an_error_in_the_parent(self):
        def interrupt(*_):
            raise ZeroDivisionError

        previous = signal.signal(signal.SIGUSR1, interrupt)
        self.addCleanup(signal.signal, signal.SIGUSR1, previous)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with self.assertRaises(ZeroDivisionError):
            TimeoutManager().run(["bash", "-c", f"sleep 60.{self.word} & sleep 60.{self.word}"], grace=0.2)
        self.assertEqual(alive(self.word), [])

    def test_after_an_error_while_it_is_started(self):
        def interrupt(*_):
            raise ZeroDivisionError

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, interrupt))
        before = children()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with self.assertRaises(ZeroDivisionError):
            TimeoutManager().run(["sleep", f"60.{self.word}"], preexec_fn=lambda: time.sleep(20), grace=0.2)
        self.assertEqual(children(), before)

    def test_after_an_error_before_its_number_is_known(self):
        hear(self, signal.SIGINT)
        code = (
            f"import _thread, os, sys, time; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "os.register_at_fork(after_in_parent=_thread.interrupt_main)\n"
            "options = {'preexec_fn': lambda: time.sleep(0.1), 'capture_output': True}\n"
            "try:\n"
            f"    package.TimeoutManager().run(['sleep', '60.{self.word}'], grace=0.2, **options)\n"
            "except KeyboardInterrupt:\n"
            "    with open(f'/proc/self/task/{os.getpid()}/children') as file:\n"
            "        print([file.read()])\n"
        )
        done = subprocess.run([PYTHON, "-c", code], stdout=-1, text=True, env=environment(), timeout=60)
        self.assertEqual((done.stdout, alive(self.word)), ("['']\n", []))

    def test_on_ctrl_c(self):
        hear(self, signal.SIGINT)
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "package.TimeoutManager().run(['bash', '-c', "
            f"'sleep 60.{self.word} & (setsid sleep 60.{self.word} &) ; wait'])"
        )
        process = subprocess.Popen([PYTHON, "-c", code], stderr=subprocess.PIPE, env=environment())
        while len(alive(self.word)) < 4:  # Python, bash and two sleeps
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self.assertIn(b"KeyboardInterrupt", process.communicate(timeout=30)[1])
        self.assertEqual(alive(self.word), [])

    def test_and_nobody_else_is_touched(self):
        bystanders = [
            subprocess.Popen(["sleep", "60"]),
            subprocess.Popen(["sleep", "60"], start_new_session=True),
            subprocess.Popen(["bash", "-c", "sleep 60 & wait"], start_new_session=True),
        ]
        try:
            self.end("SLEEP & (setsid SLEEP &) ; wait")
            time.sleep(0.1)
            self.assertEqual([process.poll() for process in bystanders], [None] * 3)
        finally:
            for process in bystanders:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()

    def test_the_ending_is_not_torn_by_interrupts(self):
        inner = TimeoutManager(60, enforce=True)
        with self.assertRaises(PhaseTimeout) as caught:
            with TimeoutManager(0.3, enforce=True).timed_operation("outer"):
                inner.run(["bash", "-c", f"trap '' TERM; sleep 60.{self.word} & wait; wait"], grace=0.5)
        self.assertEqual(alive(self.word), [])
        self.assertEqual(caught.exception.phase, "outer")
        self.assertEqual({each.signal for each in caught.exception.killed}, {"KILL"})

    def test_no_descriptor_and_no_child_is_left(self):
        before = os.listdir("/proc/self/fd"), children()
        self.end("SLEEP & (setsid SLEEP &) ; wait", capture_output=True)
        self.assertEqual((os.listdir("/proc/self/fd"), children()), before)


@unittest.skipUnless(LINUX, "processes are found by /proc")
class ChildrenOfAPhase(unittest.TestCase):
    def test_end_with_it_and_those_of_other_threads_do_not(self):
        def by_hand(command):
            with subprocess.Popen(command) as process:
                process.wait()

        for enforce, wait in (True, by_hand), ("thread", by_hand), (True, subprocess.check_output):
            word = f"{os.getpid()}{time.monotonic_ns()}"
            script = f"trap '' TERM; sleep 60.{word} & sleep 60.{word}; sleep 60.{word}"
            before = subprocess.Popen(["sleep", "60"])
            others = []
            start = threading.Thread(target=lambda: others.append(subprocess.Popen(["sleep", "60"])))
            try:
                with self.assertRaises(PhaseTimeout) as caught:
                    with TimeoutManager(0.5, enforce=enforce, kill_children=0.2).timed_operation("build"):
                        start.start()
                        start.join()
                        wait(["bash", "-c", script])
                self.assertEqual(alive(word), [])
                self.assertIn("KILL", {each.signal for each in caught.exception.killed}, wait)
                self.assertEqual([before.poll(), others[0].poll()], [None, None])
            finally:
                for each in before, *others:
                    each.kill()
                    each.wait()

    def test_are_left_alone_by_a_phase_that_ends_in_time(self):
        with TimeoutManager(60, enforce=True, kill_children=0.2).timed_operation("build"):
            process = subprocess.Popen(["sleep", "60"])
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()


class Elsewhere(unittest.TestCase):
    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_children_and_groups_are_found_by_ps(self):
        tree, processes = (import_module(f"{package.__name__}.processes.{name}") for name in ("tree", "table"))
        for module in tree, processes:
            self.addCleanup(setattr, module, "HAS_PROC", module.HAS_PROC)
            module.HAS_PROC = False
        try:
            processes.processes()
        except FileNotFoundError:
            self.skipTest("no ps here")
        word = f"{os.getpid()}{time.monotonic_ns()}"
        with self.assertRaises(PhaseTimeout):
            TimeoutManager(0.5).run(["bash", "-c", f"trap '' TERM; sleep 60.{word} & sleep 60.{word}; wait"], grace=0.2)
        if LINUX:
            self.assertEqual(alive(word), [])


if __name__ == "__main__":
    unittest.main()
