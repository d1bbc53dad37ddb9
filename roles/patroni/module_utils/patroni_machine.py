# SPDX-License-Identifier: Apache-2.0
"""What the machine has, in bytes."""

from __future__ import annotations

import os
import re
import shutil

# Limits of the container, by versions 2 and 1 of control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def meminfo(path="/proc/meminfo"):
    """The figures of the kernel: kB, or a count where a line has no unit."""
    with open(path, encoding="ascii") as file:
        return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", file.read(), re.M)}


def memory(limits=LIMITS):
    """The memory of the machine, or of its container."""
    found = [meminfo()["MemTotal"] * 1024]
    for path in limits:
        try:
            with open(path, encoding="ascii") as file:
                found.append(int(file.read()))
        except (OSError, ValueError):
            continue
    return min(found)


def huge_pages():
    """All huge pages, used or not: the next start takes those of the running server."""
    found = meminfo()
    return found.get("HugePages_Total", 0) * found.get("Hugepagesize", 0) * 1024


def disk_size(path):
    """The file system that a directory is on, or will be on."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).total
