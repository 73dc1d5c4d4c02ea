"""Listeners: one background task for each connection that comes."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import anyio
from anyio.abc import SocketAttribute

from ..errors import InputError, MailError
from .anyio_stream import AnyIOStream
from .asyncio_stream import AsyncioStream
from .background import spawn
from .clock import now
from .endpoints import connect_error, resolve
from .runtime import running_loop
from .url import format_endpoint

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Awaitable, Callable

    from anyio.abc import ByteStream as AnyByteStream
    from anyio.abc import SocketListener

    from .stream import ByteStream

__all__ = ["Listener", "listen"]

HANDSHAKE_TIMEOUT = 30.0  # seconds that a client may take for implicit TLS

_PORT_ATTEMPTS = 10
_ACCEPTS = (
    16  # connections that asyncio accepts in one turn; and so often it complains when it is out of files
)
_ACCEPT_PAUSE = 0.1  # seconds after an accept that failed, in which other connections may end
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_logger = logging.getLogger("asyncmail.net")


class Listener:
    """Sockets that accept connections. Made by `listen`.

    Args:
        doors: the sockets.
        path: of the socket in the file system, if it is one.
    """

    def __init__(self, doors: list[_Door], path: str = "") -> None:
        self._doors = doors
        self._path = path
        self.port: int = 0 if path else doors[0].port
        """The same on all addresses; 0 for a socket in the file system."""
        self.addresses: tuple[str, ...] = (path,) if path else tuple(door.endpoint for door in doors)
        """`host:port` for each socket, or the path."""

    def __repr__(self) -> str:
        return f"<Listener {' '.join(self.addresses)} {'open' if self._doors else 'closed'}>"

    async def aclose(self) -> None:
        """Accept no more connections; those that run go on. Idempotent, and safe to cancel."""
        doors, self._doors = self._doors, []
        for door in doors:
            door.close()
        if doors and self._path:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        for door in doors:
            await door.wait_closed()


async def listen(
    on_connection: Callable[[ByteStream], Awaitable[object]],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    path: str = "",
    backlog: int = 1024,
    tls_context: ssl.SSLContext | None = None,
) -> Listener:
    """Accept connections, on all addresses of a host or on a socket in the file system.

    Args:
        on_connection: run with the stream of each connection, in a background task of its own. When it returns the
            stream is closed, when it raises (which is logged) aborted.
        host: a name or an IP address of this machine; empty for all its addresses.
        port: 0 picks one that is free on all the addresses.
        path: listen here instead. What a server that is gone left behind there is replaced.
        backlog: connections that may wait to be accepted.
        tls_context: for implicit TLS. Connections whose handshake fails never get to `on_connection`.

    Raises:
        ConnectError: the address is in use, not this machine's, or not permitted.
        InputError: both a port and a path were given.

    If it is cancelled, nothing listens.
    """
    if path and port:
        raise InputError("a listener has a path or a port", cure="give one of them")
    if not 0 <= port <= 65_535:
        raise InputError(f"{port} is no port", cure="use a number up to 65535, or 0 for one that is free")
    doorkeeper = _Doorkeeper(on_connection, backlog, tls_context)
    try:
        if path:
            _refuse_socket_in_use(path)
            return Listener([await doorkeeper.open_path(path)], path)
        addresses = await resolve(host, port) if host else ["0.0.0.0", "::"]
        return Listener(await _open_all(doorkeeper, addresses, port))
    except OSError as exc:
        raise connect_error(exc, path or format_endpoint(host, port), "listen on") from exc


async def _open_all(doorkeeper: _Doorkeeper, addresses: list[str], port: int) -> list[_Door]:
    for attempts_left in reversed(range(_PORT_ATTEMPTS)):
        doors: list[_Door] = []
        try:
            for address in addresses:
                try:
                    doors.append(await doorkeeper.open(address, doors[0].port if doors else port))
                except OSError as exc:
                    # A machine without IPv6 still resolves its own name to ::1.
                    if exc.errno not in _NO_SUCH_FAMILY or (address == addresses[-1] and not doors):
                        raise
            return doors
        except BaseException as exc:
            for door in doors:
                door.close()
            # The port that was free on the first address need not be so on the others.
            if not (attempts_left and port == 0 and doors and getattr(exc, "errno", 0) == errno.EADDRINUSE):
                raise
    raise AssertionError("unreachable")


def _refuse_socket_in_use(path: str) -> None:
    """Raise OSError if a server answers on a socket; the event loops would take its place without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return
        except BlockingIOError:  # its queue is full
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class _Doorkeeper:
    """Opens sockets, and has those served who come in."""

    def __init__(
        self,
        on_connection: Callable[[ByteStream], Awaitable[object]],
        backlog: int,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        self._on_connection = on_connection
        self._backlog = backlog
        self._tls_context = tls_context

    async def open(self, address: str, port: int) -> _Door:
        loop = running_loop()
        if loop is None:
            listeners = await anyio.create_tcp_listener(
                local_host=address, local_port=port, backlog=self._backlog
            )
            return _AnyIODoor(cast("SocketListener", listeners.listeners[0]), self.admit_anyio)
        # Before it serves it holds nothing that a cancellation could leave behind.
        server = await loop.create_server(
            self._native_stream, address, port, backlog=_ACCEPTS, start_serving=False
        )
        return await _AsyncioDoor(server).open(self._backlog)

    async def open_path(self, path: str) -> _Door:
        loop = running_loop()
        if loop is None:
            return _AnyIODoor(await anyio.create_unix_listener(path, backlog=self._backlog), self.admit_anyio)
        server = await loop.create_unix_server(
            self._native_stream, path, backlog=_ACCEPTS, start_serving=False
        )
        return await _AsyncioDoor(server).open(self._backlog)

    def _native_stream(self) -> AsyncioStream:
        return AsyncioStream(self._admit)

    def admit_anyio(self, stream: AnyByteStream) -> None:
        """Begin to serve a connection that an anyio listener accepted."""
        self._admit(AnyIOStream(stream))

    def _admit(self, stream: ByteStream) -> None:
        spawn(self._serve, stream, name="connection").then(stream.abort)

    async def _serve(self, stream: ByteStream) -> None:
        if self._tls_context is not None:
            try:
                await stream.start_tls(
                    self._tls_context, server_side=True, deadline=now() + HANDSHAKE_TIMEOUT
                )
            except (MailError, TimeoutError) as exc:
                _logger.debug("%s: %s", stream.peer, exc)
                return
        await self._on_connection(stream)
        await stream.aclose()


class _AsyncioDoor:
    """One listening socket of asyncio."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.endpoint, self.port = _name(server.sockets[0].getsockname())

    async def open(self, backlog: int) -> _AsyncioDoor:
        try:
            await self._server.start_serving()
            for each in self._server.sockets:
                with socket.fromfd(each.fileno(), each.family, each.type) as listening:
                    listening.listen(backlog)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        self._server.close()

    async def wait_closed(self) -> None:
        """Return at once: the server's own method waits for the connections as well."""


class _AnyIODoor:
    """One listening socket of anyio, and the task that accepts on it."""

    def __init__(self, listener: SocketListener, admit: Callable[[AnyByteStream], None]) -> None:
        self._listener = listener
        self._admit = admit
        self.endpoint, self.port = _name(listener.extra(SocketAttribute.local_address))
        self._task = spawn(self._accept, name=f"listener on {self.endpoint}")

    async def _accept(self) -> None:
        async with self._listener as listener:
            while True:
                try:
                    stream = await listener.accept()
                except (OSError, anyio.BrokenResourceError) as exc:
                    # The connection is gone already, or this process has no file descriptor left for it.
                    _logger.warning(
                        "%s: a connection was not accepted: %s", self.endpoint, exc.__cause__ or exc
                    )
                    await anyio.sleep(_ACCEPT_PAUSE)
                else:
                    self._admit(stream)

    def close(self) -> None:
        self._task.cancel()

    async def wait_closed(self) -> None:
        await self._task.wait()


_Door = _AsyncioDoor | _AnyIODoor


def _name(address: object) -> tuple[str, int]:
    if isinstance(address, tuple):
        return format_endpoint(address[0], address[1]), address[1]
    return str(address), 0
