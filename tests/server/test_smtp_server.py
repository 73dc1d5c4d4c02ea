"""SMTPServer: what its clients see, octet by octet, and what its handler is asked."""

from __future__ import annotations

import base64
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncmail import SMTPClient, SMTPServer
from asyncmail.errors import (
    AuthenticationError,
    ClosedError,
    ConnectError,
    ConnectionLost,
    InputError,
    LocalProtocolError,
    SenderRefused,
)
from asyncmail.net import connect
from asyncmail.server import ConnectionLimits, ReceivedTransaction, SessionInfo
from asyncmail.smtp import Reply, ServerLimits
from asyncmail.wire import BareNewlines
from net.runtimes import eventually, on_each_runtime

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncmail.net import ByteStream
    from asyncmail.sasl import Attempt
    from peers import Authority

BOTH = ("asyncio", "trio")
OK = "250 2.0.0 OK"


class Raw:
    """A client that says what it is told to."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.unread = b""

    async def say(self, *lines: str | bytes) -> None:
        octets = [line if isinstance(line, bytes) else f"{line}\r\n".encode() for line in lines]
        await self.stream.send([b"".join(octets)])

    async def line(self) -> str:
        while b"\r\n" not in self.unread:
            data = await self.stream.receive()
            if not data:
                return "<end>"
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line.decode()

    async def reply(self) -> str:
        """All lines of a reply; text of only the last."""
        line = await self.line()
        while line[3:4] == "-":
            line = await self.line()
        return line

    async def replies(self, count: int) -> list[str]:
        return [await self.reply() for _ in range(count)]

    async def ask(self, *lines: str | bytes) -> str:
        await self.say(*lines)
        return await self.reply()

    async def codes(self, *lines: str | bytes) -> str:
        """The codes of the replies to so many commands."""
        return " ".join([(await self.ask(line))[:3] for line in lines])


@asynccontextmanager
async def raw(
    server: SMTPServer, *, greeted: bool = True, hello: str = "EHLO me.example"
) -> AsyncIterator[Raw]:
    scheme = "smtp://127.0.0.1:" + str(server.port) if server.port else f"lmtp+unix://{server.addresses[0]}"
    stream = await connect(scheme)
    client = Raw(stream)
    try:
        if greeted:
            assert (await client.reply()).startswith("220 ")
            if hello:
                assert (await client.ask(hello)).startswith("250 ")
        yield client
    finally:
        stream.abort()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.001)


class Keeper:
    """A handler that keeps everything."""

    def __init__(self) -> None:
        self.transactions: list[ReceivedTransaction] = []

    async def deliver(self, transaction: ReceivedTransaction) -> Any:
        self.transactions.append(transaction)

    @property
    def contents(self) -> list[bytes]:
        return [transaction.content for transaction in self.transactions]


ENVELOPE = ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>")


# --- basics


@on_each_runtime
async def test_a_transaction() -> None:
    keeper = Keeper()
    server = SMTPServer(keeper, hostname="mx.example.com")
    assert repr(server) == "<SMTPServer not started, 0 sessions>"
    assert server.addresses == ()
    with pytest.raises(ClosedError):
        server.port  # noqa: B018
    async with server:
        assert server.addresses == (f"127.0.0.1:{server.port}",)
        async with raw(server, greeted=False) as client:
            assert await client.line() == "220 mx.example.com ESMTP"
            await client.say("EHLO me.example")
            lines = [await client.line() for _ in range(7)]
            assert lines[0] == "250-mx.example.com"
            assert {"250-PIPELINING", "250-SIZE 36700160", "250-8BITMIME", "250-SMTPUTF8"} <= set(lines)
            assert repr(server) == f"<SMTPServer 127.0.0.1:{server.port}, 1 sessions>"
            assert server.connections == 1
            assert await client.ask("MAIL FROM:<a@example.com> SIZE=5 BODY=8BITMIME") == "250 2.1.0 OK"
            assert await client.ask("RCPT TO:<b@example.com>") == "250 2.1.5 OK"
            assert (await client.ask("RCPT TO:<c@example.com>"))[:3] == "250"
            assert (await client.ask("DATA"))[:3] == "354"
            assert (await client.ask("Subject: hello", "", "..dot", "."))[:3] == "250"
            assert (await client.ask("QUIT"))[:3] == "221"
            assert await client.line() == "<end>"
        [transaction] = keeper.transactions
        assert transaction.sender == "a@example.com"
        assert transaction.mail.size == 5
        assert transaction.recipients == ["b@example.com", "c@example.com"]
        assert transaction.content == b"Subject: hello\r\n\r\n.dot\r\n"
        assert transaction.message["Subject"] == "hello"
        assert transaction.session == SessionInfo(peer="127.0.0.1", hello="me.example")
        await eventually(lambda: not server.connections)
    assert repr(server) == "<SMTPServer closed, 0 sessions>"
    with pytest.raises(LocalProtocolError, match="starts once"):
        await server.start()


@on_each_runtime(runtimes=BOTH)
async def test_a_plain_function() -> None:
    contents: list[bytes] = []

    async def deliver(transaction: ReceivedTransaction) -> Reply | None:
        contents.append(transaction.content)
        return Reply(250, "as number 1", "2.6.0")

    async with SMTPServer(deliver) as server, raw(server, hello="HELO me.example") as client:
        assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
        assert await client.ask("x", ".") == "250 2.6.0 as number 1"
        assert contents == [b"x\r\n"]


@on_each_runtime
async def test_everything_in_one_segment() -> None:
    keeper = Keeper()
    async with SMTPServer(keeper) as server, raw(server) as client:
        bdat = b"BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\n"
        await client.say(*ENVELOPE, bdat, *ENVELOPE, "DATA")
        assert [each[:3] for each in await client.replies(7)] == ["250"] * 6 + ["354"]
        await client.say("c", ".", *ENVELOPE, "RSET", "NOOP", "VRFY x", "EXPN x", "HELP", "nonsense", "QUIT")
        codes = [each[:3] for each in await client.replies(10)]
        assert codes == ["250", "250", "250", "250", "250", "252", "502", "214", "500", "221"]
        assert keeper.contents == [b"a\r\nb\r\n", b"c\r\n"]


@on_each_runtime(runtimes=BOTH)
async def test_octet_by_octet() -> None:
    keeper = Keeper()
    talk = b"".join(f"{line}\r\n".encode() for line in (*ENVELOPE, "DATA", "..", ".x", "", ".", "QUIT"))
    async with SMTPServer(keeper) as server, raw(server) as client:
        for position in range(len(talk)):
            await client.say(talk[position : position + 1])
            await anyio.lowlevel.checkpoint()
        assert [each[:3] for each in await client.replies(5)] == ["250", "250", "354", "250", "221"]
        assert keeper.contents == [b".\r\nx\r\n\r\n"]


@on_each_runtime
async def test_large_content() -> None:
    keeper = Keeper()
    content = b"Subject: large\r\n\r\n" + b"." * 70 + b"\r\n" + b"0123456789\r\n" * 300_000
    async with SMTPServer(keeper) as server, SMTPClient(f"smtp://127.0.0.1:{server.port}") as client:
        assert (await client.send(content, sender="a@example.com", recipients=["b@example.com"])).ok
        await client.mail("a@example.com")
        await client.rcpt("b@example.com")
        await client.data(content)
        assert keeper.contents == [content, content]


@on_each_runtime(runtimes=BOTH)
async def test_the_client_goes_away_in_the_middle() -> None:
    keeper = Keeper()
    async with SMTPServer(keeper) as server:
        for lines in (
            (),
            ("MAIL FROM:<a@example.com>",),
            (*ENVELOPE, "DATA", "x"),
            (*ENVELOPE, b"BDAT 9\r\nx"),
        ):
            async with raw(server) as client:
                await client.say(*lines)
                await anyio.sleep(0.002)
                if lines[-1:] == ("x",):
                    await client.stream.aclose()
        async with raw(server, greeted=False):
            pass
        await eventually(lambda: not server.connections)
        assert not keeper.transactions


@on_each_runtime(runtimes=BOTH)
async def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    keeper = Keeper()
    path = tmp_path / "lmtp"
    async with SMTPServer(keeper, path=str(path), lmtp=True) as server:
        assert server.port == 0
        assert server.addresses == (str(path),)
        async with raw(server, greeted=False) as client:
            assert await client.line() == "220 localhost LMTP"
            assert (await client.ask("LHLO x"))[:3] == "250"
            await client.codes(*ENVELOPE, "DATA")
            assert (await client.ask("x", "."))[:3] == "250"
        async with SMTPClient(f"lmtp+unix://{path}") as session:
            assert (await session.send(b"\r\n", sender="", recipients=["b@example.com", "c@example.com"])).ok
        assert keeper.transactions[0].session.peer == "unix"
    assert not path.exists()


def test_arguments_that_contradict_each_other(server_tls: ssl.SSLContext) -> None:
    for arguments in ({"implicit_tls": True}, {"require_tls": True}):
        with pytest.raises(InputError, match="without a certificate"):
            SMTPServer(Keeper(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no authenticate\(\)"):
        SMTPServer(Keeper(), require_authentication=True)
    with pytest.raises(InputError, match="int is no handler"):
        SMTPServer(17)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        SMTPServer(Keeper(), hostname="a b")
    with pytest.raises(InputError, match="at least 1"):
        ConnectionLimits(connections=0)
    with pytest.raises(InputError, match="at least 1"):
        ConnectionLimits(connections_per_host=0)


@on_each_runtime(runtimes=BOTH)
async def test_starting() -> None:
    async with SMTPServer(Keeper()) as server:
        with pytest.raises(LocalProtocolError, match="starts once"):
            await server.start()
        other = SMTPServer(Keeper(), port=server.port)
        with pytest.raises(ConnectError, match="in use"):
            await other.start()
    await other.start()
    await other.aclose()
    await other.aclose()
    unused = SMTPServer(Keeper())
    await unused.aclose()
    with pytest.raises(LocalProtocolError):
        await unused.start()


# --- hooks


class Picky(Keeper):
    """A handler with every hook; `answers` is what they answer, or raise."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.answers = answers
        self.calls: list[object] = []

    def answer(self, name: str, *details: object) -> Any:
        self.calls.append((name, *details))
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def connected(self, session: SessionInfo) -> Any:
        session.state["seen"] = True
        return self.answer("connected", session.peer)

    async def mail(self, transaction: ReceivedTransaction) -> Any:
        return self.answer("mail", transaction.sender)

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> Any:
        return self.answer("rcpt", tuple(transaction.recipients), recipient)

    async def verify(self, session: SessionInfo, text: str) -> Any:
        return self.answer("verify", session.hello, text)

    async def deliver(self, transaction: ReceivedTransaction) -> Any:
        await super().deliver(transaction)
        return self.answer("deliver", transaction.content)


