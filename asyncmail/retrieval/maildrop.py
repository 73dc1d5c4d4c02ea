"""One maildrop, from the login to QUIT: list, retrieve, store, delete."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..client.pop3 import POP3Client
from ..errors import MailError, MailTimeout, NetworkError, POP3ResponseError
from ..net.clock import now
from .identity import list_messages
from .report import FetchReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..client.pop3 import POP3Options
    from ..net import ServerURL
    from .identity import ListedMessage
    from .report import Progress
    from .store import Retrieved, Store

__all__ = ["MaildropFetch", "name_of"]

# Messages up to this size are retrieved many at a time and stored in groups; larger ones one by one, in
# pieces.
_SMALL = 262_144
_GROUP_OCTETS = 1_048_576
_GROUP_MESSAGES = 128


def name_of(url: ServerURL) -> str:
    """Return the name of a maildrop in the ledger."""
    return f"{url.username}@{url.endpoint}" if url.username else url.endpoint


class MaildropFetch:
    """Fetches one maildrop.

    Args:
        url: where it is.
        index: its position in what the fetcher was given.
        options: for the session.
        store: where the messages go.
        delete_after: seconds that a stored message stays on the server; None for ever.
        largest: octets of the largest message to fetch; None for no limit.
        progress: counts the messages.

    Attributes:
        has_answered: the server did, be it to refuse.
    """

    def __init__(
        self,
        url: ServerURL,
        *,
        index: int,
        options: POP3Options,
        store: Store,
        delete_after: float | None,
        largest: int | None,
        progress: Progress,
    ) -> None:
        self._url = url
        self._index = index
        self._options = options
        self._store = store
        self._delete_after = delete_after
        self._largest = largest
        self._progress = progress
        self._listed = 0
        self._already_seen = 0
        self._fetched = 0
        self._skipped = 0
        self._octets = 0
        self._deleted = 0
        self._refusal: MailError | None = None
        self._client: POP3Client | None = None
        self.has_answered: bool = False

    @property
    def octets_received(self) -> int:
        """Octets that the server has sent so far."""
        return 0 if self._client is None else self._client.octets_received

    async def run(self, opened: Callable[[], None]) -> FetchReport:
        """Fetch it.

        Args:
            opened: called once the session is open.

        Returns:
            The report; what went wrong is in there.
        """
        begun = now()
        error: MailError | None = None
        client: POP3Client | None = None
        try:
            client = self._client = POP3Client(self._url, **self._options)
            async with client:
                opened()
                await self._fetch(client)
            error = self._refusal
        except MailError as failure:
            error = failure
        self.has_answered = client is not None and client.greeting is not None
        return FetchReport(
            index=self._index,
            url=str(self._url),
            maildrop=name_of(self._url),
            user=self._url.username,
            host=self._url.host,
            listed=self._listed,
            already_seen=self._already_seen,
            fetched=self._fetched,
            skipped=self._skipped,
            octets=self._octets,
            deleted=self._deleted,
            duration=now() - begun,
            error=error,
        )

    async def _fetch(self, client: POP3Client) -> None:
        # Only now: while the session lasts no other process writes to these entries.
        stored = await self._store.open()
        listing = await list_messages(client, stored)
        self._listed = len(listing.messages)
        new = [message for message in listing.messages if message.identity not in stored]
        self._already_seen = self._listed - len(new)
        wanted = [m for m in new if self._largest is None or (m.octets or 0) <= self._largest]
        self._skipped = len(new) - len(wanted)
        fetched = await self._retrieve(client, wanted)
        # The clock of the ledger, which outlives this process.
        stored_at = stored | dict.fromkeys(fetched, time.time())
        deleted = await self._delete(client, self._due(listing.messages, stored_at))
        await self._quit(client, has_deleted=bool(deleted))
        self._deleted = len(deleted)
        # A server that is known to have removed messages may use their ids again, however wrongly.
        gone = {message.identity for message in deleted}
        if listing.is_complete:
            gone |= stored.keys() - {message.identity for message in listing.messages}
        await self._store.forget(sorted(gone))

    async def _retrieve(self, client: POP3Client, wanted: Sequence[ListedMessage]) -> list[str]:
        """Retrieve and store messages, small ones first; returns what was stored."""
        small = [m for m in wanted if m.octets is not None and m.octets <= _SMALL]
        large = [m for m in wanted if m.octets is None or m.octets > _SMALL]
        fetched = await self._retrieve_small(client, small)
        for message in large:
            try:
                octets = await self._store.receive(message.identity, client.stream(message.number))
            except POP3ResponseError as refusal:
                self._note(refusal)
            else:
                fetched.append(message.identity)
                self._count(1, octets)
        return fetched

    async def _retrieve_small(self, client: POP3Client, wanted: Sequence[ListedMessage]) -> list[str]:
        identities = {message.number: message.identity for message in wanted}
        retrievals = client.retrieve_many(identities)
        fetched: list[str] = []
        group: list[Retrieved] = []
        octets = 0
        failure: MailError | None = None
        is_over = False
        while not is_over:
            try:
                async for number, content in retrievals:
                    group.append((identities[number], content))
                    octets += len(content)
                    if octets >= _GROUP_OCTETS or len(group) >= _GROUP_MESSAGES:
                        break
                else:
                    is_over = True
            except POP3ResponseError as refusal:
                self._note(refusal)
                continue
            except MailError as error:
                # What came before is stored all the same.
                failure = error
                is_over = True
            if group:
                await self._store.add(group)
                fetched += [identity for identity, _ in group]
                self._count(len(group), octets)
                group = []
                octets = 0
        if failure is not None:
            raise failure
        return fetched

    def _due(self, messages: Sequence[ListedMessage], stored_at: dict[str, float]) -> list[ListedMessage]:
        """Return the messages to be removed from the server: never one that is not stored."""
        if self._delete_after is None:
            return []
        latest = time.time() - self._delete_after
        return [m for m in messages if m.identity in stored_at and stored_at[m.identity] <= latest]

    async def _delete(self, client: POP3Client, due: Sequence[ListedMessage]) -> list[ListedMessage]:
        if not due:
            return []
        refusals = await client.delete_many([message.number for message in due])
        for response in refusals.values():
            self._note(POP3ResponseError(response, command="DELE"))
        return [message for message in due if message.number not in refusals]

    async def _quit(self, client: POP3Client, *, has_deleted: bool) -> None:
        try:
            await client.quit()
        except (NetworkError, MailTimeout, POP3ResponseError):
            # Some servers just hang up. That matters if they were to remove messages.
            client.abort()
            if has_deleted:
                raise

    def _note(self, refusal: MailError) -> None:
        """Keep the first refusal of a single message for the report: the others are fetched none the less."""
        self._refusal = self._refusal or refusal

    def _count(self, messages: int, octets: int) -> None:
        self._fetched += messages
        self._octets += octets
        self._progress.messages += messages
        self._progress.octets += octets
