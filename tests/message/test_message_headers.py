from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.address import Address
from asyncmail.errors import MessageError
from asyncmail.message.headers import check_field, encode_mailbox, encode_phrase, encode_text, fold, unfold

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def read(field: str, name: str) -> str:
    return str(message_from_bytes(field.encode() + b"\r\n", policy=default)[name])


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "Subject: \r\n"),
        ("Hello", "Subject: Hello\r\n"),
        ("two  spaces = fine", "Subject: two  spaces = fine\r\n"),
        ("Grüße an alle", "Subject: =?utf-8?b?R3LDvMOfZQ==?= an alle\r\n"),
        ("an alle: Grüße", "Subject: an alle: =?utf-8?b?R3LDvMOfZQ==?=\r\n"),
        ("é and é", "Subject: =?utf-8?q?=C3=A9_and_=C3=A9?=\r\n"),
        ("=?utf-8?q?literal?=", "Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Fliteral=3F=3D?=\r\n"),
        (" both ends ", "Subject: =?utf-8?q?_both_ends_?=\r\n"),
        ("a\tb", "Subject: =?utf-8?q?a=09b?=\r\n"),
        ("a\r\nBcc: x", "Subject: =?utf-8?q?a=0D=0ABcc=3A?= x\r\n"),
    ],
)
def test_text(text: str, field: str) -> None:
    assert encode_text("Subject", text) == field


def test_utf8_text() -> None:
    assert encode_text("Subject", "Grüße an alle", utf8=True) == "Subject: Grüße an alle\r\n"
    assert encode_text("Subject", "Grüße\x01 an", utf8=True) == "Subject: =?utf-8?b?R3LDvMOfZQE=?= an\r\n"


@given(ANY)
def test_text_round_trip(text: str) -> None:
    field = encode_text("Subject", text)
    assert field.isascii()
    lines = field.split("\r\n")
    assert lines.pop() == ""
    assert all(line[0] in " \t" and not line.isspace() for line in lines[1:])
    assert all("\r" not in line and "\n" not in line for line in lines)
    assert all(len(line) <= 76 for line in lines if "=?" in line)
    expected = text.replace("\r", "").replace("\n", "")  # the standard library drops them when it decodes
    assert read(field, "Subject").replace("\r", "").replace("\n", "") == expected


@given(PRINTABLE)
def test_utf8_text_round_trip(text: str) -> None:
    field = encode_text("Subject", text, utf8=True)
    assert all(len(line.encode()) <= 998 for line in field.split("\r\n"))
    assert str(default.header_factory("Subject", field.removeprefix("Subject: ").replace("\r\n", ""))) == text


@given(PRINTABLE.map(str.strip).filter(bool), st.booleans())
def test_phrase_round_trip(name: str, utf8: bool) -> None:
    value = encode_mailbox(name, "a@example.com", utf8=utf8)
    assert utf8 or value.isascii()
    assert Address.parse(value).display_name == name
    (address,) = default.header_factory("To", value).addresses
    # The standard library drops some spaces of a phrase, and adds one between encoded words.
    assert "".join(address.display_name.split()) == "".join(name.split())
    assert address.addr_spec == "a@example.com"


def test_phrase() -> None:
    assert encode_phrase("Jane Doe") == "Jane Doe"
    assert encode_phrase('Doe, "J"') == r'"Doe, \"J\""'
    assert encode_phrase("Jürgen") == "=?utf-8?q?J=C3=BCrgen?="
    assert encode_phrase("Jürgen", utf8=True) == "Jürgen"
    assert encode_phrase("Jürgen, X", utf8=True) == '"Jürgen, X"'
    assert encode_phrase("=?x") == "=?utf-8?b?PT94?="
    assert encode_mailbox("", "a@b.c") == "a@b.c"


def test_long_words_are_not_encoded() -> None:
    uri = "<https://example.com/" + "u" * 300 + ">"
    field = encode_text("List-Unsubscribe", uri)
    assert field == f"List-Unsubscribe: {uri}\r\n"
    assert fold(f"References: <{'a' * 60}@b> <{'c' * 60}@d>") == (
        f"References: <{'a' * 60}@b>\r\n <{'c' * 60}@d>\r\n"
    )
    assert fold(f"X: {'a' * 77} b") == f"X: {'a' * 77}\r\n b\r\n"


def test_words_too_long_for_a_line_are_encoded() -> None:
    field = encode_text("Subject", "a " + "b" * 1000)
    assert max(map(len, field.split("\r\n"))) <= 76
    assert read(field, "Subject") == "a " + "b" * 1000


def test_fold_keeps_runs_of_spaces_together() -> None:
    text = "x" * 60 + "   " + "y" * 30 + " z"
    assert fold(f"Subject: {text}") == f"Subject: {'x' * 60}   {'y' * 30}\r\n z\r\n"
    assert fold("Subject: " + "x" * 80 + " ") == "Subject: " + "x" * 80 + " \r\n"


def test_fold_refuses_endless_words() -> None:
    with pytest.raises(MessageError, match="998"):
        fold(f"To: {'a' * 1000}@example.com")
    assert len(fold("To: " + "a" * 900)) == 906


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("A B", "x"),
        ("A:", "x"),
        ("Ä", "x"),
        ("A", "x\r\nB: y"),
        ("A", "x\ny"),
        ("A", "\0"),
        ("A", "\ud800"),
    ],
)
def test_check_field_refuses(name: str, value: str) -> None:
    with pytest.raises(MessageError):
        check_field(name, value)


def test_check_field() -> None:
    check_field("X-Any", "ä\tb")


def test_unfold() -> None:
    assert unfold("a\r\n b") == "a b"
    assert unfold(b"\xc3\xa4".decode("ascii", "surrogateescape")) == "ä"
    assert unfold(b"\xff".decode("ascii", "surrogateescape")) == "\ufffd"
