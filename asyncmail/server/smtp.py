"""An SMTP or LMTP server to embed: sessions, and how they call the handler."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from ..errors import InputError, LocalProtocolError, MailError, SMTPReplyError
from ..net import now
from ..smtp import (
    AuthenticationReceived,
    Command,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    ContentEnded,
    ContentReceived,
    Data,
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Reply,
    Rset,
    ServerEvent,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    ServerState,
    Vrfy,
)
from ..wire import BareNewlines, Signal
from .handlers import (
    Authenticator,
    Handler,
    HandlerLike,
    ReceivedTransaction,
    RecipientFilter,
    SenderFilter,
    SessionFilter,
    SessionInfo,
    StreamingHandler,
    Verifier,
)
from .hooks import ask, complain
from .listener import ConnectionLimits, MailServer

if TYPE_CHECKING:
    import ssl

    from ..net import ByteStream
    from ..wire import Trace

__all__ = ["SMTPServer"]

_LOCAL_ERROR = Reply(451, "Local error, try again later", "4.3.0")
_NO_SERVICE = Reply(421, "Local error, try again later", "4.3.0")
_ACCEPTED = Reply(250, "Message accepted", "2.6.0")
_BAD_CREDENTIALS = Reply(535, "Username or password is wrong", "5.7.8")
_AUTHENTICATED = Reply(235, "Authenticated", "2.7.0")
_SHUTTING_DOWN = Reply(421, "The server is shutting down, try again later", "4.3.2")
_TOO_MANY = Reply(421, "Too many connections, try again later", "4.7.0")
_IDLE = Reply(421, "Nothing came for too long", "4.4.2")

_LEAST_RATE = (
    50.0  # octets per second of content, in the long run; whoever is slower only keeps the session open
)
_GOODBYE_SECONDS = 1.0
_NO_NAME = "not the name of a user: return the name, or None if the password is wrong"

_ask = partial(ask, refusal=SMTPReplyError, failed=_LOCAL_ERROR)

_NEED_DATA: Final = Signal.NEED_DATA  # before Python 3.12 each look at a member of an Enum runs a function

_HELLOS = (Ehlo, Helo, Lhlo)  # a union of types would be made anew for each command

_logger = logging.getLogger("asyncmail.server")


class SMTPServer(MailServer):
    """Receives mail and hands it to `handler`.

    `async with` starts it; leaving the block lets transactions under way finish and tells other clients 421.

    Args:
        handler: an object with `deliver` and, optionally, other hooks (see `asyncmail.server.handlers`), or an async
            function that does what `deliver` would.
        host: address to listen on; empty for all.
        port: 0 picks one, see `port`.
        path: listen on a socket in the file system instead.
        hostname: the server's name, in greeting and EHLO answer.
        lmtp: speak LMTP (RFC 2033).
        tls_context: offer STARTTLS, or, with `implicit_tls`, begin with TLS.
        implicit_tls: see `tls_context`.
        require_tls: refuse MAIL before TLS.
        require_authentication: refuse MAIL before AUTH.
        allow_cleartext_login: take passwords without TLS.
        bare_newlines: what to do with content that holds CR or LF outside of CRLF.
        more_extensions: further EHLO keywords and their parameters, such as `{"LIMITS": "MAILMAX=100"}`; the handler
            has to do what they promise.
        limits: what a client may send.
        connection_limits: how many clients are served.
        idle_seconds: after so long without a whole command a session ends, at least 300 by RFC 5321 §4.5.3.2.7; with
            content that comes at less than 50 octets per second soon after that.
        grace_seconds: how long `aclose` waits for transactions under way.
        trace: called with each line of all sessions, secrets replaced.

    Raises:
        InputError: arguments contradict each other.

    RFC 5321, RFC 2033
    """

    def __init__(
        self,
        handler: HandlerLike,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "",
        hostname: str = "localhost",
        lmtp: bool = False,
        tls_context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        require_tls: bool = False,
        require_authentication: bool = False,
        allow_cleartext_login: bool = False,
        bare_newlines: BareNewlines = BareNewlines.REJECT,
        more_extensions: Mapping[str, str] | None = None,
        limits: ServerLimits | None = None,
        connection_limits: ConnectionLimits | None = None,
        idle_seconds: float = 300.0,
        grace_seconds: float = 10.0,
        trace: Trace | None = None,
    ) -> None:
        if (implicit_tls or require_tls) and tls_context is None:
            raise InputError("TLS is asked for without a certificate", cure="pass tls_context=")
        if require_authentication and not isinstance(handler, Authenticator):
            raise InputError("authentication is asked for and the handler has no authenticate()")
        self._hooks = _Hooks(handler)
        self._offer = ServerOffer(
            hostname=hostname,
            lmtp=lmtp,
            starttls=tls_context is not None and not implicit_tls,
            encrypted=implicit_tls,
            authentication=self._hooks.authenticator is not None,
            cleartext_login=allow_cleartext_login,
            require_tls=require_tls,
            require_authentication=require_authentication,
            bare_newlines=bare_newlines,
            more=more_extensions or {},
        )
        self._greeting = Reply(220, f"{hostname} {'LMTP' if lmtp else 'ESMTP'}")
        self._session_limits = limits or ServerLimits()
        self._starttls_context = tls_context
        self._idle_seconds = idle_seconds
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

    def _session(self, stream: ByteStream) -> _SMTPSession:
        protocol = ServerProtocol(
            offer=self._offer,
            limits=self._session_limits,
            trace=self._trace,
            accepts=self._hooks.unasked,
        )
        return _SMTPSession(
            stream, protocol, self._hooks, self._greeting, self._starttls_context, self._idle_seconds
        )


class _Hooks:
    """A handler taken apart: what it does not have is None, and costs nothing."""

    __slots__ = (
        "authenticator",
        "deliver",
        "recipient",
        "sender",
        "session",
        "streaming",
        "unasked",
        "verifier",
    )

    def __init__(self, handler: HandlerLike) -> None:
        if isinstance(handler, type):
            raise InputError(f"the handler is the class {handler.__name__}", cure="pass an object of it")
        if not isinstance(handler, Handler) and not callable(handler):
            raise InputError(
                f"{type(handler).__name__} is no handler", cure="give it an async method deliver(transaction)"
            )
        self.deliver: Callable[[ReceivedTransaction], Awaitable[Reply | Sequence[Reply] | None]] = (
            handler.deliver if isinstance(handler, Handler) else handler
        )
        hooks: object = handler
        self.session = hooks if isinstance(hooks, SessionFilter) else None
        self.authenticator = hooks if isinstance(hooks, Authenticator) else None
        self.sender = hooks if isinstance(hooks, SenderFilter) else None
        self.recipient = hooks if isinstance(hooks, RecipientFilter) else None
        self.verifier = hooks if isinstance(hooks, Verifier) else None
        self.streaming = hooks if isinstance(hooks, StreamingHandler) else None
        # Commands that the handler has no say in. Once it has seen a transaction it is to see all of it.
        self.unasked: frozenset[type[Command]] = frozenset(
            (Data,) if self.sender else (Data, Mail) if self.recipient else (Data, Mail, Rcpt)
        )


class _SMTPSession:
    __slots__ = (
        "_asked",
        "_chunks",
        "_content_since",
        "_ending",
        "_failure",
        "_greeting",
        "_hooks",
        "_idle_seconds",
        "_info",
        "_is_idle",
        "_protocol",
        "_stalled",
        "_stream",
        "_tls_context",
        "_transaction",
        "_waiting",
    )

    def __init__(
        self,
        stream: ByteStream,
        protocol: ServerProtocol,
        hooks: _Hooks,
        greeting: Reply,
        tls_context: ssl.SSLContext | None,
        idle_seconds: float,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._hooks = hooks
        self._greeting = greeting
        self._tls_context = tls_context
        self._idle_seconds = idle_seconds
        self._info = SessionInfo(peer=stream.peer, encrypted=stream.tls is not None)
        self._transaction: ReceivedTransaction | None = None
        self._chunks: list[bytes] = []
        self._ending = False
        self._waiting = False  # for the client
        self._stalled: float | None = None  # since when octets come that complete nothing
        self._content_since: float | None = (
            None  # the first octets of content have come, and the last ones not
        )
        self._is_idle = False  # all that came has been dealt with, and the session goes on
        self._asked: Coroutine[object, object, None] | None = (
            None  # what a hook has to finish before the session goes on
        )
        self._failure: Reply | None = None  # of a hook that took a part of the content

    # --- what the listener calls

    async def run(self) -> None:
        try:
            await self._greet()
            await self._converse()
            await self._flush()
            await self._stream.aclose()
        except (MailError, TimeoutError):
            self._stream.abort()  # the client is gone, or as good as gone
        except BaseException:
            self._stream.abort()
            raise

    async def shut_down(self) -> None:
        time_is_up, self._ending = self._ending, True
        if time_is_up or (self._waiting and not self._protocol.in_transaction):
            self._protocol.shut_down(_SHUTTING_DOWN)
            try:
                await self._flush()
                await self._stream.aclose()
            except (MailError, TimeoutError):
                self._stream.abort()

    def abort(self) -> None:
        self._stream.abort()

    # --- the conversation

    async def _greet(self) -> None:
        hook = self._hooks.session
        reply = None if hook is None else await self._reply_of(hook.connected, self._info)
        if reply is _LOCAL_ERROR or (reply is not None and reply.is_intermediate):
            reply = _NO_SERVICE
        self._protocol.send(reply or self._greeting)

    async def _converse(self) -> None:
        """Answer what comes: right where it comes, and once a hook has to be awaited in this task."""
        while await self._proceed():
            try:
                await self._stream.converse(self._respond, seconds=self._patience, proceed=self._proceed)
            except TimeoutError:
                self._protocol.shut_down(_IDLE)
                await self._flush(_GOODBYE_SECONDS)  # it may be one that does not read
                return
            except BaseException:
                if self._asked is not None:
                    self._asked.close()  # else it would warn that nobody awaited it
                raise
            finally:
                self._waiting = False
            if self._protocol.state is not ServerState.HANDSHAKE:
                return
            await self._start_tls()

    async def _proceed(self) -> bool:
        """Await what a hook has to say, and react to what has come behind that.

        Returns:
            Whether it is the client's turn: the session does not end, and TLS does not start.
        """
        self._waiting = False
        protocol = self._protocol
        asked, self._asked = self._asked, None
        if asked is not None:
            await asked
        while (asked := self._react(protocol.next_event())) is not None:
            await asked
        if not self._is_idle:
            return False
        await self._flush()
        if self._ending and not protocol.in_transaction:
            protocol.shut_down(_SHUTTING_DOWN)
            return False
        self._waiting = True
        return True

    def _patience(self) -> float:
        """Seconds for the client to go on: what comes octet by octet gets little more than what does not come."""
        if self._content_since is not None:
            granted = self._idle_seconds + self._protocol.content_octets / _LEAST_RATE
            return min(max(self._content_since + granted - now(), 0.0), self._idle_seconds)
        if self._stalled is None:
            return self._idle_seconds
        return max(self._stalled + self._idle_seconds - now(), 0.0)

    def _respond(self, data: bytes) -> list[bytes] | None:
        protocol = self._protocol
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        event = protocol.next_event()
        self._asked = asked = self._react(event)
        if asked is None and self._is_idle and not self._ending:
            chunks = protocol.data_to_send()
            self._stalled = None if chunks or event is not _NEED_DATA else self._stalled or now()
            return chunks
        self._stalled = None
        return None

    async def _flush(self, seconds: float | None = None) -> None:
        chunks = self._protocol.data_to_send()
        if chunks:
            await self._stream.send(chunks, deadline=now() + (seconds or self._idle_seconds))

    async def _start_tls(self) -> None:
        assert self._tls_context is not None  # else STARTTLS was not offered
        await self._flush()
        self._protocol.start_tls()
        await self._stream.start_tls(self._tls_context, server_side=True, deadline=now() + self._idle_seconds)
        # RFC 3207 §4.2: nothing that the client said before counts.
        self._info = SessionInfo(peer=self._stream.peer, encrypted=True)
        self._transaction = None

    def _react(self, event: ServerEvent | Signal) -> Coroutine[object, object, None] | None:
        """Do what an event asks for, and those behind it, up to one that takes a hook: return what is to be awaited."""
        while not isinstance(event, Signal):
            if type(event) is ContentReceived:
                if self._hooks.streaming is not None:
                    return self._stream_content(self._hooks.streaming, event.data)
                self._chunks.append(event.data)
            elif type(event) is ContentEnded:
                if event.refusal is None:
                    return self._deliver()
                self._begin(None)
            elif type(event) is CommandReceived:
                asked = self._begin_command(event.command)
                if asked is not None:
                    return asked
            elif type(event) is AuthenticationReceived:
                return self._authenticate(event)
            elif type(event) is CommandRejected:
                _logger.debug("%s: %s answered %s", self._info.peer, event.line, event.reply)
            elif type(event) is ConnectionEnded:
                self._is_idle = False
                return None
            event = self._protocol.next_event()
        self._is_idle = event is _NEED_DATA
        self._content_since = (self._content_since or now()) if self._protocol.content_octets else None
        return None

    def _begin_command(self, command: Command) -> Coroutine[object, object, None] | None:
        hooks = self._hooks
        if type(command) is Rcpt:
            transaction = self._current_transaction()
            _take_parameters(transaction, command)
            if hooks.recipient is not None:
                return self._filter_recipient(hooks.recipient, transaction, command.recipient)
            transaction.recipients.append(command.recipient)
        elif type(command) is Mail:
            assert hooks.sender is not None  # else it would be accepted unasked
            transaction = ReceivedTransaction(session=self._info, mail=command)
            self._begin(transaction)
            return self._ask_and_answer(hooks.sender.mail, transaction)
        elif isinstance(command, _HELLOS):
            self._info.hello = command.domain
            self._begin(None)
        elif isinstance(command, Rset):
            self._begin(None)
        elif isinstance(command, Vrfy) and hooks.verifier is not None:
            return self._ask_and_answer(hooks.verifier.verify, self._info, command.text)
        self._protocol.accept()
        return None

    def _current_transaction(self) -> ReceivedTransaction:
        transaction = self._transaction
        if transaction is None:
            mail, *rcpts = self._protocol.envelope
            transaction = ReceivedTransaction(session=self._info, mail=cast("Mail", mail))
            for rcpt in cast("list[Rcpt]", rcpts):
                _take_parameters(transaction, rcpt)
                transaction.recipients.append(rcpt.recipient)
            self._transaction = transaction
        return transaction

    def _begin(self, transaction: ReceivedTransaction | None) -> None:
        self._transaction = transaction
        self._chunks.clear()
        self._failure = None

    async def _filter_recipient(
        self, handler: RecipientFilter, transaction: ReceivedTransaction, recipient: str
    ) -> None:
        reply = await self._reply_of(handler.rcpt, transaction, recipient)
        if reply is None or reply.is_positive:
            transaction.recipients.append(recipient)
        self._answer(reply)

    async def _ask_and_answer(self, hook: Callable[..., Awaitable[object]], *arguments: object) -> None:
        self._answer(await self._reply_of(hook, *arguments))

    async def _stream_content(self, handler: StreamingHandler, data: bytes) -> None:
        if self._failure is None:
            refusal = await _ask(handler.receive, self._current_transaction(), data)
            self._failure = refusal if isinstance(refusal, Reply) else None

    async def _deliver(self) -> None:
        transaction = self._current_transaction()
        chunks = self._chunks
        transaction.content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        answer: object = self._failure
        self._begin(None)
        if answer is None:
            answer = await _ask(self._hooks.deliver, transaction)
        if answer is None:
            self._protocol.accept()
            return
        due = self._protocol.replies_due
        # A str is one, too: of characters.
        replies = (
            list(answer) if isinstance(answer, Sequence) and not isinstance(answer, str) else [answer] * due
        )
        if len(replies) != due:
            complain(self._hooks.deliver, answer, f"not the {due} replies that are due")
            replies = [_LOCAL_ERROR] * due
        for each in replies:
            self._answer(_checked(self._hooks.deliver, each) or _ACCEPTED)
            if not self._protocol.in_flight:  # 421 ends it before the last reply
                break

    async def _authenticate(self, event: AuthenticationReceived) -> None:
        assert self._hooks.authenticator is not None  # else AUTH was not offered
        hook = self._hooks.authenticator.authenticate
        answer: object = await _ask(hook, self._info, event.attempt)
        if isinstance(answer, str) and answer:
            self._info.user = answer
            self._answer(_AUTHENTICATED)
        elif not answer:
            self._answer(_BAD_CREDENTIALS)
        elif isinstance(answer, Reply) and not answer.is_positive:
            self._answer(answer)
        else:
            complain(hook, answer, _NO_NAME)
            self._answer(_LOCAL_ERROR)

    def _answer(self, reply: Reply | None) -> None:
        if reply is None:
            self._protocol.accept()
            return
        try:
            self._protocol.send(reply)
        except LocalProtocolError:
            _logger.exception("the handler's reply %s does not fit", reply)
            self._protocol.send(_LOCAL_ERROR)

    async def _reply_of(self, hook: Callable[..., Awaitable[object]], *arguments: object) -> Reply | None:
        return _checked(hook, await _ask(hook, *arguments))


def _take_parameters(transaction: ReceivedTransaction, command: Rcpt) -> None:
    if command.parameters:
        transaction.recipient_parameters[command.recipient] = command.parameters
    elif transaction.recipient_parameters:  # of one that was refused
        transaction.recipient_parameters.pop(command.recipient, None)


def _checked(hook: Callable[..., object], answer: object) -> Reply | None:
    """What a hook returned, if it may return that."""
    if answer is None or isinstance(answer, Reply):
        return answer
    complain(hook, answer, "no Reply: return None for yes, or asyncmail.Reply(550, …)")
    return _LOCAL_ERROR
