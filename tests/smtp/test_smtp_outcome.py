"""What became of a message."""

from __future__ import annotations

import pytest

from asyncmail.errors import (
    AllRecipientsRefused,
    ConnectionLost,
    ContentRefused,
    MailError,
    RecipientRefused,
    SenderRefused,
    Stage,
)
from asyncmail.smtp import Outcome, RecipientOutcome, Reply, Status

OK, NO, LATER = Reply(250, "ok"), Reply(550, "no"), Reply(450, "later")


def one(
    address: str, status: Status, reply: Reply | None = None, stage: Stage = Stage.CONTENT
) -> RecipientOutcome:
    return RecipientOutcome(address, status, reply, stage)


ACCEPTED = one("a@b.c", Status.ACCEPTED, OK)
REFUSED = one("r@b.c", Status.REFUSED, NO, Stage.RECIPIENT)
DEFERRED = one("d@b.c", Status.DEFERRED, LATER, Stage.RECIPIENT)
UNKNOWN = one("u@b.c", Status.UNKNOWN)


def test_recipients_by_status() -> None:
    outcome = Outcome(sender="", recipients=(ACCEPTED, REFUSED, DEFERRED, UNKNOWN, ACCEPTED))
    assert outcome.accepted == (ACCEPTED, ACCEPTED)
    assert outcome.refused == (REFUSED,)
    assert outcome.deferred == (DEFERRED,)
    assert outcome.unknown == (UNKNOWN,)
    assert not outcome.ok


def test_all_is_well() -> None:
    outcome = Outcome(sender="s@b.c", recipients=(ACCEPTED, ACCEPTED))
    assert outcome.ok
    outcome.raise_for_refusals()


FAILURES: list[tuple[tuple[RecipientOutcome, ...], MailError | None, type[MailError]]] = [
    ((ACCEPTED, REFUSED), None, RecipientRefused),
    ((DEFERRED, ACCEPTED), None, RecipientRefused),
    ((REFUSED, DEFERRED), None, AllRecipientsRefused),
    ((REFUSED, REFUSED), None, AllRecipientsRefused),
    ((one("a@b.c", Status.REFUSED, NO, Stage.SENDER),) * 2, None, SenderRefused),
    ((one("a@b.c", Status.DEFERRED, LATER, Stage.CONTENT),), None, ContentRefused),
    ((UNKNOWN,), ConnectionLost(), ConnectionLost),
    ((REFUSED, UNKNOWN), ConnectionLost(), ConnectionLost),
]


@pytest.mark.parametrize(("recipients", "error", "expected"), FAILURES)
def test_what_is_raised(
    recipients: tuple[RecipientOutcome, ...], error: MailError | None, expected: type[MailError]
) -> None:
    outcome = Outcome(sender="s@b.c", recipients=recipients, error=error)
    assert not outcome.ok
    with pytest.raises(expected) as caught:
        outcome.raise_for_refusals()
    if isinstance(caught.value, AllRecipientsRefused):
        assert caught.value.refusals == {each.address: each.reply for each in recipients}


def test_an_error_is_no_success_even_without_recipients() -> None:
    outcome = Outcome(sender="", recipients=(), error=MailError("no sender"))
    assert not outcome.ok
    with pytest.raises(MailError, match="no sender"):
        outcome.raise_for_refusals()
