# SPDX-License-Identifier: Apache-2.0
"""Which backups roles/pgbackrest/files/hactl-backup makes, and how many full ones it keeps.

    python3 -m unittest discover tests/ansible
"""

import importlib.machinery
import importlib.util
import pathlib
import unittest

FILE = pathlib.Path(__file__).resolve().parents[2] / "roles/pgbackrest/files/hactl-backup"


def load():
    loader = importlib.machinery.SourceFileLoader("hactl_backup", str(FILE))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("hactl_backup", loader))
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
        self.assertEqual(module.listed(self.info(2, "no valid backups")), [])
        # What another passphrase makes of a file is in the message.
        with self.assertRaisesRegex(module.Unreadable, "^\\[FormatError\\] unable to load$"):
            module.listed(self.info(99, "[FormatError] unable to load\\nline 1: \x97\x1f"))
        with self.assertRaisesRegex(module.Unreadable, "^\\[ProtocolError\\] unable to load: HTTP 403$"):
            module.listed(self.info(99, "[ProtocolError] unable to load:\\nHTTP 403"))


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


if __name__ == "__main__":
    unittest.main()
