"""The stream on anything that anyio calls a byte stream: Trio's sockets, tunnels, memory."""

from __future__ import annotations

import select
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteStream as AnyByteStream
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from ..errors import BusyError, ClosedError, ConnectionLost, MailError, PlaintextAfterStartTLS, Stage
from .background import spawn
from .clock import NEVER, now
from .endpoints import connection_lost, peer_name
from .stream import ByteStream
from .tls import require_server_hostname, translate_tls_error

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["AnyIOStream"]

READ_SIZE = 64 * 1024  # octets taken from the stream at once
CLOSE_TIMEOUT = 1.0  # seconds


class _BelowTLS(AnyByteStream):
    """What TLS writes to: anyio's would read no more once a write has failed, and the peer may have said why."""

    def __init__(self, stream: AnyByteStream) -> None:
        self._stream = stream
        self.is_negotiated = False
        self.failure: Exception | None = None

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        try:
            await self._stream.send(item)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            if not self.is_negotiated:
                raise
            self.failure = exc

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes


class AnyIOStream(ByteStream):
    """A stream over an `anyio.abc.ByteStream`.

    Args:
        stream: to read and write; it belongs to this object from now on.
        peer: the other end's name, if the stream itself does not know it.
    """

    __slots__ = (
        "_below_tls",
        "_broken",
        "_closed",
        "_cut_short",
        "_eof",
        "_leftover",
        "_peer",
        "_receiving",
        "_sending",
        "_socket",
        "_stream",
        "_tls",
        "_transport",
    )

    def __init__(self, stream: AnyByteStream, *, peer: str = "") -> None:
        self._transport = stream
        self._stream: AnyByteStream = stream  # the same, or TLS on it
        self._socket: socket.socket | None = stream.extra(SocketAttribute.raw_socket, None)
        self._peer = peer or peer_name(stream.extra(SocketAttribute.remote_address, None))
        self._tls: ssl.SSLObject | None = None
        self._below_tls: _BelowTLS | None = None
        self._leftover = b""  # an octet that is_stale took out of TLS
        self._eof = False
        self._broken: ssl.SSLError | None = (
            None  # TLS itself reports it once, and an end of the stream from then on
        )
        self._closed = False
        self._receiving = False
        self._sending = False
        self._cut_short = False  # a send() ended before its octets were out

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ended" if self._eof else "open"
        return f"<AnyIOStream {self._peer or 'unnamed'} {state}{' tls' if self._tls else ''}>"

    async def receive(self, *, deadline: float = NEVER) -> bytes:
        if self._receiving:
            raise BusyError("another task is receiving from this stream", cure="let one task receive")
        if self._closed:
            raise self._failure(None)
        if self._leftover:
            data, self._leftover = self._leftover, b""
            return data
        if self._broken is not None:
            raise translate_tls_error(self._broken, self._peer)
        if self._eof:
            return b""
        self._receiving = True
        try:
            if deadline == NEVER:
                return await self._stream.receive(READ_SIZE)
            with anyio.CancelScope(deadline=deadline):
                return await self._stream.receive(READ_SIZE)
        except anyio.EndOfStream:
            self._eof = True
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            raise self._failure(exc) from exc
        finally:
            self._receiving = False
        raise TimeoutError("the peer sent nothing before the deadline")

    async def send(self, chunks: Sequence[bytes], *, deadline: float = NEVER) -> None:
        if self._sending:
            raise BusyError("another task is sending on this stream", cure="let one task send")
        if self._closed or self._cut_short:
            raise self._failure(None)
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if not data:
            return
        self._sending = self._cut_short = True
        try:
            with anyio.CancelScope(deadline=deadline):
                await self._stream.send(data)
                if self._below_tls is not None and self._below_tls.failure is not None:
                    raise self._below_tls.failure
                self._cut_short = False
        except anyio.EndOfStream:  # TLS has been told that the peer ended it
            raise ConnectionLost("the peer closed the connection") from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            raise self._failure(exc) from exc
        finally:
            self._sending = False
        if self._cut_short:
            raise TimeoutError("the peer did not read before the deadline")

    def _failure(self, exc: Exception | None) -> MailError:
        if self._closed:
            return ClosedError("the stream was closed on this side", cure="open a new connection")
        if isinstance(exc, ssl.SSLError):
            self._broken = exc
            return translate_tls_error(exc, self._peer)
        if exc is None:
            return ConnectionLost("an earlier send was cut short", cure="open a new connection")
        reason = exc.__cause__ if isinstance(exc.__cause__, OSError) else exc
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
        if self._closed or self._cut_short:
            raise self._failure(None)
        require_server_hostname(context, server_hostname, server_side)
        # A client has not begun its handshake yet, so nothing that is there can belong to it.
        if self._eof or (not server_side and self._has_input()):
            plaintext = await self.receive(deadline=deadline)
            self.abort()
            if plaintext:
                raise PlaintextAfterStartTLS("the peer sent octets in the clear before the TLS handshake")
            raise ConnectionLost("the peer closed the connection", stage=Stage.TLS)
        stream: TLSStream | None = None
        below = _BelowTLS(self._stream)
        self._receiving = self._sending = True
        try:
            with anyio.CancelScope(deadline=deadline):
                stream = await TLSStream.wrap(
                    below,
                    server_side=server_side,
                    hostname=server_hostname,
                    ssl_context=context,
                    standard_compatible=False,
                )
        except (
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            OSError,
            ValueError,
        ) as exc:
            if self._closed:
                raise self._failure(exc) from exc
            raise translate_tls_error(exc, server_hostname or self._peer) from exc
        finally:
            self._receiving = self._sending = False
            if stream is None:
                self.abort()
        if stream is None:
            raise TimeoutError("the TLS handshake took longer than its deadline")
        self._stream = stream
        self._below_tls = below
        below.is_negotiated = True
        self._tls = stream.extra(TLSAttribute.ssl_object)

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
                # Closing a socket with input unread, be it but TLS's session tickets, makes the system discard what
                # the peer has not read yet.
                with suppress(anyio.EndOfStream):
                    while self._has_input():
                        await self._transport.receive()
                await self._stream.aclose()
                is_closed = True
        finally:
            if not is_closed:
                spawn(anyio.aclose_forcefully, self._stream, name="close of a connection")

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            # Nothing in anyio closes synchronously.
            spawn(anyio.aclose_forcefully, self._stream, name="close of a connection")

    @property
    def is_stale(self) -> bool:
        if self._closed or self._eof or self._leftover or self._broken is not None:
            return True
        if self._tls is not None:
            try:
                self._leftover = self._tls.read(1)
            except ssl.SSLWantReadError:
                return self._has_input()
            except ssl.SSLError as exc:
                self._broken = exc
            return True
        return self._has_input()

    def _has_input(self) -> bool:
        """Whether octets or the end came and nobody received them; False where that cannot be seen."""
        if self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_broken(self) -> bool:
        return self._cut_short or self._closed

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def tls(self) -> ssl.SSLObject | None:
        return self._tls
