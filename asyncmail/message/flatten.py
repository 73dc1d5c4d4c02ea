"""From a message to the octets that go over the wire."""

from __future__ import annotations

import copy
import email.errors
import io
import re
from email.generator import BytesGenerator
from email.header import Header
from email.headerregistry import AddressHeader, Group, ParameterizedMIMEHeader, UnstructuredHeader
from email.message import Message
from email.parser import HeaderParser
from email.policy import SMTP, EmailPolicy, compat32
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from ..address import check_forward_path
from ..errors import MailError, MessageError, printable
from ..wire import normalize_newlines
from .envelope import (
    Addresses,
    AddressLike,
    Envelope,
    MessageLike,
    Parcel,
    envelope_from_headers,
    make_envelope,
)
from .headers import encode_mailbox, encode_phrase, encode_text, fold
from .identity import ascii_domain, make_message_id, now_field

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.headerregistry import BaseHeader

__all__ = ["Prepared", "flatten", "header_end", "prepare", "write"]

_OCTETS = (bytes, bytearray, memoryview)
_BLIND = ("Bcc", "Resent-Bcc")
_CRLF = "\r\n"
_LINE = 78  # characters, RFC 5322 §2.1.1
_MAX_LINE = 998
_SEVEN_BIT = re.compile(r"[\x00-\x7f\udc80-\udcff]*")  # the surrogates stand for octets that were parsed
_PRINTABLE = re.compile(r"(?!.*=\?)[ -~]*")
_FIELD = re.compile(r"[!-9;-~]+:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^<>\s]+>)", re.IGNORECASE | re.MULTILINE)


class Prepared(NamedTuple):
    """A message as it can be sent.

    Args:
        envelope: from whom and to whom.
        octets: the content, its lines ended by CRLF, not dot-stuffed.
        needs_8bit: whether the content is not ASCII, so 8BITMIME or `to_7bit` is needed (RFC 6152).
        needs_smtputf8: whether an address of the envelope or the header is not ASCII (RFC 6531).
        tag: that of the parcel.
    """

    envelope: Envelope
    octets: bytes
    needs_8bit: bool
    needs_smtputf8: bool
    tag: str = ""

    @property
    def message_id(self) -> str:
        """The Message-ID with its angle brackets, empty if there is none."""
        found = _MESSAGE_ID.search(self.octets, 0, header_end(self.octets))
        return found[1].decode("ascii", "replace") if found else ""


# Two thirds of the time of calling the class.
_prepared: Callable[[tuple[Envelope, bytes, bool, bool, str]], Prepared] = partial(tuple.__new__, Prepared)


def prepare(
    message: Parcel | MessageLike | bytes,
    sender: AddressLike | None = None,
    recipients: Addresses | None = None,
    *,
    tag: str = "",
) -> Prepared:
    """Make a message ready to send: envelope, octets, and what they need of the server.

    Args:
        message: a message, its octets, or a parcel of either.
        sender: the reverse-path, `""` for the null one; None reads it off the parcel or the header.
        recipients: the forward-paths; None reads them off the parcel or the header.
        tag: whatever the caller knows the message by; that of a parcel comes first.

    Raises:
        MessageError: no sender, no recipients, or a message that has no octets.
        AddressSyntaxError: an address is none.
    """
    if isinstance(message, Parcel):
        sender = message.sender if sender is None else sender
        recipients = message.recipients if recipients is None else recipients
        tag = message.tag or tag
        message = message.content
    octets = flatten(message)
    if sender is not None and recipients is not None:
        envelope = make_envelope(sender, recipients)
    else:
        header = message if isinstance(message, Message) else _parse_header(octets)
        envelope = envelope_from_headers(header, sender=sender, recipients=recipients)
    needs_8bit = not octets.isascii()
    needs_smtputf8 = envelope.needs_smtputf8 or (needs_8bit and _has_utf8_header(octets))
    return _prepared((envelope, octets, needs_8bit, needs_smtputf8, tag))


