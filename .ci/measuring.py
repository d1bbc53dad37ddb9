# SPDX-License-Identifier: Apache-2.0
"""Shared by the benchmarks: the program, commands that must succeed, and a description of the machine."""

import os
import pathlib
import platform
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
HACTL = os.path.abspath(os.environ.get("HACTL", TOP / "target/release/hactl"))


def run(*command, check=True, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)
    if check and done.returncode:
        sys.exit(f"bench: {' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def machine():
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    release = dict(line.strip().split("=", 1) for line in open("/etc/os-release") if "=" in line)
    engine = run("docker", "info", "--format", "{{.ServerVersion}}, cgroup v{{.CgroupVersion}}, {{.Driver}}", check=False).strip()
    return [
        f"{os.cpu_count()} cores ({cpu[0] if cpu else platform.machine()}), {memory // 1024 // 1024} GiB of memory",
        f"{release['PRETTY_NAME'].strip(chr(34))}, Linux {platform.release()}, Docker {engine}",
        f"{run(HACTL, '--version').strip()}, commit {run('git', 'rev-parse', '--short', 'HEAD', cwd=TOP).strip()}",
        f"load average before the first measurement: {os.getloadavg()[0]:.1f}",
    ]
