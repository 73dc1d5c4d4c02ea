"""Where a server put what it accepted, and where it finds what it offers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from itertools import count
from typing import TYPE_CHECKING

from .process import PeerFailed, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import EmailMessage
    from pathlib import Path

__all__ = ["Maildir"]

_serial = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maildir:
    """A Maildir that a server shares with the tests.

    Args:
        path: its directory.
        owner: user id and group id of the server; None where they are those of the tests.
    """

    path: Path
    owner: tuple[int, int] | None = None

    def create(self) -> Maildir:
        """Make the directories; return itself."""
        for directory in (self.path, *(self.path / name for name in ("tmp", "new", "cur"))):
            directory.mkdir(exist_ok=True)
            self._give(directory)
        return self

    def add(self, contents: Iterable[bytes]) -> list[bytes]:
        """Put messages in, in this order; return them as they come out: with CRLF line endings."""
        added = []
        for content in contents:
            content = content.replace(b"\r\n", b"\n")
            # Servers sort by name: the serial number stands where others put microseconds.
            name = f"{int(time.time())}.M{next(_serial):06}P{os.getpid()}.peer"
            scratch = self.path / "tmp" / name
            scratch.write_bytes(content)
            self._give(scratch)
            scratch.rename(self.path / "new" / name)
            added.append(content.replace(b"\n", b"\r\n"))
        return added

    def contents(self) -> list[bytes]:
        """Return what is in it, as it stands in the files: with LF line endings."""
        files = sorted((*self.path.glob("new/*"), *self.path.glob("cur/*")), key=lambda file: file.name)
        return [file.read_bytes() for file in files]

    def delivered(self, recipient: str, *, expected: int = 1, timeout: float = 30) -> list[EmailMessage]:
        """Wait for the messages that a server delivered to `recipient`.

        Args:
            recipient: the address, as in their Delivered-To header.
            expected: how many to wait for.
            timeout: seconds.

        Raises:
            PeerFailed: they did not come.
        """
        found: list[EmailMessage] = []

        def arrived() -> bool:
            # Parsing takes long, and most are for others.
            contents = [content for content in self.contents() if recipient.encode() in content]
            messages = [message_from_bytes(content, policy=policy.default) for content in contents]
            found[:] = [message for message in messages if message["Delivered-To"] == recipient]
            return len(found) >= expected

        if not wait_until(arrived, timeout):
            raise PeerFailed(f"{len(found)} of {expected} messages for {recipient} arrived")
        return found

    def _give(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, *self.owner)
