#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Pause a Patroni cluster for the time of a step, and leave a pause of an operator alone."""

from __future__ import annotations

import time
import urllib.error

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_rest import Rest

DOCUMENTATION = r"""
module: patroni_pause
short_description: Pause a Patroni cluster, and end only the pause that this module made
description:
  - A pause that this module makes carries the mark C(hactl_pause) in the
    configuration in etcd, in the same change. A pause without the mark is
    an operator's, and stays.
options:
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  port: {type: int, default: 8008, description: Port of the node's REST API}
  user: {type: str, required: true, description: User of the REST API}
  password: {type: str, required: true, description: Password of the REST API}
  state: {type: str, choices: [paused, resumed, seen], default: seen, description: seen changes nothing}
  reason: {type: str, default: "", description: The text of the mark}
  wait: {type: int, default: 30, description: Seconds until every member that answers must have taken it over}
author: The hactl maintainers
"""

RETURN = r"""
paused: {type: bool, returned: always, description: The cluster is paused}
foreign: {type: bool, returned: always, description: The pause is not this module's}
reason: {type: str, returned: always, description: The mark's text}
"""

MARK = "hactl_pause"


def change(config, state, reason):
    """The patch that brings the configuration to the state; empty where nothing is to be done."""
    paused, ours = bool(config.get("pause")), MARK in config
    if state == "paused" and not paused:
        return {"pause": True, MARK: reason}
    if state == "resumed" and ours:
        return {"pause": None, MARK: None} if paused else {MARK: None}
    return {}


def behind(rest, paused):
    """Members that answer and have not taken over whether the cluster is paused."""
    names = []
    for member in rest.ask("/cluster", timeout=10).get("members", []):
        address = "/".join(member.get("api_url", "").split("/")[:3])
        try:
            if bool(rest.ask("/patroni", base=address, timeout=3).get("pause")) != paused:
                names.append(member["name"])
        except (OSError, ValueError):
            continue
    return names


def main():
    module = AnsibleModule(
        argument_spec=dict(
            config_dir=dict(type="path", required=True),
            port=dict(type="int", default=8008),
            user=dict(type="str", required=True),
            password=dict(type="str", required=True, no_log=True),
            state=dict(type="str", choices=["paused", "resumed", "seen"], default="seen"),
            reason=dict(type="str", default=""),
            wait=dict(type="int", default=30),
        ),
        supports_check_mode=True,
    )
    params = module.params
    deadline = time.monotonic() + params["wait"]
    # The node's own Patroni may be the one that restarts.
    while True:
        try:
            rest = Rest(params["config_dir"], params["port"], params["user"], params["password"])
            config = rest.ask("/config", timeout=10)
            patch = change(config, params["state"], params["reason"])
            if patch and not module.check_mode:
                config = rest.ask("/config", patch, "PATCH", timeout=10)
                while behind(rest, bool(config.get("pause"))) and time.monotonic() < deadline:
                    time.sleep(0.2)
            break
        except urllib.error.HTTPError as error:
            failure = "Patroni refuses: %s: %s" % (error, error.read().decode(errors="replace").strip())
        except (OSError, ValueError) as error:
            failure = "Patroni's REST API does not answer: %s" % error
        if time.monotonic() >= deadline:
            module.fail_json(msg=failure)
        time.sleep(0.5)
    paused = bool(config.get("pause"))
    module.exit_json(changed=bool(patch), paused=paused, foreign=paused and MARK not in config, reason=config.get(MARK, ""))


if __name__ == "__main__":
    main()
