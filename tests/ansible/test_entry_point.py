# SPDX-License-Identifier: Apache-2.0
"""What hactl runs on machines with a pooler: asking the proxy, holding clients back, and letting them go on.

    python3 -m unittest discover tests/ansible

The proxy is a socket that answers as HAProxy does. The console of the pooler and systemd are shell scripts.
"""

import importlib.util
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import unittest
from unittest import mock

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"
HEAD = "# pxname,svname,scur,status\n"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Proxy:
    """Answers each connection with the next of some tables; the last one stays."""

    def __init__(self, directory, *tables):
        self.path, self.tables = str(directory / "admin.sock"), list(tables)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                assert client.recv(100) == b"show stat\n"
                rows = self.tables.pop(0) if len(self.tables) > 1 else self.tables[0]
                client.sendall((HEAD + "".join(",".join(row) + "\n" for row in rows)).encode())


def table(**up):
    rows = [("primary", "FRONTEND", "3", "OPEN")]
    rows += [("primary", name, "2", "UP" if state else "DOWN") for name, state in up.items()]
    return rows + [("primary", "BACKEND", "3", "UP"), ("replicas", "node2", "", "UP 1/2")]


class Verifiers(unittest.TestCase):
    def test_question_is_an_argument_so_that_a_server_that_is_away_does_not_fail_the_module(self):
        verifiers = load(SRC.parent / "roles/pgbouncer/library/pgbouncer_verifiers.py")
        module = mock.Mock(params=dict(users=["o'app"], socket_dir="/run/x", port=5432))
        verifiers.ask(module)
        (argv,), given = module.run_command.call_args
        self.assertNotIn("data", given)
        self.assertIn("ARRAY['o''app']", argv[-1])
        self.assertEqual(argv[-3], "SET search_path = pg_catalog, pg_temp")


class EntryPoint(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)

    def proxy(self, module, *tables):
        proxy = Proxy(self.dir, *tables)
        self.addCleanup(proxy.listener.close)
        module.SOCKET = proxy.path

    def test_servers_of_the_proxy_are_told_without_its_totals(self):
        module = load(SRC / "component/haproxy/ask.py")
        rows = [{"pxname": p, "svname": s, "scur": c, "status": t} for p, s, c, t in table(node1=True, node2=False)]
        self.assertEqual(module.servers(rows, "primary"), [
            {"name": "node1", "up": True, "connections": 2}, {"name": "node2", "up": False, "connections": 2}])
        self.assertEqual(module.servers(rows, "replicas"), [{"name": "node2", "up": True, "connections": 0}])
        self.proxy(module, table(node1=True))
        self.assertIn("primary,node1", module.statistics())

    def test_clients_go_on_only_when_one_other_server_is_up(self):
        module = load(SRC / "operation/switchover/moved.py")
        both, none = table(node1=True, node2=True), table(node1=False, node2=False)
        self.proxy(module, table(node1=True, node2=False), both, none, table(node1=False, node2=True))
        asked = []
        resume = mock.Mock(side_effect=lambda *args, **rest: subprocess.CompletedProcess(args, 0, "", ""))
        with mock.patch.object(module.subprocess, "run", resume), mock.patch("builtins.print", asked.append):
            module.main("node1", "6432", "5")
        self.assertEqual((asked, resume.call_count), (["node2"], 1))
        self.assertIn("RESUME", resume.call_args.args[0])

    def test_clients_stay_where_the_proxy_does_not_follow(self):
        module = load(SRC / "operation/switchover/moved.py")
        self.proxy(module, table(node1=True, node2=True))
        with mock.patch.object(module.subprocess, "run") as resume, self.assertRaises(SystemExit) as ended:
            module.main("node1", "6432", "0.2")
        self.assertEqual(str(ended.exception), "the proxy leads to node1 and node2")
        resume.assert_not_called()

    def hold(self, step, console, ident="a1"):
        """Runs a step with a console that is `console`. Gives the exit status and what was called."""
        programs, calls = self.dir / "bin", self.dir / "calls"
        programs.mkdir(exist_ok=True)
        calls.write_text("")
        stubs = {"runuser": 'echo "runuser $*" >>%s\n%s' % (calls, console)}
        for name in ("systemctl", "systemd-run"):
            stubs[name] = 'echo "%s $*" >>%s' % (name, calls)
        for name, text in stubs.items():
            (programs / name).write_text("#!/bin/sh\n%s\n" % text)
            (programs / name).chmod(0o755)
        script = (SRC / "operation/switchover/hold.sh").read_text()
        for mark, value in {"STEP": step, "ID": ident, "PORT": "6432", "PAUSE": "1", "SECONDS": "48"}.items():
            script = script.replace("@%s@" % mark, value)
        script = script.replace("/run/hactl-hold", str(self.dir / "undo"))
        done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, check=False,
                              env=dict(os.environ, PATH="%s:%s" % (programs, os.environ["PATH"])))
        return done.returncode, calls.read_text()

    def test_timer_is_set_before_the_pause_and_ends_with_the_resume(self):
        code, calls = self.hold("arm", ":")
        self.assertEqual(code, 0)
        self.assertIn("--on-active=48", calls)
        self.assertIn("RESUME", (self.dir / "undo").read_text())
        self.assertNotIn("PAUSE", calls)
        self.assertEqual(self.hold("pause", ":")[0], 0)
        code, calls = self.hold("resume", ":")
        self.assertEqual((code, (self.dir / "undo").exists()), (0, False))
        self.assertIn("RESUME", calls)

    def test_pause_that_ends_too_late_is_resumed_and_that_of_an_operator_stays(self):
        self.hold("arm", ":")
        self.assertEqual(self.hold("pause", "sleep 5")[0], 124)
        self.assertIn("RESUME", self.hold("resume", ":")[1])
        self.hold("arm", ":")
        self.assertEqual(self.hold("pause", "echo 'ERROR: already suspended/paused' >&2; exit 1")[0], 1)
        self.assertNotIn("RESUME", self.hold("resume", ":")[1])

    def test_pause_whose_command_was_killed_keeps_its_timer_and_is_resumed(self):
        self.hold("arm", ":")
        code, calls = self.hold("pause", "kill -9 $$")
        self.assertEqual(code, 137)
        self.assertNotIn("systemctl stop", calls)
        self.assertIn("RESUME", self.hold("resume", ":")[1])

    def test_pause_of_a_run_that_was_killed_ends_before_its_timer_does(self):
        self.hold("arm", ":", "a1")
        code, calls = self.hold("arm", ":", "b2")
        self.assertEqual(code, 0)
        self.assertLess(calls.index("RESUME"), calls.index("systemctl stop hactl-hold.timer"))
        # Where it does not answer, the timer of the earlier run stays.
        code, calls = self.hold("arm", "echo refused >&2; exit 2", "c3")
        self.assertEqual((code, calls.count("systemctl stop")), (1, 0))
        self.assertIn("# b2", (self.dir / "undo").read_text())

    def test_resume_of_another_operation_or_after_the_timer_does_nothing_or_succeeds(self):
        self.hold("arm", ":")
        self.assertEqual(self.hold("resume", ":", "b2")[1], "")
        self.assertEqual(self.hold("resume", "echo 'ERROR: pooler is not paused/suspended' >&2; exit 1")[0], 0)
        self.hold("arm", ":")
        self.assertEqual(self.hold("resume", "echo refused >&2; exit 2")[0], 1)


if __name__ == "__main__":
    unittest.main()
