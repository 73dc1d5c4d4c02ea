"""Talk to the SMTP protocol objects in tests: octets in, in pieces of any size; events out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from asyncmail.smtp import (
    Auth,
    Bdat,
    ClientEvent,
    ClientLimits,
    ClientProtocol,
    ClientState,
    Command,
    CommandReceived,
    ConnectionEnded,
    ContentEnded,
    ContentReceived,
    Data,
    Ehlo,
    Lhlo,
    Mail,
    Quit,
    Rcpt,
    Reply,
    ServerEvent,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    ServerState,
    Starttls,
)
from asyncmail.wire import Signal, Trace

EVERYTHING = "PIPELINING CHUNKING 8BITMIME SMTPUTF8 ENHANCEDSTATUSCODES STARTTLS"


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[i : i + 1] for i in range(len(octets))]


def cut(octets: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`octets` in pieces, cut where `cuts` say."""
    places = sorted({0, len(octets)} | {place for place in cuts if place < len(octets)})
    return [octets[a:b] for a, b in pairwise(places)]


# --- client


def heard(client: ClientProtocol, *pieces: bytes) -> list[ClientEvent]:
    """All events that the server's octets cause."""
    found: list[ClientEvent] = []
    for piece in pieces or (b"",):
        client.receive_data(piece)
        while not isinstance(event := client.next_event(), Signal):
            found.append(event)
            if isinstance(event, ConnectionEnded):
                break
    return found


def sent(client: ClientProtocol | ServerProtocol) -> bytes:
    return b"".join(client.data_to_send())


def exchange(client: ClientProtocol, command: Command, answer: bytes) -> ClientEvent:
    """Send one command, drop its octets, and return the one event of its answer."""
    client.send(command)
    client.data_to_send()
    (event,) = heard(client, answer)
    return event


def session(
    keywords: str = EVERYTHING,
    *,
    lmtp: bool = False,
    limits: ClientLimits | None = None,
    trace: Trace | None = None,
) -> ClientProtocol:
    """A client that has said EHLO to a server with these extensions, separated by spaces."""
    client = ClientProtocol(lmtp=lmtp, limits=limits, trace=trace)
    heard(client, b"220 mx.example ready\r\n")
    lines = ["mx.example", *keywords.split()]
    hello = Lhlo(domain="client.example") if lmtp else Ehlo(domain="client.example")
    exchange(client, hello, Reply(250, "\n".join(lines)).encode())
    assert client.state is ClientState.READY
    return client


def addressed(client: ClientProtocol, recipients: str = "ok") -> ClientProtocol:
    """Send MAIL, and RCPT for each word: `ok` is accepted, anything else refused."""
    exchange(client, Mail(sender="a@client.example"), b"250 ok\r\n")
    for number, word in enumerate(recipients.split()):
        answer = b"250 ok\r\n" if word == "ok" else b"550 no\r\n"
        exchange(client, Rcpt(recipient=f"r{number}@mx.example"), answer)
    return client


def in_content(client: ClientProtocol, recipients: str = "ok") -> ClientProtocol:
    exchange(addressed(client, recipients), Data(), b"354 go\r\n")
    return client


# --- server

Answer = Callable[[ServerProtocol, ServerEvent], None]


def yes(server: ServerProtocol, event: ServerEvent) -> None:
    """Accept whatever waits for an answer."""
    if server.in_flight and isinstance(event, CommandReceived | ContentEnded):
        server.accept()


def told(server: ServerProtocol, *pieces: bytes, answer: Answer = yes) -> list[ServerEvent]:
    """All events that the client's octets cause, each answered; pieces of content that follow each other joined."""
    found: list[ServerEvent] = []
    for piece in pieces or (b"",):
        server.receive_data(piece)
        while not isinstance(event := server.next_event(), Signal):
            answer(server, event)
            if isinstance(event, ContentReceived) and found and isinstance(found[-1], ContentReceived):
                found[-1] = ContentReceived(found[-1].data + event.data)
            else:
                found.append(event)
            if isinstance(event, ConnectionEnded):
                break
    return found


def said(server: ServerProtocol, *pieces: bytes, answer: Answer = yes) -> list[str]:
    """The lines that the server answers to the client's octets."""
    told(server, *pieces, answer=answer)
    return sent(server).decode().splitlines()


