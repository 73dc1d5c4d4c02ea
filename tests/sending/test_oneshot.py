"""asyncmail.send: one message through a session of its own."""

from __future__ import annotations

from email.message import EmailMessage

import anyio
import anyio.lowlevel
import pytest

import asyncmail
from asyncmail.errors import ConnectError, HelloRefused, MessageError
from net.runtimes import eventually, on_each_runtime
from peers import reserve_port
from scripted import Do, cut_at, scripted

CONTENT = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: hello\r\n\r\n"


@on_each_runtime
async def test_a_message() -> None:
    message = EmailMessage()
    message["From"] = "a@example.com"
    message["To"] = "b@example.com, c@example.com"
    message.set_content("text")
    async with scripted() as server:
        assert (await asyncmail.send(message, server=server.url, local_hostname="me.example")).ok
        assert (await asyncmail.send(CONTENT, server=server.url, sender="", recipients="d@example.com")).ok
        assert [(each.sender, each.recipients) for each in server.messages] == [
            ("a@example.com", ("b@example.com", "c@example.com")),
            ("", ("d@example.com",)),
        ]
        assert server.talks[0].lines[0] == "EHLO me.example"
        await eventually(lambda: not server.open)
        assert {talk.lines[-1] for talk in server.talks} == {"QUIT"}


@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_what_goes_wrong() -> None:
    with pytest.raises(ConnectError):
        await asyncmail.send(CONTENT, server=f"smtp://127.0.0.1:{reserve_port()}")
    async with scripted(
        lambda talk, line: "502 no" if line[1:4] == "HLO" or line[:4] == "HELO" else None
    ) as server:
        server.react = lambda talk, line: "502 no" if line.startswith(("EHLO", "HELO")) else None
        with pytest.raises(HelloRefused):
            await asyncmail.send(CONTENT, server=server.url)
    async with scripted() as server:
        with pytest.raises(MessageError):
            await asyncmail.send(b"\r\n", server=server.url)
        server.react = lambda talk, line: "550 no" if line.startswith("RCPT") else None
        assert (await asyncmail.send(CONTENT, server=server.url)).refused
        server.react = lambda talk, line: Do.CLOSE if line == "." else None
        assert (await asyncmail.send(CONTENT, server=server.url)).unknown


@on_each_runtime
async def test_cancelled_at_every_await() -> None:
    cut = 0
    was_cut = True
    while was_cut:
        cut += 1
        async with scripted() as server:
            was_cut, _ = await cut_at(cut, lambda server=server: asyncmail.send(CONTENT, server=server.url))
            await eventually(lambda server=server: not server.open)
            assert len(server.messages) <= 1
            await anyio.lowlevel.checkpoint()
    assert cut > 3
