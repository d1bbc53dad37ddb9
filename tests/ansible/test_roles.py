# SPDX-License-Identifier: Apache-2.0
"""What the roles' modules and variables make of the state of nodes and clusters.

    python3 -m unittest discover tests/ansible
"""

import http.server
import importlib.util
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import unittest.mock
import urllib.error
import urllib.request

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
PROGRAMS = sorted(ROLES.glob("*/library/*.py")) + sorted(ROLES.glob("*/module_utils/*.py")) + [ROLES / "patroni/templates/hactl-etcd-leader-away.j2"]


def load(path):
    loader = importlib.machinery.SourceFileLoader(path.stem.replace("-", "_"), str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    with unittest.mock.patch.object(importlib.machinery.SourceFileLoader, "cache_bytecode", lambda *dummy: None, create=True):
        loader.exec_module(module)
    return module


def trusted(part):
    """The role's own text is a template, as Ansible reads it; what a test gives is not."""
    if isinstance(part, str):
        return trust_as_template(part)
    if isinstance(part, list):
        return [trusted(each) for each in part]
    return {name: trusted(each) for name, each in part.items()} if isinstance(part, dict) else part


def variables(role):
    texts = [(ROLES / role / name).read_text() for name in ("defaults/main.yml", "vars/main.yml")]
    return {name: trusted(part) for text in texts for name, part in yaml.safe_load(text).items()}


def value(role, name, **given):
    return Templar(DataLoader(), variables={**variables(role), **given}).template(variables(role)[name])


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *dummy):
        pass


