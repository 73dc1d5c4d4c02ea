"""How fast messages may follow each other."""

from __future__ import annotations

import heapq
import itertools
from time import monotonic

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncmail
from asyncmail import InputError
from asyncmail.sending.pacing import Pace
from net.runtimes import on_each_runtime
from scripted import scripted


def test_without_limits_everything_may_begin() -> None:
    pace = Pace()
    assert all(pace.take(0.0) for _ in range(1000))
    assert pace.delay(0.0) == 0
    assert repr(pace) == "<Pace unlimited>"


def test_messages_are_spaced() -> None:
    pace = Pace(per_second=4)
    assert pace.take(10.0)
    assert not pace.take(10.0)
    assert pace.delay(10.0) == 0.25
    assert pace.take(10.25)
    assert repr(pace) == "<Pace 4 messages per second>"


def test_the_tighter_limit_holds() -> None:
    assert repr(Pace(per_second=14, per_minute=60)) == "<Pace 1 messages per second>"
    assert repr(Pace(per_second=1, per_minute=6000)) == "<Pace 1 messages per second>"


def test_a_burst_after_a_pause() -> None:
    pace = Pace(per_second=1, burst=3)
    assert [pace.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert pace.delay(100.0) == 1.0


@pytest.mark.parametrize(
    "arguments", [{"per_second": 0}, {"per_minute": -1}, {"burst": 0}, {"per_second": float("nan")}]
)
def test_limits_that_are_none(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Pace(**arguments)  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 0.5), max_size=200), st.sampled_from([0.5, 1, 3, 20]), st.integers(1, 5))
def test_never_more_than_the_rate_in_any_span(pauses: list[float], rate: float, burst: int) -> None:
    pace = Pace(per_second=rate, burst=burst)
    time = 0.0
    begun = []
    for pause in pauses:
        time += pause
        may_begin = pace.delay(time) == 0
        assert pace.take(time) is may_begin
        if may_begin:
            begun.append(time)
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            assert last - first + 1 <= burst + rate * (begun[last] - begun[first]) + 1e-6


@pytest.mark.parametrize("limits", [{}, {"per_second": 2}, {"per_minute": 6, "burst": 9}])
def test_the_clock_of_another_event_loop(limits: dict[str, float]) -> None:
    """Trio's begins anywhere: what was noted by one clock holds nobody up by another."""
    pace = Pace(**limits)  # type: ignore[arg-type]
    for start in (900_000.0, 10.0, 500_000.0, 0.0):
        assert pace.delay(start) == 0
        while pace.take(start):
            if not limits:
                break
        else:
            assert pace.delay(start) == pytest.approx(pace.interval)


def simulate(
    pace: Pace, arrivals: list[float], connections: int, seconds: list[float]
) -> list[tuple[int, float]]:
    """Which message begins when, if each connection takes the next one as soon as it is free and it may begin."""
    begun: list[tuple[int, float]] = []
    waiting: list[int] = []
    events = [(time, 0, number) for number, time in enumerate(arrivals)]  # (when, what or which, message)
    heapq.heapify(events)
    free = set(range(1, connections + 1))
    while events:
        time, connection, message = heapq.heappop(events)
        if connection:
            free.add(connection)
        else:
            waiting.append(message)
        for each in sorted(free):
            if not waiting:
                break
            may_begin = pace.delay(time) == 0
            assert pace.take(time) is may_begin
            free.discard(each)
            if may_begin:
                begun.append((waiting.pop(0), time))
                heapq.heappush(events, (time + seconds[len(begun) % len(seconds)], each, -1))
            else:
                later = time + pace.delay(time)
                assert later > time
                heapq.heappush(events, (later, each, -1))
    return begun


RATES = st.sampled_from(
    [{"per_second": 14.0}, {"per_minute": 30.0}, {"per_second": 3.0, "per_minute": 100.0}]
)


@given(
    RATES,
    st.integers(1, 6),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.integers(1, 8),
    st.lists(st.floats(0, 2), min_size=1, max_size=5),
)
def test_over_any_number_of_connections(
    limits: dict[str, float], burst: int, gaps: list[float], connections: int, seconds: list[float]
) -> None:
    """Never too fast, in whatever span; in the order in which they came; none is left behind."""
    pace = Pace(burst=burst, **limits)  # type: ignore[arg-type]
    time = 0.0
    arrivals = [time := time + gap for gap in gaps]
    begun = simulate(pace, arrivals, connections, seconds)
    assert [message for message, _ in begun] == list(range(len(gaps)))
    times = [time for _, time in begun]
    rate = 1 / pace.interval
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-6


