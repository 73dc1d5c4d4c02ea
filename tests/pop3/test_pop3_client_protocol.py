"""The client's protocol object: transcripts, fed in every way, and what it makes impossible."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import (
    InputError,
    LimitExceeded,
    LocalProtocolError,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
    Stage,
)
from asyncmail.pop3 import (
    ENDS_GROUP,
    TRANSITIONS,
    Apop,
    Auth,
    AuthResponse,
    Awaiting,
    Capa,
    Capabilities,
    CapabilitiesReceived,
    ChallengeReceived,
    ClientEvent,
    ClientLimits,
    ClientProtocol,
    Command,
    ConnectionEnded,
    ContentReceived,
    Dele,
    GreetingReceived,
    List,
    Listing,
    ListingReceived,
    Noop,
    Pass,
    Quit,
    Response,
    ResponseReceived,
    Retr,
    Rset,
    ScanListing,
    Stat,
    State,
    Status,
    Stls,
    Top,
    Uidl,
    UniqueIdListing,
    UnsolicitedResponse,
    User,
)
from asyncmail.wire import Direction, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

GREETING = b"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n"
MESSAGE = b"Subject: dots\r\n\r\n.\r\n..\r\n.leading\r\nend\r\n"
STUFFED = b"Subject: dots\r\n\r\n..\r\n...\r\n..leading\r\nend\r\n"


def ok(text: str = "") -> Response:
    return Response(Status.OK, text)


def err(text: str = "", code: str = "") -> Response:
    return Response(Status.ERR, text, code)


def events(client: ClientProtocol, octets: Iterable[bytes] = ()) -> list[ClientEvent]:
    """All events that `octets` cause, pieces of the same content put together."""
    found: list[ClientEvent] = []
    for data in octets:
        client.receive_data(data)
        while (event := client.next_event()) is not Signal.NEED_DATA:
            assert not isinstance(event, Signal)
            last = found[-1] if found else None
            if isinstance(event, ContentReceived) and isinstance(last, ContentReceived) and not last.ended:
                last.data += event.data
                last.ended = event.ended
            else:
                found.append(event)
            if isinstance(event, ConnectionEnded):
                break
    return found


def exchange(client: ClientProtocol, command: Command, answer: bytes) -> ClientEvent:
    """Send one command and return the one event of its answer."""
    client.send(command)
    client.data_to_send()
    (event,) = events(client, [answer])
    return event


def greeted(capabilities: str = "", *, limits: ClientLimits | None = None) -> ClientProtocol:
    client = ClientProtocol(limits=limits)
    events(client, [GREETING])
    if capabilities:
        exchange(client, Capa(), f"+OK\r\n{capabilities.replace(' ', chr(13) + chr(10))}\r\n.\r\n".encode())
    return client


def logged_in(capabilities: str = "PIPELINING", *, limits: ClientLimits | None = None) -> ClientProtocol:
    client = greeted(capabilities, limits=limits)
    exchange(client, User(name="tim"), b"+OK\r\n")
    exchange(client, Pass(password="secret"), b"+OK\r\n")
    assert client.state is State.TRANSACTION
    return client


# --- transcripts

ANSWERS: list[tuple[Command, bytes, ClientEvent]] = [
    (Stat(), b"+OK 2 320\r\n", ResponseReceived(Stat(), ok("2 320"))),
    (Stat(), b"-ERR [SYS/TEMP] disk\r\n", ResponseReceived(Stat(), err("disk", "SYS/TEMP"))),
    (
        List(),
        b"+OK 2 messages\r\n1 120\r\n2 200\r\n.\r\n",
        ListingReceived(List(), Listing([ScanListing(1, 120), ScanListing(2, 200)])),
    ),
    (List(), b"+OK\r\n.\r\n", ListingReceived(List(), Listing())),
    (List(), b"-ERR no\r\n", ResponseReceived(List(), err("no"))),
    (List(number=2), b"+OK 2 200\r\n", ResponseReceived(List(number=2), ok("2 200"))),
    (
        Uidl(),
        b"+OK\r\n1 a\r\n2 b\r\n.\r\n",
        ListingReceived(Uidl(), Listing([UniqueIdListing(1, "a"), UniqueIdListing(2, "b")])),
    ),
    (Uidl(number=1), b"+OK 1 a\r\n", ResponseReceived(Uidl(number=1), ok("1 a"))),
    (
        Retr(number=1),
        b"+OK 60 octets\r\n" + STUFFED + b".\r\n",
        ContentReceived(Retr(number=1), MESSAGE, True),
    ),
    (Retr(number=1), b"+OK\r\n.\r\n", ContentReceived(Retr(number=1), b"", True)),
    (Retr(number=9), b"-ERR no such message\r\n", ResponseReceived(Retr(number=9), err("no such message"))),
    (
        Top(number=1, lines=0),
        b"+OK\r\nA: b\r\n\r\n.\r\n",
        ContentReceived(Top(number=1, lines=0), b"A: b\r\n\r\n", True),
    ),
    (
        Dele(number=1),
        b"+ok lower case, bare LF\n",
        ResponseReceived(Dele(number=1), ok("lower case, bare LF")),
    ),
    (Noop(), b"+OK\r\n", ResponseReceived(Noop(), ok())),
    (Rset(), b"+OK\r\n", ResponseReceived(Rset(), ok())),
    (
        Capa(),
        b"+OK\r\nTOP\r\nUIDL\r\n.\r\n",
        CapabilitiesReceived(Capa(), Capabilities({"TOP": (), "UIDL": ()})),
    ),
    (Capa(), b"+OK\r\n.\r\n", CapabilitiesReceived(Capa(), Capabilities())),
    (Capa(), b"-ERR what?\r\n", ResponseReceived(Capa(), err("what?"))),
    (Quit(), b"+OK bye\r\n", ResponseReceived(Quit(), ok("bye"))),
    (Quit(), b"-ERR some were not removed\r\n", ResponseReceived(Quit(), err("some were not removed"))),
]


@pytest.mark.parametrize(("command", "octets", "event"), ANSWERS)
def test_an_answer_is_read_whole_and_octet_by_octet_and_with_more_behind_it(
    command: Command, octets: bytes, event: ClientEvent
) -> None:
    for pieces in ([octets], [octets[i : i + 1] for i in range(len(octets))]):
        client = logged_in()
        client.send(command)
        assert events(client, pieces) == [event]
        assert client.in_flight == ()
        assert client.next_event() is Signal.NEED_DATA
    client = logged_in()
    client.send(command)
    trailer = UnsolicitedResponse(err("and more"))
    assert events(client, [octets + b"-ERR and more\r\n"]) == [event, trailer]


@given(
    st.lists(st.sampled_from([row for row in ANSWERS if type(row[0]) not in ENDS_GROUP]), max_size=8),
    st.data(),
)
def test_any_split_of_pipelined_answers_gives_the_same_events(
    rows: list[tuple[Command, bytes, ClientEvent]], data: st.DataObject
) -> None:
    client = logged_in()
    for command, _, _ in rows:
        client.send(command)
    assert client.in_flight == tuple(command for command, _, _ in rows)
    assert client.data_to_send() == [command.encode() for command, _, _ in rows]
    octets = b"".join(answer for _, answer, _ in rows)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(octets)))) | {0, len(octets)})
    pieces = [octets[a:b] for a, b in pairwise(cuts)]
    assert events(client, pieces) == [event for _, _, event in rows]
    assert client.in_flight == ()


@given(st.lists(st.binary(max_size=60)))
def test_any_octets_are_events_or_the_server_s_fault(pieces: list[bytes]) -> None:
    client = logged_in()
    client.send(List())
    client.send(Retr(number=1))
    try:
        events(client, [b"+OK\r\n", *pieces])
    except RemoteProtocolError as error:
        assert client.state is State.ERROR
        with pytest.raises(RemoteProtocolError) as again:
            client.next_event()
        assert again.value is error


def test_content_is_handed_on_as_it_comes() -> None:
    client = logged_in()
    client.send(Retr(number=1))
    client.receive_data(b"+OK\r\nfirst\r\nsec")
    assert client.next_event() == ContentReceived(Retr(number=1), b"first\r\nsec", False)
    assert client.next_event() is Signal.NEED_DATA
    assert client.awaiting is Awaiting.CONTENT
    client.receive_data(b"ond\r")
    assert client.next_event() == ContentReceived(Retr(number=1), b"ond", False)
    client.receive_data(b"\n.")
    assert client.next_event() is Signal.NEED_DATA
    client.receive_data(b"\r\n")
    assert client.next_event() == ContentReceived(Retr(number=1), b"\r\n", True)
    assert client.awaiting is Awaiting.NOTHING
    assert client.stage is Stage.COMMAND


def test_a_message_that_has_arrived_is_one_event() -> None:
    client = logged_in()
    for number in (1, 2):
        client.send(Retr(number=number))
    client.receive_data(b"+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n.\r\n")
    assert client.next_event() == ContentReceived(Retr(number=1), b"one\r\n", True)
    assert client.next_event() == ContentReceived(Retr(number=2), b"two\r\n", True)


LINES = st.lists(
    st.one_of(
        st.sampled_from([b"", b".", b"..", b".x", b"x.", b"\r", b"\n.", b"a.b." * 100]),
        st.integers(0, 1000).map(lambda octets: b"x" * octets),
    ),
    max_size=12,
)


@given(st.lists(LINES, min_size=1, max_size=4), st.data())
def test_messages_of_any_size_with_dots_anywhere(messages: list[list[bytes]], data: st.DataObject) -> None:
    client = logged_in()
    client.send(*(Retr(number=number) for number in range(1, len(messages) + 1)))
    octets = b""
    for lines in messages:
        stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
        octets += b"+OK\r\n" + b"".join(line + b"\r\n" for line in stuffed) + b".\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(octets)), max_size=5)) | {0, len(octets)})
    expected = [
        ContentReceived(Retr(number=number), b"".join(line + b"\r\n" for line in lines), True)
        for number, lines in enumerate(messages, 1)
    ]
    pieces = [octets[a:b] for a, b in pairwise(cuts)]
    assert events(client, pieces) == expected
    assert not client.has_unread

    # The same, those taken together that have arrived whole.
    client = logged_in()
    client.send(*(Retr(number=number) for number in range(1, len(messages) + 1)))
    contents, so_far = [], b""
    for piece in pieces:
        client.receive_data(piece)
        event: ClientEvent | Signal | None = None
        while event is not Signal.NEED_DATA:
            contents += client.take_messages()
            assert client.in_flight == tuple(event.command for event in expected[len(contents) :])
            event = client.next_event()
            if isinstance(event, ContentReceived):
                so_far += event.data
                if event.ended:
                    contents.append(so_far)
                    so_far = b""
    assert contents == [event.data for event in expected]
    assert not client.has_unread


def test_messages_that_have_arrived_are_taken_together() -> None:
    client = logged_in()
    client.send(*(Retr(number=number) for number in range(1, 6)))
    client.receive_data(b"+OK\r\none.\r\n.\r\n+OK 3\r\n.\r\n+OK\r\n..three\r\n.\r\n-ERR\r\n+OK\r\nfive")
    assert client.take_messages() == [b"one.\r\n", b"", b".three\r\n"]
    assert client.in_flight == (Retr(number=4), Retr(number=5))
    assert client.take_messages() == []  # for that is none
    assert client.next_event() == ResponseReceived(Retr(number=4), err())
    assert client.take_messages() == []  # for that is not whole
    assert client.next_event() == ContentReceived(Retr(number=5), b"five", False)
    client.receive_data(b"\r\n.\r\n")
    assert client.take_messages() == []  # for that is the rest of one
    assert client.next_event() == ContentReceived(Retr(number=5), b"\r\n", True)
    assert client.take_messages() == []


def test_messages_that_are_too_large_are_not_taken() -> None:
    client = logged_in(limits=ClientLimits(content=10))
    client.send(*(Retr(number=number) for number in range(1, 4)))
    client.receive_data(b"+OK\r\n12345678\r\n.\r\n+OK\r\n123456789\r\n.\r\n")
    assert client.take_messages() == [b"12345678\r\n"]
    with pytest.raises(LimitExceeded):
        client.next_event()
    assert client.take_messages() == []


def test_many_messages_are_asked_for_together() -> None:
    client, traced = logged_in(), logged_in()
    lines: list[str] = []
    traced.trace = lambda _, line: lines.append(line)
    for each in (client, traced):
        each.retrieve([3, 1, 2])
        each.retrieve([])
        assert each.data_to_send() == [b"RETR 3\r\nRETR 1\r\nRETR 2\r\n"]
        assert each.in_flight == (Retr(number=3), Retr(number=1), Retr(number=2))
        assert each.stage is Stage.RETRIEVAL
        assert each.awaiting is Awaiting.RESPONSE
    assert lines == ["RETR 3", "RETR 1", "RETR 2"]


@pytest.mark.parametrize("numbers", [[1, 0], [1, 1.5], ["1"], [None]])
def test_what_is_no_number_is_not_asked_for(numbers: list[int]) -> None:
    client = logged_in()
    with pytest.raises(InputError):
        client.retrieve(numbers)
    assert client.data_to_send() == []
    assert client.is_idle


def test_messages_are_asked_for_together_only_where_that_is_legal() -> None:
    client = logged_in("UIDL")
    with pytest.raises(LocalProtocolError, match="RETR has to wait for the answer to RETR"):
        client.retrieve([1, 2])
    assert client.data_to_send() == []
    client.retrieve([1])
    with pytest.raises(LocalProtocolError, match="RETR has to wait for the answer to RETR"):
        client.retrieve([2])
    with pytest.raises(LocalProtocolError, match="RETR is not legal"):
        greeted().retrieve([1])


def test_only_messages_are_taken_together() -> None:
    client = logged_in()
    client.send(List(), Top(number=1, lines=0))
    client.receive_data(b"+OK\r\n1 2\r\n.\r\n+OK\r\n\r\n.\r\n")
    assert client.take_messages() == []
    assert client.next_event() == ListingReceived(List(), Listing([ScanListing(1, 2)]))
    assert client.take_messages() == []


@pytest.mark.parametrize("command", [Retr(number=1), List()])
@pytest.mark.parametrize("rest", [b".\r\n", b"1 2\r\n.\r\n", b"..\r\n1 2\r\n.\r\n"])
def test_a_status_line_may_be_unusual(command: Command, rest: bytes) -> None:
    found = []
    for line in (b"+OK\r\n", b"+OK  and more \r\n", b"+ok\r\n", b"+OK\n", b"+OK and more\n"):
        for pieces in ([line + rest], [bytes([octet]) for octet in line + rest]):
            client = logged_in()
            client.send(command)
            found.append(events(client, pieces))
    assert len(found[0]) == 1
    assert found == found[:1] * len(found)


@pytest.mark.parametrize("line", [b"+OKAY\r\n", b"+OK\0\r\n", b"+OK a\rb\r\n", b"OK\r\n", b"\r\n"])
def test_a_status_line_may_not_be_anything(line: bytes) -> None:
    client = logged_in()
    client.send(Retr(number=1))
    with pytest.raises(RemoteProtocolError, match="not a response"):
        events(client, [line + b".\r\n"])


@pytest.mark.parametrize("end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n. \r\n", b"\r\n.\r\r\n"])
def test_content_ends_with_crlf_dot_crlf_and_nothing_else(end: bytes) -> None:
    client = logged_in()
    client.send(Retr(number=1))
    (event,) = events(client, [b"+OK\r\ntext" + end])
    assert isinstance(event, ContentReceived)
    assert not event.ended


def test_an_error_is_for_good() -> None:
    client = logged_in()
    client.send(Stat())
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="not a response"):
            events(client, [b"nonsense\r\n+OK\r\n"])
        assert client.state is State.ERROR


# --- login


def test_the_greeting_and_its_timestamp() -> None:
    client = ClientProtocol()
    assert client.state is State.GREETING
    assert client.awaiting is Awaiting.GREETING
    assert client.stage is Stage.GREETING
    (event,) = events(client, [GREETING])
    assert isinstance(event, GreetingReceived)
    assert client.timestamp == "<1896.697170952@dbc.mtview.ca.us>"
    assert client.state is State.AUTHORIZATION


@pytest.mark.parametrize(
    "greeting",
    [
        b"+OK ready\r\n",
        b"+OK <no-at-sign>\r\n",
        b"+OK <a b@c>\r\n",
        b"+OK <a\x80@c>\r\n",
        "+OK <ä@c>\r\n".encode(),
        b"+OK <a\x01@c>\r\n",
        b"+OK <<a>@>\r\n",
    ],
)
def test_a_timestamp_with_junk_in_it_is_none(greeting: bytes) -> None:
    client = ClientProtocol()
    events(client, [greeting])
    assert client.timestamp is None


def test_a_server_that_does_not_want_to() -> None:
    client = ClientProtocol()
    assert events(client, [b"-ERR [SYS/TEMP] too busy\r\n"]) == [
        GreetingReceived(err("too busy", "SYS/TEMP"))
    ]
    assert client.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        client.send(Capa())


@pytest.mark.parametrize("greeting", [b"+ hello\r\n", b"220 smtp\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_a_server_of_another_kind(greeting: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        events(ClientProtocol(), [greeting])


def test_name_and_password() -> None:
    client = greeted()
    exchange(client, User(name="tim"), b"+OK\r\n")
    assert client.state is State.PASSWORD
    exchange(client, Pass(password="wrong"), b"-ERR [AUTH] no\r\n")
    assert client.state is State.AUTHORIZATION
    exchange(client, User(name="tom"), b"-ERR\r\n")
    assert client.state is State.AUTHORIZATION
    exchange(client, Apop(name="tim", digest="d"), b"+OK\r\n")
    assert client.state is State.TRANSACTION


def test_an_exchange_of_challenges() -> None:
    client = greeted()
    event = exchange(client, Auth(mechanism="CRAM-MD5"), b"+ PDFAYj4=\r\n")
    assert event == ChallengeReceived(Auth(mechanism="CRAM-MD5"), b"<1@b>")
    assert "1@b" not in repr(event)
    assert client.state is State.AUTHENTICATION
    assert client.in_flight == ()
    with pytest.raises(LocalProtocolError):
        client.send(Quit())
    again = exchange(client, AuthResponse(response=b"tim 0"), b"+\r\n")
    assert again == ChallengeReceived(AuthResponse(response=b"tim 0"), b"")
    exchange(client, AuthResponse(response=b"x"), b"+OK in\r\n")
    assert client.state is State.TRANSACTION


def test_an_exchange_given_up() -> None:
    client = greeted()
    exchange(client, Auth(mechanism="CRAM-MD5"), b"+ \r\n")
    exchange(client, AuthResponse(response=None), b"-ERR as you like\r\n")
    assert client.state is State.AUTHORIZATION


def test_a_challenge_has_to_be_base64() -> None:
    client = greeted()
    client.send(Auth(mechanism="CRAM-MD5"))
    with pytest.raises(RemoteProtocolError) as caught:
        events(client, [b"+ what is this\r\n"])
    assert caught.value.stage is Stage.AUTHENTICATION
    assert client.state is State.ERROR


def test_a_challenge_is_an_answer_to_auth_only() -> None:
    client = logged_in()
    client.send(Stat())
    with pytest.raises(RemoteProtocolError, match="answered STAT with a challenge"):
        events(client, [b"+ \r\n"])


# --- what is legal

EVERY_COMMAND: list[Command] = [
    User(name="a"),
    Pass(password="a"),
    Apop(name="a", digest="d"),
    Auth(mechanism="PLAIN"),
    AuthResponse(response=b""),
    Capa(),
    Stls(),
    Stat(),
    List(),
    Uidl(),
    Retr(number=1),
    Top(number=1, lines=1),
    Dele(number=1),
    Noop(),
    Rset(),
    Quit(),
]


def in_state(state: State) -> ClientProtocol:
    match state:
        case State.GREETING:
            return ClientProtocol()
        case State.AUTHORIZATION:
            return greeted()
        case State.PASSWORD:
            client = greeted()
            exchange(client, User(name="tim"), b"+OK\r\n")
        case State.AUTHENTICATION:
            client = greeted()
            exchange(client, Auth(mechanism="LOGIN"), b"+ \r\n")
        case State.HANDSHAKE:
            client = greeted()
            exchange(client, Stls(), b"+OK\r\n")
        case State.TRANSACTION:
            client = logged_in()
        case State.UPDATE:
            client = logged_in()
            client.send(Quit())
        case State.CLOSED:
            client = logged_in()
            exchange(client, Quit(), b"+OK\r\n")
        case State.ERROR:
            client = logged_in()
            client.send_failed()
    assert client.state is state
    return client


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("state", State)
def test_the_table_says_what_is_legal(state: State, command: Command) -> None:
    client = in_state(state)
    before = client.data_to_send() and client.in_flight
    if type(command) in TRANSITIONS[state]:
        client.send(command)
        assert client.in_flight == (command,)
    else:
        with pytest.raises(LocalProtocolError, match=command.verb):
            client.send(command)
        assert client.data_to_send() == []
        assert client.in_flight == (before or ())


def test_every_command_and_state_has_its_place() -> None:
    assert set(TRANSITIONS) == set(State)
    legal = {command for moves in TRANSITIONS.values() for command in moves}
    assert legal == {type(command) for command in EVERY_COMMAND}
    assert legal >= ENDS_GROUP


def test_without_pipelining_one_command_is_in_flight() -> None:
    client = logged_in("TOP")
    client.send(Stat())
    with pytest.raises(LocalProtocolError) as caught:
        client.send(Noop())
    assert "does not offer PIPELINING" in str(caught.value)
    assert client.in_flight == (Stat(),)


@pytest.mark.parametrize("last", [Capa(), Quit()])
def test_nothing_may_follow_what_ends_a_group(last: Command) -> None:
    client = logged_in()
    client.send(Stat())
    client.send(last)
    with pytest.raises(LocalProtocolError):
        client.send(Noop())


def test_commands_that_are_pipelined_leave_together() -> None:
    client = logged_in()
    assert client.is_idle
    client.send()
    assert client.data_to_send() == []
    client.send(Stat(), Dele(number=1), Quit())
    assert client.data_to_send() == [b"STAT\r\nDELE 1\r\nQUIT\r\n"]
    assert client.in_flight == (Stat(), Dele(number=1), Quit())
    assert client.state is State.UPDATE
    assert not client.is_idle


@pytest.mark.parametrize("commands", [(Noop(), Quit(), Noop()), (Noop(), Capa(), Noop()), (Noop(), Stls())])
def test_of_commands_that_cannot_be_pipelined_none_leaves(commands: tuple[Command, ...]) -> None:
    client = logged_in()
    with pytest.raises(LocalProtocolError):
        client.send(*commands)
    with pytest.raises(LocalProtocolError, match="does not offer PIPELINING"):
        logged_in("TOP").send(Noop(), Noop())
    assert client.data_to_send() == []
    assert client.is_idle
    assert client.state is State.TRANSACTION


def test_an_argument_that_cannot_be_sent_leaves_nothing_behind() -> None:
    client = greeted()
    with pytest.raises(LocalProtocolError):
        client.send(User(name="a\r\nDELE 1"))
    assert client.data_to_send() == []
    assert client.in_flight == ()


def test_what_is_legal_is_told() -> None:
    client = ClientProtocol()
    with pytest.raises(LocalProtocolError) as caught:
        client.send(Stat())
    assert caught.value.cure == ""
    events(client, [b"+OK ready\r\n"])
    with pytest.raises(LocalProtocolError, match="STAT is not legal in the state authorization") as caught:
        client.send(Stat())
    assert caught.value.cure == "legal is APOP AUTH CAPA QUIT STLS USER"


def test_the_end_of_a_session() -> None:
    client = logged_in()
    client.send(Retr(number=1))
    client.send(Quit())
    assert client.state is State.UPDATE
    assert client.awaiting is Awaiting.RESPONSE
    assert client.stage is Stage.RETRIEVAL
    events(client, [b"-ERR no\r\n"])
    assert client.state is State.UPDATE
    assert client.awaiting is Awaiting.UPDATE
    assert client.stage is Stage.QUIT
    events(client, [b"+OK\r\n"])
    assert client.state is State.CLOSED
    client.receive_eof()
    client.receive_eof()
    assert client.next_event() == ConnectionEnded(())
    assert client.next_event() == ConnectionEnded(())


# --- what the core makes impossible


@pytest.mark.parametrize("line", [b"+OK late\r\n", b"-ERR [SYS/TEMP] going down\r\n"])
def test_a_response_with_nothing_in_flight_ends_the_session(line: bytes) -> None:
    client = logged_in()
    (event,) = events(client, [line])
    assert isinstance(event, UnsolicitedResponse)
    assert client.state is State.ERROR
    with pytest.raises(LocalProtocolError):
        client.send(Stat())


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    client = logged_in()
    exchange(client, Dele(number=1), b"+OK\r\n")
    found = events(client, [b"+OK again\r\n"])
    assert found == [UnsolicitedResponse(ok("again"))]
    with pytest.raises(LocalProtocolError):
        client.send(Dele(number=2))


@pytest.mark.parametrize("octets", [b"-ERR [SYS/TEMP] going down\r\n", b"+"])
def test_what_came_before_a_command_is_not_its_answer(octets: bytes) -> None:
    client = logged_in()
    client.send(Noop())
    client.receive_data(b"+OK\r\n" + octets)
    assert client.next_event() == ResponseReceived(Noop(), ok())
    assert client.has_unread
    with pytest.raises(LocalProtocolError, match="before it is known what the server says"):
        client.send(Stat())
    assert client.data_to_send() == [b"NOOP\r\n"]


def test_a_challenge_with_nothing_in_flight_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError):
        events(logged_in(), [b"+ \r\n"])


def test_plaintext_behind_the_answer_to_stls_is_refused() -> None:
    client = greeted("STLS")
    client.send(Stls())
    client.receive_data(b"+OK begin\r\n+OK injected\r\n")
    assert client.next_event() == ResponseReceived(Stls(), ok("begin"))
    with pytest.raises(PlaintextAfterStartTLS):
        client.start_tls()
    assert client.state is State.ERROR


def test_tls_makes_a_new_session() -> None:
    client = greeted("STLS")
    assert client.timestamp
    exchange(client, Stls(), b"+OK\r\n")
    client.start_tls()
    assert client.state is State.AUTHORIZATION
    assert client.capabilities == Capabilities()
    assert client.timestamp is None
    exchange(client, Stls(), b"-ERR already\r\n")
    assert client.state is State.AUTHORIZATION


@pytest.mark.parametrize("state", [state for state in State if state is not State.HANDSHAKE])
def test_tls_starts_after_stls_only(state: State) -> None:
    with pytest.raises(LocalProtocolError, match="STLS"):
        in_state(state).start_tls()


def test_what_did_not_leave_ends_this_direction_only() -> None:
    client = logged_in()
    client.send(Stat())
    client.send(Quit())
    client.send_failed()
    with pytest.raises(LocalProtocolError):
        client.send(Noop())
    assert events(client, [b"-ERR [SYS/TEMP] going down\r\n+OK\r\n"]) == [
        ResponseReceived(Stat(), err("going down", "SYS/TEMP")),
        ResponseReceived(Quit(), ok()),
    ]
    assert client.state is State.ERROR


@pytest.mark.parametrize("so_far", [b"", b"+OK\r\npart", b"+O"])
def test_a_connection_that_ends_too_early_names_what_was_in_flight(so_far: bytes) -> None:
    client = logged_in()
    client.send(Retr(number=1))
    client.send(Dele(number=1))
    client.receive_data(so_far)
    client.receive_eof()
    (*_, last) = events(client, [b""])
    assert last == ConnectionEnded((Retr(number=1), Dele(number=1)))


@pytest.mark.parametrize(
    ("command", "octets", "limit"),
    [
        (Stat(), b"+OK " + b"x" * 60, "response_line"),
        (Stat(), b"+OK " + b"x" * 60 + b"\r\n", "response_line"),
        (Capa(), b"+OK\r\nTOP\r\n" + b"X" * 60, "capabilities"),
        (Capa(), b"+OK\r\nTOP\r\n" + b"X" * 60 + b"\r\n.\r\n", "capabilities"),
        (List(), b"+OK\r\n" + b"1 1\r\n" * 20, "listing_octets"),
        (Uidl(), b"+OK\r\n" + b"1 1\r\n" * 20 + b".\r\n", "listing_octets"),
        (Uidl(), b"+OK\r\n" + b"1 1\r\n" * 5 + b".\r\n", "listing_lines"),
        (Retr(number=1), b"+OK\r\n" + b"x" * 65, "content"),
        (Retr(number=1), b"+OK\r\n" + b"x" * 65 + b"\r\n.\r\n", "content"),
    ],
)
def test_every_buffer_names_its_limit(command: Command, octets: bytes, limit: str) -> None:
    limits = ClientLimits(response_line=60, listing_octets=64, listing_lines=4, capabilities=64, content=64)
    client = logged_in(limits=limits)
    assert client.limits is limits
    client.send(command)
    with pytest.raises(LimitExceeded) as caught:
        events(client, [octets[:50], octets[50:]])
    assert caught.value.limit == limit
    assert client.state is State.ERROR


def test_the_limit_of_content_is_that_of_one_message() -> None:
    client = logged_in(limits=ClientLimits(content=10))
    for _ in range(3):
        exchange(client, Retr(number=1), b"+OK\r\n12345678\r\n.\r\n")


# --- transcripts for people


def test_a_trace_shows_everything_but_secrets_and_content() -> None:
    lines: list[tuple[Direction, str]] = []
    client = ClientProtocol(trace=lambda direction, line: lines.append((direction, line)))
    events(client, [b"+OK hi\r\n"])
    exchange(client, Capa(), b"+OK\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n")
    exchange(client, Capa(), b"+OK\r\n.\r\n")
    exchange(client, Auth(mechanism="PLAIN"), b"+ c2VjcmV0\r\n")
    exchange(client, AuthResponse(response=b"\0tim\0secret"), b"-ERR\r\n")
    exchange(client, User(name="tim"), b"+OK\r\n")
    exchange(client, Pass(password="secret"), b"+OK in\x07\r\n")
    exchange(client, List(), b"+OK\r\n1 5\r\n2 \x1b\r\n.\r\n")
    exchange(client, Retr(number=1), b"+OK\r\nsecret\r\n.\r\n")
    assert [line for direction, line in lines if direction is Direction.SENT] == [
        "CAPA",
        "CAPA",
        "AUTH PLAIN",
        "****",
        "USER tim",
        "PASS ****",
        "LIST",
        "RETR 1",
    ]
    assert [line for direction, line in lines if direction is Direction.RECEIVED] == [
        "+OK hi",
        "+OK",
        "PIPELINING",
        "SASL PLAIN",
        "+OK",
        "+ ****",
        "-ERR",
        "+OK",
        "+OK in\\x07",
        "+OK",
        "1 5",
        "2 \\x1b",
        "+OK",
        "<8 octets of content>",
    ]


def test_repr_shows_state_and_counts() -> None:
    client = logged_in()
    client.send(Stat())
    client.receive_data(b"+OK")
    assert repr(client) == "<pop3.ClientProtocol transaction, 1 in flight, 3 unread>"
    client.send(List())
    assert events(client, [b"\r\n+OK\r\n1 100\r\n2 1"]) == [ResponseReceived(Stat(), ok())]
    assert repr(client) == "<pop3.ClientProtocol transaction, 1 in flight, 10 unread>"
