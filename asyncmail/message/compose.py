"""Messages from their parts."""

from __future__ import annotations

import re
from email.message import EmailMessage, MIMEPart
from email.policy import default
from typing import TYPE_CHECKING

from ..address import check_forward_path
from ..errors import MessageError, printable, quoted
from .attachments import attach, embed
from .envelope import addr_spec, mailboxes
from .headers import check_field, encode_mailbox
from .identity import ascii_domain, check_message_id, date_field, make_message_id, now_field

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping, Sequence

    from .attachments import AttachmentLike
    from .envelope import Addresses, AddressLike

__all__ = ["compose", "set_body", "set_field", "unsubscribe_fields"]

# Transfer encodings that every server takes; what is composed can then be signed.
_POLICY = default.clone(cte_type="7bit")

_URI = re.compile(r"(?:https?|mailto):[!#-;=?-Z\[\]_a-z~]+", re.IGNORECASE)


def compose(
    *,
    sender: AddressLike,
    to: Addresses = (),
    cc: Addresses = (),
    bcc: Addresses = (),
    reply_to: Addresses = (),
    subject: str = "",
    text: str | None = None,
    html: str | None = None,
    attachments: Iterable[AttachmentLike] = (),
    inline: Mapping[str, AttachmentLike] | None = None,
    unsubscribe: str | Sequence[str] = (),
    headers: Mapping[str, str | Sequence[str]] | None = None,
    date: datetime.datetime | None = None,
    message_id: str | None = None,
) -> EmailMessage:
    """Make a message.

    Reads the files that are given by their paths.

    Args:
        sender: for From; also the reverse-path, unless sending overrides it.
        to: for To: one address or several, each an address, `A Name <a@example.com>` or an address object. A `str`
            may hold several, an item of a list may not: pass `[to]` if `to` comes from somebody else.
        cc: for Cc.
        bcc: for Bcc: recipients that the message as sent does not name.
        reply_to: for Reply-To.
        subject: for Subject.
        text: the body as plain text.
        html: the body as HTML; with `text`, the reader's program shows one of the two.
        attachments: paths, tuples (file name, octets) or (file name, octets, content type), whole messages.
        inline: what the HTML shows: `<img src="cid:logo">` shows `inline={"logo": "logo.png"}`.
        unsubscribe: https: and mailto: addresses that end a subscription, for List-Unsubscribe; a program may
            use one that begins with https: by a single POST request.
        headers: further fields; a sequence as the value makes several fields of one name.
        date: for Date; now if it is None.
        message_id: for Message-ID, with angle brackets; a new one if it is None.

    Raises:
        MessageError: a field holds a line break, `message_id` is none, a file cannot be read, or the parts do not fit
            together.
        AddressSyntaxError: an address is none.

    RFC 5322 §3.6, RFC 2046 §5.1, RFC 2369 §3.2, RFC 8058.
    """
    message = EmailMessage(policy=_POLICY)
    _set_addresses(message, "From", sender)
    for name, addresses in (("To", to), ("Cc", cc), ("Bcc", bcc), ("Reply-To", reply_to)):
        _set_addresses(message, name, addresses)
    if subject:
        set_field(message, "Subject", subject)
    set_field(message, "Date", now_field() if date is None else date_field(date))
    if message_id is None:
        message_id = make_message_id(ascii_domain(addr_spec(sender)))
    set_field(message, "Message-ID", check_message_id(message_id))
    for name, value in unsubscribe_fields(unsubscribe):
        set_field(message, name, value)
    for name, values in (headers or {}).items():
        for value in (values,) if isinstance(values, str) else values:
            set_field(message, name, value)
    set_body(message, text, html, inline or {})
    if isinstance(attachments, str):
        raise MessageError("attachments is one text", cure="pass a list, of paths for instance")
    for attachment in attachments:
        attach(message, attachment)
    return message


def unsubscribe_fields(uris: str | Sequence[str]) -> list[tuple[str, str]]:
    """Return the fields List-Unsubscribe and List-Unsubscribe-Post, or nothing for no URIs.

    Raises:
        MessageError: one of them is not an http:, https: or mailto: URI.

    RFC 2369 §3.2, RFC 8058 §3.1.
    """
    uris = (uris,) if isinstance(uris, str) else uris
    for uri in uris:
        if not _URI.fullmatch(uri):
            raise MessageError(
                f"{quoted(uri)} cannot be an address to unsubscribe at",
                cure="write an https: or mailto: URI, other characters percent-encoded",
            )
    if not uris:
        return []
    fields = [("List-Unsubscribe", ", ".join([f"<{uri}>" for uri in uris]))]
    if any(uri.lower().startswith("https:") for uri in uris):
        fields.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    return fields


def set_field(message: EmailMessage, name: str, value: str) -> None:
    """Add a header field to a message.

    Raises:
        MessageError: it is not one logical line, may be there only once, or describes the MIME structure.
    """
    check_field(name, value)
    if name.lower().startswith("content-") or name.lower() == "mime-version":
        raise MessageError(f"{name} follows from the parts", cure="pass the content type with the attachment")
    try:
        message[name] = value
    except ValueError as error:
        raise MessageError(
            f"the header field {name} cannot be set: {printable(error)}", cure="give each field once"
        ) from error


def _set_addresses(message: EmailMessage, name: str, addresses: Addresses) -> None:
    named = mailboxes(addresses)
    for _, spec in named:
        check_forward_path(spec, smtputf8=True)
    if named:
        set_field(message, name, ", ".join([encode_mailbox(*mailbox, utf8=True) for mailbox in named]))


def set_body(
    message: EmailMessage, text: str | None, html: str | None, inline: Mapping[str, AttachmentLike]
) -> None:
    """Give a new message its text, its HTML with the files that it shows, or both.

    Raises:
        MessageError: one of them is not text.
    """
    for name, body in (("text", text), ("html", html)):
        try:
            (body or "").encode()
        except UnicodeEncodeError:
            raise MessageError(f"the {name} holds half a character", cure="decode it properly") from None
    if html is None:
        if inline:
            raise MessageError("inline files are shown by HTML, and there is none", cure="pass html=")
        message.set_content(text or "")
        return
    part: MIMEPart = message
    if text is None:
        message.set_content(html, subtype="html")
    else:
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        part = list(message.iter_parts())[-1]
    for content_id, source in inline.items():
        embed(part, content_id, source)
