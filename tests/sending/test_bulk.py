"""Mailer.send_many: bounded, complete, and at the pace of who asks for outcomes."""

from __future__ import annotations

import gc
from contextlib import aclosing
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncmail import Mailer, Parcel, PoolLimits
from asyncmail.errors import (
    AddressSyntaxError,
    BusyError,
    ClosedError,
    ConnectError,
    ExtensionRequired,
    InputError,
    MessageError,
)
from asyncmail.net import background
from asyncmail.smtp import Outcome, Status
from net.runtimes import eventually, on_each_runtime
from peers import reserve_port
from scripted import Do, Talk, cut_at, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

BOTH = ("asyncio", "trio")
A, B = "a@example.com", "b@example.com"
SMALL = PoolLimits(window=2, pause_seconds=0.01)


def parcel(name: object, *, recipient: str = B) -> Parcel:
    return Parcel(f"Subject: {name}\r\n\r\n".encode(), A, recipient, tag=f"tag {name}")


def parcels(count: int, taken: list[int] | None = None) -> Iterator[Parcel]:
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield parcel(number)


async def async_parcels(
    count: int, taken: list[int] | None = None, pause: float = 0
) -> AsyncIterator[Parcel]:
    for number in range(count):
        await anyio.sleep(pause)
        if taken is not None:  # only now: while it waits, the run may end, and this one was not handed over
            taken.append(number)
        yield parcel(number)


def source(kind: str, count: int, taken: list[int] | None = None) -> Iterable[Parcel] | AsyncIterable[Parcel]:
    return parcels(count, taken) if kind == "sync" else async_parcels(count, taken)


kinds = pytest.mark.parametrize("kind", ["sync", "async"])


@kinds
@on_each_runtime
async def test_all_of_them(kind: str) -> None:
    async with scripted() as server, Mailer(server.url, connections=3, pool=SMALL) as mailer:
        outcomes = [outcome async for outcome in mailer.send_many(source(kind, 300))]
        assert sorted(outcome.index for outcome in outcomes if outcome.index is not None) == list(range(300))
        assert all(outcome.ok and outcome.tag == f"tag {outcome.index}" for outcome in outcomes)
        assert server.subjects == sorted(map(str, range(300)))


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_none_at_all(kind: str) -> None:
    async with Mailer("smtp://127.0.0.1") as mailer:
        outcomes = mailer.send_many(source(kind, 0))
        assert [outcome async for outcome in outcomes] == []
        assert [outcome async for outcome in outcomes] == []


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_nothing_is_taken_before_it_is_asked_for(kind: str) -> None:
    taken: list[int] = []
    async with Mailer("smtp://127.0.0.1") as mailer:
        mailer.send_many(source(kind, 10, taken))
        await anyio.sleep(0.01)
        assert not taken


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_a_slow_consumer_slows_the_source(kind: str) -> None:
    """What is done and was not asked for counts as well, so memory is bounded."""
    taken: list[int] = []
    async with scripted() as server, Mailer(server.url, connections=2, pool=SMALL) as mailer:
        capacity = 2 * 2 * 2
        asked = 0
        async for _ in mailer.send_many(source(kind, 60, taken)):
            asked += 1
            if asked % 10 == 1:
                await eventually(lambda asked=asked: len(server.messages) >= min(asked, 60))
                await anyio.sleep(0.005)
            assert len(taken) <= asked + capacity
        assert len(taken) == 60


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_a_slow_server_slows_the_source(kind: str) -> None:
    taken: list[int] = []
    gate = anyio.Event()
    async with (
        scripted(lambda talk, line: gate.wait() if line == "CONNECT" else None) as server,
        Mailer(server.url, connections=2, pool=SMALL) as mailer,
        anyio.create_task_group() as group,
    ):

        async def look() -> None:
            await eventually(lambda: len(taken) == 8)
            await anyio.sleep(0.01)
            assert len(taken) == 8
            gate.set()

        group.start_soon(look)
        assert len([outcome async for outcome in mailer.send_many(source(kind, 30, taken))]) == 30


