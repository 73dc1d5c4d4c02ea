"""A stream of messages through a pool, bounded in memory, and the stream of their outcomes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ExtensionRequired, MailError
from ..message import prepare
from ..net import BackgroundTask, Waiter, spawn
from ..smtp import Outcome
from .job import Job, undelivered

if TYPE_CHECKING:
    from ..message import MessageLike, Parcel

__all__ = ["Bulk"]


class Bulk:
    """Feeds a pool and collects what comes back.

    Args:
        messages: taken one by one as there is room.
        submit: hands a job to the pool.
        most: jobs that may be under way.
    """

    def __init__(
        self,
        messages: Iterable[Parcel | MessageLike | bytes] | AsyncIterable[Parcel | MessageLike | bytes],
        submit: Callable[[Job], None],
        most: int,
    ) -> None:
        self._messages = messages
        self._submit = submit
        self._most = most
        self._under_way: set[Job] = set()
        self._outcomes: deque[Outcome] = deque()
        self._failure: BaseException | None = None
        self._next_index = 0
        self._exhausted = False
        self._news: Waiter | None = None  # for who waits for outcomes
        self._room: Waiter | None = None  # for the feeder of an asynchronous source
        self._feeder: BackgroundTask | None = None

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Yield outcomes until the source is exhausted and everything is known.

        Raises:
            MailError: no session could be had; all that was taken from the source has been reported before.
        """
        feed = self._start()
        while True:
            if self._failure is None:
                feed()
            while self._outcomes:
                yield self._outcomes.popleft()
            if self._under_way or not (self._exhausted or self._failure):
                if not self._outcomes:
                    self._news = Waiter()
                    await self._news.wait()
            elif self._failure is not None:
                raise self._failure
            else:
                return

    def close(self) -> None:
        """Withdraw what has not been begun."""
        for job in self._under_way:
            job.is_withdrawn = True
        if self._feeder is not None:
            self._feeder.cancel()

    def _start(self) -> Callable[[], None]:
        """Return what is to be called when there may be room for more."""
        if isinstance(self._messages, AsyncIterable):
            self._feeder = spawn(self._feed_from, self._messages, name="asyncmail send_many source")
            return self._wake_feeder
        return partial(self._feed, iter(self._messages))

    def _feed(self, source: Iterator[Parcel | MessageLike | bytes]) -> None:
        while len(self._under_way) < self._most and not self._exhausted:
            try:
                message = next(source)
            except StopIteration:
                self._exhausted = True
                return
            self._take(message)

    async def _feed_from(self, source: AsyncIterable[Parcel | MessageLike | bytes]) -> None:
        try:
            async for message in source:
                self._take(message)
                while len(self._under_way) >= self._most:
                    self._room = Waiter()
                    await self._room.wait()
                if self._failure is not None:
                    return
            self._exhausted = True
        except Exception as error:
            self._failure = error
        finally:
            self._notify()

    def _wake_feeder(self) -> None:
        if self._room is not None and len(self._under_way) < self._most:
            self._room.set()

    def _take(self, message: Parcel | MessageLike | bytes) -> None:
        index = self._next_index
        self._next_index += 1
        try:
            prepared = prepare(message)
        except MailError as error:
            self._outcomes.append(Outcome(sender="", recipients=(), error=error, index=index))
            self._notify()
            return
        job = Job(prepared, self._finish, index)
        self._under_way.add(job)
        self._submit(job)

    def _finish(self, job: Job, result: Outcome | MailError) -> None:
        self._under_way.discard(job)
        if isinstance(result, MailError):
            if not isinstance(result, ExtensionRequired):
                self._failure = self._failure or result
            result = undelivered(job, result)
        self._outcomes.append(result)
        self._notify()

    def _notify(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.set()
