"""Messages on their way: what `POP3Client.retrieve_many` and `POP3Client.stream` iterate over.

A session may be used for something else in the middle of either. What was asked for is then read first: by
`Retrievals` into memory, for the loop to find there, which is bounded by its window; by a `ContentStream`, whose
message may be of any size, to no avail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import LocalProtocolError, POP3ResponseError
from ..pop3 import ContentReceived, ResponseReceived, Retr
from ..wire import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from ..pop3 import ClientEvent
    from .pop3 import POP3Client

__all__ = ["ContentStream", "InProgress", "Retrievals", "RetrievedMessage"]

# Commands in flight. Enough to keep a line with 100 ms and 100 Mbit/s busy with small messages; the octets bound what
# is kept in memory when the session is put to another use in between.
_MOST_COMMANDS = 256
_MOST_OCTETS = 8 * 1024 * 1024
_UNKNOWN = 64 * 1024  # a message of which no listing told the size counts as this


class RetrievedMessage(NamedTuple):
    """A message of the maildrop."""

    number: int
    content: bytes


class InProgress(ABC):
    """Answers that are still to be read."""

    @abstractmethod
    async def settle(self) -> None:
        """Read what is in flight, so that another command can be sent; called within the session's exclusive use."""


class Retrievals(InProgress, AsyncIterator[RetrievedMessage]):
    """Retrieves message after message, several in flight where the server offers PIPELINING.

    A refused message raises; the iteration can be taken up again behind it. Leaving the loop early leaves nothing
    behind but a few messages that the next command has to read over.
    """

    def __init__(self, session: POP3Client, commands: Sequence[Retr], octets: Mapping[int, int]) -> None:
        self._session = session
        self._commands = commands
        self._octets = octets
        self._sent = 0
        self._due: deque[int] = deque()  # sizes of what is in flight
        self._due_octets = 0
        self._pieces: list[bytes] = []
        self._ready: deque[RetrievedMessage | POP3ResponseError] = deque()

    def __repr__(self) -> str:
        return f"<Retrievals {self._sent} of {len(self._commands)} asked for, {len(self._due)} in flight>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RetrievedMessage:
        if not self._ready:
            await self._advance()
        item = self._ready.popleft()
        if isinstance(item, POP3ResponseError):
            raise item
        return item

    async def _advance(self) -> None:
        """Ask for more, wait for one answer, take with it what came in the same segment."""
        session = self._session
        if self._sent == len(self._commands) and not self._due:
            raise StopAsyncIteration
        with session.exclusive():
            await session.settle(self)
            self._ask()
            while not self._ready:
                self._take(await session.next_event())
            protocol = session.protocol
            while self._due and not isinstance(event := protocol.next_event(), Signal):
                self._take(event)

    def _ask(self) -> None:
        protocol = self._session.protocol
        most = _MOST_COMMANDS if "PIPELINING" in protocol.capabilities else 1
        if len(self._due) > most // 2:
            return  # fewer and larger writes
        for command in self._commands[self._sent : self._sent + most - len(self._due)]:
            octets = self._octets.get(command.number, _UNKNOWN)
            if self._due and self._due_octets + octets > _MOST_OCTETS:
                break
            protocol.send(command)
            self._due.append(octets)
            self._due_octets += octets
            self._sent += 1

    def _take(self, event: ClientEvent) -> None:
        if isinstance(event, ContentReceived):
            if not event.ended:
                self._pieces.append(event.data)
                return
            content = event.data
            if self._pieces:
                self._pieces.append(content)
                content = b"".join(self._pieces)
                self._pieces.clear()
            self._ready.append(RetrievedMessage(event.command.number, content))
        else:
            self._ready.append(self._session.refusal(event))
        self._due_octets -= self._due.popleft()

    async def settle(self) -> None:
        while self._due:
            self._take(await self._session.next_event())


class ContentStream(InProgress, AsyncIterator[bytes]):
    """One message in pieces as they arrive: memory stays bounded whatever its size."""
