"""The ledger's file, by blocking calls: what `ledger` and `store` do in worker threads."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ClosedError, FolderError
from ..folders.disk import folder_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["History", "Intent", "LedgerFile"]

_APPLICATION_ID = 0x41734D4C
_VERSION = 1

# recorded: seconds since the epoch. folder and name: of the file that was to appear, NULL once it has.
_SCHEMA = """
    CREATE TABLE messages (
        maildrop TEXT NOT NULL,
        unique_id TEXT NOT NULL,
        recorded REAL NOT NULL,
        folder BLOB,
        name TEXT,
        PRIMARY KEY (maildrop, unique_id)
    ) WITHOUT ROWID
"""

_SAVE = """
    INSERT INTO messages (maildrop, unique_id, recorded, folder, name) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET recorded = excluded.recorded, folder = excluded.folder, name = excluded.name
"""

# How long to wait for another process that writes; each writes for some milliseconds.
_BUSY_TIMEOUT = 30.0

_ELSEWHERE = "move it away; messages that are still on their servers are fetched again"

_CURES: dict[int, tuple[str, str, bool]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free space on that file system", True),
    sqlite3.SQLITE_BUSY: ("another process holds it", "wait until that has ended", True),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "let this user write it and its directory", False),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check the path, and that this user may write there",
        False,
    ),
    sqlite3.SQLITE_CORRUPT: ("the ledger is damaged", _ELSEWHERE, False),
    sqlite3.SQLITE_NOTADB: ("not a ledger", "choose another path, or " + _ELSEWHERE, False),
    sqlite3.SQLITE_IOERR: ("the disk failed to read or write", "check the disk, and that it has room", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A message about to be stored.

    Args:
        unique_id: which message of the maildrop.
        folder: the absolute path of the Maildir.
        name: its file name there.
    """

    unique_id: str
    folder: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the ledger knows of one maildrop.

    Args:
        stored: the unique-ids of messages that are stored, and when they were, in seconds since the epoch.
        intents: what a process that did not get to its end left.
    """

    stored: dict[str, float]
    intents: list[Intent]


class LedgerFile:
    """One ledger, which any number of threads may use. Every method may raise `FolderError`.

    What a method wrote is on the disk when it returns; writes that come together share one sync.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None
        self._waiting: deque[_Write] = deque()
        self._turn = threading.Lock()

    def open(self) -> None:
        """Open it; make it if it is not there."""
        # It tells who writes to whom.
        with folder_errors(self.path), contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._error(error) from error
        except BaseException:
            connection.close()
            raise
        self.connection = connection

    def close(self) -> None:
        """Close it. Idempotent."""
        with self._turn:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.close()

    def look_up(self, maildrop: str) -> History:
        """Return what is known of a maildrop."""
        with self._turn:
            try:
                rows = (
                    self._opened()
                    .execute(
                        "SELECT unique_id, recorded, folder, name FROM messages WHERE maildrop = ?",
                        (maildrop,),
                    )
                    .fetchall()
                )
            except sqlite3.Error as error:
                raise self._error(error) from error
        intents = [
            Intent(unique_id=unique_id, folder=os.fsdecode(folder), name=name)
            for unique_id, _, folder, name in rows
            if folder is not None
        ]
        stored = {unique_id: recorded for unique_id, recorded, folder, _ in rows if folder is None}
        return History(stored=stored, intents=intents)

    def intend(self, maildrop: str, intents: Iterable[Intent]) -> None:
        """Note that these files are about to appear."""
        now = time.time()
        rows = [(maildrop, i.unique_id, now, os.fsencode(i.folder), i.name) for i in intents]
        self._write(lambda connection: connection.executemany(_SAVE, rows))

    def record(self, maildrop: str, unique_ids: Iterable[str]) -> None:
        """Note that these messages are stored."""
        now = time.time()
        rows = [(maildrop, unique_id, now, None, None) for unique_id in unique_ids]
        self._write(lambda connection: connection.executemany(_SAVE, rows))

    def forget(self, maildrop: str, unique_ids: Iterable[str]) -> None:
        """Drop what is known of these messages."""
        rows = [(maildrop, unique_id) for unique_id in unique_ids]
        statement = "DELETE FROM messages WHERE maildrop = ? AND unique_id = ?"
        self._write(lambda connection: connection.executemany(statement, rows))

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        write = _Write(work)
        self._waiting.append(write)
        with self._turn:
            # The one before may have taken this along.
            if not write.is_done:
                self._commit()
        if write.failure is not None:
            raise self._error(write.failure) from write.failure

    def _commit(self) -> None:
        """Do all that waits, in one transaction."""
        connection = self._opened()
        writes: list[_Write] = []
        while self._waiting:
            writes.append(self._waiting.popleft())
        failure: Exception | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                write.work(connection)
            connection.execute("COMMIT")
        except Exception as error:
            failure = error
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        for write in writes:
            write.failure = failure
            write.is_done = True

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._use_write_ahead_log(connection)
        # A record must outlive a power failure: a DELE follows it.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id != _APPLICATION_ID and tables:
            raise FolderError("a database, but not a ledger", path=self.path, cure="choose another path")
        if version > _VERSION:
            raise FolderError(
                f"the ledger has version {version}, this program knows {_VERSION}",
                path=self.path,
                cure="install a newer asyncmail, or choose another path",
            )
        if not tables:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute(_SCHEMA)
        connection.execute("COMMIT")

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        # Of several processes that open a new file at the same time SQLite lets one do this, and the others
        # do not wait for it as they do for a transaction.
        deadline = time.monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _opened(self) -> sqlite3.Connection:
        if self.connection is None:
            raise ClosedError("the ledger is not open", cure="use it inside `async with`")
        return self.connection

    def _error(self, error: Exception) -> FolderError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        problem, cure, is_transient = _CURES.get(code, (str(error), "", False))
        return FolderError(problem, path=self.path, cure=cure, is_transient=is_transient)


class _Write:
    """One thread's part of a transaction."""

    __slots__ = ("failure", "is_done", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], object]) -> None:
        self.work = work
        self.is_done = False
        self.failure: Exception | None = None
