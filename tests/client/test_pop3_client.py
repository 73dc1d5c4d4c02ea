"""POP3Client against scripted servers in memory: every answer, every fault, every cancellation."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncmail import POP3Client, POP3Timeouts
from asyncmail.errors import (
    AuthenticationError,
    BusyError,
    CleartextCredentialsRefused,
    ClosedError,
    ConnectionLost,
    InputError,
    LimitExceeded,
    LocalProtocolError,
    LoginDelayed,
    MaildropLocked,
    MailTimeout,
    MechanismUnavailable,
    NoSuchMessage,
    PlaintextAfterStartTLS,
    POP3ResponseError,
    RemoteProtocolError,
    Stage,
    TLSRequired,
    URLError,
)
from asyncmail.net import ServerURL, memory_stream_pair
from asyncmail.pop3 import ClientLimits, MaildropStatus, Response, Status

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asyncmail.net import AnyIOStream
    from peers import Authority

GREETING = "+OK ready <1896.697170952@dbc.mtview.ca.us>"
APOP = "APOP mrose c4c9334bac560ecc979e58001b3e22fb"  # RFC 1939 §7

Script = list[tuple[str, str]]

CAPA = ("CAPA", "+OK\nPIPELINING\nUSER\n.")
NO_CAPA = ("CAPA", "-ERR what?")
LOGIN: Script = [("USER tim", "+OK"), ("PASS secret", "+OK")]
QUIT = ("QUIT", "+OK")


class Server:
    """Plays a script: the line it has to be sent, and what it answers; an empty answer is none."""

    def __init__(self, stream: AnyIOStream, script: Script, greeting: str = GREETING) -> None:
        self.stream = stream
        self.script = script
        self.greeting = greeting
        self.received: list[str] = []

    async def run(self) -> None:
        await self.say(self.greeting)
        unread = b""
        for expected, answer in self.script:
            while b"\r\n" not in unread:
                data = await self.stream.receive()
                if not data:
                    return
                unread += data
            line, _, unread = unread.partition(b"\r\n")
            self.received.append(line.decode())
            assert line.decode() == expected
            await self.say(answer)
            if answer == "bye":
                return

    async def say(self, answer: str) -> None:
        if answer == "bye":
            await self.stream.aclose()
        elif answer:
            await self.stream.send([answer.replace("\n", "\r\n").encode() + b"\r\n"])


@asynccontextmanager
async def serving(
    script: Script,
    *,
    url: str = "pop3://tim:secret@localhost",
    greeting: str = GREETING,
    peer: str = "127.0.0.1",
    segment: int | None = None,
    whole: bool = True,
    **options: Any,
) -> AsyncIterator[POP3Client]:
    """A client, not yet connected, of a server whose script has to be played to its end if `whole`."""
    ours, theirs = memory_stream_pair(peer=peer, segment=segment)
    server = Server(theirs, script, greeting)
    task = asyncio.create_task(server.run())
    options.setdefault("mechanisms", ("USER",))
    try:
        yield POP3Client(url, stream=ours, **options)
        if whole:
            await task
            assert len(server.received) == len(script)
    finally:
        task.cancel()
        ours.abort()
        theirs.abort()


@asynccontextmanager
async def session(*script: tuple[str, str], **options: Any) -> AsyncIterator[POP3Client]:
    """A session that is logged in, leaves with QUIT, and plays the script in between."""
    async with serving([CAPA, *LOGIN, *script, QUIT], **options) as client, client:
        yield client


# --- commands


async def test_stat() -> None:
    async with session(("STAT", "+OK 2 320")) as client:
        assert await client.stat() == MaildropStatus(2, 320)


async def test_list() -> None:
    async with session(("LIST", "+OK\n1 120\nhm\n2 200\n."), ("LIST 2", "+OK 2 200")) as client:
        listing = await client.list()
        assert listing == [(1, 120), (2, 200)]
        assert [item.octets for item in listing] == [120, 200]
        assert listing.malformed == ("hm",)
        assert (await client.list(2)).octets == 200


async def test_uidl() -> None:
    async with session(("UIDL", "+OK\n1 a\n2 b\n."), ("UIDL 2", "+OK 2 b")) as client:
        listing = await client.uidl()
        assert [item.unique_id for item in listing] == ["a", "b"]
        assert (await client.uidl(2)).unique_id == "b"


async def test_content() -> None:
    script = [
        ("TOP 1 0", "+OK\nA: b\n\n."),
        ("TOP 1 2", "+OK\nA: b\n\n..\n."),
        ("RETR 1", "+OK\nA: b\n\n..\n."),
    ]
    for segment in (None, 1):
        async with session(*script, segment=segment) as client:
            assert await client.top(1) == b"A: b\r\n\r\n"
            assert await client.top(1, 2) == b"A: b\r\n\r\n.\r\n"
            assert await client.retrieve(1) == b"A: b\r\n\r\n.\r\n"


async def test_marks() -> None:
    async with session(
        ("DELE 1", "+OK"), ("RSET", "+OK"), ("NOOP", "+OK"), ("CAPA", "+OK\nTOP\n.")
    ) as client:
        await client.delete(1)
        await client.reset()
        await client.noop()
        assert "TOP" in await client.capa()
        assert "PIPELINING" not in client.capabilities


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("LIST 9", lambda c: c.list(9)),
        ("UIDL 9", lambda c: c.uidl(9)),
        ("TOP 9 0", lambda c: c.top(9)),
        ("RETR 9", lambda c: c.retrieve(9)),
        ("DELE 9", lambda c: c.delete(9)),
    ],
)
async def test_a_message_that_is_not_there(
    line: str, call: Callable[[POP3Client], Awaitable[object]]
) -> None:
    async with session((line, "-ERR no such message"), (line, "-ERR [SYS/TEMP] disk")) as client:
        with pytest.raises(NoSuchMessage) as caught:
            await call(client)
        assert caught.value.number == 9
        assert caught.value.command == line.split()[0]
        assert caught.value.cure.startswith("list the maildrop")
        with pytest.raises(POP3ResponseError) as trouble:
            await call(client)
        assert not isinstance(trouble.value, NoSuchMessage)
        assert trouble.value.is_transient


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("STAT", lambda c: c.stat()),
        ("LIST", lambda c: c.list()),
        ("UIDL", lambda c: c.uidl()),
        ("RSET", lambda c: c.reset()),
        ("NOOP", lambda c: c.noop()),
    ],
)
async def test_a_command_that_is_refused(line: str, call: Callable[[POP3Client], Awaitable[object]]) -> None:
    async with session((line, "-ERR no")) as client:
        with pytest.raises(POP3ResponseError) as caught:
            await call(client)
        assert caught.value.command == line
        assert caught.value.stage is Stage.COMMAND


@pytest.mark.parametrize(
    ("line", "call"),
    [("STAT", lambda c: c.stat()), ("LIST 1", lambda c: c.list(1)), ("UIDL 1", lambda c: c.uidl(1))],
)
async def test_an_answer_that_cannot_be_read_does_not_end_the_session(
    line: str, call: Callable[[POP3Client], Awaitable[object]]
) -> None:
    async with session((line, "+OK whatever"), ("NOOP", "+OK")) as client:
        with pytest.raises(RemoteProtocolError):
            await call(client)
        await client.noop()


# --- many messages


@pytest.mark.parametrize("segment", [None, 1, 7])
@pytest.mark.parametrize("capabilities", ["PIPELINING", "TOP"])
async def test_many_messages(capabilities: str, segment: int | None) -> None:
    script = [(f"RETR {n}", f"+OK\nSubject: {n}\n.") for n in (3, 1, 2)]
    capa = ("CAPA", f"+OK\n{capabilities}\n.")
    async with serving([capa, *LOGIN, *script, QUIT], segment=segment) as client, client:
        found = [(item.number, item.content) async for item in client.retrieve_many([3, 1, 2])]
    assert found == [(n, b"Subject: %d\r\n" % n) for n in (3, 1, 2)]


@pytest.mark.parametrize("segment", [None, 1, 7, 30])
@pytest.mark.parametrize("listed", [None, 0, 5, 1_000_000])
async def test_many_messages_at_once(segment: int | None, listed: int | None) -> None:
    """However they are divided, and whatever LIST told of their sizes."""
    answers = "+OK\none\n.\n+OK\n..two\n.\n-ERR no\n+OK 4\n.\n+OK\n" + "five\n" * 5 + "."
    script = [(f"RETR {n}", "" if n < 5 else answers) for n in range(1, 6)]
    if listed is not None:
        script.insert(0, ("LIST", "+OK\n" + "".join(f"{n} {listed}\n" for n in range(1, 6)) + "."))
    async with session(*script, segment=segment) as client:
        if listed is not None:
            await client.list()
        messages = client.retrieve_many(range(1, 6))
        assert await anext(messages) == (1, b"one\r\n")
        assert await anext(messages) == (2, b".two\r\n")
        with pytest.raises(NoSuchMessage):
            await anext(messages)
        assert [item async for item in messages] == [(4, b""), (5, b"five\r\n" * 5)]


async def test_no_messages() -> None:
    async with session() as client:
        assert [item async for item in client.retrieve_many([])] == []


async def test_many_messages_where_one_is_not_there() -> None:
    script = [("RETR 1", "+OK\na\n."), ("RETR 2", "-ERR no"), ("RETR 3", "+OK\nc\n.")]
    async with session(*script) as client:
        messages = client.retrieve_many([1, 2, 3])
        found = []
        with pytest.raises(NoSuchMessage) as caught:
            async for item in messages:
                found.append(item.content)  # noqa: PERF401
        assert caught.value.number == 2
        found += [item.content async for item in messages]
        assert found == [b"a\r\n", b"c\r\n"]


async def test_a_loop_may_use_the_session() -> None:
    script = [(f"RETR {n}", f"+OK\n{n}\n.") for n in (1, 2, 3)] + [(f"DELE {n}", "+OK") for n in (1, 2, 3)]
    async with session(*script, segment=5) as client:
        found = []
        async for item in client.retrieve_many([1, 2, 3]):
            found.append(item.content)
            await client.delete(item.number)
        assert found == [b"1\r\n", b"2\r\n", b"3\r\n"]


async def test_a_loop_may_use_the_session_without_pipelining() -> None:
    script = [
        (f"{verb} {n}", "+OK\nx\n." if verb == "RETR" else "+OK") for n in (1, 2) for verb in ("RETR", "DELE")
    ]
    async with serving([NO_CAPA, *LOGIN, *script, QUIT]) as client, client:
        async for item in client.retrieve_many([1, 2]):
            await client.delete(item.number)


async def test_a_loop_may_be_left() -> None:
    script = [(f"RETR {n}", f"+OK\n{n}\n.") for n in (1, 2, 3)] + [("STAT", "+OK 3 9")]
    async with session(*script, segment=1) as client:
        async for item in client.retrieve_many([1, 2, 3]):
            assert item.content == b"1\r\n"
            break
        assert (await client.stat()).count == 3


async def test_two_loops_take_turns() -> None:
    script = [(f"RETR {n}", f"+OK\n{n}\n.") for n in (1, 2, 3, 4)]
    async with session(*script, segment=4) as client:
        first, second = client.retrieve_many([1, 2]), client.retrieve_many([3, 4])
        found = [(await anext(loop)).number for loop in (first, second, first, second)]
        assert found == [1, 3, 2, 4]
        for loop in (first, second):
            with pytest.raises(StopAsyncIteration):
                await anext(loop)


def window(client: POP3Client) -> int:
    return len(client._protocol.in_flight)


async def test_the_window_is_bounded_by_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmail.client.retrieval._MOST_OCTETS", 10)
    sizes = [4, 4, 4, 20, 1]
    listing = "\n".join(f"{n} {octets}" for n, octets in enumerate(sizes, 1))
    script = [("LIST", f"+OK\n{listing}\n.")] + [(f"RETR {n}", f"+OK\n{n}\n.") for n in range(1, 6)]
    async with session(*script) as client:
        await client.list()
        messages = client.retrieve_many(range(1, 6))
        assert (await anext(messages)).number == 1
        assert repr(messages) == f"<Retrievals 2 of 5 asked for, {window(client)} in flight>"
        assert [item.number async for item in messages] == [2, 3, 4, 5]


async def test_the_window_is_bounded_by_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmail.client.retrieval.MOST_COMMANDS", 4)
    script = [(f"RETR {n}", f"+OK\n{n}\n.") for n in range(1, 11)]
    async with session(*script, segment=1) as client:
        most = 0
        async for _ in client.retrieve_many(range(1, 11)):
            most = max(most, window(client))
        assert 0 < most < 4


async def test_numbers_are_checked_before_anything_is_sent() -> None:
    async with session() as client:
        with pytest.raises(InputError):
            client.retrieve_many([1, 0])
        with pytest.raises(InputError):
            client.stream(0)
        with pytest.raises(InputError):
            await client.delete_many([1, -1])


@pytest.mark.parametrize("capabilities", ["PIPELINING", "TOP"])
async def test_both_listings(capabilities: str) -> None:
    script = [
        ("LIST", "+OK\n1 100\n2 200\n."),
        ("UIDL", "+OK\n1 a\n2 b\n."),
        ("LIST", "+OK\n."),
        ("UIDL", "-ERR no"),
    ]
    async with serving([("CAPA", f"+OK\n{capabilities}\n."), *LOGIN, *script, QUIT]) as client, client:
        assert await client.listings() == ([(1, 100), (2, 200)], [(1, "a"), (2, "b")])
        with pytest.raises(POP3ResponseError, match="UIDL"):
            await client.listings()


@pytest.mark.parametrize("capabilities", ["PIPELINING", "TOP"])
async def test_many_are_deleted(capabilities: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmail.client.pop3_session.MOST_COMMANDS", 2)
    script = [("DELE 1", "+OK"), ("DELE 2", "-ERR no"), ("DELE 3", "+OK")]
    capa = ("CAPA", f"+OK\n{capabilities}\n.")
    async with serving([capa, *LOGIN, *script, QUIT]) as client, client:
        assert await client.delete_many([1, 2, 3]) == {2: Response(Status.ERR, "no")}


# --- large messages


async def test_a_stream_of_pieces() -> None:
    async with session(("RETR 1", "+OK\nabc\n\ndef\n."), segment=2) as client:
        stream = client.stream(1)
        assert repr(stream) == "<ContentStream of message 1, not begun>"
        pieces = [await anext(stream)]
        assert repr(stream) == "<ContentStream of message 1, under way>"
        pieces += [piece async for piece in stream]
        assert len(pieces) > 3
        assert all(pieces)
        assert b"".join(pieces) == b"abc\r\n\r\ndef\r\n"
        assert repr(stream) == "<ContentStream of message 1, ended>"
        assert [piece async for piece in stream] == []


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.delete(1.5),
        lambda c: c.delete_many([1, "2"]),
        lambda c: c.retrieve(1.5),
        lambda c: c.top(1, 1.5),
        lambda c: c.list("1\r\nDELE 2"),
        lambda c: c.uidl(0),
    ],
)
async def test_what_is_no_number_is_not_sent(call: Callable[[POP3Client], Awaitable[object]]) -> None:
    async with session(("NOOP", "+OK")) as client:
        with pytest.raises(InputError) as caught:
            await call(client)
        assert caught.value.cure
        await client.noop()


async def test_a_stream_of_nothing() -> None:
    async with session(("RETR 1", "-ERR no"), ("RETR 2", "+OK\n.")) as client:
        with pytest.raises(NoSuchMessage):
            await anext(client.stream(1))
        assert [piece async for piece in client.stream(2)] == []


async def test_a_stream_may_be_left() -> None:
    async with session(("RETR 1", "+OK\n" + "abc\n" * 50 + "."), ("STAT", "+OK 1 1"), segment=9) as client:
        async for piece in (stream := client.stream(1)):
            assert piece
            break
        assert (await client.stat()).count == 1
        with pytest.raises(LocalProtocolError, match="not read to its end"):
            await anext(stream)


async def test_a_stream_left_behind_may_have_been_refused() -> None:
    async with session(("RETR 1", "+OK\nabc\n."), ("STAT", "+OK 1 1")) as client:
        stream = client.stream(1)
        await anext(stream)
        await client.stat()
        assert [piece async for piece in stream] == []


async def test_into_a_file() -> None:
    async with session(("RETR 1", "+OK\nabc\n."), ("RETR 2", "+OK\ndef\n.")) as client:
        sink = io.BytesIO()
        assert await client.retrieve_to(1, sink) == 5
        assert sink.getvalue() == b"abc\r\n"

        class AsyncSink:
            async def write(self, data: bytes) -> None:
                await anyio.lowlevel.checkpoint()
                sink.write(data)

        assert await client.retrieve_to(2, AsyncSink()) == 5
        assert sink.getvalue() == b"abc\r\ndef\r\n"


# --- logging in


def offering(*capabilities: str) -> tuple[str, str]:
    return "CAPA", "\n".join(["+OK", *capabilities, "."])


PLAIN = "AHRpbQBzZWNyZXQ="
CRAM_MD5 = "dGltIDE1NGY3NWE3NDMyMjNmNzQ5YmVjZDY2ODQ1N2RmNjdh"  # of <1@h>


@pytest.mark.parametrize(
    ("script", "mechanisms"),
    [
        ([NO_CAPA, *LOGIN], ("USER",)),
        ([offering("USER"), *LOGIN], ("USER",)),
        ([offering(), *LOGIN], None),
        ([offering("SASL PLAIN"), ("AUTH PLAIN", "+ "), (PLAIN, "+OK")], None),
        ([offering("SASL PLAIN", "USER"), ("AUTH PLAIN", "+ "), (PLAIN, "+OK")], ("plain", "user")),
        (
            [offering("SASL LOGIN"), ("AUTH LOGIN", "+ VXNlcg=="), ("dGlt", "+ UA=="), ("c2VjcmV0", "+OK")],
            None,
        ),
        # A mechanism that is refused before anything secret was sent is not the end.
        ([offering("SASL PLAIN", "USER"), ("AUTH PLAIN", "-ERR not now"), *LOGIN], None),
    ],
)
async def test_ways_to_log_in(script: Script, mechanisms: tuple[str, ...] | None) -> None:
    greeting = "+OK no timestamp"
    options = {} if mechanisms is None else {"mechanisms": mechanisms}
    ours, theirs = memory_stream_pair()
    server = Server(theirs, [*script, QUIT], greeting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        async with POP3Client("pop3://tim:secret@localhost", stream=ours, **options):  # type: ignore[arg-type]
            pass
    assert len(server.received) == len(script) + 1


async def test_apop() -> None:
    user = {"url": "pop3://localhost", "username": "mrose", "password": "tanstaaf"}
    async with serving([NO_CAPA, (APOP, "+OK"), QUIT], mechanisms=("APOP",), **user) as client, client:
        pass
    script = [NO_CAPA, (APOP, "-ERR [AUTH] no")]
    async with serving(script, mechanisms=("APOP", "USER"), **user) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.connect()
        assert caught.value.mechanism == "APOP"


async def test_a_timestamp_is_no_promise_of_apop() -> None:
    """Servers have it in their greeting that know no user's password in the clear."""
    user = {"url": "pop3://localhost", "username": "mrose", "password": "tanstaaf"}
    login = [("USER mrose", "+OK"), ("PASS tanstaaf", "+OK")]
    async with (
        serving([NO_CAPA, (APOP, "-ERR no"), *login, QUIT], mechanisms=("APOP", "USER"), **user) as client,
        client,
    ):
        pass


