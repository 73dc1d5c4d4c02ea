"""Which messages a maildrop holds, each with an id that stays the same in later sessions."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ExtensionRequired, POP3ResponseError, Stage
from ..pop3 import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..client.pop3 import POP3Client

__all__ = ["ListedMessage", "MaildropListing", "list_messages"]


class ListedMessage(NamedTuple):
    """A message on the server.

    Args:
        number: its number in this session.
        octets: its size as the server tells it; None if it does not.
        identity: its unique-id, or what stands for that. What is no unique-id holds a space.
    """

    number: int
    octets: int | None
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaildropListing:
    """What is in a maildrop.

    Args:
        messages: by their numbers.
        is_complete: no line of the server's listings was unreadable.
    """

    messages: list[ListedMessage]
    is_complete: bool


async def list_messages(client: POP3Client, known: Iterable[str]) -> MaildropListing:
    """List a maildrop.

    A message without a unique-id is known by a hash of its header. Identical messages may have the same
    unique-id (RFC 1939 §7): these are counted. Different messages never should; where they do, the header
    tells them apart.

    Args:
        known: the identities of earlier sessions.

    Raises:
        ExtensionRequired: the server has neither unique-ids nor TOP.
        POP3ResponseError: it does not list the maildrop now.
    """
    refusal: POP3ResponseError | None = None
    try:
        scan, listing = await client.listings()
    except POP3ResponseError as error:
        refusal, scan, listing = error, await client.list(), Listing()
    if not scan and not scan.malformed:
        return MaildropListing(messages=[], is_complete=True)
    # To a server that has unique-ids and fails to tell them now, all messages would be new.
    if refusal and (
        refusal.is_transient or "UIDL" in client.capabilities or any(" " not in name for name in known)
    ):
        raise refusal
    is_complete = not scan.malformed and not listing.malformed
    octets, unique_ids = dict(scan), dict(listing)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number in sorted(octets.keys() | unique_ids.keys()):
        groups[unique_ids.get(number, "")].append(number)
    identities: dict[int, str] = {}
    for unique_id, numbers in groups.items():
        if unique_id and len(numbers) == 1:
            identities[numbers[0]] = unique_id
        else:
            identities |= await _identify(client, unique_id, numbers)
    return MaildropListing(
        messages=[
            ListedMessage(number=number, octets=octets.get(number), identity=identity)
            for number, identity in sorted(identities.items())
        ],
        is_complete=is_complete,
    )


async def _identify(client: POP3Client, unique_id: str, numbers: list[int]) -> dict[int, str]:
    """Tell messages apart that have one unique-id, or none."""
    by_header: defaultdict[str, list[int]] = defaultdict(list)
    for number in numbers:
        by_header[await _hash_header(client, number)].append(number)
    identities: dict[int, str] = {}
    for header, alike in by_header.items():
        name = unique_id if unique_id and len(by_header) == 1 else f"{unique_id} {header}"
        identities |= {
            number: f"{name} {count}" if count > 1 else name for count, number in enumerate(alike, 1)
        }
    return identities


async def _hash_header(client: POP3Client, number: int) -> str:
    try:
        header = await client.top(number, 0)
    except POP3ResponseError as error:
        if error.is_transient:
            raise
        raise ExtensionRequired(
            "UIDL",
            "the server tells no unique-id of a message, and no header without retrieving the message",
            stage=Stage.RETRIEVAL,
            cure="retrieve this maildrop with POP3Client",
        ) from error
    return hashlib.sha256(header).hexdigest()[:32]
