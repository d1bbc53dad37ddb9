#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Let the primary on this node hand over to a replica before its PostgreSQL restarts."""

from __future__ import annotations

import json
import time
import urllib.error

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_psql import psql
from ansible.module_utils.patroni_rest import Rest

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Let the primary hand over to a replica
description:
  - Writes checkpoints until one is short, waits until a replica has what the primary has written, and asks
    Patroni for a switchover. The request names no candidate, since Patroni promotes one that is named without a vote.
  - Where no replica is fit, or Patroni refuses, the primary stays, and the module says why.
options:
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  port: {type: int, default: 8008, description: Port of the node's REST API}
  user: {type: str, required: true, description: User of the REST API}
  password: {type: str, required: true, description: Password of the REST API}
  name: {type: str, required: true, description: The member's name}
  psql: {type: path, required: true, description: Path of psql}
  postgresql_port: {type: int, default: 5432, description: PostgreSQL's port}
  wait: {type: int, default: 90, description: Seconds until another member must be the primary}
author: The hactl maintainers
"""

RETURN = r"""
switched: {type: bool, returned: always, description: Another member is the primary now}
leader: {type: str, returned: always, description: The leader's name}
why: {type: str, returned: always, description: Why the primary has stayed}
"""

# A checkpoint that takes no longer leaves little to write for the one of the stop.
SHORT, CHECKPOINTS = 1.0, 3
# How long a replica may take to have what the primary has on its disk.
CAUGHT_UP_WITHIN = 5.0
FLUSHED = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::int8"
BY_STANDBY = ("SELECT coalesce(json_object_agg(application_name, pg_wal_lsn_diff(flush_lsn, '0/0')::int8), '{}') FROM pg_stat_replication "
              "WHERE state = 'streaming' AND flush_lsn IS NOT NULL AND application_name <> 'pg_basebackup'")


def unfit(name, cluster):
    """Why the member cannot hand over to any other; empty where it can."""
    if cluster.get("pause"):
        return "the cluster is paused"
    members = cluster.get("members", [])
    leader = next((m["name"] for m in members if m["role"] == "leader"), "")
    if leader != name:
        return "%s is not the primary" % name
    others = [m for m in members if m["name"] != name]
    if not others:
        return "the cluster has no replica"
    late = [m["name"] for m in others if m["state"] != "streaming"]
    if late:
        return "%s does not stream" % ", ".join(late)
    if all(m.get("tags", {}).get("nofailover") for m in others):
        return "no replica may be the primary"
    return ""


def late(flushed, standbys):
    """Standbys that do not have what the primary had on its disk."""
    return sorted(name for name, has in standbys.items() if has < flushed)


class Member:
    def __init__(self, module):
        self.module, self.params = module, module.params
        self.rest = Rest(self.params["config_dir"], self.params["port"], self.params["user"], self.params["password"])

    def cluster(self):
        return self.rest.ask("/cluster")

    def leader(self):
        """The name of a leader that runs."""
        try:
            members = self.cluster().get("members", [])
            return next((m["name"] for m in members if m["role"] == "leader" and m["state"] == "running"), "")
        except (OSError, ValueError):
            return ""

    def sql(self, statement):
        code, out, err = psql(self.module, statement, self.params["psql"], port=self.params["postgresql_port"])
        if code != 0:
            raise OSError(err.strip())
        return out.strip()

    def checkpoint(self):
        for dummy in range(CHECKPOINTS):
            began = time.monotonic()
            self.sql("CHECKPOINT")
            if time.monotonic() - began < SHORT:
                return

    def caught_up(self):
        """Why the standbys do not have what the primary has; empty where they do."""
        flushed, deadline = int(self.sql(FLUSHED)), time.monotonic() + CAUGHT_UP_WITHIN
        while True:
            names = late(flushed, json.loads(self.sql(BY_STANDBY)))
            if not names:
                return ""
            if time.monotonic() > deadline:
                return "%s did not receive what the primary has written" % ", ".join(names)
            time.sleep(0.1)

    def ask(self):
        """Asks for the switchover; what Patroni says where it refuses. Its answer comes when the switchover has ended."""
        try:
            self.rest.send("/switchover", {"leader": self.params["name"]}, "POST", timeout=self.params["wait"])
            return ""
        except urllib.error.HTTPError as error:
            return "Patroni refuses: %s: %s" % (error, error.read().decode(errors="replace").strip())

    def switch(self):
        """Why the primary has stayed; empty where it has moved."""
        why = unfit(self.params["name"], self.cluster())
        if why:
            return why
        self.checkpoint()
        why = self.caught_up()
        if why:
            return why
        refused, deadline = self.ask(), time.monotonic() + self.params["wait"]
        while True:
            leader = self.leader()
            if leader and (leader != self.params["name"] or refused):
                return "" if leader != self.params["name"] else refused
            if time.monotonic() > deadline:
                self.module.fail_json(msg="no member became the primary within %d s after a switchover: %s"
                                      % (self.params["wait"], refused), switched=False, leader="", why=refused)
            time.sleep(0.2)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            config_dir=dict(type="path", required=True),
            port=dict(type="int", default=8008),
            user=dict(type="str", required=True),
            password=dict(type="str", required=True, no_log=True),
            name=dict(type="str", required=True),
            psql=dict(type="path", required=True),
            postgresql_port=dict(type="int", default=5432),
            wait=dict(type="int", default=90),
        ),
    )
    member = Member(module)
    try:
        why = member.switch()
    except (OSError, ValueError) as error:
        why = str(error)
    module.exit_json(changed=not why, switched=not why, leader=member.leader(), why=why)


if __name__ == "__main__":
    main()
