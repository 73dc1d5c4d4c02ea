"""Capability lists, both ways."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import LocalProtocolError
from asyncmail.pop3 import Capabilities, parse_capabilities

LINES = (
    b"TOP\r\nUSER\r\nSASL CRAM-MD5 KERBEROS_V4\r\nLOGIN-DELAY 900\r\nEXPIRE 60\r\n"
    b"IMPLEMENTATION Shlemazle-Plotz-v302\r\n"
)


def test_encode_and_parse() -> None:
    capabilities = parse_capabilities(LINES)
    assert capabilities.encode() == LINES
    assert dict(capabilities) == {
        "TOP": (),
        "USER": (),
        "SASL": ("CRAM-MD5", "KERBEROS_V4"),
        "LOGIN-DELAY": ("900",),
        "EXPIRE": ("60",),
        "IMPLEMENTATION": ("Shlemazle-Plotz-v302",),
    }


def test_what_is_asked_most_has_a_name() -> None:
    capabilities = parse_capabilities(LINES)
    assert capabilities.mechanisms == ("CRAM-MD5", "KERBEROS_V4")
    assert capabilities.login_delay == 900
    assert capabilities.expire == 60
    assert capabilities.implementation == "Shlemazle-Plotz-v302"
    assert len(capabilities) == 6
    assert repr(Capabilities({"TOP": (), "SASL": ("PLAIN",)})) == "Capabilities(TOP, SASL PLAIN)"


def test_nothing_offered() -> None:
    nothing = Capabilities()
    assert nothing.mechanisms == ()
    assert nothing.login_delay is nothing.expire is nothing.implementation is None
    assert "TOP" not in nothing
    assert nothing.encode() == b""


def test_tags_have_no_case() -> None:
    capabilities = Capabilities({"Top": ()})
    assert "top" in capabilities
    assert "TOP" in capabilities
    assert 3 not in capabilities
    assert capabilities["tOP"] == ()
    with pytest.raises(KeyError):
        capabilities["UIDL"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"EXPIRE NEVER\r\n", math.inf),
        (b"EXPIRE never\r\n", math.inf),
        (b"EXPIRE 0\r\n", 0),
        (b"EXPIRE 5 USER\r\n", 5),
        (b"EXPIRE\r\n", None),
        (b"EXPIRE soon\r\n", None),
    ],
)
def test_expire(lines: bytes, expected: float | None) -> None:
    assert parse_capabilities(lines).expire == expected


def test_mechanisms_may_come_in_pieces_and_in_any_case() -> None:
    assert parse_capabilities(b"SASL plain\r\n\r\n  sasl  LOGIN \r\n").mechanisms == ("PLAIN", "LOGIN")


def test_what_is_offered_cannot_end_the_line() -> None:
    with pytest.raises(LocalProtocolError):
        Capabilities({"IMPLEMENTATION": ("a\r\n.\r\n",)}).encode()


@given(st.binary(max_size=200))
def test_any_lines_can_be_read(lines: bytes) -> None:
    parse_capabilities(lines)
