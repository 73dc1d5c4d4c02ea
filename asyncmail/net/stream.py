"""The one interface that sessions have to the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import anyio

from ..errors import ConnectionLost
from .clock import NEVER, now

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["ByteStream", "patience_of"]


def patience_of(seconds: float | Callable[[], float] | None) -> Callable[[], float]:
    """Return what to call for the time limit that `ByteStream.converse` was given."""
    if callable(seconds):
        return seconds
    limit = NEVER if seconds is None else seconds
    return lambda: limit


class ByteStream(ABC):
    """Octets in both directions, in order, with deadlines, and with TLS when asked for.

    One task may receive while another sends; two in the same direction at once are an error. A deadline is a
    time on the clock of `asyncmail.net.now()`.

    What a failed call leaves behind: a receive() that was cancelled or timed out has lost no octet, and the stream
    can still be used. After a send() or start_tls() that was cancelled or timed out nobody knows what the peer
    got; only abort() is left to do.
    """

    __slots__ = ("_listening",)

    _listening: anyio.CancelScope | None
    """Of a `converse` that waits for octets."""

    @abstractmethod
    async def receive(self, *, deadline: float = NEVER) -> bytes:
        """Return the octets that came, at least one; `b""` once the peer has ended its direction.

        With TLS that takes its goodbye (close_notify): an end without one is a lost connection.

        Where octets are there already it may return without giving other tasks a turn.

        Raises:
            TimeoutError: the deadline passed before an octet came.
            ConnectionLost: the connection broke, and all octets that came before have been returned.
            BusyError: another task is in receive().
            ClosedError: the stream was closed on this side, perhaps during the call.
        """

    @abstractmethod
    async def send(self, chunks: Sequence[bytes], *, deadline: float = NEVER) -> None:
        """Hand over octets for sending, as one write; wait only while too many are still unsent.

        Returning does not mean that the octets left: a broken connection may show at the next receive() only.

        Raises:
            TimeoutError: the deadline passed while the peer did not read.
            ConnectionLost: the connection broke.
            BusyError: another task is in send().
            ClosedError: the stream was closed on this side, perhaps during the call.
        """

    async def converse(
        self,
        respond: Callable[[bytes], Sequence[bytes] | None],
        *,
        seconds: float | Callable[[], float] | None,
        proceed: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Answer whatever comes with what `respond` returns for it, until it returns None.

        The same as receiving and sending in turn, but a stream may call `respond` right where octets arrive, outside
        of this task and its context: that saves waking the task for each segment.

        Args:
            respond: gets the octets, `b""` at the end of the stream; returns chunks to send, perhaps none. It does
                not await, and what it raises ends the conversation.
            seconds: how long the peer may be silent, or not read: a number, or what is called for it each time; None
                is for ever.
            proceed: awaited when `respond` has returned None, in this task: returns whether the conversation goes on.

        Raises:
            ConnectionLost: as `receive` and `send` do, and if `respond` wants to go on at the end of the stream.
            TimeoutError, BusyError, ClosedError: as `receive` and `send` do.
        """
        patience = patience_of(seconds)
        while True:
            with anyio.CancelScope() as self._listening:
                data = await self.receive(deadline=now() + patience())
            if self._listening.cancelled_caught:
                return
            self._listening = None
            chunks = respond(data)
            if chunks is None and (proceed is None or not await proceed()):
                return
            if chunks:
                await self.send(chunks, deadline=now() + patience())
            if not data:
                raise ConnectionLost("the peer closed the connection")

    def interrupt(self) -> None:
        """Let a `converse` of another task that waits for octets return, as if `respond` had returned None."""
        listening = getattr(self, "_listening", None)
        if listening is not None:
            listening.cancel()

    @abstractmethod
    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        deadline: float = NEVER,
    ) -> None:
        """Negotiate TLS on this connection; what is sent and received from then on is encrypted.

        If it fails, the stream has been aborted.

        Args:
            server_hostname: the name that the server's certificate must have; for the client side.

        Raises:
            PlaintextAfterStartTLS: octets came in the clear that nobody has received yet; on the server side, such
                that no handshake begins with.
            TLSError: the handshake failed.
            ConnectionLost: the connection broke during the handshake.
            TimeoutError: the deadline passed.
            BusyError: another task is using the stream.
            ClosedError: the stream was closed on this side, perhaps during the call.

        RFC 3207 §4, RFC 2595 §4.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Send what is unsent, say goodbye, close; within about a second, and then by force. Idempotent.

        If it is cancelled, the stream is aborted.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close immediately and forget what is unsent. Idempotent; calls of other tasks raise ClosedError."""

    @property
    @abstractmethod
    def is_stale(self) -> bool:
        """Whether an idle stream is past use: the peer ended it, or sent octets that nobody asked for."""

    @property
    @abstractmethod
    def is_broken(self) -> bool:
        """Whether nothing can be sent any more, as far as is known; there may still be octets to receive."""

    @property
    @abstractmethod
    def peer(self) -> str:
        """The IP address of the other end; `unix` for a socket in the file system; empty if unknown."""

    @property
    @abstractmethod
    def tls(self) -> ssl.SSLObject | None:
        """The state of TLS (certificate, cipher, version), or None while the connection is in the clear."""
