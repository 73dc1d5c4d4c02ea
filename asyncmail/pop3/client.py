"""The client's end of a POP3 session, without input or output of its own."""

from __future__ import annotations

from collections import deque

from ..errors import (
    AuthenticationError,
    LimitExceeded,
    LocalProtocolError,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
    Stage,
    printable,
)
from ..sasl import decode_base64, find_timestamp
from ..wire import Direction, DotUnstuffer, ReceiveBuffer, Signal, Trace
from .capabilities import Capabilities, parse_capabilities
from .commands import Answer, Command
from .events import (
    CapabilitiesReceived,
    ChallengeReceived,
    ClientEvent,
    ConnectionEnded,
    ContentReceived,
    GreetingReceived,
    ListingReceived,
    ResponseReceived,
    UnsolicitedResponse,
)
from .limits import ClientLimits
from .listings import parse_scan_listings, parse_unique_id_listings
from .responses import Response, Status, parse_response
from .states import ENDS_GROUP, TRANSITIONS, Awaiting, Move, State

__all__ = ["ClientProtocol"]

_END_OF_ANSWER = b"\r\n.\r\n"


class ClientProtocol:
    """Commands in, octets out; octets in, events out.

    Commands in flight form a queue, and its head decides how the next octets are read. Several may be in
    flight only where the server offers PIPELINING.

    Args:
        limits: what the server may send.
        trace: called with each line of the session, secrets replaced.

    RFC 1939, RFC 2449, RFC 2595, RFC 5034
    """

    def __init__(self, *, limits: ClientLimits | None = None, trace: Trace | None = None) -> None:
        self.trace = trace
        self._limits = limits or ClientLimits()
        self._buffer = ReceiveBuffer()
        self._output: list[bytes] = []
        self._state = State.GREETING
        self._in_flight: deque[tuple[Command, Move]] = deque()
        self._capabilities = Capabilities()
        self._timestamp: str | None = None
        self._rest = Answer.LINE  # what is still to be read of the head's answer
        self._content = DotUnstuffer()
        self._content_octets = 0
        self._at_eof = False
        self._failure: RemoteProtocolError | None = None

    def __repr__(self) -> str:
        return (
            f"<pop3.ClientProtocol {self._state.value}, {len(self._in_flight)} in flight,"
            f" {len(self._buffer)} unread>"
        )

    @property
    def state(self) -> State:
        """Where the session stands, by the answers read so far."""
        return self._state

    @property
    def in_flight(self) -> tuple[Command, ...]:
        """The commands whose answers have not been read to their ends, oldest first."""
        return tuple(command for command, _ in self._in_flight)

    @property
    def awaiting(self) -> Awaiting:
        """What the server is to send next."""
        if self._rest is not Answer.LINE:
            return Awaiting.CONTENT
        if self._in_flight:
            return Awaiting.UPDATE if self._in_flight[0][1].begun is State.UPDATE else Awaiting.RESPONSE
        return Awaiting.GREETING if self._state is State.GREETING else Awaiting.NOTHING

    @property
    def capabilities(self) -> Capabilities:
        """What the last CAPA told; empty before, and after STLS."""
        return self._capabilities

    @property
    def timestamp(self) -> str | None:
        """The timestamp in the greeting, for APOP; None unless it can be trusted (RFC 6151 §2.1)."""
        return self._timestamp

    @property
    def has_unread(self) -> bool:
        """Whether octets have arrived that no event told of yet; with nothing in flight nobody asked for them."""
        return len(self._buffer) > 0

    # --- input

    def receive_data(self, data: bytes) -> None:
        """Store octets that came from the server."""
        self._buffer.append(data)

    def receive_eof(self) -> None:
        """Note that no more will come."""
        self._at_eof = True

    def next_event(self) -> ClientEvent | Signal:
        """Return what the server did next, as far as it can be told.

        Raises:
            RemoteProtocolError: it broke the protocol or a limit; from then on every call raises this.
        """
        if self._failure is not None:
            raise self._failure
        try:
            event = self._read_line() if self._rest is Answer.LINE else self._read_rest()
        except RemoteProtocolError as error:
            self._failure = error
            self._state = State.ERROR
            raise
        if event is not None:
            return event
        return ConnectionEnded(self.in_flight) if self._at_eof else Signal.NEED_DATA

    def _read_line(self) -> ClientEvent | None:
        line = self._buffer.take_line(self._limits.response_line, "response_line")
        if line is None:
            return None
        response = parse_response(line)
        if self.trace is not None:
            hidden = response.status is Status.CHALLENGE
            self.trace(Direction.RECEIVED, "+ ****" if hidden else str(response))
        if not self._in_flight:
            return self._read_unasked(response, line)
        command, move = self._in_flight[0]
        if response.status is Status.OK:
            self._rest = rest = command.answer
            if rest is Answer.CONTENT:
                return self._read_content()
            if rest is not Answer.LINE:
                return self._read_rest()
            self._answered(move.ok)
        elif response.status is Status.ERR:
            self._answered(move.err)
        else:
            return self._read_challenge(command, move, response)
        return ResponseReceived(command, response)

    def _read_unasked(self, response: Response, line: bytes) -> ClientEvent:
        if response.status is Status.CHALLENGE:
            raise RemoteProtocolError("the server sent a challenge that nothing asked for")
        if self._state is not State.GREETING:
            self._state = State.ERROR
            return UnsolicitedResponse(response)
        self._state = State.AUTHORIZATION if response.is_positive else State.CLOSED
        # Of the line as it came: making junk printable would make a timestamp of it.
        self._timestamp = find_timestamp(line.decode("latin-1"))
        return GreetingReceived(response)

    def _read_challenge(self, command: Command, move: Move, response: Response) -> ClientEvent:
        if move.challenge is None:
            raise RemoteProtocolError(f"the server answered {command.verb} with a challenge")
        try:
            challenge = decode_base64(response.text.rstrip(" "))
        except AuthenticationError as error:
            raise RemoteProtocolError(error.problem, stage=Stage.AUTHENTICATION) from None
        self._answered(move.challenge)
        return ChallengeReceived(command, challenge)

    def _read_rest(self) -> ClientEvent | None:
        if self._rest is Answer.CONTENT:
            return self._read_content()
        limits = self._limits
        if self._rest is Answer.CAPABILITIES:
            lines = self._take_lines(limits.capabilities, "capabilities")
            if lines is None:
                return None
            self._capabilities = parse_capabilities(lines)
            return CapabilitiesReceived(self._answered(None), self._capabilities)
        lines = self._take_lines(limits.listing_octets, "listing_octets")
        if lines is None:
            return None
        if lines.count(b"\n") > limits.listing_lines:
            raise LimitExceeded("listing_lines", limits.listing_lines)
        parse = parse_scan_listings if self._rest is Answer.SCAN_LISTING else parse_unique_id_listings
        return ListingReceived(self._answered(None), parse(lines))

    def _take_lines(self, limit: int, limit_name: str) -> bytes | None:
        """Take an answer that is read as a whole, without its end; None while it is incomplete."""
        buffer = self._buffer
        if buffer.starts_with(b".\r\n"):
            buffer.skip(3)
            return b""
        found = buffer.find(_END_OF_ANSWER)
        if (len(buffer) if found < 0 else found + 2) > limit:
            raise LimitExceeded(limit_name, limit)
        if found < 0:
            return None
        lines = buffer.take(found + 2)
        buffer.skip(3)
        if self.trace is not None:
            for line in lines[:-2].decode("utf-8", "backslashreplace").split("\r\n"):
                self.trace(Direction.RECEIVED, printable(line))
        return lines

    def _read_content(self) -> ClientEvent | None:
        data = self._content.take(self._buffer)
        ended = self._content.finished
        if not data and not ended:
            return None
        self._content_octets += len(data)
        limit = self._limits.content
        if limit is not None and self._content_octets > limit:
            raise LimitExceeded("content", limit, stage=Stage.RETRIEVAL)
        if not ended:
            return ContentReceived(self._in_flight[0][0], data, False)
        if self.trace is not None:
            self.trace(Direction.RECEIVED, f"<{self._content_octets} octets of content>")
        self._content = DotUnstuffer()
        self._content_octets = 0
        return ContentReceived(self._answered(None), data, True)

    def _answered(self, state: State | None) -> Command:
        """Take the head off the queue, its answer being complete."""
        command, _ = self._in_flight.popleft()
        self._rest = Answer.LINE
        if state is not None and self._state is not State.ERROR:
            self._state = state
        return command

    # --- output

    def send(self, command: Command) -> None:
        """Add a command to the output and to those in flight.

        Raises:
            LocalProtocolError: it is not legal now, or an argument cannot be sent; nothing was added.
        """
        move = TRANSITIONS[self._state].get(type(command))
        if move is None:
            raise LocalProtocolError(f"{command.verb} is not legal in the state {self._state.value}")
        if self._in_flight:
            last = self._in_flight[-1][0]
            if type(last) in ENDS_GROUP:
                raise LocalProtocolError(f"{command.verb} has to wait for the answer to {last.verb}")
            if "PIPELINING" not in self._capabilities:
                raise LocalProtocolError(
                    f"{command.verb} has to wait for the answer to {last.verb}",
                    cure="the server does not offer PIPELINING",
                )
        elif self.has_unread:
            # What came before the command was sent cannot be its answer, but would be read as such.
            raise LocalProtocolError(f"{command.verb} cannot be sent before it is known what the server says")
        self._output.append(command.encode())
        self._in_flight.append((command, move))
        if move.begun is not None:
            self._state = move.begun
        if self.trace is not None:
            self.trace(Direction.SENT, command.redacted())

    def data_to_send(self) -> list[bytes]:
        """Return what is to be written, and forget it."""
        output, self._output = self._output, []
        return output

    def send_failed(self) -> None:
        """Note that output was lost: nothing more can be sent, answers can still be read."""
        self._state = State.ERROR

    def start_tls(self) -> None:
        """Note that TLS starts now; all that was learned before is forgotten (RFC 2595 §4).

        Raises:
            LocalProtocolError: STLS was not accepted just before.
            PlaintextAfterStartTLS: octets had arrived that the handshake does not protect.
        """
        if self._state is not State.HANDSHAKE:
            raise LocalProtocolError(
                f"TLS cannot start in the state {self._state.value}", cure="send STLS first"
            )
        if len(self._buffer):
            self._state = State.ERROR
            raise PlaintextAfterStartTLS(
                f"{len(self._buffer)} octets arrived between the answer to STLS and TLS"
            )
        self._state = State.AUTHORIZATION
        self._capabilities = Capabilities()
        self._timestamp = None
