"""Maildrop stores: who may log in, what a session sees, what stays."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail.errors import MaildropLocked, POP3ResponseError
from asyncmail.sasl import PasswordAttempt, apop_attempt, apop_digest
from asyncmail.server import maildrops as module
from asyncmail.server.maildrops import InMemoryMaildrops, MaildirMaildrops, StoredMessage

if TYPE_CHECKING:
    from pathlib import Path

    from asyncmail.server.maildrops import Maildrop

PASSWORDS = {"tim": "secret", "tom": "other"}


def attempt(username: str, password: str) -> PasswordAttempt:
    return PasswordAttempt(mechanism="USER", username=username, password=password)


@pytest.fixture(params=["memory", "maildir"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> InMemoryMaildrops | MaildirMaildrops:
    return (
        InMemoryMaildrops(PASSWORDS) if request.param == "memory" else MaildirMaildrops(tmp_path, PASSWORDS)
    )


def put(folder: Path, name: str, content: bytes, subfolder: str = "new") -> Path:
    path = folder / subfolder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


async def whole(maildrop: Maildrop, number: int) -> bytes:
    content = await maildrop.content(number)
    return content if isinstance(content, bytes) else b"".join([piece async for piece in content])


# --- both


async def test_passwords_are_compared(store: InMemoryMaildrops | MaildirMaildrops) -> None:
    assert await store.authenticate(attempt("tim", "secret")) == "tim"
    assert await store.authenticate(attempt("tim", "other")) is None
    assert await store.authenticate(attempt("nobody", "secret")) is None
    digest = apop_digest("<1@h>", "secret")
    assert await store.authenticate(apop_attempt(timestamp="<1@h>", username="tim", digest=digest)) == "tim"
    empty = apop_digest("<1@h>", "")
    assert await store.authenticate(apop_attempt(timestamp="<1@h>", username="nobody", digest=empty)) is None


async def test_one_session_at_a_time(store: InMemoryMaildrops | MaildirMaildrops) -> None:
    first = await store.open("tim")
    with pytest.raises(MaildropLocked) as caught:
        await store.open("tim")
    assert caught.value.is_transient
    assert str(caught.value.reply) == "-ERR [IN-USE] another session has the maildrop"
    (await store.open("tom")).close()
    assert "1 open" in repr(store)
    first.close()
    again = await store.open("tim")
    assert list(again.messages) == []
    again.close()


# --- in memory


async def test_a_session_has_what_was_there_when_it_began() -> None:
    store = InMemoryMaildrops(PASSWORDS)
    assert store.deliver("tim", b"Subject: 1\n\nbare LF\n") == "1"
    store.deliver("tim", b"Subject: 2\r\n\r\nno end")
    maildrop = await store.open("tim")
    assert list(maildrop.messages) == [StoredMessage(23, "1"), StoredMessage(22, "2")]
    store.deliver("tim", b"late\r\n")
    assert len(maildrop.messages) == 2
    assert await whole(maildrop, 1) == b"Subject: 1\r\n\r\nbare LF\r\n"
    assert await whole(maildrop, 2) == b"Subject: 2\r\n\r\nno end\r\n"
    await maildrop.remove({1})
    maildrop.close()
    assert store.contents("tim") == [b"Subject: 2\r\n\r\nno end\r\n", b"late\r\n"]
    assert repr(store) == "<InMemoryMaildrops 2 maildrops, 2 messages, 0 open>"


async def test_unique_ids_are_never_used_again() -> None:
    store = InMemoryMaildrops(PASSWORDS)
    store.deliver("tim", b"1")
    maildrop = await store.open("tim")
    await maildrop.remove([1])
    maildrop.close()
    assert store.deliver("tim", b"2") == "2"
    assert store.deliver("new user", b"3") == "3"
    assert store.contents("new user") == [b"3\r\n"]
    assert store.contents("nobody") == []


# --- Maildir


async def test_messages_of_one_second_in_the_order_of_delivery(tmp_path: Path) -> None:
    names = ["1700000020.M9P1.host", "1700000020.M10P1.host", "1700000020.M100P1.host"]
    for name in reversed(names):
        put(tmp_path / "tim", name, b"x\n")
    maildrop = await MaildirMaildrops(tmp_path, PASSWORDS).open("tim")
    assert [message.unique_id for message in maildrop.messages] == names
    maildrop.close()


async def test_a_maildir_in_the_order_of_delivery(tmp_path: Path) -> None:
    folder = tmp_path / "tim"
    put(folder, "1700000020.M1.host", b"third\n")
    put(folder, "999.M1.host:2,S", b"first\n", "cur")
    put(folder, "1700000010.M2.host,S=7,W=8:2,", b"second\n", "cur")
    put(folder, "1700000030.M3." + "x" * 70, b"")
    put(folder, "no-number", b"zeroth\n")
    put(folder, ".hidden", b"")
    store = MaildirMaildrops(tmp_path, PASSWORDS)
    maildrop = await store.open("tim")
    assert [message.octets for message in maildrop.messages] == [8, 7, 8, 7, 2]
    ids = [message.unique_id for message in maildrop.messages]
    assert ids[:4] == ["no-number", "999.M1.host", "1700000010.M2.host", "1700000020.M1.host"]
    assert len(ids[4]) == 64
    assert [await whole(maildrop, number) for number in range(1, 6)] == [
        b"zeroth\r\n",
        b"first\r\n",
        b"second\r\n",
        b"third\r\n",
        b"\r\n",
    ]
    await maildrop.remove([2, 3])
    maildrop.close()
    maildrop = await store.open("tim")
    assert [message.unique_id for message in maildrop.messages] == [ids[0], ids[3], ids[4]]
    maildrop.close()
    assert repr(store) == f"<MaildirMaildrops {str(tmp_path)!r}, 0 open>"


@pytest.mark.parametrize("content", [b"a\nb\r\nc\rd", b"a\r\n", b"\r", b"a" * 10 + b"\r", b"\n" * 5])
async def test_sizes_are_those_on_the_wire(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "tim", "1.M1.host", content)
    for piece in (1, 3, 1_000):
        monkeypatch.setattr(module, "_PIECE", piece)
        maildrop = await MaildirMaildrops(tmp_path, PASSWORDS).open("tim")
        got = await whole(maildrop, 1)
        assert len(got) == maildrop.messages[0].octets
        assert got.endswith(b"\r\n")
        assert got.count(b"\r") == got.count(b"\n") == got.count(b"\r\n")
        maildrop.close()


async def test_a_large_message_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "tim", "1.M1.host", b"0123456789\n" * 10)
    monkeypatch.setattr(module, "_PIECE", 16)
    maildrop = await MaildirMaildrops(tmp_path, PASSWORDS).open("tim")
    content = await maildrop.content(1)
    assert not isinstance(content, bytes)
    pieces = [piece async for piece in content]
    assert len(pieces) > 5
    assert b"".join(pieces) == b"0123456789\r\n" * 10
    content = await maildrop.content(1)
    assert not isinstance(content, bytes)
    async for _ in content:
        break
    await content.aclose()  # type: ignore[attr-defined]
    maildrop.close()


async def test_flags_may_change_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "tim"
    one = put(folder, "1.M1.host", b"1\n")
    two = put(folder, "2.M1.host", b"2\n")
    gone = put(folder, "3.M1.host", b"3\n")
    maildrop = await MaildirMaildrops(tmp_path, PASSWORDS).open("tim")
    one.rename(folder / "cur" / "1.M1.host:2,S")
    moved = two.rename(folder / "cur" / "2.M1.host:2,RS")
    gone.unlink()
    assert await whole(maildrop, 1) == b"1\r\n"
    with pytest.raises(POP3ResponseError, match="gone"):
        await maildrop.content(3)
    await maildrop.remove([2, 3])
    assert moved.name not in os.listdir(folder / "cur")
    maildrop.close()


async def test_a_message_may_vanish_while_the_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "tim", "1.M1.host", b"1\n")
    gone = put(tmp_path / "tim", "2.M1.host", b"2\n")
    order = module._delivery_order

    def meddling(name: str) -> tuple[int, str]:
        gone.unlink(missing_ok=True)
        return order(name)

    monkeypatch.setattr(module, "_delivery_order", meddling)
    maildrop = await MaildirMaildrops(tmp_path, PASSWORDS).open("tim")
    assert [message.unique_id for message in maildrop.messages] == ["1.M1.host"]
    maildrop.close()


@pytest.mark.parametrize("user", ["", ".", "..", "../tom", "a/b", ".hidden", "a\0b"])
async def test_no_name_leads_out_of_the_directory(tmp_path: Path, user: str) -> None:
    with pytest.raises(POP3ResponseError, match="no maildrop has this name"):
        await MaildirMaildrops(tmp_path, PASSWORDS).open(user)
    assert os.listdir(tmp_path) == []


async def test_what_cannot_be_read_is_the_server_s_trouble(tmp_path: Path) -> None:
    (tmp_path / "tim").write_text("not a folder")
    store = MaildirMaildrops(tmp_path, PASSWORDS)
    for _ in range(2):  # the second time it is not locked
        with pytest.raises(POP3ResponseError) as caught:
            await store.open("tim")
        assert caught.value.is_transient
        assert str(tmp_path) not in str(caught.value)


async def test_what_cannot_be_read_later(tmp_path: Path) -> None:
    path = put(tmp_path / "tim", "1.M1.host", b"1\n")
    maildrop = await MaildirMaildrops(tmp_path, PASSWORDS).open("tim")
    path.unlink()
    path.mkdir()
    with pytest.raises(POP3ResponseError, match="cannot be read"):
        await maildrop.content(1)
    with pytest.raises(POP3ResponseError, match="not removed"):
        await maildrop.remove([1])
    maildrop.close()


async def test_another_process_keeps_out(tmp_path: Path) -> None:
    (tmp_path / "tim").mkdir()
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / "tim" / "asyncmail-pop3.lock"
    store = MaildirMaildrops(tmp_path, PASSWORDS)
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert await anyio.to_thread.run_sync(holder.stdout.readline) == b"locked\n"
        with pytest.raises(MaildropLocked):
            await store.open("tim")
        assert repr(store).endswith("0 open>")
        holder.communicate()
    (await store.open("tim")).close()


async def test_a_cancelled_open_leaves_no_lock(tmp_path: Path) -> None:
    store = MaildirMaildrops(tmp_path, PASSWORDS)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.open("tim")
    assert scope.cancelled_caught
    (await store.open("tim")).close()


def test_a_lock_taken_too_late_is_given_up(tmp_path: Path) -> None:
    late = module._MaildirMaildrop(tmp_path / "tim", lambda: None)
    late.close()
    late.load({})
    module._MaildirMaildrop(tmp_path / "tim", lambda: None).load({})
