"""The pool: how many connections it opens, when, and what a server's complaints make of that."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail import ConnectionLimits, Mailer, Parcel, PoolLimits, ReceivedTransaction, SMTPServer
from asyncmail.errors import InputError
from asyncmail.sending import MailerStatistics
from asyncmail.smtp import Outcome, Reply, Status
from net.runtimes import eventually, on_each_runtime
from scripted import EXTENSIONS, Do, Talk, scripted

if TYPE_CHECKING:
    from collections.abc import Iterable

BOTH = ("asyncio", "trio")
PLAIN = tuple(each for each in EXTENSIONS if each not in ("PIPELINING", "CHUNKING"))
PIPELINING = tuple(each for each in EXTENSIONS if each != "CHUNKING")
OFFERS = {"plain": PLAIN, "pipelining": PIPELINING, "chunking": EXTENSIONS}
offers = pytest.mark.parametrize("extensions", OFFERS.values(), ids=OFFERS)
TOO_MANY = ["421 4.7.0 too many connections", Do.CLOSE]


def parcel(name: object = "hello") -> Parcel:
    return Parcel(
        f"Subject: {name}\r\n\r\ntext\r\n".encode(), "a@example.com", "b@example.com", tag=str(name)
    )


async def send_each(mailer: Mailer, names: Iterable[object]) -> dict[str, Outcome]:
    """Each in a task of its own."""
    outcomes: dict[str, Outcome] = {}

    async def send(name: object) -> None:
        outcomes[str(name)] = await mailer.send(parcel(name))

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(send, name)
    return outcomes


async def send_many(mailer: Mailer, count: int) -> list[Outcome]:
    return [each async for each in mailer.send_many([parcel(number) for number in range(count)])]


# --- how many it opens


@offers
@on_each_runtime
async def test_a_few_messages_do_not_open_every_connection(extensions: tuple[str, ...]) -> None:
    """Opening one takes longer than those before them."""

    async def react(talk: Talk, line: str) -> None:
        if line == "CONNECT":
            await anyio.sleep(0.3)

    async with scripted(react, extensions=extensions) as server, Mailer(server.url, connections=4) as mailer:
        for _ in range(3):
            outcomes = await send_each(mailer, range(3))
            assert all(outcome.ok for outcome in outcomes.values())
        assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_more_messages_than_a_connection_takes_at_once_open_another_at_once() -> None:
    """Where none is open yet, nothing is gained by waiting for the first."""
    gate = anyio.Event()
    async with scripted(lambda talk, line: gate.wait() if line == "CONNECT" else None) as server:
        async with Mailer(server.url, connections=9, pool=PoolLimits(window=10)) as mailer:
            async with anyio.create_task_group() as group:
                for number in range(14):
                    group.start_soon(mailer.send, parcel(number))
                await eventually(lambda: "14 messages waiting" in repr(mailer))
                await eventually(lambda: len(server.talks) == 4)
                gate.set()
        assert len(server.talks) == 4


@offers
@on_each_runtime(runtimes=BOTH)
async def test_messages_that_go_on_waiting_open_another(extensions: tuple[str, ...]) -> None:
    """Those that the server is slow with are seen to by as many connections as there may be."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> None:
        if line == ".":
            await gate.wait()

    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=4, pool=PoolLimits(window=2)) as mailer:
            async with anyio.create_task_group() as group:
                group.start_soon(mailer.send, parcel("first"))
                await eventually(lambda: server.talks and server.talks[0].content)
                assert len(server.talks) == 1
                for number in range(20):
                    group.start_soon(mailer.send, parcel(number))
                await eventually(lambda: len(server.talks) == 4)
                gate.set()
        assert len(server.talks) == 4
        assert len(server.messages) == 21


@on_each_runtime(runtimes=BOTH)
async def test_waiting_for_the_pace_opens_no_connection() -> None:
    async with scripted() as server:
        limits = PoolLimits(messages_per_second=8)  # slow enough for any machine to answer in between
        async with Mailer(server.url, connections=4, pool=limits) as mailer:
            outcomes = await send_each(mailer, range(5))
        assert len(outcomes) == len(server.messages) == 5
        assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_slow_answers_do_not_hold_up_the_pace() -> None:
    """What may begin and finds no connection free opens another."""

    async def react(talk: Talk, line: str) -> None:
        if line == ".":
            await anyio.sleep(0.2)

    async with scripted(react, extensions=PLAIN) as server:
        limits = PoolLimits(messages_per_second=50, window=1)
        async with Mailer(server.url, connections=4, pool=limits) as mailer:
            await send_each(mailer, range(12))
        assert len(server.talks) == 4


