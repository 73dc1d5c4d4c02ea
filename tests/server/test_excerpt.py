"""What TOP takes off a message."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.server.excerpt import Excerpt

MESSAGE = b"Subject: x\r\nTo: y\r\n\r\n1\r\n2\r\n\r\n4\r\n"


def by_definition(content: bytes, lines: int) -> bytes:
    """Header, blank line and lines, a line at a time."""
    split = content.split(b"\r\n")
    if b"" not in split[:-1]:
        return content
    end = split.index(b"") + 1 + lines
    return content if end >= len(split) else b"".join(line + b"\r\n" for line in split[:end])


@pytest.mark.parametrize("lines", range(6))
@pytest.mark.parametrize(
    "content", [MESSAGE, b"\r\nbody\r\n", b"header only\r\n", b"\r\n", b"", b"a\r\n\r\n"]
)
def test_an_excerpt(content: bytes, lines: int) -> None:
    assert Excerpt(lines).take(content) == by_definition(content, lines)


@given(
    st.lists(st.sampled_from([b"a", b"\r\n", b"\r\n\r\n", b"bb\r\n"])).map(b"".join),
    st.integers(0, 6),
    st.sets(st.integers(0, 30)),
)
def test_any_split_gives_the_same_excerpt(content: bytes, lines: int, cuts: set[int]) -> None:
    marks = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    excerpt = Excerpt(lines)
    taken = b"".join(excerpt.take(content[a:b]) for a, b in itertools.pairwise(marks))
    assert taken == by_definition(content, lines)
    if excerpt.is_complete:
        assert excerpt.take(b"more") == b""
