from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail import errors
from asyncmail.errors import MailError
from asyncmail.folders import Folder, Maildir
from asyncmail.net import transcript
from asyncmail.retrieval import Fetcher, FetchReport
from asyncmail.retrieval.maildrop import MaildropFetch
from asyncmail.retrieval.undisturbed import Undisturbed
from asyncmail.server import InMemoryMaildrops, POP3Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

PASSWORDS = {f"u{n}": "secret" for n in range(20)}


def content(text: str, octets: int = 0) -> bytes:
    return f"Subject: {text}\r\n\r\n".encode() + b"." * octets + b"\r\n"


def stored(path: Path) -> list[bytes]:
    return sorted(file.read_bytes() for file in (path / "new").iterdir()) if path.exists() else []


async def fetch(fetcher: Fetcher) -> list[FetchReport]:
    return sorted([report async for report in fetcher.run()], key=lambda report: report.index)


async def fetch_one(fetcher: Fetcher) -> FetchReport:
    (report,) = await fetch(fetcher)
    return report


class Maildrops(InMemoryMaildrops):
    def __init__(self) -> None:
        super().__init__(PASSWORDS)


class Setting:
    """A server with maildrops, and where its messages go."""

    def __init__(self, path: Path, server: POP3Server, maildrops: Maildrops) -> None:
        self.path = path
        self.server = server
        self.maildrops = maildrops

    def url(self, user: str = "u0", password: str = "secret") -> str:
        return f"pop3://{user}:{password}@127.0.0.1:{self.server.port}"

    def fetcher(self, urls: Sequence[str] | None = None, **options: object) -> Fetcher:
        options = {
            "deliver_to": Maildir(self.path / "{user}"),
            "ledger": self.path / "seen.db",
            "timeouts": 5.0,
        } | options
        return Fetcher(urls or [self.url()], **options)  # type: ignore[arg-type]

    def stored(self, user: str = "u0") -> list[bytes]:
        return stored(self.path / user)


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    maildrops = Maildrops()
    async with POP3Server(maildrops) as server:
        yield Setting(tmp_path, server, maildrops)


# --- what is fetched


async def test_new_messages_are_fetched_once(setting: Setting) -> None:
    messages = [content(f"{n}", n) for n in range(300)]
    for message in messages:
        setting.maildrops.deliver("u0", message)
    report = await fetch_one(setting.fetcher())
    assert report.ok
    assert (report.listed, report.fetched, report.already_seen) == (300, 300, 0)
    assert report.octets == sum(map(len, messages))
    assert (report.deleted, report.skipped) == (0, 0)
    assert report.duration > 0
    assert report.url == setting.url().replace("secret", "***")
    assert report.maildrop == f"u0@127.0.0.1:{setting.server.port}"
    assert (report.user, report.host) == ("u0", "127.0.0.1")
    assert setting.stored() == sorted(messages)
    assert len(setting.maildrops.contents("u0")) == 300

    setting.maildrops.deliver("u0", content("new"))
    report = await fetch_one(setting.fetcher())
    assert (report.listed, report.fetched, report.already_seen) == (301, 1, 300)
    assert setting.stored() == sorted([*messages, content("new")])


async def test_an_empty_maildrop(setting: Setting) -> None:
    report = await fetch_one(setting.fetcher(delete=True))
    assert report.ok
    assert report.listed == 0


async def test_messages_of_every_size(setting: Setting) -> None:
    messages = [
        content(f"{octets}", octets) for octets in (0, 1, 262_144, 1_000_000, 3_000_000, 200_000, 200_000)
    ]
    for message in messages:
        setting.maildrops.deliver("u0", message)
    report = await fetch_one(setting.fetcher())
    assert (report.fetched, report.octets) == (7, sum(map(len, messages)))
    assert setting.stored() == sorted(messages)


async def test_delete_what_is_stored(setting: Setting) -> None:
    for n in range(5):
        setting.maildrops.deliver("u0", content(f"{n}"))
    await fetch(setting.fetcher())
    setting.maildrops.deliver("u0", content("new"))
    report = await fetch_one(setting.fetcher(delete=True))
    assert (report.fetched, report.already_seen, report.deleted) == (1, 5, 6)
    assert setting.maildrops.contents("u0") == []
    assert len(setting.stored()) == 6
    # Nothing is known of them any more: an id that is used again is a new message.
    with closing(sqlite3.connect(setting.path / "seen.db")) as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone() == (0,)


