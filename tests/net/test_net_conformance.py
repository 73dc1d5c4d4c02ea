"""What every stream does, whatever it is made of."""

from __future__ import annotations

import os
import ssl

import anyio
import anyio.lowlevel
import pytest

from asyncmail.errors import (
    BusyError,
    ClosedError,
    ConnectionLost,
    InputError,
    PlaintextAfterStartTLS,
    TLSError,
)
from asyncmail.net import ByteStream, anyio_stream, asyncio_stream, memory_stream_pair, now
from net.pairs import KINDS, on_each_stream, stream_pair, upgrade
from net.runtimes import eventually, on_each_runtime, run


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers here are slow to leave on purpose."""
    monkeypatch.setattr(anyio_stream, "CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(asyncio_stream, "CLOSE_TIMEOUT", 0.1)


async def receive_exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive(deadline=now() + 20)
        assert data, "the stream ended early"
    return data


async def receive_the_cut(stream: ByteStream) -> None:
    """The peer aborted the connection: an end in the clear, where nothing says better, and a broken one with TLS."""
    if stream.tls is None:
        assert await stream.receive(deadline=now() + 20) == b""
    else:
        for _ in range(2):
            with pytest.raises(
                ConnectionLost, match=r"127\.0\.0\.1 closed the connection without ending TLS"
            ):
                await stream.receive(deadline=now() + 20)


async def receive_all(stream: ByteStream) -> bytes:
    data = b""
    while chunk := await stream.receive(deadline=now() + 20):
        data += chunk
    return data


@on_each_stream()
async def test_octets_arrive_in_order(client: ByteStream, server: ByteStream) -> None:
    await client.send([b"EHLO ", b"client", b"\r\n"])
    assert await receive_exactly(server, 13) == b"EHLO client\r\n"
    await server.send([b"250 server\r\n"])
    assert await receive_exactly(client, 12) == b"250 server\r\n"
    await client.send([])
    await client.send([b""])
    await client.send([b"", b"QUIT\r\n"])
    assert await receive_exactly(server, 6) == b"QUIT\r\n"


@on_each_stream()
async def test_any_division_into_sends(client: ByteStream, server: ByteStream) -> None:
    content = os.urandom(1500)
    async with anyio.create_task_group() as group:

        async def send() -> None:
            position = 0
            for size in (1, 0, 2, 3, 500, 1, 993):
                await client.send([content[position : position + size]])
                position += size
                await anyio.lowlevel.checkpoint()

        group.start_soon(send)
        assert await receive_exactly(server, len(content)) == content


@on_each_stream()
async def test_large_transfers_in_both_directions_at_once(client: ByteStream, server: ByteStream) -> None:
    forth, back = os.urandom(3_000_000), os.urandom(3_000_000)

    async def send(stream: ByteStream, content: bytes) -> None:
        for start in range(0, len(content), 100_000):
            await stream.send([content[start : start + 50_000], content[start + 50_000 : start + 100_000]])

    async def receive(stream: ByteStream, content: bytes) -> None:
        assert await receive_exactly(stream, len(content)) == content

    async with anyio.create_task_group() as group:
        group.start_soon(send, client, forth)
        group.start_soon(send, server, back)
        group.start_soon(receive, client, back)
        group.start_soon(receive, server, forth)


@on_each_stream()
async def test_a_sender_stalls_while_nobody_receives(client: ByteStream, server: ByteStream) -> None:
    chunk = bytes(64 * 1024)
    sent = 0
    is_done = False

    async def send() -> None:
        nonlocal sent, is_done
        for _ in range(640):
            await client.send([chunk])
            sent += len(chunk)
        await client.aclose()
        is_done = True

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        before = -1
        while sent != before:  # until nothing has moved for a while
            before = sent
            await anyio.sleep(0.05)
        assert not is_done
        assert sent < 20_000_000  # of 40 MB; the kernel keeps several
        received = 0
        while data := await server.receive(deadline=now() + 20):
            received += len(data)
    assert received == 640 * len(chunk)


@on_each_stream()
async def test_send_times_out_while_nobody_receives(client: ByteStream, server: ByteStream) -> None:
    with pytest.raises(TimeoutError):
        while True:
            await client.send([bytes(1_000_000)], deadline=now() + 0.1)
    client.abort()
    with pytest.raises(ClosedError):
        await client.send([b"x"])


@on_each_stream()
async def test_the_end_comes_after_the_octets(client: ByteStream, server: ByteStream) -> None:
    await client.send([b"QUIT\r\n"])
    await client.aclose()
    assert await receive_all(server) == b"QUIT\r\n"
    assert await server.receive() == b""
    assert server.is_stale
    await client.aclose()
    client.abort()


@on_each_stream()
async def test_sending_to_a_peer_that_is_gone(client: ByteStream, server: ByteStream) -> None:
    client.abort()
    with pytest.raises(ConnectionLost):
        while True:
            await server.send([bytes(100_000)], deadline=now() + 20)
            await anyio.lowlevel.checkpoint()
    for _ in range(3):
        assert server.is_stale
        assert server.is_broken
        await anyio.lowlevel.checkpoint()
    with pytest.raises(ConnectionLost):
        await server.send([b"x"])


@on_each_stream()
async def test_abort_ends_a_pending_receive(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:

        async def receive() -> None:
            with pytest.raises(ClosedError):
                await client.receive()

        group.start_soon(receive)
        await anyio.sleep(0.01)
        client.abort()
    with pytest.raises(ClosedError):
        await client.receive()
    with pytest.raises(ClosedError):
        await client.send([b"x"])
    with pytest.raises(ClosedError):
        await client.start_tls(ssl.create_default_context(), server_hostname="localhost")
    client.abort()
    await client.aclose()
    assert client.is_stale
    await receive_the_cut(server)


@on_each_stream()
async def test_aclose_ends_a_pending_receive(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:

        async def receive() -> None:
            with pytest.raises(ClosedError):
                await client.receive()

        group.start_soon(receive)
        await anyio.sleep(0.01)
        await client.aclose()


@on_each_stream()
async def test_abort_ends_a_pending_send(client: ByteStream, server: ByteStream) -> None:
    is_sending = False
    async with anyio.create_task_group() as group:

        async def send() -> None:
            nonlocal is_sending
            with pytest.raises(ClosedError):
                while True:
                    is_sending = True
                    await client.send([bytes(1_000_000)])

        group.start_soon(send)
        await eventually(lambda: is_sending)
        await anyio.sleep(0.05)
        client.abort()


@on_each_stream()
async def test_aclose_does_not_wait_for_a_peer_that_does_not_read(
    client: ByteStream, server: ByteStream
) -> None:
    with anyio.move_on_after(0.1):
        while True:
            await client.send([bytes(1_000_000)])
    with anyio.fail_after(10):
        await client.aclose()


@on_each_stream()
async def test_a_cancelled_aclose_has_closed(client: ByteStream, server: ByteStream) -> None:
    with anyio.move_on_after(0.1):
        while True:
            await client.send([bytes(1_000_000)])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.aclose()
    with pytest.raises(ClosedError):
        await client.receive()


@on_each_stream()
async def test_a_deadline_loses_no_octets(client: ByteStream, server: ByteStream) -> None:
    with pytest.raises(TimeoutError):
        await server.receive(deadline=now() - 1)
    with pytest.raises(TimeoutError):
        await server.receive(deadline=now() + 0.02)
    await client.send([b"NOOP\r\n"])
    assert await receive_exactly(server, 6) == b"NOOP\r\n"
    await server.send([b"421 timed out\r\n"])
    assert await receive_exactly(client, 15) == b"421 timed out\r\n"


@on_each_stream()
async def test_deadlines_of_any_order(client: ByteStream, server: ByteStream) -> None:
    await client.send([b"a"])
    assert await server.receive(deadline=now() + 60) == b"a"
    for seconds in (0.05, 60, 0.01, 0.03):
        if seconds < 1:
            start = now()
            with pytest.raises(TimeoutError):
                await server.receive(deadline=start + seconds)
            assert now() - start > seconds - 0.01
        else:
            await client.send([b"a"])
            assert await server.receive(deadline=now() + seconds) == b"a"


@on_each_stream()
async def test_a_receive_outlives_the_deadline_of_the_one_before(
    client: ByteStream, server: ByteStream
) -> None:
    await client.send([b"a"])
    assert await server.receive(deadline=now() + 0.05) == b"a"
    received = []
    async with anyio.create_task_group() as group:

        async def receive() -> None:
            received.append(await server.receive(deadline=now() + 20))

        group.start_soon(receive)
        await anyio.sleep(0.1)
        assert not received
        await client.send([b"b"])
    assert received == [b"b"]


@on_each_stream()
async def test_cancelling_receive_loses_no_octets(client: ByteStream, server: ByteStream) -> None:
    for number in range(20):
        async with anyio.create_task_group() as group:

            async def receive() -> None:
                await server.receive()
                raise AssertionError("nothing had been sent")

            group.start_soon(receive)
            await anyio.sleep(0.001 if number % 2 else 0)
            group.cancel_scope.cancel()
        await client.send([b"%d" % (number % 10)])
        assert await receive_exactly(server, 1) == b"%d" % (number % 10)


@on_each_stream()
async def test_two_receivers(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(server.receive)
        await anyio.sleep(0.01)
        with pytest.raises(BusyError):
            await server.receive()
        with pytest.raises(BusyError):
            await server.start_tls(ssl.create_default_context())
        await client.send([b"x"])


@on_each_stream()
async def test_two_senders(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:

        async def fill() -> None:
            while True:
                await client.send([bytes(1_000_000)])

        group.start_soon(fill)
        await anyio.sleep(0.1)
        with pytest.raises(BusyError):
            await client.send([b"x"])
        group.cancel_scope.cancel()


@on_each_stream()
async def test_an_idle_stream_becomes_stale_when_octets_come(client: ByteStream, server: ByteStream) -> None:
    await server.send([b"250 OK\r\n"])
    await receive_exactly(client, 8)
    assert not client.is_stale
    await server.send([b"421 bye\r\n"])
    await eventually(lambda: client.is_stale)
    assert client.is_stale
    assert await receive_exactly(client, 9) == b"421 bye\r\n"


@on_each_stream()
async def test_an_idle_stream_becomes_stale_when_the_peer_leaves(
    client: ByteStream, server: ByteStream
) -> None:
    await server.send([b"250 OK\r\n"])
    await receive_exactly(client, 8)
    assert not client.is_stale
    server.abort()
    await eventually(lambda: client.is_stale)
    await receive_the_cut(client)
    assert client.is_stale


@on_each_stream()
async def test_what_a_stream_tells_of_itself(client: ByteStream, server: ByteStream) -> None:
    assert client.peer == server.peer == "127.0.0.1"
    assert "127.0.0.1 open" in repr(client)
    assert ("tls" in repr(client)) is (client.tls is not None) is (server.tls is not None)
    if client.tls is not None:
        assert client.tls.version() in ("TLSv1.2", "TLSv1.3")
        assert client.tls.getpeercert()
    await server.aclose()
    assert await client.receive() == b""
    assert "127.0.0.1 ended" in repr(client)
    client.abort()
    assert "127.0.0.1 closed" in repr(client)


class Echo:
    """Answers each line with itself, until QUIT."""

    def __init__(self) -> None:
        self.unread = b""
        self.calls = 0

    def __call__(self, data: bytes) -> list[bytes] | None:
        self.calls += 1
        assert data
        *lines, self.unread = (self.unread + data).split(b"\n")
        return None if b"QUIT" in lines else [line + b"\n" for line in lines]


@on_each_stream()
async def test_a_conversation(client: ByteStream, server: ByteStream) -> None:
    echo = Echo()
    await client.send([b"early\n"])
    async with anyio.create_task_group() as group:

        async def serve() -> None:
            await server.converse(echo, seconds=20)
            await server.send([b"bye\n"])

        group.start_soon(serve)
        for line in (b"early\n", b"one\n", b"two\nthree\n"):
            if line != b"early\n":
                await client.send([line[:2]])
                await anyio.sleep(0.001)
                await client.send([line[2:]])
            assert await receive_exactly(client, len(line)) == line
        await client.send([b"QUIT\n"])
        assert await receive_exactly(client, 4) == b"bye\n"
    assert echo.calls >= 4
    await client.send([b"after\n"])
    assert await receive_exactly(server, 6) == b"after\n"


@on_each_stream()
async def test_a_conversation_that_proceeds_in_its_task(client: ByteStream, server: ByteStream) -> None:
    """What cannot be answered without waiting is answered there, until that ends it."""
    heard: list[bytes] = []
    answers = [b"one\n", b"", b"three\n", b"four\n"]
    tasks: list[int] = []

    def respond(data: bytes) -> list[bytes] | None:
        heard.append(data)
        return [b"at once\n"] if data == b"now" else None

    async def proceed() -> bool:
        tasks.append(anyio.get_current_task().id)
        await anyio.sleep(0.001)
        answer = answers.pop(0)
        if answer:
            await server.send([answer])
        return bool(answers)

    async with anyio.create_task_group() as group:

        async def serve() -> None:
            tasks.append(anyio.get_current_task().id)
            await server.converse(respond, seconds=20, proceed=proceed)
            await server.send([b"bye\n"])

        group.start_soon(serve)
        for said, answer in (
            (b"a", b"one\n"),
            (b"now", b"at once\n"),
            (b"b", b""),
            (b"now", b"at once\n"),
            (b"c", b"three\n"),
            (b"d", b"four\nbye\n"),
        ):
            await client.send([said])
            if not answer:
                await eventually(lambda: len(answers) == 2)
            assert await receive_exactly(client, len(answer)) == answer
    assert heard == [b"a", b"now", b"b", b"now", b"c", b"d"]
    assert len(tasks) == 5 and len(set(tasks)) == 1


@on_each_stream()
async def test_a_conversation_that_would_proceed_behind_the_end(
    client: ByteStream, server: ByteStream
) -> None:
    async def proceed() -> bool:
        return True

    async with anyio.create_task_group() as group:

        async def serve() -> None:
            with pytest.raises(ConnectionLost):
                await server.converse(lambda _: None, seconds=20, proceed=proceed)

        group.start_soon(serve)
        await anyio.sleep(0.01)
        await client.aclose()


@on_each_stream()
async def test_a_conversation_with_a_peer_that_does_not_read(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:

        def answer_much(data: bytes) -> list[bytes] | None:
            return [bytes(1_000_000)] * len(data) if data else None

        group.start_soon(lambda: server.converse(answer_much, seconds=None))
        for _ in range(8):
            await client.send([b"x"])
            await anyio.sleep(0.01)
        await receive_exactly(client, 8_000_000)
        await client.aclose()


@on_each_stream()
async def test_a_conversation_with_a_deadline(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:

        async def serve() -> None:
            with pytest.raises(TimeoutError):
                await server.converse(Echo(), seconds=0.1)

        group.start_soon(serve)
        await client.send([b"one\n"])
        assert await receive_exactly(client, 4) == b"one\n"
    await server.send([b"421 timed out\n"])
    assert await receive_exactly(client, 14) == b"421 timed out\n"


@on_each_stream()
async def test_a_conversation_that_the_peer_ends(client: ByteStream, server: ByteStream) -> None:
    seen = []

    def respond(data: bytes) -> list[bytes] | None:
        seen.append(data)
        return [b"bye"] if not data else []

    async with anyio.create_task_group() as group:

        async def serve() -> None:
            with pytest.raises(ConnectionLost):
                await server.converse(respond, seconds=20)

        group.start_soon(serve)
        await anyio.sleep(0.01)
        await client.send([b"one"])
        await client.aclose()
    assert b"".join(seen) == b"one"
    assert seen[-1] == b""


@on_each_stream()
async def test_a_conversation_that_fails(client: ByteStream, server: ByteStream) -> None:
    def respond(data: bytes) -> list[bytes] | None:
        raise LookupError(data)

    for early in (False, True):
        async with anyio.create_task_group() as group:

            async def serve() -> None:
                with pytest.raises(LookupError):
                    await server.converse(respond, seconds=20)

            if not early:
                group.start_soon(serve)
                await anyio.sleep(0.01)
            await client.send([b"x"])
            if early:
                await anyio.sleep(0.01)
                group.start_soon(serve)
    await client.send([b"y"])
    assert await server.receive() == b"y"


@on_each_stream()
async def test_a_conversation_that_is_cancelled_or_aborted(client: ByteStream, server: ByteStream) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: server.converse(Echo(), seconds=20))
        await anyio.sleep(0.01)
        with pytest.raises(BusyError):
            await server.converse(Echo(), seconds=20)
        group.cancel_scope.cancel()
    await client.send([b"x"])
    assert await server.receive() == b"x"

    def leave(data: bytes) -> list[bytes] | None:
        server.abort()
        return [b"too late"]

    async with anyio.create_task_group() as group:

        async def serve() -> None:
            with pytest.raises(ClosedError):
                await server.converse(leave, seconds=20)

        group.start_soon(serve)
        await anyio.sleep(0.01)
        await client.send([b"x"])
    await receive_the_cut(client)


@on_each_stream(encrypted=(False,))
async def test_plaintext_before_the_handshake_is_refused(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    await server.send([b"220 go ahead\r\n"])
    assert await receive_exactly(client, 14) == b"220 go ahead\r\n"
    await server.send([b"250-injected\r\n"])
    await eventually(lambda: client.is_stale)
    with pytest.raises(PlaintextAfterStartTLS):
        await client.start_tls(client_tls, server_hostname="localhost")
    with pytest.raises(ClosedError):
        await client.receive()


@on_each_stream(encrypted=(False,))
async def test_plaintext_instead_of_the_handshake(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    async with anyio.create_task_group() as group:

        async def answer() -> None:
            assert await server.receive()  # the client's hello
            await server.send([b"500 what?\r\n"])

        group.start_soon(answer)
        with pytest.raises(TLSError, match="does not speak TLS"):
            await client.start_tls(client_tls, server_hostname="localhost")
    with pytest.raises(ClosedError):
        await client.receive()


@on_each_stream(encrypted=(False,))
async def test_a_handshake_that_the_peer_breaks_off(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    async with anyio.create_task_group() as group:

        async def leave() -> None:
            assert await server.receive()
            await server.aclose()

        group.start_soon(leave)
        with pytest.raises(ConnectionLost, match=r"tls: .*closed the connection during the TLS handshake"):
            await client.start_tls(client_tls, server_hostname="localhost")


@on_each_stream(encrypted=(False,))
async def test_a_handshake_with_a_deadline(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    with pytest.raises(TimeoutError):
        await client.start_tls(client_tls, server_hostname="localhost", deadline=now() + 0.05)
    with pytest.raises(ClosedError):
        await client.send([b"x"])


@on_each_stream(encrypted=(False,))
async def test_a_cancelled_handshake(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    with anyio.move_on_after(0.02) as scope:
        await client.start_tls(client_tls, server_hostname="localhost")
    assert scope.cancelled_caught
    with pytest.raises(ClosedError):
        await client.send([b"x"])
    await client.aclose()


@on_each_stream(encrypted=(False,))
async def test_abort_during_the_handshake(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    async with anyio.create_task_group() as group:

        async def start_tls() -> None:
            with pytest.raises(ClosedError):
                await client.start_tls(client_tls, server_hostname="localhost")

        group.start_soon(start_tls)
        await anyio.sleep(0.02)
        with pytest.raises(BusyError):
            await client.start_tls(client_tls)
        client.abort()


@on_each_stream(encrypted=(False,))
async def test_a_handshake_after_the_end(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext
) -> None:
    server.abort()
    assert await client.receive() == b""
    with pytest.raises(ConnectionLost):
        await client.start_tls(client_tls, server_hostname="localhost")
    with pytest.raises(ClosedError):
        await client.receive()


@on_each_stream(encrypted=(False,))
async def test_a_certificate_for_another_name(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    async with anyio.create_task_group() as group:

        async def accept() -> None:
            with pytest.raises((TLSError, ConnectionLost)):
                await server.start_tls(server_tls, server_side=True)
                await server.receive()  # with TLS 1.3 the server learns of it only now
                await server.send([b"x"])
                raise ConnectionLost

        group.start_soon(accept)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(
            TLSError, match=r"certificate of elsewhere.example was not accepted: .* another name"
        ):
            await client.start_tls(client_tls, server_hostname="elsewhere.example")


@on_each_stream(encrypted=(False,))
async def test_an_unknown_authority(
    client: ByteStream, server: ByteStream, server_tls: ssl.SSLContext
) -> None:
    async with anyio.create_task_group() as group:

        async def accept() -> None:
            with pytest.raises((TLSError, ConnectionLost)):
                await server.start_tls(server_tls, server_side=True)
                await server.receive()
                raise ConnectionLost

        group.start_soon(accept)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(TLSError, match="its authority is not trusted here"):
            await client.start_tls(ssl.create_default_context(), server_hostname="localhost")


@on_each_stream(encrypted=(False,))
async def test_a_context_that_needs_a_host_name(client: ByteStream, server: ByteStream) -> None:
    with pytest.raises(InputError, match="pass server_hostname="):
        await client.start_tls(ssl.create_default_context())
    await client.send([b"QUIT\r\n"])
    assert await receive_exactly(server, 6) == b"QUIT\r\n"


@on_each_stream(encrypted=(False,))
async def test_octets_right_behind_the_handshake(
    client: ByteStream, server: ByteStream, client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    content = os.urandom(2_000_000)
    async with anyio.create_task_group() as group:

        async def serve() -> None:
            await server.start_tls(server_tls, server_side=True)
            await server.send([content])
            await server.aclose()

        group.start_soon(serve)
        await anyio.lowlevel.checkpoint()
        await client.start_tls(client_tls, server_hostname="localhost")
        assert await receive_exactly(client, len(content)) == content
        assert await client.receive() == b""


@pytest.mark.parametrize(("kind", "runtime"), KINDS)
def test_starttls_in_a_conversation(kind: str, runtime: str, authority) -> None:
    async def converse() -> None:
        async with stream_pair(kind) as (client, server), anyio.create_task_group() as group:

            async def serve() -> None:
                assert await receive_exactly(server, 10) == b"STARTTLS\r\n"
                await server.send([b"220 go\r\n"])
                await server.start_tls(authority.server_context(), server_side=True)
                assert await receive_exactly(server, 6) == b"QUIT\r\n"
                await server.send([b"221 bye\r\n"])
                await server.aclose()

            group.start_soon(serve)
            await client.send([b"STARTTLS\r\n"])
            assert await receive_exactly(client, 8) == b"220 go\r\n"
            await client.start_tls(authority.client_context(), server_hostname="localhost")
            await client.send([b"QUIT\r\n"])
            assert await receive_all(client) == b"221 bye\r\n"
            await client.aclose()

    for _ in range(5):
        run(runtime, converse)


@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_tls_over_memory_in_segments(authority) -> None:
    client, server = memory_stream_pair(segment=7)
    await upgrade(client, server, authority.client_context(), authority.server_context())
    await client.send([b"hello"])
    assert await receive_exactly(server, 5) == b"hello"
    await client.aclose()
    await server.aclose()
