"""What text may become part of a line, and xtext."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import LocalProtocolError
from asyncmail.wire import decode_xtext, encode_argument, encode_xtext

CONTROL = [chr(code) for code in [*range(0x20), 0x7F]]


@pytest.mark.parametrize("control", CONTROL)
def test_no_control_character_gets_into_a_line(control: str) -> None:
    for text in (control, f"a{control}", f"{control}a", f"a{control}RCPT TO:<b@example.com>"):
        with pytest.raises(LocalProtocolError, match="the argument") as caught:
            encode_argument(text, "the argument")
        assert str(caught.value).isprintable()
        assert caught.value.cure


@given(st.text())
def test_what_is_encoded_stays_on_its_line(text: str) -> None:
    try:
        encoded = encode_argument(text, "text")
    except LocalProtocolError as error:
        assert any(c in text for c in CONTROL) or any("\ud800" <= c <= "\udfff" for c in text)
        assert str(error).isprintable()
    else:
        assert encoded.decode() == text
        assert not set(encoded) & {*range(0x20), 0x7F}


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="cannot be encoded"):
        encode_argument("a\udcff", "text")
    with pytest.raises(LocalProtocolError, match="cannot be encoded"):
        encode_xtext("a\udcff")


@pytest.mark.parametrize(
    ("value", "xtext"),
    [
        ("", ""),
        ("plain!*,<>~", "plain!*,<>~"),
        ("+", "+2B"),
        ("=", "+3D"),
        ("a b\r\n", "a+20b+0D+0A"),
        ("\x7f\x00", "+7F+00"),
        ("ü", "+C3+BC"),
    ],
)
def test_xtext_both_ways(value: str, xtext: str) -> None:
    assert encode_xtext(value) == xtext
    assert decode_xtext(xtext) == value


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_any_value_survives_xtext(value: str) -> None:
    xtext = encode_xtext(value)
    assert all("!" <= c <= "~" and c != "=" for c in xtext)
    assert decode_xtext(xtext) == value


@pytest.mark.parametrize("text", ["+", "+2", "+2b", "+GG", "a=b", "a b", "ü", "\x7f", "+FF", "a\n", "\udcff"])
def test_what_is_not_xtext(text: str) -> None:
    with pytest.raises(ValueError):
        decode_xtext(text)


@given(st.text())
def test_decoding_fails_in_one_way(text: str) -> None:
    try:
        value = decode_xtext(text)
    except ValueError:
        return
    assert decode_xtext(encode_xtext(value)) == value