def codes(server: ServerProtocol, *pieces: bytes, answer: Answer = yes) -> list[str]:
    """The reply codes, enhanced ones with them, of what the server answers."""
    found = []
    for line in said(server, *pieces, answer=answer):
        code, enhanced = line[:3], line[4:].split(" ")[0]
        found.append(f"{code} {enhanced}" if enhanced.count(".") == 2 and enhanced[0] in "245" else code)
    return found


def server(
    *,
    offer: ServerOffer | None = None,
    limits: ServerLimits | None = None,
    trace: Trace | None = None,
    accepts: frozenset[type[Command]] = frozenset(),
    hello: bytes = b"EHLO client.example\r\n",
) -> ServerProtocol:
    """A server to which the client has said EHLO, or `hello`."""
    protocol = ServerProtocol(offer=offer, limits=limits, trace=trace, accepts=accepts)
    protocol.send(Reply(220, "mx.example"))
    if hello:
        told(protocol, hello)
    sent(protocol)
    return protocol


MAIL = b"MAIL FROM:<a@client.example>\r\n"
RCPT = b"RCPT TO:<b@mx.example>\r\n"


def server_in(state: ServerState, offer: ServerOffer | None = None) -> ServerProtocol:
    """A server in a state in which it reads."""
    if offer is None:
        offer = ServerOffer(authentication=True, cleartext_login=True, starttls=True)
    protocol = server(offer=offer, hello=b"LHLO x\r\n" if offer.lmtp else b"EHLO x\r\n")
    match state:
        case ServerState.REFUSED:
            protocol = ServerProtocol(offer=offer)
            protocol.send(Reply(554, "no"))
        case ServerState.HELLO:
            protocol = server(offer=offer, hello=b"")
        case ServerState.SENDER:
            told(protocol, MAIL)
        case ServerState.RECIPIENTS:
            told(protocol, MAIL + RCPT)
        case ServerState.CONTENT:
            told(protocol, MAIL + RCPT + b"DATA\r\n")
        case ServerState.CHUNKS:
            told(protocol, MAIL + RCPT + b"BDAT 3\r\nabc")
        case ServerState.CHUNK:
            told(protocol, MAIL + RCPT + b"BDAT 3\r\na")
        case ServerState.AUTHENTICATION:
            told(protocol, b"AUTH LOGIN\r\n")
        case ServerState.HANDSHAKE:
            told(protocol, b"STARTTLS\r\n")
        case ServerState.CLOSED:
            told(protocol, b"QUIT\r\n")
        case ServerState.ERROR:
            protocol.send_failed()
    sent(protocol)
    assert protocol.state is state
    return protocol


def client_in(state: ClientState) -> ClientProtocol:
    """A client in a state."""
    client = session()
    match state:
        case ClientState.GREETING:
            client = ClientProtocol()
        case ClientState.REFUSED:
            client = ClientProtocol()
            heard(client, b"554 no\r\n")
        case ClientState.HELLO:
            client = ClientProtocol()
            heard(client, b"220 mx.example\r\n")
        case ClientState.SENDER:
            addressed(client, "")
        case ClientState.RECIPIENTS:
            addressed(client)
        case ClientState.DATA:
            addressed(client).send(Data())
        case ClientState.CONTENT:
            in_content(client)
        case ClientState.LONE_DOT:
            in_content(client, "no")
        case ClientState.CHUNK:
            addressed(client).send(Bdat(size=3))
        case ClientState.CHUNKS:
            exchange(addressed(client), Bdat(size=0), b"250 ok\r\n")
        case ClientState.RESET_DUE:
            exchange(addressed(client), Bdat(size=0), b"452 full\r\n")
        case ClientState.AUTHENTICATION:
            exchange(client, Auth(mechanism="LOGIN"), b"334 VXNlcm5hbWU6\r\n")
        case ClientState.SECURING:
            client.send(Starttls())
        case ClientState.HANDSHAKE:
            exchange(client, Starttls(), b"220 go\r\n")
        case ClientState.QUIT:
            client.send(Quit())
        case ClientState.CLOSED:
            client.receive_eof()
            heard(client)
        case ClientState.ERROR:
            client.send_failed()
    sent(client)
    assert client.state is state
    return client
