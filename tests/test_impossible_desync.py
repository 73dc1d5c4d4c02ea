"""An answer belongs to the command it came for: late and unasked ones end the session, they are never passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail import pop3, smtp
from asyncmail.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from asyncmail.smtp import Pipeline, ReplyReceived, Status, Transaction, UnsolicitedReply
from asyncmail.wire import Signal
from smtp_talk import addressed, heard, in_content, sent, session

UNASKED = [
    b"250 ok\r\n",
    b"250-two\r\n250 lines\r\n",
    b"550 no\r\n",
    b"421 bye\r\n",
    b"354 go\r\n",
    b"220 hello\r\n",
]


# --- SMTP


@pytest.mark.parametrize("octets", UNASKED)
def test_a_reply_with_nothing_in_flight_ends_the_session(octets: bytes) -> None:
    client = session()
    (event,) = heard(client, octets)
    assert isinstance(event, UnsolicitedReply)
    with pytest.raises(LocalProtocolError):
        client.send(smtp.Noop())
    assert client.data_to_send() == []


@pytest.mark.parametrize("octets", UNASKED)
def test_a_reply_behind_an_answer_ends_the_session(octets: bytes) -> None:
    client = session()
    client.send(smtp.Rset())
    answer, unasked = heard(client, b"250 mine\r\n" + octets)
    assert answer == ReplyReceived(smtp.Rset(), smtp.Reply(250, "mine"))
    assert isinstance(unasked, UnsolicitedReply)


@pytest.mark.parametrize("cut", [None, 1, 5, -2])
@pytest.mark.parametrize("octets", UNASKED)
def test_a_reply_that_was_there_before_the_command_is_not_its_answer(octets: bytes, cut: int | None) -> None:
    """Whoever drives the session sends without looking; part of the reply may still be on its way."""
    client = session()
    client.receive_data(octets[:cut])
    client.send(smtp.Mail(sender=""))
    client.send(smtp.Rcpt(recipient="a@b.example"))
    client.receive_data((octets[cut:] if cut else b"") + b"250 1\r\n250 2\r\n")
    event = client.next_event()
    assert isinstance(event, UnsolicitedReply)
    assert event.reply.encode() == octets
    assert not isinstance(client.next_event(), ReplyReceived)
    with pytest.raises(LocalProtocolError):
        client.send(smtp.Rset())


def test_a_line_that_the_reader_had_begun_is_not_its_answer() -> None:
    client = session()
    assert heard(client, b"250-first line\r\n") == []
    client.send(smtp.Noop())
    (event,) = heard(client, b"250 second line\r\n")
    assert isinstance(event, UnsolicitedReply)


def test_a_late_reply() -> None:
    """Nobody waits for it any more: it is still that to its own command, and no other can be sent."""
    client = session()
    client.send(smtp.Noop())
    client.send_failed()
    with pytest.raises(LocalProtocolError):
        client.send(smtp.Mail(sender=""))
    assert heard(client, b"250 late\r\n") == [ReplyReceived(smtp.Noop(), smtp.Reply(250, "late"))]
    with pytest.raises(LocalProtocolError):
        client.send(smtp.Mail(sender=""))


def test_content_is_not_taken_before_its_end_has_been_written() -> None:
    client = addressed(session())
    client.send(smtp.Data())
    client.receive_data(b"354 go\r\n250 taken already\r\n")
    assert isinstance(client.next_event(), ReplyReceived)
    client.send_content(b"x")
    client.end_content()
    event = client.next_event()
    assert event == UnsolicitedReply(smtp.Reply(250, "taken already"))
    client = in_content(session())
    assert isinstance(heard(client, b"250 taken already\r\n")[0], UnsolicitedReply)
    with pytest.raises(LocalProtocolError):
        client.end_content()


@pytest.mark.parametrize("keywords", ["", "PIPELINING", "PIPELINING CHUNKING", "CHUNKING"])
def test_no_message_is_accepted_by_a_reply_that_came_too_early(keywords: str) -> None:
    client = session(keywords)
    pipeline = Pipeline(client)
    pipeline.submit(Transaction("", ["a@b.example"], b"x"))
    pipeline.advance()
    sent(client)
    # More answers than commands, all at once.
    client.receive_data(b"250 1\r\n250 2\r\n354 3\r\n250 4\r\n250 5\r\n")
    try:
        while isinstance(event := client.next_event(), ReplyReceived):
            pipeline.handle([event])
            pipeline.advance()
    except RemoteProtocolError:
        pass
    pipeline.abandon(ConnectionLost())
    for _, outcome in pipeline.outcomes:
        assert {each.status for each in outcome.recipients} == {Status.UNKNOWN}
    assert len(pipeline.outcomes) + len(pipeline.unsent) == 1
    if "CHUNKING" not in keywords:
        assert len(pipeline.unsent) == 1


UNASKED_LINE = b"250 unasked\r\n"
commands = st.sampled_from([smtp.Rset(), smtp.Noop(), smtp.Help(), smtp.Vrfy(text="x")])
steps = st.one_of(
    commands,
    st.tuples(st.just("deliver"), st.integers(0, 40)),
    st.tuples(st.just("unasked"), st.integers(1, len(UNASKED_LINE))),
    st.just("read"),
)


@given(st.lists(steps, max_size=25))
def test_whatever_the_order_no_answer_is_given_to_another_command(
    script: list[smtp.Command | tuple[str, int] | str],
) -> None:
    """The server answers each command with its number; what it says unasked begins while nothing is in flight."""
    client = session()
    on_the_way = b""
    asked: list[tuple[smtp.Command, str]] = []
    paired: list[tuple[smtp.Command, str]] = []
    is_spoilt = False

    def read() -> None:
        while not isinstance(event := client.next_event(), Signal):
            if isinstance(event, ReplyReceived):
                paired.append((event.command, event.reply.text))

    for step in script:
        match step:
            case smtp.Command():
                try:
                    client.send(step)
                except LocalProtocolError:
                    continue
                on_the_way += b"250 %d\r\n" % len(asked)
                asked.append((step, str(len(asked))))
            case ("deliver", count):
                client.receive_data(on_the_way[:count])
                on_the_way = on_the_way[count:]
            case ("unasked", count) if not client.in_flight and not on_the_way:
                client.receive_data(UNASKED_LINE[:count])
                on_the_way = UNASKED_LINE[count:]
                is_spoilt = True
            case "read":
                read()
    client.receive_data(on_the_way)
    read()
    assert paired == asked[: len(paired)]
    assert is_spoilt or paired == asked


# --- POP3


def logged_in() -> pop3.ClientProtocol:
    client = pop3.ClientProtocol()
    for command, answer in (
        (None, b"+OK ready\r\n"),
        (pop3.Capa(), b"+OK\r\nPIPELINING\r\n.\r\n"),
        (pop3.User(name="a"), b"+OK\r\n"),
        (pop3.Pass(password="b"), b"+OK\r\n"),
    ):
        if command is not None:
            client.send(command)
        client.receive_data(answer)
        client.next_event()
    client.data_to_send()
    assert client.state is pop3.State.TRANSACTION
    return client


POP3_UNASKED = [b"+OK\r\n", b"-ERR [SYS/TEMP] going down\r\n", b"+OK 5 octets\r\nabc\r\n.\r\n"]


@pytest.mark.parametrize("octets", POP3_UNASKED)
def test_a_response_with_nothing_in_flight_ends_the_session(octets: bytes) -> None:
    for before in (b"", b"+OK mine\r\n"):
        client = logged_in()
        if before:
            client.send(pop3.Noop())
        client.receive_data(before + octets)
        if before:
            assert isinstance(client.next_event(), pop3.ResponseReceived)
        assert isinstance(client.next_event(), pop3.UnsolicitedResponse)
        with pytest.raises(LocalProtocolError):
            client.send(pop3.Retr(number=1))


@pytest.mark.parametrize("cut", [None, 1, 4])
@pytest.mark.parametrize("octets", POP3_UNASKED)
def test_a_response_that_was_there_before_the_command_is_not_its_answer(
    octets: bytes, cut: int | None
) -> None:
    client = logged_in()
    client.receive_data(octets[:cut])
    with pytest.raises(LocalProtocolError):
        client.send(pop3.Retr(number=1))
    client.receive_data(octets[cut:] if cut else b"")
    assert isinstance(client.next_event(), pop3.UnsolicitedResponse)
    with pytest.raises(LocalProtocolError):
        client.send(pop3.Retr(number=1))
    assert client.data_to_send() == []


def test_a_late_response() -> None:
    client = logged_in()
    client.send(pop3.Dele(number=1))
    client.send_failed()
    with pytest.raises(LocalProtocolError):
        client.send(pop3.Dele(number=2))
    client.receive_data(b"+OK late\r\n")
    event = client.next_event()
    assert isinstance(event, pop3.ResponseReceived)
    assert event.command == pop3.Dele(number=1)
    with pytest.raises(LocalProtocolError):
        client.send(pop3.Dele(number=2))
