"""The stream on an asyncio transport: no task, no lock and no timer of its own for any call."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..errors import BusyError, ClosedError, ConnectionLost, MailError, PlaintextAfterStartTLS
from .clock import NEVER
from .endpoints import connection_lost, peer_name
from .handshake import shake_hands
from .stream import ByteStream, patience_of
from .tls import require_server_hostname, tls_lost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextvars import Context

    from .tls_engine import TLSEngine

__all__ = ["AsyncioStream"]

READ_SIZE = 256 * 1024  # octets taken from the socket at once
UNREAD_LIMIT = 384 * 1024  # octets kept for receive() before the peer is made to wait; more than one read
UNSENT_HIGH, UNSENT_LOW = (
    256 * 1024,
    64 * 1024,
)  # octets kept for the peer before send() waits, and until when
CLOSE_TIMEOUT = 1.0  # seconds for unsent octets and TLS's goodbyes

_CHUNK_COST = (
    48  # octets of memory that a chunk costs above its own, so that many small ones count for what they are
)
_TIMER_SLACK = 0.002  # seconds by which an event loop's timer may be early
_LOOK_SIZE = 16 * 1024  # octets; more would be taken from the system for each look, and given back
_HANDSHAKE_RECORD = b"\x16"  # RFC 8446 §5.1

_shared_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _is_synchronous(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop asks for the buffer, fills it and says so without running anything else in between.

    Those of asyncio and uvloop do. Of others that is not known.
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


class _Receiver(asyncio.Future[bool]):
    """What a task waits for that receives; the task can go on where octets arrive, not in the loop's next round."""

    __slots__ = ("_context", "_go_on")

    # The task that awaits this has one callback, and one context to call it in.
    _go_on: Callable[[_Receiver], object]
    _context: Context

    def add_done_callback(self, fn: Callable[[_Receiver], object], *, context: Context | None = None) -> None:
        assert context is not None
        self._go_on = fn
        self._context = context
        super().add_done_callback(fn, context=context)

    def resume(self, result: bool) -> None:
        """Set the result, and let the task go on until it waits again."""
        if asyncio.current_task(self.get_loop()) is not None:  # no two tasks run at once
            self.set_result(result)
            return
        self.remove_done_callback(self._go_on)
        self.set_result(result)
        self._context.run(self._go_on, self)


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
        "_engine",
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
        "_transport",
        "_unread",
        "_writing_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, on_connection: Callable[[AsyncioStream], object] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_connection = on_connection
        self._buffer = _read_buffer(self._loop)
        self._chunks: list[bytes] = []
        self._unread = 0
        self._receiver: _Receiver | None = None
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
        self._eof = False  # the peer ended its direction
        self._lost: Exception | None = None  # why the connection broke
        self._closed = False  # by this side
        self._gone = False  # the transport is no more
        self._peer = ""
        self._engine: TLSEngine | None = None

    def __repr__(self) -> str:
        if self._closed:
            state = "closed"
        elif self._lost is not None:
            state = "lost"
        else:
            state = "ended" if self._eof else "open"
        return f"<AsyncioStream {self._peer or 'unnamed'} {state}{' tls' if self._engine else ''}>"

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop implement the interface without inheriting from it.
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(UNSENT_HIGH, UNSENT_LOW)
        self._peer = peer_name(transport.get_extra_info("peername"))
        on_connection, self._on_connection = self._on_connection, None
        if on_connection is not None:
            on_connection(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._engine is not None:
            self._decrypt(self._engine, self._buffer[:nbytes])
        elif not self._closed:
            self._take(self._buffer[:nbytes].tobytes())

    def _take(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is not None and not receiver.done():
            if self._respond is not None:
                self._answer(self._respond, receiver, data)
                return
            receiver.set_result(False)
        self._chunks.append(data)
        self._unread += len(data) + _CHUNK_COST
        if self._unread > UNREAD_LIMIT and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _decrypt(self, engine: TLSEngine, octets: bytes | memoryview) -> None:
        data = engine.decrypt(octets)
        if not self._closed:
            if data:
                self._take(data)
            own = engine.data_to_send()
            if own and not self._closed:  # by respond()
                self._transport.write(own)
        if engine.failure is not None:
            self._lose(engine.failure)
        elif engine.is_ended:
            self.eof_received()

    def _lose(self, reason: Exception) -> None:
        """End a connection on which nothing can be said any more."""
        if self._lost is None:
            self._lost = reason
        _wake(self._receiver)
        self._transport.abort()

    def eof_received(self) -> bool:
        if self._closed:  # and had waited for the peer's goodbye
            self._transport.close()
            return False
        engine = self._engine
        if engine is not None:
            engine.receive_eof()
            if engine.failure is not None:
                self._lose(engine.failure)
                return False
        self._eof = True
        _wake(self._receiver)
        # The peer may still listen (RFC 9293 §3.6, RFC 8446 §6.1).
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if exc is not None and not self._closed:
            self._keep_last_words()
        self._cancel_timer()
        if exc is None:
            self._eof = True
        elif not self._eof and self._lost is None:
            self._lost = exc
        _wake(self._receiver)
        _wake(self._sender)
        _wake(self._close_waiter)

    def _keep_last_words(self) -> None:
        """Read what the peer said before the connection broke: a write that fails makes asyncio stop reading."""
        engine = self._engine
        for octets in _last_octets(self._transport):
            data = octets if engine is None else engine.decrypt(octets)
            if data:
                self._chunks.append(data)
        if engine is not None and engine.is_ended:
            self._eof = True

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
                self._receiver = _Receiver(loop=self._loop)
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
        self._require_open()
        self._write(chunks)
        if not self._writing_paused:
            if self._transport.is_closing():  # writing failed; why is told in the next turn of the event loop
                raise self._failure()
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

    def _write(self, chunks: Sequence[bytes]) -> None:
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._engine is not None:
            try:
                data = self._engine.encrypt(data)
            except ssl.SSLError as exc:
                self._lose(exc)
                return
        # Not writelines(): CPython 3.12.0 to 3.12.8 do not call pause_writing() in it (CVE-2024-12254).
        self._transport.write(data)

    async def converse(
        self,
        respond: Callable[[bytes], Sequence[bytes] | None],
        *,
        seconds: float | Callable[[], float] | None,
        proceed: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        if self._receiver is not None:  # whose time limit must stay what it is
            raise BusyError("another task is receiving from this stream", cure="let one task receive")
        self._patience = patience_of(seconds)
        while True:
            is_at_end = False
            chunks: Sequence[bytes] | None
            if self._chunks or self._closed or self._gone or self._eof:
                data = await self.receive()
                is_at_end = not data
                chunks = respond(data)
            else:
                self._receive_deadline = self._loop.time() + self._patience()
                if self._receive_deadline < self._timer_at:
                    self._set_timer(self._receive_deadline)
                self._receiver = _Receiver(loop=self._loop)
                self._respond = respond
                try:
                    chunks = None if await self._receiver else ()
                finally:
                    self._receiver = self._respond = None
            if chunks is None and (proceed is None or not await proceed()):
                return
            if chunks or self._writing_paused:
                await self.send(chunks or [b""], deadline=self._loop.time() + self._patience())
            if is_at_end:
                raise ConnectionLost("the peer closed the connection")

    def interrupt(self) -> None:
        if self._respond is not None and self._receiver is not None and not self._receiver.done():
            self._respond = None
            self._receiver.set_result(True)

    def _answer(
        self, respond: Callable[[bytes], Sequence[bytes] | None], receiver: _Receiver, data: bytes
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
            self._write(chunks)
        if chunks is None or self._writing_paused:
            self._respond = None
            if not receiver.done():
                receiver.resume(chunks is None)
            return
        self._receive_deadline = self._loop.time() + self._patience()
        if self._receive_deadline < self._timer_at:
            self._set_timer(self._receive_deadline)

    def _require_open(self) -> None:
        if self._closed or self._gone or self._lost is not None:
            raise self._failure()

    def _failure(self) -> MailError:
        if self._closed:
            return ClosedError("the stream was closed on this side", cure="open a new connection")
        if self._lost is None:
            return ConnectionLost("the peer closed the connection")
        if isinstance(self._lost, ssl.SSLError):
            return tls_lost(self._lost, self._peer)
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
        if self._receiver is not None or self._sender is not None:
            raise BusyError("another task is using this stream", cure="let it finish before start_tls()")
        require_server_hostname(context, server_hostname, server_side)
        try:
            # A client that was quick has begun its handshake already; a server may not say anything before it.
            if self._chunks and not (server_side and self._chunks[0].startswith(_HANDSHAKE_RECORD)):
                raise PlaintextAfterStartTLS("the peer sent octets in the clear before the TLS handshake")
            self._require_open()
            if self._eof:
                raise self._failure()
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
        # What came right behind the handshake.
        early = await self.receive() if self._chunks else b""
        self._decrypt(engine, early)

    # The end

    async def aclose(self) -> None:
        if self._closed:
            return
        self._close()
        if self._gone:
            return
        if self._engine is not None:
            self._transport.write(self._engine.end())
        if self._engine is None or self._eof:
            # Closing a socket with input unread makes the system discard what the peer has not read yet.
            for _ in _last_octets(self._transport):
                pass
            self._transport.close()
        elif self._reading_paused:  # the peer's goodbye is to come
            self._transport.resume_reading()
        force = None
        if self._engine is not None or self._transport.get_write_buffer_size():  # it is up to the peer
            force = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)
        self._close_waiter = self._loop.create_future()
        try:
            await self._close_waiter
        except BaseException:
            self._transport.abort()
            raise
        finally:
            if force is not None:
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
        while self._receiver is None and not self._is_past_use and self._look():
            pass
        return self._is_past_use

    @property
    def _is_past_use(self) -> bool:
        return bool(self._chunks) or self._eof or self.is_broken

    def _look(self) -> bool:
        """Read what the event loop has not come to read: the program may have kept it busy since the server left.

        Returns:
            Whether there was something.
        """
        try:
            octets = os.read(self._transport.get_extra_info("socket").fileno(), _LOOK_SIZE)
        except ConnectionError as exc:
            self._lose(exc)
        except OSError:  # nothing has come, or the system does not read from sockets like this
            return False
        else:
            if not octets:
                self.eof_received()
            elif self._engine is not None:
                self._decrypt(self._engine, octets)
            else:
                self._take(octets)
        return True

    @property
    def is_broken(self) -> bool:
        return self._gone or self._closed or self._lost is not None or self._transport.is_closing()

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def tls(self) -> ssl.SSLObject | None:
        return None if self._engine is None else self._engine.ssl_object


def _last_octets(transport: asyncio.Transport) -> Iterator[bytes]:
    file = transport.get_extra_info("socket").fileno()
    left = READ_SIZE
    with suppress(OSError):  # that is all, or the system does not read from sockets like this
        while left > 0 and (data := os.read(file, _LOOK_SIZE)):
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
