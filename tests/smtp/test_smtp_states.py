"""Every cell of the tables of states: legal commands move on, the others are refused."""

from __future__ import annotations

import pytest

from asyncmail.errors import LocalProtocolError, RemoteProtocolError
from asyncmail.smtp import (
    Auth,
    AuthResponse,
    Bdat,
    ClientState,
    Command,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    Data,
    Ehlo,
    EndOfContent,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reply,
    ReplyReceived,
    Rset,
    ServerOffer,
    ServerProtocol,
    ServerState,
    Starttls,
    Vrfy,
)
from asyncmail.smtp.states import CLIENT_ANSWERS, CLIENT_SENDS, SERVER_ANSWERS, SERVER_RECEIVES, Answer
from asyncmail.wire import Signal
from smtp_talk import client_in, heard, sent, server_in, told

C, S = ClientState, ServerState

COMMANDS: list[Command] = [
    Ehlo(domain="client.example"),
    Helo(domain="client.example"),
    Lhlo(domain="client.example"),
    Mail(sender="a@client.example"),
    Rcpt(recipient="b@mx.example"),
    Data(),
    Bdat(size=3),
    Bdat(size=0, last=True),
    EndOfContent(),
    Rset(),
    Noop(),
    Help(),
    Vrfy(text="b"),
    Expn(text="list"),
    Quit(),
    Starttls(),
    Auth(mechanism="LOGIN"),
    AuthResponse(response=b"tim"),
]
HELLOS: dict[type[Command], ClientState] = {Ehlo: C.HELLO, Helo: C.HELLO, Lhlo: C.HELLO}

CLIENT: dict[ClientState, dict[type[Command], ClientState]] = {
    C.GREETING: {},
    C.REFUSED: {Quit: C.QUIT},
    C.HELLO: {**HELLOS, Rset: C.HELLO, Noop: C.HELLO, Help: C.HELLO, Vrfy: C.HELLO, Expn: C.HELLO, Quit: C.QUIT},
    C.READY: {
        **HELLOS,
        Mail: C.SENDER,
        Rset: C.READY,
        Noop: C.READY,
        Help: C.READY,
        Vrfy: C.READY,
        Expn: C.READY,
        Quit: C.QUIT,
        Starttls: C.SECURING,
        Auth: C.AUTHENTICATION,
    },
    C.SENDER: {
        Rcpt: C.RECIPIENTS,
        Rset: C.READY,
        Noop: C.SENDER,
        Help: C.SENDER,
        Vrfy: C.SENDER,
        Expn: C.SENDER,
        Quit: C.QUIT,
    },
    C.RECIPIENTS: {
        Rcpt: C.RECIPIENTS,
        Data: C.DATA,
        Bdat: C.CHUNK,
        Rset: C.READY,
        Noop: C.RECIPIENTS,
        Help: C.RECIPIENTS,
        Vrfy: C.RECIPIENTS,
        Expn: C.RECIPIENTS,
        Quit: C.QUIT,
    },
    C.DATA: {},
    C.CONTENT: {},
    C.LONE_DOT: {},
    C.CHUNK: {},
    C.CHUNKS: {Bdat: C.CHUNK, Rset: C.READY, Quit: C.QUIT},
    C.RESET_DUE: {Rset: C.READY, Quit: C.QUIT},
    C.AUTHENTICATION: {AuthResponse: C.AUTHENTICATION},
    C.SECURING: {},
    C.HANDSHAKE: {},
    C.QUIT: {},
    C.CLOSED: {},
    C.ERROR: {},
}  # fmt: skip


def names(value: object) -> str:
    if isinstance(value, ClientState | ServerState | Answer):
        return value.name
    return repr(value)


@pytest.mark.parametrize("command", COMMANDS, ids=names)
@pytest.mark.parametrize("state", C, ids=names)
def test_what_a_client_may_send(state: ClientState, command: Command) -> None:
    client = client_in(state)
    in_flight = client.in_flight
    expected = CLIENT[state].get(type(command))
    if expected is None:
        with pytest.raises(LocalProtocolError):
            client.send(command)
        assert (client.state, client.in_flight, client.data_to_send()) == (state, in_flight, [])
        return
    if command == Bdat(size=0, last=True):
        expected = C.READY  # nothing is due
    client.send(command)
    assert client.state is expected
    assert client.in_flight == (*in_flight, command)
    assert sent(client) == command.encode()


