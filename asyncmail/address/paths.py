"""Reverse-path and forward-path: what stands between < and > in MAIL and RCPT (RFC 5321 §4.1.1.2, §4.1.1.3).

A client checks one per recipient, a server parses one per recipient: one expression covers the common case.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from ..errors import AddressSyntaxError
from .grammar import MAILBOX_PATTERN, MAX_MAILBOX, scan_mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "check_forward_path",
    "check_reverse_path",
    "is_plain_path",
    "parse_forward_path",
    "parse_reverse_path",
]

is_plain_path: Callable[[str], re.Match[str] | None] = re.compile(
    rf"(?!.{{{MAX_MAILBOX + 1}}}){MAILBOX_PATTERN}"
).fullmatch
"""Whether a text is a path as it stands: true of most addresses, and what is false has to be looked at closely."""
_match_path = re.compile(rf"<({MAILBOX_PATTERN})>").match

# A-d-l: accepted and ignored, never generated (RFC 5321 appendix C).
_SOURCE_ROUTE = re.compile(r"@[A-Za-z0-9_.-]++(?:,@[A-Za-z0-9_.-]++)*+:")
_FORM = "write <local-part@domain>"
_POSTMASTER = "postmaster"


@functools.lru_cache(maxsize=1024)  # the senders of many messages are few
def check_reverse_path(text: str, *, smtputf8: bool = False) -> str:
    """Return what to put between < and > of MAIL FROM.

    Args:
        text: an address without display name and angle brackets; empty for the null reverse-path.
        smtputf8: whether the server takes a local part that is not ASCII. With an ASCII local part, a domain
            that is not ASCII is always converted to A-labels.

    Raises:
        AddressSyntaxError: it is not a mailbox, is too long, or needs SMTPUTF8.

    RFC 5321 §4.1.1.2, RFC 6531 §3.3.
    """
    return text if is_plain_path(text) or text == "" else _check_mailbox(text, smtputf8)


def check_forward_path(text: str, *, smtputf8: bool = False) -> str:
    """Return what to put between < and > of RCPT TO.

    Args:
        text: an address without display name and angle brackets, or `Postmaster` alone.
        smtputf8: as for `check_reverse_path`.

    Raises:
        AddressSyntaxError: it is not a mailbox, is too long, or needs SMTPUTF8.

    RFC 5321 §4.1.1.3, RFC 6531 §3.3.
    """
    return text if is_plain_path(text) or text.lower() == _POSTMASTER else _check_mailbox(text, smtputf8)


def parse_reverse_path(text: str) -> tuple[str, str]:
    """Parse the argument of MAIL FROM.

    Args:
        text: the argument after `FROM:`, beginning with <.

    Returns:
        The mailbox as the client wrote it, without angle brackets and source route, empty for the null
        reverse-path; and the text after >, with its leading space. The mailbox may hold non-ASCII characters:
        whether SMTPUTF8 was asked for is known only from the parameters.

    Raises:
        AddressSyntaxError: no path there.

    RFC 5321 §4.1.1.2.
    """
    return ("", text[2:]) if text.startswith("<>") else _parse_path(text)


def parse_forward_path(text: str) -> tuple[str, str]:
    """Parse the argument of RCPT TO.

    Args:
        text: the argument after `TO:`, beginning with <.

    Returns:
        The mailbox, or `Postmaster` in the client's case; and the text after >; see `parse_reverse_path`.

    Raises:
        AddressSyntaxError: no path there.

    RFC 5321 §4.1.1.3.
    """
    end = len(_POSTMASTER) + 2
    if text[:end].lower() == f"<{_POSTMASTER}>":
        return text[1 : end - 1], text[end:]
    return _parse_path(text)


def _check_mailbox(text: str, smtputf8: bool) -> str:
    mailbox = scan_mailbox(text)
    if mailbox.end != len(text):
        raise AddressSyntaxError(
            text,
            "more text after the address",
            position=mailbox.end,
            cure="pass the address alone, such as the addr_spec of an Address",
        )
    local_part = text[: mailbox.at]
    if local_part.isascii():
        return f"{local_part}@{mailbox.ascii_domain}"
    if not smtputf8:
        raise AddressSyntaxError(
            text,
            "the local part is not ASCII",
            cure="use a server that offers SMTPUTF8, or an ASCII address of the same person",
        )
    return text


def _parse_path(text: str) -> tuple[str, str]:
    plain = _match_path(text)
    if plain and plain.end() <= MAX_MAILBOX + 2:
        return plain[1], text[plain.end() :]
    if not text.startswith("<"):
        raise AddressSyntaxError(text, "no < before the address", position=0, cure=_FORM)
    route = _SOURCE_ROUTE.match(text, 1)
    start = route.end() if route else 1
    end = scan_mailbox(text, start).end
    if not text.startswith(">", end):
        raise AddressSyntaxError(text, "no > after the address", position=end, cure=_FORM)
    return text[start:end], text[end + 1 :]
