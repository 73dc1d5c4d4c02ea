from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from asyncmail.errors import FolderError
from asyncmail.folders import Maildir
from asyncmail.retrieval import Intent, Ledger
from asyncmail.retrieval.store import MaildirStore
from asyncmail.retrieval.undisturbed import Undisturbed

if TYPE_CHECKING:
    from pathlib import Path

ANNA = "anna@example.com:995"


async def test_what_the_ledger_does_not_take_is_not_delivered(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "seen.db") as ledger:
        store = MaildirStore(ANNA, ledger, Undisturbed(), Maildir(tmp_path / "m"))
        await store.add([("a", b"first")])
        assert ledger.file.connection is not None
        ledger.file.connection.execute("PRAGMA max_page_count = 4")
        with pytest.raises(FolderError, match="the disk is full"):
            await store.add([(f"{n:070}", b"x") for n in range(1000)])
        assert os.listdir(tmp_path / "m" / "tmp") == []
        assert len(os.listdir(tmp_path / "m" / "new")) == 1
        assert list(await store.open()) == ["a"]


async def test_what_a_dead_process_left_is_settled(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    other = Maildir(tmp_path / "other")
    in_tmp, in_new, nowhere = await maildir.write([b"1", b"2", b"3"])
    await maildir.publish([in_new])
    maildir.discard([nowhere])
    (elsewhere,) = await other.write([b"4"])
    async with Ledger(tmp_path / "seen.db") as ledger:
        await ledger.intend(
            ANNA,
            [
                Intent(unique_id="tmp", folder=maildir.path, name=in_tmp),
                Intent(unique_id="new", folder=maildir.path, name=in_new),
                Intent(unique_id="nowhere", folder=maildir.path, name=nowhere),
                Intent(unique_id="elsewhere", folder=other.path, name=elsewhere),
                Intent(unique_id="removed", folder=str(tmp_path / "removed"), name="x"),
            ],
        )
        store = MaildirStore(ANNA, ledger, Undisturbed(), maildir)
        assert set(await store.open()) == {"tmp", "new", "elsewhere"}
        assert (await ledger.look_up(ANNA)).intents == []
    assert set(os.listdir(tmp_path / "m" / "new")) == {in_tmp, in_new}
    assert os.listdir(tmp_path / "other" / "new") == [elsewhere]
