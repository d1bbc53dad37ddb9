#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Try parameters of PostgreSQL before they reach the cluster."""

from __future__ import annotations

import difflib
import glob
import json
import os
import re
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_limits import harmful, limits, running
from ansible.module_utils.patroni_machine import disk_size, huge_pages, memory
from ansible.module_utils.patroni_psql import fed, psql
from ansible.module_utils.patroni_restore import tried as restore_command
from ansible.module_utils.patroni_server_log import blame, complaints, refusals, text

DOCUMENTATION = r"""
module: patroni_parameters
short_description: Try parameters of PostgreSQL on a server of their own
description:
  - Reads names, types, units and ranges from the installed PostgreSQL, and asks the installed
    Patroni what it would drop or change. Then starts a server with an empty data directory of its
    own, as postgres, in a transient unit with little memory, and connects to it.
  - Compares sizes with the machine's memory, and limits with what the running server uses.
  - Nothing of this touches the node's own PostgreSQL. All that it made is removed at the end.
options:
  bin_dir: {type: path, required: true, description: Directory of PostgreSQL's programs}
  python: {type: path, required: true, description: The Python that has Patroni}
  parameters: {type: dict, required: true, description: All parameters that are wanted}
  changed: {type: list, elements: str, required: true, description: The parameters that are tried}
  server: {type: bool, default: true, description: Start a server; without it only sizes and limits are compared}
  live: {type: bool, default: false, description: Compare limits with the node's own running server}
  replica: {type: bool, default: true, description: A replica tries the parameters after this}
  data_dir: {type: path, required: true, description: Directory of the node's own server; it may not exist yet}
  port: {type: int, default: 5432, description: Port of the node's own server}
  socket_dir: {type: path, default: /var/run/postgresql, description: Directory of its socket}
  reason: {type: str, default: "", description: 'Only report that the cluster did not take the parameters, and why'}
  lines: {type: list, elements: str, default: [], description: The server's lines about it}
author: The hactl maintainers
"""

RETURN = r"""
refused: {type: list, returned: always, description: 'What was refused: parameter, value, cause, meant'}
settings: {type: dict, returned: success, description: What the server shows of the tried parameters}
restart: {type: list, returned: success, description: The tried parameters that need a restart}
local: {type: list, returned: success, description: The tried parameters that one member can have alone}
untried: {type: list, returned: success, description: Parameters that neither this server nor a replica tries}
"""

# What the server must not do beside the running one. These values are not tried.
FORCED = {
    "listen_addresses": "", "archive_mode": "off", "archive_command": "", "archive_library": "", "restore_command": "",
    "archive_cleanup_command": "", "recovery_end_command": "", "primary_conninfo": "", "primary_slot_name": "",
    "synchronous_standby_names": "", "huge_pages": "off", "jit": "off", "shared_buffers": "16MB", "autovacuum": "off",
    "min_dynamic_shared_memory": "0", "max_logical_replication_workers": "0", "logging_collector": "off",
    "log_destination": "stderr", "external_pid_file": "", "stats_temp_directory": "pg_stat_tmp", "fsync": "off",
}
# These exist only when their library is loaded; a name with a dot is accepted in any case.
FORCED_OF_LIBRARIES = {"cron.launch_active_jobs": "off"}
# Programs that only a primary or a recovery runs: no replica tries them either.
COMMANDS = ("archive_command", "archive_cleanup_command", "recovery_end_command")
PREFIX = "/var/tmp/hactl-parameters-"
PATIENCE = 30
MEMORY = "MemoryMax=512M"

CATALOGUE = ("COPY (SELECT json_agg(json_build_object('name', name, 'unit', unit, 'context', context, 'type', vartype, "
             "'min', min_val, 'max', max_val, 'words', enumvals)) FROM pg_settings) TO '%s';")

