# SPDX-License-Identifier: Apache-2.0
"""Relays connections that an nftables table redirects to it, and delays requests.

It delays every TLS record of a client that carries application data. So a
request is late, and a handshake is not: clients allow less time for a
connection than for an answer. Without TLS it delays everything that a client
sends. It never delays what servers send.

Arguments: the delay in seconds, and a directory. It writes its port to the file
`port` there, and creates the file `late` when it has passed on the first late
record.
"""

import collections
import os
import pathlib
import socket
import struct
import sys
import threading
import time

SO_ORIGINAL_DST = 80
HANDSHAKE, APPLICATION_DATA = 22, 23


def destination(connection):
    """Returns the address that the client connected to."""
    address = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    port, ip = struct.unpack("!2xH4s8x", address)
    return socket.inet_ntoa(ip), port


def records(source):
    """Yields each record that a client sends, and whether it is delayed."""
    buffer = b""
    is_tls = None
    while data := source.recv(65536):
        if is_tls is None:
            is_tls = data[0] == HANDSHAKE
        if not is_tls:
            yield data, True
            continue
        buffer += data
        while len(buffer) >= 5:
            end = 5 + int.from_bytes(buffer[3:5], "big")
            if len(buffer) < end:
                break
            yield buffer[:end], buffer[0] == APPLICATION_DATA
            buffer = buffer[end:]


def pass_late(source, target, delay, was_late):
    """Passes records on in order, each at its time. A thread reads the next ones meanwhile."""
    waiting, more = collections.deque(), threading.Condition()

    def read():
        last = 0.0
        try:
            for record, late in records(source):
                last = max(last, time.monotonic() + (delay if late else 0))
                with more:
                    waiting.append((last, record, late))
                    more.notify()
        except OSError:
            pass
        with more:
            waiting.append((last, b"", False))
            more.notify()

    threading.Thread(target=read, daemon=True).start()
    while True:
        with more:
            more.wait_for(lambda: waiting)
            due, record, late = waiting.popleft()
        time.sleep(max(0, due - time.monotonic()))
        if not record:
            break
        target.sendall(record)
        if late:
            was_late()


def pass_on(source, target):
    while data := source.recv(65536):
        target.sendall(data)


def serve(client, *how):
    def one_way(work, source, target, *how):
        try:
            work(source, target, *how)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    with client:
        try:
            server = socket.create_connection(destination(client), timeout=5)
        except OSError:
            return
        with server:
            server.settimeout(None)
            back = threading.Thread(target=one_way, args=(pass_on, server, client), daemon=True)
            back.start()
            one_way(pass_late, client, server, *how)
            back.join()


def main(delay, directory):
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    (directory / "port.new").write_text("%d\n" % listener.getsockname()[1], encoding="ascii")
    os.replace(directory / "port.new", directory / "port")
    how = (delay, (directory / "late").touch)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, *how), daemon=True).start()


if __name__ == "__main__":
    main(float(sys.argv[1]), pathlib.Path(sys.argv[2]))
