"""Commands in phases: the deadline is handed on, and nothing is left of a command when time is over."""

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import ROOT, environment, hear

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
originals = import_module(f"{package.__name__}.originals")
process, table, tree = (import_module(f"{package.__name__}.processes.{each}") for each in ("command", "table", "tree"))
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
        with tempfile.TemporaryDirectory() as directory:
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
        name_of = import_module(f"{package.__name__}.processes.name").name_of
        for args, name in {
            **{("/usr/bin/make", "-j"): "make", ("/my tools/build", "x"): "build", ("A=1",): "A=1", (): "command"},
            **{("/usr/bin/env", "A=1", "/bin/x"): "x", ("env", "-i", "x"): "env", ("env",): "env", ("a\nb",): "a?b"},
            **{"/my tools/build": "build", b"/bin/ls": "ls", "": "command"},
        }.items():
            self.assertEqual(name_of(args), name)
        for line, name in {
            **{"make -j all": "make", "A=1 B='x y' /my\\ tools/build x": "build", "'/my tools/build'>log": "build"},
            **{"(cd x; make)": "cd", "make; x": "make", "! grep x": "grep", "env A=1 make": "make", "it's": "it's"},
            "": "command",
        }.items():
            self.assertEqual(name_of(line, shell=True), name)
            self.assertEqual(name_of([line], shell=True), name)

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

    def test_without_a_session_of_its_own(self):
        end = self.end("(SLEEP &) & (setsid SLEEP &) ; set -m; SLEEP & SLEEP", start_new_session=False)
        self.assertIn("bash", str(end.killed))
        code = "import os; print(os.getsid(0) == os.getsid(os.getppid()))"
        for options, shared in ({"start_new_session": False}, b"True\n"), ({}, b"False\n"):
            self.assertEqual(TimeoutManager().run([PYTHON, "-c", code], stdout=-1, **options).stdout, shared)

    def test_that_is_stopped(self):
        self.end("SLEEP & kill -STOP $!; kill -STOP $$; SLEEP")

    def test_that_holds_the_pipe(self):
        error = self.end("echo said; (setsid SLEEP &) ; exit 0", capture_output=True)
        self.assertEqual(error.output, b"said\n")

    def test_of_two_hundred(self):
        self.end("for i in {1..100}; do SLEEP & setsid SLEEP & done; wait", limit=2)

    def test_that_forks_while_it_is_killed(self):
        self.end("trap '' TERM; f() { SLEEP & sleep 0.02; f & }; f; while :; do SLEEP & sleep 0.02; done", grace=0.3)

    def test_that_is_a_chain_of_processes_that_fork_and_exit(self):
        code = (
            "import os, sys, time; end = time.monotonic() + 20\n"
            "while time.monotonic() < end:\n"
            "    if os.fork(): os._exit(0)\n"
            "    os.setsid(); os.write(1, b'.')\n"
        )
        for _ in range(3):
            with tempfile.TemporaryFile() as file:
                self.end(f"PYTHON -c \"{code}\" & SLEEP", stdout=file)
                length = file.seek(0, os.SEEK_END)
                self.assertGreater(length, 5)
                time.sleep(0.1)
                self.assertEqual(file.seek(0, os.SEEK_END), length)

    def test_whose_main_thread_has_ended(self):
        code = (
            "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start()\n"
            f"ctypes.CDLL(None).pthread_exit(None) # {self.word}"
        )
        error = self.end(f"setsid PYTHON -c '{code}' & exec PYTHON -c '{code}'", limit=1.5, env=environment())
        self.assertEqual([each.signal for each in error.killed], ["TERM", "TERM"])

    def test_but_what_is_somebody_elses_and_that_is_named(self):
        really = table.Process._send

        def send(process, number):
            if process.command.startswith("sleep 61."):
                raise PermissionError
            really(process, number)

        began = time.monotonic()
        others = mock.patch.object(originals.system, "killpg", side_effect=PermissionError)
        with mock.patch.object(table.Process, "_send", send), others, self.assertRaises(PhaseTimeout) as caught:
            script = f"setsid sleep 61.{self.word} & trap '' TERM; while :; do sleep 60.{self.word}; done"
            TimeoutManager(0.5).run(["bash", "-c", script], grace=0.2)
        self.assertLess(time.monotonic() - began, 4)
        error = caught.exception
        self.assertEqual([each.pid for each in error.survivors], alive(self.word))
        self.assertEqual([each.command for each in error.survivors], [f"sleep 61.{self.word}"])
        self.assertNotIn(error.survivors[0].pid, [each.pid for each in error.killed])
        last = f"\n\nProcesses that live on:\n  {error.survivors[0].pid} sleep 61"
        self.assertRegex(error.diagnosis, f"(?s)had to be killed:\n.*{last}")

    def test_and_what_is_killed_is_told_in_short(self):
        error = self.end("trap '' TERM; for i in {1..50}; do SLEEP & done; wait; : \033[2J " + "x" * 9999, limit=1)
        self.assertEqual(len(error.killed), 51)
        self.assertLess(len(error.diagnosis), 9999)
        self.assertTrue(error.diagnosis.endswith("\n  and 21 more"), error.diagnosis)
        self.assertTrue(error.diagnosis.replace("\n", "").isprintable())

    def test_and_what_a_trap_starts_may_end_by_itself(self):
        with tempfile.TemporaryFile() as file:
            self.end("trap 'sleep 0.3; echo saved; exit' TERM; SLEEP & wait", grace=9, stdout=file)
            file.seek(0)
            self.assertEqual(file.read(), b"saved\n")

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

    def waits(self):
        """Return ways to wait for a command, by name."""

        def pipe(command):
            for _ in subprocess.Popen(command, stdout=subprocess.PIPE).stdout:
                pass

        def read(command):
            os.read(subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0).stdout.fileno(), 1)

        def fork(command):
            process = multiprocessing.get_context("fork").Process(target=subprocess.call, args=[command])
            process.start()
            process.join()

        waits = pipe, read, fork, subprocess.check_output, lambda command: subprocess.Popen(command).wait()
        return {getattr(wait, "__name__", ""): wait for wait in waits}

    def ended(self, wait, script, **options):
        """Return the signals that were the last for what a phase was waiting for; nothing of it is left."""
        word = f"{os.getpid()}{time.monotonic_ns()}"
        try:
            with self.assertRaises(PhaseTimeout) as caught:
                with TimeoutManager(0.5, enforce=True, kill_children=0.3, **options).timed_operation("build"):
                    wait(["bash", "-c", script.replace("SLEEP", f"sleep 60.{word}")])
            self.assertEqual(alive(word), [])
        finally:
            for pid in alive(word):
                os.kill(pid, signal.SIGKILL)
        return {each.signal for each in caught.exception.killed}

    def test_end_in_whichever_way_a_phase_waits_for_them(self):
        for name, wait in self.waits().items():
            with self.subTest(name):
                self.assertEqual(self.ended(wait, "SLEEP & SLEEP; :"), {"TERM"})

    @unittest.skipUnless(sys.implementation.name == "cpython", "no interrupts in other threads here")
    def test_end_in_a_thread_that_nothing_can_interrupt(self):
        for script, last in ("SLEEP; :", "TERM"), ("trap '' TERM; SLEEP & SLEEP; SLEEP", "KILL"):
            for name, wait in self.waits().items():
                found = []
                thread = threading.Thread(target=lambda: found.append(self.ended(wait, script)))
                with self.subTest(name):
                    thread.start()
                    thread.join(50)
                    self.assertIn(last, found[0] if found else ())

    def test_end_in_a_task(self):
        async def started(command):
            return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)

        async def wait(command):
            await (await started(command)).wait()

        async def communicate(command):
            await (await started(command)).communicate()

        async def line(command):
            await (await started(command)).stdout.readline()

        for function in wait, communicate, line:
            with self.subTest(function.__name__):
                ended = self.ended(lambda command: asyncio.run(function(command)), "SLEEP & SLEEP; :")
                self.assertEqual(ended, {"TERM"})
                self.assertEqual(asyncio.run(self.in_task(function)), {"TERM"})

    async def in_task(self, function):
        word = f"{os.getpid()}{time.monotonic_ns()}"
        with self.assertRaises(PhaseTimeout) as caught:
            async with TimeoutManager(0.5, enforce=True, kill_children=0.3).timed_operation("build"):
                await function(["bash", "-c", f"sleep 60.{word} & sleep 60.{word}; :"])
        self.assertEqual(alive(word), [])
        return {each.signal for each in caught.exception.killed}

    def test_are_left_alone_where_the_phase_does_not_wait_for_them(self):
        process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
        with self.assertRaises(PhaseTimeout):
            with TimeoutManager(0.3, enforce=True, kill_children=0.2).timed_operation("build"):
                time.sleep(60)
        self.assertIsNone(process.poll())
        process.kill()
        process.communicate()

    def test_are_left_alone_by_a_phase_that_ends_in_time(self):
        with TimeoutManager(60, enforce=True, kill_children=0.2).timed_operation("build"):
            process = subprocess.Popen(["sleep", "60"])
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()


