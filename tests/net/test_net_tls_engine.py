from __future__ import annotations

import os
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.net.tls_engine import TLSEngine
from peers import Authority


@pytest.fixture(scope="module", params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def contexts(request, authority):
    ours, theirs = authority.client_context(), authority.server_context()
    ours.minimum_version = ours.maximum_version = request.param
    return ours, theirs


@pytest.fixture
def pair(contexts) -> tuple[TLSEngine, TLSEngine]:
    return shaken(*contexts)


def shaken(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext) -> tuple[TLSEngine, TLSEngine]:
    client = TLSEngine(client_tls, server_hostname="localhost")
    server = TLSEngine(server_tls, server_side=True, server_hostname="localhost")
    assert not client.handshake(b"")
    assert not server.handshake(client.data_to_send())
    client.handshake(server.data_to_send())
    assert server.handshake(client.data_to_send())
    assert client.handshake(server.data_to_send())  # in TLS 1.3 with tickets behind it
    assert client.decrypt(b"") == b""
    return client, server


def test_octets(pair):
    client, server = pair
    for content in (b"x", os.urandom(16 * 1024), os.urandom(1_000_000)):
        wire = client.encrypt(content)
        assert len(wire) > len(content)
        assert server.decrypt(wire) == content
        assert client.decrypt(memoryview(server.encrypt(content))) == content
    assert client.encrypt(b"") == b""
    assert server.decrypt(b"") == b""


CONTEXTS = (lambda authority: (authority.client_context(), authority.server_context()))(Authority())


@given(
    st.lists(st.binary(min_size=1, max_size=40_000), max_size=4), st.lists(st.integers(1, 50_000), min_size=1)
)
def test_any_division(contents, sizes):
    client, server = shaken(*CONTEXTS)
    wire = b"".join(client.encrypt(content) for content in contents)
    received = b""
    while wire:
        size = sizes[len(wire) % len(sizes)]
        received += server.decrypt(wire[:size])
        wire = wire[size:]
    assert received == b"".join(contents)


def test_the_end_is_said(pair):
    client, server = pair
    wire = client.encrypt(b"QUIT\r\n") + client.end()
    assert server.decrypt(wire + b"anything") == b"QUIT\r\n"
    assert server.is_ended
    assert server.decrypt(b"more") == b""
    server.receive_eof()
    assert server.failure is None
    # The other direction is still there (RFC 8446 §6.1), until it ends too.
    if server.ssl_object.version() == "TLSv1.3":
        assert client.decrypt(server.encrypt(b"221 bye\r\n")) == b"221 bye\r\n"
    assert client.decrypt(server.end()) == b""
    assert client.is_ended
    assert client.failure is server.failure is None


def test_an_end_that_is_not_said(pair):
    for wire in (b"", pair[0].encrypt(b"QUIT\r\n")[:-1]):
        assert pair[1].decrypt(wire) == b""
    pair[1].receive_eof()
    assert isinstance(pair[1].failure, ssl.SSLEOFError)
    assert not pair[1].is_ended
    pair[1].receive_eof()
    assert pair[1].decrypt(b"anything") == b""


def test_octets_from_somebody_else(pair):
    client, server = pair
    wire = bytearray(client.encrypt(b"NOOP\r\n") + client.encrypt(b"RSET\r\n"))
    wire[-1] ^= 1
    assert server.decrypt(bytes(wire)) == b"NOOP\r\n"
    assert server.failure.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    with pytest.raises(ssl.SSLError):
        server.encrypt(b"250 OK\r\n")
    assert client.decrypt(server.end()) == b""  # an alert
    assert "ALERT_BAD_RECORD_MAC" in client.failure.reason


def test_a_handshake_that_fails(contexts):
    client = TLSEngine(contexts[0], server_hostname="elsewhere.example")
    server = TLSEngine(contexts[1], server_side=True)
    client.handshake(b"")
    server.handshake(client.data_to_send())
    with pytest.raises(ssl.SSLCertVerificationError):
        client.handshake(server.data_to_send())
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        server.handshake(client.data_to_send())
    with pytest.raises(ValueError, match="server_hostname"):
        TLSEngine(contexts[0], server_hostname="")


def test_an_idle_connection_is_small(pair):
    """What event loops bring along has buffers of 256 KiB."""
    client, server = pair
    for _ in range(3):
        assert len(server.decrypt(client.encrypt(bytes(1_000_000)))) == 1_000_000
    assert sum(map(len, (client._outgoing.read(), server._incoming.read()))) == 0
