"""What servers say in their answers to EHLO, and what ours says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import InputError
from asyncmail.sasl import CramMD5Server, LoginServer, PlainServer
from asyncmail.smtp import Extensions, ServerOffer


def test_keywords_in_any_case() -> None:
    extensions = Extensions.parse(["mx.example greets client.example", "Pipelining", "SIZE 1000", "help"])
    assert extensions.domain == "mx.example"
    assert extensions.pipelining
    assert extensions.size == 1000
    assert extensions["size"] == "1000"
    assert "SIZE" in extensions
    assert "Size" in extensions
    assert "DSN" not in extensions
    assert 7 not in extensions
    assert list(extensions) == ["PIPELINING", "SIZE", "HELP"]
    assert len(extensions) == 3
    assert extensions.get("DSN") is None
    assert repr(extensions) == "<Extensions of mx.example: PIPELINING SIZE HELP>"


def test_nothing_is_known_before_ehlo() -> None:
    extensions = Extensions()
    assert not extensions.pipelining
    assert extensions.size is None
    assert extensions.mechanisms == ()
    assert repr(extensions) == "<Extensions of nobody: none>"


@pytest.mark.parametrize(
    ("lines", "mechanisms"),
    [
        (["AUTH PLAIN LOGIN"], ("PLAIN", "LOGIN")),
        (["AUTH=PLAIN LOGIN"], ("PLAIN", "LOGIN")),
        (["AUTH=PLAIN"], ("PLAIN",)),
        (["AUTH="], ()),
        (["AUTH"], ()),
        (["auth plain", "auth=LOGIN plain"], ("PLAIN", "LOGIN")),
        (["AUTH PLAIN LOGIN", "AUTH=LOGIN PLAIN"], ("PLAIN", "LOGIN")),
        (["AUTHOR me"], ()),
    ],
)
def test_mechanisms(lines: list[str], mechanisms: tuple[str, ...]) -> None:
    assert Extensions.parse(["mx.example", *lines]).mechanisms == mechanisms


@pytest.mark.parametrize(
    "line", [" SIZE 10", "SIZE  10 ", "SIZE\t10", "size 10", "\tSIZE \t 10\t", "SIZE 10 more"]
)
def test_blanks_do_not_matter(line: str) -> None:
    assert Extensions.parse(["mx.example", line, "", " "]).size == 10


@pytest.mark.parametrize("value", ["", "0", "-5", "many", "\u0663", "1e3", "9" * 21, "9" * 5000])
def test_no_maximum_is_named(value: str) -> None:
    extensions = Extensions.parse(["mx.example", f"SIZE {value}"])
    assert "SIZE" in extensions
    assert extensions.size is None


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8))
def test_any_lines_can_be_read(lines: list[str]) -> None:
    extensions = Extensions.parse(lines)
    assert all(keyword == keyword.upper() for keyword in extensions)
    assert dict(extensions) == dict(extensions.items())


# --- what the server offers


def test_the_offer_follows_the_session() -> None:
    offer = ServerOffer(starttls=True, authentication=True, more={"DSN": "", "X-LIMITS": "a b"})
    clear = offer.keywords(encrypted=False, authenticated=False, message_size=5)
    assert clear == [
        "PIPELINING",
        "SIZE 5",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "STARTTLS",
        "AUTH CRAM-MD5",
        "DSN",
        "X-LIMITS a b",
    ]
    encrypted = offer.keywords(encrypted=True, authenticated=False, message_size=5)
    assert "STARTTLS" not in encrypted
    assert "AUTH PLAIN LOGIN CRAM-MD5" in encrypted
    authenticated = offer.keywords(encrypted=True, authenticated=True, message_size=5)
    assert not any(line.startswith("AUTH") for line in authenticated)


def test_which_mechanisms() -> None:
    everything = {"PLAIN": PlainServer, "LOGIN": LoginServer, "CRAM-MD5": CramMD5Server}
    assert ServerOffer().mechanisms_for(encrypted=True) == {}
    assert ServerOffer(authentication=True).mechanisms_for(encrypted=True) == everything
    assert (
        ServerOffer(authentication=True, cleartext_login=True).mechanisms_for(encrypted=False) == everything
    )
    few = ServerOffer(authentication=True, mechanisms=("plain",))
    assert few.mechanisms_for(encrypted=True) == {"PLAIN": PlainServer}
    assert few.mechanisms_for(encrypted=False) == {}
    late = ServerOffer(authentication=True, cleartext_login=True, require_tls=True)
    assert late.mechanisms_for(encrypted=False) == {}
    assert late.mechanisms_for(encrypted=True) == everything


@pytest.mark.parametrize(
    "arguments",
    [
        {"hostname": "a b"},
        {"hostname": "a\r\n250 STARTTLS"},
        {"hostname": ""},
        {"mechanisms": ("MAGIC",)},
        {"more": {"A B": ""}},
        {"more": {"": ""}},
        {"more": {"A": "b\n250 STARTTLS"}},
        {"more": {"A": "b\r"}},
        {"more": {"A\r\n": ""}},
        {"more": {"A": "\u20ac"}},
    ],
)
def test_an_offer_is_checked_when_it_is_made(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ServerOffer(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "messages", "recipients"),
    [
        ("MAILMAX=5 RCPTMAX=100", 5, 100),
        ("rcptmax=100 mailmax=20", 20, 100),
        ("RCPTMAX=100", None, 100),
        ("MAILMAX RCPTMAX", None, None),
        ("MAILMAX=0 RCPTMAX=0", None, None),
        ("MAILMAX=many RCPTMAX=-1", None, None),
    ],
)
def test_limits(parameters: str, messages: int | None, recipients: int | None) -> None:
    """RFC 9422 §4.1, §4.2."""
    extensions = Extensions("x", {"LIMITS": parameters})
    assert (extensions.messages, extensions.recipients) == (messages, recipients)
