"""Work on a disk: in worker threads, and with errors that name the path and the cure."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from ..errors import FolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["folder_errors", "in_thread", "make_directory", "make_unsynced", "sync_directory"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# A disk that hangs must not use up the threads that the rest of the program needs (name look-ups among them);
# more threads than this do not make one disk faster.
_MOST_THREADS = 8
_threads: RunVar[CapacityLimiter] = RunVar("asyncmail_folder_threads")

_CURES: dict[int, tuple[str, str, bool]] = {
    errno.ENOSPC: ("the disk is full", "free space on that file system", True),
    errno.EDQUOT: ("the disk quota is used up", "free space, or have the quota raised", True),
    errno.EFBIG: ("the file would be larger than allowed", "raise the file size limit (ulimit -f)", False),
    errno.EACCES: ("permission denied", "let this user read and write there, or choose another path", False),
    errno.EPERM: (
        "operation not permitted",
        "let this user read and write there, or choose another path",
        False,
    ),
    errno.EROFS: ("the file system is read-only", "mount it writable, or choose another path", False),
    errno.ENOTDIR: ("not a directory", "move that file away, or choose another path", False),
    errno.EISDIR: ("a directory, not a file", "choose another path", False),
    errno.ENOENT: ("no such file or directory", "check the path; was it removed meanwhile?", False),
    errno.ENAMETOOLONG: ("the file name is too long", "choose a shorter path", False),
    errno.EMFILE: ("too many open files", "raise the limit of open files (ulimit -n)", True),
    errno.ENFILE: ("too many open files on this machine", "close other programs, or raise the limit", True),
    errno.EIO: ("the disk failed to read or write", "check the disk", False),
}


async def in_thread(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run `function` in a worker thread, at most eight such at a time."""
    try:
        limiter = _threads.get()
    except LookupError:
        limiter = CapacityLimiter(_MOST_THREADS)
        _threads.set(limiter)
    return await anyio.to_thread.run_sync(function, *args, limiter=limiter)


@contextlib.contextmanager
def folder_errors(path: str) -> Iterator[None]:
    """Raise what the operating system refuses as a `FolderError` about `path`."""
    try:
        yield
    except OSError as error:
        problem, cure, is_transient = _CURES.get(error.errno or 0, (error.strerror or str(error), "", False))
        raise FolderError(problem, path=path, cure=cure, is_transient=is_transient) from error


def make_directory(path: str) -> None:
    """Make a directory, and those above it, so that they outlive a power failure; fine if it is there."""
    for directory in make_unsynced(path):
        sync_directory(directory)


def make_unsynced(path: str) -> list[str]:
    """Make a directory, and those above it; fine if it is there.

    Returns:
        The directories to sync, for what was made to outlive a power failure.
    """
    if os.path.isdir(path):
        return []
    above = os.path.dirname(path)
    unsynced = [] if os.path.lexists(above) else make_unsynced(above)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        # Another process was faster, or it is no directory.
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    return [*unsynced, above]


def sync_directory(path: str) -> None:
    """Wait until the entries of a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