@pytest.mark.parametrize("state", C, ids=names)
def test_when_a_client_may_send_content(state: ClientState) -> None:
    client = client_in(state)
    if state in (C.CONTENT, C.CHUNK):
        client.send_content(b"abc")
        assert sent(client) == b"abc"
    else:
        with pytest.raises(LocalProtocolError, match="no content is due"):
            client.send_content(b"abc")


@pytest.mark.parametrize("state", C, ids=names)
def test_when_a_client_may_end_content(state: ClientState) -> None:
    client = client_in(state)
    if state in (C.CONTENT, C.LONE_DOT):
        client.end_content()
        assert sent(client) == b".\r\n"
        assert client.in_flight == (EndOfContent(),)
        assert client.state is C.READY
    else:
        with pytest.raises(LocalProtocolError, match="no content is due"):
            client.end_content()
        assert client.data_to_send() == []


@pytest.mark.parametrize("state", C, ids=names)
def test_when_tls_may_start(state: ClientState) -> None:
    client = client_in(state)
    if state is C.HANDSHAKE:
        client.start_tls()
        assert client.state is C.HELLO
    else:
        with pytest.raises(LocalProtocolError, match="TLS cannot start"):
            client.start_tls()
        assert client.state is state


# state, command, class of the answer: the state behind it, None if that answer is an error
POSITIVE, INTERMEDIATE, NEGATIVE = Answer.POSITIVE, Answer.INTERMEDIATE, Answer.NEGATIVE
AFTER: dict[tuple[ClientState, type[Command]], tuple[ClientState | None, ClientState | None, ClientState]] = {
    (C.HELLO, Ehlo): (C.READY, None, C.HELLO),
    (C.HELLO, Helo): (C.READY, None, C.HELLO),
    (C.HELLO, Lhlo): (C.READY, None, C.HELLO),
    (C.READY, Ehlo): (C.READY, None, C.HELLO),
    (C.READY, Helo): (C.READY, None, C.HELLO),
    (C.READY, Lhlo): (C.READY, None, C.HELLO),
    (C.HELLO, Rset): (C.HELLO, None, C.HELLO),
    (C.READY, Rset): (C.READY, None, C.READY),
    (C.RECIPIENTS, Rset): (C.READY, None, C.READY),
    (C.CHUNKS, Rset): (C.READY, None, C.READY),
    (C.RESET_DUE, Rset): (C.READY, None, C.READY),
    (C.READY, Mail): (C.SENDER, None, C.READY),
    (C.SENDER, Rcpt): (C.RECIPIENTS, None, C.RECIPIENTS),
    (C.RECIPIENTS, Rcpt): (C.RECIPIENTS, None, C.RECIPIENTS),
    (C.RECIPIENTS, Data): (None, C.CONTENT, C.RECIPIENTS),
    (C.RECIPIENTS, Bdat): (C.READY, None, C.RESET_DUE),
    (C.CHUNKS, Bdat): (C.READY, None, C.RESET_DUE),
    (C.READY, Auth): (C.READY, C.AUTHENTICATION, C.READY),
    (C.AUTHENTICATION, AuthResponse): (C.READY, C.AUTHENTICATION, C.READY),
    (C.READY, Starttls): (C.HANDSHAKE, None, C.READY),
    (C.READY, Noop): (C.READY, None, C.READY),
    (C.SENDER, Vrfy): (C.SENDER, None, C.SENDER),
    (C.READY, Quit): (C.CLOSED, None, C.CLOSED),
    (C.SENDER, Quit): (C.CLOSED, None, C.CLOSED),
    (C.REFUSED, Quit): (C.CLOSED, None, C.CLOSED),
}


