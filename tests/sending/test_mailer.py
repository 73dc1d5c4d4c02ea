"""Mailer: many tasks, few connections, no message lost, none sent twice."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import anyio
import pytest

import asyncmail
from asyncmail import Mailer, Parcel, PoolLimits, SMTPTimeouts
from asyncmail.errors import (
    AddressSyntaxError,
    AuthenticationError,
    ClosedError,
    ConnectError,
    ConnectionLost,
    ExtensionRequired,
    GreetingRefused,
    InputError,
    MailError,
    MailTimeout,
    MessageError,
    RemoteProtocolError,
    TLSRequired,
    URLError,
)
from asyncmail.net import background
from asyncmail.smtp import Outcome, Status
from net.runtimes import eventually, on_each_runtime, run
from peers import reserve_port, run_smtp_sink
from scripted import EXTENSIONS, Do, Talk, cut_at, scripted

BOTH = ("asyncio", "trio")
PLAIN = tuple(each for each in EXTENSIONS if each not in ("PIPELINING", "CHUNKING"))
PIPELINING = tuple(each for each in EXTENSIONS if each != "CHUNKING")
OFFERS = {"plain": PLAIN, "pipelining": PIPELINING, "chunking": EXTENSIONS}
FAST = PoolLimits(pause_seconds=0.01)
A, B = "a@example.com", "b@example.com"


def parcel(name: object = "hello", *, sender: str = A, recipient: str = B) -> Parcel:
    return Parcel(f"Subject: {name}\r\n\r\ntext\r\n".encode(), sender, recipient)


async def send_all(mailer: Mailer, count: int) -> list[Outcome]:
    """Each in a task of its own; the outcomes in order."""
    outcomes: dict[int, Outcome] = {}

    async def send(number: int) -> None:
        outcomes[number] = await mailer.send(parcel(number))

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(send, number)
    return [outcomes[number] for number in range(count)]


def names(count: int) -> list[str]:
    return sorted(map(str, range(count)))


def no_task_left() -> bool:
    return not background._running


offers = pytest.mark.parametrize("extensions", OFFERS.values(), ids=OFFERS)


# --- what it is for


@on_each_runtime
async def test_one_message() -> None:
    async with scripted() as server, Mailer(server.url) as mailer:
        assert repr(mailer) == (
            f"<Mailer smtp://127.0.0.1:{server.port}, 0 of 4 connections, 0 idle, 0 messages waiting>"
        )
        outcome = await mailer.send(b"Subject: hello\r\n\r\n", sender=A, recipients=[B])
        assert outcome.ok
        assert outcome.index is None
        await eventually(lambda: "1 of 4 connections, 1 idle" in repr(mailer))
        assert (await mailer.send(parcel())).ok
        assert len(server.talks) == 1
    assert server.talks[0].lines[-1] == "QUIT"
    await eventually(no_task_left)


@offers
@on_each_runtime
async def test_shared_by_a_hundred_tasks(extensions: tuple[str, ...]) -> None:
    async with scripted(extensions=extensions) as server:
        async with Mailer(server.url, connections=3) as mailer:
            outcomes = await send_all(mailer, 100)
            assert all(outcome.ok for outcome in outcomes)
        assert server.subjects == names(100)
        assert 1 <= len(server.talks) <= 3
        assert all(talk.lines[-1] == "QUIT" for talk in server.talks)
    await eventually(no_task_left)


@on_each_runtime
async def test_entered_and_left_in_different_tasks() -> None:
    async with scripted() as server:
        mailer = Mailer(server.url)
        async with anyio.create_task_group() as group:
            group.start_soon(mailer.__aenter__)
        async with anyio.create_task_group() as group:
            group.start_soon(mailer.send, parcel())
        async with anyio.create_task_group() as group:
            group.start_soon(mailer.__aexit__, None, None, None)
        assert len(server.messages) == 1
        await eventually(lambda: not server.open)


@on_each_runtime(runtimes=BOTH)
async def test_without_a_block() -> None:
    async with scripted() as server:
        mailer = Mailer(server.url)
        assert (await mailer.send(parcel())).ok
        await mailer.aclose()
        await mailer.aclose()


@on_each_runtime(runtimes=BOTH)
async def test_refusals_are_outcomes() -> None:
    def react(talk: Talk, line: str) -> str | None:
        return "550 no" if line.startswith("RCPT") else None

    async with scripted(react) as server, Mailer(server.url) as mailer:
        outcome = await mailer.send(parcel())
        assert [each.status for each in outcome.recipients] == [Status.REFUSED]
        server.react = lambda talk, line: None
        assert (await mailer.send(parcel())).ok


@on_each_runtime(runtimes=BOTH)
async def test_messages_that_cannot_be_sent() -> None:
    async with scripted(extensions=("SIZE 100",)) as server, Mailer(server.url) as mailer:
        with pytest.raises(MessageError):
            await mailer.send(b"Subject: hello\r\n\r\n")
        with pytest.raises(AddressSyntaxError):
            await mailer.send(parcel(recipient="b@"))
        assert not server.talks
        with pytest.raises(ExtensionRequired, match="the server takes 100"):
            await mailer.send(parcel("x" * 100))
        with pytest.raises(ExtensionRequired, match="SMTPUTF8"):
            await mailer.send(parcel(recipient="jörg@example.com"))
        assert (await mailer.send(parcel())).ok
        assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_a_message_at_which_encoding_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("asyncmail.sending.worker.fit", fail)
    async with scripted() as server, Mailer(server.url) as mailer:
        with pytest.raises(MessageError, match="cannot be encoded: ZeroDivisionError"):
            await mailer.send(parcel())
        monkeypatch.undo()
        assert (await mailer.send(parcel())).ok


def test_arguments_are_looked_at_at_once() -> None:
    for connections in (0, -1):
        with pytest.raises(InputError, match="connections"):
            Mailer("smtp://localhost", connections=connections)
    with pytest.raises(URLError, match="pop3"):
        Mailer("pop3://localhost")
    with pytest.raises(InputError, match="password"):
        Mailer("smtp://localhost", username="me")
    for name in ("window", "window_octets", "attempts", "messages_per_connection"):
        with pytest.raises(InputError, match=f"{name} is 0"):
            PoolLimits(**{name: 0})
    for name in ("idle_seconds", "pause_seconds"):
        with pytest.raises(InputError, match=f"{name} is -1"):
            PoolLimits(**{name: -1})


# --- the end


@on_each_runtime(runtimes=BOTH)
async def test_closing_waits_for_what_was_handed_over() -> None:
    gate = anyio.Event()
    async with scripted(lambda talk, line: gate.wait() if line == "CONNECT" else None) as server:
        mailer = Mailer(server.url, connections=1)
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(mailer.send, parcel(number))
            await eventually(lambda: "20 messages waiting" in repr(mailer))
            group.start_soon(mailer.aclose)
            group.start_soon(mailer.aclose)
            await eventually(lambda: repr(mailer).endswith("closing>"))
            with pytest.raises(ClosedError, match="mailer was closed"):
                await mailer.send(parcel())
            gate.set()
        assert server.subjects == names(20)
        assert server.talks[0].lines[-1] == "QUIT"
        await eventually(no_task_left)


@on_each_runtime(runtimes=BOTH)
async def test_closing_ends_idle_connections() -> None:
    async with scripted() as server:
        async with Mailer(server.url, connections=3) as mailer:
            await send_all(mailer, 9)
        assert {talk.lines[-1] for talk in server.talks} == {"QUIT"}
        with pytest.raises(ClosedError):
            await mailer.send(parcel())
        with pytest.raises(ClosedError):
            mailer.send_many([parcel()])


@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_does_not_answer_quit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmail.client.smtp._GOODBYE_SECONDS", 0.02)
    async with scripted(lambda talk, line: Do.HANG if line == "QUIT" else None) as server:
        async with Mailer(server.url) as mailer:
            assert (await mailer.send(parcel())).ok
        await eventually(no_task_left)


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "."])
@on_each_runtime
async def test_abort(stage: str) -> None:
    async with scripted(lambda talk, line: Do.MUTE if line.startswith(stage) else None) as server:
        mailer = Mailer(server.url, connections=2, pool=PoolLimits(window=2))
        results: list[object] = []

        async def send(number: int) -> None:
            try:
                results.append(await mailer.send(parcel(number)))
            except ClosedError as error:
                results.append(error)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(send, number)
            await eventually(lambda: len(server.talks) == 2)
            await eventually(lambda: stage == "CONNECT" or all(talk.lines for talk in server.talks))
            mailer.abort()
            with pytest.raises(ClosedError):
                await mailer.send(parcel())
        assert len(results) == 20
        for result in results:
            if isinstance(result, Outcome):
                assert {each.status for each in result.recipients} == {Status.UNKNOWN}
        assert any(isinstance(result, ClosedError) for result in results)
        await eventually(lambda: not server.open)
        assert len(server.talks) == 2
        await eventually(no_task_left)
        assert "0 of 2 connections" in repr(mailer)
        mailer.abort()
        await mailer.aclose()


@on_each_runtime(runtimes=BOTH)
async def test_left_by_an_exception() -> None:
    async with scripted(lambda talk, line: Do.HANG if line == "." else None) as server:
        async with anyio.create_task_group() as group:
            with pytest.raises(KeyError):
                async with Mailer(server.url) as mailer:
                    group.start_soon(mailer.send, parcel())
                    await eventually(lambda: server.talks and server.talks[0].content)
                    raise KeyError
        await eventually(no_task_left)


@on_each_runtime(runtimes=BOTH)
async def test_closing_is_cancelled() -> None:
    async with scripted(lambda talk, line: Do.HANG if line == "." else None) as server:
        mailer = Mailer(server.url)
        results: list[Outcome] = []

        async def send() -> None:
            results.append(await mailer.send(parcel()))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await eventually(lambda: server.talks and server.talks[0].content)
            with anyio.move_on_after(0.01):
                await mailer.aclose()
        assert results[0].unknown
        await eventually(no_task_left)


def test_the_event_loop_ends_under_it() -> None:
    """Nothing warns, nothing hangs, and it can be used in the next event loop."""
    mailers: list[Mailer] = []

    async def first() -> None:
        async with scripted(lambda talk, line: Do.HANG if line == "." else None) as server:
            limits = PoolLimits(window=1, pause_seconds=0.01)
            mailers.append(Mailer(server.url, connections=2, pool=limits))
            for number in range(8):
                background.spawn(mailers[0].send, parcel(number))
            await eventually(lambda: len(server.talks) == 2 and all(talk.content for talk in server.talks))

    async def second() -> None:
        assert "0 of 2 connections, 0 idle, 0 messages" in repr(mailers[0])
        with pytest.raises(ConnectError):
            await mailers[0].send(parcel())

    for runtime in BOTH:
        run(runtime, first)
        run(runtime, second)
        mailers.clear()
        gc.collect()


def test_an_idle_connection_is_not_taken_into_the_next_event_loop() -> None:
    with run_smtp_sink() as sink:
        mailer = Mailer(f"smtp://127.0.0.1:{sink.port}")
        for _ in range(2):
            assert asyncio.run(mailer.send(parcel())).ok
            assert "0 of 4 connections, 0 idle, 0 messages" in repr(mailer)


# --- connections


@on_each_runtime(runtimes=BOTH)
async def test_messages_per_connection() -> None:
    async with scripted() as server:
        async with Mailer(
            server.url, connections=1, pool=PoolLimits(messages_per_connection=3, window=2)
        ) as mailer:
            await send_all(mailer, 10)
        assert Counter(message.connection for message in server.messages) == {0: 3, 1: 3, 2: 3, 3: 1}
        assert server.subjects == names(10)
        assert all(talk.lines[-1] == "QUIT" for talk in server.talks)


@on_each_runtime(runtimes=BOTH)
async def test_never_more_connections_than_allowed() -> None:
    most = 0

    async def react(talk: Talk, line: str) -> None:
        nonlocal most
        most = max(most, talk.server.open)
        if line == "QUIT":
            await anyio.sleep(0.005)

    async with scripted(react) as server:
        async with Mailer(server.url, connections=2, pool=PoolLimits(messages_per_connection=1)) as mailer:
            await send_all(mailer, 20)
        assert most == 2
        assert server.subjects == names(20)


@on_each_runtime(runtimes=BOTH)
async def test_an_idle_connection_is_closed() -> None:
    async with scripted() as server, Mailer(server.url, pool=PoolLimits(idle_seconds=0.02)) as mailer:
        assert (await mailer.send(parcel())).ok
        await eventually(lambda: server.talks[0].lines[-1] == "QUIT")
        await eventually(lambda: "0 of 4 connections" in repr(mailer))
        assert (await mailer.send(parcel())).ok
        assert len(server.talks) == 2


@on_each_runtime(runtimes=BOTH)
async def test_an_idle_connection_that_finds_nothing_to_do_stays() -> None:
    """One message wakes it, another connection is faster."""
    async with scripted() as server:
        async with Mailer(server.url, connections=2) as mailer:
            for _ in range(30):
                await send_all(mailer, 3)
        assert len(server.talks) <= 2


@pytest.mark.parametrize("words", ["421 4.4.2 idle too long", ""])
@on_each_runtime
async def test_a_server_that_ends_idle_connections(words: str) -> None:
    async with scripted() as server, Mailer(server.url) as mailer:
        for number in range(3):
            assert (await mailer.send(parcel(number))).ok
            talk = server.talks[-1]
            await eventually(lambda talk=talk: talk.waits)
            if words:
                await talk.say(words)
            await talk.stream.aclose()
            await eventually(lambda: not server.open)
        assert len(server.talks) == 3
        assert server.subjects == names(3)


@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_ends_a_connection_at_the_moment_it_is_used() -> None:
    """The loss shows only when MAIL has been sent."""
    count = 0

    def react(talk: Talk, line: str) -> Do | None:
        nonlocal count
        if line.startswith("MAIL"):
            count += 1
            if count % 2 == 0:
                return Do.CLOSE
        return None

    for extensions in (PLAIN, PIPELINING):
        async with scripted(react, extensions=extensions) as server, Mailer(server.url, pool=FAST) as mailer:
            for number in range(6):
                assert (await mailer.send(parcel(number))).ok
            assert server.subjects == names(6)


@on_each_runtime(runtimes=BOTH)
async def test_works_on_with_fewer_connections_than_wanted() -> None:
    def react(talk: Talk, line: str) -> list[str | Do] | None:
        if line == "CONNECT" and talk.server.open > 2:
            return ["421 4.7.0 too many connections", Do.CLOSE]
        return None

    async with scripted(react) as server:
        async with Mailer(server.url, connections=10, pool=PoolLimits(window=2)) as mailer:
            for _ in range(5):
                assert all(outcome.ok for outcome in await send_all(mailer, 40))
        assert len(server.messages) == 200
        # The first ones come at the same time; after that it knows.
        assert len(server.talks) <= 12


@on_each_runtime(runtimes=BOTH)
async def test_goes_back_to_more_connections_when_it_can() -> None:
    refused = 0

    def react(talk: Talk, line: str) -> str | None:
        nonlocal refused
        if line == "CONNECT" and 1 <= talk.number <= 2:
            refused += 1
            return "421 4.7.0 too many connections"
        return None

    async with scripted(react) as server:
        async with Mailer(server.url, connections=3, pool=PoolLimits(window=1, pause_seconds=0.01)) as mailer:
            await send_all(mailer, 3)
            assert refused
            with anyio.fail_after(10):
                while len({message.connection for message in server.messages}) < 3:
                    await send_all(mailer, 10)


# --- connecting fails


@on_each_runtime
async def test_nobody_listens() -> None:
    async with Mailer(f"smtp://127.0.0.1:{reserve_port()}", pool=FAST) as mailer:
        errors: list[ConnectError] = []

        async def send() -> None:
            with pytest.raises(ConnectError, match="nothing listens there") as caught:
                await mailer.send(parcel())
            errors.append(caught.value)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(send)
        assert len({id(error) for error in errors}) == 5
        assert "0 of 4 connections, 0 idle, 0 messages" in repr(mailer)


@on_each_runtime(runtimes=BOTH)
async def test_how_often_it_connects() -> None:
    async with scripted(lambda talk, line: "421 busy" if line == "CONNECT" else None) as server:
        async with Mailer(server.url, pool=PoolLimits(attempts=4, pause_seconds=0.001)) as mailer:
            with pytest.raises(GreetingRefused, match="421 busy"):
                await mailer.send(parcel())
            assert len(server.talks) == 4
            with pytest.raises(GreetingRefused, match="421 busy"):
                await mailer.send(parcel())
            assert len(server.talks) == 8
            server.react = lambda talk, line: None
            assert (await mailer.send(parcel())).ok


@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_comes_back() -> None:
    port = reserve_port()
    results: list[Outcome] = []

    async def send(mailer: Mailer) -> None:
        results.append(await mailer.send(parcel()))

    async with Mailer(
        f"smtp://127.0.0.1:{port}", pool=PoolLimits(attempts=1000, pause_seconds=0.01)
    ) as mailer:
        async with anyio.create_task_group() as group:
            group.start_soon(send, mailer)
            await anyio.sleep(0.03)
            async with scripted(port=port):
                await eventually(lambda: results)
        assert results[0].ok


@pytest.mark.parametrize(
    ("reaction", "error"),
    [("554 never", GreetingRefused), ("what?", RemoteProtocolError), ("500 hm", GreetingRefused)],
)
@on_each_runtime(runtimes=BOTH)
async def test_what_will_not_get_better_is_not_tried_again(reaction: str, error: type[MailError]) -> None:
    async with scripted(lambda talk, line: reaction if line == "CONNECT" else None) as server:
        async with Mailer(server.url, connections=1) as mailer:
            with pytest.raises(error):
                await mailer.send(parcel())
            assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_wrong_password() -> None:
    def react(talk: Talk, line: str) -> str | None:
        return "535 5.7.8 no" if line.startswith("AUTH") else None

    async with scripted(react, extensions=("AUTH PLAIN",)) as server:
        async with Mailer(server.url, connections=1, username="me", password="secret") as mailer:
            with pytest.raises(AuthenticationError, match=r"535 5\.7\.8 no"):
                await mailer.send(parcel())
            assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_a_wrong_password_is_shown_once() -> None:
    """Servers lock accounts."""

    def react(talk: Talk, line: str) -> str | None:
        return "535 5.7.8 no" if line.startswith("AUTH") else None

    async with scripted(react, extensions=("AUTH PLAIN",)) as server:
        async with Mailer(server.url, connections=8, username="me", password="secret") as mailer:
            with pytest.raises(AuthenticationError):
                async for outcome in mailer.send_many(parcel(number) for number in range(1000)):
                    assert outcome.deferred
        assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_behind_the_first_login_others_follow() -> None:
    def react(talk: Talk, line: str) -> str | Do | None:
        return "235 2.7.0 yes" if line.startswith("AUTH") else Do.HANG if line == "." else None

    async with scripted(react, extensions=("AUTH PLAIN",)) as server:
        mailer = Mailer(server.url, connections=3, username="me", password="secret")
        for number in range(9):
            background.spawn(mailer.send, parcel(number))
        await eventually(lambda: len(server.talks) == 3)
        mailer.abort()


@on_each_runtime(runtimes=BOTH)
async def test_no_tls() -> None:
    async with scripted() as server:
        async with Mailer(server.url.replace("smtp:", "smtp+starttls:"), connections=1) as mailer:
            with pytest.raises(TLSRequired):
                await mailer.send(parcel())
            assert len(server.talks) == 1


# --- connections are lost


@offers
@pytest.mark.parametrize("loss", [Do.CLOSE, Do.RESET, "what?", "421 4.3.0 bye"])
@on_each_runtime
async def test_a_connection_lost_at_an_envelope(extensions: tuple[str, ...], loss: str | Do) -> None:
    """The messages behind it are sent again, once."""
    hit: set[str] = set()

    def react(talk: Talk, line: str) -> str | Do | list[str | Do] | None:
        key = f"{talk.sender} {line}"
        if line.startswith("RCPT") and "5@" in (talk.sender or "") and key not in hit:
            hit.add(key)
            return ["421 4.3.0 bye", Do.CLOSE] if loss == "421 4.3.0 bye" else loss
        return None

    outcomes: dict[int, Outcome] = {}

    async def send(number: int) -> None:
        outcomes[number] = await mailer.send(parcel(number, sender=f"{number}@example.com"))

    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=1, pool=FAST) as mailer, anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(send, number)
        accepted = {number for number, outcome in outcomes.items() if outcome.ok}
        unknown = {number for number, outcome in outcomes.items() if outcome.unknown}
        assert accepted | unknown == set(range(20))
        taken = [int(subject) for subject in server.subjects]
        assert len(set(taken)) == len(taken)
        assert accepted <= set(taken) <= accepted | unknown  # "what?" does not keep a server from going on
        assert all(
            message.sender.startswith(message.content[9:].split()[0].decode()) for message in server.messages
        )
        if extensions is not EXTENSIONS or loss == "421 4.3.0 bye":
            assert not unknown


@pytest.mark.parametrize("takes", [True, False])
@offers
@on_each_runtime(runtimes=BOTH)
async def test_a_connection_lost_at_the_end_of_content(extensions: tuple[str, ...], takes: bool) -> None:
    """Nobody can know whether that message was taken; it is reported so, and not sent again."""

    def react(talk: Talk, line: str) -> list[str | Do] | None:
        if line == "." and talk.content.startswith(b"Subject: 7\r\n"):
            return [Do.TAKE, Do.CLOSE] if takes else [Do.CLOSE]
        return None

    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=1, pool=FAST) as mailer:
            outcomes = await send_all(mailer, 20)
        [recipient] = outcomes[7].recipients
        assert recipient.status is Status.UNKNOWN
        assert isinstance(outcomes[7].error, ConnectionLost)
        accepted = [number for number, outcome in enumerate(outcomes) if outcome.ok]
        unknown = [number for number, outcome in enumerate(outcomes) if outcome.unknown]
        assert sorted(accepted + unknown) == list(range(20))
        taken = Counter(server.subjects)
        assert set(taken.values()) <= {1}
        assert set(taken) == {str(number) for number in accepted} | ({"7"} if takes else set())
        if extensions is not EXTENSIONS:
            assert unknown == [7]


@offers
@on_each_runtime(runtimes=BOTH)
async def test_a_message_that_kills_every_session(extensions: tuple[str, ...]) -> None:
    """It alone fails; those behind it are not made to pay."""

    def react(talk: Talk, line: str) -> Do | None:
        return Do.RESET if line.startswith("MAIL FROM:<poison@") else None

    outcomes: dict[int, Outcome] = {}

    async def send(number: int) -> None:
        sender = "poison@example.com" if number == 3 else A
        # Too much for one window, so that it is never wholly written at once.
        content = f"Subject: {number}\r\n\r\n".encode() + b"x" * 100
        outcomes[number] = await mailer.send(content, sender=sender, recipients=B)

    async with scripted(react, extensions=extensions) as server:
        limits = PoolLimits(pause_seconds=0.001, attempts=3)
        async with Mailer(server.url, connections=1, pool=limits) as mailer:
            # Trio starts tasks in any order, and the third may be the first: let the server be of use before.
            await send(0)
            async with anyio.create_task_group() as group:
                for number in range(1, 10):
                    group.start_soon(send, number)
        assert not outcomes[3].ok
        unknown = {number for number, outcome in outcomes.items() if outcome.unknown}
        if extensions is EXTENSIONS:
            assert 3 in unknown
        else:
            assert outcomes[3].deferred
            assert isinstance(outcomes[3].error, ConnectionLost)
            assert not unknown
            assert (
                sum(line.startswith("MAIL FROM:<poison") for talk in server.talks for line in talk.lines) == 3
            )
        assert {n for n, outcome in outcomes.items() if outcome.ok} == set(range(10)) - unknown - {3}
        assert set(Counter(server.subjects).values()) <= {1}


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINING], ids=["plain", "pipelining"])
@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_greets_and_never_answers_a_message(extensions: tuple[str, ...]) -> None:
    """It is not connected to again and again."""
    async with scripted(
        lambda talk, line: Do.CLOSE if line.startswith("MAIL") else None, extensions=extensions
    ) as server:
        async with Mailer(server.url, connections=2, pool=FAST) as mailer:
            failed = 0

            async def send(number: int) -> None:
                nonlocal failed
                try:
                    outcome = await mailer.send(parcel(number))
                    assert outcome.deferred
                except ConnectionLost:
                    pass
                failed += 1

            async with anyio.create_task_group() as group:
                for number in range(200):
                    group.start_soon(send, number)
        assert failed == 200
        assert len(server.talks) <= 6


@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_hangs() -> None:
    timeouts = SMTPTimeouts(mail=0.02)
    async with scripted(
        lambda talk, line: Do.HANG if line.startswith("MAIL") else None, extensions=PLAIN
    ) as server:
        async with Mailer(server.url, connections=1, pool=FAST, timeouts=timeouts) as mailer:
            try:
                error = (await mailer.send(parcel())).error
            except MailTimeout as caught:
                error = caught
            assert isinstance(error, MailTimeout)
            assert len(server.talks) == 3


@offers
@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_takes_so_many_messages_on_a_connection(extensions: tuple[str, ...]) -> None:
    """As Exim does; with 421 at the next MAIL."""

    def react(talk: Talk, line: str) -> list[str | Do] | None:
        if line.startswith("MAIL"):
            count = sum(message.connection == talk.number for message in talk.server.messages)
            if count == 2:
                return ["421 too many messages in this connection", Do.CLOSE]
        return None

    async with scripted(react, extensions=extensions) as server:
        async with Mailer(server.url, connections=2, pool=FAST) as mailer:
            outcomes = await send_all(mailer, 41)
        assert all(outcome.ok for outcome in outcomes)
        assert server.subjects == names(41)
        assert max(Counter(message.connection for message in server.messages).values()) == 2


@offers
@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_is_restarted(extensions: tuple[str, ...]) -> None:
    port = reserve_port()
    taken: Counter[str] = Counter()
    outcomes: list[Outcome] = []
    async with Mailer(
        f"smtp://127.0.0.1:{port}", connections=2, pool=PoolLimits(attempts=20, pause_seconds=0.01)
    ) as mailer:
        async with anyio.create_task_group() as group:
            for round_number in range(4):
                async with scripted(extensions=extensions, port=port) as server:

                    async def send(number: int) -> None:
                        outcomes.append(await mailer.send(parcel(number)))

                    for number in range(25):
                        group.start_soon(send, 25 * round_number + number)
                    await eventually(lambda server=server: len(server.messages) > 5)
                taken.update(server.subjects)
            async with scripted(extensions=extensions, port=port) as server:
                await eventually(lambda: len(outcomes) == 100)
            taken.update(server.subjects)
    assert set(taken.values()) == {1}
    accepted = sum(outcome.ok for outcome in outcomes)
    unknown = sum(bool(outcome.unknown) for outcome in outcomes)
    assert accepted + unknown == 100
    assert accepted <= len(taken) <= accepted + unknown
    assert accepted > 20


# --- cancellation


@offers
@on_each_runtime
async def test_a_send_cancelled_at_every_await(extensions: tuple[str, ...]) -> None:
    cut = 0
    was_cut = True
    while was_cut:
        cut += 1
        async with scripted(extensions=extensions) as server:
            async with Mailer(server.url, connections=2) as mailer:
                results: list[Outcome] = []

                async def send(
                    number: int, mailer: Mailer = mailer, results: list[Outcome] = results
                ) -> None:
                    results.append(await mailer.send(parcel(number)))

                async with anyio.create_task_group() as group:
                    for number in range(5):
                        group.start_soon(send, number)
                    was_cut, _ = await cut_at(cut, lambda mailer=mailer: mailer.send(parcel("cut")))
                assert len(results) == 5
                assert all(outcome.ok for outcome in results)
                assert "0 messages waiting" in repr(mailer)
            subjects = Counter(server.subjects)
            assert subjects.pop("cut", 0) <= 1
            assert sorted(subjects.elements()) == names(5)
            await eventually(no_task_left)
            await eventually(lambda server=server: not server.open)
    assert cut > 1


@on_each_runtime(runtimes=BOTH)
async def test_a_send_cancelled_before_it_was_begun_is_withdrawn() -> None:
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> None:
        if line == "CONNECT":
            await gate.wait()

    async with scripted(react) as server, Mailer(server.url, connections=1) as mailer:
        async with anyio.create_task_group() as group:
            group.start_soon(mailer.send, parcel("kept"))
            with anyio.move_on_after(0.02):
                await mailer.send(parcel("withdrawn"))
            gate.set()
        assert server.subjects == ["kept"]


@on_each_runtime(runtimes=BOTH)
async def test_nothing_connects_for_messages_that_were_withdrawn() -> None:
    async with scripted(lambda talk, line: "421 later" if talk.number == 0 else None) as server:
        async with Mailer(server.url, pool=PoolLimits(pause_seconds=0.05)) as mailer:
            with anyio.move_on_after(0.02):
                await mailer.send(parcel())
            await eventually(lambda: "0 of 4 connections" in repr(mailer))
            assert len(server.talks) == 1


@on_each_runtime(runtimes=BOTH)
async def test_cancelled_while_the_server_works() -> None:
    """The answer is read and dropped; the connection stays, and so do the other messages."""
    gate = anyio.Event()

    async def react(talk: Talk, line: str) -> None:
        if line == "." and talk.content.startswith(b"Subject: cancelled"):
            await gate.wait()

    async with scripted(react) as server, Mailer(server.url, connections=1) as mailer:
        results: list[Outcome] = []

        async def send() -> None:
            results.append(await mailer.send(parcel("other")))

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(send)

                async def cancel() -> None:
                    await eventually(lambda: server.talks and b"cancelled" in server.talks[0].content)
                    scope.cancel()
                    gate.set()

                group.start_soon(cancel)
                await mailer.send(parcel("cancelled"))
        assert results[0].ok
        assert server.subjects == ["cancelled", "other"]
        assert len(server.talks) == 1


async def test_native_cancellation_and_timeouts() -> None:
    """What asyncio itself does, without anyio."""
    async with scripted(lambda talk, line: Do.HANG if line == "." else None) as server:
        async with Mailer(server.url, connections=1, pool=PoolLimits(window=1)) as mailer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await mailer.send(parcel())
            task = asyncio.create_task(mailer.send(parcel()))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            mailer.abort()
        await eventually(no_task_left)


@on_each_runtime(runtimes=BOTH)
async def test_outcomes_are_the_same_as_of_one_session() -> None:
    async with scripted() as server, Mailer(server.url) as mailer:
        outcome = await mailer.send(Parcel(b"Subject: x\r\n\r\n", A, B, tag="mine"))
        single = await asyncmail.send(Parcel(b"Subject: x\r\n\r\n", A, B, tag="mine"), server=server.url)
        assert outcome == single
