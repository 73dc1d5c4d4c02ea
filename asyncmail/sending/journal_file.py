"""The file of a journal, by blocking calls: what `journal` does in worker threads."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from threading import Lock
from typing import TYPE_CHECKING

from ..errors import FolderError, InputError, printable
from ..folders.disk import folder_errors, sync_directory
from ..folders.files import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FORMAT", "JournalFile", "not_a_journal"]

FORMAT = "asyncmail journal"
_BEGINNING = b'{"format":"%b"' % FORMAT.encode("ascii")

_ROOM = 262_144  # octets that are reserved at a time
_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class JournalFile:
    """A file of lines that is only added to, open and locked. Every method may raise `FolderError`.

    Args:
        path: made if it is not there.
        fresh: rename what is there.
    """

    def __init__(self, path: str, *, fresh: bool = False) -> None:
        self._path = path
        self._end = 0  # of what is written
        self._reserved = 0  # where the room ends that the file has on the disk
        # A thread goes on when who waits for it is cancelled, and may meet `close`: what has the descriptor of a file
        # that was closed is another file.
        self._lock = Lock()
        self._descriptor = self._open_locked()
        if fresh and os.fstat(self._descriptor).st_size:
            try:
                with folder_errors(path):
                    os.rename(path, _free_name(path))
            finally:
                os.close(self._descriptor)
            self._descriptor = self._open_locked()
        # Nobody may ever get to see this object: who waits for the thread in which it is made can be cancelled.
        self._release = weakref.finalize(self, os.close, self._descriptor)

    def _open_locked(self) -> int:
        import fcntl  # not on Windows

        with folder_errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a device might have no end
            os.close(descriptor)
            raise InputError(f"{printable(self._path)} is not a regular file", cure="choose another path")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderError(
                "another process uses this journal",
                path=self._path,
                cure="wait until that has ended",
                is_transient=True,
            ) from None
        return descriptor

    def lines(self) -> Iterator[bytes]:
        """Read the file, to its end, and take off the last line if it was not written wholly."""
        with folder_errors(self._path):
            position = 0
            with open(self._descriptor, "rb", closefd=False) as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        # Never take off what is no journal's.
                        written = line.rstrip(b"\0")
                        if not position and not written.startswith(_BEGINNING[: len(written)]):
                            raise not_a_journal(self._path)
                        break
                    position += len(line)
                    # A page that the disk had not got when the power failed. Nothing was sent that it speaks of.
                    if b"\0" not in line:
                        yield line
            self._end = self._reserved = position
            os.ftruncate(self._descriptor, position)

    @property
    def end(self) -> int:
        """Octets that are written."""
        return self._end

    def reserve(self, end: int) -> None:
        """Have room on the disk up to `end`, in octets from the beginning of the file."""
        if end <= self._reserved:
            return
        octets = max(_ROOM, end - self._reserved)
        with self._lock, folder_errors(self._path):
            try:
                os.posix_fallocate(self._descriptor, self._reserved, octets)
            except OSError as error:
                if error.errno not in _CANNOT_RESERVE:
                    raise
        self._reserved += octets

    def append(self, data: bytes) -> None:
        """Write lines and sync them."""
        if data:
            with self._lock, folder_errors(self._path):
                os.lseek(self._descriptor, self._end, os.SEEK_SET)
                write_all(self._descriptor, data)
                os.fsync(self._descriptor)
            self._end += len(data)

    def sync_directory(self) -> None:
        """Have a file that was just made outlive a power failure."""
        with folder_errors(self._path):
            sync_directory(os.path.dirname(self._path))

    def close(self) -> None:
        """Give back the room that was not needed, and the lock."""
        with self._lock:
            try:
                with folder_errors(self._path):
                    if self._reserved > self._end:
                        os.ftruncate(self._descriptor, self._end)
            finally:
                self._descriptor = -1
                self._release()


def _free_name(path: str) -> str:
    number = 1
    while os.path.lexists(f"{path}.{number}"):
        number += 1
    return f"{path}.{number}"


def not_a_journal(path: str) -> InputError:
    """Return the error for a file that is something else."""
    return InputError(f"{printable(path)} is not a journal", cure="choose another path")
