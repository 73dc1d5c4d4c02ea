"""The async face of the folder formats."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar, TypeVarTuple

import anyio

from ..errors import BusyError, ClosedError, FolderError
from .disk import folder_errors, in_thread
from .formats import Flag, Format, FormatKind, open_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

__all__ = ["Folder", "FolderMessage"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMessage:
    """One message of a folder, not yet read.

    Args:
        key: its name in the folder; of an mbox it holds only while the folder is open.
        flags: what the user did with it.
    """

    key: str
    flags: frozenset[Flag]


class Folder:
    """A Maildir, mbox or MH folder, open inside `async with`.

    It is locked from entry to exit (except a Maildir, which needs no lock); an mbox is rewritten at exit or
    `flush`, the others change at once. All work is done in worker threads. Use `Maildir` to deliver many
    messages.

    An mbox stores a line that begins with `From ` as `>From `, and with LF line ends; MH stores LF line ends;
    a Maildir stores messages octet for octet.

    Args:
        path: its directory or file.
        kind: its format; None finds out, and takes a new folder to be a Maildir.
        create: make it if it is not there.
        lock_timeout: how many seconds to wait for another program's lock.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        kind: FormatKind | None = None,
        create: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        self._path = os.path.abspath(path)
        self._kind = kind
        self._create = create
        self._lock_timeout = lock_timeout
        self._format: Format | None = None
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"<Folder {self._path!r} {'open' if self._format else 'closed'}>"

    async def __aenter__(self) -> Self:
        if self._format is not None:
            raise BusyError("this folder is open already")
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                self._format = await in_thread(self._open)
            except FolderError as error:
                if not error.is_transient or time.monotonic() > deadline:
                    raise
                await anyio.sleep(0.1)
            else:
                return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        folder, self._format = self._format, None
        assert folder is not None
        with anyio.CancelScope(shield=True):
            await self._run(folder, folder.close)

    async def messages(self) -> list[FolderMessage]:
        """List the messages.

        Raises:
            FolderError: the folder cannot be read.
        """
        folder = self._opened()
        return await self._run(folder, _messages, folder)

    async def read(self, key: str) -> bytes:
        """Return a message as it is stored.

        Raises:
            FolderError: the folder has no such message, or cannot be read.
        """
        folder = self._opened()
        return await self._run(folder, folder.read, key)

    async def append(self, content: bytes, flags: Iterable[Flag] = ()) -> str:
        """Add a message.

        Returns:
            Its key.

        Raises:
            FolderError: the folder cannot be written.
        """
        folder = self._opened()
        return await self._run(folder, folder.append, content, frozenset(flags))

    async def add_flags(self, key: str, *flags: Flag) -> frozenset[Flag]:
        """Set flags of a message; returns all it has now, as far as the format can keep them.

        Raises:
            FolderError: the folder has no such message, or cannot be written.
        """
        folder = self._opened()
        return await self._run(folder, _change_flags, folder, key, frozenset(flags), frozenset())

    async def remove_flags(self, key: str, *flags: Flag) -> frozenset[Flag]:
        """Clear flags of a message; returns all it has now.

        Raises:
            FolderError: the folder has no such message, or cannot be written.
        """
        folder = self._opened()
        return await self._run(folder, _change_flags, folder, key, frozenset(), frozenset(flags))

    async def remove(self, key: str) -> None:
        """Remove a message, whatever its flags.

        Raises:
            FolderError: the folder has no such message, or cannot be written.
        """
        folder = self._opened()
        await self._run(folder, folder.remove, key)

    async def flush(self) -> None:
        """Write all changes to the disk.

        Raises:
            FolderError: the folder cannot be written.
        """
        folder = self._opened()
        await self._run(folder, folder.flush)

    def _opened(self) -> Format:
        if self._format is None:
            raise ClosedError("the folder is not open", cure="use it inside `async with`")
        return self._format

    def _open(self) -> Format:
        with folder_errors(self._path):
            folder = open_format(self._path, self._kind, create=self._create)
        try:
            with folder.errors():
                folder.lock()
        except FolderError:
            folder.close()
            raise
        return folder

    async def _run(self, folder: Format, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await in_thread(self._in_turn, folder, function, *args)

    def _in_turn(self, folder: Format, function: Callable[[*Ts], T], *args: *Ts) -> T:
        with self._turn, folder.errors():
            return function(*args)


def _messages(folder: Format) -> list[FolderMessage]:
    return [FolderMessage(key=key, flags=folder.flags(key)) for key in folder.list_keys()]


def _change_flags(folder: Format, key: str, add: frozenset[Flag], remove: frozenset[Flag]) -> frozenset[Flag]:
    before = folder.flags(key)
    after = (before | add) - remove
    if after != before:
        folder.set_flags(key, after)
    return folder.flags(key)
