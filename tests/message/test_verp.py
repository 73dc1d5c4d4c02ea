from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import AddressSyntaxError
from asyncmail.message import verp, verp_recipient


@pytest.mark.parametrize(
    ("recipient", "address"),
    [
        ("user@example.org", "bounces+user=example.org@example.com"),
        ("A B <a+b=c@example.org>", "bounces+a+b=c=example.org@example.com"),
        ("50%@example.org", "bounces+50%25=example.org@example.com"),
        ('"a b"@example.org', "bounces+%22a%20b%22=example.org@example.com"),
        ("a@[192.0.2.1]", "bounces+a=%5B192.0.2.1%5D@example.com"),
        ("ü@bücher.example", "bounces+%C3%BC=b%C3%BCcher.example@example.com"),
    ],
)
def test_verp(recipient: str, address: str) -> None:
    assert verp("bounces@example.com", recipient) == address
    spec = recipient.rpartition("<")[2].rstrip(">")
    assert verp_recipient("bounces@example.com", address) == spec
    assert verp_recipient("Bounces@EXAMPLE.com", address) == spec


@given(st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True))
def test_round_trip(local_part: str) -> None:
    recipient = f"{local_part}@Example.org"
    assert verp_recipient("b@x.example", verp("b@x.example", recipient)) == recipient


@pytest.mark.parametrize(
    "address",
    ["bounces@example.com", "bounces+a@example.com", "bounces+=b@example.com", "bounces+a=@example.com",
     "bounces+a=b@example.org", "other+a=b@example.com", "", "x"],
)  # fmt: skip
def test_other_addresses(address: str) -> None:
    assert verp_recipient("bounces@example.com", address) is None


def test_refusals() -> None:
    with pytest.raises(AddressSyntaxError):
        verp("bounces@example.com", "a" * 64 + "@example.org")
    with pytest.raises(AddressSyntaxError):
        verp("bounces@example.com", "nobody")
    with pytest.raises(AddressSyntaxError):
        verp("bounces", "a@example.org")
