"""A peer that never ends its line, answer, listing or message fills no memory: every buffer has its limit."""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from asyncmail import POP3Client, pop3, smtp
from asyncmail.errors import ClosedError, ConnectionLost, LimitExceeded
from asyncmail.net import memory_stream_pair
from asyncmail.wire import Signal
from smtp_talk import MAIL, RCPT, addressed, server, server_in, session, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from asyncmail.net import AnyIOStream

ENOUGH = 2_000_000  # octets, more than what any limit here lets a peer send
SEGMENTS = [1_000, 65_536]


def endless(unit: bytes, segment: int) -> Iterator[bytes]:
    """`unit` again and again, in segments, until there is no doubt."""
    piece = (
        (unit * (segment // len(unit) + 2))[:segment] if len(unit) == 1 else unit * (segment // len(unit) + 1)
    )
    return itertools.repeat(piece, ENOUGH // len(piece) + 1)


def unread(protocol: Any) -> int:
    """What a protocol object says that it holds."""
    found = re.search(r"([0-9]+) unread", repr(protocol))
    assert found is not None
    return int(found[1])


def fill(protocol: Any, unit: bytes, segment: int) -> LimitExceeded:
    """Feed without end; return the error that ends it."""
    for piece in endless(unit, segment):
        protocol.receive_data(piece)
        try:
            while not isinstance(protocol.next_event(), Signal):
                pass
        except LimitExceeded as error:
            return error
    pytest.fail(f"{ENOUGH} octets were taken: {protocol!r}")


# --- what servers say


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize(
    ("unit", "limit"),
    [(b"2", "reply_line"), (b"\0", "reply_line"), (b"250-x\r\n", "reply"), (b"250-\n", "reply")],
)
def test_a_reply_without_end(unit: bytes, limit: str, segment: int) -> None:
    for prepare in (session, smtp.ClientProtocol):
        client = prepare()
        if client.state is smtp.ClientState.READY:
            client.send(smtp.Noop())
        assert fill(client, unit, segment).limit == limit


@pytest.mark.parametrize("segment", SEGMENTS)
def test_keywords_without_end(segment: int) -> None:
    client = session()
    client.send(smtp.Ehlo(domain="x"))
    assert fill(client, b"250-X-KEYWORD of many\r\n", segment).limit == "reply"
    assert len(client.extensions) < 100


def test_keywords_within_the_limit_are_few() -> None:
    client = session()
    client.send(smtp.Ehlo(domain="x"))
    client.receive_data(b"".join(b"250-%d\r\n" % n for n in range(6_000)) + b"250 end\r\n")
    assert isinstance(client.next_event(), smtp.ReplyReceived)
    assert len(client.extensions) == 6_000


def test_a_challenge_without_end() -> None:
    client = session()
    client.send(smtp.Auth(mechanism="PLAIN"))
    client.receive_data(b"334 ")
    assert fill(client, b"A", 4096).limit == "reply_line"


@pytest.mark.parametrize("segment", SEGMENTS)
def test_replies_without_number_end_the_session(segment: int) -> None:
    """What nothing asked for is not collected: the first is an event, and nothing is sent any more."""
    client = session()
    client.receive_data(b"250 x\r\n" * 1_000)
    assert isinstance(client.next_event(), smtp.UnsolicitedReply)
    assert client.state is smtp.ClientState.ERROR


def pop3_client(command: pop3.Command | None, limits: pop3.ClientLimits | None = None) -> pop3.ClientProtocol:
    client = pop3.ClientProtocol(limits=limits)
    client.receive_data(b"+OK ready\r\n")
    client.next_event()
    for login in (pop3.User(name="a"), pop3.Pass(password="b")):
        client.send(login)
        client.receive_data(b"+OK\r\n")
        client.next_event()
    if command is not None:
        client.send(command)
    return client


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize(
    ("command", "start", "unit", "limit"),
    [
        (pop3.Stat(), b"", b"+", "response_line"),
        (pop3.Stat(), b"+OK ", b"1", "response_line"),
        (pop3.Capa(), b"+OK\r\n", b"KEYWORD\r\n", "capabilities"),
        (pop3.Capa(), b"+OK\r\n", b"K", "capabilities"),
        (pop3.List(), b"+OK\r\n", b"1 5\r\n", "listing_octets"),
        (pop3.List(), b"+OK\r\n", b"1", "listing_octets"),
        (pop3.Uidl(), b"+OK\r\n", b"1 a\r\n", "listing_octets"),
        (pop3.Retr(number=1), b"+OK\r\n", b"x\r\n", "content"),
        (pop3.Retr(number=1), b"+OK\r\n", b"x", "content"),
        (pop3.Top(number=1, lines=1), b"+OK\r\n", b"..\r\n", "content"),
    ],
)
def test_a_pop3_answer_without_end(
    command: pop3.Command, start: bytes, unit: bytes, limit: str, segment: int
) -> None:
    client = pop3_client(command, pop3.ClientLimits(listing_octets=100_000, content=100_000))
    client.receive_data(start)
    assert fill(client, unit, segment).limit == limit


def test_a_pop3_listing_of_too_many_lines() -> None:
    client = pop3_client(pop3.List(), pop3.ClientLimits(listing_lines=10))
    client.receive_data(b"+OK\r\n" + b"1 1\r\n" * 11 + b".\r\n")
    with pytest.raises(LimitExceeded) as caught:
        client.next_event()
    assert caught.value.limit == "listing_lines"


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("unit", [b"x", b"x\r\n", b"..\r\n", b"\r\n", b"\r", b"."])
def test_pop3_content_is_handed_on_and_not_kept(unit: bytes, segment: int) -> None:
    client = pop3_client(pop3.Retr(number=1))
    client.receive_data(b"+OK\r\n")
    for piece in endless(unit, segment):
        client.receive_data(piece)
        while not isinstance(client.next_event(), Signal):
            pass
        assert unread(client) <= 5


class LyingServer:
    """Tells that every message has `octets`, sends `good` messages of one line, and then one without end."""

    def __init__(self, stream: AnyIOStream, *, octets: int | None, good: int) -> None:
        self.stream = stream
        self.octets = octets
        self.good = good
        self.sent = 0

    async def run(self) -> None:
        await self.say(b"+OK")
        while data := await self.stream.receive():
            for line in data.splitlines():
                match line.split()[0]:
                    case b"CAPA":
                        await self.say(b"+OK\r\nPIPELINING\r\nUSER\r\n.")
                    case b"LIST":
                        listing = b"".join(
                            b"%d %d\r\n" % (number, self.octets or 0) for number in range(1, 100)
                        )
                        await self.say(b"+OK\r\n%b." % listing)
                    case b"RETR" | b"TOP":
                        await self.send_message()
                    case _:
                        await self.say(b"+OK")

    async def say(self, line: bytes) -> None:
        await self.stream.send([line + b"\r\n"])

    async def send_message(self) -> None:
        await self.say(b"+OK")
        while not self.good:
            await self.say(b"x" * 1_000)
            self.sent += 1_002
        self.good -= 1
        await self.say(b"x\r\n.")


async def retrieve(client: POP3Client) -> None:
    await client.retrieve(1)


async def look_at(client: POP3Client) -> None:
    await client.top(1, 0)


async def retrieve_many(client: POP3Client) -> None:
    async for _ in client.retrieve_many(range(1, 100)):
        pass


async def do_something_else_meanwhile(client: POP3Client) -> None:
    async for _ in client.retrieve_many(range(1, 100)):
        await client.noop()


@pytest.mark.parametrize(
    ("octets", "limit", "most"),
    [(1_000, "surplus", 450_000), (None, "whole", 900_000), (10**12, "whole", 900_000)],
)
@pytest.mark.parametrize(
    ("use", "good"),
    [(retrieve, 0), (look_at, 0), (retrieve_many, 0), (retrieve_many, 40), (do_something_else_meanwhile, 40)],
)
async def test_a_message_that_is_kept_whole_without_end(
    use: Callable[[POP3Client], Awaitable[None]], good: int, octets: int | None, limit: str, most: int
) -> None:
    limits = pop3.ClientLimits(surplus=200_000, whole=800_000)
    ours, theirs = memory_stream_pair()
    server = LyingServer(theirs, octets=octets, good=good)
    task = asyncio.create_task(server.run())
    client = POP3Client("pop3://tim:secret@localhost", stream=ours, limits=limits, mechanisms=("USER",))
    await client.connect()
    if octets is not None:
        await client.list()
    with pytest.raises(LimitExceeded) as caught:
        await use(client)
    assert caught.value.limit == limit
    with pytest.raises(ClosedError):
        await client.noop()
    with suppress(ConnectionLost):
        await task
    assert server.sent < most


async def test_messages_within_their_limits_are_retrieved() -> None:
    limits = pop3.ClientLimits(surplus=0, whole=100)
    ours, theirs = memory_stream_pair()
    server = LyingServer(theirs, octets=40, good=1_000)
    task = asyncio.create_task(server.run())
    async with POP3Client(
        "pop3://tim:secret@localhost", stream=ours, limits=limits, mechanisms=("USER",)
    ) as client:
        await client.list()
        found = []
        async for item in client.retrieve_many(range(1, 100)):
            await client.noop()
            found.append(item.content)
        assert found == [b"x\r\n"] * 99
    theirs.abort()
    with suppress(ClosedError):
        await task


# --- what clients say


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("unit", [b"x", b"NOOP ", b"\r", b"AUTH PLAIN ", b"BDAT 5 "])
@pytest.mark.parametrize(
    "state", [smtp.ServerState.HELLO, smtp.ServerState.READY, smtp.ServerState.AUTHENTICATION]
)
def test_a_command_without_end(state: smtp.ServerState, unit: bytes, segment: int) -> None:
    protocol = server_in(state)
    rejected = 0
    for piece in endless(unit, segment):
        rejected += len(told(protocol, piece))
        assert unread(protocol) <= 12_288
    assert rejected == 1


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("unit", [b"x", b"x\r\n", b"..\r\n", b"\r", b"\n", b".", b"\r\n.."])
@pytest.mark.parametrize("maximum", [1_000, 100_000_000])
def test_content_is_handed_on_and_not_kept(maximum: int, unit: bytes, segment: int) -> None:
    protocol = server(limits=smtp.ServerLimits(message_size=maximum))
    told(protocol, MAIL + RCPT + b"DATA\r\n")
    for piece in endless(unit, segment):
        protocol.receive_data(piece)
        while not isinstance(event := protocol.next_event(), Signal):
            assert isinstance(event, smtp.ContentReceived)
            # NORMALIZE may double what is one octet; here bare newlines are refused.
            assert len(event.data) <= len(piece) + 5
        assert unread(protocol) <= 5


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("state", [smtp.ServerState.HELLO, smtp.ServerState.RECIPIENTS])
def test_a_chunk_without_end_is_handed_on_or_swallowed(state: smtp.ServerState, segment: int) -> None:
    protocol = server_in(state)
    told(protocol, b"BDAT 99999999999999999999\r\n")
    for piece in endless(b"x", segment):
        told(protocol, piece)
        assert unread(protocol) == 0


def test_recipients_without_end() -> None:
    protocol = server(limits=smtp.ServerLimits(recipients=10))
    accepted = [
        event for event in told(protocol, MAIL + RCPT * 5_000) if isinstance(event, smtp.CommandReceived)
    ]
    assert len(accepted) == 11


def test_a_session_without_end() -> None:
    protocol = server(limits=smtp.ServerLimits(commands=100))
    told(protocol, b"NOOP\r\n" * 5_000)
    assert protocol.state is smtp.ServerState.CLOSED


def test_errors_without_end() -> None:
    protocol = server()
    told(protocol, b"GET / HTTP/1.1\r\n" * 5_000)
    assert protocol.state is smtp.ServerState.CLOSED


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("unit", [b"x", b"NOOP ", b"\r"])
def test_a_pop3_command_without_end(unit: bytes, segment: int) -> None:
    protocol = pop3.ServerProtocol()
    protocol.send(pop3.Response(pop3.Status.OK, "ready"))
    rejected = 0
    for piece in endless(unit, segment):
        protocol.receive_data(piece)
        while not isinstance(protocol.next_event(), Signal):
            rejected += 1
        assert unread(protocol) <= 12_288
    assert rejected == 1


def test_what_was_received_is_not_copied_for_each_octet() -> None:
    """A limit is of no use if it takes quadratic time to get there: a line in single octets is searched once."""
    client = addressed(session())
    client.send(smtp.Noop())
    for _ in range(12_000):
        client.receive_data(b"2")
        assert client.next_event() is Signal.NEED_DATA