@on_each_runtime(runtimes=BOTH)
async def test_a_slow_source() -> None:
    """No message waits for the next one."""
    count = 0

    async def slow() -> AsyncIterator[Parcel]:
        for number in range(5):
            await eventually(lambda number=number: count == number)
            yield parcel(number)

    async with scripted() as server, Mailer(server.url) as mailer:
        async for outcome in mailer.send_many(slow()):
            assert outcome.index == count
            assert len(server.messages) == count + 1
            count += 1
        assert count == 5


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_messages_that_cannot_be_prepared(kind: str) -> None:
    bad = [
        parcel(0, recipient="nobody"),
        b"no recipients",
        parcel(2),
        parcel(3, recipient="jörg@example.com"),
        parcel(4),
        17,
    ]

    async def aiterate() -> AsyncIterator[object]:
        for each in bad:
            yield each

    async with scripted() as server, Mailer(server.url, connections=1) as mailer:
        source: Any = bad if kind == "sync" else aiterate()
        outcomes = [each async for each in mailer.send_many(source)]
        outcomes.sort(key=lambda outcome: outcome.index or 0)
        assert [type(outcome.error) for outcome in outcomes] == [
            AddressSyntaxError,
            MessageError,
            type(None),
            ExtensionRequired,
            type(None),
            MessageError,
        ]
        assert [outcome.ok for outcome in outcomes] == [False, False, True, False, True, False]
        assert outcomes[0].tag == "tag 0"
        assert outcomes[3].refused
        assert len(server.messages) == 2


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_a_source_of_which_nothing_can_be_sent_is_bounded_too(kind: str) -> None:
    taken: list[int] = []

    def bad() -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            taken.append(number)
            yield b"no recipients"

    async def async_bad() -> AsyncIterator[bytes]:
        for each in bad():
            await anyio.lowlevel.checkpoint()
            yield each

    async with Mailer("smtp://127.0.0.1", connections=1, pool=SMALL) as mailer:
        count = 0
        async with aclosing(mailer.send_many(bad() if kind == "sync" else async_bad())) as outcomes:
            async for outcome in outcomes:
                assert isinstance(outcome.error, MessageError)
                count += 1
                await anyio.sleep(0.001)
                assert len(taken) <= count + 4
                if count == 20:
                    break


class Broken(Exception):
    pass


@kinds
@on_each_runtime
async def test_a_source_that_fails(kind: str) -> None:
    """What it gave before is sent, and reported first."""

    def failing() -> Iterator[Parcel]:
        yield from parcels(5)
        raise Broken

    async def async_failing() -> AsyncIterator[Parcel]:
        for each in failing():
            yield each

    async with scripted() as server, Mailer(server.url) as mailer:
        seen: list[int | None] = []
        with pytest.raises(Broken):
            async for outcome in mailer.send_many(failing() if kind == "sync" else async_failing()):
                assert outcome.ok
                seen.append(outcome.index)
        assert sorted(seen) == list(range(5))  # type: ignore[type-var]
        assert len(server.messages) == 5


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_no_session(kind: str) -> None:
    taken: list[int] = []
    limits = PoolLimits(window=2, pause_seconds=0.01)
    async with Mailer(f"smtp://127.0.0.1:{reserve_port()}", connections=1, pool=limits) as mailer:
        outcomes: list[Outcome] = []
        with pytest.raises(ConnectError):
            async for outcome in mailer.send_many(source(kind, 1000, taken)):
                outcomes.append(outcome)  # noqa: PERF401
        assert len(outcomes) == len(taken) < 10
        assert {each.status for outcome in outcomes for each in outcome.recipients} == {Status.DEFERRED}
        assert all(isinstance(outcome.error, ConnectError) for outcome in outcomes)


@on_each_runtime(runtimes=BOTH)
async def test_no_session_and_a_source_that_has_nothing_yet() -> None:
    async def waiting() -> AsyncIterator[Parcel]:
        yield parcel(0)
        await anyio.sleep_forever()

    async with Mailer(f"smtp://127.0.0.1:{reserve_port()}", pool=SMALL) as mailer:
        with pytest.raises(ConnectError):
            async for outcome in mailer.send_many(waiting()):
                assert outcome.deferred
    await eventually(lambda: not background._running)


@kinds
@on_each_runtime
async def test_leaving_early_withdraws_the_rest(kind: str) -> None:
    closed = False

    async def closing() -> AsyncIterator[Parcel]:
        nonlocal closed
        try:
            for each in parcels(1000):
                await anyio.lowlevel.checkpoint()
                yield each
        finally:
            closed = True

    async with scripted() as server:
        async with Mailer(server.url, connections=1, pool=PoolLimits(window=4)) as mailer:
            async for _ in mailer.send_many(parcels(1000) if kind == "sync" else closing()):
                break
            gc.collect()
            await anyio.sleep(0.01)
            assert (await mailer.send(parcel("after"))).ok
        # What had been begun is finished.
        assert len(server.messages) <= 10
        assert len(set(server.subjects)) == len(server.messages)
        assert closed or kind == "sync"
    await eventually(lambda: not background._running)


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_closing_it(kind: str) -> None:
    async with scripted() as server, Mailer(server.url) as mailer:
        async with aclosing(mailer.send_many(source(kind, 1000))) as outcomes:
            await anext(outcomes)
        with pytest.raises(StopAsyncIteration):
            while True:  # a few more may be there
                await anext(outcomes)


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_cancelled_at_every_await(kind: str) -> None:
    cut = 0
    was_cut = True
    while was_cut:
        cut += 1
        async with scripted() as server:
            async with Mailer(server.url, connections=2, pool=SMALL) as mailer:
                seen: list[Outcome] = []

                async def consume(mailer: Mailer = mailer, seen: list[Outcome] = seen) -> None:
                    async for outcome in mailer.send_many(source(kind, 12)):
                        seen.append(outcome)  # noqa: PERF401

                was_cut, _ = await cut_at(cut, consume)
                assert was_cut or len(seen) == 12
                assert (await mailer.send(parcel("other"))).ok
                gc.collect()
            subjects = server.subjects
            assert len(set(subjects)) == len(subjects)
            assert "other" in subjects
            await eventually(lambda: not background._running)
    assert cut > 2


