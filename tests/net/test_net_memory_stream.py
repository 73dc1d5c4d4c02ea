from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmail.errors import ConnectionLost, InputError
from asyncmail.net import memory_stream_pair, now
from net.pairs import upgrade
from net.runtimes import on_each_runtime, run

on_both = on_each_runtime(runtimes=("asyncio", "trio"))


@on_both
async def test_segments():
    client, server = memory_stream_pair(segment=3)
    await client.send([b"EHLO", b" x\r\n"])
    await client.aclose()
    received = []
    while data := await server.receive():
        received.append(data)
    assert received == [b"EHL", b"O x", b"\r\n"]
    await server.aclose()


@on_both
async def test_drop():
    client, server = memory_stream_pair(drop_after=10)
    await client.send([b"12345"])
    assert await server.receive() == b"12345"
    with pytest.raises(ConnectionLost):
        await server.send([b"abcdefgh"])
    assert await client.receive() == b"abcde"
    for stream in (client, server):
        with pytest.raises(ConnectionLost):
            await stream.receive()
        with pytest.raises(ConnectionLost):
            await stream.send([b"x"])
        assert stream.is_stale
        stream.abort()
    await anyio.sleep(0.01)


@on_both
async def test_drop_ends_a_pending_receive():
    client, server = memory_stream_pair(drop_after=3)
    async with anyio.create_task_group() as group:

        async def receive():
            with pytest.raises(ConnectionLost):
                await client.receive()

        group.start_soon(receive)
        await anyio.sleep(0.01)
        await client.send([b"123"])
        with pytest.raises(ConnectionLost):
            await client.send([b"4"])
    assert await server.receive() == b"123"


@on_both
async def test_drop_before_the_first_octet(client_tls):
    client, server = memory_stream_pair(drop_after=0)
    with pytest.raises(ConnectionLost):
        await client.receive()
    with pytest.raises(ConnectionLost):
        await server.send([b"x"])
    with pytest.raises(ConnectionLost):
        await client.start_tls(client_tls, server_hostname="localhost")


@on_both
async def test_two_records_of_tls_in_one_segment(client_tls, server_tls):
    client, server = memory_stream_pair()
    await upgrade(client, server, client_tls, server_tls)
    await server.send([b"250 OK\r\n"])
    await server.send([b"421 bye\r\n"])
    assert await client.receive() == b"250 OK\r\n421 bye\r\n"
    assert not client.is_stale
    await server.aclose()
    await client.aclose()


@on_both
async def test_octets_that_are_not_tls(client_tls, server_tls):
    for look_first in (True, False):
        client, server = memory_stream_pair()
        await upgrade(client, server, client_tls, server_tls)
        await server.send([b"250 OK\r\n"])
        await server._transport.send(b"in the clear\r\n")
        assert await client.receive() == b"250 OK\r\n"
        if look_first:
            assert client.is_stale
        for _ in range(2):
            with pytest.raises(
                ConnectionLost, match=r"TLS with 127\.0\.0\.1 broke: wrong version number .*proxy"
            ):
                await client.receive()
        assert client.is_stale
        client.abort()
        server.abort()
    await anyio.sleep(0.01)


@on_both
async def test_drop_at_any_octet_of_a_handshake(client_tls, server_tls):
    for octets in range(0, 2000, 97):
        client, server = memory_stream_pair(drop_after=octets)
        with pytest.raises(BaseExceptionGroup) as caught:
            await upgrade(client, server, client_tls, server_tls)
        assert caught.value.subgroup(ConnectionLost)
    await anyio.sleep(0.01)


@on_both
async def test_delay():
    client, server = memory_stream_pair(delay=0.05)
    await client.send([b"x"])
    with pytest.raises(TimeoutError):
        await server.receive(deadline=now() + 0.01)
    start = now()
    assert await server.receive(deadline=now() + 20) == b"x"
    assert now() - start > 0.045


@on_both
async def test_the_peer():
    client, server = memory_stream_pair(peer="192.0.2.1")
    assert client.peer == server.peer == "192.0.2.1"
    assert repr(client) == "<AnyIOStream 192.0.2.1 open>"
    assert "unnamed" in repr(memory_stream_pair(peer="")[0])


@pytest.mark.parametrize("options", [{"segment": 0}, {"drop_after": -1}, {"delay": -0.1}])
def test_options_out_of_range(options):
    with pytest.raises(InputError, match="out of range"):
        memory_stream_pair(**options)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 9), st.sampled_from(["asyncio", "trio"]))
def test_what_is_sent_is_received_whatever_the_division(chunks, segment, runtime):
    async def main():
        client, server = memory_stream_pair(segment=segment)
        await client.send(chunks)
        await client.aclose()
        received = b""
        while data := await server.receive():
            assert len(data) <= segment
            received += data
        assert received == b"".join(chunks)
        await server.aclose()

    run(runtime, main)
