"""The pool's decisions, whatever happens in whatever order: nothing is forgotten, nothing is answered for twice.

Workers are played: they call the pool as real ones do, at moments that hypothesis chooses, by a clock that it sets.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import asyncmail.sending.pool
from asyncmail.errors import ClosedError, ConnectError, ConnectionLost, MailError
from asyncmail.message import prepare
from asyncmail.sending.job import Job
from asyncmail.sending.pool import Pool, PoolLimits

if TYPE_CHECKING:
    from asyncmail.smtp import Outcome

PREPARED = prepare(b"Subject: x\r\n\r\n", "a@example.com", ["b@example.com"])
ROOM = 2
IDLE_SECONDS = 1000.0


class Player:
    """Plays a worker: `paused`, `opening`, `busy`, `idle` or `ended`."""

    def __init__(self, pool: Pool, number: int, pause: float) -> None:
        self.pool = pool
        self.number = number
        self.pause = pause
        self.state = "paused" if pause else "about to open"
        self.jobs: list[Job] = []
        self.failures_before = pool.failures
        self.is_connected = False
        self.is_woken = False
        self.rests_until = 0.0
        self.is_retired = False
        self.has_answers = False

    def __hash__(self) -> int:
        return self.number  # so that a set of them has the same order each time

    @property
    def under_way(self) -> int:
        return len(self.jobs)

    def worth(self) -> tuple[bool, bool, int]:
        return not self.is_retired, self.is_connected, self.under_way

    def wake(self) -> None:
        self.is_woken = True

    def poke(self) -> bool:
        return False  # it looks for more when it answers

    def retire(self) -> None:
        self.is_retired = True
        self.wake()

    def abort(self) -> None:
        self.is_woken = True
        self.state = "aborted"

    # --- what may happen to it

    def begin_to_open(self) -> None:
        if not self.is_retired and self.pool.has_work_for_another:
            self.state = "opening"
        else:
            self.end()

    def open(self) -> None:
        self.is_connected = True
        self.pool.opened(seconds=0.25, room=ROOM)
        self.look_for_work()

    def fill(self) -> None:
        while len(self.jobs) < ROOM and not self.is_retired and (job := self.pool.take_job()):
            self.jobs.append(job)

    def look_for_work(self) -> None:
        self.fill()
        if self.jobs:
            self.state = "busy"
            if self.pool.has_jobs:
                self.pool.staff()
        elif self.is_retired or (self.pool.is_closing and not self.pool.has_jobs):
            self.end()
        else:
            self.state, self.is_woken = "idle", False
            self.rests_until = asyncmail.sending.pool.now() + (self.pool.delay or IDLE_SECONDS)
            self.pool.idle(cast("Any", self))

    def stop_resting(self, is_usable: bool) -> None:
        self.pool.busy(cast("Any", self))
        if is_usable and (self.is_woken or self.pool.has_jobs):
            self.look_for_work()
        else:
            self.end()

    def answer(self, messages: int) -> None:
        answered, self.jobs = self.jobs[:messages], self.jobs[messages:]
        for job in answered:
            job.finish(cast("Any", "outcome"))
        self.has_answers = True
        self.pool.answered(len(answered))
        self.fill()
        if not self.jobs:
            self.look_for_work()

    def lose(self, error: MailError, counts: bool = True) -> None:
        jobs, self.jobs = self.jobs, []
        if jobs and counts:
            jobs[0].attempts += 1
        self.pool.put_back(jobs, error)
        self.end(None if self.has_answers else error)

    def end(self, failed: MailError | None = None, is_final: bool = False) -> None:
        self.state = "ended"
        self.pool.ended(cast("Any", self), failed=failed, is_final=is_final)


class AnyHistory(RuleBasedStateMachine):
    time = 0.0

    @initialize(
        connections=st.integers(1, 4),
        attempts=st.integers(1, 3),
        rate=st.sampled_from([None, None, 3.0]),
    )
    def begin(self, connections: int, attempts: int, rate: float | None) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("asyncmail.sending.pool.Worker", Player)
        self.patch.setattr("asyncmail.sending.pool.now", lambda: self.time)
        limits = PoolLimits(window=ROOM, attempts=attempts, messages_per_second=rate)
        self.connections = connections
        self.pool = Pool(cast("Any", count().__next__), connections, limits)
        self.jobs: list[Job] = []
        self.results: dict[Job, Outcome | MailError] = {}

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            self.everything_goes_well()
            self.patch.undo()

    def players(self, *states: str) -> list[Player]:
        found = [cast("Player", each) for each in self.pool._workers]
        return sorted((each for each in found if each.state in states), key=hash)

    def pick(self, data: st.DataObject, *states: str) -> Player | None:
        players = self.players(*states)
        return players[data.draw(st.integers(0, len(players) - 1))] if players else None

    def finish(self, job: Job, result: Outcome | MailError) -> None:
        assert job not in self.results
        self.results[job] = result

    @precondition(lambda self: not self.pool.is_closing)
    @rule(messages=st.integers(1, 6), is_bulk=st.booleans())
    def submit(self, messages: int, is_bulk: bool) -> None:
        for _ in range(messages):
            job = Job(PREPARED, self.finish, len(self.jobs) if is_bulk else None)
            self.jobs.append(job)
            self.pool.submit(job)

    def waiting(self) -> list[Job]:
        return [job for queue in self.pool._waiting._queues for job in queue]

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        waiting = self.waiting()
        if waiting:
            waiting[data.draw(st.integers(0, len(waiting) - 1))].is_withdrawn = True

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(data=st.data())
    def begins_to_open(self, data: st.DataObject) -> None:
        if player := self.pick(data, "paused", "about to open"):
            self.time += player.pause
            player.begin_to_open()

    @rule(data=st.data())
    def opens(self, data: st.DataObject) -> None:
        if player := self.pick(data, "opening"):
            player.open()

    @rule(data=st.data(), is_final=st.booleans())
    def is_refused(self, data: st.DataObject, is_final: bool) -> None:
        if player := self.pick(data, "opening"):
            player.end(ConnectError("no"), is_final)

    @rule(data=st.data(), messages=st.integers(1, ROOM))
    def answers(self, data: st.DataObject, messages: int) -> None:
        if player := self.pick(data, "busy"):
            player.answer(messages)

    @rule(data=st.data(), ends=st.booleans())
    def complains(self, data: st.DataObject, ends: bool) -> None:
        if player := self.pick(data, "busy"):
            if ends:
                player.retire()
            self.pool.complained(cast("Any", player), was_of_use=player.has_answers or not ends)
            if ends:
                others = self.pool.has_others(cast("Any", player))
                player.lose(ConnectionLost("bye"), counts=not (player.has_answers or others))

    @rule(data=st.data())
    def is_lost(self, data: st.DataObject) -> None:
        if player := self.pick(data, "busy"):
            player.lose(ConnectionLost())

    @rule(data=st.data(), is_usable=st.booleans())
    def rests_no_more(self, data: st.DataObject, is_usable: bool) -> None:
        if player := self.pick(data, "idle"):
            player.stop_resting(is_usable)

    @rule(data=st.data())
    def aborted_ones_end(self, data: st.DataObject) -> None:
        if player := self.pick(data, "aborted"):
            player.lose(ClosedError())

    @rule(closes=st.sampled_from([False] * 9 + [True]))
    def is_closed(self, closes: bool) -> None:
        """As `aclose` does, without the wait."""
        if closes:
            self.pool.is_closing = True
            for worker in self.pool._idle:
                worker.wake()
            self.pool._end_needless()

    @invariant()
    def is_sound(self) -> None:
        if not hasattr(self, "pool"):
            return
        pool = self.pool
        players = [cast("Player", each) for each in pool._workers]
        assert pool._opening == sum(not each.is_connected for each in players)
        assert len(players) <= self.connections
        assert all(cast("Player", each).state == "idle" for each in pool._idle)
        held = [job for each in players for job in each.jobs]
        waiting = self.waiting()
        for job in self.jobs:
            places = held.count(job) + waiting.count(job) + (job in self.results)
            assert places == 1 or (job.is_withdrawn and places == 0)
        if pool.has_jobs:
            # Somebody will see to them, as soon as they may begin.
            begin = self.time + pool.delay + 1e-6
            assert any(each.state != "idle" or each.is_woken or each.rests_until <= begin for each in players)

    def everything_goes_well(self) -> None:
        for _ in range(10_000):
            self.time += 1.0
            self.is_sound()
            resting = [each for each in self.players("idle") if each.is_woken or self.pool.has_jobs]
            for player in [*self.players("paused", "about to open", "opening", "busy", "aborted"), *resting]:
                if player.state in ("paused", "about to open"):
                    player.begin_to_open()
                elif player.state == "opening":
                    player.open()
                elif player.state == "busy":
                    player.answer(1)
                elif player.state == "idle":
                    player.stop_resting(is_usable=True)
                elif player.state == "aborted":
                    player.lose(ClosedError())
            if not self.pool.has_jobs and not self.players("busy", "opening", "paused", "about to open"):
                break
        assert all(job in self.results or job.is_withdrawn for job in self.jobs)
        if self.pool.is_closing:
            for player in self.players("idle"):
                assert player.is_woken
                player.stop_resting(is_usable=True)
            assert not self.pool._workers


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
