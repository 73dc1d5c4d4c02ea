"""The ledger: which messages of which maildrops are stored, so that no message is fetched twice.

One SQLite file for any number of maildrops, tasks and processes. A message goes through two entries: an
intent, which names the file that is about to appear in a Maildir, and the record that it has appeared. A
process killed in between leaves the intent, and the file tells the next one what became of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import anyio

from ..errors import BusyError
from ..folders.disk import in_thread
from .ledger_file import History, Intent, LedgerFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["History", "Intent", "Ledger"]


class Ledger:
    """Which messages are stored, in an SQLite file; open inside `async with`.

    What a method wrote is on the disk when it returns; writes that come together share one sync. Several
    tasks and several processes may use one ledger. A maildrop is named `user@host:port`.

    Args:
        path: the file; it is made if it is not there, its directory is not.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file: LedgerFile = LedgerFile(os.path.abspath(path))
        """The same by blocking calls, for worker threads."""

    def __repr__(self) -> str:
        return f"<Ledger {self.path!r} {'open' if self.file.connection else 'closed'}>"

    @property
    def path(self) -> str:
        """The absolute path."""
        return self.file.path

    async def __aenter__(self) -> Self:
        if self.file.connection is not None:
            raise BusyError("this ledger is open already")
        await in_thread(self.file.open)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await in_thread(self.file.close)

    async def look_up(self, maildrop: str) -> History:
        """Return what is known of a maildrop.

        Raises:
            FolderError: the ledger cannot be read.
        """
        return await in_thread(self.file.look_up, maildrop)

    async def intend(self, maildrop: str, intents: Iterable[Intent]) -> None:
        """Note that these files are about to appear.

        Raises:
            FolderError: the ledger cannot be written.
        """
        await in_thread(self.file.intend, maildrop, intents)

    async def record(self, maildrop: str, unique_ids: Iterable[str]) -> None:
        """Note that these messages are stored.

        Raises:
            FolderError: the ledger cannot be written.
        """
        await in_thread(self.file.record, maildrop, unique_ids)

    async def forget(self, maildrop: str, unique_ids: Iterable[str]) -> None:
        """Drop what is known of these messages.

        Raises:
            FolderError: the ledger cannot be written.
        """
        await in_thread(self.file.forget, maildrop, unique_ids)