@on_each_runtime(runtimes=BOTH)
async def test_two_tasks_on_one_iteration() -> None:
    async with scripted(lambda talk, line: Do.MUTE if line == "." else None) as server:
        mailer = Mailer(server.url, connections=1)
        outcomes = mailer.send_many(parcels(3))
        async with anyio.create_task_group() as group:

            async def first() -> None:
                assert [each.unknown[0].address async for each in outcomes] == [B] * 3

            group.start_soon(first)
            await eventually(lambda: server.talks and server.talks[0].content)
            with pytest.raises(BusyError):
                await anext(outcomes)
            mailer.abort()


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_the_mailer_is_closed_meanwhile(kind: str) -> None:
    """All that was taken is sent; the rest is not."""
    async with scripted() as server:
        mailer = Mailer(server.url, connections=1, pool=SMALL)
        outcomes: list[Outcome] = []
        with pytest.raises(ClosedError):
            async for outcome in mailer.send_many(source(kind, 1000)):
                outcomes.append(outcome)
                if len(outcomes) == 10:
                    await mailer.aclose()
        assert sum(outcome.ok for outcome in outcomes) == len(server.messages) >= 10
        assert len(outcomes) <= len(server.messages) + 1


@kinds
@on_each_runtime(runtimes=BOTH)
async def test_the_mailer_is_aborted_meanwhile(kind: str) -> None:
    taken: list[int] = []
    async with scripted() as server:
        mailer = Mailer(server.url, connections=2, pool=SMALL)
        outcomes: list[Outcome] = []
        with pytest.raises(ClosedError):
            async for outcome in mailer.send_many(source(kind, 1000, taken)):
                outcomes.append(outcome)
                if len(outcomes) == 10:
                    mailer.abort()
        assert sorted(outcome.index for outcome in outcomes) == list(range(len(taken)))  # type: ignore[type-var]
        accepted = sum(outcome.ok for outcome in outcomes)
        unknown = sum(bool(outcome.unknown) for outcome in outcomes)
        assert accepted <= len(server.messages) <= accepted + unknown
    await eventually(lambda: not background._running)


@on_each_runtime(runtimes=BOTH)
async def test_several_bulks_and_single_messages_at_the_same_time() -> None:
    async with scripted() as server, Mailer(server.url, connections=2, pool=SMALL) as mailer:

        async def consume(offset: int) -> None:
            async for outcome in mailer.send_many([parcel(offset + number) for number in range(50)]):
                assert outcome.ok
                assert outcome.tag == f"tag {offset + outcome.index}"  # type: ignore[operator]

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(consume, 100 * number)
            for number in range(20):
                group.start_soon(mailer.send, parcel(1000 + number))
        assert len(set(server.subjects)) == 220


@on_each_runtime(runtimes=BOTH)
async def test_connections_are_lost_all_the_time() -> None:
    count = 0

    def react(talk: Talk, line: str) -> Do | None:
        nonlocal count
        if line.startswith("RCPT"):
            count += 1
            if count % 7 == 0:
                return Do.CLOSE
        return None

    async with scripted(react) as server:
        limits = PoolLimits(window=3, pause_seconds=0.001, attempts=10)
        async with Mailer(server.url, connections=2, pool=limits) as mailer:
            outcomes = [outcome async for outcome in mailer.send_many(parcels(200))]
        assert sorted(outcome.index for outcome in outcomes) == list(range(200))  # type: ignore[type-var]
        accepted = {str(outcome.index) for outcome in outcomes if outcome.ok}
        unknown = {str(outcome.index) for outcome in outcomes if outcome.unknown}
        assert len(accepted) + len(unknown) == 200
        assert accepted == set(server.subjects)
        assert len(server.messages) == len(accepted)


@pytest.mark.parametrize(
    "one", [EmailMessage(), b"Subject: x\r\n\r\n", "text"], ids=["message", "octets", "str"]
)
def test_one_message_is_no_list_of_them(one: object) -> None:
    """One can iterate over each of these."""
    with pytest.raises(InputError, match=r"one message is given where several may be .*send\(\)"):
        Mailer("smtp://localhost").send_many(one)  # type: ignore[arg-type]
