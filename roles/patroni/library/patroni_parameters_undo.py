#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A timer on a node that takes a change of PostgreSQL's parameters back."""

from __future__ import annotations

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_rest import Rest

DOCUMENTATION = r"""
module: patroni_parameters_undo
short_description: Take a change of parameters back when the run that made it dies
description:
  - Armed, a timer of the node's own systemd puts the old parameters into etcd after some time. It
    compares first, and does so in one transaction with the write, so that it changes nothing where
    the parameters are no longer those of this change.
  - It needs neither the controller nor Patroni.
  - Ended for a change that has come to its end, it fails where a timer has acted before.
options:
  state: {type: str, choices: [armed, settled], default: armed, description: settled ends the timer}
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  port: {type: int, default: 8008, description: Port of the node's REST API}
  endpoints: {type: list, elements: str, default: [], description: 'etcd members, address:port'}
  prefix: {type: str, default: "", description: Namespace and scope with a slash at the end}
  before: {type: dict, default: {}, description: PostgreSQL's parameters before the change}
  wanted: {type: dict, default: {}, description: 'PostgreSQL''s parameters of the change; settled checks that they are in etcd'}
  after: {type: int, default: 900, description: Seconds until the timer acts}
author: The hactl maintainers
"""

RETURN = r"""
armed: {type: bool, returned: always, description: A timer waits}
"""

UNIT = "hactl-parameters-undo"
# /run is empty after a reboot.
SCRIPT = "/run/hactl-parameters-undo"

PROGRAM = r'''#!/usr/bin/python3
"""Puts the parameters of before back, where those of the change are still there."""
import base64
import json
import os
import ssl
import urllib.request

GIVEN = json.loads(%r)
TLS = os.path.join(GIVEN["config_dir"], "tls")
CONTEXT = ssl.create_default_context(cafile=os.path.join(TLS, "control-ca.crt"))
CONTEXT.load_cert_chain(os.path.join(TLS, "patroni.crt"), os.path.join(TLS, "patroni.key"))
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=CONTEXT))


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def post(path, body):
    for endpoint in GIVEN["endpoints"]:
        request = urllib.request.Request("https://" + endpoint + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with OPENER.open(request, timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            last = error
    raise SystemExit("no member of etcd answers: %%s" %% last)


key = encoded(GIVEN["prefix"] + "config")
for found in post("/v3/kv/range", {"key": key}).get("kvs", []):
    config = json.loads(base64.b64decode(found["value"]))
    if config.get("postgresql", {}).get("parameters") != GIVEN["wanted"]:
        break
    config["postgresql"]["parameters"] = GIVEN["before"]
    post("/v3/kv/txn", {
        "compare": [{"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": found["mod_revision"]}],
        "success": [{"request_put": {"key": key, "value": encoded(json.dumps(config, separators=(",", ":")))}}],
    })
    print("put the parameters of PostgreSQL back that an interrupted run had changed")
os.remove(%r)
'''


def has_acted(params):
    """Whether the parameters in etcd are not those of the change any more; a Patroni that does not answer says nothing of it."""
    if not params["wanted"]:
        return False
    try:
        config = Rest(params["config_dir"], params["port"]).ask("/config")
    except (OSError, ValueError):
        return False
    return config.get("postgresql", {}).get("parameters") != params["wanted"]


def program(given):
    return PROGRAM % (json.dumps(given), SCRIPT)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["armed", "settled"], default="armed"),
            config_dir=dict(type="path", required=True),
            port=dict(type="int", default=8008),
            endpoints=dict(type="list", elements="str", default=[]),
            prefix=dict(type="str", default=""),
            before=dict(type="dict", default={}),
            wanted=dict(type="dict", default={}),
            after=dict(type="int", default=900),
        ),
    )
    params = module.params
    module.run_command(["systemctl", "stop", UNIT + ".timer"])
    module.run_command(["systemctl", "reset-failed", UNIT + ".service"])
    if params["state"] == "settled":
        if os.path.exists(SCRIPT):
            os.remove(SCRIPT)
        if has_acted(params):
            module.fail_json(msg="the parameters in etcd are not those of this change any more: it took so long that a timer has put the "
                                 "former ones back, or somebody has changed them. Run the same command again", armed=False)
        module.exit_json(changed=True, armed=False)
    given = {name: params[name] for name in ("config_dir", "endpoints", "prefix", "before", "wanted")}
    handle = os.open(SCRIPT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(program(given))
    code, dummy, err = module.run_command(
        ["systemd-run", "--quiet", "--unit=" + UNIT, "--service-type=oneshot", "--timer-property=AccuracySec=1s",
         "--on-active=%d" % params["after"], "/usr/bin/python3", SCRIPT])
    if code != 0:
        module.fail_json(msg="could not set the timer that takes the parameters back: " + err.strip())
    module.exit_json(changed=True, armed=True)


if __name__ == "__main__":
    main()
