"""Who a message is from and for: the envelope of RFC 5321, given or read off the header of RFC 5322."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from email.headerregistry import AddressHeader
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

from ..address import Address, check_forward_path, check_reverse_path, is_plain_path
from ..errors import InputError, MessageError
from .headers import unfold

if TYPE_CHECKING:
    from email.message import Message

__all__ = [
    "AddressLike",
    "Addresses",
    "Envelope",
    "Mailbox",
    "MessageLike",
    "Parcel",
    "addr_spec",
    "addr_specs",
    "envelope_from_headers",
    "mailboxes",
    "make_envelope",
    "parse_mailboxes",
    "read_mailboxes",
]


@runtime_checkable
class HasAddrSpec(Protocol):
    """An address object: `asyncmail.Address`, or the one of `email.headerregistry`."""

    @property
    def addr_spec(self) -> str: ...
    @property
    def display_name(self) -> str: ...


AddressLike: TypeAlias = str | HasAddrSpec
"""`a@example.com`, `A Name <a@example.com>`, or an address object."""

Addresses: TypeAlias = AddressLike | Iterable[AddressLike]
"""One address or several; a single `str` may hold several, separated by commas."""

_SEVERAL = (list, tuple)
_STRUCTURE = re.compile(r"[<>,;\"()\\]")

# EmailMessage is a Message. Message is generic only in the stubs.
MessageLike: TypeAlias = "Message[str, str]"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and where it goes, as one item of a stream of messages.

    Args:
        content: a message, or its octets, which go as they are but for their line endings.
        sender: the reverse-path, `""` for the null one; None reads it off the header.
        recipients: the forward-paths; None reads them off the header.
        tag: whatever the caller knows this message by; it comes back with the outcome.

    RFC 5321 §2.3.1.
    """

    content: bytes | MessageLike
    sender: AddressLike | None = None
    recipients: Addresses | None = None
    _: KW_ONLY
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The reverse-path and the forward-paths of one message, checked.

    Domains are in ASCII unless the local part is not; nobody is in it twice.

    Args:
        sender: an address alone, `""` for the null reverse-path.
        recipients: at least one address alone.

    Raises:
        AddressSyntaxError: one of them is not an address.
        MessageError: there are no recipients.

    RFC 5321 §2.3.1.
    """

    sender: str
    recipients: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.recipients:
            raise MessageError(
                "the message has no recipients", cure="fill in To, Cc or Bcc, or pass recipients="
            )
        paths = [check_forward_path(recipient, smtputf8=True) for recipient in self.recipients]
        if len(paths) > 1:
            unique: dict[str, str] = {}
            for path in paths:
                # Only the local part may tell capitals from small letters, RFC 5321 §2.4.
                local_part, at, domain = path.rpartition("@")
                unique.setdefault(f"{local_part}{at}{domain.lower()}", path)
            paths = list(unique.values())
        object.__setattr__(self, "sender", check_reverse_path(self.sender, smtputf8=True))
        object.__setattr__(self, "recipients", tuple(paths))

    @classmethod
    def _checked(cls, sender: str, recipients: tuple[str, ...]) -> Self:
        envelope = object.__new__(cls)
        object.__setattr__(envelope, "sender", sender)
        object.__setattr__(envelope, "recipients", recipients)
        return envelope

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address is not ASCII."""
        return not (self.sender + "".join(self.recipients)).isascii()


class Mailbox(NamedTuple):
    """A display name, perhaps empty, and an addr-spec."""

    display_name: str
    addr_spec: str


def addr_spec(address: AddressLike) -> str:
    """Return the address alone, without display name and angle brackets; it is not checked further.

    Raises:
        AddressSyntaxError: the text is not exactly one address.
    """
    if isinstance(address, str) and not _STRUCTURE.search(address):
        return address.strip(" \t")  # nothing to parse, and so it is for most messages of a bulk
    return _mailbox(address).addr_spec


def addr_specs(addresses: Addresses) -> tuple[str, ...]:
    """Return each address alone, see `addr_spec`; a single `str` may hold several."""
    if isinstance(addresses, _SEVERAL):  # before it is compared with HasAddrSpec, which takes long
        return tuple(map(addr_spec, addresses))
    return tuple([mailbox.addr_spec for mailbox in mailboxes(addresses)])


