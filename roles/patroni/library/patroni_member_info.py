#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What one Patroni member knows of itself and of the cluster, and what is wrong."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
import urllib.error

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_libraries import libraries
from ansible.module_utils.patroni_progress import (
    LONG_STALL, STALL, Progress, all_run, concerns, is_no_worse, marks, recovered, waits_for_data)
from ansible.module_utils.patroni_psql import psql
from ansible.module_utils.patroni_rest import Rest
from ansible.module_utils.patroni_server_log import complaints

DOCUMENTATION = r"""
module: patroni_member_info
short_description: Look at a Patroni member, and wait until the cluster is healthy
description:
  - Asks the node's own REST API, with its certificate. Changes nothing.
  - Healthy means one running leader, every other member streaming from it, all
    on one timeline, and as many synchronous standbys as the mode demands. A
    member that still runs pg_basebackup does not count as streaming.
  - A copy of the data and a replay extend the wait as long as they get farther.
  - The wait ends early when all members run, one of them does not stream, and nothing has moved for 60 seconds.
options:
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  data_dir: {type: path, required: true, description: PostgreSQL's data directory}
  port: {type: int, default: 8008, description: Port of the node's REST API}
  members: {type: list, elements: str, default: [], description: Members that must be there}
  synchronous_mode: {type: str, default: "off", description: quorum, on or off}
  synchronous_node_count: {type: int, default: 1, description: How many standbys must be synchronous}
  wait: {type: int, default: 0, description: 'Seconds to wait until the cluster is healthy, and longer while data moves'}
  dynamic_config: {type: dict, description: Wait until the member has taken over this configuration}
  before: {type: list, elements: dict, default: [], description: The members as they were before a change}
  stuck: {type: int, default: 0, description: Seconds after which a member that Patroni cannot start is given up; 0 for never}
  failure: {type: path, description: The file in which the command that makes a new cluster says why it failed}
  libraries: {type: list, elements: str, default: [], description: 'Libraries whose versions are asked for: glibc, icu'}
  bin_dir: {type: path, default: "", description: Directory of PostgreSQL's programs}
author: The hactl maintainers
"""

RETURN = r"""
has_data: {type: bool, returned: always, description: The data directory holds a cluster}
unfinished: {type: bool, returned: always, description: 'The data directory holds a cluster, and nothing of a user: no database, table or index'}
incomplete: {type: bool, returned: always, description: The data directory holds something that cannot start}
answers: {type: bool, returned: always, description: The REST API answers}
stale: {type: bool, returned: without wait, description: The REST API serves another certificate than that of its file}
armed: {type: bool, returned: always, description: A timer waits that takes a change of parameters back}
parameters: {type: dict, returned: without wait, description: PostgreSQL's parameters in etcd; null where Patroni does not say}
complaints: {type: list, returned: failure, description: The server's own lines about why it does not start}
role: {type: str, returned: always, description: The member's role}
pending_restart: {type: bool, returned: always, description: Settings wait for a restart}
leader: {type: str, returned: always, description: The leader's name}
grows: {type: bool, returned: always, description: A setting that waits needs the standbys to restart first}
shrinks: {type: bool, returned: always, description: A setting that waits needs the primary to restart first}
libraries: {type: dict, returned: without wait, description: 'The versions of the libraries; empty text where one is not installed'}
healthy: {type: bool, returned: always, description: The cluster is healthy}
problems: {type: list, returned: always, description: Why it is not}
no_worse: {type: bool, returned: always, description: 'It is not, and it was not before the change: no member is worse than it was'}
"""

# What the log says when something is wrong, and what that means.
KNOWN = [
    ("system ID mismatch", "its data belongs to another cluster than the one that etcd names (system id mismatch): "
                           "move the data directory away, or use another patroni_scope"),
    ("certificate verify failed", "a certificate is not of the CA that is expected here"),
    ("password authentication failed", "a password in patroni.yml is not the one that PostgreSQL has"),
    ("no pg_hba.conf entry", "pg_hba refuses another member"),
    ("waiting for leader to bootstrap", "it waits for a leader that never came (stuck initialisation)"),
    ("could not load pg_hba.conf", "pg_hba has a line that PostgreSQL refuses"),
    ("recovery ended before configured recovery target was reached",
     "the archive of the WAL ends before the moment or position to restore to, or has no commit after that moment: restore to an "
     "earlier one, or to all that the repository has"),
    ("Failed to bootstrap cluster", "the first start of the cluster fails again and again"),
    ("No space left on device", "the disk is full"),
    ("could not bind", "a port is in use by something else"),
    ("Address already in use", "a port is in use by something else"),
    ("EtcdException", "it cannot reach etcd"),
    ("following a different leader because i am not the healthiest node", "no member is fit to be leader"),
]

# PostgreSQL refuses a standby that has less of these than its primary.
TIED = ("max_connections", "max_prepared_transactions", "max_locks_per_transaction", "max_wal_senders", "max_worker_processes")


# Scripts of the timers that patroni_canary and patroni_parameters_undo set; they exist until these have run.
ARMED = ("/run/hactl-parameters-canary", "/run/hactl-parameters-undo")


