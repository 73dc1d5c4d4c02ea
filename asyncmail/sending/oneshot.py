"""One message through a session of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from ..client.smtp import SMTPClient

if TYPE_CHECKING:
    from ..client.options import SMTPOptions
    from ..message import Addresses, AddressLike, MessageLike, Parcel
    from ..net import ServerURL
    from ..smtp import Outcome

__all__ = ["send"]


async def send(
    message: Parcel | MessageLike | bytes,
    *,
    server: str | ServerURL,
    sender: AddressLike | None = None,
    recipients: Addresses | None = None,
    **options: Unpack[SMTPOptions],
) -> Outcome:
    """Connect, send one message, and quit.

    For more than one message a `Mailer` or `SMTPClient` saves the connecting.

    Args:
        message: a message, its octets, or a parcel of either.
        server: `smtp://`, `smtp+starttls://`, `smtps://`, `lmtp://` or `lmtp+unix://` URL.
        sender: the reverse-path; by default that of the header.
        recipients: the forward-paths; by default those of the header. Bcc is never sent.
        options: see `SMTPOptions`.

    Returns:
        What became of each recipient. Refusals are no exceptions: see `Outcome.raise_for_refusals`.

    Raises:
        MailError: the message cannot be sent as it is, or no session could be had; nothing was sent.

    Cancelling closes the connection; the message may have been delivered.
    """
    async with SMTPClient(server, **options) as client:
        return await client.send(message, sender=sender, recipients=recipients)
