# SPDX-License-Identifier: Apache-2.0
"""Which backups roles/pgbackrest/files/hactl-backup makes, and how many full ones it keeps;
which stanzas hactl-alone, beside it, finds in use; what hactl-restore makes of the settings of the source;
how much WAL may wait; and what a test of a backup leaves behind.

    python3 -m unittest discover tests/ansible
"""

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
from unittest import mock

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

FILES = pathlib.Path(__file__).resolve().parents[2] / "roles/pgbackrest/files"


def load(name="hactl-backup"):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(FILES / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Keep(unittest.TestCase):
    def keep(self, ages, full, days):
        """Ages of full backups in days, the oldest first; a pair is a backup of another kind or with errors."""
        now = 100 * 86400
        backups = []
        for age in ages:
            age, kind, error = age if isinstance(age, tuple) else (age, "full", False)
            backups.append({"type": kind, "error": error, "timestamp": {"stop": now - age * 86400}})
        return load().keep(backups, full, days, now)

    def test_backup_before_the_window_stays_because_the_window_begins_with_it(self):
        self.assertEqual(self.keep([40, 20, 10, 3], 1, 14), 3)

    def test_number_of_full_backups_counts_where_the_days_would_keep_fewer(self):
        self.assertEqual(self.keep([40, 30, 20], 2, 14), 2)
        self.assertEqual(self.keep([40, 30, 20], 3, 14), 3)

    def test_all_stay_while_the_window_is_not_full(self):
        self.assertEqual(self.keep([10, 3], 1, 14), 2)
        self.assertEqual(self.keep([], 2, 14), 2)

    def test_backups_of_other_kinds_do_not_count(self):
        self.assertEqual(self.keep([40, 20, (10, "diff", False), 3], 1, 14), 2)

    def test_damaged_backup_takes_the_place_of_no_other_one(self):
        # pgBackRest counts it: with 2 it would keep those of 5 and 3 days, and the window would begin 3 days ago.
        self.assertEqual(self.keep([40, 20, (5, "full", True), 3], 1, 14), 3)
        self.assertEqual(self.keep([40, 30, (20, "full", True)], 2, 14), 3)


class Listed(unittest.TestCase):
    def info(self, code, message):
        status = '{"code": %d, "message": "%s"}' % (code, message)
        said = '[{"backup": [], "repo": [{"status": %s}], "status": {"code": %d, "message": "other"}}]' % (status, code)
        return said.encode("latin-1")

    def test_repository_that_cannot_be_read_is_not_one_without_backups(self):
        module = load()
        self.assertEqual(module.read(self.info(2, "no valid backups"))["backup"], [])
        # What another passphrase makes of a file is in the message.
        with self.assertRaisesRegex(module.Unreadable, "^\\[FormatError\\] unable to load$"):
            module.read(self.info(99, "[FormatError] unable to load\\nline 1: \x97\x1f"))
        with self.assertRaisesRegex(module.Unreadable, "^\\[ProtocolError\\] unable to load: HTTP 403$"):
            module.read(self.info(99, "[ProtocolError] unable to load:\\nHTTP 403"))


class Alone(unittest.TestCase):
    SEGMENT = "000000020000000000000009"

    def stanza(self, **change):
        return {"name": "pg-1a2b3c4d", "status": {"code": 0, "message": "ok"},
                "db": [{"id": 1, "system-id": 71, "version": "17"}],
                "archive": [{"database": {"id": 1}, "id": "17-1", "max": self.SEGMENT}],
                "backup": [{"label": "20261130-022015F", "database": {"id": 1}}], **change}

    def test_stanza_of_another_cluster_is_refused_with_both_identifiers(self):
        module = load("hactl-alone")
        self.assertEqual(module.judged(self.stanza(), "17")["system-id"], 71)
        two = [{"id": 1, "system-id": 71, "version": "17"}, {"id": 2, "system-id": 72, "version": "17"}]
        with self.assertRaisesRegex(module.Refused, "identifier 72, and its newest backup, 20261130-022015F, is of one with 71"):
            module.judged(self.stanza(db=two), "17")

    def test_backups_of_another_version_and_stanza_without_a_backup_are_refused(self):
        module = load("hactl-alone")
        with self.assertRaisesRegex(module.Refused, "of PostgreSQL 17, and the cluster file asks for 15"):
            module.judged(self.stanza(), "15")
        with self.assertRaisesRegex(module.Refused, "no valid backups"):
            module.judged(self.stanza(status={"code": 2, "message": "no valid backups"}, backup=[]), "17")

    def test_newest_segment_has_the_moment_when_it_arrived(self):
        module = load("hactl-alone")
        asked = []

        def listed(path):
            asked.append(path)
            return {self.SEGMENT + "-ab12.zst": {"time": 1796005216, "type": "file"},
                    "000000020000000000000008-ab12.zst": {"time": 1796005300, "type": "file"}}

        self.assertEqual(module.newest(self.stanza(), {"id": 1}, listed), (self.SEGMENT, 1796005216))
        self.assertEqual(asked, ["archive/pg-1a2b3c4d/17-1/0000000200000000"])
        self.assertIsNone(module.newest(self.stanza(archive=[]), {"id": 1}, listed))
        self.assertIn("000000020000000000000009 of 2026-11-30T02:20:16Z", module.words((self.SEGMENT, 1796005216)))


class Due(unittest.TestCase):
    SCHEDULE = {"full": 7 * 86400, "diff": 86400, "incr": 3600}

    def due(self, schedule=None, **ages):
        """Ages of the last backup of each kind, in seconds."""
        now = 100 * 86400
        backups = [{"type": kind, "timestamp": {"start": now - age, "stop": now}} for kind, age in ages.items()]
        return load().due(backups, self.SCHEDULE if schedule is None else schedule, now)

    def test_first_backup_is_a_full_one(self):
        self.assertEqual(self.due(), "full")

    def test_largest_kind_whose_time_is_over_is_due(self):
        self.assertEqual(self.due(full=8 * 86400, diff=60, incr=60), "full")
        self.assertEqual(self.due(full=2 * 86400, diff=86400, incr=60), "diff")
        self.assertEqual(self.due(full=2 * 86400, diff=7200, incr=3600), "incr")
        self.assertIsNone(self.due(full=2 * 86400, diff=7200, incr=60))

    def test_larger_backup_counts_for_a_smaller_kind_too(self):
        self.assertIsNone(self.due(full=60))
        self.assertIsNone(self.due(full=2 * 86400, diff=60))

    def test_smaller_backup_does_not_count_for_a_larger_kind(self):
        self.assertEqual(self.due(full=8 * 86400, incr=60), "full")

    def test_look_just_before_the_hour_makes_the_backup(self):
        self.assertEqual(self.due(full=86400, diff=7200, incr=3595), "incr")
        self.assertIsNone(self.due(full=86400, diff=7200, incr=3000))

    def test_kind_that_the_schedule_does_not_name_is_never_due(self):
        self.assertIsNone(self.due(schedule={"full": 7 * 86400}, full=6 * 86400))
        self.assertIsNone(self.due(schedule={}))


class Restore(unittest.TestCase):
    def test_copy_does_not_archive_where_alter_system_of_its_source_did(self):
        text = (FILES.parent / "templates/hactl-restore.j2").read_text()
        settings = ["# by ALTER SYSTEM", "archive_command = 'pgbackrest --stanza=source archive-push %p'", "archive_library = ''",
                    "archive_mode = 'on'", "archive_timeout = '60s'", "work_mem = '8MB'"]
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            names = dict(ansible_managed="", pgbackrest_data_dir=str(scratch / "data"), pgbackrest_config_dir="/etc/pgbackrest",
                         pgbackrest_postgresql_port=5432, pgbackrest_source=dict(stanza="s", type="default", target="", set=""),
                         __pgbackrest_failure=str(scratch / "failed"))
            script = Templar(DataLoader(), variables=names).template(trust_as_template(text))
            program = scratch / "pgbackrest"
            program.write_text("#!/bin/sh\nprintf '%%s\\n' %s >%s/data/postgresql.auto.conf\n"
                               % (" ".join('"%s"' % line for line in settings), scratch))
            program.chmod(0o755)
            subprocess.run(["sh", "-c", script, "hactl-restore", "data"], check=True,
                           env=dict(os.environ, PATH="%s:%s" % (scratch, os.environ["PATH"])))
            left = (scratch / "data/postgresql.auto.conf").read_text().splitlines()
        self.assertEqual(left, [settings[0], *settings[4:], "max_logical_replication_workers = 0"])


class Broken(unittest.TestCase):
    def broken(self, *segments, start="000000010000000000000005", now=1000):
        """With segments of timeline, number and time of arrival, and the newest backup from `start` on."""
        directories = {}
        for timeline, number, arrived in segments:
            name = "%08X%08X%08X" % (timeline, number // 256, number % 256)
            directories.setdefault(name[:16], {})[name + "-ab12.zst"] = {"type": "file", "time": arrived}
            directories[name[:16]]["%s.partial-ab12.zst" % name] = {"type": "file", "time": arrived}
        asked = []

        def entries(path):
            asked.append(path)
            if path == "archive/s/17-1":
                return {".": {"type": "path"}, "00000002.history-ab": {"type": "file", "time": 1}, **{name: {} for name in directories}}
            return directories[path.rsplit("/", 1)[1]]

        stanza = {"name": "s", "archive": [{"id": "16-0", "database": {"id": 0}}, {"id": "17-1", "database": {"id": 1}}],
                  "backup": [{"archive": {"start": start}, "database": {"id": 1}}]}
        return load().broken(stanza, entries, now), asked

    def test_missing_segment_since_the_newest_backup_asks_for_another_one(self):
        self.assertEqual(self.broken((1, 5, 1), (1, 6, 2), (1, 8, 3))[0], True)
        # What the old primary had not archived before a failover.
        self.assertEqual(self.broken((1, 5, 1), (2, 7, 2))[0], True)
        self.assertEqual(self.broken((1, 255, 1), (1, 257, 2))[0], True)

    def test_whole_archive_gap_before_the_backup_and_segment_on_its_way_ask_for_none(self):
        self.assertEqual(self.broken((1, 5, 1), (1, 6, 2), (2, 6, 3), (2, 7, 4))[0], False)
        self.assertEqual(self.broken((1, 2, 1), (1, 5, 2), (1, 6, 3))[0], False)
        self.assertEqual(self.broken((1, 5, 1), (1, 7, 900))[0], False)
        # A recovery has ended at the missing segment, and its timeline goes on from there.
        self.assertEqual(self.broken((1, 5, 1), (1, 8, 2), (2, 6, 3))[0], False)
        self.assertEqual(self.broken((1, 5, 1), (1, 8, 2), (2, 8, 3))[0], True)
        self.assertEqual(self.broken()[0], False)
        self.assertEqual(load().broken({"backup": []}, None, 0), False)

    def test_only_directories_since_the_backup_are_listed(self):
        found, asked = self.broken((1, 5, 1), (1, 300, 2), (1, 302, 3), start="00000001000000010000002C")
        self.assertEqual((found, asked), (True, ["archive/s/17-1", "archive/s/17-1/0000000100000001"]))

    def test_look_of_the_schedule_makes_the_backup_that_the_archive_needs(self):
        """With a program in place of pgBackRest, and an archive with and without the segment in the middle."""
        for segments, calls in (((5, 6, 7), ["info", "repo-ls", "repo-ls"]),
                                ((5, 7), ["info", "repo-ls", "repo-ls", "backup --type=incr", "info", "expire --repo1-retention-full=2"])):
            with tempfile.TemporaryDirectory() as scratch:
                scratch = pathlib.Path(scratch)
                now = int(time.time())
                info = [{"name": "s", "status": {"code": 0}, "archive": [{"id": "17-1", "database": {"id": 1}}],
                         "backup": [{"type": "full", "label": "20261130-022015F", "database": {"id": 1}, "timestamp": {"start": now, "stop": now},
                                     "archive": {"start": "%024X" % ((1 << 64) + 5)}}]}]
                files = {"%024X-ab" % ((1 << 64) + number): {"time": 1} for number in segments}
                for name, found in {"info": info, "top": {"0000000100000000": {}}, "files": files}.items():
                    (scratch / name).write_text(json.dumps(found))
                programs = {"psql": "echo t", "pgbackrest": """cd %s
case "$*" in
  *info) echo info >>calls; cat info ;;
  *repo-ls*17-1) echo repo-ls >>calls; cat top ;;
  *repo-ls*) echo repo-ls >>calls; cat files ;;
  *backup) echo "backup $2" >>calls ;;
  *expire) echo "expire $1" >>calls ;;
esac""" % scratch}
                for name, text in programs.items():
                    (scratch / name).write_text("#!/bin/sh\n%s\n" % text)
                    (scratch / name).chmod(0o755)
                (scratch / "c.json").write_text(json.dumps({"program": str(scratch / "pgbackrest"), "port": 5432, "full": 2, "days": 14,
                                                            "schedule": {"full": 7 * 86400}}))
                module = load()
                with mock.patch.object(module, "CONFIG", str(scratch / "c.json")), mock.patch("builtins.print"), \
                        mock.patch.dict(os.environ, PATH="%s:%s" % (scratch, os.environ["PATH"])):
                    self.assertEqual(module.main("scheduled"), 0)
                self.assertEqual((scratch / "calls").read_text().splitlines(), calls)


class Queue(unittest.TestCase):
    """The most WAL that may wait for the repository, as hactl-pgbackrest tells pgBackRest."""

    GIB = 1 << 30

    def called(self, *arguments, size=100, free=50, waiting=0, fails=False):
        """The arguments of pgBackRest, with a disk of so many GiB and so many segments that wait."""
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            status = scratch / "data/pg_wal/archive_status"
            status.mkdir(parents=True)
            for number in range(waiting):
                (status / ("%024X.ready" % number)).touch()
            (status / "000000010000000000000001.done").touch()
            table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x %d 0 %d 1%% /\n" % (size << 20, free * (1 << 20))
            stubs = {"id": "echo 1000", "df": "false" if fails else "printf '%s'" % table.replace("%", "%%"), "pgbackrest": "echo \"$@\""}
            for name, text in stubs.items():
                (scratch / name).write_text("#!/bin/sh\n%s\n" % text)
                (scratch / name).chmod(0o755)
            names = dict(ansible_managed="", pgbackrest_data_dir=str(scratch / "data"), pgbackrest_config_dir="/c", pgbackrest_stanza="s")
            text = (FILES.parent / "templates/hactl-pgbackrest.j2").read_text()
            script = Templar(DataLoader(), variables=names).template(trust_as_template(text))
            done = subprocess.run(["sh", "-c", script, "hactl-pgbackrest", *arguments], check=True, capture_output=True, text=True,
                                  env=dict(os.environ, PATH="%s:%s" % (scratch, os.environ["PATH"])))
        return done.stdout.split()[2:]

    def test_wal_that_waits_leaves_room_on_the_disk(self):
        def limit(**disk):
            option, *rest = self.called("archive-push", "pg_wal/1", **disk)
            self.assertEqual(rest, ["archive-push", "pg_wal/1"])
            return int(option.removeprefix("--archive-push-queue-max="))

        self.assertEqual(limit(), 25 * self.GIB)
        # Of 6 GiB that are free, 5 stay free; 1 GiB waits already.
        self.assertEqual(limit(free=6, waiting=64), 2 * self.GIB)
        # Data alone has filled the disk: what an archive that works has waiting is not dropped.
        self.assertEqual(limit(free=0, waiting=2), self.GIB // 4)

    def test_disk_that_cannot_be_measured_and_other_commands_have_no_limit(self):
        self.assertEqual(self.called("archive-push", "pg_wal/1", fails=True), ["archive-push", "pg_wal/1"])
        self.assertEqual(self.called("--output=json", "info"), ["--output=json", "info"])


class RestoreTest(unittest.TestCase):
    def test_copy_of_a_test_that_is_stopped_does_not_stay_on_the_disk(self):
        text = (FILES.parents[2] / "src/operation/backup/restore_test.sh").read_text()
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            program = scratch / "program"
            program.write_text("#!/bin/sh\ntouch %s/copy/data/base\nexec sleep 60\n" % scratch)
            program.chmod(0o755)
            (scratch / "patroni.yml").write_text('  bin_dir: "/nonexistent"\n')
            for path, own in {"/var/lib/postgresql/hactl-restore-test": "copy", "/usr/local/sbin/hactl-pgbackrest": "program",
                              "/etc/patroni/patroni.yml": "patroni.yml"}.items():
                self.assertIn(path, text)
                text = text.replace(path, str(scratch / own))
            # As systemd stops a unit: each of its processes gets the signal.
            unit = subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                    text=True, start_new_session=True)
            unit.stdin.write(text)
            unit.stdin.close()
            while not (scratch / "copy/data/base").exists():
                self.assertIsNone(unit.poll())
                time.sleep(0.05)
            os.killpg(unit.pid, signal.SIGTERM)
            unit.wait()
            self.assertFalse((scratch / "copy").exists())


if __name__ == "__main__":
    unittest.main()
