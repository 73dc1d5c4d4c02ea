"""Messages: their envelopes, their octets, composing them, filling templates, reading delivery reports.

On the standard library's `email`; pure: nothing here waits or opens a socket.
"""

from .attachments import Attachment, AttachmentLike
from .compose import compose
from .downgrade import to_7bit
from .envelope import Addresses, AddressLike, Envelope, MessageLike, Parcel, envelope_from_headers
from .flatten import Prepared, flatten, prepare
from .reply import reply

__all__ = [
    "AddressLike",
    "Addresses",
    "Attachment",
    "AttachmentLike",
    "Envelope",
    "MessageLike",
    "Parcel",
    "Prepared",
    "compose",
    "envelope_from_headers",
    "flatten",
    "prepare",
    "reply",
    "to_7bit",
]
