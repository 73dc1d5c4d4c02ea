from __future__ import annotations

import errno
import importlib
import logging
import os
import socket

import anyio
import anyio.lowlevel
import pytest

from asyncmail.errors import ClosedError, ConnectError, InputError
from asyncmail.net import Waiter, connect, listen, spawn
from net.runtimes import eventually, on_each_runtime, run

listening = importlib.import_module("asyncmail.net.listen")


async def echo(stream):
    while data := await stream.receive():
        await stream.send([data])


async def nothing(stream):
    pass


async def assert_echo(url):
    stream = await connect(url)
    await stream.send([b"hello"])
    assert await stream.receive() == b"hello"
    await stream.aclose()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@on_each_runtime
async def test_port_zero_picks_one():
    listener = await listen(echo)
    assert listener.port > 0
    assert listener.addresses == (f"127.0.0.1:{listener.port}",)
    assert repr(listener) == f"<Listener 127.0.0.1:{listener.port} open>"
    await assert_echo(f"smtp://127.0.0.1:{listener.port}")
    await listener.aclose()
    await listener.aclose()
    assert repr(listener) == f"<Listener 127.0.0.1:{listener.port} closed>"
    with pytest.raises(ConnectError):
        await connect(f"smtp://127.0.0.1:{listener.port}")


@on_each_runtime
async def test_all_addresses_have_one_port():
    listener = await listen(echo, host="")
    assert {address.rpartition(":")[2] for address in listener.addresses} == {str(listener.port)}
    await assert_echo(f"smtp://127.0.0.1:{listener.port}")
    if has_ipv6():
        assert listener.addresses == (f"0.0.0.0:{listener.port}", f"[::]:{listener.port}")
        await assert_echo(f"smtp://[::1]:{listener.port}")
    await listener.aclose()


@on_each_runtime
async def test_the_port_is_free_at_once_after_closing():
    first = await listen(echo)
    stream = await connect(f"smtp://127.0.0.1:{first.port}")
    await first.aclose()
    second = await listen(echo, port=first.port)
    await assert_echo(f"smtp://127.0.0.1:{first.port}")
    await stream.send([b"still here"])  # running connections go on
    assert await stream.receive() == b"still here"
    await stream.aclose()
    await second.aclose()


@on_each_runtime
async def test_address_in_use():
    listener = await listen(echo)
    with pytest.raises(
        ConnectError, match=rf"cannot listen on 127.0.0.1:{listener.port}: the address is in use"
    ):
        await listen(echo, port=listener.port)
    await listener.aclose()


@on_each_runtime
async def test_an_address_of_another_machine():
    with pytest.raises(ConnectError, match=r"192\.0\.2\.1:0: the address is not one of this machine"):
        await listen(echo, host="192.0.2.1")
    with pytest.raises(ConnectError, match="cannot be resolved"):
        await listen(echo, host="nowhere.invalid")


@pytest.fixture
def addresses(monkeypatch):
    """What any host name resolves to."""
    addresses = []

    async def resolve(host, port):
        return addresses

    monkeypatch.setattr(listening, "resolve", resolve)
    return addresses


@on_each_runtime
async def test_an_address_that_the_machine_lacks_is_left_out(addresses):
    for order in (["192.0.2.1", "127.0.0.1"], ["127.0.0.1", "192.0.2.1"]):
        addresses[:] = order
        listener = await listen(echo, host="localhost")
        assert listener.addresses == (f"127.0.0.1:{listener.port}",)
        await listener.aclose()


@on_each_runtime
async def test_a_port_that_is_taken_on_the_second_address(addresses, monkeypatch):
    addresses[:] = ["127.0.0.1", "127.0.0.2"]
    taken = []
    open_door = listening._Doorkeeper.open

    async def unlucky(self, address, port):
        if address == "127.0.0.2" and len(taken) < 3:
            blocker = socket.socket()
            blocker.bind((address, port))
            blocker.listen()
            taken.append(blocker)
        return await open_door(self, address, port)

    monkeypatch.setattr(listening._Doorkeeper, "open", unlucky)
    listener = await listen(echo, host="localhost")
    assert listener.addresses == (f"127.0.0.1:{listener.port}", f"127.0.0.2:{listener.port}")
    assert listener.port not in {each.getsockname()[1] for each in taken}
    await listener.aclose()
    with pytest.raises(
        ConnectError, match="in use"
    ):  # a port that was asked for is not exchanged for another
        await listen(echo, host="localhost", port=taken[0].getsockname()[1])
    for blocker in taken:
        blocker.close()


@on_each_runtime
async def test_a_socket_in_the_file_system(tmp_path):
    path = str(tmp_path / "lmtp.sock")
    listener = await listen(echo, path=path)
    assert (listener.port, listener.addresses) == (0, (path,))
    await assert_echo(f"lmtp+unix://{path}")
    with pytest.raises(ConnectError, match=r"lmtp\.sock: the address is in use"):
        await listen(echo, path=path)
    await assert_echo(f"lmtp+unix://{path}")
    await listener.aclose()
    assert not list(tmp_path.iterdir())


