"""One POP3 session, awaited command by command or message by message."""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self, TypedDict, Unpack, cast, overload

from ..errors import (
    AuthenticationError,
    ClosedError,
    LocalProtocolError,
    MailTimeout,
    MechanismUnavailable,
    POP3ResponseError,
    RemoteProtocolError,
    Stage,
    TLSRequired,
    URLError,
)
from ..net import (
    AnyIOStream,
    ByteStream,
    MailProtocol,
    ServerURL,
    TLSMode,
    connect,
    default_context,
    now,
)
from ..pop3 import (
    Apop,
    Auth,
    AuthResponse,
    Capa,
    Capabilities,
    ChallengeReceived,
    ClientLimits,
    ClientProtocol,
    Command,
    ContentReceived,
    Dele,
    GreetingReceived,
    List,
    Listing,
    ListingReceived,
    MaildropStatus,
    Noop,
    Pass,
    Quit,
    Response,
    ResponseCode,
    ResponseReceived,
    Retr,
    Rset,
    ScanListing,
    Stat,
    State,
    Stls,
    Top,
    Uidl,
    UniqueIdListing,
    User,
    parse_maildrop_status,
    parse_scan_listing,
    parse_unique_id_listing,
)
from ..sasl import apop_digest, choose
from .credentials import credentials_for, cure_of_refusal, refuse_cleartext
from .options import check_options
from .pop3_session import Session, message_refusal, refusal
from .retrieval import Assembly, ContentStream, Retrievals
from .timeouts import POP3Timeouts, cure_of_silence

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from anyio.abc import ByteStream as AnyByteStream

    from ..pop3 import ClientEvent
    from ..sasl import ClientMechanism, Credentials
    from ..wire import Trace

    # Returns the answer, and whether it judges the password: servers count that, and lock accounts.
    Attempt = Callable[[], Awaitable[tuple[Response, bool]]]

__all__ = ["POP3Client", "POP3Options"]


class POP3Options(TypedDict, total=False):
    """What `POP3Client` takes beside the server; all have defaults.

    Args:
        username: instead of the one in the URL.
        password: instead of the one in the URL.
        mechanisms: names of the SASL mechanisms that may be used, with `APOP` and `USER` for the commands of that
            name; by default all.
        tls_context: by default one that verifies certificates against the system's authorities.
        allow_cleartext_credentials: log in even where the connection is neither encrypted nor to this machine.
        local_address: the IP address of this machine to connect from.
        timeouts: for each phase; a number of seconds stands for all of them.
        limits: what the server may send.
        trace: called with each line of the session, secrets replaced; see `transcript`.
    """

    username: str
    password: str
    mechanisms: tuple[str, ...]
    tls_context: ssl.SSLContext
    allow_cleartext_credentials: bool
    local_address: str
    timeouts: POP3Timeouts | float
    limits: ClientLimits
    trace: Trace


class Sink(Protocol):
    """Where content can go: an open file, synchronous or not."""

    def write(self, data: bytes, /) -> object | Awaitable[object]:
        """Take a piece of content."""


