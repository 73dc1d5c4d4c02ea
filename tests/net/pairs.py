"""Pairs of connected streams, of every kind that there is."""

from __future__ import annotations

import functools
import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncmail.net import AnyIOStream, ByteStream, connect, listen, memory_stream_pair

from .runtimes import eventually, run

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from peers import Authority

__all__ = ["KINDS", "on_each_stream", "stream_pair", "upgrade"]

# The kind, and the runtime on which it runs. On asyncio, anyio's stream faces a native one, as client or as server:
# two of its own would show anyio's habit of reading all that comes before the first receive() on a stream it accepted.
KINDS = (
    ("native", "asyncio"),
    ("native", "uvloop"),
    ("native", "trio"),
    ("anyio", "asyncio"),
    ("anyio-accepts", "asyncio"),
    ("memory", "asyncio"),
    ("memory", "trio"),
)


@asynccontextmanager
async def stream_pair(kind: str) -> AsyncIterator[tuple[ByteStream, ByteStream]]:
    """A client's and a server's end of one connection; both are aborted afterwards."""
    if kind == "memory":
        client, server = memory_stream_pair()
        async with _aborting(client, server):
            yield client, server
    else:
        accepted: list[ByteStream] = []
        done = anyio.Event()

        async def keep(stream: ByteStream) -> None:
            accepted.append(stream)
            await done.wait()

        listener = await listen(keep)
        if kind == "native":
            client = await connect(f"smtp://127.0.0.1:{listener.port}")
        else:
            client = AnyIOStream(await anyio.connect_tcp("127.0.0.1", listener.port))
        await eventually(lambda: accepted)
        await listener.aclose()
        async with _aborting(client, accepted[0]):
            try:
                yield (accepted[0], client) if kind == "anyio-accepts" else (client, accepted[0])
            finally:
                done.set()


@asynccontextmanager
async def _aborting(*streams: ByteStream) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for stream in streams:
            stream.abort()
        with anyio.CancelScope(shield=True):
            for _ in range(5):
                await anyio.lowlevel.checkpoint()


async def upgrade(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    """Negotiate TLS from both ends."""
    async with anyio.create_task_group() as group:
        group.start_soon(_accept_tls, server, server_tls)
        await anyio.lowlevel.checkpoint()  # the server has to listen for the handshake before it begins
        await client.start_tls(client_tls, server_hostname="localhost")


async def _accept_tls(server: ByteStream, server_tls: ssl.SSLContext) -> None:
    await server.start_tls(server_tls, server_side=True)


def on_each_stream(*, encrypted: tuple[bool, ...] = (False, True)) -> Any:
    """Make a test of an async function of `client` and `server`, for each kind of stream, in the clear and with TLS."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Any:
        @functools.wraps(test)
        def sync_test(kind: str, runtime: str, tls: bool, authority: Authority, **arguments: object) -> None:
            async def with_pair() -> None:
                async with stream_pair(kind) as (client, server):
                    if tls:
                        await upgrade(client, server, authority.client_context(), authority.server_context())
                    await test(client=client, server=server, **arguments)

            run(runtime, with_pair)

        names = ["kind", "runtime", "tls", "authority"]
        names += [each for each in inspect.signature(test).parameters if each not in ("client", "server")]
        sync_test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        cases = [
            pytest.param(kind, runtime, tls, id=f"{kind}-{runtime}-{'tls' if tls else 'clear'}")
            for kind, runtime in KINDS
            for tls in encrypted
        ]
        return pytest.mark.parametrize(("kind", "runtime", "tls"), cases)(sync_test)

    return decorate
