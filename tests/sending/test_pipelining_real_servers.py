"""Refusals at every position of a pipelined window, at Exim and Postfix.

Each message has its own true outcome, and none ever travels under another's envelope: that is read back from where the
servers delivered them.
"""

from __future__ import annotations

from collections import Counter
from email import message_from_bytes, policy
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

import pytest

from asyncmail import Mailer, Parcel, PoolLimits, SMTPClient
from net.runtimes import on_each_runtime
from peers import Exim, Postfix, run_exim, run_postfix
from peers.process import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from asyncmail import Outcome
    from peers import Authority, Maildir

WINDOW = 6
KINDS = ("sender", "all recipients", "some recipients", "content", "nothing")
PICKY = {
    "smtpd_sender_restrictions": "check_sender_access inline:{ {refused.example.org = 550 5.7.1 Not from you} }"
}
_serial = count(1)


@pytest.fixture(scope="module")
def picky_postfix(postfix: Postfix, authority: Authority) -> Iterator[Postfix]:
    """One that refuses senders too; the other fixture skips where there is none."""
    with run_postfix(authority, settings=PICKY) as server:
        yield server


@pytest.fixture(scope="module")
def patient_postfix(picky_postfix: Postfix, authority: Authority) -> Iterator[Postfix]:
    """One that also ends no session for its errors."""
    with run_postfix(authority, settings={**PICKY, "smtpd_hard_error_limit": "1000"}) as server:
        yield server


@pytest.fixture(params=["exim", "postfix"])
def patient_server(request: pytest.FixtureRequest) -> Exim | Postfix:
    peer: Exim | Postfix = request.getfixturevalue(
        "patient_postfix" if request.param == "postfix" else request.param
    )
    return peer


@pytest.fixture(params=["exim", "postfix"])
def server(request: pytest.FixtureRequest) -> Exim | Postfix:
    peer: Exim | Postfix = request.getfixturevalue(
        "picky_postfix" if request.param == "postfix" else request.param
    )
    return peer


class Letter:
    """A message that says of itself for whom it is."""

    def __init__(self, server: Exim | Postfix, kind: str) -> None:
        self.id = f"{kind.replace(' ', '-')}-{next(_serial)}"
        self.kind = kind
        self.sender = f"s{self.id}@example.org"
        self.recipients = [f"{name}{self.id}@example.com" for name in ("a", "b", "c")]
        subject = self.id
        body = ".\n..\n"
        if kind == "sender":
            self.sender = f"refused{self.id}@refused.example.org"
        elif kind == "all recipients":
            self.recipients = [f"refused{each}" for each in self.recipients]
        elif kind == "some recipients":
            self.recipients[1] = f"refused{self.recipients[1]}"
        elif kind == "content":
            subject = f"refused {self.id}"
            if isinstance(server, Postfix):  # it counts the fields that it adds, and so finds it too large
                body = "x" * (server.size_limit - 200)
        self.content = f"Subject: {subject}\nX-Id: {self.id}\n\n{body}\n".encode()

    @property
    def parcel(self) -> Parcel:
        return Parcel(self.content, self.sender, self.recipients, tag=self.id)

    @property
    def expected(self) -> list[tuple[str, str]]:
        """The statuses and stages of its recipients."""
        accepted = ("accepted", "content")
        match self.kind:
            case "sender" | "content":
                return [("refused", self.kind)] * 3
            case "all recipients":
                return [("refused", "recipient")] * 3
            case "some recipients":
                return [accepted, ("refused", "recipient"), accepted]
        return [accepted] * 3

    def deliveries(self) -> Iterator[tuple[str, str, str]]:
        for recipient, (status, _) in zip(self.recipients, self.expected, strict=True):
            if status == "accepted":
                yield self.id, f"<{self.sender}>", recipient


def deliveries(maildir: Maildir, ids: set[str]) -> Counter[tuple[str, str, str]]:
    """What was delivered of these messages: id, reverse-path, forward-path."""
    return Counter([each for each in map(read_delivery, maildir.contents()) if each[0] in ids])


@cache  # what earlier tests left is looked at again and again
def read_delivery(content: bytes) -> tuple[str, str, str]:
    message = message_from_bytes(content, policy=policy.compat32)
    return message["X-Id"], message["Return-Path"], message["Delivered-To"]


def make_mailer(server: Exim | Postfix, limits: PoolLimits, client_tls: ssl.SSLContext) -> Mailer:
    return Mailer(f"smtp://127.0.0.1:{server.port}", connections=1, pool=limits, tls_context=client_tls)