@on_each_runtime
async def test_every_hook_is_asked() -> None:
    picky = Picky()
    async with SMTPServer(picky) as server, raw(server) as client:
        codes = await client.codes("VRFY joe", *ENVELOPE, "RCPT TO:<c@example.com>", "DATA")
        assert codes == "252 250 250 250 354"
        assert await client.codes(b".\r\n", "QUIT") == "250 221"
        assert picky.calls == [
            ("connected", "127.0.0.1"),
            ("verify", "me.example", "joe"),
            ("mail", "a@example.com"),
            ("rcpt", (), "b@example.com"),
            ("rcpt", ("b@example.com",), "c@example.com"),
            ("deliver", b""),
        ]
        assert picky.transactions[0].session.state == {"seen": True}


@pytest.mark.parametrize("raised", [False, True])
@on_each_runtime(runtimes=BOTH)
async def test_hooks_that_refuse(raised: bool) -> None:
    refusal = Reply(554, "not you", "5.7.1")
    answer: Any = SenderRefused("a@example.com", refusal) if raised else refusal
    picky = Picky(verify=answer, mail=answer)
    async with SMTPServer(picky) as server, raw(server) as client:
        assert await client.ask("VRFY joe") == "554 5.7.1 not you"
        assert await client.ask(ENVELOPE[0]) == "554 5.7.1 not you"
        assert (await client.ask(ENVELOPE[1]))[:3] == "503"
        picky.answers = {"rcpt": answer}
        assert await client.codes(*ENVELOPE, "DATA") == "250 554 503"
        picky.answers = {}
        assert await client.codes("RCPT TO:<d@example.com>", "DATA") == "250 354"
        picky.answers = {"deliver": answer}
        assert await client.ask(b"x\r\n.\r\n") == "554 5.7.1 not you"
        assert picky.transactions[0].recipients == ["d@example.com"]
        picky.answers = {}
        assert await client.codes(*ENVELOPE, "DATA", b"y\r\n.\r\n") == "250 250 354 250"
        assert len(picky.transactions) == 2