def judge(params, members):
    problems = []
    leaders = [m for m in members if m["role"] in ("leader", "standby_leader")]
    if len(leaders) != 1 or leaders[0]["state"] != "running":
        return ["no member is a running leader"]
    leader = leaders[0]
    found = {m["name"]: m for m in members}
    for name in params["members"]:
        member = found.get(name)
        if member is None:
            problems.append("%s is not in the cluster" % name)
        elif member is not leader and member["state"] != "streaming":
            problems.append("%s is %s, not streaming" % (name, member["state"]))
        elif member.get("timeline") != leader.get("timeline"):
            problems.append("%s is on timeline %s, the leader on %s" % (name, member.get("timeline"), leader.get("timeline")))
    role = {"quorum": "quorum_standby", "on": "sync_standby"}.get(params["synchronous_mode"])
    if role and params["members"]:
        wanted = min(params["synchronous_node_count"], len(params["members"]) - 1)
        synchronous = [m for m in members if m["role"] == role]
        if len(synchronous) < wanted:
            problems.append("%d of %d standbys are synchronous" % (len(synchronous), wanted))
    return problems


def tendency(reasons):
    """Whether settings that tie standbys to their primary grow or shrink."""
    grows = shrinks = False
    for name, values in (reasons or {}).items():
        try:
            old, new = int(values["old_value"]), int(values["new_value"])
        except (KeyError, TypeError, ValueError):
            continue
        if name in TIED:
            grows, shrinks = grows or new > old, shrinks or new < old
    return grows, shrinks


def took_over(params):
    if not params["dynamic_config"]:
        return True
    try:
        with open(os.path.join(params["data_dir"], "patroni.dynamic.json"), encoding="utf-8") as file:
            return json.load(file) == params["dynamic_config"]
    except (OSError, ValueError):
        return False


# The pause between two looks at the copies, in seconds.
COUNTED = 5

# PostgreSQL gives numbers below this one to what initdb makes.
FIRST_OF_USERS = 16384


def untouched(data_dir):
    """Whether no user ever made anything in the cluster but roles. Files appear with their tables and databases."""
    def of_users(name):
        digits = name[:len(name) - len(name.lstrip("0123456789"))]
        return bool(digits) and int(digits) >= FIRST_OF_USERS
    try:
        if os.listdir(os.path.join(data_dir, "pg_tblspc")):
            return False
        base = os.path.join(data_dir, "base")
        databases = os.listdir(base)
        if any(of_users(name) for name in databases):
            return False
        return not any(of_users(name) for database in databases for name in os.listdir(os.path.join(base, database)))
    except OSError:
        return False


def configured(api):
    try:
        return api.ask("/config").get("postgresql", {}).get("parameters", {})
    except (OSError, ValueError):
        return None


def is_stale(params):
    """Whether the REST API serves another certificate than that of its file: Patroni reads it at a reload."""
    try:
        with open(os.path.join(params["config_dir"], "tls", "patroni.crt"), encoding="ascii") as file:
            ours = ssl.PEM_cert_to_DER_cert(file.read())
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", params["port"]), timeout=5) as plain:
            with context.wrap_socket(plain) as secure:
                return secure.getpeercert(binary_form=True) != ours
    except (OSError, ValueError):
        return False


def look(params):
    found = dict(answers=False, name="", role="", state="", pending_restart=False, pause=False, leader="", members=[], grows=False, shrinks=False,
                 healthy=False, problems=[], no_worse=False, parameters=None)
    found["armed"] = any(os.path.exists(path) for path in ARMED)
    # First: Patroni notes that a restart is pending before it notes the configuration, so what it says next is not older.
    taken_over = took_over(params)
    control = os.path.join(params["data_dir"], "global", "pg_control")
    try:
        found["has_data"] = os.path.getsize(control) > 0
    except OSError:
        found["has_data"] = False
    found["unfinished"] = found["has_data"] and untouched(params["data_dir"])
    try:
        found["incomplete"] = not found["has_data"] and bool(os.listdir(params["data_dir"]))
    except OSError:
        found["incomplete"] = False
    try:
        api = Rest(params["config_dir"], params["port"])
        # Before the question whether a restart is pending, which the member decides with the configuration.
        taken_over = took_over(params)
        own = api.ask("/patroni")
        found["answers"] = True
        found["name"] = own.get("patroni", {}).get("name", "")
        found["role"] = own.get("role", "")
        found["state"] = own.get("state", "")
        found["pending_restart"] = bool(own.get("pending_restart"))
        found["pause"] = bool(own.get("pause"))
        found["members"] = api.ask("/cluster").get("members", [])
        found["leader"] = next((m["name"] for m in found["members"] if m["role"] in ("leader", "standby_leader")), "")
        found["grows"], found["shrinks"] = tendency(own.get("pending_restart_reason"))
        found["problems"] = judge(params, found["members"])
        if not taken_over:
            found["problems"].append("the member has not taken over the configuration in etcd")
        found["healthy"] = not found["problems"]
        found["no_worse"] = taken_over and not found["healthy"] and is_no_worse(params["before"], found["members"], params["members"])
        if not params["wait"]:
            found["parameters"] = configured(api)
    except urllib.error.HTTPError as error:
        found["problems"] = ["Patroni's REST API answers: %s" % error]
    except (OSError, ValueError) as error:
        found["problems"] = ["Patroni's REST API does not answer: %s" % error]
    return found


