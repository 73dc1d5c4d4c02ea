"""The two protocol objects against each other, octets moved in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmail.sasl import Credentials, choose, decode_base64
from asyncmail.smtp import (
    Auth,
    AuthenticationReceived,
    AuthResponse,
    Bdat,
    ClientEvent,
    ClientProtocol,
    ClientState,
    Command,
    CommandReceived,
    ContentEnded,
    ContentReceived,
    Data,
    Ehlo,
    Expn,
    GreetingReceived,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Outcome,
    Pipeline,
    Quit,
    Rcpt,
    Reply,
    ReplyReceived,
    Rset,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    ServerState,
    Starttls,
    Status,
    Transaction,
    Vrfy,
)
from asyncmail.wire import Signal


class Pair:
    """A client and a server in one process, which move octets in pieces of `size`."""

    def __init__(
        self, size: int = 65_536, offer: ServerOffer | None = None, limits: ServerLimits | None = None
    ) -> None:
        offer = offer or ServerOffer(authentication=True, cleartext_login=True)
        self.client = ClientProtocol(lmtp=offer.lmtp)
        self.server = ServerProtocol(offer=offer, limits=limits)
        self.size = size
        self.pieces: list[bytes] = []
        self.received: list[bytes] = []
        self.pipeline: Pipeline | None = None
        self.server.send(Reply(220, "mx.example"))
        (greeting,) = self.events()
        assert isinstance(greeting, GreetingReceived)

    def answer(self) -> None:
        while not isinstance(event := self.server.next_event(), Signal):
            match event:
                case AuthenticationReceived(attempt):
                    self.server.send(Reply(235, "in") if attempt.verify("secret") else Reply(535, "wrong"))
                case CommandReceived(Mail(sender=path)) if path.startswith("bad"):
                    self.server.send(Reply(450, f"not {path}", "4.7.1"))
                case CommandReceived(Rcpt(recipient=path)) if path.startswith("bad"):
                    self.server.send(Reply(550, f"not {path}", "5.1.1"))
                case CommandReceived():
                    self.server.accept()
                case ContentReceived(data):
                    self.pieces.append(data)
                case ContentEnded(refusal):
                    content = b"".join(self.pieces)
                    self.pieces.clear()
                    if refusal is None:
                        self.received.append(content)
                        self.answer_content(content)

    def answer_content(self, content: bytes) -> None:
        if b"spam" in content:
            while self.server.in_flight:
                self.server.send(Reply(554, "spam"))
        else:
            self.server.accept()

    def events(self) -> list[ClientEvent]:
        found: list[ClientEvent] = []
        while True:
            up = b"".join(self.client.data_to_send())
            for start in range(0, len(up), self.size):
                self.server.receive_data(up[start : start + self.size])
                self.answer()
            down = b"".join(self.server.data_to_send())
            if not up and not down:
                return found
            for start in range(0, len(down), self.size):
                self.client.receive_data(down[start : start + self.size])
                while not isinstance(event := self.client.next_event(), Signal):
                    found.append(event)
                    if self.pipeline is not None:
                        assert isinstance(event, ReplyReceived)
                        self.pipeline.handle([event])
                        self.pipeline.advance()

    def exchange(self, command: Command) -> Reply:
        self.client.send(command)
        (event,) = self.events()
        assert isinstance(event, ReplyReceived)
        assert event.command == command
        return event.reply

    def hello(self) -> Pair:
        lmtp = self.client.lmtp
        assert self.exchange(Lhlo(domain="x") if lmtp else Ehlo(domain="x")).is_positive
        return self


sizes = pytest.mark.parametrize("size", [1, 3, 65_536])


@sizes
def test_command_by_command(size: int) -> None:
    pair = Pair(size).hello()
    assert dict(pair.client.extensions) == {
        "PIPELINING": "",
        "SIZE": "36700160",
        "8BITMIME": "",
        "SMTPUTF8": "",
        "ENHANCEDSTATUSCODES": "",
        "CHUNKING": "",
        "AUTH": "PLAIN LOGIN CRAM-MD5",
    }
    assert pair.client.extensions.size == 36_700_160
    for command, code in (
        (Noop(text="hello"), 250),
        (Help(), 214),
        (Vrfy(text="b"), 252),
        (Expn(text="b"), 502),
        (Mail(sender="a@client.example", size=5), 250),
        (Rcpt(recipient="bad@mx.example"), 550),
        (Rcpt(recipient="b@mx.example"), 250),
        (Rset(), 250),
        (Mail(sender=""), 250),
        (Rcpt(recipient="b@mx.example"), 250),
        (Data(), 354),
    ):
        assert pair.exchange(command).code == code
    pair.client.send_content(b".one\n..two\r.three")
    pair.client.end_content()
    (event,) = pair.events()
    assert isinstance(event, ReplyReceived)
    assert event.reply.enhanced_status_code == "2.6.0"
    assert pair.received == [b".one\r\n..two\r\n.three\r\n"]
    assert pair.exchange(Helo(domain="x")).text == "localhost"
    assert pair.exchange(Quit()).code == 221
    assert pair.client.state is ClientState.CLOSED
    assert pair.server.state is ServerState.CLOSED


@sizes
def test_chunks(size: int) -> None:
    pair = Pair(size).hello()
    for command in (Mail(sender=""), Rcpt(recipient="b@mx.example"), Bdat(size=2), Bdat(size=3, last=True)):
        pair.client.send(command)
        if isinstance(command, Bdat):
            pair.client.send_content(b"\n.x" if command.last else b".\r")
    assert len(pair.events()) == 4
    assert pair.received == [b".\r\n.x"]


@pytest.mark.parametrize("password", ["secret", "wrong"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@sizes
def test_authentication_exchanges(mechanism: str, password: str, size: int) -> None:
    pair = Pair(size).hello()
    credentials = Credentials(username="tim", password=password)
    offered = pair.client.extensions.mechanisms
    (client_side,) = choose(offered, credentials, encrypted=False, allowed=[mechanism])
    reply = pair.exchange(Auth(mechanism=mechanism, initial_response=client_side.initial_response()))
    while reply.code == 334:
        assert pair.client.state is ClientState.AUTHENTICATION
        reply = pair.exchange(AuthResponse(response=client_side.respond(decode_base64(reply.text))))
    assert reply.code == (235 if password == "secret" else 535)
    assert pair.client.state is ClientState.READY
    assert pair.server.state is ServerState.READY


def test_an_exchange_given_up() -> None:
    pair = Pair().hello()
    assert pair.exchange(Auth(mechanism="LOGIN")).code == 334
    assert pair.exchange(AuthResponse(response=None)).code == 501
    assert pair.exchange(Noop()).code == 250


def test_tls_makes_a_new_session_on_both_sides() -> None:
    pair = Pair(offer=ServerOffer(starttls=True, authentication=True)).hello()
    assert pair.exchange(Starttls()).code == 220
    pair.server.start_tls()
    pair.client.start_tls()
    assert len(pair.client.extensions) == 0
    pair.hello()
    assert "STARTTLS" not in pair.client.extensions
    assert pair.client.extensions.mechanisms == ("PLAIN", "LOGIN", "CRAM-MD5")


def test_a_refused_connection() -> None:
    client, server = ClientProtocol(), ServerProtocol()
    server.send(Reply(554, "no"))
    client.receive_data(b"".join(server.data_to_send()))
    assert client.next_event() == GreetingReceived(Reply(554, "no"))
    client.send(Quit())
    server.receive_data(b"".join(client.data_to_send()))
    assert server.next_event() == CommandReceived(Quit())
    server.accept()
    client.receive_data(b"".join(server.data_to_send()))
    assert client.next_event() == ReplyReceived(Quit(), Reply(221, "Goodbye", "2.0.0"))
    assert client.state is ClientState.CLOSED


# --- many messages


def send_all(
    pair: Pair, messages: list[tuple[str, list[str], bytes]], *, chunking: bool = True, window: int = 64
) -> list[Outcome]:
    pair.pipeline = Pipeline(pair.client, chunking=chunking, window=window)
    for index, (sender, recipients, content) in enumerate(messages):
        pair.pipeline.submit(Transaction(sender, recipients, content, index=index))
    pair.pipeline.advance()
    pair.events()
    assert len(pair.pipeline) == 0
    outcomes = [outcome for _, outcome in pair.pipeline.outcomes]
    return sorted(outcomes, key=lambda outcome: outcome.index or 0)


messages = st.lists(
    st.tuples(
        st.sampled_from(["a@x.example", "bad@x.example", ""]),
        st.lists(st.sampled_from(["r@y.example", "bad@y.example"]), min_size=1, max_size=4),
        st.lists(st.sampled_from([b"spam", b"x", b".", b"\r\n", b"\n"]), max_size=8).map(b"".join),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(messages, st.booleans(), st.booleans(), st.sampled_from([1, 2, 64]), st.sampled_from([1, 5, 65_536]))
def test_every_message_has_its_own_outcome(
    sent: list[tuple[str, list[str], bytes]], lmtp: bool, chunking: bool, window: int, size: int
) -> None:
    pair = Pair(size, ServerOffer(lmtp=lmtp), ServerLimits(errors=1_000)).hello()
    outcomes = send_all(pair, sent, chunking=chunking, window=window)
    expected = []
    for (sender, recipients, content), outcome in zip(sent, outcomes, strict=True):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if not chunking and content and not content.endswith(b"\r\n"):
            content += b"\r\n"
        wanted = [recipient for recipient in recipients if not recipient.startswith("bad")]
        if wanted and not sender.startswith("bad"):
            expected.append(content)
        for each in outcome.recipients:
            assert each.reply is not None
            if sender.startswith("bad"):
                assert (each.status, each.reply.text) == (Status.DEFERRED, f"not {sender}")
            elif each.address.startswith("bad"):
                assert (each.status, each.reply.text) == (Status.REFUSED, f"not {each.address}")
            else:
                assert each.status is (Status.REFUSED if b"spam" in content else Status.ACCEPTED)
    assert pair.received == expected


def test_messages_that_are_too_large() -> None:
    for lmtp in (False, True):
        for chunking in (False, True):
            pair = Pair(offer=ServerOffer(lmtp=lmtp), limits=ServerLimits(message_size=5)).hello()
            outcomes = send_all(
                pair, [("", ["r@y.example", "s@y.example"], b"x" * n) for n in (3, 6, 3)], chunking=chunking
            )
            assert [[each.status.name for each in outcome.recipients] for outcome in outcomes] == [
                ["ACCEPTED"] * 2, ["REFUSED"] * 2, ["ACCEPTED"] * 2
            ]  # fmt: skip
            assert outcomes[1].recipients[0].reply == Reply(552, "At most 5 octets are accepted", "5.3.4")
            assert len(pair.received) == 2


def test_more_recipients_than_the_server_takes() -> None:
    pair = Pair(limits=ServerLimits(recipients=2)).hello()
    (outcome,) = send_all(pair, [("", [f"r{n}@y.example" for n in range(5)], b"x\r\n")])
    assert [each.status for each in outcome.recipients] == [Status.ACCEPTED] * 2 + [Status.DEFERRED] * 3
