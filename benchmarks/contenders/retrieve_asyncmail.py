"""Retrieve with `asyncmail.POP3Client.retrieve_many`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmail import POP3Client

from .common import HOST, Stopwatch, expect, main, warm_up

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


async def retrieve(options: Namespace) -> Measured:
    url = f"pop3://{HOST}:{options.port}"
    watch = Stopwatch()
    if not options.whole:
        async with POP3Client(url, username=options.user, password=options.password) as session:
            async for _ in session.retrieve_many(range(1, warm_up(options.messages) + 1)):
                pass
    watch.start()
    async with POP3Client(url, username=options.user, password=options.password) as session:
        if not options.whole:
            watch.start()
        numbers = [listing.number for listing in await session.list()][: options.messages]
        retrieved = 0
        async for _ in session.retrieve_many(numbers):
            retrieved += 1
        if not options.whole:
            watch.stop()
    if options.whole:
        watch.stop()
    expect(retrieved, options.messages, "messages retrieved")
    return watch.measured(retrieved)


if __name__ == "__main__":
    main(retrieve)
