"""The messages that no connection has taken."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import Job

__all__ = ["WaitingJobs"]

# So many single messages in a row pass one of a bulk, and one that ended a session: it is not to wait for ever where
# there is always a single message more.
_MOST_PASS = 8


class WaitingJobs:
    """A queue in which single messages, that somebody waits for, pass those of a bulk, but for every ninth.

    Withdrawn jobs are dropped when they come to the head.
    """

    __slots__ = ("_many", "_passed", "_queues", "_single")

    def __init__(self) -> None:
        self._single: deque[Job] = deque()
        self._many: deque[Job] = deque()
        self._queues = (self._single, self._many)
        self._passed = 0  # single messages in a row

    def __len__(self) -> int:
        return len(self._single) + len(self._many)

    def __bool__(self) -> bool:
        for queue in self._queues:
            while queue:
                if not queue[0].is_withdrawn:
                    return True
                queue.popleft()
        return False

    def add(self, job: Job) -> None:
        """Put a job behind those of its kind."""
        (self._single if job.index is None else self._many).append(job)

    def add_first(self, job: Job) -> None:
        """Put a job before those of its kind."""
        (self._single if job.index is None else self._many).appendleft(job)

    def add_last(self, job: Job) -> None:
        """Put a job behind all others."""
        self._many.append(job)

    def take(self) -> Job | None:
        """Return the next job, None if there is none."""
        single, many = self._single, self._many
        while single or many:
            is_single = bool(single) and (not many or self._passed < _MOST_PASS)
            job = (single if is_single else many).popleft()
            if not job.is_withdrawn:
                self._passed = self._passed + 1 if is_single else 0
                return job
        return None
