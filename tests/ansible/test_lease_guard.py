# SPDX-License-Identifier: Apache-2.0
"""Tests what the lease guard concludes from the answers that it gets, and what it stops. One file, like the program.

    python3 -m unittest discover tests/ansible
"""

import base64
import http.server
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "roles/patroni/files/hactl-lease-guard"


def load():
    loader = importlib.machinery.SourceFileLoader("hactl_lease_guard", str(PROGRAM))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


GUARD = load()
TTL, LOOP_WAIT, MARGIN = 20, 3, 2


class Primary:
    """A primary's minutes, second by second: what etcd and Patroni answer, and when the lease guard stops it.

    A lease is renewed every `LOOP_WAIT` seconds until `renewed_until`. Each function answers for one second, or gives
    None for no answer.
    """

    def __init__(self, renewed_until=1000, etcd=None, patroni=None):
        self.renewed_until = renewed_until
        self.etcd = etcd or self.answer
        self.patroni = patroni or (lambda now: None)
        self.proof = GUARD.Proof("node1", TTL, LOOP_WAIT, MARGIN)
        self.now = 0.0

    def answer(self, asked, takes=0.1, holder="node1", **config):
        """etcd's answer to what was asked at `asked`."""
        renewed = min(asked // LOOP_WAIT * LOOP_WAIT, self.renewed_until)
        ends = int(renewed + TTL - asked) + asked if holder == "node1" else None
        return GUARD.Answer(asked, asked + takes, holder, ends, config)

    def lives(self, seconds):
        """The second in which it is stopped; None if it lives so long."""
        arriving = []
        for _ in range(seconds):
            answer = self.etcd(self.now)
            arriving += [answer] if answer is not None else []
            for answer in [answer for answer in arriving if answer.arrived <= self.now + 1]:
                arriving.remove(answer)
                self.proof.etcd(answer)
            word = self.patroni(self.now)
            if word is not None and self.proof.is_silent(self.now):
                self.proof.patroni(word)
            self.now += 1
            if self.proof.due(self.now):
                return self.now
        return None


def word(now, seen, primary=True, failsafe=False, pause=False):
    return GUARD.Word(now, primary, seen, failsafe, pause)


def until(second, answer, afterwards=lambda now: None):
    """An answer until then, and another one from then on."""
    return lambda now: answer(now) if now < second else afterwards(now)


class Decisions(unittest.TestCase):
    def test_lease_that_is_renewed_is_never_fenced(self):
        self.assertIsNone(Primary().lives(600))

    def test_lease_that_is_not_renewed_is_fenced_a_margin_before_its_end(self):
        # Renewed at 30 for the last time: it ends at 50.
        self.assertEqual(Primary(renewed_until=30).lives(100), 48)

    def test_etcd_that_stops_answering_fences_by_the_last_lease(self):
        primary = Primary()
        primary.etcd = until(31, primary.answer)
        self.assertEqual(primary.lives(100), 48)

    def test_slow_etcd_fences_nothing(self):
        for takes in (1.0, 2.0, 2.9):
            primary = Primary()
            busy = [0.0]

            # A look takes two requests; the next one begins a second later.
            def slow(now, primary=primary, busy=busy, takes=takes):
                if now < busy[0]:
                    return None
                busy[0] = now + 2 * takes + 1
                return primary.answer(now, 2 * takes)

            primary.etcd = slow
            self.assertIsNone(primary.lives(60), takes)

    def test_answers_that_arrive_in_another_order_change_nothing(self):
        primary = Primary()
        newer, older = primary.answer(12.0, 0.1), primary.answer(6.0, 2.9)
        primary.proof.etcd(newer)
        before = primary.proof.until()
        primary.proof.etcd(older._replace(ends=older.ends + 100))
        self.assertEqual(primary.proof.until(), before)

    def test_key_of_another_member_fences_soon_and_later_looks_do_not_delay_it(self):
        primary = Primary()
        primary.etcd = until(30, primary.answer, lambda now: primary.answer(now, holder="node2"))
        self.assertEqual(primary.lives(60), 30 + GUARD.GRACE + 1)
        self.assertEqual(primary.proof.reason(), "the leader key belongs to node2")

    def test_key_of_another_member_fences_also_before_a_first_proof(self):
        primary = Primary()
        primary.etcd = lambda now: primary.answer(now, holder="node2")
        self.assertEqual(primary.lives(60), GUARD.GRACE + 1)

    def test_answer_from_before_the_key_changed_hands_proves_nothing(self):
        primary = Primary()
        primary.proof.etcd(primary.answer(10.0, 0.5, holder="node2"))
        primary.proof.etcd(primary.answer(10.2, 2.9))
        self.assertFalse(primary.proof.proves(10.6))
        # Asked after that answer was here: the member has the key again.
        primary.proof.etcd(primary.answer(11.0))
        self.assertTrue(primary.proof.proves(11.1))

    def test_patroni_proves_nothing_once_another_member_has_the_key(self):
        other = until(1, lambda now: primary.answer(now, holder="node2"))
        primary = Primary(patroni=lambda now: word(now, seen=int(now), failsafe=True))
        primary.etcd = other
        self.assertEqual(primary.lives(60), GUARD.GRACE + 1)

    def test_pause_from_etcd_or_patroni_fences_nothing(self):
        primary = Primary(renewed_until=0)
        primary.etcd = lambda now: primary.answer(now, pause=True)
        self.assertIsNone(primary.lives(100))
        primary = Primary(patroni=lambda now: word(now, seen=0, pause=True))
        primary.etcd = until(10, primary.answer)
        self.assertIsNone(primary.lives(100))

    def test_nothing_is_fenced_before_a_first_proof(self):
        for patroni in (lambda now: None, lambda now: word(now, seen=7), lambda now: word(now, seen=None)):
            primary = Primary(etcd=lambda now: None, patroni=patroni)
            self.assertIsNone(primary.lives(200))
            self.assertFalse(primary.proof.proves(primary.now))

    def test_ttl_of_the_dynamic_configuration_replaces_that_of_the_file(self):
        proof = Primary().proof
        proof.etcd(GUARD.Answer(0.0, 0.1, "node1", 60.0, {"ttl": 60, "loop_wait": 10, "pause": False}))
        proof.patroni(word(30.0, seen=1, failsafe=True))
        self.assertEqual((proof.ttl, proof.good["failsafe"]), (60, 80.0))


class PatronisWord(unittest.TestCase):
    """etcd answers until second 30, and then never again."""

    def lives(self, seconds, patroni):
        primary = Primary(patroni=patroni)
        primary.etcd = until(31, primary.answer)
        return primary.lives(seconds)

    def test_changing_dcs_last_seen_keeps_the_primary(self):
        self.assertIsNone(self.lives(300, lambda now: word(now, seen=now // LOOP_WAIT)))

    def test_loop_that_stops_with_its_rest_api_alive_ends_by_the_look_before_the_last_change(self):
        # The value changes at second 60 for the last time; the look before was at 59.
        fenced = self.lives(300, lambda now: word(now, seen=min(now, 60) // LOOP_WAIT))
        self.assertEqual(fenced, 59 + TTL - LOOP_WAIT - MARGIN)

    def test_loop_that_stopped_before_etcd_did_proves_nothing(self):
        self.assertEqual(self.lives(300, lambda now: word(now, seen=9)), 48)

    def test_patroni_on_a_replica_proves_nothing(self):
        self.assertEqual(self.lives(300, lambda now: word(now, seen=now, primary=False)), 48)

    def test_wall_clock_that_jumps_an_hour_does_not_matter(self):
        for jump in (-3600, 3600):
            running = until(40, lambda now: word(now, seen=now), lambda now, jump=jump: word(now, seen=now + jump))
            self.assertIsNone(self.lives(300, running), jump)
            hung = until(40, lambda now: word(now, seen=now), lambda now, jump=jump: word(now, seen=40 + jump))
            self.assertEqual(self.lives(300, hung), 39 + TTL - LOOP_WAIT - MARGIN, jump)

    def test_reads_that_work_prove_nothing_while_etcd_says_that_the_lease_is_not_renewed(self):
        primary = Primary(renewed_until=30, patroni=lambda now: word(now, seen=now))
        self.assertEqual(primary.lives(100), 48)

    def test_guard_that_starts_while_etcd_does_not_answer_is_proved_by_a_change(self):
        primary = Primary(etcd=lambda now: None, patroni=lambda now: word(now, seen=min(now, 60)))
        self.assertEqual(primary.lives(300), 59 + TTL - LOOP_WAIT - MARGIN)


class Failsafe(unittest.TestCase):
    """etcd answers until second 30; Patroni's failsafe mode is active from 40 on."""

    def primary(self, patroni):
        primary = Primary(patroni=until(40, lambda now: word(now, seen=30), patroni))
        primary.etcd = until(31, primary.answer)
        return primary

    def test_active_failsafe_keeps_the_primary(self):
        self.assertIsNone(self.primary(lambda now: word(now, seen=30, failsafe=True)).lives(300))

    def test_loop_that_hangs_is_fenced_as_soon_as_patroni_says_that_failsafe_has_ended(self):
        # Patroni lets its flag go a ttl after its last round, here at 60.
        fenced = self.primary(lambda now: word(now, seen=30, failsafe=now < 60 + TTL)).lives(300)
        self.assertEqual(fenced, 60 + TTL + 1)

    def test_patroni_that_hangs_is_fenced_within_ttl(self):
        fenced = self.primary(until(60, lambda now: word(now, seen=30, failsafe=True))).lives(300)
        self.assertEqual(fenced, 59 + TTL - LOOP_WAIT - MARGIN)

    def test_guard_that_starts_in_failsafe_mode_fences_when_it_ends(self):
        primary = Primary(etcd=lambda now: None, patroni=lambda now: word(now, seen=1, failsafe=now < 60))
        self.assertEqual(primary.lives(300), 61)

    def test_etcd_that_is_back_takes_over_without_a_gap(self):
        # The lease has run out meanwhile; Patroni renews it a round after etcd is back, and says so.
        primary = self.primary(lambda now: word(now, seen=30 if now < 101 else now, failsafe=now < 102))
        back = until(103, lambda now: primary.answer(now, holder=None), primary.answer)
        primary.etcd = until(31, primary.answer, until(100, lambda now: None, back))
        self.assertIsNone(primary.lives(300))


def certificate(directory, name, days, authority=None):
    """Writes a key and a certificate for 127.0.0.1, of its own or of another's authority."""
    key, cert = os.path.join(directory, name + ".key"), os.path.join(directory, name + ".crt")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=" + name, "-days", str(days), "-keyout", key, "-out", cert]
    # openssl makes every certificate one of an authority; Python from 3.13 on wants to know what it is used for.
    command += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    if authority:
        command += ["-CA", authority + ".crt", "-CAkey", authority + ".key"]
    subprocess.run(command, check=True, capture_output=True)
    return os.path.join(directory, name)


class Etcd(http.server.BaseHTTPRequestHandler):
    """A voter of etcd that asks for a client certificate."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.connections.add(self.client_address)
        self.server.clients.append(self.connection.getpeercert()["subject"][0][0][1])
        value = {"value": base64.b64encode(b"node1").decode(), "lease": "7"}
        answer = {"responses": [{"response_range": {"kvs": [value]}}, {"response_range": {}}], "TTL": "17"}
        body = json.dumps(self.server.answer or answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Connections(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = scratch.name
        self.authority = certificate(self.directory, "authority", 9)
        certificate(self.directory, "first", 1, self.authority)
        certificate(self.directory, "second", 5, self.authority)
        self.use("first")
        self.settings = {name: os.path.join(self.directory, name) for name in ("ca", "cert", "key")}
        words = mock.patch.object(GUARD, "say")
        self.said = words.start()
        self.addCleanup(words.stop)

    def use(self, name, authority="authority"):
        """Replaces the files as Ansible does."""
        for source, file in ((authority + ".crt", "ca"), (name + ".crt", "cert"), (name + ".key", "key")):
            path = os.path.join(self.directory, file)
            shutil.copy(os.path.join(self.directory, source), path + ".new")
            os.replace(path + ".new", path)

    def serve(self, name="first", authority="authority"):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Etcd)
        server.clients, server.connections = [], set()
        server.answer, server.handle_error = None, lambda *_: None
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=os.path.join(self.directory, authority + ".crt"))
        tls.load_cert_chain(*(os.path.join(self.directory, name + end) for end in (".crt", ".key")))
        tls.verify_mode = ssl.CERT_REQUIRED
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def voter(self, server):
        return GUARD.Server("127.0.0.1:%d" % server.server_port, GUARD.Certificates(self.settings))

    def test_voter_is_asked_on_one_connection_for_holder_and_lease(self):
        server = self.serve()
        voter = self.voter(server)
        self.addCleanup(voter.close)
        before = GUARD.clock()
        answer = GUARD.ask_voter(voter, "/service/main/", "node1")
        GUARD.ask_voter(voter, "/service/main/", "node1")
        self.assertEqual((answer.holder, answer.config), ("node1", {}))
        self.assertEqual((len(server.clients), len(server.connections)), (4, 1))
        self.assertTrue(before + 17 <= answer.ends <= answer.arrived + 17)

    def test_certificate_replaced_on_disk_is_shown_without_a_restart(self):
        server = self.serve()
        voter = self.voter(server)
        self.addCleanup(voter.close)
        GUARD.ask_voter(voter, "/", "node1")
        ends = voter.certificates.not_after
        self.use("second")
        GUARD.ask_voter(voter, "/", "node1")
        self.assertEqual([server.clients[0], server.clients[-1]], ["first", "second"])
        self.assertEqual(round((voter.certificates.not_after - ends) / 86400), 4)

    def test_files_that_do_not_match_keep_the_previous_certificate(self):
        server = self.serve()
        voter = self.voter(server)
        self.addCleanup(voter.close)
        GUARD.ask_voter(voter, "/", "node1")
        shutil.copy(os.path.join(self.directory, "second.crt"), self.settings["cert"])
        GUARD.ask_voter(voter, "/", "node1")
        self.assertEqual(set(server.clients), {"first"})
        self.assertIn("KEY_VALUES_MISMATCH", voter.certificates.error)
        shutil.copy(os.path.join(self.directory, "second.key"), self.settings["key"])
        GUARD.ask_voter(voter, "/", "node1")
        self.assertEqual((server.clients[-1], voter.certificates.error), ("second", None))

    def test_authority_replaced_on_disk_is_trusted_without_a_restart(self):
        other = certificate(self.directory, "other", 9)
        certificate(self.directory, "third", 1, other)
        server = self.serve("third", "other")
        voter = self.voter(server)
        self.addCleanup(voter.close)
        with self.assertRaises(ssl.SSLCertVerificationError):
            GUARD.ask_voter(voter, "/", "node1")
        self.use("third", "other")
        self.assertEqual(GUARD.ask_voter(voter, "/", "node1").holder, "node1")

    def test_connection_that_the_server_closed_is_made_again(self):
        server = self.serve()
        voter = self.voter(server)
        self.addCleanup(voter.close)
        GUARD.ask_voter(voter, "/", "node1")
        voter.connection.sock.shutdown(2)
        self.assertEqual(GUARD.ask_voter(voter, "/", "node1").holder, "node1")

    def test_invalid_answers_are_errors_of_the_voter(self):
        server = self.serve()
        voter = self.voter(server)
        self.addCleanup(voter.close)
        for answer in ([1], {"responses": []}, {"responses": [{"response_range": None}] * 2}):
            server.answer = answer
            with self.assertRaises(ValueError):
                GUARD.ask_voter(voter, "/", "node1")

    def guard(self, *servers):
        addresses = ["127.0.0.1:%d" % server.server_port for server in servers]
        state = os.path.join(self.directory, "state.json")
        more = {"etcd": addresses, "prefix": "/", "name": "node1", "restapi": "127.0.0.1:9", "state": state}
        return GUARD.Guard({**self.settings, **more, "data_dir": "/nowhere", "ttl": 20, "loop_wait": 3, "margin": 2})

    def written(self, guard):
        guard.write_state()
        for voter in guard.voters:
            self.addCleanup(voter.close)
        return json.loads(pathlib.Path(guard.settings["state"]).read_text(encoding="utf-8"))

    def test_state_file_has_the_proof_its_source_and_its_end(self):
        guard = self.guard(self.serve(), self.serve())
        first = self.written(guard)
        self.assertEqual((first["proves"], first["why"], first["voters"]["answered"]), (False, "no answer yet", 0))
        guard.pid = 1
        guard.look_at_etcd(guard.voters[0])
        state = self.written(guard)
        self.assertEqual((state["proves"], state["holder"], state["why"]), (True, "node1", ""))
        self.assertEqual((state["voters"], state["proof"]["by"]), ({"asked": 2, "answered": 1}, "etcd"))
        self.assertTrue(state["proof"]["seconds_ago"] < 5 and 12 < state["proof"]["seconds_left"] <= 17)
        self.assertEqual(state["certificate"]["not_after"], GUARD.utc(guard.certificates.not_after))
        guard.proof.etcd(GUARD.Answer(GUARD.clock(), GUARD.clock(), None, None, {}))
        guard.proof.good = {}
        self.assertEqual(self.written(guard)["why"], "the leader key belongs to no member")
        # Without a primary, an answer of etcd counts.
        guard.pid = None
        self.assertEqual(self.written(guard)["proves"], True)
        self.assertEqual(os.listdir(self.directory).count("state.json.new"), 0)

    def test_state_file_names_the_certificate_that_expired_and_the_voters_that_do_not_answer(self):
        server = self.serve()
        guard = self.guard(server)
        server.shutdown()
        server.server_close()
        guard.look_at_etcd(guard.voters[0])
        self.assertIn("no voter of etcd answers (127.0.0.1:%d: " % server.server_port, self.written(guard)["why"])
        late = guard.certificates.not_after + 1
        self.assertEqual([guard.state(GUARD.clock(), wall)["certificate"]["expired"] for wall in (0, late)], [False, True])
        self.assertTrue(guard.why(GUARD.clock(), late).startswith("its certificate expired at 20"))

    def test_guard_that_restarts_before_its_first_proof_keeps_the_time_without_proof(self):
        guard = self.guard(self.serve())
        guard.since -= 100
        self.written(guard)
        self.assertGreater(self.written(self.guard(self.serve()))["since_seconds"], 99)
        guard.pid = 1
        guard.look_at_etcd(guard.voters[0])
        self.written(guard)
        self.assertLess(self.written(self.guard(self.serve()))["since_seconds"], 50)

    def test_standby_asks_less_often(self):
        server = self.serve()
        guard = self.guard(server)
        guard.look_at_etcd(guard.voters[0])
        asked = len(server.clients)
        guard.look_at_etcd(guard.voters[0])
        self.assertEqual(len(server.clients), asked)
        guard.pid = 1
        guard.look_at_etcd(guard.voters[0])
        self.assertGreater(len(server.clients), asked)
        guard.voters[0].close()


class Stops(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = scratch.name
        words = mock.patch.object(GUARD, "say")
        words.start()
        self.addCleanup(words.stop)

    def process(self, script, name="postgres", data=None):
        """Starts a shell under the name `postgres` in the data directory, with a matching `postmaster.pid`."""
        programs = tempfile.TemporaryDirectory()
        self.addCleanup(programs.cleanup)
        program = os.path.join(programs.name, name)
        shutil.copy(os.path.realpath("/bin/sh"), program)
        process = subprocess.Popen([program, "-c", script], stdout=subprocess.PIPE, cwd=data or self.directory)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        pathlib.Path(self.directory, "postmaster.pid").write_text("%d\n/data\n" % process.pid, encoding="utf-8")
        return process

    LIVES = "echo ready; read -r _ </dev/zero"

    def test_standby_is_known_by_its_signal_file(self):
        process = self.process(self.LIVES)
        self.assertEqual(GUARD.primary(self.directory), process.pid)
        pathlib.Path(self.directory, "standby.signal").touch()
        self.assertIsNone(GUARD.primary(self.directory))

    def test_process_that_ended_is_no_primary(self):
        process = self.process(self.LIVES)
        process.kill()
        process.wait()
        self.assertIsNone(GUARD.primary(self.directory))

    def test_process_id_of_another_program_is_no_primary(self):
        self.process(self.LIVES, name="patroni")
        self.assertIsNone(GUARD.primary(self.directory))

    def test_process_id_of_another_cluster_is_no_primary(self):
        self.process(self.LIVES, data="/")
        self.assertIsNone(GUARD.primary(self.directory))

    def test_primary_whose_program_was_upgraded_is_still_the_primary(self):
        process = self.process(self.LIVES)
        os.unlink(os.readlink("/proc/%d/exe" % process.pid))
        self.assertEqual(GUARD.primary(self.directory), process.pid)

    def test_postgres_that_ignores_sigquit_gets_sigkill_with_its_children(self):
        process = self.process("trap '' QUIT; sleep 60 & echo ready; wait")
        child = GUARD.children(process.pid)
        self.assertEqual(len(child), 1)
        settings = {"ca": "", "cert": "", "key": "", "etcd": [], "restapi": "", "name": "node1", "state": "/nowhere"}
        guard = GUARD.Guard({**settings, "data_dir": self.directory, "ttl": 20, "loop_wait": 3, "margin": 2})
        # The first look at a primary forgets what was known of another.
        guard.tick()
        now = GUARD.clock()
        guard.proof.etcd(GUARD.Answer(now, now, "node1", now + 1, {}))
        guard.tick()
        self.assertEqual(process.wait(), -signal.SIGKILL)
        last = time.monotonic() + 10
        while alive(child[0]) and time.monotonic() < last:
            time.sleep(0.05)
        self.assertFalse(alive(child[0]))
        self.assertIsNone(guard.proof.until())

    def test_exception_in_a_thread_ends_the_process(self):
        script = (
            "import test_lease_guard, time\n"
            "test_lease_guard.GUARD.spawn(lambda: {}['missing'], 1)\n"
            "time.sleep(60)\n"
        )
        command, here = [sys.executable, "-B", "-c", script], pathlib.Path(__file__).parent
        ended = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=50, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("KeyError: 'missing'", ended.stderr)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
