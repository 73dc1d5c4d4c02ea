"""Receive with aiosmtpd, in the loop of the program and not in a thread beside it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP, Envelope, Session

from .common import HOST, main
from .load import Meter, allow_many_files, serve_load

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


class Handler:
    """Accepts every message and keeps none."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self._meter.count()
        return "250 OK"


async def serve(options: Namespace) -> Measured:
    allow_many_files()
    meter = Meter(options.messages)
    handler = Handler(meter)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="localhost"), HOST, 0, backlog=1024
    )
    async with server:
        return await serve_load(options, server.sockets[0].getsockname()[1], meter)


if __name__ == "__main__":
    main(serve)