async def test_behind_tls_a_digest_comes_last(authority: Authority) -> None:
    """There it protects nothing, and fails where passwords are kept as hashes."""
    ours, theirs = memory_stream_pair()
    server = Server(theirs, [NO_CAPA, *LOGIN, QUIT], GREETING)

    async def serve() -> None:
        await theirs.start_tls(authority.server_context(), server_side=True)
        await server.run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        async with POP3Client(
            "pop3s://tim:secret@localhost", stream=ours, tls_context=authority.client_context()
        ):
            pass
    assert server.received == ["CAPA", "USER tim", "PASS secret", "QUIT"]


class Stop(Exception):
    """Something that goes wrong in the caller's code."""


async def test_nobody_logs_in_without_a_name() -> None:
    async with serving([NO_CAPA, QUIT], url="pop3://localhost") as client, client:
        assert repr(client) == "<POP3Client pop3://localhost:110 authorization>"
        assert client.greeting is not None
        assert client.greeting.text.startswith("ready")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.stat(),
        lambda client: client.list(),
        lambda client: client.uidl(1),
        lambda client: client.top(1),
        lambda client: client.retrieve(1),
        lambda client: client.delete(1),
        lambda client: client.delete_many([1]),
        lambda client: client.reset(),
        lambda client: client.noop(),
        lambda client: anext(client.stream(1)),
        lambda client: anext(client.retrieve_many([1])),
    ],
)
async def test_without_a_name_there_is_no_maildrop(call: Callable[[POP3Client], Awaitable[object]]) -> None:
    async with serving([NO_CAPA, QUIT], url="pop3://localhost") as client, client:
        with pytest.raises(LocalProtocolError, match="put user:password@ into the URL") as caught:
            await call(client)
        assert caught.value.stage is Stage.AUTHENTICATION


