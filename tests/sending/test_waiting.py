"""What waits for a connection: single messages before others, each kind in its order, and none for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from asyncmail import Mailer, Parcel, PoolLimits, SMTPServer
from asyncmail.errors import ClosedError
from asyncmail.message import prepare
from asyncmail.sending.job import Job
from asyncmail.sending.pool import Pool
from asyncmail.sending.waiting import WaitingJobs
from net.runtimes import on_each_runtime

if TYPE_CHECKING:
    from asyncmail.server import Transaction

PREPARED = prepare(b"Subject: x\r\n\r\n", "a@example.com", ["b@example.com"])


def job(index: int | None = None) -> Job:
    return Job(PREPARED, lambda job, result: None, index)


def test_single_messages_pass_those_of_a_bulk() -> None:
    waiting = WaitingJobs()
    bulk, again, single, other, first, last = job(0), job(1), job(), job(), job(), job()
    waiting.add(bulk)
    waiting.add(single)
    waiting.add(other)
    waiting.add_first(again)
    waiting.add_first(first)
    waiting.add_last(last)
    assert len(waiting) == 6
    assert [waiting.take() for _ in range(7)] == [first, single, other, again, bulk, last, None]
    assert not waiting


def test_what_is_withdrawn_is_forgotten() -> None:
    waiting = WaitingJobs()
    jobs = [job(), job(0), job(1), job(2)]
    for each in jobs:
        waiting.add(each)
    jobs[0].is_withdrawn = jobs[1].is_withdrawn = True
    assert waiting
    assert len(waiting) == 2
    jobs[2].is_withdrawn = True
    assert waiting.take() is jobs[3]
    assert not waiting


def test_nothing_waits_for_ever() -> None:
    waiting = WaitingJobs()
    retried, bulk, gone = job(), job(1), job(2)
    gone.is_withdrawn = True
    waiting.add_last(gone)
    waiting.add_last(retried)
    waiting.add(bulk)
    taken = []
    for _ in range(50):
        waiting.add(job())
        waiting.add(job())
        taken.append(waiting.take())
    assert 5 <= taken.index(retried) < taken.index(bulk) < 20
    assert gone not in taken
    assert len(waiting) == 2 * 50 - (50 - 2)


def test_what_sessions_ended_at_more_than_once_waits_behind_the_others() -> None:
    pool = Pool(cast("Any", None), 1, PoolLimits())
    suspect, once, good = job(0), job(1), job(2)
    suspect.detours, once.detours = 2, 1
    pool.put_back([suspect, once, good], ClosedError())
    assert [pool.take_job() for _ in range(3)] == [once, good, suspect]


@on_each_runtime
async def test_a_password_reset_need_not_wait_for_the_newsletter() -> None:
    taken: list[str] = []

    async def deliver(transaction: Transaction) -> None:
        taken.append(transaction.recipients[0])

    async with (
        SMTPServer(deliver) as server,
        Mailer(f"smtp://127.0.0.1:{server.port}", connections=1, pool=PoolLimits(window=2)) as mailer,
    ):
        newsletter = (
            Parcel(b"Subject: news\r\n\r\n", "a@example.com", [f"r{n}@example.com"]) for n in range(200)
        )
        outcomes = mailer.send_many(newsletter)
        await anext(outcomes)
        begun = len(taken)
        assert (
            await mailer.send(
                b"Subject: reset\r\n\r\n", sender="a@example.com", recipients=["me@example.com"]
            )
        ).ok
        async for outcome in outcomes:
            assert outcome.ok
    assert len(taken) == 201
    assert taken.index("me@example.com") <= begun + 3
