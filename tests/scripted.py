"""SMTP servers that misbehave in exactly the way a test wants, on asyncio and on Trio, and cancellation at every await.

async with scripted(lambda talk, line: "451 later" if line.startswith("RCPT") else None) as server:
    ... server.url ... server.messages ...
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

if TYPE_CHECKING:
    import ssl

__all__ = ["EXTENSIONS", "Accepted", "Do", "ScriptedServer", "Talk", "cut_at", "scripted"]

EXTENSIONS = ("PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING")

T = TypeVar("T")


class Do(enum.Enum):
    """What a server does instead of answering."""

    TAKE = "take"  # accept the message for good; say nothing yet
    CLOSE = "close"  # the connection, politely
    RESET = "reset"  # it, rudely
    HANG = "hang"  # for ever, and read nothing
    MUTE = "mute"  # for ever, until the client goes
    NOTHING = "nothing"  # and go on reading


Reaction = str | Do | Sequence["str | Do"] | None
React = Callable[["Talk", str], "Reaction | Awaitable[Reaction]"]


@dataclass(frozen=True)
class Accepted:
    """A message that a server has taken responsibility for."""

    connection: int
    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Ended(Exception):
    pass


class Talk:
    """One connection, from the server's end."""

    def __init__(self, server: ScriptedServer, stream: anyio.abc.SocketStream, number: int) -> None:
        self.server = server
        self.number = number
        self.lines: list[str] = []
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.content = b""
        self.chunks = b""
        self.waits = False  # for the client
        self.socket: socket.socket = stream.extra(SocketAttribute.raw_socket)
        self._use(stream)

    def _use(self, stream: Any) -> None:
        self.stream = stream
        self._buffer = BufferedByteReceiveStream(stream)

    async def say(self, *lines: str | bytes) -> None:
        octets = b"".join(line if isinstance(line, bytes) else f"{line}\r\n".encode() for line in lines)
        await self.stream.send(octets)

    async def line(self) -> str:
        self.waits = True
        try:
            line = (await self._buffer.receive_until(b"\r\n", 1_000_000)).decode()
        except (anyio.EndOfStream, anyio.IncompleteRead):
            raise Ended from None
        finally:
            self.waits = False
        self.lines.append(line)
        return line

    async def octets(self, count: int) -> bytes:
        return await self._buffer.receive_exactly(count) if count else b""

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self._use(
            await TLSStream.wrap(
                self.stream, server_side=True, ssl_context=context, standard_compatible=False
            )
        )

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def do(self, reaction: Reaction) -> None:
        steps = [reaction] if isinstance(reaction, str | Do) else reaction or ()
        for step in steps:
            if isinstance(step, str):
                await self.say(step)
            elif step is Do.TAKE:
                self.take()
            elif step is Do.HANG:
                await anyio.sleep_forever()
            elif step is Do.MUTE:
                while True:
                    await self.stream.receive()
            elif step is not Do.NOTHING:
                if step is Do.RESET:
                    self.reset()
                raise Ended

    def take(self) -> None:
        message = Accepted(self.number, self.sender or "", tuple(self.recipients), self.content)
        self.server.messages.append(message)

    async def serve(self) -> None:
        if not await self._react("CONNECT"):
            await self.say("220 scripted ESMTP")
        while True:
            line = await self.line()
            verb = line.partition(" ")[0].upper()
            if verb == "BDAT":
                self.chunks += await self.octets(int(line.split()[1]))
            if not await self._react(line):
                await getattr(self, f"_{verb.lower()}", self._unknown)(line)

    async def _react(self, line: str) -> bool:
        reaction: Any = self.server.react(self, line)
        if inspect.isawaitable(reaction):
            reaction = await reaction
        if isinstance(reaction, bool):  # of Event.wait() on asyncio
            reaction = None
        await self.do(reaction)
        return reaction is not None

    async def _unknown(self, line: str) -> None:
        await self.say("250 2.0.0 OK")

    async def _ehlo(self, line: str) -> None:
        lines = ["scripted.example", *self.server.extensions]
        await self.say(*[f"250-{each}" for each in lines[:-1]], f"250 {lines[-1]}")

    _lhlo = _ehlo

    async def _mail(self, line: str) -> None:
        if self.sender is not None:
            await self.say("503 5.5.1 nested MAIL")
            return
        self.sender = line.partition("<")[2].partition(">")[0]
        await self.say("250 2.1.0 OK")

    async def _rcpt(self, line: str) -> None:
        if self.sender is None:
            await self.say("503 5.5.1 MAIL first")
            return
        self.recipients.append(line.partition("<")[2].partition(">")[0])
        await self.say("250 2.1.5 OK")

    async def _rset(self, line: str) -> None:
        self._forget()
        await self.say("250 2.0.0 OK")

    async def _data(self, line: str) -> None:
        if not self.recipients:
            await self.say("554 5.5.1 no recipients")
            return
        await self.say("354 go ahead")
        lines = []
        while (each := await self.line()) != ".":
            self.lines.pop()
            lines.append(each.removeprefix(".").encode() + b"\r\n")
        self.content = b"".join(lines)
        await self._end()

    async def _bdat(self, line: str) -> None:
        if not self.recipients:
            self.chunks = b""
            await self.say("503 5.5.1 no recipients")
        elif line.endswith("LAST"):
            self.content, self.chunks = self.chunks, b""
            await self._end()
        else:
            await self.say("250 2.0.0 chunk")

    async def _end(self) -> None:
        if not await self._react("."):
            self.take()
            for _ in self.recipients if self.server.lmtp else "x":
                await self.say("250 2.6.0 taken")
        self._forget()

    def _forget(self) -> None:
        self.sender = None
        self.recipients = []
        self.chunks = b""

    async def _quit(self, line: str) -> None:
        await self.say("221 2.0.0 bye")
        raise Ended


