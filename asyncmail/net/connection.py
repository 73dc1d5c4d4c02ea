"""One stream and one sans-I/O protocol object: what every session is made of.

Nothing is decided here. The protocol object says what to write and what happened; this moves the octets, and gives
the connection up when a call ends, by an error or a cancellation, while an answer is still due.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ..errors import (
    BusyError,
    ClosedError,
    ConnectionLost,
    MailError,
    MailTimeout,
    NetworkError,
    RemoteProtocolError,
    Stage,
)
from ..wire import Signal
from .clock import NEVER, now

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence
    from enum import Enum

    from .stream import ByteStream

__all__ = ["Connection", "SansIOProtocol"]

_PIECE = 262_144  # octets that are written under one deadline
_LAST_WORDS_SECONDS = 1.0  # for what a peer said that has left
EventT_co = TypeVar("EventT_co", covariant=True)


class SansIOProtocol(Protocol[EventT_co]):
    """What the four protocol objects have in common."""

    @property
    def in_flight(self) -> Sequence[object]:
        """What was sent and not answered yet, oldest first."""

    @property
    def awaiting(self) -> Enum:
        """What the peer is to send next, in words."""

    @property
    def stage(self) -> Stage:
        """The part of the session that the peer is to go on with."""

    def receive_data(self, data: bytes) -> None:
        """Take what was read."""

    def receive_eof(self) -> None:
        """Note that nothing more will come."""

    def next_event(self) -> EventT_co | Signal:
        """Return what happened next, or why nothing has."""

    def data_to_send(self) -> list[bytes]:
        """Return what is to be written, and forget it."""

    def send_failed(self) -> None:
        """Note that output was lost: nothing more can be sent."""

    def start_tls(self) -> None:
        """Note that TLS starts now."""


class Connection(Generic[EventT_co]):
    """Drives `protocol` over `stream`.

    Args:
        stream: connected; this object closes it.
        protocol: the state of the session; drivers use it directly.
    """

    __slots__ = ("_busy", "is_usable", "protocol", "stream", "unsent_octets")

    def __init__(self, stream: ByteStream, protocol: SansIOProtocol[EventT_co]) -> None:
        self.stream: ByteStream = stream
        self.protocol: SansIOProtocol[EventT_co] = protocol
        self.is_usable: bool = True
        """Neither closed nor given up."""
        self.unsent_octets: int = 0
        """Of what the protocol object had to say, the last octets that certainly did not leave."""
        self._busy = False

    def __repr__(self) -> str:
        return f"<Connection to {self.stream.peer or 'nobody'}, {'usable' if self.is_usable else 'ended'}>"

    async def flush(self, seconds: float | None = None) -> None:
        """Write what the protocol object has to say.

        Args:
            seconds: how long the peer may take for each piece of 256 KiB; None is for ever.

        Raises:
            ConnectionLost: it did not leave; what the peer said before may still be read.
            MailTimeout: it did not leave; the connection is given up.
        """
        chunks = self.protocol.data_to_send()
        if chunks:
            await self._write(chunks, seconds)

    async def _write(self, chunks: list[bytes], seconds: float | None) -> None:
        self.unsent_octets = sum(map(len, chunks))
        try:
            for piece in [chunks] if self.unsent_octets <= _PIECE else _pieces(chunks):
                self.unsent_octets -= sum(map(len, piece))
                await self.stream.send(piece, deadline=_deadline(seconds))
        except TimeoutError:
            stage = self.protocol.stage
            self.give_up()
            raise MailTimeout(seconds or 0, waiting_for="the peer to take data", stage=stage) from None
        except ConnectionLost:
            self.protocol.send_failed()
            raise
        except BaseException:
            self.give_up()
            raise

    async def next_event(self, seconds: float | None = None) -> EventT_co:
        """Return the next event, writing and reading as needed.

        Args:
            seconds: how long the peer may take; None is for ever.

        Raises:
            RemoteProtocolError, ConnectionLost, MailTimeout: the connection is given up.
        """
        protocol = self.protocol
        stage = protocol.stage
        try:
            event = protocol.next_event()
            if not isinstance(event, Signal):
                return event
            is_lost = False
            try:
                await self.flush(seconds)
            except ConnectionLost:  # the peer may have said why
                is_lost = True
            deadline = _deadline(seconds)
            while isinstance(event, Signal):
                data = await self.stream.receive(deadline=deadline)
                if data:
                    protocol.receive_data(data)
                else:
                    protocol.receive_eof()
                event = protocol.next_event()
            if is_lost:
                self.give_up()
            return event
        except TimeoutError as error:
            failure = self._timeout(error, seconds)
            self.give_up()
            raise failure from None
        except (NetworkError, RemoteProtocolError) as error:
            error.stage = error.stage or stage
            self.give_up()
            raise

    async def converse(
        self, handle: Callable[[], None], more: Callable[[], bool], patience: Callable[[], float]
    ) -> None:
        """Let what comes be handled, segment by segment, and write what the protocol object then has to say.

        Args:
            handle: called when the protocol object has received a segment, to take its events.
            more: called after that, when a large output has been written, and at `interrupt`; False ends the
                conversation.
            patience: called for the seconds that the peer may take now, for a segment or to take data.

        Raises:
            RemoteProtocolError, ConnectionLost, MailTimeout, or what `handle` raises: the connection is given up.
        """
        protocol = self.protocol
        goes_on = True
        held: list[bytes] = []

        def respond(data: bytes) -> list[bytes] | None:
            nonlocal goes_on, held
            if self.stream.is_broken:  # what is begun now could not leave
                protocol.send_failed()
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            handle()
            goes_on = more()
            chunks = protocol.data_to_send()
            if goes_on and sum(map(len, chunks)) <= _PIECE:
                return chunks
            held = chunks  # more than is written under one deadline
            return None

        try:
            await self.flush(patience())
            while goes_on:
                await self.stream.converse(respond, seconds=patience)
                while held or goes_on:
                    if held:
                        await self._write(held, patience())
                        held = []
                    if goes_on:  # with what had to wait for that, or came up meanwhile
                        goes_on = more()
                        held = protocol.data_to_send()
                        if not held:
                            break
        except TimeoutError as error:
            failure = self._timeout(error, patience())
            self.give_up()
            raise failure from None
        except BaseException as error:
            if isinstance(error, MailError):
                error.stage = error.stage or protocol.stage
            try:
                if isinstance(error, ConnectionLost) and self.stream.is_broken:
                    await self._hear_out(handle)
            finally:
                self.give_up()
            raise

    def interrupt(self) -> None:
        """Let `converse` in another task ask for more to write."""
        self.stream.interrupt()

    async def _hear_out(self, handle: Callable[[], None]) -> None:
        """Hand over what the peer said before a write failed: answers, and perhaps why it left."""
        protocol = self.protocol
        deadline = _deadline(_LAST_WORDS_SECONDS)
        while True:
            try:
                data = await self.stream.receive(deadline=deadline)
            except (NetworkError, TimeoutError):
                return
            if not data:
                return
            protocol.receive_data(data)
            handle()

    def _timeout(self, error: TimeoutError, seconds: float | None) -> MailTimeout:
        if isinstance(error, MailTimeout):
            return error
        protocol = self.protocol
        return MailTimeout(seconds or 0, waiting_for=protocol.awaiting.value, stage=protocol.stage)

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        seconds: float | None = None,
    ) -> None:
        """Upgrade stream and protocol object together.

        Raises:
            PlaintextAfterStartTLS, TLSError, MailTimeout: the connection is given up.
        """
        try:
            await self.flush(seconds)
            self.protocol.start_tls()
            await self.stream.start_tls(
                context,
                server_hostname=server_hostname,
                server_side=server_side,
                deadline=_deadline(seconds),
            )
        except TimeoutError:
            self.give_up()
            raise MailTimeout(seconds or 0, waiting_for="the TLS handshake", stage=Stage.TLS) from None
        except BaseException as error:
            if isinstance(error, MailError):
                error.stage = error.stage or Stage.TLS
            self.give_up()
            raise

    def exclusive(self, fatal: tuple[type[BaseException], ...] = ()) -> AbstractContextManager[None]:
        """Guard a call of a session against a second task, and against what an early end would leave behind.

        Args:
            fatal: errors that end the connection even if no answer is due.

        Raises:
            BusyError: another task is in such a call.
            ClosedError: the connection has ended.
        """
        return _Exclusive(self, fatal)

    def _enter(self) -> None:
        if self._busy:
            raise BusyError(
                "another task is using this session",
                stage=self.protocol.stage,
                cure="give each task its own, or use a Mailer or Fetcher",
            )
        if not self.is_usable:
            raise ClosedError("the session has ended", stage=self.protocol.stage, cure="open a new one")
        self._busy = True

    def _leave(self, error: BaseException | None, fatal: tuple[type[BaseException], ...]) -> None:
        self._busy = False
        # An answer that comes later must never be read as that to another command.
        if error is not None and (self.protocol.in_flight or isinstance(error, fatal)):
            self.give_up()

    def give_up(self) -> None:
        """Close at once and send nothing more. Any number of times."""
        self.is_usable = False
        self.protocol.send_failed()
        self.stream.abort()

    async def aclose(self) -> None:
        """Close politely; what was written is sent first."""
        self.is_usable = False
        await self.stream.aclose()


class _Exclusive(AbstractContextManager[None]):
    """A call of a session; `contextlib.contextmanager` would take three times as long for each."""

    __slots__ = ("_connection", "_fatal")

    def __init__(self, connection: Connection[object], fatal: tuple[type[BaseException], ...]) -> None:
        self._connection = connection
        self._fatal = fatal

    def __enter__(self) -> None:
        self._connection._enter()

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        self._connection._leave(exc, self._fatal)


def _pieces(chunks: list[bytes]) -> Iterator[list[bytes]]:
    """Divide chunks into lists of at most `_PIECE` octets; small ones go together, as one write."""
    piece: list[bytes] = []
    room = _PIECE
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            part = chunk[start : start + room]
            piece.append(part)
            start += len(part)
            room -= len(part)
            if not room:
                yield piece
                piece, room = [], _PIECE
    if piece:
        yield piece


def _deadline(seconds: float | None) -> float:
    return NEVER if seconds is None else now() + seconds
