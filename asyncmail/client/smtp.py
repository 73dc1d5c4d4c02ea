"""One SMTP or LMTP session, awaited command by command or message by message."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self, Unpack

from ..errors import (
    AuthenticationError,
    ClosedError,
    CommandRefused,
    ConnectionLost,
    ContentRefused,
    ExtensionRequired,
    GreetingRefused,
    HelloRefused,
    InputError,
    LocalProtocolError,
    MailError,
    MailTimeout,
    MechanismUnavailable,
    RecipientRefused,
    RemoteProtocolError,
    SenderRefused,
    Stage,
    TLSRequired,
)
from ..message import prepare, to_7bit
from ..net import (
    AnyIOStream,
    ByteStream,
    Connection,
    MailProtocol,
    ServerURL,
    TLSMode,
    connect,
    default_context,
    now,
)
from ..sasl import choose, decode_base64
from ..smtp import (
    Auth,
    AuthResponse,
    Awaiting,
    Bdat,
    BodyType,
    ClientEvent,
    ClientProtocol,
    ClientState,
    Command,
    ConnectionEnded,
    Data,
    Ehlo,
    Expn,
    Extensions,
    GreetingReceived,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Outcome,
    Pipeline,
    Quit,
    Rcpt,
    Reply,
    ReplyReceived,
    Rset,
    Split,
    Starttls,
    Transaction,
    Vrfy,
)
from .credentials import credentials_for, cure_of_refusal, refuse_cleartext
from .options import SMTPOptions, check_options, parse_server
from .timeouts import SMTPTimeouts, cure_of_silence

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from anyio.abc import ByteStream as AnyByteStream

    from ..message import Addresses, AddressLike, MessageLike, Parcel
    from ..smtp.pipeline import TransactionT

__all__ = ["SMTPClient", "fit"]


_GOODBYE_SECONDS = 5.0  # for the answer to a QUIT that nobody waits for
_PIECE = 1_048_576  # octets of content that are encoded at a time
_REST_SECONDS = 1.0  # for the rest of what a server begins to say unasked

_NOT_UNDERSTOOD = range(500, 505)  # the command, RFC 5321 §4.2.1

# Refusals that say nothing of the credentials (RFC 4954 §6, RFC 5321 §4.2.1): change over, syntax, too weak, encrypt.
_ABOUT_MECHANISMS = frozenset((432, *_NOT_UNDERSTOOD, 534, 538))


def fit(transaction: Transaction, extensions: Extensions) -> None:
    """Fit a message to what a server offers.

    Raises:
        ExtensionRequired: the server lacks what the message needs, and it cannot be made to do without.

    RFC 1870 §6.1, RFC 6152 §3, RFC 6531 §3.4
    """
    if transaction.smtputf8 and "SMTPUTF8" not in extensions:
        raise ExtensionRequired(
            "SMTPUTF8",
            stage=Stage.SENDER,
            cure="use ASCII addresses and encoded header fields, or another server",
        )
    if transaction.eight_bit and "8BITMIME" not in extensions:
        transaction.content = to_7bit(transaction.content)
        transaction.eight_bit = False
    octets = len(transaction.content)
    if extensions.size is not None and octets > extensions.size:
        raise ExtensionRequired(
            "SIZE",
            f"the message has {octets} octets, the server takes {extensions.size}",
            stage=Stage.SENDER,
            cure="make it smaller",
        )


class SMTPClient:
    """A session with an SMTP or LMTP server.

    `async with` connects, greets, starts TLS and logs in as the URL says, and leaves with QUIT; left by an exception,
    the connection is closed at once. One task at a time may use it: a second one gets BusyError. After an error or a
    cancellation while an answer was due, the session has ended, since what comes next could belong to either command.

    Args:
        server: `smtp://`, `smtp+starttls://`, `smtps://`, `lmtp://` or `lmtp+unix://` URL.
        stream: a connected stream to use instead of connecting, such as a tunnel: one of `asyncmail.net`, or any
            `anyio.abc.ByteStream`.
        options: see `SMTPOptions`.

    Raises:
        URLError: the URL cannot be used.

    RFC 5321, RFC 2033
    """

    def __init__(
        self,
        server: str | ServerURL,
        *,
        stream: ByteStream | AnyByteStream | None = None,
        **options: Unpack[SMTPOptions],
    ) -> None:
        check_options("SMTPClient", SMTPOptions, options)
        self._url = parse_server(server)
        self._options = options
        timeouts = options.get("timeouts", SMTPTimeouts())
        self._timeouts = timeouts if isinstance(timeouts, SMTPTimeouts) else SMTPTimeouts.all(timeouts)
        self._patience_for = {awaiting: self._timeouts.of(awaiting) for awaiting in Awaiting}  # seconds
        self._stream = stream if stream is None or isinstance(stream, ByteStream) else AnyIOStream(stream)
        self._has_begun = False
        self._credentials = credentials_for(self._url, options.get("username"), options.get("password"))
        self.protocol: ClientProtocol = ClientProtocol(
            lmtp=self._url.protocol is MailProtocol.LMTP,
            limits=options.get("limits"),
            trace=options.get("trace"),
        )
        """The state of the session, for those who `run` a pipeline."""
        self._connection: Connection[ClientEvent] | None = None
        self._pipeline: Pipeline[Transaction] | None = None
        self.greeting: Reply | None = None
        """The server's first reply."""

    def __repr__(self) -> str:
        state = "not connected" if self._connection is None else self.protocol.state.value
        return f"<SMTPClient {self._url} {state}>"

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            await self.aclose()
        else:
            self.abort()

    # --- life

    async def connect(self) -> None:
        """Connect, greet, start TLS and log in.

        Raises:
            ConnectError, ConnectionLost, MailTimeout: the network.
            GreetingRefused, HelloRefused: the server does not want to talk.
            TLSRequired, TLSError, PlaintextAfterStartTLS: TLS was asked for and cannot be had.
            CleartextCredentialsRefused, MechanismUnavailable, AuthenticationError: logging in.
            LocalProtocolError: the session was connected before.

        Cancelling closes the connection.
        """
        if self._has_begun:
            raise LocalProtocolError(
                "a session connects once", stage=Stage.CONNECT, cure="make another SMTPClient"
            )
        self._has_begun = True
        stream = self._stream or await connect(
            self._url,
            tls_context=self._options.get("tls_context"),
            local_address=self._options.get("local_address"),
            timeout=self._timeouts.connect,
        )
        self._connection = Connection(stream, self.protocol)
        try:
            with self._connection.exclusive():
                if (
                    self._url.security is TLSMode.IMPLICIT and stream.tls is None
                ):  # one that was brought along
                    await self._start_tls_at_once(stream)
                await self._begin()
        except BaseException:
            self.abort()
            raise

    async def _start_tls_at_once(self, stream: ByteStream) -> None:
        seconds = self._timeouts.connect
        try:
            await stream.start_tls(
                self._tls_context, server_hostname=self._url.host, deadline=now() + seconds
            )
        except TimeoutError:
            raise MailTimeout(seconds, waiting_for="the TLS handshake", stage=Stage.TLS) from None

    async def _begin(self) -> None:
        try:
            event = await self._next_event()
        except MailTimeout as error:
            error.cure = cure_of_silence(self._url)
            raise
        if not isinstance(event, GreetingReceived):
            raise ConnectionLost("the server closed the connection", stage=Stage.GREETING)
        self.greeting = event.reply
        if not event.reply.is_positive:
            raise GreetingRefused(event.reply, command="the connection")
        await self._hello()
        await self._secure()
        if self._credentials is not None:
            await self._authenticate()

    async def _secure(self) -> None:
        security = self._url.security
        # A socket in the file system stays on this machine, and has no name that a certificate could confirm.
        if security is TLSMode.IMPLICIT or self._live.stream.tls is not None or self._url.path:
            return
        if "STARTTLS" in self.protocol.extensions:
            reply = await self._command(Starttls())
            if reply.is_positive:
                await self._live.start_tls(
                    self._tls_context, server_hostname=self._url.host, seconds=self._timeouts.answer
                )
                await self._hello()
                return
            if security is TLSMode.REQUIRED:
                raise CommandRefused(reply, command="STARTTLS", stage=Stage.TLS)
        elif security is TLSMode.REQUIRED:
            raise TLSRequired(
                f"{self._url.endpoint} does not offer STARTTLS",
                cure="use smtps:// if the server has a port for implicit TLS",
            )

    async def _hello(self) -> None:
        """Say EHLO, and HELO to a server that does not know it (RFC 5321 §3.2)."""
        name = self._options.get("local_hostname") or _local_hostname()
        lmtp = self.protocol.lmtp
        reply = await self._command(Lhlo(domain=name) if lmtp else Ehlo(domain=name))
        if reply.is_permanent and not lmtp:
            reply = await self._command(Helo(domain=name))
        if not reply.is_positive:
            cure = ""
            if reply.code in _NOT_UNDERSTOOD and not self._url.path:
                cure = f"if the server speaks {'SMTP, use smtp://' if lmtp else 'LMTP, use lmtp://'}"
            raise HelloRefused(reply, command="LHLO" if lmtp else "EHLO", cure=cure)

    async def _authenticate(self) -> None:
        assert self._credentials is not None
        stream = self._live.stream
        refuse_cleartext(stream, allowed=self._options.get("allow_cleartext_credentials", False))
        offered = self.protocol.extensions.mechanisms
        if not offered:
            raise MechanismUnavailable(
                f"{self._url.endpoint} does not offer authentication on this connection",
                cure="look whether it wants TLS first, or leave out username and password",
            )
        mechanisms = choose(
            offered,
            self._credentials,
            encrypted=stream.tls is not None,
            allowed=self._options.get("mechanisms"),
        )
        for mechanism in mechanisms:
            reply = await self._command(
                Auth(mechanism=mechanism.name, initial_response=mechanism.initial_response())
            )
            while reply.code == 334:
                try:
                    response = mechanism.respond(decode_base64(reply.text.strip()))
                except AuthenticationError:
                    await self._command(AuthResponse(response=None))
                    raise
                reply = await self._command(AuthResponse(response=response))
            if reply.is_positive:
                if not mechanism.is_complete:
                    raise RemoteProtocolError(
                        "the server said yes before it could know", stage=Stage.AUTHENTICATION
                    )
                return
            # A password that was judged is not shown again in another way: servers count, and lock accounts.
            if reply.code not in _ABOUT_MECHANISMS and (mechanism.is_complete or reply.is_transient):
                break
        raise AuthenticationError(
            reply=reply,
            mechanism=mechanism.name,
            cure=cure_of_refusal(mechanism.name) if reply.is_permanent else "",
        )

    async def aclose(self) -> None:
        """Say QUIT, if the session is still good, and close. Errors of the goodbye are of no interest."""
        connection = self._connection
        if connection is None or not connection.is_usable:
            return
        try:
            with connection.exclusive():
                await self._command(Quit(), seconds=min(self._timeouts.answer, _GOODBYE_SECONDS))
            await connection.aclose()
        except MailError:
            connection.give_up()

    async def quit(self) -> Reply:
        """End the session (RFC 5321 §4.1.1.10).

        Raises:
            CommandRefused: the server said no; the session has ended all the same.
        """
        with self._live.exclusive():
            reply = await self._command(Quit())
        await self._live.aclose()
        return _positive(reply, "QUIT")

    def abort(self) -> None:
        """Close at once. What is not answered has an unknown outcome."""
        if self._connection is not None:
            self._connection.give_up()
        elif self._stream is not None:
            self._stream.abort()

    @property
    def is_usable(self) -> bool:
        """Whether the session can still be used, as far as this side knows."""
        return (
            self._connection is not None
            and self._connection.is_usable
            and not self._connection.stream.is_stale
        )

    @property
    def logs_in(self) -> bool:
        """Whether it has a username and password to connect with."""
        return self._credentials is not None

    @property
    def extensions(self) -> Extensions:
        """What the server offers; `"SIZE" in extensions`, `extensions.size`, `extensions.mechanisms`."""
        return self.protocol.extensions

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session, None if the connection is not encrypted."""
        return None if self._connection is None else self._connection.stream.tls

    # --- messages

    async def send(
        self,
        message: Parcel | MessageLike | bytes,
        *,
        sender: AddressLike | None = None,
        recipients: Addresses | None = None,
    ) -> Outcome:
        """Send one message.

        Args:
            message: a message, its octets, or a parcel of either.
            sender: the reverse-path; by default that of the header.
            recipients: the forward-paths; by default those of the header. Bcc is never sent.

        Returns:
            What became of each recipient. Refusals are no exceptions: see `Outcome.raise_for_refusals`. If the
            connection is lost, the outcome says so: `unknown` if the message may have been delivered, else `deferred`.
            For more recipients than the server takes at once there are several transactions, and one outcome.

        Raises:
            MessageError, AddressSyntaxError: the message cannot be sent as it is.
            ExtensionRequired: it needs what the server does not offer.
            BusyError, ClosedError: the session cannot be used.

        Cancelling ends the session; the message may have been delivered. RFC 5321 §3.3
        """
        prepared = prepare(message, sender, recipients)
        with self._live.exclusive():
            extensions = self.protocol.extensions
            transaction = Transaction(
                prepared.envelope.sender,
                prepared.envelope.recipients,
                prepared.octets,
                eight_bit=prepared.needs_8bit,
                smtputf8=prepared.needs_smtputf8,
                is_checked=True,
                tag=prepared.tag,
            )
            fit(transaction, extensions)
            split = Split(transaction.recipients)
            goes_on = True
            while goes_on:
                transaction.narrow(split.next_recipients(extensions.recipients, extensions.recipient_domains))
                try:
                    await self._settle()
                except MailError as error:
                    if split.has_begun:
                        return split.outcome(error)
                    raise
                goes_on = split.add(await self._send(transaction))
                if goes_on and not self._live.is_usable:
                    return split.outcome(ConnectionLost("the server ended the session"))
            return split.outcome()

    async def _send(self, transaction: Transaction) -> Outcome:
        pipeline = self._pipeline = self._pipeline or Pipeline(self.protocol)
        pipeline.submit(transaction)
        try:
            await self.run(pipeline)
        except MailError as error:
            self.abandon(pipeline, error)
            if pipeline.unsent:
                return transaction.failed(error)
        if pipeline.is_closing:
            self.abort()
            if pipeline.unsent:
                return transaction.failed(ConnectionLost(f"the server ended the session: {pipeline.goodbye}"))
        return pipeline.outcomes.pop()[1]

    async def run(self, pipeline: Pipeline[TransactionT], more: Callable[[], bool] | None = None) -> None:
        """Send what a pipeline has, until all of it is decided.

        For callers that keep several transactions under way, as `Mailer` does; nothing else may use the session then.

        Args:
            pipeline: of this session's `protocol`, with something to send.
            more: called when answers have come, and at `interrupt`; may take outcomes, submit more and `advance`.
                False ends the call.

        Raises:
            ConnectionLost, MailTimeout, RemoteProtocolError: the session has ended: `pipeline.abandon` is due.
        """

        protocol = self.protocol
        stalled: float | None = None  # since when octets come that complete no reply

        def handle() -> None:
            nonlocal stalled
            replies = protocol.next_replies()
            if replies:
                stalled = None
                pipeline.take(replies)
                return
            events = protocol.next_events()
            if events:
                stalled = None
            else:
                stalled = stalled or now()
                if now() > stalled + self._patience():
                    raise TimeoutError
            while events:
                last = pipeline.handle(events)
                if last is not None:
                    raise _end_of_session(last)
                events = protocol.next_events() if protocol.has_more else []

        def advance() -> bool:
            pipeline.advance()  # which may decide a transaction that has nobody left to go to
            goes_on = len(pipeline) > 0 if more is None else more()
            if goes_on and pipeline.is_closing and not protocol.in_flight:
                raise ConnectionLost
            return goes_on

        pipeline.advance()
        try:
            await self._live.converse(handle, advance, self._patience)
        except MailError as error:
            if pipeline.goodbye is None:
                raise
            raise ConnectionLost(f"the server ended the session: {pipeline.goodbye}") from error

    def interrupt(self) -> None:
        """Let `run` in another task call `more` now, without waiting for an answer."""
        self._live.interrupt()

    def abandon(self, pipeline: Pipeline[TransactionT], error: MailError) -> None:
        """Let a pipeline decide what `run` left undecided; the session has ended."""
        self.abort()
        pipeline.abandon(error, unsent_octets=self._live.unsent_octets)

    # --- commands

    async def mail(
        self,
        sender: str,
        *,
        size: int | None = None,
        body: BodyType | None = None,
        smtputf8: bool = False,
        auth: str | None = None,
        parameters: dict[str, str | None] | None = None,
    ) -> Reply:
        """Begin a transaction (RFC 5321 §4.1.1.2); see `asyncmail.smtp.Mail` for the parameters.

        Raises:
            SenderRefused: the server said no.
            ExtensionRequired: a parameter needs what the server does not offer.
        """
        command = Mail(
            sender=sender, size=size, body=body, smtputf8=smtputf8, auth=auth, parameters=parameters or {}
        )
        for needed, keyword in (
            (size is not None, "SIZE"),
            (body is not None and body is not BodyType.BINARY_MIME, "8BITMIME"),
            (body is BodyType.BINARY_MIME, "BINARYMIME"),
            (smtputf8, "SMTPUTF8"),
            (auth is not None, "AUTH"),
        ):
            if needed and keyword not in self.extensions:
                raise ExtensionRequired(keyword, stage=Stage.SENDER)
        reply = await self._single(command)
        if not reply.is_positive:
            raise SenderRefused(sender, reply)
        return reply

    async def rcpt(self, recipient: str, *, parameters: dict[str, str | None] | None = None) -> Reply:
        """Name a recipient (RFC 5321 §4.1.1.3).

        Raises:
            RecipientRefused: the server said no; others may still be named.
        """
        reply = await self._single(Rcpt(recipient=recipient, parameters=parameters or {}))
        if not reply.is_positive:
            raise RecipientRefused(recipient, reply)
        return reply

    async def data(self, content: bytes) -> Reply:
        """Send the content with DATA (RFC 5321 §4.1.1.4); line endings are made CRLF, dots are stuffed.

        Returns:
            The answer to the content; in LMTP the last of them.

        Raises:
            ContentRefused: the server said no.

        Cancelling ends the session; the message may have been delivered.
        """
        _require_octets(content)
        with self._live.exclusive():
            reply = await self._command(Data())
            if not reply.is_intermediate:
                raise ContentRefused(reply, command="DATA")
            with suppress(ConnectionLost):  # the server may have said why
                for begin in range(0, len(content), _PIECE):
                    self.protocol.send_content(content[begin : begin + _PIECE])
                    await self._live.flush(self._patience())
                self.protocol.end_content()
            return await self._content_answer()

    async def bdat(self, chunk: bytes, *, last: bool = False) -> Reply:
        """Send a chunk of the content as it is (RFC 3030 §2).

        Raises:
            ContentRefused: the server said no; `reset` is due.
            ExtensionRequired: the server does not offer CHUNKING.
        """
        _require_octets(chunk)
        if "CHUNKING" not in self.extensions:
            raise ExtensionRequired("CHUNKING", stage=Stage.CONTENT, cure="use data()")
        with self._live.exclusive():
            await self._settle()
            self._send_command(Bdat(size=len(chunk), last=last))
            if chunk:
                self.protocol.send_content(chunk)
            return await self._content_answer()

    async def _content_answer(self) -> Reply:
        reply = await self._answer()
        while self.protocol.in_flight:
            reply = await self._answer()
        if not reply.is_positive:
            raise ContentRefused(reply, command="the content")
        return reply

    async def noop(self) -> Reply:
        """Do nothing, and see that the server is there (RFC 5321 §4.1.1.9)."""
        return _positive(await self._single(Noop()), "NOOP")

    async def reset(self) -> Reply:
        """Give up the transaction (RFC 5321 §4.1.1.5)."""
        return _positive(await self._single(Rset()), "RSET")

    async def verify(self, text: str) -> Reply:
        """Ask whether `text` names a mailbox; 252 is the usual answer: perhaps (RFC 5321 §3.5.3)."""
        return _positive(await self._single(Vrfy(text=text)), "VRFY")

    async def expand(self, text: str) -> Reply:
        """Ask for the members of a list, one in each line of the reply (RFC 5321 §4.1.1.7)."""
        return _positive(await self._single(Expn(text=text)), "EXPN")

    async def help(self, text: str = "") -> Reply:
        """Ask for help (RFC 5321 §4.1.1.8)."""
        return _positive(await self._single(Help(text=text)), "HELP")

    # --- driving

    @property
    def _live(self) -> Connection[ClientEvent]:
        if self._connection is None:
            raise ClosedError("the session is not connected", cure="use it in an async with block")
        return self._connection

    async def _single(self, command: Command) -> Reply:
        with self._live.exclusive():
            return await self._command(command)

    async def _command(self, command: Command, *, seconds: float | None = None) -> Reply:
        await self._settle()
        self._send_command(command)
        return await self._answer(seconds)

    def _send_command(self, command: Command) -> None:
        try:
            self.protocol.send(command)
        except LocalProtocolError as error:
            error.stage = command.stage
            raise

    async def _settle(self) -> None:
        """See that the server has said nothing since its last answer: it would be taken for the next one.

        Raises:
            ConnectionLost, RemoteProtocolError: it has; the session has ended.
        """
        # Behind a handshake TLS has something to say of its own.
        if self._live.stream.is_stale and not (self.tls and self.protocol.state is ClientState.HELLO):
            try:
                await self._answer(_REST_SECONDS)
            except MailTimeout:
                raise RemoteProtocolError("the server begins to say what nothing had asked for") from None

    async def _answer(self, seconds: float | None = None) -> Reply:
        event = await self._next_event(seconds)
        if isinstance(event, ReplyReceived):
            return event.reply
        self.abort()
        raise _end_of_session(event)

    def _patience(self) -> float:
        return self._patience_for[self.protocol.awaiting]

    async def _next_event(self, seconds: float | None = None) -> ClientEvent:
        return await self._live.next_event(self._patience() if seconds is None else seconds)

    @property
    def _tls_context(self) -> ssl.SSLContext:
        return self._options.get("tls_context") or default_context()


def _end_of_session(event: ClientEvent) -> MailError:
    if isinstance(event, ConnectionEnded):
        return ConnectionLost(
            "the server closed the connection",
            in_flight=tuple([each.verb for each in event.in_flight]),
            stage=event.in_flight[0].stage if event.in_flight else None,
        )
    if event.reply.code == 421:
        return ConnectionLost(
            f"the server ended the session: {event.reply}", stage=Stage.COMMAND, cure="open a new one"
        )
    return RemoteProtocolError(f"nothing had asked for the reply {event.reply}")


def _require_octets(content: object) -> None:
    if not isinstance(content, bytes):
        raise InputError(
            f"the content is of the type {type(content).__name__}",
            cure="pass bytes; send() takes messages, too",
        )


def _local_hostname() -> str:
    """This machine's name if it looks like one the world knows, else an address literal (RFC 5321 §4.1.4)."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _positive(reply: Reply, command: str) -> Reply:
    if not reply.is_positive:
        raise CommandRefused(reply, command=command)
    return reply
