"""The client's end of a POP3 session, without input or output of its own."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

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
from ..wire import Direction, Signal, Trace, find_dot_line
from .capabilities import Capabilities, parse_capabilities
from .commands import Answer, Command, Retr, check_numbers
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

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ClientProtocol"]

# What is looked up for each message: a member of an Enum costs more than a global name before Python 3.12.
_LINE = Answer.LINE
_CONTENT = Answer.CONTENT
_NEED_DATA: Final = Signal.NEED_DATA

# The +OK in front of a message, of which nobody is told.
_POSITIVE = re.compile(rb"\+OK(?:[ \t][^\r\n]*)?\r\n")
_END = b"\r\n.\r\n"

_RETRIEVAL = TRANSITIONS[State.TRANSACTION][Retr]
# A command in flight. That of a RETR is the message's number alone: of those there are thousands, and to make an
# object for each costs as much as to read its answer.
_Entry = tuple[Command, Move] | int


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
        self._data = b""  # the last segment, behind what the one before left unread
        self._start = 0  # of what is unread
        self._output: list[bytes] = []
        self._state = State.GREETING
        self._in_flight: deque[_Entry] = deque()
        self._capabilities = Capabilities()
        self._timestamp: str | None = None
        self._rest = _LINE  # what is still to be read of the head's answer
        self._overlap = 0  # octets of the status line that are read again: its CRLF
        self._lines = bytearray()  # of a listing, so far
        self._content_octets = 0
        self._at_eof = False
        self.octets_received: int = 0
        self._failure: RemoteProtocolError | None = None

    def __repr__(self) -> str:
        return (
            f"<pop3.ClientProtocol {self._state.value}, {len(self._in_flight)} in flight,"
            f" {len(self._data) - self._start + len(self._lines)} unread>"
        )

    @property
    def limits(self) -> ClientLimits:
        """What the server may send."""
        return self._limits

    @property
    def state(self) -> State:
        """Where the session stands, by the answers read so far."""
        return self._state

    @property
    def in_flight(self) -> tuple[Command, ...]:
        """The commands whose answers have not been read to their ends, oldest first."""
        return tuple(_command_of(entry)[0] for entry in self._in_flight)

    @property
    def awaiting(self) -> Awaiting:
        """What the server is to send next."""
        if self._rest is not _LINE:
            return Awaiting.CONTENT
        if self._in_flight:
            head = self._in_flight[0]
            is_last = isinstance(head, tuple) and head[1].begun is State.UPDATE
            return Awaiting.UPDATE if is_last else Awaiting.RESPONSE
        return Awaiting.GREETING if self._state is State.GREETING else Awaiting.NOTHING

    @property
    def stage(self) -> Stage:
        """The part of the session that the server is to go on with."""
        if self._in_flight:
            return self._head[0].stage
        return Stage.GREETING if self._state is State.GREETING else Stage.COMMAND

    @property
    def capabilities(self) -> Capabilities:
        """What the last CAPA told; empty before, and after STLS."""
        return self._capabilities

    @property
    def timestamp(self) -> str | None:
        """The timestamp in the greeting, for APOP; None unless it can be trusted (RFC 6151 §2.1)."""
        return self._timestamp

    @property
    def is_idle(self) -> bool:
        """Whether all answers have been read to their ends."""
        return not self._in_flight

    @property
    def has_unread(self) -> bool:
        """Whether octets have arrived that no event told of yet; with nothing in flight nobody asked for them."""
        return len(self._data) > self._start

    # --- input

    def receive_data(self, data: bytes) -> None:
        """Store octets that came from the server."""
        # Mostly to nothing: all that can be read of a segment is, save for events that nobody has asked for yet.
        self._data = self._data[self._start :] + data
        self._start = 0
        self.octets_received += len(data)

    def receive_eof(self) -> None:
        """Note that no more will come."""
        self._at_eof = True

    def next_event(self) -> ClientEvent | Literal[Signal.NEED_DATA]:
        """Return what the server did next, as far as it can be told.

        Raises:
            RemoteProtocolError: it broke the protocol or a limit; from then on every call raises this.
        """
        if self._failure is not None:
            raise self._failure
        if self._start == len(self._data) and not self._at_eof:
            return _NEED_DATA
        try:
            event = self._read_line() if self._rest is _LINE else self._read_rest()
        except RemoteProtocolError as error:
            self._failure = error
            self._state = State.ERROR
            raise
        if event is not None:
            return event
        self._data, self._start = self._data[self._start :], 0
        return ConnectionEnded(self.in_flight) if self._at_eof else _NEED_DATA

    def take_messages(self) -> list[bytes]:
        """Take the messages that are next and have arrived whole: the contents of that many commands in flight.

        What `next_event` would tell of them one by one, at a third of the time. It may stop at any message that
        `next_event` can read, and always before what is no message.
        """
        contents: list[bytes] = []
        if self._rest is not _LINE or self._failure is not None or self.trace is not None:
            return contents
        data, start = self._data, self._start
        longest_line, longest = self._limits.response_line, self._limits.content
        for entry in self._in_flight:
            if type(entry) is tuple:
                break
            positive = _POSITIVE.match(data, start, start + longest_line)
            if positive is None:
                break
            begin = positive.end()
            end = find_dot_line(data, begin - 2)
            if end < 0:
                break
            if data.startswith(b"\r\n", end + 3):
                content = data[begin : end + 2]
            else:
                end = data.find(_END, end)
                if end < 0:
                    break
                content = data[begin - 2 : end + 2].replace(b"\r\n.", b"\r\n")[2:]
            if longest is not None and len(content) > longest:
                break
            contents.append(content)
            start = end + 5
        self._start = start
        for _ in contents:
            self._in_flight.popleft()
        return contents

    def _read_line(self) -> ClientEvent | None:
        limit = self._limits.response_line
        data, start = self._data, self._start
        end = data.find(b"\n", start) + 1
        if (end or len(data)) - start > limit:
            raise LimitExceeded("response_line", limit)
        if not end:
            return None
        line = data[start:end]
        self._start = end
        response = parse_response(line)
        if self.trace is not None:
            hidden = response.status is Status.CHALLENGE
            self.trace(Direction.RECEIVED, "+ ****" if hidden else str(response))
        if not self._in_flight:
            return self._read_unasked(response, line)
        command, move = self._head
        self._in_flight[0] = command, move  # made once, though many events may tell of it
        if response.status is Status.OK:
            if command.answer is not _LINE:
                if not line.endswith(b"\r\n"):  # a bare LF is tolerated in a status line, and only there
                    self._data = b"\r\n" + data[end:]
                    end = 2
                return self._begin_rest(command.answer, end)
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

    def _begin_rest(self, rest: Answer, begin: int) -> ClientEvent | None:
        """Read on behind a status line; its CRLF belongs to the end of an answer without lines."""
        self._rest = rest
        self._start = begin - 2
        self._overlap = 2
        return self._read_rest()

    def _read_rest(self) -> ClientEvent | None:
        piece, is_end = self._take_stuffed()
        if self._rest is not _CONTENT:
            return self._read_lines(piece, is_end)
        if not piece and not is_end:
            return None
        octets = self._content_octets + len(piece)
        limit = self._limits.content
        if limit is not None and octets > limit:
            raise LimitExceeded("content", limit, stage=Stage.RETRIEVAL)
        if not is_end:
            self._content_octets = octets
            return ContentReceived(self._head[0], piece, False)
        if self.trace is not None:
            self.trace(Direction.RECEIVED, f"<{octets} octets of content>")
        self._content_octets = 0
        return ContentReceived(self._answered(None), piece, True)

    def _read_lines(self, piece: bytes, is_end: bool) -> ClientEvent | None:
        """Add a piece to an answer that is read as a whole."""
        self._lines += piece
        rest, limits = self._rest, self._limits
        if rest is Answer.CAPABILITIES:
            limit, limit_name = limits.capabilities, "capabilities"
        else:
            limit, limit_name = limits.listing_octets, "listing_octets"
        if len(self._lines) > limit:
            raise LimitExceeded(limit_name, limit)
        if not is_end:
            return None
        lines = bytes(self._lines)
        self._lines.clear()
        if self.trace is not None:
            for line in lines.decode("utf-8", "backslashreplace").split("\r\n")[:-1]:
                self.trace(Direction.RECEIVED, printable(line))
        if rest is Answer.CAPABILITIES:
            self._capabilities = parse_capabilities(lines)
            return CapabilitiesReceived(self._answered(None), self._capabilities)
        if lines.count(b"\n") > limits.listing_lines:
            raise LimitExceeded("listing_lines", limits.listing_lines)
        parse = parse_scan_listings if rest is Answer.SCAN_LISTING else parse_unique_id_listings
        return ListingReceived(self._answered(None), parse(lines))

    def _take_stuffed(self) -> tuple[bytes, bool]:
        """Take the next octets of an answer of several lines, dot-stuffing undone, and whether it ends with them.

        They do not end between CR and LF, nor where the end of the answer might begin.
        """
        data, start = self._data, self._start
        first_dot = find_dot_line(data, start)
        if first_dot >= 0 and data.startswith(b"\r\n", first_dot + 3):
            self._start = first_dot + 5
            return data[start + self._overlap : first_dot + 2], True
        end = data.find(_END, first_dot) if first_dot >= 0 else -1
        stop = end + 2 if end >= 0 else len(data) - _possible_end(data[max(start, len(data) - 4) :])
        if first_dot < 0:
            piece = data[start + self._overlap : stop]
        else:
            piece = data[start:stop].replace(b"\r\n.", b"\r\n")[self._overlap :]
        if stop > start:
            self._overlap = 0
        self._start = end + 5 if end >= 0 else stop
        return piece, end >= 0

    def _answered(self, state: State | None) -> Command:
        """Take the head off the queue, its answer being complete."""
        command, _ = self._head
        self._in_flight.popleft()
        self._rest = _LINE
        if state is not None and self._state is not State.ERROR:
            self._state = state
        return command

    @property
    def _head(self) -> tuple[Command, Move]:
        return _command_of(self._in_flight[0])

    # --- output

    def send(self, *commands: Command) -> None:
        """Add a command, or several that are pipelined, to the output and to those in flight.

        Raises:
            LocalProtocolError: one is not legal now, or an argument cannot be sent; none was added.
        """
        moves, state = self._check(commands)
        if commands:
            self._output.append(b"".join([command.encode() for command in commands]))
        self._in_flight.extend(
            command.number if type(command) is Retr else (command, move)
            for command, move in zip(commands, moves, strict=True)
        )
        self._state = state
        if self.trace is not None:
            for command in commands:
                self.trace(Direction.SENT, command.redacted())

    def retrieve(self, numbers: Sequence[int]) -> None:
        """Send a RETR for each of these messages: the same as `send`, at a tenth of the time for many.

        Raises:
            InputError: a number is none.
            LocalProtocolError: RETR is not legal now, or not so often; none was added.
        """
        check_numbers(numbers)
        # What holds for the second holds for all behind it.
        self._check([Retr(number=number) for number in numbers[:2]])
        if numbers:
            self._output.append(Retr.encode_many(numbers))
        self._in_flight.extend(numbers)
        if self.trace is not None:
            for number in numbers:
                self.trace(Direction.SENT, Retr(number=number).redacted())

    def _check(self, commands: Sequence[Command]) -> tuple[list[Move], State]:
        """Return what the answers to commands that are to be sent will do, and the state once they are sent.

        Raises:
            LocalProtocolError: one is not legal now.
        """
        state = self._state
        last = _command_of(self._in_flight[-1])[0] if self._in_flight else None
        is_pipelining = "PIPELINING" in self._capabilities
        moves: list[Move] = []
        for command in commands:
            move = TRANSITIONS[state].get(type(command))
            if move is None:
                verbs = sorted({legal.verb for legal in TRANSITIONS[state]})
                raise LocalProtocolError(
                    f"{command.verb} is not legal in the state {state.value}",
                    cure=f"legal is {' '.join(verbs)}" if verbs else "",
                )
            if last is None:
                if self.has_unread:
                    # What came before the command was sent cannot be its answer, but would be read as such.
                    raise LocalProtocolError(
                        f"{command.verb} cannot be sent before it is known what the server says"
                    )
            elif not is_pipelining or type(last) in ENDS_GROUP:
                raise LocalProtocolError(
                    f"{command.verb} has to wait for the answer to {last.verb}",
                    cure="" if type(last) in ENDS_GROUP else "the server does not offer PIPELINING",
                )
            moves.append(move)
            state = move.begun or state
            last = command
        return moves, state

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
        unread = len(self._data) - self._start
        if unread:
            self._state = State.ERROR
            raise PlaintextAfterStartTLS(f"{unread} octets arrived between the answer to STLS and TLS")
        self._state = State.AUTHORIZATION
        self._capabilities = Capabilities()
        self._timestamp = None


def _command_of(entry: _Entry) -> tuple[Command, Move]:
    return entry if isinstance(entry, tuple) else (Retr(number=entry), _RETRIEVAL)


def _possible_end(tail: bytes) -> int:
    """How many octets at the end of `tail` may turn out to begin the end of an answer."""
    if tail[-1:] not in _END:
        return 0
    return next((n for n in range(len(tail), 0, -1) if _END.startswith(tail[-n:])), 0)
