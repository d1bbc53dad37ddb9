# SPDX-License-Identifier: Apache-2.0
"""SQL by the node's own superuser."""

from __future__ import annotations

# A superuser must not run functions that another role has put into a schema.
PINNED = "SET search_path = pg_catalog, pg_temp;\n"
# Statements of applications may have a time limit; these run as long as they need.
UNLIMITED = "-c statement_timeout=0 -c lock_timeout=0 "


def psql(module, sql, program="psql", socket_dir="/var/run/postgresql", port=5432, options="", pinned=True):
    """Runs SQL as the user and role postgres over the local socket: the exit status, the rows, and what psql complains about.

    The SQL is on standard input, so that arguments have no secret. `options` are settings from the start of the session.
    """
    return module.run_command(
        ["runuser", "-u", "postgres", "--", program, "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", socket_dir, "-p", str(port),
         "-U", "postgres", "-d", "postgres"],
        data=(PINNED if pinned else "") + sql, environ_update={"LC_ALL": "C.UTF-8", "PGOPTIONS": (UNLIMITED if pinned else "") + options})