class LittleIsKnown(unittest.TestCase):
    """Whatever a system tells of its processes, the command and its group end, and the error is a PhaseTimeout."""

    def setUp(self):
        self.word = f"{os.getpid()}{time.monotonic_ns()}"
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in alive(self.word)] if LINUX else None)

    def end(self, script, **options):
        script = script.replace("SLEEP", f"sleep 60.{self.word}")
        began, before = time.monotonic(), os.listdir("/proc/self/fd") if LINUX else []
        with self.assertRaises(PhaseTimeout) as caught:
            TimeoutManager(0.4).run(["bash", "-c", script, self.word], grace=0.2, **options)
        self.assertLess(time.monotonic() - began, 15)
        if LINUX:
            self.assertEqual(alive(self.word), [], script)
            self.assertEqual(os.listdir("/proc/self/fd"), before)
        return caught.exception

    def without_proc(self, *ps):
        for module in table, tree:
            patch = mock.patch.object(module, "has_proc", lambda: False)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.multiple(table, PS=ps or table.PS, PATIENCE=0.1 if ps else table.PATIENCE)
        patch.start()
        self.addCleanup(patch.stop)

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_but_what_ps_tells(self):
        self.without_proc()
        try:
            table.processes()
        except OSError:
            self.skipTest("no ps here")
        error = self.end("trap '' TERM; SLEEP & (set -m; SLEEP & SLEEP) & wait; wait; SLEEP")
        self.assertGreater(len(error.killed), 3)

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_and_there_is_no_ps_or_a_bad_one(self):
        another = f"echo 1 0 1 S init; echo {os.getpid()} 1 {os.getpgrp()} S us; echo $$ 1 1 S stranger"
        for ps in ("/no/such/ps",), ("true",), ("sleep", "60"), ("echo", "what?"), ("sh", "-c", another):
            self.without_proc(*ps)
            with self.assertRaises(OSError, msg=ps):
                table.processes()
            error = self.end("SLEEP & SLEEP; SLEEP")
            self.assertEqual([each.parent for each in error.killed], [os.getpid()])
            self.assertIn("bash -c sleep", str(pickle.loads(pickle.dumps(error)).killed))
            error = self.end("trap '' TERM; SLEEP & while :; do SLEEP; done")
            self.assertEqual(([each.signal for each in error.killed], error.survivors), (["KILL"], ()))

    @unittest.skipUnless(LINUX, "a /proc, and namespaces")
    def test_and_proc_is_that_of_another_namespace(self):
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); from {package.__name__}.processes import table\n"
            "import os; print(table.has_proc(), os.path.exists('/proc/self/stat'))"
        )
        ran = subprocess.run(["unshare", "-pf", PYTHON, "-c", code], capture_output=True, text=True, timeout=60)
        if ran.returncode:
            self.skipTest(f"no namespaces here: {ran.stderr}")
        self.assertEqual(ran.stdout, "False True\n")

    @unittest.skipUnless(hasattr(os, "pidfd_open"), "descriptors for processes")
    def test_and_descriptors_for_processes_are_refused(self):
        for module, name in (originals.system, "pidfd_open"), (originals.signals, "pidfd_send_signal"):
            for error in PermissionError, OSError(38, "not implemented"):
                with mock.patch.object(module, name, side_effect=error):
                    self.end("trap '' TERM; SLEEP & (setsid SLEEP &) ; while :; do SLEEP; done")

    @unittest.skipUnless(LINUX, "what is open is seen by /proc")
    def test_and_more_processes_than_files_may_be_open(self):
        import resource

        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 30, limits[1]))
        error = self.end("for i in {1..40}; do setsid SLEEP & SLEEP & done; wait")
        self.assertGreater(len(error.killed), 60)

    @unittest.skipUnless(LINUX, "what is open is seen by /proc")
    def test_and_no_file_can_be_opened_any_more(self):
        import resource

        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 30, limits[1]))
        held = []

        def leak():
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))

        leaking = threading.Timer(0.2, leak)
        leaking.start()
        try:
            with self.assertRaises(PhaseTimeout) as caught:
                TimeoutManager(0.6).run(["bash", "-c", "sleep 60 & echo $!; wait"], grace=0.2, stdout=-1)
        finally:
            leaking.join()
            for each in held:
                os.close(each)
        self.assertEqual([each.parent for each in caught.exception.killed], [os.getpid()])
        self.assertFalse(os.path.exists(f"/proc/{int(caught.exception.output)}/cmdline"))


if __name__ == "__main__":
    unittest.main()
