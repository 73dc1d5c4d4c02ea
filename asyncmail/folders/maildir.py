"""Durable delivery into a Maildir: a message is there wholly or not at all, whatever dies when.

Each message is written to `tmp/` and synced, renamed into `new/`, and then `new/` is synced. The two halves
are separate methods, so that a caller can note in between what is about to appear in `new/`, and so that a
group of messages costs one thread hop and one directory sync per half.
"""

from __future__ import annotations

import os
import string
import threading
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar, TypeVarTuple

from ..errors import ClosedError, FolderError, InputError, printable, quoted
from .disk import folder_errors, in_thread
from .files import MaildirFiles, Newline, start_writeback, write_all

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Delivery", "Maildir", "settle"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PLACEHOLDERS = {"user", "host"}

# Pieces smaller than this wait for more: a thread hop costs more than writing them.
_WRITE_SIZE = 262_144


class Maildir:
    """A Maildir that messages are delivered into; it is made when the first one comes.

    Safe to share between tasks, and between processes: names are unique, nothing is locked. What is stored is
    the message octet for octet, with the CRLF line ends it travelled with. Programs that want the LF line
    ends of a Unix text file get them with `newline="lf"`.

    Args:
        path: its directory. `{user}` and `{host}` stand for what `resolve` is given; a brace is written `{{`
            or `}}`.
        newline: `"keep"` stores messages as they are, `"lf"` with each CRLF made LF.

    Raises:
        InputError: the path has another placeholder than these.

    Source: the Maildir convention, https://cr.yp.to/proto/maildir.html
    """

    def __init__(self, path: str | os.PathLike[str], *, newline: Newline = "keep") -> None:
        template = os.fspath(path)
        fields = _placeholders(template)
        if unknown := fields - _PLACEHOLDERS:
            raise InputError(
                f"{quoted(template)} has an unknown placeholder {{{printable(min(unknown))}}}",
                cure="use {user} and {host}, and write a brace as {{ or }}",
            )
        if newline not in ("keep", "lf"):
            raise InputError(f"newline={newline!r} is not known", cure='use "keep" or "lf"')
        self._template = template
        self._newline: Newline = newline
        # Absolute: what a ledger notes must mean the same to a later run that starts elsewhere.
        self._files = None if fields else MaildirFiles(os.path.abspath(template.format()), newline)

    def __repr__(self) -> str:
        return f"<Maildir {quoted(self._files.path if self._files else self._template)}>"

    @property
    def files(self) -> MaildirFiles:
        """The same by blocking calls, for worker threads.

        Raises:
            InputError: the path still has placeholders.
        """
        if self._files is None:
            raise InputError(
                f"{quoted(self._template)} still has placeholders",
                cure="call resolve(user=..., host=...)",
            )
        return self._files

    @property
    def path(self) -> str:
        """The absolute path.

        Raises:
            InputError: it still has placeholders.
        """
        return self.files.path

    def resolve(self, *, user: str = "", host: str = "") -> Maildir:
        """Return the Maildir with the placeholders filled in; itself if there are none.

        What could leave the directory or be misread there is percent-encoded: different values never meet in
        one name.

        Raises:
            InputError: a value that the path needs is empty.
        """
        if self._files is not None:
            return self
        values = {"user": user, "host": host}
        for field in sorted(_placeholders(self._template)):
            if not values[field]:
                raise InputError(
                    f"{quoted(self._template)} needs a {field}",
                    cure=f"supply one, or leave out {{{field}}}",
                )
        path = self._template.format_map({field: _file_name(value) for field, value in values.items()})
        # A value may hold braces, so it must not be taken for a template again.
        return Maildir(path.replace("{", "{{").replace("}", "}}"), newline=self._newline)

    async def deliver(self, content: bytes | Iterable[bytes] | AsyncIterable[bytes]) -> str:
        """Deliver one message: on return it is in `new/`, and on the disk.

        When cancelled the message was delivered wholly or not at all.

        Args:
            content: the message, or pieces of it of any size.

        Returns:
            Its file name in `new/`.

        Raises:
            FolderError: it could not be stored durably.
        """
        async with self.begin() as delivery:
            if isinstance(content, bytes | bytearray | memoryview):
                await delivery.write(bytes(content))
            elif isinstance(content, AsyncIterable):
                async for chunk in content:
                    await delivery.write(chunk)
            else:
                for chunk in content:
                    await delivery.write(chunk)
            return await delivery.commit()

    def begin(self) -> Delivery:
        """Begin a message that is written in pieces: use it with `async with`."""
        return Delivery(self, self.files)

    async def write(self, contents: Sequence[bytes]) -> list[str]:
        """Write messages to `tmp/`, each synced: the first half of delivering a group.

        Returns:
            Their file names, in the same order, for `publish` or `discard`.

        Raises:
            FolderError: one could not be stored; none is left.
        """
        return await self._run(self.files.write, contents)

    async def publish(self, names: Sequence[str]) -> None:
        """Move messages from `tmp/` into `new/` and sync that: the second half.

        Raises:
            FolderError: not all could be moved; `settle` moves the rest.
        """
        await self._run(self.files.publish, names)

    def discard(self, names: Iterable[str]) -> None:
        """Remove messages from `tmp/`, as far as possible. Synchronous, as clean-up must be."""
        self.files.discard(names)

    async def _run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        with folder_errors(self.path):
            return await in_thread(function, *args)