class Certificates(unittest.TestCase):
    """What a REST API serves, beside what its file holds."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        (self.dir / "tls").mkdir()
        self.module = load(ROLES / "patroni/library/patroni_member_info.py")
        for name in ("served", "renewed"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                            "-subj", "/O=" + name, "-keyout", str(self.dir / (name + ".key")), "-out", str(self.dir / (name + ".crt"))],
                           check=True, capture_output=True)
        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.dir / "served.crt", self.dir / "served.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.params = {"config_dir": str(self.dir), "port": server.server_port}

    def test_member_that_serves_another_certificate_than_its_file_is_stale(self):
        for name, stale in (("served", False), ("renewed", True)):
            shutil.copy(self.dir / (name + ".crt"), self.dir / "tls/patroni.crt")
            self.assertEqual(self.module.is_stale(self.params), stale, name)

    def test_member_without_a_file_or_an_answer_is_not_stale(self):
        self.assertFalse(self.module.is_stale(self.params))
        shutil.copy(self.dir / "renewed.crt", self.dir / "tls/patroni.crt")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        self.assertFalse(self.module.is_stale({**self.params, "port": port}))


class Diagnosis(unittest.TestCase):
    def test_archive_that_ends_before_the_moment_of_a_restore_is_said_although_later_lines_hide_it(self):
        log = "2026-11-30 10:40:50.1 UTC [9] FATAL:  recovery ended before configured recovery target was reached\n"

        class Module:
            def run_command(self, command):
                return 0, {"systemctl": "ActiveState=active", "journalctl": log if "--since" in command else "later"}[command[0]], ""

        said = load(ROLES / "patroni/library/patroni_member_info.py").diagnose(Module(), 0)[0]
        self.assertTrue([line for line in said if "has no commit after that moment" in line], said)


class Proxies(unittest.TestCase):
    def test_programs_that_ask_members_use_no_proxy_of_the_node(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        address = "http://127.0.0.1:%d/" % server.server_port
        dead = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        with unittest.mock.patch.dict(os.environ, dead):
            with self.assertRaises(urllib.error.URLError):
                urllib.request.urlopen(address, timeout=5)
            for path in PROGRAMS:
                self.assertNotIn("urlopen(", path.read_text(), path.name)
            for path in (path for path in PROGRAMS if "build_opener" in path.read_text()):
                with self.subTest(path.name):
                    self.assertIn("ProxyHandler({})", path.read_text())
                    program = load(path)
                    # patroni_parameters_undo only writes the program that asks.
                    if hasattr(program, "urllib"):
                        self.assertEqual(program.direct(ssl.create_default_context()).open(address, timeout=5).status, 200)


class Reload(unittest.TestCase):
    """The step after the start of Patroni, which runs here against a program that catches SIGHUP after a while."""

    PATRONI = "import signal, time\ntime.sleep(1)\nsignal.signal(1, lambda *dummy: exit(7))\ntime.sleep(20)\n"

    def setUp(self):
        unit = (ROLES / "patroni/templates/patroni.service.j2").read_text().replace("\\\n", "")
        script = re.search(r"^ExecStartPost=-/bin/sh -c '([^']+)' reload \{\{ patroni_data_dir \}\} \$\{MAINPID\}$", unit, re.M)
        self.script = script.group(1).replace("$$", "$")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.data = pathlib.Path(directory.name)
        self.patroni = subprocess.Popen(["python3", "-c", self.PATRONI])
        self.addCleanup(self.patroni.wait)
        self.addCleanup(self.patroni.kill)

    def step(self):
        subprocess.run(["sh", "-c", self.script, "reload", str(self.data), str(self.patroni.pid)], check=True, timeout=25)

    def test_patroni_beside_a_running_server_is_reloaded_once_it_can_be(self):
        (self.data / "postmaster.pid").write_text("%d\n/data\n" % os.getpid())
        self.step()
        self.assertEqual(self.patroni.wait(timeout=10), 7)

    def test_patroni_without_a_running_server_is_not_reloaded(self):
        self.step()
        gone = subprocess.Popen(["true"])
        gone.wait()
        (self.data / "postmaster.pid").write_text("%d\n/data\n" % gone.pid)
        self.step()
        with self.assertRaises(subprocess.TimeoutExpired):
            self.patroni.wait(timeout=2)


class Pause(unittest.TestCase):
    def test_only_the_own_pause_is_made_and_ended(self):
        change = load(ROLES / "patroni/library/patroni_pause.py").change
        own = {"pause": True, "hactl_pause": "restart"}
        self.assertEqual(change({}, "paused", "restart"), own)
        self.assertEqual(change(own, "paused", "again"), {})
        self.assertEqual(change({"pause": True}, "paused", "restart"), {})
        self.assertEqual(change(own, "resumed", ""), {"pause": None, "hactl_pause": None})
        self.assertEqual(change({"pause": True}, "resumed", ""), {})
        # An operator has ended ours: the mark must not make a later pause of the operator ours.
        self.assertEqual(change({"hactl_pause": "restart"}, "resumed", ""), {"hactl_pause": None})
        self.assertEqual(change(own, "seen", ""), {})


class Switchover(unittest.TestCase):
    def test_primary_hands_over_only_to_replicas_that_stream(self):
        unfit = load(ROLES / "patroni/library/patroni_switchover.py").unfit
        leader = {"name": "node1", "role": "leader", "state": "running"}
        replica = {"name": "node2", "role": "quorum_standby", "state": "streaming"}
        table = [
            ({"members": [leader, replica]}, ""),
            ({"members": [leader, replica], "pause": True}, "paused"),
            ({"members": [leader]}, "no replica"),
            ({"members": [{**leader, "role": "replica"}, {**replica, "role": "leader"}]}, "node1 is not the primary"),
            ({"members": [leader, {**replica, "state": "starting"}]}, "node2 does not stream"),
            ({"members": [leader, {**replica, "tags": {"nofailover": True}}]}, "no replica may be the primary"),
        ]
        for cluster, why in table:
            with self.subTest(why=why):
                self.assertIn(why, unfit("node1", cluster))
                self.assertEqual(bool(why), bool(unfit("node1", cluster)))

    def test_replica_without_what_the_primary_has_written_is_late(self):
        late = load(ROLES / "patroni/library/patroni_switchover.py").late
        self.assertEqual(late(100, {"node2": 100, "node3": 101}), [])
        self.assertEqual(late(100, {"node3": 99, "node2": 0}), ["node2", "node3"])


class Found(unittest.TestCase):
    def setUp(self):
        self.module = load(ROLES / "patroni/library/patroni_found.py")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = pathlib.Path(directory.name).resolve()

    def data(self, path, version, control=b"x"):
        directory = self.top / path
        (directory / "global").mkdir(parents=True)
        (directory / "PG_VERSION").write_text(version + "\n")
        (directory / "global/pg_control").write_bytes(control)
        return str(directory)

    def look(self, **given):
        params = {"base_dir": str(self.top), "scope": "main", "data_dir": str(self.top / "16/main"), "config_dir": str(self.top / "etc")}
        return self.module.look({**params, **given})

    def test_data_of_every_version_and_place_is_found(self):
        self.assertEqual(self.look(), {"data": {}, "runs": ""})
        old = self.data("15/main", "15")
        self.data("15/other", "15")
        self.data("14/main", "14", control=b"")
        elsewhere = self.data("volume", "13")
        (self.top / "etc").mkdir()
        (self.top / "etc/patroni.yml").write_text('postgresql:\n  data_dir: "%s"\n' % elsewhere)
        self.assertEqual(self.look(), {"data": {old: "15", elsewhere: "13"}, "runs": ""})

    def test_running_server_is_told_by_its_directory(self):
        old = self.data("15/main", "15")
        self.data("16/main", "16")
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(old)
        (pathlib.Path(old) / "postmaster.pid").write_text("%d\n%s\n" % (os.getpid(), old))
        self.assertEqual(self.look()["runs"], "15")
        os.chdir(here)
        self.assertEqual(self.look()["runs"], "")


class Majors(unittest.TestCase):
    """The condition of tasks/before.yml."""

    def refused(self, wanted, **found):
        task = next(task for task in yaml.safe_load((ROLES / "patroni/tasks/before.yml").read_text()) if "major" in task["name"])
        hosts = {"node%d" % number: {"__patroni_found": each} for number, each in enumerate(found["hosts"], 1)}
        hosts["node9"] = {}
        condition = trust_as_template("{{ %s }}" % task["when"])
        given = {**variables("patroni"), "patroni_postgresql_version": wanted, "groups": {"patroni": list(hosts)}, "hostvars": hosts}
        return Templar(DataLoader(), variables=given).template(condition)

    def test_other_major_is_refused_while_its_data_is_all_there_is(self):
        with_15 = {"data": {"/x/15/main": "15"}, "runs": ""}
        nothing = {"data": {}, "runs": ""}
        both = {"data": {"/x/15/main": "15", "/x/16/main": "16"}, "runs": "16"}
        table = [
            (15, [with_15, with_15], False),
            (16, [with_15, with_15], True),
            (16, [with_15, nothing], True),
            (16, [nothing, nothing], False),
            # Upgraded by hand.
            (16, [both, nothing], False),
            (15, [both, nothing], True),
            (16, [both, {"data": {"/x/15/main": "15"}, "runs": "15"}], True),
        ]
        for wanted, hosts, expected in table:
            self.assertEqual(self.refused(wanted, hosts=hosts), expected, (wanted, hosts))


class Etcd(unittest.TestCase):
    def views(self, *views):
        names = ["node%d" % number for number in range(1, len(views) + 1)]
        hosts = {name: {"inventory_hostname": name, **view} for name, view in zip(names, views)}
        return {"groups": {"etcd": names}, "hostvars": hosts, "inventory_hostname": "node1"}

    def refused(self, wanted, *found):
        known = {"has_data": True, "version": "", "cluster_version": "", "installed": ""}
        return value("etcd", "__etcd_refused", etcd_version=wanted, **self.views(*({"__etcd_info": {**known, **each}} for each in found)))

    def test_version_moves_forward_by_one_minor_and_from_a_safe_patch(self):
        runs = lambda version, cluster: {"version": version, "cluster_version": cluster, "installed": version}
        table = [
            ("3.6.16", [], ""),
            ("3.6.16", [runs("3.6.16", "3.6.0")] * 3, ""),
            ("3.6.11", [runs("3.6.16", "3.6.0")] * 3, ""),
            ("3.5.35", [runs("3.6.16", "3.6.0")] * 3, "cannot go back"),
            ("3.6.16", [runs("3.5.35", "3.5.0")] * 3, ""),
            ("3.6.16", [runs("3.5.25", "3.5.0"), runs("3.5.35", "3.5.0")], "3.5.26"),
            ("3.7.0", [runs("3.5.35", "3.5.0")] * 3, "one minor version"),
            ("3.6.16", [runs("3.4.30", "3.4.0")] * 3, "one minor version"),
            # The first of an upgrade did not come back, or is alone with it: the way back is open.
            ("3.5.35", [runs("3.6.16", "3.5.0"), runs("3.5.35", "3.5.0")], ""),
            # Nothing answers: the programs beside the data tell.
            ("3.5.35", [{"installed": "3.6.16"}], "cannot go back"),
            ("3.5.35", [{"installed": "3.6.16", "has_data": False}], ""),
        ]
        for wanted, found, expected in table:
            refused = self.refused(wanted, *found)
            self.assertTrue(expected in refused and bool(expected) == bool(refused), (wanted, found, refused))

    def test_members_restart_with_the_leader_last(self):
        seen = lambda number: {"__etcd_seen": {"quorum": True, "has_data": True, "member_id": str(number), "leader_id": "1", "version": "3.6.1"}}
        self.assertEqual(value("etcd", "__etcd_restart_order", **self.views(seen(1), seen(2), {}, seen(4))), ["node2", "node3", "node4", "node1"])

    def test_snapshot_is_due_when_the_minor_version_moves(self):
        seen = lambda version: {"__etcd_seen": {"quorum": True, "has_data": True, "version": version}}
        moving = lambda wanted, *versions: value("etcd", "__etcd_moving_minors", etcd_version=wanted, **self.views(*map(seen, versions)))
        self.assertEqual(moving("3.6.16", "3.5.35", "3.5.35"), ["3.5"])
        self.assertEqual(moving("3.6.16", "3.6.11", "3.6.16"), [])


class Hba(unittest.TestCase):
    def matches(self, line, database, user, network):
        kind, databases, users, *rest = line.split()
        if kind == "local" or rest[0] != network:
            return None
        if database not in databases.split(",") and not (databases == "all" and database != "replication"):
            return None
        return rest[1] if user in users.split(",") or users == "all" else None

    def test_roles_that_read_everything_log_in_from_members_only(self):
        hosts = {"node1": {"patroni_address": "10.0.0.1"}, "node2": {"patroni_address": "10.0.0.2"}}
        lines = value("patroni", "__patroni_hba", patroni_access=["10.0.0.0/24", "fd00::/64"], groups={"patroni": list(hosts)}, hostvars=hosts)
        # A client's address matches its own network, and those that hold all addresses.
        networks = {"member": ["10.0.0.1/32", "10.0.0.0/24", "0.0.0.0/0"], "application": ["10.0.0.0/24", "0.0.0.0/0"], "sixth": ["fd00::/64", "::/0"]}

        def first(origin, database, user):
            found = [said for line in lines for network in networks[origin] if (said := self.matches(line, database, user, network))]
            return found[0] if found else "none"

        for user in ("postgres", "replicator", "rewind"):
            self.assertEqual(first("member", "postgres", user), "scram-sha-256", user)
            self.assertEqual(first("application", "postgres", user), "reject", user)
            self.assertEqual(first("sixth", "postgres", user), "reject", user)
            self.assertNotEqual(first("application", "replication", user), "scram-sha-256", user)
        self.assertEqual(first("member", "replication", "replicator"), "scram-sha-256")
        self.assertEqual(first("application", "app", "app"), "scram-sha-256")
        self.assertEqual(first("sixth", "app", "app"), "scram-sha-256")


class Settings(unittest.TestCase):
    def test_owner_of_a_link_is_set_on_the_link_itself(self):
        # In an unprivileged container nobody may change the owner of /dev/null.
        links = []
        for path in sorted(ROLES.glob("*/tasks/*.yml")):
            files = [task["ansible.builtin.file"] for task in yaml.safe_load(path.read_text()) or [] if "ansible.builtin.file" in task]
            links += [(path.name, file) for file in files if file.get("state") == "link" and ("owner" in file or "group" in file)]
        self.assertGreaterEqual(len(links), 2)
        for name, link in links:
            self.assertIs(link.get("follow"), False, "%s: %s" % (name, link["dest"]))

    def test_lag_disqualifies_candidates_only_without_votes(self):
        lag = lambda mode: int(value("patroni", "patroni_maximum_lag_on_failover", patroni_synchronous_mode=mode))
        self.assertEqual([lag(mode) for mode in ("off", False, "on", "quorum")], [2**20, 2**20, 2**40, 2**40])

    def test_programs_that_make_files_have_a_umask_of_their_own(self):
        for name in ("venv", "pip"):
            tasks = yaml.safe_load((ROLES / "patroni/tasks/install-patroni.yml").read_text())
            commands = [str(task["ansible.builtin.command"]) for task in tasks if "ansible.builtin.command" in task]
            self.assertTrue(all("__patroni_open_umask" in command for command in commands if name in command), name)
            self.assertTrue(any(name in command for command in commands), name)

    def test_etcd_asks_no_proxy_for_its_peers(self):
        unit = (ROLES / "etcd/templates/etcd.service.j2").read_text()
        unset = re.search("^UnsetEnvironment=(.*)$", unit, re.M).group(1).split()
        names = ["http_proxy", "https_proxy", "all_proxy"]
        self.assertEqual(sorted(unset), sorted(names + [name.upper() for name in names]))

    def test_unit_keeps_backends_from_the_score_of_the_postmaster(self):
        unit = (ROLES / "patroni/templates/patroni.service.j2").read_text()
        for line in ("PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0", "OOMPolicy=continue", "LogRateLimitIntervalSec=0"):
            self.assertTrue(re.search("^(Environment=)?%s$" % re.escape(line), unit, re.M), line)


if __name__ == "__main__":
    unittest.main()
