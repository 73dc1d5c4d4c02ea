from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.address.encoded_words import decode_words, encode_words


def decode(text: str) -> str:
    return decode_words((word, False) for word in text.split(" "))


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("Jörg", "=?utf-8?q?J=C3=B6rg?="),
        ("Jörg Q. Public", "=?utf-8?q?J=C3=B6rg_Q=2E_Public?="),
        ("_=?ü", "=?utf-8?b?Xz0/w7w=?="),
        ("山田", "=?utf-8?b?5bGx55Sw?="),
        (" ü ", "=?utf-8?q?_=C3=BC_?="),
        ("é" * 23, f"=?utf-8?b?{'w6nDqcOp' * 7}w6k=?= =?utf-8?b?w6k=?="),
    ],
)
def test_encode_and_decode(text: str, encoded: str) -> None:
    assert encode_words(text) == encoded
    assert decode(encoded) == text


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1))
def test_any_text_survives(text: str) -> None:
    encoded = encode_words(text)
    assert encoded.isascii()
    assert all(len(word) <= 75 for word in encoded.split(" "))
    assert decode(encoded) == text


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1))
def test_the_standard_library_reads_it(text: str) -> None:
    assert str(make_header(decode_header(encode_words(text)))) == text


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        ("plain words", "plain words"),
        ("=?iso-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
        ("Pirard =?iso-8859-1?Q?Andr=e9?=", "Pirard André"),
        ("=?us-ascii*en-US?q?a_b?=", "a b"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= =?iso-8859-1?q?=E9?= c =?utf-8?q?d?=", "aé c d"),
        # one character in two encoded words
        ("=?utf-8?q?=C3?= =?UTF8?b?vA?=", "ü"),
        ("=?utf-8?b?w7w?=", "ü"),
        ("=?utf-8?b?w7w==?=", "ü"),
        ("=?utf-8?q?=ZZ=4?=", "=ZZ=4"),
        ("=?utf-8?q?=FF?=", "\ufffd"),
        ("=?utf-8?q??=", ""),
        # left as they are
        ("=?utf-8?b?w7w?w?=", "=?utf-8?b?w7w?w?="),
        ("=?utf-8?b?w?=", "=?utf-8?b?w?="),
        ("=?utf-8?x?w?=", "=?utf-8?x?w?="),
        ("=?nonsense?q?w?=", "=?nonsense?q?w?="),
        ("=?hex?q?w?=", "=?hex?q?w?="),
        ("=?rot13?q?w?=", "=?rot13?q?w?="),
        ("=?idna?q?w?=", "=?idna?q?w?="),
        ("=?punycode?q?w?=", "=?punycode?q?w?="),
        ("=?unicode_escape?q?=5Cn?=", "=?unicode_escape?q?=5Cn?="),
        ("=?raw_unicode_escape?q?w?=", "=?raw_unicode_escape?q?w?="),
        ("=?undefined?q?w?=", "=?undefined?q?w?="),
        (f"=?{'x' * 5000}?q?w?=", f"=?{'x' * 5000}?q?w?="),
        ("=?a/../b?q?w?=", "=?a/../b?q?w?="),
        ("x=?utf-8?q?w?=", "x=?utf-8?q?w?="),
        ("=?utf-8?q?wü?=", "=?utf-8?q?wü?="),
    ],
)
def test_decode(encoded: str, text: str) -> None:
    assert decode(encoded) == text


def test_nothing_is_encoded_between_quotes() -> None:
    assert decode_words([("=?utf-8?q?a?=", False), ("=?utf-8?q?a?=", True)]) == "a =?utf-8?q?a?="


@given(st.sampled_from(["utf-8", "utf-16", "utf-7", "iso-2022-jp", "gb18030", "charmap", "hz"]), st.binary())
def test_octets_that_a_charset_lacks_are_no_error(charset: str, octets: bytes) -> None:
    word = f"=?{charset}?q?{''.join(f'={octet:02x}' for octet in octets)}?="
    assert isinstance(decode(word), str)
