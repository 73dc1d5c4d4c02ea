"""Dropping octets unread, and the names shared by protocol objects."""

from __future__ import annotations

from asyncmail.wire import Direction, ReceiveBuffer, Signal


def test_skip_drops_what_is_there() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b".\r\nrest\r\n")
    buffer.skip(3)
    assert buffer.take_line(100, "line") == b"rest\r\n"
    assert len(buffer) == 0


def test_signals_and_directions_are_told_apart_by_identity() -> None:
    assert Signal.NEED_DATA is not Signal.PAUSED
    assert Direction("sent") is Direction.SENT