def flatten(message: MessageLike | bytes) -> bytes:
    """Return the octets of a message as they go over the wire.

    Octets stay as they are, so that signatures stay valid, but for their line endings; no field is removed
    from them or added to them, so a Bcc field in them is delivered.

    A message object is not changed either. What is written of it lacks Bcc and Resent-Bcc, has a Date and a
    Message-ID even where the object does not, and each field that was parsed is written as it was read. UTF-8
    is written into the header only if a local part is not ASCII, which takes SMTPUTF8.

    Raises:
        MessageError: the message has no octets, such as text in a charset that cannot encode it, or a header
            field with a line break in it.

    RFC 5321 §2.3.7, RFC 5322 §3.6.3, RFC 6409 §8.
    """
    if isinstance(message, _OCTETS):
        octets = normalize_newlines(bytes(message))
        return octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    if not isinstance(message, Message):
        raise MessageError(
            f"a message cannot be made of {type(message).__name__}",
            cure="pass an email.message.EmailMessage, or octets, such as the content of a parcel",
        )
    written = _copy(message)
    for name in _BLIND:
        del written[name]
    output = io.BytesIO()
    if "Date" not in message:
        output.write(b"Date: %b\r\n" % now_field().encode("ascii"))
    if "Message-ID" not in message:
        output.write(b"Message-ID: %b\r\n" % make_message_id(_domain(message)).encode("ascii"))
    output.write(write(written, utf8=_has_utf8_local_part(message)))
    octets = output.getvalue()
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def write(message: MessageLike, *, utf8: bool = False) -> bytes:
    """Write a message as it is, but for its line endings; it may get boundaries that it lacked.

    Args:
        utf8: whether header fields are written in UTF-8.

    Raises:
        MessageError: the message has no octets.
    """
    output = io.BytesIO()
    try:
        BytesGenerator(output, mangle_from_=False, policy=_UTF8_WIRE if utf8 else _WIRE).flatten(message)
    except MailError:
        raise
    except (email.errors.MessageError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise MessageError(
            f"the message cannot be written: {printable(error)}",
            cure="give each part text in its charset, or bytes with a transfer encoding",
        ) from error
    return output.getvalue()


class _WirePolicy(EmailPolicy):
    """Writes header fields by the rules of this package; fields that were parsed stay as they were."""

    def fold_binary(self, name: str, value: object) -> bytes:
        if isinstance(value, Header):
            field = f"{name}: {value.encode(linesep=_CRLF)}\r\n"
        elif hasattr(value, "name"):
            field = self._encode(name, value)
        else:
            field = self._keep(name, str(value))
        if not _FIELD.fullmatch(field):
            raise MessageError(
                f"the header field {printable(name)} holds a line break, or has no proper name",
                cure="remove line breaks from its value",
            )
        return field.encode("utf-8" if self.utf8 else "ascii", "surrogateescape")

    def _keep(self, name: str, value: str) -> str:
        """A field that was parsed, or set on a message of the old kind."""
        lines = _NEWLINE.split(value)
        if _SEVEN_BIT.fullmatch(value) and (
            max(map(len, lines)) < _MAX_LINE - len(name) or not value.isascii()
        ):
            return f"{name}: {_CRLF.join(lines)}\r\n"
        return self._encode(name, self.header_factory(name, value))

    def _encode(self, name: str, value: object) -> str:
        text = str(value)
        if isinstance(value, UnstructuredHeader):
            return encode_text(name, text, utf8=self.utf8)
        if _PRINTABLE.fullmatch(text):
            if isinstance(value, ParameterizedMIMEHeader) and len(name) + len(text) > _LINE:
                # Not inside of a file name, which is legal and too much for many readers.
                text = text.replace("; ", ";\r\n ")
                return f"{name}: {text}\r\n"
            return fold(f"{name}: {text}")
        if isinstance(value, AddressHeader):
            return fold(f"{name}: {', '.join([self._encode_group(group) for group in value.groups])}")
        return cast("BaseHeader", value).fold(policy=SMTP)

    def _encode_group(self, group: Group) -> str:
        mailboxes = ", ".join(
            [
                encode_mailbox(each.display_name, self._encode_spec(each.addr_spec), utf8=self.utf8)
                for each in group.addresses
            ]
        )
        if group.display_name is None:
            return mailboxes
        return f"{encode_phrase(group.display_name, utf8=self.utf8)}: {mailboxes};"

    def _encode_spec(self, spec: str) -> str:
        return spec if self.utf8 or spec.isascii() else check_forward_path(spec)


_WIRE = _WirePolicy(linesep=_CRLF, cte_type="8bit")
_UTF8_WIRE = _WIRE.clone(utf8=True)


def _copy(message: MessageLike) -> MessageLike:
    """A copy down to the leaves, which are shared: writing a message sets boundaries that it lacks."""
    copied = copy.copy(message)
    if message.is_multipart():
        copied.set_payload([_copy(part) for part in message.get_payload() if isinstance(part, Message)])
    return copied


def _has_utf8_local_part(message: MessageLike) -> bool:
    return any(
        not address.username.isascii()
        for part in message.walk()
        for _, value in part.raw_items()
        if isinstance(value, AddressHeader)
        for address in value.addresses
    )


def _domain(message: MessageLike) -> str:
    """The domain for a Message-ID."""
    return ascii_domain(str(message.get("From", "")).strip(" >"))


def header_end(octets: bytes) -> int:
    """Index after the last line of the header: that of the empty line, if there is one."""
    if octets.startswith(b"\r\n"):
        return 0
    end = octets.find(b"\r\n\r\n")
    return end + 2 if end >= 0 else len(octets)


def _parse_header(octets: bytes) -> MessageLike:
    return HeaderParser(policy=compat32).parsestr(
        octets[: header_end(octets)].decode("utf-8", "surrogateescape")
    )


def _has_utf8_header(octets: bytes) -> bool:
    header = octets[: header_end(octets)]
    if header.isascii():
        return False
    try:
        header.decode()
    except UnicodeDecodeError:
        return False  # some other charset: never was legal, and SMTPUTF8 does not make it so
    return True
