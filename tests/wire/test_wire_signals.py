"""The names shared by protocol objects."""

from __future__ import annotations

from asyncmail.wire import Direction, Signal


def test_signals_and_directions_are_told_apart_by_identity() -> None:
    assert Signal.NEED_DATA is not Signal.PAUSED
    assert Direction("sent") is Direction.SENT
