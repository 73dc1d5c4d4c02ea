"""Where a POP3 server takes its messages from: the interface, a store in memory, and one on Maildir folders."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, runtime_checkable

from anyio import to_thread

from ..errors import MaildropLocked, POP3ResponseError
from ..pop3 import Response, ResponseCode, Status
from ..wire import NewlineNormalizer, normalize_newlines

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Callable,
        Collection,
        Generator,
        Mapping,
        Sequence,
    )

    from ..sasl import Attempt

__all__ = ["InMemoryMaildrops", "MaildirMaildrops", "Maildrop", "MaildropStore", "StoredMessage"]

_IN_USE = Response(Status.ERR, "another session has the maildrop", ResponseCode.IN_USE)
_GONE = Response(Status.ERR, "the message is gone")
_UNREADABLE = Response(Status.ERR, "the maildrop cannot be read", ResponseCode.SYS_TEMP)
_NOT_REMOVED = Response(Status.ERR, "some messages were not removed", ResponseCode.SYS_TEMP)

# Files up to this size are read in one go, larger ones in pieces of this size, so that a session never holds more.
_PIECE = 1_048_576
_UNIQUE_ID = re.compile(r"[!-~]{1,70}")
_SIZES_IN_NAME = re.compile(
    r"(?:,[A-Z]=[0-9]+)+$"
)  # Maildir++: ,S= octets of the file ,W= the same with CRLF
_TIME_IN_NAME = re.compile(r"([0-9]+)\.(?:M([0-9]+))?")  # seconds, and microseconds, which few programs pad
_WIRE_SIZE_IN_NAME = re.compile(r",W=([0-9]+)")


class StoredMessage(NamedTuple):
    """What is known of a message without reading it.

    Args:
        octets: its size as it is sent, that is with CRLF and before dot-stuffing (RFC 1939 §11).
        unique_id: 1 to 70 characters from `!` to `~`, for this message alone and for ever (RFC 1939 §7).
    """

    octets: int
    unique_id: str


class Maildrop(Protocol):
    """A maildrop that is open and locked; its messages do not change while it is.

    Methods answer the client with -ERR by raising `POP3ResponseError` with the response to send.
    """

    @property
    def messages(self) -> Sequence[StoredMessage]:
        """The messages; the first one has the number 1."""
        ...

    async def content(self, number: int) -> bytes | AsyncIterable[bytes]:
        """Return a message, whole or in pieces of any size, with CRLF at the end of each line."""
        ...

    async def remove(self, numbers: Collection[int]) -> None:
        """Remove messages for good: the UPDATE state (RFC 1939 §6)."""
        ...

    def close(self) -> None:
        """Give up the lock; called once, whatever happened before."""
        ...


@runtime_checkable
class MaildropStore(Protocol):
    """Who may log in, and the maildrops."""

    async def authenticate(self, attempt: Attempt) -> str | None:
        """Return whose maildrop the client may open, or None if what it claims is not true."""
        ...

    async def open(self, user: str) -> Maildrop:
        """Open and lock a maildrop.

        Raises:
            MaildropLocked: another session has it.
            POP3ResponseError: it cannot be opened.
        """
        ...


class _Passwords:
    """Authentication by a table of passwords in the clear, which APOP and CRAM-MD5 need."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self._passwords = dict(passwords)

    async def authenticate(self, attempt: Attempt) -> str | None:
        """Return the name of the user, if the password is right."""
        known = self._passwords.get(attempt.username)
        # An unknown name takes as long as a wrong password.
        proved = attempt.verify("" if known is None else known)
        return attempt.username if proved and known is not None else None


