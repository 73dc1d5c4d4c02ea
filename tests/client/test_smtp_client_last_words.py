"""Servers that say why they do not want a message while it is still being written, and leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncmail import Mailer, SMTPClient
from asyncmail.errors import ConnectionLost, ContentRefused
from net.runtimes import on_each_runtime
from scripted import Do, scripted

if TYPE_CHECKING:
    from scripted import React, Reaction, Talk

LARGE = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 100_000
EXTENSIONS_OF = {"data": ("PIPELINING",), "chunking": ("PIPELINING", "CHUNKING")}
NO = "552 5.3.4 too large"


def refuses(*words: str) -> React:
    """Says `words` once it has seen the beginning of the content, and never reads the rest."""

    async def react(talk: Talk, line: str) -> Reaction:
        if line == "DATA":
            await talk.say("354 go ahead")
        elif not (line.startswith("RCPT") and "CHUNKING" in talk.server.extensions):
            return None
        else:
            await talk.say("250 2.1.5 OK")
        await talk.octets(100)
        return [*words, Do.CLOSE]

    return react


@pytest.mark.parametrize("way", EXTENSIONS_OF)
@on_each_runtime
async def test_the_content_is_refused(way: str) -> None:
    async with scripted(refuses(NO), extensions=EXTENSIONS_OF[way]) as server:
        async with SMTPClient(server.url) as client:
            outcome = await client.send(LARGE, sender="a@example.com", recipients="b@example.com")
        assert [str(each.reply) for each in outcome.refused] == [NO]
        assert outcome.error is None


@pytest.mark.parametrize("way", EXTENSIONS_OF)
@on_each_runtime
async def test_the_session_is_ended(way: str) -> None:
    async with scripted(refuses("421 4.3.2 not now"), extensions=EXTENSIONS_OF[way]) as server:
        async with SMTPClient(server.url) as client:
            outcome = await client.send(LARGE, sender="a@example.com", recipients="b@example.com")
        assert [str(each.reply) for each in outcome.deferred] == ["421 4.3.2 not now"]


@pytest.mark.parametrize("way", EXTENSIONS_OF)
@on_each_runtime
async def test_no_word_at_all(way: str) -> None:
    async with scripted(refuses(), extensions=EXTENSIONS_OF[way]) as server:
        async with SMTPClient(server.url) as client:
            outcome = await client.send(LARGE, sender="a@example.com", recipients="b@example.com")
        assert [each.reply for each in outcome.deferred] == [None]
        assert isinstance(outcome.error, ConnectionLost)


@pytest.mark.parametrize("way", EXTENSIONS_OF)
@on_each_runtime
async def test_the_mailer_does_not_try_again(way: str) -> None:
    async with scripted(refuses(NO), extensions=EXTENSIONS_OF[way]) as server:
        async with Mailer(server.url) as mailer:
            outcome = await mailer.send(LARGE, sender="a@example.com", recipients="b@example.com")
        assert [str(each.reply) for each in outcome.refused] == [NO]
        assert len(server.talks) == 1


@on_each_runtime
async def test_by_hand() -> None:
    async with scripted(refuses(NO), extensions=EXTENSIONS_OF["data"]) as server:
        async with SMTPClient(server.url) as client:
            await client.mail("a@example.com")
            await client.rcpt("b@example.com")
            with pytest.raises(ContentRefused, match="too large"):
                await client.data(LARGE)
            assert not client.is_usable
