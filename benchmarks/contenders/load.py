"""Clients for the contenders that are servers, and the count of what they deliver."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from peers import find_program

from .common import HOST, SENDER, Stopwatch, expect, make_content, make_recipients, warm_up
from .memory import resident

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator

    from .common import Measured

__all__ = ["CONNECTIONS", "Meter", "allow_many_files", "content_lines", "serve_load"]

CONNECTIONS = 10
"""On which messages come at the same time."""

# smtp-source ends every message with an empty line.
_ADDED = b"\r\n"


class Meter:
    """Counts messages; the stopwatch runs from the end of those that warm up to the last one."""

    def __init__(self, messages: int) -> None:
        self._count = -warm_up(messages)
        self._messages = messages
        self.watch = Stopwatch()

    def count(self) -> None:
        """A message was delivered."""
        self._count += 1
        if self._count == 0:
            self.watch.start()
        elif self._count == self._messages:
            self.watch.stop()

    def measured(self, memory: float | None) -> Measured:
        """Return what the stopwatch shows."""
        expect(self._count, self._messages, "messages delivered")
        return self.watch.measured(self._messages, memory=memory)


def content_lines(options: Namespace) -> int:
    """Lines of a message, with the dot at its end, as the load sends it."""
    content = make_content(options.octets)
    if options.load != "pipelining":
        content += _ADDED
    return content.count(b"\n") + 1


def allow_many_files() -> None:
    """Let this process have as many connections as the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve_load(options: Namespace, port: int, meter: Meter) -> Measured:
    """Let clients send to the server at `port` of this process.

    Args:
        options: `load` says how they send; `idle` how many others stay connected meanwhile.
        port: where the server listens.
        meter: counts what they send.
    """
    memory = None
    before = resident()
    async with _idle_clients(port, options.idle):
        if options.idle:
            memory = (resident() - before) / options.idle
        if options.load == "pipelining":
            command = [sys.executable, "-m", "contenders.send_bare", "--port", str(port)]
            command += ["--messages", str(options.messages), "--octets", str(options.octets)]
            await _run(*command, "--connections", str(CONNECTIONS))
        else:
            await _run_smtp_source(options, port)
    return meter.measured(memory)


async def _run_smtp_source(options: Namespace, port: int) -> None:
    messages = options.messages + warm_up(options.messages)
    (recipient,) = make_recipients(1)
    with tempfile.NamedTemporaryFile() as file:
        file.write(make_content(options.octets).replace(b"\r\n", b"\n"))
        file.flush()
        command = [find_program("smtp-source"), "-f", SENDER, "-t", recipient, "-F", file.name]
        command += ["-s", str(min(CONNECTIONS, messages)), "-m", str(messages)]
        if options.load == "persistent":
            command.append("-d")
        await _run(*command, f"inet:{HOST}:{port}")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit(f"{command[0]} failed")


@asynccontextmanager
async def _idle_clients(port: int, number: int) -> AsyncIterator[None]:
    if not number:
        yield
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contenders.idle_clients", "--port", str(port), "--connections", str(number)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    await process.stdout.readline()
    yield
    process.stdin.close()
    await process.wait()
