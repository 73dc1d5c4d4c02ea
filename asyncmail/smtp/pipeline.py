"""Many transactions through one session, as many at a time as the server allows, each with its own true outcome.

With PIPELINING, the content of one message and the envelope of the next leave in one write; with CHUNKING too, whole
transactions follow each other without waiting (RFC 2920 §3.1, RFC 3030). Without either, commands go one by one.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Generic, TypeVar

from ..address import check_forward_path, check_reverse_path
from ..errors import LocalProtocolError, MailError, Stage
from ..wire import normalize_newlines
from .commands import Bdat, Command, Data, Mail, Rcpt, Rset
from .events import ReplyReceived, UnsolicitedReply
from .outcome import Outcome, RecipientOutcome, Status
from .parameters import BodyType
from .splitting import takes_no_more
from .states import ClientState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .client import ClientProtocol
    from .events import ClientEvent
    from .replies import Reply

__all__ = ["Pipeline", "Transaction"]

_DATA = Data()
_RSET = Rset()
_ACCEPTED = Status.ACCEPTED
_CONTENT = Stage.CONTENT
# Two thirds of the time of calling the class.
_recipient_outcome: Callable[[tuple[str, Status, Reply | None, Stage]], RecipientOutcome] = partial(
    tuple.__new__, RecipientOutcome
)

# Recipients of the unanswered beyond which no transaction is begun, and commands of one transaction that may wait for
# their answers: the answers to more could fill the server's buffers while the client still writes, and both would wait
# for each other (RFC 2920 §3.1).
_MAX_IN_FLIGHT = 500


class Transaction:
    """One message on its way through a session; `Pipeline` fills in what became of it.

    Args:
        sender: the reverse-path.
        recipients: the forward-paths, at least one.
        content: octets; bare newlines are made CRLF.
        eight_bit: ask for BODY=8BITMIME.
        smtputf8: ask for SMTPUTF8.
        is_checked: the addresses are known to be paths, and the content to have no bare newlines.
        tag: comes back in the outcome.
        index: comes back in the outcome.

    Raises:
        AddressSyntaxError: an address cannot be sent.
        LocalProtocolError: there is no recipient.
    """

    __slots__ = (
        "_answers",
        "_commands",
        "_due",
        "_end",
        "_is_plain",
        "_mail_at",
        "_next",
        "_pipelined",
        "_rcpts",
        "content",
        "eight_bit",
        "index",
        "recipients",
        "sender",
        "smtputf8",
        "tag",
    )

    def __init__(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        *,
        eight_bit: bool = False,
        smtputf8: bool = False,
        is_checked: bool = False,
        tag: str = "",
        index: int | None = None,
    ) -> None:
        if not recipients:
            raise LocalProtocolError("a transaction has at least one recipient")
        if not is_checked:
            check_reverse_path(sender, smtputf8=smtputf8)
            for recipient in recipients:
                check_forward_path(recipient, smtputf8=smtputf8)
            content = normalize_newlines(content)
        self._rcpts = list(map(Rcpt.for_path, recipients))
        self.sender: str = sender
        self.recipients: Sequence[str] = recipients
        self.content: bytes = content
        self.eight_bit: bool = eight_bit
        self.smtputf8: bool = smtputf8
        self.tag: str = tag
        self.index: int | None = index
        self._answers: list[Reply] = []
        self._mail_at = 0

    def __repr__(self) -> str:
        return f"<Transaction of {len(self.content)} octets for {len(self.recipients)}>"

    def narrow(self, recipients: Sequence[str]) -> None:
        """Let what is sent next be for these recipients, which must be some of its own.

        Raises:
            AddressSyntaxError: one is not even an address.
        """
        for recipient in recipients:
            check_forward_path(recipient, smtputf8=True)
        self._rcpts = list(map(Rcpt.for_path, recipients))
        self.recipients = recipients
        self._answers = []  # those of an earlier attempt were to others

    def _start(self, commands: list[Command], mail_at: int, pipelined: bool) -> None:
        self._commands = commands  # EndOfContent is added when it is sent
        self._answers = []  # to the commands, one each; in LMTP, more to the content
        self._mail_at = mail_at  # index of MAIL, behind which the RCPTs follow
        self._pipelined = pipelined  # behind another one that was not answered yet
        self._is_plain = True  # nothing was refused, and one answer to the content is for all
        self._next = 0  # index of the command to send next
        self._due = 0  # answers, to all that was sent
        self._end = 0  # octets of the session up to and with the end of its content; 0 before that was sent

    @property
    def _content_at(self) -> int:
        """Index of the answer to what ends the content."""
        return len(self._commands) - (type(self._commands[-1]) is Bdat)

    @property
    def _mail_reply(self) -> Reply | None:
        return self._answers[self._mail_at] if len(self._answers) > self._mail_at else None

    @property
    def _rcpt_replies(self) -> list[Reply]:
        return self._answers[self._mail_at + 1 : self._mail_at + 1 + len(self._rcpts)]

    @property
    def _accepted(self) -> int:
        """How many recipients were accepted so far."""
        return sum([reply.code < 300 for reply in self._rcpt_replies])

    @property
    def _content_refusal(self) -> Reply | None:
        """The answer to DATA, if that was not 354."""
        answers = self._answers[self._mail_at + 1 + len(self._rcpts) : self._content_at]
        return answers[0] if answers and not answers[0].is_intermediate else None

    @property
    def _content_replies(self) -> list[Reply]:
        return self._answers[self._content_at :]

    @property
    def _came_too_early(self) -> bool:
        """Whether the server could not follow, and took nothing of it: it is to be sent again on its own."""
        return self._pipelined and self._mail_reply is not None and self._mail_reply.code == 503

    @property
    def _was_cut_off(self) -> bool:
        """Whether the server ended the session where it would have taken it: elsewhere it may be welcome."""
        mail = self._mail_reply
        if mail is not None and mail.code >= 300:
            was_reset_in_vain = self._mail_at > 0 and self._answers[0].code >= 400
            return mail.code == 421 or was_reset_in_vain
        if self._accepted:
            refusal = self._content_refusal
            return refusal is not None and refusal.code == 421
        return any(reply.code == 421 for reply in self._rcpt_replies)

    @property
    def _is_refused(self) -> bool:
        """Whether nothing of it was taken, whatever is still to be answered."""
        if self._is_plain:
            return False
        if self._mail_reply is not None and self._mail_reply.code >= 300:
            return True
        return self._content_refusal is not None or (
            len(self._rcpt_replies) == len(self._rcpts) and not self._accepted
        )

    def failed(
        self, error: MailError, status: Status = Status.DEFERRED, stage: Stage = Stage.SENDER
    ) -> Outcome:
        """The outcome if the message never got as far as the server's answer: who was refused is, the others are so."""
        mail = self._mail_reply
        replies = iter(self._rcpt_replies if mail is not None and mail.code < 300 else ())
        recipients = []
        for address in self.recipients:
            reply = next(replies, None)
            if reply is None or reply.code < 300 or reply.code == 421:
                recipients.append(RecipientOutcome(address, status, None, stage))
            else:
                recipients.append(_refusal(address, reply))
        return Outcome(
            sender=self.sender, recipients=tuple(recipients), error=error, index=self.index, tag=self.tag
        )

    def _outcome(self, error: MailError | None = None, unanswered: Status = Status.UNKNOWN) -> Outcome:
        """The outcome by the answers that came; `error` stands for those that will not come any more."""
        if self._is_plain and error is None:
            final_reply = self._answers[-1]
            accepted = [
                _recipient_outcome((address, _ACCEPTED, final_reply, _CONTENT)) for address in self.recipients
            ]
            return Outcome(sender=self.sender, recipients=tuple(accepted), index=self.index, tag=self.tag)
        mail = self._mail_reply
        if mail is not None and mail.code >= 300:
            status = _status(mail)
            decided = [RecipientOutcome(address, status, mail, Stage.SENDER) for address in self.recipients]
        else:
            decided = []
            # One answer stands for all who were accepted, but in LMTP.
            final: Iterator[Reply | None] = iter(self._content_replies)
            refusal = self._content_refusal
            answer = next(final, refusal)
            is_answered = len(self._answers) == self._due
            replies = iter(self._rcpt_replies)
            for address in self.recipients:
                reply = next(replies, None)
                if reply is not None and reply.code >= 300:
                    decided.append(_refusal(address, reply))
                    continue
                status = unanswered if answer is None else _status(answer)
                decided.append(RecipientOutcome(address, status, answer, Stage.CONTENT))
                answer = next(final, answer if is_answered else refusal)
        if all(each.reply is not None for each in decided):
            error = None
        return Outcome(
            sender=self.sender, recipients=tuple(decided), error=error, index=self.index, tag=self.tag
        )


