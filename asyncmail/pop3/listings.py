"""What STAT, LIST and UIDL answer (RFC 1939 §5 and §7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from ..errors import RemoteProtocolError, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "Listing",
    "MaildropStatus",
    "ScanListing",
    "UniqueIdListing",
    "encode_listing",
    "parse_maildrop_status",
    "parse_scan_listing",
    "parse_scan_listings",
    "parse_unique_id_listing",
    "parse_unique_id_listings",
]

# More may follow the fields of a scan listing (RFC 1939 §5). Unique-ids of more than 70 characters are seen.
_SCAN = rb"[ \t]*0*([1-9][0-9]{0,9})[ \t]+([0-9]{1,18})(?:[ \t][^\r\n]*)?"
_UNIQUE_ID = rb"[ \t]*0*([1-9][0-9]{0,9})[ \t]+([!-~]+)[ \t]*"
_SCAN_LINE = re.compile(_SCAN)
# Not re.MULTILINE, for which a bare LF would begin a line.
_AT_LINE_START = rb"(?:\A|(?<=\r\n))"
_SCAN_LINES = re.compile(_AT_LINE_START + _SCAN + rb"\r\n")
# What nearly all servers send, at half the time. Possessive, so that no line leaves a way back in memory.
_PLAIN_SCAN_LINES = re.compile(rb"(?:[1-9][0-9]{0,9} [0-9]{1,18}\r\n)*+")
_PLAIN_UNIQUE_ID_LINES = re.compile(rb"(?:[1-9][0-9]{0,9} [!-~]+\r\n)*+")
_UNIQUE_ID_LINE = re.compile(_UNIQUE_ID)
_UNIQUE_ID_LINES = re.compile(_AT_LINE_START + _UNIQUE_ID + rb"\r\n")


@dataclass(frozen=True, slots=True)
class MaildropStatus:
    """What STAT answers: the number of messages that are not marked as deleted, and their octets."""

    count: int
    octets: int


class ScanListing(NamedTuple):
    """Message number and size in octets, as the server counts them."""

    number: int
    octets: int


class UniqueIdListing(NamedTuple):
    """Message number and the id that stays with the message across sessions."""

    number: int
    unique_id: str


# What a named tuple's own constructor does, which is written in Python: a maildrop may have many thousands of them.
_scan_listing = cast("Callable[[tuple[int, int]], ScanListing]", partial(tuple.__new__, ScanListing))
_unique_id_listing = cast(
    "Callable[[tuple[int, str]], UniqueIdListing]", partial(tuple.__new__, UniqueIdListing)
)

L = TypeVar("L")


class Listing(list[L]):
    """The lines of a LIST or UIDL answer.

    Args:
        items: the lines that could be read.
        malformed: the others, printable; the messages they stand for exist all the same.
    """

    __slots__ = ("malformed",)

    def __init__(self, items: Iterable[L] = (), malformed: tuple[str, ...] = ()) -> None:
        super().__init__(items)
        self.malformed: tuple[str, ...] = malformed


def parse_maildrop_status(text: str) -> MaildropStatus:
    """Parse the text of a positive answer to STAT.

    Raises:
        RemoteProtocolError: it is not a count and a size.

    RFC 1939 §5
    """
    # A drop listing has the form of a scan listing, but for its count, which may be 0.
    match = re.match(r"[ \t]*([0-9]{1,10})[ \t]+([0-9]{1,18})(?:[ \t]|$)", text, re.ASCII)
    if match is None:
        raise RemoteProtocolError(f"not an answer to STAT: {quoted(text)}")
    return MaildropStatus(int(match[1]), int(match[2]))


def parse_scan_listing(text: str) -> ScanListing:
    """Parse the text of a positive answer to LIST with an argument.

    Raises:
        RemoteProtocolError: it is not a number and a size.
    """
    match = _SCAN_LINE.fullmatch(text.encode())
    if match is None:
        raise RemoteProtocolError(f"not an answer to LIST: {quoted(text)}")
    return ScanListing(int(match[1]), int(match[2]))


def parse_unique_id_listing(text: str) -> UniqueIdListing:
    """Parse the text of a positive answer to UIDL with an argument.

    Raises:
        RemoteProtocolError: it is not a number and a unique-id.
    """
    match = _UNIQUE_ID_LINE.fullmatch(text.encode())
    if match is None:
        raise RemoteProtocolError(f"not an answer to UIDL: {quoted(text)}")
    return UniqueIdListing(int(match[1]), match[2].decode())


def parse_scan_listings(lines: bytes) -> Listing[ScanListing]:
    """Parse the lines of an answer to LIST, each with its CRLF and without the end of the answer."""
    if _PLAIN_SCAN_LINES.fullmatch(lines):
        fields = map(int, lines.split())
        return Listing(map(_scan_listing, zip(fields, fields, strict=True)))
    found = [ScanListing(int(number), int(octets)) for number, octets in _SCAN_LINES.findall(lines)]
    return Listing(found, _malformed(lines, len(found), _SCAN_LINES))


def parse_unique_id_listings(lines: bytes) -> Listing[UniqueIdListing]:
    """Parse the lines of an answer to UIDL, each with its CRLF and without the end of the answer."""
    if _PLAIN_UNIQUE_ID_LINES.fullmatch(lines):
        fields = lines.decode().split()
        return Listing(map(_unique_id_listing, zip(map(int, fields[::2]), fields[1::2], strict=True)))
    found = [
        UniqueIdListing(int(number), unique_id.decode())
        for number, unique_id in _UNIQUE_ID_LINES.findall(lines)
    ]
    return Listing(found, _malformed(lines, len(found), _UNIQUE_ID_LINES))


def _malformed(lines: bytes, found: int, well_formed: re.Pattern[bytes]) -> tuple[str, ...]:
    if lines.count(b"\r\n") == found:
        return ()
    return tuple(
        printable(line) for line in lines.split(b"\r\n")[:-1] if not well_formed.fullmatch(line + b"\r\n")
    )


def encode_listing(listing: Iterable[ScanListing] | Iterable[UniqueIdListing]) -> bytes:
    """Return the lines of an answer to LIST or UIDL, without its end."""
    return b"".join([b"%d %b\r\n" % (number, str(field).encode()) for number, field in listing])
