"""Retrieve one large message with `asyncmail.POP3Client.stream`; what counts is the memory that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmail import POP3Client

from .common import HOST, Stopwatch, expect, main
from .memory import mark_peak, peak_since_mark

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


async def retrieve(options: Namespace) -> Measured:
    url = f"pop3://{HOST}:{options.port}"
    async with POP3Client(url, username=options.user, password=options.password) as session:
        (listing,) = await session.list()
        before = mark_peak()
        octets = 0
        with Stopwatch() as watch:
            async for piece in session.stream(listing.number):
                octets += len(piece)
        memory = peak_since_mark() - before
    expect(octets, options.octets, "octets retrieved")
    return watch.measured(1, memory=memory)


if __name__ == "__main__":
    main(retrieve)