@lru_cache(maxsize=256, typed=True)  # many messages have few senders, and about as many octets
def _mail(sender: str, size: int | None, eight_bit: bool, smtputf8: bool) -> Mail:
    body = BodyType.EIGHT_BIT_MIME if eight_bit else None
    return Mail(sender=sender, size=size, body=body, smtputf8=smtputf8)


def _status(reply: Reply) -> Status:
    if reply.code < 300:
        return Status.ACCEPTED
    return Status.DEFERRED if reply.code < 500 else Status.REFUSED


def _refusal(address: str, reply: Reply) -> RecipientOutcome:
    status = Status.DEFERRED if takes_no_more(reply) else _status(reply)
    return RecipientOutcome(address, status, reply, Stage.RECIPIENT)


TransactionT = TypeVar("TransactionT", bound=Transaction)


class Pipeline(Generic[TransactionT]):
    """Drives one `ClientProtocol` with transactions.

    Call `submit`, then `advance`, and write `protocol.data_to_send()`; hand the events that come to `handle`, then
    `advance` again. Who has a queue already calls `begin` where there `has_room`; who wants to be quick asks
    `protocol.next_replies()` first and hands those to `take`. `outcomes` collects what is decided; `unsent` what has to
    be sent again, on this session or another, because it failed for no reason of its own. When the session ends,
    `abandon` decides the rest.

    Args:
        protocol: greeted, and in a state in which MAIL is legal.
        window: transactions that may be without answer at the same time.
        window_octets: content that may be without answer at the same time, in octets.
        chunking: use BDAT where the server offers it.
        piece_octets: content that is added to the output at a time behind DATA, in octets; what is left follows with
            the next calls of `advance`, to be made when the output has been written.
        refusals: transactions without an accepted recipient after which the server may drop the session: so many at
            most are without answer, as each could be one, and none is begun once there have been so many.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        *,
        window: int = 64,
        window_octets: int = 1_048_576,
        chunking: bool = True,
        piece_octets: int = 1_048_576,
        refusals: int | None = None,
    ) -> None:
        self.outcomes: list[tuple[TransactionT, Outcome]] = []
        self.unsent: list[TransactionT] = []
        self.is_closing: bool = False
        """The server ended the session, or is about to: submit nothing more."""
        self.goodbye: Reply | None = None
        """How the server said so: 421 to anything, or no to RSET, which cannot be refused in itself."""
        self.complaint: Reply | None = None
        """The last reply that was throttling; for drivers, who may forget it."""
        self._protocol = protocol
        extensions = protocol.extensions
        self._offers_size = "SIZE" in extensions
        self._chunking = chunking and "CHUNKING" in extensions
        self.window: int = window
        """The argument; it may be changed at any time."""
        self._most: float = math.inf if refusals is None else refusals  # without answer, for other reasons
        self._refusals_left = refusals
        self._window_octets = window_octets
        self._piece_octets = piece_octets
        self._content_left = 0  # octets of content that has been begun
        self._queue: deque[TransactionT] = deque()
        self._unanswered: deque[TransactionT] = deque()  # begun, oldest first
        self._octets = 0  # content of the unanswered
        self._recipients = 0  # of the unanswered
        self._last: Reply | None = None
        self._writing: TransactionT | None = None
        self._cautious = False  # the server could not follow: one transaction at a time, RSET before each

    def __repr__(self) -> str:
        return f"<Pipeline {len(self._queue)} waiting, {len(self._unanswered)} unanswered>"

    def __len__(self) -> int:
        """Transactions submitted and not decided."""
        return len(self._queue) + len(self._unanswered)

    @property
    def has_room(self) -> bool:
        """Whether a transaction can be begun now, without waiting for any answer."""
        return (
            self._writing is None
            and not self._queue
            and not self.is_closing
            and self._fits
            and self._protocol.can_send
        )

    @property
    def _fits(self) -> bool:
        unanswered = self._unanswered
        return not unanswered or (
            len(unanswered) < self.window
            and len(unanswered) < self._most
            and self._octets < self._window_octets
            and self._recipients < _MAX_IN_FLIGHT
        )

    def submit(self, transaction: TransactionT) -> None:
        """Add a transaction behind those already there."""
        self._queue.append(transaction)

    # --- sending

    def advance(self) -> None:
        """Add to the protocol's output whatever may be sent now."""
        protocol = self._protocol
        if self._content_left and protocol.state is ClientState.CONTENT and not self.is_closing:
            assert self._writing is not None
            self._write_piece(self._writing)
        while self._writing is not None or (self._queue and self._fits):
            if self.is_closing or not protocol.can_send:
                return
            if self._writing is None:
                self.begin(self._queue.popleft())
            else:
                self._continue(self._writing)
            if self._writing is not None:  # what is left has to wait for answers
                return

    def begin(self, transaction: TransactionT) -> None:
        """Add a transaction, and to the protocol's output what may be sent of it; there has to be room: `has_room`."""
        protocol = self._protocol
        unanswered = self._unanswered
        octets = len(transaction.content)
        size = octets if self._offers_size else None
        commands: list[Command] = [
            _mail(transaction.sender, size, transaction.eight_bit, transaction.smtputf8),
            *transaction._rcpts,
            Bdat(size=octets, last=True) if self._chunking else _DATA,
        ]
        # Where BDAT is refused for want of recipients, some servers keep the transaction, and the next message would
        # travel under its sender.
        resets = (
            (self._chunking and bool(unanswered)) or self._cautious or protocol.state is not ClientState.READY
        )
        if resets:
            commands.insert(0, _RSET)
        transaction._start(commands, int(resets), bool(unanswered))
        unanswered.append(transaction)
        self._octets += octets
        self._recipients += len(transaction.recipients)
        self._writing = transaction
        self._send(transaction, commands, _MAX_IN_FLIGHT)

    def _continue(self, transaction: TransactionT) -> None:
        """Send more of the transaction that is being written, or nothing if it is refused by now."""
        commands = transaction._commands[transaction._next :]
        if not commands:
            return
        if transaction._is_refused:
            self._writing = None
            if len(transaction._answers) == transaction._due:
                self._decide(transaction)
            return
        most = _MAX_IN_FLIGHT + len(transaction._answers) - transaction._due
        if most > 0:
            self._send(transaction, commands, most)

    def _send(self, transaction: TransactionT, commands: list[Command], most: int) -> None:
        """Send so many of these commands at most, which are those of the transaction that have not been sent."""
        protocol = self._protocol
        if not protocol.extensions.pipelining:
            most = 1
        # Whether there is anybody to send the content to is known only now, or, in a group, afterwards.
        group = commands if len(commands) <= most else commands[:most]
        protocol.send(*group)
        transaction._next += len(group)
        transaction._due += len(group)
        if self._chunking and group is commands:
            if transaction.content:
                protocol.send_content(transaction.content)
            self._content_written(transaction)

    def _content_written(self, transaction: TransactionT) -> None:
        transaction._end = self._protocol.octets_sent
        self._writing = None

    # --- answers

    def handle(self, events: Iterable[ClientEvent]) -> ClientEvent | None:
        """Take the answers to commands that were sent, up to the first event that is something else.

        Returns:
            That event, after which the session has ended.
        """
        unanswered = self._unanswered
        for event in events:
            if type(event) is not ReplyReceived:
                if type(event) is UnsolicitedReply and event.reply.code == 421:
                    self._note_refusal(event.reply, is_goodbye=True)
                return event
            command, reply, recipient = event
            transaction = unanswered[0]
            answers = transaction._answers
            answers.append(reply)
            if reply.code >= 300:
                self._take_exception(transaction, command, reply)
            if recipient is not None:
                transaction._is_plain = False
                if len(answers) == transaction._content_at + 1:
                    transaction._due += transaction._accepted - 1
            if len(answers) == transaction._due and transaction is not self._writing:
                self._decide(transaction)
            self._last = reply
        return None

    def take(self, replies: Sequence[Reply]) -> None:
        """Take what `ClientProtocol.next_replies` returned, as `handle` takes events."""
        begin, count = 0, len(replies)
        while True:
            transaction = self._unanswered[0]
            answers = transaction._answers
            end = begin + transaction._due - len(answers)
            answers += replies[begin:end]
            if end <= count and transaction is not self._writing:
                self._decide(transaction)
            if end >= count:
                break
            begin = end
        self._last = reply = replies[-1]
        if reply.code >= 300:
            self._write_content(transaction)

    def _take_exception(self, transaction: TransactionT, command: Command, reply: Reply) -> None:
        """Take what is no plain yes."""
        if reply.code < 400:
            self._write_content(transaction)
            return
        transaction._is_plain = False
        self._note_refusal(reply, is_goodbye=reply.code == 421 or type(command) is Rset)
        if type(command) is Data:
            self._writing = None

    def _note_refusal(self, reply: Reply, *, is_goodbye: bool) -> None:
        """Note what a refusal says of the session."""
        if is_goodbye:
            self.is_closing = True
            self.goodbye = reply
        if reply.is_throttling:
            self.complaint = reply

    def _write_content(self, transaction: TransactionT) -> None:
        """Write the content after 354, or begin to; with nobody accepted, a lone dot (RFC 2920 §3.1)."""
        protocol = self._protocol
        state = protocol.state
        if state is not ClientState.CONTENT and state is not ClientState.LONE_DOT:
            return
        content = transaction.content if state is ClientState.CONTENT else b""
        transaction._due += 1
        if len(content) > self._piece_octets:
            self._content_left = len(content)
            self._write_piece(transaction)
        else:
            protocol.send_whole_content(content)
            self._content_written(transaction)

    def _write_piece(self, transaction: TransactionT) -> None:
        protocol = self._protocol
        begin = len(transaction.content) - self._content_left
        piece = transaction.content[begin : begin + self._piece_octets]
        protocol.send_content(piece, is_normalized=True)
        self._content_left -= len(piece)
        if not self._content_left:
            protocol.end_content()
            self._content_written(transaction)
            if len(transaction._answers) == transaction._due:  # refused in the middle
                self._decide(transaction)

    def _decide(self, transaction: TransactionT) -> None:
        self._unanswered.popleft()
        self._octets -= len(transaction.content)
        self._recipients -= len(transaction.recipients)
        if not transaction._is_plain and self._is_to_be_sent_again(transaction):
            return
        self.outcomes.append((transaction, transaction._outcome()))

    def _is_to_be_sent_again(self, transaction: TransactionT) -> bool:
        """Put aside what came to nothing for no reason of its own, and note what a refusal says of the session."""
        if transaction._came_too_early:
            self._cautious = True
            self._most = 1
            self._queue.appendleft(transaction)
            return True
        if self.goodbye is not None and transaction._was_cut_off:
            self.unsent.append(transaction)
            return True
        if self._refusals_left is not None and not transaction._accepted:
            self._refusals_left -= 1
            self._most = min(self._most, self._refusals_left)
            self.is_closing = self.is_closing or not self._refusals_left
        return False

    def abandon(self, error: MailError, *, unsent_octets: int = 0) -> None:
        """Decide what the end of the session leaves undecided.

        Args:
            error: why it ended.
            unsent_octets: how many octets of what `data_to_send` returned, the last ones, certainly did not leave.
        """
        self.is_closing = True
        protocol = self._protocol
        left = protocol.octets_sent - sum(map(len, protocol.data_to_send())) - unsent_octets
        # Behind a goodbye nothing was looked at: the answers come in order (RFC 5321 §3.8).
        said_goodbye = self.goodbye is not None and self._last is self.goodbye
        for transaction in self._unanswered:
            failed_early = said_goodbye or transaction._came_too_early
            if failed_early and not transaction._content_replies:
                self.unsent.append(transaction)
            elif transaction._is_refused or 0 < transaction._end <= left:
                self.outcomes.append((transaction, transaction._outcome(error)))
            elif transaction._content_replies:  # in the middle of the content
                self.outcomes.append((transaction, transaction._outcome(error, Status.DEFERRED)))
            else:
                self.unsent.append(transaction)
        self.unsent += self._queue
        self._unanswered.clear()
        self._queue.clear()
        self._writing = None
        self._octets = self._recipients = self._content_left = 0
