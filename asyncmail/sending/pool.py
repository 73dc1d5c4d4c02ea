"""Which connection does what: all decided synchronously, so that no two tasks can decide at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from ..errors import ClosedError, InputError, MailError
from ..net import now
from .allowance import Allowance
from .job import undelivered
from .pacing import Pace
from .waiting import WaitingJobs
from .window import FIRST_WINDOW
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client.smtp import SMTPClient
    from .job import Job

__all__ = ["MailerStatistics", "Pool", "PoolLimits"]

_LONGEST_PAUSE = 60.0  # seconds
_OVERDUE_SECONDS = 1.0  # after which a connection that is being opened is not relied on any more


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How a `Mailer` uses its server.

    Args:
        window: messages on one connection that may be without an answer at most, where the server offers CHUNKING; as
            many are as keep the server busy.
        window_octets: the same in octets of content.
        messages_per_connection: after so many a connection is closed; None for no such limit. What the server says
            itself (LIMITS MAILMAX, RFC 9422 §4.1) holds in any case.
        idle_seconds: after so long an idle connection is closed; servers may do so after five minutes
            (RFC 5321 §4.5.3.2.7).
        max_age_seconds: after so long a connection takes no more messages, and is closed once those under way are
            answered, so that changes of DNS and load balancers are followed; None for no such limit.
        attempts: how often a message is tried at which the connection was lost, and how often to connect in a row.
        pause_seconds: before the second attempt to connect; doubled for each further one.
        chunking: use BDAT where the server offers CHUNKING.
        messages_per_second: over all connections together; None for no such limit.
        messages_per_minute: the same; the tighter of both holds.
        burst: messages that may begin at once after a pause, where there is such a limit. With 1 no two are closer
            than the rate says, and what a timer is late is lost: a sixth at 200 messages per second. More make up for
            it.
    """

    window: int = 64
    window_octets: int = 1_048_576
    messages_per_connection: int | None = None
    idle_seconds: float = 60.0
    max_age_seconds: float | None = 600.0
    attempts: int = 3
    pause_seconds: float = 0.5
    chunking: bool = True
    messages_per_second: float | None = None
    messages_per_minute: float | None = None
    burst: int = 1

    def __post_init__(self) -> None:
        for name in ("window", "window_octets", "attempts", "messages_per_connection"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}", cure="use a number of at least 1")
        for name in ("idle_seconds", "pause_seconds", "max_age_seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"{name} is {value}", cure="use a number of seconds")
        self.pace()

    def pace(self) -> Pace:
        """The pace that the three last limits make."""
        return Pace(
            per_second=self.messages_per_second, per_minute=self.messages_per_minute, burst=self.burst
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailerStatistics:
    """What a `Mailer` is doing.

    Args:
        connections: open.
        opening: connections that are being opened, or will be if messages go on waiting.
        idle: of the open ones, those that have nothing to do.
        allowed: connections that there may be; fewer than the mailer was given while the server wants fewer.
        waiting: messages that no connection has taken.
        under_way: messages that a connection has taken and the server has not answered for.
        answered: transactions that the server has answered, with whatever answer, since the mailer was made.
    """

    connections: int
    opening: int
    idle: int
    allowed: int
    waiting: int
    under_way: int
    answered: int


class Pool:
    """A queue of jobs and the workers that take from it.

    There is one connection as soon as there is something to send. Another one is opened only if messages still wait,
    and no connection has room for them, after as long as opening one takes.

    Args:
        make_client: returns a session that is not connected.
        connections: at most so many workers.
        limits: how each is used.
        first_alone: open one, and others only when that has a session: servers lock accounts for which several
            connections show a wrong password.
    """

    def __init__(
        self,
        make_client: Callable[[], SMTPClient],
        connections: int,
        limits: PoolLimits,
        *,
        first_alone: bool = False,
    ) -> None:
        if connections < 1:
            raise InputError(f"connections is {connections}", cure="use a number of at least 1")
        self.limits = limits
        self.is_closing: bool = False
        self._is_aborted = False
        pace = limits.pace()
        self._pace = pace if pace.interval else None
        self._make_client = make_client
        self._connections = connections
        self._allowance = Allowance(connections)
        self._waiting = WaitingJobs()
        self._workers: set[Worker] = set()
        self._one_at_a_time = first_alone  # while none has a session
        self._opening = 0  # of them
        self._opening_seconds = 0.0  # that it took the last time
        self._overdue_from = 0.0  # from then on it takes overly long
        # Of a new connection.
        self._room = min(limits.window, limits.messages_per_connection or limits.window, FIRST_WINDOW)
        self._idle: list[Worker] = []
        self.failures: int = 0
        """Sessions, one after the other, that answered for no message."""
        self._not_before = 0.0  # the next attempt after those
        self._answered = 0
        self._ended: anyio.Event | None = None

    def __repr__(self) -> str:
        allowed = self._allowance.connections
        return (
            f"{len(self._workers)} of {self._connections} connections, {len(self._idle)} idle,"
            f"{f' {allowed} allowed,' if allowed < self._connections else ''}"
            f" {len(self._waiting)} messages waiting{', closing' if self.is_closing else ''}"
        )

    # --- for those who send

    @property
    def capacity(self) -> int:
        """How many jobs keep every connection busy, with as many again in reserve."""
        return 2 * self._connections * self.limits.window

    @property
    def statistics(self) -> MailerStatistics:
        """The numbers of this moment."""
        return MailerStatistics(
            connections=len(self._workers) - self._opening,
            opening=self._opening,
            idle=len(self._idle),
            allowed=self._allowance.connections,
            waiting=len(self._waiting),
            under_way=self._under_way,
            answered=self._answered,
        )

    @property
    def _under_way(self) -> int:
        return sum(worker.under_way for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            ClosedError: the pool takes no more.
        """
        if self.is_closing:
            self.require_open()
        waiting = self._waiting
        waiting.add(job)
        if self._idle:
            self._idle.pop().wake()
            return
        if len(waiting) == 1:  # else somebody has been told
            any(worker.poke() for worker in self._workers)
        if len(self._workers) < self._allowance.connections:
            self.staff()

    def require_open(self) -> None:
        """Raise ClosedError if the pool takes no more jobs."""
        if self.is_closing:
            raise ClosedError("the mailer was closed", cure="send inside its async with block")

    async def aclose(self) -> None:
        """Do what is queued, then end."""
        self.is_closing = True
        for worker in self._idle:
            worker.wake()
        self._end_needless()
        while self._workers:
            self._ended = self._ended or anyio.Event()
            await self._ended.wait()

    def abort(self) -> None:
        """End now."""
        self.is_closing = self._is_aborted = True
        for worker in list(self._workers):
            worker.abort()
        self._fail_all(ClosedError("the mailer was closed"))

    # --- for workers

    @property
    def has_jobs(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def take_job(self) -> Job | None:
        """The next job, None if there is none or it may not begin yet."""
        if self._pace is not None and not (self._waiting and self._pace.take(now())):
            return None
        return self._waiting.take()

    @property
    def delay(self) -> float:
        """Seconds until a job may begin that waits; 0 if none waits, or one may begin now."""
        return self._pace.delay(now()) if self._pace is not None and self.has_jobs else 0.0

    def put_back(self, jobs: list[Job], error: MailError) -> None:
        """Queue jobs again: those that came to nothing, and those with recipients left.

        Args:
            error: why they end, if they must not be tried again.
        """
        for job in reversed(jobs):
            if self._is_aborted:
                job.finish(error)
            elif not job.attempts and job.detours < 2:
                self._waiting.add_first(job)
            elif job.attempts < self.limits.attempts:
                self._waiting.add_last(job)  # if it is what ends sessions, others are to be of use in between
            else:
                job.finish(undelivered(job, error))

    def idle(self, worker: Worker) -> None:
        """This worker waits for `wake`."""
        self._idle.append(worker)

    def busy(self, worker: Worker) -> None:
        """This worker waits no more."""
        if worker in self._idle:
            self._idle.remove(worker)

    @property
    def has_work_for_another(self) -> bool:
        """Whether a connection that is opened now would have something to do."""
        return self.has_jobs and not self._idle and (len(self._workers) == self._opening or not self.delay)

    def opened(self, *, seconds: float, room: int) -> None:
        """A worker has a session: it took so long, and so many messages can be under way in it."""
        self._opening -= 1
        self._opening_seconds = seconds
        self._room = room
        if self._one_at_a_time:
            self._one_at_a_time = False
            self.staff()

    def has_others(self, worker: Worker) -> bool:
        """Whether another worker than this one has a session."""
        return any(each.is_connected and each is not worker for each in self._workers)

    def answered(self, messages: int) -> None:
        """So many messages have been answered at a time: sessions are of use."""
        self._answered += messages
        has_news, self.failures = self.failures > 0, 0
        if self._allowance.answered(messages, len(self._workers) - self._opening) or has_news:
            self.staff()

    def complained(self, worker: Worker, *, was_of_use: bool) -> None:
        """The server said to this worker that this is too much."""
        if not was_of_use:
            self._allowance.refused(len(self._workers) - 1)
            return
        connected = len(self._workers) - self._opening
        if self._allowance.complained(connected, self._under_way):
            surplus = len(self._workers) - self._allowance.connections
            for each in sorted(self._workers, key=Worker.worth)[: max(surplus, 0)]:
                each.retire()

    def ended(self, worker: Worker, *, failed: MailError | None = None, is_final: bool = False) -> None:
        """A worker is done.

        Args:
            failed: why its session answered for no message.
            is_final: another attempt would fail as well.
        """
        self._workers.discard(worker)
        self.busy(worker)
        if not worker.is_connected:
            self._opening -= 1
        if failed is not None:
            # Cancellation is no word of the server's.
            if self.has_others(worker) and not worker.is_connected and not isinstance(failed, ClosedError):
                self._allowance.refused(len(self._workers))  # it is enough to make do with those
            else:
                self._note_failure(failed, is_final, is_news=worker.failures_before == self.failures)
        self.staff(replaces=worker.is_connected)
        self._end_needless()
        if not self._workers and self._ended is not None:
            ended, self._ended = self._ended, None
            ended.set()

    def staff(self, *, replaces: bool = False) -> None:
        """See that what waits is seen to: wake a worker, or begin to open connections.

        Args:
            replaces: one that has ended was there already.
        """
        if self._is_aborted or not self.has_jobs:
            return
        if self._idle:
            self._idle.pop().wake()
            return
        while len(self._workers) < self._allowance.connections and len(self._waiting) > self._room_to_come:
            pause = 0.0
            if self._one_at_a_time and self._workers:
                return
            if self._pace is not None and self._opening:
                return  # what waits for the pace needs no other connection
            if self.failures:
                if self._workers:
                    return  # one at a time, until one is of use
                pause = min(max(self._not_before - now(), 0.0), _LONGEST_PAUSE)
            elif len(self._workers) > self._opening and not replaces:
                pause = max(self._opening_seconds, self.delay)
            self._opening += 1
            self._overdue_from = now() + pause + max(4 * self._opening_seconds, _OVERDUE_SECONDS)
            self._workers.add(Worker(self, self._make_client(), pause))
            replaces = False

    @property
    def _room_to_come(self) -> int:
        """So many messages will be taken by connections that are being opened."""
        # One address of several may be dead, and what waits need not wait for its time limit.
        return self._opening * self._room if self._opening and now() < self._overdue_from else 0

    def _end_needless(self) -> None:
        """At the end, do not wait for connections that nobody needs any more."""
        if self.is_closing and not self.has_jobs and len(self._workers) == self._opening:
            for worker in list(self._workers):
                worker.abort()

    def _note_failure(self, error: MailError, is_final: bool, *, is_news: bool) -> None:
        # Sessions that fail at the same time fail once: messages that no session survives may be in all of them.
        self.failures += is_news
        pause = self.limits.pause_seconds * 2 ** min(self.failures - 1, 16)
        self._not_before = now() + min(pause, _LONGEST_PAUSE)
        # The last one tells those who wait.
        if not self._workers and (is_final or self.failures >= self.limits.attempts):
            self.failures = 0
            self._fail_all(error)

    def _fail_all(self, error: MailError) -> None:
        waiting, self._waiting = self._waiting, WaitingJobs()
        while (job := waiting.take()) is not None:
            job.finish(error)
