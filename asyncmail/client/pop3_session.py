"""What every call of a `POP3Client` goes through: send commands, await their answers, keep the two together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..errors import (
    ConnectionLost,
    LoginDelayed,
    MaildropLocked,
    NetworkError,
    NoSuchMessage,
    POP3ResponseError,
    RemoteProtocolError,
    Stage,
)
from ..net import Connection, now
from ..pop3 import ConnectionEnded, ResponseCode, ResponseReceived, UnsolicitedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from ..net import ByteStream
    from ..pop3 import ClientEvent, ClientProtocol, Command, Response
    from .timeouts import POP3Timeouts

__all__ = ["MOST_COMMANDS", "InProgress", "Session", "message_refusal", "refusal"]

# Commands in flight where the server offers PIPELINING: enough that small messages do not wait for a line with a delay
# of 100 ms, and few enough that all of them are written without waiting, so that a server which waits for its answers
# to be read never waits in vain.
MOST_COMMANDS = 4096

_MOMENT = 0.01  # seconds to take what is there already


class InProgress(ABC):
    """An iteration that may have commands in flight between two of its steps."""

    @abstractmethod
    async def settle(self) -> None:
        """Read what is in flight, so that another command can be sent."""


class Session:
    """One connection, one protocol object, and at most one iteration in progress."""

    def __init__(self, stream: ByteStream, protocol: ClientProtocol, timeouts: POP3Timeouts) -> None:
        self.connection: Connection[ClientEvent] = Connection(stream, protocol)
        self.protocol = protocol
        self._timeouts = timeouts
        self._in_progress: InProgress | None = None

    def exclusive(self) -> AbstractContextManager[None]:
        """Guard a call: see `Connection.exclusive`. What the server is to blame for ends the session."""
        return self.connection.exclusive((NetworkError, RemoteProtocolError))

    async def settle(self, iteration: InProgress | None = None) -> None:
        """Let any other iteration read what it has in flight; from now on `iteration` is in progress.

        Raises:
            ConnectionLost: the server has ended the session meanwhile, with or without a word.
        """
        other, self._in_progress = self._in_progress, iteration
        if other is not None and other is not iteration:
            await other.settle()
        if self.protocol.is_idle:
            await self._hear_out()

    async def _hear_out(self) -> None:
        """Read what came unasked, before it can be taken for the answer to the next command."""
        stream = self.connection.stream
        if not self.protocol.has_unread:
            if not stream.is_stale:
                return
            try:
                data = await stream.receive(deadline=now() + _MOMENT)
            except TimeoutError:
                return  # it was not for us, but TLS talking to itself (RFC 8446 §4.6.1)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
        await self.next_event()  # cannot be an answer, so this raises

    async def exchange(self, command: Command) -> ClientEvent:
        """Send a command and return the first event of its answer."""
        with self.exclusive():
            await self.settle()
            self.protocol.send(command)
            return await self.next_event()

    async def exchange_many(self, commands: Sequence[Command]) -> list[ClientEvent]:
        """Send commands, many at once where the server offers PIPELINING; return the event that answers each."""
        at_once = MOST_COMMANDS if "PIPELINING" in self.protocol.capabilities else 1
        events: list[ClientEvent] = []
        with self.exclusive():
            await self.settle()
            for start in range(0, len(commands), at_once):
                few = commands[start : start + at_once]
                self.protocol.send(*few)
                events += [await self.next_event() for _ in few]
        return events

    async def response(self, command: Command) -> Response:
        """Send a command with an answer of one line; return that."""
        event = await self.exchange(command)
        assert isinstance(event, ResponseReceived)
        return event.response

    async def next_event(self) -> ClientEvent:
        """Write what there is to write, and return the next event.

        Raises:
            ConnectionLost, MailTimeout, RemoteProtocolError: the session has ended.
        """
        event = await self.connection.next_event(self._timeouts.of(self.protocol.awaiting))
        return self.checked(event)

    async def converse(self, handle: Callable[[], None], more: Callable[[], bool]) -> None:
        """Write what there is to write, and let what comes be handled: see `Connection.converse`."""
        await self.connection.converse(handle, more, lambda: self._timeouts.of(self.protocol.awaiting))

    def checked(self, event: ClientEvent) -> ClientEvent:
        """Return the event, unless it means that the session has ended.

        Raises:
            ConnectionLost: it does.
        """
        if isinstance(event, ConnectionEnded):
            in_flight = tuple(command.verb for command in event.in_flight)
            stage = self.protocol.stage
            raise ConnectionLost("the server closed the connection", in_flight=in_flight, stage=stage)
        if isinstance(event, UnsolicitedResponse):
            raise ConnectionLost(
                f"the server ended the session: {event.response}",
                stage=self.protocol.stage,
                cure="open a new one",
            )
        return event


def refusal(command: str, response: Response, *, stage: Stage = Stage.COMMAND) -> POP3ResponseError:
    """Return the error for a -ERR that is not about one message."""
    if response.has_code(ResponseCode.IN_USE):
        return MaildropLocked(response, command=command, cure="end the other session, or try again later")
    if response.has_code(ResponseCode.LOGIN_DELAY):
        return LoginDelayed(response, command=command, cure="log in less often")
    return POP3ResponseError(response, command=command, stage=stage)


def message_refusal(number: int, command: str, response: Response) -> POP3ResponseError:
    """Return the error for a -ERR to a command that names a message."""
    if response.has_code("SYS"):
        return POP3ResponseError(response, command=command, stage=Stage.RETRIEVAL)
    cure = "list the maildrop: numbers are those of one session, and what is deleted in it has none any more"
    return NoSuchMessage(number, response, command=command, cure=cure)