async def settle(path: str, names: Iterable[str]) -> set[str]:
    """Finish what a process that died began: publish those messages that are still in `tmp/`.

    Args:
        path: that of the Maildir, without placeholders.
        names: what `write` or `finish` had returned.

    Returns:
        The names that are in the Maildir now, read or unread. What is missing was never written, or was taken
        out again.

    Raises:
        FolderError: the Maildir cannot be read or written.
    """
    with folder_errors(path):
        return await in_thread(MaildirFiles(path).settle, set(names))


class Delivery:
    """One message on its way into a Maildir, in pieces; without `commit` or `finish` it is discarded.

    Args:
        octets: so many were given to `write`.
    """

    def __init__(self, maildir: Maildir, files: MaildirFiles) -> None:
        self._maildir = maildir
        self._files = files
        self._carriage_return = b""
        self._pieces: list[bytes] = []
        self._pending = 0
        self._name: str | None = None
        self._descriptor: int | None = None
        self._is_over = False
        # A cancelled task may call `discard` while the thread it started still writes.
        self._lock = threading.Lock()
        self.octets: int = 0

    def __repr__(self) -> str:
        return f"<Delivery into {quoted(self._files.path)}, {self.octets} octets>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_over:
            self.discard()

    async def write(self, chunk: bytes) -> None:
        """Add a piece.

        Raises:
            FolderError: it could not be stored; nothing of the message is left.
        """
        if self._is_over:
            raise ClosedError("this message was already delivered or discarded")
        self.octets += len(chunk)
        self._pieces.append(chunk)
        self._pending += len(chunk)
        if self._pending >= _WRITE_SIZE:
            await self._flush(is_last=False)

    async def finish(self) -> str:
        """Complete the file in `tmp/` and sync it.

        Returns:
            Its name, for the Maildir's `publish` or `discard`.

        Raises:
            FolderError: it could not be stored; nothing of the message is left.
        """
        if self._is_over:
            raise ClosedError("this message was already delivered or discarded")
        await self._flush(is_last=True)
        assert self._name is not None
        self._is_over = True
        return self._name

    async def commit(self) -> str:
        """Deliver the message: on return it is in `new/`, and on the disk.

        Returns:
            Its file name in `new/`.

        Raises:
            FolderError: it could not be stored durably.
        """
        name = await self.finish()
        try:
            await self._maildir.publish([name])
        except FolderError:
            self._files.discard([name])
            raise
        return name

    def discard(self) -> None:
        """Remove what was written. Synchronous, as clean-up must be."""
        with self._lock:
            self._is_over = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            if self._name is not None:
                self._files.discard([self._name])

    async def _flush(self, *, is_last: bool) -> None:
        data = b"".join([self._carriage_return, *self._pieces])
        self._pieces.clear()
        self._pending = 0
        if self._files.newline == "lf":
            # A CR that ends the piece may be half of a CRLF.
            self._carriage_return = b"\r" if data.endswith(b"\r") and not is_last else b""
            data = data.removesuffix(self._carriage_return).replace(b"\r\n", b"\n")
        try:
            with folder_errors(self._files.path):
                await in_thread(self._write, data, is_last)
        except FolderError:
            self.discard()
            raise

    def _write(self, data: bytes, is_last: bool) -> None:
        with self._lock:
            if self._is_over:
                return
            if self._descriptor is None:
                self._name, self._descriptor = self._files.create()
            write_all(self._descriptor, data)
            start_writeback(self._descriptor)
            if is_last:
                os.fsync(self._descriptor)
                os.close(self._descriptor)
                self._descriptor = None


def _placeholders(template: str) -> set[str]:
    try:
        return {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    except ValueError:
        raise InputError(f"{quoted(template)} has a lone brace", cure="write a brace as {{ or }}") from None


def _file_name(value: str) -> str:
    """Make one file name of `value`: nothing hidden, no separator, no control character, and no two alike."""
    encoded = "".join(c if c.isprintable() and c not in "/\\%" else _percent(c) for c in value)
    return _percent(".") + encoded[1:] if encoded.startswith(".") else encoded


def _percent(character: str) -> str:
    return "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))
