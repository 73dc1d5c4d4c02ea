"""A stream of messages through a pool, bounded in memory, and the stream of their outcomes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import TYPE_CHECKING, Self

from ..errors import BusyError, MailError
from ..message import Parcel, prepare
from ..net import BackgroundTask, Waiter, spawn
from ..smtp import Outcome
from .job import Job, is_about_message, undelivered

if TYPE_CHECKING:
    from ..message import MessageLike

__all__ = ["Bulk", "Outcomes"]

# Waking a task for each outcome costs more than what most do with it. Those of a few milliseconds are handed over
# together, but never so many that the pool could run out of messages meanwhile.
_TOGETHER = 0.002  # seconds
_SHARE = 4  # of all that may be under way


class Outcomes(AsyncIterator[Outcome]):
    """What `Mailer.send_many` returns; once nobody has it any more, what has not been begun is withdrawn.

    An asynchronous generator would need the event loop to find that out, and Trio complains about those.
    """

    __slots__ = ("_bulk",)

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        return await self._bulk.next()

    async def aclose(self) -> None:
        """Withdraw what has not been begun."""
        self._bulk.close()

    def __del__(self) -> None:
        self._bulk.close()


class Bulk:
    """Feeds a pool and collects what comes back.

    Args:
        messages: taken one by one as there is room.
        submit: hands a job to the pool.
        most: messages that may be under way, or done and not yet asked for.
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
        self._share = most // _SHARE
        self._under_way: set[Job] = set()
        self._outcomes: deque[Outcome] = deque()
        self._failure: Exception | None = None
        self._next_index = 0
        self._exhausted = False
        self._feed: Callable[[], None] = self._start
        self._news: Waiter | None = None  # for who waits for outcomes
        self._has_been_told = False  # that there will be news soon
        self._room_waiter: Waiter | None = None  # for the feeder of an asynchronous source
        self._feeder: BackgroundTask | None = None

    async def next(self) -> Outcome:
        """Return an outcome as soon as there is one.

        Raises:
            StopAsyncIteration: the source is exhausted and everything has been returned.
            MailError: no session could be had; all that was taken from the source has been returned before.
            BusyError: another task is in this call.
            Exception: what the source raised; all that it gave before has been returned.
        """
        if self._news is not None:
            raise BusyError("another task is waiting for the next outcome", cure="let one task iterate")
        while True:
            if self._failure is None and not self._exhausted:
                self._feed()
            if self._outcomes:
                return self._outcomes.popleft()
            if not self._under_way:
                if self._failure is not None:
                    self.close()
                    raise self._failure
                if self._exhausted:
                    raise StopAsyncIteration
            self._news = Waiter()
            self._has_been_told = False
            try:
                await self._news.wait()
            finally:
                self._news = None

    def close(self) -> None:
        """Withdraw what has not been begun."""
        for job in self._under_way:
            job.is_withdrawn = True
        self._under_way.clear()
        self._exhausted = True
        if self._feeder is not None:
            self._feeder.cancel()

    @property
    def _room(self) -> int:
        """How many messages may be taken."""
        return self._most - len(self._under_way) - len(self._outcomes)

    def _start(self) -> None:
        if isinstance(self._messages, AsyncIterable):
            self._feed = self._wake_feeder
            self._feeder = spawn(self._feed_from, self._messages, name="asyncmail send_many source")
        else:
            self._feed = partial(self._take_from, iter(self._messages))
            self._feed()

    def _take_from(self, source: Iterator[Parcel | MessageLike | bytes]) -> None:
        try:
            for _ in range(self._room):
                self._take(next(source))
                if self._failure is not None:
                    return
        except StopIteration:
            self._exhausted = True
        except Exception as error:
            self._failure = error

    async def _feed_from(self, source: AsyncIterable[Parcel | MessageLike | bytes]) -> None:
        try:
            async with AsyncExitStack() as stack:
                if isinstance(source, AsyncGenerator):
                    await stack.enter_async_context(aclosing(source))
                async for message in source:
                    self._take(message)
                    while self._room <= 0:
                        self._room_waiter = Waiter()
                        await self._room_waiter.wait()
                    if self._failure is not None:
                        return
            self._exhausted = True
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._notify()

    def _wake_feeder(self) -> None:
        if self._room_waiter is not None and self._room > 0:
            self._room_waiter.set()

    def _take(self, message: Parcel | MessageLike | bytes) -> None:
        index = self._next_index
        self._next_index += 1
        try:
            prepared = prepare(message)
        except MailError as error:
            tag = message.tag if isinstance(message, Parcel) else ""
            self._outcomes.append(Outcome(sender="", recipients=(), error=error, index=index, tag=tag))
            self._notify()
            return
        job = Job(prepared, self._finish, index)
        self._under_way.add(job)
        try:
            self._submit(job)
        except MailError as error:
            self._finish(job, error)

    def _finish(self, job: Job, result: Outcome | MailError) -> None:
        self._under_way.discard(job)
        if isinstance(result, MailError):
            if not is_about_message(result):
                self._failure = self._failure or result
            result = undelivered(job, result)
        self._outcomes.append(result)
        self._notify()

    def _notify(self) -> None:
        """Tell who waits for outcomes; not for each of them, as long as others are on their way."""
        news = self._news
        if news is None:
            return
        if not self._under_way or len(self._outcomes) >= self._share:
            news.set()
        elif not self._has_been_told:
            self._has_been_told = True
            news.set_soon(_TOGETHER)
