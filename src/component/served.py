"""Prints the certificates that the services of this machine serve, one JSON object per line.

Standard input is this program. The arguments are a JSON list of services, each with `service`, `host` and `port`, `starts`
(`tls`, or `postgres`: PostgreSQL starts TLS only when asked to), and the paths of its `file`, `key` and `authority`, or null.
A line has `service` and, in PEM, `served`, `file` and `authority`: what the port serves, and what the files on disk hold.
"""

import concurrent.futures
import json
import socket
import ssl
import struct
import sys

# Seconds that one service may take.
PATIENCE = 2.0


def served(service):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # An expired certificate is what this program looks for.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # A server of TLS 1.2 that asks for a certificate ends the handshake without one. PostgreSQL does not need one, and would
    # log that it cannot verify its own, which is for servers only.
    if service["key"] and service["starts"] != "postgres":
        context.load_cert_chain(service["file"], service["key"])
    with socket.create_connection((service["host"], service["port"]), timeout=PATIENCE) as plain:
        if service["starts"] == "postgres":
            plain.sendall(struct.pack("!ii", 8, 80877103))
            if plain.recv(1) != b"S":
                return None
        with context.wrap_socket(plain) as secure:
            pem = ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))
            # A connection that ends within TLS is an error to some servers.
            attempt(ssl.SSLSocket.unwrap, secure)
            return pem


def text(path):
    if path is None:
        return None
    with open(path, encoding="ascii") as file:
        return file.read()


def attempt(function, argument):
    try:
        return function(argument)
    except (OSError, ValueError, TypeError):
        return None


def look(service):
    found = {name: attempt(text, service[name]) for name in ("file", "authority")}
    return {"service": service["service"], "served": attempt(served, service), **found}


if __name__ == "__main__":
    services = json.loads(sys.argv[1])
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(services)) as pool:
        for line in pool.map(look, services):
            print(json.dumps(line), flush=True)
