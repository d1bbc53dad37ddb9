# SPDX-License-Identifier: Apache-2.0
"""What roles/common/files/disks.sh does with real disks: loop devices, in a mount namespace of their own.

    python3 -m unittest discover tests/ansible

Needs root, or sudo without a password, and loop devices.
"""

import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "roles/common/files/disks.sh"
ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
MIB = 1024 * 1024

# Programs of the machine that the test must not ask: its own root file system stays as it is.
PROGRAMS = {
    "systemd-detect-virt": "exit ${CONTAINER:-1}",
    "systemctl": ":",
    "findmnt": 'case "$*" in *"--target /") echo overlay ;; *) exec /usr/bin/findmnt "$@" ;; esac',
    # A kernel refuses to resize a mounted file system to a root without the capability SYS_RESOURCE, as in a container.
    "resize2fs": """/usr/sbin/resize2fs "$1" && exit
place=$(/usr/bin/findmnt --noheadings --output TARGET "$1")
umount "$place" && e2fsck -fp "$1" && /usr/sbin/resize2fs "$1" && mount "$1" "$place\"""",
    # growpart is not on every machine that runs tests. This one makes the partition of a DOS table end with the disk.
    "growpart": """python3 - "$1" "$2" <<'END' && partx --update "$1"
import os, struct, sys
with open(sys.argv[1], "r+b") as disk:
    size = disk.seek(0, os.SEEK_END) // 512
    entry = 446 + 16 * (int(sys.argv[2]) - 1)
    disk.seek(entry + 8)
    start, = struct.unpack("<I", disk.read(4))
    disk.write(struct.pack("<I", size - start))
END""",
}


def loop_devices():
    done = subprocess.run([*ROOT, "losetup", "--find"], capture_output=True, check=False)
    return done.returncode == 0