class InMemoryMaildrops(_Passwords):
    """Maildrops for tests and small programs; nothing outlives the process.

    Args:
        passwords: user names and their passwords; each user has a maildrop.
    """

    def __init__(self, passwords: Mapping[str, str]) -> None:
        super().__init__(passwords)
        self._maildrops: dict[str, dict[str, bytes]] = {user: {} for user in passwords}
        self._open: set[str] = set()
        self._delivered = 0

    def __repr__(self) -> str:
        count = sum(len(messages) for messages in self._maildrops.values())
        return (
            f"<InMemoryMaildrops {len(self._maildrops)} maildrops, {count} messages, {len(self._open)} open>"
        )

    def deliver(self, user: str, content: bytes) -> str:
        """Add a message to a maildrop, which is made if there is none; who has it open does not see it.

        Args:
            content: header and body; line endings of any kind become CRLF.

        Returns:
            The unique-id of the message.
        """
        self._delivered += 1
        unique_id = str(self._delivered)
        content = normalize_newlines(content)
        if not content.endswith(b"\r\n"):
            content += b"\r\n"
        self._maildrops.setdefault(user, {})[unique_id] = content
        return unique_id

    def contents(self, user: str) -> list[bytes]:
        """The messages in a maildrop, oldest first."""
        return list(self._maildrops.get(user, {}).values())

    async def open(self, user: str) -> Maildrop:
        """Open and lock a maildrop.

        Raises:
            MaildropLocked: another session has it.
        """
        if user in self._open:
            raise MaildropLocked(_IN_USE)
        self._open.add(user)
        return _InMemoryMaildrop(self._maildrops.setdefault(user, {}), partial(self._open.discard, user))


class _InMemoryMaildrop:
    def __init__(self, stored: dict[str, bytes], close: Callable[[], None]) -> None:
        self._stored = stored
        self._contents = list(stored.values())
        self.messages = [StoredMessage(len(content), unique_id) for unique_id, content in stored.items()]
        self.close = close

    async def content(self, number: int) -> bytes:
        return self._contents[number - 1]

    async def remove(self, numbers: Collection[int]) -> None:
        for number in numbers:
            del self._stored[self.messages[number - 1].unique_id]


class MaildirMaildrops(_Passwords):
    """A Maildir folder for each user: `directory/user`, made when it is first opened.

    Unique-ids are the unique parts of the file names, so they agree with those of other servers and sessions. A file
    `asyncmail-pop3.lock` in the folder locks it between processes; it stays, the lock ends with its holder.

    Args:
        directory: holds the folders.
        passwords: user names and their passwords. Override `authenticate` to ask another user database.
    """

    def __init__(self, directory: str | os.PathLike[str], passwords: Mapping[str, str]) -> None:
        super().__init__(passwords)
        self._directory = Path(directory)
        self._open: set[str] = set()
        # Sizes on the wire cost reading each file once; file names are unique for ever, and files do not change.
        self._octets: dict[str, dict[str, int]] = {}

    def __repr__(self) -> str:
        return f"<MaildirMaildrops {str(self._directory)!r}, {len(self._open)} open>"

    async def open(self, user: str) -> Maildrop:
        """Open and lock a maildrop; file operations run in a worker thread.

        Raises:
            MaildropLocked: another session, of this or of another process, has it.
            POP3ResponseError: there can be no folder of that name, or it cannot be read.
        """
        if not user or user.startswith(".") or "/" in user or "\0" in user:
            raise POP3ResponseError(Response(Status.ERR, "no maildrop has this name", ResponseCode.SYS_PERM))
        if user in self._open:
            raise MaildropLocked(_IN_USE)
        self._open.add(user)
        maildrop = _MaildirMaildrop(self._directory / user, partial(self._open.discard, user))
        try:
            known = self._octets.get(user, {})
            # Not abandoned when cancelled: the lock has to be known before it can be given up.
            self._octets[user] = await to_thread.run_sync(maildrop.load, known)
        except OSError as error:
            maildrop.close()
            raise POP3ResponseError(_UNREADABLE) from error
        except BaseException:
            maildrop.close()
            raise
        return maildrop


