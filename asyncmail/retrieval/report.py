"""What a fetch tells: a report for each maildrop, and counters for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import MailError

__all__ = ["FetchReport", "Progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """What became of one maildrop.

    Args:
        index: its position in the URLs that the fetcher was given.
        url: its URL without the password; empty if that is no URL.
        maildrop: its name in the ledger, `user@host:port`; its place, such as `URL 3`, if that is no URL.
        user: the username.
        host: the host, without the port.
        listed: messages in the maildrop.
        already_seen: of these, messages that had been stored before.
        fetched: of these, messages stored now.
        skipped: of these, messages left where they are because they are larger than wanted.
        octets: of the messages stored now.
        deleted: messages removed from the server.
        duration: seconds, from the first octet to the last.
        error: why it did not get to its end; None if it did. What was stored before the error is counted.
    """

    index: int
    url: str = ""
    maildrop: str = ""
    user: str = ""
    host: str = ""
    listed: int = 0
    already_seen: int = 0
    fetched: int = 0
    skipped: int = 0
    octets: int = 0
    deleted: int = 0
    duration: float = 0.0
    error: MailError | None = None

    @property
    def ok(self) -> bool:
        """Whether all went well."""
        return self.error is None


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counters of a run, for a progress bar: they change while it goes on.

    Args:
        maildrops: how many there are.
        active: so many are being read now.
        finished: so many are reported, the failed ones included.
        failed: so many of these with an error.
        messages: stored in this run.
        octets: of these.
    """

    maildrops: int = 0
    active: int = 0
    finished: int = 0
    failed: int = 0
    messages: int = 0
    octets: int = 0
