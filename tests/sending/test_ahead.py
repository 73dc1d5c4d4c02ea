"""What is made and signed in worker threads, ahead of who sends it."""

from __future__ import annotations

import gc
import threading
from email import message_from_bytes
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from asyncmail import AddressSyntaxError, DKIMSigner, Mailer, MessageError, Parcel
from asyncmail.message import flatten
from asyncmail.net import background
from asyncmail.sending.ahead import Ahead
from net.runtimes import eventually, on_each_runtime
from scripted import scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

BOTH = ("asyncio", "trio")
DATED = b"Date: Mon, 01 Jan 2024 00:00:00 +0000\nMessage-ID: <1@example.com>\n"
OCTETS = DATED + b"From: a@example.com\nTo: b@example.com\n\nx"


def parcel(number: int) -> Parcel:
    return Parcel(b"From: a@example.com\r\n\r\nx\r\n", "a@example.com", "b@example.com", tag=str(number))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 300])
@on_each_runtime(runtimes=BOTH)
async def test_in_order_and_in_other_threads(count: int) -> None:
    threads: set[int] = set()

    def make(number: int) -> Parcel:
        threads.add(threading.get_ident())
        return parcel(number)

    ahead = Ahead(range(count), make)
    assert [each.tag async for each in ahead] == [str(number) for number in range(count)]
    assert [each async for each in ahead] == []
    assert threading.get_ident() not in threads
    assert repr(ahead) == "<Ahead 0 ready, 0 groups under way>"


@pytest.mark.parametrize("at", [0, 5, 40, 100])
@pytest.mark.parametrize("where", ["asking", "making"])
@on_each_runtime(runtimes=BOTH)
async def test_an_error_comes_behind_the_messages_before_it(at: int, where: str) -> None:
    def numbers() -> Iterator[int]:
        for number in range(200):
            if number == at and where == "asking":
                raise KeyError(number)
            yield number

    def make(number: int) -> Parcel:
        if number == at and where == "making":
            raise KeyError(number)
        return parcel(number)

    ahead = Ahead(numbers(), make)
    taken = []
    with pytest.raises(KeyError):
        async for each in ahead:
            taken.append(each.tag)  # noqa: PERF401 - those before the error count
    assert taken == [str(number) for number in range(at)]
    assert [each async for each in ahead] == []
    await eventually(lambda: not background._running)


@on_each_runtime(runtimes=BOTH)
async def test_no_more_than_a_few_are_made_ahead() -> None:
    made = 0

    def make(number: int) -> Parcel:
        nonlocal made
        made += 1
        return parcel(number)

    ahead = Ahead(range(1_000_000), make)
    await anext(ahead)
    await anyio.sleep(0.05)
    assert made <= 32 * (2 + ahead._most)
    await ahead.aclose()
    await eventually(lambda: not background._running)
    gc.collect()


@on_each_runtime(runtimes=BOTH)
async def test_cancelled_while_it_waits() -> None:
    gate = threading.Event()

    def make(number: int) -> Parcel:
        gate.wait(10)
        return parcel(number)

    ahead = Ahead(range(50), make)
    with anyio.move_on_after(0.02):
        await anext(ahead)
    gate.set()
    assert [each.tag async for each in ahead] == [str(number) for number in range(50)]


@on_each_runtime(runtimes=BOTH)
async def test_signed_on_their_way() -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    first, second = (DKIMSigner(domain="example.com", selector="s", private_key=key) for key in keys)
    async with scripted() as server, Mailer(server.url) as mailer:
        parcels = [parcel(number) for number in range(100)]
        async for outcome in mailer.send_many(first.sign_many(parcels, others=[second])):
            assert outcome.ok
            assert outcome.tag == str(outcome.index)
    assert len(server.messages) == 100
    assert all(each.content.count(b"DKIM-Signature: ") == 2 for each in server.messages)


@pytest.mark.parametrize(
    "message",
    [
        message_from_bytes(OCTETS),
        OCTETS,
        Parcel(OCTETS, tag="t"),
        Parcel(OCTETS, "a@example.com", tag="t"),
        Parcel(OCTETS, recipients="b@example.com", tag="t"),
        Parcel(OCTETS, "A <a@example.com>", ["b@example.com", "b@EXAMPLE.com"], tag="t"),
        Parcel(message_from_bytes(OCTETS), "a@example.com", "b@example.com", tag="t"),
    ],
)
async def test_whatever_can_be_sent_can_be_signed(message: Parcel | Message | bytes) -> None:
    signer = DKIMSigner(domain="example.com", selector="s", private_key=Ed25519PrivateKey.generate())
    signed = await anext(signer.sign_many([message]))
    assert isinstance(signed.content, bytes)
    assert signed.content.startswith(b"DKIM-Signature: ")
    assert signed.content.endswith(flatten(OCTETS))
    assert (signed.sender, signed.recipients) == ("a@example.com", ("b@example.com",))
    assert signed.tag == ("t" if isinstance(message, Parcel) else "")


@pytest.mark.parametrize(
    "message",
    [Parcel(OCTETS, "a@example.com", "b"), Parcel(OCTETS, "a", "b@example.com"), Parcel(OCTETS, "", "b")],
)
async def test_what_cannot_be_sent_is_not_signed(message: Parcel) -> None:
    signer = DKIMSigner(domain="example.com", selector="s", private_key=Ed25519PrivateKey.generate())
    with pytest.raises(AddressSyntaxError):
        await anext(signer.sign_many([message]))


async def test_what_cannot_be_signed() -> None:
    signer = DKIMSigner(domain="example.com", selector="s", private_key=Ed25519PrivateKey.generate())
    with pytest.raises(MessageError, match="From"):
        await anext(signer.sign_many([Parcel(b"x: y\r\n\r\n", "a@example.com", "b@example.com")]))
