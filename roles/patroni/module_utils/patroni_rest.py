# SPDX-License-Identifier: Apache-2.0
"""Requests to the node's own Patroni, and to other services of the control CA."""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.request


def direct(context):
    """Opens addresses without the proxy that the node's environment may name: it does not reach the members."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def control(config_dir):
    """Trusts the control CA, and shows the node's certificate."""
    tls = os.path.join(config_dir, "tls")
    context = ssl.create_default_context(cafile=os.path.join(tls, "control-ca.crt"))
    context.load_cert_chain(os.path.join(tls, "patroni.crt"), os.path.join(tls, "patroni.key"))
    return direct(context)


class Rest:
    """A REST API of Patroni. Changes need the user and the password."""

    def __init__(self, config_dir, port, user="", password=""):
        self.base = "https://127.0.0.1:%d" % port
        self.opener = control(config_dir)
        self.headers = {"Content-Type": "application/json"}
        if user:
            token = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
            self.headers["Authorization"] = "Basic " + token

    def send(self, path, body=None, method="GET", base=None, timeout=5):
        """The answer, as bytes."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request((base or self.base) + path, data, self.headers, method=method)
        with self.opener.open(request, timeout=timeout) as answer:
            return answer.read()

    def ask(self, path, *args, **options):
        """The answer, which is JSON."""
        return json.loads(self.send(path, *args, **options))
