"""Messages on their way: what `POP3Client.retrieve_many` and `POP3Client.stream` iterate over.

A session may be put to another use in the middle of either. What is in flight is then read first: by `Retrievals`
into memory, for the loop to find there, which its window bounds; by a `ContentStream`, whose message may be of any
size, to no avail.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from io import BytesIO
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import LimitExceeded, LocalProtocolError, POP3ResponseError, Stage
from ..pop3 import ContentReceived, ResponseReceived, Retr, check_numbers
from ..wire import Signal
from .pop3_session import MOST_COMMANDS, InProgress, message_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from ..pop3 import ClientEvent, ClientLimits
    from .pop3_session import Session

__all__ = ["Assembly", "ContentStream", "Retrievals", "RetrievedMessage"]

# In flight at once: it bounds what is kept when the session is put to another use meanwhile.
_MOST_OCTETS = 8 * 1024 * 1024
_UNKNOWN = 64 * 1024  # a message of which no listing told the size counts as this
_MOST_ROOM = 32 * 1024 * 1024  # octets of memory that are taken on the server's word that they will be needed


class Assembly:
    """Puts together messages that are kept whole, and bounds what they take: see `ClientLimits`.

    Args:
        limits: of the session.
        listed: octets that LIST told of the messages that are in flight; None if it did not tell of them all.
    """

    def __init__(self, limits: ClientLimits, listed: int | None) -> None:
        self._limits = limits
        self._message = BytesIO()  # so far; pieces that are kept and joined take twice the memory
        self.allow(listed)

    def allow(self, listed: int | None) -> None:
        """Begin to count anew: what was put together is no longer kept."""
        limits = self._limits
        if listed is None or 2 * listed + limits.surplus > limits.whole:
            self._limit, self._left = ("whole", limits.whole), limits.whole
        else:
            self._limit, self._left = ("surplus", limits.surplus), 2 * listed + limits.surplus

    def add(self, event: ContentReceived, octets: int) -> bytes | None:
        """Add a piece; return the message if it is the last one.

        Args:
            octets: what LIST told of the message, or a guess.

        Raises:
            LimitExceeded: it is one too many.
        """
        self.count(len(event.data))
        message = self._message
        if not message.tell():
            if event.ended:
                return event.data
            # Room for all of it: what grows step by step has to be had from the system anew for each large message.
            message.seek(min(octets, _MOST_ROOM))
            message.write(b"\0")
            message.seek(0)
        message.write(event.data)
        if not event.ended:
            return None
        message.truncate()
        self._message = BytesIO()
        return message.getvalue()

    def count(self, octets: int) -> None:
        """Count what is kept.

        Raises:
            LimitExceeded: it is too much.
        """
        self._left -= octets
        if self._left < 0:
            raise LimitExceeded(*self._limit, stage=Stage.RETRIEVAL)


class RetrievedMessage(NamedTuple):
    """A message of the maildrop."""

    number: int
    content: bytes


# What a named tuple's own constructor does, which is written in Python.
_retrieved = cast("Callable[[tuple[int, bytes]], RetrievedMessage]", partial(tuple.__new__, RetrievedMessage))


class Retrievals(InProgress, AsyncIterator[RetrievedMessage]):
    """Retrieves message after message, several in flight where the server offers PIPELINING.

    A message that is refused raises; the iteration can be taken up again behind it. Leaving the loop early leaves
    answers in flight, which the next command reads over.
    """

    def __init__(self, session: Session, numbers: Sequence[int], octets: Mapping[int, int]) -> None:
        check_numbers(numbers)
        self._session = session
        self._numbers = numbers
        self._octets = octets
        # Before each message, by what LIST told: sums, so that nothing is to be reckoned for each that arrives.
        self._octets_before = [*accumulate(map(octets.get, numbers, repeat(_UNKNOWN)), initial=0)]
        self._sent = 0
        self._answered = 0
        self._all_listed = True  # of those asked for so far
        self._assembly = Assembly(session.protocol.limits, 0)
        self._ready: deque[RetrievedMessage | POP3ResponseError] = deque()

    def __repr__(self) -> str:
        in_flight = self._sent - self._answered
        return f"<Retrievals {self._sent} of {len(self._numbers)} asked for, {in_flight} in flight>"

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
        if self._answered == len(self._numbers):
            raise StopAsyncIteration
        session = self._session
        with session.exclusive():
            await session.settle(self)
            self._ask()
            self._assembly.allow(self._due_octets if self._all_listed else None)
            self._take_arrived()
            if not self._ready:
                await session.converse(self._take_arrived, lambda: not self._ready)

    def _ask(self) -> None:
        protocol = self._session.protocol
        most = MOST_COMMANDS if "PIPELINING" in protocol.capabilities else 1
        most_octets = min(_MOST_OCTETS, protocol.limits.whole // 2)
        in_flight = self._sent - self._answered
        if (
            self._sent == len(self._numbers)
            or in_flight > most // 2
            or self._due_octets > most_octets // 2  # fewer and larger writes
        ):
            return
        fitting = bisect_right(self._octets_before, self._octets_before[self._answered] + most_octets) - 1
        end = max(min(fitting, self._answered + most), self._sent if in_flight else self._sent + 1)
        numbers = self._numbers[self._sent : end]
        protocol.retrieve(numbers)
        self._sent += len(numbers)
        self._all_listed = self._all_listed and all(map(self._octets.__contains__, numbers))

    @property
    def _due_octets(self) -> int:
        return self._octets_before[self._sent] - self._octets_before[self._answered]

    def _take_arrived(self) -> None:
        """Take the next message, and those that have arrived whole behind it; or what there is of it."""
        protocol = self._session.protocol
        while not self._ready and not isinstance(event := protocol.next_event(), Signal):
            self._take(event)
            if self._ready:
                self._take_messages(protocol.take_messages())

    def _take_messages(self, contents: list[bytes]) -> None:
        self._assembly.count(sum(map(len, contents)))
        answered = self._answered + len(contents)
        self._ready.extend(
            map(_retrieved, zip(self._numbers[self._answered : answered], contents, strict=True))
        )
        self._answered = answered

    def _take(self, event: ClientEvent) -> None:
        number = self._numbers[self._answered]
        if isinstance(event, ContentReceived):
            octets = self._octets.get(number, _UNKNOWN)
            content = self._assembly.add(event, octets)
            if content is None:
                return
            self._ready.append(RetrievedMessage(number, content))
        else:
            event = self._session.checked(event)
            assert isinstance(event, ResponseReceived)
            self._ready.append(message_refusal(number, "RETR", event.response))
        self._answered += 1

    async def settle(self) -> None:
        while self._answered < self._sent:
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
