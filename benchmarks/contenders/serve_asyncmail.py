"""Receive with `asyncmail.SMTPServer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmail import ConnectionLimits, ReceivedTransaction, SMTPServer

from .common import main
from .load import CONNECTIONS, Meter, allow_many_files, serve_load

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


async def serve(options: Namespace) -> Measured:
    allow_many_files()
    meter = Meter(options.messages)

    async def deliver(transaction: ReceivedTransaction) -> None:
        meter.count()

    most = options.idle + 2 * CONNECTIONS
    limits = ConnectionLimits(connections=most, connections_per_host=most)
    async with SMTPServer(deliver, connection_limits=limits) as server:
        return await serve_load(options, server.port, meter)


if __name__ == "__main__":
    main(serve)
