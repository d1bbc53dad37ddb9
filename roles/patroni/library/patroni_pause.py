#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Pause a Patroni cluster for the time of a step, and leave a pause of an operator alone."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

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


def direct(context):
    """Opens addresses without the proxy that the node's environment may name: it does not reach the members."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def change(config, state, reason):
    """The patch that brings the configuration to the state; empty where nothing is to be done."""
    paused, ours = bool(config.get("pause")), MARK in config
    if state == "paused" and not paused:
        return {"pause": True, MARK: reason}
    if state == "resumed" and ours:
        return {"pause": None, MARK: None} if paused else {MARK: None}
    return {}


class Api:
    def __init__(self, params):
        tls = os.path.join(params["config_dir"], "tls")
        self.base = "https://127.0.0.1:%d" % params["port"]
        context = ssl.create_default_context(cafile=os.path.join(tls, "control-ca.crt"))
        context.load_cert_chain(os.path.join(tls, "patroni.crt"), os.path.join(tls, "patroni.key"))
        self.opener = direct(context)
        token = base64.b64encode(("%s:%s" % (params["user"], params["password"])).encode()).decode()
        self.headers = {"Content-Type": "application/json", "Authorization": "Basic " + token}

    def ask(self, path, body=None, base=None, timeout=10):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request((base or self.base) + path, data, self.headers, method="PATCH" if data else "GET")
        with self.opener.open(request, timeout=timeout) as answer:
            return json.load(answer)

    def behind(self, paused):
        """Members that answer and have not taken over whether the cluster is paused."""
        names = []
        for member in self.ask("/cluster").get("members", []):
            address = "/".join(member.get("api_url", "").split("/")[:3])
            try:
                if bool(self.ask("/patroni", base=address, timeout=3).get("pause")) != paused:
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
            api = Api(params)
            config = api.ask("/config")
            patch = change(config, params["state"], params["reason"])
            if patch and not module.check_mode:
                config = api.ask("/config", patch)
                while api.behind(bool(config.get("pause"))) and time.monotonic() < deadline:
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
