"""SMTPClient: what it promises, against servers that do what a test wants."""

from __future__ import annotations

import pickle
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING

import anyio
import pytest

import asyncmail
from asyncmail import Parcel, SMTPClient, SMTPTimeouts
from asyncmail.errors import (
    AddressSyntaxError,
    AllRecipientsRefused,
    BusyError,
    ClosedError,
    CommandRefused,
    ConnectError,
    ConnectionLost,
    ContentRefused,
    ExtensionRequired,
    GreetingRefused,
    HelloRefused,
    InputError,
    LimitExceeded,
    LocalProtocolError,
    MailTimeout,
    MessageError,
    RecipientRefused,
    RemoteProtocolError,
    SenderRefused,
    Stage,
    URLError,
)
from asyncmail.net import memory_stream_pair
from asyncmail.smtp import BodyType, ClientLimits, Status
from net.runtimes import eventually, on_each_runtime
from peers import reserve_port
from scripted import EXTENSIONS, Do, Talk, cut_at, scripted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scripted import React

BOTH = ("asyncio", "trio")
PLAIN = tuple(each for each in EXTENSIONS if each not in ("PIPELINING", "CHUNKING"))
PIPELINING = tuple(each for each in EXTENSIONS if each != "CHUNKING")
CONTENT = b"Subject: hello\r\n\r\ntext\r\n"
A, B = "a@example.com", "b@example.com"


def message(subject: str = "hello") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ann <ann@example.com>"
    message["To"] = "bob@example.com"
    message["Bcc"] = "carol@example.com"
    message["Subject"] = subject
    message.set_content("text")
    return message


def answering(**answers: str | Do | list[str | Do]) -> React:
    """Answer each verb in `answers` so; `DOT` is the end of content."""

    def react(talk: Talk, line: str) -> str | Do | list[str | Do] | None:
        verb = "DOT" if line == "." else line.partition(" ")[0].upper()
        return answers.get(verb)

    return react


async def send(client: SMTPClient, **options: str | list[str]) -> asyncmail.Outcome:
    return await client.send(CONTENT, **({"sender": A, "recipients": [B]} | options))  # type: ignore[arg-type]


# --- the life of a session


@on_each_runtime
async def test_a_session() -> None:
    async with scripted() as server:
        client = SMTPClient(server.url)
        assert repr(client) == f"<SMTPClient smtp://127.0.0.1:{server.port} not connected>"
        async with client:
            assert client.greeting is not None
            assert client.greeting.text == "scripted ESMTP"
            assert repr(client).endswith("ready>")
            assert client.is_usable
            assert client.tls is None
            assert "PIPELINING" in client.extensions
            assert client.extensions.size == 1_000_000
            assert (await client.noop()).code == 250
            outcome = await client.send(message())
            assert outcome.ok
        assert not client.is_usable
        await eventually(lambda: not server.open)
        [taken] = server.messages
        assert (taken.sender, taken.recipients) == (
            "ann@example.com",
            ("bob@example.com", "carol@example.com"),
        )
        assert b"carol" not in taken.content
        [talk] = server.talks
        assert talk.lines[0].startswith("EHLO ")
        assert talk.lines[-1] == "QUIT"


@on_each_runtime
async def test_command_by_command() -> None:
    async with scripted() as server, SMTPClient(server.url) as client:
        assert (await client.mail(A, size=24, body=BodyType.EIGHT_BIT_MIME)).enhanced_status_code == "2.1.0"
        await client.rcpt(B)
        reply = await client.data(b"Subject: 1\n\n.dot\n")
        assert reply.code == 250
        await client.mail("")
        await client.rcpt(A, parameters={"NOTIFY": "NEVER"})
        await client.bdat(b"Subject: 2\r\n")
        await client.bdat(b"")
        await client.bdat(b"\r\n", last=True)
        await client.mail(A)
        await client.reset()
        assert (await client.verify("bob")).code == 250
        assert (await client.expand("list")).code == 250
        assert (await client.help()).code == 250
        assert (await client.help("MAIL")).code == 250
        assert (await client.quit()).code == 221
        assert not client.is_usable
        assert [(m.sender, m.recipients, m.content) for m in server.messages] == [
            (A, (B,), b"Subject: 1\r\n\r\n.dot\r\n"),
            ("", (A,), b"Subject: 2\r\n\r\n"),
        ]
        lines = server.talks[0].lines
        assert "MAIL FROM:<a@example.com> SIZE=24 BODY=8BITMIME" in lines
        assert lines[-4:] == ["EXPN list", "HELP", "HELP MAIL", "QUIT"]


