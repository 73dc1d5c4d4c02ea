"""The server's protocol object: transcripts, content, chunks, LMTP, authentication, TLS, refusals, limits, ends."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import LocalProtocolError, PlaintextAfterStartTLS
from asyncmail.sasl import cram_md5_digest
from asyncmail.smtp import (
    Auth,
    AuthenticationReceived,
    AuthResponse,
    Awaiting,
    Bdat,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    ContentEnded,
    ContentReceived,
    Data,
    Ehlo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reply,
    Rset,
    ServerEvent,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    ServerState,
    Starttls,
    Vrfy,
)
from asyncmail.wire import BareNewlines, Direction, Signal
from smtp_talk import (
    MAIL,
    RCPT,
    codes,
    cut,
    octet_by_octet,
    said,
    sent,
    server,
    server_in,
    told,
    yes,
)

S = ServerState
AUTHENTICATING = ServerOffer(authentication=True, cleartext_login=True, starttls=True)
LMTP = ServerOffer(lmtp=True)
NORMALIZING = ServerOffer(bare_newlines=BareNewlines.NORMALIZE)


def refuse_bad(protocol: ServerProtocol, event: ServerEvent) -> None:
    """Refuse the recipients that are called bad."""
    if (
        isinstance(event, CommandReceived)
        and isinstance(event.command, Rcpt)
        and "bad" in event.command.recipient
    ):
        protocol.send(Reply(550, "No such user", "5.1.1"))
    else:
        yes(protocol, event)


def lmtp(limits: ServerLimits | None = None, offer: ServerOffer = LMTP) -> ServerProtocol:
    return server(offer=offer, limits=limits, hello=b"LHLO client.example\r\n")


# --- a session


SESSION = (
    b"EHLO client.example\r\n"
    b"NOOP\r\n"
    b"MAIL FROM:<a@client.example> SIZE=20\r\n"
    b"RCPT TO:<bad@mx.example>\r\n"
    b"RCPT TO:<b@mx.example>\r\n"
    b"DATA\r\n"
    b"Subject: x\r\n\r\n..\r\n.end\r\n.\r\n"
    b"MAIL FROM:<>\r\n"
    b"RCPT TO:<c@mx.example>\r\n"
    b"BDAT 4\r\none\n"
    b"BDAT 0 LAST\r\n"
    b"VRFY b\r\n"
    b"WHAT\r\n"
    b"QUIT\r\n"
    b"NOOP\r\n"
)
EVENTS = [
    CommandReceived(Ehlo(domain="client.example")),
    CommandAnswered(Noop()),
    CommandReceived(Mail(sender="a@client.example", size=20)),
    CommandReceived(Rcpt(recipient="bad@mx.example")),
    CommandReceived(Rcpt(recipient="b@mx.example")),
    CommandReceived(Data()),
    ContentReceived(b"Subject: x\r\n\r\n.\r\nend\r\n"),
    ContentEnded(),
    CommandReceived(Mail(sender="")),
    CommandReceived(Rcpt(recipient="c@mx.example")),
    ContentReceived(b"one\r\n"),
    CommandAnswered(Bdat(size=4)),
    ContentEnded(),
    CommandReceived(Vrfy(text="b")),
    CommandRejected("<a line of 6 octets>", Reply(500, "Not a command known here", "5.5.2")),
    CommandReceived(Quit()),
]
REPLIES = [
    "250-localhost",
    "250-PIPELINING",
    "250-SIZE 36700160",
    "250-8BITMIME",
    "250-SMTPUTF8",
    "250-ENHANCEDSTATUSCODES",
    "250 CHUNKING",
    "250 2.0.0 OK",
    "250 2.1.0 OK",
    "550 5.1.1 No such user",
    "250 2.1.5 OK",
    "354 Go ahead, end with a lone dot",
    "250 2.6.0 Message accepted",
    "250 2.1.0 OK",
    "250 2.1.5 OK",
    "250 2.0.0 Chunk received",
    "250 2.6.0 Message accepted",
    "252 2.5.2 Try it with RCPT",
    "500 5.5.2 Not a command known here",
    "221 2.0.0 Goodbye",
]


def check_session(pieces: list[bytes]) -> None:
    protocol = server(offer=NORMALIZING, hello=b"")
    assert told(protocol, *pieces, answer=refuse_bad) == EVENTS
    assert sent(protocol).decode().splitlines() == REPLIES
    assert protocol.state is S.CLOSED


def test_a_session_whole_and_octet_by_octet() -> None:
    check_session([SESSION])
    check_session(octet_by_octet(SESSION))


@given(st.sets(st.integers(1, len(SESSION))))
def test_any_split_of_a_session_gives_the_same_events(cuts: set[int]) -> None:
    check_session(cut(SESSION, cuts))


def test_the_greeting() -> None:
    protocol = ServerProtocol()
    assert protocol.state is S.GREETING
    protocol.receive_data(b"EHLO early\r\n")
    assert protocol.next_event() is Signal.PAUSED
    with pytest.raises(LocalProtocolError, match="no greeting"):
        protocol.send(Reply(354, "go"))
    protocol.send(Reply(220, "mx.example"))
    assert sent(protocol) == b"220 mx.example\r\n"
    assert protocol.next_event() == CommandReceived(Ehlo(domain="early"))


def test_a_server_that_does_not_want_to() -> None:
    protocol = ServerProtocol()
    protocol.send(Reply(421, "busy"))
    assert protocol.state is S.CLOSED
    protocol = ServerProtocol()
    protocol.send(Reply(554, "No service"))
    sent(protocol)
    pieces = b"EHLO x\r\n" + MAIL + b"BDAT 6\r\nQUIT\r\nNOOP\r\nQUIT\r\n"
    assert codes(protocol, pieces) == ["503 5.5.1", "503 5.5.1", "503 5.5.1", "503 5.5.1", "221 2.0.0"]
    assert protocol.state is S.CLOSED


def test_helo_and_help() -> None:
    protocol = server(hello=b"")
    assert said(protocol, b"HELO client.example\r\nHELP\r\nEXPN list\r\n") == [
        "250 localhost",
        "214 2.0.0 See RFC 5321",
        "502 5.5.1 Lists are not expanded",
    ]
    assert protocol.state is S.READY


def test_a_command_waits_for_its_answer_whatever_else_has_come() -> None:
    protocol = server()
    protocol.receive_data(MAIL + RCPT)
    assert protocol.next_event() == CommandReceived(Mail(sender="a@client.example"))
    assert protocol.in_flight == (Mail(sender="a@client.example"),)
    for _ in range(2):
        assert protocol.next_event() is Signal.PAUSED
    protocol.receive_eof()
    assert protocol.next_event() is Signal.PAUSED
    protocol.accept()
    assert protocol.in_flight == ()
    assert protocol.next_event() == CommandReceived(Rcpt(recipient="b@mx.example"))
    protocol.send(Reply(450, "later"))
    assert protocol.next_event() == ConnectionEnded()
    with pytest.raises(LocalProtocolError, match="nothing waits for the reply 250"):
        protocol.send(Reply(250))
    with pytest.raises(LocalProtocolError, match="nothing waits"):
        protocol.accept()


def test_what_it_waits_for() -> None:
    """As the other protocol objects, which have the same names for it."""
    protocol = ServerProtocol()
    assert protocol.awaiting is Awaiting.NOTHING  # it speaks first
    protocol.send(Reply(220, "mx.example"))
    for octets, awaiting in (
        (b"", Awaiting.COMMAND),
        (b"EHLO x\r\n" + MAIL + RCPT, Awaiting.COMMAND),
        (b"BDAT 2 LAST\r\n", Awaiting.CONTENT),
        (b"x\n" + MAIL + RCPT, Awaiting.COMMAND),
        (b"DATA\r\n", Awaiting.CONTENT),
        (b"x\r\n.\r\n", Awaiting.COMMAND),
        (b"QUIT\r\n", Awaiting.NOTHING),
    ):
        protocol.receive_data(octets)
        while not isinstance(protocol.next_event(), Signal):
            if protocol.in_flight:
                assert protocol.awaiting is Awaiting.NOTHING
                protocol.accept()
        assert protocol.awaiting is awaiting


def test_answers_of_the_application_s_own() -> None:
    def answer(protocol: ServerProtocol, event: ServerEvent) -> None:
        assert isinstance(event, CommandReceived)
        code = 354 if isinstance(event.command, Data) else 251
        protocol.send(Reply(code, event.command.verb))

    lines = said(server(), b"VRFY b\r\nHELP\r\n" + MAIL + RCPT + b"DATA\r\n", answer=answer)
    assert lines == ["251 VRFY", "251 HELP", "251 MAIL", "251 RCPT", "354 DATA"]


def test_whether_a_transaction_is_open() -> None:
    protocol = server()
    assert not protocol.in_transaction
    told(protocol, MAIL)
    assert protocol.in_transaction
    told(protocol, RCPT + b"DATA\r\nx\r\n")
    assert protocol.in_transaction
    told(protocol, b".\r\n")
    assert not protocol.in_transaction
    told(protocol, MAIL + b"RSET\r\n")
    assert not protocol.in_transaction
    told(protocol, MAIL + b"EHLO again\r\n")
    assert not protocol.in_transaction
    assert protocol.state is S.READY


# --- out of sequence


@pytest.mark.parametrize(
    ("state", "line", "text"),
    [
        (S.REFUSED, b"NOOP", "No mail is taken from you: use QUIT"),
        (S.HELLO, b"MAIL FROM:<>", "Say EHLO first"),
        (S.READY, b"RCPT TO:<b@mx.example>", "Use MAIL first"),
        (S.READY, b"DATA", "No valid recipients"),
        (S.SENDER, b"DATA", "No valid recipients"),
        (S.SENDER, b"BDAT 0 LAST", "No valid recipients"),
        (S.SENDER, b"MAIL FROM:<>", "A transaction is under way: use RSET"),
        (S.RECIPIENTS, b"AUTH LOGIN", "Not in this state of the session"),
        (S.RECIPIENTS, b"STARTTLS", "Not in this state of the session"),
        (S.CHUNKS, b"DATA", "A chunk has come: use BDAT or RSET"),
        (S.CHUNKS, b"RCPT TO:<b@mx.example>", "A chunk has come: use BDAT or RSET"),
        (S.CHUNKS, b"MAIL FROM:<>", "A transaction is under way: use RSET"),
    ],
)
def test_the_answer_says_what_is_missing(state: ServerState, line: bytes, text: str) -> None:
    protocol = server_in(state, AUTHENTICATING)
    assert said(protocol, line + b"\r\n") == [f"503 5.5.1 {text}"]


def test_rset_does_not_stand_for_ehlo() -> None:
    protocol = server(hello=b"")
    assert codes(protocol, b"RSET\r\n" + MAIL) == ["250 2.0.0", "503 5.5.1"]


def test_lmtp_wants_lhlo() -> None:
    protocol = server(offer=LMTP, hello=b"")
    assert codes(protocol, MAIL + b"EHLO x\r\nHELO x\r\n") == ["503 5.5.1", "500 5.5.1", "500 5.5.1"]
    assert said(protocol, b"LHLO x\r\n")[0] == "250-localhost"
    assert codes(server(hello=b""), b"LHLO x\r\n") == ["500 5.5.1"]
    assert said(server(offer=LMTP, hello=b""), MAIL) == ["503 5.5.1 Say LHLO first"]


# --- what is wrong with a line


@pytest.mark.parametrize(
    ("line", "code", "shown"),
    [
        (b"WHAT is this\r\n", "500 5.5.2", "<a line of 14 octets>"),
        (b"\r\n", "500 5.5.2", "<a line of 2 octets>"),
        (b"\x00\x1b[31m\r\n", "501 5.5.4", "<a line of 8 octets>"),
        (b"NOOP\n", "500 5.5.2", "<a line of 5 octets>"),
        (b"NOOP\r\r\n", "501 5.5.4", "<a line of 7 octets>"),
        (b"NOOP \xff\r\n", "500 5.5.2", "<a line of 8 octets>"),
        (b"QUIT now\r\n", "501 5.5.4", "<a line of 10 octets>"),
        (b"EHLO a\xc2\xa0b\r\n", "501 5.5.4", "EHLO a\\xa0b"),
        (b"MAIL FROM:<a@>\r\n", "501 5.1.7", "MAIL FROM:<a@>"),
        (b"mail from:<\xc3\xbc@b.c>\r\n", "553 5.6.7", "mail from:<\u00fc@b.c>"),
        (b"MAIL FROM:<> SIZE=x\r\n", "501 5.5.4", "<a line of 21 octets>"),
        (b"RCPT TO:<>\r\n", "501 5.1.3", "RCPT TO:<>"),
        (b"AUTH PLAIN secret!\r\n", "501 5.5.2", "<an authentication line>"),
        (b"AUTH secret! secret!\r\n", "501 5.5.2", "<an authentication line>"),
        (b"AUTH secret!\r\n", "501 5.5.4", "<a line of 14 octets>"),
    ],
)
def test_what_is_wrong_with_a_line(line: bytes, code: str, shown: str) -> None:
    rejected: list[CommandRejected] = []

    def note(_: ServerProtocol, event: ServerEvent) -> None:
        assert isinstance(event, CommandRejected)
        rejected.append(event)

    assert codes(server(), line, answer=note) == [code]
    assert [event.line for event in rejected] == [shown]
    assert rejected[0].reply.encode().startswith(code[:3].encode())


def test_a_chunk_of_unknown_size_ends_the_session() -> None:
    """What follows it cannot be told from commands."""
    for line in (b"BDAT\r\n", b"BDAT x LAST\r\n", b"bdat 1 2\r\n", b"BDAT 5\x00\r\n"):
        protocol = server_in(S.RECIPIENTS)
        assert codes(protocol, line + b"QUIT\r\n") == ["421 4.5.4"]
        assert protocol.state is S.CLOSED
    assert codes(server_in(S.RECIPIENTS), b"BDATA 5\r\n") == ["500 5.5.2"]


@pytest.mark.parametrize(
    ("octets", "too_long"),
    [
        (b"NOOP " + b"x" * 35, 1),
        (b"NOOP " + b"x" * 33, 0),
        (b"NOOP " + b"x" * 34, 1),
        (b"NOOP " + b"x" * 1000, 1),
        (b"AUTH PLAIN " + b"x" * 28 + b"=", 0),
        (b"auth plain " + b"x" * 28 + b"=", 0),
        (b"AUTH PLAIN " + b"x" * 1000, 1),
    ],
)
def test_a_line_that_is_too_long_is_dropped_and_the_next_one_read(octets: bytes, too_long: int) -> None:
    limits = ServerLimits(command_line=40, authentication_line=60)
    octets += b"\r\nRSET\r\n"
    for pieces in ([octets], octet_by_octet(octets)):
        protocol = server(limits=limits, offer=AUTHENTICATING)
        first, *_ = lines = said(protocol, *pieces)
        assert (first == "500 5.5.2 The line is too long") is bool(too_long)
        assert lines[1:] == ["250 2.0.0 OK"]


def test_the_end_comes_in_a_line_that_is_too_long() -> None:
    protocol = server(limits=ServerLimits(command_line=10, authentication_line=10))
    assert codes(protocol, b"x" * 50) == ["500 5.5.2"]
    assert codes(protocol, b"x" * 50) == []
    protocol.receive_eof()
    assert told(protocol) == [ConnectionEnded()]


def test_an_authentication_line_may_be_long() -> None:
    protocol = server(offer=AUTHENTICATING)
    long = base64.b64encode(b"x" * 9000)
    assert len(long) < 12_288 - 2
    assert codes(protocol, b"AUTH LOGIN " + long + b"\r\n" + long + b"\r\n", answer=lambda *_: None) == [
        "334"
    ]
    assert isinstance(protocol.in_flight[0], AuthResponse)
    protocol = server_in(S.AUTHENTICATION, AUTHENTICATING)
    assert codes(protocol, b"x" * 12_288 + b"\r\nNOOP\r\n") == ["500 5.5.2", "250 2.0.0"]
    assert protocol.state is S.READY


# --- what is refused


MAIL_REFUSALS = [
    (ServerOffer(require_tls=True, starttls=True), "MAIL FROM:<>", "530 5.7.0"),
    (ServerOffer(require_authentication=True), "MAIL FROM:<>", "530 5.7.0"),
    (ServerOffer(), "MAIL FROM:<> SIZE=1001", "552 5.3.4"),
    (ServerOffer(), "MAIL FROM:<> SIZE=1000", "250 2.1.0"),
    (ServerOffer(), "MAIL FROM:<> SIZE=99999999999999999999", "552 5.3.4"),
    (ServerOffer(), "MAIL FROM:<> RET=FULL", "555 5.5.4"),
    (ServerOffer(), "MAIL FROM:<> BODY=BINARYMIME", "555 5.5.4"),
    (ServerOffer(), "MAIL FROM:<> BODY=8BITMIME AUTH=<>", "250 2.1.0"),
    (ServerOffer(), "MAIL FROM:<\u00fc@b.c>", "553 5.6.7"),
    (ServerOffer(), "MAIL FROM:<a@\u00fc.c>", "553 5.6.7"),
    (ServerOffer(), "MAIL FROM:<\u00fc@b.c> SMTPUTF8", "250 2.1.0"),
]


@pytest.mark.parametrize(("offer", "line", "code"), MAIL_REFUSALS)
def test_senders_that_are_refused(offer: ServerOffer, line: str, code: str) -> None:
    protocol = server(offer=offer, limits=ServerLimits(message_size=1000))
    assert codes(protocol, line.encode() + b"\r\n") == [code]
    assert protocol.in_transaction is code.startswith("250")


@pytest.mark.parametrize(
    ("mail", "rcpt", "code"),
    [
        ("MAIL FROM:<>", "RCPT TO:<\u00fc@b.c>", "553 5.6.7"),
        ("MAIL FROM:<>", "RCPT TO:<a@\u00fc.c>", "553 5.6.7"),
        ("MAIL FROM:<> SMTPUTF8", "RCPT TO:<\u00fc@b.c>", "250 2.1.5"),
        ("MAIL FROM:<> SMTPUTF8", "RCPT TO:<a@b.c>", "250 2.1.5"),
        ("MAIL FROM:<>", "RCPT TO:<a@b.c> NOTIFY=NEVER", "555 5.5.4"),
        ("MAIL FROM:<>", "RCPT TO:<Postmaster>", "250 2.1.5"),
    ],
)
def test_recipients_that_are_refused(mail: str, rcpt: str, code: str) -> None:
    assert codes(server(), f"{mail}\r\n{rcpt}\r\n".encode()) == ["250 2.1.0", code]


def test_secrets_that_look_like_verbs() -> None:
    """The username and the password that a client sends behind an AUTH, though that is refused."""
    protocol = server(offer=ServerOffer())
    rejected = told(protocol, b"AUTH LOGIN\r\ndGlt\r\nc2VjcmV0\r\n")
    assert [event.line for event in rejected if isinstance(event, CommandRejected)] == [
        "AUTH LOGIN",
        "<a line of 6 octets>",
        "<a line of 10 octets>",
    ]


def test_too_many_recipients() -> None:
    protocol = server(limits=ServerLimits(recipients=2, errors=1))
    assert codes(protocol, MAIL + RCPT * 5, answer=yes) == [
        "250 2.1.0", "250 2.1.5", "250 2.1.5", "452 4.5.3", "452 4.5.3", "452 4.5.3"
    ]  # fmt: skip
    assert codes(protocol, b"RSET\r\n" + MAIL + RCPT) == ["250 2.0.0", "250 2.1.0", "250 2.1.5"]


@pytest.mark.parametrize(
    ("offer", "line", "code"),
    [
        (ServerOffer(), "STARTTLS", "502 5.5.1"),
        (ServerOffer(starttls=True, encrypted=True), "STARTTLS", "503 5.5.1"),
        (ServerOffer(), "AUTH PLAIN", "502 5.5.1"),
        (AUTHENTICATING, "AUTH MAGIC", "504 5.5.4"),
        (ServerOffer(authentication=True), "AUTH PLAIN", "538 5.7.11"),
        (ServerOffer(authentication=True), "AUTH MAGIC", "504 5.5.4"),
        (ServerOffer(authentication=True, require_tls=True), "AUTH CRAM-MD5", "538 5.7.11"),
        (ServerOffer(authentication=True, encrypted=True, mechanisms=("PLAIN",)), "AUTH LOGIN", "504 5.5.4"),
    ],
)
def test_what_is_not_offered_is_refused(offer: ServerOffer, line: str, code: str) -> None:
    assert codes(server(offer=offer), line.encode() + b"\r\n") == [code]


# --- content


@pytest.mark.parametrize(
    ("octets", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b".b\r\n.\r\n", b"b\r\n"),
        (b"\xff\x00\x80\r\n.\r\n", b"\xff\x00\x80\r\n"),
    ],
)
def test_content_whole_and_octet_by_octet_and_with_more_behind_it(octets: bytes, content: bytes) -> None:
    for pieces in ([octets], octet_by_octet(octets)):
        protocol = server_in(S.CONTENT)
        expected: list[ServerEvent] = [ContentReceived(content)] if content else []
        assert told(protocol, *pieces) == [*expected, ContentEnded()]
        assert protocol.state is S.READY
    protocol = server_in(S.CONTENT)
    assert told(protocol, octets + b"RSET\r\n") == [*expected, ContentEnded(), CommandReceived(Rset())]


def test_content_is_handed_on_as_it_comes() -> None:
    protocol = server_in(S.CONTENT)
    protocol.receive_data(b"x" * 1000)
    assert protocol.next_event() == ContentReceived(b"x" * 1000)
    assert protocol.next_event() is Signal.NEED_DATA
    protocol.receive_eof()
    assert protocol.next_event() == ConnectionEnded()


def test_the_answer_to_the_content() -> None:
    protocol = server_in(S.CONTENT)
    assert told(protocol, b"x\r\n.\r\n", answer=lambda *_: None)[-1] == ContentEnded()
    assert protocol.next_event() is Signal.PAUSED
    with pytest.raises(LocalProtocolError):
        protocol.send(Reply(354, "more"))
    protocol.send(Reply(554, "spam", "5.7.1"))
    assert sent(protocol) == b"554 5.7.1 spam\r\n"
    assert protocol.state is S.READY
    assert not protocol.in_transaction


@pytest.mark.parametrize("octets", [b"x" * 11, b"x" * 5 + b"\r\n" + b"x" * 1000, b"12345678\r\nx"])
def test_content_beyond_the_limit_is_read_to_its_end_and_refused(octets: bytes) -> None:
    octets += b"\r\n.\r\nNOOP\r\n"
    for pieces in ([octets], octet_by_octet(octets)):
        protocol = server(limits=ServerLimits(message_size=10))
        told(protocol, MAIL + RCPT + b"DATA\r\n")
        sent(protocol)
        events = told(protocol, *pieces)
        refusal = Reply(552, "At most 10 octets are accepted", "5.3.4")
        assert events[-2:] == [ContentEnded(refusal), CommandAnswered(Noop())]
        assert sum(len(event.data) for event in events if isinstance(event, ContentReceived)) <= 10
        assert sent(protocol) == refusal.encode() + b"250 2.0.0 OK\r\n"


def test_content_within_the_limit() -> None:
    protocol = server(limits=ServerLimits(message_size=10))
    told(protocol, MAIL + RCPT + b"DATA\r\n")
    assert told(protocol, b"12345678\r\n.\r\n") == [ContentReceived(b"12345678\r\n"), ContentEnded()]


# --- chunks (RFC 3030)


def test_chunks() -> None:
    octets = MAIL + RCPT + b"BDAT 3\r\n.\r\nBDAT 0\r\nBDAT 5 LAST\r\n.\r\na\xffRSET\r\n"
    for pieces in ([octets], octet_by_octet(octets)):
        protocol = server()
        assert told(protocol, *pieces)[2:] == [
            ContentReceived(b".\r\n"),
            CommandAnswered(Bdat(size=3)),
            CommandAnswered(Bdat(size=0)),
            ContentReceived(b".\r\na\xff"),
            ContentEnded(),
            CommandReceived(Rset()),
        ]
        assert sent(protocol).count(b"250 2.0.0 Chunk received\r\n") == 2


@pytest.mark.parametrize("state", [S.HELLO, S.READY, S.SENDER])
def test_the_octets_of_a_refused_chunk_are_swallowed(state: ServerState) -> None:
    octets = b"BDAT 12\r\nQUIT\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
    for pieces in ([octets], octet_by_octet(octets)):
        protocol = server_in(state)
        events = told(protocol, *pieces)
        assert [type(event) for event in events] == [CommandRejected, CommandRejected, CommandAnswered]
        assert [event.line for event in events if isinstance(event, CommandRejected)] == [
            "BDAT 12",
            "BDAT 6 LAST",
        ]
        assert codes(protocol, b"NOOP\r\n") == ["503 5.5.1", "503 5.5.1", "250 2.0.0", "250 2.0.0"]
        assert protocol.state is state


def test_a_chunk_behind_the_last_is_refused() -> None:
    protocol = server_in(S.RECIPIENTS)
    assert codes(protocol, b"BDAT 1 LAST\r\naBDAT 1 LAST\r\na") == ["250 2.6.0", "503 5.5.1"]


def test_chunks_beyond_the_limit_end_the_transaction() -> None:
    protocol = server(limits=ServerLimits(message_size=10))
    octets = b"BDAT 6\r\n123456BDAT 6\r\n123456BDAT 6 LAST\r\n123456"
    assert codes(protocol, MAIL + RCPT + octets) == [
        "250 2.1.0", "250 2.1.5", "250 2.0.0", "552 5.3.4", "503 5.5.1"
    ]  # fmt: skip
    assert protocol.state is S.READY
    assert codes(protocol, MAIL + RCPT + b"BDAT 10 LAST\r\n1234567890")[-1] == "250 2.6.0"


def test_rset_and_ehlo_forget_chunks() -> None:
    for command in (b"RSET\r\n", b"EHLO x\r\n"):
        protocol = server(limits=ServerLimits(message_size=10))
        told(protocol, MAIL + RCPT + b"BDAT 6\r\n12345\r" + command)
        sent(protocol)
        assert codes(protocol, MAIL + RCPT + b"BDAT 10 LAST\r\n\n234567890")[-1] == "550 5.6.0"
        assert codes(protocol, MAIL + RCPT + b"BDAT 10 LAST\r\n1234567890")[-1] == "250 2.6.0"
    protocol = server_in(S.RECIPIENTS)
    told(protocol, b"BDAT 0\r\nRSET\r\n")
    assert protocol.state is S.READY


@pytest.mark.parametrize("octets", [b"BDAT 2 LAST\r\na\r", b"BDAT 2\r\na\rBDAT 0 LAST\r\n"])
def test_a_bare_cr_at_the_very_end_of_chunks(octets: bytes) -> None:
    refusal = Reply(550, "Lines end in CRLF: the content holds a bare CR or LF", "5.6.0")
    assert told(server_in(S.RECIPIENTS), octets)[-1] == ContentEnded(refusal)
    protocol = server_in(S.RECIPIENTS, NORMALIZING)
    events = told(protocol, octets)
    content = b"".join(event.data for event in events if isinstance(event, ContentReceived))
    assert content == b"a\r\n"
    assert events[-1] == ContentEnded()
    protocol = server(offer=NORMALIZING, limits=ServerLimits(message_size=1))
    refused = told(protocol, MAIL + RCPT + b"BDAT 2 LAST\r\na\r")[-1]
    assert isinstance(refused, ContentEnded)
    assert refused.refusal is not None


# --- LMTP (RFC 2033)


def test_each_recipient_has_an_answer_to_the_content() -> None:
    for content in (b"DATA\r\nx\r\n.\r\n", b"BDAT 3\r\nx\r\nBDAT 0 LAST\r\n"):
        protocol = lmtp()
        told(protocol, MAIL + RCPT + b"RCPT TO:<bad@mx.example>\r\n" + RCPT, answer=refuse_bad)
        sent(protocol)
        told(protocol, content, answer=lambda p, e: yes(p, e) if isinstance(e, CommandReceived) else None)
        sent(protocol)
        assert protocol.replies_due == 2
        protocol.send(Reply(250, "first"))
        assert protocol.replies_due == 1
        assert protocol.next_event() is Signal.PAUSED
        assert protocol.in_transaction
        protocol.send(Reply(452, "second"))
        assert sent(protocol) == b"250 first\r\n452 second\r\n"
        assert protocol.state is S.READY
        assert protocol.replies_due == 0
        with pytest.raises(LocalProtocolError):
            protocol.send(Reply(250, "third"))


def test_accepting_is_for_all_recipients() -> None:
    assert codes(lmtp(), MAIL + RCPT * 3 + b"DATA\r\n.\r\n" + MAIL)[4:] == [
        "354",
        *["250 2.6.0"] * 3,
        "250 2.1.0",
    ]


def test_lmtp_refusals() -> None:
    protocol = lmtp(ServerLimits(message_size=5))
    assert codes(protocol, MAIL + b"DATA\r\n") == ["250 2.1.0", "503 5.5.1"]
    assert codes(protocol, RCPT * 2 + b"DATA\r\n123456\r\n.\r\n")[2:] == ["354", "552 5.3.4", "552 5.3.4"]
    assert codes(protocol, MAIL + RCPT * 2 + b"BDAT 6 LAST\r\n123456")[3:] == ["552 5.3.4", "552 5.3.4"]


def test_in_lmtp_a_chunk_that_is_not_the_last_has_one_answer() -> None:
    protocol = lmtp(ServerLimits(message_size=5))
    assert codes(protocol, MAIL + RCPT * 2 + b"BDAT 3\r\n123BDAT 3\r\n123BDAT 0 LAST\r\n")[3:] == [
        "250 2.0.0",
        "552 5.3.4",
        "503 5.5.1",
    ]


# --- authentication (RFC 4954)


def check(protocol: ServerProtocol, event: ServerEvent) -> None:
    """Let in tim with the password secret."""
    if isinstance(event, AuthenticationReceived):
        if event.attempt.username == "tim" and event.attempt.verify("secret"):
            protocol.accept()
        else:
            protocol.send(Reply(535, "Wrong", "5.7.8"))
    else:
        yes(protocol, event)


def encoded(*texts: str) -> bytes:
    return b"".join(base64.b64encode(text.encode()) + b"\r\n" for text in texts)


@pytest.mark.parametrize(
    ("octets", "lines"),
    [
        (b"AUTH PLAIN " + encoded("\0tim\0secret"), ["235 2.7.0 Authenticated"]),
        (b"auth plain\r\n" + encoded("\0tim\0secret"), ["334 ", "235 2.7.0 Authenticated"]),
        (b"AUTH PLAIN " + encoded("\0tim\0wrong"), ["535 5.7.8 Wrong"]),
        (
            b"AUTH LOGIN\r\n" + encoded("tim", "secret"),
            ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 Authenticated"],
        ),
        (b"AUTH LOGIN " + encoded("tim", "secret"), ["334 UGFzc3dvcmQ6", "235 2.7.0 Authenticated"]),
        (b"AUTH LOGIN\r\n*\r\n", ["334 VXNlcm5hbWU6", "501 5.7.0 Authentication was given up"]),
        (
            b"AUTH LOGIN\r\nno base64\r\n",
            ["334 VXNlcm5hbWU6", "501 5.5.2 a challenge or response is not base64"],
        ),
        (b"AUTH LOGIN\r\n\xff\r\n", ["334 VXNlcm5hbWU6", "501 5.5.2 a challenge or response is not base64"]),
        (b"AUTH LOGIN\r\ndGlt\n", ["334 VXNlcm5hbWU6", "500 5.5.2 Lines end in CRLF"]),
        (b"AUTH PLAIN =\r\n", ["501 5.5.2 the response does not have three fields"]),
        (b"AUTH PLAIN " + encoded("\0\0secret"), ["501 5.5.2 the username is empty"]),
        (b"AUTH CRAM-MD5 " + encoded("tim"), ["501 5.5.2 the client answered before it was challenged"]),
    ],
)
def test_exchanges(octets: bytes, lines: list[str]) -> None:
    for pieces in ([octets], octet_by_octet(octets)):
        protocol = server(offer=AUTHENTICATING)
        assert said(protocol, *pieces, answer=check) == lines
        assert protocol.state is S.READY
        assert codes(protocol, MAIL, answer=check) == ["250 2.1.0"]


def test_cram_md5() -> None:
    for password in ("secret", "wrong"):
        protocol = server(offer=ServerOffer(authentication=True, hostname="mx.example"))
        (line,) = said(protocol, b"AUTH CRAM-MD5\r\n", answer=check)
        challenge = base64.b64decode(line.removeprefix("334 "))
        assert challenge.endswith(b"@mx.example>")
        lines = said(protocol, encoded(f"tim {cram_md5_digest(challenge, password)}"), answer=check)
        assert lines == ["235 2.7.0 Authenticated" if password == "secret" else "535 5.7.8 Wrong"]


def test_once_is_enough() -> None:
    offer = ServerOffer(authentication=True, cleartext_login=True, require_authentication=True)
    protocol = server(offer=offer)
    login = b"AUTH PLAIN " + encoded("\0tim\0secret")
    assert codes(protocol, MAIL + login + login + MAIL, answer=check) == [
        "530 5.7.0", "235 2.7.0", "503 5.5.1", "250 2.1.0"
    ]  # fmt: skip
    lines = said(protocol, b"EHLO x\r\n", answer=check)
    assert not any("AUTH" in line for line in lines)
    assert codes(protocol, MAIL, answer=check) == ["250 2.1.0"]


def test_a_response_is_an_event_of_its_own() -> None:
    protocol = server(offer=AUTHENTICATING)
    protocol.receive_data(b"AUTH LOGIN\r\n" + encoded("tim", "secret"))
    assert protocol.next_event() == CommandAnswered(Auth(mechanism="LOGIN"))
    assert protocol.next_event() == CommandAnswered(AuthResponse(response=b"tim"))
    event = protocol.next_event()
    assert isinstance(event, AuthenticationReceived)
    assert event.attempt.verify("secret")
    assert protocol.next_event() is Signal.PAUSED


# --- TLS (RFC 3207)


def test_tls_makes_a_new_session() -> None:
    protocol = server(offer=ServerOffer(starttls=True, authentication=True, require_tls=True))
    assert not protocol.encrypted
    assert codes(protocol, MAIL + b"STARTTLS\r\n") == ["530 5.7.0", "220 2.0.0"]
    assert protocol.state is S.HANDSHAKE
    protocol.start_tls()
    assert protocol.encrypted
    assert codes(protocol, MAIL) == ["503 5.5.1"]
    lines = said(protocol, b"EHLO x\r\n")
    assert "250-STARTTLS" not in lines
    assert "250 AUTH PLAIN LOGIN CRAM-MD5" in lines
    assert codes(protocol, MAIL) == ["250 2.1.0"]


def test_tls_forgets_who_has_logged_in() -> None:
    protocol = server(offer=ServerOffer(starttls=True, authentication=True, cleartext_login=True,
                                        require_authentication=True))  # fmt: skip
    told(protocol, b"AUTH PLAIN " + encoded("\0tim\0secret") + b"STARTTLS\r\n", answer=check)
    protocol.start_tls()
    sent(protocol)
    assert codes(protocol, b"EHLO x\r\n" + MAIL)[-1] == "530 5.7.0"


def test_plaintext_behind_starttls_is_refused() -> None:
    protocol = server(offer=ServerOffer(starttls=True))
    assert told(protocol, b"STARTTLS\r\n" + MAIL) == [CommandReceived(Starttls())]
    assert protocol.next_event() is Signal.PAUSED
    with pytest.raises(PlaintextAfterStartTLS):
        protocol.start_tls()
    assert protocol.state is S.ERROR
    assert protocol.next_event() is Signal.PAUSED


# --- limits of a session


def test_a_client_that_only_errs_is_sent_away() -> None:
    protocol = server(limits=ServerLimits(errors=3))
    assert codes(protocol, b"WHAT\r\n" * 9) == ["500 5.5.2"] * 3 + ["421 4.7.0"]
    assert protocol.state is S.CLOSED
    assert protocol.next_event() is Signal.PAUSED


def test_a_message_makes_up_for_errors() -> None:
    protocol = server(limits=ServerLimits(errors=1))
    for _ in range(5):
        assert codes(protocol, b"WHAT\r\n" + MAIL + RCPT + b"DATA\r\n.\r\n")[-1] == "250 2.6.0"


def test_what_follows_from_a_refusal_is_no_error() -> None:
    def refuse(protocol: ServerProtocol, event: ServerEvent) -> None:
        if isinstance(event, CommandReceived):
            protocol.send(Reply(550, "no"))

    protocol = server(limits=ServerLimits(errors=0))
    assert codes(protocol, MAIL + RCPT + b"DATA\r\n" + MAIL, answer=refuse) == [
        "550", "503 5.5.1", "503 5.5.1", "550"
    ]  # fmt: skip


def test_failed_logins_are_errors() -> None:
    protocol = server(limits=ServerLimits(errors=2), offer=AUTHENTICATING)
    login = b"AUTH PLAIN " + encoded("\0tim\0wrong")
    assert codes(protocol, login * 9, answer=check) == ["535 5.7.8"] * 2 + ["421 4.7.0"]
    assert protocol.state is S.CLOSED
    protocol = server(limits=ServerLimits(errors=2), offer=AUTHENTICATING)
    assert codes(protocol, b"AUTH LOGIN\r\n*\r\n" * 9, answer=check)[1::2] == ["501 5.7.0"] * 2 + [
        "421 4.7.0"
    ]


def test_a_session_has_an_end() -> None:
    protocol = server(limits=ServerLimits(commands=4))
    assert codes(protocol, b"NOOP\r\n" * 9) == ["250 2.0.0"] * 3 + ["421 4.7.0"]
    assert protocol.state is S.CLOSED
    protocol = server(limits=ServerLimits(commands=3))
    told(protocol, MAIL + RCPT)
    sent(protocol)
    assert codes(protocol, b"BDAT 5 LAST\r\nNOOP\r\n") == ["421 4.7.0"]
    assert protocol.next_event() is Signal.PAUSED


# --- ends


READING = [
    S.REFUSED,
    S.HELLO,
    S.READY,
    S.SENDER,
    S.RECIPIENTS,
    S.CONTENT,
    S.CHUNK,
    S.CHUNKS,
    S.AUTHENTICATION,
]


@pytest.mark.parametrize("state", READING)
def test_the_end_of_the_connection(state: ServerState) -> None:
    protocol = server_in(state)
    if state is not S.CHUNK:
        told(protocol, b"NOO")
    protocol.receive_eof()
    protocol.receive_eof()
    for _ in range(2):
        assert protocol.next_event() == ConnectionEnded()
    assert protocol.data_to_send() == []


def test_the_end_of_the_connection_at_any_octet() -> None:
    end = SESSION.index(b"QUIT\r\n") + 6
    for length in range(len(SESSION)):
        protocol = server(offer=NORMALIZING, hello=b"")
        protocol.receive_data(SESSION[:length])
        protocol.receive_eof()
        events = told(protocol, answer=refuse_bad)
        if length < end:
            assert events.pop() == ConnectionEnded()
        assert len(events) <= len(EVENTS)
        assert REPLIES[: len(lines := sent(protocol).decode().splitlines())] == lines


@pytest.mark.parametrize("state", READING)
def test_a_server_may_shut_down_at_any_time(state: ServerState) -> None:
    protocol = server_in(state)
    protocol.shut_down(Reply(421, "Shutting down", "4.3.2"))
    protocol.shut_down(Reply(421, "Shutting down", "4.3.2"))
    assert sent(protocol) == b"421 4.3.2 Shutting down\r\n"
    assert protocol.state is S.CLOSED
    assert codes(protocol, b"xx\r\nNOOP\r\n.\r\nNOOP\r\n") == []
    assert protocol.next_event() is Signal.PAUSED


def test_shutting_down_leaves_a_command_unanswered() -> None:
    protocol = server()
    told(protocol, MAIL, answer=lambda *_: None)
    protocol.shut_down(Reply(421, "Shutting down"))
    assert protocol.in_flight == ()
    assert codes(protocol) == ["421"]


@pytest.mark.parametrize("state", [S.HANDSHAKE, S.CLOSED, S.ERROR])
def test_where_shutting_down_says_nothing(state: ServerState) -> None:
    protocol = server_in(state)
    protocol.shut_down(Reply(421, "Shutting down"))
    assert protocol.data_to_send() == []
    assert protocol.state is S.CLOSED


@pytest.mark.parametrize("state", READING)
def test_what_did_not_leave_ends_the_session(state: ServerState) -> None:
    protocol = server_in(state)
    protocol.send_failed()
    assert protocol.state is S.ERROR
    assert codes(protocol, b"xx\r\n.\r\nNOOP\r\n") == []
    assert protocol.next_event() is Signal.PAUSED


def test_421_ends_the_session() -> None:
    def busy(protocol: ServerProtocol, event: ServerEvent) -> None:
        protocol.send(Reply(421, "busy"))

    for octets in (MAIL, b"VRFY x\r\n", b"EHLO x\r\n"):
        protocol = server()
        assert codes(protocol, octets * 2, answer=busy) == ["421"]
        assert protocol.state is S.CLOSED
    protocol = lmtp()
    told(protocol, MAIL + RCPT * 2 + b"DATA\r\n")
    sent(protocol)
    assert codes(protocol, b".\r\nNOOP\r\n", answer=busy) == ["421"]


# --- what is shown


def test_a_trace_shows_everything_but_secrets_and_content() -> None:
    lines: list[tuple[Direction, str]] = []
    protocol = server(offer=AUTHENTICATING, trace=lambda *line: lines.append(line))
    del lines[:]
    octets = (
        b"AUTH PLAIN " + encoded("\0tim\0secret")
        + b"AUTH secret!\r\n"
        + MAIL + RCPT + b"DATA\r\nsecret\r\n.\r\n" + MAIL + RCPT + b"BDAT 6 LAST\r\nsecret"
        + b"WH\x1bT secret\r\n" + b"RCPT TO:<\x07>\r\n" + b"x" * 20_000 + b"\r\n"
    )  # fmt: skip
    told(protocol, octets, answer=check)
    told(server(offer=AUTHENTICATING), b"AUTH LOGIN\r\n" + encoded("secret"))
    R, T = Direction.RECEIVED, Direction.SENT
    assert lines == [
        (R, "AUTH PLAIN ****"),
        (T, "235 2.7.0 Authenticated"),
        (R, "<a line of 14 octets>"),
        (T, "501 5.5.4 a SASL mechanism name has 1 to 20 letters, digits, hyphens and underscores"),
        (R, "MAIL FROM:<a@client.example>"),
        (T, "250 2.1.0 OK"),
        (R, "RCPT TO:<b@mx.example>"),
        (T, "250 2.1.5 OK"),
        (R, "DATA"),
        (T, "354 Go ahead, end with a lone dot"),
        (R, "<8 octets of content>"),
        (T, "250 2.6.0 Message accepted"),
        (R, "MAIL FROM:<a@client.example>"),
        (T, "250 2.1.0 OK"),
        (R, "RCPT TO:<b@mx.example>"),
        (T, "250 2.1.5 OK"),
        (R, "BDAT 6 LAST"),
        (R, "<6 octets of content>"),
        (T, "250 2.6.0 Message accepted"),
        (R, "<a line of 13 octets>"),
        (T, "501 5.5.4 a command line holds no control characters"),
        (R, "<a line of 13 octets>"),
        (T, "501 5.5.4 a command line holds no control characters"),
        (R, "<a line of more than 12288 octets>"),
        (T, "500 5.5.2 The line is too long"),
    ]


def test_a_trace_of_challenges_and_malformed_chunks() -> None:
    lines: list[tuple[Direction, str]] = []
    protocol = server(offer=AUTHENTICATING, trace=lambda *line: lines.append(line))
    del lines[:]
    told(protocol, b"AUTH LOGIN\r\n" + encoded("secret") + b"*\r\nBDAT x\r\n")
    R, T = Direction.RECEIVED, Direction.SENT
    assert lines == [
        (R, "AUTH LOGIN"),
        (T, "334 ****"),
        (R, "****"),
        (T, "334 ****"),
        (R, "*"),
        (T, "501 5.7.0 Authentication was given up"),
        (R, "<a line of 8 octets>"),
        (T, "421 4.5.4 BDAT takes a number of octets and, for the last chunk, LAST"),
    ]


def test_repr_shows_state_and_counts() -> None:
    protocol = server()
    protocol.receive_data(b"HELP secret\r\nNOOP")
    assert repr(protocol) == "<smtp.ServerProtocol ready, nothing in hand, 17 unread>"
    assert protocol.next_event() == CommandReceived(Help(text="secret"))
    assert repr(protocol) == "<smtp.ServerProtocol ready, HELP in hand, 4 unread>"


# --- anything at all


LINES = [
    MAIL,
    RCPT,
    b"DATA\r\n",
    b"BDAT 3\r\n",
    b"BDAT 2 LAST\r\n",
    b".\r\n",
    b"\r\n",
    b"x",
    b"\r",
    b"\n",
    b"RSET\r\n",
    b"EHLO x\r\n",
    b"LHLO x\r\n",
    b"NOOP\r\n",
    b"AUTH LOGIN\r\n",
    b"dGlt\r\n",
    b"*\r\n",
    b"STARTTLS\r\n",
    b"QUIT\r\n",
    b"BDAT z\r\n",
    b"VRFY \t\r\n",
]
REPLY = st.sampled_from(
    [Reply(250, "ok"), Reply(354, "go"), Reply(450, "later"), Reply(550, "no"), Reply(421, "bye")]
)
OFFERS = [ServerOffer(), LMTP, AUTHENTICATING, NORMALIZING]


@given(
    st.lists(st.sampled_from(LINES) | st.binary(max_size=5), max_size=30), st.sampled_from(OFFERS), st.data()
)
def test_any_octets_are_events_and_answers_are_never_unasked(
    pieces: list[bytes], offer: ServerOffer, data: st.DataObject
) -> None:
    protocol = ServerProtocol(offer=offer, limits=ServerLimits(message_size=8), trace=lambda *_: None)
    protocol.send(Reply(220, "ready"))

    def answer(protocol: ServerProtocol, event: ServerEvent) -> None:
        if isinstance(event, ContentReceived):
            assert event.data
        while protocol.in_flight:
            assert protocol.next_event() is Signal.PAUSED
            reply = data.draw(REPLY)
            try:
                protocol.send(reply)
            except LocalProtocolError:
                protocol.accept()
        if protocol.state is S.HANDSHAKE and data.draw(st.booleans()):
            try:
                protocol.start_tls()
            except PlaintextAfterStartTLS:
                assert protocol.state is S.ERROR

    events = told(protocol, *pieces, answer=answer)
    protocol.receive_eof()
    events += told(protocol, answer=answer)
    for line in sent(protocol).split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert line[3:4] in b" -"
