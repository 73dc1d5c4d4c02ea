"""Processes killed in the middle of a fetch: what `kill -9` at any moment leaves behind."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import textwrap
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncmail.folders import Maildir
from asyncmail.retrieval import Fetcher
from asyncmail.server import InMemoryMaildrops, POP3Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

# Forks children that fetch. Each is killed after the time that is read, or, where that is negative, kills
# itself when it has changed the disk or the session so many times.
PROGRAM = """
    import os, signal, sys, time
    import anyio
    from asyncmail.client import POP3Client
    from asyncmail.folders import Maildir
    from asyncmail.retrieval import Fetcher, maildrop
    from asyncmail.retrieval.ledger_file import LedgerFile

    # Many small steps, so that there are many moments to be killed in.
    maildrop._GROUP_MESSAGES = 7
    maildrop._SMALL = 20_000

    url, path, kind = sys.argv[1:]

    async def append(maildrop, content):
        with open(path + "/taken", "ab") as file:
            file.write(len(content).to_bytes(8, "big") + content)
            file.flush()

    async def main():
        deliver_to = Maildir(path + "/{user}") if kind == "maildir" else append
        fetcher = Fetcher([url], deliver_to=deliver_to, ledger=path + "/seen.db", delete=True)
        async for report in fetcher.run():
            if not report.ok:
                os.write(2, str(report.error).encode())

    steps = 0

    def counted(holder, name):
        function = getattr(holder, name)
        def call(*args, **options):
            global steps
            steps += 1
            if -steps == moment or name == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)
        setattr(holder, name, call)

    for name in ("open", "write", "fsync", "rename"):
        counted(os, name)
    for name in ("_commit", "look_up", "forget", "close"):
        counted(LedgerFile, name)
    for name in ("delete_many", "quit", "abort"):
        counted(POP3Client, name)

    for line in sys.stdin:
        moment = line.strip()
        if moment.strip("-0123456789.") == "":
            moment = float(moment)
        child = os.fork()
        if not child:
            anyio.run(main)
            os._exit(0)
        if isinstance(moment, float) and moment > 0:
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed", flush=True)
"""


@asynccontextmanager
async def killer(url: str, path: Path, kind: str) -> AsyncIterator[Callable[[float | str], Awaitable[None]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(PROGRAM),
        url,
        str(path),
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def fetch_and_kill(moment: float | str) -> None:
        stdin.write(f"{moment}\n".encode())
        assert await stdout.readline() == b"killed\n"

    yield fetch_and_kill
    stdin.close()
    assert await process.wait() == 0


def moments(count: int, steps: int) -> list[float | str]:
    """Random ones by the clock and by what was done, and those around the end of the session."""
    by_clock: list[float | str] = [random.uniform(0.02, 0.2) for _ in range(count // 4)]
    return [
        *by_clock,
        *[-random.randint(1, steps) for _ in range(count)],
        "delete_many",
        "quit",
        "forget",
        "close",
    ]


def new_messages(trial: int) -> list[bytes]:
    sizes = [random.choice([0, 100, 2_000, 40_000]) for _ in range(50)]
    return [b"Subject: %d.%d\r\n\r\n%b\r\n" % (trial, n, b"x" * size) for n, size in enumerate(sizes)]


async def fetch_rest(url: str, deliver_to: object, path: Path, maildrops: InMemoryMaildrops) -> None:
    for _ in range(1000):  # until the server has noticed
        if not maildrops._open:
            break
        await asyncio.sleep(0.005)
    fetcher = Fetcher([url], deliver_to=deliver_to, ledger=path / "seen.db", delete=True)  # type: ignore[arg-type]
    async for report in fetcher.run():
        assert report.error is None
    assert maildrops.contents("u") == []


async def test_into_a_maildir_each_message_comes_once(tmp_path: Path) -> None:
    random.seed(1)
    maildrops = InMemoryMaildrops({"u": "secret"})
    async with POP3Server(maildrops) as server:
        url = f"pop3://u:secret@127.0.0.1:{server.port}"
        async with killer(url, tmp_path, "maildir") as fetch_and_kill:
            expected: list[bytes] = []
            for trial, moment in enumerate(moments(16, 250)):
                messages = new_messages(trial)
                expected += messages
                for message in messages:
                    maildrops.deliver("u", message)
                await fetch_and_kill(moment)
                await fetch_rest(url, Maildir(tmp_path / "{user}"), tmp_path, maildrops)
                folder = tmp_path / "u" / "new"
                stored = [(folder / name).read_bytes() for name in os.listdir(folder)]
                assert sorted(stored) == sorted(expected)


async def test_into_a_function_none_is_lost_and_the_one_in_hand_may_come_twice(tmp_path: Path) -> None:
    random.seed(2)
    maildrops = InMemoryMaildrops({"u": "secret"})
    async with POP3Server(maildrops) as server:
        url = f"pop3://u:secret@127.0.0.1:{server.port}"
        async with killer(url, tmp_path, "function") as fetch_and_kill:
            for trial, moment in enumerate(moments(8, 60)):
                messages = new_messages(trial)
                for message in messages:
                    maildrops.deliver("u", message)
                (tmp_path / "taken").write_bytes(b"")
                await fetch_and_kill(moment)
                taken = split((tmp_path / "taken").read_bytes())

                async def take(maildrop: str, content: bytes, taken: list[bytes] = taken) -> None:
                    taken.append(content)

                await fetch_rest(url, take, tmp_path, maildrops)
                assert set(taken) == set(messages)
                assert len(taken) - len(messages) in (0, 1)


def split(data: bytes) -> list[bytes]:
    """The contents that were wholly written."""
    contents: list[bytes] = []
    while len(data) >= 8:
        octets = int.from_bytes(data[:8], "big")
        content, data = data[8 : 8 + octets], data[8 + octets :]
        if len(content) == octets:
            contents.append(content)
    return contents
