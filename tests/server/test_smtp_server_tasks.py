"""Hooks run in the task and context of their session, wherever its octets were read."""

from __future__ import annotations

import contextvars
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncmail import Reply, SMTPServer
from asyncmail.net import connect
from net.runtimes import eventually, on_each_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncmail import ReceivedTransaction
    from asyncmail.net import ByteStream
    from asyncmail.server import SessionInfo

_session: contextvars.ContextVar[str] = contextvars.ContextVar("session", default="none")
_MESSAGE = b"MAIL FROM:<%s@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"


class Curious:
    """Notes task and context of each hook, which all use what needs a task."""

    def __init__(self, *, suspends: bool) -> None:
        self.suspends = suspends
        self.seen: list[tuple[int, str, str]] = []

    async def _note(self, hook: str) -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                if self.suspends:
                    group.start_soon(anyio.lowlevel.checkpoint)
                self.seen.append((anyio.get_current_task().id, _session.get(), hook))

    async def connected(self, session: SessionInfo) -> None:
        _session.set("connected")

    async def mail(self, transaction: ReceivedTransaction) -> None:
        await self._note("mail")
        _session.set(transaction.sender)

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> None:
        if self.suspends:
            await self._note("rcpt")

    async def deliver(self, transaction: ReceivedTransaction) -> Reply:
        token = _session.set(f"{_session.get()}, delivered")
        await self._note("deliver")
        _session.reset(token)
        return Reply(250, f"for {_session.get()}")


@asynccontextmanager
async def client_of(server: SMTPServer) -> AsyncIterator[ByteStream]:
    stream = await connect(f"smtp://127.0.0.1:{server.port}")
    try:
        yield stream
    finally:
        stream.abort()


async def read_lines(stream: ByteStream, end: bytes) -> list[bytes]:
    data = b""
    while not data.endswith(end):
        data += await stream.receive()
    return data.splitlines()


@pytest.mark.parametrize("suspends", [False, True])
@on_each_runtime
async def test_all_hooks_run_in_the_task_and_context_of_their_session(suspends: bool) -> None:
    curious = Curious(suspends=suspends)
    async with SMTPServer(curious) as server, client_of(server) as stream:
        await read_lines(stream, b"\r\n")
        await stream.send([b"EHLO me.example\r\n"])
        await read_lines(stream, b"250 CHUNKING\r\n")
        await stream.send([_MESSAGE % b"a"])
        await read_lines(stream, b"dot\r\n")
        await stream.send([b"one\r\n.\r\n" + _MESSAGE % b"c"])
        assert (await read_lines(stream, b"dot\r\n"))[0] == b"250 for a@example.com"
        await stream.send([b"two\r\n.\r\n"])
        assert await read_lines(stream, b"\r\n") == [b"250 for c@example.com"]
    assert len({task for task, _, _ in curious.seen}) == 1
    rcpt = ["rcpt"] if suspends else []
    assert [hook for _, _, hook in curious.seen] == ["mail", *rcpt, "deliver"] * 2
    assert [where for _, where, hook in curious.seen if hook != "rcpt"] == [
        "connected",
        "a@example.com, delivered",
        "a@example.com",
        "c@example.com, delivered",
    ]


@on_each_runtime
async def test_a_handler_that_waits_makes_only_its_own_session_wait() -> None:
    let_go = anyio.Event()

    async def deliver(transaction: ReceivedTransaction) -> None:
        if transaction.sender == "slow@example.com":
            await let_go.wait()

    async with SMTPServer(deliver) as server, client_of(server) as slow, client_of(server) as quick:
        for stream, name in ((slow, b"slow"), (quick, b"quick")):
            await read_lines(stream, b"\r\n")
            await stream.send([b"EHLO me.example\r\n"])
            await read_lines(stream, b"250 CHUNKING\r\n")
            await stream.send([_MESSAGE % name])
            await read_lines(stream, b"dot\r\n")
        await slow.send([b"x\r\n.\r\nNOOP\r\n"])
        await quick.send([b"x\r\n.\r\n"])
        assert await read_lines(quick, b"\r\n") == [b"250 2.6.0 Message accepted"]
        let_go.set()
        assert await read_lines(slow, b"OK\r\n") == [b"250 2.6.0 Message accepted", b"250 2.0.0 OK"]


@on_each_runtime
async def test_a_handler_that_holds_on_does_not_hold_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmail.server.listener._GOODBYE_SECONDS", 0.05)
    ended: list[str] = []

    async def deliver(transaction: ReceivedTransaction) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(transaction.sender)

    async with SMTPServer(deliver, grace_seconds=0.05) as server, client_of(server) as stream:
        await read_lines(stream, b"\r\n")
        await stream.send([b"EHLO me.example\r\n", _MESSAGE % b"a"])
        await read_lines(stream, b"dot\r\n")
        await stream.send([b"x\r\n.\r\n"])
        await anyio.sleep(0.02)
        await server.aclose()
        await eventually(lambda: ended == ["a@example.com"])
        assert not server.connections
