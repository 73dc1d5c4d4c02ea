from __future__ import annotations

import contextlib
import errno
import importlib
import socket

import anyio
import anyio.lowlevel
import pytest

from asyncmail.errors import ConnectError, ConnectionLost, MailTimeout, Stage, TLSError, URLError
from asyncmail.net import ServerURL, connect, listen
from asyncmail.net.endpoints import connect_error, connection_lost, peer_name, resolve
from net.runtimes import eventually, on_each_runtime

connecting = importlib.import_module("asyncmail.net.connect")  # the package exports a function of that name


async def greet(stream):
    await stream.send([b"220 ready\r\n"])
    while data := await stream.receive():
        await stream.send([data])


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@on_each_runtime
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_tcp(host):
    listener = await listen(greet, host=host)
    stream = await connect(ServerURL.parse(f"smtp://{host}:{listener.port}"))
    assert await stream.receive() == b"220 ready\r\n"
    assert stream.peer == "127.0.0.1" or stream.peer == "::1"
    assert stream.tls is None
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_a_socket_in_the_file_system(tmp_path):
    listener = await listen(greet, path=str(tmp_path / "lmtp"))
    stream = await connect(f"lmtp+unix://{tmp_path}/lmtp")
    assert await stream.receive() == b"220 ready\r\n"
    assert stream.peer == "unix"
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_implicit_tls(client_tls, server_tls):
    listener = await listen(greet, tls_context=server_tls)
    stream = await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
    assert await stream.receive() == b"220 ready\r\n"
    assert stream.tls is not None
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_implicit_tls_by_ip_address(client_tls, server_tls):
    listener = await listen(greet, tls_context=server_tls)
    stream = await connect(f"pop3s://127.0.0.1:{listener.port}", tls_context=client_tls)
    assert await stream.receive() == b"220 ready\r\n"
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_certificates_are_verified_by_default(server_tls):
    listener = await listen(greet, tls_context=server_tls)
    with pytest.raises(
        TLSError, match=r"certificate of localhost was not accepted: its authority is not trusted"
    ):
        await connect(f"smtps://localhost:{listener.port}")
    await listener.aclose()


@on_each_runtime
async def test_implicit_tls_where_the_server_greets_in_the_clear(client_tls):
    listener = await listen(greet)
    for _ in range(5):  # whether the greeting or the handshake comes first is a matter of luck
        with pytest.raises(TLSError, match="does not speak TLS on this port"):
            await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
    await listener.aclose()


@on_each_runtime
async def test_implicit_tls_where_the_server_hangs_up(client_tls):
    async def hang_up(stream):
        await stream.receive()

    listener = await listen(hang_up)
    with pytest.raises(ConnectionLost, match="speaks TLS on this port"):
        await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
    await listener.aclose()


@on_each_runtime
async def test_nothing_listens():
    port = closed_port()
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(
            ConnectError, match=rf"^connect: cannot connect to {host}:{port}: nothing listens"
        ) as error:
            await connect(f"smtp://{host}:{port}")
        assert error.value.cure
        assert error.value.is_transient


@on_each_runtime
async def test_an_unresolvable_name():
    with pytest.raises(ConnectError, match=r"nowhere\.invalid:25: the name cannot be resolved"):
        await connect("smtp://nowhere.invalid")


@on_each_runtime
async def test_no_such_socket(tmp_path):
    with pytest.raises(ConnectError, match="there is no such socket"):
        await connect(f"lmtp+unix://{tmp_path}/missing")


@on_each_runtime
async def test_a_malformed_url():
    with pytest.raises(URLError):
        await connect("localhost")


@on_each_runtime
async def test_local_address():
    peers = []

    async def note(stream):
        peers.append(stream.peer)

    listener = await listen(note, host="localhost")
    stream = await connect(f"smtp://localhost:{listener.port}", local_address="127.0.0.2")
    assert await stream.receive() == b""
    assert peers == ["127.0.0.2"]
    await stream.aclose()
    with pytest.raises(ConnectError, match="not one of this machine"):
        await connect(f"smtp://127.0.0.1:{listener.port}", local_address="192.0.2.1")
    await listener.aclose()


@on_each_runtime
async def test_timeout(client_tls):
    async def keep_silent(stream):
        while await stream.receive():
            pass

    listener = await listen(keep_silent)
    with pytest.raises(
        MailTimeout, match=rf"waited 0.1 s for the TLS handshake with localhost:{listener.port}"
    ) as error:
        await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls, timeout=0.1)
    assert error.value.stage is Stage.TLS
    await listener.aclose()


@on_each_runtime
async def test_timeout_before_there_is_a_connection():
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(3):  # nobody accepts them, and the next one has to wait
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        with pytest.raises(MailTimeout, match=f"waited 0.05 s for a connection to 127.0.0.1:{port}") as error:
            await connect(f"smtps://127.0.0.1:{port}", timeout=0.05)
        assert error.value.stage is Stage.CONNECT


@on_each_runtime
async def test_cancellation_leaves_nothing_behind(client_tls, server_tls):
    """At any of the first turns of the event loop; what is left open fails the test."""
    listener = await listen(greet, host="localhost", tls_context=server_tls)
    for turns in range(25):
        async with anyio.create_task_group() as group:

            async def use():
                stream = await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
                stream.abort()

            group.start_soon(use)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    await listener.aclose()
    await anyio.sleep(0.05)


