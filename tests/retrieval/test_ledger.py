from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail.errors import BusyError, ClosedError, FolderError
from asyncmail.retrieval import ledger_file as module
from asyncmail.retrieval.ledger import History, Intent, Ledger

if TYPE_CHECKING:
    from pathlib import Path

ANNA = "anna@example.com:995"
BERT = "bert@example.com:995"
NOTHING = History(stored={}, intents=[])


async def stored(ledger: Ledger, maildrop: str) -> set[str]:
    return set((await ledger.look_up(maildrop)).stored)


async def test_intent_record_forget(tmp_path: Path) -> None:
    intent = Intent(unique_id="a", folder="/m/\udcff", name="1.x")
    async with Ledger(tmp_path / "seen.db") as ledger:
        assert await ledger.look_up(ANNA) == NOTHING
        await ledger.intend(ANNA, [intent])
        assert await ledger.look_up(ANNA) == History(stored={}, intents=[intent])
        assert await ledger.look_up(BERT) == NOTHING
        before = time.time()
        await ledger.record(ANNA, ["a", "b"])
        history = await ledger.look_up(ANNA)
        assert history.intents == []
        assert set(history.stored) == {"a", "b"}
        assert all(before <= recorded <= time.time() for recorded in history.stored.values())
    async with Ledger(tmp_path / "seen.db") as ledger:
        await ledger.forget(ANNA, ["b", "never"])
        assert await stored(ledger, ANNA) == {"a"}
        assert await stored(ledger, BERT) == set()


async def test_its_file_is_private(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "seen.db") as ledger:
        await ledger.record(ANNA, ["a"])
        modes = {entry.stat().st_mode & 0o777 for entry in os.scandir(tmp_path)}
    assert modes == {0o600}


async def test_many_tasks_share_transactions(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "seen.db") as ledger:
        commits: list[str] = []
        assert ledger.file.connection is not None
        ledger.file.connection.set_trace_callback(
            lambda sql: commits.append(sql) if sql == "COMMIT" else None
        )
        await asyncio.gather(*[ledger.record(ANNA, [str(n)]) for n in range(100)])
        assert len(commits) < 50
        assert await stored(ledger, ANNA) == {str(n) for n in range(100)}


async def test_cancelled_tasks_do_no_harm_to_others(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "seen.db") as ledger:
        for _ in range(5):
            tasks = [asyncio.create_task(ledger.record(ANNA, [str(n)])) for n in range(20)]
            await asyncio.sleep(random.random() * 0.003)
            victims = tasks[::3]
            for task in victims:
                task.cancel()
            await asyncio.wait(tasks)
            kept = {str(n) for n, task in enumerate(tasks) if not task.cancelled()}
            assert kept <= await stored(ledger, ANNA)
            await ledger.forget(ANNA, [str(n) for n in range(20)])


async def test_several_processes_at_once(tmp_path: Path) -> None:
    program = """
        import anyio, sys
        from asyncmail.retrieval.ledger import Ledger
        async def main(path, name):
            for n in range(20):
                async with Ledger(path) as ledger:
                    await ledger.record("a@b:1", [f"{name}-{n}"])
        anyio.run(main, *sys.argv[1:])
    """
    path = tmp_path / "seen.db"
    arguments = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    processes = [await anyio.open_process([*arguments, str(n)], stderr=None) for n in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    for process in processes:
        await process.aclose()
    async with Ledger(path) as ledger:
        assert len(await stored(ledger, "a@b:1")) == 60


async def test_only_inside_the_block(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "seen.db")
    assert repr(ledger) == f"<Ledger {ledger.path!r} closed>"
    with pytest.raises(ClosedError):
        await ledger.look_up(ANNA)
    with pytest.raises(ClosedError):
        await ledger.record(ANNA, ["a"])
    async with ledger:
        assert repr(ledger) == f"<Ledger {ledger.path!r} open>"
        with pytest.raises(BusyError):
            await ledger.__aenter__()
    async with ledger:
        assert await ledger.look_up(ANNA) == NOTHING


def test_on_trio(tmp_path: Path) -> None:
    async def main() -> None:
        async with Ledger(tmp_path / "seen.db") as ledger:
            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(ledger.record, ANNA, [str(n)])
            assert len(await stored(ledger, ANNA)) == 20

    anyio.run(main, backend="trio")


async def test_text_that_sqlite_cannot_store_harms_no_later_write(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "seen.db") as ledger:
        with pytest.raises(FolderError, match="surrogates"):
            await ledger.record(ANNA, ["\udcff"])
        await ledger.record(ANNA, ["a"])
        assert await stored(ledger, ANNA) == {"a"}


# --- files that are no ledgers


async def refused(path: Path) -> FolderError:
    with pytest.raises(FolderError) as info:
        async with Ledger(path) as ledger:
            await ledger.record(ANNA, ["a"])
    assert info.value.path == str(path)
    assert info.value.cure
    return info.value


async def test_text_instead_of_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    path.write_text("a@b:1 12345\n" * 1000)
    assert "not a ledger" in str(await refused(path))


async def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (x)")
    assert "a database, but not a ledger" in str(await refused(path))


async def test_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    async with Ledger(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
    assert "has version 9" in str(await refused(path))


async def test_a_damaged_ledger(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    async with Ledger(path) as ledger:
        await ledger.record(ANNA, [f"{n:070}" for n in range(2000)])
    octets = bytearray(path.read_bytes())
    octets[4096:] = os.urandom(len(octets) - 4096)
    path.write_bytes(octets)
    assert "is damaged" in str(await refused(path))


async def test_a_damaged_ledger_that_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    async with Ledger(path) as ledger:
        await ledger.record(ANNA, ["a"])
    octets = bytearray(path.read_bytes())
    octets[4096:] = b"\xff" * (len(octets) - 4096)
    path.write_bytes(octets)
    async with Ledger(path) as ledger:
        with pytest.raises(FolderError, match="is damaged"):
            await ledger.look_up(ANNA)


async def test_paths_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no such file" in str(await refused(tmp_path / "none" / "seen.db"))
    assert "not a directory" in str(await refused(tmp_path / "file" / "seen.db"))
    assert "cannot be opened" in str(await refused(tmp_path))


async def test_a_ledger_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_TIMEOUT", 0.05)
    path = tmp_path / "seen.db"
    async with Ledger(path) as ledger:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(FolderError, match="another process holds it") as info:
                await ledger.record(ANNA, ["a"])
            assert info.value.is_transient
            assert (await refused(path)).is_transient
            other.execute("ROLLBACK")
        await ledger.record(ANNA, ["b"])
        assert await stored(ledger, ANNA) == {"b"}


async def test_the_log_mode_waits_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seen.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(module, "_BUSY_TIMEOUT", 0.05)
        assert (await refused(path)).is_transient


async def test_a_full_disk(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "seen.db") as ledger:
        await ledger.record(ANNA, ["kept"])
        assert ledger.file.connection is not None
        ledger.file.connection.execute("PRAGMA max_page_count = 4")
        with pytest.raises(FolderError, match="the disk is full") as info:
            await ledger.record(ANNA, [f"{n:070}" for n in range(2000)])
        assert info.value.is_transient
        await ledger.record(ANNA, ["small"])
        assert await stored(ledger, ANNA) == {"kept", "small"}
