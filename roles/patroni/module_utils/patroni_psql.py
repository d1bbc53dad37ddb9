# SPDX-License-Identifier: Apache-2.0
"""SQL by the node's own superuser."""

from __future__ import annotations

import os
import subprocess

# A superuser must not run functions that another role has put into a schema.
PINNED = "SET search_path = pg_catalog, pg_temp;\n"
# Statements of applications may have a time limit; these run as long as they need.
UNLIMITED = "-c statement_timeout=0 -c lock_timeout=0 "


def fed(module, argv, data, **environment):
    """Runs a program with `data` on its standard input: the exit status, what it prints, and what it complains about.

    run_command() fails the module if the program ends before it has read its input, as psql does without a server.
    """
    try:
        # postgres may not enter the directory of the session, and psql would complain about that before the server's own words.
        done = subprocess.run(argv, input=data, cwd="/", env={**os.environ, **environment}, capture_output=True, check=False,
                              encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        module.fail_json(msg="could not run %s: %s" % (argv[0], error))
    return done.returncode, done.stdout, done.stderr


def psql(module, sql, program="psql", socket_dir="/var/run/postgresql", port=5432, options="", pinned=True, database="postgres"):
    """Runs SQL as the user and role postgres over the local socket: the exit status, the rows, and what psql complains about.

    The SQL is on standard input, so that arguments have no secret. `options` are settings from the start of the session.
    """
    argv = ["runuser", "-u", "postgres", "--", program, "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", socket_dir, "-p", str(port),
            "-U", "postgres", "-d", database]
    return fed(module, argv, (PINNED if pinned else "") + sql, LC_ALL="C.UTF-8", PGOPTIONS=(UNLIMITED if pinned else "") + options)
