"""The window of a connection: as wide as keeps the server busy, and no wider."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail import Mailer, Parcel, SMTPServer
from asyncmail.sending.window import Window
from net.runtimes import on_each_runtime

if TYPE_CHECKING:
    from asyncmail.server import ReceivedTransaction


def test_it_opens_as_answers_come() -> None:
    window = Window(64)
    assert repr(window) == "<Window of 4>"
    window.answered(1, 0.03)
    assert window.size == 5
    window.answered(40, 0.04)
    window.answered(40, 0.05)
    assert window.size == 64


@pytest.mark.parametrize("most", [1, 2, 3])
def test_it_is_never_wider_than_it_may_be(most: int) -> None:
    window = Window(most)
    assert window.size == most
    window.answered(5, 0.001)
    assert window.size == most
    window.answered(1, 100.0)
    assert window.size == min(most, 2)


def test_it_narrows_where_messages_wait_in_line() -> None:
    window = Window(64)
    window.answered(60, 0.05)
    window.answered(1, 0.2)
    assert window.size == 32
    window.answered(60, 0.2)  # to what had been begun before
    window.answered(4, 0.2)
    assert window.size == 32
    window.answered(31, 0.1)
    assert window.size == 32
    window.answered(2, 0.1)
    assert window.size == 33
    window.answered(1, 50.0)
    assert window.size == 2


def test_a_long_way_is_no_line() -> None:
    window = Window(64)
    for _ in range(60):
        window.answered(1, 0.9)
        window.answered(1, 1.7)
    assert window.size == 64


def seconds_for(messages: int, window: Window, way: float, work: float) -> tuple[float, list[float]]:
    """How long a server takes that sees to one message after the other; and how long each was under way."""
    time = free_at = 0.0
    begun: deque[tuple[float, float]] = deque()  # when, and when its answer is there
    waited = []
    left = messages
    while left or begun:
        while left and len(begun) < window.size:
            free_at = max(free_at, time + way / 2) + work
            begun.append((time, free_at + way / 2))
            left -= 1
        since, time = begun.popleft()
        waited.append(time - since)
        window.answered(1, time - since)
    return time, waited


@given(st.sampled_from([0.0001, 0.001, 0.01, 0.1, 0.7]), st.sampled_from([0.0002, 0.002, 0.02, 0.2, 2.0]))
def test_the_server_is_busy_and_nobody_waits_for_long(way: float, work: float) -> None:
    messages = 1000
    total, waited = seconds_for(messages, Window(64), way, work)
    # Until the window has opened, there may be a round trip for each time that it doubles.
    at_best = max(messages * work, messages / 64 * (way + work)) + way
    assert total <= 1.05 * at_best + 10 * way
    assert max(waited[messages // 2 :]) <= max(2 * (way + work), 0.1) + 2 * work


@on_each_runtime
async def test_a_slow_server_has_few_messages_to_lose() -> None:
    taken: list[str] = []

    async def deliver(transaction: ReceivedTransaction) -> None:
        await anyio.sleep(0.05)
        taken.append(transaction.recipients[0])

    async with (
        SMTPServer(deliver) as server,
        Mailer(f"smtp://127.0.0.1:{server.port}", connections=1) as mailer,
    ):
        outcomes = mailer.send_many(
            Parcel(b"Subject: news\r\n\r\n", "a@example.com", [f"r{n}@example.com"]) for n in range(50)
        )
        async for _ in outcomes:
            if len(taken) > 25:
                break
        under_way = mailer.statistics.under_way
        begun = len(taken)
        await mailer.send(b"Subject: reset\r\n\r\n", sender="a@example.com", recipients=["me@example.com"])
        assert under_way < 16
        assert taken.index("me@example.com") < begun + 16
        async for _ in outcomes:
            pass
    assert len(taken) == 51
