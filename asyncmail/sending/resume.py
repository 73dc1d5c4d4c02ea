"""What is still to be sent of a run, noted as begun before it goes to a mailer."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ClosedError, FolderError, InputError, MailError, Stage, quoted
from ..message import Parcel, prepare
from ..net import Waiter
from ..smtp import Status

if TYPE_CHECKING:
    from ..smtp import Outcome
    from .journal import Journal

__all__ = ["Feed"]

_BEFORE_TRANSACTIONS = frozenset(
    [Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.HELLO, Stage.CAPABILITIES, Stage.AUTHENTICATION]
)


class _Begun(NamedTuple):
    key: str
    position: int  # in the input
    parcel: Parcel
    addresses: tuple[str, ...]


class Feed:
    """An asynchronous source of parcels for a mailer.

    Args:
        journal: is told of each parcel before it goes out.
        parcels: all of them, in any state.
        retry_unknown: also send to recipients of whom nothing is known.
        window: parcels that may be without an outcome.
    """

    def __init__(
        self,
        journal: Journal,
        parcels: Iterable[Parcel] | AsyncIterable[Parcel],
        *,
        retry_unknown: bool,
        window: int,
    ) -> None:
        if window < 1:
            raise InputError(f"window is {window}", cure="use a number of at least 1")
        self._journal = journal
        self._parcels = _as_async(parcels)
        self._retry_unknown = retry_unknown
        self._window = window
        self._ready: deque[_Begun] = deque()
        self._handed: dict[int, _Begun] = {}  # by the index that the mailer gives them
        self._count = 0
        self._taken = 0
        self._keys: set[str] = set()
        self._is_exhausted = False
        self._room: Waiter | None = None

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Parcel:
        while not self._ready:
            if self._is_exhausted:
                raise StopAsyncIteration
            await self._begin_group()
        begun = self._ready.popleft()
        self._handed[self._count] = begun
        self._count += 1
        return begun.parcel

    def settle(self, outcome: Outcome) -> Outcome:
        """Note an outcome of the mailer's; returns it as that of the parcel that was given."""
        assert outcome.index is not None
        begun = self._handed.pop(outcome.index)
        outcome = replace(outcome, index=begun.position, tag=begun.key)
        if _is_untried(outcome):
            self._journal.withdraw(begun.key)
        else:
            self._journal.record(begun.key, outcome)
        if self._room is not None and len(self._handed) <= self._window // 2:
            self._room.set()
        return outcome

    def close(self) -> None:
        """Note what was begun and did not get as far as the mailer."""
        for begun in self._ready:
            self._journal.withdraw(begun.key)
        self._ready.clear()

    async def _begin_group(self) -> None:
        """Begin as many messages as there is room for, once that is half of the window."""
        while len(self._handed) > self._window // 2:
            self._room = Waiter()
            await self._room.wait()
        group: list[_Begun] = []
        while len(self._handed) + len(group) < self._window:
            try:
                parcel = await anext(self._parcels)
            except StopAsyncIteration:
                self._is_exhausted = True
                break
            begun = self._remaining(parcel)
            if begun is not None:
                group.append(begun)
        if group:
            # Before it is begun: if that is cancelled, nobody knows how far it got, and `close` has to tell.
            self._ready.extend(group)
            try:
                await self._journal.begin({begun.key: begun.addresses for begun in group})
            except FolderError:
                self._ready.clear()
                raise

    def _remaining(self, parcel: Parcel) -> _Begun | None:
        """What of a parcel is still to be sent, None if it is nothing."""
        position = self._taken
        self._taken += 1
        key = parcel.tag
        if not key or key in self._keys:
            raise InputError(
                f"message {position} has the tag {quoted(key)}, which cannot be the key of a journal",
                cure="give each parcel a tag of its own, and the same in every run",
            )
        self._keys.add(key)
        if self._journal.is_done(key, retry_unknown=self._retry_unknown):
            return None
        try:
            prepared = prepare(parcel)
        except MailError:
            return _Begun(
                key, position, parcel, ("",)
            )  # the mailer finds out again, and has an outcome for it
        envelope = prepared.envelope
        addresses = envelope.recipients
        if key in self._journal:
            wanted = self._journal.to_send(key, retry_unknown=self._retry_unknown)
            addresses = tuple([each for each in addresses if each in wanted])
        if not addresses:
            raise InputError(
                f"the message {quoted(key)} has other recipients than the journal says",
                cure="go on with the messages that the journal was begun with",
            )
        return _Begun(key, position, Parcel(prepared.octets, envelope.sender, addresses, tag=key), addresses)


def _is_untried(outcome: Outcome) -> bool:
    """Whether there was no session in which the message could have been sent."""
    error = outcome.error
    if error is None or not (isinstance(error, ClosedError) or error.stage in _BEFORE_TRANSACTIONS):
        return False
    return bool(outcome.recipients) and all(
        each.status is Status.DEFERRED and each.reply is None and each.stage in _BEFORE_TRANSACTIONS
        for each in outcome.recipients
    )


def _as_async(parcels: Iterable[Parcel] | AsyncIterable[Parcel]) -> AsyncIterator[Parcel]:
    return aiter(parcels) if isinstance(parcels, AsyncIterable) else _Async(iter(parcels))


class _Async:
    # Not an async generator: one that is not read to its end needs closing.

    def __init__(self, parcels: Iterator[Parcel]) -> None:
        self._parcels = parcels

    def __aiter__(self) -> _Async:
        return self

    async def __anext__(self) -> Parcel:
        try:
            return next(self._parcels)
        except StopIteration:
            raise StopAsyncIteration from None
