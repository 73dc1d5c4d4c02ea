"""What every server has in common: who may connect, which sessions run, and how they end."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import anyio

from ..errors import ClosedError, InputError, LocalProtocolError, MailError, Stage
from ..net import Listener, listen, now
from ..net.background import current_task

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from ..net import BackgroundTask, ByteStream

__all__ = ["ConnectionLimits", "MailServer", "Session"]

_logger = logging.getLogger("asyncmail.server")

_REFUSAL_SECONDS = 5.0
_MOST_REFUSALS = 64  # under way at a time
_HANDSHAKE_SECONDS = 30.0  # that a client may take for implicit TLS
_GOODBYE_SECONDS = 1.0  # for sessions that did not end by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many clients a server serves at a time.

    Args:
        connections: in all; what a process may have open is usually the tighter limit.
        connections_per_host: from one address. Clients on a socket in the file system count as one host.
    """

    connections: int = 10_000
    connections_per_host: int = 1_000

    def __post_init__(self) -> None:
        if self.connections < 1 or self.connections_per_host < 1:
            raise InputError("a limit of connections is less than 1", cure="use numbers of at least 1")


class Session(Protocol):
    """One client's session, as the listener sees it."""

    async def run(self) -> None:
        """Serve the client until the session ends; never raises for what the client or the network did."""
        ...

    async def shut_down(self) -> None:
        """Take no new work: end now if nothing is under way, else as soon as it is done; called again, end now."""
        ...

    def abort(self) -> None:
        """End now."""
        ...


class _Handshake:
    """What comes before a session with implicit TLS; it counts as one."""

    def __init__(self, stream: ByteStream, context: ssl.SSLContext | None) -> None:
        self._stream = stream
        self._context = context

    async def run(self) -> None:
        assert self._context is not None
        try:
            await self._stream.start_tls(self._context, server_side=True, deadline=now() + _HANDSHAKE_SECONDS)
        except (MailError, TimeoutError) as error:
            _logger.debug("%s: %s", self._stream.peer, error)

    async def shut_down(self) -> None:
        self._stream.abort()

    def abort(self) -> None:
        self._stream.abort()


class MailServer:
    """Listens, starts a session for each client, and shuts down gracefully.

    `async with` starts it; leaving the block stops accepting, lets sessions that are in the middle of something finish
    within `grace_seconds`, and ends the others with the protocol's goodbye.

    Args:
        make_session: returns the session for a client.
        refusal: the octets for a client over a limit, sent instead of a greeting.
        host: address to listen on; empty for all.
        port: 0 picks one, see `port`.
        path: listen on a socket in the file system instead.
        tls_context: for implicit TLS.
        limits: how many clients.
        grace_seconds: how long `aclose` waits for sessions that are in the middle of something.
    """

    def __init__(
        self,
        make_session: Callable[[ByteStream], Session],
        refusal: bytes,
        *,
        host: str,
        port: int,
        path: str,
        tls_context: ssl.SSLContext | None,
        limits: ConnectionLimits,
        grace_seconds: float,
    ) -> None:
        self._make_session = make_session
        self._refusal = refusal
        self._host = host
        self._port = port
        self._path = path
        self._tls_context = tls_context
        self._limits = limits
        self._grace_seconds = grace_seconds
        self._listener: Listener | None = None
        self._has_begun = False
        self._sessions: dict[Session, BackgroundTask] = {}
        self._hosts: Counter[str] = Counter()
        self._refused: set[ByteStream] = set()  # and about to be told so
        self._closing = False
        self._all_ended: anyio.Event | None = None

    def __repr__(self) -> str:
        where = (
            " ".join(self._listener.addresses)
            if self._listener
            else "closed"
            if self._closing
            else "not started"
        )
        return f"<{type(self).__name__} {where}, {len(self._sessions)} sessions>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def port(self) -> int:
        """The port that clients connect to.

        Raises:
            ClosedError: the server does not run.
        """
        if self._listener is None:
            raise ClosedError("the server does not run", cure="use it in an async with block")
        return self._listener.port

    @property
    def addresses(self) -> tuple[str, ...]:
        """`host:port` for each address, or the path of the socket; empty if the server does not run."""
        return () if self._listener is None else self._listener.addresses

    @property
    def connections(self) -> int:
        """Sessions that run now."""
        return len(self._sessions)

    async def start(self) -> None:
        """Listen; returns when clients can connect.

        Raises:
            ConnectError: the address cannot be used.
            LocalProtocolError: the server runs already, or was closed.
        """
        if self._has_begun or self._closing:
            raise LocalProtocolError("a server starts once", stage=Stage.CONNECT, cure="make another one")
        self._has_begun = True
        try:
            self._listener = await listen(self._accept, host=self._host, port=self._port, path=self._path)
        except BaseException:
            self._has_begun = False
            raise

    async def aclose(self) -> None:
        """Stop accepting, and end all sessions: those in the middle of something within the time of grace.

        Cancelling ends them at once.
        """
        self._closing = True
        listener, self._listener = self._listener, None
        try:
            if listener is not None:
                await listener.aclose()
            with anyio.move_on_after(self._grace_seconds):
                await self._shut_down_sessions()
                await self._wait_for_sessions()
            with anyio.move_on_after(_GOODBYE_SECONDS):
                await self._shut_down_sessions()
        finally:
            self._end_sessions()
        with anyio.move_on_after(_GOODBYE_SECONDS):
            await self._wait_for_sessions()
        self._end_sessions()  # a handler may have gone on, in its clean-up

    def _end_sessions(self) -> None:
        for session, task in list(self._sessions.items()):
            session.abort()
            task.cancel()
        for stream in self._refused:
            stream.abort()

    async def _shut_down_sessions(self) -> None:
        async with anyio.create_task_group() as group:
            for session in self._sessions:
                group.start_soon(session.shut_down)

    async def _wait_for_sessions(self) -> None:
        while self._sessions:
            self._all_ended = self._all_ended or anyio.Event()
            await self._all_ended.wait()

    async def _accept(self, stream: ByteStream) -> None:
        host = stream.peer
        if (
            self._closing
            or len(self._sessions) >= self._limits.connections
            or self._hosts[host] >= self._limits.connections_per_host
        ):
            await self._refuse(stream)
            return
        self._hosts[host] += 1
        session: Session = _Handshake(stream, self._tls_context)
        try:
            if self._tls_context is not None:
                self._sessions[session] = current_task()
                await session.run()
                del self._sessions[session]
                if stream.tls is None:
                    return
            session = self._make_session(stream)
            self._sessions[session] = current_task()
            await session.run()
        finally:
            self._sessions.pop(session, None)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            if not self._sessions and self._all_ended is not None:
                self._all_ended.set()
                self._all_ended = None

    async def _refuse(self, stream: ByteStream) -> None:
        if len(self._refused) >= _MOST_REFUSALS:  # who floods a server gets no answers
            stream.abort()
            return
        self._refused.add(stream)
        deadline = now() + _REFUSAL_SECONDS
        try:
            if self._tls_context is not None:
                await stream.start_tls(self._tls_context, server_side=True, deadline=deadline)
            await stream.send([self._refusal], deadline=deadline)
            await stream.aclose()
        except (MailError, TimeoutError):
            stream.abort()
        finally:
            self._refused.discard(stream)
