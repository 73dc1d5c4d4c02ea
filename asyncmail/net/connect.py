"""Connections to servers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio

from ..errors import MailTimeout, PlaintextAfterStartTLS, Stage, TLSError
from .anyio_stream import AnyIOStream
from .asyncio_stream import AsyncioStream
from .clock import now
from .endpoints import connect_error, resolve
from .runtime import running_loop
from .tls import default_context
from .url import ServerURL, TLSMode

if TYPE_CHECKING:
    import ssl

    from .stream import ByteStream

__all__ = ["connect"]

_ATTEMPT_DELAY = 0.25  # seconds between attempts at the addresses of a host (RFC 8305 §5)


async def connect(
    server: ServerURL | str,
    *,
    tls_context: ssl.SSLContext | None = None,
    local_address: str | None = None,
    timeout: float = 30.0,
) -> ByteStream:
    """Connect to a server, by whichever of its addresses answers first, and negotiate TLS if it is implicit.

    A cancelled call leaves no connection behind.

    Args:
        tls_context: for implicit TLS; by default one that trusts what the system trusts.
        local_address: the IP address of this machine to connect from.
        timeout: seconds for everything together.

    Raises:
        URLError: `server` is not the URL of a server.
        ConnectError: the name cannot be resolved, or nothing there accepted.
        TLSError: the TLS handshake failed.
        MailTimeout: it took longer than `timeout`.

    RFC 8305, RFC 8314 §3.
    """
    url = ServerURL.parse(server) if isinstance(server, str) else server
    stage, waiting_for = Stage.CONNECT, f"a connection to {url.endpoint}"
    with anyio.CancelScope(deadline=now() + timeout):
        try:
            stream = await _open(url, local_address)
        except OSError as exc:
            raise connect_error(exc, url.endpoint, "connect to") from exc
        if url.security is TLSMode.IMPLICIT:
            stage, waiting_for = Stage.TLS, f"the TLS handshake with {url.endpoint}"
            try:
                await stream.start_tls(tls_context or default_context(), server_hostname=url.host)
            except PlaintextAfterStartTLS:
                raise TLSError(
                    f"{url.endpoint} does not speak TLS on this port, it greeted in the clear",
                    cure="use a +starttls URL instead of one with implicit TLS",
                ) from None
        return stream
    raise MailTimeout(timeout, waiting_for=waiting_for, stage=stage)


async def _open(url: ServerURL, local_address: str | None) -> ByteStream:
    if url.path:
        loop = running_loop()
        if loop is None:
            return AnyIOStream(await anyio.connect_unix(url.path))
        _, stream = await loop.create_unix_connection(AsyncioStream, url.path)
        return stream
    addresses = await resolve(url.host, url.port)
    if local_address is not None:
        addresses = [a for a in addresses if (":" in a) == (":" in local_address)] or addresses
    if len(addresses) == 1:
        return await _attempt(addresses[0], url.port, local_address)
    return await _race(addresses, url.port, local_address)


async def _race(addresses: list[str], port: int, local_address: str | None) -> ByteStream:
    """Return the first connection that comes about; begin an attempt when the one before it failed or is slow."""
    streams: list[ByteStream] = []
    errors: list[OSError] = []

    async def attempt(address: str, failed: anyio.Event) -> None:
        try:
            streams.append(await _attempt(address, port, local_address))
        except OSError as exc:
            errors.append(exc)
            failed.set()
        else:
            attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                failed = anyio.Event()
                attempts.start_soon(attempt, address, failed)
                with anyio.move_on_after(_ATTEMPT_DELAY):
                    await failed.wait()
    except BaseException:
        for stream in streams:
            stream.abort()
        raise
    if not streams:
        raise errors[0]
    for stream in streams[1:]:  # two attempts can end in the same turn of the event loop
        stream.abort()
    return streams[0]


async def _attempt(address: str, port: int, local_address: str | None) -> ByteStream:
    loop = running_loop()
    if loop is None:
        if local_address is not None:
            # anyio leaves a socket open if this fails.
            with socket.socket(socket.AF_INET6 if ":" in local_address else socket.AF_INET) as probe:
                probe.bind((local_address, 0))
        return AnyIOStream(await anyio.connect_tcp(address, port, local_host=local_address))
    _, stream = await loop.create_connection(
        AsyncioStream,
        address,
        port,
        local_addr=None if local_address is None else (local_address, 0),
    )
    return stream
