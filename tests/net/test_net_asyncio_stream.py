"""What only the native stream has: its buffers, its timer, half-closed and broken connections."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
import struct
import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from asyncmail.errors import BusyError, ClosedError, ConnectionLost, TLSError
from asyncmail.net import AsyncioStream, asyncio_stream, connect, listen, now
from asyncmail.net.asyncio_stream import UNREAD_LIMIT
from net.pairs import stream_pair
from net.runtimes import eventually, on_each_runtime

on_asyncio = on_each_runtime(runtimes=("asyncio", "uvloop"))


@asynccontextmanager
async def raw_peer():
    """A stream, and the socket of its peer, which no event loop knows."""
    accepted: list[AsyncioStream] = []
    done = asyncio.Event()

    async def keep(stream):
        accepted.append(stream)
        await done.wait()

    listener = await listen(keep)
    peer = socket.create_connection(("127.0.0.1", listener.port))
    await eventually(lambda: accepted)
    await listener.aclose()
    try:
        yield accepted[0], peer
    finally:
        peer.close()
        accepted[0].abort()
        done.set()
        await asyncio.sleep(0.01)


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@on_asyncio
async def test_a_peer_that_only_stops_sending_still_gets_answers():
    async with raw_peer() as (stream, peer):
        peer.sendall(b"QUIT\r\n")
        peer.shutdown(socket.SHUT_WR)
        assert await stream.receive() == b"QUIT\r\n"
        assert await stream.receive() == b""
        assert stream.is_stale
        await stream.send([b"221 bye\r\n"])
        await stream.aclose()
        assert peer.recv(100) == b"221 bye\r\n"
        assert peer.recv(100) == b""


@on_asyncio
async def test_a_reset_is_not_an_end():
    async with raw_peer() as (stream, peer):
        peer.sendall(b"QUIT\r\n")
        await eventually(lambda: stream.is_stale)
        reset(peer)
        await eventually(lambda: "lost" in repr(stream))
        assert await stream.receive() == b"QUIT\r\n"  # what came before it is not lost
        for _ in range(2):
            with pytest.raises(ConnectionLost, match=r"the connection was lost: .*[Cc]onnection reset"):
                await stream.receive()
        with pytest.raises(ConnectionLost):
            await stream.send([b"x"])
        with pytest.raises(ConnectionLost):
            await stream.start_tls(ssl.create_default_context(), server_hostname="localhost")
        await stream.aclose()


@on_asyncio
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("end", ["close", "reset", "octets"])
async def test_what_came_while_the_event_loop_was_kept_busy(client_tls, server_tls, encrypted, end):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await connect(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
        peer, _ = listener.accept()
    if encrypted:
        async with anyio.create_task_group() as group:

            def wrap():
                nonlocal peer
                peer = server_tls.wrap_socket(peer, server_side=True)
                peer.sendall(b"220 ready\r\n")

            group.start_soon(anyio.to_thread.run_sync, wrap)
            await stream.start_tls(client_tls, server_hostname="localhost")
            assert await stream.receive() == b"220 ready\r\n"
    await asyncio.sleep(0.01)
    assert not stream.is_stale
    if end == "octets":
        peer.sendall(b"421 bye\r\n")
    elif end == "reset":
        reset(peer)
    else:
        peer.close()
    assert stream.is_stale
    assert stream.is_stale
    if end == "octets":
        assert await stream.receive() == b"421 bye\r\n"
        assert not stream.is_stale
    elif end == "reset" or encrypted:
        with pytest.raises(ConnectionLost, match="reset" if end == "reset" else "without ending TLS"):
            await stream.receive()
    else:
        assert await stream.receive() == b""
    stream.abort()
    peer.close()


@on_asyncio
async def test_a_reset_during_receive():
    async with raw_peer() as (stream, peer), anyio.create_task_group() as group:

        async def receive():
            with pytest.raises(ConnectionLost):
                await stream.receive()

        group.start_soon(receive)
        await asyncio.sleep(0.01)
        reset(peer)


@on_asyncio
async def test_a_reset_during_send():
    async with raw_peer() as (stream, peer), anyio.create_task_group() as group:

        async def send():
            with pytest.raises(ConnectionLost):
                while True:
                    await stream.send([bytes(1_000_000)])

        group.start_soon(send)
        await asyncio.sleep(0.05)
        reset(peer)


@on_asyncio
async def test_unread_octets_are_bounded():
    async with raw_peer() as (stream, peer):
        peer.setblocking(False)
        sent = 0
        quiet = 0
        while quiet < 5:
            try:
                sent += peer.send(bytes(100_000))
                quiet = 0
            except BlockingIOError:
                quiet += 1
            await asyncio.sleep(0.005)
        assert stream._unread <= UNREAD_LIMIT + asyncio_stream.READ_SIZE + 1000
        received = 0
        while received < sent:
            received += len(await stream.receive(deadline=now() + 20))
        assert received == sent


@on_asyncio
async def test_small_segments_count_for_the_memory_they_take():
    async with raw_peer() as (stream, peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setblocking(False)
        for _ in range(20_000):
            try:
                peer.send(b"x")
            except BlockingIOError:
                break
            await asyncio.sleep(0)
            if stream._reading_paused:
                break
        assert stream._reading_paused
        assert sum(sys.getsizeof(chunk) for chunk in stream._chunks) < UNREAD_LIMIT


@on_asyncio
async def test_one_buffer_for_all_connections(monkeypatch):
    async with stream_pair("native") as (client, server):
        assert client._buffer is server._buffer
    monkeypatch.setattr(asyncio_stream, "_is_synchronous", lambda loop: False)
    async with stream_pair("native") as (client, server):
        assert client._buffer is not server._buffer
        content = bytes(range(256)) * 4000
        await client.send([content])
        received = b""
        while len(received) < len(content):
            received += await server.receive()
        assert received == content


@on_asyncio
async def test_an_idle_connection_is_small():
    async with stream_pair("native") as (client, server):
        await client.send([b"x"])
        await server.receive(deadline=now() + 60)
        own = sum(map(sys.getsizeof, (server, server._chunks, server._peer, server._timer)))
        assert own < 1024


@on_asyncio
async def test_deadlines_share_one_timer():
    async with stream_pair("native") as (client, server):
        timers = set()
        for _ in range(50):
            await client.send([b"x"])
            await server.receive(deadline=now() + 60)
            timers.add(id(server._timer))
        assert len(timers) == 1
        await server.aclose()
        assert server._timer is None


@on_asyncio
async def test_a_refused_conversation_leaves_the_first_its_time_limit():
    async with raw_peer() as (stream, peer), anyio.create_task_group() as group:

        async def converse():
            with pytest.raises(TimeoutError):
                await stream.converse(lambda data: [], seconds=lambda: 0.1)

        group.start_soon(converse)
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError):
            await stream.converse(lambda data: [], seconds=600)
        peer.sendall(b"x")


@on_asyncio
async def test_a_conversation_that_aborts_leaves_no_timer():
    async with raw_peer() as (stream, peer), anyio.create_task_group() as group:

        def leave(data):
            stream.abort()
            return []

        async def converse():
            with pytest.raises(ClosedError):
                await stream.converse(leave, seconds=60)

        group.start_soon(converse)
        await asyncio.sleep(0.01)
        peer.sendall(b"x")
        await eventually(lambda: "closed" in repr(stream))
        assert stream._timer is None


@on_asyncio
async def test_two_directions_with_a_deadline_each():
    async with raw_peer() as (stream, _peer), anyio.create_task_group() as group:
        ended = []

        async def receive():
            with pytest.raises(TimeoutError, match="sent nothing"):
                await stream.receive(deadline=now() + 0.15)
            ended.append("receive")

        async def send():
            with pytest.raises(TimeoutError, match="did not read"):
                while True:
                    await stream.send([bytes(1_000_000)], deadline=now() + 0.05)
            ended.append("send")

        group.start_soon(receive)
        group.start_soon(send)
        await eventually(lambda: len(ended) == 2)


@on_asyncio
async def test_a_deadline_of_tls_leaves_nothing_behind(client_tls):
    async with raw_peer() as (stream, _peer):
        with pytest.raises(TimeoutError):
            await stream.start_tls(client_tls, server_hostname="localhost", deadline=now() - 1)
        with pytest.raises(ClosedError):
            await stream.receive()


@on_asyncio
async def test_noise_after_the_handshake(client_tls, server_tls):
    """An attacker without the key cannot pretend that the stream ended, nor that it goes on."""
    async with raw_peer() as (stream, peer):

        def handshake():
            tls = server_tls.wrap_bio(
                incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), server_side=True
            )
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    peer.sendall(outgoing.read())
                    assert incoming.write(peer.recv(65536)), "the stream left in the middle of the handshake"
                else:
                    peer.sendall(outgoing.read() + b"\x17\x03\x03\x00\x10" + bytes(16))
                    return

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, handshake)
            await stream.start_tls(client_tls, server_hostname="localhost")
        with pytest.raises((TLSError, ConnectionLost)):
            await stream.receive(deadline=now() + 20)


@on_asyncio
async def test_closing_while_the_peer_is_closing(client_tls, server_tls):
    async def leave(stream):
        await stream.aclose()

    listener = await listen(leave, tls_context=server_tls)
    for _ in range(5):
        stream = await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
        async with anyio.create_task_group() as group:
            group.start_soon(stream.aclose)
            group.start_soon(stream.aclose)
    await listener.aclose()


@on_asyncio
async def test_closing_during_the_handshake(client_tls):
    async with raw_peer() as (stream, _peer), anyio.create_task_group() as group:

        async def start_tls():
            with pytest.raises(ClosedError):
                await stream.start_tls(client_tls, server_hostname="localhost")

        group.start_soon(start_tls)
        await asyncio.sleep(0.02)
        await stream.aclose()


@on_asyncio
async def test_a_conversation_ends_in_its_own_task_right_where_octets_arrive():
    where = contextvars.ContextVar("where", default="elsewhere")
    async with raw_peer() as (stream, peer), anyio.create_task_group() as group:
        happened: list[str] = []

        def leave(data: bytes) -> None:
            asyncio.get_running_loop().call_soon(happened.append, "next round")

        async def converse():
            where.set("here")
            task = asyncio.current_task()
            for _ in range(2):
                await stream.converse(leave, seconds=60)
                assert asyncio.current_task() is task
                assert where.get() == "here"
                happened.append("went on")

        group.start_soon(converse)
        for count in (2, 4):
            await asyncio.sleep(0.01)
            peer.sendall(b"x")
            await eventually(lambda count=count: len(happened) == count)
        assert happened == ["went on", "next round"] * 2


@on_asyncio
async def test_octets_that_arrive_within_a_task_let_it_finish_its_turn():
    async with raw_peer() as (stream, _), anyio.create_task_group() as group:
        over = False

        async def converse():
            nonlocal over
            await stream.converse(lambda data: None, seconds=60)
            over = True

        group.start_soon(converse)
        await asyncio.sleep(0.01)
        stream.get_buffer(-1)[:1] = b"x"
        stream.buffer_updated(1)
        assert not over
        await eventually(lambda: over)
