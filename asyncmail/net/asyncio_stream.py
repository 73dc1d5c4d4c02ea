"""The stream on an asyncio transport: no task, no lock and no timer of its own for any call."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from ..errors import BusyError, ClosedError, ConnectionLost, MailError, PlaintextAfterStartTLS
from .clock import NEVER
from .endpoints import connection_lost, peer_name
from .stream import ByteStream, patience_of
from .tls import require_server_hostname, translate_tls_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["AsyncioStream"]

READ_SIZE = 256 * 1024  # octets taken from the socket at once
UNREAD_LIMIT = 384 * 1024  # octets kept for receive() before the peer is made to wait; more than one read
UNSENT_HIGH, UNSENT_LOW = (
    256 * 1024,
    64 * 1024,
)  # octets kept for the peer before send() waits, and until when
CLOSE_TIMEOUT = 1.0  # seconds for unsent octets and TLS's goodbye
HANDSHAKE_TIMEOUT = 3600.0  # seconds, where no deadline is given

_CHUNK_COST = (
    48  # octets of memory that a chunk costs above its own, so that many small ones count for what they are
)
_TIMER_SLACK = 0.002  # seconds by which an event loop's timer may be early

_shared_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _is_synchronous(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop asks for the buffer, fills it and says so without running anything else in between.

    Those of asyncio and uvloop do, and so does TLS on both. Of others that is not known.
    """
    return isinstance(loop, asyncio.BaseEventLoop) or type(loop).__module__ == "uvloop"