@on_each_runtime
async def test_what_a_dead_server_left_is_replaced(tmp_path):
    path = str(tmp_path / "lmtp.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    listener = await listen(echo, path=path)
    await assert_echo(f"lmtp+unix://{path}")
    os.unlink(path)
    await listener.aclose()


@on_each_runtime
async def test_a_path_in_use_by_a_server_that_does_not_accept(tmp_path):
    path = str(tmp_path / "lmtp.sock")
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with pytest.raises(ConnectError, match="in use"):
                await listen(echo, path=path)


@on_each_runtime
async def test_a_path_that_cannot_be(tmp_path):
    with pytest.raises(ConnectError, match="no such"):
        await listen(echo, path=str(tmp_path / "missing" / "lmtp.sock"))


@on_each_runtime
async def test_path_and_port():
    with pytest.raises(InputError, match="a path or a port"):
        await listen(echo, path="/run/x", port=25)


@on_each_runtime
async def test_implicit_tls(client_tls, server_tls, tmp_path):
    listener = await listen(echo, host="localhost", tls_context=server_tls)
    stream = await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
    await stream.send([b"hello"])
    assert await stream.receive() == b"hello"
    await stream.aclose()
    await listener.aclose()
    listener = await listen(echo, path=str(tmp_path / "lmtps.sock"), tls_context=server_tls)
    stream = await connect(f"lmtp+unix://{tmp_path}/lmtps.sock")
    await stream.start_tls(client_tls, server_hostname="localhost")
    await stream.send([b"hello"])
    assert await stream.receive() == b"hello"
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_a_failed_handshake_never_gets_to_the_application(client_tls, server_tls):
    served = []

    async def note(stream):
        served.append(stream)

    listener = await listen(note, tls_context=server_tls)
    stream = await connect(f"smtp://127.0.0.1:{listener.port}")
    await stream.send([b"EHLO example.com\r\n"])
    try:
        while await stream.receive():
            pass
    finally:
        stream.abort()
    stream = await connect(f"smtps://localhost:{listener.port}", tls_context=client_tls)
    assert await stream.receive() == b""
    await stream.aclose()
    assert len(served) == 1
    await listener.aclose()


@on_each_runtime
async def test_the_stream_is_closed_when_the_application_is_done():
    async def greet(stream):
        await stream.send([b"220 bye\r\n"])

    listener = await listen(greet)
    stream = await connect(f"smtp://127.0.0.1:{listener.port}")
    assert await stream.receive() == b"220 bye\r\n"
    assert await stream.receive() == b""
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_the_stream_is_aborted_when_the_application_fails(caplog):
    async def fail(stream):
        streams.append(stream)
        raise LookupError("a bug")

    streams = []
    listener = await listen(fail)
    stream = await connect(f"smtp://127.0.0.1:{listener.port}")
    assert await stream.receive() == b""
    with pytest.raises(ClosedError):
        await streams[0].receive()
    assert "a bug" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    caplog.clear()
    await stream.aclose()
    await listener.aclose()


@on_each_runtime
async def test_many_connections_at_once():
    listener = await listen(echo)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(assert_echo, f"smtp://127.0.0.1:{listener.port}")
    await listener.aclose()


@on_each_runtime
async def test_closing_in_another_task_than_opening():
    opened = []

    async def open_one():
        opened.append(await listen(echo))

    await spawn(open_one).wait()
    await assert_echo(f"smtp://127.0.0.1:{opened[0].port}")
    await spawn(opened[0].aclose).wait()


@on_each_runtime
async def test_a_cancelled_call_listens_nowhere():
    for turns in range(6):
        finished = Waiter()

        async def open_one(finished=finished):
            listener = await listen(echo, host="")
            finished.set()
            await listener.aclose()

        task = spawn(open_one)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        task.cancel()
        await task.wait()
    await anyio.sleep(0.01)


@pytest.mark.parametrize("runtime", ["uvloop", "trio"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "tls"])
def test_the_end_of_the_event_loop_closes_what_was_just_accepted(runtime, encrypted, server_tls):
    """At any turn; asyncio itself forgets a socket whose transport it has not made yet."""
    for turns in range(12):

        async def main(turns=turns):
            listener = await listen(echo, tls_context=server_tls if encrypted else None)
            with socket.create_connection(("127.0.0.1", listener.port)):
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                await listener.aclose()

        run(runtime, main)


@on_each_runtime(runtimes=("trio",))
async def test_a_failed_accept_does_not_end_the_listener(monkeypatch, caplog):
    monkeypatch.setattr(listening, "_ACCEPT_PAUSE", 0.01)
    failures = [OSError(errno.EMFILE, "Too many open files"), anyio.BrokenResourceError()]
    doors = []
    init = listening._AnyIODoor.__init__

    class Unlucky:
        def __init__(self, listener):
            self.extra = listener.extra
            self._listener = listener

        async def __aenter__(self):
            return self

        async def __aexit__(self, *exc_info):
            await self._listener.aclose()

        async def accept(self):
            if failures:
                raise failures.pop(0)
            return await self._listener.accept()

    def unlucky(self, listener, admit):
        doors.append(self)
        init(self, Unlucky(listener), admit)

    monkeypatch.setattr(listening._AnyIODoor, "__init__", unlucky)
    listener = await listen(echo)
    await assert_echo(f"smtp://127.0.0.1:{listener.port}")
    assert not failures
    assert "a connection was not accepted: [Errno 24] Too many open files" in caplog.text
    await eventually(lambda: doors)
    await listener.aclose()
