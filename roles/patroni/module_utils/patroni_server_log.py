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
            # A library is named by its word or by the path that the word stands for.
            if any(word and (word in quoted or any(os.path.basename(path) == word for path in quoted)) for word in words):
                return name, line
    return (wanted[0] if len(wanted) == 1 else ", ".join(wanted)), (lines[0] if lines else "")


def complaints(log):
    """The server's lines that say why it did not start, without their prefix: the cause first."""
    lines = [re.sub(r"^.*?\b((?:FATAL|ERROR|PANIC|LOG|HINT|DETAIL|WARNING):)", r"\1", line.strip()) for line in log.splitlines()]
    telling = [line for line in lines if re.match(r"^(FATAL|ERROR|PANIC):", line)
               or re.match(r"^LOG:.*(invalid value|unrecognized|parameter|could not|syntax error)", line)]
    # This line only sums up the ones before it.
    ends = [line for line in telling if "contains errors" in line]
    return [line for line in telling if line not in ends] + ends
