#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Patroni's keys in etcd, for the time before any member runs."""

from __future__ import annotations

import base64
import json
import urllib.request

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_rest import control

DOCUMENTATION = r"""
module: patroni_scope
short_description: Look at or remove the keys of a Patroni scope in etcd
options:
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  endpoints: {type: list, elements: str, required: true, description: 'etcd members, address:port'}
  prefix: {type: str, required: true, description: Namespace and scope with a slash at the end}
  state: {type: str, choices: [present, absent], default: present, description: absent removes all keys below the prefix}
author: The hactl maintainers
"""

RETURN = r"""
keys: {type: dict, returned: always, description: Keys below the prefix and their values}
"""


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def main():
    module = AnsibleModule(
        argument_spec=dict(
            config_dir=dict(type="path", required=True),
            endpoints=dict(type="list", elements="str", required=True),
            prefix=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
        ),
        supports_check_mode=True,
    )
    opener = control(module.params["config_dir"])

    def post(path, body):
        errors = []
        for endpoint in module.params["endpoints"]:
            request = urllib.request.Request(
                "https://%s%s" % (endpoint, path), json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            try:
                with opener.open(request, timeout=5) as answer:
                    return json.load(answer)
            except (OSError, ValueError) as error:
                errors.append("%s: %s" % (endpoint, error))
        return module.fail_json(msg="No member of etcd answers: %s" % "; ".join(errors))

    prefix = module.params["prefix"]
    span = {"key": encoded(prefix), "range_end": encoded(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
    keys = {
        base64.b64decode(pair["key"]).decode()[len(prefix):]: base64.b64decode(pair.get("value", "")).decode(errors="replace")
        for pair in post("/v3/kv/range", span).get("kvs", [])
    }
    changed = module.params["state"] == "absent" and bool(keys)
    if changed and not module.check_mode:
        post("/v3/kv/deleterange", span)
    module.exit_json(changed=changed, keys=keys)


if __name__ == "__main__":
    main()
