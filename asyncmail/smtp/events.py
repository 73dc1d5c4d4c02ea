"""What the peer did, as the protocol objects report it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..sasl import Attempt
    from .commands import Command
    from .replies import Reply

__all__ = [
    "AuthenticationReceived",
    "ClientEvent",
    "CommandAnswered",
    "CommandReceived",
    "CommandRejected",
    "ConnectionEnded",
    "ContentEnded",
    "ContentReceived",
    "GreetingReceived",
    "ReplyReceived",
    "ServerEvent",
    "UnsolicitedReply",
]


@dataclass(frozen=True, slots=True)
class GreetingReceived:
    """The server's first reply."""

    reply: Reply


class ReplyReceived(NamedTuple):
    """The answer to `command`; `recipient` is set for the answers to content in LMTP, one for each (RFC 2033 §4.2)."""

    command: Command
    reply: Reply
    recipient: str | None = None


@dataclass(frozen=True, slots=True)
class UnsolicitedReply:
    """A reply with nothing in flight: 421 when the server shuts down, a fault of the server otherwise."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The peer closed the connection; `in_flight` are the commands that stay unanswered."""

    in_flight: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command that is legal now: it waits for `send` or `accept`."""

    command: Command


@dataclass(frozen=True, slots=True)
class CommandAnswered:
    """A command that the protocol object has answered itself."""

    command: Command


@dataclass(frozen=True, slots=True)
class CommandRejected:
    """A line that the protocol object has answered itself with `reply`; `line` is printable and shows no secret."""

    line: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class AuthenticationReceived:
    """An authentication exchange came to the point where the credentials can be checked: answer 235 or 535."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class ContentReceived:
    """The next octets of the content, dot-stuffing undone."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContentEnded:
    """The content is complete and waits for `send` or `accept`.

    `refusal` is set if the protocol does not allow it to be accepted (too large, bare newlines): it must be discarded;
    the reply has been sent.
    """

    refusal: Reply | None = None


ClientEvent = GreetingReceived | ReplyReceived | UnsolicitedReply | ConnectionEnded
ServerEvent = (
    CommandReceived
    | CommandAnswered
    | CommandRejected
    | AuthenticationReceived
    | ContentReceived
    | ContentEnded
    | ConnectionEnded
)