# Patroni's own rules decide what it writes into postgresql.conf.
ASK_PATRONI = r"""
import json, logging, sys
logging.disable(logging.CRITICAL)
from patroni.collections import CaseInsensitiveSet
from patroni.config import Config
from patroni.postgresql.config import ConfigHandler
from patroni.postgresql.validator import (recovery_parameters, transform_postgresql_parameter_value,
                                          transform_recovery_parameter_value)
given = json.load(sys.stdin)
available = CaseInsensitiveSet(given["available"])
kept = Config._process_postgresql_parameters(given["parameters"])
answer = {}
for name, value in given["parameters"].items():
    transform = transform_recovery_parameter_value if name in recovery_parameters else transform_postgresql_parameter_value
    rule = ConfigHandler.CMDLINE_OPTIONS.get(name)
    answer[name] = {
        "value": transform(given["version"], name, kept[name], available) if name in kept else None,
        "shared": rule is not None,
        "least": getattr(rule[1], "min", None) if rule else None,
    }
json.dump(answer, sys.stdout)
"""


def allowed(entry, least=None):
    """What values the server takes, in words; the limits are in the parameter's unit."""
    if entry["type"] == "bool":
        return "`on` or `off`"
    if entry["type"] == "enum":
        return ", ".join(entry["words"])
    if entry["type"] not in ("integer", "real"):
        return "text that the server accepts"
    unit = entry["unit"] or ""
    low = entry["min"] if least is None else str(max(least, int(float(entry["min"]))))
    said = "%s to %s" % (low, entry["max"])
    if re.match(r"^\d*(B|kB|MB)$", unit):
        return "%s (in units of %s), or a size with one of the units B, kB, MB, GB, TB (case matters)" % (said, unit)
    if unit:
        return "%s (in %s), or a time with one of the units us, ms, s, min, h, d" % (said, unit)
    return said


