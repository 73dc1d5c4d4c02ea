from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from asyncmail import InMemoryMaildrops
from commandline import Command, Receiver, ReceiverWithLogin, Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def asyncmail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.delenv("ASYNCMAIL_SERVER", raising=False)
    monkeypatch.delenv("ASYNCMAIL_PASSWORD", raising=False)
    return Command(monkeypatch, capsys)


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("asyncio"))
        yield Servers(portal, stack)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def receiver_with_login() -> ReceiverWithLogin:
    return ReceiverWithLogin()


@pytest.fixture
def smtp(servers: Servers, receiver: Receiver) -> str:
    """The URL of a server."""
    return f"smtp://127.0.0.1:{servers.smtp(receiver)}"


@pytest.fixture
def maildrops() -> InMemoryMaildrops:
    return InMemoryMaildrops({"ann": "secret", "bob": "secret"})


@pytest.fixture
def pop3(servers: Servers, maildrops: InMemoryMaildrops) -> Callable[[str], str]:
    """A function from the name of a user to the URL of his maildrop."""
    port = servers.pop3(maildrops)
    return lambda user: f"pop3://{user}:secret@127.0.0.1:{port}"