@pytest.mark.parametrize(
    ("answer", "error", "transient"),
    [
        ("-ERR [IN-USE] locked", MaildropLocked, True),
        ("-ERR [LOGIN-DELAY] wait", LoginDelayed, True),
        ("-ERR [SYS/TEMP] disk", POP3ResponseError, True),
        ("-ERR [SYS/PERM] gone", POP3ResponseError, False),
        ("-ERR [AUTH] wrong", AuthenticationError, False),
        ("-ERR wrong", AuthenticationError, False),
        ("-ERR [X-OTHER] wrong", AuthenticationError, False),
    ],
)
async def test_why_a_login_is_refused(answer: str, error: type[Exception], transient: bool) -> None:
    async with serving([NO_CAPA, ("USER tim", "+OK"), ("PASS secret", answer)]) as client:
        with pytest.raises(error) as caught:
            await client.connect()
        assert type(caught.value) is error
        assert caught.value.stage is Stage.AUTHENTICATION  # type: ignore[attr-defined]
        assert caught.value.is_transient is transient  # type: ignore[attr-defined]
        assert "secret" not in str(caught.value)
        with pytest.raises(ClosedError):
            await client.stat()


@pytest.mark.parametrize(
    ("script", "mechanism"),
    [
        ([("AUTH PLAIN", "+ "), (PLAIN, "-ERR no")], "PLAIN"),
        ([("AUTH PLAIN", "-ERR [AUTH] no")], "PLAIN"),  # RFC 3206 §5
        ([("AUTH CRAM-MD5", "+ PDFAaD4="), (CRAM_MD5, "-ERR no")], "CRAM-MD5"),
        ([("AUTH CRAM-MD5", "+ PDFAaD4="), (CRAM_MD5, "-ERR [AUTH] no")], "CRAM-MD5"),
    ],
)
async def test_a_password_that_was_refused_is_not_tried_again(script: Script, mechanism: str) -> None:
    """Servers lock accounts."""
    offer = offering(f"SASL {mechanism} LOGIN", "USER")
    async with serving([offer, *script], mechanisms=("PLAIN", "CRAM-MD5", "LOGIN", "USER")) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.connect()
        assert caught.value.mechanism == mechanism
        assert ("leave CRAM-MD5 out" in caught.value.cure) is (mechanism == "CRAM-MD5")