def _read_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    """Return what a transport reads into: the same for all connections of a loop, if that is safe."""
    if not _is_synchronous(loop):
        return memoryview(bytearray(READ_SIZE // 16))
    buffer = _shared_buffers.get(loop)
    if buffer is None:
        buffer = _shared_buffers[loop] = memoryview(bytearray(READ_SIZE))
    return buffer


class AsyncioStream(asyncio.BufferedProtocol, ByteStream):
    """A stream that is the protocol of an asyncio transport.

    Args:
        on_connection: called with the stream once it is connected; for servers.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_close_waiter",
        "_closed",
        "_eof",
        "_gone",
        "_loop",
        "_lost",
        "_on_connection",
        "_patience",
        "_peer",
        "_reading_paused",
        "_receive_deadline",
        "_receiver",
        "_respond",
        "_send_deadline",
        "_sender",
        "_timer",
        "_timer_at",
        "_tls",
        "_transport",
        "_unread",
        "_upgrading",
        "_writing_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, on_connection: Callable[[AsyncioStream], object] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_connection = on_connection
        self._buffer = _read_buffer(self._loop)
        self._chunks: list[bytes] = []
        self._unread = 0
        self._receiver: asyncio.Future[bool] | None = None
        self._receive_deadline = NEVER
        self._respond: Callable[[bytes], Sequence[bytes] | None] | None = None
        self._patience = patience_of(None)  # in a conversation
        self._sender: asyncio.Future[bool] | None = None
        self._send_deadline = NEVER
        self._close_waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._reading_paused = False
        self._writing_paused = False
        self._upgrading = False
        self._eof = False  # the peer ended its direction
        self._lost: Exception | None = None  # why the connection broke
        self._closed = False  # by this side
        self._gone = False  # the transport is no more
        self._peer = ""
        self._tls: ssl.SSLObject | None = None

    def __repr__(self) -> str:
        if self._closed:
            state = "closed"
        elif self._lost is not None:
            state = "lost"
        else:
            state = "ended" if self._eof else "open"
        return f"<AsyncioStream {self._peer or 'unnamed'} {state}{' tls' if self._tls else ''}>"

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._adopt(transport)
        self._peer = peer_name(transport.get_extra_info("peername"))
        on_connection, self._on_connection = self._on_connection, None
        if on_connection is not None:
            on_connection(self)

    def _adopt(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop implement the interface without inheriting from it.
        self._transport = transport  # type: ignore[assignment]
        self._tls = transport.get_extra_info("ssl_object")
        self._transport.set_write_buffer_limits(UNSENT_HIGH, UNSENT_LOW)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closed:
            return
        data = self._buffer[:nbytes].tobytes()
        receiver = self._receiver
        if receiver is not None and not receiver.done():
            if self._respond is not None:
                self._answer(self._respond, receiver, data)
                return
            receiver.set_result(False)
        self._chunks.append(data)
        self._unread += nbytes + _CHUNK_COST
        if self._unread > UNREAD_LIMIT:
            self._pause_reading()

    def _pause_reading(self) -> None:
        # During the handshake the transport is still the one below TLS.
        if not self._reading_paused and not self._upgrading:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        _wake(self._receiver)
        # In the clear the peer may still listen (RFC 9293 §3.6); under TLS the transport closes in any case.
        return self._tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if exc is not None and self._tls is None and not self._closed:
            self._chunks += _last_octets(self._transport)
        self._cancel_timer()
        if exc is None:
            self._eof = True
        elif not self._eof:
            self._lost = exc
        _wake(self._receiver)
        _wake(self._sender)
        _wake(self._close_waiter)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        _wake(self._sender)

    # Octets

    async def receive(self, *, deadline: float = NEVER) -> bytes:
        if self._receiver is not None:
            raise BusyError("another task is receiving from this stream", cure="let one task receive")
        if not self._chunks:
            if not (self._closed or self._gone or self._eof):
                self._receive_deadline = deadline
                if deadline < self._timer_at:
                    self._set_timer(deadline)
                self._receiver = self._loop.create_future()
                try:
                    await self._receiver
                finally:
                    self._receiver = None
            if not self._chunks:
                if self._closed or self._lost is not None:
                    raise self._failure()
                return b""
        data = b"".join(self._chunks)  # of one chunk: the chunk itself
        self._chunks.clear()
        self._unread = 0
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def send(self, chunks: Sequence[bytes], *, deadline: float = NEVER) -> None:
        if self._sender is not None:
            raise BusyError("another task is sending on this stream", cure="let one task send")
        if self._closed or self._gone:
            raise self._failure()
        # Not writelines(): under TLS it makes a record of each chunk, and CPython 3.12.0 to 3.12.8 do not call
        # pause_writing() in it (CVE-2024-12254).
        self._transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if not self._writing_paused:
            return
        self._send_deadline = deadline
        if deadline < self._timer_at:
            self._set_timer(deadline)
        self._sender = self._loop.create_future()
        try:
            await self._sender
        finally:
            self._sender = None
        self._require_open()

    async def converse(
        self,
        respond: Callable[[bytes], Sequence[bytes] | None],
        *,
        seconds: float | Callable[[], float] | None,
    ) -> None:
        if self._receiver is not None:  # whose time limit must stay what it is
            raise BusyError("another task is receiving from this stream", cure="let one task receive")
        self._patience = patience_of(seconds)
        is_over = False
        while not is_over:
            if self._chunks or self._closed or self._gone or self._eof:
                data = await self.receive()
                chunks = respond(data)
                if chunks is None:
                    return
                if chunks:
                    await self.send(chunks, deadline=self._loop.time() + self._patience())
                if not data:
                    raise ConnectionLost("the peer closed the connection")
                continue
            self._receive_deadline = self._loop.time() + self._patience()
            if self._receive_deadline < self._timer_at:
                self._set_timer(self._receive_deadline)
            self._receiver = self._loop.create_future()
            self._respond = respond
            try:
                is_over = await self._receiver
            finally:
                self._receiver = self._respond = None
            if self._writing_paused and not is_over:
                await self.send([b""], deadline=self._loop.time() + self._patience())

    def _answer(
        self, respond: Callable[[bytes], Sequence[bytes] | None], receiver: asyncio.Future[bool], data: bytes
    ) -> None:
        """Let the conversation go on where the octets arrived; wake its task once it is over, or has to wait."""
        try:
            chunks = respond(data)
        except Exception as exc:
            self._respond = None
            if not receiver.done():  # respond() may have aborted the stream
                receiver.set_exception(exc)
            return
        if self._closed:  # by respond(); the task has been woken
            return
        if chunks:
            self._transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        self._receive_deadline = self._loop.time() + self._patience()
        if self._receive_deadline < self._timer_at:
            self._set_timer(self._receive_deadline)
        if chunks is None or self._writing_paused:
            self._respond = None
            if not receiver.done():
                receiver.set_result(chunks is None)

    def _require_open(self) -> None:
        if self._closed or self._gone:
            raise self._failure()

    def _failure(self) -> MailError:
        if self._closed:
            return ClosedError("the stream was closed on this side", cure="open a new connection")
        if self._lost is None:
            return ConnectionLost("the peer closed the connection")
        if isinstance(self._lost, ssl.SSLError):
            return translate_tls_error(self._lost, self._peer)
        return connection_lost(self._lost)

    # One timer serves all deadlines: it is set to the earliest that anybody asked for and looks again when it fires.

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._check_deadlines)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = NEVER

    def _check_deadlines(self) -> None:
        self._timer = None
        self._timer_at = NEVER
        limit = self._loop.time() + _TIMER_SLACK
        earliest = min(
            _expire(
                self._receiver, self._receive_deadline, limit, "the peer sent nothing before the deadline"
            ),
            _expire(self._sender, self._send_deadline, limit, "the peer did not read before the deadline"),
        )
        if earliest < NEVER:
            self._set_timer(earliest)

    # TLS

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        deadline: float = NEVER,
    ) -> None:
        if self._receiver is not None or self._sender is not None or self._upgrading:
            raise BusyError("another task is using this stream", cure="let it finish before start_tls()")
        require_server_hostname(context, server_hostname, server_side)
        if self._chunks:
            self.abort()
            raise PlaintextAfterStartTLS("the peer sent octets in the clear before the TLS handshake")
        if self._closed or self._gone or self._eof:
            raise self._failure()
        self._upgrading = True
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_side=server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=min(max(deadline - self._loop.time(), 0.001), HANDSHAKE_TIMEOUT),
                ssl_shutdown_timeout=CLOSE_TIMEOUT,
            )
            if transport is None:  # abort() during the handshake
                raise self._failure()
            self._require_open()
        except BaseException as exc:
            failure = self._handshake_failure(exc, server_hostname or self._peer, deadline)
            self.abort()
            # Of a connection that ends before it has a TLS session, asyncio does not tell this protocol.
            self.connection_lost(None)
            if failure is exc:
                raise
            raise failure from exc
        finally:
            self._upgrading = False
        below = self._transport
        below.set_protocol(_BelowTLS(self, below))
        self._adopt(transport)
        if self._unread > UNREAD_LIMIT:
            self._pause_reading()

    def _handshake_failure(self, exc: BaseException, name: str, deadline: float) -> BaseException:
        if isinstance(exc, MailError) or not isinstance(exc, Exception):
            return exc
        if self._closed:
            return self._failure()
        if self._loop.time() + _TIMER_SLACK >= deadline:
            return TimeoutError("the TLS handshake took longer than its deadline")
        return translate_tls_error(exc, name)

    # The end

    async def aclose(self) -> None:
        if self._closed:
            return
        self._close()
        self._transport.close()
        if self._gone:
            return
        self._close_waiter = self._loop.create_future()
        force = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)
        try:
            await self._close_waiter
        except BaseException:
            self._transport.abort()
            raise
        finally:
            force.cancel()

    def abort(self) -> None:
        self._close()
        if not self._gone:
            self._transport.abort()

    def _close(self) -> None:
        self._closed = True
        self._chunks.clear()
        self._cancel_timer()
        _wake(self._receiver)
        _wake(self._sender)

    @property
    def is_stale(self) -> bool:
        return bool(self._chunks) or self._eof or self._gone or self._closed

    @property
    def is_broken(self) -> bool:
        return self._gone or self._closed

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def tls(self) -> ssl.SSLObject | None:
        return self._tls


class _BelowTLS(asyncio.BufferedProtocol):
    """Between a transport and the TLS that asyncio, or uvloop, set on it; there to see the connection lost.

    Args:
        stream: above TLS.
        transport: below it.
    """

    def __init__(self, stream: AsyncioStream, transport: asyncio.Transport) -> None:
        self._stream = stream
        self._transport = transport
        tls = self._tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
        # What is called for each segment goes there without a detour.
        self.get_buffer = tls.get_buffer  # type: ignore[method-assign]
        self.buffer_updated = tls.buffer_updated  # type: ignore[method-assign]
        self.eof_received = tls.eof_received  # type: ignore[method-assign]
        self.pause_writing = tls.pause_writing  # type: ignore[method-assign]
        self.resume_writing = tls.resume_writing  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._stream._respond = None  # the answer could not leave
            for data in _last_octets(self._transport):
                while data:
                    buffer = memoryview(self.get_buffer(len(data)))
                    part = data[: len(buffer)]
                    buffer[: len(part)] = part
                    self.buffer_updated(len(part))
                    data = data[len(part) :]
        self._tls.connection_lost(exc)


def _last_octets(transport: asyncio.Transport) -> Iterator[bytes]:
    """What the peer said before the connection broke: a write that fails makes asyncio stop reading."""
    file = transport.get_extra_info("socket").fileno()
    left = READ_SIZE
    with suppress(OSError):  # that is all, or the system does not read from sockets like this
        while left and (data := os.read(file, left)):
            left -= len(data)
            yield data


def _wake(waiter: asyncio.Future[bool] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(False)


def _expire(waiter: asyncio.Future[bool] | None, deadline: float, limit: float, problem: str) -> float:
    """Fail a call that is overdue; return when to look at it again."""
    if waiter is None or waiter.done():
        return NEVER
    if deadline > limit:
        return deadline
    waiter.set_exception(TimeoutError(problem))
    return NEVER
