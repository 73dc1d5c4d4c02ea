"""The client's protocol object: groups, content, LMTP, authentication, TLS, limits, ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import (
    LimitExceeded,
    LocalProtocolError,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
    Stage,
)
from asyncmail.smtp import (
    Auth,
    AuthResponse,
    Awaiting,
    Bdat,
    ClientEvent,
    ClientLimits,
    ClientProtocol,
    ClientState,
    Command,
    ConnectionEnded,
    Data,
    Ehlo,
    EndOfContent,
    GreetingReceived,
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
    Starttls,
    UnsolicitedReply,
    Vrfy,
)
from asyncmail.wire import Direction, Signal
from smtp_talk import addressed, client_in, cut, exchange, heard, in_content, octet_by_octet, sent, session

C = ClientState
END = EndOfContent()


def mail(name: str = "a") -> Mail:
    return Mail(sender=f"{name}@client.example")


def rcpt(name: str = "b") -> Rcpt:
    return Rcpt(recipient=f"{name}@mx.example")


def answer(command: Command, code: int, text: str = "", recipient: str | None = None) -> ReplyReceived:
    return ReplyReceived(command, Reply(code, text), recipient)


# --- greeting and hello


def test_the_server_speaks_first() -> None:
    client = ClientProtocol()
    assert client.state is C.GREETING
    assert client.awaiting is Awaiting.GREETING
    assert client.stage is Stage.GREETING
    assert client.next_event() is Signal.NEED_DATA
    assert heard(client, b"220-mx.example\r\n220 ready\r\n") == [
        GreetingReceived(Reply(220, "mx.example\nready"))
    ]
    assert client.state is C.HELLO
    assert client.awaiting is Awaiting.NOTHING
    assert client.stage is Stage.COMMAND


@pytest.mark.parametrize(("octets", "state"), [(b"554 no\r\n", C.REFUSED), (b"421 busy\r\n", C.CLOSED)])
def test_a_server_that_does_not_want_to(octets: bytes, state: ClientState) -> None:
    client = ClientProtocol()
    (event,) = heard(client, octets)
    assert isinstance(event, GreetingReceived)
    assert client.state is state
    with pytest.raises(LocalProtocolError):
        client.send(Ehlo(domain="x"))


def test_a_greeting_says_yes_or_no() -> None:
    client = ClientProtocol()
    with pytest.raises(RemoteProtocolError, match="the greeting is 354 what"):
        heard(client, b"354 what?\r\n")
    assert client.state is C.ERROR


def test_a_server_of_another_kind() -> None:
    client = ClientProtocol()
    with pytest.raises(RemoteProtocolError, match="is this an SMTP server"):
        heard(client, b"+OK POP3 ready\r\n")


def test_what_a_server_offers() -> None:
    client = session("PIPELINING SIZE")
    assert client.extensions.domain == "mx.example"
    assert client.extensions.pipelining
    exchange(client, Ehlo(domain="x"), b"250-mx2.example hello\r\n250-AUTH=PLAIN LOGIN\r\n250   SIZE  99\r\n")
    assert client.extensions.domain == "mx2.example"
    assert client.extensions.mechanisms == ("PLAIN", "LOGIN")
    assert client.extensions.size == 99
    assert not client.extensions.pipelining


def test_helo_offers_nothing() -> None:
    client = session("PIPELINING")
    exchange(client, Ehlo(domain="x"), b"502 what?\r\n")
    assert client.state is C.HELLO
    exchange(client, Helo(domain="x"), b"250 mx.example hello\r\n")
    assert client.state is C.READY
    assert client.extensions.domain == "mx.example"
    assert len(client.extensions) == 0


# --- groups of commands (RFC 2920 §3.1)


def test_a_group_of_commands_leaves_in_one_write() -> None:
    client = session()
    group = [Rset(), mail(), rcpt("b"), rcpt("c"), Data()]
    for command in group:
        assert client.can_send
        client.send(command)
    assert client.data_to_send() == [command.encode() for command in group]
    assert client.data_to_send() == []
    assert client.in_flight == tuple(group)
    assert not client.can_send
    assert heard(client, b"250 a\r\n250 b\r\n250 c\r\n550 d\r\n354 e\r\n") == [
        answer(group[0], 250, "a"),
        answer(group[1], 250, "b"),
        answer(group[2], 250, "c"),
        answer(group[3], 550, "d"),
        answer(group[4], 354, "e"),
    ]
    assert client.state is C.CONTENT
    assert client.accepted_recipients == ("b@mx.example",)


ENDS_GROUP: list[Command] = [Noop(), Help(), Vrfy(text="x"), Quit(), Ehlo(domain="x"), Starttls()]


def test_of_a_group_all_leave_or_none() -> None:
    client = session()
    parameters: dict[str, str | None] = {}
    odd = Mail(sender="a@client.example", parameters=parameters)
    parameters["X"] = "a\r\nDATA"
    with pytest.raises(LocalProtocolError, match="control character"):
        client.send(Rset(), odd)
    assert client.data_to_send() == []
    assert client.in_flight == ()
    assert client.state is ClientState.READY


@pytest.mark.parametrize("command", [*ENDS_GROUP, Auth(mechanism="PLAIN"), Helo(domain="x")])
def test_nothing_may_follow_what_ends_a_group(command: Command) -> None:
    client = session()
    client.send(Rset())
    client.send(command)
    assert not client.can_send
    for other in (Noop(), Rset(), mail()):
        with pytest.raises(LocalProtocolError):
            client.send(other)
    assert client.in_flight == (Rset(), command)


def test_what_has_to_wait_says_for_what() -> None:
    client = session()
    client.send(Noop())
    with pytest.raises(LocalProtocolError, match=r"RSET has to wait for the answer to NOOP$"):
        client.send(Rset())
    client = session("8BITMIME")
    client.send(Rset())
    assert not client.can_send
    with pytest.raises(LocalProtocolError, match="does not offer PIPELINING"):
        client.send(Rset())
    heard(client, b"250 ok\r\n")
    assert client.can_send


def test_the_next_envelope_leaves_with_the_content() -> None:
    client = in_content(session())
    client.send_content(b"one\r\n")
    client.end_content()
    group = [mail("second"), rcpt("c"), Data()]
    for command in group:
        client.send(command)
    assert sent(client) == b"one\r\n.\r\n" + b"".join(each.encode() for each in group)
    assert client.in_flight == (END, *group)
    heard(client, b"250 taken\r\n250 a\r\n250 b\r\n354 c\r\n")
    assert client.state is C.CONTENT
    assert client.accepted_recipients == ("c@mx.example",)


@given(st.sets(st.integers(1, 200)))
def test_any_split_of_the_answers_gives_the_same_events(cuts: set[int]) -> None:
    client = session()
    group = [mail(), rcpt("b"), rcpt("c"), Rset(), mail("d"), rcpt("e"), Data()]
    for command in group:
        client.send(command)
    octets = b"250 a\r\n250-b\r\n250 c\r\n550-d\r\n550-e\r\n550 f\r\n250\n250 2.1.0 g\r\n250 h\r\n354 i\r\n"
    assert heard(client, *cut(octets, cuts)) == [
        answer(group[0], 250, "a"),
        answer(group[1], 250, "b\nc"),
        answer(group[2], 550, "d\ne\nf"),
        answer(group[3], 250),
        ReplyReceived(group[4], Reply(250, "g", "2.1.0")),
        answer(group[5], 250, "h"),
        answer(group[6], 354, "i"),
    ]
    assert client.accepted_recipients == ("e@mx.example",)


# --- refusals on the way


def test_a_refused_sender_ends_the_transaction() -> None:
    client = session()
    for command in (mail(), rcpt(), Data()):
        client.send(command)
    heard(client, b"550 no\r\n503 no\r\n503 no\r\n")
    assert client.state is C.READY
    client.send(mail())


def test_a_refused_data_leaves_the_transaction_open() -> None:
    client = addressed(session())
    exchange(client, Data(), b"451 later\r\n")
    assert client.state is C.RECIPIENTS
    exchange(client, Data(), b"354 now\r\n")
    assert client.state is C.CONTENT


def test_354_though_every_recipient_was_refused_is_answered_with_a_lone_dot() -> None:
    client = session()
    for command in (mail(), rcpt("b"), rcpt("c"), Data()):
        client.send(command)
    heard(client, b"250 ok\r\n550 no\r\n550 no\r\n354 go ahead\r\n")
    assert client.state is C.LONE_DOT
    with pytest.raises(LocalProtocolError, match="no content is due"):
        client.send_content(b"secret")
    sent(client)
    client.end_content()
    assert sent(client) == b".\r\n"
    assert heard(client, b"554 nobody\r\n") == [answer(END, 554, "nobody")]
    assert client.state is C.READY


def test_354_though_the_sender_was_refused_too() -> None:
    client = session()
    for command in (mail(), rcpt(), Data()):
        client.send(command)
    heard(client, b"550 no\r\n550 no\r\n354 go ahead\r\n")
    assert client.state is C.LONE_DOT


def test_a_recipient_of_a_refused_sender_is_a_fault_of_the_server() -> None:
    """It belongs to another transaction: the content would travel under the wrong sender."""
    client = session()
    for command in (mail(), rcpt(), Data()):
        client.send(command)
    with pytest.raises(RemoteProtocolError, match="the MAIL before it was refused"):
        heard(client, b"503 nested\r\n250 ok\r\n354 go ahead\r\n")
    assert client.state is C.ERROR


@pytest.mark.parametrize("command", [mail(), Rset(), Noop(), Quit(), Starttls(), Ehlo(domain="x")])
def test_only_data_and_auth_are_answered_in_steps(command: Command) -> None:
    client = session()
    client.send(command)
    with pytest.raises(RemoteProtocolError, match=f"{command.verb} was answered 354 what"):
        heard(client, b"354 what?\r\n")


def test_data_is_not_done_before_the_content() -> None:
    client = addressed(session())
    client.send(Data())
    with pytest.raises(RemoteProtocolError, match="DATA was answered 250 taken"):
        heard(client, b"250 taken\r\n")


# --- content


@given(st.lists(st.sampled_from([b"", b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"x"]), max_size=20))
def test_content_arrives_with_whole_lines_and_stuffed_dots(pieces: list[bytes]) -> None:
    client = in_content(session())
    for piece in pieces:
        client.send_content(piece)
    client.end_content()
    octets = sent(client)
    content = b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    assert octets.count(b"\r\n.\r\n") + octets.startswith(b".\r\n") == 1
    lines = octets.removesuffix(b".\r\n").split(b"\r\n")
    assert b"\r\n".join(line.removeprefix(b".") for line in lines) == content


def test_octets_are_counted() -> None:
    client = session()
    start = client.octets_sent
    client.send(mail())
    assert client.octets_sent == start + len(mail().encode())
    sent(client)
    assert client.octets_sent == start + len(mail().encode())


# --- chunks (RFC 3030)


def test_whole_transactions_leave_in_one_write() -> None:
    client = session()
    for name in "ab":
        client.send(mail(name))
        client.send(rcpt(name))
        client.send(Bdat(size=3))
        client.send_content(b".\r\n")
        client.send(Bdat(size=5, last=True))
        client.send_content(b"hel")
        client.send_content(b"lo")
    octets = sent(client)
    assert octets.count(b"BDAT 3\r\n.\r\nBDAT 5 LAST\r\nhello") == 2
    events = heard(client, b"250 1\r\n250 2\r\n250 3\r\n250 4\r\n" * 2)
    assert len(events) == 8
    assert client.state is C.READY
    assert client.accepted_recipients == ()


def test_a_chunk_may_be_empty() -> None:
    client = addressed(session())
    client.send(Bdat(size=0))
    assert client.state is C.CHUNKS
    client.send(Bdat(size=0, last=True))
    assert client.state is C.READY


def test_a_chunk_has_as_many_octets_as_announced() -> None:
    client = addressed(session())
    client.send(Bdat(size=3, last=True))
    with pytest.raises(LocalProtocolError, match="1 octets more than announced"):
        client.send_content(b"abcd")
    client.send_content(b"abc")
    with pytest.raises(LocalProtocolError, match="no content is due"):
        client.send_content(b"d")
    assert sent(client) == b"BDAT 3 LAST\r\nabc"


def test_a_group_of_no_commands_changes_nothing() -> None:
    client = addressed(session())
    client.send(Bdat(size=3, last=True))
    client.send_content(b"ab")
    client.send()
    client.send_content(b"c")
    assert sent(client) == b"BDAT 3 LAST\r\nabc"
    assert client.state is C.READY


def test_a_refused_chunk_makes_reset_due() -> None:
    client = addressed(session())
    client.send(Bdat(size=1))
    client.send_content(b"a")
    assert heard(client, b"452 full\r\n") == [answer(Bdat(size=1), 452, "full")]
    assert client.state is C.RESET_DUE
    exchange(client, Rset(), b"250 ok\r\n")
    assert client.state is C.READY


def test_chunks_in_flight_behind_a_refused_one() -> None:
    client = addressed(session())
    for chunk in (Bdat(size=1), Bdat(size=1, last=True)):
        client.send(chunk)
        client.send_content(b"a")
    heard(client, b"452 full\r\n503 no\r\n")
    assert client.state is C.RESET_DUE


def test_a_chunk_may_be_refused_before_its_octets_have_left() -> None:
    """They have to follow all the same: RFC 3030 §2."""
    chunk = Bdat(size=3, last=True)
    client = addressed(session())
    client.send(chunk)
    client.send_content(b"a")
    assert heard(client, b"552 too much\r\n") == [answer(chunk, 552, "too much")]
    assert client.state is C.CHUNK
    client.send_content(b"bc")
    assert client.state is C.RESET_DUE
    exchange(client, Rset(), b"250 ok\r\n")
    assert client.state is C.READY


@pytest.mark.parametrize("lmtp", [False, True])
@pytest.mark.parametrize("chunk", [Bdat(size=3), Bdat(size=3, last=True)])
def test_a_chunk_is_not_accepted_before_its_octets_have_left(chunk: Bdat, lmtp: bool) -> None:
    client = addressed(session(lmtp=lmtp), "ok ok")
    client.send(chunk)
    client.send_content(b"ab")
    with pytest.raises(RemoteProtocolError, match="before its octets were sent"):
        heard(client, b"250 ok\r\n")


# --- LMTP (RFC 2033)


def test_each_accepted_recipient_has_an_answer_to_the_content() -> None:
    client = in_content(session(lmtp=True), "ok no ok")
    client.end_content()
    assert client.awaiting is Awaiting.END_OF_CONTENT
    assert heard(client, b"250 delivered\r\n") == [answer(END, 250, "delivered", "r0@mx.example")]
    assert client.in_flight == (END,)
    assert heard(client, b"452 full\r\n") == [answer(END, 452, "full", "r2@mx.example")]
    assert client.in_flight == ()
    assert client.state is C.READY


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lmtp_with_chunks_and_the_next_envelope_behind_them(size: int) -> None:
    client = session(lmtp=True)
    group: list[Command] = [mail(), rcpt("b"), rcpt("c"), Bdat(size=1), Bdat(size=1, last=True)]
    behind: list[Command] = [mail("d"), rcpt("e"), rcpt("f"), Data()]
    for command in group + behind:
        client.send(command)
        if isinstance(command, Bdat):
            client.send_content(b"x")
    octets = b"".join(b"250 %d\r\n" % n for n in range(8)) + b"550 8\r\n354 9\r\n"
    assert heard(client, *cut(octets, range(0, len(octets), size))) == [
        answer(group[0], 250, "0"),
        answer(group[1], 250, "1"),
        answer(group[2], 250, "2"),
        answer(group[3], 250, "3"),
        answer(group[4], 250, "4", "b@mx.example"),
        answer(group[4], 250, "5", "c@mx.example"),
        answer(behind[0], 250, "6"),
        answer(behind[1], 250, "7"),
        answer(behind[2], 550, "8"),
        answer(behind[3], 354, "9"),
    ]
    assert client.state is C.CONTENT
    assert client.accepted_recipients == ("e@mx.example",)


def test_lmtp_without_recipients_has_one_answer() -> None:
    client = in_content(session(lmtp=True), "no no")
    assert client.state is C.LONE_DOT
    client.end_content()
    assert heard(client, b"503 nobody\r\n") == [answer(END, 503, "nobody")]
    client = addressed(session(lmtp=True), "no")
    exchange(client, Bdat(size=0, last=True), b"503 nobody\r\n")
    assert client.in_flight == ()


def test_lmtp_data_has_one_answer() -> None:
    client = addressed(session(lmtp=True), "ok ok")
    assert exchange(client, Data(), b"451 later\r\n") == answer(Data(), 451, "later")
    assert client.state is C.RECIPIENTS


def test_lmtp_behind_a_refused_chunk_has_one_answer() -> None:
    client = addressed(session(lmtp=True), "ok ok")
    chunks = [Bdat(size=1), Bdat(size=1, last=True)]
    for chunk in chunks:
        client.send(chunk)
        client.send_content(b"x")
    events = heard(client, b"452 full\r\n503 no\r\n")
    assert events == [answer(chunks[0], 452, "full"), answer(chunks[1], 503, "no")]
    assert client.in_flight == ()


# --- authentication (RFC 4954)


def test_an_exchange() -> None:
    client = session("AUTH LOGIN PIPELINING")
    command = Auth(mechanism="LOGIN")
    assert exchange(client, command, b"334 VXNlcm5hbWU6\r\n") == answer(command, 334, "VXNlcm5hbWU6")
    assert client.state is C.AUTHENTICATION
    for octets in (b"334 UGFzc3dvcmQ6\r\n", b"334 \r\n", b"334\r\n"):
        exchange(client, AuthResponse(response=b"x"), octets)
        assert client.state is C.AUTHENTICATION
        with pytest.raises(LocalProtocolError):
            client.send(Noop())
    exchange(client, AuthResponse(response=b""), b"235 2.7.0 in\r\n")
    assert client.state is C.READY


@pytest.mark.parametrize("octets", [b"535 5.7.8 wrong\r\n", b"501 given up\r\n", b"454 later\r\n"])
def test_an_exchange_that_fails(octets: bytes) -> None:
    client = session("AUTH PLAIN")
    exchange(client, Auth(mechanism="PLAIN", initial_response=b"x"), octets)
    assert client.state is C.READY
    exchange(client, Auth(mechanism="LOGIN"), b"334 \r\n")
    client.send(AuthResponse(response=None))
    assert sent(client) == b"*\r\n"
    heard(client, octets)
    assert client.state is C.READY


def test_a_challenge_may_be_long() -> None:
    client = session("AUTH GSSAPI")
    client.send(Auth(mechanism="GSSAPI"))
    (event,) = heard(client, b"334 " + b"A" * 12_280 + b"\r\n")
    assert isinstance(event, ReplyReceived)
    assert len(event.reply.text) == 12_280


# --- TLS (RFC 3207)


def test_tls_makes_a_new_session() -> None:
    client = session()
    exchange(client, Starttls(), b"220 go\r\n")
    assert client.state is C.HANDSHAKE
    client.start_tls()
    assert client.state is C.HELLO
    assert len(client.extensions) == 0
    assert client.accepted_recipients == ()
    with pytest.raises(LocalProtocolError):
        client.send(mail())
    exchange(client, Ehlo(domain="x"), b"250 mx.example\r\n")
    assert client.state is C.READY


@pytest.mark.parametrize("octets", [b"2", b"250-partial\r\n", b"250 injected\r\n"])
def test_octets_before_tls_are_not_taken_along(octets: bytes) -> None:
    client = session()
    client.send(Starttls())
    client.receive_data(b"220 go\r\n" + octets)
    assert client.next_event() == answer(Starttls(), 220, "go")
    with pytest.raises(PlaintextAfterStartTLS, match="octets arrived between"):
        client.start_tls()
    assert client.state is C.ERROR


def test_a_refused_starttls_changes_nothing() -> None:
    client = session()
    exchange(client, Starttls(), b"454 not now\r\n")
    assert client.state is C.READY
    assert "STARTTLS" in client.extensions


# --- ends


def test_421_answers_what_it_came_for() -> None:
    client = session()
    for command in (mail(), rcpt(), Data()):
        client.send(command)
    assert heard(client, b"250 ok\r\n421 bye\r\n") == [answer(mail(), 250, "ok"), answer(rcpt(), 421, "bye")]
    client.receive_eof()
    assert heard(client) == [ConnectionEnded((Data(),))]


@pytest.mark.parametrize("octets", [b"421 bye\r\n", b"250 what?\r\n", b"354 go\r\n"])
def test_a_reply_with_nothing_in_flight_ends_the_session(octets: bytes) -> None:
    client = session()
    (event,) = heard(client, octets)
    assert isinstance(event, UnsolicitedReply)
    assert event.reply.encode() == octets
    assert client.state is C.ERROR
    with pytest.raises(LocalProtocolError):
        client.send(Noop())


def test_421_in_the_middle_of_the_content() -> None:
    client = in_content(session())
    client.send_content(b"abc")
    assert client.awaiting is Awaiting.END_OF_CONTENT
    assert heard(client, b"421 bye\r\n") == [ReplyReceived(EndOfContent(), Reply(421, "bye"))]
    client.send_content(b"def\r\n")
    client.end_content()
    assert sent(client) == b"abcdef\r\n.\r\n"
    assert client.in_flight == ()


def test_no_server_takes_content_before_its_end() -> None:
    client = in_content(session())
    client.send_content(b"abc")
    client.receive_data(b"250 taken\r\n")
    with pytest.raises(RemoteProtocolError, match="before its end"):
        client.next_event()


@pytest.mark.parametrize("state", [state for state in C if state is not C.CLOSED])
def test_the_end_of_the_connection(state: ClientState) -> None:
    client = client_in(state)
    in_flight = client.in_flight
    client.receive_data(b"250-in the midd")
    client.receive_eof()
    client.receive_eof()
    for _ in range(2):
        assert client.next_event() == ConnectionEnded(in_flight)
    assert client.state is (C.ERROR if state is C.ERROR else C.CLOSED)
    for command in (Noop(), Quit(), Ehlo(domain="x")):
        with pytest.raises(LocalProtocolError):
            client.send(command)


def test_the_end_of_the_connection_at_any_octet() -> None:
    group = [mail(), rcpt("b"), rcpt("c"), Data()]
    answers = [b"250 a\r\n", b"250-b\r\n250 c\r\n", b"550 d\r\n", b"354 e\r\n"]
    octets = b"".join(answers)
    ends = [sum(map(len, answers[: n + 1])) for n in range(4)]
    for length in range(len(octets)):
        client = session()
        client.send(*group)
        client.receive_data(octets[:length])
        client.receive_eof()
        *events, ended = heard(client)
        answered = sum(end <= length for end in ends)
        assert len(events) == answered
        assert ended == ConnectionEnded(tuple(group[answered:]))


@pytest.mark.parametrize("state", [state for state in C if state not in (C.CLOSED, C.GREETING)])
def test_421_at_any_time(state: ClientState) -> None:
    client = client_in(state)
    in_flight = client.in_flight
    (event,) = heard(client, b"421 bye\r\n")
    bye = Reply(421, "bye")
    assert event == (ReplyReceived(in_flight[0], bye) if in_flight else UnsolicitedReply(bye))
    client.receive_eof()
    assert heard(client) == [ConnectionEnded()]


def test_what_did_not_leave_ends_this_direction_only() -> None:
    client = session()
    for command in (mail(), rcpt(), Data()):
        client.send(command)
    client.send_failed()
    assert len(heard(client, b"250 ok\r\n250 ok\r\n354 go\r\n")) == 3
    assert client.state is C.ERROR
    for send in (lambda: client.send(Rset()), client.end_content, lambda: client.send_content(b"x")):
        with pytest.raises(LocalProtocolError):
            send()


def test_an_error_is_for_good() -> None:
    client = session()
    client.send(Rset())
    for _ in range(2):
        client.receive_data(b"nonsense\r\n250 ok\r\n")
        with pytest.raises(RemoteProtocolError, match="nonsense"):
            client.next_event()
    assert client.state is C.ERROR


# --- limits


LIMITS = ClientLimits(reply_line=40, reply=100)


@pytest.mark.parametrize(
    ("octets", "limit"),
    [
        (b"250 " + b"a" * 40, "reply_line"),
        (b"250 " + b"a" * 36 + b"\r\n", "reply_line"),
        (b"a" * 41, "reply_line"),
        (b"250-a\r\n" * 15, "reply"),
        (b"250-\n" * 21, "reply"),
    ],
)
def test_every_buffer_names_its_limit(octets: bytes, limit: str) -> None:
    for pieces in ([octets], octet_by_octet(octets)):
        client = session("", limits=LIMITS)
        client.send(Rset())
        with pytest.raises(LimitExceeded) as caught:
            heard(client, *pieces)
        assert caught.value.limit == limit
        assert client.state is C.ERROR


def test_limits_are_those_of_one_reply() -> None:
    client = session("", limits=LIMITS)
    for _ in range(5):
        client.send(Rset())
        assert len(heard(client, b"250-1234567890\r\n" * 5 + b"250 1234567890\r\n")) == 1


# --- what is shown


def test_a_trace_shows_everything_but_secrets_and_content() -> None:
    lines: list[tuple[Direction, str]] = []
    client = session("PIPELINING CHUNKING AUTH", trace=lambda *line: lines.append(line))
    del lines[:]
    exchange(client, Auth(mechanism="PLAIN", initial_response=b"\0tim\0secret"), b"334 c2VjcmV0\r\n")
    exchange(client, AuthResponse(response=b"secret"), b"235 2.7.0 in\r\n")
    in_content(client)
    client.send_content(b"sec")
    client.send_content(b"ret")
    client.end_content()
    heard(client, b"250-2.0.0 first\r\n250 2.0.0 second\x07\r\n")
    addressed(client)
    client.send(Bdat(size=6, last=True))
    client.send_content(b"secret")
    heard(client, "250 a\u2028250 b\r\n".encode())
    S, R = Direction.SENT, Direction.RECEIVED
    assert lines == [
        (S, "AUTH PLAIN ****"),
        (R, "334 ****"),
        (S, "****"),
        (R, "235 2.7.0 in"),
        (S, "MAIL FROM:<a@client.example>"),
        (R, "250 ok"),
        (S, "RCPT TO:<r0@mx.example>"),
        (R, "250 ok"),
        (S, "DATA"),
        (R, "354 go"),
        (S, "<6 octets of content>"),
        (S, "."),
        (R, "250-2.0.0 first"),
        (R, "250 2.0.0 second\\x07"),
        (S, "MAIL FROM:<a@client.example>"),
        (R, "250 ok"),
        (S, "RCPT TO:<r0@mx.example>"),
        (R, "250 ok"),
        (S, "BDAT 6 LAST"),
        (S, "<6 octets of content>"),
        (R, "250 a\\u2028250 b"),
    ]


@pytest.mark.parametrize(
    ("command", "awaiting", "stage"),
    [
        (Rset(), Awaiting.ANSWER, Stage.COMMAND),
        (mail(), Awaiting.MAIL, Stage.SENDER),
        (rcpt(), Awaiting.RCPT, Stage.RECIPIENT),
        (Data(), Awaiting.DATA, Stage.CONTENT),
        (Bdat(size=0, last=True), Awaiting.END_OF_CONTENT, Stage.CONTENT),
    ],
)
def test_what_is_awaited_is_the_answer_to_the_oldest(
    command: Command, awaiting: Awaiting, stage: Stage
) -> None:
    client = client_in(C.READY if isinstance(command, Mail | Rset) else C.RECIPIENTS)
    client.send(command)
    assert client.awaiting is awaiting
    assert client.stage is stage


def test_repr_shows_state_and_counts() -> None:
    client = session()
    client.send(Rset())
    client.send(mail("secret"))
    client.receive_data(b"250")
    assert repr(client) == "<smtp.ClientProtocol sender, 2 in flight, 3 unread>"


@pytest.mark.parametrize(
    ("state", "cure"),
    [
        (C.READY, "legal is AUTH EHLO EXPN HELO HELP LHLO MAIL NOOP QUIT RSET STARTTLS VRFY"),
        (C.CHUNKS, "legal is BDAT QUIT RSET"),
        (C.CONTENT, ""),
        (C.ERROR, ""),
    ],
)
def test_what_is_legal_is_told(state: C, cure: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"is not legal in the state '{state.value}'") as caught:
        client_in(state).send(Data())
    assert caught.value.cure == cure


# --- anything at all


commands = st.sampled_from(
    [
        Rset(),
        mail(),
        rcpt(),
        Data(),
        Bdat(size=2),
        Bdat(size=2, last=True),
        Noop(),
        Quit(),
        Starttls(),
        Auth(mechanism="LOGIN"),
        AuthResponse(response=b"x"),
        Ehlo(domain="x"),
        Lhlo(domain="x"),
    ]
)
REPLIES = [
    b"250 ok\r\n",
    b"250-a\r\n",
    b"354 go\r\n",
    b"334 \r\n",
    b"550 no\r\n",
    b"421 bye\r\n",
    b"junk\r\n",
    b"\n",
]
actions = st.one_of(
    commands,
    st.sampled_from(REPLIES) | st.binary(max_size=6),
    st.sampled_from(["content", "end", "tls", "eof", "failed"]),
)


@given(st.lists(actions, max_size=25), st.booleans())
def test_nothing_but_events_and_the_two_faults(steps: list[object], lmtp: bool) -> None:
    client = session(lmtp=lmtp)
    for step in steps:
        try:
            match step:
                case Command():
                    client.send(step)
                case bytes():
                    client.receive_data(step)
                case "content":
                    client.send_content(b"x")
                case "end":
                    client.end_content()
                case "tls" if client.state is not C.HANDSHAKE:
                    client.start_tls()
                case "eof":
                    client.receive_eof()
                case "failed":
                    client.send_failed()
        except LocalProtocolError:
            pass
        found: list[ClientEvent] = []
        try:
            while not isinstance(event := client.next_event(), Signal):
                found.append(event)
                if isinstance(event, ConnectionEnded):
                    break
        except RemoteProtocolError:
            assert client.state is C.ERROR
        assert client.state is not C.GREETING
        assert repr(client)


def test_what_is_wrong_with_a_line_that_is_not_complete_is_something_more_to_tell() -> None:
    client = ClientProtocol()
    assert not client.has_more
    for _ in range(5):
        client.receive_data(b"x" * 20_000)
    assert client.has_more
    with pytest.raises(LimitExceeded):
        client.next_events()
    assert client.has_more


def test_no_command_is_always_legal() -> None:
    client = session("")
    client.send(Noop())
    client.send()
    assert client.in_flight == (Noop(),)


@pytest.mark.parametrize(
    ("keywords", "commands", "why"),
    [
        ("", (Noop(), Noop()), "NOOP has to wait for the answer to NOOP"),
        ("PIPELINING", (Rset(), Mail(sender=""), Data()), "DATA is not legal in the state 'sender'"),
        ("PIPELINING", (Rset(), Quit(), Noop()), "NOOP is not legal in the state 'quit'"),
        ("PIPELINING", (Ehlo(domain="x"), Noop()), "NOOP has to wait for the answer to EHLO"),
    ],
)
def test_a_group_of_which_one_is_at_fault_is_not_sent(
    keywords: str, commands: tuple[Command, ...], why: str
) -> None:
    client = session(keywords)
    with pytest.raises(LocalProtocolError, match=why):
        client.send(*commands)
    assert sent(client) == b""
    assert client.in_flight == ()
