"""421, whoever says it, is the last that a client hears (RFC 5321 §3.8)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from asyncmail import ConnectionLost, SMTPServer
from asyncmail.net import connect
from asyncmail.smtp import Reply, ServerLimits
from net.runtimes import eventually, on_each_runtime

if TYPE_CHECKING:
    from asyncmail.net import ByteStream

GOODBYE = Reply(421, "Enough", "4.3.2")
ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n"
BEHIND = b"NOOP\r\nNOOP\r\n"


class Handler:
    """Says 421 at one place."""

    def __init__(self, place: str) -> None:
        self.place = place

    def _at(self, place: str) -> Reply | None:
        return GOODBYE if place == self.place else None

    async def connected(self, session: Any) -> Reply | None:
        return self._at("connected")

    async def authenticate(self, session: Any, attempt: Any) -> Any:
        return self._at("authenticate")

    async def mail(self, transaction: Any) -> Reply | None:
        return self._at("mail")

    async def rcpt(self, transaction: Any, recipient: str) -> Reply | None:
        return self._at("rcpt")

    async def verify(self, session: Any, text: str) -> Reply | None:
        return self._at("verify")

    async def receive(self, transaction: Any, chunk: bytes) -> Any:
        return self._at("receive")

    async def deliver(self, transaction: Any) -> Any:
        if self.place == "each":
            return [GOODBYE, None]
        return self._at("deliver")


async def read_to_the_end(stream: ByteStream) -> list[str]:
    received = b""
    with suppress(ConnectionLost):  # if what was sent behind it came to a closed socket
        while data := await stream.receive():
            received += data
    return received.decode().splitlines()


async def last_line(server: SMTPServer, *said: bytes) -> str:
    stream = await connect(f"smtp://127.0.0.1:{server.port}")
    for octets in said:
        await stream.send([octets])
    lines = await read_to_the_end(stream)
    await stream.aclose()
    await eventually(lambda: not server.connections)
    return lines[-1]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("connected", b""),
        ("authenticate", b"AUTH PLAIN AHgAeQ==\r\n"),
        ("mail", ENVELOPE),
        ("rcpt", ENVELOPE),
        ("verify", b"VRFY x\r\n"),
        ("receive", ENVELOPE + b"DATA\r\nx\r\n.\r\n"),
        ("deliver", ENVELOPE + b"DATA\r\nx\r\n.\r\n"),
        ("deliver", ENVELOPE + b"BDAT 3 LAST\r\nx\r\n"),
    ],
)
@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@on_each_runtime
async def test_a_hook_says_so(place: str, said: bytes, lmtp: bool) -> None:
    hello = b"LHLO x\r\n" if lmtp else b"EHLO x\r\n"
    async with SMTPServer(Handler(place), lmtp=lmtp, allow_cleartext_login=True) as server:
        assert await last_line(server, hello + said + BEHIND) == "421 4.3.2 Enough"


@on_each_runtime
async def test_the_first_of_several_replies_of_lmtp_says_so() -> None:
    async with SMTPServer(Handler("each"), lmtp=True) as server:
        said = b"LHLO x\r\n" + ENVELOPE + b"DATA\r\nx\r\n.\r\n" + BEHIND
        assert await last_line(server, said) == "421 4.3.2 Enough"


@on_each_runtime
async def test_a_limit_says_so() -> None:
    limits = ServerLimits(errors=2, commands=5)
    async with SMTPServer(Handler(""), limits=limits) as server:
        assert (await last_line(server, b"EHLO x\r\n" + b"XYZZY\r\n" * 9)).startswith(
            "421 4.7.0 Too many errors"
        )
        assert (await last_line(server, b"EHLO x\r\n" + b"NOOP\r\n" * 9)).startswith(
            "421 4.7.0 Too many commands"
        )
        assert (await last_line(server, b"EHLO x\r\n", b"BDAT many\r\n")).startswith("421 4.5.4")
