# SPDX-License-Identifier: Apache-2.0
"""What the roles leave alone in containers, above all in unprivileged ones: the kernel, its modules, devices, the clock and
the file systems belong to the host.

    python3 -m unittest discover tests/ansible
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
# Modules and programs that need a privilege which an unprivileged container lacks.
MODULES = re.compile(r"^(ansible\.posix\.)?(sysctl|mount)$|modprobe|\b(hostname|timezone|parted|filesystem|lvol|reboot)$")
PROGRAMS = re.compile(
    r"\b(sysctl|modprobe|insmod|mount|umount|mkfs|growpart|resize2fs|xfs_growfs|swapoff|swapon|timedatectl|hwclock|chronyd?|mknod|losetup)\b(?![-_.\w])"
    r"|/proc/sys/|/sys/(?!fs/cgroup)")
# What a task or a script says before it does any of that on a machine with a kernel of its own.
GUARD = "systemd-detect-virt --container --quiet && exit"
CONDITIONS = ("not __common_container", "__patroni_container.rc == 1", "__patroni_kernel is changed")
# Words that only name something.
NAMES = ("/etc/sysctl.d/",)


def tasks(found):
    """Every task of a file, also those in blocks; each with the conditions of its blocks."""
    for task in found or []:
        when = task.get("when", [])
        when = [str(each) for each in (when if isinstance(when, list) else [when])]
        inner = [each for name in ("block", "rescue", "always") for each in task.get(name, [])]
        for each in tasks(inner):
            yield {**each, "when": [*when, *each["when"]]}
        if not inner:
            yield {**task, "when": when}


def all_tasks():
    for path in sorted([*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/handlers/*.yml")]):
        for task in tasks(yaml.safe_load(path.read_text())):
            yield "%s: %s" % (path.relative_to(ROLES), task.get("name", "")), task


def module(task):
    return next((name for name in task if "." in name), "")


def acts(task):
    """What a task runs or asks a module for, with the text of the script that it looks up."""
    text = str({name: part for name, part in task.items() if name in (module(task), "loop")})
    for name in re.findall(r"lookup\('ansible\.builtin\.file', '([^']+)'\)", text):
        text += "".join(path.read_text() for path in ROLES.glob("*/files/" + name))
    for name in NAMES:
        text = text.replace(name, "")
    return re.sub(r"(?m)^\s*#.*$", "", text)


def is_guarded(text, conditions=()):
    return GUARD in text or any(condition in when for when in conditions for condition in CONDITIONS)


class Privileges(unittest.TestCase):
    def test_task_that_needs_a_privilege_of_the_host_does_nothing_in_a_container(self):
        guarded = []
        for name, task in all_tasks():
            if MODULES.search(module(task)) or PROGRAMS.search(acts(task)):
                self.assertTrue(is_guarded(acts(task), task["when"]), "%s runs in containers" % name)
                guarded.append(name)
        # That of the kernel settings, of the disks and of the clock: the search finds what it looks for.
        for words in ("Load kernel settings", "Prepare the disks", "Start chrony"):
            self.assertTrue(any(words in name for name in guarded), words)

    def test_unit_that_needs_a_privilege_of_the_host_does_nothing_in_a_container(self):
        guarded = 0
        for path in sorted(ROLES.glob("*/templates/*.service.j2")):
            for line in re.sub(r"\\\n", " ", path.read_text()).splitlines():
                setting = re.match(r"(DeviceAllow|AmbientCapabilities|CPUSchedulingPolicy|IOSchedulingClass=realtime|BindPaths|TemporaryFileSystem)", line)
                self.assertIsNone(setting, "%s: %s" % (path.name, line))
                if not line.startswith("#") and PROGRAMS.search(line):
                    self.assertIn("systemd-detect-virt --container --quiet && exit", line, path.name)
                    guarded += 1
        self.assertEqual(guarded, 1, "the watchdog of Patroni's unit")

    def test_module_changes_nothing_of_the_host(self):
        for path in sorted([*ROLES.glob("*/library/*.py"), *ROLES.glob("*/files/hactl-*")]):
            self.assertIsNone(re.search(r"sysctl|modprobe|/proc/sys/|[\"']u?mount[\"']|mkfs", path.read_text()), path.name)

    def test_link_to_a_device_gets_its_owner_without_following(self):
        links = 0
        for name, task in all_tasks():
            given = task.get("ansible.builtin.file")
            if given and given.get("state") == "link" and str(given.get("src", "")).startswith("/dev/"):
                self.assertIs(given.get("follow"), False, "%s would change the owner of %s" % (name, given["src"]))
                self.assertNotIn("mode", given, "%s would change the mode of %s" % (name, given["src"]))
                links += 1
        self.assertEqual(links, 1)


class Machines(unittest.TestCase):
    """What the scripts of the roles do with a program that says where they run."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        self.program("dpkg-query", "exit 1")

    def program(self, name, text):
        path = self.dir / name
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)

    def run_script(self, script, *args, container):
        self.program("systemd-detect-virt", "exit %d" % (0 if container else 1))
        path = "%s:%s" % (self.dir, os.environ["PATH"])
        done = subprocess.run(["sh", "-c", script, *args], env={"PATH": path}, capture_output=True, text=True, check=True)
        return done.stdout.rstrip("\n").split("\n")

    def test_container_gets_no_time_service_and_every_other_package(self):
        given = yaml.safe_load((ROLES / "common/vars/main.yml").read_text())
        packages = ["nftables", "chrony"]
        for container, missing in ((True, ["nftables"]), (False, packages)):
            lines = self.run_script(given["__common_probe_script"], "probe", str(self.dir / "digest"), *packages, container=container)
            self.assertEqual(lines[:2], ["", "container" if container else "machine"])
            names = {name: trust_as_template(given[name]) for name in ("__common_container", "__common_missing")}
            templar = Templar(DataLoader(), variables={"__common_probe": {"stdout_lines": lines}, **names})
            self.assertEqual(templar.template(names["__common_missing"]), missing)
            self.assertIs(templar.template(names["__common_container"]), container)

    def test_start_of_patroni_loads_no_module_in_a_container(self):
        unit = (ROLES / "patroni/templates/patroni.service.j2").read_text().replace("\\\n", "")
        script = re.search(r"^ExecStartPre=-\+/bin/sh -c '([^']+)'$", unit, re.M).group(1).replace("$$", "$")
        script = re.sub(r"\{\{ patroni_watchdog_device \}\}", str(self.dir / "watchdog"), script)
        script = re.sub(r"\{\{ patroni_watchdog_module \}\}", "i6300esb", script)
        for name in ("modprobe", "chown"):
            self.program(name, "echo %s" % name)
        self.assertEqual(self.run_script(script, container=True), [""])
        self.assertEqual(self.run_script(script, container=False), ["modprobe", "chown"])


if __name__ == "__main__":
    unittest.main()
