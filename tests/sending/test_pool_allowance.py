"""How many connections are allowed: a number that shrinks when the server says so, and grows with success."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncmail.sending.allowance import Allowance


def answers_until_one_more(allowance: Allowance) -> int:
    for count in range(1, 100_000):
        if allowance.answered(1, allowance.connections):
            return count
    raise AssertionError("it does not grow")


def test_all_are_allowed_until_the_server_says_otherwise() -> None:
    allowance = Allowance(8)
    assert allowance.connections == 8
    assert not allowance.answered(10_000, 8)
    assert repr(allowance) == "<Allowance 8 of 8 connections>"


def test_connections_that_are_refused_show_how_many_the_server_takes() -> None:
    allowance = Allowance(10)
    for left in range(9, 1, -1):
        allowance.refused(left)
    assert allowance.connections == 2
    allowance.refused(7)  # there were more than allowed
    assert allowance.connections == 2
    allowance.refused(0)
    assert allowance.connections == 1


def test_a_complaint_halves() -> None:
    allowance = Allowance(20)
    assert allowance.complained(20, 0)
    assert allowance.connections == 10
    assert allowance.complained(7, 0)  # no more were in use
    assert allowance.connections == 3
    for _ in range(3):
        allowance.complained(allowance.connections, 0)
    assert allowance.connections == 1


def test_complaints_about_the_same_messages_are_one() -> None:
    allowance = Allowance(16)
    assert allowance.complained(16, 100)
    assert not allowance.complained(16, 90)
    assert allowance.connections == 8
    allowance.answered(99, 8)
    assert not allowance.complained(8, 50)
    assert not allowance.answered(1, 8)
    assert allowance.complained(8, 50)
    assert allowance.connections == 4


def test_it_grows_one_by_one() -> None:
    allowance = Allowance(5)
    allowance.complained(4, 0)
    assert [answers_until_one_more(allowance) for _ in range(3)] == [16, 16, 16]
    assert allowance.connections == 5
    assert not allowance.answered(1000, 5)


def test_what_is_not_made_use_of_does_not_grow() -> None:
    allowance = Allowance(8)
    allowance.complained(8, 0)
    assert not allowance.answered(100_000, 3)
    assert allowance.connections == 4


def test_attempts_that_fail_become_rare_and_those_that_hold_frequent() -> None:
    allowance = Allowance(6)
    allowance.refused(2)
    waits = []
    for _ in range(12):
        waits.append(answers_until_one_more(allowance))
        allowance.refused(2)
    assert waits[:4] == [16, 64, 256, 1024]
    assert set(waits[4:]) == {1024}
    waits = [answers_until_one_more(allowance) for _ in range(4)]
    assert waits == [1024, 1024, 512, 256]
    assert allowance.connections == 6


def test_many_refusals_at_once_are_one_lesson() -> None:
    allowance = Allowance(10)
    allowance.refused(3)
    answers_until_one_more(allowance)
    for left in (3, 2, 1):
        allowance.refused(left)
    assert answers_until_one_more(allowance) == 64


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens, in whatever order."""

    @initialize(most=st.integers(1, 40))
    def begin(self, most: int) -> None:
        self.most = most
        self.allowance = Allowance(most)

    @rule(others=st.integers(0, 50))
    def refused(self, others: int) -> None:
        before = self.allowance.connections
        self.allowance.refused(others)
        assert self.allowance.connections == max(min(before, others), 1)

    @rule(connections=st.integers(1, 50), under_way=st.integers(0, 200))
    def complained(self, connections: int, under_way: int) -> None:
        before = self.allowance.connections
        if self.allowance.complained(connections, under_way):
            assert self.allowance.connections == max(min(before, connections // 2), 1)
        else:
            assert self.allowance.connections == before

    @rule(messages=st.integers(0, 500), connections=st.integers(1, 50))
    def answered(self, messages: int, connections: int) -> None:
        before = self.allowance.connections
        grew = self.allowance.answered(messages, connections)
        assert self.allowance.connections == before + grew
        assert not grew or connections >= before

    @rule()
    def success_without_end(self) -> None:
        """From anywhere it comes back."""
        for _ in range(self.most + 1):
            self.allowance.answered(5000, self.allowance.connections)
        assert self.allowance.connections == self.most
        assert self.allowance.complained(self.most, 0)

    @invariant()
    def within_bounds(self) -> None:
        if hasattr(self, "allowance"):
            assert 1 <= self.allowance.connections <= self.most


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("truth", [1, 2, 5, 13])
def test_it_finds_what_a_server_takes_and_stays_near(truth: int) -> None:
    """A server that refuses one connection too many: no more attempts than are of use, and no less than it takes."""
    allowance = Allowance(20)
    open_now = attempts = 0
    for _ in range(50_000):
        while open_now < allowance.connections:
            attempts += 1
            if open_now < truth:
                open_now += 1
            else:
                allowance.refused(open_now)
        allowance.answered(1, open_now)
    assert open_now == truth
    assert attempts < truth + 70  # one in a thousand messages, in the end
