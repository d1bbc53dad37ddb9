# SPDX-License-Identifier: Apache-2.0
"""Values of parameters that a server of their own starts with, and that the running cluster cannot have."""

from __future__ import annotations

import json
import os

from ansible.module_utils.patroni_psql import psql
from ansible.module_utils.patroni_server_log import text

# What PostgreSQL and Patroni set where nothing else does.
DEFAULTS = {"max_prepared_transactions": 0}


def limits(changed, parameters, live):
    """Limits that the running server already exceeds, and libraries that its databases use."""
    refused = []

    def refuse(name, cause):
        refused.append(dict(parameter=name, value=text(parameters.get(name, "")), cause=cause, meant=None))

    for name, used, what in (("max_replication_slots", live["slots"], "replication slots exist"),
                             ("max_wal_senders", live["senders"], "standbys and backups stream"),
                             ("max_prepared_transactions", live["prepared"], "prepared transactions exist")):
        # Without a value of the file the server has its own.
        if name in changed and int(parameters.get(name, DEFAULTS.get(name, used))) < used:
            refuse(name, "%d %s" % (used, what))
    if "wal_level" in changed and live["logical"] and text(parameters.get("wal_level")).lower() != "logical":
        refuse("wal_level", "%d logical replication slots exist, which need `logical`" % live["logical"])
    if "shared_preload_libraries" in changed:
        kept = libraries(parameters.get("shared_preload_libraries", ""))
        for name in [name for name in libraries(live["preloaded"]) if name in live["extensions"] and name not in kept]:
            refuse("shared_preload_libraries", "the database %s has the extension %s, whose functions fail without this library; add "
                                               "`%s`, or drop the extension first" % (live["extensions"][name], name, name))
    return refused


def libraries(value):
    """The names of the libraries in a list of them."""
    return [os.path.basename(name.strip().strip('"')) for name in text(value).split(",") if name.strip()]


# Milliseconds. A busy standby or primary is silent for longer than a shorter limit, and both would connect in a loop.
LEAST_SILENCE = 1000
# Milliseconds, after each failover.
MOST_PAUSE = 60000


def harmful(changed, parameters, settings, disk):
    """Values that a server starts with, and that stop its standbys or fill its disk later."""
    refused = []

    def refuse(name, cause):
        refused.append(dict(parameter=name, value=text(parameters[name]), cause=cause, meant=None))

    for name in [name for name in changed if name in settings]:
        shown = settings[name]
        if name.lower() in ("wal_sender_timeout", "wal_receiver_timeout", "tcp_user_timeout") and 0 < int(shown) < LEAST_SILENCE:
            refuse(name, "standbys would lose their connection again and again, and writes would wait for them; allowed: "
                         "0 (no limit), or at least 1s")
        elif name.lower() == "wal_retrieve_retry_interval" and int(shown) > MOST_PAUSE:
            refuse(name, "a standby whose first attempt at a new primary fails would try again after that time, and writes would wait "
                         "for it; allowed: at most 1min")
        # -1 is no limit, which the file may ask for.
        elif name.lower() in ("wal_keep_size", "min_wal_size", "max_wal_size", "max_slot_wal_keep_size") and int(shown) << 20 >= disk:
            refuse(name, "the server would keep up to %s MB of WAL, and the disk of its data has %d MB" % (shown, disk >> 20))
    return refused


def running(module):
    """What the node's own server uses now; None where it does not answer."""
    params = module.params
    program = os.path.join(params["bin_dir"], "psql")
    code, out, dummy = psql(
        module,
        "SELECT json_build_object('slots', (SELECT count(*) FROM pg_replication_slots), "
        "'logical', (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical'), "
        "'senders', (SELECT count(*) FROM pg_stat_replication), 'prepared', (SELECT count(*) FROM pg_prepared_xacts), "
        "'preloaded', current_setting('shared_preload_libraries'), "
        "'databases', (SELECT json_agg(datname) FROM pg_database WHERE datallowconn))",
        program, params["socket_dir"], params["port"])
    if code != 0:
        return None
    found = dict(json.loads(out), extensions={})
    for database in found["databases"] if "shared_preload_libraries" in params["changed"] else []:
        code, out, dummy = psql(module, "SELECT extname FROM pg_extension", program, params["socket_dir"], params["port"],
                              database="dbname='%s'" % database.replace("\\", "\\\\").replace("'", "\\'"))
        for name in out.splitlines() if code == 0 else []:
            found["extensions"].setdefault(name, database)
    return found
