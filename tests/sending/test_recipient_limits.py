"""More recipients than a server takes in one transaction: at real servers, and at some that are strange."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncmail import Mailer, Parcel, PoolLimits, SMTPClient, SMTPServer
from asyncmail.errors import ClosedError, ConnectionLost, MailError
from asyncmail.smtp import ServerLimits
from net.runtimes import eventually, on_each_runtime
from peers import Exim, Postfix, run_exim, run_postfix
from peers.process import wait_until
from scripted import Do, scripted

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Sequence

    from asyncmail import Outcome
    from asyncmail.server import ReceivedTransaction
    from peers import Authority
    from scripted import Reaction, Talk

BOTH = ("asyncio", "trio")
LIMIT = 5
SENDER = "sender@example.org"
CONTENT = b"Subject: many\r\n\r\ntext\r\n"
QUICK = PoolLimits(pause_seconds=0.01)
_serial = count(1)


# --- real servers


@pytest.fixture(scope="module")
def narrow_postfix(postfix: Postfix, authority: Authority) -> Iterator[Postfix]:
    with run_postfix(authority, settings={"smtpd_recipient_limit": str(LIMIT)}) as server:
        yield server


@pytest.fixture(scope="module", params=["false", "true"], ids=["452", "552"])
def narrow_exim(request: pytest.FixtureRequest, exim: Exim, authority: Authority) -> Iterator[Exim]:
    """With `recipients_max_reject` it says 552 to those that are too many, as RFC 821 had it, and 554 to DATA."""
    settings = {"recipients_max": str(LIMIT), "recipients_max_reject": request.param}
    with run_exim(authority, settings=settings) as server:
        yield server


def make_recipients(number: int, **special: Sequence[int]) -> list[str]:
    """Addresses of their own; those at the positions of `special` begin with that word."""
    prefixes = {position: word for word, positions in special.items() for position in positions}
    serial = next(_serial)
    return [f"{prefixes.get(position, 'u')}{serial}-{position}@example.com" for position in range(number)]


async def send(url: str, by: str, recipients: list[str], **options: Any) -> Outcome:
    if by == "client":
        async with SMTPClient(url, **options) as client:
            outcome = await client.send(CONTENT, sender=SENDER, recipients=recipients)
            assert client.is_usable
            return outcome
    async with Mailer(url, connections=2, pool=PoolLimits(chunking=by == "chunking"), **options) as mailer:
        return await mailer.send(CONTENT, sender=SENDER, recipients=recipients)


def copies(server: Postfix | Exim, recipients: Sequence[str]) -> list[str]:
    messages = [message_from_bytes(each, policy=policy.compat32) for each in server.maildir.contents()]
    wanted = set(recipients)
    delivered = [str(each["Delivered-To"]) for each in messages]
    return sorted(each for each in delivered if each in wanted)


def statuses(outcome: Outcome) -> str:
    return "".join(each.status.value[0] for each in outcome.recipients)


@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime(runtimes=BOTH)
async def test_postfix(by: str, narrow_postfix: Postfix, client_tls: ssl.SSLContext) -> None:
    recipients = make_recipients(23, refused=(3, 7), deferred=(11,))
    url = f"smtp://127.0.0.1:{narrow_postfix.port}"
    outcome = await send(url, by, recipients, tls_context=client_tls)
    assert [each.address for each in outcome.recipients] == recipients
    assert statuses(outcome) == "aaaraaaraaadaaaaaaaaaaa"
    assert [each.reply.code for each in outcome.deferred if each.reply] == [450]
    expected = sorted(each.address for each in outcome.accepted)
    wait_until(lambda: len(copies(narrow_postfix, recipients)) >= 20, 30)
    assert copies(narrow_postfix, recipients) == expected


@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime(runtimes=BOTH)
async def test_exim(by: str, narrow_exim: Exim, client_tls: ssl.SSLContext) -> None:
    recipients = make_recipients(23, refused=(3, 7), deferred=(11,))
    url = f"smtp://127.0.0.1:{narrow_exim.port}"
    outcome = await send(url, by, recipients, tls_context=client_tls)
    assert [each.address for each in outcome.recipients] == recipients
    assert statuses(outcome) == "aaaraaaraaadaaaaaaaaaaa"
    expected = sorted(each.address for each in outcome.accepted)
    wait_until(lambda: len(copies(narrow_exim, recipients)) >= 20, 30)
    assert copies(narrow_exim, recipients) == expected


@on_each_runtime(runtimes=BOTH)
async def test_postfix_that_loses_its_patience(authority: Authority) -> None:
    """Recipients beyond the limit, and so many more, are errors; at too many of those it ends the session."""
    client_tls = authority.client_context()
    settings = {
        "smtpd_recipient_limit": "5",
        "smtpd_recipient_overshoot_limit": "5",
        "smtpd_hard_error_limit": "3",
    }
    recipients = make_recipients(30)
    with run_postfix(authority, settings=settings) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        async with Mailer(url, pool=QUICK, tls_context=client_tls) as mailer:
            outcome = await mailer.send(CONTENT, sender=SENDER, recipients=recipients)
        assert outcome.ok, outcome
        wait_until(lambda: len(copies(server, recipients)) >= 30, 30)
        assert copies(server, recipients) == sorted(recipients)


@pytest.mark.parametrize("by", ["chunking", "data"])
@on_each_runtime(runtimes=BOTH)
async def test_more_refusals_than_a_session_may_have(
    by: str, postfix: Postfix, client_tls: ssl.SSLContext
) -> None:
    """Postfix ends the session at the 20th recipient that it refuses; the others get the message all the same."""
    recipients = make_recipients(90, refused=range(5, 85))
    url = f"smtp://127.0.0.1:{postfix.port}"
    async with Mailer(
        url, pool=PoolLimits(pause_seconds=0.01, chunking=by == "chunking"), tls_context=client_tls
    ) as mailer:
        outcome = await mailer.send(CONTENT, sender=SENDER, recipients=recipients)
    assert statuses(outcome) == "a" * 5 + "r" * 80 + "a" * 5
    good = recipients[:5] + recipients[85:]
    wait_until(lambda: len(copies(postfix, recipients)) >= 10, 30)
    assert copies(postfix, recipients) == sorted(good)


@on_each_runtime(runtimes=BOTH)
async def test_more_refusals_than_the_session_may_have(postfix: Postfix, client_tls: ssl.SSLContext) -> None:
    """A session cannot go on elsewhere; yet it says what was said."""
    recipients = make_recipients(30, refused=range(2, 28))
    async with SMTPClient(f"smtp://127.0.0.1:{postfix.port}", tls_context=client_tls) as client:
        outcome = await client.send(CONTENT, sender=SENDER, recipients=recipients)
    refused = statuses(outcome).count("r")
    assert statuses(outcome) == "dd" + "r" * refused + "d" * (28 - refused)
    assert refused >= 19
    assert isinstance(outcome.error, ConnectionLost)


# --- our own


class Keeper:
    def __init__(self) -> None:
        self.transactions: list[list[str]] = []

    async def deliver(self, transaction: ReceivedTransaction) -> None:
        self.transactions.append(list(transaction.recipients))


@asynccontextmanager
async def own_server(**options: Any) -> AsyncIterator[tuple[Keeper, str]]:
    keeper = Keeper()
    async with SMTPServer(keeper, limits=ServerLimits(recipients=LIMIT), **options) as server:
        yield keeper, f"{'lmtp' if options.get('lmtp') else 'smtp'}://127.0.0.1:{server.port}"


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime
async def test_a_limit_that_shows(by: str, lmtp: bool) -> None:
    recipients = make_recipients(12)
    async with own_server(lmtp=lmtp) as (keeper, url):
        outcome = await send(url, by, recipients)
    assert outcome.ok
    assert [each.address for each in outcome.recipients] == recipients
    assert keeper.transactions == [recipients[:5], recipients[5:10], recipients[10:]]


@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime
async def test_a_limit_that_is_announced(by: str) -> None:
    """RFC 9422: nothing is asked in vain."""
    recipients = make_recipients(12)
    lines: list[str] = []
    async with own_server(more_extensions={"LIMITS": "RCPTMAX=5"}) as (keeper, url):
        outcome = await send(url, by, recipients, trace=lambda _, line: lines.append(line))
    assert outcome.ok
    assert keeper.transactions == [recipients[:5], recipients[5:10], recipients[10:]]
    assert not any(line.startswith("452") for line in lines)


@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime(runtimes=BOTH)
async def test_a_limit_of_domains_that_is_announced(by: str) -> None:
    """RFC 9422 §4.3."""
    recipients = ["a@x.example", "b@y.example", "c@Z.example", "d@x.example", "e@z.example"]
    async with own_server(more_extensions={"LIMITS": "RCPTMAX=5 RCPTDOMAINMAX=2"}) as (keeper, url):
        outcome = await send(url, by, recipients)
    assert outcome.ok
    assert [each.address for each in outcome.recipients] == recipients
    assert keeper.transactions == [
        ["a@x.example", "b@y.example", "d@x.example"],
        ["c@Z.example", "e@z.example"],
    ]


@on_each_runtime(runtimes=BOTH)
async def test_many_at_a_time() -> None:
    """Each message has one outcome, and each recipient one copy."""
    parcels = [
        Parcel(CONTENT, SENDER, make_recipients(number % 14 + 1), tag=str(number)) for number in range(60)
    ]
    async with own_server() as (keeper, url), Mailer(url, connections=3) as mailer:
        outcomes = [each async for each in mailer.send_many(parcels)]
    assert sorted(int(each.tag) for each in outcomes) == list(range(60))
    for outcome in outcomes:
        assert outcome.ok
        assert outcome.index == int(outcome.tag)
        assert [each.address for each in outcome.recipients] == parcels[outcome.index].recipients
    counted = Counter(each for transaction in keeper.transactions for each in transaction)
    assert counted == Counter(each for parcel in parcels for each in parcel.recipients or ())


# --- strange ones


def knows(limit: int, reply: str = "452 4.5.3 too many") -> Any:
    def react(talk: Talk, line: str) -> Reaction:
        return reply if line.startswith("RCPT") and len(talk.recipients) >= limit else None

    return react


@pytest.mark.parametrize("reply", ["452 later", "552 too many", "452 4.5.3 too many", "552 5.5.3 too many"])
@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime(runtimes=BOTH)
async def test_ways_to_say_it(by: str, reply: str) -> None:
    async with scripted(knows(2, reply)) as server:
        assert (await send(server.url, by, make_recipients(5))).ok
    assert [len(each.recipients) for each in server.messages] == [2, 2, 1]


@pytest.mark.parametrize("reply", ["452 4.2.2 mailbox full", "452 4.3.1 disk full", "552 5.2.2 over quota"])
@pytest.mark.parametrize("by", ["client", "chunking"])
@on_each_runtime(runtimes=BOTH)
async def test_what_is_said_of_one_mailbox(by: str, reply: str) -> None:
    async with scripted(knows(2, reply)) as server:
        outcome = await send(server.url, by, make_recipients(4))
    assert statuses(outcome) == ("aadd" if reply[0] == "4" else "aarr")
    assert len(server.messages) == 1


@pytest.mark.parametrize("by", ["client", "chunking", "data"])
@on_each_runtime(runtimes=BOTH)
async def test_nobody_at_all(by: str) -> None:
    async with scripted(knows(0)) as server:
        outcome = await send(server.url, by, make_recipients(3))
    assert statuses(outcome) == "ddd"
    assert sum(line.startswith("MAIL") for talk in server.talks for line in talk.lines) == 1
    with pytest.raises(MailError, match="too many"):
        outcome.raise_for_refusals()


@pytest.mark.parametrize("verb", ["MAIL", "."])
@on_each_runtime(runtimes=BOTH)
async def test_452_to_anything_else(verb: str) -> None:
    """It is what it is."""
    async with scripted(lambda talk, line: "452 4.3.1 full" if line.startswith(verb) else None) as server:
        assert statuses(await send(server.url, "client", make_recipients(3))) == "ddd"
        assert statuses(await send(server.url, "chunking", make_recipients(3))) == "ddd"
    async with scripted(lambda talk, line: "552 5.3.4 large" if line.startswith(verb) else None) as server:
        assert statuses(await send(server.url, "client", make_recipients(3))) == "rrr"


@pytest.mark.parametrize("limits", [(), ("LIMITS RCPTMAX=2",)], ids=["", "RCPTMAX"])
@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA", ".", "idle"])
@pytest.mark.parametrize("way", ["421 4.3.2 bye", Do.RESET, Do.CLOSE])
@on_each_runtime(runtimes=BOTH)
async def test_the_session_ends_between_transactions(
    moment: str, way: str | Do, limits: tuple[str, ...]
) -> None:
    """What was accepted stays so; a mailer goes on elsewhere, a session cannot."""

    def react(talk: Talk, line: str) -> Reaction:
        has_one = any(each.connection == 0 for each in server.messages)
        if talk.number == 0 and has_one and line.startswith(moment):
            return [way, Do.CLOSE]
        if talk.number == 0 and moment == "idle" and line == "." and not has_one:
            return [Do.TAKE, "250 2.6.0 taken", way, Do.CLOSE]
        return knows(2)(talk, line)  # type: ignore[no-any-return]

    is_unknown = moment == "." and isinstance(way, Do)
    recipients = make_recipients(5)
    async with scripted(react, extensions=("PIPELINING", *limits)) as server:
        async with SMTPClient(server.url) as client:
            outcome = await client.send(CONTENT, sender=SENDER, recipients=recipients)
        assert statuses(outcome) == ("aauud" if is_unknown else "aaddd")
        assert outcome.error is not None
        assert [each.recipients for each in server.messages] == [tuple(recipients[:2])]

    async with scripted(react, extensions=("PIPELINING", *limits)) as server:
        async with Mailer(server.url, connections=1, pool=QUICK) as mailer:
            outcome = await mailer.send(CONTENT, sender=SENDER, recipients=recipients)
        counted = Counter(each for message in server.messages for each in message.recipients)
        assert max(counted.values()) == 1
        for each in outcome.recipients:
            assert counted[each.address] == (each.status.value == "accepted"), outcome
        assert statuses(outcome) == ("aaaaa" if moment != "." else "aauua" if is_unknown else "aadda")


@on_each_runtime(runtimes=BOTH)
async def test_the_mailer_is_aborted_in_between() -> None:
    """What was accepted is not forgotten."""
    recipients = make_recipients(4)
    outcomes: list[Outcome] = []

    def react(talk: Talk, line: str) -> Reaction:
        if server.messages and line.startswith("MAIL"):
            return Do.MUTE
        return knows(2)(talk, line)  # type: ignore[no-any-return]

    async with scripted(react, extensions=("PIPELINING",)) as server:
        mailer = Mailer(server.url, pool=QUICK)
        parcels = [Parcel(CONTENT, SENDER, recipients)]
        stream = mailer.send_many(parcels)

        async def collect() -> None:
            outcomes.append(await anext(stream))

        async with anyio.create_task_group() as group:
            group.start_soon(collect)
            # That the next MAIL has come shows that the answer to the content was read.
            await eventually(lambda: server.messages and server.talks[0].lines[-1].startswith("MAIL"))
            mailer.abort()
    [outcome] = outcomes
    assert statuses(outcome) == "aadd"
    assert isinstance(outcome.error, ClosedError)


@on_each_runtime(runtimes=BOTH)
async def test_the_server_goes_for_good_in_between() -> None:
    recipients = make_recipients(4)

    def react(talk: Talk, line: str) -> Reaction:
        if server.messages and (line == "CONNECT" or line.startswith("MAIL")):
            return Do.CLOSE
        return knows(2)(talk, line)  # type: ignore[no-any-return]

    async with (
        scripted(react, extensions=("PIPELINING",)) as server,
        Mailer(server.url, pool=QUICK) as mailer,
    ):
        outcome = await mailer.send(CONTENT, sender=SENDER, recipients=recipients)
    assert statuses(outcome) == "aadd"
    assert isinstance(outcome.error, ConnectionLost)
