"""Stands in for the program under whose name it is called.

It reports the call to the test, then does what the test says: print lines, write events, exit. Each side writes one JSON
object per line to the socket beside this file.
"""

import json
import os
import signal
import socket
import sys

HERE = os.path.dirname(os.path.realpath(__file__))


def main():
    test = socket.socket(socket.AF_UNIX)
    test.connect(os.path.join(HERE, "test.socket"))

    def report(**fields):
        test.sendall(json.dumps(fields).encode() + b"\n")

    signal.signal(signal.SIGINT, lambda *_: report(signal="SIGINT"))
    report(
        program=os.path.basename(sys.argv[0]),
        arguments=sys.argv[1:],
        variables=sorted(os.environ),
        machine=os.environ.get("MACHINE"),
    )
    for line in test.makefile(encoding="utf-8"):
        order = json.loads(line)
        if "stdout" in order:
            print(order["stdout"], flush=True)
        elif "event" in order:
            with open(os.environ["HACTL_EVENTS"], "a", encoding="utf-8") as events:
                events.write(order["event"] + "\n")
        else:
            sys.exit(order["exit"])
    sys.exit("the test ended before this program")


main()
