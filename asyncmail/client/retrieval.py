"""Messages on their way: what `POP3Client.retrieve_many` and `POP3Client.stream` iterate over.

A session may be put to another use in the middle of either. What is in flight is then read first: by `Retrievals`
into memory, for the loop to find there, which its window bounds; by a `ContentStream`, whose message may be of any
size, to no avail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import LocalProtocolError, POP3ResponseError, Stage
from ..pop3 import ContentReceived, ResponseReceived
from ..wire import Signal
from .pop3_session import InProgress, message_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from ..pop3 import ClientEvent, Retr
    from .pop3_session import Session

__all__ = ["ContentStream", "Retrievals", "RetrievedMessage"]

# Commands in flight: enough for small messages over a line with a delay of 100 ms. The octets bound what is kept when
# the session is put to another use meanwhile.
_MOST_COMMANDS = 256
_MOST_OCTETS = 8 * 1024 * 1024
_UNKNOWN = 64 * 1024  # a message of which no listing told the size counts as this


class RetrievedMessage(NamedTuple):
    """A message of the maildrop."""

    number: int
    content: bytes


class Retrievals(InProgress, AsyncIterator[RetrievedMessage]):
    """Retrieves message after message, several in flight where the server offers PIPELINING.

    A message that is refused raises; the iteration can be taken up again behind it. Leaving the loop early leaves
    answers in flight, which the next command reads over.
    """

    def __init__(self, session: Session, commands: Sequence[Retr], octets: Mapping[int, int]) -> None:
        self._session = session
        self._commands = commands
        self._octets = octets
        self._sent = 0
        self._due: deque[tuple[int, int]] = deque()  # number and size of each message in flight
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
        """Ask for more, wait for an answer, and take with it what came in the same segment."""
        if self._sent == len(self._commands) and not self._due:
            raise StopAsyncIteration
        session = self._session
        with session.exclusive():
            await session.settle(self)
            self._ask()
            while not self._ready:
                self._take(await session.next_event())
            next_event = session.protocol.next_event
            while self._due and not isinstance(event := next_event(), Signal):
                self._take(session.checked(event))

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
            self._due.append((command.number, octets))
            self._due_octets += octets
            self._sent += 1

    def _take(self, event: ClientEvent) -> None:
        number, octets = self._due[0]
        if isinstance(event, ContentReceived):
            content = event.data
            if self._pieces or not event.ended:
                self._pieces.append(content)
                if not event.ended:
                    return
                content = b"".join(self._pieces)
                self._pieces.clear()
            self._ready.append(RetrievedMessage(number, content))
        else:
            assert isinstance(event, ResponseReceived)
            self._ready.append(message_refusal(number, "RETR", event.response))
        self._due.popleft()
        self._due_octets -= octets

    async def settle(self) -> None:
        while self._due:
            self._take(await self._session.next_event())


class ContentStream(InProgress, AsyncIterator[bytes]):
    """One message in pieces, as they arrive.

    Leaving the loop early is allowed: the next command reads over the rest.
    """

    def __init__(self, session: Session, command: Retr) -> None:
        self._session = session
        self._command = command
        self._is_begun = False
        self._is_ended = False
        self._is_cut = False

    def __repr__(self) -> str:
        state = "ended" if self._is_ended else "under way" if self._is_begun else "not begun"
        return f"<ContentStream of message {self._command.number}, {state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_cut:
            raise LocalProtocolError(
                "the message was not read to its end before the next command",
                stage=Stage.RETRIEVAL,
                cure="let the loop end first",
            )
        while not self._is_ended:
            event = await self._next_event()
            if isinstance(event, ResponseReceived):
                self._is_ended = True
                raise message_refusal(self._command.number, "RETR", event.response)
            assert isinstance(event, ContentReceived)
            self._is_ended = event.ended
            if event.data:
                return event.data
        raise StopAsyncIteration

    async def _next_event(self) -> ClientEvent:
        session = self._session
        with session.exclusive():
            if not self._is_begun:
                await session.settle(self)
                session.protocol.send(self._command)
                self._is_begun = True
            return await session.next_event()

    async def settle(self) -> None:
        while not self._is_ended:
            event = await self._session.next_event()
            self._is_ended = not isinstance(event, ContentReceived) or event.ended
            self._is_cut = True