async def test_a_name_that_is_refused() -> None:
    async with serving([NO_CAPA, ("USER tim", "-ERR who?")]) as client:
        with pytest.raises(AuthenticationError, match="USER"):
            await client.connect()


async def test_a_challenge_that_makes_no_sense_is_not_answered() -> None:
    script = [offering("SASL PLAIN"), ("AUTH PLAIN", "+ dGVsbCBtZQ=="), ("*", "-ERR as you like")]
    async with serving(script, mechanisms=("PLAIN",)) as client:
        with pytest.raises(AuthenticationError, match="challenge"):
            await client.connect()


async def test_a_server_that_is_content_with_too_little() -> None:
    script = [offering("SASL PLAIN"), ("AUTH PLAIN", "+OK never mind")]
    async with serving(script, mechanisms=("PLAIN",)) as client:
        with pytest.raises(RemoteProtocolError, match="before it was complete"):
            await client.connect()


async def test_no_way_to_log_in() -> None:
    async with serving([offering("SASL GSSAPI")], mechanisms=("PLAIN",)) as client:
        with pytest.raises(MechanismUnavailable):
            await client.connect()


async def test_a_mechanism_that_is_not_known() -> None:
    async with serving([offering("SASL PLAIN")], mechanisms=("ROT13",)) as client:
        with pytest.raises(InputError):
            await client.connect()


