"""Messages for more recipients than a server takes at once: each gets one copy and has one fate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import ConnectionLost, Stage
from asyncmail.smtp import Outcome, RecipientOutcome, Reply, Split, Status, takes_no_more
from asyncmail.smtp.splitting import domain_of

if TYPE_CHECKING:
    from collections.abc import Sequence

OK = Reply(250, "taken", "2.0.0")
ENOUGH = Reply(452, "too many recipients", "4.5.3")
LOST = ConnectionLost("gone")
KINDS = {
    "a": OK,
    "r": Reply(550, "no such user", "5.1.1"),
    "d": Reply(451, "later", "4.3.0"),
    "f": Reply(452, "mailbox full", "4.2.2"),
    "o": Reply(452, "says always that there are too many"),
}


@pytest.mark.parametrize(
    ("code", "enhanced", "is_it"),
    [
        (452, None, True),
        (552, None, True),
        (452, "4.5.3", True),
        (552, "5.5.3", True),
        (452, "4.2.2", False),
        (552, "5.2.2", False),
        (452, "4.3.1", False),
        (552, "5.3.4", False),
        (451, "4.5.3", False),
        (450, None, False),
        (550, "5.5.3", False),
        (250, None, False),
    ],
)
def test_what_says_that_there_are_too_many(code: int, enhanced: str | None, is_it: bool) -> None:
    assert takes_no_more(Reply(code, "text", enhanced)) is is_it


@dataclass
class Server:
    """Takes so many recipients in a transaction; counts those that it refuses, or does not."""

    limit: int
    counts_all: bool = False
    enough: Reply = ENOUGH
    copies: list[str] = field(default_factory=list)
    transactions: list[int] = field(default_factory=list)

    def take(self, recipients: Sequence[str], content: Reply = OK) -> Outcome:
        self.transactions.append(len(recipients))
        taken = 0
        fates = []
        for asked, recipient in enumerate(recipients, 1):
            reply = KINDS[recipient[0]]
            if (asked if self.counts_all else taken + (reply is OK)) > self.limit:
                reply = self.enough
            if reply is OK:
                taken += 1
                reply, stage = content, Stage.CONTENT
                if content is OK:
                    self.copies.append(recipient)
            else:
                stage = Stage.RECIPIENT
            fates.append(RecipientOutcome(recipient, status_of(reply), reply, stage))
        return Outcome(sender="s", recipients=tuple(fates), index=7, tag="t")


def status_of(reply: Reply) -> Status:
    if reply.code < 300:
        return Status.ACCEPTED
    return Status.DEFERRED if reply.code < 500 or takes_no_more(reply) else Status.REFUSED


def send(split: Split, server: Server, most: int | None = None) -> Outcome:
    while split.add(server.take(split.next_recipients(most))):
        pass
    return split.outcome()


def names(kinds: str) -> list[str]:
    return [f"{kind}{number}" for number, kind in enumerate(kinds)]


@given(
    st.text("aaaaardfo", min_size=1, max_size=60),
    st.integers(1, 20),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 20)),
    st.sampled_from([ENOUGH, Reply(552, "too many"), Reply(452, "too many")]),
)
def test_each_has_one_fate(kinds: str, limit: int, counts_all: bool, most: int | None, enough: Reply) -> None:
    server = Server(limit, counts_all, enough)
    outcome = send(Split(names(kinds)), server, most)
    assert [each.address for each in outcome.recipients] == names(kinds)
    assert server.copies == sorted(set(server.copies), key=lambda name: int(name[1:])), "once, and in order"
    assert {each.address for each in outcome.accepted} == set(server.copies)
    for each in outcome.recipients:
        reply = KINDS[each.address[0]]
        assert each.reply in (reply, enough)
        if each.reply is not reply:
            assert each.status is Status.DEFERRED
    if counts_all is False:  # whoever can be reached is reached
        assert len(server.copies) == kinds.count("a")
    assert len(server.transactions) <= len(kinds)
    assert (outcome.sender, outcome.index, outcome.tag, outcome.error) == ("s", 7, "t", None)


def test_the_limit_is_learned() -> None:
    server = Server(100)
    assert send(Split(names("a" * 1000)), server).ok
    assert server.transactions == [1000] + [100] * 9


def test_the_limit_is_known() -> None:
    server = Server(100)
    assert send(Split(names("a" * 250)), server, 100).ok
    assert server.transactions == [100, 100, 50]


def test_more_than_any_server_likes() -> None:
    server = Server(100_000)
    assert send(Split(names("a" * 2500)), server).ok
    assert server.transactions == [1000, 1000, 500]
    assert send(Split(names("a" * 2500)), server, 2000).ok
    assert server.transactions[3:] == [2000, 500]


def cut_off(split: Split, answers: str) -> bool:
    """The session ends behind these answers: accepted, refused, deferred, over."""
    fates = []
    for number, recipient in enumerate(split.next_recipients()):
        reply = {"r": KINDS["r"], "d": KINDS["d"], "o": ENOUGH}.get(answers[number : number + 1])
        if reply is None:
            fates.append(RecipientOutcome(recipient, Status.DEFERRED, None, Stage.SENDER))
        else:
            fates.append(RecipientOutcome(recipient, status_of(reply), reply, Stage.RECIPIENT))
    return split.learn(Outcome(sender="s", recipients=tuple(fates), error=LOST))


def test_the_limit_is_learned_from_a_session_that_ended() -> None:
    split = Split(names("a" * 10))
    assert cut_off(split, "aaaaoo")
    assert split.next_recipients(5) == [f"a{number}" for number in range(4)]
    assert not cut_off(split, "")
    assert cut_off(split, "aao")
    assert len(split.next_recipients()) == 2
    assert not cut_off(split, "o")
    assert send(split, Server(4)).ok


def test_who_was_refused_is_not_asked_again() -> None:
    split = Split(names("araadraa"))
    assert cut_off(split, "araadr")
    assert split.has_begun
    assert split.next_recipients() == ["a0", "a2", "a3", "d4", "a6", "a7"]
    outcome = split.outcome(LOST)
    assert [each.status.value[0] for each in outcome.recipients] == list("drdddrdd")
    assert outcome.error is LOST
    outcome = send(split, Server(9))
    assert [each.status.value[0] for each in outcome.recipients] == list("araadraa")
    assert outcome.error is None


def test_a_server_that_takes_fewer_than_it_says() -> None:
    server = Server(30)
    assert send(Split(names("a" * 100)), server, 40).ok
    assert server.transactions == [40, 30, 30, 10]


def test_nobody_is_accepted() -> None:
    """That is no limit: it may be a full disk."""
    server = Server(0)
    outcome = send(Split(names("aaa")), server)
    assert server.transactions == [3]
    assert [each.reply for each in outcome.deferred] == [ENOUGH] * 3


def test_one_that_says_no_only_to_one() -> None:
    server = Server(100)
    outcome = send(Split(names("aoa")), server)
    assert server.transactions == [3, 1]
    assert [each.status.value for each in outcome.recipients] == ["accepted", "deferred", "accepted"]


def test_a_full_mailbox_is_no_limit() -> None:
    server = Server(100)
    assert send(Split(names("afa")), server).deferred[0].reply == KINDS["f"]
    assert server.transactions == [3]


def test_the_content_is_refused() -> None:
    """Perhaps because there were too many."""
    split = Split(names("araa"))
    no = Reply(554, "too many recipients")
    server = Server(3, counts_all=True)
    assert split.add(server.take(split.next_recipients(), no))
    assert split.next_recipients() == ["a0", "a2", "a3"]
    assert not split.add(server.take(split.next_recipients()))
    assert [each.reply for each in split.outcome().recipients] == [OK, KINDS["r"], OK, OK]


def test_the_content_is_refused_whoever_it_is_for() -> None:
    split = Split(names("aaaa"))
    no = Reply(554, "spam", "5.7.1")
    server = Server(2)
    while split.add(server.take(split.next_recipients(), no)):
        pass
    assert server.transactions == [4, 2, 2]
    assert [each.reply for each in split.outcome().recipients] == [no] * 4


@pytest.mark.parametrize("other", [Status.UNKNOWN, Status.DEFERRED])
def test_lmtp_refuses_for_one_and_is_lost(other: Status) -> None:
    """What may have been delivered never goes again."""
    split = Split(names("aaa"))
    no = Reply(554, "spam", "5.7.1")
    fates = (
        RecipientOutcome("a0", Status.REFUSED, no, Stage.CONTENT),
        RecipientOutcome("a1", other, None, Stage.CONTENT),
        RecipientOutcome("a2", Status.DEFERRED, ENOUGH, Stage.RECIPIENT),
    )
    split.next_recipients()
    assert not split.add(Outcome(sender="s", recipients=fates, error=LOST))
    assert split.outcome().recipients == fates


def test_the_content_is_deferred() -> None:
    """So is the rest."""
    split = Split(names("aaaa"))
    later = Reply(451, "later", "4.3.0")
    assert not split.add(Server(2).take(split.next_recipients(), later))
    assert [each.reply for each in split.outcome().recipients] == [later, later, ENOUGH, ENOUGH]


def test_the_content_is_refused_and_others_were_not_asked() -> None:
    split = Split(names("aaaa"))
    no = Reply(554, "spam", "5.7.1")
    assert split.add(Server(2).take(split.next_recipients(2), no))
    assert split.next_recipients(2) == ["a2", "a3"]
    assert not split.add(Server(2).take(split.next_recipients(2)))
    assert [each.status.value for each in split.outcome().recipients] == ["refused"] * 2 + ["accepted"] * 2


def test_the_sender_is_refused() -> None:
    """To ask again for the others would be of no use."""
    split = Split(names("aaaa"))
    no = Reply(550, "not from you", "5.7.1")
    fates = tuple(
        [RecipientOutcome(each, Status.REFUSED, no, Stage.SENDER) for each in split.next_recipients(3)]
    )
    assert not split.add(Outcome(sender="s", recipients=fates))
    assert split.outcome().recipients == (*fates, RecipientOutcome("a3", Status.REFUSED, no, Stage.SENDER))


def test_it_ends_early() -> None:
    split = Split(names("aaaaa"))
    assert not split.has_begun
    assert repr(split) == "<Split 5 of 5 left>"
    server = Server(1)
    assert split.add(server.take(split.next_recipients(2)))
    assert split.has_begun
    assert repr(split) == "<Split 4 of 5 left>"
    outcome = split.outcome(LOST)
    assert [each.status.value for each in outcome.recipients] == ["accepted"] + ["deferred"] * 4
    assert [each.reply for each in outcome.recipients] == [OK, ENOUGH, None, None, None]
    assert outcome.error is LOST
    refused = split.outcome(LOST, status=Status.REFUSED, stage=Stage.CONNECT).refused
    assert [(each.address, each.stage) for each in refused] == [
        (f"a{number}", Stage.CONNECT) for number in (2, 3, 4)
    ]


def test_what_is_unknown_stays_so_and_the_others_go_on() -> None:
    split = Split(names("aaaa"))
    fates = tuple(
        [RecipientOutcome(each, Status.UNKNOWN, None, Stage.CONTENT) for each in split.next_recipients(2)]
    )
    assert split.add(Outcome(sender="s", recipients=fates, error=LOST))
    assert not split.add(Server(9).take(split.next_recipients(2)))
    outcome = split.outcome()
    assert [each.status.value for each in outcome.recipients] == ["unknown"] * 2 + ["accepted"] * 2
    assert outcome.error is LOST


@given(st.lists(st.sampled_from("vwxyz"), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 4))
def test_no_more_domains_than_a_server_takes_at_once(
    domains: list[str], most: int, most_domains: int
) -> None:
    recipients = [f"a{number}@{domain}.example" for number, domain in enumerate(domains)]
    split = Split(recipients)
    server = Server(most)
    copies: list[str] = []
    goes_on = True
    while goes_on:
        asked = split.next_recipients(most, most_domains)
        assert 0 < len(asked) <= most
        assert len({domain_of(each) for each in asked}) <= most_domains
        copies += asked
        goes_on = split.add(server.take(asked))
    assert sorted(copies) == sorted(recipients)
    outcome = split.outcome()
    assert [each.address for each in outcome.accepted] == recipients
    # No transaction leaves out who could have been in it.
    groups = len(server.transactions)
    assert groups <= len(set(domains)) + len(recipients) // most
