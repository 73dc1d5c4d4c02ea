"""Messages of which many go out with small differences: compiled once, filled in for each recipient."""

from __future__ import annotations

import copy
import os
import re
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from email.headerregistry import BaseHeader
from email.message import EmailMessage, Message, MIMEPart
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..address import check_reverse_path
from ..errors import MessageError, TemplateError, printable, quoted
from .attachments import attach
from .compose import set_body, unsubscribe_fields
from .encodings import encode_base64, encode_text_body
from .envelope import HasAddrSpec, Parcel, addr_spec, mailboxes
from .field_templates import (
    ADDRESS_FIELDS,
    AddressField,
    TextField,
    UriField,
    culprit,
    encode_addresses,
    field_template,
)
from .flatten import write
from .headers import encode_mailbox, unfold
from .identity import ascii_domain, check_message_id, date_field, make_message_id, now_field
from .parsing import as_email_message
from .placeholders import BraceLanguage, JinjaLanguage, Language, Text

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping, Sequence

    from .attachments import AttachmentLike
    from .envelope import Addresses, AddressLike, MessageLike

__all__ = ["Template"]

# Fields of one message and not of the next, that tell of its way, or that the parts bring about.
_DROPPED = re.compile(
    r"date|message-id|received|return-path|delivered-to|received-spf|authentication-results|dkim-signature"
    r"|mime-version|(?:resent|arc|content)-.*",
    re.IGNORECASE,
)
_HEADER_DEFECTS = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_BRACED = re.compile(r"\{ *([^\W\d](?:[\w -]*\w)?) *\}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MAX_LINE = 998  # octets, RFC 5322 §2.1.1


class Template:
    """A message with placeholders, compiled once, rendered for each recipient.

    What does not change is encoded when the template is made: an attachment is read and encoded once, however many
    messages carry it. `{name}` stands for the field `name`, `{{name}}` for the text `{name}`, and other braces are
    text. A value means what its place makes of it: it is escaped in HTML, percent-encoded in the URIs of
    List-Unsubscribe, a display name or an address in From and To, and cannot end a header field.

    Args:
        source: a message: a file's path, its octets, text that holds a line break, or a message object. Placeholders
            in its header and its text are filled in; those in attachments are not. Without it, the message is made
            of what follows, as by `compose`.
        sender: for From.
        to: for To, such as `{First Name} {Last Name} <{email}>`.
        cc: for Cc.
        bcc: for Bcc: recipients that the message does not name.
        reply_to: for Reply-To.
        subject: for Subject.
        text: the body as plain text.
        html: the body as HTML.
        attachments: as for `compose`.
        inline: as for `compose`.
        unsubscribe: http:, https: and mailto: URIs that end a subscription, for List-Unsubscribe; programs may use
            one that begins with https: by a single POST request. A placeholder may stand for a URI.
        headers: further fields; they take the place of those of the source.
        engine: `braces`, or `jinja2` for Jinja2 templates (extra `templates`).
        allow_8bit: whether text beyond ASCII goes without transfer encoding, which takes 8BITMIME.

    Raises:
        TemplateError: the template is not one.
        MessageError: a file cannot be read, or the parts do not fit together.
        MissingExtra: Jinja2 is not installed.

    RFC 5322 §3.6, RFC 2047, RFC 2369 §3.2, RFC 8058.
    """

    fields: tuple[str, ...]
    """The names of the fields that it asks for."""

    optional_fields: tuple[str, ...]
    """Those of them that it uses, if at all, only where it has tested them, as `{% if name %}` of Jinja2 does."""

    __slots__ = ("_author", "_copies", "_segments", "_sender", "_to", "fields", "optional_fields")

    def __init__(
        self,
        source: bytes | str | os.PathLike[str] | MessageLike | None = None,
        *,
        sender: AddressLike | None = None,
        to: Addresses = (),
        cc: Addresses = (),
        bcc: Addresses = (),
        reply_to: Addresses = (),
        subject: str | None = None,
        text: str | None = None,
        html: str | None = None,
        attachments: Iterable[AttachmentLike] = (),
        inline: Mapping[str, AttachmentLike] | None = None,
        unsubscribe: str | Sequence[str] = (),
        headers: Mapping[str, str | Sequence[str]] | None = None,
        engine: Literal["braces", "jinja2"] = "braces",
        allow_8bit: bool = False,
    ) -> None:
        language = _language(engine)
        if source is None:
            message = EmailMessage()
            set_body(message, text, html, inline or {})
        else:
            if text is not None or html is not None or inline:
                raise TemplateError(
                    "the text is given twice, by the source and by itself",
                    cure="pass source= or text= and html=",
                )
            message = _load(source)
        for attachment in attachments:
            attach(message, attachment)

        given: dict[str, str | Sequence[str]] = {
            "From": _address_source(() if sender is None else sender),
            "To": _address_source(to),
            "Cc": _address_source(cc),
            "Bcc": _address_source(bcc),
            "Reply-To": _address_source(reply_to),
            "Subject": () if subject is None else subject,
            **_unsubscribe_sources(unsubscribe, language),
        }
        replaced = {name.lower() for name in headers or {}}
        given = {name: value for name, value in given.items() if name.lower() not in replaced} | dict(
            headers or {}
        )
        templates = [field_template(name, value, language) for name, value in _header_sources(message, given)]
        addresses = {each.name.lower(): each for each in templates if isinstance(each, AddressField)}
        if "from" not in addresses:
            raise TemplateError("the template has no From field", cure="pass sender=")
        self._author = addresses["from"]
        self._sender = addresses.get("sender", self._author)
        self._to = addresses.get("to")
        self._copies = [addresses[name] for name in ("cc", "bcc") if name in addresses]
        body = _compile_body(message, language, allow_8bit)
        self.fields = tuple(
            dict.fromkeys(
                [name for part in (*templates, *body) if not isinstance(part, bytes) for name in part.names]
            )
        )
        self.optional_fields = tuple([name for name in self.fields if name not in language.wanted])
        # Those whose addresses go into the envelope too are written apart.
        apart = {id(self._author), id(self._to), *map(id, self._copies)}
        self._segments = _settle([*(each for each in templates if id(each) not in apart), *body])

    def __repr__(self) -> str:
        return f"<Template fields={self.fields}>"

    def render(
        self,
        fields: Mapping[str, object],
        *,
        to: Addresses | None = None,
        sender: AddressLike | None = None,
        date: datetime.datetime | None = None,
        message_id: str | None = None,
        tag: str = "",
    ) -> Parcel:
        """Fill in the template.

        Args:
            fields: a value for each name in `Template.fields`; more are allowed. A value that is not a `str` is
                made one.
            to: for To, in place of what the template has there. As for `compose`, a `str` may hold several
                addresses: pass `[to]` if `to` comes from somebody else.
            sender: the reverse-path, such as one made by `verp`; by default the address in Sender or From.
            date: for Date; now if it is None.
            message_id: for Message-ID, with angle brackets, so that a message that is rendered again is known to be
                the same; a new one if it is None.
            tag: goes into the parcel.

        Returns:
            The octets of the message, ready to send, with sender and recipients.

        Raises:
            TemplateError: a field is missing, is None, or cannot stand where the template has it; `field` names it.
            AddressSyntaxError: an address is none.
            MessageError: there are no recipients, or a header field gets too long.
        """
        authors, author_field = self._author.render(fields)
        if not authors:
            raise TemplateError("From has no address", cure="fill in the field that it is made of")
        if to is not None:
            recipients, to_field = encode_addresses("To", mailboxes(to))
        elif self._to is not None:
            recipients, to_field = self._to.render(fields)
        else:
            recipients, to_field = [], b""
        chunks = [self._identify(date, message_id, authors[0].addr_spec), author_field, to_field]
        for field in self._copies:
            more, octets = field.render(fields)
            recipients = recipients + more
            if field.name.lower() != "bcc":
                chunks.append(octets)
        if not recipients:
            raise MessageError(
                "the message has no recipients", cure="pass to=, or fill in To in the template"
            )
        chunks += [segment if isinstance(segment, bytes) else segment(fields) for segment in self._segments]
        if not chunks[-1].endswith(b"\r\n"):
            chunks.append(b"\r\n")
        if sender is None:
            named = authors if self._sender is self._author else self._sender.render(fields)[0]
            reverse_path = (named or authors)[0].addr_spec
        else:
            reverse_path = addr_spec(sender)
        return Parcel(
            b"".join(chunks),
            check_reverse_path(reverse_path, smtputf8=True),
            tuple([mailbox.addr_spec for mailbox in recipients]),
            tag=tag,
        )

    @staticmethod
    def _identify(date: datetime.datetime | None, message_id: str | None, author: str) -> bytes:
        if message_id is None:
            message_id = make_message_id(ascii_domain(author))
        else:
            check_message_id(message_id)
        written = now_field() if date is None else date_field(date)
        return f"Date: {written}\r\nMessage-ID: {message_id}\r\n".encode("ascii")


class _Body:
    """A text part, from the end of its header fields to the end of its text."""

    __slots__ = ("_allow_8bit", "_boundary", "_text", "names")

    def __init__(self, text: Text, boundary: bytes, allow_8bit: bool) -> None:
        self._text = text
        self._boundary = boundary
        self._allow_8bit = allow_8bit
        self.names = text.names

    def __call__(self, fields: Mapping[str, object]) -> bytes:
        try:
            octets = self._text(fields).encode()
        except UnicodeEncodeError:
            field = culprit(self.names, fields, _SURROGATE)
            raise TemplateError(
                f"the value of {quoted(field)} holds half a character",
                field=field,
                cure="decode it properly",
            ) from None
        lines = octets.splitlines()
        if octets.endswith((b"\r", b"\n")):
            lines.append(b"")
        octets = b"\r\n".join(lines)
        # A boundary in a value would begin a part. Both encodings hide it: neither has "=_" in its output.
        if self._boundary not in octets and b"\0" not in octets:
            is_ascii = octets.isascii()
            if (is_ascii or self._allow_8bit) and max(map(len, lines), default=0) <= _MAX_LINE:
                return b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (b"7bit" if is_ascii else b"8bit", octets)
        encoding, octets = encode_text_body(octets)
        return b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (encoding.encode("ascii"), octets)


_Segment: TypeAlias = "TextField | UriField | AddressField | _Body"


def _compile_body(message: EmailMessage, language: Language, allow_8bit: bool) -> list[bytes | _Segment]:
    """The MIME fields of the message, an empty line, and its body."""
    # One random word marks the texts, and is part of each boundary.
    word = os.urandom(12).hex()
    boundary = f"=_{word}".encode("ascii")
    bodies: list[_Body] = []

    def visit(part: MIMEPart) -> None:
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            if part.get_content_subtype() != "signed":  # the signature covers the parts as they are
                visited.append(part)
                part.set_boundary(f"=_{word}_{len(visited)}")
                for inner in part.iter_parts():
                    visit(inner)
        elif part.get_content_maintype() == "text" and not (part.is_attachment() or part.get_filename()):
            text = language.compile(
                _text_of(part), escape_html=part.get_content_subtype() in ("html", "xhtml")
            )
            bodies.append(_Body(text, boundary, allow_8bit))
            part.set_param("charset", "utf-8")
            del part["Content-Transfer-Encoding"]
            part["Content-Transfer-Encoding"] = "7bit"
            part.set_payload(f"{word}-{len(bodies)}-")
        elif not allow_8bit:
            _encode_leaf(part)

    visited: list[MIMEPart] = []
    for name in set(message.keys()):
        if not name.lower().startswith("content-"):
            del message[name]
    message["MIME-Version"] = "1.0"
    visit(message)
    octets = write(message)
    pieces = re.split(rb"Content-Transfer-Encoding: 7bit\r\n\r\n%b-(\d+)-" % word.encode("ascii"), octets)
    segments: list[bytes | _Segment] = [*pieces]
    segments[1::2] = [bodies[int(number) - 1] for number in pieces[1::2]]
    return segments


def _text_of(part: MIMEPart) -> str:
    payload = part.get_payload(decode=True)
    octets = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset("us-ascii")
    try:
        # Plain files of text seldom say what they are, and UTF-8 is what they are then.
        text = octets.decode("utf-8" if charset == "us-ascii" else charset)
    except (UnicodeDecodeError, LookupError) as error:
        raise TemplateError(
            f"a text part says that its charset is {printable(charset)}, and cannot be decoded: {printable(error)}",
            cure="save the message in UTF-8",
        ) from error
    return _NEWLINE.sub("\r\n", text)


def _encode_leaf(part: MIMEPart) -> None:
    """Encode a part other than text that holds 8-bit octets as they are."""
    payload = part.get_payload()
    if isinstance(payload, str) and not payload.isascii():
        octets = part.get_payload(decode=True)
        del part["Content-Transfer-Encoding"]
        part["Content-Transfer-Encoding"] = "base64"
        part.set_payload(encode_base64(octets if isinstance(octets, bytes) else b"").decode("ascii"))


def _settle(segments: Iterable[bytes | _Segment]) -> list[bytes | _Segment]:
    """Write what needs no fields, and join what is next to each other."""
    settled: list[bytes | _Segment] = []
    for segment in segments:
        if not isinstance(segment, bytes):
            if segment.names:
                settled.append(segment)
                continue
            segment = segment({})
        if settled and isinstance(settled[-1], bytes):
            settled[-1] += segment
        elif segment:
            settled.append(segment)
    return settled


def _header_sources(message: EmailMessage, given: Mapping[str, str | Sequence[str]]) -> list[tuple[str, str]]:
    """The header fields to compile: those of the message, and those given, which take the place of the former."""
    replaced = {name.lower() for name, values in given.items() if values}
    found: list[tuple[str, str]] = []
    for name, value in message.raw_items():
        if not _DROPPED.fullmatch(name) and name.lower() not in replaced:
            found.append((name, str(value) if isinstance(value, BaseHeader) else _unfolded(name, value)))
    for name, values in given.items():
        found += [(name, value) for value in ((values,) if isinstance(values, str) else values)]
    addresses: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for name, text in found:
        if name.lower() not in ADDRESS_FIELDS:
            others.append((name, text))
        elif text:
            name = name.title()
            addresses[name] = f"{addresses[name]}, {text}" if name in addresses else text
    return [*addresses.items(), *others]


def _unfolded(name: str, value: str) -> str:
    try:
        value.encode("utf-8", "surrogateescape").decode()
    except UnicodeError as error:
        raise TemplateError(
            f"the template's header field {name} is not UTF-8: {printable(error)}",
            cure="save the message in UTF-8",
        ) from error
    return unfold(value)


def _address_source(addresses: Addresses) -> str:
    if isinstance(addresses, str):
        return addresses
    several = (addresses,) if isinstance(addresses, HasAddrSpec) else addresses
    return ", ".join(
        [
            each if isinstance(each, str) else encode_mailbox(each.display_name, each.addr_spec, utf8=True)
            for each in several
        ]
    )


def _unsubscribe_sources(uris: str | Sequence[str], language: Language) -> dict[str, str]:
    """`unsubscribe_fields`, where a placeholder may be a URI by itself, of which https is expected."""
    uris = (uris,) if isinstance(uris, str) else uris
    checked = []
    for uri in uris:
        pieces = language.split(uri)
        stand_in = "".join(
            [
                "https:x" if pieces[:1] == [""] and index == 1 else "x" if index % 2 else piece
                for index, piece in enumerate(pieces)
            ]
        )
        checked.append(stand_in)
    try:
        fields = dict(unsubscribe_fields(checked))
    except MessageError as error:
        of_another = _BRACED.search("".join(checked))
        if of_another:
            error.cure = f"write {language.placeholder(of_another[1])} for the value of a field"
        raise
    if fields:
        fields["List-Unsubscribe"] = ", ".join([f"<{uri}>" for uri in uris])
    return fields


def _load(source: bytes | str | os.PathLike[str] | MessageLike) -> EmailMessage:
    if isinstance(source, Message):
        return copy.deepcopy(as_email_message(source))
    if isinstance(source, str) and "\n" in source:
        source = source.encode("utf-8", "surrogateescape")
    if not isinstance(source, bytes):
        try:
            source = Path(source).read_bytes()
        except OSError as error:
            raise TemplateError(
                f"the template {printable(os.fspath(source))} cannot be read: {error.strerror}",
                cure="check the path",
            ) from error
    message = as_email_message(source)
    if any(isinstance(defect, _HEADER_DEFECTS) for defect in message.defects):
        line = str(message.get_payload()).partition("\n")[0]  # which the parser takes for the body's first
        raise TemplateError(
            f"a line of the template's header is no field: {quoted(line)}",
            cure="write Name: value, and a blank line behind the header",
        )
    return message


def _language(engine: str) -> Language:
    if engine == "braces":
        return BraceLanguage()
    if engine == "jinja2":
        return JinjaLanguage()
    raise TemplateError(f"there is no template engine {quoted(engine)}", cure="use braces or jinja2")
