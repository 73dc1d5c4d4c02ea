"""Messages: their envelopes, their octets, composing them, filling templates, reading delivery reports.

On the standard library's `email`; pure: nothing here waits or opens a socket.
"""

from .attachments import Attachment, AttachmentLike
from .compose import compose
from .downgrade import to_7bit
from .envelope import Addresses, AddressLike, Envelope, MessageLike, Parcel, envelope_from_headers
from .flatten import Prepared, flatten, prepare
from .reply import reply
from .reports import Action, DeliveryReport, RecipientReport, read_delivery_report
from .template import Template
from .verp import verp, verp_recipient

__all__ = [
    "Action",
    "AddressLike",
    "Addresses",
    "Attachment",
    "AttachmentLike",
    "DeliveryReport",
    "Envelope",
    "MessageLike",
    "Parcel",
    "Prepared",
    "RecipientReport",
    "Template",
    "compose",
    "envelope_from_headers",
    "flatten",
    "prepare",
    "read_delivery_report",
    "reply",
    "to_7bit",
    "verp",
    "verp_recipient",
]
