"""Answers to messages."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from ..errors import AddressSyntaxError, MessageError
from .compose import compose
from .envelope import Mailbox, addr_spec, addr_specs, mailboxes, parse_mailboxes, read_mailboxes
from .headers import unfold
from .parsing import as_email_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from email.message import EmailMessage

    from .attachments import AttachmentLike
    from .envelope import Addresses, AddressLike, MessageLike

__all__ = ["reply"]

# Any number of the prefixes of English, German, Scandinavian and Dutch programs, with or without a count.
_RE = re.compile(r"(?:\s*(?:re|aw|sv|antw)\s*(?:\[\d+\])?\s*:)*\s*", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")
_SIGNATURE = re.compile(r"^-- $.*", re.MULTILINE | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def reply(
    message: MessageLike | bytes,
    *,
    sender: AddressLike | None = None,
    own_addresses: Addresses = (),
    reply_all: bool = False,
    text: str = "",
    html: str | None = None,
    quote: bool = True,
    attribution: str = "",
    attachments: Iterable[AttachmentLike] = (),
    inline: Mapping[str, AttachmentLike] | None = None,
    headers: Mapping[str, str | Sequence[str]] | None = None,
) -> EmailMessage:
    """Make the answer to a message.

    It goes to whom Reply-To names, or else From; has one `Re:` before the subject; and continues the thread
    by In-Reply-To and References. An answer to a message of one's own goes to its recipients.

    Args:
        message: what is answered; it is not changed.
        sender: for From; by default the first of `own_addresses` that the message was sent to, or the first.
        own_addresses: the answering person's addresses, which never become recipients.
        reply_all: whether Cc gets all other recipients of the message.
        text: the answer; the message's plain text follows it as a quotation, without its signature.
        html: the answer as HTML, without quotation.
        quote: whether to quote.
        attribution: the line before the quotation; `{name}` and `{date}` in it are replaced.
        attachments: as for `compose`.
        inline: as for `compose`.
        headers: as for `compose`.

    Raises:
        MessageError: there is nobody to answer to, or no sender for the answer.
        AddressSyntaxError: an address is none.

    RFC 5322 §3.6.2, §3.6.3 and §3.6.4.
    """
    original = as_email_message(message)
    own = set(map(_key, addr_specs(own_addresses)))
    senders = _mailboxes(original, "from")
    recipients = _mailboxes(original, "to") + _mailboxes(original, "cc")
    if sender is None:
        if not own:
            raise MessageError("the answer has no sender", cure="pass sender= or own_addresses=")
        addressed = (mailbox for mailbox in recipients if _key(mailbox.addr_spec) in own)
        sender = next(addressed, None) or mailboxes(own_addresses)[0]
    own.add(_key(addr_spec(sender)))

    to = _mailboxes(original, "reply-to") or senders
    if not to:
        raise MessageError("the message names nobody to answer to", cure="compose a new message")
    if all(_key(mailbox.addr_spec) in own for mailbox in to):
        to = _mailboxes(original, "to") or to
    seen = {_key(mailbox.addr_spec) for mailbox in to} | own
    cc: dict[str, Mailbox] = {}
    if reply_all:
        for mailbox in recipients:
            if _key(mailbox.addr_spec) not in seen:
                cc.setdefault(_key(mailbox.addr_spec), mailbox)

    if quote:
        quotation = _quotation(original)
        if quotation:
            line = _attribution(original, attribution, (senders or to)[0])
            text = f"{text.rstrip()}\n\n{line}\n{quotation}".lstrip("\n")
    subject = str(original.get("Subject", ""))
    return compose(
        sender=sender,
        to=to,
        cc=list(cc.values()),
        subject=f"Re: {_CONTROL.sub(' ', _RE.sub('', subject, count=1))}".rstrip(),
        text=text,
        html=html,
        attachments=attachments,
        inline=inline,
        headers={**_thread(original), **(headers or {})},
    )


def _thread(original: EmailMessage) -> dict[str, str]:
    """In-Reply-To and References of the answer, RFC 5322 §3.6.4."""
    parent = _MESSAGE_ID.findall(_text(original, "message-id"))[:1]
    ancestors = _MESSAGE_ID.findall(_text(original, "references"))
    if not ancestors:
        in_reply_to = _MESSAGE_ID.findall(_text(original, "in-reply-to"))
        ancestors = in_reply_to if len(in_reply_to) == 1 else []
    references = dict.fromkeys([each for each in ancestors if each not in parent] + parent)
    fields = {"In-Reply-To": " ".join(parent), "References": " ".join(references)}
    return {name: value for name, value in fields.items() if value}


def _quotation(original: EmailMessage) -> str:
    body = original.get_body(("plain",))
    if body is None:
        return ""
    try:
        text = str(body.get_content())
    except LookupError:  # a charset that Python does not know
        payload = body.get_payload(decode=True)
        text = payload.decode("ascii", "replace") if isinstance(payload, bytes) else ""
    text = _SIGNATURE.sub("", text.replace("\r\n", "\n")).strip("\n")
    if not text.strip():
        return ""
    lines = text.split("\n")
    return "\n".join([f">{line}" if line.startswith(">") or not line else f"> {line}" for line in lines])


def _attribution(original: EmailMessage, attribution: str, author: Mailbox) -> str:
    date = _text(original, "date")
    name = _CONTROL.sub(" ", author.display_name or author.addr_spec)
    attribution = attribution or ("On {date}, {name} wrote:" if date else "{name} wrote:")
    return attribution.replace("{date}", date).replace("{name}", name)


def _field(original: EmailMessage, name: str) -> object:
    """A field as it was parsed or set: the standard library's parser of values stumbles over some that others write."""
    return next((value for field, value in original.raw_items() if field.lower() == name), "")


def _text(original: EmailMessage, name: str) -> str:
    return _CONTROL.sub(" ", unfold(str(_field(original, name))))


def _mailboxes(original: EmailMessage, name: str) -> list[Mailbox]:
    """The addresses in a field, those that can be used: what others wrote cannot be corrected here."""
    value = _field(original, name)
    try:
        return read_mailboxes(value)
    except AddressSyntaxError:
        found: list[Mailbox] = []
        for piece in str(value).split(","):
            with contextlib.suppress(AddressSyntaxError):
                found += parse_mailboxes(piece)
        return found


def _key(addr_spec: str) -> str:
    # Whether a local part tells capitals from small letters is known only to its host, and hardly any does.
    return addr_spec.lower()