@unittest.skipUnless(loop_devices(), "this machine has no loop devices for root")
class Disks(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        (self.dir / "bin").mkdir()
        for name, text in PROGRAMS.items():
            path = self.dir / "bin" / name
            path.write_text("#!/bin/sh\n" + text + "\n")
            path.chmod(0o755)
        (self.dir / "fstab").write_text("# of the machine\n")
        self.mount = self.dir / "data"
        self.image = self.dir / "disk"
        with open(self.image, "wb") as image:
            image.truncate(64 * MIB)
        self.device = self.root("losetup", "--show", "--partscan", "--find", str(self.image)).strip()
        self.addCleanup(self.root, "losetup", "--detach", self.device)

    def root(self, *words):
        return subprocess.run([*ROOT, *words], check=True, capture_output=True, text=True).stdout

    def machine(self, script, **variables):
        """What a script prints on a machine with this disk; `disks` runs the script of the role."""
        given = {"DISKS": SCRIPT, "DEVICE": self.device, "MOUNT": self.mount, "IMAGE": self.image, **variables}
        settings = "".join("export %s='%s'\n" % (name, value) for name, value in given.items())
        text = settings + "PATH=%s/bin:$PATH\nset -e\nmount --bind %s/fstab /etc/fstab\ndisks() { sh $DISKS \"$@\"; }\n" % (self.dir, self.dir)
        done = subprocess.run([*ROOT, "unshare", "--mount", "--propagation", "private", "sh", "-c", text + script],
                              capture_output=True, text=True, check=False)
        return done.stdout.splitlines(), done.stderr.strip()

    def grow_image(self, size):
        os.truncate(self.image, size * MIB)
        self.root("losetup", "--set-capacity", self.device)

    def test_data_disk_is_formatted_once_and_mounted_by_its_uuid(self):
        made, mounted = "made a file system of type ext4 on " + self.device, "mounted %s at %s" % (self.device, self.mount)
        said, wrong = self.machine("""
            disks look no $DEVICE $MOUNT; echo -
            mkdir -m 750 $MOUNT; chown 7:8 $MOUNT
            disks do no $DEVICE $MOUNT; echo -
            echo kept >$MOUNT/file
            disks do no $DEVICE $MOUNT; echo -
            umount $MOUNT
            disks do no $DEVICE $MOUNT; echo -
            cat $MOUNT/file
            stat --format '%u:%g %a' $MOUNT""")
        self.assertEqual((said, wrong), ([made, "-", made, mounted, "-", "-", mounted, "-", "kept", "7:8 750"], ""))
        uuid = self.root("blkid", "-p", "-s", "UUID", "-o", "value", self.device).strip()
        line = "UUID=%s %s ext4 defaults,nofail,x-systemd.required-by=patroni.service,x-systemd.before=patroni.service 0 2"
        self.assertEqual((self.dir / "fstab").read_text().splitlines(), ["# of the machine", line % (uuid, self.mount)])

    def test_file_system_of_a_disk_grows_when_the_disk_has(self):
        said, wrong = self.machine("disks do yes $DEVICE $MOUNT >/dev/null; disks do yes $DEVICE $MOUNT; echo -")
        self.assertEqual((said, wrong), (["-"], ""))
        self.grow_image(128)
        said, wrong = self.machine("""
            mount $MOUNT
            disks look yes $DEVICE $MOUNT; echo -
            disks do yes $DEVICE $MOUNT; echo -
            disks do yes $DEVICE $MOUNT; echo -
            df --output=size --block-size=1M $MOUNT | tail -n 1""")
        grew = "grew the file system at %s" % self.mount
        self.assertEqual((said[:-1], wrong), ([grew, "-", grew, "-", "-"], ""))
        self.assertGreater(int(said[-1]), 100)

    def partitioned(self):
        """Gives the disk one partition with a file system."""
        with open(self.image, "r+b") as image:
            image.seek(446)
            image.write(struct.pack("<B3sB3sII", 0x80, b"", 0x83, b"", 2048, 64 * MIB // 512 - 2048))
            image.seek(510)
            image.write(b"\x55\xaa")
        self.root("partx", "--add", self.device)
        self.root("mkfs.ext4", "-q", self.device + "p1")

    def test_partition_without_growpart_is_named_until_it_can_be_installed(self):
        self.partitioned()
        self.grow_image(128)
        programs = self.dir / "bin"
        (programs / "growpart").rename(self.dir / "growpart")
        (programs / "apt-get").write_text("#!/bin/sh\n[ -n \"$ONLINE\" ] || exit 100\ncp %s/growpart %s\n" % (self.dir, programs))
        (programs / "apt-get").chmod(0o755)
        script = """
            [ ! -e /usr/bin/growpart ] || mount --bind /dev/null /usr/bin/growpart
            mkdir -p $MOUNT; mount ${DEVICE}p1 $MOUNT
            disks look yes '' $MOUNT; echo -
            disks do yes '' $MOUNT; echo -
            ONLINE=yes disks do yes '' $MOUNT; echo -"""
        said, wrong = self.machine(script)
        name = self.device.rpartition("/")[2]
        left = "left partition 1 of /dev/%s smaller than its disk: growpart (package cloud-guest-utils) could not be installed" % name
        grew = "grew partition 1 of /dev/" + name
        self.assertEqual((said, wrong), ([grew, "-", left, "-", grew, "grew the file system at %s" % self.mount, "-"], ""))

    def test_last_partition_grows_before_its_file_system(self):
        self.partitioned()
        script = """
            mkdir -p $MOUNT; mount ${DEVICE}p1 $MOUNT
            disks do yes '' $MOUNT; echo -
            df --output=size --block-size=1M $MOUNT | tail -n 1"""
        said, wrong = self.machine(script)
        self.assertEqual((said[:-1], wrong), (["-"], ""))
        self.grow_image(128)
        said, wrong = self.machine(script)
        name = self.device.rpartition("/")[2]
        self.assertEqual((said[:-1], wrong), (["grew partition 1 of /dev/" + name, "grew the file system at %s" % self.mount, "-"], ""))
        self.assertGreater(int(said[-1]), 100)

    def test_disk_with_other_contents_is_refused(self):
        self.root("mkswap", self.device)
        said, wrong = self.machine("disks do no $DEVICE $MOUNT")
        self.assertEqual(said, [])
        self.assertIn("holds swap, not a file system", wrong)
        with open(self.image, "r+b") as image:
            image.write(bytes(MIB))
            image.seek(446)
            image.write(struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 2048, 4096))
            image.seek(510)
            image.write(b"\x55\xaa")
        said, wrong = self.machine("disks do no $DEVICE $MOUNT")
        self.assertEqual(said, [])
        self.assertIn("has a partition table (dos)", wrong)

    def test_data_that_a_mount_would_hide_is_refused(self):
        said, wrong = self.machine("mkdir -p $MOUNT/15/pg; touch $MOUNT/15/pg/PG_VERSION; disks do no $DEVICE $MOUNT")
        self.assertEqual(said, [])
        self.assertIn("has data of PostgreSQL (%s/15/pg)" % self.mount, wrong)
        self.assertEqual(subprocess.run([*ROOT, "blkid", "-p", self.device], capture_output=True, check=False).returncode, 2)

    def test_containers_are_left_alone(self):
        self.assertEqual(self.machine("disks do yes $DEVICE $MOUNT; ls $MOUNT 2>/dev/null || :", CONTAINER="0"), ([], ""))


if __name__ == "__main__":
    unittest.main()
