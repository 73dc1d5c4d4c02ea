"""Messages of any kind as an `EmailMessage`, for reading."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import TYPE_CHECKING

from .flatten import flatten

if TYPE_CHECKING:
    from .envelope import MessageLike

__all__ = ["as_email_message"]


def as_email_message(message: MessageLike | bytes) -> EmailMessage:
    """Return a message as an `EmailMessage`: itself if it is one, and parsed otherwise."""
    if isinstance(message, EmailMessage):
        return message
    octets = message if isinstance(message, bytes) else flatten(message)
    return message_from_bytes(octets, policy=default)
