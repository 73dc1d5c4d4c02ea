"""A relay that makes a server on this machine a distant one: whatever passes, either way, comes later.

python benchmarks/relay.py --port 2525 --to 25 --seconds 0.02
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque

HOST = "127.0.0.1"


class End(asyncio.Protocol):
    """One end of a relayed connection; what it receives leaves by the other end, after the delay."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._under_way: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self.other: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._delay(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._delay(b"")

    def _delay(self, data: bytes) -> None:
        self._under_way.append(data)
        self._loop.call_later(self._seconds, self._pass)

    def _pass(self) -> None:
        # Timers of the same moment fire in any order, what they stand for may not.
        data = self._under_way.popleft()
        assert self.other is not None
        transport = self.other._transport
        if transport is None or transport.is_closing():
            return
        if data:
            transport.write(data)
        else:
            transport.close()


class Entrance(End):
    """The end that clients connect to."""

    def __init__(self, seconds: float, port: int) -> None:
        super().__init__(seconds)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        exit_ = End(self._seconds)
        self.other, exit_.other = exit_, self
        await self._loop.create_connection(lambda: exit_, HOST, self._port)


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True, help="where clients connect to")
    parser.add_argument("--to", type=int, required=True, help="where the server listens")
    parser.add_argument("--seconds", type=float, default=0.02, help="each way (default 0.02)")
    options = parser.parse_args()
    server = await asyncio.get_running_loop().create_server(
        lambda: Entrance(options.seconds, options.to), HOST, options.port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
