"""What the peer did, as the protocol objects report it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..sasl import Attempt
    from .capabilities import Capabilities
    from .commands import Command
    from .listings import Listing, ScanListing, UniqueIdListing
    from .responses import Response

__all__ = [
    "AuthenticationReceived",
    "CapabilitiesReceived",
    "ChallengeReceived",
    "ClientEvent",
    "CommandAnswered",
    "CommandReceived",
    "CommandRejected",
    "ConnectionEnded",
    "ContentReceived",
    "GreetingReceived",
    "ListingReceived",
    "ResponseReceived",
    "ServerEvent",
    "UnsolicitedResponse",
]


@dataclass(frozen=True, slots=True)
class GreetingReceived:
    """The server's first line."""

    response: Response


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """The whole answer to `command`: -ERR, or +OK that nothing follows."""

    command: Command
    response: Response


@dataclass(frozen=True, slots=True)
class ChallengeReceived:
    """The server's turn in an AUTH exchange: answer with an `AuthResponse`."""

    command: Command
    challenge: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CapabilitiesReceived:
    """The positive answer to CAPA."""

    command: Command
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class ListingReceived:
    """The positive answer to LIST or UIDL of all messages."""

    command: Command
    listing: Listing[ScanListing] | Listing[UniqueIdListing]


@dataclass(slots=True)  # not frozen, which would double the cost of what is made for each message
class ContentReceived:
    """A piece of the positive answer to RETR or TOP: as much as had arrived, dot-stuffing undone.

    A message that had arrived whole is one piece. `ended` marks the last one, which may be empty.
    """

    command: Command
    data: bytes = field(repr=False)
    ended: bool


@dataclass(frozen=True, slots=True)
class UnsolicitedResponse:
    """A response with nothing in flight: the session cannot be relied on any more."""

    response: Response


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The peer closed the connection; `in_flight` are the commands that stay unanswered."""

    in_flight: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command that is legal now: it waits for `send`."""

    command: Command


@dataclass(frozen=True, slots=True)
class CommandAnswered:
    """A command that the protocol object has answered itself: USER, CAPA, NOOP, and AUTH with a challenge."""

    command: Command


@dataclass(frozen=True, slots=True)
class CommandRejected:
    """A line that was not allowed and was answered with `response`; `line` is printable, without secrets."""

    line: str
    response: Response


@dataclass(frozen=True, slots=True)
class AuthenticationReceived:
    """Credentials came that can be checked: answer +OK once the maildrop is open, -ERR otherwise."""

    attempt: Attempt


ClientEvent = (
    GreetingReceived
    | ResponseReceived
    | ChallengeReceived
    | CapabilitiesReceived
    | ListingReceived
    | ContentReceived
    | UnsolicitedResponse
    | ConnectionEnded
)
ServerEvent = CommandReceived | CommandAnswered | CommandRejected | AuthenticationReceived | ConnectionEnded