def copies(module, found):
    """The copies of the data that this host sends or receives, in bytes."""
    if found["role"] == "primary":
        sql = ("SELECT coalesce(host(r.client_addr), 'a local client'), p.backup_streamed FROM pg_stat_progress_basebackup p "
               "JOIN pg_stat_replication r USING (pid) WHERE p.backup_streamed IS NOT NULL")
        status, said, dummy = psql(module, sql)
        rows = [line.rsplit("|", 1) for line in said.splitlines()] if status == 0 else []
        return {address: int(done) for address, done in rows}
    if module.params["failure"] and found["state"] in ("starting", "running"):
        dummy, said, dummy2 = module.run_command(["ps", "-eo", "args"])
        return {"the recovery": recovered(said)}
    if found["state"] not in ("creating replica", "running custom bootstrap script"):
        return {}
    status, said, dummy = module.run_command(["du", "-sB1", module.params["data_dir"]])
    # Files may go while du counts.
    return {"this host": int(said.split()[0])} if said.split() else {}


def diagnose(module, began):
    said = []
    dummy, state, dummy2 = module.run_command(["systemctl", "show", "-p", "ActiveState,SubState,Result", "patroni"])
    said.append("unit: " + " ".join(state.split()))
    dummy, log, dummy2 = module.run_command(["journalctl", "-u", "patroni", "-n", "60", "--no-pager", "-o", "cat"])
    dummy, server, dummy2 = module.run_command(["journalctl", "-u", "patroni", "--since", "@%d" % began, "--no-pager", "-o", "cat"])
    # The first lines name the cause; what follows repeats at each attempt.
    lines = complaints(server)[:3]
    said.extend(meaning for words, meaning in KNOWN if words in log or any(words in line for line in lines))
    said.extend("the server says: " + line for line in lines)
    said.append("last lines of its log:\n" + "\n".join(log.strip().splitlines()[-8:]))
    return said, lines


def main():
    module = AnsibleModule(
        argument_spec=dict(
            config_dir=dict(type="path", required=True),
            data_dir=dict(type="path", required=True),
            port=dict(type="int", default=8008),
            members=dict(type="list", elements="str", default=[]),
            synchronous_mode=dict(type="str", default="off"),
            synchronous_node_count=dict(type="int", default=1),
            wait=dict(type="int", default=0),
            dynamic_config=dict(type="dict"),
            before=dict(type="list", elements="dict", default=[]),
            stuck=dict(type="int", default=0),
            failure=dict(type="path"),
            libraries=dict(type="list", elements="str", default=[]),
            bin_dir=dict(type="path", default=""),
        ),
        supports_check_mode=True,
    )
    params, began = module.params, time.time()
    started, failing, progress = time.monotonic(), None, Progress(LONG_STALL if params["failure"] else STALL)
    counted = -COUNTED
    found = look(params)
    # With a certificate that has expired the REST API answers no request of this module.
    found["stale"] = not params["wait"] and is_stale(params)
    if not params["wait"]:
        found["libraries"] = libraries(module, params["libraries"], params["bin_dir"])
    while not found["healthy"]:
        now = time.monotonic() - started
        if params["wait"] and now - counted > COUNTED:
            counted = now
            progress.note(marks(found["members"], copies(module, found)), now)
        if params["failure"] and os.path.exists(params["failure"]):
            break
        # Another host judges. This one waits for what follows.
        if params["failure"] and now > params["wait"] and waits_for_data(found["name"], found["members"]):
            module.exit_json(changed=False, **found)
        if progress.is_over(now, params["wait"]) or progress.is_stuck(all_run(found["members"], params["members"]), now):
            break
        if now > params["wait"] and not concerns(found["name"], found["members"], params["members"]):
            module.exit_json(changed=False, **found)
        # Between its attempts Patroni says that the server starts.
        if found["state"] == "running":
            failing = None
        elif found["state"] == "start failed":
            failing = failing or time.monotonic()
        if params["stuck"] and failing and time.monotonic() - failing > params["stuck"]:
            break
        time.sleep(0.2)
        found = look(params)
    if params["wait"] and not found["healthy"]:
        # Lines from shortly before count: a reload or restart may have been refused before this look.
        found["diagnosis"], found["complaints"] = diagnose(module, began - 60)
        if params["failure"] and os.path.exists(params["failure"]):
            with open(params["failure"], encoding="utf-8", errors="replace") as file:
                found["problems"].insert(0, file.read().strip())
        still = progress.stood_still(time.monotonic() - started)
        found["problems"] += [still] if still else []
        module.fail_json(msg="The cluster is not healthy: %s.\n%s"
                             % ("; ".join(found["problems"]), "\n".join(found["diagnosis"])), **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
