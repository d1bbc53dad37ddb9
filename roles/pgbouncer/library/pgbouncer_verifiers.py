#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""SCRAM verifiers of roles, from the server of this host."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: pgbouncer_verifiers
short_description: Read the SCRAM verifiers of roles
description:
  - Runs psql as the user and role postgres over the local socket, so it needs no password
    of its own.
  - The result has verifiers, so the task needs no_log.
options:
  port: {type: int, default: 5432, description: PostgreSQL's port}
  socket_dir: {type: path, default: /var/run/postgresql, description: Directory of the socket}
  users: {type: list, elements: str, required: true, description: Names of the roles}
author: The hactl maintainers
"""

RETURN = r"""
primary: {type: bool, returned: always, description: Whether the server is the primary}
verifiers: {type: dict, returned: always, description: Verifiers by the names of the roles; empty on a replica}
"""

PINNED = "SET search_path = pg_catalog, pg_temp"
SQL = """SELECT json_build_object('primary', NOT pg_is_in_recovery(), 'verifiers',
  (SELECT coalesce(json_object_agg(rolname, rolpassword), '{}') FROM pg_authid
   WHERE rolname = ANY (ARRAY[%s]::name[]) AND rolcanlogin AND NOT rolsuper AND NOT rolreplication
   AND rolpassword LIKE 'SCRAM-SHA-256$%%'));
"""


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def ask(module):
    """The question has no secret. On standard input it would fail the module where psql ends before it has read it, as it does
    without a server."""
    params = module.params
    question = SQL % ", ".join(literal(user) for user in params["users"])
    return module.run_command(
        ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", params["socket_dir"],
         "-p", str(params["port"]), "-U", "postgres", "-d", "postgres", "-c", PINNED, "-c", question],
        environ_update={"LC_ALL": "C.UTF-8"})


def main():
    module = AnsibleModule(
        argument_spec=dict(
            port=dict(type="int", default=5432),
            socket_dir=dict(type="path", default="/var/run/postgresql"),
            users=dict(type="list", elements="str", required=True),
        ),
        supports_check_mode=True,
    )
    code, out, err = ask(module)
    if code != 0:
        # A server that is away is not the primary; without one the role says so.
        module.exit_json(changed=False, primary=False, verifiers={}, error=err.strip())
    found = json.loads(out)
    if not found["primary"]:
        found["verifiers"] = {}
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