@on_each_runtime
async def test_a_connection_that_takes_overly_long_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next message opens another, which sends what waits."""
    monkeypatch.setattr("asyncmail.sending.pool._OVERDUE_SECONDS", 0.05)
    async with scripted(lambda talk, line: Do.MUTE if talk.number == 0 else None) as server:
        async with Mailer(server.url, connections=4) as mailer:
            async with anyio.create_task_group() as group:
                group.start_soon(mailer.send, parcel("first"))
                await anyio.sleep(0.06)
                assert (await mailer.send(parcel("second"))).ok
            assert len(server.talks) == 2
        assert len(server.messages) == 2


@on_each_runtime(runtimes=BOTH)
async def test_one_that_ended_is_replaced_at_once() -> None:
    async with scripted() as server:
        limits = PoolLimits(messages_per_connection=1)
        async with Mailer(server.url, connections=2, pool=limits) as mailer:
            mailer._pool._opening_seconds = 1000.0
            assert all(outcome.ok for outcome in await send_many(mailer, 20))
        assert len(server.talks) == 20


# --- what the server says


@offers
@on_each_runtime
async def test_a_server_that_takes_few_connections(extensions: tuple[str, ...]) -> None:
    """It says so at once; nothing is lost, and it is not asked again and again."""

    def react(talk: Talk, line: str) -> list[str | Do] | None:
        return TOO_MANY if line == "CONNECT" and talk.server.open > 2 else None

    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=10, pool=PoolLimits(window=2)) as mailer:
            outcomes = await send_many(mailer, 1000)
            assert all(outcome.ok for outcome in outcomes)
            await eventually(lambda: "2 of 10 connections" in repr(mailer))
        assert sorted(server.subjects) == sorted(map(str, range(1000)))
        assert len(server.talks) < 25


@pytest.mark.parametrize("stage", ["EHLO", "AUTH", "MAIL", "RSET"])
@offers
@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_says_so_later(extensions: tuple[str, ...], stage: str) -> None:
    """The messages that a connection had already been given are sent through another."""

    def react(talk: Talk, line: str) -> str | list[str | Do] | None:
        if talk.number % 3 and line.startswith((stage, "MAIL")):
            return ["454 4.7.0 too many", Do.CLOSE] if stage == "AUTH" else TOO_MANY
        return "235 yes" if line.startswith("AUTH") else None

    async with scripted(react, extensions=(*extensions, "AUTH PLAIN")) as server:
        limits = PoolLimits(window=2, pause_seconds=0.01)
        async with Mailer(server.url, connections=6, pool=limits, username="me", password="secret") as mailer:
            outcomes = await send_many(mailer, 300)
        assert all(outcome.ok for outcome in outcomes)
        assert sorted(server.subjects) == sorted(map(str, range(300)))
        assert len(server.talks) < 40


@on_each_runtime(runtimes=BOTH)
async def test_a_complaint_in_mid_session_halves_the_connections() -> None:
    gate = anyio.Event()
    has_complained = False

    async def react(talk: Talk, line: str) -> list[str | Do] | None:
        nonlocal has_complained
        if line == ".":
            await gate.wait()
            if talk.number == 0 and len(talk.server.messages) > 20 and not has_complained:
                has_complained = True
                return [Do.TAKE, "250 taken", *TOO_MANY]
        return None

    async with scripted(react, extensions=PLAIN) as server:
        async with Mailer(server.url, connections=8, pool=PoolLimits(window=1)) as mailer:
            async with anyio.create_task_group() as group:
                for number in range(60):
                    group.start_soon(mailer.send, parcel(number))
                await eventually(lambda: server.open == 8)
                gate.set()
            assert has_complained
            # The one that was told so, and three that were done without.
            await eventually(lambda: sum(talk.lines[-1] == "QUIT" for talk in server.talks) >= 3)
            assert "allowed" in repr(mailer)
        assert sorted(server.subjects) == sorted(map(str, range(60)))
        assert {talk.lines[-1] for talk in server.talks[1:]} == {"QUIT"}


@pytest.mark.parametrize("line", ["MAIL", "RCPT", "."])
@offers
@on_each_runtime(runtimes=BOTH)
async def test_deferrals_that_say_too_much(extensions: tuple[str, ...], line: str) -> None:
    """Slower from then on; yet what became of each message is what the server said."""

    def react(talk: Talk, said: str) -> str | None:
        if said.startswith(line):
            talk.server.count = getattr(talk.server, "count", 0) + 1  # type: ignore[attr-defined]
            if 40 < talk.server.count < 60:  # type: ignore[attr-defined]
                return "450 4.7.1 too much mail from you"
        return None

    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=8, pool=PoolLimits(window=2)) as mailer:
            outcomes = await send_many(mailer, 80)
            assert "allowed" in repr(mailer)
            assert (await mailer.send(parcel("last"))).ok
        deferred = [outcome for outcome in outcomes if outcome.deferred]
        assert len(deferred) == 19
        for outcome in deferred:
            assert outcome.error is None
            assert outcome.recipients[0].reply == Reply(450, "too much mail from you", "4.7.1")
        assert len(server.messages) == 62
        assert not any(talk.lines[-1] != "QUIT" for talk in server.talks)


@on_each_runtime(runtimes=BOTH)
async def test_it_comes_back_to_more_connections() -> None:
    patience = 4  # connections that are refused

    def react(talk: Talk, line: str) -> list[str | Do] | None:
        nonlocal patience
        if line == "CONNECT" and talk.server.open > 1 and patience:
            patience -= 1
            return TOO_MANY
        return None

    async with scripted(react, extensions=PLAIN) as server:
        async with Mailer(server.url, connections=4, pool=PoolLimits(window=1)) as mailer:
            with anyio.fail_after(25):
                while patience or "4 of 4 connections" not in repr(mailer):
                    assert all(outcome.ok for outcome in await send_many(mailer, 100))
        assert len(server.talks) <= 4 + 4


@on_each_runtime(runtimes=BOTH)
async def test_messages_are_not_given_up_while_another_connection_works() -> None:
    """However often a connection that was one too many had taken them."""

    def react(talk: Talk, line: str) -> list[str | Do] | None:
        if line.startswith("MAIL") and talk.number:
            return TOO_MANY
        return None

    async with scripted(react, extensions=PLAIN) as server:
        limits = PoolLimits(window=1, attempts=1)
        async with Mailer(server.url, connections=8, pool=limits) as mailer:
            assert (await mailer.send(parcel("first"))).ok
            outcomes = await send_many(mailer, 400)
        assert all(outcome.ok for outcome in outcomes)
        assert len(server.messages) == 401


@on_each_runtime(runtimes=BOTH)
async def test_if_no_connection_works_messages_do_not_wait_for_ever() -> None:
    async with scripted(lambda talk, line: TOO_MANY if line.startswith("MAIL") else None) as server:
        limits = PoolLimits(pause_seconds=0.001)
        async with Mailer(server.url, connections=3, pool=limits) as mailer:
            outcome = (await send_each(mailer, ["x"]))["x"]
            assert [each.status for each in outcome.recipients] == [Status.DEFERRED]
        assert len(server.talks) == 3


@on_each_runtime(runtimes=BOTH)
async def test_our_own_server_with_a_limit() -> None:
    sessions: Counter[int] = Counter()

    async def deliver(transaction: ReceivedTransaction) -> None:
        sessions[id(transaction.session)] += 1
        await anyio.sleep(0.001)

    limits = ConnectionLimits(connections_per_host=2)
    async with SMTPServer(deliver, connection_limits=limits) as server:
        async with Mailer(
            f"smtp://127.0.0.1:{server.port}", connections=8, pool=PoolLimits(window=2)
        ) as mailer:
            outcomes = await send_many(mailer, 400)
            await eventually(lambda: "2 of 8 connections" in repr(mailer))
    assert all(outcome.ok for outcome in outcomes)
    assert sessions.total() == 400
    assert len(sessions) == 2


@pytest.mark.parametrize("seed", range(6))
@offers
@on_each_runtime(runtimes=BOTH)
async def test_complaints_at_random(extensions: tuple[str, ...], seed: int) -> None:
    """As long as a connection works, each message is answered for once, and truly."""
    chance = random.Random(seed)

    def react(talk: Talk, line: str) -> str | list[str | Do] | None:
        if talk.number == 0 or chance.random() > 0.05:
            return None
        if line == ".":
            return chance.choice(["451 4.3.0 later", "452 4.7.0 too much"])
        if line.startswith(("BDAT", "RSET", "QUIT")):
            return None
        return chance.choice([TOO_MANY, ["421 4.3.0 bye", Do.CLOSE], "450 4.7.1 too much"])

    async with scripted(react, extensions=extensions) as server:
        limits = PoolLimits(window=chance.choice([1, 3, 20]), pause_seconds=0.001, attempts=50)
        async with Mailer(server.url, connections=6, pool=limits) as mailer:
            outcomes = await send_many(mailer, 200)
        assert sorted(outcome.tag for outcome in outcomes) == sorted(map(str, range(200)))
        assert sorted(server.subjects) == sorted(outcome.tag for outcome in outcomes if outcome.ok)
        assert all(outcome.error is None for outcome in outcomes)


# --- numbers


@on_each_runtime(runtimes=BOTH)
async def test_statistics() -> None:
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> str | None:
        if line == ".":
            await gate.wait()
        if line == "CONNECT" and talk.server.open > 2:
            await eventually(lambda: mailer.statistics.connections == 2)
            return "421 4.7.0 no"
        return None

    async with scripted(react, extensions=PLAIN) as server:
        async with Mailer(server.url, connections=3, pool=PoolLimits(window=1)) as mailer:
            assert mailer.statistics == MailerStatistics(
                connections=0, opening=0, idle=0, allowed=3, waiting=0, under_way=0, answered=0
            )
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(mailer.send, parcel(number))
                await eventually(lambda: mailer.statistics.allowed == 2)
                await eventually(lambda: mailer.statistics.under_way == 2)
                assert mailer.statistics == MailerStatistics(
                    connections=2, opening=0, idle=0, allowed=2, waiting=3, under_way=2, answered=0
                )
                gate.set()
            await eventually(lambda: mailer.statistics.idle == 2)
            assert mailer.statistics.answered == 5
        assert mailer.statistics.connections == 0


# --- the end


@on_each_runtime
async def test_closing_does_not_wait_for_a_connection_that_nobody_needs() -> None:
    """The server is at its limit, and greets no more."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> Do | None:
        if line == "CONNECT" and talk.number:
            return Do.MUTE
        if line == ".":
            await gate.wait()
        return None

    async with scripted(react, extensions=PLAIN) as server:
        async with Mailer(server.url, connections=3, pool=PoolLimits(window=1)) as mailer:
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(mailer.send, parcel(number))
                await eventually(lambda: len(server.talks) == 3)
                gate.set()
        assert len(server.messages) == 5
        assert server.talks[0].lines[-1] == "QUIT"
        await eventually(lambda: not server.open)


