"""Fixtures for the test suites of those who use asyncmail, or any other mail library: real servers on loopback.

The servers run in a thread of their own, so that tests may be plain functions or coroutines on any runtime.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .sasl import Attempt
    from .server import InMemoryMaildrops, ReceivedTransaction
    from .server.listener import MailServer

__all__ = ["MailReceiver", "MaildropServer", "asyncmail_pop3", "asyncmail_smtp"]


class MailReceiver:
    """An SMTP server that accepts everything and keeps it in memory.

    `messages` are the transactions received, oldest first; `url` is where to send them.
    """

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.messages: list[ReceivedTransaction] = []
        self._changed = Condition()

    async def deliver(self, transaction: ReceivedTransaction) -> None:
        """Keep a message."""
        with self._changed:
            self.messages.append(transaction)
            self._changed.notify_all()

    def wait_for(self, count: int, *, seconds: float = 5.0) -> list[ReceivedTransaction]:
        """Return the messages once there are at least `count`.

        Raises:
            AssertionError: there are fewer after `seconds`.
        """
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.messages) >= count, seconds)
            assert arrived, f"{len(self.messages)} of {count} messages arrived within {seconds:g} s"
            return list(self.messages)


class MaildropServer:
    """A POP3 server: fill it with `maildrops.deliver(user, content)`.

    Any user has the password `secret`; `url_of(user)` is where to fetch.
    """

    def __init__(self, maildrops: InMemoryMaildrops) -> None:
        self.port = 0
        self.maildrops = maildrops

    def url_of(self, user: str) -> str:
        """The URL of a maildrop, with its password."""
        return f"pop3://{user}:secret@127.0.0.1:{self.port}"


@pytest.fixture
def asyncmail_smtp() -> Iterator[MailReceiver]:
    """An SMTP server that keeps what it gets."""
    from .server import SMTPServer

    receiver = MailReceiver()
    with _running(SMTPServer(receiver)) as port:
        receiver.port = port
        receiver.url = f"smtp://127.0.0.1:{port}"
        yield receiver


@pytest.fixture
def asyncmail_pop3() -> Iterator[MaildropServer]:
    """A POP3 server whose maildrops are in memory."""
    from .server import InMemoryMaildrops, POP3Server

    class OpenMaildrops(InMemoryMaildrops):
        async def authenticate(self, attempt: Attempt) -> str | None:
            return attempt.username if attempt.verify("secret") else None

    server = MaildropServer(OpenMaildrops({}))
    with _running(POP3Server(server.maildrops)) as port:
        server.port = port
        yield server


@contextmanager
def _running(server: MailServer) -> Iterator[int]:
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server):
        yield server.port
