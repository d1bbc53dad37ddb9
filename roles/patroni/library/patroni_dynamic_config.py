#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Bring Patroni's configuration in etcd to what is wanted, by the difference."""

from __future__ import annotations

import time
import urllib.error

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.patroni_rest import Rest

DOCUMENTATION = r"""
module: patroni_dynamic_config
short_description: Converge the configuration that Patroni keeps in etcd
description:
  - Reads /config, and sends a PATCH with what differs. C(bootstrap.dcs) is read
    only once in a cluster's life; this is how later changes take effect.
  - Keys of the top level that are not in I(config) stay as they are.
    PostgreSQL's parameters are owned whole, so those not wanted are removed, and
    so are the slots if there are any in I(config).
  - Needs a member whose REST API answers, and no leader.
options:
  config_dir: {type: path, required: true, description: Patroni's configuration directory}
  port: {type: int, default: 8008, description: Port of the node's REST API}
  user: {type: str, required: true, description: User of the REST API}
  password: {type: str, required: true, description: Password of the REST API}
  config: {type: dict, required: true, description: What is wanted}
  expected: {type: dict, description: Change nothing unless these are PostgreSQL's parameters in etcd}
  wait:
    type: int
    default: 0
    description: Seconds to wait for a configuration to read; then it is not an error that there is none
author: The hactl maintainers
"""

RETURN = r"""
patch: {type: dict, returned: always, description: What was sent}
config: {type: dict, returned: always, description: What is there now}
answered: {type: bool, returned: always, description: There was a configuration to read}
effects: {type: list, returned: always, description: 'For the events of a run: each setting that changes, with its old and new value'}
"""

OWNED = {("postgresql", "parameters"), ("slots",)}


def difference(have, want, path=()):
    patch = {}
    for key, value in want.items():
        if isinstance(value, dict) and isinstance(have.get(key), dict):
            inner = difference(have[key], value, path + (key,))
            if inner:
                patch[key] = inner
        elif value is None:
            if key in have:
                patch[key] = None
        elif key not in have or have[key] != value or isinstance(have[key], bool) != isinstance(value, bool):
            patch[key] = value
    if path in OWNED:
        patch.update({key: None for key in have if key not in want})
    return patch


def merged(have, patch):
    result = dict(have)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def effects(have, patch, path=""):
    """The settings of `patch`, each with its name, its value in `have` and its new one."""
    found = []
    for key in sorted(patch):
        old, new = have.get(key), patch[key]
        if isinstance(new, dict) and isinstance(old, dict):
            found.extend(effects(old, new, path + key + "."))
        else:
            found.append(dict(kind="setting", name=path + key, old=old, new=new))
    return found


def main():
    module = AnsibleModule(
        argument_spec=dict(
            config_dir=dict(type="path", required=True),
            port=dict(type="int", default=8008),
            user=dict(type="str", required=True),
            password=dict(type="str", required=True, no_log=True),
            config=dict(type="dict", required=True),
            expected=dict(type="dict"),
            wait=dict(type="int", default=0),
        ),
        supports_check_mode=True,
    )
    params = module.params
    rest = Rest(params["config_dir"], params["port"], params["user"], params["password"])
    deadline = time.monotonic() + params["wait"]
    while True:
        try:
            have = rest.ask("/config", timeout=10)
            break
        except (OSError, ValueError) as error:
            # Patroni says 502 where etcd has none yet, and 503 while etcd does not answer.
            refused = isinstance(error, urllib.error.HTTPError) and error.code not in (502, 503)
            if refused or not params["wait"]:
                module.fail_json(msg="Patroni's REST API does not give the configuration: %s" % error)
            if time.monotonic() > deadline:
                module.exit_json(changed=False, patch={}, config={}, answered=False)
            time.sleep(0.2)
    if params["expected"] is not None and have.get("postgresql", {}).get("parameters", {}) != params["expected"]:
        module.exit_json(changed=False, patch={}, config=have, answered=True)
    patch = difference(have, params["config"])
    said = effects(have, patch)
    try:
        if patch and not module.check_mode:
            have = rest.ask("/config", patch, "PATCH", timeout=10)
        elif patch:
            have = merged(have, patch)
    except urllib.error.HTTPError as error:
        module.fail_json(msg="Patroni refuses: %s: %s" % (error, error.read().decode(errors="replace").strip()))
    except (OSError, ValueError) as error:
        module.fail_json(msg="Patroni's REST API does not answer: %s" % error)
    module.exit_json(changed=bool(patch), patch=patch, config=have, answered=True, effects=said)


if __name__ == "__main__":
    main()