@pytest.mark.parametrize("mechanism", ["USER", "APOP", "PLAIN", "CRAM-MD5"])
async def test_nothing_secret_crosses_the_network_in_the_clear(mechanism: str) -> None:
    script = [offering("SASL PLAIN CRAM-MD5", "USER")]
    async with serving(script, peer="192.0.2.1", mechanisms=(mechanism,)) as client:
        with pytest.raises(CleartextCredentialsRefused):
            await client.connect()


async def test_unless_the_caller_says_so() -> None:
    script = [NO_CAPA, *LOGIN, QUIT]
    async with serving(script, peer="192.0.2.1", allow_cleartext_credentials=True) as client, client:
        pass


# --- TLS


async def test_tls_is_required_and_refused() -> None:
    async with serving(
        [NO_CAPA, ("STLS", "-ERR what?")], url="pop3+starttls://tim:secret@localhost"
    ) as client:
        with pytest.raises(TLSRequired) as caught:
            await client.connect()
        assert "pop3s://" in str(caught.value)


async def test_tls_is_offered_and_refused() -> None:
    script = [offering("STLS"), ("STLS", "-ERR not today"), *LOGIN, QUIT]
    async with serving(script) as client, client:
        pass


async def test_plaintext_behind_the_answer_to_stls() -> None:
    script = [offering("STLS"), ("STLS", "+OK\n+OK injected")]
    async with serving(script) as client:
        with pytest.raises(PlaintextAfterStartTLS):
            await client.connect()


