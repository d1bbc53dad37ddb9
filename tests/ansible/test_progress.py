# SPDX-License-Identifier: Apache-2.0
"""What extends a wait for members: pure functions.

    python3 -m unittest discover tests/ansible
"""

import importlib.util
import pathlib
import unittest

PATH = pathlib.Path(__file__).resolve().parents[2] / "roles/patroni/module_utils/patroni_progress.py"
SPEC = importlib.util.spec_from_file_location("patroni_progress", str(PATH))
PROGRESS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PROGRESS)


def member(name, role, state, **more):
    return dict(name=name, role=role, state=state, **more)


LEADER = member("a", "leader", "running")
STREAMS = member("b", "replica", "streaming", replay_lsn="0/5000000")


class Progress(unittest.TestCase):
    def ends(self, looks, wait=180):
        progress = PROGRESS.Progress()
        for now in range(2000):
            for at, done in looks:
                if at == now:
                    progress.note({"the copy to c": done}, now)
            if progress.is_over(now, wait):
                return now
        return None

    def test_wait_goes_on_while_something_gets_farther(self):
        table = [
            ([], 181),
            ([(10, 1)], 181),
            ([(10, 1), (150, 2)], 211),
            ([(10, 1), (150, 2), (200, 3), (250, 4), (310, 5)], 371),
            # It starts again, and never gets as far as it was.
            ([(100, 9), (150, 1), (200, 8), (250, 9)], 181),
        ]
        for looks, end in table:
            self.assertEqual(self.ends(looks), end, looks)

    def test_wait_for_members_that_all_run_ends_once_nothing_moves(self):
        away = member("c", "replica", "running", replay_lsn="0/5000000")
        table = [
            ("a standby that does not stream", [LEADER, STREAMS, away], [], 61),
            ("one that an archive feeds", [LEADER, STREAMS, member("c", "replica", "in archive recovery")], [], 61),
            ("one that catches up until then", [LEADER, STREAMS, away], [(50, 1), (100, 2)], 161),
            ("all stream", [LEADER, STREAMS, member("c", "replica", "streaming")], [], 181),
            ("one starts", [LEADER, STREAMS, member("c", "replica", "starting")], [], 181),
            ("one is copied", [LEADER, STREAMS, member("c", "replica", "creating replica")], [], 181),
            ("one is away", [LEADER, STREAMS], [], 181),
            ("no leader", [member("a", "replica", "running"), STREAMS, away], [], 181),
        ]
        for name, members, looks, end in table:
            progress = PROGRESS.Progress()
            for now in range(200):
                progress.note({"replay on c": done for at, done in looks if at == now}, now)
                stuck = progress.is_stuck(PROGRESS.all_run(members, ["a", "b", "c"]), now)
                if stuck or progress.is_over(now, 180):
                    break
            self.assertEqual(now, end, name)
        progress = PROGRESS.Progress()
        progress.is_stuck(True, 5)
        self.assertEqual(progress.stood_still(70), "all members run, and nothing moved for 65 s")

    def test_wait_of_members_that_start_meanwhile_begins_again(self):
        progress = PROGRESS.Progress()
        self.assertFalse(progress.is_stuck(True, 10))
        self.assertFalse(progress.is_stuck(False, 60))
        self.assertFalse(progress.is_stuck(True, 100))
        self.assertFalse(progress.is_stuck(True, 160))
        self.assertTrue(progress.is_stuck(True, 161))

    def test_change_of_a_broken_cluster_that_breaks_no_more_is_no_worse(self):
        down, runs = member("c", "replica", "start failed"), member("c", "replica", "running")
        other = [member("a", "replica", "streaming"), member("b", "leader", "running")]
        table = [
            ("a standby that does not stream", [LEADER, STREAMS, runs], [LEADER, STREAMS, runs], True),
            ("one that starts now", [LEADER, STREAMS, down], [LEADER, STREAMS, runs], True),
            ("one that failed and fails", [LEADER, STREAMS, down], [LEADER, STREAMS, down], True),
            ("one that was away and is away", [LEADER, STREAMS], [LEADER, STREAMS], True),
            ("another leader meanwhile", [LEADER, STREAMS, runs], [*other, runs], True),
            ("one that ran and fails", [LEADER, STREAMS, runs], [LEADER, STREAMS, down], False),
            ("another that streamed", [LEADER, STREAMS, runs], [LEADER, member("b", "replica", "running"), runs], False),
            ("one that went away", [LEADER, STREAMS, runs], [LEADER, STREAMS], False),
            ("no leader", [LEADER, STREAMS, runs], [member("a", "replica", "running"), STREAMS, runs], False),
            ("nothing that changed", [], [LEADER, STREAMS, runs], False),
            ("a cluster that was well", [LEADER, STREAMS, member("c", "replica", "streaming")], [LEADER, STREAMS, runs], False),
        ]
        for name, before, now, expected in table:
            self.assertEqual(PROGRESS.is_no_worse(before, now, ["a", "b", "c"]), expected, name)

    def test_end_names_what_stood_still(self):
        progress = PROGRESS.Progress()
        self.assertEqual(progress.stood_still(5), "")
        progress.note({"the copy to c": 5 << 20}, 7)
        self.assertEqual(progress.stood_still(70), "nothing moved for 63 s: the copy to c at 5 MB")

    def test_only_members_that_do_not_stream_count(self):
        behind = member("c", "replica", "in archive recovery", replay_lsn="1/10")
        new = member("d", "replica", "creating replica", replay_lsn="unknown", lsn="unknown")
        found = PROGRESS.marks([LEADER, STREAMS, behind, new], {"d": 9})
        self.assertEqual(found, {"replay on c": (1 << 32) + 16, "the copy to d": 9})

    def test_member_that_has_what_its_leader_has_is_not_on_its_way(self):
        loses_its_connection = member("c", "replica", "running", replay_lsn="0/5000000", lag=0, replay_lag=4096)
        self.assertEqual(PROGRESS.marks([LEADER, loses_its_connection], {}), {})
        for lag in ("unknown", 1 << 30):
            behind = member("c", "replica", "running", replay_lsn="0/5000000", lag=0, replay_lag=lag)
            self.assertEqual(PROGRESS.marks([LEADER, behind], {}), {"replay on c": 5 << 24})

    def test_hosts_without_a_part_in_a_copy_leave_it_to_the_others(self):
        new = member("c", "replica", "creating replica")
        table = [
            ("a", [LEADER, STREAMS, new], True),
            ("b", [LEADER, STREAMS, new], False),
            ("c", [LEADER, STREAMS, new], True),
            ("b", [LEADER, STREAMS, member("c", "replica", "stopped")], True),
            ("b", [LEADER, STREAMS], True),
            ("b", [], True),
        ]
        for name, members, expected in table:
            self.assertEqual(PROGRESS.concerns(name, members, ["a", "b", "c"]), expected, (name, members))

    def test_hosts_without_data_leave_the_restore_to_the_one_that_makes_it(self):
        waits = member("b", "replica", "stopped")
        table = [
            ("b", [member("a", "replica", "running custom bootstrap script"), waits], True),
            ("b", [member("a", "replica", "starting"), waits], True),
            # Nobody makes anything, and the host itself does.
            ("b", [member("a", "replica", "stopped"), waits], False),
            ("a", [member("a", "replica", "running custom bootstrap script"), waits], False),
            ("b", [LEADER, waits], False),
            ("b", [], False),
        ]
        for name, members, expected in table:
            self.assertEqual(PROGRESS.waits_for_data(name, members), expected, (name, members))

    def test_recovery_is_as_far_as_the_title_of_its_process_says(self):
        titles = "postgres: pg: checkpointer\npostgres: pg: startup recovering 0000000200000001000000FE\n"
        self.assertEqual(PROGRESS.recovered(titles), (1 << 32) + (0xFE << 24))
        self.assertEqual(PROGRESS.recovered("postgres: pg: startup waiting for 000000020000000100000001"), 0)

    def test_server_that_starts_on_restored_data_may_stand_still_for_longer(self):
        progress = PROGRESS.Progress(PROGRESS.LONG_STALL)
        progress.note({"this host": 1}, 100)
        self.assertFalse(progress.is_over(700, 180))
        self.assertTrue(progress.is_over(701, 180))


if __name__ == "__main__":
    unittest.main()
