"""A POP3 server to embed: sessions, and how they use the maildrops."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from ..errors import InputError, MailError, POP3ResponseError
from ..net import now
from ..pop3 import (
    AuthenticationReceived,
    Awaiting,
    Capabilities,
    Command,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    Dele,
    List,
    Quit,
    Response,
    ResponseCode,
    Retr,
    Rset,
    ScanListing,
    ServerEvent,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    Stat,
    State,
    Status,
    Stls,
    Top,
    Uidl,
    UniqueIdListing,
    encode_listing,
)
from ..wire import Signal
from .excerpt import Excerpt
from .hooks import ask, complain
from .listener import ConnectionLimits, MailServer
from .maildrops import MaildropStore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from ..net import ByteStream
    from ..sasl import Attempt
    from ..wire import Trace
    from .maildrops import Maildrop, StoredMessage

__all__ = ["POP3Server"]

_OK = Response(Status.OK)
_BAD_CREDENTIALS = Response(Status.ERR, "username or password is wrong", ResponseCode.AUTH)
_NO_SUCH_MESSAGE = Response(Status.ERR, "no such message")
_DELETED = Response(Status.ERR, "the message is marked as deleted")
_LOCAL_ERROR = Response(Status.ERR, "local error, try again later", ResponseCode.SYS_TEMP)
_TOO_MANY = Response(Status.ERR, "too many connections, try again later", ResponseCode.SYS_TEMP)

_UNSENT_LIMIT = 262_144  # octets of answers that are kept before they are written

_ask = partial(ask, refusal=POP3ResponseError, failed=_LOCAL_ERROR)

_logger = logging.getLogger("asyncmail.server")


class POP3Server(MailServer):
    """Serves maildrops.

    `async with` starts it. Leaving the block lets the sessions go on, for the time of grace, in which messages are
    marked as deleted, and ends the others as soon as their command is answered.

    Passwords are taken where nobody can read along: with TLS, and on connections from this machine.

    Args:
        maildrops: says who may log in, and opens maildrops (see `asyncmail.server.maildrops`).
        host: address to listen on; empty for all.
        port: 0 picks one, see `port`.
        path: listen on a socket in the file system instead.
        hostname: the server's name, in the timestamps of APOP and CRAM-MD5.
        mechanisms: names of the SASL mechanisms to offer, and `APOP`; None is all. Only with the passwords themselves
            at hand can `maildrops` check the digests of CRAM-MD5 and APOP.
        tls_context: offer STLS, or, with `implicit_tls`, begin with TLS.
        implicit_tls: see `tls_context`.
        allow_cleartext_login: take passwords without TLS from anywhere.
        limits: what a client may send.
        connection_limits: how many clients are served.
        idle_seconds: after so long without a whole command a session ends, at least 600 by RFC 1939 §3.
        login_seconds: the same before the login.
        grace_seconds: how long `aclose` waits for sessions in which messages are marked as deleted.
        trace: called with each line of all sessions, secrets replaced.

    Raises:
        InputError: an argument cannot be used.

    RFC 1939, RFC 2449, RFC 2595, RFC 3206, RFC 5034
    """

    def __init__(
        self,
        maildrops: MaildropStore,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "",
        hostname: str = "localhost",
        mechanisms: tuple[str, ...] | None = None,
        tls_context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        allow_cleartext_login: bool = False,
        limits: ServerLimits | None = None,
        connection_limits: ConnectionLimits | None = None,
        idle_seconds: float = 600.0,
        login_seconds: float = 180.0,
        grace_seconds: float = 10.0,
        trace: Trace | None = None,
    ) -> None:
        if implicit_tls and tls_context is None:
            raise InputError("TLS is asked for without a certificate", cure="pass tls_context=")
        if isinstance(maildrops, type):
            raise InputError(f"maildrops is the class {maildrops.__name__}", cure="pass an object of it")
        if not isinstance(maildrops, MaildropStore):
            raise InputError(
                f"{type(maildrops).__name__} is no store of maildrops",
                cure="pass InMemoryMaildrops or MaildirMaildrops, or what has authenticate() and open() as they do",
            )
        names = None if mechanisms is None else tuple(name.upper() for name in mechanisms)
        self._maildrops = maildrops
        self._offer = ServerOffer(
            hostname=hostname,
            mechanisms=None if names is None else tuple(name for name in names if name != "APOP"),
            apop=names is None or "APOP" in names,
            stls=tls_context is not None and not implicit_tls,
            encrypted=implicit_tls,
            cleartext_login=allow_cleartext_login,
            more=Capabilities({"IMPLEMENTATION": ("asyncmail",)}),
        )
        self._session_limits = limits or ServerLimits()
        self._stls_context = tls_context
        self._idle_seconds = idle_seconds
        self._login_seconds = login_seconds
        self._trace = trace
        super().__init__(
            self._session,
            _TOO_MANY.encode(),
            host=host,
            port=port,
            path=path,
            tls_context=tls_context if implicit_tls else None,
            limits=connection_limits or ConnectionLimits(),
            grace_seconds=grace_seconds,
        )

    def _session(self, stream: ByteStream) -> _POP3Session:
        offer = replace(self._offer, cleartext_login=True) if _is_local(stream.peer) else self._offer
        protocol = ServerProtocol(offer=offer, limits=self._session_limits, trace=self._trace)
        return _POP3Session(
            stream, protocol, self._maildrops, self._stls_context, self._idle_seconds, self._login_seconds
        )


class _POP3Session:
    def __init__(
        self,
        stream: ByteStream,
        protocol: ServerProtocol,
        maildrops: MaildropStore,
        tls_context: ssl.SSLContext | None,
        idle_seconds: float,
        login_seconds: float,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._maildrops = maildrops
        self._tls_context = tls_context
        self._idle_seconds = idle_seconds
        self._login_seconds = login_seconds
        self._maildrop: Maildrop | None = None
        self._deleted: set[int] = set()
        self._unsent = 0
        self._is_ending = False
        self._is_waiting = False  # for the client
        self._waits_since: float | None = None  # for a command, which may come octet by octet

    # --- what the listener calls

    async def run(self) -> None:
        try:
            self._protocol.send(Response(Status.OK, "POP3 server ready"))
            await self._converse()
            await self._flush()
            await self._stream.aclose()
        except (MailError, TimeoutError) as error:
            _logger.debug("%s: %s", self._stream.peer, error)
            self._stream.abort()
        except BaseException:
            self._stream.abort()
            raise
        finally:
            self._close_maildrop()

    async def shut_down(self) -> None:
        self._is_ending = True
        if self._is_waiting and not self._deleted:
            # POP3 has no words for this; what was marked stays.
            await self._stream.aclose()

    def abort(self) -> None:
        self._stream.abort()

    def _close_maildrop(self) -> None:
        maildrop, self._maildrop = self._maildrop, None
        if maildrop is not None:
            maildrop.close()

    # --- the conversation

    async def _converse(self) -> None:
        protocol = self._protocol
        while True:
            event = protocol.next_event()
            if not isinstance(event, Signal):
                self._waits_since = None
                if isinstance(event, ConnectionEnded):
                    return
                await self._handle(event)
                if self._unsent > _UNSENT_LIMIT:
                    await self._flush()
            elif event is Signal.NEED_DATA:
                await self._flush()
                if self._is_ending and not self._deleted:
                    return
                await self._receive()
            elif protocol.state is State.HANDSHAKE:
                await self._start_tls()
            else:
                return

    async def _receive(self) -> None:
        """Wait for the client.

        Raises:
            TimeoutError: it was silent for too long; it is not told (RFC 1939 §3).
        """
        is_known = self._protocol.awaiting is Awaiting.COMMAND
        seconds = self._idle_seconds if is_known else self._login_seconds
        if self._waits_since is None:
            self._waits_since = now()
        self._is_waiting = True
        try:
            data = await self._stream.receive(deadline=self._waits_since + seconds)
        finally:
            self._is_waiting = False
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()

    async def _flush(self) -> None:
        self._unsent = 0
        chunks = self._protocol.data_to_send()
        if chunks:
            await self._stream.send(chunks, deadline=now() + self._idle_seconds)

    async def _start_tls(self) -> None:
        assert self._tls_context is not None  # else STLS was not offered
        await self._flush()
        self._protocol.start_tls()
        await self._stream.start_tls(
            self._tls_context, server_side=True, deadline=now() + self._login_seconds
        )

    async def _handle(self, event: ServerEvent) -> None:
        if isinstance(event, CommandReceived):
            await self._handle_command(event.command)
        elif isinstance(event, AuthenticationReceived):
            self._protocol.send(await self._log_in(event.attempt))
        elif isinstance(event, CommandRejected):
            _logger.debug("%s: %s answered %s", self._stream.peer, event.line, event.response)

    async def _log_in(self, attempt: Attempt) -> Response:
        hook = self._maildrops.authenticate
        user: object = await _ask(hook, attempt)
        if isinstance(user, Response):
            return user
        if user is None:
            return _BAD_CREDENTIALS
        if not isinstance(user, str):
            complain(hook, user, "not the name of a user: return the name, or None if the password is wrong")
            return _LOCAL_ERROR
        maildrop = await _ask(self._maildrops.open, user)
        if isinstance(maildrop, Response):
            return maildrop
        self._maildrop = maildrop
        return Response(Status.OK, f"{len(maildrop.messages)} messages")

    # --- commands

    async def _handle_command(self, command: Command) -> None:
        protocol = self._protocol
        match command:
            case Stls():
                protocol.send(_OK)
            case Quit():
                protocol.send(await self._update())
            case Stat():
                kept = self._kept()
                protocol.send(
                    Response(Status.OK, f"{len(kept)} {sum(message.octets for _, message in kept)}")
                )
            case Rset():
                self._deleted.clear()
                protocol.send(_OK)
            case List(number=None):
                self._send_listing([ScanListing(number, message.octets) for number, message in self._kept()])
            case Uidl(number=None):
                self._send_listing([UniqueIdListing(number, each.unique_id) for number, each in self._kept()])
            case _:
                assert isinstance(
                    command, List | Uidl | Retr | Top | Dele
                )  # the protocol object answers the rest
                number = cast("int", command.number)  # None was a case above
                refusal = self._refusal(number)
                if refusal is not None:
                    protocol.send(refusal)
                else:
                    await self._handle_message(command, number, self._messages[number - 1])

    async def _handle_message(
        self, command: List | Uidl | Retr | Top | Dele, number: int, message: StoredMessage
    ) -> None:
        match command:
            case List():
                self._protocol.send(Response(Status.OK, f"{number} {message.octets}"))
            case Uidl():
                self._protocol.send(Response(Status.OK, f"{number} {message.unique_id}"))
            case Dele():
                self._deleted.add(number)
                self._protocol.send(_OK)
            case Retr():
                await self._send_message(number, None)
            case _:
                await self._send_message(number, Excerpt(command.lines))

    async def _update(self) -> Response:
        if self._maildrop is None:
            return _OK
        response = None
        if self._deleted:
            response = await _ask(self._maildrop.remove, self._deleted)
        # Before the answer, so that who has it can log in again.
        self._close_maildrop()
        return response or _OK

    @property
    def _messages(self) -> Sequence[StoredMessage]:
        assert self._maildrop is not None  # there is one in the TRANSACTION state
        return self._maildrop.messages

    def _kept(self) -> list[tuple[int, StoredMessage]]:
        return [each for each in enumerate(self._messages, 1) if each[0] not in self._deleted]

    def _refusal(self, number: int) -> Response | None:
        if number > len(self._messages):
            return _NO_SUCH_MESSAGE
        return _DELETED if number in self._deleted else None

    def _send_listing(self, listing: list[ScanListing] | list[UniqueIdListing]) -> None:
        self._protocol.send(Response(Status.OK, f"{len(listing)} messages"))
        self._send_piece(encode_listing(listing))
        self._protocol.end_content()

    async def _send_message(self, number: int, excerpt: Excerpt | None) -> None:
        assert self._maildrop is not None
        content: object = await _ask(self._maildrop.content, number)
        if isinstance(content, Response):
            self._protocol.send(content)
            return
        if not isinstance(content, bytes | AsyncIterable):
            complain(self._maildrop.content, content, "neither octets nor an async iterable of them")
            self._protocol.send(_LOCAL_ERROR)
            return
        self._protocol.send(_OK)
        if isinstance(content, bytes):
            self._send_piece(content if excerpt is None else excerpt.take(content))
        else:
            await self._send_pieces(content, excerpt)
        self._protocol.end_content()

    async def _send_pieces(self, pieces: AsyncIterable[bytes], excerpt: Excerpt | None) -> None:
        # An error in here cuts the connection: the client must not take what it has for the whole message.
        try:
            async for piece in pieces:
                self._send_piece(piece if excerpt is None else excerpt.take(piece))
                await self._flush()
                if excerpt is not None and excerpt.is_complete:
                    break
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    def _send_piece(self, data: bytes) -> None:
        self._protocol.send_content(data)
        self._unsent += len(data)


def _is_local(peer: str) -> bool:
    if peer == "unix":
        return True
    try:
        return ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False