@pytest.mark.parametrize("scheme", ["pop3", "pop3+starttls", "pop3s"])
async def test_tls(scheme: str, client_tls: ssl.SSLContext, server_tls: ssl.SSLContext) -> None:
    ours, theirs = memory_stream_pair(peer="192.0.2.1")
    capa = offering("USER")

    async def serve() -> None:
        if scheme == "pop3s":
            await theirs.start_tls(server_tls, server_side=True)
        else:
            before = Server(theirs, [offering("STLS"), ("STLS", "+OK")])
            await before.run()
            await theirs.start_tls(server_tls, server_side=True)
        after = Server(theirs, [capa, *LOGIN, QUIT], GREETING if scheme == "pop3s" else "")
        await after.run()
        assert len(after.received) == 4

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        async with POP3Client(
            f"{scheme}://tim:secret@localhost", stream=ours, tls_context=client_tls, mechanisms=("USER",)
        ) as client:
            assert client.capabilities.keys() == {"USER"}


async def test_a_handshake_that_takes_too_long(client_tls: ssl.SSLContext) -> None:
    ours, theirs = memory_stream_pair()
    client = POP3Client(
        "pop3s://localhost", stream=ours, tls_context=client_tls, timeouts=POP3Timeouts(connect=0.01)
    )
    with pytest.raises(MailTimeout) as caught:
        await client.connect()
    assert caught.value.stage is Stage.TLS
    theirs.abort()


# --- beginnings and ends


async def test_a_server_that_does_not_want_to() -> None:
    async with serving([], greeting="-ERR [SYS/TEMP] too busy") as client:
        with pytest.raises(POP3ResponseError) as caught:
            await client.connect()
        assert caught.value.stage is Stage.GREETING
        assert caught.value.is_transient


async def test_a_server_of_another_kind() -> None:
    async with serving([], greeting="220 smtp.example ESMTP") as client:
        with pytest.raises(RemoteProtocolError, match="is this a POP3 server"):
            await client.connect()


async def test_a_server_that_says_nothing() -> None:
    async with serving([], greeting="bye") as client:
        with pytest.raises(ConnectionLost):
            await client.connect()


async def test_a_session_connects_once() -> None:
    async with serving([NO_CAPA, QUIT], url="localhost") as client:
        assert repr(client) == "<POP3Client pop3://localhost:110 not connected>"
        with pytest.raises(ClosedError, match="not connected"):
            await client.stat()
        async with client:
            with pytest.raises(LocalProtocolError, match="connects once"):
                await client.connect()
        with pytest.raises(LocalProtocolError, match="connects once"):
            await client.connect()
        with pytest.raises(ClosedError):
            await client.stat()


async def test_closing_what_was_never_opened() -> None:
    client = POP3Client("localhost")
    await client.aclose()
    client.abort()
    with pytest.raises(LocalProtocolError):
        await client.connect()


@pytest.mark.parametrize("server", ["smtp://localhost", "lmtp://localhost"])
def test_a_server_without_maildrops(server: str) -> None:
    with pytest.raises(URLError, match=rf"{server}:.* has no maildrop .* pop3s://user:password@"):
        POP3Client(server)


def test_a_server_may_be_given_in_parts() -> None:
    url = ServerURL(scheme="pop3s", host="localhost", username="tim", password="secret")
    assert repr(POP3Client(url)) == "<POP3Client pop3s://tim:***@localhost:995 not connected>"


def test_what_cannot_be_used() -> None:
    with pytest.raises(InputError):
        POP3Client("pop3://tim@localhost")
    with pytest.raises(InputError):
        POP3Timeouts(answer=0)
    assert POP3Timeouts.all(3) == POP3Timeouts(connect=3, greeting=3, answer=3, content=3, update=3)


