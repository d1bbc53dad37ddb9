# SPDX-License-Identifier: Apache-2.0
"""Which commands no standby may have as its `restore_command`.

    python3 -m unittest discover tests/ansible
"""

import importlib.util
import pathlib
import subprocess
import tempfile
import types
import unittest
from unittest import mock

PATH = pathlib.Path(__file__).resolve().parents[2] / "roles/patroni/module_utils/patroni_restore.py"
SPEC = importlib.util.spec_from_file_location("patroni_restore", str(PATH))
RESTORE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RESTORE)


class Restore(unittest.TestCase):
    def refused(self, command):
        """What is refused, with the shell of this machine in place of the unit."""
        def run(argv, may_fail, network):
            self.assertTrue(may_fail and network)
            done = subprocess.run(argv, capture_output=True, check=False, encoding="utf-8")
            return done.returncode, done.stdout, done.stderr

        with tempfile.TemporaryDirectory() as data:
            pathlib.Path(data, "pg_wal").mkdir()
            return RESTORE.tried(types.SimpleNamespace(data=data, run=run), ["restore_command"], {"restore_command": command})

    def test_command_that_would_end_the_server_is_refused_with_what_it_says(self):
        table = [
            ("/nonexistent/archive-get %f %p", "status 127", "/nonexistent/archive-get"),
            ("echo 'no credentials' >&2; exit 255", "status 255", "no credentials"),
            ("/etc/passwd", "status 126", "/etc/passwd"),
            ("kill -9 $$", "status 137", "no standby would start"),
            ("cp /etc/hostname %p", "gave a file for FFFFFFFF.history", "which no archive has"),
        ]
        for command, *words in table:
            (found,) = self.refused(command)
            self.assertEqual((found["parameter"], found["value"]), ("restore_command", command))
            for word in words:
                self.assertIn(word, found["cause"], command)

    def test_command_without_the_file_is_accepted(self):
        for command in ("", "cp /nonexistent/%f %p", "false", "exit 125", "/bin/true", "test %r = 000000010000000000000001 && echo 100%%"):
            self.assertEqual(self.refused(command), [], command)

    def test_command_that_does_not_end_is_refused(self):
        with mock.patch.object(RESTORE, "RUN", RESTORE.RUN.replace("--kill-after=5 %d" % RESTORE.LIMIT, "--kill-after=5 1")):
            (found,) = self.refused("echo waiting >&2; sleep 30")
        self.assertIn("it did not end within 100 s", found["cause"])
        self.assertIn("it says: waiting", found["cause"])

    def test_command_is_filled_in_as_the_server_does(self):
        self.assertEqual(RESTORE.filled("get %f \"%p\" %r 100%% %x"), 'get FFFFFFFF.history "pg_wal/RECOVERYHISTORY" 000000010000000000000001 100% %x')

    def test_command_that_does_not_change_is_not_run(self):
        self.assertEqual(RESTORE.tried(None, ["work_mem"], {"restore_command": "exit 200"}), [])
        self.assertEqual(RESTORE.tried(None, ["restore_command"], {}), [])


if __name__ == "__main__":
    unittest.main()