class _MaildirMaildrop:
    def __init__(self, folder: Path, closed: Callable[[], None]) -> None:
        self._folder = folder
        self._on_close = closed
        self._is_closed = False
        self._locks: list[int] = []  # none or one; a list, because pop() is atomic between threads
        self._names: list[str] = []  # unique parts of file names, by message number
        self._paths: dict[str, Path] = {}
        self.messages: list[StoredMessage] = []

    def load(self, known: Mapping[str, int]) -> dict[str, int]:
        """Lock the folder and look what is in it, in a worker thread; return the sizes of all messages."""
        for name in ("tmp", "new", "cur"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._acquire()
        self._scan()
        sizes: dict[str, int] = {}
        for name in sorted(self._paths, key=_delivery_order):
            try:
                sizes[name] = known.get(name) or _wire_size(self._paths[name])
            except FileNotFoundError:
                continue  # somebody removed it just now
        self._names = list(sizes)
        self.messages = [StoredMessage(octets, _unique_id(name)) for name, octets in sizes.items()]
        return sizes

    def _acquire(self) -> None:
        import fcntl  # on POSIX only, where Maildir is

        lock = os.open(self._folder / "asyncmail-pop3.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._locks.append(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MaildropLocked(_IN_USE) from None
        finally:
            if self._is_closed:  # by a session that was cancelled and did not wait for this thread
                self._release()

    def _release(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _scan(self) -> None:
        self._paths = {
            entry.name.partition(":")[0]: Path(entry.path)
            for name in ("new", "cur")
            for entry in os.scandir(self._folder / name)
            if not entry.name.startswith(".")
        }

    async def content(self, number: int) -> bytes | AsyncIterable[bytes]:
        try:
            content = await to_thread.run_sync(self._open_content, number)
        except OSError as error:
            raise POP3ResponseError(_UNREADABLE) from error
        return content if isinstance(content, bytes) else _in_threads(content)

    def _open_content(self, number: int) -> bytes | Generator[bytes]:
        pieces = _normalized(self._open_file(self._names[number - 1]))
        return pieces if self.messages[number - 1].octets > _PIECE else b"".join(pieces)

    def _open_file(self, name: str) -> BinaryIO:
        try:
            return self._paths[name].open("rb")
        except (KeyError, FileNotFoundError):  # a change of its flags gives it another name
            self._scan()
        if name not in self._paths:
            raise POP3ResponseError(_GONE)
        return self._paths[name].open("rb")

    async def remove(self, numbers: Collection[int]) -> None:
        try:
            await to_thread.run_sync(self._unlink, [self._names[number - 1] for number in numbers])
        except OSError as error:
            raise POP3ResponseError(_NOT_REMOVED) from error

    def _unlink(self, names: Sequence[str]) -> None:
        self._scan()
        for name in names:
            if name in self._paths:
                self._paths[name].unlink(missing_ok=True)

    def close(self) -> None:
        self._is_closed = True
        self._release()
        self._on_close()


def _delivery_order(name: str) -> tuple[int, int, str]:
    time = _TIME_IN_NAME.match(name)
    return (int(time[1]), int(time[2] or 0), name) if time else (0, 0, name)


def _unique_id(name: str) -> str:
    unique = _SIZES_IN_NAME.sub("", name)
    if _UNIQUE_ID.fullmatch(unique):
        return unique
    return hashlib.sha256(os.fsencode(unique)).hexdigest()


def _wire_size(path: Path) -> int:
    named = _WIRE_SIZE_IN_NAME.search(path.name)
    return int(named[1]) if named else sum(len(piece) for piece in _normalized(path.open("rb")))


def _normalized(file: BinaryIO) -> Generator[bytes]:
    """The content of `file` as it is sent, in pieces; closes the file."""
    with file:
        normalizer = NewlineNormalizer()
        last = b""
        while piece := file.read(_PIECE):
            if piece := normalizer.feed(piece):
                last = piece
                yield piece
        yield normalizer.finish() or (b"" if last.endswith(b"\r\n") else b"\r\n")


async def _in_threads(pieces: Generator[bytes]) -> AsyncIterator[bytes]:
    try:
        while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
            yield piece
    finally:
        with suppress(ValueError):  # cancelled while a thread is in it, which then reads to no avail
            pieces.close()