class Addresses:
    """Stands in for the name server: what `mail.example.com` resolves to."""

    def __init__(self, monkeypatch):
        self.addresses: list[str] = []
        monkeypatch.setattr(connecting, "resolve", self.resolve)

    async def resolve(self, host, port):
        return self.addresses


@pytest.fixture
def addresses(monkeypatch):
    return Addresses(monkeypatch)


@on_each_runtime
async def test_a_refused_address_gives_way_to_the_next(addresses):
    listener = await listen(greet)
    addresses.addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
    stream = await connect(f"smtp://mail.example.com:{listener.port}")
    assert stream.peer == "127.0.0.1"
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_all_addresses_refuse(addresses):
    addresses.addresses = ["127.0.0.2", "127.0.0.3"]
    with pytest.raises(ConnectError, match=r"mail\.example\.com:\d+: nothing listens there"):
        await connect(f"smtp://mail.example.com:{closed_port()}")


@on_each_runtime
async def test_a_silent_address_does_not_hold_up_the_next(addresses, monkeypatch):
    attempted = []
    attempt = connecting._attempt

    async def slow(address, port, local_address):
        attempted.append(address)
        if address == "127.0.0.2":
            await anyio.sleep_forever()
        return await attempt(address, port, local_address)

    monkeypatch.setattr(connecting, "_attempt", slow)
    monkeypatch.setattr(connecting, "_ATTEMPT_DELAY", 0.01)
    listener = await listen(greet)
    addresses.addresses = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]
    stream = await connect(f"smtp://mail.example.com:{listener.port}")
    assert stream.peer == "127.0.0.1"
    assert attempted[:2] == ["127.0.0.2", "127.0.0.1"]
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_two_addresses_answer_at_once(addresses, monkeypatch):
    attempt = connecting._attempt
    made = []

    async def together(address, port, local_address):
        with anyio.CancelScope(shield=True):
            made.append(await attempt("127.0.0.1", port, local_address))
            await eventually(lambda: len(made) == 2)
        return made[0] if address == "127.0.0.2" else made[1]

    monkeypatch.setattr(connecting, "_attempt", together)
    monkeypatch.setattr(connecting, "_ATTEMPT_DELAY", 0.0)
    listener = await listen(greet)
    addresses.addresses = ["127.0.0.2", "127.0.0.3"]
    stream = await connect(f"smtp://mail.example.com:{listener.port}")
    assert sorted("closed" in repr(each) for each in made) == [False, True]
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_cancelled_in_the_moment_of_success(addresses, monkeypatch):
    attempt = connecting._attempt
    made = []

    async def succeed(address, port, local_address):
        made.append(await attempt("127.0.0.1", port, local_address))
        scope.cancel()
        return made[0]

    monkeypatch.setattr(connecting, "_attempt", succeed)
    listener = await listen(greet)
    addresses.addresses = ["127.0.0.2", "127.0.0.3"]
    with anyio.CancelScope() as scope:
        await connect(f"smtp://mail.example.com:{listener.port}")
    assert scope.cancelled_caught
    assert "closed" in repr(made[0])
    await anyio.sleep(0.01)
    await listener.aclose()


@on_each_runtime
async def test_resolution():
    assert await resolve("192.0.2.1", 25) == ["192.0.2.1"]
    assert await resolve("2001:db8::1", 25) == ["2001:db8::1"]
    found = await resolve("localhost", 25)
    assert "127.0.0.1" in found
    assert len(found) == len(set(found))


@on_each_runtime
async def test_families_take_turns(monkeypatch):
    async def getaddrinfo(host, port, *, type):
        return [
            (socket.AF_INET6, type, 6, "", ("2001:db8::1", port, 0, 0)),
            (socket.AF_INET6, type, 6, "", ("2001:db8::2", port, 0, 0)),
            (socket.AF_INET6, type, 6, "", ("2001:db8::2", port, 0, 0)),
            (socket.AF_INET, type, 6, "", ("192.0.2.1", port)),
        ]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    assert await resolve("mail.example.com", 25) == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ECONNREFUSED, "x"), "nothing listens there"),
        (OSError(errno.EHOSTUNREACH, "x"), "no way to that host"),
        (OSError(errno.ENETUNREACH, "x"), "no way to that network"),
        (OSError(errno.ETIMEDOUT, "x"), "does not answer"),
        (OSError(errno.EMFILE, "x"), "too many open files .*ulimit"),
        (OSError(errno.EACCES, "x"), "not permitted"),
        (OSError(errno.EIO, "a strange noise"), "a strange noise"),
        (OSError("no number"), "no number"),
        (OSError(), "OSError"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved"),
    ],
)
def test_what_the_system_says(error, text):
    with pytest.raises(ConnectError, match=text):
        raise connect_error(error, "mail.example.com:25", "connect to")
    outer = OSError("All connection attempts failed")
    outer.__cause__ = error
    with pytest.raises(ConnectError, match=text):
        raise connect_error(outer, "mail.example.com:25", "connect to")


def test_names_and_losses():
    assert peer_name(("192.0.2.1", 25)) == "192.0.2.1"
    assert peer_name(("2001:db8::1", 25, 0, 0)) == "2001:db8::1"
    assert peer_name("") == peer_name("/run/x") == "unix"
    assert peer_name(None) == ""
    assert str(connection_lost(OSError(104, "reset"))) == "the connection was lost: reset"
    assert str(connection_lost(RuntimeError("odd"))) == "the connection was lost: odd"
    assert str(connection_lost(RuntimeError())) == "the connection was lost"
