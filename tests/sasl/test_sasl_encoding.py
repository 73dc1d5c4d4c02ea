from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import AuthenticationError
from asyncmail.sasl import (
    CANCEL,
    decode_base64,
    decode_initial_response,
    encode_base64,
    encode_initial_response,
)

VECTORS = [  # RFC 4648 §10
    (b"", b""),
    (b"f", b"Zg=="),
    (b"fo", b"Zm8="),
    (b"foo", b"Zm9v"),
    (b"foob", b"Zm9vYg=="),
    (b"fooba", b"Zm9vYmE="),
    (b"foobar", b"Zm9vYmFy"),
    (b"\xff\xef\xbe", b"/+++"),
]


@pytest.mark.parametrize(("data", "text"), VECTORS)
def test_both_ways(data: bytes, text: bytes) -> None:
    assert encode_base64(data) == text
    assert decode_base64(text) == data
    assert decode_base64(text.decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        b"Zg",
        b"Zg=",
        b"Zg===",
        b"Zh==",  # bits that stand for nothing
        b"Zg==Zg==",
        b"Zm 9v",
        b"Zm9v\r\n",
        b" Zm9v",
        b"Zm9v\x00",
        b"_-==",
        b"====",
        b"=",
        b"A",
        b"\xff\xff",
        CANCEL,
        "é",
        "Zm9v\udc80",
    ],
)
def test_anything_else_is_refused(text: bytes | str) -> None:
    with pytest.raises(AuthenticationError, match="not base64"):
        decode_base64(text)


def test_an_empty_initial_response_is_a_lone_equals_sign() -> None:
    assert encode_initial_response(b"") == b"="
    assert decode_initial_response(b"=") == decode_initial_response("=") == b""
    assert encode_initial_response(b"foo") == b"Zm9v"
    assert decode_initial_response(b"Zm9v") == b"foo"
    with pytest.raises(AuthenticationError):
        decode_initial_response(b"==")


@given(st.binary())
def test_what_is_encoded_is_decoded(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data
    assert decode_initial_response(encode_initial_response(data).decode()) == data


@given(st.binary() | st.text(alphabet="AZaz09+/=*\n "))
def test_decoding_accepts_only_what_encoding_writes(text: bytes | str) -> None:
    try:
        data = decode_base64(text)
    except AuthenticationError:
        return
    assert encode_base64(data) == (text.encode() if isinstance(text, str) else text)