@given(RATES, st.integers(1, 6), st.integers(1, 8), st.integers(2, 80))
def test_the_full_rate_is_reached(limits: dict[str, float], burst: int, connections: int, count: int) -> None:
    pace = Pace(burst=burst, **limits)  # type: ignore[arg-type]
    begun = simulate(pace, [50.0] * count, connections, [0.0])
    for number, (_, time) in enumerate(begun):
        assert time - 50.0 == pytest.approx(max(number - burst + 1, 0) * pace.interval)


async def test_a_mailer_keeps_the_pace_over_all_connections() -> None:
    begun: list[float] = []

    async def deliver(transaction: asyncmail.ReceivedTransaction) -> None:
        begun.append(monotonic())

    pool = asyncmail.PoolLimits(messages_per_second=100)
    parcels = [asyncmail.Parcel(b"Subject: x\r\n\r\n", "a@example.com", ["b@example.com"])] * 12
    async with asyncmail.SMTPServer(deliver) as server:
        async with asyncmail.Mailer(f"smtp://127.0.0.1:{server.port}", connections=3, pool=pool) as mailer:
            outcomes = [outcome async for outcome in mailer.send_many(parcels)]
    assert all(outcome.ok for outcome in outcomes)
    assert len(begun) == 12
    assert begun[-1] - begun[0] > 0.09  # the machine can only make it slower


async def test_closing_waits_for_what_may_not_begin_yet() -> None:
    received: list[asyncmail.ReceivedTransaction] = []

    async def deliver(transaction: asyncmail.ReceivedTransaction) -> None:
        received.append(transaction)

    parcel = asyncmail.Parcel(b"Subject: x\r\n\r\n", "a@example.com", ["b@example.com"])
    async with asyncmail.SMTPServer(deliver) as server:
        mailer = asyncmail.Mailer(
            f"smtp://127.0.0.1:{server.port}", pool=asyncmail.PoolLimits(messages_per_minute=1200)
        )
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(mailer.send, parcel)
            await anyio.wait_all_tasks_blocked()
            await mailer.aclose()
    assert len(received) == 5


async def test_a_server_that_takes_few_messages_in_one_session() -> None:
    """LIMITS MAILMAX, RFC 9422 §4.1."""
    sessions: set[int] = set()

    class Handler:
        async def deliver(self, transaction: asyncmail.ReceivedTransaction) -> None:
            sessions.add(id(transaction.session))
            kept.append(transaction)

    kept: list[asyncmail.ReceivedTransaction] = []
    async with asyncmail.SMTPServer(Handler(), more_extensions={"LIMITS": "MAILMAX=4"}) as server:
        async with asyncmail.Mailer(f"smtp://127.0.0.1:{server.port}", connections=1) as mailer:
            parcel = asyncmail.Parcel(b"Subject: x\r\n\r\n", "a@example.com", ["b@example.com"])
            async for outcome in mailer.send_many([parcel] * 12):
                assert outcome.ok
    assert len(kept) == 12
    assert len(sessions) == 3


@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_messages_begin_in_the_order_in_which_they_came() -> None:
    begun: list[str] = []

    def trace(speaker: str, line: str) -> None:
        if line.startswith("MAIL"):
            begun.append(line.partition("<")[2].partition("@")[0])

    async with scripted() as server:
        pool = asyncmail.PoolLimits(messages_per_second=500, burst=4)
        async with asyncmail.Mailer(server.url, connections=3, pool=pool, trace=trace) as mailer:
            parcels = [
                asyncmail.Parcel(b"Subject: x\r\n\r\n", f"{number}@example.com", "b@example.com")
                for number in range(60)
            ]
            assert [outcome.ok async for outcome in mailer.send_many(parcels)] == [True] * 60
    assert begun == [str(number) for number in range(60)]


@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_a_message_that_may_begin_just_after_it_might_not_need_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each look at the clock comes a little later than the one before it.
    monkeypatch.setattr("asyncmail.sending.pool.now", (time * 0.35 for time in itertools.count(1)).__next__)
    async with scripted() as server:
        pool = asyncmail.PoolLimits(messages_per_second=1, idle_seconds=3600, window=1)
        async with asyncmail.Mailer(server.url, connections=1, pool=pool) as mailer:
            parcel = asyncmail.Parcel(b"Subject: x\r\n\r\n", "a@example.com", "b@example.com")
            with anyio.fail_after(10):
                assert [outcome.ok async for outcome in mailer.send_many([parcel] * 12)] == [True] * 12
