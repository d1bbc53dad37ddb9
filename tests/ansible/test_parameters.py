# SPDX-License-Identifier: Apache-2.0
"""What the role's modules make of parameters of PostgreSQL: pure functions, without a server.

    python3 -m unittest discover tests/ansible
"""

import base64
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles/patroni"


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, str(ROLE / path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Ansible puts what a role shares between its modules here.
LOG = load("module_utils/patroni_server_log.py", "ansible.module_utils.patroni_server_log")
sys.modules["ansible.module_utils.patroni_server_log"] = LOG
sys.modules["ansible.module_utils.patroni_progress"] = load("module_utils/patroni_progress.py", "ansible.module_utils.patroni_progress")
for shared in ("patroni_libraries", "patroni_machine", "patroni_psql", "patroni_rest", "patroni_restore", "patroni_limits"):
    sys.modules["ansible.module_utils." + shared] = load("module_utils/%s.py" % shared, "ansible.module_utils." + shared)
LIMITS = sys.modules["ansible.module_utils.patroni_limits"]
MACHINE = sys.modules["ansible.module_utils.patroni_machine"]
PARAMETERS = load("library/patroni_parameters.py", "patroni_parameters")
CANARY = load("library/patroni_canary.py", "patroni_canary")
MEMBER = load("library/patroni_member_info.py", "patroni_member_info")
UNDO = load("library/patroni_parameters_undo.py", "patroni_parameters_undo")
PREVIEW = load("library/patroni_parameters_preview.py", "patroni_parameters_preview")

CATALOGUE = [
    dict(name="work_mem", unit="kB", context="user", type="integer", min="64", max="2147483647", words=None),
    dict(name="max_connections", unit=None, context="postmaster", type="integer", min="1", max="262143", words=None),
    dict(name="wal_keep_size", unit="MB", context="sighup", type="integer", min="0", max="2147483647", words=None),
    dict(name="deadlock_timeout", unit="ms", context="superuser", type="integer", min="1", max="2147483647", words=None),
    dict(name="log_lock_waits", unit=None, context="superuser", type="bool", min=None, max=None, words=None),
    dict(name="log_statement", unit=None, context="superuser", type="enum", min=None, max=None, words=["none", "ddl", "mod", "all"]),
    dict(name="TimeZone", unit=None, context="user", type="string", min=None, max=None, words=None),
    dict(name="block_size", unit=None, context="internal", type="integer", min="8192", max="8192", words=None),
]


def judged(value_of_patroni, name, value, least=None):
    patroni = {name: dict(value=value_of_patroni, shared=False, least=least)}
    return PARAMETERS.judge([name], {name: value}, CATALOGUE, patroni)


class Preview(unittest.TestCase):
    SETTINGS = {
        "max_connections": dict(setting="100", unit=None, vartype="integer", context="postmaster", boot_val="100"),
        "shared_buffers": dict(setting="16384", unit="8kB", vartype="integer", context="postmaster", boot_val="16384"),
        "work_mem": dict(setting="4096", unit="kB", vartype="integer", context="user", boot_val="4096"),
    }

    def judged(self, parameters, changed, same=()):
        def equal(items):
            return [value in same or setting == value for dummy, dummy2, setting, value in items]
        return PREVIEW.judge(self.SETTINGS, parameters, changed, equal)

    def test_only_a_parameter_that_needs_a_restart_and_differs_from_the_server_waits(self):
        for parameters, changed, same, expected in (
            ({"work_mem": "5MB"}, ["work_mem"], (), ([], False, False)),
            ({"max_connections": 150}, ["max_connections"], (), (["max_connections"], True, False)),
            ({"max_connections": "50"}, ["max_connections"], (), (["max_connections"], False, True)),
            ({"max_connections": "100"}, ["max_connections"], (), ([], False, False)),
            # The same amount in another unit, as Patroni compares it.
            ({"shared_buffers": "128MB"}, ["shared_buffers"], ("128MB",), ([], False, False)),
            ({"Shared_Buffers": "1GB"}, ["Shared_Buffers"], (), (["Shared_Buffers"], False, False)),
            # Taken out of the file: the server goes back to its own value.
            ({}, ["max_connections"], (), ([], False, False)),
            ({"library.name": "x"}, ["library.name"], (), ([], False, False)),
        ):
            self.assertEqual(self.judged(parameters, changed, same), expected, parameters)


class Judge(unittest.TestCase):
    def test_values_that_patroni_keeps_are_accepted(self):
        for name, value in (("work_mem", "16MB"), ("timezone", "UTC"), ("log_lock_waits", True), ("max_connections", 50)):
            self.assertEqual(judged(value, name, value), [], name)
        # Patroni keeps the number of a text.
        self.assertEqual(judged(50, "max_connections", "50"), [])
        # Only the server knows the names of a library.
        self.assertEqual(judged("x", "pgaudit.log", "x"), [])
        # A parameter that was removed from the file.
        self.assertEqual(PARAMETERS.judge(["work_mem"], {}, CATALOGUE, {}), [])

    def test_values_that_patroni_drops_are_refused_with_what_is_allowed_and_meant(self):
        table = [
            ("work_mem", "16mb", "allowed: 64 to 2147483647 (in units of kB)", "16MB"),
            ("wal_keep_size", "2G", "B, kB, MB, GB, TB", "2GB"),
            ("deadlock_timeout", "1sec", "us, ms, s, min, h, d", "1s"),
            ("deadlock_timeout", "1MB", "us, ms, s, min, h, d", None),
            ("log_lock_waits", "n", "`on` or `off`", "off"),
            ("log_lock_waits", "perhaps", "`on` or `off`", None),
            ("log_statement", "DDLL", "none, ddl, mod, all", "ddl"),
            ("work_memm", "4MB", "no such parameter", "work_mem"),
            ("zzzzzz", "1", "no such parameter", None),
        ]
        for name, value, words, meant in table:
            refused = judged(None, name, value)
            self.assertEqual([item["parameter"] for item in refused], [name])
            self.assertIn(words, refused[0]["cause"], name)
            self.assertEqual((refused[0]["value"], refused[0]["meant"]), (value, meant))

    def test_value_that_patroni_would_change_is_refused(self):
        self.assertIn("allowed: 64 to", judged(64, "work_mem", "1kB")[0]["cause"])

    def test_least_value_is_that_of_patroni_where_it_wants_more(self):
        self.assertIn("25 to 262143", judged(None, "max_connections", 20, least=25)[0]["cause"])

    def test_parameter_of_the_server_itself_is_refused(self):
        self.assertIn("sets it itself", judged("8192", "block_size", "8192")[0]["cause"])


class Rest(unittest.TestCase):
    def test_parameters_beside_a_refused_one_are_left_to_try(self):
        params = dict(parameters={"work_mem": "16mb", "timezone": "x", "jit": "on"}, server=True)
        kept, changed = PARAMETERS.without(params, ["work_mem", "timezone"], ["work_mem"])
        self.assertEqual((kept["parameters"], kept["server"], changed), ({"timezone": "x", "jit": "on"}, True, ["timezone"]))
        self.assertEqual(PARAMETERS.without(params, ["timezone"], [])[1], ["timezone"])


class Psql(unittest.TestCase):
    def psql(self, script, sql="SELECT 1", **given):
        """Runs SQL with a program in psql's place."""
        with tempfile.TemporaryDirectory() as path:
            program = pathlib.Path(path, "runuser")
            program.write_text("#!/bin/sh\n" + script)
            program.chmod(0o755)
            with mock.patch.dict(os.environ, {"PATH": path + ":" + os.environ["PATH"]}):
                return sys.modules["ansible.module_utils.patroni_psql"].psql(mock.Mock(), sql, **given)

    def options(self, **given):
        return self.psql('echo "$PGOPTIONS"', **given)[1].removesuffix("\n")

    def test_time_limits_of_applications_end_no_statement_of_the_roles(self):
        self.assertIn("-c statement_timeout=0", self.options())
        self.assertTrue(self.options(options="-c log_statement=none").endswith(" -c log_statement=none"))
        # The server on trial shows what applications would get.
        self.assertEqual(self.options(pinned=False), "")

    def test_psql_that_ends_before_it_reads_the_sql_has_a_status_and_a_complaint(self):
        long = "SELECT 1;" * 100_000
        self.assertEqual(self.psql("echo 'no server' >&2; exit 2", sql=long), (2, "", "no server\n"))

    def test_sql_is_on_standard_input_with_a_pinned_search_path(self):
        self.assertEqual(self.psql("cat")[1], "SET search_path = pg_catalog, pg_temp;\nSELECT 1")

    def test_directory_of_the_session_is_one_that_postgres_may_enter(self):
        self.assertEqual(self.psql("pwd")[1], "/\n")


class Archiving(unittest.TestCase):
    def test_two_ways_to_archive_at_once_are_refused_where_the_archiver_refuses_them(self):
        both = {"archive_command": "/bin/true", "archive_library": "basic_archive"}
        refused = PARAMETERS.archiving(["archive_library"], both, 16)
        self.assertEqual([(item["parameter"], item["value"]) for item in refused], [("archive_library", "basic_archive")])
        self.assertEqual([item["parameter"] for item in PARAMETERS.archiving(["archive_command"], both, 17)], ["archive_command"])
        self.assertEqual(PARAMETERS.archiving(["archive_library"], both, 15), [])
        self.assertEqual(PARAMETERS.archiving(["archive_library"], dict(both, archive_command=""), 17), [])
        self.assertEqual(PARAMETERS.archiving(["work_mem"], both, 17), [])


class Limits(unittest.TestCase):
    def test_limits_below_what_is_used_are_refused(self):
        live = dict(slots=3, logical=1, senders=2, prepared=1)
        wanted = dict(max_replication_slots=2, max_wal_senders=2, max_prepared_transactions=0, wal_level="replica")
        refused = LIMITS.limits(list(wanted), wanted, live)
        self.assertEqual([item["parameter"] for item in refused], ["max_replication_slots", "max_prepared_transactions", "wal_level"])
        self.assertIn("3 replication slots", refused[0]["cause"])

    def test_limit_that_leaves_the_file_is_that_of_the_server(self):
        live = dict(slots=0, logical=0, senders=0, prepared=2)
        refused = LIMITS.limits(["max_prepared_transactions", "work_mem"], {}, live)
        self.assertEqual([(item["parameter"], item["value"], item["cause"]) for item in refused],
                         [("max_prepared_transactions", "", "2 prepared transactions exist")])
        self.assertEqual(LIMITS.limits(["max_prepared_transactions"], {}, dict(live, prepared=0)), [])
        self.assertEqual(LIMITS.limits(["max_wal_senders"], {}, dict(live, senders=5)), [])

    def test_library_that_a_database_uses_stays(self):
        live = dict(slots=0, logical=0, senders=0, prepared=0, preloaded='pg_stat_statements, "$libdir/timescaledb",auto_explain',
                    extensions={"timescaledb": "app", "plpgsql": "postgres"})
        for value, taken in (("pg_stat_statements", ["timescaledb"]), (None, ["timescaledb"]), ("TIMESCALEDB", ["timescaledb"]),
                             ("timescaledb", []), ("pgaudit, $libdir/timescaledb", [])):
            given = {} if value is None else {"shared_preload_libraries": value}
            refused = LIMITS.limits(["shared_preload_libraries"], given, live)
            self.assertEqual([item["parameter"] for item in refused], ["shared_preload_libraries"] * len(taken), value)
            self.assertTrue(all("database app has the extension timescaledb" in item["cause"] for item in refused))
        self.assertEqual(LIMITS.limits(["work_mem"], {}, live), [])

    def test_databases_are_asked_for_their_extensions_only_where_libraries_change(self):
        asked = []

        def psql(module, sql, program, socket_dir, port, database="postgres"):
            asked.append(database)
            found = dict(slots=0, logical=0, senders=0, prepared=0, preloaded="x", databases=["postgres", "a=b'c"])
            return 0, json.dumps(found) if sql.startswith("SELECT json") else "plpgsql\nx\n", ""

        for changed, databases in ((["work_mem"], []), (["shared_preload_libraries"], ["dbname='postgres'", "dbname='a=b\\'c'"])):
            module = mock.Mock(params=dict(bin_dir="/b", socket_dir="/s", port=5432, changed=changed))
            with mock.patch.object(LIMITS, "psql", psql):
                found = LIMITS.running(module)
            self.assertEqual(asked[1:], databases)
            self.assertEqual(found["extensions"], dict(plpgsql="postgres", x="postgres") if databases else {})
            asked.clear()

    def test_limits_that_do_not_change_are_not_judged(self):
        self.assertEqual(LIMITS.limits(["work_mem"], dict(max_replication_slots=2), dict(slots=3, logical=1, senders=2, prepared=1)), [])


class Harmful(unittest.TestCase):
    def causes(self, name, given, shown):
        refused = LIMITS.harmful([name], {name: given}, {name: shown}, 20 << 30)
        return [(item["parameter"], item["value"], item["cause"]) for item in refused]

    def test_limit_of_silence_that_no_standby_keeps_is_refused(self):
        for name, given, shown in (("wal_sender_timeout", 1, "1"), ("wal_receiver_timeout", "999ms", "999"), ("tcp_user_timeout", "5", "5")):
            (found,) = self.causes(name, given, shown)
            self.assertEqual(found[:2], (name, str(given)))
            self.assertIn("at least 1s", found[2])
        for shown in ("0", "1000", "15000"):
            self.assertEqual(self.causes("wal_sender_timeout", shown, shown), [])

    def test_pause_after_which_no_standby_follows_a_new_primary_in_time_is_refused(self):
        (found,) = self.causes("wal_retrieve_retry_interval", "1h", "3600000")
        self.assertIn("writes would wait for it; allowed: at most 1min", found[2])
        for shown in ("1000", "60000"):
            self.assertEqual(self.causes("wal_retrieve_retry_interval", shown, shown), [])

    def test_wal_of_the_size_of_the_disk_is_refused(self):
        self.assertEqual(self.causes("max_slot_wal_keep_size", -1, "-1"), [])
        for name in ("wal_keep_size", "min_wal_size", "max_wal_size", "max_slot_wal_keep_size"):
            (found,) = self.causes(name, "20GB", "20480")
            self.assertIn("20480 MB of WAL, and the disk of its data has 20480 MB", found[2])
            self.assertEqual(self.causes(name, "20479MB", "20479"), [])

    def test_value_that_the_server_did_not_show_is_not_judged(self):
        self.assertEqual(LIMITS.harmful(["wal_keep_size"], {"wal_keep_size": "100TB"}, {}, 1), [])

    def test_disk_of_a_directory_that_does_not_exist_yet_is_that_of_its_parent(self):
        self.assertEqual(MACHINE.disk_size("/tmp/not/yet/there"), MACHINE.disk_size("/tmp"))

    def test_memory_is_that_of_the_container_and_huge_pages_are_those_of_the_kernel(self):
        lines = "MemTotal:       2048 kB\nMemFree:  7 kB\nHugePages_Total:       3\nHugepagesize:       2048 kB\n"
        with tempfile.TemporaryDirectory() as place:
            limit = pathlib.Path(place, "memory.max")
            info = pathlib.Path(place, "meminfo")
            info.write_text(lines, encoding="ascii")
            found = MACHINE.meminfo(str(info))
            with mock.patch.object(MACHINE, "meminfo", lambda: found):
                self.assertEqual(MACHINE.huge_pages(), 3 * 2048 * 1024)
                for said, expected in (("1048576\n", 1048576), ("max\n", 2048 * 1024), ("9223372036854771712\n", 2048 * 1024)):
                    limit.write_text(said, encoding="ascii")
                    self.assertEqual(MACHINE.memory((str(limit), place + "/none")), expected)


class Shown(unittest.TestCase):
    def test_option_of_tcp_is_compared_by_the_value_of_new_connections(self):
        # Over a socket the server shows 0 as the setting of tcp_user_timeout, whatever it is.
        scratch = mock.Mock(dir="/x")
        scratch.answers.return_value = None
        scratch.sql.side_effect = lambda statement: (0, json.dumps(dict(
            settings={"tcp_user_timeout": ["5000" if "reset_val" in statement else "0", "user"]}, errors={})), "")
        parameters = dict(tcp_user_timeout="5s")
        refused, settings, restart = PARAMETERS.tried(scratch, dict(parameters=parameters), list(parameters), [])
        self.assertEqual((refused, settings, restart), ([], {"tcp_user_timeout": "5000"}, []))


class Blame(unittest.TestCase):
    def test_parameter_is_found_by_its_name_its_library_or_its_directory(self):
        parameters = {"timezone": "Europe/Berlim", "shared_preload_libraries": "pg_stat_statements, pgaudit", "work_mem": "4MB",
                      "log_directory": "/proc/none"}
        table = [
            ('LOG: invalid value for parameter "TimeZone": "Europe/Berlim"', "timezone"),
            ('FATAL: could not access file "pgaudit": No such file or directory', "shared_preload_libraries"),
            ('FATAL: could not load library "/usr/lib/postgresql/15/lib/pgaudit": x', "shared_preload_libraries"),
            ('FATAL: could not open log file "/proc/none/postgresql.log": No such file or directory', "log_directory"),
        ]
        table.append(('"work_mem" is 4096, not 8192', "work_mem"))
        parameters.update(statement_timeout="1", idle_session_timeout="1ms")
        table += [
            ("ERROR:  canceling statement due to statement timeout", "statement_timeout"),
            ("FATAL: terminating connection due to idle-session timeout", "idle_session_timeout"),
        ]
        for line, name in table:
            self.assertEqual(LOG.blame(["FATAL: other", line], list(parameters), parameters), (name, line))

    def test_each_parameter_that_lines_are_about_is_refused_once(self):
        parameters = {"timezone": "Europe/Berlim", "lc_messages": "xx", "work_mem": "4MB"}
        lines = ['LOG: invalid value for parameter "TimeZone": "Europe/Berlim"', 'LOG: invalid value for parameter "lc_messages": "xx"',
                 'LOG: invalid value for parameter "lc_messages": "xx"', 'FATAL: configuration file "/x" contains errors']
        refused = LOG.refusals(lines, list(parameters), parameters)
        self.assertEqual([(item["parameter"], item["value"]) for item in refused], [("timezone", "Europe/Berlim"), ("lc_messages", "xx")])
        refused = LOG.refusals(["FATAL: x"], ["a", "b"], {"a": 1, "b": 2})
        self.assertEqual([(item["parameter"], item["cause"]) for item in refused], [("a, b", "the server says: FATAL: x")])

    def test_line_without_a_parameter_is_about_all_that_changed(self):
        self.assertEqual(LOG.blame(["FATAL: x"], ["a", "b", "gone"], {"a": 1, "b": 2}), ("a, b", "FATAL: x"))
        self.assertEqual(LOG.blame([], ["a"], {"a": 1}), ("a", ""))

    def test_cause_comes_before_its_sum_and_consequences_are_left_out(self):
        log = """
2026-11-29 16:00:28.866 UTC [1154] LOG:  parameter "work_mem" changed to "4MB"
2026-11-29 16:00:28.866 UTC [1154] FATAL:  terminating walreceiver process due to administrator command
2026-11-29 16:00:29.866 UTC [1155] app@app FATAL:  the database system is starting up
2026-11-29 16:00:30.866 UTC [1156] LOG:  invalid value for parameter "TimeZone": "x"
2026-11-29 16:00:30.866 UTC [1156] FATAL:  configuration file "/x/postgresql.conf" contains errors
2026-11-29 16:00:31.866 UTC [1157] LOG:  invalid value for parameter "TimeZone": "x"
"""
        self.assertEqual(LOG.complaints(log), ['LOG: invalid value for parameter "TimeZone": "x"',
                                               'FATAL: configuration file "/x/postgresql.conf" contains errors'])


class Override(unittest.TestCase):
    CONFIG = "scope: x\npostgresql:\n  listen: 0.0.0.0:5432\n  authentication:\n    superuser: {}\n"

    def test_override_is_one_line_of_the_section_and_goes_without_a_trace(self):
        changed = CANARY.with_override(self.CONFIG, {"work_mem": "16MB", "jit": False, "search_path": '"$user", x # y'})
        self.assertEqual(CANARY.without_override(changed), self.CONFIG)
        line = changed.splitlines()[2]
        self.assertEqual(json.loads(line[len("  parameters: "):-len(CANARY.MARK)]),
                         {"work_mem": "16MB", "jit": "off", "search_path": '"$user", x # y'})
        # A second one takes the place of the first.
        self.assertEqual(CANARY.with_override(changed, {"work_mem": "1MB"}).count(CANARY.MARK), 1)


class Member(unittest.TestCase):
    def wrong(self, name, given, tried, shown, source, in_file):
        """Why a replica has not passed whose session shows a parameter so, from this source."""
        canary = CANARY.Canary.__new__(CANARY.Canary)
        canary.params = dict(parameters={name: given})
        canary.rest = mock.Mock(**{"ask.return_value": dict(state="running")})
        canary.tls = mock.Mock(return_value=None)

        def sql(statement):
            hidden = "'%s'" % source in statement
            return json.dumps(dict(settings={name: None if hidden else shown}, files={name: in_file} if in_file else {}, pending=[],
                                   streams=1)), None

        canary.sql = sql
        return canary.wrong({name: tried})

    def test_value_of_a_session_of_its_own_does_not_hide_that_of_the_server(self):
        for name, given, tried, shown, source, in_file in (
            ("work_mem", "8MB", "8192", "8192", "configuration file", "8MB"),
            # The modules' own sessions have no limits.
            ("statement_timeout", "30s", "30000", "0", "client", "30s"),
            # ALTER ROLE postgres SET lock_timeout = 0
            ("lock_timeout", "5s", "5000", "0", "user", "5s"),
            ("jit", False, "off", "on", "database", "off"),
            # Computed from shared_buffers, which are small on the server that tried it.
            ("wal_buffers", "-1", "64", "768", "override", "-1"),
        ):
            self.assertIsNone(self.wrong(name, given, tried, shown, source, in_file), name)

    def test_value_that_the_server_has_not_taken_does_not_pass(self):
        for name, given, tried, shown, source, in_file, words in (
            ("work_mem", "8MB", "8192", "4096", "default", "8MB", '"work_mem" is 4096, not 8192'),
            ("statement_timeout", "30s", "30000", "0", "client", None, '"statement_timeout" is unset, not 30s'),
            ("statement_timeout", "30s", "30000", "0", "client", "10s", '"statement_timeout" is 10s, not 30s'),
        ):
            self.assertEqual(self.wrong(name, given, tried, shown, source, in_file), words)


class Data(unittest.TestCase):
    def made(self, *names):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        top = pathlib.Path(directory.name)
        for name in ("pg_tblspc/", "base/1/1259", "base/1/13010_fsm", "base/5/PG_VERSION", *names):
            path = top / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.touch()
        return str(top)

    def test_directory_with_nothing_of_a_user_is_untouched(self):
        self.assertTrue(MEMBER.untouched(self.made()))

    def test_database_table_index_and_tablespace_of_a_user_are_seen(self):
        for name in ("base/16384/", "base/5/16400", "base/5/24576_fsm", "base/5/16390.1", "pg_tblspc/16385/"):
            self.assertFalse(MEMBER.untouched(self.made(name)), name)

    def test_directory_that_cannot_be_read_counts_as_touched(self):
        self.assertFalse(MEMBER.untouched("/nowhere"))


class Etcd:
    """Answers as etcd's gateway does, from one key."""

    def __init__(self, config):
        self.config, self.asked = config, []

    def open(self, request, timeout):
        self.asked.append((request.full_url.rpartition("/v3/kv/")[2], json.loads(request.data)))
        value = base64.b64encode(json.dumps(self.config).encode()).decode()
        return io.BytesIO(json.dumps({"kvs": [{"value": value, "mod_revision": "7"}]}).encode())


class Undo(unittest.TestCase):
    GIVEN = dict(config_dir="/etc/patroni", endpoints=["10.0.0.1:2379"], prefix="/service/x/", before={"work_mem": "4MB"},
                 wanted={"work_mem": "9MB"})

    def run_on(self, config):
        """Runs the timer's program against an etcd with this configuration."""
        etcd = Etcd(config)
        with mock.patch("ssl.create_default_context"), mock.patch("urllib.request.build_opener", return_value=etcd), \
                mock.patch("os.remove") as removed, contextlib.redirect_stdout(io.StringIO()):
            exec(compile(UNDO.program(self.GIVEN), "undo", "exec"), {})  # pylint: disable=exec-used
        removed.assert_called_once_with(UNDO.SCRIPT)
        return etcd.asked

    def test_parameters_of_the_change_go_back_in_one_transaction(self):
        asked = self.run_on({"ttl": 20, "postgresql": {"use_slots": True, "parameters": {"work_mem": "9MB"}}})
        self.assertEqual([path for path, _ in asked], ["range", "txn"])
        compare, put = asked[1][1]["compare"][0], asked[1][1]["success"][0]["request_put"]
        self.assertEqual((compare["target"], compare["result"], compare["mod_revision"]), ("MOD", "EQUAL", "7"))
        self.assertEqual(base64.b64decode(put["key"]), b"/service/x/config")
        self.assertEqual(json.loads(base64.b64decode(put["value"])),
                         {"ttl": 20, "postgresql": {"use_slots": True, "parameters": {"work_mem": "4MB"}}})

    def test_parameters_that_are_no_longer_those_of_the_change_stay(self):
        asked = self.run_on({"postgresql": {"parameters": {"work_mem": "10MB"}}})
        self.assertEqual([path for path, _ in asked], ["range"])

    def test_change_that_a_timer_has_put_back_has_not_come_to_its_end(self):
        class Ended(Exception):
            pass

        def settled(wanted, answer):
            module = mock.Mock(params=dict(self.GIVEN, state="settled", port=8008, after=900, wanted=wanted))
            module.exit_json.side_effect = module.fail_json.side_effect = Ended
            rest = mock.Mock(**{"return_value.ask": mock.Mock(side_effect=answer if isinstance(answer, list) else [answer])})
            with mock.patch.object(UNDO, "AnsibleModule", return_value=module), mock.patch.object(UNDO, "Rest", rest), \
                    mock.patch("os.path.exists", return_value=False), self.assertRaises(Ended):
                UNDO.main()
            self.assertIn(["systemctl", "stop", UNDO.UNIT + ".timer"], [call.args[0] for call in module.run_command.call_args_list])
            return module.fail_json.called

        def config(work_mem):
            return {"ttl": 20, "postgresql": {"parameters": {"work_mem": work_mem}}}

        self.assertFalse(settled({"work_mem": "9MB"}, config("9MB")))
        self.assertTrue(settled({"work_mem": "9MB"}, config("4MB")))
        # Timers that an interrupted run left, and a Patroni that does not answer.
        self.assertFalse(settled({}, config("4MB")))
        self.assertFalse(settled({"work_mem": "9MB"}, [OSError("refused")]))

    def test_program_of_the_timer_is_valid_and_holds_what_it_compares(self):
        given = dict(config_dir="/etc/patroni", endpoints=["10.0.0.1:2379"], prefix="/service/x/",
                     before={"search_path": "\"$user\", 'a' \\ %s"}, wanted={"work_mem": "4MB"})
        text = UNDO.program(given)
        compile(text, "undo", "exec")
        line = next(line for line in text.splitlines() if line.startswith("GIVEN = "))
        scope = {"json": json}
        exec(line, scope)  # pylint: disable=exec-used
        self.assertEqual(scope["GIVEN"], given)


if __name__ == "__main__":
    unittest.main()
