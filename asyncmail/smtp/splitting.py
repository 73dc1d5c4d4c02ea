"""A message for more recipients than a server takes in one transaction (RFC 5321 §4.5.3.1.10, RFC 9422 §4.2, §4.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import MailError, Stage
from .outcome import Outcome, RecipientOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .replies import Reply

__all__ = ["MOST_RECIPIENTS", "Split", "domain_of", "takes_no_more"]

MOST_RECIPIENTS = 1_000
"""In one transaction, where the server does not say: Postfix takes so many, and ends the session at as many more."""


def takes_no_more(reply: Reply) -> bool:
    """Whether an answer to RCPT says that this transaction has recipients enough, and nothing of this recipient.

    RFC 821 had 552 for that, which is to be read as 452. With an enhanced status code either of them can say
    something else: a mailbox is full (x.2.2), the system is (x.3.1).

    RFC 5321 §4.5.3.1.10
    """
    if reply.code not in (452, 552):
        return False
    enhanced = reply.enhanced_status_code
    return enhanced is None or enhanced[2:] == "5.3"


def domain_of(path: str) -> str:
    """The domain of a forward-path, in small letters."""
    return path.rpartition("@")[2].lower()


class Split:
    """Divides the recipients of one message among transactions, and puts together what became of them.

    Take `next_recipients`, hand what became of that transaction to `add`, and go on while that says so. Those for whom
    the server had no room get another transaction as long as the last one was of use to somebody, or refused for all;
    so each gets one copy at most, and this ends.

    Args:
        recipients: the forward-paths.

    RFC 5321 §4.5.3.1.10
    """

    __slots__ = ("_asked", "_error", "_fates", "_last", "_left", "_most", "recipients")

    def __init__(self, recipients: Sequence[str]) -> None:
        self.recipients: Sequence[str] = recipients
        self._fates: list[RecipientOutcome | None] = [None] * len(recipients)
        self._left: Sequence[int] = range(len(recipients))  # positions
        self._asked: Sequence[int] = ()  # those of the transaction under way
        self._most: int | None = None  # what the server seems to take
        self._last: Outcome | None = None
        self._error: MailError | None = None

    def __repr__(self) -> str:
        return f"<Split {len(self._left)} of {len(self.recipients)} left>"

    def next_recipients(self, most: int | None = None, most_domains: int | None = None) -> list[str]:
        """Return the recipients of the next transaction, in the order given.

        Args:
            most: how many the server says that it takes; None if it does not say.
            most_domains: the same of the domains that they are at.
        """
        most = most or MOST_RECIPIENTS
        most = min(most, self._most or most)
        if most_domains is None:
            self._asked = self._left[:most]
        else:
            self._gather(most, most_domains)
        return [self.recipients[position] for position in self._asked]

    def _gather(self, most: int, most_domains: int) -> None:
        """Put those first who go together."""
        domains: set[str] = set()
        asked: list[int] = []
        others: list[int] = []
        for position in self._left:
            domain = domain_of(self.recipients[position])
            if len(asked) < most and (domain in domains or len(domains) < most_domains):
                domains.add(domain)
                asked.append(position)
            else:
                others.append(position)
        self._asked = asked
        self._left = [*asked, *others]

    def learn(self, outcome: Outcome) -> bool:
        """Take what is known of a transaction that was cut off and is to be sent again; return whether that is news.

        Whoever was refused is not asked again: servers end sessions over too many of those, too.
        """
        self._last = outcome
        before = self._most
        left = []
        for number, (position, fate) in enumerate(zip(self._asked, outcome.recipients, strict=True)):
            if fate.stage is Stage.RECIPIENT and fate.status is Status.REFUSED:
                self._fates[position] = fate
            else:
                left.append(position)
            if number and _is_over(fate):
                self._most = min(self._most or number, number)
        self._left = [*left, *self._left[len(self._asked) :]]
        return len(left) < len(self._asked) or self._most != before

    def add(self, outcome: Outcome) -> bool:
        """Take what became of the transaction for `next_recipients`; return whether another one is to follow."""
        self._last = outcome
        self._error = outcome.error or self._error
        answers = list(zip(self._asked, outcome.recipients, strict=True))
        for position, fate in answers:
            self._fates[position] = fate
        unasked = self._left[len(self._asked) :]
        over = [position for position, fate in answers if _is_over(fate)]
        taken = [position for position, fate in answers if fate.stage is Stage.CONTENT]
        became = {fate.status for _, fate in answers if fate.stage is Stage.CONTENT}
        was_of_use = Status.ACCEPTED in became
        if over and (was_of_use or became == {Status.REFUSED}):
            # Some servers count those that they refuse, others do not.
            self._most = max(len(taken), self._asked.index(over[0]))
            # Without use, the content may have been refused for the number of recipients only, as Exim can be told to.
            again = over if was_of_use else sorted(over + taken)
            self._left = [*again, *unasked]
        elif was_of_use:
            self._left = unasked
        elif outcome.recipients[0].stage is Stage.SENDER:
            # What was said to MAIL was said of the message.
            first = outcome.recipients[0]
            for position in unasked:
                self._fates[position] = first._replace(address=self.recipients[position])
            self._left = ()
        else:
            self._left = unasked
        return bool(self._left)

    @property
    def has_begun(self) -> bool:
        """Whether anything is known of any recipient."""
        return self._last is not None

    def outcome(
        self,
        error: MailError | None = None,
        *,
        status: Status = Status.DEFERRED,
        stage: Stage = Stage.SENDER,
    ) -> Outcome:
        """What became of the message, once it has begun.

        Args:
            error: why no other transaction follows, if some recipients are left.
            status: of those for whom there was no transaction.
            stage: at which they were given up.
        """
        assert self._last is not None
        fates = [
            fate or RecipientOutcome(self.recipients[position], status, None, stage)
            for position, fate in enumerate(self._fates)
        ]
        return replace(self._last, recipients=tuple(fates), error=error or self._error)


def _is_over(fate: RecipientOutcome) -> bool:
    return fate.stage is Stage.RECIPIENT and fate.reply is not None and takes_no_more(fate.reply)
