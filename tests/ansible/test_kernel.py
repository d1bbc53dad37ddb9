# SPDX-License-Identifier: Apache-2.0
"""What roles/patroni/files/kernel.sh loads on machines of different sizes.

    python3 -m unittest discover tests/ansible
"""

import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "roles/patroni/files/kernel.sh"
SETTINGS = "# Written by hactl.\nvm.dirty_bytes = 536870912\n%svm.swappiness = 1\n"


class Kernel(unittest.TestCase):
    def loaded(self, pages, memory_mib):
        """The settings that a machine of this size loads."""
        with tempfile.TemporaryDirectory() as scratch:
            at = pathlib.Path(scratch)
            # Prints what it is told to load.
            (at / "sysctl").write_text('#!/bin/sh\ncat "${1#--load=}"\n')
            (at / "sysctl").chmod(0o755)
            (at / "60-hactl.conf").write_text(SETTINGS % ("vm.nr_hugepages = %d\n" % pages if pages else ""))
            (at / "meminfo").write_text("MemTotal:       %8d kB\nMemFree:  1 kB\nHugePages_Total:       0\n"
                                        "Hugepagesize:       2048 kB\n" % (memory_mib * 1024))
            done = subprocess.run(["sh", str(SCRIPT), str(at / "60-hactl.conf"), str(at / "meminfo")], check=True, text=True,
                                  capture_output=True, env={**os.environ, "PATH": "%s:%s" % (at, os.environ["PATH"])})
            return [line.split(" = ")[0] for line in done.stdout.splitlines() if not line.startswith("#")]

    def test_huge_pages_wait_where_the_machine_does_not_have_its_new_memory_yet(self):
        others = ["vm.dirty_bytes", "vm.swappiness"]
        for pages, memory_mib, expected in (
            # What a plan gives a machine of 16 GiB, and one of 64 GiB on machines of both sizes.
            (2249, 15_900, sorted(others + ["vm.nr_hugepages"])),
            (9008, 64_000, sorted(others + ["vm.nr_hugepages"])),
            (9008, 15_900, others),
            (None, 1_900, others),
        ):
            self.assertEqual(sorted(self.loaded(pages, memory_mib)), expected, (pages, memory_mib))


if __name__ == "__main__":
    unittest.main()