@on_each_runtime(runtimes=BOTH)
async def test_positive_replies_of_hooks() -> None:
    picky = Picky(
        connected=Reply(220, "hello there"),
        verify=Reply(250, "joe@example.com"),
        mail=Reply(250, "sender fine"),
        rcpt=Reply(251, "will forward"),
        deliver=Reply(250, "number 7"),
    )
    async with SMTPServer(picky) as server, raw(server, greeted=False) as client:
        assert await client.line() == "220 hello there"
        await client.ask("EHLO x")
        assert await client.ask("VRFY joe") == "250 joe@example.com"
        assert await client.ask(ENVELOPE[0]) == "250 sender fine"
        assert await client.ask(ENVELOPE[1]) == "251 will forward"
        assert (await client.ask("DATA"))[:3] == "354"
        assert await client.ask(".") == "250 number 7"
        assert picky.transactions[0].recipients == ["b@example.com"]


BAD_ANSWERS = {
    "raises": ZeroDivisionError("at night"),
    "intermediate": Reply(354, "go on"),
    "text": "250 OK",
    "number": 250,
    "true": True,
}


@pytest.mark.parametrize("bad", BAD_ANSWERS)
@on_each_runtime(runtimes=BOTH)
async def test_hooks_that_fail(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    """The client is told to come again, the operator finds the reason in the log, the session goes on."""
    picky = Picky(**dict.fromkeys(("verify", "mail", "rcpt", "deliver"), BAD_ANSWERS[bad]))
    async with SMTPServer(picky) as server, raw(server) as client:
        local_error = "451 4.3.0 Local error, try again later"
        assert await client.ask("VRFY joe") == local_error
        assert await client.ask(ENVELOPE[0]) == local_error
        del picky.answers["mail"]
        assert await client.ask(ENVELOPE[0]) == "250 2.1.0 OK"
        assert await client.ask(ENVELOPE[1]) == local_error
        del picky.answers["rcpt"]
        assert await client.codes(ENVELOPE[1], "DATA") == "250 354"
        assert await client.ask(".") == local_error
        assert picky.transactions[0].recipients == ["b@example.com"]
        del picky.answers["deliver"]
        assert await client.codes(*ENVELOPE, "DATA", b".\r\n") == "250 250 354 250"
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 4
    if bad == "raises":
        assert "at night" in caplog.text
        assert errors[3] == "Picky.deliver failed; the client is told to try again"
    elif bad == "text":
        assert errors[3] == (
            "Picky.deliver returned '250 OK', which is no Reply: return None for yes, or asyncmail.Reply(550, …)"
        )


@on_each_runtime(runtimes=BOTH)
async def test_a_hook_that_is_no_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    class Sync(Keeper):
        def mail(self, transaction: ReceivedTransaction) -> None:
            raise KeyError("mail")

        def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> None:
            pass

        def deliver(self, transaction: ReceivedTransaction) -> None:  # type: ignore[override]
            pass

    sync = Sync()
    async with SMTPServer(sync) as server, raw(server) as client:
        assert await client.codes(ENVELOPE[0]) == "451"
        assert "KeyError" in caplog.text
        sync.mail = Keeper().deliver  # type: ignore[assignment,method-assign]
        assert await client.codes(*ENVELOPE) == "250 451"
        assert "Sync.rcpt is not async: write async def" in caplog.messages[-1]
    async with SMTPServer(sync.deliver) as server, raw(server) as client:
        assert await client.codes(*ENVELOPE, "DATA", b".\r\n") == "250 250 354 451"
        assert "Sync.deliver is not async: write async def" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("answer", "greeting", "then"),
    [
        (Reply(554, "go away"), "554 go away", "503"),
        (Reply(421, "busy"), "421 busy", "<en"),
        (ZeroDivisionError(), "421 4.3.0 Local error, try again later", "<en"),
        (Reply(354, "what"), "421 4.3.0 Local error, try again later", "<en"),
        ("220 hi", "421 4.3.0 Local error, try again later", "<en"),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_clients_that_are_turned_away(answer: object, greeting: str, then: str) -> None:
    async with SMTPServer(Picky(connected=answer)) as server, raw(server, greeted=False) as client:
        assert await client.line() == greeting
        if then == "503":
            assert (await client.ask("EHLO x"))[:3] == "503"
            assert (await client.ask("QUIT"))[:3] == "221"
        assert await client.line() == "<end>"


class Streaming(Picky):
    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.received: list[bytes] = []

    async def receive(self, transaction: ReceivedTransaction, chunk: bytes) -> Any:
        assert transaction.recipients == ["b@example.com"]
        self.received.append(chunk)
        return self.answer("receive")


@on_each_runtime
async def test_content_in_pieces() -> None:
    streaming = Streaming(receive=5)  # as a file's write() would return
    async with SMTPServer(streaming) as server, raw(server) as client:
        assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
        content = b"0123456789\r\n" * 100_000
        await client.say(content)
        assert (await client.ask("."))[:3] == "250"
        assert b"".join(streaming.received) == content
        assert len(streaming.received) > 1
        assert streaming.transactions[0].content == b""
        streaming.received.clear()
        assert await client.codes(*ENVELOPE, b"BDAT 2\r\nab", b"BDAT 2 LAST\r\n\r\n") == "250 250 250 250"
        assert b"".join(streaming.received) == b"ab\r\n"
        streaming.received.clear()
        assert await client.codes(*ENVELOPE, "DATA", b".\r\n") == "250 250 354 250"
        assert len(streaming.transactions) == 3


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (OSError("the disk is full"), "451 4.3.0 Local error, try again later"),
        (SenderRefused("", Reply(552, "too much", "5.3.4")), "552 5.3.4 too much"),
        (Reply(554, "no"), "554 no"),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_content_in_pieces_that_fails(answer: Any, reply: str) -> None:
    """The rest is read and dropped; the session goes on."""
    streaming = Streaming(receive=answer)
    async with SMTPServer(streaming) as server, raw(server) as client:
        assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
        await client.say(b"x\r\n")
        await eventually(lambda: streaming.received)
        await client.say(b"0123456789\r\n" * 100_000)
        assert await client.ask(".") == reply
        assert streaming.received == [b"x"]
        assert not streaming.transactions
        streaming.answers = {}
        assert await client.codes(*ENVELOPE, "DATA", b"y\r\n.\r\n") == "250 250 354 250"
        assert len(streaming.transactions) == 1


# --- LMTP


@on_each_runtime(runtimes=BOTH)
async def test_lmtp_answers_for_each_recipient(caplog: pytest.LogCaptureFixture) -> None:
    picky = Picky()
    recipients = [f"RCPT TO:<{name}@example.com>" for name in "abc"]
    async with SMTPServer(picky, lmtp=True) as server, raw(server, hello="LHLO x") as client:

        async def replies(answer: object) -> str:
            picky.answers = {"deliver": answer}
            assert await client.codes(ENVELOPE[0], *recipients, "DATA") == "250 250 250 250 354"
            await client.say("x", ".")
            return " ".join(each[:3] for each in await client.replies(3))

        assert await replies(None) == "250 250 250"
        assert await replies(Reply(452, "full")) == "452 452 452"
        assert await replies([Reply(250, "a"), Reply(452, "b"), Reply(550, "c")]) == "250 452 550"
        assert await replies((None, Reply(452, "b"), None)) == "250 452 250"
        assert await replies(ZeroDivisionError()) == "451 451 451"
        assert not [record for record in caplog.records if "due" in record.message]
        assert await replies([Reply(250)]) == "451 451 451"
        assert await replies([Reply(250)] * 4) == "451 451 451"
        assert await replies([]) == "451 451 451"
        assert len([record for record in caplog.records if "due" in record.message]) == 3
        assert (await client.ask("EHLO x"))[:3] == "500"


@on_each_runtime(runtimes=BOTH)
async def test_a_sequence_of_replies_in_smtp() -> None:
    picky = Picky(deliver=[Reply(250, "one")])
    async with SMTPServer(picky) as server, raw(server) as client:
        await client.codes(*ENVELOPE, "DATA")
        assert await client.ask(".") == "250 one"
        picky.answers["deliver"] = [Reply(250, "one"), Reply(550, "two")]
        await client.codes(*ENVELOPE, "DATA")
        assert (await client.ask("."))[:3] == "451"


# --- limits


@on_each_runtime
async def test_too_many_connections() -> None:
    limits = ConnectionLimits(connections=3, connections_per_host=2)
    async with SMTPServer(Keeper(), connection_limits=limits) as server:
        async with raw(server), raw(server):
            async with raw(server, greeted=False) as third:
                assert await third.line() == "421 4.7.0 Too many connections, try again later"
                assert await third.line() == "<end>"
            other = Raw(await connect(f"smtp://127.0.0.1:{server.port}", local_address="127.0.0.2"))
            assert (await other.line())[:3] == "220"
            more = Raw(await connect(f"smtp://127.0.0.1:{server.port}", local_address="127.0.0.3"))
            assert (await more.line())[:3] == "421"
            await more.stream.aclose()
            await other.stream.aclose()
        await eventually(lambda: not server.connections)
        async with raw(server):
            pass


@on_each_runtime(runtimes=BOTH)
async def test_clients_over_the_limit_that_do_not_listen() -> None:
    async with SMTPServer(Keeper(), connection_limits=ConnectionLimits(connections=1)) as server:
        async with raw(server):
            for _ in range(5):
                stream = await connect(f"smtp://127.0.0.1:{server.port}")
                stream.abort()
            async with raw(server, greeted=False) as client:
                assert (await client.line())[:3] == "421"


@on_each_runtime(runtimes=BOTH)
async def test_limits_of_a_session() -> None:
    limits = ServerLimits(
        command_line=100, authentication_line=100, message_size=50, recipients=2, commands=40, errors=3
    )
    keeper = Keeper()
    async with SMTPServer(keeper, limits=limits) as server:
        async with raw(server) as client:
            assert (await client.ask("NOOP " + "x" * 200))[:3] == "500"
            assert (await client.ask("MAIL FROM:<a@example.com> SIZE=51"))[:3] == "552"
            codes = await client.codes(ENVELOPE[0], *[ENVELOPE[1]] * 3, "DATA")
            assert codes == "250 250 250 452 354"
            assert (await client.ask("x" * 60, "."))[:3] == "552"
            assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
            assert (await client.ask("fine", "."))[:3] == "250"
            assert await client.codes("WHAT", "WHAT", "WHAT", "WHAT") == "500 500 500 421"
            assert await client.line() == "<end>"
        async with raw(server) as client:
            await client.say(*["NOOP"] * 50)
            codes = [each[:3] for each in await client.replies(41)]
            assert codes == ["250"] * 39 + ["421", "<en"]
        assert keeper.contents == [b"fine\r\n"]


@on_each_runtime(runtimes=BOTH)
async def test_endless_lines_do_not_fill_memory() -> None:
    async with SMTPServer(Keeper(), limits=ServerLimits(errors=1)) as server, raw(server) as client:
        with anyio.move_on_after(10):
            await client.say(b"x" * 5_000_000, "", "NOOP")
            assert (await client.reply())[:3] == "500"
            assert (await client.reply())[:3] == "250"


@on_each_runtime
async def test_silence() -> None:
    async with SMTPServer(Keeper(), idle_seconds=0.05) as server:
        async with raw(server, greeted=False) as client:
            assert (await client.line())[:3] == "220"
            assert await client.line() == "421 4.4.2 Nothing came for too long"
            assert await client.line() == "<end>"
        async with raw(server) as client:
            assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
            await client.say("half")
            assert (await client.line())[:3] == "421"
            assert await client.line() == "<end>"
        await eventually(lambda: not server.connections)


@on_each_runtime(runtimes=BOTH)
async def test_content_that_drips_into_a_handler_that_streams() -> None:
    """Whatever takes it, content that comes octet by octet has no more time than content that does not come."""

    class Streaming(Keeper):
        async def receive(self, transaction: ReceivedTransaction, chunk: bytes) -> None:
            pass

    async with SMTPServer(Streaming(), idle_seconds=0.2) as server, raw(server) as client:
        assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
        said = 0
        with suppress(ConnectionLost):
            for said in range(500):  # noqa: B007
                await client.say(b"x")
                await anyio.sleep(0.02)
        assert said < 499
        await eventually(lambda: not server.connections)


@on_each_runtime
async def test_a_client_that_never_reads() -> None:
    """Its replies do not fill memory: the session ends."""
    async with SMTPServer(Keeper(), idle_seconds=0.2, limits=ServerLimits(commands=10**9)) as server:
        async with raw(server, greeted=False) as client:
            said = 0
            with pytest.raises((ConnectionLost, ClosedError)):
                while said < 200_000_000:
                    await client.say(b"EHLO x\r\n" * 5_000)
                    said += 40_000
        # What the sockets hold is a few megabytes.
        assert said < 50_000_000
        await eventually(lambda: not server.connections)


# --- newlines


@pytest.mark.parametrize(
    "content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\nb\r\n", b"a\r\n.\rb\r\n", b"a\n.\r\nb\r\n"]
)
@on_each_runtime(runtimes=BOTH)
async def test_bare_newlines(content: bytes) -> None:
    keeper = Keeper()
    async with SMTPServer(keeper) as server, raw(server) as client:
        assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
        await client.say(content, ".")
        assert (await client.reply()) == "550 5.6.0 Lines end in CRLF: the content holds a bare CR or LF"
        assert await client.codes("NOOP") == "250"
        assert not keeper.transactions
    async with SMTPServer(keeper, bare_newlines=BareNewlines.NORMALIZE) as server, raw(server) as client:
        assert await client.codes(*ENVELOPE, "DATA") == "250 250 354"
        await client.say(content, ".")
        assert (await client.reply())[:3] == "250"
        assert (
            keeper.contents[0].count(b"\r\n")
            == keeper.contents[0].count(b"\n")
            == keeper.contents[0].count(b"\r")
        )


# --- TLS and AUTH


class Checking(Keeper):
    def __init__(self, answer: Any = "") -> None:
        super().__init__()
        self.answer = answer
        self.attempts: list[tuple[str, str]] = []

    async def authenticate(self, session: SessionInfo, attempt: Attempt) -> Any:
        self.attempts.append((attempt.mechanism, attempt.username))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer != "":
            return self.answer
        return attempt.username if attempt.verify("secret") else None


def plain(username: str, password: str) -> str:
    return base64.b64encode(f"\0{username}\0{password}".encode()).decode()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("tls", ["", "starttls", "implicit"])
@on_each_runtime(runtimes=BOTH)
async def test_authentication(mechanism: str, tls: str, authority: Authority) -> None:
    checking = Checking()
    server = SMTPServer(
        checking,
        tls_context=authority.server_context() if tls else None,
        implicit_tls=tls == "implicit",
        require_tls=tls == "starttls",
        require_authentication=True,
        allow_cleartext_login=not tls,
    )
    scheme = {"": "smtp", "starttls": "smtp+starttls", "implicit": "smtps"}[tls]
    context = authority.client_context()
    async with server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        async with SMTPClient(url, tls_context=context) as client:
            with pytest.raises(SenderRefused, match="530"):
                await client.mail("a@example.com")
        options: dict[str, Any] = {"username": "joe", "tls_context": context, "mechanisms": (mechanism,)}
        async with SMTPClient(url, password="secret", **options) as client:
            assert "AUTH" in client.extensions
            assert (await client.send(b"\r\n", sender="a@example.com", recipients=["b@example.com"])).ok
            session = checking.transactions[-1].session
            assert (session.user, session.encrypted) == ("joe", bool(tls))
        with pytest.raises(AuthenticationError, match="535"):
            async with SMTPClient(url, password="wrong", **options):
                pass
        assert checking.attempts == [(mechanism, "joe")] * 2


@on_each_runtime(runtimes=BOTH)
async def test_passwords_in_the_clear(authority: Authority) -> None:
    async with (
        SMTPServer(Checking(), tls_context=authority.server_context()) as server,
        raw(server) as client,
    ):
        assert (await client.ask(f"AUTH PLAIN {plain('joe', 'secret')}"))[:3] == "538"
        await client.say("EHLO x")
        lines = [await client.line()]
        while lines[-1][3] == "-":
            lines.append(await client.line())
        assert {"AUTH CRAM-MD5", "STARTTLS"} <= {line[4:] for line in lines}
    async with SMTPServer(Checking(), allow_cleartext_login=True) as server, raw(server) as client:
        assert (await client.ask(f"AUTH PLAIN {plain('joe', 'secret')}"))[:3] == "235"
        assert (await client.ask(f"AUTH PLAIN {plain('joe', 'secret')}"))[:3] == "503"
        assert (await client.ask("STARTTLS"))[:3] == "502"
    async with SMTPServer(Keeper()) as server, raw(server) as client:
        assert (await client.ask(f"AUTH PLAIN {plain('joe', 'secret')}"))[:3] == "502"


@pytest.mark.parametrize(
    ("answer", "code", "logs"),
    [
        ("joe", "235", 0),
        (None, "535", 0),
        (False, "535", 0),
        (Reply(454, "later", "4.7.0"), "454", 0),
        (SenderRefused("", Reply(454, "later", "4.7.0")), "454", 0),
        (ZeroDivisionError(), "451", 1),
        (True, "451", 1),
        (17, "451", 1),
        (Reply(235, "yes"), "451", 1),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_what_authenticate_may_answer(
    answer: object, code: str, logs: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        SMTPServer(Checking(answer), allow_cleartext_login=True, require_authentication=True) as server,
        raw(server) as client,
    ):
        assert (await client.ask(f"AUTH PLAIN {plain('joe', 'x')}"))[:3] == code
        assert (await client.ask(ENVELOPE[0]))[:3] == ("250" if code == "235" else "530")
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == logs
    if answer is True:
        cure = "return the name, or None if the password is wrong"
        assert errors == [f"Checking.authenticate returned True, which is not the name of a user: {cure}"]


@on_each_runtime(runtimes=BOTH)
async def test_guessing_passwords() -> None:
    checking = Checking()
    limits = ServerLimits(errors=3)
    async with (
        SMTPServer(checking, allow_cleartext_login=True, limits=limits) as server,
        raw(server) as client,
    ):
        for _ in range(3):
            assert (await client.ask(f"AUTH PLAIN {plain('joe', 'x')}"))[:3] == "535"
        assert (await client.ask(f"AUTH PLAIN {plain('joe', 'x')}"))[:3] == "421"
        assert await client.line() == "<end>"


@on_each_runtime(runtimes=BOTH)
async def test_tls_forgets_everything(authority: Authority) -> None:
    picky = Picky()
    async with SMTPServer(picky, tls_context=authority.server_context()) as server, raw(server) as client:
        await client.ask(ENVELOPE[0])
        await client.ask("RSET")
        assert (await client.ask("STARTTLS"))[:3] == "220"
        await client.stream.start_tls(authority.client_context(), server_hostname="localhost")
        assert (await client.ask(ENVELOPE[0]))[:3] == "503"
        assert await client.codes("EHLO again.example", *ENVELOPE, "DATA", b".\r\n") == "250 250 250 354 250"
        session = picky.transactions[0].session
        assert session == SessionInfo(peer="127.0.0.1", hello="again.example", encrypted=True)
        assert (await client.ask("STARTTLS"))[:3] == "503"


@on_each_runtime
async def test_plaintext_behind_starttls(authority: Authority) -> None:
    """What an attacker adds in the clear is never read as if it had come encrypted."""
    picky = Picky()
    async with SMTPServer(picky, tls_context=authority.server_context()) as server, raw(server) as client:
        await client.say("STARTTLS", *ENVELOPE)
        assert (await client.reply())[:3] in ("220", "<en")
        with pytest.raises(Exception):  # noqa: B017
            await client.stream.start_tls(authority.client_context(), server_hostname="localhost")
        await eventually(lambda: not server.connections)
        assert picky.calls == [("connected", "127.0.0.1")]


@on_each_runtime(runtimes=BOTH)
async def test_a_handshake_that_fails(authority: Authority) -> None:
    async with SMTPServer(Keeper(), tls_context=authority.server_context(), idle_seconds=0.1) as server:
        async with raw(server) as client:
            assert (await client.ask("STARTTLS"))[:3] == "220"
            await client.say("NOOP")
            await eventually(lambda: not server.connections)
        async with raw(server) as client:
            assert (await client.ask("STARTTLS"))[:3] == "220"
            await eventually(lambda: not server.connections)  # it waits no longer than for anything else


# --- the end


@on_each_runtime
async def test_idle_sessions_are_told_at_once() -> None:
    async with SMTPServer(Keeper(), grace_seconds=20) as server:
        clients = [Raw(await connect(f"smtp://127.0.0.1:{server.port}")) for _ in range(20)]
        for client in clients:
            assert (await client.line())[:3] == "220"
        await clients[0].ask("EHLO x")
        await server.aclose()
        for client in clients:
            assert await client.line() == "421 4.3.2 The server is shutting down, try again later"
            assert await client.line() == "<end>"
            client.stream.abort()
        with pytest.raises(ConnectError):
            await connect(f"smtp://{server.addresses or '127.0.0.1:1'}")
        await anyio.sleep(0.01)


@on_each_runtime
async def test_a_transaction_under_way_may_finish() -> None:
    keeper = Keeper()
    async with SMTPServer(keeper, grace_seconds=20) as server, raw(server) as client:
        await client.codes(*ENVELOPE, "DATA")
        async with anyio.create_task_group() as group:
            group.start_soon(server.aclose)
            await anyio.sleep(0.01)
            assert (await client.ask("x", "."))[:3] == "250"
            assert (await client.line())[:3] == "421"
            assert await client.line() == "<end>"
        assert keeper.contents == [b"x\r\n"]


@on_each_runtime
async def test_a_transaction_that_takes_longer_than_the_grace() -> None:
    async with SMTPServer(Keeper(), grace_seconds=0.05) as server, raw(server) as client:
        await client.codes(*ENVELOPE, "DATA")
        await server.aclose()
        assert (await client.line())[:3] == "421"
        assert await client.line() == "<end>"
        assert not server.connections


@on_each_runtime
async def test_a_handler_that_takes_longer_than_the_grace() -> None:
    """It is cancelled; the client knows that the message was not taken."""
    cancelled = False

    async def deliver(transaction: ReceivedTransaction) -> None:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        finally:
            cancelled = True

    async with SMTPServer(deliver, grace_seconds=0.05) as server, raw(server) as client:
        await client.codes(*ENVELOPE, "DATA")
        await client.say("x", ".")
        await anyio.sleep(0.01)
        await server.aclose()
        assert cancelled
        assert (await client.line())[:3] == "421"
        assert await client.line() == "<end>"


@on_each_runtime(runtimes=BOTH)
async def test_many_clients_that_do_not_close_on_their_part(authority: Authority) -> None:
    """They are taken leave of at the same time."""
    async with SMTPServer(
        Keeper(), tls_context=authority.server_context(), implicit_tls=True, grace_seconds=10
    ) as server:
        context = authority.client_context()
        streams = [await connect(f"smtps://127.0.0.1:{server.port}", tls_context=context) for _ in range(20)]
        await eventually(lambda: server.connections == 20)
        with anyio.fail_after(5):
            await server.aclose()
        for stream in streams:
            stream.abort()
        await anyio.sleep(0.01)


@on_each_runtime(runtimes=BOTH)
async def test_closing_is_cancelled() -> None:
    async with SMTPServer(Keeper(), grace_seconds=100) as server, raw(server) as client:
        await client.codes(*ENVELOPE)
        with anyio.move_on_after(0.02):
            await server.aclose()
        await eventually(lambda: not server.connections)


@on_each_runtime(runtimes=BOTH)
async def test_entered_and_left_in_different_tasks() -> None:
    server = SMTPServer(Keeper())
    async with anyio.create_task_group() as group:
        group.start_soon(server.__aenter__)
    async with raw(server):
        async with anyio.create_task_group() as group:
            group.start_soon(server.__aexit__, None, None, None)


@on_each_runtime(runtimes=BOTH)
async def test_two_close_it() -> None:
    async with SMTPServer(Keeper(), grace_seconds=0.05) as server, raw(server) as client:
        await client.codes(*ENVELOPE)
        async with anyio.create_task_group() as group:
            group.start_soon(server.aclose)
            group.start_soon(server.aclose)


@on_each_runtime(runtimes=BOTH)
async def test_the_trace() -> None:
    lines: list[str] = []

    def trace(direction: object, line: str) -> None:
        lines.append(line)

    async with (
        SMTPServer(Checking(), allow_cleartext_login=True, trace=trace) as server,
        raw(server) as client,
    ):
        await client.ask(f"AUTH PLAIN {plain('joe', 'secret')}")
    assert "AUTH PLAIN ****" in lines
    assert not any(plain("joe", "secret") in line for line in lines)
