"""Nothing is left of a command whose time is over, also where little is known of processes."""

import contextlib
import functools
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
from ..helpers.child import PYTHON, ROOT, environment, hear
from ..helpers.together import Together
from ..helpers.tree import LINUX, alive, children

PhaseTimeout, TimeoutManager = package.PhaseTimeout, package.TimeoutManager
originals = import_module(f"{package.__name__}.originals")
table, members, tree = (import_module(f"{package.__name__}.processes.{each}") for each in ("table", "members", "tree"))


@unittest.skipUnless(LINUX, "processes are found by /proc")
class NoSurvivor(Together, unittest.TestCase):
    """Every command line has a word of its own, by which what is left of it can be found."""

    def setUp(self):
        self.word = f"{os.getpid()}{time.monotonic_ns()}"
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in alive(self.word)])

    def end(self, script, limit=0.5, grace=0.2, until=None, **options):
        """Run a script of the shell in which SLEEP is a long sleep with the word; return the error.

        Where a condition is given, its time is over when that is true.
        """
        script = script.replace("SLEEP", f"sleep 60.{self.word}").replace("PYTHON", " ".join(PYTHON))
        began = time.monotonic()
        manager = TimeoutManager(60 if until else limit, enforce=until is not None)
        if until:
            threading.Thread(target=self.reset, args=(manager, until), daemon=True).start()
        with self.assertRaises(PhaseTimeout) as caught:
            manager.run(["bash", "-c", script, self.word], "tree", grace=grace, **options)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(alive(self.word), [], script)
        return caught.exception

    def reset(self, manager, until):
        while not until():
            time.sleep(0.02)
        manager.reset(0)

    def test_parents_come_before_children_of_the_same_tick(self):
        for mark in b"", None:
            rows = {10: os.getpid(), 11: 10, 12: 11, 13: 12, 14: 10, 15: 14}
            known = {pid: table.Process(pid, rows[pid], 10, 10, "S", 5.0) for pid in sorted(rows, reverse=True)}
            found = tree.Tree()
            found.began = 0.0
            what = dict(processes=lambda but: dict(known), is_child=lambda pid: True)
            what["environ_of"] = lambda pid: found.mark.encode() if mark is None else mark
            with mock.patch.multiple(members, **what), mock.patch.object(table.Process, "hold", lambda self: True):
                order = [each.pid for each in found.look([mock.Mock(pid=10, returncode=None)])]
            self.assertEqual(sorted(order), sorted(rows))
            for pid in order[1:]:
                self.assertLess(order.index(rows[pid]), order.index(pid), order)

    def test_reads_once_who_was_there_before_until_a_number_may_come_again(self):
        old, new = (table.Process(pid, 1, 1, 1, "S", started) for pid, started in ((10, 4.0), (11, 5.0)))
        asked = []

        def processes(but):
            asked.append(set(but))
            return {each.pid: each for each in (old, new) if each.pid not in but}

        unknown = table.UNKNOWN, 0
        births = [(1000, 11), (10_999, 400), (11_000, 410), (11_001, 411), (11_002, 7), unknown, unknown]
        found = tree.Tree()
        found.began = 5.0
        with mock.patch.multiple(members, processes=processes, births=mock.Mock(side_effect=births)):
            for _ in births:
                found.look([])
        self.assertEqual(asked, [set(), {10}, set(), {10}, set(), set(), set()])
        count, last = table.births()
        self.assertLess(count, table.births()[0] + 1)
        self.assertGreater(min(count, last), 0)

    def test_but_a_child_that_is_of_no_tree(self):
        """In a namespace of processes the session of whoever comes from outside of it is 0."""
        child = table.Process(10, os.getpid(), 0, 0, "S", 5.0)
        self.assertFalse(tree.Tree().is_sure(child))
        other = tree.Tree()
        other.session = 7
        child.session = 7
        self.assertTrue(other.is_sure(child))

    def test_of_a_shell_that_waits(self):
        error = self.end("SLEEP & wait", shell=False)
        self.assertEqual(sorted(each.signal for each in error.killed), ["TERM", "TERM"])

    def test_that_ignores_term(self):
        error = self.end("trap '' TERM; SLEEP & SLEEP & while :; do SLEEP; done")
        self.assertEqual({each.signal for each in error.killed}, {"KILL"})
        lines = ["Processes that had to be killed:", *(f"  {each}" for each in error.killed)]
        self.assertEqual(error.diagnosis, "\n".join(lines))
        self.assertRegex(str(error.killed[:1]), r"^\(\d+ bash -c .* \(\d\.\d s\) KILL,\)$")

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
            self.assertEqual(TimeoutManager().run([*PYTHON, "-c", code], stdout=-1, **options).stdout, shared)

    def test_that_is_stopped(self):
        self.end("SLEEP & kill -STOP $!; kill -STOP $$; SLEEP")

    def test_that_holds_the_pipe(self):
        error = self.end("echo said; (setsid SLEEP &) ; exit 0", capture_output=True)
        self.assertEqual(error.output, b"said\n")

    def test_of_a_hundred(self):
        self.end("for i in {1..50}; do SLEEP & setsid SLEEP & done; wait", until=lambda: len(alive(self.word)) > 100)

    def test_that_forks_while_it_is_killed(self):
        self.end("trap '' TERM; f() { SLEEP & sleep 0.02; f & }; f; while :; do SLEEP & sleep 0.02; done", 0.3, 0.1)

    def test_that_is_a_chain_of_processes_that_fork_and_exit(self):
        code = (
            "import os, sys, time; end = time.monotonic() + 20\n"
            "while time.monotonic() < end:\n"
            "    if os.fork(): os._exit(0)\n"
            "    os.setsid(); os.write(1, b'.')\n"
        )
        for _ in range(2):
            with tempfile.TemporaryFile() as file:
                is_long = functools.partial(lambda number: os.fstat(number).st_size > 10, file.fileno())
                self.end(f"PYTHON -c \"{code}\" & SLEEP", until=is_long, grace=0.02, stdout=file)
                length = file.seek(0, os.SEEK_END)
                self.assertGreater(length, 5)
                time.sleep(0.1)
                self.assertEqual(file.seek(0, os.SEEK_END), length)

    def test_though_each_look_takes_longer_than_killing_may(self):
        def look(self, roots):
            time.sleep(0.2)
            return real(self, roots)

        real = tree.Tree.look
        with mock.patch.multiple(tree, BOUND=0.1), mock.patch.object(tree.Tree, "look", look):
            error = self.end("trap '' TERM; while :; do SLEEP; done", start_new_session=False)
        self.assertEqual((len(error.killed), error.survivors), (2, ()))

    def test_at_once_though_others_are_born_all_the_time(self):
        others = subprocess.Popen(["bash", "-c", "while kill -0 $PPID; do /bin/true; done"])
        self.addCleanup(others.wait)
        self.addCleanup(others.kill)
        with mock.patch.object(tree.Tree, "look", autospec=True, side_effect=tree.Tree.look) as look:
            self.end("SLEEP & SLEEP", limit=0.2, grace=0.1)
        self.assertLess(look.call_count, 10)

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
        bound = mock.patch.object(tree, "BOUND", 120)
        with mock.patch.object(table.Process, "_send", send), others, bound, self.assertRaises(PhaseTimeout) as caught:
            script = f"setsid sleep 61.{self.word} & trap '' TERM; while :; do sleep 60.{self.word}; done"
            TimeoutManager(0.5).run(["bash", "-c", script], grace=0.2, stderr=subprocess.DEVNULL)
        self.assertLess(time.monotonic() - began, 60)
        error = caught.exception
        self.assertEqual([each.pid for each in error.survivors], alive(self.word))
        self.assertEqual([each.command for each in error.survivors], [f"sleep 61.{self.word}"])
        self.assertNotIn(error.survivors[0].pid, [each.pid for each in error.killed])
        last = f"\n\nProcesses that live on:\n  {error.survivors[0].pid} sleep 61"
        self.assertRegex(error.diagnosis, f"(?s)had to be killed:\n.*{last}")

    def test_and_what_is_killed_is_told_in_short(self):
        script = "trap '' TERM; for i in {1..35}; do SLEEP & done; wait; : \033[2J " + "x" * 9999
        error = self.end(script, until=lambda: len(alive(self.word)) > 35)
        self.assertEqual(len(error.killed), 36)
        self.assertLess(len(error.diagnosis), 9999)
        self.assertTrue(error.diagnosis.endswith("\n  and 6 more"), error.diagnosis)
        self.assertTrue(error.diagnosis.replace("\n", "").isprintable())

    def test_and_who_is_born_while_it_is_killed_is_told_with_the_others(self):
        def slowly(group, number):
            time.sleep(0.05 if number == signal.SIGKILL else 0)
            return real(group, number)

        real = tree.to_group
        with tempfile.TemporaryFile() as file, mock.patch.object(tree, "to_group", slowly):
            error = self.end("trap '' TERM; for i in {1..500}; do SLEEP & echo $!; done; wait", 0.1, 0.1, stdout=file)
            file.seek(0)
            self.assertEqual(set(map(int, file)) - {each.pid for each in error.killed}, set())

    def test_and_what_a_trap_starts_may_end_by_itself(self):
        with tempfile.TemporaryFile() as file:
            self.end("trap 'sleep 0.3; echo saved; exit' TERM; SLEEP & wait", grace=9, stdout=file)
            file.seek(0)
            self.assertEqual(file.read(), b"saved\n")

    def test_and_who_is_born_while_its_parent_dies_gets_the_signal_too(self):
        for is_dying in False, True:
            shell, child = (table.Process(pid, pid - 1, 10, 10, "S", 5.0) for pid in (10, 11))
            shell.is_dying = is_dying
            looks = mock.patch.object(tree.Tree, "look", side_effect=[[shell], *2 * [[shell, child]]])
            with looks, mock.patch.object(table.Process, "send", autospec=True) as send:
                told = tree.Tree().send([], signal.SIGTERM)
            self.assertEqual(told, [shell, child] if is_dying else [shell])
            self.assertIn(mock.call(shell, signal.SIGTERM), send.mock_calls)

    def test_who_dies(self):
        known = table.contents(f"/proc/{os.getpid()}/stat").split()
        for state, flags, threads, pending, is_dying in (
            *((b"S", 0x400040, 1, 0, False), (b"S", 0x400040, 1, 1 << 14, False), (b"R", 0x400040, 1, 1 << 8, True)),
            *((b"R", 0x400044, 1, 0, True), (b"Z", 0x400044, 2, 0, False), (b"Z", 0x400044, 2, 1 << 8, True)),
        ):
            fields = [b"%d" % os.getpid(), b"(a) b)", state, *known[-49:]]
            fields[8], fields[19], fields[30] = b"%d" % flags, b"%d" % threads, b"%d" % pending
            with mock.patch.object(table, "contents", return_value=b" ".join(fields)):
                found = table.process_of(os.getpid())
            self.assertEqual((found.is_dying, found.parent), (is_dying, os.getppid()), fields)

    def test_that_is_a_run_itself(self):
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            f"package.TimeoutManager().run(['bash', '-c', 'trap : TERM; sleep 60.{self.word} & sleep 60.{self.word}'])"
        )
        self.end(f"PYTHON -c \"{code}\"", limit=1.5, stderr=subprocess.DEVNULL)

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
        signal.setitimer(signal.ITIMER_REAL, 0.8)
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
        done = subprocess.run([*PYTHON, "-c", code], stdout=-1, text=True, env=environment(), timeout=60)
        self.assertEqual((done.stdout, alive(self.word)), ("['']\n", []))

    def test_on_ctrl_c(self):
        hear(self, signal.SIGINT)
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); import {package.__name__} as package\n"
            "package.TimeoutManager().run(['bash', '-c', "
            f"'sleep 60.{self.word} & (setsid sleep 60.{self.word} &) ; wait'])"
        )
        process = subprocess.Popen([*PYTHON, "-c", code], stderr=subprocess.PIPE, env=environment())
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
            os.killpg(bystanders[2].pid, signal.SIGKILL)
            for process in bystanders:
                process.kill()
                process.wait()

    def test_the_ending_is_not_torn_by_interrupts(self):
        inner, outer = (TimeoutManager(60, enforce=True) for _ in range(2))
        threading.Thread(target=self.reset, args=(outer, lambda: len(alive(self.word)) > 1), daemon=True).start()
        with self.assertRaises(PhaseTimeout) as caught:
            with outer.timed_operation("outer"):
                inner.run(["bash", "-c", f"trap '' TERM; sleep 60.{self.word} & wait; wait"], grace=0.5)
        self.assertEqual(alive(self.word), [])
        self.assertEqual(caught.exception.phase, "outer")
        self.assertEqual({each.signal for each in caught.exception.killed}, {"KILL"})

    def test_no_descriptor_and_no_child_is_left(self):
        before = os.listdir("/proc/self/fd"), children()
        self.end("SLEEP & (setsid SLEEP &) ; wait", capture_output=True)
        self.assertEqual((os.listdir("/proc/self/fd"), children()), before)


