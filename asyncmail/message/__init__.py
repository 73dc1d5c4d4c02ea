"""Messages: their envelopes, their octets, composing them, filling templates, reading delivery reports.

On the standard library's `email`; pure: nothing here waits or opens a socket.
"""

from .downgrade import to_7bit
from .envelope import Addresses, AddressLike, Envelope, MessageLike, Parcel, envelope_from_headers
from .flatten import Prepared, flatten, prepare

__all__ = [
    "AddressLike",
    "Addresses",
    "Envelope",
    "MessageLike",
    "Parcel",
    "Prepared",
    "envelope_from_headers",
    "flatten",
    "prepare",
    "to_7bit",
]