def mailboxes(addresses: Addresses) -> list[Mailbox]:
    """Return each address with its display name; a single `str` may hold several.

    Raises:
        AddressSyntaxError: an item is not exactly one address.
    """
    if isinstance(addresses, str) and not (addresses and _STRUCTURE.search(addresses) is None):
        return parse_mailboxes(addresses)
    if isinstance(addresses, str | HasAddrSpec):
        return [_mailbox(addresses)]
    if not isinstance(addresses, Iterable):
        raise InputError(
            f"a {type(addresses).__name__} is no address, nor a list of them",
            cure="pass text, an address object, or a list",
        )
    return [_mailbox(address) for address in addresses]


def parse_mailboxes(field: str) -> list[Mailbox]:
    """Return the addresses in the value of an address header field, those in groups too.

    Raises:
        AddressSyntaxError: something in it is not an address.
    """
    return [Mailbox(address.display_name, address.addr_spec) for address in Address.parse_list(field)]


def read_mailboxes(value: object) -> list[Mailbox]:
    """Return the addresses in a header field as a message object stores it, see `Message.raw_items`."""
    if isinstance(value, AddressHeader):
        return [Mailbox(address.display_name, address.addr_spec) for address in value.addresses]
    return parse_mailboxes(unfold(str(value)))


def _mailbox(address: AddressLike) -> Mailbox:
    if not isinstance(address, str):
        if not isinstance(address, HasAddrSpec):
            raise InputError(
                f"a {type(address).__name__} is no address", cure="pass text, or an address object"
            )
        return Mailbox(address.display_name, address.addr_spec)
    if not _STRUCTURE.search(address):
        return Mailbox("", address.strip(" \t"))
    parsed = Address.parse(address)
    return Mailbox(parsed.display_name, parsed.addr_spec)


def envelope_from_headers(
    message: MessageLike, *, sender: AddressLike | None = None, recipients: Addresses | None = None
) -> Envelope:
    """Read the envelope off a message's header.

    The sender is that of Sender, or else the first of From; the recipients are those of To, Cc and Bcc. In a
    message that has been resent, the most recent block of Resent- fields stands for all of them.

    Args:
        message: it is not changed.
        sender: takes the place of what the header says.
        recipients: take the place of what the header says.

    Raises:
        MessageError: there is no sender, or there are no recipients.
        AddressSyntaxError: one of them is not an address.

    RFC 5322 §3.6.2, §3.6.3 and §3.6.6.
    """
    fields = _originator_and_destination(message)
    if sender is None:
        named = fields("sender") or fields("from")
        if not named:
            raise MessageError("the message has no sender", cure="fill in From, or pass sender=")
        sender = named[0]
    if recipients is None:
        recipients = [*fields("to"), *fields("cc"), *fields("bcc")]
    return make_envelope(sender, recipients)


def make_envelope(sender: AddressLike, recipients: Addresses) -> Envelope:
    """Return the envelope for addresses in any of the forms that callers may use."""
    # What most are has been checked with one look.
    if type(sender) is str and isinstance(recipients, _SEVERAL) and len(recipients) == 1:
        (recipient,) = recipients
        if type(recipient) is str and is_plain_path(recipient):
            return Envelope._checked(_reverse_path(sender), (recipient,))
    return Envelope(sender=addr_spec(sender), recipients=addr_specs(recipients))


@lru_cache(maxsize=1024)  # the senders of many messages are few
def _reverse_path(sender: str) -> str:
    return check_reverse_path(addr_spec(sender), smtputf8=True)


_TRACE_FIELDS = frozenset({"received", "return-path"})


def _originator_and_destination(message: MessageLike) -> Callable[[str], list[Mailbox]]:
    """A function from the name of one of the five fields, in small letters and without Resent-, to its addresses."""
    original: list[tuple[str, object]] = []
    resent: list[tuple[str, object]] = []
    seen: set[str] = set()
    block_is_open = True
    for field, value in message.raw_items():
        name = field.lower()
        if name.startswith("resent-"):
            # Blocks are prepended and hold each name once: a name that comes again begins an older block.
            block_is_open = block_is_open and name not in seen
            seen.add(name)
            if block_is_open:
                resent.append((name[7:], value))
        elif name in _TRACE_FIELDS:
            block_is_open = block_is_open and not seen
        else:
            original.append((name, value))
    chosen = resent if seen else original

    def addresses_of(name: str) -> list[Mailbox]:
        return [mailbox for field, value in chosen if field == name for mailbox in read_mailboxes(value)]

    return addresses_of
