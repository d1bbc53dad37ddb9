#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Roles, passwords and databases on the leader."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_psql import psql

DOCUMENTATION = r"""
module: patroni_accounts
short_description: Create roles and databases, and set passwords that do not verify
description:
  - Runs psql as the user and role postgres over the local socket, so it needs no password
    of its own.
  - A password is compared with the verifier that PostgreSQL keeps, and only
    changed when it does not verify. What is sent is a new SCRAM verifier, never
    the password, so neither logs nor arguments can show it.
options:
  psql: {type: path, required: true, description: Path of psql}
  port: {type: int, default: 5432, description: PostgreSQL's port}
  socket_dir: {type: path, default: /var/run/postgresql, description: Directory of the socket}
  roles:
    type: list
    elements: dict
    required: true
    description: 'Roles: name, options (SQL), grants (functions to execute)'
  passwords: {type: dict, required: true, description: Password of each role}
  databases: {type: dict, default: {}, description: name to owner}
  icu_locales: {type: dict, default: {}, description: name to the locale of ICU that the database gets when it is made}
  only_passwords:
    type: bool
    default: false
    description:
      - Only set passwords of roles that there are, without waiting for a standby.
      - Does nothing where PostgreSQL does not answer or is in recovery.
author: The hactl maintainers
"""

RETURN = r"""
did: {type: list, returned: always, description: What was changed}
effects: {type: list, returned: always, description: The same for the events of a run}
"""


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def name(text):
    return '"' + text.replace('"', '""') + '"'


def keys(password, salt, iterations):
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    return hashlib.sha256(client).digest(), hmac.new(salted, b"Server Key", hashlib.sha256).digest()


def verifies(password, verifier):
    match = re.match(r"^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$", verifier or "")
    if not match:
        return False
    stored, dummy = keys(password, base64.b64decode(match.group(2)), int(match.group(1)))
    return hmac.compare_digest(stored, base64.b64decode(match.group(3)))


def verifier(password):
    salt = os.urandom(16)
    stored, server = keys(password, salt, 4096)
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return "SCRAM-SHA-256$4096:%s$%s:%s" % tuple(parts)


def creation(database, owner, icu_locale, checks_icu):
    """The statements that make a database."""
    if not icu_locale:
        return ["CREATE DATABASE %s OWNER %s;" % (name(database), name(owner))]
    # PostgreSQL would only warn of a language that ICU does not know, and sort by ICU's root.
    check = ["SET icu_validation_level = error;"] if checks_icu else []
    return check + ["CREATE DATABASE %s OWNER %s TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE %s;"
                    % (name(database), name(owner), literal(icu_locale))]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            psql=dict(type="path", required=True),
            port=dict(type="int", default=5432),
            socket_dir=dict(type="path", default="/var/run/postgresql"),
            roles=dict(type="list", elements="dict", required=True),
            # Ansible keeps these out of results and logs, and shows the rest.
            passwords=dict(type="dict", required=True, no_log=True),
            databases=dict(type="dict", default={}),
            icu_locales=dict(type="dict", default={}),
            only_passwords=dict(type="bool", default=False, no_log=False),
        ),
        supports_check_mode=True,
    )
    params = module.params
    options = "-c log_statement=none"
    if params["only_passwords"]:
        # No standby may be able to confirm: it may be waiting for this very password.
        options += " -c synchronous_commit=local"

    def run(sql, may_fail=False):
        code, out, err = psql(module, sql, params["psql"], params["socket_dir"], params["port"], options)
        if code != 0 and not may_fail:
            # A syntax error quotes the statement.
            module.fail_json(msg="psql: " + re.sub(r"SCRAM-SHA-256\$\S+", "...", err.strip()))
        return out

    if params["only_passwords"] and run("SELECT pg_is_in_recovery();", may_fail=True).strip() != "f":
        module.exit_json(changed=False, did=[])
    have = json.loads(run("""SELECT json_build_object(
        'roles', (SELECT coalesce(json_object_agg(rolname, json_build_array(rolpassword, rolcanlogin, rolsuper,
                  rolreplication)), '{}') FROM pg_authid),
        'checks_icu', current_setting('icu_validation_level', true) IS NOT NULL,
        'icu', (SELECT coalesce(json_object_agg(datname, a->>'datlocprovider'), '{}')
                FROM (SELECT datname, to_jsonb(pg_database) AS a FROM pg_database) d),
        'databases', (SELECT json_object_agg(d.datname, r.rolname) FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba));"""))
    statements, did = [], []
    for role in params["roles"]:
        found = have["roles"].get(role["name"])
        if found is None and params["only_passwords"]:
            continue
        if found is None:
            statements.append("CREATE ROLE %s LOGIN %s PASSWORD %s;"
                              % (name(role["name"]), role.get("options", ""), literal(verifier(params["passwords"][role["name"]]))))
            did.append("created role " + role["name"])
        else:
            if not verifies(params["passwords"][role["name"]], found[0]):
                statements.append("ALTER ROLE %s PASSWORD %s;" % (name(role["name"]), literal(verifier(params["passwords"][role["name"]]))))
                did.append("set the password of role " + role["name"])
            if params["only_passwords"]:
                continue
            if not found[1]:
                statements.append("ALTER ROLE %s LOGIN;" % name(role["name"]))
                did.append("let role %s log in" % role["name"])
            if role.get("options") == "REPLICATION" and not found[3]:
                statements.append("ALTER ROLE %s REPLICATION;" % name(role["name"]))
                did.append("let role %s replicate" % role["name"])
        for function in role.get("grants", []):
            granted = found is not None and run(
                "SELECT has_function_privilege(%s, %s, 'EXECUTE');" % (literal(role["name"]), literal("pg_catalog." + function))
            ).strip() == "t"
            if not granted:
                statements.append("GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s;" % (function, name(role["name"])))
                did.append("granted %s to role %s" % (function, role["name"]))
    for database in params["icu_locales"]:
        if have["icu"].get(database, "i") != "i":
            module.fail_json(msg="database %s exists without a locale of ICU, and a database keeps its locale: remove icu_locale, "
                                 "or make a database with another name" % database)
    for database, owner in params["databases"].items():
        found = have["databases"].get(database)
        if found is None:
            statements += creation(database, owner, params["icu_locales"].get(database), have["checks_icu"])
            did.append("created database " + database)
        elif found != owner:
            statements.append("ALTER DATABASE %s OWNER TO %s;" % (name(database), name(owner)))
            did.append("gave database %s to %s" % (database, owner))
    if statements and not module.check_mode:
        run("\n".join(statements))
    module.exit_json(changed=bool(statements), did=did, effects=[dict(kind="account", did=what) for what in did])


if __name__ == "__main__":
    main()