@pytest.mark.parametrize("answer", Answer, ids=names)
@pytest.mark.parametrize(("cell", "states"), AFTER.items(), ids=names)
def test_where_answers_lead_a_client(
    cell: tuple[ClientState, type[Command]],
    states: tuple[ClientState | None, ClientState | None, ClientState],
    answer: Answer,
) -> None:
    state, kind = cell
    command = [each for each in COMMANDS if type(each) is kind][-1]
    client = client_in(state)
    client.send(command)
    expected = states[(POSITIVE, INTERMEDIATE, NEGATIVE).index(answer)]
    octets = {POSITIVE: b"250 ok\r\n", INTERMEDIATE: b"354 go on\r\n", NEGATIVE: b"550 no\r\n"}[answer]
    if expected is None:
        with pytest.raises(RemoteProtocolError, match="was answered"):
            heard(client, octets)
        assert client.state is C.ERROR
        return
    (event,) = heard(client, octets)
    assert isinstance(event, ReplyReceived)
    assert event.command == command
    assert client.state is expected
    assert client.in_flight == ()


@pytest.mark.parametrize("answer", [b"250 ok\r\n", b"554 no\r\n"])
def test_the_content_is_answered(answer: bytes) -> None:
    for state in (C.CONTENT, C.LONE_DOT):
        client = client_in(state)
        client.end_content()
        (event,) = heard(client, answer)
        assert isinstance(event, ReplyReceived)
        assert client.state is C.READY
        client = client_in(state)
        client.end_content()
        with pytest.raises(RemoteProtocolError):
            heard(client, b"354 more\r\n")


def test_a_chunk_that_is_not_the_last_is_answered() -> None:
    for answer, state in ((b"250 ok\r\n", C.CHUNKS), (b"452 full\r\n", C.RESET_DUE)):
        client = client_in(C.CHUNK)
        client.send_content(b"abc")
        assert client.state is C.CHUNKS
        heard(client, answer)
        assert client.state is state


def test_the_tables_of_the_client_are_complete() -> None:
    assert set(CLIENT_SENDS) == set(C)
    kinds = {type(command) for command in COMMANDS}
    assert {kind for moves in CLIENT_SENDS.values() for kind in moves} == kinds
    assert all(kind in kinds for _, kind, _ in CLIENT_ANSWERS)


# --- server

ANYTIME = {Noop, Help, Vrfy, Expn, Rset, Quit}
HELLO = {Ehlo, Helo}
SERVER: dict[ServerState, set[type[Command]]] = {
    S.REFUSED: {Quit},
    S.HELLO: ANYTIME | HELLO | {Starttls},
    S.READY: ANYTIME | HELLO | {Mail, Auth, Starttls},
    S.SENDER: ANYTIME | HELLO | {Rcpt},
    S.RECIPIENTS: ANYTIME | HELLO | {Rcpt, Data, Bdat},
    S.CHUNKS: ANYTIME | HELLO | {Bdat},
}
# state behind an accepted command; None: as before
ACCEPTED: dict[type[Command], ServerState | None] = {
    Ehlo: S.READY,
    Helo: S.READY,
    Lhlo: S.READY,
    Mail: S.SENDER,
    Rcpt: S.RECIPIENTS,
    Data: S.CONTENT,
    Rset: S.READY,
    Noop: None,
    Help: None,
    Vrfy: None,
    Expn: None,
    Quit: S.CLOSED,
    Starttls: S.HANDSHAKE,
    Auth: S.AUTHENTICATION,
}
ON_THE_WIRE = [each for each in COMMANDS if not isinstance(each, EndOfContent | AuthResponse)]


def octets_of(command: Command) -> bytes:
    return command.encode() + (b"abc" if command == Bdat(size=3) else b"")


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize("command", ON_THE_WIRE, ids=names)
@pytest.mark.parametrize("state", SERVER, ids=names)
def test_what_a_server_takes(state: ServerState, command: Command, lmtp: bool) -> None:
    offer = ServerOffer(lmtp=lmtp, authentication=True, cleartext_login=True, starttls=True)
    server = server_in(state, offer)
    kind = type(command)
    legal = set(SERVER[state])
    if lmtp and legal >= HELLO:
        legal = (legal - HELLO) | {Lhlo}
    (event,) = told(server, octets_of(command))[:1]
    reply = sent(server)
    if kind not in legal:
        assert isinstance(event, CommandRejected)
        wrong_hello = kind in (Ehlo, Helo, Lhlo) and (kind is Lhlo) is not lmtp
        assert reply[:3] == (b"500" if wrong_hello else b"503")
        assert event.reply.encode() == reply
        assert server.state is state
        return
    if kind is Bdat:
        assert isinstance(command, Bdat)
        assert server.state is (S.READY if command.last else S.CHUNKS)
        assert reply[:3] == b"250"
        return
    assert event == (CommandAnswered if kind in (Noop, Auth) else CommandReceived)(command)
    expected = ACCEPTED[kind]
    if state is S.HELLO and kind is Rset:
        expected = S.HELLO  # RFC 5321 §4.1.4: needs no EHLO, but is none
    assert server.state is (state if expected is None else expected)


