"""What became of a message, recipient by recipient."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..errors import (
    AllRecipientsRefused,
    ContentRefused,
    MailError,
    RecipientRefused,
    SenderRefused,
    Stage,
)

if TYPE_CHECKING:
    from .replies import Reply

__all__ = ["Outcome", "RecipientOutcome", "Status"]


class Status(enum.StrEnum):
    """What is known about one recipient of one message."""

    ACCEPTED = "accepted"  # the server has taken responsibility (RFC 5321 §6.1)
    REFUSED = "refused"  # permanently
    DEFERRED = "deferred"  # not delivered; trying again may help
    UNKNOWN = "unknown"  # the content was wholly written and no answer came: sending again may deliver twice


# Looked up for each recipient of each message.
_ACCEPTED, _REFUSED, _DEFERRED, _UNKNOWN = Status


class RecipientOutcome(NamedTuple):
    """One recipient: `reply` decided the `status` at `stage`; None where the server gave no answer."""

    address: str
    status: Status
    reply: Reply | None
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One message.

    Args:
        sender: the reverse-path.
        recipients: every recipient, in the order given.
        error: why the message got no answer from the server, if it did not: the connection was lost, the message could
            not be prepared, …
        index: position in the input of `send_many`.
        tag: what the caller calls this message.
    """

    sender: str
    recipients: tuple[RecipientOutcome, ...]
    error: MailError | None = None
    index: int | None = None
    tag: str = ""

    @property
    def accepted(self) -> tuple[RecipientOutcome, ...]:
        """Recipients for whom the server took the message."""
        return tuple([each for each in self.recipients if each.status is _ACCEPTED])

    @property
    def refused(self) -> tuple[RecipientOutcome, ...]:
        """Recipients who will not get this message, however often it is sent."""
        return tuple([each for each in self.recipients if each.status is _REFUSED])

    @property
    def deferred(self) -> tuple[RecipientOutcome, ...]:
        """Recipients who did not get the message; it is safe to try again."""
        return tuple([each for each in self.recipients if each.status is _DEFERRED])

    @property
    def unknown(self) -> tuple[RecipientOutcome, ...]:
        """Recipients who may or may not have got the message."""
        return tuple([each for each in self.recipients if each.status is _UNKNOWN])

    @property
    def ok(self) -> bool:
        """Whether every recipient was accepted."""
        return self.error is None and len(self.accepted) == len(self.recipients)

    def raise_for_refusals(self) -> None:
        """Raise what `send` would have raised, were partial success an error: nothing if every recipient was accepted.

        Raises:
            SenderRefused, RecipientRefused, AllRecipientsRefused, ContentRefused: by what was refused first.
            MailError: the `error`, where there is one.
        """
        if self.ok:
            return
        if self.error is not None:
            raise self.error
        failed = [each for each in self.recipients if each.status is not Status.ACCEPTED]
        first = failed[0]
        assert first.reply is not None  # without an answer there is an error
        if first.stage is Stage.SENDER:
            raise SenderRefused(self.sender, first.reply)
        if first.stage is Stage.CONTENT:
            raise ContentRefused(first.reply, command="the content")
        if len(failed) == len(self.recipients):
            raise AllRecipientsRefused({each.address: each.reply for each in failed if each.reply})
        raise RecipientRefused(first.address, first.reply)
