"""Clients that mean harm: a server in a process of its own survives them, in bounded memory, and serves others."""

from __future__ import annotations

import json
import os
import poplib
import smtplib
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from net.runtimes import RUNTIMES
from peers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers import Authority

HELLO = b"EHLO x\r\n"
ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"
LOGIN = b"USER user1\r\nPASS secret\r\n"
# What brings a session into each of its states.
STATES = {
    "greeting": ("smtp", b""),
    "ready": ("smtp", HELLO),
    "a command": ("smtp", HELLO + b"MAI"),
    "a transaction": ("smtp", HELLO + ENVELOPE),
    "content": ("smtp", HELLO + ENVELOPE + b"DATA\r\nSubject: x\r\n"),
    "a chunk": ("smtp", HELLO + ENVELOPE + b"BDAT 100000\r\nxxx"),
    "starttls": ("smtp", HELLO + b"STARTTLS\r\n"),
    "tls": ("smtps", b""),
    "hello of tls": ("smtps", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "authorization": ("pop3", b"USER user1\r\n"),
    "authentication": ("pop3", b"AUTH PLAIN\r\n"),
    "transaction": ("pop3", LOGIN + b"STAT\r\n"),
    "retrieval": ("pop3", LOGIN + b"RETR 1\r\n"),
    "many retrievals": ("pop3", LOGIN + b"RETR 1\r\n" * 30),
}


class Attacked:
    """A running `attacked.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self.ports: dict[str, int] = json.loads(process.stdout.readline())

    def connect(self, name: str, octets: bytes = b"", *, receive_buffer: int = 0) -> socket.socket:
        """A connection on which this has been said."""
        client = socket.socket()
        client.settimeout(20)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.ports[name]))
        if octets:
            client.sendall(octets)
        return client

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> int:
        """Octets that it has in memory now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def serves(self) -> None:
        """Somebody else is served."""
        with smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=20) as client:
            client.sendmail("a@example.com", "b@example.com", "Subject: x\r\n\r\nx\r\n")
        pop3 = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=20)
        pop3.user("user0")
        pop3.pass_("secret")
        assert pop3.stat()[0] == 1
        pop3.quit()


@contextmanager
def attacked(
    runtime: str,
    authority: Authority,
    directory: Path,
    *,
    idle_seconds: float = 60,
    connections: int = 1000,
    files: int = 4096,
) -> Iterator[Attacked]:
    chain, key = authority.write(directory)
    (directory / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
    options: dict[str, Any] = {
        "runtime": runtime,
        "certificate": str(directory / "both.pem"),
        "idle_seconds": idle_seconds,
        "connections": connections,
        "files": files,
    }
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("attacked.py")), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    try:
        server = Attacked(process)
        server.serves()
        yield server
        server.serves()
        assert process.poll() is None
        output, _ = process.communicate(timeout=20)
        assert json.loads(output)["received"] >= 2
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    if files > 1000:
        assert (directory / "log").read_text() == ""


on_each_server = pytest.mark.parametrize("runtime", RUNTIMES)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def read_to_the_end(client: socket.socket) -> bytes:
    received = bytearray()
    with suppress(ConnectionResetError):
        while data := client.recv(1_000_000):
            received += data
    return bytes(received)


@on_each_server
def test_resets_in_each_state(runtime: str, authority: Authority, tmp_path: Path) -> None:
    with attacked(runtime, authority, tmp_path) as server:
        before = server.files
        for name, octets in STATES.values():
            for wait in (0, 0.01, 0.05):
                client = server.connect(name, octets)
                time.sleep(wait)
                reset(client)
        assert wait_until(lambda: server.files <= before, 20)


@on_each_server
def test_ends_in_each_state(runtime: str, authority: Authority, tmp_path: Path) -> None:
    """The client stops sending, and still reads."""
    with attacked(runtime, authority, tmp_path) as server:
        before = server.files
        for state, (name, octets) in STATES.items():
            with server.connect(name, octets) as client:
                client.shutdown(socket.SHUT_WR)
                received = read_to_the_end(client)
                if name == "pop3":
                    assert received.startswith(b"+OK")
                    assert received.count(b"\r\n.\r\n") == octets.count(b"RETR"), state
                elif name == "smtp":
                    assert received.startswith(b"220 ")
        with server.connect("smtp", HELLO + ENVELOPE + b"DATA\r\nx\r\n.\r\n") as client:
            client.shutdown(socket.SHUT_WR)
            assert read_to_the_end(client).endswith(b"250 2.6.0 Message accepted\r\n")
        assert wait_until(lambda: server.files <= before, 20)


@on_each_server
def test_an_octet_now_and_then_in_each_state(runtime: str, authority: Authority, tmp_path: Path) -> None:
    """A command or content that is never complete, and a handshake: the session ends as if nothing had come."""
    with attacked(runtime, authority, tmp_path, idle_seconds=0.6) as server, ExitStack() as stack:
        before = server.files
        clients = {
            state: stack.enter_context(server.connect(name, octets))
            for state, (name, octets) in STATES.items()
            if state not in ("tls", "hello of tls", "retrieval", "many retrievals")
        }
        began = time.monotonic()
        while clients and time.monotonic() - began < 15:
            time.sleep(0.1)
            for state, client in list(clients.items()):
                try:
                    client.send(b"N")
                except OSError:
                    del clients[state]
        assert not clients
        assert wait_until(lambda: server.files <= before, 20)


