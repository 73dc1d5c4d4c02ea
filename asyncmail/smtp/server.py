"""The server's end of an SMTP or LMTP session, without input or output of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ..errors import (
    AuthenticationError,
    LocalProtocolError,
    MailError,
    PlaintextAfterStartTLS,
    printable,
)
from ..sasl import Attempt, Challenge, ServerMechanism, encode_base64, make_timestamp
from ..wire import BareNewlines, Direction, DotUnstuffer, NewlineNormalizer, Signal, Trace
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
    Noop,
    Rcpt,
    Rset,
    Starttls,
    parse_command,
    plain_command,
)
from .events import (
    AuthenticationReceived,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    ContentEnded,
    ContentReceived,
    ServerEvent,
)
from .limits import ServerLimits
from .offer import ServerOffer
from .parameters import BodyType
from .replies import Reply, transcribe
from .server_replies import (
    ACCEPTED,
    BARE_NEWLINE,
    BARE_NEWLINE_IN_COMMAND,
    CHUNK_ACCEPTED,
    CONSEQUENCES,
    LINE_TOO_LONG,
    NEEDS_SMTPUTF8,
    NO_RECIPIENTS,
    NO_SENDER,
    OUT_OF_SEQUENCE,
    TOO_MANY_COMMANDS,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    fault,
)
from .states import SERVER_ANSWERS, SERVER_RECEIVES, Answer, Awaiting, ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ServerProtocol"]

_END_OF_CONTENT = EndOfContent()
_HELLOS = (Ehlo, Helo, Lhlo)
_AUTHENTICATION = (Auth, AuthResponse)
_END_TRANSACTION = (EndOfContent, Rset, Ehlo, Helo, Lhlo)
_ENVELOPE = (Rcpt, Mail)
_CONTENT_ENDED = ContentEnded()

# Before Python 3.12 each look at a member of an Enum runs a function.
_NEED_DATA: Final = Signal.NEED_DATA
_PAUSED: Final = Signal.PAUSED
_HELLO: Final = ServerState.HELLO
_CONTENT: Final = ServerState.CONTENT
_AUTHENTICATING: Final = ServerState.AUTHENTICATION
_BINARY_MIME: Final = BodyType.BINARY_MIME
_POSITIVE: Final = Answer.POSITIVE
_INTERMEDIATE: Final = Answer.INTERMEDIATE
_NEGATIVE: Final = Answer.NEGATIVE


def _class_of(reply: Reply) -> Answer:
    code = reply.code
    return _POSITIVE if code < 300 else _INTERMEDIATE if code < 400 else _NEGATIVE


# By command: the usual reply, its octets, and the state that it leads to.
_USUAL: dict[type[Command], tuple[Reply, bytes, ServerState | None]] = {
    kind: (reply, reply.encode(), SERVER_ANSWERS.get((kind, _class_of(reply))))
    for kind, reply in ACCEPTED.items()
}
# The same of those that can be accepted without asking anybody.
_UNASKED: dict[type[Command], tuple[Reply, bytes, ServerState]] = {
    kind: (reply, octets, state)
    for kind, (reply, octets, state) in _USUAL.items()
    if state is not None and kind in (Mail, Rcpt, Data)
}


class ServerProtocol:
    """Octets in, commands and content out as events; replies in, octets out.

    One command is handled at a time: after an event that waits for an answer, `next_event` says PAUSED until `send` or
    `accept` was called, however much has arrived. What the tables of states, the limits and the offer do not allow is
    answered here.

    Args:
        offer: what clients may do.
        limits: what a client may send.
        trace: called with each line of the session, secrets replaced.
        accepts: which of MAIL, RCPT and DATA nobody else has to agree to: where they are allowed they are accepted
            here, and no event tells of them; see `envelope`.

    Raises:
        LocalProtocolError: `accepts` holds another command.

    RFC 5321, RFC 2033, RFC 2920, RFC 3030, RFC 3207, RFC 4954
    """

    def __init__(
        self,
        *,
        offer: ServerOffer | None = None,
        limits: ServerLimits | None = None,
        trace: Trace | None = None,
        accepts: frozenset[type[Command]] = frozenset(),
    ) -> None:
        if not accepts <= _UNASKED.keys():
            raise LocalProtocolError("only MAIL, RCPT and DATA can be accepted unasked")
        self.trace = trace
        self._accepts = accepts
        self._offer = offer or ServerOffer()
        self._limits = limits or ServerLimits()
        self._longest_line = max(self._limits.command_line, self._limits.authentication_line)
        self._encrypted = self._offer.encrypted
        self._authenticated = False
        self._data = b""  # the last segment, behind what the one before left unread
        self._start = 0  # of what is unread
        self._output: list[bytes] = []
        self._state = ServerState.GREETING
        self._handled: Command | None = None  # waits for its reply
        self._replies_due = 1  # to the content; in LMTP one for each recipient
        self._envelope: list[Mail | Rcpt] = []  # what was accepted in the transaction that is open
        self._unstuffer = DotUnstuffer()
        self._normalizer = NewlineNormalizer()
        self._content_octets = 0
        self._refusal: Reply | None = None  # of the content that is being read
        self._chunk: Bdat | None = None
        self._chunk_left = 0
        self._chunk_rejection: Reply | None = None  # of a BDAT whose octets have to be read all the same
        self._mechanism: ServerMechanism | None = None
        self._skipping = False  # the rest of a line that was too long
        self._commands = 0
        self._errors = 0
        self._at_eof = False

    def __repr__(self) -> str:
        handled = self._handled.verb if self._handled else "nothing"
        return f"<smtp.ServerProtocol {self._state.value}, {handled} in hand, {len(self._data) - self._start} unread>"

    @property
    def state(self) -> ServerState:
        """Where the session stands, by the replies sent so far."""
        return self._state

    @property
    def in_flight(self) -> tuple[Command, ...]:
        """The command that waits for its reply, if there is one."""
        return () if self._handled is None else (self._handled,)

    @property
    def awaiting(self) -> Awaiting:
        """What the client is to send next."""
        if self._handled is not None:
            return Awaiting.NOTHING
        if self._chunk is not None or self._state is _CONTENT:
            return Awaiting.CONTENT
        return Awaiting.COMMAND if self._state in SERVER_RECEIVES else Awaiting.NOTHING

    @property
    def replies_due(self) -> int:
        """How many replies the content in hand waits for: in LMTP one for each recipient."""
        return self._replies_due if isinstance(self._handled, EndOfContent) else 0

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL was accepted and the content not yet answered."""
        return bool(self._envelope)

    @property
    def envelope(self) -> Sequence[Mail | Rcpt]:
        """MAIL and then each RCPT that was accepted in the transaction that is open."""
        return self._envelope

    @property
    def content_octets(self) -> int:
        """Octets of the content that is being read."""
        return self._content_octets

    @property
    def encrypted(self) -> bool:
        """Whether the session is protected by TLS."""
        return self._encrypted

    # --- input

    def receive_data(self, data: bytes) -> None:
        """Store octets that came from the client."""
        # Mostly to nothing: all that can be read of a segment is, unless a command waits for its answer.
        self._data = self._data[self._start :] + data if self._data else data
        self._start = 0

    def receive_eof(self) -> None:
        """Note that no more will come."""
        self._at_eof = True

    def next_event(self) -> ServerEvent | Signal:
        """Return what the client did next, as far as it can be told: one event, of one command. Raises nothing."""
        if self._handled is not None:
            return _PAUSED
        if self._chunk is not None:
            return self._read_chunk(self._chunk)
        if self._state is _CONTENT:
            return self._read_content()
        return self._read_lines() if self._state in SERVER_RECEIVES else _PAUSED

    def _needs_data(self) -> ServerEvent | Signal:
        self._data, self._start = self._data[self._start :], 0
        return ConnectionEnded() if self._at_eof else _NEED_DATA

    def _read_lines(self) -> ServerEvent | Signal:
        """Read commands up to one of which an event tells."""
        data = self._data
        longest = self._limits.command_line
        event = None
        while event is None:
            start = self._start
            if start == len(data):
                return self._needs_data()
            end = data.find(b"\n", start) + 1
            if not end or end - start > longest or self._skipping:
                event = self._read_odd_line(end)
            else:
                self._start = end
                event = self._take_line(data[start:end])
        return event

    def _read_odd_line(self, end: int) -> ServerEvent | Signal | None:
        """Read what is not a whole line of usual length; `end` is 0 if there is none."""
        data, start = self._data, self._start
        size = (end or len(data)) - start
        if self._skipping:
            self._skipping = not end
            self._start += size
            return None if end else self._needs_data()
        if size > self._longest_line:
            self._skipping = True
            return self._reject_line(f"<a line of more than {self._longest_line} octets>", LINE_TOO_LONG)
        if not end:
            return self._needs_data()
        self._start = end
        line = data[start:end]
        # An initial response makes AUTH longer than other commands (RFC 4954 §4).
        if self._state is _AUTHENTICATING or line[:5].upper() == b"AUTH ":
            return self._take_line(line)
        return self._reject_line(f"<a line of {size} octets>", LINE_TOO_LONG)

    def _take_line(self, line: bytes) -> ServerEvent | Signal | None:
        """Take a command; return None if no event tells of it, and another may follow."""
        state = self._state
        command = plain_command(line)
        if command is None or state is _AUTHENTICATING:
            if not line.endswith(b"\r\n"):
                return self._reject_line(f"<a line of {len(line)} octets>", BARE_NEWLINE_IN_COMMAND)
            try:
                command = parse_command(line[:-2]) if state is not _AUTHENTICATING else _parse_response(line)
            except (ValueError, MailError) as error:
                return self._reject_line(*fault(line, error))
        if self.trace is not None:
            self.trace(Direction.RECEIVED, str(command))
        self._commands += 1
        if self._commands > self._limits.commands:
            return self._reject(str(command), TOO_MANY_COMMANDS)
        kind = type(command)
        if kind not in SERVER_RECEIVES[state]:
            refusal: Reply | None = self._out_of_sequence(command)
        else:
            refuse = _REFUSE.get(kind)
            refusal = None if refuse is None else refuse(self, command)
        if refusal is None and kind in self._accepts:
            return self._accept_unasked(command)
        if isinstance(command, Bdat):
            return self._begin_chunk(command, refusal)
        if refusal is not None:
            return self._reject(str(command), refusal)
        self._handled = command
        if kind is Noop:
            self.accept()
            return CommandAnswered(command)
        if isinstance(command, _AUTHENTICATION):
            return self._authenticate(command)
        return CommandReceived(command)

    def _accept_unasked(self, command: Command) -> ServerEvent | Signal | None:
        reply, octets, self._state = _UNASKED[type(command)]
        self._output.append(octets)
        if self.trace is not None:
            self._trace_reply(reply)
        if isinstance(command, _ENVELOPE):
            self._envelope.append(command)
            return None
        return self._read_content()

    def _refuse_hello(self, command: Ehlo | Helo | Lhlo) -> Reply | None:
        if isinstance(command, Lhlo) is self._offer.lmtp:
            return None
        return Reply(500, f"This is {'LMTP: use LHLO' if self._offer.lmtp else 'SMTP: use EHLO'}", "5.5.1")

    def _refuse_mail(self, command: Mail) -> Reply | None:
        offer = self._offer
        if offer.require_tls and not self._encrypted:
            return Reply(530, "Use STARTTLS first", "5.7.0")
        if offer.require_authentication and not self._authenticated:
            return Reply(530, "Authentication is required", "5.7.0")
        if command.size is not None and command.size > self._limits.message_size:
            return Reply(552, f"At most {self._limits.message_size} octets are accepted", "5.3.4")
        if command.parameters and (refusal := self._unknown_parameter(command)) is not None:
            return refusal
        if command.body is _BINARY_MIME:
            return Reply(555, "BODY=BINARYMIME is not offered", "5.5.4")
        return None

    def _refuse_rcpt(self, command: Rcpt) -> Reply | None:
        if len(self._envelope) > self._limits.recipients:
            return TOO_MANY_RECIPIENTS
        if command.parameters and (refusal := self._unknown_parameter(command)) is not None:
            return refusal
        if not command.recipient.isascii() and not cast("Mail", self._envelope[0]).smtputf8:
            return NEEDS_SMTPUTF8
        return None

    def _refuse_starttls(self, _: Starttls) -> Reply | None:
        if self._encrypted:
            return Reply(503, "TLS is active already", OUT_OF_SEQUENCE)
        return None if self._offer.starttls else Reply(502, "TLS is not available", "5.5.1")

    def _refuse_auth(self, command: Auth) -> Reply | None:
        offer = self._offer
        if self._authenticated:
            return Reply(503, "Already authenticated", OUT_OF_SEQUENCE)
        if not offer.authentication:
            return Reply(502, "Authentication is not available", "5.5.1")
        if command.mechanism in offer.mechanisms_for(encrypted=self._encrypted):
            return None
        if not self._encrypted and command.mechanism in offer.mechanisms_for(encrypted=True):
            return Reply(538, "This mechanism needs TLS", "5.7.11")
        return Reply(504, "The mechanism is not offered", "5.5.4")

    def _unknown_parameter(self, command: Mail | Rcpt) -> Reply | None:
        for parameter in command.parameters:
            if not self._offer.allows(command.verb, parameter):
                return Reply(555, f"Parameter not known here: {parameter}", "5.5.4")
        return None

    def _out_of_sequence(self, command: Command) -> Reply:
        if isinstance(command, _HELLOS) and (refusal := self._refuse_hello(command)) is not None:
            return refusal
        match self._state, command:
            case ServerState.REFUSED, _:
                text = "No mail is taken from you: use QUIT"
            case ServerState.HELLO, _:
                text = f"Say {'LHLO' if self._offer.lmtp else 'EHLO'} first"
            case ServerState.CHUNKS, Rcpt() | Data():
                text = "A chunk has come: use BDAT or RSET"
            case _, Mail():
                text = "A transaction is under way: use RSET"
            case _, Rcpt():
                return NO_SENDER
            case _, Data() | Bdat():
                return NO_RECIPIENTS
            case _:
                text = "Not in this state of the session"
        return Reply(503, text, OUT_OF_SEQUENCE)

    def _authenticate(self, command: Auth | AuthResponse) -> ServerEvent:
        try:
            if isinstance(command, Auth):
                mechanisms = self._offer.mechanisms_for(encrypted=self._encrypted)
                self._mechanism = mechanisms[command.mechanism](make_timestamp(self._offer.hostname))
                step = self._mechanism.start(command.initial_response)
            elif command.response is None:
                return self._reject("*", Reply(501, "Authentication was given up", "5.7.0"))
            else:
                assert self._mechanism is not None  # it sent the challenge
                step = self._mechanism.respond(command.response)
        except AuthenticationError as error:
            return self._reject(str(command), Reply(501, printable(error.problem), "5.5.2"))
        if isinstance(step, Attempt):
            return AuthenticationReceived(step)
        assert isinstance(step, Challenge)
        self.send(Reply(334, encode_base64(step.data).decode("ascii")))
        return CommandAnswered(command)

    def _reject_line(self, line: str, reply: Reply) -> CommandRejected:
        if self.trace is not None:
            self.trace(Direction.RECEIVED, line)
        return self._reject(line, reply)

    def _reject(self, line: str, reply: Reply) -> CommandRejected:
        """Answer what cannot be handled; enough of it ends the session."""
        if reply not in CONSEQUENCES:
            self._errors += 1
        if self._errors > self._limits.errors:
            reply = TOO_MANY_ERRORS
        if self._state is ServerState.AUTHENTICATION:
            self._state = ServerState.READY
        self._answer(reply)
        return CommandRejected(line, reply)

    def _close(self, state: ServerState) -> None:
        """Read nothing more."""
        self._handled = self._chunk = None
        self._state = state

    # --- content

    def _read_content(self) -> ServerEvent | Signal:
        unstuffer = self._unstuffer
        while not unstuffer.finished:
            if self._start == len(self._data):
                return self._needs_data()
            data, self._start = unstuffer.take(self._data, self._start)
            if data:
                if (event := self._take_content(data)) is not None:
                    return event
            elif not unstuffer.finished:
                return self._needs_data()
        self._unstuffer = DotUnstuffer()
        return self._end_content()

    def _take_content(self, data: bytes) -> ContentReceived | None:
        self._content_octets += len(data)
        if self._content_octets > self._limits.message_size:
            self._refusal = Reply(552, f"At most {self._limits.message_size} octets are accepted", "5.3.4")
        data = self._normalizer.feed(data)
        if self._normalizer.repaired and self._offer.bare_newlines is BareNewlines.REJECT:
            self._refusal = self._refusal or BARE_NEWLINE
        return ContentReceived(data) if data and self._refusal is None else None

    def _end_content(self, *, one_reply: bool = False) -> ContentEnded:
        if self.trace is not None:
            self.trace(Direction.RECEIVED, f"<{self._content_octets} octets of content>")
        self._normalizer = NewlineNormalizer()
        self._content_octets = 0
        self._replies_due = len(self._envelope) - 1 if self._offer.lmtp and not one_reply else 1
        self._handled = _END_OF_CONTENT
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            return _CONTENT_ENDED
        while self.replies_due:
            self.send(refusal)
        return ContentEnded(refusal)

    def _begin_chunk(self, command: Bdat, rejection: Reply | None) -> ServerEvent | Signal:
        self._chunk = command
        self._chunk_left = command.size
        # RFC 3030 §2: the octets follow whatever the answer is going to be.
        self._chunk_rejection = rejection
        if rejection is None:
            self._state = ServerState.CHUNK
        return self._read_chunk(command)

    def _read_chunk(self, command: Bdat) -> ServerEvent | Signal:
        while self._chunk_left:
            data = self._data[self._start : self._start + self._chunk_left]
            if not data:
                return self._needs_data()
            self._start += len(data)
            self._chunk_left -= len(data)
            if self._chunk_rejection is None and (event := self._take_content(data)) is not None:
                return event
        rejection = self._chunk_rejection
        if rejection is not None:
            self._chunk = None
            return self._reject(str(command), rejection)
        if command.last and (rest := self._normalizer.finish()):
            # A CR at the very end of the content, held back until it was known that no LF follows.
            if self._offer.bare_newlines is BareNewlines.REJECT:
                self._refusal = self._refusal or BARE_NEWLINE
            elif self._refusal is None:
                return ContentReceived(rest)
        self._chunk = None
        if self._refusal is None and not command.last:
            self._state = ServerState.CHUNKS
            self._write(CHUNK_ACCEPTED)
            return CommandAnswered(command)
        return self._end_content(one_reply=not command.last)

    # --- output

    def send(self, reply: Reply) -> None:
        """Answer the command or content in hand, or greet.

        A positive or intermediate reply moves the session on, a negative one leaves it where it was; 421 ends it.
        Behind a negative greeting the client may only say QUIT. When too many attempts to log in have failed, 421 is
        sent instead of `reply`.

        Raises:
            LocalProtocolError: nothing waits for a reply, or not for one of this class.
        """
        if self._state is ServerState.GREETING:
            self._greet(reply)
            return
        handled = self._handled
        if handled is None:
            raise LocalProtocolError(f"nothing waits for the reply {reply}")
        if reply.code >= 400:
            if isinstance(handled, _AUTHENTICATION):
                self._errors += 1
                if self._errors > self._limits.errors:
                    reply = TOO_MANY_ERRORS
        elif (type(handled), _class_of(reply)) not in SERVER_ANSWERS:
            raise LocalProtocolError(f"{handled.verb} cannot be answered {reply}")
        self._answer(reply)

    def _greet(self, reply: Reply) -> None:
        if reply.is_intermediate:
            raise LocalProtocolError(f"{reply} is no greeting")
        if reply.is_positive:
            self._state = ServerState.HELLO
        else:
            self._state = ServerState.CLOSED if reply.code == 421 else ServerState.REFUSED
        self._write(reply)

    def accept(self) -> None:
        """Answer yes to the command or content in hand, with the usual reply.

        Raises:
            LocalProtocolError: nothing waits for a reply.
        """
        handled = self._handled
        if handled is None:
            raise LocalProtocolError("nothing waits for a reply")
        while self._replies_due > 1 and isinstance(handled, EndOfContent):  # in LMTP
            self._answer(ACCEPTED[EndOfContent])
        self._accept(handled)

    def _accept(self, command: Command) -> None:
        kind = type(command)
        usual = _USUAL.get(kind)
        if usual is None:
            reply = self._answer_to_hello(kind)
            usual = reply, reply.encode(), ServerState.READY
        reply, octets, state = usual
        self._output.append(octets)
        if self.trace is not None:
            self._trace_reply(reply)
        self._go_on(command, state)

    def _answer_to_hello(self, kind: type[Command]) -> Reply:
        if kind is Helo:
            return Reply(250, self._offer.hostname)
        return self._offer.answer_to_ehlo(
            encrypted=self._encrypted,
            authenticated=self._authenticated,
            message_size=self._limits.message_size,
        )

    def _answer(self, reply: Reply) -> None:
        self._write(reply)
        handled = self._handled
        if reply.code == 421:
            self._close(ServerState.CLOSED)
            return
        if handled is None:
            return
        kind = type(handled)
        if kind is EndOfContent:
            self._replies_due -= 1
            if self._replies_due > 0:
                return
        self._go_on(handled, SERVER_ANSWERS.get((kind, _class_of(reply))), accepted=reply.code < 300)

    def _go_on(self, command: Command, state: ServerState | None, *, accepted: bool = True) -> None:
        """Move on, to `state`, behind a command that was answered."""
        self._handled = None
        # RSET needs no EHLO, and does not stand for it (RFC 5321 §4.1.4).
        if state is None or (self._state is _HELLO and isinstance(command, Rset)):
            return
        self._state = state
        if isinstance(command, _ENVELOPE):
            self._envelope.append(command)
        elif isinstance(command, _END_TRANSACTION):
            if accepted and isinstance(command, EndOfContent):
                self._errors = 0
            self._envelope = []
            self._forget_content()
        elif accepted and isinstance(command, _AUTHENTICATION):
            self._authenticated = True

    def _forget_content(self) -> None:
        if self._content_octets:
            self._content_octets = 0
            self._normalizer = NewlineNormalizer()

    def _write(self, reply: Reply) -> None:
        self._output.append(reply.encode())
        if self.trace is not None:
            self._trace_reply(reply)

    def _trace_reply(self, reply: Reply) -> None:
        assert self.trace is not None
        for line in transcribe(reply):
            self.trace(Direction.SENT, line)

    def shut_down(self, reply: Reply) -> None:
        """End the session now, with 421 and whatever was in hand unanswered (RFC 5321 §3.8).

        Nothing is sent if the session has ended, or where TLS is due.
        """
        if self._state not in (ServerState.CLOSED, ServerState.ERROR, ServerState.HANDSHAKE):
            self._write(reply)
        self._close(ServerState.CLOSED)

    def data_to_send(self) -> list[bytes]:
        """Return what is to be written, and forget it."""
        output, self._output = self._output, []
        return output

    def send_failed(self) -> None:
        """Note that octets were lost on their way out: the session is over."""
        self._close(ServerState.ERROR)

    def start_tls(self) -> None:
        """Note that TLS starts now; all that the client said before is forgotten (RFC 3207 §4.2).

        Raises:
            LocalProtocolError: STARTTLS was not accepted just before.
            PlaintextAfterStartTLS: octets had arrived that the handshake does not protect.
        """
        if self._state is not ServerState.HANDSHAKE:
            raise LocalProtocolError(f"TLS cannot start in the state {self._state.value!r}")
        unread = len(self._data) - self._start
        if unread:
            self._state = ServerState.ERROR
            raise PlaintextAfterStartTLS(f"{unread} octets arrived between STARTTLS and TLS")
        self._state = ServerState.HELLO
        self._encrypted = True
        self._authenticated = False


# Why commands that the state allows are refused all the same: by offer or limits.
_REFUSE: dict[type[Command], Callable[[ServerProtocol, Any], Reply | None]] = {
    Ehlo: ServerProtocol._refuse_hello,
    Helo: ServerProtocol._refuse_hello,
    Lhlo: ServerProtocol._refuse_hello,
    Mail: ServerProtocol._refuse_mail,
    Rcpt: ServerProtocol._refuse_rcpt,
    Starttls: ServerProtocol._refuse_starttls,
    Auth: ServerProtocol._refuse_auth,
}


def _parse_response(line: bytes) -> AuthResponse:
    return AuthResponse.parse(line[:-2].decode("latin-1"))
