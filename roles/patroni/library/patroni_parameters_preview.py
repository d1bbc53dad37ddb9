#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Tell whether parameters that are not in etcd yet would wait for a restart."""

from __future__ import annotations

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_psql import fed, psql
from ansible.module_utils.patroni_server_log import text

DOCUMENTATION = r"""
module: patroni_parameters_preview
short_description: Look which changed parameters would wait for a restart of the node's PostgreSQL
description:
  - Compares the changed parameters with the running server, by Patroni's own rules for units. Changes nothing.
  - For a check: the server is asked, and nothing is tried on it.
options:
  psql: {type: path, required: true, description: Path of psql}
  python: {type: path, required: true, description: 'The Python that has Patroni; where it is not there yet, values are compared as text'}
  port: {type: int, default: 5432, description: PostgreSQL's port}
  socket_dir: {type: path, default: /var/run/postgresql, description: Directory of its socket}
  parameters: {type: dict, required: true, description: All parameters that are wanted}
  changed: {type: list, elements: str, required: true, description: Those that differ from what etcd has}
author: The hactl maintainers
"""

RETURN = r"""
restart: {type: list, returned: always, description: The parameters that would wait}
pending: {type: bool, returned: always, description: There are such parameters}
grows: {type: bool, returned: always, description: One of them needs the standbys to restart first}
shrinks: {type: bool, returned: always, description: One of them needs the primary to restart first}
"""

# PostgreSQL refuses a standby that has less of these than its primary.
TIED = ("max_connections", "max_prepared_transactions", "max_locks_per_transaction", "max_wal_senders", "max_worker_processes")

COMPARE = r"""
import json, sys
from patroni.utils import compare_values
json.dump([compare_values(*item) for item in json.load(sys.stdin)], sys.stdout)
"""


def judge(settings, parameters, changed, equal):
    """The parameters that only a restart brings about, and whether they grow or shrink what ties standbys to the primary."""
    wanted = {name.lower(): value for name, value in parameters.items()}
    candidates = []
    for name in changed:
        found = settings.get(name.lower())
        if found and found["context"] == "postmaster":
            # Without a value in the file the server goes back to its own.
            value = wanted.get(name.lower())
            candidates.append((name, found, found["boot_val"] if value is None else text(value)))
    same = equal([[found["vartype"], found["unit"], found["setting"], value] for dummy, found, value in candidates])
    waiting = [candidate for candidate, is_same in zip(candidates, same) if not is_same]
    grows = shrinks = False
    for name, found, value in waiting:
        if name.lower() in TIED:
            try:
                grows, shrinks = grows or int(value) > int(found["setting"]), shrinks or int(value) < int(found["setting"])
            except (TypeError, ValueError):
                continue
    return sorted(name for name, dummy, dummy2 in waiting), grows, shrinks


def main():
    module = AnsibleModule(
        argument_spec=dict(
            psql=dict(type="path", required=True),
            python=dict(type="path", required=True),
            port=dict(type="int", default=5432),
            socket_dir=dict(type="path", default="/var/run/postgresql"),
            parameters=dict(type="dict", required=True),
            changed=dict(type="list", elements="str", required=True),
        ),
        supports_check_mode=True,
    )
    params = module.params
    code, out, err = psql(
        module,
        "SELECT json_object_agg(lower(name), json_build_object('setting', setting, 'unit', unit, 'vartype', vartype, "
        "'context', context, 'boot_val', boot_val)) FROM pg_settings",
        params["psql"], params["socket_dir"], params["port"])
    if code != 0:
        module.fail_json(msg="psql: " + err.strip())

    def equal(items):
        if not items:
            return []
        if not os.path.exists(params["python"]):
            return [setting == value for dummy, dummy2, setting, value in items]
        code, out, err = fed(module, [params["python"], "-c", COMPARE], json.dumps(items))
        if code != 0:
            module.fail_json(msg="Patroni's own comparison failed: " + err.strip())
        return json.loads(out)

    restart, grows, shrinks = judge(json.loads(out), params["parameters"], params["changed"], equal)
    module.exit_json(changed=False, restart=restart, pending=bool(restart), grows=grows, shrinks=shrinks)


if __name__ == "__main__":
    main()
