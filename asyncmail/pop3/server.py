"""The server's end of a POP3 session, without input or output of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import (
    AuthenticationError,
    LimitExceeded,
    LocalProtocolError,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
)
from ..sasl import (
    CANCEL,
    Attempt,
    Challenge,
    PasswordAttempt,
    ServerMechanism,
    apop_attempt,
    decode_base64,
    encode_base64,
    make_timestamp,
    server_mechanisms,
)
from ..wire import Direction, DotStuffer, ReceiveBuffer, Signal, Trace
from .capabilities import Capabilities
from .commands import Answer, Apop, Auth, AuthResponse, Capa, Command, Noop, Pass, Stls, User, parse_command
from .events import (
    AuthenticationReceived,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    ServerEvent,
)
from .limits import ServerLimits
from .responses import Response, ResponseCode, Status
from .states import TRANSITIONS, Awaiting, Move, State

__all__ = ["ServerOffer", "ServerProtocol"]

_OK = Response(Status.OK)
_STAY = Move()
_END = Move(err=State.CLOSED)
_LOGINS = (Pass, Apop, Auth, AuthResponse)
_LOGGED_OUT = (State.GREETING, State.AUTHORIZATION, State.PASSWORD, State.AUTHENTICATION, State.HANDSHAKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOffer:
    """What a server lets its clients do.

    Args:
        hostname: stands in the timestamps of the greeting and of CRAM-MD5.
        mechanisms: names of the SASL mechanisms; None is all that are known.
        apop: whether the greeting invites to APOP.
        stls: whether TLS can be started.
        encrypted: whether TLS is there from the start.
        cleartext_login: whether passwords are taken without TLS.
        more: further capabilities and their arguments, such as `EXPIRE`, `LOGIN-DELAY`, `IMPLEMENTATION`.

    Raises:
        InputError: `hostname` does not fit into a timestamp, or a mechanism is not known.
    """

    hostname: str = "localhost"
    mechanisms: tuple[str, ...] | None = None
    apop: bool = False
    stls: bool = False
    encrypted: bool = False
    cleartext_login: bool = False
    more: Capabilities = field(default_factory=Capabilities)

    def __post_init__(self) -> None:
        make_timestamp(self.hostname)
        server_mechanisms(encrypted=True, allowed=self.mechanisms)


class ServerProtocol:
    """Octets in, commands out as events; responses in, octets out.

    One command is handled at a time: after an event that waits for an answer, `next_event` says PAUSED until
    `send` was called, however much has arrived. What the table of states does not allow is answered here.

    Args:
        offer: what clients may do.
        limits: what a client may send.
        trace: called with each line of the session, secrets replaced.

    RFC 1939, RFC 2449, RFC 2595, RFC 3206, RFC 5034
    """

    def __init__(
        self,
        *,
        offer: ServerOffer | None = None,
        limits: ServerLimits | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.trace = trace
        self._offer = offer or ServerOffer()
        self._limits = limits or ServerLimits()
        self._encrypted = self._offer.encrypted
        self._timestamp = make_timestamp(self._offer.hostname)
        self._buffer = ReceiveBuffer()
        self._output: list[bytes] = []
        self._state = State.GREETING
        self._handled: Command | None = None  # waits for its answer
        self._move = _STAY
        self._content: DotStuffer | None = None  # the answer goes on until end_content()
        self._content_octets = 0
        self._username = ""
        self._mechanism: ServerMechanism | None = None
        self._skipping = False  # the rest of a line that was too long
        self._commands = 0
        self._errors = 0
        self._at_eof = False

    def __repr__(self) -> str:
        handled = self._handled.verb if self._handled else "nothing"
        return f"<pop3.ServerProtocol {self._state.value}, {handled} in hand, {len(self._buffer)} unread>"

    @property
    def state(self) -> State:
        """Where the session stands, by the answers given so far."""
        return self._state

    @property
    def in_flight(self) -> tuple[Command, ...]:
        """The command that waits for its answer, if there is one."""
        return () if self._handled is None else (self._handled,)

    @property
    def awaiting(self) -> Awaiting:
        """What the client is to send next."""
        if self._is_paused:
            return Awaiting.NOTHING
        return Awaiting.CREDENTIALS if self._state in _LOGGED_OUT else Awaiting.COMMAND

    @property
    def encrypted(self) -> bool:
        """Whether the session is protected by TLS."""
        return self._encrypted

    @property
    def capabilities(self) -> Capabilities:
        """What CAPA answers now."""
        offer = self._offer
        items: dict[str, tuple[str, ...]] = dict.fromkeys(
            ("TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"), ()
        )
        if self._state is not State.TRANSACTION:
            if offer.stls and not self._encrypted:
                items["STLS"] = ()
            if self._takes_passwords:
                items["USER"] = ()
        if mechanisms := self._mechanisms:
            items["SASL"] = tuple(mechanisms)
        return Capabilities({**items, **offer.more})

    @property
    def _takes_passwords(self) -> bool:
        return self._encrypted or self._offer.cleartext_login

    @property
    def _mechanisms(self) -> dict[str, type[ServerMechanism]]:
        return server_mechanisms(encrypted=self._takes_passwords, allowed=self._offer.mechanisms)

    @property
    def _is_paused(self) -> bool:
        return self._handled is not None or not TRANSITIONS[self._state]

    # --- input

    def receive_data(self, data: bytes) -> None:
        """Store octets that came from the client."""
        self._buffer.append(data)

    def receive_eof(self) -> None:
        """Note that no more will come."""
        self._at_eof = True

    def next_event(self) -> ServerEvent | Signal:
        """Return what the client did next, as far as it can be told: one command at most. Raises nothing."""
        if self._is_paused:
            return Signal.PAUSED
        if self._skipping and not self._buffer.skip_line():
            return self._needs_data()
        self._skipping = False
        exchanging = self._state is State.AUTHENTICATION
        limit = self._limits.authentication_line if exchanging else self._limits.command_line
        if exchanging:
            self._move = TRANSITIONS[self._state][
                AuthResponse
            ]  # a line that cannot be read ends the exchange, too
        try:
            line = self._buffer.take_line(limit, "command_line")
        except LimitExceeded:
            self._skipping = True
            return self._reject_unread(f"a line of more than {limit} octets", "the line is too long")
        if line is None:
            return self._needs_data()
        try:
            command = _parse_exchange_line(line) if exchanging else parse_command(line)
        except AuthenticationError as error:
            return self._reject_unread(f"a line of {len(line)} octets", error.problem, ResponseCode.AUTH)
        except RemoteProtocolError as error:
            return self._reject_unread(f"a line of {len(line)} octets", error.problem)
        return self._handle(command)

    def _needs_data(self) -> ServerEvent | Signal:
        return ConnectionEnded() if self._at_eof else Signal.NEED_DATA

    def _reject_unread(self, what: str, problem: str, code: str = "") -> ServerEvent:
        """Reject a line that is not shown: it may be a secret that came at the wrong time."""
        if self.trace is not None:
            self.trace(Direction.RECEIVED, f"<{what}>")
        return self._reject(f"<{what}>", problem, code)

    def _handle(self, command: Command) -> ServerEvent:
        line = command.redacted()
        if self.trace is not None:
            self.trace(Direction.RECEIVED, line)
        self._commands += 1
        if self._commands > self._limits.commands:
            return self._end(line, "too many commands")
        move = TRANSITIONS[self._state].get(type(command))
        if move is None:
            return self._reject(line, f"{command.verb} is not legal in the state {self._state.value}")
        problem = self._refusal(command)
        if problem:
            return self._reject(line, problem)
        self._handled = command
        self._move = move
        if move.begun is not None:
            self._state = move.begun
        try:
            return self._begin(command)
        except AuthenticationError as error:
            return self._reject(line, error.problem, ResponseCode.AUTH)

    def _refusal(self, command: Command) -> str:
        """Why the offer does not allow this command; empty if it does."""
        match command:
            case Stls() if self._encrypted:
                return "TLS is active already"
            case Stls() if not self._offer.stls:
                return "TLS is not available"
            case User() if not self._takes_passwords:
                return "passwords are not taken without TLS"
            case Apop() if not self._offer.apop:
                return "APOP is not offered"
            case Auth() if command.mechanism not in self._mechanisms:
                return "the mechanism is not offered"
            case _:
                return ""

    def _begin(self, command: Command) -> ServerEvent:
        """Answer what needs nobody else, hand on the rest.

        Raises:
            AuthenticationError: the client does not keep to its mechanism.
        """
        match command:
            case Noop():
                self._answer(_OK)
            case Capa():
                capabilities = self.capabilities.encode()
                self._answer(_OK)
                self.send_content(capabilities)
                self.end_content()
            case User():
                self._username = command.name
                self._answer(_OK)
            case Pass():
                return AuthenticationReceived(
                    PasswordAttempt(mechanism="USER", username=self._username, password=command.password)
                )
            case Apop():
                return AuthenticationReceived(
                    apop_attempt(timestamp=self._timestamp, username=command.name, digest=command.digest)
                )
            case Auth():
                self._mechanism = self._mechanisms[command.mechanism](make_timestamp(self._offer.hostname))
                return self._exchange(command, self._mechanism.start(command.initial_response))
            case AuthResponse(response=None):
                raise AuthenticationError("the exchange was given up")
            case AuthResponse(response=bytes(response)):
                assert self._mechanism is not None  # it sent the challenge
                return self._exchange(command, self._mechanism.respond(response))
            case _:
                return CommandReceived(command)
        return CommandAnswered(command)

    def _exchange(self, command: Command, step: Challenge | Attempt) -> ServerEvent:
        if isinstance(step, Challenge):
            self._answer(Response(Status.CHALLENGE, encode_base64(step.data).decode()))
            return CommandAnswered(command)
        return AuthenticationReceived(step)

    def _reject(self, line: str, problem: str, code: str = "") -> ServerEvent:
        self._errors += 1
        if self._errors > self._limits.errors:
            return self._end(line, "too many errors")
        response = Response(Status.ERR, problem, code)
        self._answer(response)
        return CommandRejected(line, response)

    def _end(self, line: str, problem: str) -> ServerEvent:
        response = Response(Status.ERR, problem)
        self._move = _END
        self._answer(response)
        return CommandRejected(line, response)

    # --- output

    def send(self, response: Response) -> None:
        """Answer the command in hand, or greet; where several lines follow +OK, `send_content` is due.

        Raises:
            LocalProtocolError: nothing waits for a response, or not for this one.
        """
        if response.status is Status.CHALLENGE:
            raise LocalProtocolError("challenges are sent by the protocol object itself")
        if self._state is State.GREETING:
            self._move = Move(ok=State.AUTHORIZATION, err=State.CLOSED)
            if response.is_positive and self._offer.apop:
                response = Response(Status.OK, f"{response.text} {self._timestamp}".lstrip(), response.code)
        elif self._handled is None or self._content is not None:
            raise LocalProtocolError("no command waits for a response")
        login_failed = response.status is Status.ERR and type(self._handled) in _LOGINS
        self._answer(response)
        if login_failed:
            self._errors += 1
            if self._errors > self._limits.errors:
                self._state = State.CLOSED

    def send_content(self, data: bytes) -> None:
        """Send the next octets of an answer of several lines; each line, save the last of all, ends in CRLF.

        Raises:
            LocalProtocolError: no such answer has been begun.
        """
        if self._content is None:
            raise LocalProtocolError("no answer of several lines was begun")
        self._content_octets += len(data)
        self._output.append(self._content.encode(data))

    def end_content(self) -> None:
        """End an answer of several lines.

        Raises:
            LocalProtocolError: no such answer has been begun.
        """
        if self._content is None:
            raise LocalProtocolError("no answer of several lines was begun")
        self._output.append(self._content.finish())
        if self.trace is not None:
            self.trace(Direction.SENT, f"<{self._content_octets} octets of content>")
        self._content = self._handled = None
        self._content_octets = 0

    def _answer(self, response: Response) -> None:
        self._output.append(response.encode())
        if self.trace is not None:
            self.trace(Direction.SENT, "+ ****" if response.status is Status.CHALLENGE else str(response))
        if response.is_positive and self._handled is not None and self._handled.answer is not Answer.LINE:
            self._content = DotStuffer()
            return
        state = getattr(self._move, response.status.name.lower())
        if state is not None and self._state is not State.ERROR:
            self._state = state
        self._handled = None
        self._move = _STAY

    def data_to_send(self) -> list[bytes]:
        """Return what is to be written, and forget it."""
        output, self._output = self._output, []
        return output

    def send_failed(self) -> None:
        """Note that octets were lost on their way out: the session is over."""
        self._state = State.ERROR

    def start_tls(self) -> None:
        """Note that TLS starts now; a name given before is forgotten (RFC 2595 §4).

        Raises:
            LocalProtocolError: STLS was not accepted just before.
            PlaintextAfterStartTLS: octets had arrived that the handshake does not protect.
        """
        if self._state is not State.HANDSHAKE:
            raise LocalProtocolError(f"TLS cannot start in the state {self._state.value}")
        if len(self._buffer):
            self._state = State.ERROR
            raise PlaintextAfterStartTLS(f"{len(self._buffer)} octets arrived between STLS and TLS")
        self._state = State.AUTHORIZATION
        self._encrypted = True


def _parse_exchange_line(line: bytes) -> AuthResponse:
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    return AuthResponse(response=None if text == CANCEL else decode_base64(text))
