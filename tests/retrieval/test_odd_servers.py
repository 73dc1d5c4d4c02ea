"""Servers that lack commands, tell nonsense, or refuse in the middle."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from asyncmail import errors
from asyncmail.folders import Maildir
from asyncmail.retrieval import Fetcher, FetchReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class OddServer:
    """A server whose every answer can be spoilt."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    capabilities: tuple[str, ...] = ("USER", "PIPELINING")
    refused: dict[str, str] = field(default_factory=dict)  # command line or verb: the response
    hangs_up_at: str = ""
    more_listing: bytes = b""
    more_unique_ids: bytes = b""
    announced: int = 0  # instead of the right size
    port: int = 0
    commands: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n")
        deleted: set[int] = set()
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            verb, _, argument = line.partition(" ")
            number = int(argument.split()[0]) if argument[:1].isdigit() else 0
            refusal = self.refused.get(line) or self.refused.get(verb)
            if verb == self.hangs_up_at:
                break
            if refusal:
                writer.write(f"-ERR {refusal}\r\n".encode())
            elif verb == "CAPA":
                writer.write(b"+OK\r\n" + "".join(f"{c}\r\n" for c in self.capabilities).encode() + b".\r\n")
            elif verb == "LIST":
                lines = [
                    b"%d %d\r\n" % (n, self.announced or len(content))
                    for n, (_, content) in enumerate(self.messages, 1)
                ]
                writer.write(b"+OK\r\n" + b"".join(lines) + self.more_listing + b".\r\n")
            elif verb == "UIDL":
                ids = [f"{n} {uid}\r\n".encode() for n, (uid, _) in enumerate(self.messages, 1) if uid]
                writer.write(b"+OK\r\n" + b"".join(ids) + self.more_unique_ids + b".\r\n")
            elif verb in ("RETR", "TOP"):
                content = self.messages[number - 1][1]
                if verb == "TOP":
                    content = content[: content.index(b"\r\n\r\n") + 4]
                writer.write(b"+OK\r\n" + content + b".\r\n")
            else:
                if verb == "DELE":
                    deleted.add(number)
                writer.write(b"+OK\r\n")
                if verb == "QUIT":
                    self.messages = [m for n, m in enumerate(self.messages, 1) if n not in deleted]
                    break
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[OddServer]:
    odd = OddServer()
    async with await asyncio.start_server(odd.serve, "127.0.0.1", 0) as listener:
        odd.port = listener.sockets[0].getsockname()[1]
        yield odd


def message(text: str, body: str = "") -> bytes:
    return f"Subject: {text}\r\n\r\n{body}\r\n".encode()


async def fetch(server: OddServer, path: Path, **options: object) -> FetchReport:
    url = f"pop3://u:secret@127.0.0.1:{server.port}"
    options = {"deliver_to": Maildir(path / "u"), "ledger": path / "seen.db", "timeouts": 3.0} | options
    (report,) = [report async for report in Fetcher([url], **options).run()]  # type: ignore[arg-type]
    return report


def files(path: Path, pattern: str) -> list[Path]:
    return list(path.glob(pattern))


def stored(path: Path) -> list[bytes]:
    return sorted(file.read_bytes() for file in path.glob("u/new/*"))


# --- identities


async def test_without_unique_ids_the_header_tells(server: OddServer, tmp_path: Path) -> None:
    server.refused = {"UIDL": "what?"}
    server.messages = [("", message("a")), ("", message("b")), ("", message("a"))]
    report = await fetch(server, tmp_path)
    assert (report.ok, report.fetched) == (True, 3)
    server.messages = [("", message("c")), *server.messages]
    report = await fetch(server, tmp_path, delete=True)
    assert (report.already_seen, report.fetched, report.deleted) == (3, 1, 4)
    assert stored(tmp_path) == sorted(map(message, "aabc"))
    assert server.messages == []


async def test_with_neither_unique_ids_nor_headers(server: OddServer, tmp_path: Path) -> None:
    server.refused = {"UIDL": "what?", "TOP": "what?"}
    server.messages = [("", message("a"))]
    report = await fetch(server, tmp_path, delete=True)
    assert isinstance(report.error, errors.ExtensionRequired)
    assert report.error.extension == "UIDL"
    assert server.commands[-1] == "TOP 1 0"


@pytest.mark.parametrize("verb", ["UIDL", "TOP"])
async def test_a_passing_failure_is_no_lack(server: OddServer, tmp_path: Path, verb: str) -> None:
    server.refused = {"UIDL": "what?", verb: "[SYS/TEMP] later"}
    server.messages = [("", message("a"))]
    report = await fetch(server, tmp_path)
    assert isinstance(report.error, errors.POP3ResponseError)
    assert report.error.is_transient


async def test_unique_ids_that_fail_today_do_not_make_all_messages_new(
    server: OddServer, tmp_path: Path
) -> None:
    server.messages = [("x", message("a"))]
    assert (await fetch(server, tmp_path)).fetched == 1
    server.refused = {"UIDL": "out of order"}
    report = await fetch(server, tmp_path)
    assert isinstance(report.error, errors.POP3ResponseError)
    assert report.fetched == 0


async def test_what_is_announced_is_expected(server: OddServer, tmp_path: Path) -> None:
    server.capabilities = ("USER", "UIDL")
    server.messages = [("x", message("a"))]
    server.refused = {"UIDL": "out of order"}
    assert isinstance((await fetch(server, tmp_path)).error, errors.POP3ResponseError)