@dataclass
class ScriptedServer:
    """Called with each line of a client (`CONNECT` for the connection itself, `.` for complete content), `react`
    says what happens; None for what a good server would do. `messages` are those that it took.
    """

    react: React
    extensions: tuple[str, ...]
    lmtp: bool
    port: int = 0
    talks: list[Talk] = field(default_factory=list)
    messages: list[Accepted] = field(default_factory=list)
    open: int = 0

    @property
    def url(self) -> str:
        return f"{'lmtp' if self.lmtp else 'smtp'}://127.0.0.1:{self.port}"

    @property
    def subjects(self) -> list[str]:
        """Of the messages it took, sorted."""
        return sorted(
            message.content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
            for message in self.messages
        )

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        talk = Talk(self, stream, len(self.talks))
        self.talks.append(talk)
        self.open += 1
        try:
            async with stream:
                with suppress(
                    Ended,
                    anyio.BrokenResourceError,
                    anyio.ClosedResourceError,
                    anyio.EndOfStream,
                    anyio.IncompleteRead,
                ):
                    await talk.serve()
        finally:
            self.open -= 1


@asynccontextmanager
async def scripted(
    react: React = lambda talk, line: None,
    *,
    extensions: tuple[str, ...] = EXTENSIONS,
    lmtp: bool = False,
    port: int = 0,
) -> AsyncIterator[ScriptedServer]:
    """Run a server; connections that are open at the end of the block are cut."""
    server = ScriptedServer(react, extensions, lmtp)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port) as listener:
        server.port = listener.extra(SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(_accept, listener.extra(SocketAttribute.raw_socket), server.serve)
            try:
                yield server
            finally:
                group.cancel_scope.cancel()


async def _accept(
    listener: socket.socket, serve: Callable[[anyio.abc.SocketStream], Awaitable[None]]
) -> None:
    """Cancelled at the moment in which a client comes, `Listener.serve` would forget that one, and leave it open."""
    async with anyio.create_task_group() as group:
        while True:
            await anyio.wait_readable(listener)
            with suppress(BlockingIOError, ConnectionError):
                client, _ = listener.accept()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with anyio.CancelScope(shield=True):
                    stream = await anyio.abc.SocketStream.from_socket(client)
                group.start_soon(serve, stream)


class _Cut:
    """Await it once: runs a coroutine, and cancels at its n-th suspension."""

    def __init__(self, coroutine: Any, at: int, cancel: Callable[[], object]) -> None:
        self.coroutine = coroutine
        self.at = at
        self.cancel = cancel
        self.suspensions = 0

    def __await__(self) -> Any:
        inner = self.coroutine.__await__()
        step: Callable[[], Any] = lambda: inner.send(None)  # noqa: E731
        while True:
            try:
                trap = step()
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self.suspensions == self.at:
                self.cancel()
            try:
                value = yield trap
            except BaseException as error:
                step = lambda error=error: inner.throw(error)  # noqa: E731
            else:
                step = lambda value=value: inner.send(value)  # noqa: E731


async def cut_at(number: int, async_fn: Callable[[], Awaitable[T]]) -> tuple[bool, T | None]:
    """Run `async_fn` and cancel it at its `number`-th await that suspends, counted from 1.

    Returns:
        Whether it was cancelled, and else what it returned. Once it was not, no later cut can happen.
    """
    result: T | None = None
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with anyio.CancelScope() as scope:
            result = await _Cut(async_fn(), number, scope.cancel)
        return scope.cancelled_caught, result

    async def native() -> T:
        task = asyncio.current_task()
        assert task is not None
        return await _Cut(async_fn(), number, task.cancel)

    task = asyncio.get_running_loop().create_task(native())
    await asyncio.wait([task])
    return (True, None) if task.cancelled() else (False, task.result())
