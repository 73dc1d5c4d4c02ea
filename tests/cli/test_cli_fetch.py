from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from asyncmail.net import ServerURL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asyncmail import InMemoryMaildrops
    from commandline import Command, Servers


def message(text: str, octets: int = 0) -> bytes:
    return f"Subject: {text}\r\n\r\n".encode() + b"x" * octets + b"\r\n"


def stored(maildir: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in maildir.glob("new/*"))


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if "@127.0.0.1" in line]


# --- what it fetches


def test_only_what_is_new(
    asyncmail: Command, pop3: Callable[[str], str], maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    maildrops.deliver("ann", message("1"))
    status, out, err = asyncmail("fetch", pop3("ann"), "--to", tmp_path / "deep" / "mail")
    assert (status, err) == (0, "")
    assert [row[1:4] for row in rows(out)] == [["1", "1", "16"]]
    maildrops.deliver("ann", message("2"))
    status, out, _ = asyncmail("fetch", pop3("ann"), "--to", tmp_path / "deep" / "mail")
    assert [row[1:4] for row in rows(out)] == [["2", "1", "16"]]
    assert stored(tmp_path / "deep" / "mail" / "ann@127.0.0.1") == [message("1"), message("2")]
    assert (tmp_path / "deep" / "mail" / ".asyncmail-ledger.db").exists()
    assert len(maildrops.contents("ann")) == 2


def test_deleting(
    asyncmail: Command, pop3: Callable[[str], str], maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    for user in ("ann", "bob", "bob"):
        maildrops.deliver(user, message(user))
    ledger = tmp_path / "seen.db"
    urls = tmp_path / "urls"
    urls.write_text(f"# maildrops\n\n{pop3('bob')}\n")
    arguments = ("fetch", pop3("ann"), "--urls-file", urls, "--to", tmp_path / "{x}", "--ledger", ledger)
    status, out, _ = asyncmail(*arguments, "--delete", "--json")
    assert status == 0
    reports = json.loads(out)
    assert [(each["maildrop"][:3], each["fetched"], each["deleted"]) for each in reports] == [
        ("ann", 1, 1),
        ("bob", 2, 2),
    ]
    assert reports[0]["url"].startswith("pop3://ann:***@127.0.0.1:")
    assert maildrops.contents("bob") == []
    assert len(stored(tmp_path / "{x}" / "bob@127.0.0.1")) == 2
    assert ledger.exists()
    status, out, _ = asyncmail(*arguments)
    assert "0 new messages, 0 bytes, of 2 maildrops" in out


def test_one_layout_whether_there_are_one_or_several_hosts(
    asyncmail: Command, pop3: Callable[[str], str], maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    maildrops.deliver("ann", message("1"))
    maildrops.deliver("bob", message("2"))
    assert asyncmail("fetch", pop3("ann"), "--to", tmp_path).status == 0
    urls = f"{pop3('ann')}\n{pop3('bob').replace('127.0.0.1', 'localhost')}\n"
    status, _, _ = asyncmail("fetch", "--urls-file", "-", "--to", tmp_path, stdin=urls.encode())
    assert status == 0
    assert stored(tmp_path / "ann@127.0.0.1") == [message("1")]
    assert stored(tmp_path / "bob@localhost") == [message("2")]


def test_a_transcript_without_secrets(
    asyncmail: Command, pop3: Callable[[str], str], maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    maildrops.deliver("ann", message("the content"))
    status, _, err = asyncmail("fetch", pop3("ann"), "--to", tmp_path, "-v")
    assert status == 0
    assert "C: RETR 1" in err
    assert "secret" not in err
    assert "the content" not in err


def test_a_password_from_the_environment(
    asyncmail: Command, pop3: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = pop3("ann").replace(":secret", "")
    status, _, err = asyncmail("fetch", url, "--to", tmp_path)
    assert status == 2
    assert "input: the password for pop3://ann@127.0.0.1" in err
    monkeypatch.setenv("ASYNCMAIL_PASSWORD", "secret")
    assert asyncmail("fetch", url, "--to", tmp_path).status == 0


# --- what can go wrong


@pytest.mark.parametrize(
    ("url", "texts"),
    [
        ("mail.example.com", ("URL 1", "input: there is no scheme", "pop3s://mail.example.com")),
        ("smtp://ann:x@127.0.0.1", ("ann@127.0.0.1:25", "is no maildrop", "use a URL such as pop3s://")),
        ("pop3://127.0.0.1", ("127.0.0.1:110", "names no user")),
        ("pop3://ann:p@ss@127.0.0.1", ("URL 1", "it holds @ twice")),
        ("pop3://ann:x@nowhere.invalid", ("connect: cannot connect to nowhere.invalid:110", "name server")),
        (
            "pop3://ann:x@127.0.0.1:{closed}",
            ("connect: cannot connect", "nothing listens there", "check host"),
        ),
        ("pop3://ann:wrong@127.0.0.1:{open}", ("authentication: ", "[AUTH]", "check username and password")),
        ("pop3+starttls://ann:secret@127.0.0.1:{open}", ("tls: ", "refuses STLS")),
        ("pop3s://ann:secret@127.0.0.1:{open}", ("tls: ", "does not speak TLS on this port", "+starttls")),
    ],
)
def test_maildrops_that_cannot_be_fetched(
    asyncmail: Command,
    servers: Servers,
    maildrops: InMemoryMaildrops,
    tmp_path: Path,
    url: str,
    texts: tuple[str, ...],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        closed_port = closed.getsockname()[1]
    port = servers.pop3(maildrops)
    maildrops.deliver("bob", message("1"))
    url = url.replace("{closed}", str(closed_port)).replace("{open}", str(port))
    good = f"pop3://bob:secret@127.0.0.1:{port}"
    status, out, _ = asyncmail("fetch", url, good, "--to", tmp_path)
    assert status == 1
    for text in (*texts, "1 failed"):
        assert text in out
    assert "p@ss" not in out
    assert "mechanisms=" not in out
    # The others are fetched none the less.
    assert "1 new messages" in out


def test_a_locked_maildrop(
    asyncmail: Command,
    servers: Servers,
    pop3: Callable[[str], str],
    maildrops: InMemoryMaildrops,
    tmp_path: Path,
) -> None:
    servers.portal.call(maildrops.open, "ann")
    status, out, _ = asyncmail("fetch", pop3("ann"), "--to", tmp_path)
    assert status == 1
    assert "authentication: " in out
    assert "[IN-USE] another session has the maildrop" in out


@pytest.mark.parametrize(
    ("arguments", "status", "texts"),
    [
        ((), 2, ("input: there is nothing to fetch", "give a URL, or --urls-file")),
        (("--urls-file", "none"), 2, ("input: none cannot be read: No such file", "check the path")),
        (("pop3://a:b@127.0.0.1", "--to", "/proc/none"), 1, ("delivery: /proc/none: no such file",)),
        (
            ("pop3://a:b@127.0.0.1", "--ca-file", "none"),
            2,
            ("input: the certificates in none cannot be read",),
        ),
        (
            ("pop3://a:b@127.0.0.1", "--ledger", "/proc/x"),
            1,
            ("delivery: /proc/x", "no such file or directory"),
        ),
    ],
)
def test_what_cannot_be_done(
    asyncmail: Command, tmp_path: Path, arguments: tuple[str, ...], status: int, texts: tuple[str, ...]
) -> None:
    result = asyncmail("fetch", "--to", tmp_path, *arguments)
    assert result.status == status
    for text in ("error: ", *texts):
        assert text in result.err


def test_a_file_that_is_no_ledger(asyncmail: Command, pop3: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / ".asyncmail-ledger.db").write_bytes(b"something else " * 100)
    status, _, err = asyncmail("fetch", pop3("ann"), "--to", tmp_path)
    assert status == 1
    assert "error: delivery: " in err
    assert "not a ledger" in err
    assert "choose another path" in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can be mounted by root alone")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_in_mid_delivery(
    asyncmail: Command,
    pop3: Callable[[str], str],
    maildrops: InMemoryMaildrops,
    tmp_path: Path,
    small_disk: Path,
) -> None:
    for n in range(10):
        maildrops.deliver("ann", message(f"{n}", 270_000))
    ledger = ("--ledger", tmp_path / "seen.db")
    status, out, _ = asyncmail("fetch", pop3("ann"), "--to", small_disk, "--delete", *ledger)
    assert status == 1
    assert "delivery: " in out
    assert "the disk is full (free space on that file system)" in out
    assert len(maildrops.contents("ann")) == 10


@pytest.fixture
def small_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_file_size_limit_in_mid_delivery(
    asyncmail: Command,
    pop3: Callable[[str], str],
    maildrops: InMemoryMaildrops,
    tmp_path: Path,
    small_files: None,
) -> None:
    maildrops.deliver("ann", message("small"))
    maildrops.deliver("ann", message("large", 270_000))
    status, out, _ = asyncmail("fetch", pop3("ann"), "--to", tmp_path, "--delete")
    assert status == 1
    assert "the file would be larger than allowed (raise the file size limit (ulimit -f))" in out
    assert len(maildrops.contents("ann")) == 2
    assert stored(tmp_path / "ann@127.0.0.1") == [message("small")]


def test_killed_and_run_again(
    asyncmail: Command, servers: Servers, maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    contents = [message(f"{n:03}", 2000) for n in range(300)]
    for content in contents:
        maildrops.deliver("ann", content)
    url = f"pop3://ann:secret@127.0.0.1:{servers.pop3(maildrops)}"
    command = [sys.executable, "-m", "asyncmail", "fetch", url, "--to", str(tmp_path), "--delete"]
    for count in (1, 100):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(list(tmp_path.glob("ann@*/new/*"))) < count:
                time.sleep(0.001)
            process.kill()
    assert asyncmail(*command[3:]).status == 0
    assert stored(tmp_path / "ann@127.0.0.1") == contents
    assert maildrops.contents("ann") == []


def test_interrupted(pop3: Callable[[str], str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = ServerURL.parse(pop3("ann").rpartition(":")[0] + f":{silent.getsockname()[1]}")
        command = [
            sys.executable,
            "-m",
            "asyncmail",
            "fetch",
            f"pop3://ann:x@{url.endpoint}",
            "--to",
            str(tmp_path),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
    assert process.returncode == 130
    assert err == "interrupted\n"
    with closing(sqlite3.connect(tmp_path / ".asyncmail-ledger.db")) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert os.listdir(tmp_path)
