"""What every contender does in the same way: its arguments, its allocator, its stopwatch, its line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = [
    "HOST",
    "SENDER",
    "Measured",
    "Stopwatch",
    "expect",
    "main",
    "make_content",
    "make_recipients",
    "warm_up",
]

HOST = "127.0.0.1"
SENDER = "sender@example.com"

# More than what asyncio allocates for each read, 256 KiB: see `_settle_allocator`.
_BLOCK = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a contender measured.

    Args:
        messages: how many it was about.
        seconds: by the clock on the wall.
        cpu: seconds of CPU time, user and system.
        memory: octets, if that was measured.
    """

    messages: int
    seconds: float
    cpu: float
    memory: float | None = None


class Stopwatch:
    """Wall-clock and CPU time, user and system, from `start` to `stop` or of what happens in its block.

    Args:
        children: measure the processes that were started and ended meanwhile, instead of this one.
    """

    def __init__(self, *, children: bool = False) -> None:
        self._children = children
        self._seconds = 0.0
        self._cpu = 0.0

    def start(self) -> None:
        self._cpu = -self._cpu_time()
        self._seconds = -time.perf_counter()

    def stop(self) -> None:
        self._seconds += time.perf_counter()
        self._cpu += self._cpu_time()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def measured(self, messages: int, *, memory: float | None = None) -> Measured:
        """Return what it shows."""
        return Measured(messages=messages, seconds=self._seconds, cpu=self._cpu, memory=memory)

    def _cpu_time(self) -> float:
        if not self._children:
            return time.process_time()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime


def main(contender: Callable[[argparse.Namespace], Measured | Coroutine[None, None, Measured]]) -> None:
    """Do the work with the arguments of the command line, and print what was measured."""
    options = _parse()
    _settle_allocator()
    measured = contender(options)
    if not isinstance(measured, Measured):
        with asyncio.Runner(loop_factory=_loop_factory(options.loop)) as runner:
            measured = runner.run(measured)
    print(json.dumps(asdict(measured)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="of the server")
    parser.add_argument("--messages", type=int, default=100, help="how many")
    parser.add_argument("--octets", type=int, default=1000, help="of content in each message")
    parser.add_argument("--connections", type=int, default=1, help="how many at once")
    parser.add_argument("--recipients", type=int, default=1, help="of each message")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--key", help="a file with a private key for DKIM")
    parser.add_argument("--load", choices=("persistent", "sessions", "pipelining"), default="persistent")
    parser.add_argument("--idle", type=int, default=0, help="connections that are open while others send")
    parser.add_argument("--user", default="user", help="of the maildrop, or what their names begin with")
    parser.add_argument("--maildrops", type=int, default=1, help="how many there are")
    parser.add_argument("--password", default="", help="of the maildrops")
    parser.add_argument("--directory", help="where a directory can be made for what is fetched")
    parser.add_argument("--whole", action="store_true", help="measure connecting and logging in too")
    return parser.parse_args()


def _settle_allocator() -> None:
    """Bring glibc into the state in which a long-running process is sooner or later.

    Once a large block has been freed, blocks of up to that size come from the heap instead of from a new mapping
    each time. That alone halves the CPU time of a program whose reads are plain `asyncio.Protocol`'s.
    """
    block = bytes(_BLOCK)
    del block


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "asyncio":
        return None
    import uvloop

    return uvloop.new_event_loop


def warm_up(messages: int) -> int:
    """How many messages go ahead of those that are measured: connections are open then, and code is warm."""
    return 1 + messages // 20


def expect(actual: int, expected: int, what: str) -> None:
    """End the contender if its work was not done: its figures would be worthless."""
    if actual != expected:
        raise SystemExit(f"{actual} of {expected} {what}")


def make_recipients(number: int) -> list[str]:
    """The forward-paths of a message."""
    return [f"recipient{each}@example.com" for each in range(number)]


def make_content(octets: int) -> bytes:
    """A message of this size, as it goes over the wire: CRLF line ends, no line with a dot in front."""
    header = (
        b"From: <sender@example.com>\r\n"
        b"To: <recipient0@example.com>\r\n"
        b"Subject: a message\r\n"
        b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
        b"Message-ID: <0@example.com>\r\n"
        b"\r\n"
    )
    line = b"x" * 76 + b"\r\n"
    missing = max(octets - len(header), 2)
    body = line * (missing // len(line))
    rest = missing - len(body)
    if rest == 1:  # too short for a line of its own
        return header + b"x" + body
    return header + body + (b"x" * (rest - 2) + b"\r\n" if rest else b"")
