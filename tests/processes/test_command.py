"""Commands in phases: the deadline is handed on, and nothing is left of a command when time is over."""

import asyncio
import os
import subprocess
import tempfile
import threading
import time
import unittest
import warnings
from importlib import import_module
from unittest import mock

from .. import package
from ..helpers.child import PYTHON, ROOT, environment, python
from ..helpers.enforced import NAMES
from ..helpers.interrupted import hang
from ..helpers.together import Together
from ..helpers.tree import LINUX

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
child, command = (import_module(f"{package.__name__}.processes.{name}") for name in ("child", "command"))
IGNORED = f"""
import signal, sys, threading
sys.path.insert(0, {ROOT!r})
import {package.__name__} as package
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
"""


class ACommand(Together, unittest.TestCase):
    def test_is_run_as_by_subprocess(self):
        manager = TimeoutManager(60)
        code = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('e'); sys.exit(3)"
        options = {"input": "hello", "capture_output": True, "text": True}
        done = manager.run([*PYTHON, "-c", code], **options)
        plain = subprocess.run([*PYTHON, "-c", code], **options)
        self.assertEqual(vars(done), vars(plain))
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            manager.run([*PYTHON, "-c", code], "build", check=True, **options)
        self.assertEqual((caught.exception.returncode, caught.exception.output), (3, "HELLO"))
        self.assertEqual([phase.name for phase in manager.phases], [os.path.basename(PYTHON[0]), "build"])
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

    def test_has_a_budget_that_is_made_longer_while_it_runs(self):
        for enforce in False, True:
            manager = TimeoutManager(0.5, enforce=enforce)
            later = threading.Timer(0.02, manager.reset, [60])
            later.start()
            code = "import time; time.sleep(0.8); print(input())"
            done = manager.run([*PYTHON, "-c", code], input="on", stdout=subprocess.PIPE, text=True)
            self.assertEqual(done.stdout, "on\n")
            later.join()

    def test_can_be_told_word_by_word(self):
        manager = TimeoutManager(60)
        self.assertEqual(manager.run(iter(["echo", "one", "two"]), stdout=-1).stdout, b"one two\n")
        self.assertEqual(manager.phases[0].name, "echo")

    def test_has_the_environment_that_it_is_given_and_one_deadline(self):
        environs = [{}, {"TIMEOUT_MANAGER_DEADLINE": "1:1:x"}]
        environs += [{b"TIMEOUT_MANAGER_DEADLINE": b"1:1:x"}] if os.supports_bytes_environ else []
        for env in environs:
            code = "import os; print(os.environ)"
            said = TimeoutManager(60).run([*PYTHON, "-c", code], env=env, stdout=-1, text=True).stdout
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
            manager = TimeoutManager(0.5, enforce=enforce)
            with self.assertRaises(PhaseTimeout) as caught:
                manager.run("echo out; echo err >&2; sleep 60", "build", shell=True, capture_output=True, text=True)
            error = caught.exception
            self.assertTrue(str(error).startswith("Timeout exceeded after build phase! (budget 0.500 s"), error)
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
        really, looks = child.Child.communicate, []

        def communicate(process, input=None, timeout=None):
            looks.append(timeout)
            if len(looks) == 2:  # the first after the end
                raise subprocess.TimeoutExpired(process.args, timeout)
            return really(process, input, timeout)

        with mock.patch.object(child.Child, "communicate", communicate):
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
        with mock.patch.object(child, "LONGEST_WAIT", 0.5):
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

    @unittest.skipUnless(hasattr(os, "fork"), "a process has no other beginning here")
    def test_its_start_can_be_interrupted(self):
        for enforce in NAMES:
            with self.assertRaises(PhaseTimeout) as caught, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # there is another thread
                TimeoutManager(0.2, enforce=enforce).run(["sleep", "60"], preexec_fn=hang, stdout=-1)
            self.assertTrue(caught.exception.interrupted)
            self.assertEqual([each.signal for each in caught.exception.killed], ["TERM"] * LINUX)
        with mock.patch.object(child.Child, "_get_handles", lambda *_: hang()):
            with self.assertRaises(PhaseTimeout) as caught:
                TimeoutManager(0.2, enforce=True).run(["sleep", "60"])
        self.assertEqual((caught.exception.interrupted, caught.exception.killed), (True, ()))

    def test_status_is_known_where_sigchld_is_ignored_and_another_thread_is_the_last_to_wait(self):
        code = IGNORED + (
            "def run(code, seconds):\n"
            "    return package.TimeoutManager(60).run(f'sleep {seconds}; exit {code}', shell=True).returncode\n"
            "thread = threading.Timer(0.2, run, (4, 1))\n"
            "thread.start()\n"
            "found = [run(3, 0.5)]\n"
            "thread.join()\n"
            "found.append(run(5, 0.1))\n"
            "assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN\n"
            "print(found)"
        )
        self.assertEqual(python("-c", code), "[3, 5]\n")

    def test_a_signal_handler_that_runs_one_where_sigchld_is_ignored_waits_for_nobody(self):
        code = IGNORED + (
            f"from {package.__name__}.processes import sigchld\n"
            "def run(*_):\n"
            "    found.append(package.TimeoutManager(60).run('exit 3', shell=True).returncode)\n"
            "def set_it(handler):\n"
            "    if not found:\n"
            "        signal.raise_signal(signal.SIGUSR1)\n"
            "    real(handler)\n"
            "found, real, sigchld._set = [], sigchld._set, set_it\n"
            "signal.signal(signal.SIGUSR1, lambda *_: found or found.append(0) or run())\n"
            "run()\n"
            "print(found)"
        )
        self.assertEqual(python("-c", code), "[0, 3, 3]\n")

    @unittest.skipUnless(LINUX, "elsewhere a process whose start was interrupted is not found")
    def test_ends_also_where_ctrl_c_comes_again(self):
        class Interrupted(command.Child):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
                numbers.append(self.pid)
                self.pid = 0  # it is not known yet
                raise KeyboardInterrupt

        def newborn(members, seconds):
            if len(numbers) == 1:
                numbers.append(0)
                raise KeyboardInterrupt
            return real(members, seconds)

        numbers, real = [], command.Tree.newborn
        with mock.patch.object(command, "Child", Interrupted), mock.patch.object(command.Tree, "newborn", newborn):
            with self.assertRaises(KeyboardInterrupt):
                TimeoutManager(60).run(["sleep", "60"])
        self.assertFalse(os.path.exists(f"/proc/{numbers[0]}"))

    @unittest.skipUnless(LINUX, "there is no such end elsewhere")
    def test_may_say_much_when_it_is_told_to_end(self):
        code = (
            "import os, signal, sys, time\n"
            "def end(*_):\n"
            "    sys.stdout.write('x' * 300_000)\n"
            "    sys.stdout.flush()\n"
            "    os._exit(0)\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "print('a', flush=True)\n"
            "time.sleep(60)\n"
        )
        options = {"grace": 50, "timeout": 2, "stdout": subprocess.PIPE, "text": True}
        runs = (
            lambda manager, *args: manager.run(*args, **options),
            lambda manager, *args: asyncio.run(manager.run_async(*args, **options)),
        )
        for run in runs:
            began = time.monotonic()
            with self.assertRaises(PhaseTimeout) as caught:
                run(TimeoutManager(60), [*PYTHON, "-c", code])
            self.assertLess(time.monotonic() - began, 25)
            self.assertEqual(caught.exception.output, "a\n" + 300_000 * "x")
            self.assertEqual([each.signal for each in caught.exception.killed], ["TERM"])

    def test_status_is_known_where_sigchld_is_ignored(self):
        code = IGNORED + (
            "manager, codes = package.TimeoutManager(60), []\n"
            "run = lambda: codes.append(manager.run('exit 3', shell=True).returncode)\n"
            "run(); thread = threading.Thread(target=run); thread.start(); thread.join(); print(codes)\n"
            "assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN\n"
        )
        for without in "", "import sys; sys.modules['_ctypes'] = None\n":
            command = [*PYTHON, "-c", without + code]
            done = subprocess.run(command, stdout=-1, text=True, env=environment(), timeout=60)
            self.assertEqual((done.returncode, done.stdout), (0, "[3, 3]\n"), without)


if __name__ == "__main__":
    unittest.main()
