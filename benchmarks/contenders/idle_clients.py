"""No contender: clients that connect, say EHLO, print a line once all have, and stay until their input ends."""

from __future__ import annotations

import argparse
import socket
import sys

from .common import HOST
from .load import allow_many_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    allow_many_files()
    clients = [_connect(options.port) for _ in range(options.connections)]
    print(len(clients), flush=True)
    sys.stdin.read()
    for client in clients:
        client.close()


def _connect(port: int) -> socket.socket:
    client = socket.create_connection((HOST, port))
    with client.makefile("rb") as lines:
        lines.readline()
        client.sendall(b"EHLO localhost\r\n")
        while not lines.readline().startswith(b"250 "):
            pass
    return client


if __name__ == "__main__":
    main()
