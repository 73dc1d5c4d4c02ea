"""One connection of a pool, from the first message for it to QUIT."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio

from ..client.smtp import SMTPClient, fit
from ..errors import ClosedError, ConnectionLost, MailError, MessageError
from ..net import BackgroundTask, Waiter, spawn
from ..smtp import Pipeline

if TYPE_CHECKING:
    from .job import Job
    from .pool import Pool

__all__ = ["Worker"]

# Exim drops a session at the eleventh RSET that does not follow a message (smtp_accept_max_nonmail), and with it what
# has been written behind: nobody would know what became of that.
_EXIM_REFUSALS = 10


class Worker:
    """Connects, then sends what the pool has until it has nothing more.

    Args:
        pool: gives jobs, takes back what has to be sent again.
        client: not yet connected.
        pause: seconds to wait before connecting.
    """

    def __init__(self, pool: Pool, client: SMTPClient, pause: float) -> None:
        self._pool = pool
        self._client = client
        self._pause = pause
        self._left = 0  # messages that the session may still take
        self._has_answers = False
        self.is_connected: bool = False
        """Whether it has, or had, a session."""
        self._idle: Waiter | None = None
        self._task: BackgroundTask = spawn(self._run, name="asyncmail connection")

    def __repr__(self) -> str:
        return f"<Worker {'idle' if self._idle else 'at work'}, {self._client!r}>"

    def wake(self) -> None:
        """There is a job, or the pool is closing."""
        if self._idle is not None:
            self._idle.set()

    def abort(self) -> None:
        """End at once."""
        self._client.abort()
        self._task.cancel()

    async def _run(self) -> None:
        pool = self._pool
        try:
            await anyio.sleep(self._pause)
            if pool.has_jobs:  # else others have seen to them
                await self._client.connect()
                self.is_connected = True
                await self._work()
        except Exception as error:
            failed = error if isinstance(error, MailError) else MailError(f"sending failed: {error!r}")
            # What ends a session that was good may not come again.
            is_final = not self.is_connected and not failed.is_transient
            pool.ended(self, failed=None if self._has_answers else failed, is_final=is_final)
            if failed is not error:
                raise
        except BaseException:
            pool.ended(self, failed=ClosedError("the mailer was closed"), is_final=True)
            raise
        else:
            pool.ended(self)

    async def _work(self) -> None:
        limits = self._pool.limits
        self._left = min(
            limits.messages_per_connection or sys.maxsize, self._client.extensions.messages or sys.maxsize
        )
        pipeline: Pipeline[Job] = Pipeline(
            self._client.protocol,
            window=limits.window,
            window_octets=limits.window_octets,
            chunking=limits.chunking,
            refusals=_EXIM_REFUSALS if "Exim" in str(self._client.greeting) else None,
        )
        try:
            while await self._has_work(pipeline):
                await self._client.run(pipeline, partial(self._go_on, pipeline))
            if pipeline.unsent:
                raise ConnectionLost(f"the server ended the session: {pipeline.goodbye}")
        except BaseException as error:
            self._give_back(
                pipeline, error if isinstance(error, MailError) else ClosedError("the mailer was closed")
            )
            raise
        await self._client.aclose()

    async def _has_work(self, pipeline: Pipeline[Job]) -> bool:
        """Wait until there is something to send; False once the session is to end."""
        pool = self._pool
        while not self._fill(pipeline):
            if pipeline.is_closing or not self._left or (pool.is_closing and not pool.has_jobs):
                return False
            if delay := pool.delay:
                await anyio.sleep(delay)
                if not self._client.is_usable:
                    return False
                continue
            self._idle = Waiter()
            pool.idle(self)
            with anyio.move_on_after(pool.limits.idle_seconds) as patience:
                await self._idle.wait()
            self._idle = None
            pool.busy(self)
            if not self._client.is_usable or (patience.cancelled_caught and not pool.has_jobs):
                return False
        return True

    def _go_on(self, pipeline: Pipeline[Job]) -> bool:
        """Deliver what is decided, and submit more; False when there is nothing left to do."""
        self._deliver(pipeline)
        return self._fill(pipeline)

    def _fill(self, pipeline: Pipeline[Job]) -> bool:
        pool = self._pool
        while pipeline.has_room and self._left and (job := pool.take_job()) is not None:
            try:
                fit(job, self._client.extensions)
            except MailError as error:
                job.finish(error)
                continue
            except Exception as error:  # somebody waits for this job
                job.finish(MessageError(f"it cannot be encoded: {error!r}"))
                continue
            self._left -= 1
            pipeline.submit(job)
            pipeline.advance()
        return len(pipeline) > 0

    def _deliver(self, pipeline: Pipeline[Job]) -> None:
        if not pipeline.outcomes:
            return
        for job, outcome in pipeline.outcomes:
            job.finish(outcome)
        pipeline.outcomes.clear()
        if not self._has_answers:
            self._has_answers = True
            self._pool.answered()

    def _give_back(self, pipeline: Pipeline[Job], error: MailError) -> None:
        self._deliver(pipeline)
        self._client.abandon(pipeline, error)
        for job, outcome in pipeline.outcomes:
            job.finish(outcome)
        unsent = pipeline.unsent
        if unsent and not pipeline.outcomes:
            unsent[0].attempts += 1  # the server had come to it; those behind it had no part in what happened
        self._pool.put_back(unsent, error)
