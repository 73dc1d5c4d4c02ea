"""The `asyncmail` command, run in this process, and servers for it in a thread of their own."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from asyncmail import InMemoryMaildrops, POP3Server, ReceivedTransaction, Reply, SMTPServer
from asyncmail.cli import run as run_command

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager, ExitStack

    import pytest
    from anyio.from_thread import BlockingPortal

    from asyncmail.sasl import Attempt
    from asyncmail.server import SessionInfo

__all__ = ["Command", "Receiver", "ReceiverWithLogin", "Result", "Servers", "starter"]


# Processes of their own that need not import everything anew.
_STARTER = """
import json, os, sys
from asyncmail.cli import run
for line in sys.stdin:
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(run(json.loads(line)))
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@contextmanager
def starter() -> Iterator[Callable[[list[str]], AbstractContextManager[int]]]:
    """Yield what runs the command in a process that may be killed: a block with its id, which waits for its end."""
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        @contextmanager
        def start(arguments: list[str]) -> Iterator[int]:
            stdin.write(json.dumps(arguments) + "\n")
            stdin.flush()
            yield int(stdout.readline())
            assert int(stdout.readline()) in (-signal.SIGKILL, 0, 1)

        yield start


class Result(NamedTuple):
    status: int
    out: str
    err: str


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Command:
    """Runs `asyncmail`; whatever happens, no traceback gets out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object, stdin: bytes | None = b"") -> Result:
        """Run it; with None for `stdin`, on a terminal."""
        self._capsys.readouterr()
        source = Terminal() if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
        self._monkeypatch.setattr(sys, "stdin", source)
        # uvloop hangs if a warning about what is left open becomes an exception while it closes.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            status = run_command([str(argument) for argument in arguments])
        assert not caught, caught[0].message
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return Result(status, out, err)


class Receiver:
    """An SMTP handler that answers as it is told."""

    def __init__(self) -> None:
        self.received: list[ReceivedTransaction] = []
        self.replies: dict[str, Reply] = {}  # to RCPT, by recipient
        self.answer: Reply | None = None  # to the content
        self.then: Callable[[], object] = lambda: None  # called when a message was received

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> Reply | None:
        return self.replies.get(recipient)

    async def deliver(self, transaction: ReceivedTransaction) -> Reply | None:
        if self.answer is None:
            self.received.append(transaction)
            self.then()
        return self.answer

    @property
    def recipients(self) -> list[str]:
        return sorted(recipient for each in self.received for recipient in each.recipients)


class ReceiverWithLogin(Receiver):
    async def authenticate(self, session: SessionInfo, attempt: Attempt) -> str | None:
        return attempt.username if attempt.verify("right") else None


class Servers:
    """Starts servers that run until the end of the test."""

    def __init__(self, portal: BlockingPortal, stack: ExitStack) -> None:
        self.portal = portal
        self._stack = stack

    def smtp(
        self, receiver: Receiver, *, tls_context: ssl.SSLContext | None = None, implicit_tls: bool = False
    ) -> int:
        server = SMTPServer(
            receiver, tls_context=tls_context, implicit_tls=implicit_tls, allow_cleartext_login=True
        )
        return self._stack.enter_context(self.portal.wrap_async_context_manager(server)).port

    def pop3(self, maildrops: InMemoryMaildrops) -> int:
        server = POP3Server(maildrops)
        return self._stack.enter_context(self.portal.wrap_async_context_manager(server)).port
