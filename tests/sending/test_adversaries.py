"""A mailer and servers that do whatever servers may do, and some things they may not, over real sockets.

The servers are those of the pipeline's own property test; here they answer in pieces of any size, hesitate, and break
connections off at any octet, politely or not. Nothing is lost, nothing goes twice, and unknown is only what nobody
can know.

ASYNCMAIL_SEEDS sets the number of examples; 100 take some minutes.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import SocketAttribute

from asyncmail import Mailer, Parcel, PoolLimits, SMTPClient
from asyncmail.errors import MailError
from net.runtimes import on_each_runtime
from scripted import Do, scripted
from smtp_model import Behaviour, ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncmail import Outcome
    from scripted import Reaction, ScriptedServer, Talk

SEEDS = int(os.environ.get("ASYNCMAIL_SEEDS", "4"))
BOTH = ("asyncio", "trio")


@dataclass
class Adversary:
    """A server, each connection of which has a model of its own, drawn from `chance`."""

    chance: random.Random
    chunking: bool
    lmtp: bool = False
    breaks: bool = True
    """Connections break off, with nothing said."""
    hesitates: bool = True
    pipelining: bool = True
    choose: Callable[[list[int]], int] | None = None
    models: list[ModelServer] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"{'lmtp' if self.lmtp else 'smtp'}://127.0.0.1:{self.port}"

    def _model(self) -> ModelServer:
        chance = self.chance
        behaviour = Behaviour(
            pipelining=self.pipelining,
            chunking=self.chunking,
            lmtp=self.lmtp,
            keeps_transaction=chance.random() < 0.5,
            goes_on=chance.random() < 0.5 and not self.lmtp,
            cannot_follow=chance.random() < 0.2,
        )
        model = ModelServer(behaviour, self.choose or chance.choice)
        self.models.append(model)
        return model

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        chance = self.chance
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                await stream.send(b"220 adversary\r\n")
                assert (await stream.receive())[1:4] == b"HLO"
                keywords = [b"SIZE"] + [b"PIPELINING"] * self.pipelining + [b"CHUNKING"] * self.chunking
                await stream.send(b"".join(b"250-%b\r\n" % each for each in keywords) + b"250 HELP\r\n")
                await self._talk(stream, self._model())
            if chance.random() < 0.5:
                raw = stream.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _talk(self, stream: anyio.abc.SocketStream, model: ModelServer) -> None:
        chance = self.chance
        heard_left = chance.randrange(3000) if self.breaks and chance.random() < 0.7 else 1_000_000
        said_left = chance.randrange(1000) if self.breaks and chance.random() < 0.5 else 1_000_000
        while not model.closed:
            data = await stream.receive(chance.choice([1, 10, 100, 65536]))
            model.receive(data[:heard_left])
            heard_left -= len(data)
            while model.output:
                piece = bytes(model.output[: chance.choice([1, 2, 10, 1000])])[: max(said_left, 0)]
                del model.output[: len(piece)]
                said_left -= len(piece)
                if piece:
                    await stream.send(piece)
                if self.hesitates and chance.random() < 0.1:
                    await anyio.sleep(0.0005)
                if said_left <= 0:
                    return
            if heard_left <= 0:
                return

    @property
    def copies(self) -> Counter[tuple[str, str]]:
        """How often each sender's message was taken for each recipient."""
        return Counter([(each.sender, each.recipient) for model in self.models for each in model.taken])


def make_parcels(
    chance: random.Random, number: int, recipients_of_one: Sequence[int] = (1, 1, 1, 2, 4)
) -> list[Parcel]:
    parcels = []
    for index in range(number):
        content = b"Subject: %d\r\n\r\n" % index + chance.choice([b"", b".\r\n", b"x" * 2000, b"\r\n.\r\n"])
        recipients = [f"r{index}x{each}@y.example" for each in range(chance.choice(recipients_of_one))]
        parcels.append(Parcel(content, f"t{index}@x.example", recipients, tag=str(index)))
    return parcels


async def send(adversary: Adversary, parcels: Sequence[Parcel], **limits: int) -> list[Outcome]:
    pool = PoolLimits(pause_seconds=0, attempts=50, **limits)  # type: ignore[arg-type]
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        adversary.port = listener.extra(SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, adversary.serve)
            async with Mailer(adversary.url, connections=3, pool=pool) as mailer:
                outcomes = [each async for each in mailer.send_many(parcels)]
            group.cancel_scope.cancel()
    return outcomes


