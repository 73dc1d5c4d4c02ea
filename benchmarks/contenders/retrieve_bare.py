"""The floor of retrieving: a blocking socket and a loop that only counts octets.

LIST and every RETR leave in one write. How many octets the answers have is known from having read them once before, in
another session: what a server has opened and looked up it has at hand for the rest of a session.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from .common import HOST, Stopwatch, main

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured

_END = b"\r\n.\r\n"
_BUFFER = 262_144


def retrieve(options: Namespace) -> Measured:
    commands = b"LIST\r\n" + b"".join(b"RETR %d\r\n" % number for number in range(1, options.messages + 1))
    buffer = bytearray(_BUFFER)
    with socket.create_connection((HOST, options.port)) as connection:
        _log_in(connection, options)
        octets = _measure(connection, commands, 1 + options.messages)
        connection.sendall(b"QUIT\r\n")
        while connection.recv(_BUFFER):  # to its end, for a maildrop is open in one session at a time
            pass
    with socket.create_connection((HOST, options.port)) as connection:
        _log_in(connection, options)
        with Stopwatch() as watch:
            connection.sendall(commands)
            while octets > 0:
                octets -= connection.recv_into(buffer)
        connection.sendall(b"QUIT\r\n")
    return watch.measured(options.messages)


def _log_in(connection: socket.socket, options: Namespace) -> None:
    with connection.makefile("rb") as lines:
        lines.readline()
        for command in (f"USER {options.user}\r\n", f"PASS {options.password}\r\n"):
            connection.sendall(command.encode())
            if not lines.readline().startswith(b"+OK"):
                raise SystemExit("the login was refused")


def _measure(connection: socket.socket, commands: bytes, answers: int) -> int:
    """Read all answers, and return how many octets that took."""
    connection.sendall(commands)
    octets = ends = 0
    tail = b""
    while ends < answers:
        data = connection.recv(_BUFFER)
        if not data:
            raise SystemExit("the server closed the connection")
        octets += len(data)
        seen = tail + data
        ends += seen.count(_END)
        tail = b"" if seen.endswith(_END) else seen[-len(_END) + 1 :]
    return octets


if __name__ == "__main__":
    main(retrieve)