def check(letters: Iterable[Letter], outcomes: Iterable[Outcome], maildir: Maildir) -> None:
    by_id = {letter.id: letter for letter in letters}
    count = 0
    for outcome in outcomes:
        letter = by_id[outcome.tag]
        found = [(each.status.value, each.stage.value) for each in outcome.recipients]
        assert found == letter.expected, (letter.id, outcome)
        assert [each.address for each in outcome.recipients] == letter.recipients
        assert outcome.sender == letter.sender
        count += 1
    assert count == len(by_id)
    expected = Counter([each for letter in by_id.values() for each in letter.deliveries()])
    wait_until(lambda: deliveries(maildir, set(by_id)).total() >= expected.total(), 30)
    assert deliveries(maildir, set(by_id)) == expected


@pytest.mark.parametrize("chunking", [True, False], ids=["chunking", "data"])
@pytest.mark.parametrize("kind", KINDS)
@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_a_refusal_at_each_position(
    server: Exim | Postfix, kind: str, chunking: bool, client_tls: ssl.SSLContext
) -> None:
    letters: list[Letter] = []
    outcomes: list[Outcome] = []
    for position in range(WINDOW if kind != "nothing" else 1):
        window = [Letter(server, "nothing") for _ in range(WINDOW)]
        window[position] = Letter(server, kind)
        limits = PoolLimits(window=WINDOW, window_octets=10_000_000, chunking=chunking)
        async with make_mailer(server, limits, client_tls) as mailer:
            outcomes += [each async for each in mailer.send_many([letter.parcel for letter in window])]
        letters += window
    check(letters, outcomes, server.maildir)


@pytest.mark.parametrize("chunking", [True, False], ids=["chunking", "data"])
@on_each_runtime(runtimes=("asyncio",))
async def test_all_kinds_in_every_order(
    patient_server: Exim | Postfix, chunking: bool, client_tls: ssl.SSLContext
) -> None:
    """Each kind behind each other kind, through one connection without a pause."""
    server = patient_server
    letters = [Letter(server, kind) for first in KINDS for second in KINDS for kind in (first, second)]
    limits = PoolLimits(window=WINDOW, window_octets=10_000_000, chunking=chunking)
    async with make_mailer(server, limits, client_tls) as mailer:
        outcomes = [each async for each in mailer.send_many([letter.parcel for letter in letters])]
    check(letters, outcomes, server.maildir)


@on_each_runtime(runtimes=("asyncio",))
async def test_one_at_a_time(server: Exim | Postfix, client_tls: ssl.SSLContext) -> None:
    # Both end a session after some more refusals.
    letters = [Letter(server, kind) for kind in (*KINDS, *reversed(KINDS))]
    async with SMTPClient(f"smtp://127.0.0.1:{server.port}", tls_context=client_tls) as client:
        outcomes = [await client.send(letter.parcel) for letter in letters]
    check(letters, outcomes, server.maildir)


@pytest.mark.parametrize("kind", KINDS[:4])
@pytest.mark.parametrize("chunking", [True, False], ids=["chunking", "data"])
@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_more_refusals_than_a_session_may_have(
    server: Exim | Postfix, kind: str, chunking: bool, client_tls: ssl.SSLContext
) -> None:
    """The servers end the session, Exim without a word; nothing comes to be unknown, or refused in vain."""
    letters = [Letter(server, kind if number % 8 else "nothing") for number in range(64)]
    limits = PoolLimits(window=64, window_octets=100_000_000, chunking=chunking, pause_seconds=0.01)
    async with make_mailer(server, limits, client_tls) as mailer:
        outcomes = [each async for each in mailer.send_many([letter.parcel for letter in letters])]
    check(letters, outcomes, server.maildir)


@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_a_server_that_takes_so_many_messages_on_a_connection(exim: Exim, authority: Authority) -> None:
    """Exim says 421 then; nothing is lost, nothing comes twice."""
    client_tls = authority.client_context()
    with run_exim(authority, settings={"smtp_accept_max_per_connection": "4"}) as server:
        letters = [Letter(server, "nothing") for _ in range(15)]
        limits = PoolLimits(window=WINDOW, pause_seconds=0.01)
        async with make_mailer(server, limits, client_tls) as mailer:
            outcomes = [each async for each in mailer.send_many([letter.parcel for letter in letters])]
        check(letters, outcomes, server.maildir)