async def test_a_quit_that_is_refused_raises() -> None:
    script = [CAPA, *LOGIN, ("DELE 1", "+OK"), ("QUIT", "-ERR some were not removed")]
    async with serving(script) as client:
        with pytest.raises(POP3ResponseError) as caught:
            async with client:
                await client.delete(1)
        assert caught.value.stage is Stage.QUIT


async def test_a_quit_that_is_not_answered_raises() -> None:
    async with serving([CAPA, *LOGIN, ("QUIT", "bye")]) as client:
        with pytest.raises(ConnectionLost) as caught:
            async with client:
                pass
        assert caught.value.in_flight == ("QUIT",)


async def test_quit_aclose_and_abort_within_the_block() -> None:
    async with serving([CAPA, *LOGIN, QUIT]) as client, client:
        await client.quit()
        await client.aclose()
        client.abort()
    for leave in ("aclose", "abort"):
        async with serving([CAPA, *LOGIN, ("DELE 1", "+OK")]) as client, client:
            await client.delete(1)
            if leave == "aclose":
                await client.aclose()
            else:
                client.abort()


async def test_an_exception_deletes_nothing() -> None:
    async with serving([CAPA, *LOGIN, ("DELE 1", "+OK")]) as client:
        with pytest.raises(Stop):
            async with client:
                await client.delete(1)
                raise Stop


@pytest.mark.parametrize("marked", [True, False])
async def test_a_session_lost_within_the_block_says_that_nothing_was_removed(marked: bool) -> None:
    dele = [("DELE 1", "+OK")] if marked else []
    async with serving([CAPA, *LOGIN, *dele, ("NOOP", "bye")]) as client:
        await client.connect()
        if marked:
            await client.delete(1)
        with pytest.raises(ConnectionLost):
            await client.noop()
        if marked:
            with pytest.raises(ClosedError, match="no message was removed"):
                await client.__aexit__(None, None, None)
        else:
            await client.__aexit__(None, None, None)


# --- faults: the session ends, and never gets out of step


async def test_a_server_that_leaves() -> None:
    async with serving([CAPA, *LOGIN, ("STAT", "bye")]) as client:
        await client.connect()
        with pytest.raises(ConnectionLost) as caught:
            await client.stat()
        assert caught.value.in_flight == ("STAT",)
        with pytest.raises(ClosedError):
            await client.stat()


@pytest.mark.parametrize("together", [True, False])
async def test_a_line_that_nobody_asked_for_is_no_answer(together: bool) -> None:
    ours, theirs = memory_stream_pair()
    goodbye = "-ERR [SYS/TEMP] going down"
    server = Server(theirs, [CAPA, *LOGIN, ("NOOP", f"+OK\n{goodbye}" if together else "+OK")])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        client = POP3Client("pop3://tim:secret@localhost", stream=ours, mechanisms=("USER",))
        await client.connect()
        await client.noop()
        if not together:
            await server.say(goodbye)
        with pytest.raises(ConnectionLost, match="going down"):
            await client.stat()
        with pytest.raises(ClosedError):
            await client.stat()
    assert server.received[-1] == "NOOP"
    theirs.abort()


async def test_a_server_that_left_meanwhile() -> None:
    ours, theirs = memory_stream_pair()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Server(theirs, [CAPA, *LOGIN]).run)
        client = POP3Client("pop3://tim:secret@localhost", stream=ours, mechanisms=("USER",))
        await client.connect()
    await theirs.aclose()
    with pytest.raises(ConnectionLost) as caught:
        await client.retrieve(1)
    assert caught.value.in_flight == ()  # it was not sent


async def test_a_silent_server() -> None:
    async with serving([CAPA, *LOGIN, ("RETR 1", "+OK\npart")], timeouts=0.2) as client:
        await client.connect()
        with pytest.raises(MailTimeout) as caught:
            await client.retrieve(1)
        assert caught.value.waiting_for == "the rest of an answer"
        with pytest.raises(ClosedError):
            await client.noop()


@pytest.mark.parametrize(
    ("script", "call", "stage"),
    [
        ([("CAPA", "")], None, Stage.CAPABILITIES),
        ([CAPA, ("USER tim", "")], None, Stage.AUTHENTICATION),
        ([CAPA, *LOGIN, ("STAT", "")], lambda c: c.stat(), Stage.COMMAND),
        ([CAPA, *LOGIN, ("LIST", "+OK\n1 100")], lambda c: c.list(), Stage.COMMAND),
        ([CAPA, *LOGIN, ("TOP 1 0", "+OK")], lambda c: c.top(1), Stage.RETRIEVAL),
        ([CAPA, *LOGIN, ("QUIT", "")], lambda c: c.quit(), Stage.QUIT),
    ],
)
@pytest.mark.parametrize("ends", ["timeout", "closed"])
async def test_the_stage_at_which_a_server_fell_silent(
    script: Script, call: Callable[[POP3Client], Awaitable[object]] | None, stage: Stage, ends: str
) -> None:
    command, _ = script[-1]
    if ends == "closed":
        script = [*script[:-1], (command, "bye")]
    async with serving(script, timeouts=0.2 if ends == "timeout" else 10) as client:
        with pytest.raises((MailTimeout, ConnectionLost)) as caught:
            await client.connect()
            assert call is not None
            await call(client)
        assert caught.value.stage is stage  # type: ignore[attr-defined]
        assert str(caught.value).startswith(f"{stage}: ")


