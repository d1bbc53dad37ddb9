# SPDX-License-Identifier: Apache-2.0
"""A `restore_command` on trial: each standby runs it at its start, and some of its failures end the server."""

from __future__ import annotations

import os
import re

# A file that no archive has: a server asks for such names, too.
NAME = "FFFFFFFF.history"
# Where the server wants it, below its data directory.
PATH = "pg_wal/RECOVERYHISTORY"
# Seconds. A program that cannot reach its archive gives up after one minute or so.
LIMIT = 100
# `timeout` says so.
HANGS = 124
# A server ends if the command was killed, or if the shell did not find it or may not run it.
LAST_HARMLESS = 125

RUN = 'cd "$1" && timeout --kill-after=5 %d /bin/sh -c "$2"; exit $?' % LIMIT


def filled(command):
    """The command as the server runs it."""
    values = {"f": NAME, "p": PATH, "r": "000000010000000000000001", "%": "%"}
    return re.sub("%([fpr%])", lambda found: values[found.group(1)], command)


def judged(code, said, made):
    """Why no standby may have the command; None where it may."""
    last = (said.strip().splitlines() or [""])[-1][:300]
    says = ": it says: " + last if last else ""
    if code == HANGS:
        return "it did not end within %d s, and a standby waits for it at each start%s" % (LIMIT, says)
    if code > LAST_HARMLESS:
        return ("it ended with status %d, and a server stops if its `restore_command` ends with more than %d: no standby would start%s"
                % (code, LAST_HARMLESS, says))
    if code == 0 and made:
        return "it gave a file for %s, which no archive has: a standby would stop when it reads it" % NAME
    return None


def tried(scratch, changed, parameters):
    """Runs the command as postgres, for a file that no archive has."""
    command = str(parameters.get("restore_command") or "")
    if not command or "restore_command" not in changed:
        return []
    code, dummy, err = scratch.run(["/bin/sh", "-c", RUN, "sh", scratch.data, filled(command)], may_fail=True, network=True)
    cause = judged(code, err, os.path.exists(os.path.join(scratch.data, PATH)))
    return [dict(parameter="restore_command", value=command, cause=cause, meant=None)] if cause else []