@on_each_server
def test_clients_that_say_nothing_more(runtime: str, authority: Authority, tmp_path: Path) -> None:
    with attacked(runtime, authority, tmp_path, idle_seconds=0.5) as server, ExitStack() as stack:
        before = server.files
        for state, (name, octets) in STATES.items():
            if "tls" not in state or state == "starttls":  # which has a time limit of its own
                stack.enter_context(server.connect(name, octets, receive_buffer=4096))
        assert wait_until(lambda: server.files <= before, 20)


@on_each_server
def test_ten_thousand_connections_at_once(runtime: str, authority: Authority, tmp_path: Path) -> None:
    with attacked(runtime, authority, tmp_path) as server:
        before = server.files
        for number in range(10_000):
            client = socket.socket()
            client.connect(("127.0.0.1", server.ports["smtp" if number % 2 else "pop3"]))
            if number % 3:
                reset(client)
            else:
                client.close()
        server.serves()
        assert wait_until(lambda: server.files <= before, 30)


@on_each_server
def test_more_connections_than_are_allowed(runtime: str, authority: Authority, tmp_path: Path) -> None:
    with attacked(runtime, authority, tmp_path, connections=20) as server, ExitStack() as stack:
        clients = [stack.enter_context(server.connect("smtp")) for _ in range(50)]
        greetings = [client.recv(100)[:4] for client in clients]
        assert greetings.count(b"220 ") == 20
        assert greetings.count(b"421 ") == 30
        for client in clients:
            client.close()

        def is_welcome() -> bool:
            with server.connect("smtp") as client:
                return client.recv(4) == b"220 "

        assert wait_until(is_welcome, 20)


@on_each_server
def test_more_connections_than_file_descriptors(runtime: str, authority: Authority, tmp_path: Path) -> None:
    began = time.monotonic()
    with attacked(runtime, authority, tmp_path, files=64) as server, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(server.connect("smtp"))
        time.sleep(0.5)
        before = server.cpu_seconds
        time.sleep(1.5)
        assert server.cpu_seconds - before < 0.5  # it does not spin
        stack.close()

        def serves() -> bool:
            with suppress(smtplib.SMTPServerDisconnected):  # libuv takes connections only to close them
                server.serves()
                return True
            return False

        assert wait_until(serves, 20)
    # asyncio tries again once a second, for each address; left to itself it complained a hundred times for each.
    complaints = (tmp_path / "log").read_text().count("Too many open files")
    assert complaints < 60 * (1 + time.monotonic() - began)


@on_each_server
def test_input_without_end(runtime: str, authority: Authority, tmp_path: Path) -> None:
    floods = {
        "a line": ("smtp", b"x" * 100_000),
        "lines": ("smtp", b"XYZZY\r\n" * 10_000),
        "commands that nobody reads the replies of": ("smtp", b"NOOP\r\n" * 15_000),
        "header": ("smtp", HELLO + ENVELOPE + b"DATA\r\n" + b"x" * 100_000),
        "tls": ("smtps", b"\x16\x03\x01\x40\x00" + bytes(100_000)),
        "a line of pop3": ("pop3", b"x" * 100_000),
        "retrievals that nobody reads": ("pop3", LOGIN + b"RETR 1\r\n" * 10_000),
    }
    with attacked(runtime, authority, tmp_path, idle_seconds=5) as server:
        before = server.memory
        for name, (port, octets) in floods.items():
            with server.connect(port, receive_buffer=4096) as client:
                client.settimeout(0.3)
                sent = 0
                with suppress(OSError):  # the server has hung up, or reads no more
                    while sent < 60_000_000:
                        sent += client.send(octets)
            assert server.memory - before < 80_000_000, name
        server.serves()


@on_each_server
def test_tls_that_never_gets_anywhere(runtime: str, authority: Authority, tmp_path: Path) -> None:
    with attacked(runtime, authority, tmp_path, idle_seconds=1) as server, ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(server.connect("smtps"))
            client.sendall(b"\x16\x03\x01\x02\x00\x01")
        context = authority.client_context()
        with smtplib.SMTP_SSL("localhost", server.ports["smtps"], timeout=20, context=context) as client:
            client.noop()
        for octets in (
            b"EHLO x\r\n",
            b"\x16\x03\x01\xff\xff" + bytes(70_000),
            b"\x15\x03\x03\x00\x02\x02\x28",
        ):
            with server.connect("smtps", octets) as client:
                read_to_the_end(client)
        with server.connect("smtp", HELLO + b"STARTTLS\r\n" + b"EHLO injected\r\n") as client:
            assert b"injected" not in read_to_the_end(client)
