"""The limits of Postfix and Exim: connections, messages, time. Nothing is lost by them, nothing comes twice."""

from __future__ import annotations

from collections import Counter
from email import message_from_bytes, policy
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail import Mailer, Parcel, PoolLimits, transcript
from net.runtimes import eventually, on_each_runtime
from peers import Exim, Postfix, run_exim, run_postfix
from peers.process import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from asyncmail import Outcome
    from peers import Authority

BOTH = ("asyncio", "trio")
_serial = count(1)
NO_EXCEPTIONS = {"smtpd_client_event_limit_exceptions": ""}  # by default, this machine is one


@pytest.fixture(scope="module")
def strict_postfix(postfix: Postfix, authority: Authority) -> Iterator[Postfix]:
    """Two connections at a time, of which an idle one ends after a second."""
    settings = {"smtpd_client_connection_count_limit": "2", "smtpd_timeout": "1s", **NO_EXCEPTIONS}
    with run_postfix(authority, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def strict_exim(exim: Exim, authority: Authority) -> Iterator[Exim]:
    """Two connections at a time."""
    with run_exim(authority, settings={"smtp_accept_max_per_host": "2"}) as server:
        yield server


@pytest.fixture(params=["exim", "postfix"])
def server(request: pytest.FixtureRequest) -> Exim | Postfix:
    peer: Exim | Postfix = request.getfixturevalue(f"strict_{request.param}")
    return peer


def parcels(number: int) -> list[Parcel]:
    return [
        Parcel(f"X-Id: {each}\r\n\r\ntext\r\n".encode(), "a@example.org", "b@example.com", tag=str(each))
        for each in (next(_serial) for _ in range(number))
    ]


def delivered(server: Exim | Postfix, outcomes: list[Outcome]) -> Counter[str]:
    """How often these messages were delivered, by tag."""
    tags = {outcome.tag for outcome in outcomes}
    found = (message_from_bytes(each, policy=policy.compat32)["X-Id"] for each in server.maildir.contents())
    return Counter(each for each in found if each in tags)


def check(server: Exim | Postfix, outcomes: list[Outcome]) -> None:
    """What was accepted, and that only, was delivered, once."""
    accepted = {outcome.tag for outcome in outcomes if outcome.ok}
    assert not any(outcome.unknown for outcome in outcomes)
    wait_until(lambda: delivered(server, outcomes).total() >= len(accepted), 30)
    assert delivered(server, outcomes) == Counter(accepted)


def make_mailer(server: Exim | Postfix, client_tls: ssl.SSLContext, **limits: int) -> Mailer:
    pool = PoolLimits(**limits)  # type: ignore[arg-type]
    return Mailer(f"smtp://127.0.0.1:{server.port}", connections=8, pool=pool, tls_context=client_tls)


@pytest.mark.parametrize("window", [1, 8])
@on_each_runtime(runtimes=BOTH)
async def test_fewer_connections_than_wanted(
    server: Exim | Postfix, window: int, client_tls: ssl.SSLContext
) -> None:
    async with make_mailer(server, client_tls, window=window) as mailer:
        outcomes = [each async for each in mailer.send_many(parcels(120))]
        assert " allowed" in repr(mailer)
        await eventually(lambda: "2 of 8 connections" in repr(mailer))
    assert all(outcome.ok for outcome in outcomes)
    check(server, outcomes)


@on_each_runtime(runtimes=BOTH)
async def test_more_messages_than_it_takes_in_a_time(authority: Authority, postfix: Postfix) -> None:
    """It defers them, one by one: so say the outcomes, and fewer connections are used."""
    settings = {
        "smtpd_client_message_rate_limit": "20",
        "anvil_rate_time_unit": "2s",
        "smtpd_delay_reject": "yes",
        **NO_EXCEPTIONS,
    }
    with run_postfix(authority, settings=settings) as server:
        async with make_mailer(server, authority.client_context(), window=2) as mailer:
            outcomes = [each async for each in mailer.send_many(parcels(200))]
            assert " allowed" in repr(mailer)
        deferred = [outcome for outcome in outcomes if outcome.deferred]
        assert deferred
        assert {str(outcome.recipients[0].reply)[:9] for outcome in deferred} == {"450 4.7.1"}
        assert len(deferred) + sum(outcome.ok for outcome in outcomes) == 200
        check(server, outcomes)


@on_each_runtime(runtimes=("asyncio", "uvloop", "trio"))
async def test_an_idle_connection_that_it_closed(strict_postfix: Postfix, client_tls: ssl.SSLContext) -> None:
    """Noticed without a probe command, with TLS between."""
    lines: list[str] = []
    outcomes: list[Outcome] = []
    async with Mailer(
        f"smtp://127.0.0.1:{strict_postfix.port}", tls_context=client_tls, trace=transcript(lines.append)
    ) as mailer:
        first, second = parcels(2)
        outcomes.append(await mailer.send(first))
        await anyio.sleep(1.3)
        outcomes.append(await mailer.send(second))
    assert all(outcome.ok for outcome in outcomes)
    verbs = Counter(line.split()[1] for line in lines if line.startswith("C: "))
    assert verbs["MAIL"] == verbs["STARTTLS"] == 2
    assert not {"NOOP", "RSET"} & verbs.keys()
    check(strict_postfix, outcomes)
