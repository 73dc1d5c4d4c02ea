"""What an application implements to receive mail: `deliver`, and of the other hooks those it wants.

A hook answers None for yes, or a `Reply`; it may also raise an `SMTPReplyError` with one. Whatever else it raises is
logged and answered 451: the client keeps the message and tries again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..smtp import Mail, Reply

if TYPE_CHECKING:
    from email.message import EmailMessage

    from ..sasl import Attempt

__all__ = [
    "Authenticator",
    "Handler",
    "HandlerLike",
    "ReceivedTransaction",
    "RecipientFilter",
    "SenderFilter",
    "SessionFilter",
    "SessionInfo",
    "StreamingHandler",
    "Verifier",
]


@dataclass(slots=True, kw_only=True)
class SessionInfo:
    """Who is connected.

    Args:
        peer: address of the client, `unix` for a local socket.
        hello: the name it gave with EHLO, HELO or LHLO; proves nothing.
        user: as whom it has logged in, None if it has not.
        encrypted: whether TLS is active.
        state: for handlers to keep what they like, for this session; STARTTLS begins a new one.
    """

    peer: str
    hello: str = ""
    user: str | None = None
    encrypted: bool = False
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ReceivedTransaction:
    """A message with its envelope (RFC 5321 §3.3).

    Args:
        session: who sends it.
        mail: the MAIL command with its parameters.
        recipients: forward-paths that were accepted.
        recipient_parameters: by recipient, where there were any, the parameters of RCPT, such as `{"NOTIFY": "NEVER"}`:
            those of extensions that the application has the server offer.
        content: octets with CRLF line ends, dot-stuffing undone; empty for a `StreamingHandler`.
    """

    session: SessionInfo
    mail: Mail
    recipients: list[str] = field(default_factory=list)
    recipient_parameters: dict[str, dict[str, str | None]] = field(default_factory=dict)
    content: bytes = b""

    @property
    def sender(self) -> str:
        """The reverse-path, `""` for the null one."""
        return self.mail.sender

    @property
    def message(self) -> EmailMessage:
        """The content, parsed anew at each call."""
        return message_from_bytes(self.content, policy=SMTP)


@runtime_checkable
class Handler(Protocol):
    """All that a server needs."""

    async def deliver(self, transaction: ReceivedTransaction) -> Reply | Sequence[Reply] | None:
        """Take responsibility for the message, or refuse it.

        Returns:
            None or a positive reply: it is stored, it will not be lost (RFC 5321 §6.1). In LMTP, a sequence of replies,
            one for each recipient, may be returned.
        """
        ...


@runtime_checkable
class StreamingHandler(Handler, Protocol):
    """Takes content in pieces, so that a message need not fit into memory; `deliver` follows the last one."""

    async def receive(self, transaction: ReceivedTransaction, chunk: bytes) -> None:
        """Take the next octets of the content; a transaction that ends without `deliver` came to nothing.

        Once this has raised, the rest of the content is read and dropped, and answered then.
        """
        ...


@runtime_checkable
class SessionFilter(Protocol):
    """Is asked when a client connects."""

    async def connected(self, session: SessionInfo) -> Reply | None:
        """Answer with another greeting, or 554 or 421 to turn the client away."""
        ...


@runtime_checkable
class Authenticator(Protocol):
    """Checks credentials; AUTH is offered if the handler has this."""

    async def authenticate(self, session: SessionInfo, attempt: Attempt) -> str | None:
        """Return the name of the user, None if what the client claims is not true; see `Attempt.verify`."""
        ...


@runtime_checkable
class SenderFilter(Protocol):
    """Is asked about each MAIL."""

    async def mail(self, transaction: ReceivedTransaction) -> Reply | None:
        """Accept or refuse the sender."""
        ...


@runtime_checkable
class RecipientFilter(Protocol):
    """Is asked about each RCPT."""

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> Reply | None:
        """Accept or refuse a recipient; those accepted before are in `transaction.recipients`."""
        ...


@runtime_checkable
class Verifier(Protocol):
    """Answers VRFY."""

    async def verify(self, session: SessionInfo, text: str) -> Reply | None:
        """Answer whether `text` names a mailbox (RFC 5321 §3.5)."""
        ...


HandlerLike = Handler | Callable[[ReceivedTransaction], Awaitable[Reply | Sequence[Reply] | None]]
"""A handler, or an async function that does what its `deliver` would."""