async def test_a_server_that_does_not_greet() -> None:
    async with serving([], greeting="", timeouts=0.2) as client:
        with pytest.raises(MailTimeout, match=r"greeting: waited 0.2 s for the greeting \(.* use pop3s://"):
            await client.connect()


async def test_a_message_that_is_too_large() -> None:
    script = [CAPA, *LOGIN, ("RETR 1", "+OK\n0123456789\n.")]
    async with serving(script, limits=ClientLimits(content=10)) as client:
        await client.connect()
        with pytest.raises(LimitExceeded):
            await client.retrieve(1)
        with pytest.raises(ClosedError):
            await client.noop()


async def test_one_task_at_a_time() -> None:
    async with serving([CAPA, *LOGIN, ("STAT", "")], whole=False) as client:
        await client.connect()
        first = asyncio.create_task(client.stat())
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await client.noop()
        with pytest.raises(BusyError):
            await anext(client.retrieve_many([1]))
        with pytest.raises(BusyError):
            await anext(client.stream(1))
        with pytest.raises(BusyError):
            await client.delete_many([1])
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(ClosedError):
            await client.noop()


SESSION: Script = [
    CAPA,
    *LOGIN,
    ("STAT", "+OK 3 9"),
    ("LIST", "+OK\n1 3\n2 3\n3 3\n."),
    ("RETR 1", "+OK\n1\n."),
    ("RETR 2", "+OK\n2\n."),
    ("RETR 3", "+OK\n3\n."),
    ("RETR 1", "+OK\n1\n."),
    ("DELE 1", "+OK"),
    ("DELE 2", "+OK"),
    QUIT,
]


async def use(client: POP3Client, log: list[object]) -> None:
    async with client:
        log.append((await client.stat()).octets)
        log.append(await client.list())
        async for item in client.retrieve_many([1, 2, 3]):
            log.append(item)  # noqa: PERF401
        log.append(b"".join([piece async for piece in client.stream(1)]))
        log.append(await client.delete_many([1, 2]))
    log.append("committed")


EXPECTED = [
    9,
    [(1, 3), (2, 3), (3, 3)],
    (1, b"1\r\n"),
    (2, b"2\r\n"),
    (3, b"3\r\n"),
    b"1\r\n",
    {},
    "committed",
]


async def test_a_whole_session() -> None:
    log: list[object] = []
    async with serving(SESSION) as client:
        await use(client, log)
    assert log == EXPECTED


async def test_cancelled_at_any_await_it_is_over_or_in_step() -> None:
    outcomes = set()
    for steps in range(0, 400, 3):
        log: list[object] = []
        ours, theirs = memory_stream_pair(segment=16)
        server = asyncio.create_task(Server(theirs, list(SESSION)).run())
        client = POP3Client("pop3://tim:secret@localhost", stream=ours, mechanisms=("USER",))
        task = asyncio.create_task(use(client, log))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert log == EXPECTED[: len(log)]
        outcomes.add(len(log))
        if not task.cancelled():
            await task
        else:
            with pytest.raises((ClosedError, LocalProtocolError)):
                await client.noop()
        theirs.abort()
        server.cancel()
        await asyncio.wait([server])
    assert len(outcomes) > 5


async def test_cut_at_any_octet_it_is_over_and_nothing_is_made_up() -> None:
    for octets in range(0, 330, 4):
        log: list[object] = []
        ours, theirs = memory_stream_pair(drop_after=octets)
        server = asyncio.create_task(Server(theirs, list(SESSION)).run())
        client = POP3Client("pop3://tim:secret@localhost", stream=ours, mechanisms=("USER",))
        try:
            await use(client, log)
        except ConnectionLost:
            pass
        else:
            assert log == EXPECTED
        assert log == EXPECTED[: len(log)]
        theirs.abort()
        server.cancel()
        await asyncio.wait([server])
        if not server.cancelled():
            server.exception()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_event_loops(backend: str) -> None:
    async def main() -> None:
        log: list[object] = []
        ours, theirs = memory_stream_pair()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Server(theirs, list(SESSION)).run)
            client = POP3Client("pop3://tim:secret@localhost", stream=ours, mechanisms=("USER",))
            await use(client, log)
        assert log == EXPECTED

    anyio.run(main, backend=backend)


async def test_a_trace_shows_no_secret() -> None:
    lines: list[str] = []
    script = [offering("SASL PLAIN"), ("AUTH PLAIN", "+ "), (PLAIN, "+OK"), ("RETR 1", "+OK\nhush\n."), QUIT]
    from asyncmail import transcript

    async with serving(script, mechanisms=("PLAIN",), trace=transcript(lines.append)) as client, client:
        await client.retrieve(1)
    assert lines[-6:] == ["S: +OK", "C: RETR 1", "S: +OK", "S: <6 octets of content>", "C: QUIT", "S: +OK"]
    assert "C: ****" in lines
    assert not any(PLAIN in line or "hush" in line for line in lines)
