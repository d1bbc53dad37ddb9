#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What one member of an etcd cluster knows, asked in one round trip."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: etcd_member_info
short_description: Look at an etcd member's data, status and member list
description:
  - Tells whether the node has data, whether etcd answers, and the member list
    as a quorum sees it. Changes nothing.
options:
  data_dir: {type: path, required: true, description: etcd's data directory}
  config_dir:
    type: path
    required: true
    description:
      - Where first-start.env lies until the first start is over, and tls/ with
        control-ca.crt, server.crt and server.key. The server's certificate
        carries clientAuth, so that it serves here, too.
  port: {type: int, default: 2379, description: Client port of the node's own etcd}
  wait: {type: int, default: 0, description: Seconds to wait for a quorum}
  peers: {type: list, elements: str, default: [], description: Peer URLs that are tried where no quorum came}
  required: {type: bool, default: false, description: Fail without a quorum}
  runs: {type: str, default: "", description: Fail if the server runs another version than this}
  program: {type: path, description: Path of etcd, whose version is asked for}
author: The hactl maintainers
"""

RETURN = r"""
has_data: {type: bool, returned: always, description: A write-ahead log exists}
unfinished: {type: bool, returned: always, description: The first start has not come to its end}
listening: {type: bool, returned: always, description: Something accepts connections at the endpoint}
quorum: {type: bool, returned: always, description: The member list was answered by a quorum}
members: {type: list, returned: always, description: 'Members: id, name, peer_url, learner'}
member_id: {type: str, returned: always, description: This member's id}
leader_id: {type: str, returned: always, description: The leader's id}
version: {type: str, returned: always, description: The version of the server that runs}
cluster_version: {type: str, returned: always, description: 'The version that the cluster has agreed on, MAJOR.MINOR.0'}
installed: {type: str, returned: with program, description: 'The version of the program, or nothing'}
error: {type: str, returned: always, description: 'Why no answer came, and which peers do not accept connections'}
"""


def direct(context):
    """Opens addresses without the proxy that the node's environment may name: it does not reach the members."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


class Client:
    def __init__(self, params):
        tls = os.path.join(params["config_dir"], "tls")
        self.base = "https://127.0.0.1:%d" % params["port"]
        self.context = ssl.create_default_context(cafile=os.path.join(tls, "control-ca.crt"))
        self.context.load_cert_chain(os.path.join(tls, "server.crt"), os.path.join(tls, "server.key"))

    def get(self, path, timeout=4):
        with direct(self.context).open(self.base + path, timeout=timeout) as answer:
            return json.load(answer)

    def post(self, path, body, timeout=4):
        request = urllib.request.Request(
            self.base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with direct(self.context).open(request, timeout=timeout) as answer:
            return json.load(answer)


def refused(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 2).close()
    except OSError as error:
        return str(error)
    return ""


def unreached(peers):
    """The peers that do not accept connections, each with the system's reason."""
    found = []
    for url in peers:
        address = urllib.parse.urlsplit(url)
        cause = refused(address.port, address.hostname)
        if cause:
            found.append("%s:%d (%s)" % (address.hostname, address.port, cause))
    return found


def complaint(params, found):
    """Why the answer is not the one that is required; nothing if it is."""
    if params["required"] and not found["quorum"]:
        return "etcd has no quorum after %d s: %s" % (params["wait"], found["error"] or "no leader")
    if params["runs"] and found["version"] != params["runs"]:
        return "etcd runs version %s instead of %s" % (found["version"] or "unknown", params["runs"])
    return ""


def ask(params):
    found = dict(quorum=False, members=[], member_id="", leader_id="", version="", cluster_version="", error="")
    found["error"] = refused(params["port"])
    found["listening"] = not found["error"]
    if found["error"]:
        return found
    try:
        client = Client(params)
        status = client.post("/v3/maintenance/status", {})
        found["member_id"] = status["header"]["member_id"]
        found["leader_id"] = status.get("leader", "0")
        found["version"] = status.get("version", "")
        found["learner"] = status.get("isLearner", False)
        # Linearizable: only a quorum can answer.
        listed = client.post("/v3/cluster/member/list", {"linearizable": True})
        found["members"] = [
            {
                "id": member["ID"],
                "name": member.get("name", ""),
                "peer_url": (member.get("peerURLs") or [""])[0],
                "learner": member.get("isLearner", False),
            }
            for member in listed["members"]
        ]
        found["quorum"] = True
        found["cluster_version"] = client.get("/version").get("etcdcluster", "")
    except urllib.error.HTTPError as error:
        found["error"] = "%s: %s" % (error, error.read().decode(errors="replace").strip())
    except (OSError, ValueError, KeyError) as error:
        found["error"] = str(error)
    return found


def installed(module, program):
    if not os.access(program, os.X_OK):
        return ""
    dummy, said, dummy2 = module.run_command([program, "--version"])
    return next((line.split()[-1] for line in said.splitlines() if line.startswith("etcd Version:")), "")


def main():
    module = AnsibleModule(
        argument_spec=dict(
            data_dir=dict(type="path", required=True),
            config_dir=dict(type="path", required=True),
            port=dict(type="int", default=2379),
            wait=dict(type="int", default=0),
            program=dict(type="path"),
            peers=dict(type="list", elements="str", default=[]),
            required=dict(type="bool", default=False),
            runs=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    deadline = time.monotonic() + module.params["wait"]
    found = ask(module.params)
    while not found["quorum"] and time.monotonic() < deadline:
        time.sleep(0.2)
        found = ask(module.params)
    away = [] if found["quorum"] else unreached(module.params["peers"])
    if away:
        found["error"] = "%s; this machine does not reach the peers %s" % (found["error"] or "no leader", ", ".join(away))
    found["has_data"] = os.path.isdir(os.path.join(module.params["data_dir"], "member", "wal"))
    found["unfinished"] = os.path.exists(os.path.join(module.params["config_dir"], "first-start.env"))
    if module.params["program"]:
        found["installed"] = installed(module, module.params["program"])
    wrong = complaint(module.params, found)
    if wrong:
        module.fail_json(msg=wrong, **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
