"""Two streams joined in memory, for tests of sessions: no socket, and faults at an exact octet."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream as AnyByteStream

from ..errors import InputError
from .anyio_stream import AnyIOStream

__all__ = ["memory_stream_pair"]

CAPACITY = 64 * 1024  # octets under way in one direction before the sender waits


def memory_stream_pair(
    *,
    segment: int | None = None,
    drop_after: int | None = None,
    delay: float = 0.0,
    peer: str = "127.0.0.1",
) -> tuple[AnyIOStream, AnyIOStream]:
    """Return two streams, each of which receives what the other sends; TLS can be started on them.

    Args:
        segment: octets that one receive() returns at most, to see whether a reader copes with any division.
        drop_after: octets, in both directions together, after which the connection breaks for both.
        delay: seconds for which each receive() waits before it takes what is there.
        peer: what both call the other end.

    Raises:
        InputError: a number is out of range.
    """
    if (segment is not None and segment < 1) or (drop_after is not None and drop_after < 0) or delay < 0:
        raise InputError("segment, drop_after or delay is out of range", cure="use positive numbers")
    wire = _Wire(drop_after)
    forth, back = _Pipe(wire), _Pipe(wire)
    wire.pipes = (forth, back)
    return (
        _MemoryStream(_End(back, forth, segment, delay), peer),
        _MemoryStream(_End(forth, back, segment, delay), peer),
    )


class _Wire:
    """What both directions of a connection have in common."""

    def __init__(self, octets_left: int | None) -> None:
        self.octets_left = octets_left
        self.pipes: tuple[_Pipe, ...] = ()
        self.is_cut = octets_left == 0

    def carry(self, octets: int) -> int:
        """Return how many of `octets` get through."""
        if self.octets_left is None:
            return octets
        carried = min(octets, self.octets_left)
        self.octets_left -= carried
        if not self.octets_left:
            self.is_cut = True
            for pipe in self.pipes:
                pipe.notify()
        return carried


class _Pipe:
    """One direction of a connection."""

    def __init__(self, wire: _Wire) -> None:
        self.wire = wire
        self.octets = bytearray()
        self.is_ended = False  # by the sender
        self.is_abandoned = False  # by the receiver
        self._changed = anyio.Event()

    def notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        await self._changed.wait()

    @property
    def has_input(self) -> bool:
        return bool(self.octets) or self.is_ended or self.wire.is_cut


class _End(AnyByteStream):
    def __init__(self, incoming: _Pipe, outgoing: _Pipe, segment: int | None, delay: float) -> None:
        self.incoming = incoming
        self._outgoing = outgoing
        self._segment = segment
        self._delay = delay

    async def receive(self, max_bytes: int = 65536) -> bytes:
        pipe = self.incoming
        await anyio.sleep(self._delay)
        while not pipe.has_input and not pipe.is_abandoned:
            await pipe.changed()
        if pipe.is_abandoned:
            raise anyio.ClosedResourceError
        if not pipe.octets:
            raise anyio.BrokenResourceError if pipe.wire.is_cut else anyio.EndOfStream
        size = min(max_bytes, self._segment or max_bytes)
        data = bytes(pipe.octets[:size])
        del pipe.octets[:size]
        pipe.notify()
        return data

    async def send(self, item: bytes) -> None:
        pipe = self._outgoing
        await anyio.lowlevel.checkpoint()
        position = 0
        while position < len(item):
            if pipe.is_ended:
                raise anyio.ClosedResourceError
            if pipe.is_abandoned or pipe.wire.is_cut:
                raise anyio.BrokenResourceError
            room = CAPACITY - len(pipe.octets)
            if room:
                carried = pipe.wire.carry(min(room, len(item) - position))
                pipe.octets += item[position : position + carried]
                position += carried
                pipe.notify()
            else:
                await pipe.changed()

    async def send_eof(self) -> None:
        self._outgoing.is_ended = True
        self._outgoing.notify()

    async def aclose(self) -> None:
        await self.send_eof()
        self.incoming.is_abandoned = True
        self.incoming.notify()


class _MemoryStream(AnyIOStream):
    __slots__ = ("_end",)

    def __init__(self, end: _End, peer: str) -> None:
        super().__init__(end, peer=peer)
        self._end = end

    def _has_input(self) -> bool:
        return self._end.incoming.has_input
