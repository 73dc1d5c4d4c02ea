"""Every exception of asyncmail, on one page.

    MailError
    ├─ ProtocolError
    │  ├─ LocalProtocolError            you asked for something the protocol does not allow now
    │  └─ RemoteProtocolError           the peer broke the protocol: the session is over
    │     └─ LimitExceeded              … by sending more than a named limit allows
    ├─ NegativeReply                    the peer understood and said no
    │  ├─ SMTPReplyError                GreetingRefused HelloRefused SenderRefused RecipientRefused
    │  │                                ContentRefused AllRecipientsRefused CommandRefused
    │  └─ POP3ResponseError             MaildropLocked LoginDelayed NoSuchMessage
    ├─ AuthenticationError              wrong credentials; MechanismUnavailable: no common mechanism
    ├─ SecurityError                    TLSRequired PlaintextAfterStartTLS CleartextCredentialsRefused
    ├─ ExtensionRequired                the message needs what the server does not offer
    ├─ NetworkError (OSError)           ConnectError ConnectionLost TLSError
    ├─ MailTimeout (TimeoutError)       the peer did not answer in time
    ├─ ClosedError                      the object was closed before this call
    ├─ BusyError                        two tasks used one session at the same time
    ├─ InputError (ValueError)          a value of yours cannot be used: AddressSyntaxError URLError
    │                                   MessageError TemplateError
    ├─ FolderError                      a local folder, ledger or journal cannot be read or written
    └─ MissingExtra (ImportError)       an optional dependency is not installed

Three questions, three mechanisms: whose fault is the branch, what was refused is the leaf (the value is a field),
and whether trying again later can help is `is_transient`. Each error carries the `stage` of the session at which
it happened, pickles, and prints neither secrets nor raw control octets.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Protocol

__all__ = [
    "AddressSyntaxError",
    "AllRecipientsRefused",
    "AuthenticationError",
    "BusyError",
    "CleartextCredentialsRefused",
    "ClosedError",
    "CommandRefused",
    "ConnectError",
    "ConnectionLost",
    "ContentRefused",
    "ExtensionRequired",
    "FolderError",
    "GreetingRefused",
    "HelloRefused",
    "InputError",
    "LimitExceeded",
    "LocalProtocolError",
    "LoginDelayed",
    "MailError",
    "MailTimeout",
    "MaildropLocked",
    "MechanismUnavailable",
    "MessageError",
    "MissingExtra",
    "NegativeReply",
    "NetworkError",
    "NoSuchMessage",
    "POP3ResponseError",
    "PlaintextAfterStartTLS",
    "ProtocolError",
    "RecipientRefused",
    "RemoteProtocolError",
    "SMTPReplyError",
    "SecurityError",
    "SenderRefused",
    "Stage",
    "TLSError",
    "TLSRequired",
    "TemplateError",
    "URLError",
    "printable",
    "quoted",
]


class Stage(enum.StrEnum):
    """The part of a session in which something happened."""

    INPUT = "input"  # before anything was connected
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    HELLO = "hello"
    CAPABILITIES = "capabilities"
    AUTHENTICATION = "authentication"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"
    RETRIEVAL = "retrieval"
    DELIVERY = "delivery"  # into a local folder
    COMMAND = "command"  # any other command
    QUIT = "quit"


class AnyReply(Protocol):
    """What errors need of an SMTP reply or a POP3 response."""

    @property
    def is_transient(self) -> bool: ...
    def __str__(self) -> str: ...


def printable(value: object, limit: int = 200) -> str:
    """Return `value` as text that is safe to print: control characters visible, length bounded."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes | bytearray) else str(value)
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text)} characters)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(value: object, limit: int = 200) -> str:
    """Return `value` in quotation marks, `printable` in between."""
    text = printable(value, limit)
    mark = '"' if "'" in text and '"' not in text else "'"
    return f"{mark}{text}{mark}"


