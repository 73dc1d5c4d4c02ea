"""Where the messages of one maildrop go, and what the ledger is told of it.

A message is on the disk before the ledger says so, and only what the ledger says may be deleted from the
server.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import defaultdict
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import InputError, MailError, Stage
from ..folders.disk import folder_errors, in_thread
from ..folders.files import MaildirFiles
from ..pop3 import ClientLimits
from .ledger import Intent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence

    from ..folders import Delivery, Maildir
    from .ledger import Ledger
    from .undisturbed import Undisturbed

__all__ = ["Destination", "DestinationStore", "MaildirStore", "Retrieved", "Store", "StreamDestination"]

T = TypeVar("T")

_LARGEST_WHOLE = ClientLimits().whole  # octets, for a destination that takes nothing but whole messages

Retrieved = tuple[str, bytes]
"""The identity and the content of a message."""


class Destination(Protocol):
    """Takes messages one by one."""

    async def deliver(self, maildrop: str, content: bytes) -> object:
        """Take a message; on return it is safe, and may be deleted from the server.

        A process that is killed may have delivered a message and not noted it: that one comes again.

        Args:
            maildrop: where it comes from, `user@host:port`.
            content: the message with CRLF line ends, octet for octet as it was retrieved.

        Raises:
            Exception: the message was not taken; it stays on the server, and the maildrop's session ends.
        """
        ...


class StreamDestination(Destination, Protocol):
    """Takes large messages piece by piece, so that memory stays bounded whatever their size."""

    async def deliver_stream(self, maildrop: str, pieces: AsyncIterable[bytes]) -> object:
        """Take a message as `deliver` does, but as it arrives.

        Args:
            maildrop: where it comes from, `user@host:port`.
            pieces: the message in pieces of any size; to be read to their end. If they end in an error, there is
                no such message, and what was taken of it is to be dropped.

        Raises:
            Exception: as with `deliver`.
        """
        ...


class Store(ABC):
    """Stores the messages of one maildrop."""

    def __init__(self, maildrop: str, ledger: Ledger, undisturbed: Undisturbed) -> None:
        self._maildrop = maildrop
        self._ledger = ledger.file
        self._undisturbed = undisturbed

    async def open(self) -> dict[str, float]:
        """Finish what a process that died began.

        Returns:
            The identities of the messages that are stored, and when they were, in seconds since the epoch.

        Raises:
            FolderError: the ledger or a folder cannot be read or written.
        """
        return await in_thread(self._open)

    def _open(self) -> dict[str, float]:
        history = self._ledger.look_up(self._maildrop)
        if not history.intents:
            return history.stored
        folders: defaultdict[str, list[Intent]] = defaultdict(list)
        for intent in history.intents:
            folders[intent.folder].append(intent)
        for folder, intents in folders.items():
            with folder_errors(folder):
                there = MaildirFiles(folder).settle({intent.name for intent in intents})
            # What is nowhere was never written, or not to its end: it is fetched again.
            lost = [intent.unique_id for intent in intents if intent.name not in there]
            self._ledger.forget(self._maildrop, lost)
            self._ledger.record(self._maildrop, [i.unique_id for i in intents if i.name in there])
        return self._ledger.look_up(self._maildrop).stored

    @abstractmethod
    async def add(self, messages: Sequence[Retrieved]) -> None:
        """Store messages; on return they may be deleted from the server.

        Raises:
            MailError: not all could be stored.
        """

    @abstractmethod
    async def receive(self, identity: str, chunks: AsyncIterable[bytes]) -> int:
        """Store one message that comes in pieces; on return it may be deleted from the server.

        Returns:
            Its octets.

        Raises:
            MailError: it could not be stored, or did not come to its end; nothing of it is left.
        """

    async def forget(self, identities: Sequence[str]) -> None:
        """Drop messages that the server no longer has.

        Raises:
            FolderError: the ledger cannot be written.
        """
        if identities:
            await in_thread(self._ledger.forget, self._maildrop, identities)


class MaildirStore(Store):
    """Groups of messages into a Maildir: exactly once, whatever dies when."""

    def __init__(self, maildrop: str, ledger: Ledger, undisturbed: Undisturbed, maildir: Maildir) -> None:
        super().__init__(maildrop, ledger, undisturbed)
        self._maildir = maildir
        self._files = maildir.files

    async def add(self, messages: Sequence[Retrieved]) -> None:
        # All of it in one thread: to go to and fro takes longer than a step.
        await self._undisturbed.run(in_thread, self._add, messages)

    async def receive(self, identity: str, chunks: AsyncIterable[bytes]) -> int:
        delivery = self._maildir.begin()
        try:
            async for chunk in chunks:
                await delivery.write(chunk)
        except BaseException:
            delivery.discard()
            raise
        # From here on it cleans up after itself, and is not to be discarded by who no longer waits for it.
        await self._undisturbed.run(self._finish, identity, delivery)
        return delivery.octets

    async def _finish(self, identity: str, delivery: Delivery) -> None:
        name = await delivery.finish()
        await in_thread(self._publish, [identity], [name])

    def _add(self, messages: Sequence[Retrieved]) -> None:
        with folder_errors(self._files.path):
            names = self._files.write([content for _, content in messages])
        self._publish([identity for identity, _ in messages], names)

    def _publish(self, identities: Sequence[str], names: Sequence[str]) -> None:
        folder = self._files.path
        try:
            self._ledger.intend(
                self._maildrop,
                [
                    Intent(unique_id=identity, folder=folder, name=name)
                    for identity, name in zip(identities, names, strict=True)
                ],
            )
        except MailError:
            self._files.discard(names)
            raise
        with folder_errors(folder):
            self._files.publish(names)
        self._ledger.record(self._maildrop, identities)


class DestinationStore(Store):
    """One message after the other to what the caller supplied."""

    def __init__(
        self,
        maildrop: str,
        ledger: Ledger,
        undisturbed: Undisturbed,
        deliver: Callable[[str, bytes], Awaitable[object]],
        deliver_stream: Callable[[str, AsyncIterable[bytes]], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(maildrop, ledger, undisturbed)
        self._deliver = deliver
        self._deliver_stream = deliver_stream

    async def add(self, messages: Sequence[Retrieved]) -> None:
        for identity, content in messages:
            await self._hand_over(self._deliver, content)
            await self._record(identity)

    async def receive(self, identity: str, chunks: AsyncIterable[bytes]) -> int:
        if self._deliver_stream is None:
            content = await _join(chunks)
            await self.add([(identity, content)])
            return len(content)
        octets = 0
        is_whole = False

        async def pieces() -> AsyncGenerator[bytes, None]:
            nonlocal octets, is_whole
            async for chunk in chunks:
                octets += len(chunk)
                yield chunk
            is_whole = True

        async with aclosing(pieces()) as stream:
            await self._hand_over(self._deliver_stream, stream)
        if not is_whole:
            raise MailError("the destination did not read a message to its end", stage=Stage.DELIVERY)
        await self._record(identity)
        return octets

    async def _hand_over(self, deliver: Callable[[str, T], Awaitable[object]], content: T) -> None:
        try:
            taken = deliver(self._maildrop, content)
            if not inspect.isawaitable(taken):
                raise InputError(
                    "what messages are delivered to is not async",
                    stage=Stage.DELIVERY,
                    cure="write async def deliver(maildrop, content)",
                )
            await taken
        except MailError:
            raise
        except Exception as error:
            raise MailError(
                f"the destination did not take a message: {type(error).__name__}: {error}",
                stage=Stage.DELIVERY,
            ) from error

    async def _record(self, identity: str) -> None:
        # Each by itself, so that no more than the one in hand can come again.
        await self._undisturbed.run(in_thread, self._ledger.record, self._maildrop, [identity])


async def _join(chunks: AsyncIterable[bytes]) -> bytes:
    pieces = []
    octets = 0
    async for chunk in chunks:
        pieces.append(chunk)
        octets += len(chunk)
        if octets > _LARGEST_WHOLE:
            raise MailError(
                f"a message of more than {_LARGEST_WHOLE} octets does not fit into memory",
                stage=Stage.DELIVERY,
                cure="deliver to an object with deliver_stream, or set largest",
            )
    return b"".join(pieces)
