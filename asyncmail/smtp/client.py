"""The client's end of an SMTP or LMTP session, without input or output of its own."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..errors import (
    LimitExceeded,
    LocalProtocolError,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
    Stage,
)
from ..wire import Direction, DotStuffer, NewlineNormalizer, Signal, Trace
from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    EndOfContent,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Rset,
)
from .events import ClientEvent, ConnectionEnded, GreetingReceived, ReplyReceived, UnsolicitedReply
from .extensions import Extensions
from .limits import ClientLimits
from .replies import Reply, parse_reply, transcribe
from .states import CLIENT_ANSWERS, CLIENT_SENDS, Answer, Awaiting, ClientState

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ClientProtocol"]

_AWAITING: dict[type[Command], Awaiting] = {
    Mail: Awaiting.MAIL,
    Rcpt: Awaiting.RCPT,
    Data: Awaiting.DATA,
    EndOfContent: Awaiting.END_OF_CONTENT,
    Bdat: Awaiting.END_OF_CONTENT,
}
_END_OF_CONTENT = EndOfContent()
_ANSWERED_IN_STEPS = frozenset((Data, Auth, AuthResponse))


class ClientProtocol:
    """Commands in, octets out; octets in, events out.

    Commands in flight form a queue: each answer belongs to its head. Where the server offers PIPELINING, `send` may be
    called again before the answer came, within the rules of RFC 2920 §3.1; `can_send` tells.

    Args:
        lmtp: speak LMTP: LHLO, and an answer for each accepted recipient after the content (RFC 2033).
        limits: what the server may send.
        trace: called with each line of the session, secrets replaced.

    RFC 5321
    """

    __slots__ = (
        "_accepted",
        "_answered",
        "_at_eof",
        "_chunk",
        "_chunk_left",
        "_content_octets",
        "_failure",
        "_in_flight",
        "_limits",
        "_lines",
        "_normalizer",
        "_output",
        "_partial_line",
        "_reply_lines",
        "_reply_octets",
        "_sender_accepted",
        "_state",
        "_stuffer",
        "_unasked",
        "extensions",
        "lmtp",
        "octets_sent",
        "trace",
    )

    def __init__(
        self, *, lmtp: bool = False, limits: ClientLimits | None = None, trace: Trace | None = None
    ) -> None:
        self.lmtp: bool = lmtp
        self.trace: Trace | None = trace
        self.extensions: Extensions = Extensions()
        self.octets_sent: int = 0
        """Octets of output so far."""
        self._limits = limits or ClientLimits()
        self._lines: deque[bytes] = deque()  # received and not read yet, without LF
        self._partial_line = b""
        self._output: list[bytes] = []
        self._state = ClientState.GREETING
        self._in_flight: deque[Command] = deque()
        self._reply_lines: list[bytes] = []
        self._reply_octets = 0
        # The transaction that the answers have come to, behind the one being sent.
        self._sender_accepted = False
        self._accepted: list[str] = []
        self._answered = 0  # of the accepted, after the content (LMTP)
        self._chunk: Bdat | None = None  # the octets of which are due
        self._chunk_left = 0
        self._unasked = False  # what is read next had come before anything asked for it
        self._content_octets = 0
        self._stuffer = DotStuffer()
        self._normalizer = NewlineNormalizer()
        self._at_eof = False
        self._failure: RemoteProtocolError | None = None

    def __repr__(self) -> str:
        unread = sum([len(line) + 1 for line in self._lines]) + len(self._partial_line)
        return f"<smtp.ClientProtocol {self._state.value}, {len(self._in_flight)} in flight, {unread} unread>"

    @property
    def state(self) -> ClientState:
        """Where the session stands, by what was sent so far."""
        return self._state

    @property
    def in_flight(self) -> tuple[Command, ...]:
        """The commands that are not answered, oldest first."""
        return tuple(self._in_flight)

    @property
    def awaiting(self) -> Awaiting:
        """What the server is to send next."""
        if self._in_flight:
            return _AWAITING.get(type(self._in_flight[0]), Awaiting.ANSWER)
        return Awaiting.GREETING if self._state is ClientState.GREETING else Awaiting.NOTHING

    @property
    def stage(self) -> Stage:
        """The part of the session that the server is to go on with."""
        if self._in_flight:
            return self._in_flight[0].stage
        return Stage.GREETING if self._state is ClientState.GREETING else Stage.COMMAND

    @property
    def can_send(self) -> bool:
        """Whether another command may follow now, as far as those in flight are concerned."""
        return not self._in_flight or (self.extensions.pipelining and not self._in_flight[-1].ends_group)

    @property
    def accepted_recipients(self) -> tuple[str, ...]:
        """Forward-paths accepted so far in the transaction that the answers have come to."""
        return tuple(self._accepted)

    # --- input

    def receive_data(self, data: bytes) -> None:
        """Store octets that came from the server."""
        lines = (self._partial_line + data).split(b"\n")
        self._partial_line = lines.pop()
        self._lines.extend(lines)

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
            reply = self._read_reply()
            if reply is not None:
                return self._answer(reply)
        except RemoteProtocolError as error:
            self._failure = error
            self._state = ClientState.ERROR
            raise
        if not self._at_eof:
            return Signal.NEED_DATA
        if self._state is not ClientState.ERROR:
            self._state = ClientState.CLOSED
        return ConnectionEnded(tuple(self._in_flight))

    def _read_reply(self) -> Reply | None:
        lines = self._lines
        most = self._limits.reply_line
        while lines:
            line = lines.popleft()
            if len(line) >= most:
                raise LimitExceeded("reply_line", most)
            if line[3:4] != b"-":
                if not self._reply_lines:
                    return parse_reply(line)
                begun, self._reply_lines = self._reply_lines, []
                return parse_reply.__wrapped__(*begun, line)
            self._reply_lines.append(line)
            self._reply_octets += len(line) + 1
            if self._reply_octets > self._limits.reply:
                raise LimitExceeded("reply", self._limits.reply)
        if len(self._partial_line) > most:
            raise LimitExceeded("reply_line", most)
        return None

    @property
    def _has_unread(self) -> bool:
        return bool(self._lines or self._partial_line or self._reply_lines)

    def _answer(self, reply: Reply) -> ClientEvent:
        self._reply_octets = 0
        if self.trace is not None:
            self._trace_reply(reply)
        in_flight = self._in_flight
        if not in_flight or self._unasked:
            return self._read_unasked(reply)
        command = in_flight[0]
        code = reply.code
        recipient = None
        if code < 400:
            if command is self._chunk:
                raise RemoteProtocolError(f"BDAT was answered {reply} before its octets were sent")
            if code >= 300 and type(command) not in _ANSWERED_IN_STEPS:
                raise RemoteProtocolError(f"{command.verb} was answered {reply}")
        if type(command) is Rcpt:
            if code < 300:
                if not self._sender_accepted:
                    raise RemoteProtocolError(f"RCPT was answered {reply} and the MAIL before it was refused")
                self._accepted.append(command.recipient)
        elif type(command) is Mail:
            self._begin_transaction(code < 300)
        elif type(command) is EndOfContent or (type(command) is Bdat and command.last):
            if self.lmtp and self._accepted:
                recipient = self._accepted[self._answered]
                self._answered += 1
                if self._answered < len(self._accepted):
                    return ReplyReceived(command, reply, recipient)
            self._begin_transaction(False)
        elif type(command) is Rset or (type(command) is Bdat and code >= 400):
            self._begin_transaction(False)
        elif type(command) is Data and code < 300:
            raise RemoteProtocolError(f"DATA was answered {reply}", stage=Stage.CONTENT)
        in_flight.popleft()
        if not in_flight:
            self._settle(command, reply)
        return ReplyReceived(command, reply, recipient)

    def _begin_transaction(self, sender_accepted: bool) -> None:
        self._sender_accepted = sender_accepted
        self._accepted = []
        self._answered = 0

    def _settle(self, command: Command, reply: Reply) -> None:
        """Move the state on: everything sent has been answered, `command` last."""
        code = reply.code
        kind = type(command)
        answer = Answer.POSITIVE if code < 300 else Answer.INTERMEDIATE if code < 400 else Answer.NEGATIVE
        state = self._state = CLIENT_ANSWERS.get((self._state, kind, answer), self._state)
        if state is ClientState.CONTENT:
            if not self._accepted:
                self._state = ClientState.LONE_DOT
        elif state is ClientState.SENDER or state is ClientState.RECIPIENTS:
            if not self._sender_accepted:
                self._state = ClientState.READY
        elif state is ClientState.READY and kind in (Ehlo, Lhlo):
            self.extensions = Extensions.parse(reply.lines)
        elif state is ClientState.READY and kind is Helo:
            self.extensions = Extensions(reply.lines[0].partition(" ")[0])

    def _read_unasked(self, reply: Reply) -> ClientEvent:
        if self._state is not ClientState.GREETING:
            self._state = ClientState.ERROR
            return UnsolicitedReply(reply)
        if reply.is_intermediate:
            raise RemoteProtocolError(f"the greeting is {reply}", stage=Stage.GREETING)
        if reply.is_positive:
            self._state = ClientState.HELLO
        else:
            self._state = ClientState.CLOSED if reply.code == 421 else ClientState.REFUSED
        return GreetingReceived(reply)

    def _trace_reply(self, reply: Reply) -> None:
        assert self.trace is not None
        for line in transcribe(reply):
            self.trace(Direction.RECEIVED, line)

    # --- output

    def send(self, *commands: Command) -> None:
        """Add a command, or a group of them, to the output and to those in flight.

        Raises:
            LocalProtocolError: one is not legal now; none was added.
        """
        state = self._state
        last = self._in_flight[-1] if self._in_flight else None
        for command in commands:
            moved = CLIENT_SENDS[state].get(type(command))
            if moved is None or type(command) is EndOfContent:
                raise LocalProtocolError(f"{command.verb} is not legal in the state {state.value!r}")
            if last is not None and (last.ends_group or not self.extensions.pipelining):
                raise LocalProtocolError(
                    f"{command.verb} has to wait for the answer to {last.verb}",
                    cure="" if last.ends_group else "the server does not offer PIPELINING",
                )
            state = moved
            last = command
        self._write(b"".join([command.encode() for command in commands]))
        self._put_in_flight(commands)
        self._state = state
        if self.trace is not None:
            for command in commands:
                self.trace(Direction.SENT, str(command))
        if state is ClientState.CHUNK and commands:
            assert isinstance(last, Bdat)
            self._chunk = last
            self._chunk_left = last.size
            self._end_chunk(last)

    def send_content(self, chunk: bytes, *, is_normalized: bool = False) -> None:
        """Add octets of the content, any number at a time.

        After DATA, line endings are made CRLF and dots are stuffed; after BDAT the octets go as they are.

        Args:
            chunk: the octets.
            is_normalized: all line endings are known to be CRLF, in this chunk and where it begins and ends.

        Raises:
            LocalProtocolError: no content is due, or more than BDAT announced.
        """
        if self._state is ClientState.CONTENT:
            self._content_octets += len(chunk)
            data = self._stuffer.encode(chunk if is_normalized else self._normalizer.feed(chunk))
            if data:
                self._write(data)
            return
        command = self._chunk
        if command is None or self._state is not ClientState.CHUNK:
            raise LocalProtocolError(f"no content is due in the state {self._state.value!r}")
        if len(chunk) > self._chunk_left:
            raise LocalProtocolError(
                f"the chunk has {len(chunk) - self._chunk_left} octets more than announced"
            )
        self._write(chunk)
        self._chunk_left -= len(chunk)
        self._end_chunk(command)

    def end_content(self) -> None:
        """Add the end of the content that follows DATA; its answer is that to `EndOfContent`.

        Raises:
            LocalProtocolError: no content is due.
        """
        state = CLIENT_SENDS[self._state].get(EndOfContent)
        if state is None:
            raise LocalProtocolError(f"no content is due in the state {self._state.value!r}")
        end = self._stuffer.encode(self._normalizer.finish()) + self._stuffer.finish()
        self._write(end)
        if self.trace is not None:
            self.trace(Direction.SENT, f"<{self._content_octets} octets of content>")
            self.trace(Direction.SENT, ".")
        self._content_octets = 0
        self._stuffer = DotStuffer()
        self._put_in_flight((_END_OF_CONTENT,))
        self._state = state

    def _end_chunk(self, command: Bdat) -> None:
        if self._chunk_left == 0:
            self._chunk = None
            if not self._in_flight:  # refused in the middle
                self._state = ClientState.RESET_DUE
            else:
                self._state = ClientState.READY if command.last else ClientState.CHUNKS
            if self.trace is not None:
                self.trace(Direction.SENT, f"<{command.size} octets of content>")

    def _put_in_flight(self, commands: Sequence[Command]) -> None:
        if not self._in_flight and self._has_unread:
            self._unasked = True
        self._in_flight.extend(commands)

    def _write(self, octets: bytes) -> None:
        self._output.append(octets)
        self.octets_sent += len(octets)

    def data_to_send(self) -> list[bytes]:
        """Return what is to be written, and forget it."""
        output, self._output = self._output, []
        return output

    def send_failed(self) -> None:
        """Note that output was lost or an answer is given up: nothing more can be sent."""
        self._state = ClientState.ERROR

    def start_tls(self) -> None:
        """Note that TLS starts now; all that was learned before is forgotten (RFC 3207 §4.2).

        Raises:
            LocalProtocolError: STARTTLS was not accepted just before.
            PlaintextAfterStartTLS: octets had arrived that the handshake does not protect.
        """
        if self._state is not ClientState.HANDSHAKE:
            raise LocalProtocolError(
                f"TLS cannot start in the state {self._state.value!r}", cure="send STARTTLS first"
            )
        if self._has_unread:
            self._state = ClientState.ERROR
            raise PlaintextAfterStartTLS(
                "octets arrived between the answer to STARTTLS and TLS",
                cure="someone may be tampering with the connection: use implicit TLS",
            )
        self._state = ClientState.HELLO
        self.extensions = Extensions()
