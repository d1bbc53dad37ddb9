#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Try changed parameters on one member of a running cluster."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_psql import psql
from ansible.module_utils.patroni_rest import Rest
from ansible.module_utils.patroni_server_log import blame, complaints, text

DOCUMENTATION = r"""
module: patroni_canary
short_description: Give changed parameters to one replica before the cluster gets them
description:
  - Writes the parameters into the member's own patroni.yml, where they win over those in etcd, and
    reloads or restarts this member alone. A timer that was set before takes them out again.
  - The member passes when it accepts new connections over the socket and by TLS, shows the wanted
    values, waits for no restart, and streams. Otherwise they are taken out at once.
options:
  state: {type: str, choices: [tried, settled], default: tried, description: settled takes the parameters out and ends the timer}
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  ctl: {type: list, elements: str, required: true, description: The command patronictl and its arguments}
  scope: {type: str, required: true, description: The cluster's scope}
  name: {type: str, required: true, description: The member's name}
  address: {type: str, required: true, description: The member's address}
  psql: {type: path, required: true, description: Path of psql}
  port: {type: int, default: 5432, description: PostgreSQL's port}
  restapi_port: {type: int, default: 8008, description: Port of the node's REST API}
  parameters: {type: dict, default: {}, description: The parameters that are tried}
  settings: {type: dict, default: {}, description: What the server must show of them in pg_settings}
  restart: {type: bool, default: false, description: One of them needs a restart}
  loop_wait: {type: int, default: 3, description: Seconds between two looks of Patroni}
  wait: {type: int, default: 60, description: Seconds that the member gets}
  undo_after: {type: int, default: 600, description: Seconds after which the timer takes the parameters out}
author: The hactl maintainers
"""

RETURN = r"""
refused: {type: list, returned: always, description: 'What was refused: parameter, value, cause, meant'}
"""

MARK = " # hactl-parameters-canary"
UNIT = "hactl-parameters-canary"
# /run is empty after a reboot; the mark in patroni.yml is then taken out by the next run of the role.
SCRIPT = "/run/hactl-parameters-canary"


def with_override(config, parameters):
    """patroni.yml with the parameters in its section `postgresql`; JSON is YAML."""
    written = json.dumps({name: text(value) for name, value in parameters.items()})
    lines = without_override(config).splitlines(keepends=True)
    at = lines.index("postgresql:\n") + 1
    return "".join(lines[:at] + ["  parameters: %s%s\n" % (written, MARK)] + lines[at:])


def without_override(config):
    return "".join(line for line in config.splitlines(keepends=True) if not line.rstrip("\n").endswith(MARK))


# A session shows a value of its own where the limits of this module, the role postgres, the database or the server itself set one.
HIDDEN = "source IN ('client', 'user', 'database', 'database user', 'override', 'session')"

# Why a member has not passed, as far as it is decided on.
FAILED = "the member's state is `start failed`"
RESTART = " waits for a restart"


