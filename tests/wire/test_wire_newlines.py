"""CRLF and nothing else, for any content in any chunks."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.wire import BareNewlines, NewlineNormalizer, has_bare_newline, normalize_newlines

contents = st.text("a.\r\n", max_size=30).map(str.encode) | st.binary(max_size=30)

LARGE = b"x" * 65_530  # what follows lies at the end of the stretch that is looked at, and behind it

TABLE = [
    (b"", b""),
    (b"a", b"a"),
    (b"a\r\n", b"a\r\n"),
    (b"a\n", b"a\r\n"),
    (b"a\r", b"a\r\n"),
    (b"\n\n", b"\r\n\r\n"),
    (b"\r\r", b"\r\n\r\n"),
    (b"\n\r", b"\r\n\r\n"),
    (b"\r\r\n", b"\r\n\r\n"),
    (b"\r\n\n", b"\r\n\r\n"),
    (b"\r\n\r", b"\r\n\r\n"),
    (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd"),
]


def normalize(chunks: list[bytes]) -> bytes:
    normalizer = NewlineNormalizer()
    return b"".join([*map(normalizer.feed, chunks), normalizer.finish()])


@pytest.mark.parametrize(("content", "normalized"), TABLE)
def test_the_table(content: bytes, normalized: bytes) -> None:
    assert normalize_newlines(content) == normalized
    assert has_bare_newline(content) is (content != normalized)
    assert normalize([content]) == normalize([bytes([octet]) for octet in content]) == normalized


@given(contents, st.lists(st.integers(0, 30)))
def test_any_content_in_any_chunks(content: bytes, cuts: list[int]) -> None:
    normalized = normalize_newlines(content)
    # said in another way: what lies between line endings is kept, and each line ending becomes CRLF
    assert normalized == b"\r\n".join(re.split(rb"\r\n|\r|\n", content))
    assert has_bare_newline(content) is bool(re.search(rb"\r(?!\n)|(?<!\r)\n", content))
    assert has_bare_newline(LARGE + content) is has_bare_newline(content)
    assert not has_bare_newline(normalized)
    edges = [0, *sorted(cuts), len(content)]
    normalizer = NewlineNormalizer()
    pieces = [normalizer.feed(content[a:b]) for a, b in itertools.pairwise(edges) if a <= b]
    pieces.append(normalizer.finish())
    assert b"".join(pieces) == normalized
    assert normalizer.repaired is has_bare_newline(content)
    assert normalizer.finish() == b""


def test_nothing_to_do_costs_no_copy() -> None:
    content = b"a\r\nb\r\n"
    assert normalize_newlines(content) is content
    assert NewlineNormalizer().feed(content) is content


def test_a_trailing_cr_waits_for_what_follows() -> None:
    normalizer = NewlineNormalizer()
    assert normalizer.feed(b"a\r") == b"a"
    assert normalizer.feed(b"\nb") == b"\r\nb"
    assert not normalizer.repaired
    assert normalizer.feed(b"\r") == b""
    assert normalizer.feed(b"c") == b"\r\nc"
    assert normalizer.repaired


def test_policies() -> None:
    assert [policy.value for policy in BareNewlines] == ["reject", "normalize"]
