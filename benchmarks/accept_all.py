"""An `asyncmail.SMTPServer` that accepts every message and keeps none."""

from __future__ import annotations

import argparse
import asyncio

from asyncmail import ReceivedTransaction, SMTPServer


async def deliver(transaction: ReceivedTransaction) -> None:
    """Take the message."""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    async with SMTPServer(deliver, port=options.port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
