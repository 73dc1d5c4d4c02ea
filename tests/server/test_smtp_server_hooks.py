"""Whichever hooks a handler has, it is told the same of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncmail import SMTPServer
from asyncmail.net import connect
from net.runtimes import on_each_runtime

if TYPE_CHECKING:
    from asyncmail.server import ReceivedTransaction
    from asyncmail.smtp import Reply

Seen = tuple[str, tuple[str, ...], dict[str, dict[str, str | None]], bytes]

SESSION = [
    b"EHLO me.example\r\n",
    b"MAIL FROM:<a@example.com>\r\nRCPT TO:<one@example.com>\r\nDATA\r\n",
    b"first\r\n.\r\nMAIL FROM:<b@example.com> SIZE=8\r\n",
    b"RCPT TO:<no@example.com>\r\nRCPT TO:<two@example.com> NOTIFY=NEVER\r\n",
    b"RCPT TO:<three@example.com> NOTIFY=FAILURE\r\nRCPT TO:<three@example.com>\r\n",
    b"BDAT 5\r\nlost!",
    b"RSET\r\nMAIL FROM:<c@example.com>\r\nRCPT TO:<four@example.com> NOTIFY=NEVER\r\n",
    b"BDAT 8\r\nlost, \r\n",
    b"EHLO me.example\r\nMAIL FROM:<d@example.com>\r\nRCPT TO:<five@example.com>\r\nBDAT 3\r\nse",
    b"cBDAT 5 LAST\r\nond\r\n",
    b"MAIL FROM:<no@example.com>\r\nRSET\r\n",
    b"MAIL FROM:<e@example.com>\r\nRCPT TO:<six@example.com>\r\nDATA\r\nbare\n\r\n.\r\n",
    b"MAIL FROM:<f@example.com>\r\nRCPT TO:<seven@example.com> NOTIFY=NEVER\r\n",
    b"RCPT TO:<eight@example.com> NOTIFY=NEVER\r\nRCPT TO:<eight@example.com>\r\nDATA\r\n",
    b"third\r\n.\r\nQUIT\r\n",
]


class Keeper:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.pieces: list[bytes] = []
        self.asked: list[tuple[str, str, int]] = []

    def keep(self, transaction: ReceivedTransaction, content: bytes) -> None:
        self.seen.append(
            (
                transaction.mail.sender,
                tuple(transaction.recipients),
                transaction.recipient_parameters,
                content,
            )
        )

    async def deliver(self, transaction: ReceivedTransaction) -> Any:
        self.keep(transaction, transaction.content)


class AsksSender:
    async def mail(self, transaction: ReceivedTransaction) -> Reply | None:
        assert not transaction.recipients
        return None


class AsksRecipient:
    asked: list[tuple[str, str, int]]

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> Reply | None:
        self.asked.append((transaction.mail.sender, recipient, len(transaction.recipients)))
        return None


class Streams(Keeper):
    async def receive(self, transaction: ReceivedTransaction, chunk: bytes) -> None:
        assert transaction.recipients
        if self.pieces and self.pieces[0] != transaction.mail.sender.encode():
            self.pieces.clear()
        self.pieces = self.pieces or [transaction.mail.sender.encode()]
        self.pieces.append(chunk)

    async def deliver(self, transaction: ReceivedTransaction) -> Any:
        assert not transaction.content
        self.keep(transaction, b"".join(self.pieces[1:]))


@pytest.mark.parametrize("kept", [Keeper, Streams])
@pytest.mark.parametrize("asks", [(), (AsksSender,), (AsksRecipient,), (AsksSender, AsksRecipient)])
@pytest.mark.parametrize("at_once", [False, True])
@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_transactions(kept: type[Keeper], asks: tuple[type, ...], at_once: bool) -> None:
    handler = type("Handler", (*asks, kept), {})()
    async with SMTPServer(handler, more_extensions={"DSN": ""}) as server:
        stream = await connect(f"smtp://127.0.0.1:{server.port}")
        heard = b""
        for octets in [b"".join(SESSION)] if at_once else SESSION:
            await stream.send([octets])
            if not at_once:
                heard += await stream.receive()
        while data := await stream.receive():
            heard += data
        await stream.aclose()
    assert heard.count(b"\r\n250 2.6.0 Message accepted") == 3
    assert heard.count(b"\r\n550 5.6.0") == 1
    assert handler.seen == [
        ("a@example.com", ("one@example.com",), {}, b"first\r\n"),
        ("d@example.com", ("five@example.com",), {}, b"second\r\n"),
        (
            "f@example.com",
            ("seven@example.com", "eight@example.com", "eight@example.com"),
            {"seven@example.com": {"NOTIFY": "NEVER"}},
            b"third\r\n",
        ),
    ]
    if AsksRecipient in asks:
        assert handler.asked == [
            ("a@example.com", "one@example.com", 0),
            ("b@example.com", "no@example.com", 0),
            ("b@example.com", "two@example.com", 1),
            ("b@example.com", "three@example.com", 2),
            ("b@example.com", "three@example.com", 3),
            ("c@example.com", "four@example.com", 0),
            ("d@example.com", "five@example.com", 0),
            ("e@example.com", "six@example.com", 0),
            ("f@example.com", "seven@example.com", 0),
            ("f@example.com", "eight@example.com", 1),
            ("f@example.com", "eight@example.com", 2),
        ]