class LittleIsKnown(Together, unittest.TestCase):
    """Whatever a system tells of its processes, the command and its group end, and the error is a PhaseTimeout."""

    def setUp(self):
        self.word = f"{os.getpid()}{time.monotonic_ns()}"
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in alive(self.word)] if LINUX else None)

    def end(self, script, limit=0.4, **options):
        script = script.replace("SLEEP", f"sleep 60.{self.word}")
        began, before = time.monotonic(), os.listdir("/proc/self/fd") if LINUX else []
        with self.assertRaises(PhaseTimeout) as caught:
            TimeoutManager(limit).run(["bash", "-c", script, self.word], grace=0.2, **options)
        self.assertLess(time.monotonic() - began, 15)
        if LINUX:
            self.assertEqual(alive(self.word), [], script)
            self.assertEqual(os.listdir("/proc/self/fd"), before)
        return caught.exception

    def without_proc(self, *ps):
        for module in table, members, tree:
            patch = mock.patch.object(module, "has_proc", lambda: False)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.multiple(table.ps, PS=ps or table.ps.PS, PATIENCE=0.1 if ps else table.ps.PATIENCE)
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
    def test_but_what_the_ps_of_another_system_tells(self):
        own = f"{os.getpid()} {os.getppid()} {os.getpgrp()}"
        lines = (  # as that of macOS
            *("    1     0     1 Ss   /sbin/launchd", f"{own} S+ Python -m unittest", f"$$ {os.getpid()} 1 R+   ps -A"),
            *("77771     1 77770 U    /Applications/A B.app/a -x", "77772 77771 77770 Z    (sleep)"),
            "77773 77771 77770 ?Es ",
        )
        self.without_proc("sh", "-c", "; ".join(f'echo "{line}"' for line in lines))
        told = table.processes()
        states = {pid: process.state for pid, process in told.items()}
        self.assertEqual(states, {1: "S", os.getpid(): "S", 77771: "U", 77772: "Z", 77773: "?"})
        self.assertEqual((told[77771].command, told[77772].parent), ("/Applications/A B.app/a -x", 77771))

    def end_by(self, *ps):
        """Look at processes by a `ps` that is of no use."""
        self.without_proc(*ps)
        with self.assertRaises(OSError, msg=ps):
            table.processes()
        with mock.patch.object(table.ps, "rows", side_effect=table.ps.rows) as asked:
            error = self.end("SLEEP & SLEEP; SLEEP")
        self.assertEqual(asked.call_count, 1)  # one that does not end takes its time
        self.assertEqual([each.parent for each in error.killed], [os.getpid()])
        told = str(pickle.loads(pickle.dumps(error)).killed)
        self.assertRegex(told, "bash -c sleep .* (TERM|KILL),")
        self.assertNotIn(" s)", told)  # when it was started is not known

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_and_there_is_no_ps(self):
        self.end_by("/no/such/ps")
        error = self.end("trap '' TERM; SLEEP & while :; do SLEEP; done")
        self.assertEqual(([each.signal for each in error.killed], error.survivors), (["KILL"], ()))

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_and_ps_tells_nothing(self):
        self.end_by("true")

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_and_ps_does_not_end(self):
        self.end_by("sleep", "60")

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_and_ps_tells_something_else(self):
        self.end_by("echo", "what?")

    @unittest.skipUnless(hasattr(os, "killpg"), "POSIX")
    def test_and_ps_sees_others_than_us(self):
        another = f"echo 1 0 1 S init; echo {os.getpid()} 1 {os.getpgrp()} S us; echo $$ 1 1 S stranger"
        self.end_by("sh", "-c", another)

    @unittest.skipUnless(LINUX, "a /proc, and namespaces")
    def test_and_proc_is_that_of_another_namespace(self):
        code = (
            f"import sys; sys.path.insert(0, {ROOT!r}); from {package.__name__}.processes import table\n"
            "import os; print(table.has_proc(), os.path.exists('/proc/self/stat'))"
        )
        ran = subprocess.run(["unshare", "-pf", *PYTHON, "-c", code], capture_output=True, text=True, timeout=60)
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
        error = self.end("for i in {1..40}; do setsid SLEEP & SLEEP & done; wait", limit=1.0)
        self.assertGreater(len(error.killed), 30)

    @unittest.skipUnless(LINUX, "what is open is seen by /proc")
    def test_and_no_file_can_be_opened_any_more(self):
        import resource

        self.end("SLEEP")  # no module can be opened later on, either
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
                TimeoutManager(0.6).run(["bash", "-c", f"sleep 60.{self.word} & wait"], grace=0.2, stdout=-1)
        finally:
            leaking.join()
            for each in held:
                os.close(each)
        self.assertIn(os.getpid(), [each.parent for each in caught.exception.killed])
        self.assertEqual(alive(self.word), [])


if __name__ == "__main__":
    unittest.main()
