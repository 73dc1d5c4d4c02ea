"""One connection of a pool, from the first message for it to QUIT."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import anyio

from ..client.smtp import SMTPClient, fit
from ..errors import ClosedError, ConnectionLost, MailError, MessageError
from ..net import NEVER, BackgroundTask, Waiter, now, spawn
from ..smtp import Pipeline
from .window import FIRST_WINDOW, Window

if TYPE_CHECKING:
    from ..smtp import Outcome, Reply
    from .job import Job
    from .pool import Pool

__all__ = ["Worker"]

# Exim drops a session at the eleventh RSET that does not follow a message (smtp_accept_max_nonmail), and with it what
# has been written behind: nobody would know what became of that.
_EXIM_REFUSALS = 10
# Sessions of use that may end at a message without it being to blame: each could have reached its limit of messages.
_MOST_DETOURS = 10


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
        self._pipeline: Pipeline[Job] | None = None
        self._left: float = math.inf  # messages that it may still take
        self._window = Window(pool.limits.window)
        self._ends_at = NEVER
        self._has_answers = False
        self.failures_before: int = pool.failures
        """Those of the pool when this was made."""
        self.is_connected: bool = False
        """Whether it has, or had, a session."""
        self._rest: Waiter | None = None
        self._task: BackgroundTask = spawn(self._run, name="asyncmail connection")

    def __repr__(self) -> str:
        state = "waits" if self._rest else f"{self.under_way} under way"
        return f"<Worker {state}, {self._client!r}>"

    @property
    def under_way(self) -> int:
        """Messages that it has taken and not answered for."""
        return 0 if self._pipeline is None else len(self._pipeline)

    def worth(self) -> tuple[bool, bool, int]:
        """Sorts workers: first those that can be done without."""
        return self._left > 0, self.is_connected, self.under_way

    def wake(self) -> None:
        """There is a job, or the pool is closing."""
        if self._rest is not None:
            self._rest.set()

    def poke(self) -> bool:
        """There is a job; return whether this takes it, though answers are due."""
        pipeline = self._pipeline
        if pipeline is None or not self._left or not pipeline.has_room:
            return False
        self._client.interrupt()
        return True

    def retire(self) -> None:
        """Take no more messages, and end the session once those under way are answered."""
        self._left = 0
        self.wake()

    def abort(self) -> None:
        """End at once."""
        self._client.abort()
        self._task.cancel()

    async def _run(self) -> None:
        pool = self._pool
        try:
            if self._pause:
                await self._wait(self._pause)
            if self._left and pool.has_work_for_another:  # else others have seen to them
                begun = now()
                await self._client.connect()
                self.is_connected = True
                self._learn_limits()
                pool.opened(seconds=now() - begun, room=self._room)
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

    async def _wait(self, seconds: float) -> bool:
        """Wait so long, or until it is woken; return whether it was."""
        self._rest = Waiter()
        with anyio.move_on_after(seconds) as patience:
            await self._rest.wait()
        self._rest = None
        return not patience.cancelled_caught

    def _learn_limits(self) -> None:
        limits = self._pool.limits
        for most in (limits.messages_per_connection, self._client.extensions.messages):
            if most is not None:
                self._left = min(self._left, most)
        if limits.max_age_seconds is not None:
            self._ends_at = now() + limits.max_age_seconds

    @property
    def _room(self) -> int:
        """How many messages can be under way: without CHUNKING one, and the envelope of the next."""
        limits = self._pool.limits
        follows = (
            limits.chunking and "CHUNKING" in self._client.extensions and self._client.extensions.pipelining
        )
        return int(min(limits.window, FIRST_WINDOW if follows else 2, max(self._left, 1)))

    async def _work(self) -> None:
        limits = self._pool.limits
        pipeline = self._pipeline = Pipeline(
            self._client.protocol,
            window=self._window.size,
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
        while not self._fill(pipeline, now()):
            if pipeline.is_closing or not self._left or (pool.is_closing and not pool.has_jobs):
                return False
            pool.idle(self)
            age_left = self._ends_at - now()
            # What could not begin when it was looked for may have become due since.
            seconds = pool.delay if pool.has_jobs else pool.limits.idle_seconds
            was_woken = await self._wait(min(seconds, age_left))
            pool.busy(self)
            if not self._client.is_usable or not (was_woken or pool.has_jobs):
                return False
            if now() >= self._ends_at:
                self._left = 0
        if pool.has_jobs:
            pool.staff()  # there is no room for more here
        return True

    def _go_on(self, pipeline: Pipeline[Job]) -> bool:
        """Deliver what is decided, and submit more; False when there is nothing left to do."""
        time = now()
        if pipeline.outcomes:
            self._deliver(pipeline, time)
        if pipeline.complaint is not None:
            self._heed(pipeline, pipeline.complaint)
        if time >= self._ends_at:
            self._left = 0
        return self._fill(pipeline, time)

    def _heed(self, pipeline: Pipeline[Job], complaint: Reply) -> None:
        """Pass on a complaint of too much."""
        pipeline.complaint = None
        is_goodbye = complaint is pipeline.goodbye
        if is_goodbye:
            self.retire()
        self._pool.complained(self, was_of_use=self._has_answers or not is_goodbye)

    def _fill(self, pipeline: Pipeline[Job], time: float) -> bool:
        pool = self._pool
        extensions = self._client.extensions
        while self._left and pipeline.has_room and (job := pool.take_job()) is not None:
            try:
                job.limit(extensions)
                fit(job, extensions)
            except MailError as error:
                job.finish(error)
                continue
            except Exception as error:  # somebody waits for this job
                job.finish(MessageError(f"it cannot be encoded: {error!r}"))
                continue
            self._left -= 1
            job.begun_at = time
            pipeline.begin(job)
        return len(pipeline) > 0

    def _deliver(self, pipeline: Pipeline[Job], time: float) -> None:
        outcomes, pipeline.outcomes = pipeline.outcomes, []
        window = self._window
        window.answered(len(outcomes), time - outcomes[-1][0].begun_at)
        pipeline.window = window.size
        self._hand_over(outcomes)
        self._has_answers = True
        self._pool.answered(len(outcomes))

    def _hand_over(self, outcomes: list[tuple[Job, Outcome]]) -> None:
        for job, outcome in outcomes:
            if job.add(outcome):
                self._pool.put_back([job], ClosedError("the mailer was closed"))

    def _give_back(self, pipeline: Pipeline[Job], error: MailError) -> None:
        if pipeline.outcomes:
            self._deliver(pipeline, now())
        if pipeline.complaint is not None:
            self._heed(pipeline, pipeline.complaint)
        self._client.abandon(pipeline, error)
        self._hand_over(pipeline.outcomes)
        unsent = pipeline.unsent
        if unsent and unsent[0].cut_off(error):
            self._has_answers = True
        elif unsent and not pipeline.outcomes and not self._is_welcome_elsewhere(unsent[0], pipeline.goodbye):
            unsent[0].attempts += 1  # the server had come to it; those behind it had no part in what happened
            # What stands next to it may be like it. Several sessions in a row that come to nothing look as if the
            # server took no messages at all, so another one is the next to be tried.
            unsent[1:] = reversed(unsent[1:])
        self._pool.put_back(unsent, error)

    def _is_welcome_elsewhere(self, job: Job, goodbye: Reply | None) -> bool:
        """Whether what the server turned away with these words had no part in them."""
        if goodbye is None:
            return False
        if goodbye.is_throttling:
            return self._has_answers or self._pool.has_others(self)
        job.detours += 1
        return self._has_answers and job.detours <= _MOST_DETOURS
