from __future__ import annotations

import mailbox
import os
from typing import TYPE_CHECKING

import pytest

from asyncmail.errors import BusyError, ClosedError, FolderError
from asyncmail.folders import Flag, Folder, FolderMessage, FormatKind, Maildir

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"Subject: one\n\nbody \xff\n"
KINDS = list(FormatKind)


@pytest.mark.parametrize("kind", KINDS)
async def test_append_list_read_remove(tmp_path: Path, kind: FormatKind) -> None:
    path = tmp_path / "folder"
    async with Folder(path, kind=kind, create=True) as folder:
        assert await folder.messages() == []
        first = await folder.append(CONTENT)
        second = await folder.append(b"Subject: two\n\n")
        assert await folder.messages() == [
            FolderMessage(key=first, flags=frozenset()),
            FolderMessage(key=second, flags=frozenset()),
        ]
        assert await folder.read(first) == CONTENT
        await folder.remove(second)
        await folder.flush()
    # What kind it is can be seen from the outside.
    async with Folder(path) as folder:
        (message,) = await folder.messages()
        assert await folder.read(message.key) == CONTENT


@pytest.mark.parametrize("kind", KINDS)
async def test_flags_stay(tmp_path: Path, kind: FormatKind) -> None:
    path = tmp_path / "folder"
    async with Folder(path, kind=kind, create=True) as folder:
        other = await folder.append(b"Subject: other\n\n")
        key = await folder.append(CONTENT, [Flag.FLAGGED])
        assert await folder.add_flags(key, Flag.SEEN, Flag.ANSWERED) == {
            Flag.FLAGGED,
            Flag.SEEN,
            Flag.ANSWERED,
        }
        assert await folder.add_flags(key, Flag.SEEN) == {Flag.FLAGGED, Flag.SEEN, Flag.ANSWERED}
        assert await folder.remove_flags(key, Flag.FLAGGED) == {Flag.SEEN, Flag.ANSWERED}
    async with Folder(path) as folder:
        flags = {message.key: message.flags for message in await folder.messages()}
        assert flags == {other: frozenset(), key: {Flag.SEEN, Flag.ANSWERED}}
        assert await folder.remove_flags(key, Flag.SEEN) == {Flag.ANSWERED}
        assert (await folder.read(key)).endswith(b"\n\nbody \xff\n")
        assert await folder.read(other) == b"Subject: other\n\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_no_such_message(tmp_path: Path, kind: FormatKind) -> None:
    async with Folder(tmp_path / "folder", kind=kind, create=True) as folder:
        await folder.append(CONTENT)
        for key in ("7", "x"):
            with pytest.raises(FolderError, match=f"no message '{key}'"):
                await folder.read(key)
            with pytest.raises(FolderError, match=f"no message '{key}'"):
                await folder.add_flags(key, Flag.SEEN)
            with pytest.raises(FolderError, match=f"no message '{key}'"):
                await folder.remove(key)


async def test_a_maildir_keeps_the_octets_and_the_letters_of_others(tmp_path: Path) -> None:
    name = await Maildir(tmp_path).deliver(b"a\r\nb\n")
    os.rename(tmp_path / "new" / name, tmp_path / "cur" / f"{name}:2,Sab")
    (tmp_path / "new" / ".hidden").touch()
    async with Folder(tmp_path) as folder:
        (message,) = await folder.messages()
        assert message == FolderMessage(key=name, flags=frozenset({Flag.SEEN}))
        assert await folder.read(name) == b"a\r\nb\n"
        # Another program moves it behind our back.
        os.rename(tmp_path / "cur" / f"{name}:2,Sab", tmp_path / "cur" / f"{name}:2,FSab")
        assert await folder.add_flags(name, Flag.PASSED) == {Flag.FLAGGED, Flag.SEEN, Flag.PASSED}
    assert os.listdir(tmp_path / "cur") == [f"{name}:2,FPSab"]


async def test_maildir_messages_with_flags_go_to_cur(tmp_path: Path) -> None:
    async with Folder(tmp_path / "m", create=True) as folder:
        key = await folder.append(CONTENT, [Flag.SEEN, Flag.DRAFT])
    assert os.listdir(tmp_path / "m" / "cur") == [f"{key}:2,DS"]
    assert os.listdir(tmp_path / "m" / "tmp") == []


async def test_an_mbox_has_unix_line_ends_and_quotes_from_lines(tmp_path: Path) -> None:
    async with Folder(tmp_path / "mbox", kind=FormatKind.MBOX, create=True) as folder:
        await folder.append(b"Subject: x\r\n\r\nFrom here\r\n")
    box = mailbox.mbox(tmp_path / "mbox")
    assert box.get_bytes(0) == b"Subject: x\n\n>From here\n"  # type: ignore[arg-type]
    box.close()


async def test_a_locked_mbox(tmp_path: Path) -> None:
    path = tmp_path / "mbox"
    path.touch()
    other = mailbox.mbox(path)
    other.lock()
    try:
        with pytest.raises(FolderError, match="another program") as info:
            async with Folder(path, lock_timeout=0.15):
                pass
        assert info.value.is_transient
    finally:
        other.close()
    async with Folder(path) as folder:
        assert await folder.messages() == []


async def test_an_mbox_that_another_program_changed(tmp_path: Path) -> None:
    path = tmp_path / "mbox"
    async with Folder(path, kind=FormatKind.MBOX, create=True) as folder:
        await folder.append(CONTENT)
    with pytest.raises(FolderError, match="another program"):
        async with Folder(path) as folder:
            await folder.remove("0")
            with path.open("ab") as file:
                file.write(b"From x\nSubject: new\n\n")


async def test_an_mh_folder_without_sequences(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(CONTENT)
    async with Folder(tmp_path) as folder:
        assert await folder.messages() == [FolderMessage(key="1", flags=frozenset({Flag.SEEN}))]


async def test_a_damaged_folder(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(CONTENT)
    (tmp_path / ".mh_sequences").write_bytes(b"unseen: x-y\n")
    async with Folder(tmp_path) as folder:
        with pytest.raises(FolderError, match="damaged"):
            await folder.messages()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="create=True"):
        async with Folder(tmp_path / "none"):
            pass
    with pytest.raises(FolderError, match="a directory"):
        async with Folder(tmp_path, kind=FormatKind.MBOX):
            pass


async def test_only_inside_the_block(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "m", create=True)
    with pytest.raises(ClosedError):
        await folder.messages()
    async with folder:
        assert repr(folder) == f"<Folder {str(tmp_path / 'm')!r} open>"
        with pytest.raises(BusyError):
            await folder.__aenter__()
    assert repr(folder) == f"<Folder {str(tmp_path / 'm')!r} closed>"
    async with folder:
        pass


async def test_an_mbox_that_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mbox"
    async with Folder(path, kind=FormatKind.MBOX, create=True) as folder:
        await folder.append(CONTENT)
    path.chmod(0o400)
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "access", lambda *_: False)
    async with Folder(path) as folder:
        assert await folder.read("0") == CONTENT
    assert os.listdir(tmp_path) == ["mbox"]