@on_each_runtime(runtimes=BOTH)
async def test_left_by_an_exception_there_is_no_goodbye() -> None:
    async with scripted() as server:
        with pytest.raises(KeyError):
            async with SMTPClient(server.url):
                raise KeyError
        await eventually(lambda: not server.open)
        assert server.talks[0].lines[-1].startswith("EHLO")


@on_each_runtime(runtimes=BOTH)
async def test_quit_that_is_refused_or_not_answered() -> None:
    async with scripted(answering(QUIT="500 no")) as server:
        async with SMTPClient(server.url) as client:
            with pytest.raises(CommandRefused, match="QUIT was refused: 500 no"):
                await client.quit()
        assert not client.is_usable
    async with scripted(answering(QUIT=Do.CLOSE)) as server:
        async with SMTPClient(server.url):
            pass
    async with scripted(answering(QUIT=Do.HANG)) as server:
        async with SMTPClient(server.url, timeouts=0.05):
            pass
        await eventually(lambda: server.talks[0].lines[-1] == "QUIT")


@on_each_runtime(runtimes=BOTH)
async def test_the_goodbye_does_not_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmail.client.smtp._GOODBYE_SECONDS", 0.05)
    async with scripted(answering(QUIT=Do.HANG)) as server:
        async with SMTPClient(server.url):
            pass


@on_each_runtime(runtimes=BOTH)
async def test_before_and_after() -> None:
    async with scripted() as server:
        client = SMTPClient(server.url)
        client.abort()
        await client.aclose()
        with pytest.raises(ClosedError, match="not connected"):
            await client.noop()
        with pytest.raises(ClosedError, match="not connected"):
            await send(client)
        async with client:
            with pytest.raises(LocalProtocolError, match="connects once"):
                await client.connect()
        for call in (client.noop, client.quit, lambda: send(client), lambda: client.data(b"")):
            with pytest.raises(ClosedError, match="has ended"):
                await call()
        await client.aclose()
        client.abort()


@on_each_runtime(runtimes=BOTH)
async def test_connecting_twice_at_the_same_time() -> None:
    async with scripted() as server:
        client = SMTPClient(server.url)
        errors: list[Exception] = []

        async def connect() -> None:
            try:
                await client.connect()
            except LocalProtocolError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(connect)
            group.start_soon(connect)
        assert len(errors) == 1
        assert len(server.talks) == 1
        await client.aclose()


@on_each_runtime(runtimes=BOTH)
async def test_use_while_connecting() -> None:
    async with scripted(answering(EHLO=Do.HANG)) as server:
        client = SMTPClient(server.url)
        async with anyio.create_task_group() as group:
            group.start_soon(client.connect)
            await eventually(lambda: server.talks and server.talks[0].lines)
            with pytest.raises(BusyError):
                await client.noop()
            assert client.is_usable  # it is the other task that is using it
            group.cancel_scope.cancel()
        assert not client.is_usable


def test_an_option_that_does_not_exist() -> None:
    """A misspelt one would have no effect, and a limit, or a check, that was asked for would be missing."""
    for make in (SMTPClient, asyncmail.Mailer, asyncmail.POP3Client):
        server = "pop3://localhost" if make is asyncmail.POP3Client else "smtp://localhost"
        with pytest.raises(
            TypeError, match="unexpected keyword argument 'timeout', did you mean 'timeouts'"
        ) as caught:
            make(server, timeout=3)  # type: ignore[call-arg]
        assert str(caught.value).startswith("POP3Client" if make is asyncmail.POP3Client else "SMTPClient")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'x'$"):
        SMTPClient("smtp://localhost", x=1)  # type: ignore[call-arg]


def test_what_cannot_be_a_server() -> None:
    with pytest.raises(URLError, match=r"pop3 .* smtp://"):
        SMTPClient("pop3://localhost")
    with pytest.raises(URLError):
        SMTPClient("localhost")
    with pytest.raises(InputError, match="password for localhost:25 is missing"):
        SMTPClient("smtp://localhost", username="me")
    with pytest.raises(InputError, match="username for localhost:25 is missing"):
        SMTPClient("smtp://localhost", password="secret")
    with pytest.raises(InputError, match="timeout connect is 0"):
        SMTPClient("smtp://localhost", timeouts=0)
    with pytest.raises(InputError, match="timeout mail is nan"):
        SMTPTimeouts(mail=float("nan"))


@on_each_runtime(runtimes=BOTH)
async def test_a_stream_of_the_callers_own() -> None:
    ours, theirs = memory_stream_pair(segment=3)

    async def serve() -> None:
        await theirs.send([b"220 hi\r\n"])
        for answer in (b"250 hi\r\n", b"221 bye\r\n"):
            data = b""
            while not data.endswith(b"\r\n"):
                data += await theirs.receive()
            await theirs.send([answer])
        assert await theirs.receive() == b""
        await theirs.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        async with SMTPClient("smtp://elsewhere.example", stream=ours, local_hostname="me.example") as client:
            assert client.extensions.domain == "hi"


