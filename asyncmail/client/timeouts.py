"""How long to wait for what. All values in seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

from ..errors import InputError
from ..net import MailProtocol, TLSMode
from ..pop3 import Awaiting as POP3Awaiting
from ..smtp import Awaiting

if TYPE_CHECKING:
    from ..net import ServerURL

__all__ = ["POP3Timeouts", "SMTPTimeouts", "cure_of_silence"]


def cure_of_silence(url: ServerURL) -> str:
    """What to do when no greeting came: each side may be waiting for the other to begin."""
    if url.security is TLSMode.IMPLICIT or url.protocol is MailProtocol.LMTP:
        return ""
    return f"if TLS comes first at port {url.port}, use {url.protocol.value}s://"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timeouts:
    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not value > 0:
                raise InputError(
                    f"the timeout {field.name} is {value!r}", cure="use a number of seconds above 0"
                )

    @classmethod
    def all(cls, seconds: float) -> Self:
        """The same limit for everything."""
        return cls(**{field.name: seconds for field in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SMTPTimeouts(_Timeouts):
    """Time limits of a client, each for one answer; the defaults are those of RFC 5321 §4.5.3.2.

    Args:
        connect: for the connection, name resolution and implicit TLS included.
        greeting: for the first reply; a busy server may take its time.
        answer: for commands that have no limit of their own, and for the handshake after STARTTLS.
        mail: for the answer to MAIL.
        rcpt: for the answer to RCPT, which may take list expansion.
        data: for the answer to DATA.
        end_of_content: for the answer to the content: giving up early makes duplicates.
    """

    connect: float = 30.0
    greeting: float = 300.0
    answer: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    end_of_content: float = 600.0

    def of(self, awaiting: Awaiting) -> float:
        """The limit for what is awaited."""
        return getattr(self, _FIELDS.get(awaiting, "answer"))  # type: ignore[no-any-return]


_FIELDS = {
    Awaiting.GREETING: "greeting",
    Awaiting.MAIL: "mail",
    Awaiting.RCPT: "rcpt",
    Awaiting.DATA: "data",
    Awaiting.END_OF_CONTENT: "end_of_content",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class POP3Timeouts(_Timeouts):
    """Time limits of a client, each for one answer; POP3 itself has none for clients.

    Args:
        connect: for the connection, name resolution and implicit TLS included.
        greeting: for the first line.
        answer: for an answer to begin, and for the handshake after STLS.
        content: for an answer to go on, that is for more octets of a message or listing.
        update: for the answer to QUIT, until which the server removes messages.
    """

    connect: float = 30.0
    greeting: float = 120.0
    answer: float = 120.0
    content: float = 120.0
    update: float = 600.0

    def of(self, awaiting: POP3Awaiting) -> float:
        """The limit for what is awaited."""
        match awaiting:
            case POP3Awaiting.GREETING:
                return self.greeting
            case POP3Awaiting.CONTENT:
                return self.content
            case POP3Awaiting.UPDATE:
                return self.update
            case _:
                return self.answer