NEGATIVE_REPLIES = [Reply(450, "later"), Reply(550, "no")]


@pytest.mark.parametrize("reply", NEGATIVE_REPLIES, ids=names)
@pytest.mark.parametrize("command", ON_THE_WIRE, ids=names)
@pytest.mark.parametrize("state", SERVER, ids=names)
def test_a_refused_command_leaves_a_server_where_it_was(
    state: ServerState, command: Command, reply: Reply
) -> None:
    if type(command) not in SERVER[state] or isinstance(command, Noop | Bdat | Auth):
        return
    server = server_in(state)
    told(server, octets_of(command), answer=lambda server, event: server.send(reply))
    assert server.state is state
    assert sent(server) == reply.encode()
    assert server.in_flight == ()


@pytest.mark.parametrize("answer", Answer, ids=names)
@pytest.mark.parametrize("command", ON_THE_WIRE, ids=names)
def test_which_answers_a_server_may_give(command: Command, answer: Answer) -> None:
    kind = type(command)
    if kind in (Noop, Bdat, Lhlo):
        return
    state = next(state for state, legal in SERVER.items() if kind in legal)
    offer = ServerOffer(authentication=True, cleartext_login=True, starttls=True)
    server = server_in(state, offer)
    # An exchange is open only once its credentials are there.
    octets = b"AUTH PLAIN AHRpbQBwdw==\r\n" if kind is Auth else octets_of(command)
    server.receive_data(octets)
    assert not isinstance(server.next_event(), Signal)
    reply = {POSITIVE: Reply(250, "ok"), INTERMEDIATE: Reply(354, "go on"), NEGATIVE: Reply(421, "bye")}[
        answer
    ]
    legal = {POSITIVE: kind is not Data, INTERMEDIATE: kind in (Data, Auth), NEGATIVE: True}[answer]
    if legal:
        server.send(reply)
        assert sent(server) == reply.encode()
    else:
        before = server.state
        with pytest.raises(LocalProtocolError, match="cannot be answered"):
            server.send(reply)
        assert server.data_to_send() == []
        assert server.state is before
        assert server.in_flight == (command,)
    if answer is NEGATIVE:
        assert server.state is S.CLOSED


@pytest.mark.parametrize("state", [S.GREETING, S.HANDSHAKE, S.CLOSED, S.ERROR], ids=names)
def test_where_a_server_reads_nothing(state: ServerState) -> None:
    server = ServerProtocol() if state is S.GREETING else server_in(state)
    server.receive_data(b"NOOP\r\n" * 3)
    server.receive_eof()
    assert server.next_event() is Signal.PAUSED
    if state is not S.GREETING:
        with pytest.raises(LocalProtocolError, match="nothing waits"):
            server.send(Reply(250, "ok"))
    with pytest.raises(LocalProtocolError, match="nothing waits"):
        server.accept()


@pytest.mark.parametrize("state", S, ids=names)
def test_when_a_server_may_start_tls(state: ServerState) -> None:
    if state is S.GREETING:
        return
    server = server_in(state)
    if state is S.HANDSHAKE:
        server.start_tls()
        assert server.state is S.HELLO
        assert server.encrypted
    else:
        with pytest.raises(LocalProtocolError, match="TLS cannot start"):
            server.start_tls()
        assert server.state is state


def test_the_tables_of_the_server_are_complete() -> None:
    assert set(SERVER_RECEIVES) == set(SERVER) | {S.CONTENT, S.AUTHENTICATION}
    kinds = {type(command) for command in COMMANDS}
    assert set().union(*SERVER_RECEIVES.values()) == kinds
    assert all(kind in kinds for kind, _ in SERVER_ANSWERS)