class MailError(Exception):
    """Base of every error that asyncmail raises.

    Args:
        problem: what went wrong, one clause.
        stage: where in the session; a class has its own default.
        cure: what the caller can do about it, one clause.
    """

    default_stage: ClassVar[Stage | None] = None
    is_transient: bool = False

    def __init__(self, problem: str = "", *, stage: Stage | None = None, cure: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.stage: Stage | None = stage or self.default_stage
        self.cure = cure

    def describe(self) -> str:
        """The problem as one clause, without stage and cure."""
        return self.problem or type(self).__name__

    def __str__(self) -> str:
        text = printable(self.describe(), 1000)
        if self.stage is not None:
            text = f"{self.stage}: {text}"
        return f"{text} ({self.cure})" if self.cure else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(cls: type[MailError], args: tuple[object, ...], state: dict[str, object]) -> MailError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ProtocolError(MailError):
    """Octets that the protocol does not allow, from either side."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what the protocol does not allow in this state; nothing was sent."""

    default_stage: ClassVar[Stage | None] = Stage.COMMAND


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow; the session cannot go on."""


class LimitExceeded(RemoteProtocolError):
    """The peer sent more than a limit allows.

    Args:
        limit: the name of the limit, as a field of the protocol's limits.
        maximum: its value, in the unit that the limits' documentation gives.
    """

    def __init__(self, limit: str, maximum: int, *, stage: Stage | None = None) -> None:
        super().__init__(f"the peer exceeded the limit {limit}={maximum}", stage=stage)
        self.limit = limit
        self.maximum = maximum


class NegativeReply(MailError):
    """The peer understood a command and answered no.

    Args:
        reply: the reply or response itself.
        command: the verb that was refused, without arguments (those may be secret).
    """

    def __init__(
        self, reply: AnyReply, *, command: str = "", stage: Stage | None = None, cure: str = ""
    ) -> None:
        super().__init__(str(reply), stage=stage, cure=cure)
        self.reply = reply
        self.command = command
        self.is_transient: bool = reply.is_transient

    def describe(self) -> str:
        """The refusal as one clause."""
        return f"{self.command or 'the server'} was refused: {self.reply}"


class SMTPReplyError(NegativeReply):
    """A 4yz or 5yz reply (RFC 5321 §4.2.1)."""


class GreetingRefused(SMTPReplyError):
    """The server answered the connection itself with 4yz or 5yz (RFC 5321 §3.1)."""

    default_stage: ClassVar[Stage | None] = Stage.GREETING


class HelloRefused(SMTPReplyError):
    """The server refused both EHLO and HELO (or LHLO)."""

    default_stage: ClassVar[Stage | None] = Stage.HELLO


class CommandRefused(SMTPReplyError):
    """The server refused a command that has no error class of its own (RSET, VRFY, STARTTLS, …)."""

    default_stage: ClassVar[Stage | None] = Stage.COMMAND


class SenderRefused(SMTPReplyError):
    """MAIL was refused; `sender` is the reverse-path."""

    default_stage: ClassVar[Stage | None] = Stage.SENDER

    def __init__(self, sender: str, reply: AnyReply, *, command: str = "MAIL") -> None:
        super().__init__(reply, command=command)
        self.sender = sender

    def describe(self) -> str:
        """The refusal as one clause."""
        return f"sender <{self.sender}> was refused: {self.reply}"


class RecipientRefused(SMTPReplyError):
    """RCPT was refused; `recipient` is the forward-path."""

    default_stage: ClassVar[Stage | None] = Stage.RECIPIENT

    def __init__(self, recipient: str, reply: AnyReply, *, command: str = "RCPT") -> None:
        super().__init__(reply, command=command)
        self.recipient = recipient

    def describe(self) -> str:
        """The refusal as one clause."""
        return f"recipient <{self.recipient}> was refused: {self.reply}"


class AllRecipientsRefused(SMTPReplyError):
    """No recipient was accepted; `refusals` maps each address to its reply, `reply` is the first of them.

    Transient if a later attempt could reach at least one of them.
    """

    default_stage: ClassVar[Stage | None] = Stage.RECIPIENT

    def __init__(self, refusals: dict[str, AnyReply], *, command: str = "RCPT") -> None:
        super().__init__(next(iter(refusals.values())), command=command)
        self.refusals = refusals
        self.is_transient: bool = any(reply.is_transient for reply in refusals.values())

    def describe(self) -> str:
        """The refusals as one clause."""
        listing = "; ".join(f"<{address}> {reply}" for address, reply in self.refusals.items())
        return f"every recipient was refused: {listing}"


class ContentRefused(SMTPReplyError):
    """DATA, BDAT or the content itself was refused: nobody got the message."""

    default_stage: ClassVar[Stage | None] = Stage.CONTENT


class POP3ResponseError(NegativeReply):
    """A -ERR response (RFC 1939 §3)."""

    default_stage: ClassVar[Stage | None] = Stage.COMMAND


class MaildropLocked(POP3ResponseError):
    """Another session has the maildrop open: response code [IN-USE] (RFC 2449 §8.1.2)."""

    default_stage: ClassVar[Stage | None] = Stage.AUTHENTICATION


class LoginDelayed(POP3ResponseError):
    """The server wants a pause between logins: response code [LOGIN-DELAY] (RFC 2449 §8.1.1)."""

    default_stage: ClassVar[Stage | None] = Stage.AUTHENTICATION


class NoSuchMessage(POP3ResponseError):
    """The maildrop has no message of that number, or it is marked as deleted."""

    default_stage: ClassVar[Stage | None] = Stage.RETRIEVAL

    def __init__(self, number: int, reply: AnyReply, *, command: str = "", cure: str = "") -> None:
        super().__init__(reply, command=command, cure=cure)
        self.number = number

    def describe(self) -> str:
        """The refusal as one clause."""
        return f"no message {self.number}: {self.reply}"


class AuthenticationError(MailError):
    """The server did not accept the credentials, or the exchange failed.

    Args:
        reply: the server's last answer, if there was one.
        mechanism: the SASL mechanism or command that was tried.
    """

    default_stage: ClassVar[Stage | None] = Stage.AUTHENTICATION

    def __init__(
        self, problem: str = "", *, reply: AnyReply | None = None, mechanism: str = "", cure: str = ""
    ) -> None:
        super().__init__(problem, cure=cure)
        self.reply = reply
        self.mechanism = mechanism
        self.is_transient: bool = reply is not None and reply.is_transient

    def describe(self) -> str:
        """The failure as one clause."""
        text = self.problem or "authentication failed"
        if self.mechanism:
            text = f"{self.mechanism}: {text}"
        return text if self.reply is None else f"{text}: {self.reply}"


class MechanismUnavailable(AuthenticationError):
    """Client and server have no authentication mechanism in common, or none fit for this connection."""


class SecurityError(MailError):
    """Going on would have given up what protects the session; nothing secret was sent."""


class TLSRequired(SecurityError):
    """TLS was asked for and the server does not offer it."""

    default_stage: ClassVar[Stage | None] = Stage.TLS


class PlaintextAfterStartTLS(SecurityError):
    """Octets arrived in the clear between the answer to STARTTLS or STLS and the handshake (RFC 3207 §6)."""

    default_stage: ClassVar[Stage | None] = Stage.TLS


class CleartextCredentialsRefused(SecurityError):
    """Credentials would have crossed an unencrypted connection."""

    default_stage: ClassVar[Stage | None] = Stage.AUTHENTICATION


class ExtensionRequired(MailError):
    """The message or command needs an extension or capability that the server does not offer.

    Args:
        extension: its keyword, such as `SMTPUTF8` or `SIZE`.
    """

    def __init__(
        self, extension: str, problem: str = "", *, stage: Stage | None = None, cure: str = ""
    ) -> None:
        super().__init__(problem or f"the server does not offer {extension}", stage=stage, cure=cure)
        self.extension = extension


class NetworkError(MailError, OSError):
    """The network failed; transient by nature."""

    is_transient = True


class ConnectError(NetworkError):
    """No connection could be made."""

    default_stage: ClassVar[Stage | None] = Stage.CONNECT


class ConnectionLost(NetworkError):
    """The connection ended in mid-session.

    Args:
        in_flight: verbs of the commands that had been sent and not been answered.
    """

    def __init__(
        self,
        problem: str = "",
        *,
        in_flight: tuple[str, ...] = (),
        stage: Stage | None = None,
        cure: str = "",
    ) -> None:
        super().__init__(problem or "the connection was lost", stage=stage, cure=cure)
        self.in_flight = in_flight

    def describe(self) -> str:
        """The loss as one clause."""
        if not self.in_flight:
            return self.problem
        waiting = " ".join(self.in_flight[:8]) + (" …" if len(self.in_flight) > 8 else "")
        return f"{self.problem}, unanswered: {waiting}"


class TLSError(NetworkError):
    """The TLS handshake failed, or the certificate was not accepted."""

    default_stage: ClassVar[Stage | None] = Stage.TLS
    is_transient = False


class MailTimeout(MailError, TimeoutError):
    """The peer did not answer in time.

    Args:
        seconds: how long was waited.
    """

    is_transient = True

    def __init__(
        self,
        seconds: float,
        *,
        waiting_for: str = "an answer",
        stage: Stage | None = None,
        cure: str = "",
    ) -> None:
        super().__init__(f"waited {seconds:g} s for {waiting_for}", stage=stage, cure=cure)
        self.seconds = seconds
        self.waiting_for = waiting_for


class ClosedError(MailError):
    """The session, pool or server had been closed, or never been opened."""


class BusyError(MailError):
    """A second task used a session while the first was in the middle of a call."""


class InputError(MailError, ValueError):
    """A value that the caller supplied cannot be used; nothing was sent."""

    default_stage: ClassVar[Stage | None] = Stage.INPUT


class AddressSyntaxError(InputError):
    """Not a mail address (RFC 5321 §4.1.2, RFC 5322 §3.4).

    Args:
        address: the text as given.
        position: index into it at which the grammar no longer held, if known.
    """

    def __init__(self, address: str, problem: str, *, position: int | None = None, cure: str = "") -> None:
        super().__init__(problem, cure=cure)
        self.address = address
        self.position = position

    def describe(self) -> str:
        """The error as one clause."""
        place = "" if self.position is None else f" at position {self.position}"
        return f"{quoted(self.address)} is not a mail address: {self.problem}{place}"


class URLError(InputError):
    """Not a server URL that asyncmail can use."""


class MessageError(InputError):
    """A message cannot be sent as it is: no sender, no recipients, content that cannot be flattened."""


class TemplateError(InputError):
    """A template cannot be compiled, or the fields given to it do not fit.

    Args:
        field: the name of the placeholder concerned, if it is one.
    """

    def __init__(self, problem: str, *, field: str = "", cure: str = "") -> None:
        super().__init__(problem, cure=cure)
        self.field = field


class FolderError(MailError):
    """A folder, ledger or journal on this machine cannot be read or written.

    Args:
        path: the file or directory concerned.
    """

    default_stage: ClassVar[Stage | None] = Stage.DELIVERY

    def __init__(self, problem: str, *, path: str = "", cure: str = "", is_transient: bool = False) -> None:
        super().__init__(problem, cure=cure)
        self.path = path
        self.is_transient = is_transient

    def describe(self) -> str:
        """The error as one clause."""
        return f"{self.path}: {self.problem}" if self.path else self.problem


class MissingExtra(MailError, ImportError):
    """An optional dependency is not installed.

    Args:
        extra: the name of the extra of asyncmail that brings it.
    """

    default_stage: ClassVar[Stage | None] = Stage.INPUT

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an extra", cure=f"pip install 'asyncmail[{extra}]'")
        self.extra = extra