class POP3Client:
    """A session with a POP3 server.

    `async with` connects, starts TLS and logs in as the URL says. Left normally, it ends the session with QUIT, which
    makes the server remove what was marked as deleted; left by an exception, it closes the connection, and nothing is
    removed (RFC 1939 §6). One task at a time may use it: a second one gets BusyError. After an error or a cancellation
    while an answer was due, the session has ended, since what comes next could belong to either command.

    Args:
        server: `pop3://`, `pop3+starttls://` or `pop3s://` URL, or the name of a host.
        stream: a connected stream to use instead of connecting, such as a tunnel: one of `asyncmail.net`, or any
            `anyio.abc.ByteStream`.
        options: see `POP3Options`.

    Raises:
        URLError: the URL cannot be used.
        InputError: username or password is missing, or another option cannot be used.

    RFC 1939, RFC 2449, RFC 2595, RFC 5034
    """

    def __init__(
        self,
        server: str | ServerURL,
        *,
        stream: ByteStream | AnyByteStream | None = None,
        **options: Unpack[POP3Options],
    ) -> None:
        check_options("POP3Client", POP3Options, options)
        self._url = _parse_server(server)
        self._options = options
        timeouts = options.get("timeouts", POP3Timeouts())
        self._timeouts = timeouts if isinstance(timeouts, POP3Timeouts) else POP3Timeouts.all(timeouts)
        self._credentials = credentials_for(self._url, options.get("username"), options.get("password"))
        self._stream = stream if stream is None or isinstance(stream, ByteStream) else AnyIOStream(stream)
        self._protocol = ClientProtocol(limits=options.get("limits"), trace=options.get("trace"))
        self._session: Session | None = None
        self._octets: dict[int, int] = {}  # sizes, as far as LIST told them
        self._has_marked = False  # messages as deleted
        self._is_left = False
        self.greeting: Response | None = None
        """The server's first line."""

    def __repr__(self) -> str:
        state = "not connected" if self._session is None else self._protocol.state.value
        return f"<POP3Client {self._url} {state}>"

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.abort()
        elif not self._is_left:
            if self._live.connection.is_usable:
                await self.quit()
            elif self._has_marked:
                raise ClosedError(
                    "the session ended before QUIT, so no message was removed", stage=Stage.QUIT
                )

    # --- life

    async def connect(self) -> None:
        """Connect, start TLS and log in.

        Raises:
            ConnectError, ConnectionLost, MailTimeout: the network.
            POP3ResponseError: the server does not want to talk, or cannot let anybody in now.
            TLSRequired, TLSError, PlaintextAfterStartTLS: TLS was asked for and cannot be had.
            CleartextCredentialsRefused, MechanismUnavailable, AuthenticationError: logging in.
            MaildropLocked, LoginDelayed: logging in at this time.
            LocalProtocolError: the session was connected before.

        Cancelling closes the connection.
        """
        if self._session is not None or self._is_left:
            raise LocalProtocolError("a session connects once", cure="make another POP3Client")
        stream = self._stream or await connect(
            self._url,
            tls_context=self._options.get("tls_context"),
            local_address=self._options.get("local_address"),
            timeout=self._timeouts.connect,
        )
        self._session = Session(stream, self._protocol, self._timeouts)
        try:
            if self._url.security is TLSMode.IMPLICIT and stream.tls is None:  # one that was brought along
                await self._start_tls_at_once(stream)
            await self._be_greeted(self._session)
            await self.capa()
            await self._secure()
            if self._credentials is not None:
                await self._log_in(self._credentials)
        except BaseException:
            self.abort()
            raise

    async def quit(self) -> None:
        """End the session: the server removes the messages marked as deleted (RFC 1939 §6).

        Raises:
            POP3ResponseError: not all of them could be removed.
            ConnectionLost, MailTimeout: nobody knows whether they were.

        Cancelling closes the connection; nobody knows then, either.
        """
        response = await self._live.response(Quit())
        self._is_left = True
        await self._live.connection.aclose()
        if not response.is_positive:
            raise refusal("QUIT", response, stage=Stage.QUIT)

    async def aclose(self) -> None:
        """Close the connection without QUIT: no message is removed. Idempotent."""
        self._is_left = True
        if self._session is not None:
            await self._session.connection.aclose()

    def abort(self) -> None:
        """Close at once, from any task: no message is removed. Idempotent."""
        self._is_left = True
        if self._session is not None:
            self._session.connection.give_up()

    async def _be_greeted(self, session: Session) -> None:
        try:
            event = await session.next_event()
        except MailTimeout as error:
            error.cure = cure_of_silence(self._url)
            raise
        assert isinstance(event, GreetingReceived)
        self.greeting = event.response
        if not event.response.is_positive:
            raise refusal("the connection", event.response, stage=Stage.GREETING)

    async def _start_tls_at_once(self, stream: ByteStream) -> None:
        seconds = self._timeouts.connect
        try:
            await stream.start_tls(
                self._tls_context, server_hostname=self._url.host, deadline=now() + seconds
            )
        except TimeoutError:
            raise MailTimeout(seconds, waiting_for="the TLS handshake", stage=Stage.TLS) from None

    async def _secure(self) -> None:
        if self._url.security is TLSMode.IMPLICIT or self._live.connection.stream.tls is not None:
            return
        required = self._url.security is TLSMode.REQUIRED
        if "STLS" not in self.capabilities and not required:
            return
        # Where TLS is required a server without CAPA is asked all the same.
        response = await self._live.response(Stls())
        if response.is_positive:
            await self._live.connection.start_tls(
                self._tls_context, server_hostname=self._url.host, seconds=self._timeouts.answer
            )
            await self.capa()
        elif required:
            raise TLSRequired(
                f"{self._url.endpoint} refuses STLS: {response}",
                cure="use pop3s:// if the server has a port for implicit TLS",
            )

    # --- logging in

    async def _log_in(self, credentials: Credentials) -> None:
        stream = self._live.connection.stream
        refuse_cleartext(stream, allowed=self._options.get("allow_cleartext_credentials", False))
        attempts = self._attempts(credentials, encrypted=stream.tls is not None)
        if not attempts:
            raise MechanismUnavailable(
                f"{self._url.endpoint} offers no way to log in that may be used",
                cure="look whether it wants TLS first, or allow more mechanisms",
            )
        for name, attempt in attempts:
            response, was_judged = await attempt()
            if response.is_positive:
                return
            error = _login_refusal(name, response)
            was_judged = was_judged or response.has_code(ResponseCode.AUTH)
            if was_judged or not isinstance(error, AuthenticationError):
                break
        raise error

    def _attempts(self, credentials: Credentials, *, encrypted: bool) -> Sequence[tuple[str, Attempt]]:
        """Return the ways to log in, best first."""
        allowed = self._options.get("mechanisms")
        names = None if allowed is None else {name.upper() for name in allowed}
        attempts: list[tuple[str, Attempt]] = []
        with suppress(MechanismUnavailable):
            mechanisms = choose(
                self.capabilities.mechanisms,
                credentials,
                encrypted=encrypted,
                allowed=None if names is None else names - {"APOP", "USER"},
            )
            attempts += [(each.name, partial(self._authenticate, each)) for each in mechanisms]
        commands: list[tuple[str, Attempt]] = []
        if self._protocol.timestamp and (names is None or "APOP" in names):
            commands.append(("APOP", partial(self._apop, credentials, self._protocol.timestamp)))
        # Servers without CAPA do not say that they take USER, and some others forget to.
        if (names is None or "USER" in names) and ("USER" in self.capabilities or not attempts):
            commands.append(("USER", partial(self._user_and_pass, credentials)))
        # As with the mechanisms: a digest protects nothing behind TLS, and fails where passwords are kept as hashes.
        return attempts + (commands[::-1] if encrypted else commands)

    async def _authenticate(self, mechanism: ClientMechanism) -> tuple[Response, bool]:
        # Never with an initial response: servers that are older than RFC 5034 take that for a syntax error, which
        # cannot be told from a wrong password.
        event = await self._live.exchange(Auth(mechanism=mechanism.name))
        while isinstance(event, ChallengeReceived):
            try:
                answer = mechanism.respond(event.challenge)
            except AuthenticationError:
                await self._live.response(AuthResponse(response=None))
                raise
            event = await self._live.exchange(AuthResponse(response=answer))
        assert isinstance(event, ResponseReceived)
        if event.response.is_positive and not mechanism.is_complete:
            raise RemoteProtocolError(
                f"the server accepted {mechanism.name} before it was complete", stage=Stage.AUTHENTICATION
            )
        return event.response, mechanism.is_complete

    async def _apop(self, credentials: Credentials, timestamp: str) -> tuple[Response, bool]:
        # A timestamp is no promise: a refusal without [AUTH] may only mean that the user cannot have APOP.
        digest = apop_digest(timestamp, credentials.password)
        return await self._live.response(Apop(name=credentials.username, digest=digest)), False

    async def _user_and_pass(self, credentials: Credentials) -> tuple[Response, bool]:
        response = await self._live.response(User(name=credentials.username))
        if not response.is_positive:
            return response, False
        return await self._live.response(Pass(password=credentials.password)), True

    # --- what the server is

    @property
    def octets_received(self) -> int:
        """Octets that the server has sent so far, encryption apart."""
        return self._protocol.octets_received

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers, as of the last CAPA; empty if it does not know that command."""
        return self._protocol.capabilities

    async def capa(self) -> Capabilities:
        """Ask what the server offers, again: that may change with the login (RFC 2449 §5).

        Returns:
            The capabilities, which are from then on `capabilities`; those known before, if the server refuses.

        Cancelling ends the session.
        """
        await self._live.exchange(Capa())
        return self.capabilities

    # --- the maildrop

    async def stat(self) -> MaildropStatus:
        """Return how many messages there are that are not marked as deleted, and their octets (RFC 1939 §5).

        Cancelling ends the session.
        """
        return parse_maildrop_status((await self._positive(Stat())).text)

    @overload
    async def list(self) -> Listing[ScanListing]: ...
    @overload
    async def list(self, number: int) -> ScanListing: ...
    async def list(self, number: int | None = None) -> Listing[ScanListing] | ScanListing:
        """Return number and size of the messages that are not marked as deleted, or of one (RFC 1939 §5).

        Lines that cannot be read do not hide the others: they are in the `malformed` of the listing.

        Raises:
            NoSuchMessage: there is none of this number.

        Cancelling ends the session.
        """
        if number is not None:
            return parse_scan_listing((await self._positive(List(number=number), number)).text)
        return self._scan_listing(await self._maildrop.exchange(List()))

    @overload
    async def uidl(self) -> Listing[UniqueIdListing]: ...
    @overload
    async def uidl(self, number: int) -> UniqueIdListing: ...
    async def uidl(self, number: int | None = None) -> Listing[UniqueIdListing] | UniqueIdListing:
        """Return number and unique-id of the messages that are not marked as deleted, or of one (RFC 1939 §7).

        Lines that cannot be read do not hide the others: they are in the `malformed` of the listing.

        Raises:
            NoSuchMessage: there is none of this number.
            POP3ResponseError: the server has no unique-ids.

        Cancelling ends the session.
        """
        if number is not None:
            return parse_unique_id_listing((await self._positive(Uidl(number=number), number)).text)
        return self._unique_id_listing(await self._maildrop.exchange(Uidl()))

    async def listings(self) -> tuple[Listing[ScanListing], Listing[UniqueIdListing]]:
        """Return `list` and `uidl`, in one round trip where the server offers PIPELINING.

        Raises:
            POP3ResponseError: the server does not list the maildrop now, or has no unique-ids.

        Cancelling ends the session.
        """
        scan, unique_ids = await self._maildrop.exchange_many([List(), Uidl()])
        return self._scan_listing(scan), self._unique_id_listing(unique_ids)

    async def top(self, number: int, lines: int = 0) -> bytes:
        """Return the header of a message, the blank line behind it, and `lines` lines of its body (RFC 1939 §7).

        Raises:
            NoSuchMessage: there is none of this number.

        Cancelling ends the session.
        """
        return await self._content(Top(number=number, lines=lines))

    async def retrieve(self, number: int) -> bytes:
        """Return a message, lines ending in CRLF (RFC 1939 §5).

        Raises:
            NoSuchMessage: there is none of this number.
            LimitExceeded: it is larger than `limits.content`, or than a message that is kept whole may be: see
                `limits.whole` and `limits.surplus`; `stream` and `retrieve_to` do not keep it.

        Cancelling ends the session.
        """
        return await self._content(Retr(number=number))

    def retrieve_many(self, numbers: Iterable[int]) -> Retrievals:
        """Iterate over messages in the order of `numbers`: `async for item in …: item.number, item.content`.

        Where the server offers PIPELINING many are in flight at once, which a `list` before helps to keep within
        bounds. The session can be used for other things within the loop, if at the price of waiting for those.

        Raises:
            InputError: a number is not one; at once.
            NoSuchMessage: there is none of a number; from the loop, and a second loop goes on behind it.
            LimitExceeded: one is too large, as with `retrieve`.

        Cancelling the loop while it waits ends the session.
        """
        return Retrievals(self._maildrop, [*numbers], self._octets)

    def stream(self, number: int) -> ContentStream:
        """Iterate over the pieces of a message, as they arrive: memory stays bounded whatever its size.

        Raises:
            NoSuchMessage: there is none of this number; from the loop.

        Cancelling the loop while it waits ends the session.
        """
        return ContentStream(self._maildrop, Retr(number=number))

    async def retrieve_to(self, number: int, sink: Sink) -> int:
        """Write a message to an open file, piece by piece.

        Args:
            sink: its `write` is called with each piece, and awaited where it returns something to await.

        Returns:
            The octets written.

        Raises:
            NoSuchMessage: there is none of this number.

        Cancelling ends the session, and leaves a part of the message behind.
        """
        octets = 0
        async for piece in self.stream(number):
            written = sink.write(piece)
            if inspect.isawaitable(written):
                await written
            octets += len(piece)
        return octets

    async def delete(self, number: int) -> None:
        """Mark a message as deleted: `quit` will remove it (RFC 1939 §5).

        Raises:
            NoSuchMessage: there is none of this number, or it is marked already.

        Cancelling ends the session: nothing is removed.
        """
        await self._positive(Dele(number=number), number)
        self._has_marked = True

    async def delete_many(self, numbers: Iterable[int]) -> dict[int, Response]:
        """Mark messages as deleted, many in flight at once where the server offers PIPELINING.

        Returns:
            The refusals, by message number; empty if all are marked.

        Cancelling ends the session: nothing is removed.
        """
        session = self._maildrop
        commands = [Dele(number=number) for number in numbers]
        self._has_marked = self._has_marked or bool(commands)  # perhaps: it may not become known
        refusals: dict[int, Response] = {}
        for command, event in zip(commands, await session.exchange_many(commands), strict=True):
            assert isinstance(event, ResponseReceived)
            if not event.response.is_positive:
                refusals[command.number] = event.response
        return refusals

    async def reset(self) -> None:
        """Take all marks back (RFC 1939 §5). Cancelling ends the session."""
        await self._positive(Rset())
        self._has_marked = False

    async def noop(self) -> None:
        """Do nothing, and see that the server is there (RFC 1939 §5). Cancelling ends the session."""
        await self._positive(Noop())

    # --- driving

    @property
    def _tls_context(self) -> ssl.SSLContext:
        return self._options.get("tls_context") or default_context()

    @property
    def _live(self) -> Session:
        if self._session is None:
            raise ClosedError("the session is not connected", cure="use it in an async with block")
        return self._session

    @property
    def _maildrop(self) -> Session:
        """The session of one who is logged in."""
        if self._protocol.state is State.AUTHORIZATION:
            raise LocalProtocolError(
                "nobody is logged in, and so no maildrop is open",
                stage=Stage.AUTHENTICATION,
                cure="put user:password@ into the URL, or pass username= and password=",
            )
        return self._live

    async def _positive(self, command: Command, number: int | None = None) -> Response:
        response = await self._maildrop.response(command)
        if response.is_positive:
            return response
        if number is None:
            raise refusal(command.verb, response)
        raise message_refusal(number, command.verb, response)

    def _scan_listing(self, event: ClientEvent) -> Listing[ScanListing]:
        listing = cast("Listing[ScanListing]", _listing("LIST", event))
        self._octets = dict(listing)
        return listing

    def _unique_id_listing(self, event: ClientEvent) -> Listing[UniqueIdListing]:
        return cast("Listing[UniqueIdListing]", _listing("UIDL", event))

    async def _content(self, command: Retr | Top) -> bytes:
        session = self._maildrop
        with session.exclusive():
            await session.settle()
            self._protocol.send(command)
            octets = self._octets.get(command.number)
            assembly = Assembly(self._protocol.limits, octets)
            while isinstance(event := await session.next_event(), ContentReceived):
                content = assembly.add(event, octets or 0)
                if content is not None:
                    return content
        assert isinstance(event, ResponseReceived)
        raise message_refusal(command.number, command.verb, event.response)


def _listing(verb: str, event: ClientEvent) -> Listing[ScanListing] | Listing[UniqueIdListing]:
    if isinstance(event, ListingReceived):
        return event.listing
    assert isinstance(event, ResponseReceived)
    raise refusal(verb, event.response)


def _login_refusal(name: str, response: Response) -> POP3ResponseError | AuthenticationError:
    if response.has_code("SYS", ResponseCode.IN_USE, ResponseCode.LOGIN_DELAY):
        return refusal(name, response, stage=Stage.AUTHENTICATION)
    return AuthenticationError(reply=response, mechanism=name, cure=cure_of_refusal(name))


def _parse_server(server: str | ServerURL) -> ServerURL:
    if not isinstance(server, ServerURL):
        server = ServerURL.parse(server if "://" in str(server) or not server else f"pop3://{server}")
    if server.protocol is not MailProtocol.POP3:
        raise URLError(f"{server} has no maildrop", cure="use a URL such as pop3s://user:password@host")
    return server
