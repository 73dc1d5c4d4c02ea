"""POP3Server over real sockets: poplib, raw octets, and our client, on asyncio and on Trio."""

from __future__ import annotations

import asyncio
import logging
import poplib
import socket
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

import asyncmail
from asyncmail.errors import InputError, NoSuchMessage, POP3ResponseError
from asyncmail.net import connect
from asyncmail.pop3 import Response, ServerLimits, Status
from asyncmail.server import (
    ConnectionLimits,
    InMemoryMaildrops,
    MaildirMaildrops,
    MaildropStore,
    POP3Server,
    StoredMessage,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path
    from typing import Any, TypeVar

    from asyncmail.net import ByteStream
    from asyncmail.sasl import Attempt
    from asyncmail.server import Maildrop

    T = TypeVar("T")

MESSAGES = [
    b"Subject: 1\r\n\r\n.dot\r\n..\r\nthird\r\n",
    b"Subject: 2\r\n\r\n",
    b"Subject: 3\r\n\r\n" + b"x" * 70_000 + b"\r\n",
]


@pytest.fixture
def store() -> InMemoryMaildrops:
    store = InMemoryMaildrops({"tim": "secret", "tom": "other"})
    for message in MESSAGES:
        store.deliver("tim", message)
    return store


class Raw:
    """A client that says what it is told to."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.unread = b""

    async def line(self) -> bytes:
        while b"\r\n" not in self.unread:
            data = await self.stream.receive()
            if not data:
                return self.unread
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line

    async def ask(self, line: bytes) -> bytes:
        await self.stream.send([line + b"\r\n"])
        return await self.line()


_raw: list[Raw] = []


@pytest.fixture(autouse=True)
async def _close() -> AsyncIterator[None]:
    yield
    while _raw:
        _raw.pop().stream.abort()


async def raw(server: POP3Server) -> Raw:
    client = Raw(await connect(f"pop3://127.0.0.1:{server.port}"))
    _raw.append(client)
    greeting = await client.line()
    assert greeting.startswith((b"+OK", b"-ERR"))
    client.unread = greeting + b"\r\n" + client.unread
    return client


async def logged_in(server: POP3Server) -> Raw:
    client = await raw(server)
    await client.line()
    assert await client.ask(b"USER tim") == b"+OK"
    assert (await client.ask(b"PASS secret")).startswith(b"+OK")
    return client


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await anyio.sleep(0.001)


async def blocking(function: Callable[..., T], *args: Any) -> T:
    return await anyio.to_thread.run_sync(function, *args)


# --- other people's clients


async def test_poplib_finds_everything(store: InMemoryMaildrops) -> None:
    def visit() -> None:
        client = poplib.POP3("127.0.0.1", server.port)
        assert client.capa()["SASL"] == ["PLAIN", "LOGIN", "CRAM-MD5"]
        client.user("tim")
        client.pass_("secret")
        assert client.stat() == (3, sum(map(len, MESSAGES)))
        assert client.list()[1] == [b"%d %d" % (n, len(m)) for n, m in enumerate(MESSAGES, 1)]
        assert client.list(2) == b"+OK 2 %d" % len(MESSAGES[1])  # type: ignore[comparison-overlap]
        assert client.uidl()[1] == [b"1 1", b"2 2", b"3 3"]
        assert client.uidl(3) == b"+OK 3 3"
        assert client.retr(1)[1] == [b"Subject: 1", b"", b".dot", b"..", b"third"]
        assert client.top(1, 2)[1] == [b"Subject: 1", b"", b".dot", b".."]
        client.dele(1)
        for refused in (client.retr, client.dele, client.list, client.uidl):
            with pytest.raises(poplib.error_proto, match="marked as deleted"):
                refused(1)
        with pytest.raises(poplib.error_proto, match="no such message"):
            client.retr(4)
        assert client.stat()[0] == 2
        client.rset()
        assert client.stat()[0] == 3
        client.dele(2)
        assert client.list()[1] == [b"1 %d" % len(MESSAGES[0]), b"3 %d" % len(MESSAGES[2])]
        client.noop()
        client.quit()

    async with POP3Server(store) as server:
        await blocking(visit)
    assert store.contents("tim") == [MESSAGES[0], MESSAGES[2]]


async def test_poplib_with_apop(store: InMemoryMaildrops) -> None:
    def visit() -> None:
        client = poplib.POP3("127.0.0.1", server.port)
        client.apop("tim", "secret")
        client.quit()
        client = poplib.POP3("127.0.0.1", server.port)
        with pytest.raises(poplib.error_proto):
            client.apop("tim", "wrong")
        client.quit()

    async with POP3Server(store) as server:
        await blocking(visit)


async def test_poplib_with_tls(
    store: InMemoryMaildrops, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    def stls() -> None:
        client = poplib.POP3("localhost", server.port)
        client.stls(client_tls)
        client.user("tim")
        client.pass_("secret")
        client.quit()

    def implicit() -> None:
        client = poplib.POP3_SSL("localhost", server.port, context=client_tls)
        assert "STLS" not in client.capa()
        client.user("tim")
        client.pass_("secret")
        client.quit()

    async with POP3Server(store, tls_context=server_tls) as server:
        await blocking(stls)
    async with POP3Server(store, tls_context=server_tls, implicit_tls=True) as server:
        await blocking(implicit)


# --- our client


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_our_client_on_both_event_loops(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        memory = InMemoryMaildrops({"tim": "secret"})
        maildir = MaildirMaildrops(tmp_path, {"tim": "secret"})
        (tmp_path / "tim" / "new").mkdir(parents=True)
        for number, message in enumerate(MESSAGES, 1):
            memory.deliver("tim", message)
            (tmp_path / "tim" / "new" / f"{number}.M1.host").write_bytes(message.replace(b"\r\n", b"\n"))
        for store in (memory, maildir):
            async with POP3Server(store) as server:
                url = f"pop3://tim:secret@127.0.0.1:{server.port}"
                async with asyncmail.POP3Client(url) as client:
                    assert [item.content async for item in client.retrieve_many([1, 2, 3])] == MESSAGES
                    assert await client.top(3, 0) == b"Subject: 3\r\n\r\n"
                    await client.delete(2)
                async with asyncmail.POP3Client(url) as client:
                    assert [octets for _, octets in await client.list()] == [
                        len(MESSAGES[0]),
                        len(MESSAGES[2]),
                    ]
                with pytest.raises(ValueError, match="stop"):
                    async with asyncmail.POP3Client(url) as client:
                        await client.delete(1)
                        raise ValueError("stop")
                async with asyncmail.POP3Client(url) as client:
                    assert (await client.stat()).count == 2

    anyio.run(main, backend=backend)


async def test_a_large_message_from_a_maildir(tmp_path: Path) -> None:
    (tmp_path / "tim" / "cur").mkdir(parents=True)
    line = b".line\n" * 400_000
    (tmp_path / "tim" / "cur" / "1.M1.host:2,S").write_bytes(b"Subject: large\n\n" + line)
    async with POP3Server(MaildirMaildrops(tmp_path, {"tim": "secret"})) as server:
        async with asyncmail.POP3Client(f"pop3://tim:secret@127.0.0.1:{server.port}") as client:
            content = await client.retrieve(1)
            assert len(content) == (await client.stat()).octets
            assert content == (b"Subject: large\n\n" + line).replace(b"\n", b"\r\n")
            assert await client.top(1, 2) == b"Subject: large\r\n\r\n.line\r\n.line\r\n"


# --- policy


async def test_passwords_in_the_clear_are_taken_on_this_machine_only(
    store: InMemoryMaildrops, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with POP3Server(store, tls_context=server_tls) as server:
        client = await raw(server)
        await client.line()
        assert await client.ask(b"USER tim") == b"+OK"
        monkeypatch.setattr("asyncmail.server.pop3._is_local", lambda peer: False)
        client = await raw(server)
        await client.line()
        assert await client.ask(b"USER tim") == b"-ERR passwords are not taken without TLS"


def test_who_is_local() -> None:
    from asyncmail.server.pop3 import _is_local

    assert all(map(_is_local, ["127.0.0.1", "127.1.2.3", "::1", "unix"]))
    assert not any(map(_is_local, ["192.0.2.1", "2001:db8::1", "fe80::1%eth0", ""]))


async def test_mechanisms_can_be_chosen(store: InMemoryMaildrops) -> None:
    async with POP3Server(store, mechanisms=("plain",)) as server:
        client = await raw(server)
        assert await client.line() == b"+OK POP3 server ready"
        assert await client.ask(b"AUTH CRAM-MD5") == b"-ERR the mechanism is not offered"
        assert await client.ask(b"AUTH PLAIN AHRpbQBzZWNyZXQ=") == b"+OK 3 messages"
    async with POP3Server(store, mechanisms=("APOP",), hostname="pop.example") as server:
        client = await raw(server)
        assert (await client.line()).endswith(b"@pop.example>")


def test_arguments_are_checked(store: InMemoryMaildrops) -> None:
    with pytest.raises(InputError):
        POP3Server(store, implicit_tls=True)
    with pytest.raises(InputError):
        POP3Server(store, mechanisms=("ROT13",))


async def test_a_maildrop_is_open_once(store: InMemoryMaildrops) -> None:
    async with POP3Server(store) as server:
        first = await logged_in(server)
        second = await raw(server)
        await second.line()
        await second.ask(b"USER tim")
        assert await second.ask(b"PASS secret") == b"-ERR [IN-USE] another session has the maildrop"
        await second.ask(b"USER tim")
        assert await second.ask(b"PASS wrong") == b"-ERR [AUTH] username or password is wrong"
        assert await first.ask(b"QUIT") == b"+OK"
        # The lock ends before the answer is sent.
        await second.ask(b"USER tim")
        assert await second.ask(b"PASS secret") == b"+OK 3 messages"


async def test_a_client_that_goes_leaves_everything(store: InMemoryMaildrops) -> None:
    async with POP3Server(store) as server:
        client = await logged_in(server)
        assert await client.ask(b"DELE 1") == b"+OK"
        await client.stream.aclose()
        await until(lambda: not server.connections)
        assert len(store.contents("tim")) == 3
        assert repr(store).endswith("0 open>")
        client = await raw(server)
        await client.line()
        assert await client.ask(b"QUIT") == b"+OK"
        assert await client.line() == b""


async def test_a_pipeline_is_answered_in_order(store: InMemoryMaildrops) -> None:
    async with POP3Server(store) as server:
        client = await logged_in(server)
        await client.stream.send(
            [b"STAT\r\nRETR 3\r\nXYZZY\r\nRETR 2\r\nNOOP\r\nRETR 3\r\nRETR 3\r\nRETR 3\r\nRETR 3\r\nQUIT\r\n"]
        )
        octets = client.unread
        while data := await client.stream.receive():
            octets += data
        large = b"+OK\r\n" + MESSAGES[2] + b".\r\n"
        assert octets == (
            b"+OK 3 %d\r\n" % sum(map(len, MESSAGES))
            + large
            + b"-ERR unknown command\r\n+OK\r\n"
            + MESSAGES[1]
            + b".\r\n+OK\r\n"
            + large * 4
            + b"+OK\r\n"
        )


# --- limits and time


async def test_too_many_connections(store: InMemoryMaildrops) -> None:
    async with POP3Server(store, connection_limits=ConnectionLimits(connections_per_host=1)) as server:
        await raw(server)
        second = await raw(server)
        assert await second.line() == b"-ERR [SYS/TEMP] too many connections, try again later"
        assert await second.line() == b""


async def test_too_many_errors(store: InMemoryMaildrops) -> None:
    async with POP3Server(store, limits=ServerLimits(errors=1)) as server:
        client = await raw(server)
        await client.line()
        assert await client.ask(b"x") == b"-ERR unknown command"
        assert await client.ask(b"y") == b"-ERR too many errors"
        assert await client.line() == b""


@pytest.mark.parametrize("login", [True, False])
async def test_a_silent_client_is_left_without_a_word(store: InMemoryMaildrops, login: bool) -> None:
    seconds = {"idle_seconds": 0.01} if login else {"login_seconds": 0.01}
    async with POP3Server(store, **seconds) as server:
        client = await raw(server)
        await client.line()
        if login:
            await client.ask(b"USER tim")
            assert await client.ask(b"PASS secret") == b"+OK 3 messages"
            assert await client.ask(b"DELE 1") == b"+OK"
        with pytest.raises(asyncmail.ConnectionLost):
            assert await client.line() == b""
            raise asyncmail.ConnectionLost  # either way of being closed is one
        await until(lambda: not server.connections)
    assert len(store.contents("tim")) == 3


async def test_plaintext_behind_stls_ends_the_session(
    store: InMemoryMaildrops, server_tls: ssl.SSLContext
) -> None:
    async with POP3Server(store, tls_context=server_tls) as server:
        client = await raw(server)
        await client.line()
        await client.stream.send([b"STLS\r\nUSER tim\r\n"])
        assert await client.line() == b"+OK"
        with pytest.raises(asyncmail.ConnectionLost):
            assert await client.line() == b""
            raise asyncmail.ConnectionLost


# --- shutdown


async def test_shutdown_ends_idle_sessions_at_once(store: InMemoryMaildrops) -> None:
    server = POP3Server(store, grace_seconds=3600)
    await server.start()
    clients = [await raw(server), await logged_in(server)]
    await clients[0].line()
    await server.aclose()
    for client in clients:
        assert await client.line() == b""
    assert repr(server) == "<POP3Server closed, 0 sessions>"


async def test_shutdown_waits_for_those_who_deleted(store: InMemoryMaildrops) -> None:
    server = POP3Server(store, grace_seconds=3600)
    await server.start()
    client = await logged_in(server)
    assert await client.ask(b"DELE 1") == b"+OK"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.aclose)
        await anyio.wait_all_tasks_blocked()
        assert await client.ask(b"STAT") == b"+OK 2 %d" % sum(map(len, MESSAGES[1:]))
        assert await client.ask(b"QUIT") == b"+OK"
    assert store.contents("tim") == MESSAGES[1:]


async def test_shutdown_lets_a_command_end(store: InMemoryMaildrops) -> None:
    slow = Slow(store)
    server = POP3Server(slow, grace_seconds=3600)
    await server.start()
    client = await logged_in(server)
    await client.stream.send([b"RETR 2\r\nSTAT\r\n"])
    await slow.begun.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.aclose)
        await anyio.wait_all_tasks_blocked()
        slow.go_on.set()
        octets = client.unread
        while data := await client.stream.receive():
            octets += data
    assert octets.startswith(b"+OK\r\n" + MESSAGES[1] + b".\r\n+OK 3 ")


async def test_grace_ends(store: InMemoryMaildrops) -> None:
    server = POP3Server(store, grace_seconds=0.01)
    await server.start()
    client = await logged_in(server)
    assert await client.ask(b"DELE 1") == b"+OK"
    await server.aclose()
    assert len(store.contents("tim")) == 3


# --- stores that misbehave


class Around:
    """A store and a maildrop around another one."""

    def __init__(self, store: MaildropStore) -> None:
        self.store = store
        self.maildrop: Maildrop

    async def authenticate(self, attempt: Attempt) -> str | None:
        return await self.store.authenticate(attempt)

    async def open(self, user: str) -> Maildrop:
        self.maildrop = await self.store.open(user)
        return self

    @property
    def messages(self) -> list[StoredMessage]:
        return list(self.maildrop.messages)

    async def content(self, number: int) -> bytes | AsyncIterator[bytes]:
        return await self.maildrop.content(number)  # type: ignore[return-value]

    async def remove(self, numbers: Collection[int]) -> None:
        await self.maildrop.remove(numbers)

    def close(self) -> None:
        self.maildrop.close()


class Slow(Around):
    def __init__(self, store: MaildropStore) -> None:
        super().__init__(store)
        self.begun = anyio.Event()
        self.go_on = anyio.Event()

    async def content(self, number: int) -> bytes | AsyncIterator[bytes]:
        self.begun.set()
        await self.go_on.wait()
        return await super().content(number)


class Failing(Around):
    def __init__(self, store: MaildropStore, where: str, error: Exception) -> None:
        super().__init__(store)
        self.where = where
        self.error = error

    def _fail(self, where: str) -> None:
        if where == self.where:
            raise self.error

    async def authenticate(self, attempt: Attempt) -> str | None:
        self._fail("authenticate")
        return await super().authenticate(attempt)

    async def open(self, user: str) -> Maildrop:
        self._fail("open")
        return await super().open(user)

    async def content(self, number: int) -> bytes | AsyncIterator[bytes]:
        self._fail("content")
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"Subject: part\r\n"
        self._fail("pieces")

    async def remove(self, numbers: Collection[int]) -> None:
        self._fail("remove")
        await super().remove(numbers)


REFUSAL = POP3ResponseError(Response(Status.ERR, "as it says", "SYS/PERM"))


@pytest.mark.parametrize("where", ["authenticate", "open", "content", "remove"])
@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (REFUSAL, b"-ERR [SYS/PERM] as it says"),
        (RuntimeError("oops"), b"-ERR [SYS/TEMP] local error, try again later"),
    ],
)
async def test_what_a_store_raises_is_answered(
    store: InMemoryMaildrops,
    where: str,
    error: Exception,
    answer: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with POP3Server(Failing(store, where, error)) as server:
        client = await raw(server)
        await client.line()
        await client.ask(b"USER tim")
        login = await client.ask(b"PASS secret")
        if where in ("authenticate", "open"):
            assert login == answer
        elif where == "content":
            assert await client.ask(b"RETR 1") == answer
            assert await client.ask(b"NOOP") == b"+OK"
        else:
            assert await client.ask(b"DELE 1") == b"+OK"
            assert await client.ask(b"QUIT") == answer
    assert (f".{where} failed; the client is told to try again" in caplog.text) is (error is not REFUSAL)


class NotAsync(Around):
    def authenticate(self, attempt: Attempt) -> str:  # type: ignore[override]
        return "tim"


class NoName(Around):
    async def authenticate(self, attempt: Attempt) -> str:
        return True  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (NotAsync, "NotAsync.authenticate is not async: write async def"),
        (NoName, "NoName.authenticate returned True, which is not the name of a user"),
    ],
)
async def test_a_store_that_does_not_keep_to_the_rules(
    store: InMemoryMaildrops, kind: type[Around], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with POP3Server(kind(store)) as server:
        client = await raw(server)
        await client.line()
        await client.ask(b"USER tim")
        assert await client.ask(b"PASS secret") == b"-ERR [SYS/TEMP] local error, try again later"
    assert text in caplog.text


@pytest.mark.parametrize("error", [REFUSAL, RuntimeError("oops")])
async def test_a_message_that_breaks_off_is_not_ended(
    store: InMemoryMaildrops, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncmail.net")
    async with POP3Server(Failing(store, "pieces", error)) as server:
        with pytest.raises(asyncmail.ConnectionLost):
            async with asyncmail.POP3Client(f"pop3://tim:secret@127.0.0.1:{server.port}") as client:
                await client.retrieve(1)


class Texts(Around):
    async def content(self, number: int) -> bytes:
        return "text"  # type: ignore[return-value]


async def test_a_store_that_hands_out_text(
    store: InMemoryMaildrops, caplog: pytest.LogCaptureFixture
) -> None:
    async with POP3Server(Texts(store)) as server:
        client = await raw(server)
        await client.line()
        await client.ask(b"USER tim")
        await client.ask(b"PASS secret")
        assert await client.ask(b"RETR 1") == b"-ERR [SYS/TEMP] local error, try again later"
        assert await client.ask(b"NOOP") == b"+OK"
    assert (
        "Texts.content returned 'text', which is neither octets nor an async iterable of them" in caplog.text
    )


async def test_a_store_may_hand_out_pieces(store: InMemoryMaildrops) -> None:
    async with POP3Server(Failing(store, "nowhere", REFUSAL)) as server:
        async with asyncmail.POP3Client(f"pop3://tim:secret@127.0.0.1:{server.port}") as client:
            assert await client.retrieve(1) == b"Subject: part\r\n"
            assert await client.top(1) == b"Subject: part\r\n"


class Pieces:
    """What can be iterated over, but not closed."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"Subject: pieces\r\n"


async def test_pieces_need_not_come_from_a_generator(
    store: InMemoryMaildrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def content(self: Around, number: int) -> Pieces:
        return Pieces()

    monkeypatch.setattr(Around, "content", content)
    async with POP3Server(Around(store)) as server:
        async with asyncmail.POP3Client(f"pop3://tim:secret@127.0.0.1:{server.port}") as client:
            assert await client.retrieve(1) == b"Subject: pieces\r\n"


async def test_a_cancelled_session_gives_the_maildrop_up(store: InMemoryMaildrops) -> None:
    slow = Slow(store)
    server = POP3Server(slow, grace_seconds=0)
    await server.start()
    client = await logged_in(server)
    await client.stream.send([b"RETR 2\r\n"])
    await slow.begun.wait()
    await server.aclose()
    slow.go_on.set()
    while server.connections:
        await anyio.lowlevel.checkpoint()
    assert repr(store).endswith("0 open>")


# --- many


async def test_many_sessions_at_once() -> None:
    count = 200
    store = InMemoryMaildrops({f"u{n}": "p" for n in range(count)})
    for n in range(count):
        store.deliver(f"u{n}", b"Subject: %d\r\n" % n)

    async def visit(n: int) -> None:
        async with asyncmail.POP3Client(f"pop3://u{n}:p@127.0.0.1:{server.port}") as client:
            assert await client.retrieve(1) == b"Subject: %d\r\n" % n
            await client.delete(1)

    async with POP3Server(store) as server:
        await asyncio.gather(*map(visit, range(count)))
    assert store.contents("u7") == []


async def test_a_server_on_a_socket_in_the_file_system(store: InMemoryMaildrops, tmp_path: Path) -> None:
    path = str(tmp_path / "pop3")

    def visit() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            return client.recv(1000)

    async with POP3Server(store, path=path) as server:
        assert server.addresses == (path,)
        assert (await blocking(visit)).startswith(b"+OK")


async def test_a_trace_shows_no_secret(store: InMemoryMaildrops) -> None:
    lines: list[str] = []
    async with POP3Server(store, trace=asyncmail.transcript(lines.append, server_side=True)) as server:
        async with asyncmail.POP3Client(
            f"pop3://tim:secret@127.0.0.1:{server.port}", mechanisms=("USER",)
        ) as client:
            with pytest.raises(NoSuchMessage):
                await client.retrieve(9)
    assert "C: PASS ****" in lines
    assert "S: -ERR no such message" in lines
    assert not any("secret" in line for line in lines)
