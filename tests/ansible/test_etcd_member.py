# SPDX-License-Identifier: Apache-2.0
"""What the role says of an etcd without a quorum.

    python3 -m unittest discover tests/ansible
"""

import importlib.util
import pathlib
import socket
import unittest

PATH = pathlib.Path(__file__).resolve().parents[2] / "roles/etcd/library/etcd_member_info.py"
SPEC = importlib.util.spec_from_file_location("etcd_member_info", str(PATH))
MEMBER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MEMBER)


class Peers(unittest.TestCase):
    def test_peer_that_does_not_accept_connections_is_named_with_the_reason(self):
        with socket.create_server(("127.0.0.1", 0)) as open_one, socket.create_server(("127.0.0.1", 0)) as closed:
            there, gone = open_one.getsockname()[1], closed.getsockname()[1]
            closed.close()
            urls = ["https://127.0.0.1:%d" % port for port in (there, gone)]
            self.assertEqual(MEMBER.unreached(urls), ["127.0.0.1:%d ([Errno 111] Connection refused)" % gone])


class Complaint(unittest.TestCase):
    def test_quorum_and_version_are_required_only_where_they_are_asked_for(self):
        found = dict(quorum=False, error="timed out", version="3.5.26")
        for asked, seen, expected in (
            (dict(required=False, runs="", wait=3), found, ""),
            (dict(required=True, runs="", wait=3), found, "etcd has no quorum after 3 s: timed out"),
            (dict(required=True, runs="", wait=3), dict(found, error=""), "etcd has no quorum after 3 s: no leader"),
            (dict(required=True, runs="3.6.0", wait=3), dict(found, quorum=True), "etcd runs version 3.5.26 instead of 3.6.0"),
            (dict(required=True, runs="3.5.26", wait=3), dict(found, quorum=True), ""),
        ):
            self.assertEqual(MEMBER.complaint(asked, seen), expected)


if __name__ == "__main__":
    unittest.main()
