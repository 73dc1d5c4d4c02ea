from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail import (
    ConnectError,
    FolderError,
    InputError,
    Mailer,
    Parcel,
    PoolLimits,
    ReceivedTransaction,
    Reply,
    SMTPServer,
)
from asyncmail.errors import BusyError, ClosedError, Stage
from asyncmail.sending import Journal, Unsettled
from asyncmail.sending.journal_file import JournalFile
from asyncmail.smtp import Outcome, RecipientOutcome, Status
from scripted import cut_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NO = Reply(550, "no such user", "5.1.1")
LATER = Reply(451, "try later", "4.3.0")
OK = Reply(250, "OK", "2.0.0")


def outcome(*recipients: tuple[str, Status, Reply | None], error: Exception | None = None) -> Outcome:
    return Outcome(
        sender="s@example.com",
        recipients=tuple([RecipientOutcome(*each, Stage.CONTENT) for each in recipients]),
        error=error,  # type: ignore[arg-type]
    )


def parcels(number: int, first: int = 0) -> list[Parcel]:
    return [
        Parcel(b"Subject: x\r\n\r\nx\r\n", "s@example.com", [f"r{n}@example.com"], tag=f"row {n}")
        for n in range(first, first + number)
    ]


class Receiver:
    """Answers by the recipient's local part, and keeps what it accepts."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.replies: dict[str, Reply] = {}

    async def deliver(self, transaction: ReceivedTransaction) -> Reply | None:
        reply = self.replies.get(transaction.recipients[0])
        if reply is None:
            self.accepted += transaction.recipients
        return reply

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> Reply | None:
        return self.replies.get(f"rcpt {recipient}")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def server(receiver: Receiver) -> AsyncIterator[SMTPServer]:
    async with SMTPServer(receiver) as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def mailer_for(server: SMTPServer, **options: Any) -> Mailer:
    return Mailer(f"smtp://127.0.0.1:{server.port}", connections=2, **options)


def content(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(path).rstrip(b"\0").splitlines()]


# --- what it remembers


async def test_what_was_noted_is_there_again(path: Path) -> None:
    async with Journal(path, subject="x") as journal:
        await journal.begin(
            {"a": ["a@e.com"], "b": ["b@e.com", "c@e.com"], "d": ["d@e.com"], "e": ["e@e.com"]}
        )
        journal.record("a", outcome(("a@e.com", Status.ACCEPTED, OK)))
        journal.record("b", outcome(("b@e.com", Status.ACCEPTED, OK), ("c@e.com", Status.REFUSED, NO)))
        journal.record("d", outcome(("d@e.com", Status.UNKNOWN, None), error=ConnectError("gone")))
        identity = journal.id
        assert repr(journal) == f"<Journal {str(path)!r} open, 4 messages>"
    async with Journal(path, subject="x") as journal:
        assert journal.id == identity
        assert list(journal) == ["a", "b", "d", "e"]
        assert len(journal) == 4
        assert "a" in journal
        assert "x" not in journal
        assert journal.unsettled("a") == ()
        assert journal.unsettled("b") == (Unsettled("c@e.com", Status.REFUSED, "550 5.1.1 no such user"),)
        assert journal.unsettled("d") == (Unsettled("d@e.com", Status.UNKNOWN, "connect: gone"),)
        assert journal.unsettled("e") == (Unsettled("e@e.com", Status.UNKNOWN),)
        assert journal.path == str(path)
    assert repr(journal).endswith("closed, 4 messages>")
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_the_last_word_counts(path: Path) -> None:
    async with Journal(path) as journal:
        await journal.begin({"a": ["a@e.com", "b@e.com"]})
        journal.record("a", outcome(("a@e.com", Status.DEFERRED, LATER), ("b@e.com", Status.REFUSED, NO)))
        await journal.begin({"a": ["a@e.com"]})
        begun = journal.unsettled("a")
        journal.record("a", outcome(("a@e.com", Status.ACCEPTED, OK)))
    assert {each.address: each.status for each in begun} == {
        "a@e.com": Status.UNKNOWN,
        "b@e.com": Status.REFUSED,
    }
    async with Journal(path) as journal:
        assert [each.address for each in journal.unsettled("a")] == ["b@e.com"]


async def test_what_is_withdrawn_is_as_it_was_before(path: Path) -> None:
    async with Journal(path) as journal:
        for key in ("new", "later", "lost"):
            await journal.begin({key: [f"{key}@e.com"]})
        journal.withdraw("new")
        journal.withdraw("never begun")
        assert "new" not in journal
        journal.record("later", outcome(("later@e.com", Status.DEFERRED, LATER)))
    for _ in range(2):
        async with Journal(path) as journal:
            assert list(journal) == ["later", "lost"]
            assert journal.unsettled("later") == (
                Unsettled("later@e.com", Status.DEFERRED, "451 4.3.0 try later"),
            )
            assert journal.unsettled("lost") == (Unsettled("lost@e.com", Status.UNKNOWN),)
            for key in ("new", "later", "lost"):
                await journal.begin({key: [f"{key}@e.com"]})
                journal.withdraw(key)
    write(path, content(path) + b'{"key":"else","withdrawn":true}\n')
    with pytest.raises(FolderError, match="damaged"):
        async with Journal(path):
            pass


async def test_what_an_earlier_run_left_unknown_is_not_withdrawn(path: Path) -> None:
    async with Journal(path) as journal:
        await journal.begin({"lost": ["lost@e.com"]})
    before = content(path)
    for _ in range(2):
        async with Journal(path) as journal:
            journal.withdraw("lost")  # by who was cancelled before it could be begun again
            assert journal.unsettled("lost") == (Unsettled("lost@e.com", Status.UNKNOWN),)
    assert content(path) == before


async def test_a_message_id_is_the_same_in_every_run(path: Path) -> None:
    async with Journal(path) as journal:
        first = journal.message_id("a", "e.com")
        assert first != journal.message_id("b", "e.com")
    async with Journal(path) as journal:
        assert journal.message_id("a", "e.com") == first
    async with Journal(path, fresh=True) as journal:
        assert journal.message_id("a", "e.com") != first


async def test_a_fresh_journal_sets_the_old_one_aside(path: Path) -> None:
    for fresh in (False, True, True):
        async with Journal(path, fresh=fresh) as journal:
            assert len(journal) == 0
            await journal.begin({"a": ["a@e.com"]})
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "run.journal",
        "run.journal.1",
        "run.journal.2",
    ]


async def test_long_replies_and_strange_ones_are_kept_short(path: Path) -> None:
    async with Journal(path) as journal:
        await journal.begin({"ä": ["a@e.com"]})
        journal.record("ä", outcome(("a@e.com", Status.REFUSED, Reply(550, "„\n" * 2000))))
    async with Journal(path) as journal:
        (refused,) = journal.unsettled("ä")
        assert refused.text.startswith("550 „ / „")
        assert len(refused.text) < 250
    assert max(map(len, content(path).splitlines())) < 2_048


# --- what can be wrong with it


@pytest.mark.parametrize("path", ["/dev/full", "/dev/zero", "/dev/null", "fifo"])
@pytest.mark.parametrize("fresh", [False, True])
async def test_what_is_no_file(tmp_path: Path, path: str, fresh: bool) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="is not a regular file") as caught, anyio.fail_after(10):
        async with Journal(tmp_path / path, fresh=fresh):
            pass
    assert caught.value.cure


async def test_another_run(path: Path) -> None:
    async with Journal(path, subject="x"):
        pass
    with pytest.raises(InputError, match="journal of another run"):
        async with Journal(path, subject="y"):
            pass


@pytest.mark.parametrize(
    "octets",
    [
        b"email,name\na@e.com,A\n",
        b"{}\n",
        b'{"format": "else", "version": 1}\n',
        b"[]\n",
        b"\xff\n",
        b"one line",
    ],
)
async def test_another_file(path: Path, octets: bytes) -> None:
    write(path, octets)
    with pytest.raises(InputError, match="not a journal"):
        async with Journal(path):
            pass
    assert content(path) == octets


async def test_a_newer_version(path: Path) -> None:
    async with Journal(path):
        pass
    write(path, content(path).replace(b'"version":1', b'"version":2'))
    with pytest.raises(InputError, match="version 2, this program knows 1"):
        async with Journal(path):
            pass


@pytest.mark.parametrize(
    "damage", [b"x\n", b'{"key":"a"\n', b'{"begun":[]}\n', b'{"key":"a","gone":{}}\n', b"7\n"]
)
async def test_damage_in_the_middle(path: Path, damage: bytes) -> None:
    async with Journal(path) as journal:
        await journal.begin({"a": ["a@e.com"]})
    write(path, content(path) + damage + b'{"key":"b","begun":["b@e.com"]}\n')
    with pytest.raises(FolderError, match=r"damaged in line 3 \("):
        async with Journal(path):
            pass


async def test_a_page_that_never_reached_the_disk(path: Path) -> None:
    async with Journal(path) as journal:
        await journal.begin({"a": ["a@e.com"]})
    write(path, content(path) + b"\0" * 4096 + b'2@e.com"]}\n{"key":"c","begun":["c@e.com"]}\n\0\0')
    async with Journal(path) as journal:
        assert list(journal) == ["a", "c"]
        await journal.begin({"d": ["d@e.com"]})
    async with Journal(path) as journal:
        assert list(journal) == ["a", "c", "d"]


async def test_one_process_at_a_time(path: Path) -> None:
    async with Journal(path):
        for fresh in (False, True):
            with pytest.raises(FolderError, match="another process uses this journal") as info:
                async with Journal(path, fresh=fresh):
                    pass
            assert info.value.is_transient
    async with Journal(path):
        pass


async def test_cancelled_anywhere(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use() -> None:
        async with Journal(path) as journal:
            await journal.begin({"a": ["a@e.com"]})
            journal.withdraw("a")

    number = 1
    with anyio.fail_after(10):
        while True:
            try:
                is_cut, _ = await cut_at(number, use)
            except FolderError:  # the thread has not come to its end
                await anyio.sleep(0.001)
                continue
            if not is_cut:
                break
            number += 1
    assert number > 5
    assert not caplog.records


def test_nothing_is_written_behind_its_end(path: Path) -> None:
    file = JournalFile(str(path))
    file.close()
    with open(path, "r+b"):  # which may have the same descriptor
        with pytest.raises(FolderError):
            file.append(b"x")
        with pytest.raises(FolderError):
            file.reserve(1)
    assert content(path) == b""


async def test_use_when_it_is_not_open(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(ClosedError):
        await journal.begin({"a": ["a@e.com"]})
    async with journal:
        with pytest.raises(BusyError):
            await journal.__aenter__()
    async with journal:
        assert len(journal) == 0


@pytest.mark.parametrize("key", ["", "a\nb", "\ud800"])
async def test_keys_that_are_none(path: Path, key: str) -> None:
    async with Journal(path) as journal:
        with pytest.raises(InputError, match="key"):
            await journal.begin({key: ["a@e.com"]})


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such file"):
        async with Journal(tmp_path / "no" / "journal"):
            pass


@given(st.data())
def test_a_journal_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal"

    async def check() -> None:
        async with Journal(path) as journal:
            await journal.begin({"a": ["a@e.com"], "b": ["b@e.com"]})
            journal.record("a", outcome(("a@e.com", Status.ACCEPTED, OK)))
            await journal.flush()
        whole = content(path)
        cut = data.draw(st.integers(0, len(whole)))
        write(path, whole[:cut] + b"\0" * data.draw(st.integers(0, 3)))
        complete = whole[:cut].count(b"\n")
        async with Journal(path) as journal:
            assert list(journal) == ["a", "b"][: max(0, min(2, complete - 1))]
            if complete == 4:
                assert journal.unsettled("a") == ()
            await journal.begin({"c": ["c@e.com"]})
        async with Journal(path) as journal:
            assert "c" in journal

    anyio.run(check)


# --- sending


async def test_it_is_begun_before_the_server_has_it(path: Path) -> None:
    begun_before: list[bool] = []

    async def deliver(transaction: ReceivedTransaction) -> None:
        begun_before.append(f'"begun":["{transaction.recipients[0]}"]'.encode() in content(path))

    async with SMTPServer(deliver) as server, mailer_for(server) as mailer, Journal(path) as journal:
        async for each in journal.send_many(mailer, parcels(100), window=10):
            assert each.ok
    assert begun_before == [True] * 100


async def test_no_more_than_the_window_is_ever_open(path: Path, server: SMTPServer) -> None:
    most = 0
    async with mailer_for(server) as mailer, Journal(path) as journal:
        async for _ in journal.send_many(mailer, parcels(200), window=7):
            entries = lines(path)
            begun = sum("begun" in entry for entry in entries)
            most = max(most, begun - sum("accepted" in entry for entry in entries))
    assert 0 < most <= 7


async def test_a_second_run_sends_what_is_left(path: Path, server: SMTPServer, receiver: Receiver) -> None:
    receiver.replies = {"r1@example.com": NO, "r2@example.com": LATER}
    async with mailer_for(server) as mailer, Journal(path) as journal:
        first = {each.tag: each async for each in journal.send_many(mailer, parcels(5))}
        assert sorted(each.index or 0 for each in first.values()) == [0, 1, 2, 3, 4]
        await journal.begin({"row 5": ["r5@example.com"]})
    receiver.replies.clear()
    async with mailer_for(server) as mailer, Journal(path) as journal:
        again = [each async for each in journal.send_many(mailer, parcels(8))]
        assert {(each.tag, each.index) for each in again} == {("row 2", 2), ("row 6", 6), ("row 7", 7)}
        assert journal.unsettled("row 5")[0].status is Status.UNKNOWN
        assert [each async for each in journal.send_many(mailer, parcels(8))] == []
        (last,) = [each async for each in journal.send_many(mailer, parcels(8), retry_unknown=True)]
        assert last.tag == "row 5"
    assert sorted(receiver.accepted) == [f"r{n}@example.com" for n in (0, 2, 3, 4, 5, 6, 7)]


async def test_recipients_of_one_message_are_told_apart(
    path: Path, server: SMTPServer, receiver: Receiver
) -> None:
    everybody = [f"{name}@example.com" for name in "abc"]
    parcel = Parcel(b"Subject: x\r\n\r\nx\r\n", "s@example.com", everybody, tag="all")
    receiver.replies = {"rcpt b@example.com": LATER, "rcpt c@example.com": NO}
    for _ in range(2):
        async with mailer_for(server) as mailer, Journal(path) as journal:
            async for _ in journal.send_many(mailer, [parcel]):
                pass
        receiver.replies.pop("rcpt b@example.com", None)
    assert receiver.accepted == ["a@example.com", "b@example.com"]
    other = Parcel(parcel.content, "s@example.com", ["d@example.com"], tag="all")
    receiver.replies = {}
    async with mailer_for(server) as mailer, Journal(path) as journal:
        assert [each async for each in journal.send_many(mailer, [other])] == []
        await journal.begin({"new": ["a@example.com"]})
        with pytest.raises(InputError, match="other recipients"):
            other = Parcel(parcel.content, "s@example.com", ["d@example.com"], tag="new")
            async for _ in journal.send_many(mailer, [other], retry_unknown=True):
                pass


async def test_a_message_that_cannot_be_prepared(path: Path, server: SMTPServer) -> None:
    bad = Parcel(b"Subject: x\r\n\r\nx\r\n", "s@example.com", ["no address"], tag="bad")
    for count in (3, 0):
        async with mailer_for(server) as mailer, Journal(path) as journal:
            outcomes = [each async for each in journal.send_many(mailer, [*parcels(2), bad])]
            assert len(outcomes) == count
            assert journal.unsettled("bad")[0].status is Status.REFUSED
            assert "not a mail address" in journal.unsettled("bad")[0].text


async def test_an_asynchronous_source(path: Path, server: SMTPServer, receiver: Receiver) -> None:
    async def source() -> AsyncIterator[Parcel]:
        for parcel in parcels(20):
            await anyio.lowlevel.checkpoint()
            yield parcel

    async with mailer_for(server) as mailer, Journal(path) as journal:
        async for each in journal.send_many(mailer, source(), window=1):
            assert each.ok
    assert len(receiver.accepted) == 20


@pytest.mark.parametrize("tags", [["", "b"], ["a", "a"]])
async def test_tags_that_cannot_be_keys(path: Path, server: SMTPServer, tags: list[str]) -> None:
    several = [Parcel(b"Subject: x\r\n\r\n", "s@e.com", ["r@e.com"], tag=tag) for tag in tags]
    async with mailer_for(server) as mailer, Journal(path) as journal:
        with pytest.raises(InputError, match="tag of its own"):
            async for _ in journal.send_many(mailer, several):
                pass


async def test_a_window_of_nothing(path: Path, server: SMTPServer) -> None:
    async with mailer_for(server) as mailer, Journal(path) as journal:
        with pytest.raises(InputError, match="window is 0"):
            await anext(journal.send_many(mailer, parcels(1), window=0))


async def test_without_a_server_nothing_is_begun(path: Path, unused_tcp_port: int) -> None:
    url = f"smtp://127.0.0.1:{unused_tcp_port}"
    outcomes = []
    async with (
        Mailer(url, pool=PoolLimits(attempts=1, pause_seconds=0)) as mailer,
        Journal(path) as journal,
    ):
        with pytest.raises(ConnectError):
            async for each in journal.send_many(mailer, parcels(50), window=20):
                outcomes += [each]
    assert all(each.deferred for each in outcomes)
    assert 0 < len(outcomes) < 50
    assert any("begun" in line for line in lines(path))
    async with Journal(path) as journal:
        assert len(journal) == 0


async def test_what_a_lost_session_had_begun_is_deferred(path: Path, receiver: Receiver) -> None:
    receiver.replies = {"rcpt r0@example.com": Reply(421, "go away")}
    async with SMTPServer(receiver) as server, Journal(path) as journal:
        async with mailer_for(server, pool=PoolLimits(attempts=1, pause_seconds=0)) as mailer:
            async for each in journal.send_many(mailer, parcels(1)):
                assert each.deferred
        (deferred,) = journal.unsettled("row 0")
        assert deferred.status is Status.DEFERRED
        assert "go away" in deferred.text


async def test_leaving_early_and_cancelling(path: Path, receiver: Receiver) -> None:
    """Whatever is interrupted when: nobody is sent two copies, and in the end everybody has one or is unknown."""
    for limit in range(1, 14):
        async with SMTPServer(receiver, grace_seconds=5) as server:
            async with Journal(path) as journal:
                with anyio.move_on_after(limit / 400):
                    async with mailer_for(server) as mailer:
                        async with aclosing(journal.send_many(mailer, parcels(60), window=8)) as outcomes:
                            count = 0
                            async for _ in outcomes:
                                count += 1
                                if count > limit * 2:
                                    break
    async with SMTPServer(receiver) as server, mailer_for(server) as mailer, Journal(path) as journal:
        async for _ in journal.send_many(mailer, parcels(60)):
            pass
        unknown = {each.address for key in journal for each in journal.unsettled(key)}
    assert len(receiver.accepted) == len(set(receiver.accepted))
    assert {*receiver.accepted} | unknown == {f"r{n}@example.com" for n in range(60)}


# --- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can be mounted by root alone")
    yield path
    subprocess.run(["umount", str(path)], check=True)


async def test_a_full_disk_stops_the_run_and_loses_nothing(
    small_disk: Path, server: SMTPServer, receiver: Receiver
) -> None:
    path = small_disk / "journal"
    outcomes = []
    async with mailer_for(server) as mailer, Journal(path) as journal:
        async for each in journal.send_many(mailer, parcels(10), window=8):
            outcomes += [each]
        write(small_disk / "other", b"x" * 40_000)
        with pytest.raises(FolderError, match=r"the disk is full \(free space"):
            async for each in journal.send_many(mailer, parcels(100_000, 10), window=8):
                outcomes += [each]
    assert len(outcomes) == len(receiver.accepted)
    async with Journal(path) as journal:
        # Everything that was begun has its outcome: there was room for those.
        assert len(journal) == len(outcomes)
        assert all(journal.unsettled(key) == () for key in journal)


@pytest.fixture
def small_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


async def test_a_file_size_limit(path: Path, small_files: None) -> None:
    async with Journal(path) as journal:
        await journal.begin({"a": ["a@e.com"]})
        with pytest.raises(FolderError, match="ulimit -f"):
            await journal.begin({f"{n}": [f"{n}@e.com"] for n in range(1000)})
        journal.record("a", outcome(("a@e.com", Status.ACCEPTED, OK)))
    async with Journal(path) as journal:
        assert list(journal) == ["a"]
        assert journal.unsettled("a") == ()


async def test_a_disk_that_cannot_reserve(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    async with Journal(path) as journal:
        await journal.begin({"a": ["a@e.com"]})
    async with Journal(path) as journal:
        assert list(journal) == ["a"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ZeroDivisionError()])
async def test_a_disk_that_fails(
    path: Path, server: SMTPServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fsync = os.fsync
    synced = 0

    def fail(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced > 3:
            raise error
        fsync(descriptor)

    outcomes = []
    with pytest.raises(FolderError, match=r"failed to read or write|given up"):
        async with mailer_for(server) as mailer, Journal(path) as journal:
            monkeypatch.setattr(os, "fsync", fail)
            async for each in journal.send_many(mailer, parcels(100), window=4):
                outcomes += [each]
    assert 4 <= len(outcomes) < 100


def test_the_file_closes_even_if_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = JournalFile(str(path))
    assert list(file.lines()) == []
    file.reserve(10)
    file.reserve(10)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(FolderError, match="failed to read or write"):
        file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file._descriptor)


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_on_every_runtime(path: Path, runtime: str) -> None:
    receiver = Receiver()

    async def main() -> None:
        async with SMTPServer(receiver) as server, mailer_for(server) as mailer, Journal(path) as journal:
            async for each in journal.send_many(mailer, parcels(50), window=8):
                assert each.ok

    anyio.run(main, backend=runtime)
    assert len(receiver.accepted) == 50
