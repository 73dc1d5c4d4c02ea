"""The stream on anything that anyio calls a byte stream: Trio's sockets, tunnels, memory."""

from __future__ import annotations

import select
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

from ..errors import BusyError, ClosedError, ConnectionLost, MailError, PlaintextAfterStartTLS, Stage
from .background import spawn
from .clock import NEVER, now
from .endpoints import connection_lost, peer_name
from .handshake import shake_hands
from .stream import ByteStream
from .tls import require_server_hostname, tls_lost

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from anyio.abc import ByteStream as AnyByteStream

    from .tls_engine import TLSEngine

__all__ = ["AnyIOStream"]

READ_SIZE = 64 * 1024  # octets taken from the stream at once
CLOSE_TIMEOUT = 1.0  # seconds


class AnyIOStream(ByteStream):
    """A stream over an `anyio.abc.ByteStream`.

    Of what nobody has received it sees what waits in a socket, no more. Where there is no socket, and on asyncio where
    anyio has read ahead on a connection that it accepted, `is_stale` says False, and plaintext before the TLS handshake
    makes that fail.

    Args:
        stream: to read and write; it belongs to this object from now on.
        peer: the other end's name, if the stream itself does not know it.
    """

    __slots__ = (
        "_closed",
        "_cut_short",
        "_early",
        "_engine",
        "_eof",
        "_lost",
        "_peer",
        "_receiving",
        "_sending",
        "_socket",
        "_transport",
    )

    def __init__(self, stream: AnyByteStream, *, peer: str = "") -> None:
        self._transport = stream
        self._engine: TLSEngine | None = None
        self._socket: socket.socket | None = stream.extra(SocketAttribute.raw_socket, None)
        self._peer = peer or peer_name(stream.extra(SocketAttribute.remote_address, None))
        self._early = b""  # what came right behind the handshake
        self._eof = False
        self._lost: Exception | None = None  # why the connection broke
        self._closed = False
        self._receiving = False
        self._sending = False
        self._cut_short = False  # a send() ended before its octets were out

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ended" if self._eof else "open"
        return f"<AnyIOStream {self._peer or 'unnamed'} {state}{' tls' if self._engine else ''}>"

    async def receive(self, *, deadline: float = NEVER) -> bytes:
        if self._receiving:
            raise BusyError("another task is receiving from this stream", cure="let one task receive")
        self._receiving = True
        try:
            if deadline == NEVER:
                return await self._receive()
            with anyio.CancelScope(deadline=deadline):
                return await self._receive()
        finally:
            self._receiving = False
        raise TimeoutError("the peer sent nothing before the deadline")

    async def _receive(self) -> bytes:
        engine = self._engine
        if self._early and not self._closed:
            early, self._early = self._early, b""
            return early
        while True:
            if engine is not None and self._lost is None:
                self._lost = engine.failure
            if self._closed or self._lost is not None:
                raise self._failure() from self._lost
            if self._eof or (engine is not None and engine.is_ended):
                self._eof = True
                return b""
            try:
                data = await self._transport.receive(READ_SIZE)
            except anyio.EndOfStream:
                if engine is None:
                    self._eof = True
                    return b""
                engine.receive_eof()
                continue
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
                # The system says so once, and that the stream has ended from then on.
                self._lost = _reason(exc)
                continue
            if engine is not None:
                data = engine.decrypt(data)
            if data:
                return data

    async def send(self, chunks: Sequence[bytes], *, deadline: float = NEVER) -> None:
        if self._sending:
            raise BusyError("another task is sending on this stream", cure="let one task send")
        if self._closed or self._cut_short or self._lost is not None:
            raise self._failure()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if not data:
            return
        if self._engine is not None:
            try:
                data = self._engine.encrypt(data)
            except ssl.SSLError as exc:
                self._lost = exc
                raise self._failure() from exc
        self._sending = self._cut_short = True
        try:
            with anyio.CancelScope(deadline=deadline):
                await self._transport.send(data)
                self._cut_short = False
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            # There may still be something to receive: why the peer left.
            raise self._failure(_reason(exc)) from exc
        finally:
            self._sending = False
        if self._cut_short:
            raise TimeoutError("the peer did not read before the deadline")

    def _failure(self, reason: Exception | None = None) -> MailError:
        if self._closed:
            return ClosedError("the stream was closed on this side", cure="open a new connection")
        reason = reason or self._lost
        if reason is None:
            return ConnectionLost("an earlier send was cut short", cure="open a new connection")
        if isinstance(reason, ssl.SSLError):
            return tls_lost(reason, self._peer)
        return connection_lost(reason)

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        deadline: float = NEVER,
    ) -> None:
        if self._receiving or self._sending:
            raise BusyError("another task is using this stream", cure="let it finish before start_tls()")
        require_server_hostname(context, server_hostname, server_side)
        try:
            if self._closed or self._cut_short or self._lost is not None:
                raise self._failure()
            # A client has not begun its handshake yet, so nothing that is there can belong to it.
            if self._eof or (not server_side and self._has_input()):
                if await self.receive(deadline=deadline):
                    raise PlaintextAfterStartTLS("the peer sent octets in the clear before the TLS handshake")
                raise ConnectionLost("the peer closed the connection", stage=Stage.TLS)
            engine = await shake_hands(
                self,
                context,
                server_hostname=server_hostname,
                server_side=server_side,
                deadline=deadline,
            )
        except BaseException:
            self.abort()
            raise
        self._engine = engine
        self._early = engine.decrypt(b"")

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        is_closed = False
        try:
            with (
                anyio.CancelScope(deadline=now() + CLOSE_TIMEOUT),
                suppress(OSError, anyio.BrokenResourceError),
            ):
                with suppress(anyio.EndOfStream, anyio.BusyResourceError):
                    await self._take_leave()
                await self._transport.aclose()
                is_closed = True
        finally:
            if not is_closed:
                self._abort()

    async def _take_leave(self) -> None:
        engine = self._engine
        if engine is not None and not self._cut_short:
            await self._transport.send(engine.end())
            while not (engine.is_ended or engine.failure):
                engine.decrypt(await self._transport.receive())
        # Closing a socket with input unread makes the system discard what the peer has not read yet.
        while self._has_input():
            await self._transport.receive()

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._abort()

    def _abort(self) -> None:
        # Nothing in anyio closes synchronously.
        spawn(anyio.aclose_forcefully, self._transport, name="close of a connection")

    @property
    def is_stale(self) -> bool:
        engine = self._engine
        return (
            self.is_broken
            or self._eof
            or bool(self._early)
            or (engine is not None and (engine.is_ended or engine.failure is not None))
            or self._has_input()
        )

    def _has_input(self) -> bool:
        """Whether octets or the end came and nobody received them; False where that cannot be seen."""
        if self._socket is None:
            return False
        if self._socket.fileno() < 0:  # anyio has closed it
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_broken(self) -> bool:
        was_cut_short = self._cut_short and not self._sending  # not one that is under way
        return was_cut_short or self._closed or self._lost is not None

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def tls(self) -> ssl.SSLObject | None:
        return None if self._engine is None else self._engine.ssl_object


def _reason(exc: Exception) -> Exception:
    return exc.__cause__ if isinstance(exc.__cause__, OSError) else exc