class Canary:
    def __init__(self, module):
        self.module, self.params = module, module.params
        self.file = os.path.join(self.params["config_dir"], "patroni.yml")
        tls = os.path.join(self.params["config_dir"], "tls")
        self.server_context = ssl.create_default_context(cafile=os.path.join(tls, "postgresql-ca.crt"))
        self.rest = Rest(self.params["config_dir"], self.params["restapi_port"])

    def read(self):
        with open(self.file, encoding="utf-8") as file:
            return file.read()

    def write(self, config):
        """Replaces the file at once, with its owner and mode."""
        had = os.stat(self.file)
        handle, path = tempfile.mkstemp(dir=self.params["config_dir"])
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(config)
        os.chown(path, had.st_uid, had.st_gid)
        os.chmod(path, had.st_mode & 0o7777)
        os.replace(path, self.file)

    def arm(self):
        # A pending restart shows one or two loops after the reload.
        restart = "sleep 10\n%s restart --pending --force '%s' '%s' || :\n" % (
            " ".join("'%s'" % word for word in self.params["ctl"]), self.params["scope"], self.params["name"])
        with open(SCRIPT, "w", encoding="utf-8") as file:
            file.write("sed -i '/%s$/d' '%s'\nsystemctl reload patroni\n%srm -f %s\n"
                       % (MARK, self.file, restart if self.params["restart"] else "", SCRIPT))
        self.disarm()
        code, dummy, err = self.module.run_command(
            ["systemd-run", "--quiet", "--unit=" + UNIT, "--service-type=oneshot", "--timer-property=AccuracySec=1s",
             "--on-active=%d" % self.params["undo_after"], "/bin/sh", SCRIPT])
        if code != 0:
            self.module.fail_json(msg="could not set the timer that takes the parameters back: " + err.strip(), refused=[])

    def disarm(self):
        self.module.run_command(["systemctl", "stop", UNIT + ".timer"])
        self.module.run_command(["systemctl", "reset-failed", UNIT + ".service"])

    def take_out(self):
        self.write(without_override(self.read()))
        self.module.run_command(["systemctl", "reload", "patroni"])
        self.disarm()
        if os.path.exists(SCRIPT):
            os.remove(SCRIPT)

    def restart(self):
        self.module.run_command([*self.params["ctl"], "restart", "--force", self.params["scope"], self.params["name"]])

    def sql(self, statement):
        code, out, err = psql(self.module, statement, self.params["psql"], port=self.params["port"])
        return (out.strip(), None) if code == 0 else (None, err.strip())

    def tls(self):
        """Whether the server accepts TLS on its own address, as clients and standbys use it."""
        with socket.create_connection((self.params["address"], self.params["port"]), timeout=5) as plain:
            plain.sendall(struct.pack("!ii", 8, 80877103))
            if plain.recv(1) != b"S":
                return "the server does not accept TLS"
            with self.server_context.wrap_socket(plain, server_hostname=self.params["address"]):
                return None

    def wrong(self, wanted=None):
        """Why the member has not passed yet; None where it has."""
        try:
            member = self.rest.ask("/patroni")
            if member.get("state") != "running":
                return FAILED if member.get("state") == "start failed" else "the member's state is `%s`" % member.get("state")
            seen, error = self.sql(
                "SELECT json_build_object('settings', (SELECT json_object_agg(lower(name), CASE WHEN " + HIDDEN + " THEN NULL "
                "ELSE reset_val END) FROM pg_settings), "
                "'files', (SELECT coalesce(json_object_agg(lower(name), setting ORDER BY seqno), '{}') FROM pg_file_settings "
                "WHERE name IS NOT NULL AND error IS NULL), "
                "'pending', (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart), "
                "'streams', (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'))")
            if error:
                return "a new connection failed: " + error
            seen = json.loads(seen)
            for name, value in (wanted or {}).items():
                shown = seen["settings"].get(name.lower())
                if shown is None and name.lower() in seen["settings"]:
                    # That of other sessions is what the server has read from its files.
                    shown, value = (seen["files"].get(name.lower()) or "unset").lower(), text(self.params["parameters"][name]).lower()
                if shown != value:
                    return '"%s" is %s, not %s' % (name, shown, value)
            # Others may wait for reasons of their own.
            pending = [name for name in self.params["parameters"] if name.lower() in [other.lower() for other in seen["pending"]]]
            if pending:
                return ", ".join(pending) + RESTART
            if not seen["streams"]:
                return "the member does not stream"
            return self.tls()
        except (OSError, ValueError) as error:
            return str(error)

    def until_right(self, seconds, wanted=None):
        """Waits for the member. One that does not start with the tried values will not do so later, and one that waits
        for a restart waits for it until it gets one."""
        deadline = time.monotonic() + seconds
        while True:
            wrong = self.wrong(wanted)
            if not wrong or time.monotonic() > deadline or (RESTART if wanted is None else FAILED) in wrong:
                return wrong
            time.sleep(0.3)

    def until_written(self):
        """Patroni writes postgresql.conf at its next look; a restart before it would start with the old values."""
        deadline = time.monotonic() + 15
        names = [name for name in self.params["parameters"]]
        statement = "SELECT coalesce(json_object_agg(lower(name), setting ORDER BY seqno), '{}') FROM pg_file_settings"
        while time.monotonic() < deadline:
            out, dummy = self.sql(statement)
            seen = json.loads(out) if out else {}
            if all(seen.get(name.lower()) == text(self.params["parameters"][name]) for name in names):
                return
            time.sleep(0.3)

    def tried(self):
        began = time.time()
        self.arm()
        self.write(with_override(self.read(), self.params["parameters"]))
        self.module.run_command(["systemctl", "reload", "patroni"])
        self.until_written()
        if self.params["restart"]:
            self.restart()
        wrong = self.until_right(self.params["wait"], self.params["settings"])
        if not wrong:
            return
        dummy, log, dummy2 = self.module.run_command(["journalctl", "-u", "patroni", "--since", "@%d" % began, "--no-pager", "-o", "cat"])
        lines = complaints(log) or [wrong]
        self.take_out()
        if self.params["restart"]:
            # Patroni writes the old values at its next look.
            time.sleep(2 * self.params["loop_wait"] + 2)
            # A server whose new value keeps even this module out does not say that it waits for a restart.
            if self.until_right(self.params["wait"]):
                self.restart()
        back = self.until_right(self.params["wait"] * 2)
        name, line = blame(lines, list(self.params["parameters"]), self.params["parameters"])
        cause = "tried on %s, which did not pass (%s): %s; taken back" % (self.params["name"], wrong, line)
        if back:
            cause += ", and the member is not healthy yet: " + back
        value = text(self.params["parameters"].get(name, ""))
        self.module.fail_json(msg="refused: %s: %s" % (name, cause),
                              refused=[dict(parameter=name, value=value, cause=cause, meant=None)])


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["tried", "settled"], default="tried"),
            config_dir=dict(type="path", required=True),
            ctl=dict(type="list", elements="str", required=True),
            scope=dict(type="str", required=True),
            name=dict(type="str", required=True),
            address=dict(type="str", required=True),
            psql=dict(type="path", required=True),
            port=dict(type="int", default=5432),
            restapi_port=dict(type="int", default=8008),
            parameters=dict(type="dict", default={}),
            settings=dict(type="dict", default={}),
            restart=dict(type="bool", default=False),
            loop_wait=dict(type="int", default=3),
            wait=dict(type="int", default=60),
            undo_after=dict(type="int", default=600),
        ),
    )
    canary = Canary(module)
    if module.params["state"] == "settled":
        canary.take_out()
    else:
        canary.tried()
    restarted = module.params["state"] == "tried" and module.params["restart"]
    effects = [dict(kind="unit", unit="postgresql", action="restart")] if restarted else []
    module.exit_json(changed=True, refused=[], effects=effects)


if __name__ == "__main__":
    main()