async def test_identical_messages_with_one_unique_id(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a"))]
    assert (await fetch(server, tmp_path)).fetched == 1
    server.messages = [("x", message("a")), ("x", message("a")), ("y", message("b"))]
    report = await fetch(server, tmp_path)
    assert (report.already_seen, report.fetched) == (1, 2)
    report = await fetch(server, tmp_path, delete=True)
    assert (report.already_seen, report.fetched, report.deleted) == (3, 0, 3)
    assert stored(tmp_path) == sorted(map(message, "aab"))


async def test_different_messages_with_one_unique_id(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("1", message("a")), ("1", message("b")), ("1", message("b"))]
    assert (await fetch(server, tmp_path)).fetched == 3
    server.messages = [("1", message("c")), ("1", message("a"))]
    report = await fetch(server, tmp_path, delete=True)
    assert (report.already_seen, report.fetched, report.deleted) == (1, 1, 2)
    assert stored(tmp_path) == sorted(map(message, "abbc"))


async def test_message_numbers_for_unique_ids_lose_nothing(server: OddServer, tmp_path: Path) -> None:
    for text in "abc":
        server.messages = [("1", message(text))]
        report = await fetch(server, tmp_path, delete=True)
        assert (report.fetched, report.deleted) == (1, 1)
    assert stored(tmp_path) == sorted(map(message, "abc"))


async def test_unreadable_lines_hide_no_message_and_forget_none(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a")), ("y", message("b"))]
    await fetch(server, tmp_path)
    server.messages = [("x", message("a")), ("", message("b")), ("z", message("c"))]
    server.more_unique_ids = b"2\r\n"
    server.more_listing = b"nonsense\r\n"
    report = await fetch(server, tmp_path)
    assert (report.listed, report.already_seen, report.fetched) == (3, 1, 2)
    server.messages[1] = ("y", message("b"))
    server.more_unique_ids = server.more_listing = b""
    assert (await fetch(server, tmp_path)).already_seen == 3


async def test_a_message_of_which_the_size_is_not_told(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a"))]
    server.more_unique_ids = b"2 y\r\n"
    server.refused = {"RETR 2": "no such message"}
    report = await fetch(server, tmp_path)
    assert (report.listed, report.fetched) == (2, 1)
    assert isinstance(report.error, errors.NoSuchMessage)


# --- refusals


async def test_a_message_that_is_refused_stops_no_other(server: OddServer, tmp_path: Path) -> None:
    large = message("large", "x" * 300_000)
    server.messages = [(str(n), message(f"{n}")) for n in range(1, 6)] + [("l1", large), ("l2", large)]
    server.refused = {"RETR 2": "damaged", "RETR 4": "[SYS/PERM] damaged", "RETR 6": "damaged"}
    report = await fetch(server, tmp_path, delete=True)
    assert isinstance(report.error, errors.NoSuchMessage)
    assert report.error.number == 2
    assert (report.listed, report.fetched, report.deleted) == (7, 4, 4)
    assert [uid for uid, _ in server.messages] == ["2", "4", "l1"]
    assert len(stored(tmp_path)) == 4
    assert files(tmp_path, "u/tmp/*") == []


async def test_a_deletion_that_is_refused(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a")), ("y", message("b"))]
    server.refused = {"DELE 1": "read-only"}
    report = await fetch(server, tmp_path, delete=True)
    assert (report.fetched, report.deleted) == (2, 1)
    assert "DELE was refused" in str(report.error)
    report = await fetch(server, tmp_path)
    assert (report.already_seen, report.fetched) == (1, 0)


async def test_a_server_that_hangs_up_instead_of_leaving(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a"))]
    server.hangs_up_at = "QUIT"
    assert (await fetch(server, tmp_path)).ok
    report = await fetch(server, tmp_path, delete=True)
    assert isinstance(report.error, errors.ConnectionLost)
    assert report.deleted == 0
    server.hangs_up_at = ""
    report = await fetch(server, tmp_path, delete=True)
    assert (report.already_seen, report.fetched, report.deleted) == (1, 0, 1)


async def test_removal_that_fails_at_the_end(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a"))]
    server.refused = {"QUIT": "some deleted messages not removed"}
    report = await fetch(server, tmp_path, delete=True)
    assert isinstance(report.error, errors.POP3ResponseError)
    assert (report.fetched, report.deleted) == (1, 0)
    assert (await fetch(server, tmp_path)).already_seen == 1


async def test_a_server_that_stops_in_the_middle_of_a_large_message(
    server: OddServer, tmp_path: Path
) -> None:
    server.messages = [("x", b"x" * 400_000)]  # no line end, so no end
    report = await fetch(server, tmp_path, timeouts=0.2)
    assert isinstance(report.error, errors.MailTimeout)
    assert files(tmp_path, "u/*/*") == []


async def test_more_than_was_announced(server: OddServer, tmp_path: Path) -> None:
    server.messages = [("x", message("a", "x" * 3_000_000))]
    server.announced = 100
    report = await fetch(server, tmp_path, largest=100_000, delete=True)
    assert isinstance(report.error, errors.LimitExceeded)
    assert (report.fetched, report.deleted) == (0, 0)
    assert (await fetch(server, tmp_path)).octets == 3_000_016
