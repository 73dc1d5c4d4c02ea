"""Transparency both ways, for any content and any split of the stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.wire import DotStuffer, DotUnstuffer, find_dot_line

contents = st.text("a.\r\n", max_size=30).map(str.encode) | st.binary(max_size=30)

# content, the same octets dot-stuffed, and the end of content that goes with them
TABLE = [
    (b"", b"", b".\r\n"),
    (b"a\r\n", b"a\r\n", b".\r\n"),
    (b"a", b"a", b"\r\n.\r\n"),
    (b"a\r", b"a\r", b"\r\n.\r\n"),
    (b"a\n", b"a\n", b"\r\n.\r\n"),
    (b"\r\n", b"\r\n", b".\r\n"),
    (b"\r\n\r\n", b"\r\n\r\n", b".\r\n"),
    (b".", b"..", b"\r\n.\r\n"),
    (b".\r\n", b"..\r\n", b".\r\n"),
    (b"..\r\n", b"...\r\n", b".\r\n"),
    (b".a\r\n.b\r\n", b"..a\r\n..b\r\n", b".\r\n"),
    (b"a\r\n.\r\n", b"a\r\n..\r\n", b".\r\n"),
    (b"a\r\n.\r\n.\r\n..", b"a\r\n..\r\n..\r\n...", b"\r\n.\r\n"),
    (b"a.\r\nb.c\r\n", b"a.\r\nb.c\r\n", b".\r\n"),
    (b"a\n.\r\n", b"a\n.\r\n", b".\r\n"),
    (b"a\r.\r\n", b"a\r.\r\n", b".\r\n"),
]


def stuff(chunks: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([*map(stuffer.encode, chunks), stuffer.finish()])


def unstuff(segments: list[bytes]) -> tuple[bytes, bytes]:
    """The content in `segments`, which must hold its end, and the octets after it."""
    unstuffer, data = DotUnstuffer(), b""
    content = []
    for segment in segments:
        data += segment
        if not unstuffer.finished:
            piece, taken = unstuffer.take(data, 0)
            content.append(piece)
            data = data[taken:]
    assert unstuffer.finished
    return b"".join(content), data


def singly(data: bytes) -> list[bytes]:
    return [bytes([octet]) for octet in data]


def cut(data: bytes, draw: st.DataObject) -> list[bytes]:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize(("content", "stuffed", "end"), TABLE)
@pytest.mark.parametrize("trailer", [b"", b"QUIT\r\n", b".\r\n", b"\r\n.\r\n"])
def test_the_table_both_ways(content: bytes, stuffed: bytes, end: bytes, trailer: bytes) -> None:
    wire = stuffed + end
    received = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert stuff([content]) == stuff(singly(content)) == stuff([b"", content, b""]) == wire
    assert unstuff([wire + trailer]) == (received, trailer)
    assert unstuff(singly(wire)) == (received, b"")
    assert unstuff([wire, trailer]) == (received, trailer)


@given(contents, contents, st.data())
def test_any_content_in_any_chunks_and_segments(content: bytes, trailer: bytes, data: st.DataObject) -> None:
    wire = stuff([content])
    assert stuff(singly(content)) == stuff(cut(content, data)) == wire
    received = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert unstuff([wire + trailer]) == (received, trailer)
    assert unstuff(singly(wire)) == (received, b"")
    assert unstuff(cut(wire, data)) == (received, b"")
    assert wire.find(b"\r\n.\r\n") in (-1, len(wire) - 5)


@given(contents, st.data())
def test_whoever_wrote_it_the_end_is_the_first_crlf_dot_crlf(wire: bytes, data: st.DataObject) -> None:
    wire = wire + b"\r\n.\r\n"
    end = (b"\r\n" + wire).index(b"\r\n.\r\n")
    lines = wire[:end].split(b"\r\n")
    content = b"\r\n".join([line.removeprefix(b".") for line in lines])
    assert unstuff([wire]) == (content, wire[end + 3 :])
    content_end = wire[: end + 3]
    assert unstuff(cut(content_end, data)) == unstuff(singly(content_end)) == (content, b"")


@given(contents, st.data())
def test_no_piece_ends_within_a_line_ending_or_a_possible_end(content: bytes, data: st.DataObject) -> None:
    unstuffer, received, start = DotUnstuffer(), b"", 0
    for segment in cut(stuff([content]), data):
        received += segment
        if not unstuffer.finished:
            piece, start = unstuffer.take(received, start)
            following = received[start : start + 1]
            if piece and not unstuffer.finished:
                assert not (piece.endswith(b"\r") and following in (b"", b"\n"))
                assert not (piece.endswith(b"\r\n") and following in (b"", b"."))
        assert unstuffer.finished or len(received) - start <= 4
        assert unstuffer.finished or unstuffer.take(received, start) == (b"", start)


def test_a_dot_that_begins_a_line_across_chunks() -> None:
    assert (
        stuff([b"a\r", b"\n.b"])
        == stuff([b"a\r\n", b".b"])
        == stuff([b"a\r\n.", b"b"])
        == b"a\r\n..b\r\n.\r\n"
    )
    assert stuff([b"a\r", b".\n", b".b\n", b".\r\n"]) == b"a\r.\n.b\n.\r\n.\r\n"


def test_nothing_to_stuff_costs_no_copy() -> None:
    chunk = b"line\r\n" * 100
    stuffer = DotStuffer()
    assert stuffer.encode(chunk) is chunk
    assert stuffer.encode(b"") == b""


def test_content_without_an_end_is_not_finished() -> None:
    unstuffer = DotUnstuffer()
    assert unstuffer.take(b"", 0) == (b"", 0)
    assert unstuffer.take(b"a\r\n.\r", 0) == (b"a", 1)
    assert unstuffer.take(b"\r\n.\r", 0) == (b"", 0)
    assert not unstuffer.finished


def test_nothing_to_unstuff_is_searched_once_and_copied_once() -> None:
    content = b"line\r\n" * 100
    assert DotUnstuffer().take(b"DATA\r\n" + content + b".\r\nQUIT\r\n", 6) == (content, 609)


@given(
    st.lists(st.sampled_from([b"x" * 100, b"." * 300, b"\r\n", b"\r\n.", b"a.b", b"\n."]), max_size=40),
    st.integers(0, 600),
)
def test_a_line_that_begins_with_a_dot_is_found_as_a_plain_search_finds_it(
    pieces: list[bytes], start: int
) -> None:
    data = b"".join(pieces)
    assert find_dot_line(data, start) == data.find(b"\r\n.", start)
