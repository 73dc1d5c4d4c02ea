"""POP3Client against a real Dovecot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail import POP3Client, transcript
from asyncmail.errors import AuthenticationError, ClosedError, NoSuchMessage, TLSError

if TYPE_CHECKING:
    import ssl

    from peers import Dovecot

LARGE = b"Subject: large\r\n\r\n" + b".a line of text that begins with a dot\r\n" * 100_000
MESSAGES = [b"Subject: %d\r\n\r\n.dot\r\n..\r\nText %d\r\n" % (n, n) for n in range(1, 21)]


def url(server: Dovecot, user: str, scheme: str = "pop3", password: str = "") -> str:
    port = server.tls_port if scheme == "pop3s" else server.port
    return f"{scheme}://{user}:{password or server.password}@localhost:{port}"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_whole_session(dovecot: Dovecot, client_tls: ssl.SSLContext, backend: str) -> None:
    user = f"whole-{backend}"
    maildir = dovecot.maildir(user)
    messages = maildir.add(MESSAGES)

    async def main() -> None:
        async with POP3Client(url(dovecot, user), tls_context=client_tls) as client:
            assert "PIPELINING" in client.capabilities
            assert await client.stat()
            listing = await client.list()
            assert [item.octets for item in listing] == [len(message) for message in messages]
            unique_ids = [item.unique_id for item in await client.uidl()]
            assert len(set(unique_ids)) == len(messages)
            assert (await client.uidl(3)).unique_id == unique_ids[2]
            assert (await client.list(3)) == listing[2]
            assert await client.retrieve(1) == messages[0]
            assert await client.top(2, 2) == b"Subject: 2\r\n\r\n.dot\r\n..\r\n"
            found = [item.content async for item in client.retrieve_many(range(1, 21))]
            assert found == messages
            with pytest.raises(NoSuchMessage):
                await client.retrieve(21)
            await client.delete(1)
            await client.reset()
            assert list(await client.delete_many([2, 4, 99])) == [99]
            await client.noop()
        async with POP3Client(url(dovecot, user), tls_context=client_tls) as client:
            assert len(await client.list()) == 18
        with pytest.raises(RuntimeError):
            async with POP3Client(url(dovecot, user), tls_context=client_tls) as client:
                await client.delete_many(range(1, 19))
                raise RuntimeError
        async with POP3Client(url(dovecot, user), tls_context=client_tls) as client:
            assert (await client.stat()).count == 18

    anyio.run(main, backend=backend)


async def test_a_large_message(dovecot: Dovecot, client_tls: ssl.SSLContext) -> None:
    (large,) = dovecot.maildir("large").add([LARGE])
    async with POP3Client(url(dovecot, "large"), tls_context=client_tls) as client:
        assert await client.retrieve(1) == large
        sink = io.BytesIO()
        assert await client.retrieve_to(1, sink) == len(large)
        assert sink.getvalue() == large
        async for _ in client.stream(1):
            break
        assert (await client.stat()).count == 1


@pytest.mark.parametrize("scheme", ["pop3", "pop3+starttls", "pop3s"])
async def test_tls(dovecot: Dovecot, client_tls: ssl.SSLContext, scheme: str) -> None:
    lines: list[str] = []
    (message,) = dovecot.maildir(user := scheme.replace("+", "-")).add(MESSAGES[:1])
    async with POP3Client(
        url(dovecot, user, scheme), tls_context=client_tls, trace=transcript(lines.append)
    ) as client:
        assert await client.retrieve(1) == message
    assert ("C: STLS" in lines) is (scheme != "pop3s")
    assert not any(dovecot.password in line for line in lines)


async def test_a_certificate_that_nobody_vouches_for(dovecot: Dovecot) -> None:
    for scheme in ("pop3+starttls", "pop3s"):
        with pytest.raises(TLSError):
            async with POP3Client(url(dovecot, "nobody", scheme)):
                pass


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "APOP", "USER"])
async def test_each_way_to_log_in(dovecot: Dovecot, client_tls: ssl.SSLContext, mechanism: str) -> None:
    dovecot.maildir("ways")
    tls_context, mechanisms = client_tls, (mechanism,)
    async with POP3Client(url(dovecot, "ways", "pop3s"), tls_context=tls_context, mechanisms=mechanisms):
        pass
    wrong = url(dovecot, "ways", "pop3s", "wrong")
    with pytest.raises(AuthenticationError) as caught:
        async with POP3Client(wrong, tls_context=tls_context, mechanisms=mechanisms):
            pass
    assert caught.value.mechanism == mechanism
    assert not caught.value.is_transient


@pytest.mark.parametrize("scheme", ["pop3", "pop3s"])
async def test_a_wrong_password_is_shown_once(
    dovecot: Dovecot, client_tls: ssl.SSLContext, scheme: str
) -> None:
    dovecot.maildir("once")
    lines: list[str] = []
    with pytest.raises(AuthenticationError):
        async with POP3Client(
            url(dovecot, "once", scheme, "wrong"), tls_context=client_tls, trace=transcript(lines.append)
        ):
            pass
    assert len([line for line in lines if line.startswith(("C: AUTH", "C: APOP", "C: PASS"))]) == 1


async def test_a_connection_lost_in_mid_message(dovecot: Dovecot, client_tls: ssl.SSLContext) -> None:
    dovecot.maildir("cut").add([LARGE])
    client = POP3Client(url(dovecot, "cut"), tls_context=client_tls)
    await client.connect()
    stream = client.stream(1)
    await anext(stream)
    assert client._session is not None
    client._session.connection.stream.abort()
    with pytest.raises(ClosedError):
        async for _ in stream:
            pass
    client.abort()


async def test_a_cancelled_retrieval(dovecot: Dovecot, client_tls: ssl.SSLContext) -> None:
    dovecot.maildir("cancel").add([LARGE])
    async with POP3Client(url(dovecot, "cancel"), tls_context=client_tls) as client:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.retrieve(1)
        assert scope.cancelled_caught
    async with POP3Client(url(dovecot, "cancel"), tls_context=client_tls) as client:
        assert await client.retrieve(1) == LARGE
