"""Commands that the server's protocol object accepts by itself: to the client they are like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import LocalProtocolError
from asyncmail.smtp import (
    Auth,
    Command,
    CommandReceived,
    CommandRejected,
    ContentEnded,
    ContentReceived,
    Data,
    Mail,
    Quit,
    Rcpt,
    Reply,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    ServerState,
)
from asyncmail.wire import Direction, Signal
from smtp_talk import MAIL, RCPT, codes, cut, said, sent, server, told, yes

if TYPE_CHECKING:
    from asyncmail.smtp import ServerEvent

ALL: frozenset[type[Command]] = frozenset((Mail, Rcpt, Data))

LINES = [
    MAIL,
    RCPT,
    b"DATA\r\n",
    b".\r\n",
    b"text\r\n",
    b"..\r\n",
    b"MAIL FROM:<> SIZE=9\r\n",
    b"MAIL FROM:<a@client.example> SIZE=99999\r\n",
    b"mail from: <a@client.example>\r\n",
    b"RCPT TO:<c@mx.example> NOTIFY=NEVER\r\n",
    b"RCPT TO:<d@mx.example> NONE\r\n",
    b"RCPT TO:<\xc3\xa4@mx.example>\r\n",
    b"RCPT TO:<nobody>\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"NOOP\n",
    b"DATA now\r\n",
    b"BDAT 6\r\nabcd\r\n",
    b"BDAT 6 LAST\r\nabcd\r\n",
    b"EHLO again.example\r\n",
    b"what?\r\n",
    b"x" * 300 + b"\r\n",
]


def is_told(event: ServerEvent) -> bool:
    return not (isinstance(event, CommandReceived) and type(event.command) in ALL)


@pytest.mark.parametrize("lmtp", [False, True])
@given(st.lists(st.sampled_from(LINES), max_size=20), st.lists(st.integers(0, 2_000), max_size=8))
def test_it_is_the_same_session(lmtp: bool, lines: list[bytes], cuts: list[int]) -> None:
    offer = ServerOffer(lmtp=lmtp, more={"DSN": ""})
    limits = ServerLimits(
        message_size=1000, recipients=2, command_line=200, authentication_line=200, errors=9
    )
    hello = b"LHLO x\r\n" if lmtp else b"EHLO x\r\n"
    traces: tuple[list[str], list[str]] = ([], [])
    asking, deciding = (
        server(
            offer=offer,
            limits=limits,
            accepts=accepts,
            hello=hello,
            trace=lambda direction, line, trace=trace: trace.append(f"{direction.value} {line}"),
        )
        for accepts, trace in zip((frozenset(), ALL), traces, strict=True)
    )
    for piece in cut(b"".join(lines), cuts):
        events = told(asking, piece)
        assert told(deciding, piece) == list(filter(is_told, events))
        assert sent(deciding) == sent(asking)
        assert deciding.state is asking.state
        assert deciding.in_transaction is asking.in_transaction
        assert deciding.envelope == asking.envelope
        assert deciding.content_octets == asking.content_octets
    assert traces[0] == traces[1]


def test_a_whole_transaction_is_told_of_as_content() -> None:
    protocol = server(accepts=ALL)
    seen: list[object] = []

    def note(protocol: ServerProtocol, event: ServerEvent) -> None:
        if isinstance(event, ContentEnded):
            seen.append(list(protocol.envelope))
        yes(protocol, event)

    octets = MAIL + RCPT + RCPT + b"DATA\r\nx\r\n.\r\n" + MAIL
    assert told(protocol, octets, answer=note) == [ContentReceived(b"x\r\n"), ContentEnded()]
    rcpt = Rcpt(recipient="b@mx.example")
    assert seen == [[Mail(sender="a@client.example"), rcpt, rcpt]]
    assert sent(protocol).count(b"\r\n") == 6
    assert protocol.envelope == [Mail(sender="a@client.example")]


def test_what_is_not_allowed_is_refused_and_told() -> None:
    protocol = server(accepts=ALL, limits=ServerLimits(recipients=1, message_size=10))
    events = told(protocol, RCPT + b"DATA\r\nMAIL FROM:<> SIZE=11\r\n" + MAIL + RCPT + RCPT + MAIL)
    assert [type(event) for event in events] == [CommandRejected] * 5
    assert codes(protocol, b"QUIT\r\n")[-1] == "221 2.0.0"


def test_one_command_may_be_left_to_the_application() -> None:
    protocol = server(accepts=frozenset((Mail, Data)))
    protocol.receive_data(MAIL + RCPT + b"DATA\r\n")
    assert protocol.next_event() == CommandReceived(Rcpt(recipient="b@mx.example"))
    assert protocol.next_event() is Signal.PAUSED
    protocol.send(Reply(550, "no", "5.1.1"))
    assert isinstance(protocol.next_event(), CommandRejected)
    assert [line[:3] for line in said(protocol)] == ["250", "550", "503"]


def test_the_octets_behind_data_are_content() -> None:
    protocol = server(accepts=ALL)
    protocol.receive_data(MAIL + RCPT + b"DATA\r\nQUIT\r\n")
    assert protocol.next_event() == ContentReceived(b"QUIT")
    assert protocol.state is ServerState.CONTENT


def test_replies_are_traced() -> None:
    lines: list[tuple[Direction, str]] = []
    protocol = server(accepts=ALL, trace=lambda *line: lines.append(line))
    lines.clear()
    told(protocol, MAIL)
    assert lines == [
        (Direction.RECEIVED, "MAIL FROM:<a@client.example>"),
        (Direction.SENT, "250 2.1.0 OK"),
    ]


@pytest.mark.parametrize("kind", [Auth, Quit])
def test_no_other_command_is_accepted_unasked(kind: type[Command]) -> None:
    with pytest.raises(LocalProtocolError, match="only MAIL, RCPT and DATA"):
        ServerProtocol(accepts=frozenset((Mail, kind)))
