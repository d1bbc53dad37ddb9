# SPDX-License-Identifier: Apache-2.0
"""Tests what the relay of the drill `etcd-slow` delays, and what it does not.

    python3 -m unittest discover tests/ansible
"""

import importlib.util
import pathlib
import socket
import threading
import time
import unittest

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "src/verify/fault/slow_etcd.py"
SPEC = importlib.util.spec_from_file_location("slow_etcd", PROGRAM)
RELAY = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RELAY)

HELLO, REQUEST = b"\x16\x03\x01\x00\x02ab", b"\x17\x03\x03\x00\x03cde"


class Pieces:
    """A connection whose data arrives in these pieces."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def recv(self, _):
        return self.pieces.pop(0) if self.pieces else b""


class Records(unittest.TestCase):
    def test_application_data_is_late_and_a_handshake_is_not(self):
        found = list(RELAY.records(Pieces(HELLO, REQUEST)))
        self.assertEqual(found, [(HELLO, False), (REQUEST, True)])

    def test_records_in_any_pieces_are_found(self):
        data = HELLO + REQUEST + REQUEST
        bytewise = [data[index : index + 1] for index in range(len(data))]
        for pieces in ([data], bytewise, [data[:4], data[4:]]):
            self.assertEqual(list(RELAY.records(Pieces(*pieces))), [(HELLO, False), (REQUEST, True), (REQUEST, True)])

    def test_data_without_tls_is_late(self):
        self.assertEqual(list(RELAY.records(Pieces(b"POST /v3", b" HTTP"))), [(b"POST /v3", True), (b" HTTP", True)])


class Relay(unittest.TestCase):
    def test_each_request_is_late_by_one_delay(self):
        client, near = socket.socketpair()
        far, server = socket.socketpair()
        for end in (client, near, far, server):
            self.addCleanup(end.close)
        late = []
        passing = threading.Thread(target=RELAY.pass_late, args=(near, far, 1.0, lambda: late.append(1)), daemon=True)
        passing.start()
        started = time.monotonic()
        client.sendall(HELLO)
        self.assertEqual(server.recv(100), HELLO)
        self.assertLess(time.monotonic() - started, 0.9)
        client.sendall(REQUEST)
        client.sendall(REQUEST)
        got = b""
        while len(got) < 2 * len(REQUEST):
            got += server.recv(100)
        self.assertGreaterEqual(time.monotonic() - started, 1.0)
        self.assertLess(time.monotonic() - started, 1.9)
        client.close()
        passing.join(10)
        self.assertEqual((got, len(late), passing.is_alive()), (REQUEST * 2, 2, False))


if __name__ == "__main__":
    unittest.main()
