"""Fixtures for all tests: certificates, and real servers that run as long as the tests do.

A test for which a server is missing is skipped with the reason; with
ASYNCMAIL_REQUIRE_PEERS=1 it fails instead. The servers are shared: a test keeps to recipients,
or to a maildrop, of its own.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings

from peers import (
    Authority,
    Dovecot,
    Exim,
    Postfix,
    Sink,
    Unavailable,
    find_program,
    run_dovecot,
    run_exim,
    run_postfix,
    run_smtp_sink,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

T = TypeVar("T")

# The command's tables are not cut, whatever terminal the tests run on.
os.environ["COLUMNS"] = "240"

# Threads of tests wait for sockets no longer than that: nothing can cancel them, and nothing ends before they do.
socket.setdefaulttimeout(60)

# How long an example takes says more about the machine than about the code.
settings.register_profile("asyncmail", deadline=None)
settings.load_profile("asyncmail")


def or_skip(action: Callable[[], T]) -> T:
    """Return what `action` returns; skip the test if it needs what is not installed."""
    try:
        return action()
    except Unavailable as reason:
        if os.environ.get("ASYNCMAIL_REQUIRE_PEERS"):
            raise
        pytest.skip(str(reason))


def started(peer: AbstractContextManager[T]) -> Iterator[T]:
    with ExitStack() as stack:
        yield or_skip(lambda: stack.enter_context(peer))


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The certificate authority whose certificates the servers have."""
    return Authority()


@pytest.fixture
def client_tls(authority: Authority) -> ssl.SSLContext:
    """A context for clients, which trusts the servers' certificates."""
    return authority.client_context()


@pytest.fixture
def server_tls(authority: Authority) -> ssl.SSLContext:
    """A context for servers, with a certificate for localhost and 127.0.0.1."""
    return authority.server_context()


@pytest.fixture(scope="session")
def smtp_sink() -> Iterator[Sink]:
    """An smtp-sink that accepts everything and keeps nothing."""
    yield from started(run_smtp_sink())


@pytest.fixture(scope="session")
def postfix(authority: Authority) -> Iterator[Postfix]:
    """A Postfix without AUTH."""
    yield from started(run_postfix(authority))


@pytest.fixture(scope="session")
def exim(authority: Authority) -> Iterator[Exim]:
    """An Exim."""
    yield from started(run_exim(authority))


@pytest.fixture(scope="session")
def dovecot(authority: Authority) -> Iterator[Dovecot]:
    """A Dovecot for POP3 and LMTP."""
    yield from started(run_dovecot(authority))


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """A function from the name of a program, such as curl, to its path."""
    return lambda name: or_skip(lambda: find_program(name))