@on_each_runtime(runtimes=BOTH)
async def test_closing_in_the_middle_of_that() -> None:
    """What waits is sent first."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> Do | None:
        if line == "CONNECT" and talk.number:
            return Do.MUTE
        if line == ".":
            await gate.wait()
        return None

    async with scripted(react, extensions=PLAIN) as server:
        mailer = Mailer(server.url, connections=3, pool=PoolLimits(window=1))
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(mailer.send, parcel(number))
            await eventually(lambda: len(server.talks) == 3)
            group.start_soon(mailer.aclose)
            await eventually(lambda: "closing" in repr(mailer))
            gate.set()
        assert len(server.messages) == 5


# --- age, number, idleness


@offers
@on_each_runtime(runtimes=BOTH)
async def test_an_old_connection_takes_no_more_messages(extensions: tuple[str, ...]) -> None:
    async with scripted(extensions=extensions) as server:
        limits = PoolLimits(max_age_seconds=0.05)
        async with Mailer(server.url, connections=1, pool=limits) as mailer:
            count = 0
            while len(server.talks) < 3:
                outcomes = await send_many(mailer, 50)
                assert all(outcome.ok for outcome in outcomes)
                count += 50
        assert len(server.messages) == count
        assert all(talk.lines[-1] == "QUIT" for talk in server.talks)


@on_each_runtime(runtimes=BOTH)
async def test_an_old_connection_that_is_idle_ends() -> None:
    async with scripted() as server:
        async with Mailer(server.url, pool=PoolLimits(max_age_seconds=0.03)) as mailer:
            assert (await mailer.send(parcel())).ok
            await eventually(lambda: "0 of 4 connections" in repr(mailer))
            assert server.talks[0].lines[-1] == "QUIT"
            assert (await mailer.send(parcel())).ok
        assert len(server.talks) == 2


def test_ages_that_are_none() -> None:
    with pytest.raises(InputError, match="max_age_seconds is -1"):
        PoolLimits(max_age_seconds=-1)
    assert PoolLimits(max_age_seconds=None).max_age_seconds is None


@offers
@on_each_runtime(runtimes=BOTH)
async def test_the_most_messages_of_a_session(extensions: tuple[str, ...]) -> None:
    """MAIL commands count, and those that were refused too (RFC 9422 §4.1)."""
    begun: Counter[int] = Counter()

    def react(talk: Talk, line: str) -> str | None:
        if line.startswith("MAIL"):
            begun[talk.number] += 1
            if begun.total() % 4 == 2:
                return "550 5.7.1 not from you"
        return None

    async with scripted(react, extensions=(*extensions, "LIMITS MAILMAX=5")) as server:
        async with Mailer(server.url, connections=3) as mailer:
            outcomes = await send_many(mailer, 52)
        assert sum(outcome.ok for outcome in outcomes) == len(server.messages) == 39
        assert sum(bool(outcome.refused) for outcome in outcomes) == 13
        assert max(begun.values()) == 5
        assert all(talk.lines[-1] == "QUIT" for talk in server.talks)


@pytest.mark.parametrize("closed", [0, 1])
@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET])
@on_each_runtime
async def test_a_closed_idle_connection_is_not_used(end: Do, closed: int) -> None:
    """Without a probe: the message goes through the other one, and the server is asked nothing but that."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> None:
        if line == ".":
            await gate.wait()

    async with scripted(react) as server:
        async with Mailer(server.url, connections=2, pool=PoolLimits(window=1)) as mailer:
            async with anyio.create_task_group() as group:
                for number in range(2):
                    group.start_soon(mailer.send, parcel(number))
                await eventually(lambda: sum(bool(talk.content) for talk in server.talks) == 2)
                gate.set()
            await eventually(lambda: "2 idle" in repr(mailer))
            talk = server.talks[closed]
            if end is Do.RESET:
                talk.reset()
            await talk.stream.aclose()
            await eventually(lambda: server.open == 1)
            for name in "abc":
                assert (await mailer.send(parcel(name))).ok
            assert len(server.talks) == 2
            verbs = {line.split(" ")[0] for talk in server.talks for line in talk.lines}
            assert verbs == {"EHLO", "MAIL", "RCPT", "BDAT"}
        assert len(server.messages) == 5


@on_each_runtime
async def test_a_burst_is_shared_among_connections() -> None:
    """With CHUNKING, too, where one connection could take it all and the server would take its time for each."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> None:
        if line == ".":
            await gate.wait()

    async with scripted(react) as server:
        async with Mailer(server.url, connections=5) as mailer, anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(mailer.send, parcel(number))
            await eventually(lambda: [talk.sender for talk in server.talks].count(None) == 0)
            await eventually(lambda: len(server.talks) == 5)
            gate.set()
        assert len(server.messages) == 20


@on_each_runtime
async def test_a_message_does_not_wait_for_the_answer_to_another() -> None:
    """With CHUNKING, on a connection with room, it is on its way at once."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> None:
        if line == "." and talk.lines.count("RSET") == 0:
            await talk.octets(len(b"RSET\r\n"))  # of the second message
            gate.set()

    async with scripted(react) as server:
        async with Mailer(server.url, connections=1) as mailer, anyio.create_task_group() as group:
            group.start_soon(mailer.send, parcel("first"))
            await eventually(lambda: server.talks and server.talks[0].content)
            group.start_soon(mailer.send, parcel("second"))
            await gate.wait()
            group.cancel_scope.cancel()
            mailer.abort()
