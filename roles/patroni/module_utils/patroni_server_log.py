# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL's log says about a parameter."""

from __future__ import annotations

import os
import re


def text(value):
    """A value as Patroni writes it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def blame(lines, changed, parameters):
    """The tried parameter that a line of the server's log is about: named, or by a word of its value."""
    wanted = [name for name in changed if name in parameters]
    for line in lines:
        quoted = [word.strip("\"' ") for word in re.findall(r"\"[^\"]*\"", line)]
        for name in wanted:
            if name.lower() in [word.lower() for word in quoted]:
                return name, line
        for name in wanted:
            words = [word.strip("\"' ") for word in text(parameters[name]).split(",")]
            # A library is named by its word or by the path that the word stands for, a file by its directory.
            named = quoted + [os.path.basename(path) for path in quoted] + [os.path.dirname(path) for path in quoted]
            if any(word and word in named for word in words):
                return name, line
        # A timeout is called by its name without underscores.
        said = line.lower().replace("-", " ")
        for name in wanted:
            if "_" in name and name.lower().replace("_", " ") in said:
                return name, line
    return (wanted[0] if len(wanted) == 1 else ", ".join(wanted)), (lines[0] if lines else "")


def refusals(lines, changed, parameters):
    """A refusal for each tried parameter that the lines are about."""
    found = {}
    for line in lines:
        name = blame([line], changed, parameters)[0]
        if name in parameters:
            found.setdefault(name, line)
    if not found:
        name, line = blame(lines, changed, parameters)
        found[name] = line
    return [dict(parameter=name, value=text(parameters.get(name, "")), cause="the server says: " + line, meant=None)
            for name, line in found.items()]


# What follows from a stop, or from another member's, says nothing about a parameter.
CONSEQUENCES = re.compile(r"terminating |the database system is |could not connect to the primary|WAL stream|"
                          r"password authentication failed|no pg_hba.conf entry")


def complaints(log):
    """The server's lines that say why it did not start or refused a value, without their prefix: the cause first."""
    lines = [re.sub(r"^.*?\b((?:FATAL|ERROR|PANIC|LOG|WARNING):)\s*", r"\1 ", line.strip()) for line in log.splitlines()]
    fatal = [line for line in lines if re.match(r"^(FATAL|PANIC):", line) and not CONSEQUENCES.search(line)]
    values = [line for line in lines if re.match(r"^LOG: (invalid value for|unrecognized configuration|syntax error in file)", line)]
    # This line only sums up the ones before it.
    sums = [line for line in fatal if "contains errors" in line]
    return list(dict.fromkeys([line for line in fatal if line not in sums] + values + sums))
