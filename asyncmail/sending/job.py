"""One message that a `Mailer` was given and has not answered for yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AddressSyntaxError, ExtensionRequired, MailError, MessageError, Stage
from ..smtp import Outcome, Status, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..message import Prepared

__all__ = ["Job", "is_about_message", "undelivered"]


class Job(Transaction):
    """A message, who wants to know, and how often it has been tried.

    Args:
        prepared: the message.
        finish: called once: with an outcome, or with the error for which there is none.
        index: position in the input of `send_many`.
    """

    __slots__ = ("_finish", "attempts", "is_withdrawn")

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
            is_normalized=True,
            tag=prepared.tag,
            index=index,
        )
        self._finish = finish
        self.attempts: int = 0
        self.is_withdrawn: bool = False

    def finish(self, result: Outcome | MailError) -> None:
        """Tell who wants to know."""
        self._finish(self, result)


def is_about_message(error: MailError) -> bool:
    """Whether an error tells of one message, and nothing of how others will fare."""
    return isinstance(error, ExtensionRequired | MessageError | AddressSyntaxError)


def undelivered(job: Job, error: MailError) -> Outcome:
    """The outcome of a message that no server was asked about: refused if it can never be sent, else deferred."""
    status = Status.REFUSED if is_about_message(error) else Status.DEFERRED
    return job.failed(error, status, error.stage or Stage.CONNECT)
