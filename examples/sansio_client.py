"""Drive the SMTP protocol object yourself: here over a blocking socket, with no event loop at all.

    python examples/sansio_client.py localhost 2525

The protocol object does no input or output. It takes commands and gives octets to write; it takes octets that were read
and gives events. Everything else, this file decides.
"""

import socket
import sys

from asyncmail.smtp import ClientProtocol, ConnectionEnded, Data, Ehlo, Mail, Quit, Rcpt, ReplyReceived
from asyncmail.wire import Signal


def next_event(connection, protocol):
    """Write what is due, read until something has happened, return it."""
    for chunk in protocol.data_to_send():
        connection.sendall(chunk)
    while (event := protocol.next_event()) is Signal.NEED_DATA:
        data = connection.recv(65536)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
    if isinstance(event, ConnectionEnded):
        sys.exit("the server closed the connection")
    return event


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    host, port = sys.argv[1], int(sys.argv[2])
    protocol = ClientProtocol(trace=lambda direction, line: print(f"{direction.value:8} {line}"))
    with socket.create_connection((host, port)) as connection:
        next_event(connection, protocol)  # the greeting
        protocol.send(Ehlo(domain="[127.0.0.1]"))
        next_event(connection, protocol)

        group = [Mail(sender="a@example.com"), Rcpt(recipient="b@example.com"), Data()]
        while group or protocol.in_flight:
            while group and protocol.can_send:  # all three leave at once where PIPELINING is offered
                protocol.send(group.pop(0))
            event = next_event(connection, protocol)
            assert isinstance(event, ReplyReceived)
        protocol.send_content(b"Subject: Hello\r\n\r\n.. and dots are taken care of\r\n")
        protocol.end_content()
        next_event(connection, protocol)

        protocol.send(Quit())
        next_event(connection, protocol)


if __name__ == "__main__":
    main()
