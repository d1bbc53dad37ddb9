# SPDX-License-Identifier: Apache-2.0
"""What the lease guard makes of the answers that it gets, and that it stops what it has to.

    python3 -m unittest discover tests/ansible
"""

import base64
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "roles/patroni/files/hactl-lease-guard"


def load():
    loader = importlib.machinery.SourceFileLoader("hactl_lease_guard", str(PROGRAM))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


GUARD = load()


def encoded(text):
    return base64.b64encode(text.encode()).decode()


class Told(GUARD.Guard):
    """A guard of a primary whose questions are answered from a table."""

    def __init__(self, data_dir="/nowhere"):
        settings = {
            "etcd": ["a:2379", "b:2379"],
            "prefix": "/service/main/",
            "name": "node1",
            "restapi": "127.0.0.1:8008",
            "data_dir": data_dir,
            "ttl": 20,
            "margin": 2,
        }
        super().__init__(settings, None)
        self.leader = "node1"
        self.config = {"ttl": 20}
        self.left = 17
        self.etcd_answers = True
        self.patroni = None
        self.asked = []
        self.here = True

    def primary(self):
        return 1 if self.here else None

    def ask(self, address, method, path, body=None):
        self.asked.append(address)
        if path == "/patroni":
            if self.patroni is None:
                raise ConnectionRefusedError
            return self.patroni
        if not self.etcd_answers:
            raise TimeoutError
        if path == "/v3/lease/timetolive":
            return {"TTL": str(self.left)} if self.left else {}
        leader = {"kvs": [{"value": encoded(self.leader), "lease": "7"}]} if self.leader else {}
        config = {"kvs": [{"value": encoded(json.dumps(self.config))}]} if self.config is not None else {}
        return {"responses": [{"response_range": leader}, {"response_range": config}]}

    def seconds(self):
        """How long the primary may go on; None: nothing is known."""
        self.look()
        return None if self.until is None else round(self.until - time.monotonic())


class Proofs(unittest.TestCase):
    def test_a_lease_of_its_own_is_good_for_what_it_has_left(self):
        guard = Told()
        self.assertEqual(guard.seconds(), 17)
        guard.left = 3
        self.assertEqual(guard.seconds(), 3)
        # etcd leaves a zero out.
        guard.left = 0
        self.assertEqual(guard.seconds(), 0)

    def test_no_answer_proves_nothing_and_the_next_voter_is_asked(self):
        guard = Told()
        guard.look()
        guard.etcd_answers = False
        until = guard.until
        guard.asked.clear()
        guard.look()
        guard.look()
        self.assertEqual(guard.until, until)
        self.assertEqual([address for address in guard.asked if address != "127.0.0.1:8008"], ["a:2379", "b:2379"])

    def test_failsafe_mode_is_good_for_ttl_while_patroni_says_so(self):
        guard = Told()
        guard.config = {"ttl": 30}
        guard.look()
        guard.etcd_answers = False
        guard.patroni = {"failsafe_mode_is_active": True}
        self.assertEqual(guard.seconds(), 30)
        until = guard.until
        guard.patroni = {"state": "running"}
        guard.look()
        self.assertEqual(guard.until, until)

    def test_a_pause_is_the_administrators(self):
        guard = Told()
        guard.look()
        guard.config = {"ttl": 20, "pause": True}
        self.assertIsNone(guard.seconds())
        guard.config = {"ttl": 20}
        guard.look()
        guard.etcd_answers = False
        guard.patroni = {"pause": True}
        self.assertIsNone(guard.seconds())

    def test_a_key_of_another_member_ends_it_soon_and_not_later_with_every_look(self):
        guard = Told()
        guard.look()
        guard.leader = "node2"
        first = guard.seconds()
        self.assertEqual(first, round(GUARD.GRACE) + 2)
        until = guard.until
        guard.look()
        self.assertEqual(guard.until, until)

    def test_without_a_proof_nothing_is_done(self):
        guard = Told()
        guard.leader = None
        self.assertIsNone(guard.seconds())
        guard.etcd_answers = False
        guard.patroni = {"failsafe_mode_is_active": True}
        self.assertIsNone(guard.seconds())

    def test_a_standby_is_left_alone(self):
        guard = Told()
        guard.look()
        guard.here = False
        self.assertIsNone(guard.seconds())


class Stops(unittest.TestCase):
    def directory(self, process):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        pathlib.Path(scratch.name, "postmaster.pid").write_text("%d\n/data\n" % process.pid, encoding="utf-8")
        return scratch.name

    def guard(self, directory):
        return GUARD.Guard({"etcd": [], "data_dir": directory, "margin": 2, "ttl": 20}, None)

    def process(self, script):
        process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def test_a_standby_by_its_signal_file(self):
        process = self.process("echo ready; exec sleep 60")
        directory = self.directory(process)
        self.assertEqual(self.guard(directory).primary(), process.pid)
        pathlib.Path(directory, "standby.signal").touch()
        self.assertIsNone(self.guard(directory).primary())
        process.kill()
        process.wait()
        os.unlink(os.path.join(directory, "standby.signal"))
        self.assertIsNone(self.guard(directory).primary())

    def test_sigquit_and_then_sigkill_to_all_of_it(self):
        process = self.process("trap '' QUIT; sleep 60 & echo ready; wait")
        child = GUARD.children(process.pid)
        self.assertEqual(len(child), 1)
        guard = self.guard(self.directory(process))
        guard.until = time.monotonic()
        guard.stop()
        self.assertEqual(process.wait(), -signal.SIGKILL)
        last = time.monotonic() + 10
        while alive(child[0]) and time.monotonic() < last:
            time.sleep(0.05)
        self.assertFalse(alive(child[0]))


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
