"""Send with aiosmtplib: a client for each connection, each with a task that sends message after message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiosmtplib

from .common import HOST, SENDER, Stopwatch, main, make_content, make_recipients, warm_up

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from .common import Measured


async def send(options: Namespace) -> Measured:
    content, recipients = make_content(options.octets), make_recipients(options.recipients)

    async def send_each(client: aiosmtplib.SMTP, numbers: Iterator[int]) -> None:
        for _ in numbers:
            await client.sendmail(SENDER, recipients, content)

    async def send_all(messages: int) -> None:
        numbers = iter(range(messages))
        await asyncio.gather(*[send_each(client, numbers) for client in clients])

    clients = [aiosmtplib.SMTP(hostname=HOST, port=options.port) for _ in range(options.connections)]
    for client in clients:
        await client.connect()
    await send_all(warm_up(options.messages))
    with Stopwatch() as watch:
        await send_all(options.messages)
    for client in clients:
        await client.quit()
    return watch.measured(options.messages)


if __name__ == "__main__":
    main(send)
