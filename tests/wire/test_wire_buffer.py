"""The receive buffer against a plain byte string that does the same the slow way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asyncmail.errors import LimitExceeded
from asyncmail.wire import ReceiveBuffer

octets = st.binary(max_size=12) | st.text("ab.\r\n", max_size=12).map(str.encode)


class BufferMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = ReceiveBuffer()
        self.model = b""

    @rule(data=octets, kind=st.sampled_from([bytes, bytearray, memoryview]))
    def append(self, data: bytes, kind: type) -> None:
        self.buffer.append(kind(data))
        self.model += data

    @rule()
    def append_much(self) -> None:
        data = b"x" * 40_000 + b"\r\n"
        self.buffer.append(data)
        self.model += data

    @rule(limit=st.integers(0, 20) | st.just(100_000))
    def take_line(self, limit: int) -> None:
        line, newline, rest = self.model.partition(b"\n")
        if len(line + newline) > limit:
            with pytest.raises(LimitExceeded) as caught:
                self.buffer.take_line(limit, "a_limit")
            assert (caught.value.limit, caught.value.maximum) == ("a_limit", limit)
        elif newline:
            assert self.buffer.take_line(limit, "a_limit") == line + newline
            self.model = rest
        else:
            assert self.buffer.take_line(limit, "a_limit") is None

    @rule()
    def skip_line(self) -> None:
        _, newline, self.model = self.model.partition(b"\n")
        assert self.buffer.skip_line() is bool(newline)

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        self.model = b""

    @invariant()
    def same_length(self) -> None:
        assert len(self.buffer) == len(self.model)
        assert repr(self.buffer) == f"<ReceiveBuffer {len(self.model)} octets>"


BufferMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
TestBuffer = BufferMachine.TestCase


@given(st.lists(st.text("ab\r", max_size=5).map(lambda line: f"{line}\n".encode())), st.data())
def test_lines_come_out_however_they_came_in(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    trailer = data.draw(st.sampled_from([b"", b"no end", b"\r"]))
    whole = [stream + trailer]
    single = [bytes([octet]) for octet in stream + trailer]
    split = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)] + [trailer]
    for segments in (whole, single, split):
        buffer = ReceiveBuffer()
        taken = []
        for segment in segments:
            buffer.append(segment)
            while (line := buffer.take_line(6, "line")) is not None:
                taken.append(line)
        assert taken == lines
        assert len(buffer) == len(trailer)


def test_the_limit_counts_the_line_ending() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"12345\r\n12345\r\n")
    assert buffer.take_line(7, "line") == b"12345\r\n"
    with pytest.raises(LimitExceeded, match="line=6"):
        buffer.take_line(6, "line")
    assert buffer.skip_line()
    buffer.append(b"123456")
    assert buffer.take_line(6, "line") is None
    buffer.append(b"7")
    with pytest.raises(LimitExceeded):
        buffer.take_line(6, "line")


def test_many_small_lines_are_dropped_on_the_way() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"1234567\n" * 20_000)
    for _ in range(20_000):
        assert buffer.take_line(8, "line") == b"1234567\n"
    assert buffer.take_line(8, "line") is None
