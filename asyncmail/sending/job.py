"""One message that a `Mailer` was given and has not answered for yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AddressSyntaxError, ExtensionRequired, MailError, MessageError, Stage
from ..smtp import Outcome, Split, Status, Transaction
from ..smtp.splitting import MOST_RECIPIENTS, domain_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..message import Prepared
    from ..smtp import Extensions

__all__ = ["Job", "is_about_message", "undelivered"]


class Job(Transaction):
    """A message, who wants to know, and how often it has been tried.

    Args:
        prepared: the message.
        finish: called once: with an outcome, or with the error for which there is none.
        index: position in the input of `send_many`.
    """

    __slots__ = ("_finish", "_split", "attempts", "begun_at", "detours", "is_withdrawn")

    def __init__(
        self, prepared: Prepared, finish: Callable[[Job, Outcome | MailError], None], index: int | None = None
    ) -> None:
        envelope = prepared.envelope
        super().__init__(
            envelope.sender,
            envelope.recipients,
            prepared.octets,
            eight_bit=prepared.needs_8bit,
            smtputf8=prepared.needs_smtputf8,
            is_checked=True,
            tag=prepared.tag,
            index=index,
        )
        self._finish = finish
        self.attempts: int = 0
        self.detours: int = 0  # how often a session ended at it that had been of use
        self.is_withdrawn: bool = False
        self.begun_at: float = 0.0  # when its transaction was; by the clock of the event loop
        self._split: Split | None = None  # of the recipients, where there are several

    def limit(self, extensions: Extensions) -> None:
        """Let the next transaction be for no more recipients, at no more domains, than the server takes at once."""
        recipients = self.recipients
        if self._split is None and len(recipients) == 1:
            return
        most, most_domains = extensions.recipients, extensions.recipient_domains
        if self._split is None:
            if len(recipients) <= (most or MOST_RECIPIENTS) and (
                most_domains is None or len(set(map(domain_of, recipients))) <= most_domains
            ):
                return
            self._split = Split(recipients)
        self.narrow(self._split.next_recipients(most, most_domains))

    def cut_off(self, error: MailError) -> bool:
        """Note how far the server had come with it when the session ended; return whether that is of use."""
        outcome = super().failed(error)
        known = [each for each in outcome.recipients if each.reply is not None]
        if not known or len(outcome.refused) == len(outcome.recipients):
            return False
        if self._split is None:
            self._split = Split(self.recipients)
            self._split.next_recipients()
        return self._split.learn(outcome)

    def add(self, outcome: Outcome) -> bool:
        """Take what became of that transaction; return whether one for others is to follow."""
        if self._split is None:
            if len(outcome.recipients) == 1 or not outcome.deferred:
                self._finish(self, outcome)
                return False
            self._split = Split(self.recipients)
            self._split.next_recipients()
        if self._split.add(outcome):
            self.attempts = 0
            return True
        self._finish(self, self._split.outcome())
        return False

    def finish(self, result: Outcome | MailError) -> None:
        """Tell who wants to know that no transaction will follow."""
        if isinstance(result, MailError) and self._split is not None and self._split.has_begun:
            result = undelivered(self, result)
        self._finish(self, result)

    def failed(
        self, error: MailError, status: Status = Status.DEFERRED, stage: Stage = Stage.SENDER
    ) -> Outcome:
        """What became of those who had a transaction; `status` stands for the others."""
        if self._split is None:
            return super().failed(error, status, stage)
        if self._split.has_begun:
            return self._split.outcome(error, status=status, stage=stage)
        self.narrow(self._split.recipients)
        return super().failed(error, status, stage)


def is_about_message(error: MailError) -> bool:
    """Whether an error tells of one message, and nothing of how others will fare."""
    return isinstance(error, ExtensionRequired | MessageError | AddressSyntaxError)


def undelivered(job: Job, error: MailError) -> Outcome:
    """The outcome of a message that no transaction follows for: refused if it can never be sent, else deferred."""
    status = Status.REFUSED if is_about_message(error) else Status.DEFERRED
    return job.failed(error, status, error.stage or Stage.CONNECT)