async def test_delete_some_time_later(setting: Setting) -> None:
    setting.maildrops.deliver("u0", content("old"))
    await fetch(setting.fetcher())
    with closing(sqlite3.connect(setting.path / "seen.db")) as database, database:
        database.execute("UPDATE messages SET recorded = recorded - 7 * 86400")
    setting.maildrops.deliver("u0", content("new"))
    assert (await fetch_one(setting.fetcher(delete=timedelta(days=8)))).deleted == 0
    report = await fetch_one(setting.fetcher(delete=timedelta(days=6)))
    assert (report.deleted, report.already_seen) == (1, 2)
    assert setting.maildrops.contents("u0") == [content("new")]


async def test_large_messages_can_be_left(setting: Setting) -> None:
    setting.maildrops.deliver("u0", content("small"))
    setting.maildrops.deliver("u0", content("large", 10_000))
    report = await fetch_one(setting.fetcher(largest=5_000, delete=True))
    assert (report.listed, report.fetched, report.skipped, report.deleted) == (2, 1, 1, 1)
    assert setting.maildrops.contents("u0") == [content("large", 10_000)]


async def test_what_the_server_no_longer_has_is_forgotten(setting: Setting) -> None:
    setting.maildrops.deliver("u0", content("one"))
    setting.maildrops.deliver("u0", content("two"))
    await fetch(setting.fetcher())
    setting.maildrops._maildrops["u0"].pop("1")
    await fetch(setting.fetcher())
    with closing(sqlite3.connect(setting.path / "seen.db")) as database:
        assert database.execute("SELECT unique_id FROM messages").fetchall() == [("2",)]


# --- where it goes


async def test_a_function_as_destination(setting: Setting) -> None:
    taken: list[tuple[str, bytes]] = []

    async def deliver(maildrop: str, content: bytes) -> None:
        taken.append((maildrop, content))

    messages = [content("a"), content("b", 300_000)]
    for message in messages:
        setting.maildrops.deliver("u0", message)
    assert (await fetch_one(setting.fetcher(deliver_to=deliver))).fetched == 2
    assert (await fetch_one(setting.fetcher(deliver_to=deliver))).fetched == 0
    assert taken == [(f"u0@127.0.0.1:{setting.server.port}", message) for message in messages]


@pytest.mark.parametrize("error", [ValueError("no"), errors.FolderError("no")])
async def test_a_destination_that_fails(setting: Setting, error: Exception) -> None:
    class Failing:
        taken = 0

        async def deliver(self, maildrop: str, content: bytes) -> None:
            self.taken += 1
            if self.taken == 3:
                raise error

    for n in range(5):
        setting.maildrops.deliver("u0", content(f"{n}"))
    failing = Failing()
    report = await fetch_one(setting.fetcher(deliver_to=failing, delete=True))
    assert report.error is not None
    assert str(report.error).startswith("delivery: ")
    assert report.deleted == 0
    # The two that were taken do not come again.
    report = await fetch_one(setting.fetcher(deliver_to=failing, delete=True))
    assert (report.already_seen, report.fetched, report.deleted) == (2, 3, 5)


