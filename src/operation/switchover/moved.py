"""Resumes the pooler of this machine as soon as its proxy leads to one server, which is not the old primary.

Standard input is this program. The arguments are the old primary, the port of the pooler, and the seconds after which to give
up. Prints the server.
"""

import csv
import io
import socket
import subprocess
import sys
import time

SOCKET = "/run/hactl-haproxy/admin.sock"
LOOK = 0.03


def up():
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        client.connect(SOCKET)
        client.sendall(b"show stat\n")
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    rows = csv.DictReader(io.StringIO(b"".join(parts).decode().removeprefix("# ")))
    servers = [row for row in rows if row["pxname"] == "primary" and row["svname"] not in ("FRONTEND", "BACKEND")]
    return [server["svname"] for server in servers if server["status"].startswith("UP")]


def main(old, port, seconds):
    deadline = time.monotonic() + float(seconds)
    seen = []
    while time.monotonic() < deadline:
        try:
            seen = up()
        except OSError:
            # A proxy that starts.
            seen = []
        if len(seen) == 1 and seen != [old]:
            resume = subprocess.run(
                ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-h", "/run/pgbouncer", "-p", port, "-U", "pgbouncer",
                 "-d", "pgbouncer", "-c", "RESUME"], capture_output=True, text=True, check=False)
            # The timer may have resumed it.
            if resume.returncode != 0 and "not paused" not in resume.stderr:
                sys.exit(resume.stderr.strip())
            print(seen[0])
            return
        time.sleep(LOOK)
    sys.exit("the proxy leads to %s" % (" and ".join(seen) or "no server"))


if __name__ == "__main__":
    main(*sys.argv[1:4])
