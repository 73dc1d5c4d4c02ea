"""Messages made and signed in worker threads, ahead of who sends them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import anyio
from anyio import to_thread

from ..message import Parcel
from ..net import spawn

if TYPE_CHECKING:
    from ..net import BackgroundTask

__all__ = ["Ahead"]

ItemT = TypeVar("ItemT")

# To go to a thread and back takes as long as making a small message; so many go together.
_TOGETHER = 32


class Ahead(AsyncIterator[Parcel], Generic[ItemT]):
    """What a function makes of each item of an iterable, in the order of the iterable.

    Both are called in worker threads, the function in as many at a time as there are cores: what OpenSSL does in one
    of them does not hold up the others. A few dozen messages for each are made ahead.

    Args:
        items: asked by one thread at a time, though not always the same.
        make: called by several threads at the same time.

    What either raises is raised here, behind the messages before it; then the iteration is over.
    """

    def __init__(self, items: Iterable[ItemT], make: Callable[[ItemT], Parcel]) -> None:
        self._items = iter(items)
        self._make = make
        self._last: _Group | None = None
        self._is_exhausted = False
        self._groups: deque[_Group] = deque()
        self._most = 1 + (os.cpu_count() or 1)
        self._ready: deque[Parcel] = deque()
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return f"<Ahead {len(self._ready)} ready, {len(self._groups)} groups under way>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Parcel:
        while not self._ready:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            while not self._is_exhausted and len(self._groups) < self._most:
                before, self._last = self._last, _Group()
                self._last.task = spawn(self._make_group, self._last, before, name="asyncmail ahead")
                self._groups.append(self._last)
            if not self._groups:
                raise StopAsyncIteration
            group = self._groups[0]
            await group.task.wait()
            self._groups.popleft()
            self._ready.extend(group.parcels)
            if group.error is not None:
                self._error = group.error
                await self.aclose()
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Make no more."""
        self._is_exhausted = True
        for group in self._groups:
            group.task.cancel()
        self._groups.clear()

    async def _make_group(self, group: _Group, before: _Group | None) -> None:
        items: list[ItemT] = []
        try:
            if before is not None:
                await before.has_asked.wait()
            if not self._is_exhausted:
                group.error = await to_thread.run_sync(_collect, items, islice(self._items, _TOGETHER))
                if len(items) < _TOGETHER:
                    self._is_exhausted = True
        finally:
            group.has_asked.set()
        failure = await to_thread.run_sync(_collect, group.parcels, map(self._make, items))
        group.error = failure or group.error


class _Group:
    """Messages that are made together, and why they are not more."""

    task: BackgroundTask

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.error: Exception | None = None
        self.has_asked = anyio.Event()


def _collect(into: list[ItemT], items: Iterable[ItemT]) -> Exception | None:
    """Append items as long as there are some; return what ended them, if that was no end."""
    try:
        for item in items:
            into.append(item)  # noqa: PERF402 - those before an error count
    except Exception as error:
        return error
    return None
