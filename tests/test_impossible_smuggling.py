"""The end of content is CRLF . CRLF: no other octets end it, and no content that is sent holds them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncmail.wire import DotStuffer, DotUnstuffer, NewlineNormalizer

NEWLINES = [
    *(b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r", b"\n\n", b"\r\r\n", b"\r\n\r"),
    *(b"\r\x00\n", b"\x00\r\n", b"\r\n\x00", b"\x00", b"\r\n ", b"\r\n\t", b""),
    *(b"\x0b", b"\x0c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8"),
]
TRUE_END = b"\r\n.\r\n"
DOTS = [b".", b"..", b"\x00.", b".\x00", b" .", b". "]
SMUGGLED = b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nsmuggled\r\n"


def receive(segments: list[bytes]) -> tuple[bytes, bool, bytes]:
    """Content, whether it ended, and what came after."""
    unstuffer, unread = DotUnstuffer(), b""
    content = b""
    for segment in segments:
        unread += segment
        if not unstuffer.finished:
            piece, taken = unstuffer.take(unread, 0)
            content += piece
            unread = unread[taken:]
    return content, unstuffer.finished, unread


def singly(data: bytes) -> list[bytes]:
    return [bytes([octet]) for octet in data]


def as_a_client_sends_it(chunks: list[bytes]) -> bytes:
    normalizer, stuffer = NewlineNormalizer(), DotStuffer()
    pieces = [stuffer.encode(normalizer.feed(chunk)) for chunk in chunks]
    return b"".join([*pieces, stuffer.encode(normalizer.finish()), stuffer.finish()])


def ends_for_a_lenient_peer(wire: bytes) -> list[int]:
    """Where content ends for a peer that takes any mix of CR and LF around a lone dot for its end."""
    ends = []
    start = 0
    for line in wire.replace(b"\r", b"\n").split(b"\n"):
        if line == b".":
            ends.append(start)
        start += len(line) + 1
    return ends


@pytest.mark.parametrize("before", NEWLINES)
def test_nothing_else_ends_content(before: bytes) -> None:
    for false_end in map(b"".join, itertools.product([before], DOTS, NEWLINES)):
        if TRUE_END in false_end:
            continue
        # "x" keeps the octets around it from joining with it.
        start, end = b"first\r\nx" + false_end, b"x" + SMUGGLED
        for segments in ([start + end], [start, end], singly(start + end), [b"first\r\nx", false_end, end]):
            assert not receive(segments)[1]
        for segments in (
            [start + end + TRUE_END + b"QUIT\r\n"],
            [*singly(start + end + TRUE_END), b"QUIT\r\n"],
        ):
            content, ended, rest = receive(segments)
            assert ended
            assert rest == b"QUIT\r\n"
            assert content.endswith(end + b"\r\n")


@pytest.mark.parametrize("first", [b"", b"first", b"first\r\n", b"first\n", b"first\r"])
def test_the_true_end_ends_content(first: bytes) -> None:
    for segments in ([first + TRUE_END + SMUGGLED], [*singly(first + TRUE_END), SMUGGLED]):
        assert receive(segments) == (first + b"\r\n", True, SMUGGLED)


def test_a_lone_dot_right_after_the_command_is_the_end_of_empty_content() -> None:
    assert (
        receive([b".\r\nQUIT\r\n"]) == receive([*singly(b".\r\n"), b"QUIT\r\n"]) == (b"", True, b"QUIT\r\n")
    )
    for not_an_end in (b".\n", b".\r", b".\r\x00\n", b"..\r\n", b"\n.\r\n", b"\r.\r\n", b".\r\r\n"):
        assert receive([not_an_end + b"x"])[1] is False


@pytest.mark.parametrize("before", NEWLINES)
def test_what_a_client_sends_ends_once_for_strict_and_lenient_peers(before: bytes) -> None:
    for after in NEWLINES:
        content = b"first" + before + b"." + after + SMUGGLED
        for chunks in ([content], singly(content)):
            wire = as_a_client_sends_it(chunks)
            assert (b"\r\n" + wire).index(TRUE_END) == len(wire) - 3
            assert ends_for_a_lenient_peer(wire) == [len(wire) - 3]


@given(st.lists(st.text("a.\r\n\0", max_size=8).map(str.encode) | st.binary(max_size=8)))
@example([b"\r", b"\n", b".", b"\r", b"\n"])
@example([b".", b"\n"])
@example([b"a\n.\r", b".\n"])
def test_no_content_ends_early_however_it_is_cut(chunks: list[bytes]) -> None:
    wire = as_a_client_sends_it(chunks)
    assert ends_for_a_lenient_peer(wire) == [len(wire) - 3]
    content, ended, rest = receive([wire + SMUGGLED])
    assert ended
    assert rest == SMUGGLED
    sent = b"".join(chunks).replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert content == (sent if sent.endswith(b"\r\n") or not sent else sent + b"\r\n")
