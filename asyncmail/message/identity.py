"""Date and Message-ID: what tells one message from another (RFC 5322 §3.6.1 and §3.6.4)."""

from __future__ import annotations

import datetime
import email.utils
import functools
import os
import re

from ..address import check_forward_path
from ..errors import AddressSyntaxError, MessageError, quoted

__all__ = ["ascii_domain", "check_message_id", "date_field", "make_message_id", "now_field"]

_MESSAGE_ID = re.compile(r"<[!-;=?A-~]+@[!-;=?A-~]+>")


def date_field(date: datetime.datetime) -> str:
    """Return a date and time as the value of a Date field; one without a zone counts as UTC.

    RFC 5322 §3.3.
    """
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    # As a numeric offset: the standard library writes GMT or -0000 for some zones, both of which say less.
    return email.utils.format_datetime(
        date.astimezone(datetime.timezone(date.utcoffset() or datetime.timedelta()))
    )


def now_field() -> str:
    """Return the present time as the value of a Date field, in UTC."""
    return _formatted(int(datetime.datetime.now(datetime.UTC).timestamp()))


@functools.lru_cache(maxsize=1)
def _formatted(seconds: int) -> str:
    return date_field(datetime.datetime.fromtimestamp(seconds, datetime.UTC))


@functools.lru_cache(maxsize=64)  # the senders of many messages are few
def ascii_domain(addr_spec: str) -> str:
    """The domain of an address, for a Message-ID; `localhost` if there is none."""
    try:
        return check_forward_path(f"x@{addr_spec.rpartition('@')[2]}")[2:]
    except AddressSyntaxError:
        return "localhost"


def make_message_id(domain: str) -> str:
    """Return a Message-ID, with its angle brackets, that no other message has.

    Args:
        domain: the part after the @, usually the sender's domain; not looked up.

    RFC 5322 §3.6.4.
    """
    return f"<{os.urandom(16).hex()}@{domain}>"


def check_message_id(message_id: str) -> str:
    """Return what is a Message-ID, with its angle brackets.

    Raises:
        MessageError: it is none.

    RFC 5322 §3.6.4.
    """
    if not _MESSAGE_ID.fullmatch(str(message_id)):  # which may be no text at all
        raise MessageError(
            f"{quoted(message_id)} is not a Message-ID", cure="write it as <unique@example.com>"
        )
    return message_id
