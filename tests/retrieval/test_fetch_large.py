"""Messages that are too large for memory: fetched in pieces, whatever takes them."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from asyncmail import errors
from asyncmail.folders import Maildir
from asyncmail.retrieval import Fetcher, FetchReport, store
from asyncmail.server import InMemoryMaildrops, POP3Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from pathlib import Path

OCTETS = 24 * 1024 * 1024
MEMORY = 4 * 1024 * 1024
LARGE = b"Subject: large\r\n\r\n" + b"x" * 400_000 + b"\r\n"
SMALL = b"Subject: small\r\n\r\n"


class Keeping:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.pieces: list[int] = []

    async def deliver(self, maildrop: str, content: bytes) -> None:
        self.messages.append(content)

    async def deliver_stream(self, maildrop: str, pieces: AsyncIterable[bytes]) -> None:
        taken = [piece async for piece in pieces]
        self.pieces.append(len(taken))
        self.messages.append(b"".join(taken))


async def fetch(port: int, path: Path, deliver_to: object) -> FetchReport:
    url = f"pop3://u:secret@127.0.0.1:{port}"
    fetcher = Fetcher([url], deliver_to=deliver_to, ledger=path / "seen.db", delete=True)  # type: ignore[arg-type]
    (report,) = [report async for report in fetcher.run()]
    return report


@pytest.fixture
async def maildrops() -> InMemoryMaildrops:
    maildrops = InMemoryMaildrops({"u": "secret"})
    for message in (LARGE, SMALL, LARGE):
        maildrops.deliver("u", message)
    return maildrops


@pytest.fixture
async def port(maildrops: InMemoryMaildrops) -> AsyncIterator[int]:
    async with POP3Server(maildrops) as server:
        yield server.port


async def test_an_object_may_take_large_messages_in_pieces(
    port: int, maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    keeping = Keeping()
    report = await fetch(port, tmp_path, keeping)
    assert (report.fetched, report.deleted, report.octets) == (3, 3, 2 * len(LARGE) + len(SMALL))
    assert keeping.messages == [SMALL, LARGE, LARGE]
    assert min(keeping.pieces) > 1
    assert maildrops.contents("u") == []


async def test_pieces_that_were_not_taken_to_their_end(
    port: int, maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    class Hasty(Keeping):
        async def deliver_stream(self, maildrop: str, pieces: AsyncIterable[bytes]) -> None:
            async for _ in pieces:
                break

    report = await fetch(port, tmp_path, Hasty())
    assert "did not read a message to its end" in str(report.error)
    assert (report.fetched, report.deleted) == (1, 0)
    assert (await fetch(port, tmp_path, Keeping())).fetched == 2


async def test_pieces_that_were_refused(port: int, maildrops: InMemoryMaildrops, tmp_path: Path) -> None:
    class Full(Keeping):
        async def deliver_stream(self, maildrop: str, pieces: AsyncIterable[bytes]) -> None:
            raise OSError("no room")

    report = await fetch(port, tmp_path, Full())
    assert "did not take a message: OSError: no room" in str(report.error)
    assert (report.fetched, report.deleted) == (1, 0)


async def test_a_message_that_does_not_fit_into_memory(
    port: int, maildrops: InMemoryMaildrops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_LARGEST_WHOLE", len(LARGE) - 1)
    report = await fetch(port, tmp_path, Keeping().deliver)
    assert report.error is not None
    assert "deliver_stream" in report.error.cure
    assert (report.fetched, report.deleted) == (1, 0)
    monkeypatch.setattr(store, "_LARGEST_WHOLE", len(LARGE))
    assert (await fetch(port, tmp_path, Keeping().deliver)).fetched == 2


class Counting(Keeping):
    octets = 0

    async def deliver_stream(self, maildrop: str, pieces: AsyncIterable[bytes]) -> None:
        async for piece in pieces:
            self.octets += len(piece)


@pytest.mark.parametrize("announced", [b"%d" % OCTETS, b"0", b"many"])
@pytest.mark.parametrize("kind", ["maildir", "object"])
async def test_memory_stays_bounded(announced: bytes, kind: str, tmp_path: Path) -> None:
    """However large a message is, and whatever the server says of its size."""
    piece = b"x" * 1022 + b"\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n")
        while verb := (await reader.readline())[:4]:
            writer.write(b"-ERR\r\n" if verb == b"CAPA" else b"+OK\r\n")
            if verb == b"LIST":
                writer.write(b"1 %b\r\n.\r\n" % announced)
            elif verb == b"UIDL":
                writer.write(b"1 a\r\n.\r\n")
            elif verb == b"RETR":
                for _ in range(OCTETS // len(piece)):
                    writer.write(piece)
                    await writer.drain()
                writer.write(b".\r\n")
        writer.close()

    deliver_to: Maildir | Counting = Maildir(tmp_path / "m") if kind == "maildir" else Counting()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        tracemalloc.start()
        try:
            report = await fetch(server.sockets[0].getsockname()[1], tmp_path, deliver_to)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    if announced == b"0":  # what is told to be small is kept whole, within limits
        assert isinstance(report.error, errors.LimitExceeded)
        assert peak < 8_388_608 + MEMORY
        return
    assert report.error is None
    assert (report.fetched, report.octets, report.deleted) == (1, OCTETS, 1)
    assert peak < MEMORY
    if isinstance(deliver_to, Counting):
        assert deliver_to.octets == OCTETS
