from __future__ import annotations

import re

import pytest

from asyncmail.errors import InputError
from asyncmail.sasl import apop_digest, cram_md5_digest, find_timestamp, make_timestamp


def test_the_example_of_rfc_1939() -> None:
    timestamp = "<1896.697170952@dbc.mtview.ca.us>"
    assert apop_digest(timestamp, "tanstaaf") == "c4c9334bac560ecc979e58001b3e22fb"


def test_the_example_of_rfc_2195() -> None:
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert cram_md5_digest(challenge, "tanstaaftanstaaf") == "b913a602c7eda7a495b4e6e7334d3890"


def test_the_examples_of_rfc_2104_with_text_keys() -> None:
    assert cram_md5_digest(b"what do ya want for nothing?", "Jefe") == "750c783e6ab0b503eaa86e310a5db738"
    assert cram_md5_digest(b"Hi There", "\x0b" * 16) == "9294727a3638bb1c13f48ef8158bfc9d"


@pytest.mark.parametrize("hostname", ["mail.example.com", "[127.0.0.1]", "localhost"])
def test_a_timestamp_is_new_and_found_again(hostname: str) -> None:
    timestamp = make_timestamp(hostname)
    assert re.fullmatch(rf"<[0-9a-f]{{32}}@{re.escape(hostname)}>", timestamp)
    assert timestamp != make_timestamp(hostname)
    assert find_timestamp(f"POP3 server ready {timestamp}") == timestamp


@pytest.mark.parametrize("hostname", ["", "a b", "a>b", "a\r\nb", "é.example"])
def test_a_hostname_that_breaks_the_timestamp(hostname: str) -> None:
    with pytest.raises(InputError, match="not a hostname"):
        make_timestamp(hostname)


@pytest.mark.parametrize(
    ("greeting", "timestamp"),
    [
        ("POP3 ready <1896.697170952@dbc.mtview.ca.us>", "<1896.697170952@dbc.mtview.ca.us>"),
        ("<a@b> ready", "<a@b>"),
        ("<note> ready <a.b=c@d>", "<a.b=c@d>"),
        ("ready", None),
        ("ready <a>", None),
        ("ready <@b>", None),
        ("ready <a@>", None),
        ("ready <a@b", None),
        ("ready <a@b@c>", None),
        ("ready <a b@c>", None),
        ("ready <a\x80@c>", None),  # octets like these carried the collision search of CVE-2007-1558
    ],
)
def test_finding_a_timestamp(greeting: str, timestamp: str | None) -> None:
    assert find_timestamp(greeting) == timestamp
