"""Prints the servers of this machine's HAProxy as a JSON object: `primary` and `replicas`, each a list of servers."""

import csv
import io
import json
import socket
import sys

SOCKET = "/run/hactl-haproxy/admin.sock"
PATIENCE = 2.0


def statistics():
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(SOCKET)
        client.sendall(b"show stat\n")
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts).decode().removeprefix("# ")


def servers(rows, backend):
    return [
        {"name": row["svname"], "up": row["status"].startswith("UP"), "connections": int(row["scur"] or 0)}
        for row in rows
        if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND")
    ]


if __name__ == "__main__":
    try:
        rows = list(csv.DictReader(io.StringIO(statistics())))
    except OSError as error:
        sys.exit("HAProxy does not answer on %s: %s" % (SOCKET, error))
    print(json.dumps({backend: servers(rows, backend) for backend in ("primary", "replicas")}))
