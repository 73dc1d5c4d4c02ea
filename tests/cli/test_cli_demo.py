from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from asyncmail import InMemoryMaildrops
from asyncmail.cli import demo as module
from asyncmail.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commandline import Command

SMALL = ("--messages", 60, "--maildrops", 7)


def test_every_octet_is_accounted_for(asyncmail: Command) -> None:
    status, out, err = asyncmail("demo", *SMALL)
    assert (status, err) == (0, "")
    header, _, values = [line for line in out.splitlines() if line.strip()][:3]
    assert header.split() == ["Messages", "Octets", "Sent/s", "Retrieved/s", "Lost", "Duplicated", "Altered"]
    assert values.split()[0] == "60"
    assert values.split()[-3:] == ["0", "0", "0"]
    assert "Every octet that was sent was retrieved, once." in out


def test_the_messages_can_be_kept(asyncmail: Command, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "{kept}"
    status, out, err = asyncmail("demo", *SMALL, "--directory", place, "--json")
    assert status == 0
    first = json.loads(out)
    assert err == ""
    files = [path for path in place.glob("user*/new/*") if path.is_file()]
    assert len(files) == first["messages"] == 60
    assert sum(path.stat().st_size for path in files) == first["octets"]
    assert b"multipart/alternative" in files[0].read_bytes()
    assert sorted(path.name for path in place.iterdir()) == [f"user{n}" for n in range(1, 8)]
    # What is there already is none of the next run's business.
    result = asyncmail("demo", *SMALL, "--directory", place)
    assert result.status == 0
    assert f"The messages are in {place}." in result.err


def lose(deliver: Callable[..., str], store: InMemoryMaildrops, user: str, content: bytes) -> str:
    return "" if b"<7." in content else deliver(store, user, content)


def duplicate(deliver: Callable[..., str], store: InMemoryMaildrops, user: str, content: bytes) -> str:
    if b"<7." in content:
        deliver(store, user, content)
    return deliver(store, user, content)


def alter(deliver: Callable[..., str], store: InMemoryMaildrops, user: str, content: bytes) -> str:
    return deliver(store, user, content.replace(b"<p>this is message 7,", b"<p>This is message 7,"))


def misdirect(deliver: Callable[..., str], store: InMemoryMaildrops, user: str, content: bytes) -> str:
    return deliver(store, "user2" if b"<7." in content else user, content)


def add(deliver: Callable[..., str], store: InMemoryMaildrops, user: str, content: bytes) -> str:
    if b"<7." in content:
        deliver(store, user, b"Subject: spam\r\n\r\n")
    return deliver(store, user, content)


@pytest.mark.parametrize(
    ("fault", "counts"),
    [(lose, (1, 0, 0)), (duplicate, (0, 1, 0)), (alter, (0, 0, 1)), (misdirect, (0, 0, 1)), (add, (0, 0, 1))],
)
def test_faults_are_seen(
    asyncmail: Command,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[..., str],
    counts: tuple[int, int, int],
) -> None:
    deliver = InMemoryMaildrops.deliver
    monkeypatch.setattr(
        InMemoryMaildrops, "deliver", lambda store, user, content: fault(deliver, store, user, content)
    )
    status, out, _ = asyncmail("demo", *SMALL)
    assert status == 1
    assert "Every octet" not in out
    values = [line for line in out.splitlines() if line.strip()][2]
    assert tuple(map(int, values.split()[-3:])) == counts


def test_a_disk_that_fails(asyncmail: Command, tmp_path: Path) -> None:
    for n in range(1, 8):
        (tmp_path / f"user{n}").write_text("in the way")
    status, out, err = asyncmail("demo", *SMALL, "--directory", tmp_path)
    assert status == 1
    assert "error: delivery: " in err
    assert "not a directory" in err
    assert err.count("error: ") == 3
    assert "and 4 more like these" in err
    assert out.split()[-3:] == ["60", "0", "0"]


def test_a_place_that_cannot_be(asyncmail: Command) -> None:
    status, _, err = asyncmail("demo", *SMALL, "--directory", "/proc/nothing")
    assert status == 1
    assert "error: delivery: /proc/nothing: no such file or directory" in err


def test_servers_that_fail(asyncmail: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def __init__(self, *_: object, **__: object) -> None:
            raise ConnectError("cannot connect to 127.0.0.1:1: gone")

    monkeypatch.setattr(module, "Mailer", Unreachable)
    monkeypatch.setattr(module, "Fetcher", Unreachable)
    status, _, err = asyncmail("demo", *SMALL)
    assert status == 1
    assert "error: connect: cannot connect to 127.0.0.1:1: gone" in err


def test_the_servers_hold_so_much_at_most(asyncmail: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKLOG", 5)
    assert asyncmail("demo", *SMALL).status == 0


@pytest.mark.parametrize(
    ("ending", "is_in_background"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGTERM, True)],
)
def test_nothing_stays_behind_whatever_ends_it(
    tmp_path: Path, ending: signal.Signals, is_in_background: bool
) -> None:
    command = "trap '' INT; exec \"$@\"" if is_in_background else 'exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", sys.executable, "-m", "asyncmail", "demo", "--messages", "1000000"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(tmp_path.glob("asyncmail-demo-*/user*")):
        time.sleep(0.01)
    process.send_signal(ending)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert not list(tmp_path.iterdir())
