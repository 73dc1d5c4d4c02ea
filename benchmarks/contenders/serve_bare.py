"""The floor of receiving: an asyncio loop that only counts lines, and knows by their number what each one is.

It stores nothing, and works only with clients that send `HELO` or `EHLO`, and then messages of a known length.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .common import HOST, main
from .load import Meter, allow_many_files, content_lines, serve_load

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured

_OK = b"250 OK\r\n"
_HELLO = b"250-localhost\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


class Session(asyncio.Protocol):
    """One client.

    Args:
        replies: for each line of a message, the answer, mostly none; twice over, for a segment may hold the end of
            a message and the begin of the next.
        meter: counts the messages.
    """

    def __init__(self, replies: list[bytes], meter: Meter) -> None:
        self._replies = replies
        self._cycle = len(replies) // 2
        self._line = -1  # the first one is the greeting of the client
        self._meter = meter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 localhost ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        before = self._line
        if before < 0:
            self._line = 0
            self._transport.write(_HELLO)
            return
        if data.startswith(b"QUIT"):
            self._transport.write(b"221 Bye\r\n")
            self._transport.close()
            return
        after = before + data.count(b"\n")
        answers = b"".join(self._replies[before:after])
        if after >= self._cycle:
            after -= self._cycle
            self._meter.count()
        self._line = after
        if answers:
            self._transport.write(answers)


async def serve(options: Namespace) -> Measured:
    allow_many_files()
    meter = Meter(options.messages)
    replies = [_OK, _OK, b"354 Go on\r\n", *[b""] * (content_lines(options) - 1), _OK]
    server = await asyncio.get_running_loop().create_server(
        lambda: Session(replies * 2, meter), HOST, 0, backlog=1024
    )
    async with server:
        return await serve_load(options, server.sockets[0].getsockname()[1], meter)


if __name__ == "__main__":
    main(serve)
