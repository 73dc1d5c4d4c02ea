"""What goes well is taken at once: as `next_events` would have it, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import LocalProtocolError, RemoteProtocolError
from asyncmail.smtp import (
    Bdat,
    ClientLimits,
    ClientProtocol,
    ClientState,
    Command,
    Data,
    EndOfContent,
    Mail,
    Noop,
    Rcpt,
    Reply,
    ReplyReceived,
    Rset,
)
from smtp_talk import cut, in_content, session

C = ClientState
A = Mail(sender="a@client.example")
B = Mail(sender="b@client.example")
R = Rcpt(recipient="r@mx.example")
S = Rcpt(recipient="s@mx.example")
LAST = Bdat(size=0, last=True)


def sending(*commands: Command, keywords: str = "PIPELINING CHUNKING", lmtp: bool = False) -> ClientProtocol:
    client = session(keywords, lmtp=lmtp)
    client.send(*commands)
    return client


def codes(client: ClientProtocol, octets: bytes) -> list[int]:
    client.receive_data(octets)
    return [reply.code for reply in client.next_replies()]


def test_an_envelope_in_one() -> None:
    client = sending(A, R, S, Data())
    assert codes(client, b"250 2.1.0 a\r\n250 b\r\n251 c\r\n354 go\r\n") == [250, 250, 251, 354]
    assert client.state is C.CONTENT
    assert client.in_flight == ()
    assert client.accepted_recipients == ("r@mx.example", "s@mx.example")
    assert client.next_replies() == []
    client.send_whole_content(b"x\r\n")
    client.send(B, R, Data())
    assert codes(client, b"250 taken\r\n") == [250]
    assert client.accepted_recipients == ()
    assert client.in_flight == (B, R, Data())


def test_what_comes_in_parts_is_taken_in_parts() -> None:
    client = sending(A, R, S, LAST)
    assert codes(client, b"250 a\r\n250 b\r\n2") == [250, 250]
    assert client.accepted_recipients == ("r@mx.example",)
    assert codes(client, b"50 c\r\n") == [250]
    assert client.accepted_recipients == ("r@mx.example", "s@mx.example")
    assert client.in_flight == (LAST,)
    assert codes(client, b"250 d\r\n") == [250]
    assert client.accepted_recipients == ()
    assert client.state is C.READY


def test_several_transactions_in_one() -> None:
    client = sending(A, R, LAST)
    client.send(Rset(), B, S, LAST)
    assert codes(client, b"250 \r\n" * 6) == [250] * 6
    assert client.accepted_recipients == ("s@mx.example",)
    assert client.in_flight == (LAST,)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"250 a\r",
        b"250 a\r\n550 no\r\n",
        b"450 no\r\n",
        b"354 go\r\n",
        b"250-a\r\n250 b\r\n",
        b"250-a\r\n",
        b"250 a\r\n250 b\r\n250 not to DATA\r\n",
        b"250 a\r\n250 b\r\n354 go\r\n250 too many\r\n",
        b"250 a\r\nnonsense\r\n",
        b"250 a\r\n250 " + 600 * b"x" + b"\r\n",
        b"250 a\r\n250 " + 600 * b"x",
    ],
)
def test_anything_else_is_left_to_events(octets: bytes) -> None:
    client = session("PIPELINING", limits=ClientLimits(reply_line=512))
    client.send(A, R, Data())
    client.receive_data(octets)
    before = repr(client)
    assert client.next_replies() == []
    assert repr(client) == before


def test_the_rest_of_a_reply_is_no_reply() -> None:
    client = sending(A, R)
    client.receive_data(b"250-a\r\n")
    assert client.next_events() == []
    assert codes(client, b"250 b\r\n") == []
    assert client.next_events() == [ReplyReceived(A, Reply(250, "a\nb"))]


def test_a_yes_to_what_is_no_part_of_a_transaction() -> None:
    assert codes(sending(Noop()), b"250 yes\r\n") == []


def test_a_yes_to_rcpt_behind_a_no_to_mail() -> None:
    client = sending(A, R)
    client.receive_data(b"550 no\r\n")
    client.next_events()
    assert codes(client, b"250 yes\r\n") == []


def test_pieces_of_content_are_left_to_events() -> None:
    client = sending(A, R, Bdat(size=1))
    client.send_content(b"x")
    assert codes(client, b"250 a\r\n250 b\r\n250 c\r\n") == []
    client = sending(A, R, Bdat(size=1, last=True))
    assert codes(client, b"250 a\r\n") == []  # the octets that were announced are due


def test_lmtp_and_a_trace_are_left_to_events() -> None:
    client = sending(A, R, LAST, lmtp=True)
    assert codes(client, b"250 a\r\n") == []
    client = session("PIPELINING", trace=lambda direction, line: None)
    client.send(A)
    assert codes(client, b"250 a\r\n") == []


def test_answers_to_nothing_or_to_content_that_has_not_ended() -> None:
    assert codes(session(), b"250 a\r\n") == []
    client = session()
    client.receive_data(b"250 a\r\n")
    client.send(A)
    assert codes(client, b"250 b\r\n") == []
    client = in_content(session())
    client.send_content(b"x")
    assert codes(client, b"250 a\r\n") == []
    with pytest.raises(RemoteProtocolError):
        client.next_events()
    assert codes(client, b"250 a\r\n") == []


def test_whole_content_only_where_it_is_due() -> None:
    client = session()
    with pytest.raises(LocalProtocolError, match="no content is due"):
        client.send_whole_content(b"x\r\n")
    client = in_content(session())
    client.send_content(b"x")
    with pytest.raises(LocalProtocolError, match="no whole content"):
        client.send_whole_content(b"x\r\n")
    client = in_content(session(), "no")
    with pytest.raises(LocalProtocolError, match="no whole content"):
        client.send_whole_content(b"x\r\n")
    client.data_to_send()
    client.send_whole_content(b"")
    assert client.data_to_send() == [b".\r\n"]


GROUPS: list[tuple[Command, ...]] = [
    (A,),
    (B,),
    (R,),
    (R, S),
    (A, R, Data()),
    (A, R, S, Data()),
    (Rset(), A, R, LAST),
    (LAST,),
    (Rset(),),
    (Bdat(size=0),),
    (Data(),),
    (Noop(),),
    (EndOfContent(),),
]
groups = st.sampled_from(GROUPS)
answers = st.sampled_from(
    [b"250 ok\r\n"] * 8 + [b"354 go\r\n"] * 4 + [b"550 no\r\n", b"250-a\r\n", b"2", b"x\r\n"]
)


@given(
    st.lists(st.tuples(groups, st.lists(answers, max_size=8), st.booleans())), st.sets(st.integers(0, 400))
)
def test_both_ways_come_to_the_same(
    steps: list[tuple[tuple[Command, ...], list[bytes], bool]], cuts: set[int]
) -> None:
    one, other = session(), session()
    for commands, lines, is_last in steps:
        found = []
        for client in (one, other):
            try:
                if commands == (EndOfContent(),):
                    client.send_whole_content(b"x\r\n" if is_last else b"")
                else:
                    client.send(*commands)
            except LocalProtocolError as error:
                found.append(str(error))
        assert not found or found == found[:1] * 2
        for piece in cut(b"".join(lines), cuts) or [b""]:
            one.receive_data(piece)
            other.receive_data(piece)
            before = one.in_flight
            replies = one.next_replies()
            told = [ReplyReceived(*pair) for pair in zip(before, replies, strict=False)]
            failures = []
            for client, events in ((one, told), (other, [])):
                try:
                    events += client.next_events()
                except RemoteProtocolError as error:
                    failures.append(str(error))
                if client is other:
                    assert events == told
            assert failures in ([], failures[:1] * 2)
            assert repr(one) == repr(other)
            assert one.in_flight == other.in_flight
            assert one.accepted_recipients == other.accepted_recipients
            assert one.data_to_send() == other.data_to_send()