def check(adversary: Adversary, parcels: Sequence[Parcel], outcomes: Sequence[Outcome]) -> Counter[str]:
    """Return how often there was which status."""
    assert sorted(int(each.tag) for each in outcomes) == list(range(len(parcels)))
    copies = adversary.copies
    assert not copies or max(copies.values()) == 1, "twice"
    found: Counter[str] = Counter()
    for outcome in outcomes:
        parcel = parcels[int(outcome.tag)]
        assert [each.address for each in outcome.recipients] == parcel.recipients
        for each in outcome.recipients:
            found[each.status.value] += 1
            taken = copies[str(parcel.sender), each.address]
            if each.status.value == "accepted":
                assert taken == 1, (each, outcome)
            elif each.status.value != "unknown":
                assert taken == 0, (each, outcome)
            assert each.reply is not None or outcome.error is not None
    return found


@pytest.mark.parametrize("way", ["chunking", "data", "one by one", "lmtp"])
@pytest.mark.parametrize("seed", range(SEEDS))
@on_each_runtime(runtimes=BOTH)
async def test_whatever_they_do(seed: int, way: str) -> None:
    chance = random.Random(f"{seed} {way}")
    adversary = Adversary(
        chance, chunking=way in ("chunking", "lmtp"), lmtp=way == "lmtp", pipelining=way != "one by one"
    )
    parcels = make_parcels(chance, 40)
    outcomes = await send(adversary, parcels, window=chance.choice([1, 2, 8, 64]))
    check(adversary, parcels, outcomes)


@pytest.mark.parametrize("way", ["chunking", "data", "one by one"])
@pytest.mark.parametrize("seed", range(SEEDS))
@on_each_runtime(runtimes=BOTH)
async def test_as_long_as_they_answer_nothing_is_unknown(seed: int, way: str) -> None:
    """Sessions end with 421 only."""
    chance = random.Random(f"{seed} {way}")
    adversary = Adversary(chance, chunking=way == "chunking", breaks=False, pipelining=way != "one by one")
    parcels = make_parcels(chance, 40)
    outcomes = await send(adversary, parcels, window=chance.choice([1, 2, 8, 64]))
    assert not check(adversary, parcels, outcomes)["unknown"]


@pytest.mark.parametrize("way", ["chunking", "data", "one by one", "lmtp"])
@pytest.mark.parametrize("breaks", [False, True], ids=["answers", "breaks"])
@pytest.mark.parametrize("seed", range(SEEDS))
@on_each_runtime(runtimes=BOTH)
async def test_too_many_recipients_at_random(seed: int, breaks: bool, way: str) -> None:
    """Transactions are divided, cut off, sent again; each recipient has one fate, and the true one."""
    chance = random.Random(f"{seed} {breaks} {way}")
    adversary = Adversary(
        chance,
        chunking=way in ("chunking", "lmtp"),
        lmtp=way == "lmtp",
        pipelining=way != "one by one",
        breaks=breaks,
        choose=lambda codes: chance.choice([*codes, 452, 452, 552] if 251 in codes else codes),
    )
    parcels = make_parcels(chance, 25, (1, 3, 8, 20))
    outcomes = await send(adversary, parcels, window=chance.choice([1, 2, 8, 64]))
    found = check(adversary, parcels, outcomes)
    assert breaks or way == "lmtp" or not found["unknown"]


# --- what no server may say

NO_REPLIES: dict[str, tuple[str | bytes | Do, ...]] = {
    "no text": ("250",),
    "a code and a blank": ("250 ",),
    "a bare line feed": (b"250 OK\n",),
    "lines": ("250-a", "250-", "250 b"),
    "lines that end in a code alone": ("250-a", "250"),
    "codes that differ": ("250-a", "251 b"),
    "an end in the middle of a code": (b"25", Do.CLOSE),
    "an end in the middle of a line": (b"250 O", Do.CLOSE),
    "an end between CR and LF": (b"250 OK\r", Do.RESET),
    "an end between lines": ("250-a", Do.CLOSE),
    "go ahead": ("354 go ahead",),
    "a challenge": ("334 ",),
    "a greeting": ("220 hello",),
    "a goodbye": ("221 bye",),
    "a code that is none": ("600 x",),
    "a short code": ("25 x",),
    "no code": ("OK",),
    "an empty line": ("",),
    "control characters": (b"250 \x00\x1b[2J\xff\r\n",),
    "a long line": ("250 " + "x" * 20_000,),
    "lines without end": tuple(["250-" + "x" * 1000] * 100),
    "two replies": ("250 OK", "250 OK"),
    "bad sequence": ("503 5.5.1 bad sequence",),
    "unknown": ("500 5.5.2 unknown",),
    "too busy": ("421 4.3.2 bye", Do.CLOSE),
    "too busy, and stays": ("421 4.3.2 bye",),
    "too busy, and resets": ("421 4.3.2 bye", Do.RESET),
}


