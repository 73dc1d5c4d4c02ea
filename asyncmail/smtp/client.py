"""The client's end of an SMTP or LMTP session, without input or output of its own."""

from __future__ import annotations

import sys
from collections import deque
from functools import lru_cache, partial
from itertools import islice
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any

from ..errors import (
    LimitExceeded,
    LocalProtocolError,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
    Stage,
)
from ..wire import Direction, DotStuffer, NewlineNormalizer, Signal, Trace, stuff
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
from .replies import Reply, parse_line, parse_reply, transcribe
from .states import CLIENT_ANSWERS, CLIENT_SENDS, Answer, Awaiting, ClientState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ClientProtocol"]

_AWAITING: dict[type[Command], Awaiting] = {
    Mail: Awaiting.MAIL,
    Rcpt: Awaiting.RCPT,
    Data: Awaiting.DATA,
    EndOfContent: Awaiting.END_OF_CONTENT,
    Bdat: Awaiting.END_OF_CONTENT,
}
_END_OF_CONTENT = EndOfContent()
# Half the time of calling the class.
_reply_received: Callable[[tuple[Command, Reply, str | None]], ReplyReceived] = partial(
    tuple.__new__, ReplyReceived
)
_encode: Callable[[Command], bytes] = methodcaller("encode")
_code_of: Callable[[Reply], int] = attrgetter("code")
_ANSWERED_IN_STEPS = frozenset((Data, Auth, AuthResponse))
_HELLOS = frozenset((Ehlo, Helo, Lhlo))
_IN_ENVELOPE = frozenset((ClientState.SENDER, ClientState.RECIPIENTS))
_ENDS_TRANSACTION = frozenset((Bdat, EndOfContent, Rset))


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
        "_content_begun",
        "_content_octets",
        "_failure",
        "_in_flight",
        "_limits",
        "_lines",
        "_longest",
        "_normalizer",
        "_octets_taken",
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
        "trace",
    )

    def __init__(
        self, *, lmtp: bool = False, limits: ClientLimits | None = None, trace: Trace | None = None
    ) -> None:
        self.lmtp: bool = lmtp
        self.trace: Trace | None = trace
        self.extensions: Extensions = Extensions()
        self._octets_taken = 0  # of the output
        self._limits = limits or ClientLimits()
        self._longest = self._limits.reply_line
        self._lines: deque[bytes] = deque()  # received and not read yet, without LF
        self._partial_line = b""
        self._output: list[bytes] = []
        self._state = ClientState.GREETING
        self._in_flight: deque[Command] = deque()
        self._reply_lines: list[bytes] = []
        self._reply_octets = 0
        # The transaction that the answers have come to, behind the one being sent.
        self._sender_accepted = False
        self._accepted: list[Rcpt] = []
        self._answered = 0  # of the accepted, after the content (LMTP)
        self._chunk: Bdat | None = None  # the octets of which are due
        self._chunk_left = 0
        self._unasked = False  # what is read next had come before anything asked for it
        self._content_octets = 0
        self._content_begun = False  # some of it was sent, and its end was not
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
    def octets_sent(self) -> int:
        """Octets of output so far."""
        return self._octets_taken + sum(map(len, self._output))

    @property
    def can_send(self) -> bool:
        """Whether another command may follow now: some are legal, and none in flight has to be answered first."""
        if not CLIENT_SENDS[self._state]:
            return False
        in_flight = self._in_flight
        return not in_flight or (self.extensions.pipelining and not in_flight[-1].ends_group)

    @property
    def accepted_recipients(self) -> tuple[str, ...]:
        """Forward-paths accepted so far in the transaction that the answers have come to."""
        return tuple([command.recipient for command in self._accepted])

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
        events = self.next_events(1)
        return events[0] if events else Signal.NEED_DATA

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has something more to tell without further octets: an event, or what went wrong."""
        return (
            bool(self._lines)
            or self._at_eof
            or self._failure is not None
            or len(self._partial_line) > self._longest
        )

    def next_events(self, most: int = sys.maxsize) -> list[ClientEvent]:
        """Return all that can be told of what the server did, oldest first; at most so many events.

        Raises:
            RemoteProtocolError: as `next_event`, once the events before that have been returned.
        """
        if self._failure is not None:
            raise self._failure
        events: list[ClientEvent] = []
        lines, in_flight, trace, longest = self._lines, self._in_flight, self.trace, self._longest
        try:
            while lines and len(events) < most:
                line = lines.popleft()
                reply = None if self._reply_lines or len(line) >= longest else parse_line(line)
                if reply is None:
                    reply = self._read_multiline(line)
                    if reply is None:
                        continue
                if trace is not None:
                    self._trace_reply(trace, reply)
                if self._unasked or not in_flight:
                    events.append(self._read_unasked(reply))
                    continue
                command = in_flight[0]
                kind = type(command)
                recipient = None
                if reply.code < 300 and kind is Rcpt and self._sender_accepted:
                    self._accepted.append(command)  # type: ignore[arg-type]
                    in_flight.popleft()
                elif reply.code < 300 and kind is Mail:
                    self._sender_accepted = True
                    self._accepted = []
                    in_flight.popleft()
                else:
                    recipient = self._take_answer(command, reply)
                if not in_flight:
                    self._settle(kind, reply)
                events.append(_reply_received((command, reply, recipient)))
            if not lines and len(self._partial_line) > longest:
                raise LimitExceeded("reply_line", longest)
        except RemoteProtocolError as error:
            self._failure = error
            self._state = ClientState.ERROR
            if not events:
                raise
        if events or not self._at_eof:
            return events
        if self._state is not ClientState.ERROR:
            self._state = ClientState.CLOSED
        return [ConnectionEnded(tuple(self._in_flight))]

    def next_replies(self) -> list[Reply]:
        """Return all answers that have come, if each is what its command hopes for; else none, and nothing is taken.

        They belong to the commands in flight, the oldest first. This is `next_events` for who keeps account of what
        was sent, and wants to know no more than that all is well: what is returned is taken, and what is anything but
        a yes of one line to a transaction's commands is left to `next_events`.
        """
        lines, in_flight = self._lines, self._in_flight
        number = len(lines)
        if (
            not 0 < number <= len(in_flight)
            or self._reply_lines
            or self._unasked
            or self._chunk is not None
            or self._content_begun
            or self.lmtp
            or self.trace is not None
            or self._failure is not None
            or len(self._partial_line) > self._longest
            or max(map(len, lines)) >= self._longest
        ):
            return []
        try:
            replies: list[Any] = list(map(parse_line, lines))
        except RemoteProtocolError:  # which is to be told behind what came before it
            return []
        if not all(replies):
            return []
        commands: list[Any] = list(in_flight if number == len(in_flight) else islice(in_flight, number))
        kinds = tuple(map(type, commands))
        if Bdat in kinds and any(type(command) is Bdat and not command.last for command in commands):
            return []
        moved = _after_yes(kinds, tuple(map(_code_of, replies)), self._sender_accepted)
        if moved is None:
            return []
        self._sender_accepted, is_same, begin, end = moved
        self._accepted = self._accepted + commands[begin:end] if is_same else commands[begin:end]
        lines.clear()
        if number == len(in_flight):
            in_flight.clear()
            self._settle(kinds[-1], replies[-1])
        else:
            for _ in commands:
                in_flight.popleft()
        return replies

    def _read_multiline(self, line: bytes) -> Reply | None:
        """The reply that ends with this line, None if it goes on (RFC 5321 §4.2.1)."""
        limits = self._limits
        if len(line) >= self._longest:
            raise LimitExceeded("reply_line", self._longest)
        self._reply_lines.append(line)
        self._reply_octets += len(line) + 1
        if line[3:4] != b"-":
            whole, self._reply_lines = self._reply_lines, []
            self._reply_octets = 0
            return parse_reply(*whole)
        if self._reply_octets > limits.reply:
            raise LimitExceeded("reply", limits.reply)
        return None

    @property
    def _has_unread(self) -> bool:
        return bool(self._lines or self._partial_line or self._reply_lines)

    def _take_answer(self, command: Command, reply: Reply) -> str | None:
        """Take an answer that is not the plain yes to MAIL or RCPT; returns the recipient that it is about, in LMTP."""
        kind = type(command)
        code = reply.code
        recipient = None
        # Only DATA is answered 3yz as a rule, and nothing else.
        if code < 400 and ((code >= 300) is not (kind is Data) or command is self._chunk):
            self._check_step(command, reply)
        if kind is Rcpt:
            if code < 300:
                raise RemoteProtocolError(f"RCPT was answered {reply} and the MAIL before it was refused")
        elif kind is Mail:
            self._sender_accepted = False
            self._accepted = []
        elif kind is EndOfContent or kind is Bdat or kind is Rset:
            if self._content_begun and code < 300:
                raise RemoteProtocolError(f"the content was answered {reply} before its end")
            ends_content = kind is EndOfContent or (isinstance(command, Bdat) and command.last)
            if self.lmtp and self._accepted and ends_content:
                recipient = self._accepted[self._answered].recipient
                self._answered += 1
                if self._answered < len(self._accepted):
                    return recipient
            if ends_content or kind is Rset or code >= 400:
                self._sender_accepted = False
                self._accepted = []
                self._answered = 0
        self._in_flight.popleft()
        return recipient

    def _check_step(self, command: Command, reply: Reply) -> None:
        """Raise RemoteProtocolError if a yes, or a go on, answers what was not asked so far."""
        if command is self._chunk:
            raise RemoteProtocolError(f"BDAT was answered {reply} before its octets were sent")
        if reply.is_intermediate and type(command) not in _ANSWERED_IN_STEPS:
            raise RemoteProtocolError(f"{command.verb} was answered {reply}")
        if reply.is_positive and type(command) is Data:
            raise RemoteProtocolError(f"DATA was answered {reply}", stage=Stage.CONTENT)

    def _settle(self, kind: type[Command], reply: Reply) -> None:
        """Move the state on: everything sent has been answered, a command of this kind last."""
        code = reply.code
        answer = Answer.POSITIVE if code < 300 else Answer.INTERMEDIATE if code < 400 else Answer.NEGATIVE
        before = self._state
        state = CLIENT_ANSWERS.get((before, kind, answer), before)
        if state is ClientState.CONTENT:
            if not self._accepted and not self._content_begun:
                state = ClientState.LONE_DOT
        elif not self._sender_accepted and state in _IN_ENVELOPE:
            state = ClientState.READY
        elif kind in _HELLOS and state is ClientState.READY:
            self.extensions = (
                Extensions(reply.lines[0].partition(" ")[0])
                if kind is Helo
                else Extensions.parse(reply.lines)
            )
        self._state = state

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

    @staticmethod
    def _trace_reply(trace: Trace, reply: Reply) -> None:
        for line in transcribe(reply):
            trace(Direction.RECEIVED, line)

    # --- output

    def send(self, *commands: Command) -> None:
        """Add a command, or a group of them, to the output and to those in flight.

        Raises:
            LocalProtocolError: one is not legal now; none was added.
        """
        if not commands:
            return
        state = _state_after(self._state, tuple(map(type, commands)))
        in_flight = self._in_flight
        if (
            state is None
            or (in_flight and in_flight[-1].ends_group)
            or (len(commands) + len(in_flight) > 1 and not self.extensions.pipelining)
        ):
            raise self._refusal(commands)
        self._output += [*map(_encode, commands)]  # all of them, or none if one cannot be
        self._put_in_flight(commands)
        self._state = state
        if self.trace is not None:
            for command in commands:
                self.trace(Direction.SENT, str(command))
        if state is ClientState.CHUNK:
            chunk = commands[-1]
            assert isinstance(chunk, Bdat)
            self._chunk = chunk
            self._chunk_left = chunk.size
            self._end_chunk(chunk)

    def _refusal(self, commands: Sequence[Command]) -> LocalProtocolError:
        """Why these cannot be sent now: what the first of them that cannot be is up against."""
        state = self._state
        last = self._in_flight[-1] if self._in_flight else None
        following = iter(commands)
        while True:
            command = next(following)  # one of them is at fault
            moved = _state_after(state, (type(command),))
            if moved is None:
                return LocalProtocolError(
                    f"{command.verb} is not legal in the state {state.value!r}", cure=_what_is_legal(state)
                )
            if last is not None and (last.ends_group or not self.extensions.pipelining):
                break
            state = moved
            last = command
        assert last is not None
        return LocalProtocolError(
            f"{command.verb} has to wait for the answer to {last.verb}",
            cure="" if last.ends_group else "the server does not offer PIPELINING",
        )

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
            if not self._content_begun:
                self._content_begun = True
                self._put_in_flight((_END_OF_CONTENT,))  # some servers refuse content in the middle
            self._content_octets += len(chunk)
            data = self._stuffer.encode(chunk if is_normalized else self._normalizer.feed(chunk))
            if data:
                self._output.append(data)
            return
        command = self._chunk
        if command is None or self._state is not ClientState.CHUNK:
            raise LocalProtocolError(f"no content is due in the state {self._state.value!r}")
        if len(chunk) > self._chunk_left:
            raise LocalProtocolError(
                f"the chunk has {len(chunk) - self._chunk_left} octets more than announced"
            )
        self._output.append(chunk)
        self._chunk_left -= len(chunk)
        self._end_chunk(command)

    def end_content(self) -> None:
        """Add the end of the content that follows DATA; its answer is that to `EndOfContent`.

        Raises:
            LocalProtocolError: no content is due.
        """
        state = self._behind_content()
        rest = self._normalizer.finish()
        if rest:
            self._output.append(self._stuffer.encode(rest))
        self._output.append(self._stuffer.finish())
        self._note_content_end(state)

    def send_whole_content(self, content: bytes) -> None:
        """Add the content that follows DATA, and its end: `send_content` and `end_content` in one.

        Args:
            content: the octets; all line endings are known to be CRLF.

        Raises:
            LocalProtocolError: no content is due, or some of it was sent before.
        """
        state = self._behind_content()
        if self._content_begun or (content and self._state is ClientState.LONE_DOT):
            raise LocalProtocolError(f"no whole content is due in the state {self._state.value!r}")
        self._output += stuff(content)
        self._content_octets = len(content)
        self._note_content_end(state)

    def _behind_content(self) -> ClientState:
        state = CLIENT_SENDS[self._state].get(EndOfContent)
        if state is None:
            raise LocalProtocolError(f"no content is due in the state {self._state.value!r}")
        return state

    def _note_content_end(self, state: ClientState) -> None:
        if self.trace is not None:
            self.trace(Direction.SENT, f"<{self._content_octets} octets of content>")
            self.trace(Direction.SENT, ".")
        self._content_octets = 0
        if self._content_begun:
            self._content_begun = False
        else:
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

    def data_to_send(self) -> list[bytes]:
        """Return what is to be written, and forget it."""
        output, self._output = self._output, []
        self._octets_taken += sum(map(len, output))
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


@lru_cache(maxsize=1024)
def _state_after(state: ClientState, kinds: tuple[type[Command], ...]) -> ClientState | None:
    """The state once commands of these kinds have been sent together, None if that is not legal."""
    for number, kind in enumerate(kinds):
        moved = CLIENT_SENDS[state].get(kind)
        if moved is None or kind is EndOfContent or (number and kinds[number - 1].ends_group):
            return None
        state = moved
    return state


@lru_cache(maxsize=1024)
def _after_yes(
    kinds: tuple[type[Command], ...], codes: tuple[int, ...], sender_accepted: bool
) -> tuple[bool, bool, int, int] | None:
    """What answers to commands of these kinds leave behind, None if one of them is no yes that a transaction takes.

    Returns:
        Whether a sender stands accepted, whether that is still the same as before, and where the commands that name
        its recipients begin and end.
    """
    is_same = True
    begin = end = 0
    for number, (kind, code) in enumerate(zip(kinds, codes, strict=True)):
        if kind is Data:
            if not 300 <= code < 400:
                return None
        elif code >= 300:
            return None
        elif kind is Rcpt and sender_accepted:
            end = number + 1
        elif kind is Mail or kind in _ENDS_TRANSACTION:
            sender_accepted = kind is Mail
            is_same = False
            begin = end = number + 1
        else:
            return None
    return sender_accepted, is_same, begin, end


def _what_is_legal(state: ClientState) -> str:
    verbs = {command.verb for command in CLIENT_SENDS[state]} - {EndOfContent.verb}
    return f"legal is {' '.join(sorted(verbs))}" if verbs else ""
