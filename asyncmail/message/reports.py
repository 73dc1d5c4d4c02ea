"""Delivery status notifications: what became of a message, as servers on its way report it (RFC 3464)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32
from typing import TYPE_CHECKING

from ..wire import normalize_newlines
from .flatten import header_end, write
from .headers import unfold
from .parsing import as_email_message

if TYPE_CHECKING:
    from email.message import MIMEPart

    from .envelope import MessageLike

__all__ = ["Action", "DeliveryReport", "RecipientReport", "read_delivery_report"]

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")
_COMMENT = re.compile(r"\([^()]*\)")
_UTF8_CHARACTER = re.compile(r"\\x\{([0-9A-F]{2,5})\}")
_BLANK_LINES = re.compile(rb"\r\n(?:[ \t]*\r\n)+")
_STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status")
_RETURNED_PARTS = ("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers")


class Action(enum.StrEnum):
    """What a server did with a message for one recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"  # it is still being tried
    DELIVERED = "delivered"
    RELAYED = "relayed"  # to a system that reports no more
    EXPANDED = "expanded"  # to the members of a list


_ACTIONS = frozenset(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """What became of a message for one recipient.

    Args:
        final_recipient: the address that the reporting server had for it.
        original_recipient: the address that the sender had given, empty if the report does not say.
        action: None if the report has none of the known ones.
        status: an enhanced status code such as `5.1.1`, empty if there is none.
        diagnostic: what the last server said, such as `550 5.1.1 no such user`.
        remote_mta: the host of that server.

    RFC 3464 §2.3.
    """

    final_recipient: str
    original_recipient: str = ""
    action: Action | None = None
    status: str = ""
    diagnostic: str = ""
    remote_mta: str = ""

    @property
    def is_permanent(self) -> bool:
        """Whether the message will not reach the recipient, and the address does not work: failed, status 5."""
        return self.action is Action.FAILED and not self.status.startswith("4")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """A delivery status notification.

    Args:
        recipients: one report for each.
        reporting_mta: the host that reports.
        envelope_id: the ENVID that the sender had given (RFC 3461 §4.4).
        message_id: the Message-ID of the message that this is about, if its header came along.

    RFC 3464 §2.
    """

    recipients: tuple[RecipientReport, ...]
    reporting_mta: str = ""
    envelope_id: str = ""
    message_id: str = ""


def read_delivery_report(message: MessageLike | bytes) -> DeliveryReport | None:
    """Read a delivery status notification; None if the message is not one.

    RFC 3464 §2, RFC 6533 §3.
    """
    status: Message | None = None
    recipients: list[Message] = []
    message_id = ""
    for part in as_email_message(message).iter_parts():
        content_type = part.get_content_type()
        if content_type in _STATUS_PARTS and status is None:
            status, *recipients = map(_header, _BLANK_LINES.split(_content(part).strip()))
        elif content_type in _RETURNED_PARTS and not message_id:
            found = _MESSAGE_ID.search(_plain(_header(_content(part)), "Message-ID"))
            message_id = found[0] if found else ""
    if status is None:
        return None
    return DeliveryReport(
        recipients=tuple([_recipient(block) for block in recipients if "Final-Recipient" in block]),
        reporting_mta=_typed(status, "Reporting-MTA"),
        envelope_id=_plain(status, "Original-Envelope-Id"),
        message_id=message_id,
    )


def _recipient(block: Message) -> RecipientReport:
    status = _STATUS.search(_plain(block, "Status"))
    action = _plain(block, "Action").lower()
    return RecipientReport(
        final_recipient=_address(block, "Final-Recipient"),
        original_recipient=_address(block, "Original-Recipient"),
        action=Action(action) if action in _ACTIONS else None,
        status=status[0] if status else "",
        diagnostic=_typed(block, "Diagnostic-Code"),
        remote_mta=_typed(block, "Remote-MTA"),
    )


def _content(part: MIMEPart) -> bytes:
    """The content of a part, decoded, also where the standard library has parsed it as a message."""
    octets = write(part)
    octets = octets[header_end(octets) + 2 :]
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    leaf = Message(compat32)
    leaf["Content-Transfer-Encoding"] = encoding
    leaf.set_payload(octets.decode("ascii", "surrogateescape"))
    decoded = leaf.get_payload(decode=True)
    return normalize_newlines(decoded) if isinstance(decoded, bytes) else octets


def _header(octets: bytes) -> Message:
    return HeaderParser(policy=compat32).parsestr(octets[: header_end(octets)].decode("utf-8", "replace"))


def _plain(block: Message, name: str) -> str:
    return " ".join(_COMMENT.sub(" ", unfold(str(block.get(name, "")))).split())


def _typed(block: Message, name: str) -> str:
    """The value of a field that says first what it is, as in `dns; mx.example.com`."""
    kind, semicolon, value = unfold(str(block.get(name, ""))).partition(";")
    return " ".join((value if semicolon else kind).split())


def _address(block: Message, name: str) -> str:
    # An address in a report may be in ASCII whatever it is (RFC 6533 §3).
    return _UTF8_CHARACTER.sub(lambda match: chr(int(match[1], 16)), _typed(block, name)).strip("<>")
