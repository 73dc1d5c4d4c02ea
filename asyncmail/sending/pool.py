"""Which connection does what: all decided synchronously, so that no two tasks can decide at the same time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ClosedError, InputError, MailError
from ..net import Waiter
from .job import undelivered
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client.smtp import SMTPClient
    from .job import Job

__all__ = ["Pool", "PoolLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How a `Mailer` uses its server.

    Args:
        window: messages on one connection that may be without an answer, where the server offers CHUNKING.
        window_octets: the same in octets of content.
        messages_per_connection: after so many a connection is closed; None for no such limit.
        idle_seconds: after so long an idle connection is closed; servers may do so after five minutes
            (RFC 5321 §4.5.3.2.7).
        attempts: how often a message is tried that did not reach the server, and how often to connect in a row.
        pause_seconds: before the second attempt to connect; doubled for each further one.
    """

    window: int = 64
    window_octets: int = 1_048_576
    messages_per_connection: int | None = None
    idle_seconds: float = 60.0
    attempts: int = 3
    pause_seconds: float = 0.5

    def __post_init__(self) -> None:
        for name in ("window", "window_octets", "attempts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", cure="use a number of at least 1")


class Pool:
    """A queue of jobs and the workers that take from it.

    Args:
        make_client: returns a session that is not connected.
        connections: at most so many workers.
        limits: how each is used.
    """

    def __init__(self, make_client: Callable[[], SMTPClient], connections: int, limits: PoolLimits) -> None:
        if connections < 1:
            raise InputError(f"connections is {connections}", cure="use a number of at least 1")
        self.limits = limits
        self.is_closing = False
        self._make_client = make_client
        self._connections = connections
        self._queue: deque[Job] = deque()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._failures = 0  # attempts to connect that failed in a row
        self._all_ended: Waiter | None = None

    def __repr__(self) -> str:
        return (
            f"{len(self._workers)} of {self._connections} connections, {len(self._idle)} idle,"
            f" {len(self._queue)} messages waiting{', closing' if self.is_closing else ''}"
        )

    # --- for those who send

    @property
    def capacity(self) -> int:
        """How many jobs keep every connection busy, with as many again in reserve."""
        return 2 * self._connections * self.limits.window

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            ClosedError: the pool takes no more.
        """
        if self.is_closing:
            raise ClosedError("the mailer was closed", cure="send inside its async with block")
        self._queue.append(job)
        if self._idle:
            self._idle.pop().wake()
        else:
            self._staff()

    async def aclose(self) -> None:
        """Do what is queued, then end."""
        self.is_closing = True
        for worker in self._idle:
            worker.wake()
        if self._workers:
            self._all_ended = Waiter()
            await self._all_ended.wait()

    def abort(self) -> None:
        """End now."""
        self.is_closing = True
        for worker in list(self._workers):
            worker.abort()
        self._fail_all(ClosedError("the mailer was closed"))

    # --- for workers

    @property
    def has_jobs(self) -> bool:
        """Whether anything waits."""
        return bool(self._queue)

    def take_job(self) -> Job | None:
        """The next job, None if there is none."""
        while self._queue:
            job = self._queue.popleft()
            if not job.is_withdrawn:
                return job
        return None

    def put_back(self, jobs: list[Job], error: MailError) -> None:
        """Queue jobs again, in front, that came to nothing because their connection did."""
        for job in reversed(jobs):
            job.attempts += 1
            if self.is_closing and not self._workers:
                job.finish(error)
            elif job.attempts < self.limits.attempts:
                self._queue.appendleft(job)
            else:
                job.finish(undelivered(job, error))

    def idle(self, worker: Worker) -> None:
        """This worker waits for `wake`."""
        self._idle.append(worker)

    def busy(self, worker: Worker) -> None:
        """This worker waits no more."""
        if worker in self._idle:
            self._idle.remove(worker)

    def connected(self) -> None:
        """A worker has its session."""
        self._failures = 0
        self._staff()

    def ended(self, worker: Worker, *, failed: MailError | None = None) -> None:
        """A worker is done; `failed` is why it got no session. The last one that fails tells those who wait."""
        self._workers.discard(worker)
        if failed is not None:
            self._failures += 1
            if not self._workers and (not failed.is_transient or self._failures >= self.limits.attempts):
                self._failures = 0
                self._fail_all(failed)
        self._staff()
        if not self._workers and self._all_ended is not None:
            self._all_ended.set()

    def _staff(self) -> None:
        """Start a connection if there is work for one more; while connecting fails, one at a time tries."""
        if not self._queue or len(self._workers) >= (1 if self._failures else self._connections):
            return
        pause = self.limits.pause_seconds * 2 ** (self._failures - 1) if self._failures else 0.0
        self._workers.add(Worker(self, self._make_client(), pause))

    def _fail_all(self, error: MailError) -> None:
        queue, self._queue = self._queue, deque()
        for job in queue:
            if not job.is_withdrawn:
                job.finish(error)
