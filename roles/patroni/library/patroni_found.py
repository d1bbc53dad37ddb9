#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What a node has of a Patroni cluster, before anything is installed or written there."""

from __future__ import annotations

import glob
import json
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_libraries import libraries
from ansible.module_utils.patroni_rest import Rest

DOCUMENTATION = r"""
module: patroni_found
short_description: Look for the data of a cluster in any major version of PostgreSQL, and for a pause
description:
  - Reads directories and asks the node's own REST API. Changes nothing.
options:
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  base_dir: {type: path, required: true, description: Directory of the data directories, VERSION/SCOPE each}
  scope: {type: str, required: true, description: Patroni's name of the cluster}
  data_dir: {type: path, required: true, description: The data directory that is meant}
  port: {type: int, default: 8008, description: Port of the node's REST API}
  libraries: {type: list, elements: str, default: [], description: 'Libraries whose versions are asked for: glibc, icu'}
  bin_dir: {type: path, default: "", description: Directory of PostgreSQL's programs}
author: The hactl maintainers
"""

RETURN = r"""
data: {type: dict, returned: always, description: Data directories that hold a cluster and their major versions}
runs: {type: str, returned: always, description: The major version whose server runs, or nothing}
paused: {type: bool, returned: always, description: The cluster is paused}
ours: {type: bool, returned: always, description: The module patroni_pause made the pause}
libraries: {type: dict, returned: always, description: 'The versions of the libraries; empty text where one is not installed'}
"""


def version(data_dir):
    """The major version of the cluster in a directory; nothing where there is none that could start."""
    try:
        if not os.path.getsize(os.path.join(data_dir, "global", "pg_control")):
            return ""
        with open(os.path.join(data_dir, "PG_VERSION"), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def configured(config_dir):
    """The data directory in the configuration that lies on the node."""
    try:
        with open(os.path.join(config_dir, "patroni.yml"), encoding="utf-8") as file:
            found = re.search(r'^  data_dir: (".*")$', file.read(), re.M)
        return [json.loads(found.group(1))] if found else []
    except (OSError, ValueError):
        return []


def runs(data_dir):
    try:
        with open(os.path.join(data_dir, "postmaster.pid"), encoding="utf-8") as file:
            number = int(file.readline())
        return os.readlink("/proc/%d/cwd" % number) == os.path.realpath(data_dir)
    except (OSError, ValueError):
        return False


def look(params):
    places = glob.glob(os.path.join(glob.escape(params["base_dir"]), "*", glob.escape(params["scope"])))
    places = {os.path.realpath(place) for place in places + configured(params["config_dir"]) + [params["data_dir"]]}
    data = {place: version(place) for place in sorted(places) if version(place)}
    return {"data": data, "runs": next((major for place, major in data.items() if runs(place)), "")}


def pause(params):
    try:
        config = Rest(params["config_dir"], params["port"]).ask("/config")
    except (OSError, ValueError):
        config = {}
    return {"paused": bool(config.get("pause")), "ours": "hactl_pause" in config}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            config_dir=dict(type="path", required=True),
            base_dir=dict(type="path", required=True),
            scope=dict(type="str", required=True),
            data_dir=dict(type="path", required=True),
            port=dict(type="int", default=8008),
            libraries=dict(type="list", elements="str", default=[]),
            bin_dir=dict(type="path", default=""),
        ),
        supports_check_mode=True,
    )
    versions = libraries(module, module.params["libraries"], module.params["bin_dir"])
    module.exit_json(changed=False, libraries=versions, **look(module.params), **pause(module.params))


if __name__ == "__main__":
    main()
