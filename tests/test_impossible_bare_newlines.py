"""A server and whoever reads its messages see the same lines: bare CR and bare LF are refused, or made CRLF.

The messages of Longin's "SMTP smuggling", and BDAT, which needs no end of content and so lets any octets through.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncmail.smtp import (
    CommandReceived,
    ContentEnded,
    ContentReceived,
    Quit,
    ServerEvent,
    ServerOffer,
    ServerProtocol,
    ServerState,
)
from asyncmail.wire import BareNewlines, normalize_newlines
from smtp_talk import codes, cut, octet_by_octet, sent, server_in, told

REJECT = ServerOffer(bare_newlines=BareNewlines.REJECT)
NORMALIZE = ServerOffer(bare_newlines=BareNewlines.NORMALIZE)
LMTP = ServerOffer(bare_newlines=BareNewlines.REJECT, lmtp=True)

SMUGGLED = b"MAIL FROM:<admin@mx.example>\r\nRCPT TO:<victim@mx.example>\r\nDATA\r\nsmuggled"
FALSE_ENDS = [
    before + b"." + after
    for before, after in itertools.product([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r"], repeat=2)
    if (before[-2:], after[:2]) != (b"\r\n", b"\r\n")
] + [b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\r\n.\n", b"\n.\r\r\n", b"\r\n..\r\n"]


def receive(octets: list[bytes], offer: ServerOffer) -> tuple[bytes, list[ServerEvent], ServerProtocol]:
    """The content that the server hands on, the events behind it, and the server."""
    protocol = server_in(ServerState.RECIPIENTS, offer)
    events = told(protocol, *octets)
    content = b"".join(event.data for event in events if isinstance(event, ContentReceived))
    return content, [event for event in events if not isinstance(event, ContentReceived)], protocol


def messages(events: list[ServerEvent]) -> list[ContentEnded]:
    return [event for event in events if isinstance(event, ContentEnded)]


@pytest.mark.parametrize("how", ["whole", "octets"])
@pytest.mark.parametrize("offer", [REJECT, NORMALIZE, LMTP], ids=["reject", "normalize", "lmtp"])
@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_nothing_but_the_true_end_ends_data(false_end: bytes, offer: ServerOffer, how: str) -> None:
    content = b"Subject: innocent\r\n\r\nhello" + false_end + SMUGGLED
    octets = b"DATA\r\n" + content + b"\r\n.\r\nQUIT\r\n"
    received, events, protocol = receive([octets] if how == "whole" else octet_by_octet(octets), offer)
    (ended,) = messages(events)  # one message, and nobody was smuggled in
    assert events[-1] == CommandReceived(Quit())
    replies = sent(protocol).decode().splitlines()
    unstuffed = content.replace(b"\r\n.", b"\r\n")  # after true line endings only
    has_bare_newlines = normalize_newlines(unstuffed) != unstuffed
    if offer is NORMALIZE:
        assert ended.refusal is None
        assert received == normalize_newlines(unstuffed) + b"\r\n"
        assert replies[-2:] == ["250 2.6.0 Message accepted", "221 2.0.0 Goodbye"]
    else:
        assert (ended.refusal is not None) is has_bare_newlines
        code = "550 5.6.0" if has_bare_newlines else "250 2.6.0"
        assert replies[-2].startswith(code)


@pytest.mark.parametrize("how", ["whole", "octets"])
@pytest.mark.parametrize(
    "content", [b"a\nb", b"a\rb", b"\n", b"\r", b"a\r", b"\n.\n", b"a\r\r\n", b"\r\n\n", b"a\n"]
)
def test_chunks_with_bare_newlines(content: bytes, how: str) -> None:
    """The last octet of one chunk and the first of the next may be two halves of a CRLF, or not."""
    for cuts in ([len(content)], [1, len(content) - 1], [1] * len(content)):
        octets, start = b"", 0
        for size in cuts:
            octets += b"BDAT %d\r\n" % size + content[start : start + size]
            start += size
        octets += b"BDAT 0 LAST\r\nQUIT\r\n"
        pieces = [octets] if how == "whole" else octet_by_octet(octets)

        received, events, protocol = receive(pieces, NORMALIZE)
        assert received == normalize_newlines(content)
        assert messages(events) == [ContentEnded()]
        assert events[-1] == CommandReceived(Quit())

        _, events, protocol = receive(pieces, REJECT)
        (ended,) = messages(events)
        assert ended.refusal is not None
        assert ended.refusal.code == 550
        assert events[-1] == CommandReceived(Quit())
        replies = sent(protocol).split(b"\r\n")
        # What follows a chunk that was refused belongs to no transaction (RFC 3030 §2).
        assert [reply[:3] for reply in replies[:-1]].count(b"550") == 1
        assert {reply[:3] for reply in replies[:-1]} <= {b"250", b"550", b"503", b"221"}


def test_the_octets_of_a_chunk_are_no_commands_and_no_end() -> None:
    content = b"hello\r\n.\r\n" + SMUGGLED + b"\r\n.\r\n"
    octets = b"BDAT %d LAST\r\n" % len(content) + content + b"QUIT\r\n"
    for offer in (REJECT, NORMALIZE):
        received, events, _ = receive([octets], offer)
        assert received == content
        assert events == [ContentEnded(), CommandReceived(Quit())]


def test_a_refused_message_is_gone() -> None:
    """Nothing of it gets into the next one."""
    for octets in (b"DATA\r\nbad\nline\r\n.\r\n", b"BDAT 8 LAST\r\nbad\nline", b"BDAT 9\r\nbad\nline\r"):
        protocol = server_in(ServerState.RECIPIENTS, REJECT)
        assert codes(protocol, octets)[-1] == "550 5.6.0"
        events = told(protocol, b"MAIL FROM:<>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\ngood\r\n.\r\n")
        assert events[-2:] == [ContentReceived(b"good\r\n"), ContentEnded()]


newlines = st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"."])


@given(st.lists(newlines, max_size=20).map(b"".join), st.sets(st.integers(1, 40)), st.booleans())
@example(b"\n.\n", set(), True)
def test_what_is_handed_on_has_whole_lines_or_is_refused(
    content: bytes, cuts: set[int], chunked: bool
) -> None:
    octets = b"DATA\r\n" + content + b"\r\n.\r\n"
    if chunked:
        octets = b"BDAT %d LAST\r\n%b" % (len(content), content)
    for offer in (REJECT, NORMALIZE):
        received, events, _ = receive(cut(octets, cuts), offer)
        ended = messages(events)[0]
        if ended.refusal is None:
            assert normalize_newlines(received) == received
            if chunked:
                assert received == normalize_newlines(content)
            if offer is REJECT and chunked:
                assert received == content
        else:
            assert offer is REJECT
            assert normalize_newlines(content) != content or not chunked