YES = {
    "no text",
    "a code and a blank",
    "a bare line feed",
    "lines",
    "lines that end in a code alone",
    "a greeting",
    "a goodbye",
    "control characters",
    "two replies",
}
"""Those that are an acceptance, after all."""


def says_once(verb: str, words: str) -> Callable[[Talk, str], Any]:
    """The third time that it hears `verb` it does that, and otherwise what a good server does."""
    heard = 0

    async def say(talk: Talk) -> Reaction:
        if verb == "." and words in YES:
            talk.take()
        for step in NO_REPLIES[words]:
            if isinstance(step, Do):
                return step
            await talk.say(step)
        return Do.NOTHING

    def react(talk: Talk, line: str) -> Any:
        nonlocal heard
        if line == verb or line.startswith(f"{verb} "):
            heard += 1
            if heard == 3:
                return say(talk)
        return None

    return react


def check_truth(server: ScriptedServer, parcels: Sequence[Parcel], outcomes: Sequence[Outcome]) -> None:
    assert sorted(int(each.tag) for each in outcomes) == list(range(len(parcels)))
    taken = Counter([each.sender for each in server.messages])
    assert max(taken.values()) == 1
    for outcome in outcomes:
        [each] = outcome.recipients
        if each.status.value != "unknown":
            assert taken[outcome.sender] == (each.status.value == "accepted"), outcome
        assert each.reply is not None or outcome.error is not None


@pytest.mark.parametrize("way", ["chunking", "data", "one by one"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", ".", "RSET"])
@pytest.mark.parametrize("words", NO_REPLIES)
@on_each_runtime(runtimes=("asyncio",))
async def test_whatever_they_say(words: str, verb: str, way: str) -> None:
    if way == "chunking" and words in ("two replies", "lines that end in a code alone"):
        pytest.skip("the second could be the answer to the next command")
    if verb == "DATA" and words in ("go ahead", "a challenge"):
        pytest.skip("it would have to go ahead")
    extensions = {"chunking": ("PIPELINING", "CHUNKING"), "data": ("PIPELINING",), "one by one": ()}[way]
    parcels = [
        Parcel(b"Subject: x\r\n\r\n", f"t{index}@x.example", "r@y.example", tag=str(index))
        for index in range(7)
    ]
    async with scripted(says_once(verb, words), extensions=extensions) as server:
        async with Mailer(
            server.url, connections=1, pool=PoolLimits(pause_seconds=0, window=3), timeouts=0.5
        ) as mailer:
            outcomes = [each async for each in mailer.send_many(parcels)]
        check_truth(server, parcels, outcomes)
    async with scripted(says_once(verb, words), extensions=extensions) as server:
        outcomes = []
        while len(outcomes) < len(parcels):
            async with SMTPClient(server.url, timeouts=0.5) as client:
                while client.is_usable and len(outcomes) < len(parcels):
                    with suppress(MailError):  # before anything was sent
                        outcomes.append(await client.send(parcels[len(outcomes)]))
        check_truth(server, parcels, outcomes)


@pytest.mark.parametrize("verb", ["MAIL FROM:<poison", "RCPT TO:<poison"])
@pytest.mark.parametrize("where", [{20}, {0, 20, 100, 299}], ids=["one", "some"])
@pytest.mark.parametrize("extensions", [("PIPELINING", "CHUNKING"), ("PIPELINING",), ()])
@on_each_runtime(runtimes=BOTH)
async def test_messages_that_end_every_session(
    extensions: tuple[str, ...], where: set[int], verb: str
) -> None:
    """They alone fail, soon, wherever they stand, and the others do not."""

    def react(talk: Talk, line: str) -> Reaction:
        return ["421 4.3.2 not with me", Do.CLOSE] if line.startswith(verb) else None

    parcels = []
    for index in range(300):
        name = "poison" if index in where else "good"
        parcels.append(Parcel(b"Subject: x\r\n\r\n", f"{name}@x.example", f"{name}@y.example", tag=name))
    outcomes: list[Outcome] = []
    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=3, pool=PoolLimits(pause_seconds=0)) as mailer:
            # In the end only those are left, and it looks as if the server took no messages at all any more.
            with suppress(MailError) if len(where) > 1 else nullcontext():
                async for outcome in mailer.send_many(parcels):
                    outcomes.append(outcome)  # noqa: PERF401 - those before the error count
        assert len(outcomes) == 300
        for outcome in outcomes:
            assert outcome.ok if outcome.tag == "good" else outcome.deferred, outcome
        assert len(server.messages) == 300 - len(where)
        assert len(server.talks) < len(where) * 15 + 3