async def test_into_lf_files(setting: Setting) -> None:
    setting.maildrops.deliver("u0", content("a"))
    setting.maildrops.deliver("u0", content("b", 300_000))
    await fetch(setting.fetcher(deliver_to=Maildir(setting.path / "u0", newline="lf")))
    assert setting.stored() == sorted(
        message.replace(b"\r\n", b"\n") for message in (content("a"), content("b", 300_000))
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can be mounted by root alone")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("where", ["folder", "ledger"])
async def test_a_full_disk(setting: Setting, small_disk: Path, where: str) -> None:
    messages = [content(f"{n}", 4_000) for n in range(200)] + [content("large", 800_000)]
    for message in messages:
        setting.maildrops.deliver("u0", message)
    folder = (small_disk if where == "folder" else setting.path) / "u0"
    ledger = (small_disk if where == "ledger" else setting.path) / "seen.db"
    if where == "ledger":
        # Enough to open it, and for the first of its entries.
        (small_disk / "filler").write_bytes(b"x" * 310_000)
    fetcher = setting.fetcher(deliver_to=Maildir(folder), ledger=ledger, delete=True)
    report = await fetch_one(fetcher)
    assert isinstance(report.error, errors.FolderError)
    assert report.error.is_transient
    assert report.deleted == 0
    assert len(setting.maildrops.contents("u0")) == len(messages)
    assert list(folder.glob("tmp/*")) == []
    # What is there is whole.
    assert set(stored(folder)) <= set(messages)
    await anyio.run_process(["mount", "-o", "remount,size=8m", str(small_disk)])
    report = await fetch_one(fetcher)
    assert report.ok
    assert report.deleted == len(messages)
    assert stored(folder) == sorted(messages)


async def test_a_file_in_the_way_deletes_nothing(setting: Setting) -> None:
    (setting.path / "u0").write_text("in the way")
    setting.maildrops.deliver("u0", content("a"))
    setting.maildrops.deliver("u1", content("a"))
    first, second = await fetch(setting.fetcher([setting.url(), setting.url("u1")], delete=True))
    assert isinstance(first.error, errors.FolderError)
    assert first.fetched == 0
    assert second.ok
    assert len(setting.maildrops.contents("u0")) == 1


# --- many


async def test_many_maildrops(setting: Setting) -> None:
    for user in PASSWORDS:
        for n in range(3):
            setting.maildrops.deliver(user, content(f"{user}-{n}"))
    fetcher = setting.fetcher(
        [setting.url(user) for user in PASSWORDS], connections=5, connections_per_host=4
    )
    assert repr(fetcher).startswith("<Fetcher Progress(maildrops=20, active=0")
    seen = 0
    async for report in fetcher.run():
        assert report.ok
        seen += 1
        assert fetcher.progress.active <= 4
        assert fetcher.progress.finished >= seen
    assert fetcher.progress.messages == 60
    assert fetcher.progress.octets > 60
    assert fetcher.progress.failed == 0
    assert [setting.stored(user) for user in PASSWORDS] == [
        [content(f"{user}-{n}") for n in range(3)] for user in PASSWORDS
    ]


async def test_one_failure_harms_no_other(setting: Setting) -> None:
    setting.maildrops.deliver("u0", content("a"))
    setting.maildrops.deliver("u2", content("b"))
    locked = await setting.maildrops.open("u3")
    urls = [
        setting.url("u0"),
        setting.url("u1", "wrong"),
        setting.url("u2"),
        "pop3:/nonsense",
        "smtp://a:b@127.0.0.1",
        "pop3://127.0.0.1",
        setting.url("u3"),
        "pop3://u:secret@127.0.0.1:1",
        setting.url("u0"),
        "pop3://u4@127.0.0.1:1",
    ]
    fetcher = setting.fetcher(urls)
    reports = await fetch(fetcher)
    locked.close()
    kinds = [type(report.error) for report in reports]
    assert kinds[:3] == [type(None), errors.AuthenticationError, type(None)]
    assert kinds[3:6] == [errors.URLError] * 3
    assert kinds[6:8] == [errors.MaildropLocked, errors.ConnectError]
    assert [report.index for report in reports] == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    assert (fetcher.progress.finished, fetcher.progress.failed) == (9, 7)
    assert "secret" not in "".join(map(repr, reports))
    # Each can be told from the others.
    assert [(each.maildrop, each.url) for each in reports[3:6]] == [
        ("URL 4", ""),
        ("a@127.0.0.1:25", "smtp://a:***@127.0.0.1:25"),
        ("127.0.0.1:110", "pop3://127.0.0.1:110"),
    ]
    assert all(each.maildrop for each in reports)


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A server that accepts connections and says nothing."""
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in connections:
            writer.transport.abort()
        await server.wait_closed()


async def test_a_dead_server_delays_nobody(setting: Setting) -> None:
    users = list(PASSWORDS)
    async with silent_server() as port:
        dead = [f"pop3://u{n}:secret@127.0.0.1:{port}" for n in range(30)]
        alive = [setting.url(user) for user in users]
        fetcher = setting.fetcher([*dead, *alive], connections=4, connections_per_host=3, timeouts=2.5)
        reports = [report async for report in fetcher.run()]
    assert all(report.ok for report in reports[: len(users)])
    failures = [report.error for report in reports[len(users) :]]
    assert [type(error) for error in failures].count(errors.MailTimeout) == 3
    given_up = [error for error in failures if isinstance(error, errors.ConnectError)]
    assert len(given_up) == 27
    assert "was given up" in str(given_up[0])
    assert given_up[0].is_transient


async def test_a_server_that_stalls_behind_the_login_delays_nobody(setting: Setting) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK ready\r\n")
        while line := await reader.readline():
            if line.startswith((b"LIST", b"UIDL")):
                await reader.read()
                break
            writer.write(b"-ERR\r\n" if line.startswith(b"CAPA") else b"+OK\r\n")
        writer.close()

    users = list(PASSWORDS)
    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        stalling = [f"pop3://u{n}:secret@127.0.0.1:{port}" for n in range(4)]
        fetcher = setting.fetcher(
            [*stalling, *map(setting.url, users)], connections=4, connections_per_host=4, timeouts=4
        )
        reports = [report async for report in fetcher.run()]
    assert all(report.ok for report in reports[: len(users)])
    assert [type(report.error) for report in reports[len(users) :]] == [errors.MailTimeout] * 4


async def test_a_server_that_hangs_up_in_the_middle(setting: Setting) -> None:
    for n in range(200):
        setting.maildrops.deliver("u0", content(f"{n}", 2_000))

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", setting.server.port)

        async def forward() -> None:
            while data := await reader.read(65_536):
                server_writer.write(data)

        task = asyncio.create_task(forward())
        octets = 0
        while octets < 150_000 and (data := await server_reader.read(10_000)):
            octets += len(data)
            writer.write(data)
            await writer.drain()
        task.cancel()
        writer.close()
        server_writer.transport.abort()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        url = f"pop3://u0:secret@127.0.0.1:{port}"
        fetched = 0
        for _ in range(10):
            report = await fetch_one(setting.fetcher([url], delete=True))
            assert report.already_seen == fetched
            fetched += report.fetched
            if report.ok:
                break
            assert isinstance(report.error, errors.ConnectionLost)
            assert 0 < report.fetched < 100
            assert report.deleted == 0
    assert report.deleted == 200
    assert setting.stored() == sorted(content(f"{n}", 2_000) for n in range(200))


# --- ending early


async def test_breaking_off_keeps_what_is_stored(setting: Setting) -> None:
    for user in list(PASSWORDS)[:6]:
        for n in range(400):
            setting.maildrops.deliver(user, content(f"{user}-{n}", 1_000))
    urls = [setting.url(user) for user in list(PASSWORDS)[:6]]
    fetcher = setting.fetcher(urls, connections=3, delete=True)
    run = fetcher.run()
    assert (await anext(run)).ok
    with pytest.raises(errors.BusyError):
        await anext(fetcher.run())
    await run.aclose()
    assert all(report.ok for report in await fetch(setting.fetcher(urls, delete=True)))
    for user in list(PASSWORDS)[:6]:
        assert setting.stored(user) == sorted(content(f"{user}-{n}", 1_000) for n in range(400))
        assert setting.maildrops.contents(user) == []


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 20, 40, 80, 150])
async def test_cancelled_at_any_moment(setting: Setting, steps: int) -> None:
    messages = [content(f"{n}", 1_000) for n in range(300)] + [content("large", 600_000)]
    for message in messages:
        setting.maildrops.deliver("u0", message)
    task = asyncio.create_task(fetch(setting.fetcher(delete=True)))
    for _ in range(steps):
        await asyncio.sleep(0)
    await asyncio.sleep(steps / 4_000)
    task.cancel()
    await asyncio.wait([task])
    assert list(setting.path.glob("u0/tmp/*")) == []
    assert {*setting.stored(), *setting.maildrops.contents("u0")} == set(messages)
    assert (await fetch_one(setting.fetcher(delete=True))).ok
    assert setting.stored() == sorted(messages)
    assert setting.maildrops.contents("u0") == []


async def test_a_destination_that_hangs_is_cancelled(setting: Setting) -> None:
    started = asyncio.Event()

    async def deliver(maildrop: str, content: bytes) -> None:
        started.set()
        await asyncio.sleep(3600)

    setting.maildrops.deliver("u0", content("a"))
    task = asyncio.create_task(fetch(setting.fetcher(deliver_to=deliver)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inside_a_cancel_scope(setting: Setting) -> None:
    for n in range(300):
        setting.maildrops.deliver("u0", content(f"{n}", 1_000))
    with anyio.move_on_after(0.01):
        await fetch(setting.fetcher())
    assert (await fetch_one(setting.fetcher())).ok
    assert len(setting.stored()) == 300


def test_on_trio(tmp_path: Path) -> None:
    async def main() -> None:
        maildrops = Maildrops()
        maildrops.deliver("u0", content("a"))
        async with POP3Server(maildrops) as server:
            setting = Setting(tmp_path, server, maildrops)
            report = await fetch_one(setting.fetcher(delete=True))
            assert report.error is None
            assert setting.stored() == [content("a")]
            maildrops.deliver("u0", content("b"))
            with anyio.move_on_after(0.002):
                await fetch(setting.fetcher())
            await fetch(setting.fetcher())
            assert len(setting.stored()) == 2

    anyio.run(main, backend="trio")


# --- errors of the caller


async def test_a_damaged_ledger(setting: Setting) -> None:
    (setting.path / "seen.db").write_text("nonsense" * 1000)
    with pytest.raises(errors.FolderError, match="not a ledger"):
        await fetch(setting.fetcher())


async def test_a_ledger_that_is_damaged_meanwhile(setting: Setting) -> None:
    setting.maildrops.deliver("u0", content("a"))
    fetcher = setting.fetcher()
    await fetch(fetcher)
    octets = bytearray((setting.path / "seen.db").read_bytes())
    octets[4096:] = b"\xff" * (len(octets) - 4096)
    (setting.path / "seen.db").write_bytes(octets)
    assert isinstance((await fetch_one(fetcher)).error, errors.FolderError)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    for options in ({"connections": 0}, {"connections_per_host": -1}):
        with pytest.raises(errors.InputError, match="1 or more"):
            Fetcher([], deliver_to=Maildir(tmp_path), ledger=tmp_path / "seen.db", **options)  # type: ignore[arg-type]
    for delete in ("yes", 1, None):
        with pytest.raises(errors.InputError, match=r"is not known .* timedelta"):
            Fetcher([], deliver_to=Maildir(tmp_path), ledger=tmp_path / "seen.db", delete=delete)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("deliver_to", "text"),
    [
        ("mail", r"deliver_to is a path .*asyncmail.Maildir\('mail/\{user\}'\)"),
        (Path("mail"), r"asyncmail.Maildir\('mail/\{user\}'\)"),
        (Folder("mail"), r"a Folder cannot be delivered to .* Maildir"),
        (None, r"a NoneType cannot be delivered to"),
    ],
)
def test_what_is_no_destination(tmp_path: Path, deliver_to: object, text: str) -> None:
    with pytest.raises(errors.InputError, match=text):
        Fetcher([], deliver_to=deliver_to, ledger=tmp_path / "seen.db")  # type: ignore[arg-type]


async def test_a_destination_that_is_not_async(setting: Setting) -> None:
    def deliver(maildrop: str, content: bytes) -> None:
        pass

    setting.maildrops.deliver("u0", content("a"))
    report = await fetch_one(setting.fetcher(deliver_to=deliver, delete=True))
    assert isinstance(report.error, errors.InputError)
    assert "write async def" in str(report.error)
    assert len(setting.maildrops.contents("u0")) == 1


def test_one_url_is_no_list_of_them(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="a list of URLs"):
        Fetcher("pop3://ann@localhost", deliver_to=Maildir(tmp_path), ledger=tmp_path / "seen.db")


async def test_a_fault_of_the_program_is_raised(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> FetchReport:
        raise ZeroDivisionError

    monkeypatch.setattr(MaildropFetch, "run", fail)
    with pytest.raises(ZeroDivisionError):
        await fetch(setting.fetcher())


async def test_a_store_step_that_is_cancelled_with_the_program() -> None:
    async def step() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    undisturbed = Undisturbed()
    with pytest.raises(errors.ClosedError):
        await undisturbed.run(step)
    assert repr(undisturbed) == "<Undisturbed 0 running>"


async def test_no_maildrops(tmp_path: Path) -> None:
    fetcher = Fetcher([], deliver_to=Maildir(tmp_path), ledger=tmp_path / "seen.db")
    assert await fetch(fetcher) == []


async def test_cleartext_credentials_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = Fetcher(
        ["pop3://u:p@127.0.0.1:1"],
        deliver_to=Maildir(tmp_path),
        ledger=tmp_path / "seen.db",
        mechanisms=("APOP",),
    )
    (report,) = await fetch(fetcher)
    assert isinstance(report.error, MailError)


async def test_a_transcript(setting: Setting) -> None:
    lines: list[str] = []
    await fetch_one(setting.fetcher(trace=transcript(lines.append)))
    assert "C: QUIT" in lines
    assert not any("secret" in line for line in lines)
