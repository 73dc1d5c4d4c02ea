"""What came before the TLS handshake is never read as if it had come after it (RFC 3207 §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from asyncmail import pop3, smtp
from asyncmail.errors import LocalProtocolError, PlaintextAfterStartTLS, RemoteProtocolError
from asyncmail.wire import Signal
from smtp_talk import heard, server_in, session, told

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Upgrade:
    """One end of a session that has come to the handshake, and what its peer said to get it there."""

    protocol: Any
    behind: bytes
    """What the peer says just before TLS starts, and this end does not know yet."""


def smtp_client() -> Upgrade:
    client = session()
    client.send(smtp.Starttls())
    return Upgrade(client, b"220 go ahead\r\n")


def smtp_server() -> Upgrade:
    return Upgrade(server_in(smtp.ServerState.READY), b"STARTTLS\r\n")


def pop3_client() -> Upgrade:
    client = pop3.ClientProtocol()
    client.receive_data(b"+OK ready <1@a>\r\n")
    client.next_event()
    client.send(pop3.Capa())
    client.receive_data(b"+OK\r\nSTLS\r\nSASL PLAIN\r\n.\r\n")
    client.next_event()
    client.send(pop3.Stls())
    return Upgrade(client, b"+OK go ahead\r\n")


def pop3_server() -> Upgrade:
    server = pop3.ServerProtocol(offer=pop3.ServerOffer(stls=True))
    server.send(pop3.Response(pop3.Status.OK, "ready"))
    return Upgrade(server, b"STLS\r\n")


ENDS = [smtp_client, smtp_server, pop3_client, pop3_server]
INJECTED = [
    b"\r\n",
    b"2",
    b"250 injected\r\n",
    b"250-injected\r\n",
    b"250-injected",
    b"421 go away\r\n",
    b"+OK injected\r\n",
    b"+OK injec",
    b"-ERR\r\n",
    b"MAIL FROM:<a@b.example>\r\n",
    b"RSET\r\n",
    b"USER tim\r\n",
    b"\x00",
]


def take(protocol: Any) -> None:
    """Take the event of STARTTLS or its answer, and answer it where that is due."""
    event = protocol.next_event()
    assert not isinstance(event, Signal)
    if protocol.in_flight:
        if isinstance(protocol, smtp.ServerProtocol):
            protocol.accept()
        elif isinstance(protocol, pop3.ServerProtocol):
            protocol.send(pop3.Response(pop3.Status.OK, "go ahead"))
    protocol.data_to_send()


def drain(protocol: Any) -> None:
    """Ask for events until there are none, as a driver may that knows no better."""
    try:
        for _ in range(9):
            if isinstance(protocol.next_event(), Signal):
                break
    except RemoteProtocolError:
        pass


def check_refused(protocol: Any) -> None:
    with pytest.raises((PlaintextAfterStartTLS, LocalProtocolError)):
        protocol.start_tls()
    assert protocol.state.value == "error"
    # For good: whatever comes now is no answer and no command.
    with pytest.raises(LocalProtocolError):
        protocol.start_tls()
    if isinstance(protocol, smtp.ClientProtocol):
        with pytest.raises(LocalProtocolError):
            protocol.send(smtp.Ehlo(domain="x"))
    elif isinstance(protocol, pop3.ClientProtocol):
        with pytest.raises(LocalProtocolError):
            protocol.send(pop3.Capa())
    else:
        protocol.receive_data(b"EHLO x\r\nCAPA\r\n")
        assert protocol.next_event() is Signal.PAUSED
        assert protocol.data_to_send() == []


@pytest.mark.parametrize("injected", INJECTED)
@pytest.mark.parametrize("make", ENDS)
def test_octets_in_the_same_segment(make: Callable[[], Upgrade], injected: bytes) -> None:
    end = make()
    end.protocol.receive_data(end.behind + injected)
    take(end.protocol)
    with pytest.raises(PlaintextAfterStartTLS):
        end.protocol.start_tls()
    check_refused(end.protocol)


@pytest.mark.parametrize("injected", INJECTED)
@pytest.mark.parametrize("make", ENDS)
def test_octets_in_a_segment_of_their_own(make: Callable[[], Upgrade], injected: bytes) -> None:
    end = make()
    end.protocol.receive_data(end.behind)
    take(end.protocol)
    end.protocol.receive_data(injected)
    check_refused(end.protocol)


@pytest.mark.parametrize("injected", INJECTED)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("make", ENDS)
def test_a_driver_that_reads_on_does_not_let_them_through(
    make: Callable[[], Upgrade], together: bool, injected: bytes
) -> None:
    end = make()
    end.protocol.receive_data(end.behind + (injected if together else b""))
    take(end.protocol)
    if not together:
        end.protocol.receive_data(injected)
    drain(end.protocol)
    check_refused(end.protocol)


@pytest.mark.parametrize("make", ENDS)
def test_without_such_octets_tls_starts(make: Callable[[], Upgrade]) -> None:
    end = make()
    for octet in end.behind[:-1]:
        end.protocol.receive_data(bytes([octet]))
        assert end.protocol.next_event() is Signal.NEED_DATA
    end.protocol.receive_data(end.behind[-1:])
    take(end.protocol)
    drain(end.protocol)
    end.protocol.start_tls()


# --- and what was learned before is forgotten (RFC 3207 §4.2, RFC 2595 §4)


def test_an_smtp_client_forgets_the_extensions() -> None:
    client = smtp_client().protocol
    heard(client, b"220 go\r\n")
    assert client.extensions.pipelining
    client.start_tls()
    assert len(client.extensions) == 0
    assert client.extensions.mechanisms == ()
    assert not client.extensions.pipelining
    for command in (smtp.Mail(sender=""), smtp.Auth(mechanism="PLAIN"), smtp.Starttls()):
        with pytest.raises(LocalProtocolError):
            client.send(command)


def test_an_smtp_server_forgets_client_and_login() -> None:
    server = server_in(smtp.ServerState.READY)
    told(server, b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n", answer=lambda server, _: server.accept())
    told(server, b"STARTTLS\r\n")
    server.start_tls()
    server.data_to_send()
    told(server, b"MAIL FROM:<>\r\n")
    assert b"".join(server.data_to_send()).startswith(b"503 ")
    told(server, b"EHLO x\r\n")
    assert b"AUTH PLAIN" in b"".join(server.data_to_send())


def test_a_pop3_client_forgets_capabilities_and_timestamp() -> None:
    client = pop3_client().protocol
    client.receive_data(b"+OK\r\n")
    take(client)
    assert "SASL" in client.capabilities
    assert client.timestamp is not None
    client.start_tls()
    assert len(client.capabilities) == 0
    assert client.timestamp is None


def test_a_pop3_server_forgets_the_user() -> None:
    server = pop3.ServerProtocol(offer=pop3.ServerOffer(stls=True, cleartext_login=True))
    server.send(pop3.Response(pop3.Status.OK, "ready"))
    for line in (b"USER tim\r\n", b"PASS wrong\r\n"):
        server.receive_data(line)
        server.next_event()
        if server.in_flight:
            server.send(pop3.Response(pop3.Status.ERR))
    server.receive_data(b"STLS\r\n")
    take(server)
    server.start_tls()
    server.receive_data(b"PASS secret\r\n")
    assert isinstance(server.next_event(), pop3.CommandRejected)
