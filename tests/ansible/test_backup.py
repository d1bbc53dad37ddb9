# SPDX-License-Identifier: Apache-2.0
"""How many full backups roles/pgbackrest/files/hactl-backup keeps.

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


if __name__ == "__main__":
    unittest.main()