@on_each_runtime(runtimes=BOTH)
async def test_a_stream_that_is_never_used_is_closed_by_abort() -> None:
    ours, theirs = memory_stream_pair()
    SMTPClient("smtp://elsewhere.example", stream=ours).abort()
    await anyio.sleep(0.01)
    assert theirs.is_stale
    await theirs.aclose()


# --- connecting


@on_each_runtime
async def test_nobody_listens() -> None:
    with pytest.raises(ConnectError, match="nothing listens there") as caught:
        async with SMTPClient(f"smtp://127.0.0.1:{reserve_port()}"):
            pass
    assert caught.value.is_transient
    assert caught.value.stage is Stage.CONNECT


@on_each_runtime(runtimes=BOTH)
async def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(ConnectError, match="cannot be resolved"):
        async with SMTPClient("smtp://host.invalid"):
            pass


@pytest.mark.parametrize(
    ("answers", "error", "text"),
    [
        ({"CONNECT": "554 go away"}, GreetingRefused, "554 go away"),
        ({"CONNECT": "421 too many"}, GreetingRefused, "421 too many"),
        ({"CONNECT": Do.CLOSE}, ConnectionLost, "greeting: the server closed"),
        ({"CONNECT": Do.RESET}, ConnectionLost, "connection"),
        ({"CONNECT": Do.HANG}, MailTimeout, "waited 0.05 s for the greeting .* use smtps://"),
        ({"CONNECT": ["220-hi", Do.HANG]}, MailTimeout, "greeting"),
        ({"CONNECT": "HTTP/1.1 400 Bad Request"}, RemoteProtocolError, "is this an SMTP server"),
        ({"CONNECT": "354 go ahead"}, RemoteProtocolError, "greeting is 354"),
        ({"CONNECT": ["x" * 100_000, Do.HANG]}, LimitExceeded, "reply_line=12288"),
        ({"CONNECT": ["220-" + "x" * 10_000] * 8}, LimitExceeded, "reply=65536"),
        ({"EHLO": "500 what", "HELO": "502 no"}, HelloRefused, "502 no"),
        ({"EHLO": "451 later"}, HelloRefused, "451 later"),
        ({"EHLO": "421 shutting down"}, HelloRefused, "421 shutting down"),
        ({"EHLO": Do.CLOSE}, ConnectionLost, "unanswered: EHLO"),
        ({"EHLO": Do.HANG}, MailTimeout, "answer to a command"),
        ({"EHLO": "354 go ahead"}, RemoteProtocolError, "354"),
        ({"EHLO": ["250-a", "251 b"]}, RemoteProtocolError, "codes differ"),
        ({"EHLO": "\x00\xff"}, RemoteProtocolError, r"not a reply: '\\x00ÿ"),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_no_session(
    answers: dict[str, str | Do | list[str | Do]], error: type[Exception], text: str
) -> None:
    async with scripted(answering(**answers)) as server:
        with pytest.raises(error, match=text) as caught:
            async with SMTPClient(
                server.url, timeouts=SMTPTimeouts.all(0.05), limits=ClientLimits(reply_line=12_288)
            ):
                raise AssertionError("there is a session")
        assert isinstance(caught.value, asyncmail.MailError)
        assert caught.value.stage is (Stage.GREETING if "CONNECT" in answers else Stage.HELLO)


@on_each_runtime(runtimes=BOTH)
async def test_lmtp_has_no_port_where_tls_comes_first() -> None:
    async with scripted(answering(CONNECT=Do.HANG), lmtp=True) as server:
        with pytest.raises(MailTimeout) as caught:
            async with SMTPClient(server.url, timeouts=0.2):
                pass
        assert caught.value.cure == ""


@on_each_runtime(runtimes=BOTH)
async def test_an_old_server() -> None:
    async with scripted(answering(EHLO="500 what")) as server, SMTPClient(server.url) as client:
        assert not client.extensions.pipelining
        assert (await send(client)).ok
        with pytest.raises(ExtensionRequired, match="CHUNKING"):
            await client.bdat(b"")
        lines = server.talks[0].lines
        assert lines[1].startswith("HELO")
        assert lines[2:5] == [f"MAIL FROM:<{A}>", f"RCPT TO:<{B}>", "DATA"]


@on_each_runtime(runtimes=BOTH)
async def test_the_name_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted() as server:
        for hostname, expected in (("box", "[127.0.0.1]"), ("box.example.com", "box.example.com")):
            monkeypatch.setattr("socket.gethostname", lambda hostname=hostname: hostname)
            async with SMTPClient(server.url):
                assert server.talks[-1].lines == [f"EHLO {expected}"]
        async with SMTPClient(server.url, local_hostname="other.example", local_address="127.0.0.2"):
            assert server.talks[-1].lines == ["EHLO other.example"]
        with pytest.raises(LocalProtocolError, match="not a name"):
            async with SMTPClient(server.url, local_hostname="a b"):
                pass


# --- commands


@pytest.mark.parametrize(
    ("answers", "call", "error", "text"),
    [
        ({"MAIL": "550 5.7.1 no"}, lambda c: c.mail(A), SenderRefused, "<a@example.com> was refused: 550"),
        ({"RCPT": "452 4.2.2 full"}, lambda c: c.rcpt(B), RecipientRefused, "<b@example.com> was refused"),
        ({"DATA": "554 no"}, lambda c: c.data(CONTENT), ContentRefused, "DATA was refused: 554"),
        ({"DOT": "552 big"}, lambda c: c.data(CONTENT), ContentRefused, "the content was refused: 552"),
        ({"BDAT": "452 full"}, lambda c: c.bdat(b"x"), ContentRefused, "the content was refused: 452"),
        ({"DOT": "552 big"}, lambda c: c.bdat(b"x", last=True), ContentRefused, "content was refused: 552"),
        ({"NOOP": "500 no"}, lambda c: c.noop(), CommandRefused, "NOOP was refused: 500"),
        ({"VRFY": "252 perhaps"}, lambda c: c.verify("x"), None, ""),
        ({"VRFY": "550 no"}, lambda c: c.verify("x"), CommandRefused, "VRFY was refused: 550"),
        ({"EXPN": "502 no"}, lambda c: c.expand("x"), CommandRefused, "EXPN was refused: 502"),
        ({"HELP": "502 no"}, lambda c: c.help(), CommandRefused, "HELP was refused: 502"),
        ({"RSET": "500 no"}, lambda c: c.reset(), CommandRefused, "RSET was refused: 500"),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_refusals(
    answers: dict[str, str], call: Callable[[SMTPClient], object], error: type[Exception] | None, text: str
) -> None:
    async with scripted(answering(**answers)) as server, SMTPClient(server.url) as client:
        if not {"MAIL", "VRFY", "EXPN", "HELP", "NOOP"} & set(answers):
            await client.mail(A)
        if {"DATA", "DOT", "BDAT", "RSET"} & set(answers):
            await client.rcpt(B)
        if error is None:
            await call(client)
        else:
            with pytest.raises(error, match=text) as caught:
                await call(client)
            assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
        server.react = lambda talk, line: None
        await client.reset()  # the session goes on
        assert (await send(client)).ok


@on_each_runtime(runtimes=BOTH)
async def test_what_the_server_does_not_offer() -> None:
    async with scripted(extensions=()) as server, SMTPClient(server.url) as client:
        for options in (
            {"size": 1},
            {"body": BodyType.EIGHT_BIT_MIME},
            {"body": BodyType.BINARY_MIME},
            {"smtputf8": True},
            {"auth": ""},
        ):
            with pytest.raises(ExtensionRequired):
                await client.mail(A, **options)  # type: ignore[arg-type]
        with pytest.raises(ExtensionRequired, match="SMTPUTF8"):
            await client.send(CONTENT, sender=A, recipients=["jörg@example.com"])
        assert (await send(client)).ok


@pytest.mark.parametrize(
    ("call", "stage"),
    [
        (lambda client: client.rcpt(B), Stage.RECIPIENT),
        (lambda client: client.data(b"x"), Stage.CONTENT),
        (lambda client: client.bdat(b"x"), Stage.CONTENT),
        (lambda client: client.mail(A, size=-1), Stage.SENDER),
        (lambda client: client.mail(A, parameters={"x y": None}), Stage.COMMAND),
        (lambda client: client.verify(""), Stage.COMMAND),
        (lambda client: client.expand("a\r\nb"), Stage.COMMAND),
        (lambda client: client.connect(), Stage.CONNECT),
    ],
)
async def test_what_is_not_sent_tells_its_stage(
    call: Callable[[SMTPClient], Awaitable[object]], stage: Stage
) -> None:
    async with scripted() as server, SMTPClient(server.url) as client:
        with pytest.raises(LocalProtocolError) as caught:
            await call(client)
        assert caught.value.stage is stage
        assert (await client.noop()).is_positive


async def test_a_name_of_this_machine_that_is_none() -> None:
    async with scripted() as server:
        with pytest.raises(LocalProtocolError, match="hello: 'a b' is not a name for EHLO") as caught:
            await SMTPClient(server.url, local_hostname="a b").connect()
        assert caught.value.stage is Stage.HELLO


@pytest.mark.parametrize("lmtp", [False, True])
async def test_the_other_protocol(lmtp: bool) -> None:
    async def deliver(transaction: asyncmail.ReceivedTransaction) -> None:
        pass

    async with asyncmail.SMTPServer(deliver, lmtp=lmtp) as server:
        client = SMTPClient(f"{'smtp' if lmtp else 'lmtp'}://127.0.0.1:{server.port}")
        with pytest.raises(HelloRefused) as caught:
            await client.connect()
    assert caught.value.cure == f"if the server speaks {'LMTP, use lmtp://' if lmtp else 'SMTP, use smtp://'}"


@on_each_runtime(runtimes=BOTH)
async def test_8bit_content() -> None:
    content = "Subject: hello\nContent-Type: text/plain; charset=utf-8\n\nGrüße\n".encode()
    async with scripted() as server, SMTPClient(server.url) as client:
        assert (await client.send(content, sender=A, recipients=[B])).ok
        assert any(line.endswith(" BODY=8BITMIME") for line in server.talks[0].lines)
        assert "Grüße".encode() in server.messages[0].content
    async with scripted(extensions=()) as server, SMTPClient(server.url) as client:
        assert (await client.send(content, sender=A, recipients=[B])).ok
        received = message_from_bytes(server.messages[0].content, policy=policy.default)
        assert received.get_content() == "Grüße\r\n"  # type: ignore[attr-defined]
        assert server.messages[0].content.isascii()


@on_each_runtime(runtimes=BOTH)
async def test_messages_that_cannot_be_sent() -> None:
    async with scripted(extensions=("SIZE 20",)) as server, SMTPClient(server.url) as client:
        with pytest.raises(ExtensionRequired, match="24 octets, the server takes 20"):
            await send(client)
        with pytest.raises(AddressSyntaxError):
            await send(client, recipients=["nobody"])
        with pytest.raises(MessageError):
            await send(client, recipients=[])
        with pytest.raises(AddressSyntaxError):
            await send(client, sender="a@b\r\nRCPT TO:<x@y.example>")
        with pytest.raises(AddressSyntaxError):
            await client.rcpt("a@b>\r\nDATA\r\n")
        assert (await client.send(b"\r\n\r\n", sender=A, recipients=[B])).ok


@on_each_runtime(runtimes=BOTH)
async def test_busy() -> None:
    async with scripted(answering(NOOP=Do.HANG)) as server, SMTPClient(server.url) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.noop)
            await eventually(lambda: server.talks[0].lines[-1] == "NOOP")
            for call in (client.noop, lambda: send(client), lambda: client.mail(A), client.quit):
                with pytest.raises(BusyError, match="another task"):
                    await call()
            group.cancel_scope.cancel()
        assert not client.is_usable
        with pytest.raises(ClosedError):
            await client.noop()


# --- messages


@pytest.mark.parametrize(
    "extensions", [PLAIN, PIPELINING, EXTENSIONS], ids=["plain", "pipelining", "chunking"]
)
@on_each_runtime
async def test_messages_one_after_the_other(extensions: tuple[str, ...]) -> None:
    refusals = {"RCPT TO:<full@example.com>": "452 full", "MAIL FROM:<bad@example.com>": "550 bad"}

    def react(talk: Talk, line: str) -> str | None:
        if line == "." and b"spam" in talk.content:
            return "554 spam"
        return refusals.get(line.partition(" SIZE")[0])

    async with scripted(react, extensions=extensions) as server, SMTPClient(server.url) as client:
        assert (await send(client)).ok

        outcome = await send(client, recipients=["full@example.com", B])
        assert [each.status for each in outcome.recipients] == [Status.DEFERRED, Status.ACCEPTED]
        assert outcome.deferred[0].stage is Stage.RECIPIENT
        with pytest.raises(RecipientRefused, match="full@"):
            outcome.raise_for_refusals()

        outcome = await send(client, recipients=["full@example.com"])
        with pytest.raises(AllRecipientsRefused):
            outcome.raise_for_refusals()

        outcome = await send(client, sender="bad@example.com")
        assert [(each.status, each.stage) for each in outcome.recipients] == [(Status.REFUSED, Stage.SENDER)]

        outcome = await client.send(b"Subject: spam\r\n\r\n", sender=A, recipients=[B])
        assert [(each.status, each.stage) for each in outcome.recipients] == [(Status.REFUSED, Stage.CONTENT)]
        with pytest.raises(ContentRefused, match="554 spam"):
            outcome.raise_for_refusals()

        parcel = Parcel(b"Subject: last\r\n\r\n.\r\n", sender="", recipients=[B, A], tag="mine")
        outcome = await client.send(parcel)
        assert outcome.ok
        assert outcome.tag == "mine"
        assert [(taken.sender, taken.recipients) for taken in server.messages] == [
            (A, (B,)),
            (A, (B,)),
            ("", (B, A)),
        ]
        assert server.messages[-1].content == b"Subject: last\r\n\r\n.\r\n"


@pytest.mark.parametrize("extensions", [PLAIN, EXTENSIONS], ids=["plain", "chunking"])
@on_each_runtime(runtimes=BOTH)
async def test_a_message_never_travels_in_a_transaction_begun_by_hand(extensions: tuple[str, ...]) -> None:
    async with scripted(extensions=extensions) as server, SMTPClient(server.url) as client:
        for _ in range(2):
            await client.mail("other@example.com")
            assert (await send(client)).ok
            await client.mail("other@example.com")
            await client.rcpt("nobody@example.com")
            assert (await send(client)).ok
        assert {(taken.sender, taken.recipients) for taken in server.messages} == {(A, (B,))}


@on_each_runtime(runtimes=BOTH)
async def test_by_hand_after_send() -> None:
    async with (
        scripted(answering(RCPT="550 no")) as server,
        SMTPClient(server.url) as client,
    ):
        assert (await send(client)).refused
        server.react = lambda talk, line: None
        await client.reset()
        await client.mail("other@example.com")
        await client.rcpt(B)
        await client.data(CONTENT)
        assert (await send(client)).ok
        assert [taken.sender for taken in server.messages] == ["other@example.com", A]


def stages(extensions: tuple[str, ...]) -> list[str]:
    return ["MAIL", "RCPT", "DOT"] if "CHUNKING" in extensions else ["MAIL", "RCPT", "DATA", "DOT"]


CASES = [
    pytest.param(extensions, verb, id=f"{name}-{verb}")
    for name, extensions in (("plain", PLAIN), ("pipelining", PIPELINING), ("chunking", EXTENSIONS))
    for verb in stages(extensions)
]
LOSSES = {
    "close": (Do.CLOSE, ConnectionLost),
    "reset": (Do.RESET, ConnectionLost),
    "hang": (Do.HANG, MailTimeout),
    "garbage": ("what?", RemoteProtocolError),
    "impossible": ("199 hm", RemoteProtocolError),
    "endless": ("250 " + "x" * 100_000, LimitExceeded),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("extensions", "verb"), CASES)
@on_each_runtime(runtimes=BOTH)
async def test_the_session_ends_in_the_middle_of_a_message(
    extensions: tuple[str, ...], verb: str, loss: str
) -> None:
    reaction, error = LOSSES[loss]
    async with scripted(answering(**{verb: reaction}), extensions=extensions) as server:
        async with SMTPClient(server.url, timeouts=SMTPTimeouts.all(0.1)) as client:
            outcome = await send(client)
            # With CHUNKING the content leaves with the envelope.
            is_unknown = verb == "DOT" or "CHUNKING" in extensions
            [recipient] = outcome.recipients
            assert recipient.status is (Status.UNKNOWN if is_unknown else Status.DEFERRED)
            assert isinstance(outcome.error, error)
            with pytest.raises(error):
                outcome.raise_for_refusals()
            assert not client.is_usable
            with pytest.raises(ClosedError):
                await send(client)
        assert not server.messages


@pytest.mark.parametrize("loss", ["close", "hang", "go on"])
@pytest.mark.parametrize(("extensions", "verb"), CASES)
@on_each_runtime(runtimes=BOTH)
async def test_421_in_the_middle_of_a_message(extensions: tuple[str, ...], verb: str, loss: str) -> None:
    goodbye = ["421 4.3.2 shutting down", *({"close": [Do.CLOSE], "hang": [Do.HANG]}.get(loss, []))]

    async with scripted(answering(**{verb: goodbye}), extensions=extensions) as server:
        async with SMTPClient(server.url, timeouts=SMTPTimeouts.all(0.1)) as client:
            outcome = await send(client)
            assert [each.status for each in outcome.recipients] == [Status.DEFERRED]
            with pytest.raises(asyncmail.MailError, match=r"421 4\.3\.2 shutting down"):
                outcome.raise_for_refusals()
            assert not client.is_usable
        assert not server.messages


@pytest.mark.parametrize("unasked", ["421 bye", "250 OK", "nonsense", b"25"])
@on_each_runtime
async def test_what_an_idle_server_says_is_no_answer(
    unasked: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncmail.client.smtp._REST_SECONDS", 0.02)
    async with scripted() as server, SMTPClient(server.url) as client:
        assert (await send(client)).ok
        await eventually(lambda: server.talks[0].waits)
        await server.talks[0].say(unasked)
        await eventually(lambda: not client.is_usable)
        with pytest.raises((ConnectionLost, RemoteProtocolError)):
            await client.noop()
        with pytest.raises(ClosedError):
            await send(client)
        assert len(server.messages) == 1


@on_each_runtime(runtimes=BOTH)
async def test_an_idle_server_that_goes_away() -> None:
    async with scripted() as server, SMTPClient(server.url) as client:
        await server.talks[0].stream.aclose()
        await eventually(lambda: not client.is_usable)
        with pytest.raises(ConnectionLost, match="closed the connection"):
            await send(client)
        with pytest.raises(ClosedError):
            await client.noop()


@pytest.mark.parametrize("extra", ["250 2.0.0 OK", "421 bye"])
@on_each_runtime(runtimes=BOTH)
async def test_a_reply_too_many(extra: str) -> None:
    extra = f"250 OK\r\n{extra}"
    async with scripted(answering(DOT=[Do.TAKE, extra], NOOP=extra)) as server:
        async with SMTPClient(server.url) as client:
            assert (await send(client)).ok  # whatever comes behind, this was answered
            with pytest.raises((ConnectionLost, RemoteProtocolError, ClosedError)):
                await client.noop()
        async with SMTPClient(server.url) as client:
            await client.noop()
            with pytest.raises((ConnectionLost, RemoteProtocolError, ClosedError)):
                await client.noop()


@on_each_runtime(runtimes=BOTH)
async def test_a_late_answer_belongs_to_nobody() -> None:
    async with scripted(answering(NOOP=Do.NOTHING)) as server, SMTPClient(server.url) as client:
        with anyio.move_on_after(0.05):
            await client.noop()
        with pytest.raises(ClosedError):
            await client.verify("bob")
        assert "VRFY bob" not in server.talks[0].lines


@pytest.mark.parametrize(
    ("phase", "answers", "call", "stage"),
    [
        ("mail", {"MAIL": Do.HANG}, lambda c: c.mail(A), Stage.SENDER),
        ("answer", {"NOOP": Do.HANG}, lambda c: c.noop(), Stage.COMMAND),
        ("answer", {"QUIT": Do.HANG}, lambda c: c.quit(), Stage.QUIT),
        ("mail", {"MAIL": Do.HANG}, send, Stage.SENDER),
        ("rcpt", {"RCPT": Do.HANG}, send, Stage.RECIPIENT),
        ("data", {"DATA": Do.HANG}, send, Stage.CONTENT),
        ("end_of_content", {"DOT": Do.HANG}, send, Stage.CONTENT),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_each_phase_has_its_own_limit(
    phase: str, answers: dict[str, Do], call: Callable[[SMTPClient], object], stage: Stage
) -> None:
    timeouts = SMTPTimeouts(**{phase: 0.05})
    async with scripted(answering(**answers), extensions=PIPELINING) as server:
        async with SMTPClient(server.url, timeouts=timeouts) as client:
            try:
                outcome = await call(client)  # type: ignore[misc]
                error = outcome.error
            except MailTimeout as caught:
                error = caught
            assert isinstance(error, MailTimeout)
            assert error.seconds == 0.05
            assert error.stage is stage
            assert "an answer" not in str(error)  # but which


# --- large things


@pytest.mark.parametrize("extensions", [PLAIN, EXTENSIONS], ids=["plain", "chunking"])
@on_each_runtime
async def test_large_content(extensions: tuple[str, ...]) -> None:
    extensions = tuple(each for each in extensions if not each.startswith("SIZE"))
    content = b"Subject: large\r\n\r\n" + b"." * 70 + b"\r\n" + b"0123456789\r\n" * 200_000
    async with scripted(extensions=extensions) as server, SMTPClient(server.url) as client:
        assert (await client.send(content, sender=A, recipients=[B])).ok
        assert server.messages[0].content == content


@pytest.mark.parametrize("extensions", [PLAIN, EXTENSIONS], ids=["plain", "chunking"])
@on_each_runtime
async def test_content_of_which_the_end_never_left(extensions: tuple[str, ...]) -> None:
    extensions = tuple(each for each in extensions if not each.startswith("SIZE"))
    # It fits neither into the buffers of this side nor into those of the other.
    content = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 2_000_000

    async def react(talk: Talk, line: str) -> Do | None:
        if line == "DATA":
            await talk.say("354 go ahead")
        if line.startswith(("DATA", "RSET", "RCPT")) and "DATA" in (
            line,
            "CHUNKING" in extensions and "DATA",
        ):
            return Do.HANG
        return None

    async with scripted(react, extensions=extensions) as server:
        async with SMTPClient(server.url, timeouts=SMTPTimeouts.all(0.2)) as client:
            outcome = await client.send(content, sender=A, recipients=[B])
            assert isinstance(outcome.error, MailTimeout)
            assert [each.status for each in outcome.recipients] == [Status.DEFERRED]


@on_each_runtime(runtimes=BOTH)
async def test_many_recipients() -> None:
    """1,000 at a time, unless the server says that it takes more."""
    recipients = [f"r{number}@example.com" for number in range(2_000)]
    async with scripted() as server, SMTPClient(server.url) as client:
        assert (await send(client, recipients=recipients)).ok
        assert [each.recipients for each in server.messages] == [
            tuple(recipients[:1000]),
            tuple(recipients[1000:]),
        ]
    async with scripted(extensions=(*EXTENSIONS, "LIMITS RCPTMAX=5000")) as server:
        async with SMTPClient(server.url) as client:
            assert (await send(client, recipients=recipients)).ok
        assert [each.recipients for each in server.messages] == [tuple(recipients)]


# --- LMTP


@on_each_runtime(runtimes=BOTH)
async def test_lmtp_answers_for_each_recipient() -> None:
    def react(talk: Talk, line: str) -> list[str | Do] | str | None:
        if line.startswith("RCPT TO:<gone"):
            return "550 gone"
        return [Do.TAKE, "250 ok", "452 full", "550 no"] if line == "." else None

    async with scripted(react, lmtp=True) as server, SMTPClient(server.url) as client:
        recipients = ["one@example.com", "gone@example.com", "two@example.com", "three@example.com"]
        outcome = await send(client, recipients=recipients)
        assert [each.status.value for each in outcome.recipients] == [
            "accepted",
            "refused",
            "deferred",
            "refused",
        ]
        assert server.talks[0].lines[0].startswith("LHLO ")
        await client.reset()
        await client.mail(A)
        for recipient in recipients[2:] + recipients[:1]:
            await client.rcpt(recipient)
        with pytest.raises(ContentRefused, match="550 no"):
            await client.data(CONTENT)


@on_each_runtime(runtimes=BOTH)
async def test_lmtp_broken_off_between_the_answers() -> None:
    async with scripted(answering(DOT=[Do.TAKE, "250 ok", Do.CLOSE]), lmtp=True) as server:
        async with SMTPClient(server.url) as client:
            outcome = await send(client, recipients=[A, B])
            assert [each.status.value for each in outcome.recipients] == ["accepted", "unknown"]
            assert isinstance(outcome.error, ConnectionLost)


@on_each_runtime(runtimes=BOTH)
async def test_lmtp_has_no_helo() -> None:
    async with scripted(answering(LHLO="500 what"), lmtp=True) as server:
        with pytest.raises(HelloRefused, match="LHLO was refused"):
            async with SMTPClient(server.url):
                pass
        assert len(server.talks[0].lines) == 1


# --- cancellation


@pytest.mark.parametrize(
    "extensions", [PLAIN, PIPELINING, EXTENSIONS], ids=["plain", "pipelining", "chunking"]
)
@on_each_runtime
async def test_cancelled_at_every_await(extensions: tuple[str, ...]) -> None:
    cut = 0
    was_cut = True
    while was_cut:
        cut += 1
        async with scripted(extensions=extensions) as server:
            client = SMTPClient(server.url)

            async def converse(client: SMTPClient = client) -> None:
                async with client:
                    await client.noop()
                    for _ in range(2):
                        await send(client)
                        await client.mail(A)
                        await client.rcpt(B)
                        await client.data(CONTENT)

            was_cut, _ = await cut_at(cut, converse)
            assert not client.is_usable
            await eventually(lambda server=server: not server.open)
            assert len(server.messages) <= 4
    assert cut > 8


@pytest.mark.parametrize("extensions", [PLAIN, EXTENSIONS], ids=["plain", "chunking"])
@on_each_runtime(runtimes=BOTH)
async def test_a_session_survives_a_cancelled_send_only_if_nothing_is_due(
    extensions: tuple[str, ...],
) -> None:
    cut = 0
    was_cut = True
    while was_cut:
        cut += 1
        async with scripted(extensions=extensions) as server, SMTPClient(server.url) as client:
            was_cut, outcome = await cut_at(cut, lambda client=client: send(client))
            assert was_cut or (outcome is not None and outcome.ok)
            try:
                assert (await send(client, sender="second@example.com")).ok
            except ClosedError:
                assert was_cut
            for taken in server.messages:
                assert taken.sender in (A, "second@example.com")
    assert cut > 1


@on_each_runtime(runtimes=BOTH)
async def test_one_message() -> None:
    async with scripted() as server:
        outcome = await asyncmail.send(message(), server=server.url, local_hostname="me.example")
        assert outcome.ok
        await eventually(lambda: not server.open)
        assert server.talks[0].lines[-1] == "QUIT"


def test_a_server_object() -> None:
    url = asyncmail.ServerURL.parse("smtp://user:secret@localhost:2525")
    assert "secret" not in repr(SMTPClient(url))
