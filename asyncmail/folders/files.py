"""The files of one Maildir, by blocking calls: what `maildir` and `formats` do in worker threads."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING, Literal

from .disk import make_unsynced, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MaildirFiles", "Newline", "start_writeback", "write_all"]

Newline = Literal["keep", "lf"]

# How many files a group keeps open at a time.
_OPEN_FILES = 32

# Files in tmp/ older than this belong to nobody: the Maildir convention.
_LEFTOVER_AGE = 36 * 3600.0

_sequence = itertools.count(1)


class MaildirFiles:
    """One Maildir, made when first written to. Every method may raise `OSError`."""

    def __init__(self, path: str, newline: Newline = "keep") -> None:
        self.path = path
        self.newline = newline
        self._is_made = False
        self._unsynced: set[str] = set()  # directories, until what was made in them is on the disk

    def make(self) -> None:
        """Make the directories, and clean tmp/ of what dead programs left there."""
        self._make()
        self._sync_made()

    def _make(self) -> None:
        for directory in ("tmp", "new", "cur"):
            self._unsynced.update(make_unsynced(os.path.join(self.path, directory)))
        _remove_leftovers(os.path.join(self.path, "tmp"))
        self._is_made = True

    def _sync_made(self) -> None:
        # Of several threads each waits until all is on the disk, whichever has made it.
        unsynced = [*self._unsynced]
        for directory in unsynced:
            sync_directory(directory)
        self._unsynced.difference_update(unsynced)

    def create(self) -> tuple[str, int]:
        """Open a new file in tmp/: its name and descriptor."""
        if not self._is_made:
            self.make()
        (name,) = _unique_names(1)
        return name, self._create(name)

    def write(self, contents: Sequence[bytes]) -> list[str]:
        """Write messages to tmp/, each synced, all or none; returns their names."""
        if not self._is_made:
            self._make()
        names = _unique_names(len(contents))
        try:
            for first in range(0, len(contents), _OPEN_FILES):
                few = slice(first, first + _OPEN_FILES)
                self._write_few(names[few], contents[few])
            # Last: to sync the files has then brought the directories to the disk as well, on most file systems.
            self._sync_made()
        except BaseException:
            self.discard(names)
            raise
        return names

    def publish(self, names: Iterable[str]) -> None:
        """Move messages from tmp/ into new/, and sync that."""
        self._sync_made()
        for name in names:
            try:
                self._rename(name)
            except FileNotFoundError:
                # Another process may have settled it.
                if not self.present({name}):
                    raise
        sync_directory(os.path.join(self.path, "new"))

    def settle(self, names: set[str]) -> set[str]:
        """Move those of `names` still in tmp/ into new/; returns those that new/ or cur/ hold now."""
        if not os.path.isdir(self.path):
            return set()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._rename(name)
        present = self.present(names)
        # The process that renamed them may have died before it synced them.
        self.sync()
        return present

    def present(self, names: set[str]) -> set[str]:
        """Those of `names` that new/ or cur/ hold; a mail program may have added flags to the file name."""
        present: set[str] = set()
        # In this order: programs move messages from new/ to cur/, so none is missed.
        for directory in ("new", "cur"):
            present |= names & {
                name.partition(":")[0] for name in os.listdir(os.path.join(self.path, directory))
            }
        return present

    def discard(self, names: Iterable[str]) -> None:
        """Remove messages from tmp/, as far as possible."""
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.path, "tmp", name))

    def sync(self) -> None:
        """Wait until new/ and cur/ are on the disk."""
        for directory in ("new", "cur"):
            sync_directory(os.path.join(self.path, directory))

    def _create(self, name: str) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        return os.open(f"{self.path}/tmp/{name}", flags, 0o600)

    def _rename(self, name: str) -> None:
        os.rename(f"{self.path}/tmp/{name}", f"{self.path}/new/{name}")

    def _write_few(self, names: Sequence[str], contents: Sequence[bytes]) -> None:
        descriptors: list[int] = []
        try:
            for name, content in zip(names, contents, strict=True):
                descriptor = self._create(name)
                descriptors.append(descriptor)
                write_all(descriptor, content.replace(b"\r\n", b"\n") if self.newline == "lf" else content)
            # Each step for all of them before the next, so that the disk gets them together: half the time and half
            # the work of one file after the other.
            for descriptor in descriptors:
                start_writeback(descriptor)
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            _close_all(descriptors)


def _close_all(descriptors: list[int]) -> None:
    """Close files; what the system reports of one keeps none of the others open."""
    failure: OSError | None = None
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure


def write_all(descriptor: int, data: bytes) -> None:
    """Write `data` wholly, however the operating system divides it."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def start_writeback(descriptor: int) -> None:
    """Have the disk begin with what was written, so that syncing it later takes less time."""
    # Linux begins to write dirty pages on this advice, and does not wait for it.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _unique_names(count: int) -> list[str]:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    begin = f"{seconds}.M{nanoseconds // 1000}P{os.getpid()}Q"
    host = socket.gethostname().replace("/", r"\057").replace(":", r"\072") or "localhost"
    end = f"R{secrets.token_hex(4)}.{host}"
    return [f"{begin}{number}{end}" for number in itertools.islice(_sequence, count)]


def _remove_leftovers(directory: str) -> None:
    oldest = time.time() - _LEFTOVER_AGE
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        # Another process may be cleaning up too.
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime < oldest:
                os.unlink(path)
