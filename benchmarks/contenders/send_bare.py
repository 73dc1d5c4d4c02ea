"""The floor of sending: an asyncio loop that writes the same octets and only counts the lines that come back.

The content of a message and the envelope of the next leave in one write, as PIPELINING allows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .common import HOST, SENDER, Stopwatch, main, make_content, make_recipients, warm_up

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


class Work:
    """Messages that the connections share."""

    def __init__(self, messages: int) -> None:
        self.unsent = self.unanswered = messages
        self.done = asyncio.get_running_loop().create_future()


class Session(asyncio.Protocol):
    """One connection, with at most one message's content and one envelope under way."""

    def __init__(self, envelope: bytes, content: bytes, answers: int) -> None:
        self._envelope = envelope
        self._content = content
        self._both = content + envelope
        self._answers = answers  # lines that answer an envelope
        self._due = 0  # lines that are to come
        self._is_content_sent = False
        self._is_envelope_sent = False
        self._greeting = bytearray()
        self._work: Work | None = None
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"EHLO localhost\r\n")

    def data_received(self, data: bytes) -> None:
        work = self._work
        if work is None:
            self._greet(data)
            return
        self._due -= data.count(b"\n")
        if self._due:
            return
        if self._is_content_sent:
            work.unanswered -= 1
            if not work.unanswered:
                work.done.set_result(None)
        self._is_content_sent = self._is_envelope_sent
        if not self._is_envelope_sent:
            return
        if work.unsent:
            work.unsent -= 1
            self._due = self._answers + 1
            self._transport.write(self._both)
        else:
            self._is_envelope_sent = False
            self._due = 1
            self._transport.write(self._content)

    def start(self, work: Work) -> None:
        self._work = work
        self._is_content_sent = False
        if work.unsent:
            work.unsent -= 1
            self._is_envelope_sent = True
            self._due = self._answers
            self._transport.write(self._envelope)

    def close(self) -> None:
        self._transport.close()

    def _greet(self, data: bytes) -> None:
        self._greeting += data
        if b"\n250 " in self._greeting and not self.ready.done():
            self.ready.set_result(None)


async def send(options: Namespace) -> Measured:
    recipients = make_recipients(options.recipients)
    commands = [f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"]
    envelope = "".join(f"{command}\r\n" for command in commands).encode()
    content = make_content(options.octets) + b".\r\n"
    loop = asyncio.get_running_loop()
    sessions = []
    for _ in range(options.connections):
        _, session = await loop.create_connection(
            lambda: Session(envelope, content, len(commands)), HOST, options.port
        )
        await session.ready
        sessions.append(session)
    await _send(sessions, warm_up(options.messages))
    with Stopwatch() as watch:
        await _send(sessions, options.messages)
    for session in sessions:
        session.close()
    return watch.measured(options.messages)


async def _send(sessions: list[Session], messages: int) -> None:
    work = Work(messages)
    for session in sessions:
        session.start(work)
    await work.done


if __name__ == "__main__":
    main(send)