UNITS = {"b": "B", "k": "kB", "kb": "kB", "m": "MB", "mb": "MB", "g": "GB", "gb": "GB", "t": "TB", "tb": "TB",
         "us": "us", "ms": "ms", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "min", "mins": "min",
         "minute": "min", "minutes": "min", "h": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d"}


def meant(value, entry):
    """The value that was probably meant, or None."""
    value = text(value).strip()
    if entry["type"] == "bool":
        words = [word for word in ("on", "off", "true", "false", "yes", "no") if value and word.startswith(value.lower())]
        return {"on": "on", "true": "on", "yes": "on"}.get(words[0], "off") if words else None
    if entry["type"] == "enum":
        near = difflib.get_close_matches(value.lower(), entry["words"], 1)
        return near[0] if near else None
    match = re.match(r"^(-?\d+(?:\.\d+)?)\s*([A-Za-z]+)$", value)
    unit = match and UNITS.get(match.group(2).lower())
    if not unit or entry["type"] not in ("integer", "real"):
        return None
    of_size = re.match(r"^\d*(B|kB|MB)$", entry["unit"] or "")
    fits = unit in ("B", "kB", "MB", "GB", "TB") if of_size else bool(entry["unit"]) and unit in ("us", "ms", "s", "min", "h", "d")
    return match.group(1) + unit if fits and unit != match.group(2) else None


def judge(changed, parameters, catalogue, patroni):
    """What the installed server does not know, and what the installed Patroni would drop or change."""
    known = {entry["name"].lower(): entry for entry in catalogue}
    refused = []

    def refuse(name, cause, suggestion=None):
        refused.append(dict(parameter=name, value=text(parameters[name]), cause=cause, meant=suggestion))

    for name in changed:
        if name not in parameters:
            continue
        entry, said = known.get(name.lower()), patroni[name]
        if entry is None:
            if "." not in name:
                near = difflib.get_close_matches(name.lower(), known, 1)
                refuse(name, "this PostgreSQL has no such parameter", near[0] if near else None)
        elif entry["context"] == "internal":
            refuse(name, "the server sets it itself")
        elif said["value"] is None or text(said["value"]).lower() != text(parameters[name]).lower():
            refuse(name, "`%s` is not valid; allowed: %s" % (text(parameters[name]), allowed(entry, said["least"])),
                   meant(parameters[name], entry))
    return refused


def archiving(changed, parameters, major):
    """The archiver of PostgreSQL 16 and later refuses two ways at once, again and again, and WAL stays on the disk."""
    ways = ("archive_library", "archive_command")
    names = [name for name in ways if name in changed and name in parameters]
    if major < 16 or not names or not all(text(parameters.get(name, "")) for name in ways):
        return []
    cause = "the server archives with `archive_library` or `archive_command`, and both are set; set one of them to ''"
    return [dict(parameter=names[0], value=text(parameters[names[0]]), cause=cause, meant=None)]


def without(params, changed, names):
    """What is left to try without parameters of these names."""
    kept = dict(params, parameters={name: value for name, value in params["parameters"].items() if name not in names})
    return kept, [name for name in changed if name not in names]


class Scratch:
    """The server of its own, and its directory."""

    def __init__(self, module):
        self.module = module
        # What an interrupted run left; its unit has ended by its own time limit or is stopped here.
        module.run_command(["systemctl", "stop", "hactl-try-*.service"])
        for left in glob.glob(PREFIX + "*"):
            shutil.rmtree(left, ignore_errors=True)
        self.dir = tempfile.mkdtemp(prefix=PREFIX)
        self.unit = "hactl-try-%d" % os.getpid()
        shutil.chown(self.dir, "postgres", "postgres")
        self.data, self.conf, self.log = (os.path.join(self.dir, name) for name in ("data", "tried.conf", "log"))

    def program(self, name):
        return os.path.join(self.module.params["bin_dir"], name)

    def run(self, argv, data="", may_fail=False, network=False):
        """Runs a program to its end as postgres, in a unit with little memory."""
        code, out, err = fed(
            self.module, ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *self.properties(network), *argv], data)
        if code != 0 and not may_fail:
            self.module.fail_json(msg="%s: %s" % (" ".join(argv[:2]), err.strip()[-2000:]), refused=[])
        return code, out, err

    def properties(self, network=False):
        values = ["User=postgres", MEMORY, "OOMScoreAdjust=1000", "Nice=10", "RuntimeMaxSec=120", "WorkingDirectory=" + self.dir,
                  "PrivateNetwork=" + ("no" if network else "yes")]
        return [word for value in values for word in ("-p", value)] + ["--setenv=LC_ALL=C.UTF-8", "--setenv=PGDATA=" + self.data]

    def initdb(self):
        self.run([self.program("initdb"), "--no-sync", "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8", self.data])

    def catalogue(self):
        path = os.path.join(self.dir, "catalogue.json")
        self.run([self.program("postgres"), "--single", "-F", "-D", self.data, "postgres"], data=CATALOGUE % path)
        with open(path, encoding="utf-8") as file:
            # COPY writes a backslash twice.
            return json.loads(file.read().replace("\\\\", "\\"))

    def write(self, parameters):
        with open(self.conf, "w", encoding="utf-8") as file:
            file.write("include '%s/postgresql.conf'\n" % self.data)
            for name, value in sorted(parameters.items()):
                file.write("%s = '%s'\n" % (name, text(value).replace("\\", "\\\\").replace("'", "''")))
        shutil.chown(self.conf, "postgres", "postgres")

    def shows(self, name, options=()):
        """What `postgres -C` computes, or the lines of its complaint."""
        code, out, err = self.run([self.program("postgres"), "-D", self.data, "-c", "config_file=" + self.conf, *options, "-C", name],
                                  may_fail=True)
        return (out.strip(), []) if code == 0 else (None, self.own(complaints(err)))

    def own(self, lines):
        """Lines of the server without the directory, which differs between machines."""
        return [line.replace(self.dir + "/", "") for line in lines]

    def start(self, options):
        unit = ["systemd-run", "--quiet", "--collect", "--unit=" + self.unit, *self.properties(), "-p", "KillSignal=SIGQUIT",
                "-p", "StandardError=append:" + self.log]
        code, dummy, err = self.module.run_command([*unit, self.program("postgres"), "-D", self.data, "-c", "config_file=" + self.conf,
                                                    *options])
        if code != 0:
            self.module.fail_json(msg="could not start a server to try the parameters: " + err.strip(), refused=[])

    def sql(self, statement):
        """A new connection for each statement."""
        # The server is this module's own, and the search path may be what is tried.
        return psql(self.module, statement, self.program("psql"), self.dir, self.port, pinned=False)

    def said(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def answers(self, port):
        """Waits for a first connection; gives the complaint where there is none."""
        self.port = port
        deadline = time.monotonic() + PATIENCE
        while True:
            code, dummy, err = self.sql("SELECT 1")
            if code == 0:
                return None
            dummy, state, dummy2 = self.module.run_command(["systemctl", "is-active", self.unit])
            # A connection that the server refuses in its own words will not succeed later.
            if state.strip() not in ("active", "activating") or "starting up" not in err and "FATAL" in err \
                    or time.monotonic() > deadline:
                lines = complaints(self.said() + "\n" + err)
                return self.own(lines or ["it did not accept a connection within %d s: %s" % (PATIENCE, err.strip())])
            time.sleep(0.1)

    def remove(self):
        self.module.run_command(["systemctl", "stop", self.unit])
        shutil.rmtree(self.dir, ignore_errors=True)


def sizes(scratch, params, changed, version):
    """Refuses what does not fit into the machine's memory, or that the server cannot compute."""
    parameters, whole, pages = params["parameters"], memory(), huge_pages()
    options = ["-c", "archive_mode=off"]
    # The server computes its whole size from version 15 on.
    what = "shared_memory_size" if version >= 150000 else "shared_buffers"
    shown, lines = scratch.shows(what, options)
    if shown is None:
        return refusals(lines, changed, parameters)
    bytes_wanted = int(shown) * (8192 if what == "shared_buffers" else 1048576)
    in_huge_pages = text(parameters.get("huge_pages", "try")).lower() == "on"
    if in_huge_pages and "huge_pages" in changed and bytes_wanted > pages:
        name, limit, kind = "huge_pages", pages, "huge pages"
    elif in_huge_pages and bytes_wanted > pages or bytes_wanted >= whole:
        limit, kind = (pages, "huge pages") if in_huge_pages else (whole, "memory")
        name = largest(scratch, parameters, changed, what, options, bytes_wanted)
    else:
        return []
    cause = "the server would need %d MB of shared memory, and the machine has %d MB of %s" % (bytes_wanted >> 20, limit >> 20, kind)
    return [dict(parameter=name, value=text(parameters.get(name, "")), cause=cause, meant=None)]


def largest(scratch, parameters, changed, what, options, wanted):
    """The tried parameter without which the server needs least."""
    least, name = wanted, ", ".join(changed)
    for one in changed:
        if one in parameters:
            scratch.write({other: value for other, value in parameters.items() if other != one})
            shown, dummy = scratch.shows(what, options)
            if shown and int(shown) * (8192 if what == "shared_buffers" else 1048576) < least:
                least, name = int(shown) * (8192 if what == "shared_buffers" else 1048576), one
    return name


def tried(scratch, params, changed, catalogue):
    """Starts the server with the parameters, and connects. Gives refusals and what it shows."""
    parameters = params["parameters"]
    known = {entry["name"] for entry in catalogue}
    forced = {name: value for name, value in FORCED.items() if name in known}
    forced.update(FORCED_OF_LIBRARIES, unix_socket_directories=scratch.dir)
    scratch.start([word for name, value in forced.items() for word in ("-c", "%s=%s" % (name, value))])
    lines = scratch.answers(int(parameters.get("port", 5432)))
    if lines:
        return refusals(lines, changed, parameters), {}, []
    refused, settings, restart = [], {}, []
    # A connection over a socket shows the options of TCP as 0 in `setting`.
    code, out, err = scratch.sql(
        "SELECT json_build_object("
        "'settings', (SELECT json_object_agg(lower(name), json_build_array(reset_val, context)) FROM pg_settings),"
        "'errors', (SELECT coalesce(json_object_agg(name, error), '{}') FROM pg_file_settings WHERE error IS NOT NULL AND name IS NOT NULL))")
    if code != 0:
        # It accepts connections, and ends what they ask.
        return refusals(scratch.own(err.strip().splitlines()[:1]), changed, parameters), {}, []
    seen = json.loads(out)
    for name in changed:
        if name in seen["settings"] or name.lower() in seen["settings"]:
            setting, context = seen["settings"][name.lower()]
            if context == "postmaster":
                restart.append(name)
            if name in parameters and name not in forced:
                settings[name] = setting
        elif name in parameters:
            # A name with a dot of a library that is loaded: the server drops what the library does not know.
            gone = [line for line in scratch.said().splitlines() if '"%s"' % name in line and "invalid configuration parameter" in line]
            if gone:
                refused.append(dict(parameter=name, value=text(parameters[name]), meant=None,
                                    cause="the library that it belongs to has no such parameter"))
    # The server loads this one only while it archives, which a standby does not.
    library = text(parameters.get("archive_library", "")) if "archive_library" in changed else ""
    if library:
        code, dummy, err = scratch.sql("LOAD '%s'" % library.replace("'", "''"))
        if code != 0:
            refused.append(dict(parameter="archive_library", value=library, cause="the server says: " + err.strip(), meant=None))
    for name, error in seen["errors"].items():
        if name in changed and name not in forced and name not in [item["parameter"] for item in refused]:
            refused.append(dict(parameter=name, value=text(parameters[name]), cause="the server says: " + error, meant=None))
    return refused, settings, restart


def failing(module, refused):
    said = ["%s: %s%s" % (item["parameter"], item["cause"], " (did you mean %s?)" % item["meant"] if item.get("meant") else "")
            for item in refused]
    module.fail_json(msg="refused: " + "; ".join(said), refused=refused)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            bin_dir=dict(type="path", required=True),
            python=dict(type="path", required=True),
            parameters=dict(type="dict", required=True),
            changed=dict(type="list", elements="str", required=True),
            server=dict(type="bool", default=True),
            live=dict(type="bool", default=False),
            replica=dict(type="bool", default=True),
            data_dir=dict(type="path", required=True),
            port=dict(type="int", default=5432),
            socket_dir=dict(type="path", default="/var/run/postgresql"),
            reason=dict(type="str", default=""),
            lines=dict(type="list", elements="str", default=[]),
        ),
    )
    params, changed = module.params, module.params["changed"]
    if params["reason"]:
        if not changed:
            module.fail_json(msg="\n".join([params["reason"], *params["lines"]]), refused=[])
        name, line = blame(params["lines"], changed, params["parameters"])
        cause = params["reason"] + (": the server says: " + line if line else "")
        failing(module, [dict(parameter=name, value=text(params["parameters"].get(name, "")), cause=cause, meant=None)])
    dummy, out, dummy2 = module.run_command([os.path.join(params["bin_dir"], "postgres"), "--version"], check_rc=True)
    major = int(re.search(r"\(PostgreSQL\) (\d+)", out).group(1))
    scratch = Scratch(module)
    try:
        scratch.initdb()
        catalogue = scratch.catalogue()
        given = dict(parameters=params["parameters"], version=major * 10000, available=[entry["name"] for entry in catalogue])
        code, out, err = fed(module, [params["python"], "-c", ASK_PATRONI], json.dumps(given))
        if code != 0:
            module.fail_json(msg="Patroni's own validators failed: " + err.strip(), refused=[])
        patroni = json.loads(out)
        refused = judge(changed, params["parameters"], catalogue, patroni) + archiving(changed, params["parameters"], major)
        # The others are tried all the same: one run names everything that is wrong.
        params, changed = without(params, changed, [item["parameter"] for item in refused])
        settings, restart, found = {}, [], []
        live = running(module) if params["live"] else None
        if live:
            found = limits(changed, params["parameters"], live)
        if not found and (changed or not refused):
            scratch.write(params["parameters"])
            found = sizes(scratch, params, changed, major * 10000)
        if not found and (changed or not refused) and params["server"]:
            found, settings, restart = tried(scratch, params, changed, catalogue)
            found += harmful(changed, params["parameters"], settings, disk_size(params["data_dir"]))
            found = found or restore_command(scratch, changed, params["parameters"])
        refused += found
    finally:
        scratch.remove()
    if refused:
        failing(module, refused)
    module.exit_json(changed=False, refused=[], settings=settings, restart=restart, major=major,
                     local=[name for name in changed if name in patroni and not patroni[name]["shared"]],
                     untried=[name for name in changed if name in params["parameters"]
                              and name in (COMMANDS if params["replica"] else FORCED) and name != "restore_command"])


if __name__ == "__main__":
    main()
